"""Families side by side: where a shape is seen from nearby, how large a picture may be, and the pictures of toy runs."""

import json

import numpy as np
import PIL.Image
import pytest

from hexjax import names
from hexjax.data import ply, sources
from hexjax.evaluation import rows, sheet, written
from hexjax.geometry import mesh as meshes
from hexjax.models import family as families
from hexjax.types import Mesh
from tests import shapes
from tests.evaluation import toys


def test_most_bends_are_seen_where_a_smooth_shape_has_edges():
    ball, cube = shapes.sphere(0.8, 4), shapes.cube(0.1)
    centre = np.float32([0, 0.35, 0.75])
    both = Mesh(
        np.concatenate([ball.vertices, cube.vertices + centre]),
        np.concatenate([ball.faces, cube.faces + len(ball.vertices)]),
    )
    camera, place = sheet.sharpest(both)
    assert np.linalg.norm(place - centre) < 0.3
    assert (camera @ centre)[2] > 0  # it looks at that side
    _, elsewhere = sheet.sharpest(
        both._replace(vertices=both.vertices * np.float32([1, 1, -1]), faces=both.faces[:, ::-1])
    )
    assert elsewhere[2] < 0


def test_a_step_between_parts_of_which_one_hides_the_other_is_no_bend():
    normals, places = np.zeros((2, 4, 4, 3))
    normals[:, :2], normals[:, 2:] = (0, 0, 1), (0.6, 0, 0.8)
    places[..., 1], places[..., 0] = np.mgrid[:4, :4]
    there = np.ones((4, 4), bool)
    assert sheet.bends(normals, places, there, 1.0).sum() == pytest.approx(4 * 0.2 * 0.8)
    places[:, 2:, 2] = 10
    assert sheet.bends(normals, places, there, 1.0).sum() == 0


def test_a_picture_is_drawn_smaller_until_it_fits():
    asked = []
    assert len(sheet.fitting(lambda side: asked.append(side) or b"0" * 16 * side**2)) <= sheet.MOST_BYTES
    assert asked[0] == sheet.TILE_PX
    assert len(asked) == 2
    assert len(sheet.fitting(lambda side: b"0" * 10**7)) == 10**7  # no smaller than LEAST_PX


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """The folder of a sweep with a run of two families each, which hold out two balls."""
    items = [toys.item(name) for name in ("one", "two", "three")]
    monkeypatch.setattr(families, "get", lambda name: lambda spec, config, parents: toys.identity())
    monkeypatch.setattr(sources, "items", lambda *_: items)
    monkeypatch.setattr(sheet, "TILE_PX", 60)
    config, floats = toys.config(), float(toys.identity().latent_floats)
    config.train.steps = 4
    for name, sign in (("good", 1), ("none", 0)):
        run = toys.write_run(tmp_path / f"{name}_0", config, {"sign": np.float32(sign)}, items)
        told = [{"name": each.name, "part": rows.HELD_OUT, "v_iou": 0.9 * sign} for each in items[1:]]
        mean = {"mean": {"latent_floats": floats, "v_iou": 0.9 * sign}}
        settings = dict.fromkeys(("data", "grid", "samples", "digest"), "")
        scores = {"mode": "evaluate", "step": 4, "settings": settings, "latent_floats": floats, "items": told}
        (run / "scores.json").write_text(json.dumps(scores | {"parts": {rows.HELD_OUT: mean}}))
    told = {"sweep": {"floats": floats, "cells": ["good_0: ", "none_0: "]}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    return tmp_path, items


@pytest.mark.slow
def test_families_of_a_sweep_are_drawn_side_by_side_and_one_without_a_surface_is_empty(sweep, capsys, monkeypatch):
    folder, items = sweep
    heads, ball = [], meshes.to_source(shapes.sphere(0.9, 2), items[1].similarity)
    written.Ledger(folder / "good_0").put("meshes/two.ply", ply.write(ball))
    compose = sheet.compose
    monkeypatch.setattr(
        sheet,
        "compose",
        lambda tiles, notes, columns, title: heads.append(notes) or compose(tiles, notes, columns, title),
    )
    assert sheet.main([str(folder), "--shapes=1"]) == names.DONE
    assert capsys.readouterr().out == f"{folder / 'sheet.png'}\n{folder / 'edges.png'}\n"
    assert heads[0] == [["two", "V-IoU 0.900", "V-IoU 0.000"]]
    for name in ("sheet.png", "edges.png"):
        with PIL.Image.open(folder / name) as picture:
            assert picture.mode == "P"
            drawn = np.asarray(picture.convert("RGB"))[66:-70]
        third = drawn.shape[1] // 3
        assert len(np.unique(drawn[:, third : 2 * third].reshape(-1, 3), axis=0)) > 20


def test_a_mesh_that_the_evaluation_wrote_is_shown_and_not_made_again(sweep, monkeypatch):
    folder, (_, item, _) = sweep
    run = folder / "good_0"
    monkeypatch.setattr(sheet, "maker", lambda *_: pytest.fail("made again"))
    ledger, small = written.Ledger(run), shapes.sphere(0.5, 2)
    ledger.put("meshes/two.ply", ply.write(meshes.to_source(small, item.similarity)))
    found = sheet.meshes(run, [item], None, lambda done: None)["two"]
    np.testing.assert_allclose(np.linalg.norm(found.vertices, axis=1), 0.5, rtol=1e-4)
    with pytest.raises(pytest.fail.Exception):
        sheet.meshes(run, [item], 16, lambda done: None)  # another grid


def test_what_cannot_be_drawn_is_refused_in_a_line(tmp_path, capsys):
    assert sheet.main([str(tmp_path), "--shapes=0"]) == names.REFUSED
    assert capsys.readouterr().err == "sheet: --shapes is 0; accepted: at least 1\n"
    assert sheet.main([str(tmp_path), "--grid=4"]) == names.REFUSED
    assert capsys.readouterr().err == "sheet: --grid is 4; accepted: at least 8\n"
    assert sheet.main([str(tmp_path)]) == names.REFUSED
    assert capsys.readouterr().err.startswith(f"sheet: {tmp_path} holds no run that has ended; accepted: ")
