"""A batch is a pure function of the cache, the seed and the step."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from hexjax.data import batches
from hexjax.data import cache as caches
from hexjax.geometry import mesh as meshes
from hexjax.types import Item, Mesh

SHAPES, POOL = 5, 64
batch_at = jax.jit(batches.batch_at, static_argnums=(3, 4))


@pytest.fixture(scope="module")
def cache():
    """Shape i is marked by i in every field; the place in the pool is the fraction of the signed distance."""
    marks = np.arange(SHAPES, dtype=np.float32)
    places = jnp.asarray(marks[:, None] + np.arange(POOL, dtype=np.float32) / 128)
    fields = {"depth": jnp.broadcast_to(marks[:, None, None, None], (SHAPES, 6, 2, 2)), "sdf": places}
    return caches.Cache(
        fields | {"points": jnp.stack([places] * 3, -1)}, None, ("depth", "points", "sdf"), SHAPES, POOL, 2
    )


def boxes(count):
    found = []
    for number in range(count):
        shape = trimesh.creation.box((1, 1 + number / 10, 2))
        source = Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))
        found.append(Item(f"box_{number}", source, *meshes.normalise(source)))
    return found


def hull(maps, points):
    return jnp.abs(points).max(-1) - 0.95


def equal(first, second):
    assert first.keys() == second.keys()
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_every_shape_comes_once_an_epoch_in_an_order_of_its_own(cache, batch_size):
    epochs = 20
    items = jax.jit(jax.vmap(lambda step: batches.batch_at(cache, step, 7, batch_size, 4)["item"]))
    steps = np.asarray(items(jnp.arange(epochs * SHAPES // batch_size)))
    orders = np.concatenate(steps)[: len(steps) * batch_size // SHAPES * SHAPES].reshape(-1, SHAPES)
    np.testing.assert_array_equal(np.sort(orders, 1), np.broadcast_to(np.arange(SHAPES), orders.shape))
    assert len({tuple(order) for order in orders}) > epochs // 2


def test_fields_belong_to_the_item(cache):
    batch = batch_at(cache, 3, 0, 4, 16)
    assert {name: value.shape for name, value in batch.items()} == {
        "item": (4,),
        "depth": (4, 6, 2, 2),
        "points": (4, 16, 3),
        "sdf": (4, 16),
    }
    np.testing.assert_array_equal(batch["depth"][:, 0, 0, 0], batch["item"])
    np.testing.assert_array_equal(jnp.floor(batch["sdf"]), jnp.broadcast_to(batch["item"][:, None], (4, 16)))
    np.testing.assert_array_equal(batch["points"][..., 2], batch["sdf"])


def test_a_batch_depends_on_seed_and_step_alone(cache):
    equal(batch_at(cache, 11, 5, 2, 8), batch_at(cache, jnp.int32(11), 5, 2, 8))
    here = batch_at(cache, 11, 5, 2, 8)["sdf"]
    for step, seed in ((12, 5), (11, 6)):
        assert (batch_at(cache, step, seed, 2, 8)["sdf"] != here).any()


def test_shapes_of_a_batch_draw_points_of_their_own(cache):
    drawn = batch_at(cache, 0, 0, 2, 32)["sdf"] % 1
    assert (drawn[0] != drawn[1]).any()


def test_all_places_of_the_pool_are_drawn(cache):
    drawn = np.concatenate([batch_at(cache, step, 0, 5, 64)["sdf"].ravel() % 1 for step in range(4)])
    assert len(np.unique(drawn)) == POOL


def test_jit_changes_nothing(cache):
    jitted = jax.jit(functools.partial(batches.batch_at, seed=2, batch_size=3, points=8))
    for step in (0, 1, 99):
        equal(jitted(cache, jnp.int32(step)), batches.batch_at(cache, step, 2, 3, 8))


def test_fixed_batches_are_of_the_given_items_and_spread_over_the_pool(cache):
    batch = batches.fixed(cache, jnp.array([4, 1]), 8)
    np.testing.assert_array_equal(batch["item"], [4, 1])
    np.testing.assert_array_equal(batch["sdf"] % 1 * 128, np.broadcast_to(np.arange(0, 64, 8), (2, 8)))
    equal(batch, batches.fixed(cache, jnp.array([4, 1]), 8))


def test_a_batch_of_more_shapes_than_there_are_is_refused(cache):
    for size in (0, 6):
        text = f"config.train.batch_size is {size}; accepted: 1 to 5, the number of shapes"
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            batches.batch_at(cache, 0, 0, size, 8)


def test_maps_rendered_in_the_step_equal_cached_ones():
    inputs = ("depth", "normal", "mask", "points", "weight")
    kept, made = (caches.build(boxes(2), inputs, 16, 50, 0, cached, hull) for cached in (True, False))
    step = jax.jit(functools.partial(batches.batch_at, seed=0, batch_size=2, points=10))
    for number in range(2):
        one, other = step(kept, number), step(made, number)
        assert set(one) == set(other) == {*inputs, "item"}
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=1e-6)


def test_maps_rendered_in_the_step_are_only_those_that_are_read():
    cache = caches.build(boxes(2), ("mask",), 16, 50, 0, False, hull)
    batch = jax.eval_shape(functools.partial(batches.batch_at, seed=0, batch_size=2, points=10), cache, 0)
    assert set(batch) == {"mask", "item"}
