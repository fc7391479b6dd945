"""Pictures: the unfolded cube fits together, no error has no colour, and what is hidden is shown."""

import json

import numpy as np
import pytest
from PIL import Image

from hexjax.evaluation import curve, export, shade, written
from hexjax.geometry import distance, frame, hexplane
from hexjax.types import Hexplane, Mesh
from tests.evaluation import toys


def read(path):
    return np.asarray(Image.open(path).convert("RGB"), np.int32)


def test_neighbours_on_the_unfolded_cube_share_their_edges():
    side = 16
    origins = np.stack([np.asarray(frame.rays(view, side)[0]) for view in range(6)])
    sheet = export.unfold(origins)
    tiles = {place: name for name, place in export.UNFOLDED.items()}
    shared = 0
    for row, column in tiles:
        if (row, column + 1) in tiles:
            left = sheet[row * side : (row + 1) * side, (column + 1) * side - 1]
            right = sheet[row * side : (row + 1) * side, (column + 1) * side]
            assert np.linalg.norm(left - right, axis=-1).max() < 1.5 * 2 / side
            shared += 1
        if (row + 1, column) in tiles:
            above = sheet[(row + 1) * side - 1, column * side : (column + 1) * side]
            below = sheet[(row + 1) * side, column * side : (column + 1) * side]
            assert np.linalg.norm(above - below, axis=-1).max() < 1.5 * 2 / side
            shared += 1
    assert shared == 5


def test_no_error_has_the_colour_of_no_information_and_large_ones_are_dark():
    colours = export.error_colours(np.array([0.0, 0.01, 0.02, 5.0]))
    np.testing.assert_array_equal(colours[0], shade.CLAY)
    np.testing.assert_array_equal(colours[2], colours[3])
    assert colours[2].sum() < colours[1].sum() < colours[0].sum()


def test_a_perfect_reconstruction_has_no_colours_and_a_moved_one_has(tmp_path):
    ball = toys.sphere(0.8)
    moved = ball._replace(vertices=ball.vertices + np.array([0.015, 0, 0], np.float32))
    pictures = {}
    for name, mesh in {"same": ball, "moved": moved}.items():
        errors = distance.closest(ball, mesh.vertices)[0]
        path = tmp_path / f"{name}.png"
        export.renders({"input": ball, "found": mesh}, ("input", "found"), {"found": errors}, "ball", path)
        pixels = read(path)[66:-70, export.GAP : -export.GAP]
        pictures[name] = np.split(pixels, 3, axis=1)
    np.testing.assert_allclose(pictures["same"][0], pictures["same"][2], atol=1)
    difference = np.abs(pictures["moved"][1] - pictures["moved"][2])
    assert difference.max() > 60


def test_maps_are_drawn_before_and_after(tmp_path):
    before = hexplane.render(toys.item().mesh, 32)
    sizes = []
    for name, after in {"alone": None, "both": before._replace(mask=np.asarray(before.mask, np.float32))}.items():
        export.contact_sheet(before, after, "ball", tmp_path / f"{name}.png")
        sizes.append(read(tmp_path / f"{name}.png").shape[0])
        assert read(tmp_path / f"{name}.png").std() > 20
    assert sizes[1] > 1.8 * sizes[0]


def test_any_name_is_a_title_and_a_long_one_is_cut(tmp_path):
    maps, sizes = hexplane.render(toys.item().mesh, 8), []
    for name in ("ball", "头 $x_{", "\\$" + "long " * 60):  # warnings are errors here
        export.contact_sheet(maps, None, name, tmp_path / "sheet.png")
        sizes.append(read(tmp_path / "sheet.png")[:, -20:].min())
    assert sizes == [sizes[0]] * 3  # none runs off the sheet


def test_silhouettes_are_drawn_as_coverage_alone(tmp_path):
    maps = hexplane.render(toys.item().mesh, 32)
    silhouettes = Hexplane(maps.depth * 0, maps.normal * 0, maps.mask * 0.5)
    export.contact_sheet(maps, silhouettes, "ball", tmp_path / "sheet.png")
    pixels = read(tmp_path / "sheet.png")
    assert (np.ptp(pixels, axis=-1) == 0).all()  # grey
    assert len(np.unique(pixels[pixels.shape[0] // 2 :])) > 2


def test_what_no_view_sees_is_red_through_the_surface_and_what_is_seen_is_not(tmp_path):
    inner, outer = toys.sphere(0.5), toys.sphere(1.0)
    faces = np.concatenate([outer.faces, inner.faces + len(outer.vertices)])
    hollow = Mesh(np.concatenate([outer.vertices, inner.vertices]), faces)
    red = {}
    for name, source in {"full": outer, "hollow": hollow}.items():
        item = toys.item(name, source)
        maps = hexplane.render(item.mesh, 256)
        hits = np.asarray(frame.hit_points(maps.depth))[np.asarray(maps.mask)]
        export.unseen(item, hits, 0.0, written.Ledger(tmp_path))
        pixels = read(tmp_path / "images" / f"{name}_unseen.png")
        red[name] = int((pixels[..., 0] - pixels[..., 1] > 30).sum())
    assert red["full"] < 50
    assert red["hollow"] > 10000


def test_a_loss_curve_leaves_out_what_is_no_loss(tmp_path):
    rows = [{"step": step, "loss": 1 / step, "kl": 2 / step} for step in (1, 2, 3)]
    controls = dict.fromkeys(("gradient_clipped", "kl_weight", "kl_gradient_removed", "learning_rate"), 0.5)
    for name, drawn in {
        "plain": rows,
        "controls": [row | controls for row in rows],
        "part": [row | {"sdf": 0.5} for row in rows],
    }.items():
        curve.loss_curve(drawn, "a run", tmp_path / f"{name}.png")
    plain, controls, part = (read(tmp_path / f"{name}.png") for name in ("plain", "controls", "part"))
    np.testing.assert_array_equal(plain, controls)
    assert (plain != part).any()


def test_a_runs_margins_and_forces_are_drawn_where_a_witness_watched(tmp_path):
    ledger, losses = written.Ledger(tmp_path), [{"step": step, "loss": 1.0} for step in (1, 2)]
    watched = [{"step": step} | dict.fromkeys(curve.WITNESS, 0.5) for step in (0, 200)]
    for rows in (losses, losses + watched):
        assert not (tmp_path / "images" / "witness.png").exists()
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        export.history("run", tmp_path, ledger)
    assert read(tmp_path / "images" / "witness.png").std() > 5


def test_a_loss_curve_needs_rows_of_losses(tmp_path):
    ledger = written.Ledger(tmp_path)
    export.history("run", tmp_path, ledger)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 0, "validation.loss": 1.0}) + "\n")
    export.history("run", tmp_path, ledger)
    assert not (tmp_path / "images").exists()
    rows = [{"step": step, "loss": 2.0**-step, "depth": 3.0**-step, "kl": None, "mask": 0.0} for step in range(5)]
    (tmp_path / "metrics.jsonl").write_bytes(
        "".join(json.dumps(row) + "\n" for row in rows).encode() + b'\xff{"st\n3\n{"loss": 1}\n'
    )
    export.history("run", tmp_path, ledger)
    assert read(tmp_path / "images" / "loss.png").std() > 5


def test_a_gallery_shows_every_mesh_and_tells_which_have_no_surface(tmp_path):
    ball = toys.sphere(0.8)
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    red, dark = [], []
    for number, drawn in enumerate(([ball, ball], [ball, empty], [empty, empty])):
        path = tmp_path / f"{number}.png"
        captions = {f"{i}": mesh for i, mesh in enumerate(drawn)}
        export.gallery({"known": {"a ball": ball}, "drawn": captions}, "title", path)
        pixels = read(path)
        red.append(int((pixels[..., 0] - pixels[..., 1] > 60).sum()))
        dark.append(int((pixels.max(-1) < 235).sum()))
    assert red[0] == 0
    assert red[2] == pytest.approx(2 * red[1], rel=0.05)
    assert dark[0] - dark[1] == pytest.approx(dark[1] - dark[2], rel=0.05)
    assert dark[1] - dark[2] > 1000


def test_a_gallery_grows_by_rows_and_cuts_long_captions(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "COLUMNS", 2)
    ball, sizes = toys.sphere(0.8, subdivisions=1), []
    for count in (1, export.COLUMNS, export.COLUMNS + 1, 2 * export.COLUMNS + 1):
        captions = {f"{number:02d} {'long' * 40}": ball for number in range(count)}
        export.gallery({"drawn": captions}, "title", tmp_path / "sheet.png")
        sizes.append(read(tmp_path / "sheet.png").shape[:2])
    assert len({width for _, width in sizes}) == 1
    heights = [height for height, _ in sizes]
    assert heights[0] == heights[1]
    assert heights[2] - heights[1] == heights[3] - heights[2] > 100
    side = read(tmp_path / "sheet.png")[:, -20:]
    assert (side == 255).all()  # no caption runs off the sheet
