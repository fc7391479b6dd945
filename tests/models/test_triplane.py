"""Three planes: where points fall on them, what is said between their cells, and what the family refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from configs import triplane as experiment
from hexjax.models import triplane
from tests import toys

KEY = jax.random.key(0)
POINTS = np.random.default_rng(0).uniform(-1, 1, (40, 3)).astype(np.float32)
pytestmark = pytest.mark.usefixtures("quick_programs")


def test_between_cells_a_plane_is_linear_as_scipys_and_the_planes_are_summed():
    planes, points = np.random.default_rng(1).standard_normal((3, 5, 5, 2)).astype(np.float32), 1.05 * POINTS
    want = sum(
        np.stack(
            [
                scipy.ndimage.map_coordinates(each[..., d], (points[:, axes].T + 1) / 2 * 5 - 0.5, order=1, mode="nearest")
                for d in range(2)
            ],
            -1,
        )
        for each, axes in zip(planes, triplane.AXES)
    )  # fmt: skip
    np.testing.assert_allclose(triplane.look(jnp.asarray(planes), jnp.asarray(points)), want, atol=1e-5)


def test_at_a_cells_centre_the_slope_is_that_of_the_side_ahead():
    planes, side, ahead = np.random.default_rng(4).standard_normal((3, 4, 4, 1)).astype(np.float32), 4, 1e-3
    point = jnp.asarray((np.array([[1, 2, 1]]) + 0.5) / side * 2 - 1, jnp.float32)
    look = lambda points: triplane.look(jnp.asarray(planes), points)
    slope = jax.grad(lambda point: look(point).sum())(point)[0]
    steps = ahead * jnp.eye(3, dtype=jnp.float32)
    np.testing.assert_allclose(slope, (look(point + steps) - look(point))[:, 0] / ahead, rtol=1e-2, atol=1e-2)


def test_a_cell_holds_the_mean_of_the_points_that_fall_into_it():
    found, side = np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32), 4
    got = np.asarray(triplane.gather(jnp.asarray(found), jnp.asarray(POINTS), side))
    place = np.floor((POINTS + 1) / 2 * side).astype(int)
    for plane, (first, second) in enumerate(triplane.AXES):
        for i in range(side):
            for j in range(side):
                there = (place[:, first] == i) & (place[:, second] == j)
                want = found[there].mean(0) if there.any() else np.zeros(3)
                np.testing.assert_allclose(got[plane, i, j], want, atol=1e-5)


def test_what_is_gathered_at_a_cells_centre_is_seen_there():
    side = 4
    centres = (np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) / side * 2 - 1
    centres = jnp.asarray(centres, jnp.float32)
    planes = triplane.gather(jnp.sin(3 * centres), centres, side)
    linear = triplane.look(planes, centres)
    means = [np.sin(3 * centres)[:, axis] for axis in range(3)]
    average = float(np.mean(means[0]))  # an axis that a plane does not have is averaged over
    want = np.stack([2 * means[axis] + average for axis in range(3)], -1)
    np.testing.assert_allclose(linear, want, atol=1e-5)


def test_the_order_of_the_points_does_not_change_the_code_and_its_floats_are_planes_and_a_global_code():
    config = toys.config_of("triplane", "truncated")
    family, batch = toys.family_of(config), toys.batch_of(config)
    params = jax.jit(family.init)(batch, KEY, {})
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    encode = jax.jit(lambda batch: family.encode(params, batch, None).code)
    code, order = encode(batch), np.random.default_rng(3).permutation(batch["surface"].shape[1])
    assert code.shape == (2, 3 * 2 * 2 + 2, 4)  # 6 global floats fill two tokens of 4
    np.testing.assert_allclose(encode(dict(batch, surface=batch["surface"][:, order])), code, atol=1e-5)
    assert np.abs(encode(dict(batch, surface=0.7 * batch["surface"])) - code).max() > 1e-3


@pytest.mark.parametrize(("variant", "floats"), [("", 16212), ("small", 1990)])
def test_a_variant_has_so_many_floats(variant, floats):
    assert toys.family_of(experiment.get_config(variant)).latent_floats == floats


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"model.plane_side": 6}, "config.model.plane_side is 6; accepted: latent.side = 2 times a power of two"),
        ({"model.plane_side": 1}, "config.model.plane_side is 1; accepted: latent.side = 2 times a power of two"),
        ({"model.heads": 3}, "config.model.width is 16; accepted: multiples of model.heads = 3"),
        ({"latent.global_floats": 0}, "config.latent.global_floats is 0; accepted: a whole number, at least 1"),
    ],
)
def test_what_the_family_cannot_do_is_refused_in_a_line(more, text):
    with pytest.raises(ValueError) as refused:
        triplane.check(toys.config_of("triplane", "truncated", **more))
    assert str(refused.value) == text
