"""The contract of house and `models.family`, for every family and variant."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hexjax import rules
from hexjax.models import family as families
from hexjax.types import Latent
from tests import toys

KEY = jax.random.key(0)
ADAM = optax.adam(3e-2)
POINTS = np.random.default_rng(0).uniform(-1, 1, (11, 3)).astype(np.float32)
SIDE = 9  # nodes
NODES = np.stack(np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 3, indexing="ij"), -1).reshape(-1, 3)
pytestmark = pytest.mark.usefixtures("quick_programs")


@functools.cache
def made(name, variant):
    config = toys.config_of(name, variant)
    family, batch = toys.family_of(config), toys.batch_of(config)
    batch = {field: batch[field] for field in family.reads}
    params = family.init(batch, KEY, {})  # operation by operation: variants share most of these small programs
    return config, family, batch, params, families.knobs(config)


@functools.cache
def step_of(name, variant):
    """Loss, gradient, and parameters after a step of Adam: one program for all that is asked of them."""
    value = jax.value_and_grad(made(name, variant)[1].loss, has_aux=True)

    @jax.jit
    def step(params, memory, batch, number, knobs):
        told, gradient = value(params, batch, KEY, number, knobs)
        updates, memory = ADAM.update(gradient, memory)
        return told, gradient, optax.apply_updates(params, updates), memory

    return step


class Seen(NamedTuple):
    """What a variant says of a batch without its loss; the field's values are of what is decoded of the first shape."""

    mean: Latent  # without a key
    drawn: Latent
    decoded: Any
    one: Any
    values: jax.Array  # at POINTS
    slope: jax.Array
    nodes: jax.Array  # at NODES


@functools.cache
def seen_by(name, variant):
    """All of it as one program: what is compiled is the cost here."""
    family = made(name, variant)[1]

    def see(params, batch):
        mean, drawn = (family.encode(params, batch, key) for key in (None, KEY))
        decoded = family.decode(params, drawn)
        one = jax.tree.map(lambda leaf: leaf[0], decoded)
        total = lambda points: (lambda values: (values.sum(), values))(family.field(params, one, points))
        slope, values = jax.grad(total, has_aux=True)(POINTS)
        return Seen(mean, drawn, decoded, one, values, slope, family.field(params, one, NODES))

    return jax.jit(see)


@functools.cache
def seen(name, variant):
    _, _, batch, params, _ = made(name, variant)
    return seen_by(name, variant)(params, batch)


def test_every_family_file_has_variants_here():
    assert rules.families() == sorted(toys.VARIANTS)


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError) as error:
        families.get("vqvae")
    assert str(error.value) == f"config.model.family is 'vqvae'; families: {', '.join(rules.families())}"


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_loss_and_gradient_are_finite_and_the_same_for_the_same_key(name, variant):
    _, _, batch, params, knobs = made(name, variant)
    step = functools.partial(step_of(name, variant), params, ADAM.init(params), batch, 3, knobs)
    (loss, parts), gradient = step()[:2]
    assert np.isfinite(loss)
    assert all(np.isfinite(part) and np.shape(part) == () for part in parts.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any((np.asarray(leaf) != 0).any() for leaf in jax.tree.leaves(gradient["encoder"]))
    (again, _), _ = step()[:2]
    assert float(again) == float(loss)


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_shapes_and_sizes_are_as_told(name, variant):
    config, family, _, _, _ = made(name, variant)
    found = seen(name, variant)
    assert found.mean.code[0].size == found.drawn.code[0].size == family.latent_floats
    if family.probe.codes == 0:
        assert family.latent_bits == family.latent_floats * config.latent.bits
    else:
        assert 0 < family.latent_bits <= family.latent_floats * np.log2(family.probe.codes) + 1
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(found.decoded))
    assert (found.values.shape, found.values.dtype) == ((11,), jnp.float32)
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.slope).all()


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_shapes_in_a_batch_do_not_see_each_other(name, variant):
    _, _, batch, params, _ = made(name, variant)
    both = np.asarray(seen(name, variant).mean.code)
    twice = jax.tree.map(lambda a: np.stack([np.asarray(a)[1]] * 2), batch)
    same = np.asarray(seen_by(name, variant)(params, twice).mean.code)
    np.testing.assert_allclose(same, np.stack([both[1]] * 2), atol=1e-4)
    assert np.abs(both[0] - both[1]).max() > 1e-3


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_the_grid_is_the_field_at_the_nodes(name, variant):
    _, family, _, params, _ = made(name, variant)
    if family.grid is None:
        return
    found = seen(name, variant)
    values = np.asarray(family.grid(params, found.one, SIDE))
    np.testing.assert_array_equal(values < 0, np.asarray(found.nodes).reshape((SIDE,) * 3) < 0)


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_one_shape_is_overfitted(name, variant):
    _, _, batch, params, knobs = made(name, variant)
    batch = jax.tree.map(lambda a: jnp.asarray(np.stack([np.asarray(a)[0]] * 2)), batch)
    step, memory, losses = step_of(name, variant), ADAM.init(params), []
    for number in range(80):
        (_, parts), _, params, memory = step(params, memory, batch, number, knobs)
        losses.append(parts["reconstruction"])
    assert float(losses[-1]) < 0.35 * float(losses[0])


def test_rendered_maps_cost_the_sdf_supervision_nothing(data_folder):
    """At the rendered maps the loss through the fused field is 0, and so is its gradient."""
    from hexjax.data import cache
    from hexjax.geometry import field, hexplane
    from hexjax.models.parts import losses
    from hexjax.types import Hexplane
    from tests import shapes

    def error(depth, normal, mask, pool):
        values = field.fuse(Hexplane(depth, normal, mask), pool["points"])
        return sum(
            losses.signed_distance_error(*(a[None] for a in (values, pool["sdf"], pool["slack"], pool["weight"])))
        )

    loss, fuse = jax.jit(jax.value_and_grad(error, (0, 1, 2))), jax.jit(field.fuse)
    for mesh in (shapes.torus(), shapes.head(data_folder, "leeperrysmith_5500")):
        maps = hexplane.render(mesh, 64)
        pool, _ = cache.pool(mesh, maps, 2000, 0, fuse)
        depth, normal, mask = np.asarray(maps.depth), np.asarray(maps.normal), np.asarray(maps.mask, np.float32)
        value, gradient = loss(depth, normal, mask, pool)
        assert float(value) < 1e-6
        assert all(float(np.abs(part).max()) < 1e-6 for part in gradient)
        assert pool["weight"].mean() > 0.5
        assert float(loss(depth + np.float32(0.03), normal, mask, pool)[0]) > 0.05
        assert float(loss(depth, normal, 0 * mask, pool)[0]) > 0.05
