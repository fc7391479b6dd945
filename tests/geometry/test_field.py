import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.geometry import field
from hexjax.types import Hexplane
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
def total_of_field():
    """The weighted sum of the field's values, its gradient in the maps' depth, and that of the plain sum in everything."""
    total = lambda given, points, weight: (weight * field.fuse(given, points)).sum()
    plain = lambda given, points: field.fuse(given, points).sum()
    gradients = lambda *at: (jax.grad(total)(*at).depth, jax.grad(plain, (0, 1))(*at[:2]))
    return jax.jit(total), jax.jit(gradients)


@pytest.mark.parametrize("name", ["cube", "torus", "soup"])
def test_gradients_in_points_and_maps_are_right(name):
    given = maps.of(name)._replace(mask=np.asarray(maps.of(name).mask, np.float32))
    points, random = maps.random_points(400, 3, 0.8), np.random.default_rng(0)
    weight = np.where(np.abs(maps.fuse(given, points)) < 0.08, random.normal(size=len(points)), 0).astype(np.float32)
    direction = np.random.default_rng(1).normal(size=given.depth.shape).astype(np.float32)
    total, gradients = total_of_field()
    depth, step = np.asarray(given.depth), np.float32(1e-4)
    ahead, behind = (total(given._replace(depth=depth + s * direction), points, weight) for s in (step, -step))
    in_depth, everything = gradients(given, points, weight)
    np.testing.assert_allclose((in_depth * direction).sum(), (ahead - behind) / (2 * step), rtol=0.05, atol=0.5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(everything))


def test_gradients_are_finite_however_the_program_is_compiled():
    """The largest of several views is still one of them."""
    assert maps.finite_however_compiled(field.fuse)
