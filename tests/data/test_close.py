"""Open meshes become closed, near to what they were; closed ones stay; sheets are refused with the reason."""

import re

import igl
import numpy as np
import pytest

from hexjax.data import close, sets
from hexjax.geometry import mesh as meshes
from hexjax.geometry import sdf, surface
from hexjax.types import Mesh
from tests import shapes, toys

CELLS = 64  # a quarter of what data.close takes
CELL = 2 / CELLS


def refused(text: str):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def below(mesh: Mesh, height: float) -> Mesh:
    """The faces whose middle lies below a height."""
    return mesh._replace(faces=mesh.faces[np.asarray(mesh.vertices)[mesh.faces].mean(1)[:, 1] < height])


def sheet(bend: float = 0.0) -> Mesh:
    along = np.linspace(-0.9, 0.9, 20)
    x, y = (a.ravel() for a in np.meshgrid(along, along, indexing="ij"))
    corner = np.arange(400).reshape(20, 20)[:-1, :-1].ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 20, corner + 21], 1), np.stack([corner, corner + 21, corner + 1], 1)]
    )
    return Mesh(np.stack([x, y, bend * np.sin(5 * x) * np.cos(4 * y)], 1).astype(np.float32), faces.astype(np.int32))


def volume(mesh: Mesh) -> float:
    return np.einsum("fa,fa->", surface.area_vectors(mesh), surface.corners(mesh)[:, 0]) / 3


def assert_closed(mesh: Mesh) -> None:
    told = meshes.topology(mesh)
    assert told["watertight"]
    assert told["non_manifold_edges"] == 0
    assert surface.consistently_wound(mesh.faces)
    assert igl.is_vertex_manifold(np.ascontiguousarray(mesh.faces, np.int64)).all()
    assert np.abs(mesh.vertices).max() <= 1
    assert volume(mesh) > 0


def test_a_closed_sphere_is_nearly_unchanged():
    ball = shapes.sphere(0.7, 4)
    found = close.close(ball, CELLS)
    assert_closed(found.mesh)
    assert meshes.topology(found.mesh)["euler"] == 2
    np.testing.assert_allclose(volume(found.mesh), volume(ball), rtol=2e-3)
    assert found.error < found.largest_error < 0.1 * CELL
    assert found.added < found.largest_added < 0.1 * CELL
    assert (found.held, found.dropped_parts) == (1, 0)


def test_a_ball_without_its_top_gets_a_flat_lid():
    ball = shapes.sphere(0.7, 4)
    vertices = np.array(ball.vertices)
    cut = below(
        ball._replace(vertices=np.where(vertices[:, 1:2] > 0.35, vertices * [1, 0, 1] + [0, 0.35, 0], vertices)), 0.349
    )
    found = close.close(cut, CELLS)
    assert_closed(found.mesh)
    assert abs(found.mesh.vertices[:, 1].max() - 0.35) < 0.5 * CELL
    assert found.error < 0.05 * CELL
    assert found.held > 0.99
    assert 0.2 < found.largest_added < 0.7  # the lid's middle is far from the ball
    lid = np.abs(found.mesh.vertices[:, 1] - 0.35) < 0.5 * CELL
    assert lid.sum() > 500


def test_winding_inside_out_changes_nothing():
    one = below(shapes.sphere(0.7, 3), 0.3)
    other = one._replace(faces=np.ascontiguousarray(one.faces[:, ::-1]))
    found = [close.close(mesh, CELLS).mesh for mesh in (one, other)]
    np.testing.assert_allclose(volume(found[0]), volume(found[1]), rtol=1e-3)


def test_what_lies_inside_is_swallowed_and_held():
    outer, inner = shapes.cube(0.6), below(shapes.sphere(0.3, 3), 0.1)
    both = Mesh(np.concatenate([outer.vertices, inner.vertices]), np.concatenate([outer.faces, inner.faces + 8]))
    found = close.close(both, CELLS)
    assert_closed(found.mesh)
    np.testing.assert_allclose(volume(found.mesh), volume(outer), rtol=1e-3)
    assert found.held == 1
    assert 0.25 < found.largest_error < 0.6


def test_boxes_that_cut_each_other_become_one_solid():
    boxes = [shapes.cube(0.3)._replace(vertices=shapes.cube(0.3).vertices + np.float32(move)) for move in (-0.13, 0.13)]
    both = Mesh(np.concatenate([box.vertices for box in boxes]), np.concatenate([boxes[0].faces, boxes[1].faces + 8]))
    found = close.close(both, CELLS)
    assert_closed(found.mesh)
    assert meshes.topology(found.mesh)["components"] == 1
    np.testing.assert_allclose(volume(found.mesh), 2 * 0.6**3 - 0.34**3, rtol=0.02)
    assert sdf.parity_holds(found.mesh)


def test_fewer_faces_are_the_same_solid():
    ball = shapes.sphere(0.7, 4)
    found = close._simplified(ball, 1200)
    assert_closed(found)
    assert len(found.faces) == 1200 < len(ball.faces)
    assert meshes.topology(found)["euler"] == 2
    np.testing.assert_allclose(volume(found), volume(ball), rtol=5e-3)
    assert surface.closest(ball, found.vertices)[0].max() < 0.01
    assert close._simplified(ball, len(ball.faces)) is ball


@pytest.mark.parametrize("name", ["demosthenes", "makehuman_male_young", "leeperrysmith_5500"])
def test_heads_become_closed(data_folder, name):
    mesh = shapes.head(data_folder, name)
    found = close.close(mesh, CELLS)
    assert_closed(found.mesh)
    assert found.error < 0.2 * CELL  # its eyes and tongue lie inside
    assert found.held > 0.95


def test_most_nodes_may_be_left_out(data_folder):
    """Signs of the whole grid are those of the winding number asked at each of its nodes."""
    mesh = shapes.head(data_folder, "demosthenes")
    along = np.linspace(-1, 1, CELLS + 1)
    nodes = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1).reshape(-1, 3)
    every = sdf.outward(mesh) * surface.winding_number(mesh, nodes)
    values = close._level(mesh, CELLS).ravel()
    sure = np.abs(every - 0.5) > 0.02
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(values[sure] < 0, every[sure] > 0.5)


def test_a_real_shape_of_several_parts_becomes_closed(data_folder):
    found = close.close(shapes.shape(data_folder, "animal_quaternius_cat"), CELLS)
    assert_closed(found.mesh)
    assert found.held > 0.9


def test_a_sheet_is_refused():
    with refused("has no inside to close: at no node, 0.031 apart, is its winding number above 1/2"):
        close.close(sheet(), CELLS)


def test_a_bent_sheet_of_which_little_encloses_anything_is_refused():
    with pytest.raises(ValueError) as error:
        close.close(sheet(0.05), CELLS)
    text = r"has no inside to close: what it encloses holds \d+% of its surface; accepted: at least 50%"
    assert re.fullmatch(text, str(error.value))


def test_a_mesh_thinner_than_a_cell_is_refused():
    """Its walls lie between two layers of nodes, so that no node is inside."""
    thin = shapes.box(1.0, 1.0, 0.2 * CELL)
    moved = thin._replace(vertices=thin.vertices + np.float32([0, 0, 0.5 * CELL]))
    with refused("has no inside to close: at no node, 0.031 apart, is its winding number above 1/2"):
        close.close(moved, CELLS)


def test_points_are_left_out_of_the_shapes_that_are_closed(capsys):
    cloud = toys.item_of(Mesh(shapes.sphere().vertices, np.zeros((0, 3), np.int32)), "cloud")
    found = sets.closed([cloud, toys.item_of(shapes.sphere(0.7, 2), "ball")])
    assert [item.name for item in found] == ["ball"]
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("closing ")]  # the progress
    assert told[0] == "left out: cloud is points without faces"
