"""Pictures of points that stand for a surface and of cells: what is drawn of closed forms, and what is refused."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

from hexjax import names
from hexjax.data import sources
from hexjax.evaluation import export, shade, structure
from hexjax.geometry import surface
from hexjax.models import family as families
from hexjax.models.family import Cells, Picks
from tests.evaluation import toys

SIDE = 8
BLOCK = np.argwhere(np.ones((2, 3, 1))) + 2  # cells


def centres(cells):
    return np.float32((np.asarray(cells) + 0.5) * 2 / SIDE - 1)


def volume(mesh):
    a, b, c = np.moveaxis(surface.corners(mesh), 1, 0)
    return (a * np.cross(b, c)).sum() / 6


def test_boxes_enclose_the_cells_with_the_sides_that_no_other_covers():
    for cells in (BLOCK, BLOCK[:1], np.argwhere(np.random.default_rng(0).random((SIDE,) * 3) < 0.3)):
        mesh, colours = structure.boxes(centres(cells), np.ones((len(cells), 3)), SIDE)
        assert volume(mesh) == pytest.approx(len(cells) * (2 / SIDE) ** 3, rel=1e-5)  # wound outwards
        assert colours.shape == mesh.vertices.shape
    mesh, colours = structure.boxes(centres(BLOCK), np.ones((6, 3)), SIDE)
    assert len(mesh.faces) == 2 * (2 * 6 + 2 * 2 + 2 * 3)
    assert {*np.unique(colours)} == {np.float32(structure.CHECKER), np.float32(1)}


def test_cells_are_among_others_where_they_are():
    inside = structure.among(centres([[0, 0, 0], [3, 4, 5], [5, 4, 3]]), centres([[5, 4, 3], [0, 0, 0]]), SIDE)
    assert inside.tolist() == [True, False, True]


def test_marks_are_balls_wound_outwards_where_the_points_are_and_their_colours_tell_the_order():
    places = np.float32([[0.5, 0, 0], [0, 0.5, 0], [0, 0, -0.5]])
    mesh, colours = structure.mark(toys.sphere(0.5, subdivisions=2), places)
    balls = mesh._replace(faces=mesh.faces[-3 * (2 * structure.FACETS - 4) :])
    radius = structure.BALL / 3**0.5
    assert volume(balls) == pytest.approx(3 * 4 / 3 * np.pi * radius**3, rel=0.2)
    own = mesh.vertices[-3 * structure.FACETS :].reshape(3, -1, 3)
    np.testing.assert_allclose(np.linalg.norm(own - places[:, None], axis=-1), radius, rtol=1e-5)
    marked = colours[-3 * structure.FACETS :].reshape(3, -1, 3)
    assert (marked == marked[:, :1]).all()
    assert len(np.unique(marked[:, 0], axis=0)) == 3


def test_linear_colours_become_the_bytes_that_they_were():
    given = np.random.default_rng(0).random((50, 4))
    np.testing.assert_allclose(shade.to_bytes(structure.linear(given)), 255 * given[:, :3], atol=0.51)


def make(tmp_path, monkeypatch, found, count=3):
    told = None if found is None else (lambda params, batch: found)
    family = dataclasses.replace(toys.identity(), structure=told, sees=("surface",), probe=None)
    monkeypatch.setattr(families, "get", lambda name: lambda spec, config, parents: family)
    items = [toys.item(name) for name in ("one", "two", "three")][:count]
    monkeypatch.setattr(sources, "items", lambda *_: items)
    monkeypatch.setattr(export, "PANEL_PX", 60)
    config = toys.config()
    config.cells.side = SIDE
    return toys.write_run(tmp_path / "run", config, {"sign": np.float32(1)}, items)


TOLD = {
    "picks": Picks(np.float32([[[0.9, 0, 0], [0, 0.9, 0]]])),
    "cells": Cells(
        centres(BLOCK)[None], np.float32([[0, 0.1, 0.4, 0.6, 0.9, 1]]), np.arange(6)[None] > 2, centres(BLOCK)[None],
        np.arange(6)[None] > 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOLD)
def test_a_run_is_drawn_on_shapes_that_it_holds_out(kind, tmp_path, monkeypatch, capsys):
    folder = make(tmp_path, monkeypatch, TOLD[kind])
    assert structure.main([str(folder)]) == names.DONE
    with PIL.Image.open(folder / "images" / "structure.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 50
    assert capsys.readouterr().out == f"{folder / 'images' / 'structure.png'}\n"


def test_what_cannot_be_drawn_is_refused_in_a_line(tmp_path, monkeypatch, capsys):
    folder, name = make(tmp_path, monkeypatch, None), toys.config().model.family
    told = f"structure: run is a run of {name}, which has no structure to show; accepted: a set that is asked by points"
    assert structure.main([str(folder)]) == names.REFUSED
    assert capsys.readouterr().err == f"{told} of the surface, or cells whose children are predicted\n"
    assert structure.main([str(folder), "--shapes=0"]) == names.REFUSED
    assert capsys.readouterr().err == "structure: --shapes is 0; accepted: at least 1\n"
    alone = make(tmp_path / "alone", monkeypatch, TOLD["picks"], 1)
    assert structure.main([str(alone)]) == names.REFUSED
    told = "structure: run has no held-out shapes; accepted: runs with config.data.split\n"
    assert capsys.readouterr().err == told
