"""Samples, nearest points and winding numbers of a triangle soup, against slow loops and laws of measure."""

import re

import numpy as np
import pytest
import scipy.spatial
import trimesh

from hexjax.geometry import surface
from hexjax.types import Mesh


def refused(text: str):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def made(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))


def soup(seed: int, count: int = 30) -> Mesh:
    """Random triangles, among them thin ones, one that is a segment and one that is a point."""
    random = np.random.default_rng(seed)
    corners = random.uniform(-1, 1, (count, 3, 3))
    corners[:5, 2] = corners[:5, 0] * 0.3 + corners[:5, 1] * 0.7 + 1e-4 * random.standard_normal((5, 3))
    corners[5, 2] = corners[5, 0]
    corners[6] = corners[6, 0]
    return Mesh(corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))


def distance_to_segment(point, a, b):
    along = b - a
    length = along @ along
    share = np.clip((point - a) @ along / length, 0, 1) if length > 0 else 0.0
    return np.linalg.norm(point - a - share * along)


def distance_to_triangle(point, a, b, c):
    """The least of the distances to the edges and, where the foot of the perpendicular is inside, to the plane."""
    least = min(distance_to_segment(point, *ends) for ends in ((a, b), (b, c), (c, a)))
    normal = np.cross(b - a, c - a)
    area = normal @ normal
    if area < 1e-20:
        return least
    foot = point - normal * ((point - a) @ normal / area)
    sides = [np.cross(end - start, foot - start) @ normal for start, end in ((a, b), (b, c), (c, a))]
    return min(least, abs((point - a) @ normal) / np.sqrt(area)) if min(sides) >= 0 else least


@pytest.mark.parametrize("seed", range(3))
def test_closest_equals_a_loop_over_all_triangles(seed):
    mesh, points = soup(seed), np.random.default_rng(seed + 10).uniform(-1, 1, (40, 3))
    distance, nearest, face = surface.closest(mesh, points)
    corners = surface.corners(mesh)
    expected = np.array([[distance_to_triangle(point, *triangle) for triangle in corners] for point in points])
    np.testing.assert_allclose(distance, expected.min(1), atol=1e-9)
    np.testing.assert_allclose(expected[np.arange(len(points)), face], distance, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(points - nearest, axis=1), distance, atol=1e-12)


def test_closest_is_just_below_the_distance_to_dense_samples(data_folder):
    head = made(trimesh.load(data_folder / "heads" / "suzanne.ply"))
    points = np.random.default_rng(0).uniform(-1, 1, (200, 3)) * np.ptp(head.vertices, axis=0).max()
    samples = surface.sample(head, 200_000, np.random.default_rng(1))[0]
    upper = scipy.spatial.KDTree(samples).query(points)[0]
    spacing = 4 * np.sqrt(np.linalg.norm(surface.area_vectors(head), axis=1).sum() / len(samples))
    distance = surface.closest(head, points)[0]
    assert (distance <= upper + 1e-9).all()
    assert (distance >= upper - spacing).all()


def test_closest_to_no_points_is_empty():
    distance, nearest, face = surface.closest(soup(0), np.zeros((0, 3)))
    assert distance.shape == (0,)
    assert nearest.shape == (0, 3)
    assert face.shape == (0,)


def test_closest_refuses_a_mesh_without_faces():
    with refused("mesh has 0 faces; a distance needs at least one"):
        surface.closest(Mesh(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32)), np.zeros((1, 3)))


def test_samples_fall_on_faces_by_area_and_uniformly_within_them():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 0, 1], [0, 1, 1]], np.float32)
    faces = np.array([[0, 0, 1], [0, 1, 2], [3, 4, 5], [2, 2, 2]], np.int32)
    points, face = surface.sample(Mesh(vertices, faces), 40_000, np.random.default_rng(0))
    assert set(face) == {1, 2}
    assert np.mean(face == 2) == pytest.approx(0.75, abs=0.01)
    corners = surface.corners(Mesh(vertices, faces))
    for index in (1, 2):
        np.testing.assert_allclose(points[face == index].mean(0), corners[index].mean(0), atol=0.02)
    inner = points[face == 1]
    # The part of a triangle whose barycentric weight of one corner is above 1/2 is a quarter of it.
    assert np.mean(inner[:, 0] > 0.5) == pytest.approx(0.25, abs=0.02)
    assert np.mean(inner[:, :2].sum(1) < 0.5) == pytest.approx(0.25, abs=0.02)


def test_samples_refuse_a_mesh_without_area():
    flat = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    with refused("mesh has 1 faces and no area; samples need a surface"):
        surface.sample(flat, 10, np.random.default_rng(0))


def test_offsets_have_uniform_lengths_and_no_preferred_direction():
    moved = surface.offsets(40_000, 0.02, np.random.default_rng(0))
    length = np.linalg.norm(moved, axis=1)
    assert length.max() <= 0.02
    np.testing.assert_allclose(np.quantile(length, [0.25, 0.5, 0.75]), [0.005, 0.01, 0.015], atol=3e-4)
    direction = moved / length[:, None]
    np.testing.assert_allclose(direction.T @ direction / len(direction), np.eye(3) / 3, atol=0.01)
    np.testing.assert_allclose(direction.mean(0), 0, atol=0.01)


def test_winding_is_consistent_only_where_neighbours_run_through_their_edge_in_opposite_directions():
    box = made(trimesh.creation.box())
    assert surface.consistently_wound(box.faces)
    assert surface.consistently_wound(box.faces[:-1])
    assert surface.consistently_wound(box.faces[:, ::-1])
    turned = box.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not surface.consistently_wound(turned)
    three_at_an_edge = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]], np.int32)
    assert not surface.consistently_wound(three_at_an_edge)
    assert surface.consistently_wound(np.array([[0, 0, 1], [0, 1, 2]], np.int32))


def test_winding_number_of_a_sphere_is_one_inside_and_zero_outside():
    sphere = made(trimesh.creation.icosphere(subdivisions=3))
    points = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0, 0, 2], [-1, -1, 1]], np.float32)
    np.testing.assert_allclose(surface.winding_number(sphere, points), [1, 1, 0, 0], atol=0.01)


def test_a_mesh_is_boundless_where_every_edge_is_run_through_both_ways():
    box = made(trimesh.creation.box())
    twice = np.concatenate([box.faces, box.faces])
    assert surface.boundless(box.faces)
    assert surface.boundless(twice)
    assert not surface.boundless(box.faces[:-1])
    assert not surface.boundless(box.faces[:0])
    turned = box.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not surface.boundless(turned)


def test_faces_are_connected_by_edges_not_by_corners():
    box = made(trimesh.creation.box())
    assert surface.connected(box.faces)
    assert not surface.connected(np.concatenate([box.faces, box.faces + 8]))
    at_a_corner = np.where(box.faces == 0, 0, box.faces + 8)
    assert not surface.connected(np.concatenate([box.faces, at_a_corner]))


def test_the_order_of_the_points_changes_no_distance_and_no_winding_number():
    mesh = soup(1)
    points = np.random.default_rng(4).uniform(-1, 1, (3000, 3)).astype(np.float32)
    order = np.random.default_rng(5).permutation(len(points))
    for one, other in zip(surface.closest(mesh, points), surface.closest(mesh, points[order])):
        np.testing.assert_array_equal(one[order], other)
    np.testing.assert_array_equal(
        surface.winding_number(mesh, points)[order], surface.winding_number(mesh, points[order])
    )
    assert len(set(surface._along_curve(points))) == len(points)


def test_points_all_in_one_place_have_an_order():
    assert sorted(surface._along_curve(np.full((5, 3), 0.3))) == list(range(5))
