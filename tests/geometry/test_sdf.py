"""Signed distance against closed forms, and its sign on closed, open, inside-out and self-intersecting meshes."""

import re

import numpy as np
import pytest
import trimesh

from hexjax.geometry import mesh as meshes
from hexjax.geometry import sdf, surface, symmetry
from hexjax.types import Mesh
from tests import shapes

CLOSED = ("leeperrysmith", "leeperrysmith_5500", "goathead")
OPEN = ("demosthenes", "ict_neutral", "makehuman_female_old", "makehuman_male_young", "suzanne")


def refused(text: str):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def made(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))


def joined(*parts: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = [part.faces + start for part, start in zip(parts, starts)]
    return Mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(faces).astype(np.int32))


def box(side: float, centre=(0, 0, 0)) -> Mesh:
    return made(trimesh.creation.box((side,) * 3, trimesh.transformations.translation_matrix(centre)))


def flipped(mesh: Mesh) -> Mesh:
    return mesh._replace(faces=mesh.faces[:, ::-1].copy())


def head(data_folder, name: str) -> Mesh:
    return meshes.normalise(made(trimesh.load(data_folder / "heads" / f"{name}.ply")))[0]


def uniform(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3)).astype(np.float32)


def test_signed_distance_of_a_cube_is_the_closed_form():
    points = uniform(3000)
    beyond = np.abs(points) - 0.6
    expected = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
    value, doubtful = sdf.signed_distance(box(1.2), points)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, atol=1e-6)
    assert not doubtful.any()


def test_signed_distance_of_a_sphere_is_the_closed_form_to_the_height_of_its_facets():
    points = uniform(3000)
    sphere = trimesh.creation.icosphere(subdivisions=5, radius=0.7)
    height = 0.7 - np.linalg.norm(sphere.triangles_center, axis=1).min()
    value, doubtful = sdf.signed_distance(made(sphere), points)
    difference = value - (np.linalg.norm(points, axis=1) - 0.7)
    assert difference.min() > -1e-6
    assert difference.max() < 1.1 * height
    assert not doubtful.any()


def test_signed_distance_of_a_torus_is_the_closed_form_to_the_height_of_its_facets():
    points = uniform(3000)
    torus = made(trimesh.creation.torus(0.6, 0.25, major_sections=160, minor_sections=80))
    ring = np.linalg.norm(points[:, :2], axis=1) - 0.6
    expected = np.hypot(ring, points[:, 2]) - 0.25
    value, doubtful = sdf.signed_distance(torus, points)
    np.testing.assert_allclose(value, expected, atol=1e-3)
    assert not doubtful.any()


@pytest.mark.parametrize("closed", [True, False])
def test_winding_inside_out_changes_no_sign(closed):
    sphere = made(trimesh.creation.icosphere(subdivisions=3, radius=0.8))
    mesh = sphere if closed else sphere._replace(faces=sphere.faces[sphere.vertices[sphere.faces].mean(1)[:, 1] > -0.5])
    assert sdf.parity_holds(mesh) == closed
    points = uniform(2000)
    one, other = sdf.signed_distance(mesh, points), sdf.signed_distance(flipped(mesh), points)
    np.testing.assert_array_equal(one[0] < 0, other[0] < 0)
    np.testing.assert_array_equal(one[1], other[1])


def test_parity_needs_no_consistent_winding():
    mesh, points = box(1.2), uniform(2000)
    turned = mesh._replace(faces=np.where(np.arange(12)[:, None] % 2, mesh.faces, mesh.faces[:, ::-1]))
    assert not surface.consistently_wound(turned.faces)
    within, doubtful = sdf.inside(turned, points)
    np.testing.assert_array_equal(within, (np.abs(points) < 0.6).all(1))
    assert not doubtful.any()
    assert ((surface.winding_number(turned, points) > 0.5) != within).mean() > 0.1


def test_parity_is_right_in_line_with_corners_and_edges():
    mesh = made(trimesh.creation.box((1, 1, 1)).subdivide().subdivide())
    points = np.stack(np.meshgrid(*[np.linspace(-0.75, 0.75, 13) + 1e-3] * 3, indexing="ij"), -1).reshape(-1, 3)
    np.testing.assert_array_equal(sdf.parity(mesh, points), (np.abs(points) < 0.5).all(1))
    np.testing.assert_array_equal(sdf.winding_number(mesh, points), (np.abs(points) < 0.5).all(1))


@pytest.mark.parametrize("name", CLOSED)
def test_parity_equals_the_winding_number_on_closed_heads(data_folder, name):
    mesh = head(data_folder, name)
    points, value, doubtful = sdf.query_pool(mesh, 8000, 0)
    away = np.abs(value) > 1e-5
    winding = surface.winding_number(mesh, points) > 0.5
    agree = sdf.parity(mesh, points)[away] == winding[away]
    # Where a head cuts itself, the two rightly differ.
    assert np.mean(agree) == 1 if sdf.parity_holds(mesh) else np.mean(agree) > 0.999
    assert doubtful.mean() < 1e-3
    np.testing.assert_array_equal(value[away] < 0, winding[away])


@pytest.mark.parametrize("name", CLOSED)
def test_winding_numbers_are_whole_on_closed_heads(data_folder, name):
    mesh = head(data_folder, name)
    assert surface.boundless(mesh.faces)
    points, value, _ = sdf.query_pool(mesh, 8000, 1)
    away = np.abs(value) > 1e-5
    found = sdf.winding_number(mesh, points)
    np.testing.assert_array_equal(found, np.round(found))
    np.testing.assert_allclose(found[away], surface.winding_number(mesh, points)[away], atol=0.02)


def test_winding_numbers_of_a_closed_soup_are_those_of_rays_counted_in_a_loop():
    random = np.random.default_rng(0)
    parts = [box(side, centre) for side, centre in zip(random.uniform(0.4, 1, 6), random.uniform(-0.4, 0.4, (6, 3)))]
    mesh, points = joined(*parts, flipped(parts[0])), uniform(400)
    expected = np.zeros(len(points), np.int64)
    for i, point in enumerate(points):
        for triangle in surface.corners(mesh):
            system = np.concatenate([triangle[:, :2].T, np.ones((1, 3))])
            if abs(np.linalg.det(system)) < 1e-12:
                continue
            weights = np.linalg.solve(system, [*point[:2], 1])
            if (weights > 0).all() and weights @ triangle[:, 2] > point[2]:
                expected[i] += np.sign(np.linalg.det(system)).astype(int)
    np.testing.assert_array_equal(sdf.winding_number(mesh, points), expected)
    assert len(set(expected)) > 3


def test_parity_holds_only_for_closed_meshes_that_do_not_cut_themselves():
    mesh = box(1)
    assert sdf.parity_holds(mesh)
    assert sdf.parity_holds(joined(mesh, box(0.5)))
    assert not sdf.parity_holds(mesh._replace(faces=mesh.faces[1:]))
    assert not sdf.parity_holds(joined(mesh, box(1, (0.3, 0.3, 0.3))))
    assert not sdf.parity_holds(joined(mesh, mesh))
    assert not sdf.parity_holds(mesh._replace(faces=np.concatenate([mesh.faces, mesh.faces])))
    assert not sdf.parity_holds(mesh._replace(faces=mesh.faces[:0]))


def test_the_common_part_of_two_boxes_that_cut_each_other_is_inside():
    mesh = joined(box(0.8, (-0.2, 0, 0)), box(0.8, (0.2, 0, 0)))
    points = uniform(3000)
    within, doubtful = sdf.inside(mesh, points)
    expected = (np.abs(points[:, 1:]) < 0.4).all(1) & (np.abs(points[:, 0]) < 0.6)
    np.testing.assert_array_equal(within, expected)
    assert not doubtful.any()


def test_a_shell_within_a_shell_is_a_hollow_and_doubtful_unless_its_winding_says_so_too():
    points = np.array([[0, 0, 0], [0.5, 0, 0], [0.9, 0, 0]], np.float32)
    for inner, unsure in ((box(0.6), True), (flipped(box(0.6)), False)):
        within, doubtful = sdf.inside(joined(box(1.2), inner), points)
        assert within.tolist() == [False, True, False]
        assert doubtful.tolist() == [unsure, False, False]


def test_an_open_box_is_inside_in_its_depth_and_doubtful_only_at_its_opening():
    mesh = box(1.2)
    top = (mesh.vertices[mesh.faces][..., 1] > 0.59).all(1)
    points = np.array([[0, -0.4, 0], [0, -0.8, 0], [0.9, 0.9, 0.9], [0, 0.6, 0]], np.float32)
    value, doubtful = sdf.signed_distance(mesh._replace(faces=mesh.faces[~top]), points)
    assert (value < 0).tolist()[:3] == [True, False, False]
    assert doubtful.tolist() == [False, False, False, True]
    np.testing.assert_allclose(np.abs(value), [0.2, 0.2, np.sqrt(0.27), 0.6], atol=1e-6)


@pytest.mark.parametrize("name", OPEN)
def test_open_heads_have_an_inside_and_the_cube_has_corners_outside(data_folder, name):
    mesh = head(data_folder, name)
    assert not sdf.parity_holds(mesh)
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), -1).reshape(-1, 3)
    value, doubtful = sdf.signed_distance(mesh, np.concatenate([corners, [[0, 0.1, 0]]]))
    assert (value[:8] > 0).all()
    assert value[8] < 0
    assert not doubtful.any()
    assert sdf.query_pool(mesh, 4000, 0)[2].mean() < 0.2


def test_query_pool_is_three_quarters_near_the_surface_and_one_uniform_in_the_cube():
    sphere = made(trimesh.creation.icosphere(subdivisions=4, radius=0.5))
    points, value, doubtful = sdf.query_pool(sphere, 10_000, 3)
    assert points.dtype == value.dtype == np.float32
    assert points.shape == (10_000, 3)
    assert doubtful.mean() == 0.0
    np.testing.assert_array_equal(value, sdf.signed_distance(sphere, points)[0])
    in_band = (4 / 3) * np.pi * (0.55**3 - 0.45**3) / 8
    assert np.mean(np.abs(value) <= sdf.NEAR) == pytest.approx(0.75 + 0.25 * in_band, abs=0.01)
    # Shuffled: any part of the pool has the same make-up.
    assert np.mean(np.abs(value[:2000]) <= sdf.NEAR) == pytest.approx(0.75 + 0.25 * in_band, abs=0.04)
    far = points[np.abs(value) > sdf.NEAR]
    assert np.abs(far).max() > 0.99
    near = np.abs(value[np.abs(value) <= sdf.NEAR])
    # |sdf| <= t * NEAR has the share t (1 + log(1 / t)) where the surface is flat.
    assert np.mean(near <= 0.5 * sdf.NEAR) == pytest.approx(0.5 * (1 + np.log(2)), abs=0.02)


def test_query_pool_is_a_function_of_its_seed():
    mesh = box(1)
    one, same, other = sdf.query_pool(mesh, 1000, 1), sdf.query_pool(mesh, 1000, 1), sdf.query_pool(mesh, 1000, 2)
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert (one[0] != other[0]).any()


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_query_pool_has_the_count_asked_for(count):
    points, value, _ = sdf.query_pool(box(1), count, 0)
    assert points.shape == (count, 3)
    assert value.shape == (count,)


def test_refusals_name_what_is_missing():
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    with refused("mesh has 0 faces; a distance needs at least one"):
        sdf.signed_distance(empty, np.zeros((1, 3), np.float32))
    with refused("mesh has 0 faces and no area; samples need a surface"):
        sdf.query_pool(empty, 4, 0)


@pytest.mark.parametrize("side", [6, 16, 20])
def test_active_cells_are_all_whose_centre_is_near_and_every_cell_that_the_surface_crosses_is_one(side):
    mesh = shapes.torus()
    cells = sdf.active_cells(mesh, side)
    every = np.array(list(np.ndindex(side, side, side)), np.int32)
    distance = surface.closest(mesh, (every + 0.5) * (2 / side) - 1)[0]
    np.testing.assert_array_equal(cells, every[distance <= 3**0.5 / side])
    within = sdf.grid(mesh, side + 1) < 0
    corners = np.stack([within[tuple((every + corner).T)] for corner in symmetry.CORNERS], -1)
    crossed = every[corners.any(1) & ~corners.all(1)]
    assert {tuple(cell) for cell in crossed} <= {tuple(cell) for cell in cells}
    assert 0 < len(crossed) < len(cells)


@pytest.mark.parametrize(("law", "mean"), [("uniform", 0.0125), ("normal", 0.0011)])
def test_points_near_a_flat_surface_lie_as_far_off_as_their_law_says(law, mean):
    """So a field that is 0 at them all adds half of this to an L1 of points half of which are near."""
    sheet = shapes.box(1, 1, 0.2)
    points = sdf.near(sheet, 40_000, law, np.random.default_rng(0))
    width, half = (np.abs(sheet.vertices[:, axis]).max() for axis in (0, 2))
    inner = (np.abs(points[:, :2]).max(1) < 0.8 * width) & (np.abs(points[:, 2]) > 0.4 * half)
    off = np.abs(np.abs(points[inner, 2]) - half)
    assert abs(off.mean() / mean - 1) < 0.05


def test_another_law_of_near_points_is_refused():
    with pytest.raises(ValueError) as refused:
        sdf.near(shapes.box(1, 1, 1), 10, "cauchy", np.random.default_rng(0))
    assert str(refused.value) == "config.sdf.near is 'cauchy'; accepted: uniform | normal"


def thickness_of(mesh):
    return sdf.thickness(mesh, 300, np.random.default_rng(0))


def test_thickness_is_how_far_it_is_to_the_other_side():
    np.testing.assert_allclose(np.median(thickness_of(shapes.sphere(0.6, 4))), 1.2, rtol=0.01)
    plate = shapes.box(1.0, 0.03, 1.4)
    for mesh in (plate, flipped(plate)):
        found = thickness_of(mesh)
        assert len(found) == 300
        np.testing.assert_allclose(np.median(found), 0.03, rtol=0.01)
        assert (
            np.isclose(found, 0.03, rtol=0.01) | np.isclose(found, 1, rtol=0.01) | np.isclose(found, 1.4, rtol=0.01)
        ).all()


def test_the_thickness_of_a_shell_is_its_walls():
    shell = joined(shapes.sphere(0.8, 4), flipped(shapes.sphere(0.7, 4)))
    np.testing.assert_allclose(np.median(thickness_of(shell)), 0.1, rtol=0.02)


def test_faces_within_the_solid_have_no_thickness_and_a_sheet_has_none():
    cross = joined(shapes.box(1.6, 0.2, 0.2), shapes.box(0.2, 1.6, 0.2))
    found = thickness_of(cross)
    assert 200 < len(found) < 300
    np.testing.assert_allclose(np.median(found), 0.2, rtol=0.01)
    sheet = Mesh(np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.int32([[0, 1, 2]]))
    np.testing.assert_array_equal(thickness_of(sheet), 0)
