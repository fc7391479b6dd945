import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import thin as plates
from hexjax.geometry import field
from hexjax.types import Hexplane, Mesh
from tests import shapes
from tests.geometry import maps


def test_field_is_the_point_to_plane_distance_of_a_cube():
    """Off its edges, a cube's six views give the largest of the distances to its six planes."""
    points = maps.random_points(4000)
    behind = np.abs(points).max(1) - 0.5
    edge = np.sort(np.abs(points), 1)[:, 1]
    clear = (edge < 0.5 - 2 / 64) & (np.abs(behind) < 0.45)
    found = maps.fuse(maps.of("cube"), points)
    least = 0.5 * field.KNEE * 2 / 64  # what an empty pixel claims at the least
    np.testing.assert_allclose(found[clear], behind[clear], atol=least + 1e-4)


def test_field_is_near_the_distance_of_a_sphere_at_its_surface():
    direction = maps.random_points(500)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for offset in (-0.03, -0.01, 0.0, 0.01, 0.03):
        found = maps.fuse(maps.of("sphere", 256), direction * np.float32(0.7 + offset))
        assert np.abs(found - offset).max() < 8e-3


def test_background_carves_and_a_full_view_of_nothing_is_outside():
    empty = Hexplane(jnp.zeros((6, 8, 8)), jnp.zeros((6, 8, 8, 3)), jnp.zeros((6, 8, 8), bool))
    np.testing.assert_allclose(maps.fuse(empty, maps.random_points(20)), field.BACKGROUND, rtol=1e-3)
    assert ((maps.fuse(maps.of("sphere"), np.full((1, 3), 0.95, np.float32))) > 0.09).all()


def test_back_faces_abstain_and_six_abstentions_are_inside():
    inward = shapes.sphere(0.7, 3)
    inward = inward._replace(faces=inward.faces[:, ::-1])
    found = maps.fuse(maps.render(inward), np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(found, -field.BACKGROUND, rtol=1e-3)


def test_an_open_box_is_filled_not_emptied():
    """Seen from above the open box shows its inner floor: that view must not carve the walls' inside."""
    box = shapes.cube(0.5)
    walls = box._replace(faces=box.faces[np.abs(np.asarray(box.vertices)[box.faces][:, :, 1] - 0.5).max(1) > 1e-6])
    found = np.asarray(maps.fuse(maps.render(walls), np.array([[0, 0.3, 0], [0, -0.6, 0], [0.7, 0, 0]], np.float32)))
    assert (found[0] < 0) & (found[1] > 0) & (found[2] > 0)


def test_coverage_blends_surface_and_background():
    given = maps.of("sphere")
    inside = np.zeros((1, 3), np.float32)
    covered = [float(maps.fuse(given._replace(mask=given.mask * share), inside)[0]) for share in (1.0, 0.6, 0.4, 0.0)]
    assert covered[0] < covered[1] < 0 < covered[2] < covered[3]
    covers = lambda x: field.fuse(given._replace(mask=given.mask * jax.nn.sigmoid(x)), inside)[0]
    slope = jax.jit(jax.grad(covers))(0.0)
    assert np.isfinite(slope)
    assert slope < 0


@functools.cache
def values_and_slopes():
    """The field's values, and the gradient of a weighted sum of them in the maps' depth, and of the plain sum in everything."""
    total = lambda given, points, weight: (weight * field.fuse(given, points)).sum()
    plain = lambda given, points: field.fuse(given, points).sum()
    gradients = lambda *at: (jax.grad(total)(*at).depth, jax.grad(plain, (0, 1))(*at[:2]))
    return jax.jit(field.fuse), jax.jit(gradients)


@pytest.mark.parametrize("name", ["cube", "torus", "soup"])
def test_gradients_in_points_and_maps_are_right(name):
    """But for the few points at which other views come to count, where the field jumps."""
    given = maps.soft(maps.of(name))
    points, random = maps.random_points(400, 3, 0.8), np.random.default_rng(0)
    direction = np.random.default_rng(1).normal(size=given.depth.shape).astype(np.float32)
    values, gradients = values_and_slopes()
    step = np.float32(1e-4)
    behind, here, ahead = (np.asarray(values(given._replace(depth=given.depth + s * step * direction), points))
                           for s in (-1, 0, 1))  # fmt: skip
    smooth = np.abs(ahead - 2 * here + behind) < 5e-4
    assert smooth.mean() >= 0.99
    weight = np.where(smooth & (np.abs(here) < 0.08), random.normal(size=len(points)), 0).astype(np.float32)
    in_depth, everything = gradients(given, points, weight)
    expected = (weight * (ahead - behind)).sum() / (2 * step)
    np.testing.assert_allclose((in_depth * direction).sum(), expected, rtol=0.05, atol=0.5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(everything))


@pytest.mark.slow
def test_gradients_are_finite_however_the_program_is_compiled():
    """The largest of several views is still one of them."""
    assert maps.finite_however_compiled(field.fuse)


def test_on_a_plane_that_three_views_see_the_blend_is_the_exact_distance():
    """Between pixels too: of a cube's face that is turned to all three."""
    across = np.array([[0.6, 0.48, 0.64], [0.8, -0.36, -0.48], [0, 0.8, -0.6]])  # its normal, and along it
    given = maps.render(shapes.turned(shapes.cube(), across.T))
    distance, place = maps.random_points(2000, 1, 0.1)[:, :1], maps.random_points(2000, 2, 0.25)[:, :2]
    points = np.concatenate([0.5 + distance, place], 1) @ across
    np.testing.assert_allclose(maps.fuse(given, points.astype(np.float32)), distance[:, 0], atol=1e-5)


def test_blended_normals_of_a_sphere_are_nearer_to_the_truth_than_those_of_the_largest_value(monkeypatch):
    """By more than a twentieth, of rendered maps and of depths that err by a fifth of a pixel."""
    given, direction = maps.of("sphere"), maps.random_points(2000)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    error = np.random.default_rng(0).normal(0, 0.2 * 2 / 64, given.depth.shape).astype(np.float32)
    given = [given, given._replace(depth=given.depth + error)]
    blended = [angle_to(direction, maps.fuse_program, each) for each in given]
    monkeypatch.setattr(field, "AGREE", 1e-9)
    largest = jax.jit(lambda *both: field.fuse(*both))
    for angle, each in zip(blended, given):
        assert angle < 0.95 * angle_to(direction, largest, each)


def angle_to(direction, program, given, step=1e-3):
    """The mean angle between a sphere's normals and the field's slope on it."""
    ends = 0.7 * direction[:, None] + step * np.concatenate([np.eye(3), -np.eye(3)])
    values = maps.at_points(program, given, ends.reshape(-1, 3).astype(np.float32)).reshape(-1, 6)
    slope = values[:, :3] - values[:, 3:]
    return np.arccos(np.clip((slope * direction).sum(1) / np.linalg.norm(slope, axis=1), -1, 1)).mean()


@pytest.mark.parametrize("thickness", [0.001, 0.01])
@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_plate_thinner_than_a_pixel_is_inside_in_its_middle_and_outside_beside_it(axis, turned, thickness):
    """From four pixels within its rim on."""
    assert thickness < 2 / 64
    given = maps.render(plates.plate(axis, thickness, turned))
    sides = np.array([max(side / 2 - 4 * 2 / 64, 0) for side in plates.EXTENTS[axis]])
    across = np.eye(3)["xyz".index(axis)]
    middle = maps.random_points(2000) * sides
    at = lambda points: maps.fuse(
        given, plates.placed(Mesh(points, None), "xy", plates.TURN if turned else (0, 0)).vertices
    )
    assert (at(middle) < 0).all()
    for side in (-1, 1):
        beside = at(middle + side * (thickness / 2 + 0.01) * across)
        np.testing.assert_allclose(beside, 0.01, atol=1e-5)


def test_a_step_in_a_view_is_no_surface_that_others_could_have_missed():
    """Seen from the left, two boxes with a gap between meet at y = 0, within a pixel; all others see through the gap."""
    lobe, body = (plates.placed(shapes.box(*sides), "x", (0,), move) for sides, move in (
        ((0.1, 0.6, 0.6), (-0.55, 0.3, 0)), ((0.6, 1.2, 1.0), (0.1, 0, 0))))  # fmt: skip
    x, y, z = np.meshgrid(np.linspace(-0.47, -0.23, 9), np.linspace(-0.05, 0.05, 21), np.linspace(-0.2, 0.2, 3))
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    assert (maps.fuse(maps.render(plates.joined([lobe, body])), points) > 0).all()


@pytest.mark.parametrize("degrees", [(0, 0), (45, 35), (30, 30), (20, 0)])
def test_a_sheet_of_two_sides_in_one_place_has_a_thickness(degrees):
    """Half of SHEET on either side, from four pixels within its rim on."""
    corners = np.array([[-0.6, 0, -0.6], [-0.6, 0, 0.6], [0.6, 0, 0.6], [0.6, 0, -0.6]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [2, 1, 0], [3, 2, 0]], np.int32)
    place = lambda points: plates.placed(Mesh(points, faces), "xy", degrees, (0, 0.123, 0))
    given, middle = maps.render(place(corners)), maps.random_points(1000, 1, 0.45) * np.array([1, 0, 1])
    for height in (0, 0.4, -0.4, 0.6, -0.6, 3, -3):
        found = maps.fuse(given, place(middle + np.array([0, height * field.SHEET, 0])).vertices)
        np.testing.assert_allclose(found / field.SHEET, abs(height) - 0.5, atol=0.01)
