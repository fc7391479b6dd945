"""A batch is a pure function of the cache, the seed and the step."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from configs import base
from hexjax.data import batches, fields
from hexjax.geometry import mesh as meshes
from hexjax.geometry import symmetry
from hexjax.types import Item, Mesh

SHAPES, POOL, DRAWN = 5, 64, 32
SURFACE, SAMPLES = 48, 6  # the other pool has a size and draws of its own
batch_at = jax.jit(batches.batch_at, static_argnums=3)


@pytest.fixture(scope="module")
def cache():
    """Shape i is marked by i in every field; the place in a pool is the fraction of signed distances and samples."""
    marks = np.arange(SHAPES, dtype=np.float32)
    place = lambda size: jnp.asarray(marks[:, None] + np.arange(size, dtype=np.float32) / 128)
    kept = {"depth": jnp.broadcast_to(marks[:, None, None, None], (SHAPES, 6, 2, 2)), "sdf": place(POOL)}
    kept |= {"points": jnp.stack([place(POOL)] * 3, -1), "surface": jnp.stack([place(SURFACE)] * 3, -1)}
    pools = (("sdf", POOL, DRAWN), ("surface", SURFACE, SAMPLES))
    return batches.Cache(kept, None, {}, tuple(kept), SHAPES, pools, 2)


def boxes(count):
    found = []
    for number in range(count):
        shape = trimesh.creation.box((1, 1 + number / 10, 2))
        source = Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))
        found.append(Item(f"box_{number}", source, *meshes.normalise(source)))
    return found


def hull(maps, points):
    return jnp.abs(points).max(-1) - 0.95


def config_of(cached):
    config = base.get_config()
    config.data.cached, config.hexplane.resolution_px = cached, 16
    config.sdf.pool_points, config.sdf.points = 50, 10
    return config


def equal(first, second):
    assert first.keys() == second.keys()
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_every_shape_comes_once_an_epoch_in_an_order_of_its_own(cache, batch_size):
    epochs = 20
    items = jax.jit(jax.vmap(lambda step: batches.batch_at(cache, step, 7, batch_size)["item"]))
    steps = np.asarray(items(jnp.arange(epochs * SHAPES // batch_size)))
    orders = np.concatenate(steps)[: len(steps) * batch_size // SHAPES * SHAPES].reshape(-1, SHAPES)
    np.testing.assert_array_equal(np.sort(orders, 1), np.broadcast_to(np.arange(SHAPES), orders.shape))
    assert len({tuple(order) for order in orders}) > epochs // 2


def test_fields_belong_to_the_item(cache):
    batch = batch_at(cache, 3, 0, 4)
    assert {name: value.shape for name, value in batch.items()} == {
        "item": (4,),
        "depth": (4, 6, 2, 2),
        "points": (4, DRAWN, 3),
        "sdf": (4, DRAWN),
        "surface": (4, SAMPLES, 3),
    }
    np.testing.assert_array_equal(batch["depth"][:, 0, 0, 0], batch["item"])
    for name in ("sdf", "surface"):
        owner = np.floor(batch[name].reshape(4, -1))
        np.testing.assert_array_equal(owner, np.broadcast_to(batch["item"][:, None], owner.shape))
    np.testing.assert_array_equal(batch["points"][..., 2], batch["sdf"])  # fields of one pool have one place


def test_a_batch_depends_on_seed_and_step_alone(cache):
    equal(batch_at(cache, 11, 5, 2), batch_at(cache, jnp.int32(11), 5, 2))
    here = batch_at(cache, 11, 5, 2)
    for step, seed in ((12, 5), (11, 6)):
        other = batch_at(cache, step, seed, 2)
        assert all((other[name] != here[name]).any() for name in ("sdf", "surface"))


def test_shapes_of_a_batch_draw_points_of_their_own(cache):
    batch = batch_at(cache, 0, 0, 2)
    for name in ("sdf", "surface"):
        drawn = batch[name] % 1
        assert (drawn[0] != drawn[1]).any()


def test_all_places_of_each_pool_are_drawn_and_no_others(cache):
    drawn = [batch_at(cache, jnp.int32(step), 0, 5) for step in range(16)]
    for name, size in (("sdf", POOL), ("surface", SURFACE)):
        places = np.concatenate([np.asarray(batch[name]).ravel() % 1 * 128 for batch in drawn])
        np.testing.assert_array_equal(np.unique(places), np.arange(size))


def test_a_pool_draws_the_same_places_whatever_other_pools_there_are(cache):
    """A family that reads one field more goes on with the draws of the others."""
    one = dataclasses.replace(cache, fields={"surface": cache.fields["surface"]}, pools=cache.pools[1:])
    np.testing.assert_array_equal(batch_at(one, 4, 0, 5)["surface"], batch_at(cache, 4, 0, 5)["surface"])


def test_pools_of_one_size_draw_apart(cache):
    same = dataclasses.replace(cache, pools=tuple((name, SURFACE, DRAWN) for name, _, _ in cache.pools))
    batch = batch_at(same, 0, 0, 5)
    assert (batch["sdf"] != batch["surface"][..., 0]).mean() > 0.8


def test_jit_changes_nothing(cache):
    jitted = jax.jit(functools.partial(batches.batch_at, seed=2, batch_size=3))
    for step in (0, 1, 99):
        equal(jitted(cache, jnp.int32(step)), batches.batch_at(cache, step, 2, 3))


def test_fixed_batches_are_of_the_given_items_and_spread_over_each_pool(cache):
    batch = batches.fixed(cache, jnp.array([4, 1]))
    np.testing.assert_array_equal(batch["item"], [4, 1])
    np.testing.assert_array_equal(batch["sdf"] % 1 * 128, np.broadcast_to(np.arange(0, POOL, 2), (2, DRAWN)))
    spread = np.broadcast_to(np.arange(0, SURFACE, 8), (2, SAMPLES))
    np.testing.assert_array_equal(batch["surface"][..., 1] % 1 * 128, spread)
    equal(batch, batches.fixed(cache, jnp.array([4, 1])))


def test_a_batch_of_more_shapes_than_there_are_is_refused(cache):
    for size in (0, 6):
        text = f"config.train.batch_size is {size}; accepted: 1 to 5, the number of shapes"
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            batches.batch_at(cache, 0, 0, size)


def test_maps_rendered_in_the_step_equal_cached_ones():
    inputs = ("depth", "normal", "mask", "points", "seen")
    kept, made = (fields.build(boxes(2), inputs, config_of(cached), fields.Fuse(hull, "")) for cached in (True, False))
    step = jax.jit(functools.partial(batches.batch_at, seed=0, batch_size=2))
    for number in range(2):
        one, other = step(kept, number), step(made, number)
        assert set(one) == set(other) == {*inputs, "item"}
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=1e-6)


def test_maps_rendered_in_the_step_are_only_those_that_are_read():
    cache = fields.build(boxes(2), ("mask",), config_of(cached=False))
    batch = jax.eval_shape(functools.partial(batches.batch_at, seed=0, batch_size=2), cache, 0)
    assert set(batch) == {"mask", "item"}


def test_a_symmetry_is_drawn_for_each_shape_and_turns_all_its_fields_alike(cache):
    points = jax.random.uniform(
        jax.random.key(0), (SHAPES, POOL, 3), minval=0.1
    )  # no symmetry but one leaves them there
    depth = jax.random.uniform(jax.random.key(1), (SHAPES, 6, 2, 2))
    cache = dataclasses.replace(cache, fields=cache.fields | {"points": points, "depth": depth})
    for kind, choices in batches.SYMMETRIES.items():
        drawn = []
        for step in range(2):
            plain = batch_at(cache, step, 0, 4)
            found = batch_at(dataclasses.replace(cache, augment=kind), step, 0, 4)
            for place in range(4):
                one, other = ({name: value[place] for name, value in batch.items()} for batch in (plain, found))
                images = np.asarray(jax.vmap(lambda i, x=one["points"]: symmetry.vectors(x, i))(jnp.asarray(choices)))
                (number,) = np.flatnonzero((images == np.asarray(other["points"])).all((1, 2)))
                drawn.append(choices[number])
                np.testing.assert_array_equal(symmetry.images(one["depth"], drawn[-1]), other["depth"])
                np.testing.assert_array_equal(one["sdf"], other["sdf"])
        assert len(set(drawn)) == {"none": 1, "mirror": 2}.get(kind, len(set(drawn)))
        assert kind != "cube" or len(set(drawn)) > 4


def test_fields_that_stand_for_a_shape_as_it_is_are_refused_with_symmetries():
    config = config_of(True)
    config.data.augment = "cube"
    with pytest.raises(
        ValueError, match=r"^config\.data\.augment is 'cube'; accepted with a family that reads inside: none$"
    ):
        fields.build(boxes(1), ("mask", "inside"), config)
