"""Rasters: the faces that a slow loop finds, and no holes."""

import numpy as np
import pytest
import trimesh

from hexjax.geometry import raster, surface
from hexjax.types import Mesh

SIDE = 48


def soup(count: int, size: float, seed: int) -> Mesh:
    random = np.random.default_rng(seed)
    centres = random.uniform(-0.1, 1.1, (count, 1, 3)) * SIDE
    corners = centres + random.normal(0, size, (count, 3, 3))
    return Mesh(corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))


def one_by_one(mesh: Mesh, towards: int) -> tuple[np.ndarray, np.ndarray]:
    """Face and height of the highest (towards 1) or lowest (-1) hit of each pixel, by weights, a face at a time."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    faces, heights = np.full((SIDE, SIDE), -1), np.full((SIDE, SIDE), -np.inf)
    for index, corners in enumerate(surface.corners(mesh)):
        (ax, ay), (bx, by), (cx, cy) = corners[:, :2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        b = ((columns - ax) * (cy - ay) - (rows - ay) * (cx - ax)) / area
        c = ((rows - ay) * (bx - ax) - (columns - ax) * (by - ay)) / area
        height = towards * np.tensordot(np.stack([1 - b - c, b, c], -1), corners[:, 2], 1)
        better = (np.minimum(np.minimum(b, c), 1 - b - c) >= 0) & (height > heights)
        faces[better], heights[better] = index, height[better]
    return faces, np.where(faces < 0, 0, towards * heights)


@pytest.mark.parametrize("piece", [1 << 15, 7])
@pytest.mark.parametrize(("count", "size"), [(2000, 0.4), (300, 5.0), (20, 60.0)])
def test_ends_are_those_of_a_loop_over_faces(count, size, piece, monkeypatch):
    monkeypatch.setattr(raster, "PIECE", piece)
    mesh = soup(count, size, seed=count)
    for towards, seen in zip((1, -1), raster.ends(mesh.vertices, mesh.faces, SIDE)):
        face, height = one_by_one(mesh, towards)
        np.testing.assert_array_equal(seen.face, face)
        np.testing.assert_allclose(seen.height, height, atol=1e-9 * SIDE)


def test_a_closed_surface_has_no_holes_where_corners_and_edges_lie_on_pixel_centres():
    box = trimesh.creation.box((20, 20, 20)).subdivide().subdivide()
    vertices = box.vertices + SIDE / 2
    top, bottom = raster.ends(vertices, box.faces, SIDE)
    assert (top.face >= 0).sum() == (bottom.face >= 0).sum() == 20 * 20  # half-open: one of each two opposite sides
    assert (top.height[top.face >= 0] == SIDE / 2 + 10).all()
    assert (bottom.height[bottom.face >= 0] == SIDE / 2 - 10).all()


def test_faces_that_are_edge_on_or_without_area_are_never_met():
    vertices = np.array([[1, 1, 0], [40, 30, 5], [20.5, 15.5, 9], [7, 7, 7]], np.float32)
    faces = np.array([[0, 1, 2], [3, 3, 3], [0, 0, 1]], np.int32)
    vertices[2, :2] = (vertices[0, :2] + vertices[1, :2]) / 2
    for seen in raster.ends(vertices, faces, SIDE):
        assert (seen.face == -1).all()
        assert (seen.height == 0).all()


def test_nothing_is_seen_of_no_faces():
    for seen in raster.ends(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), 4):
        np.testing.assert_array_equal(seen.face, np.full((4, 4), -1))
