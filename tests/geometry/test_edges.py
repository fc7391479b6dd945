"""Sharp edges: of boxes and prisms in closed form, of sheets and soups whatever their winding."""

import numpy as np
import pytest
import trimesh

from hexjax.geometry import edges
from hexjax.types import Mesh
from tests import shapes


def prism(sides):
    """A prism of two rings, whose side faces meet at 2 pi / sides."""
    made = trimesh.creation.cylinder(1.0, 2.0, sections=sides)
    return Mesh(np.asarray(made.vertices, np.float32), np.asarray(made.faces, np.int32))


def test_a_boxs_edges_are_sharp_and_the_diagonals_of_its_sides_are_not():
    box = shapes.box(1, 2, 3)
    found, normals = edges.sharp(box)
    assert len(found) == len({tuple(edge) for edge in found}) == 12
    middle = box.vertices[found].mean(1)
    np.testing.assert_allclose(np.abs(normals), (np.abs(middle) > 1e-6) / np.sqrt(2), atol=1e-6)
    assert (np.sum(middle * normals, axis=1) > 0).all()


@pytest.mark.parametrize(("sides", "sharp"), [(8, True), (11, True), (13, False), (24, False)])
def test_an_angle_above_thirty_degrees_is_sharp(sides, sharp):
    assert len(edges.sharp(prism(sides))[0]) == (3 if sharp else 2) * sides
    assert len(edges.sharp(prism(sides), 2.0)[0]) == 0


def test_the_winding_of_one_face_makes_no_edge_sharp_or_flat():
    box = shapes.box(1, 1, 1)
    turned = box._replace(faces=np.where(np.arange(12)[:, None] % 3 == 0, box.faces[:, ::-1], box.faces))
    found, expected = ({tuple(edge) for edge in edges.sharp(mesh)[0]} for mesh in (turned, box))
    assert found == expected


def test_open_edges_faces_without_an_area_and_edges_of_three_faces_are_not_sharp():
    vertices = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0], [2, 0, 0]])
    for faces in ([[0, 1, 2]], [[0, 1, 2], [1, 0, 3], [0, 1, 4]], [[0, 1, 2], [1, 0, 5]]):
        assert len(edges.sharp(Mesh(vertices, np.int32(faces)))[0]) == 0
    assert len(edges.sample(Mesh(vertices, np.int32([[0, 1, 2]])), 5, np.random.default_rng(0))[0]) == 0


def test_a_fold_of_two_sides_has_a_normal():
    vertices = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    found, normals = edges.sharp(Mesh(vertices, np.int32([[0, 1, 2], [0, 2, 1]])))
    assert len(found) == 3
    np.testing.assert_allclose(np.abs(normals), [[0, 0, 1]] * 3, atol=1e-6)


def test_samples_are_uniform_over_length():
    points, normals = edges.sample(shapes.box(1, 2, 3), 6000, np.random.default_rng(0))
    along = np.argmin(np.abs(normals), axis=1)
    np.testing.assert_allclose(np.bincount(along) / 6000, np.array([1, 2, 3]) / 6, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-12)
    assert abs(points[along == 2][:, 2].mean()) < 0.1
