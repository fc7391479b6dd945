"""The contract of house and `models.family`, for every family and variant."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hexjax import rules
from hexjax.models import family as families
from tests import toys

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("quick_programs")


@functools.cache
def made(name, variant):
    config = toys.config_of(name, variant)
    family, batch = toys.family_of(config), toys.batch_of(config)
    batch = {field: batch[field] for field in family.reads}
    return config, family, batch, jax.jit(family.init)(batch, KEY, {}), families.knobs(config)


@functools.cache
def value_of(name, variant):
    """Loss and gradient, compiled once for all that is asked of them."""
    return jax.jit(jax.value_and_grad(made(name, variant)[1].loss, has_aux=True))


@functools.cache
def encoded_by(name, variant):
    """The latent without noise, compiled once for all batches of two."""
    family = made(name, variant)[1]
    return jax.jit(lambda params, batch: family.encode(params, batch, None))


def test_every_family_file_has_variants_here():
    assert rules.families() == sorted(toys.VARIANTS)


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError) as error:
        families.get("vqvae")
    assert str(error.value) == f"config.model.family is 'vqvae'; families: {', '.join(rules.families())}"


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_loss_and_gradient_are_finite_and_the_same_for_the_same_key(name, variant):
    _, _, batch, params, knobs = made(name, variant)
    value = value_of(name, variant)
    (loss, parts), gradient = value(params, batch, KEY, 3, knobs)
    assert np.isfinite(loss)
    assert all(np.isfinite(part) and np.shape(part) == () for part in parts.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any((np.asarray(leaf) != 0).any() for leaf in jax.tree.leaves(gradient["encoder"]))
    (again, _), _ = value(params, batch, KEY, 3, knobs)
    assert float(again) == float(loss)


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_shapes_and_sizes_are_as_told(name, variant):
    config, family, batch, params, _ = made(name, variant)
    latent = jax.jit(family.encode)(params, batch, KEY)
    assert latent.code[0].size == family.latent_floats
    if family.probe.codes == 0:
        assert family.latent_bits == family.latent_floats * config.latent.bits
    else:
        assert 0 < family.latent_bits <= family.latent_floats * np.log2(family.probe.codes) + 1
    decoded = jax.jit(family.decode)(params, latent)
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(decoded))
    one = jax.tree.map(lambda leaf: leaf[0], decoded)
    points = np.random.default_rng(0).uniform(-1, 1, (11, 3)).astype(np.float32)
    total = lambda points: (lambda values: (values.sum(), values))(family.field(params, one, points))
    slope, values = jax.jit(jax.grad(total, has_aux=True))(points)
    assert (values.shape, values.dtype) == ((11,), jnp.float32)
    assert np.isfinite(values).all()
    assert np.isfinite(slope).all()


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_shapes_in_a_batch_do_not_see_each_other(name, variant):
    _, family, batch, params, _ = made(name, variant)
    both = np.asarray(encoded_by(name, variant)(params, batch).code)
    alone = jax.jit(family.encode)(params, jax.tree.map(lambda a: np.asarray(a)[1:], batch), None).code
    np.testing.assert_allclose(both[1:], alone, atol=1e-4)
    assert np.abs(both[0] - both[1]).max() > 1e-3


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_the_grid_is_the_field_at_the_nodes(name, variant):
    _, family, batch, params, _ = made(name, variant)
    if family.grid is None:
        return
    first = lambda params, latent: jax.tree.map(lambda leaf: leaf[0], family.decode(params, latent))
    decoded = jax.jit(first)(params, encoded_by(name, variant)(params, batch))
    count = 9
    values = np.asarray(family.grid(params, decoded, count))
    nodes = np.linspace(-1, 1, count, dtype=np.float32)
    points = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    expected = np.asarray(jax.jit(family.field)(params, decoded, points)).reshape((count,) * 3)
    np.testing.assert_array_equal(values < 0, expected < 0)


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_one_shape_is_overfitted(name, variant):
    _, _, batch, params, knobs = made(name, variant)
    batch = jax.tree.map(lambda a: jnp.asarray(np.stack([np.asarray(a)[0]] * 2)), batch)
    adam, value, losses = optax.adam(1e-2), value_of(name, variant), []

    @jax.jit
    def descend(params, state, gradient):
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(params, updates), state

    state = adam.init(params)
    for index in range(120):
        (_, parts), gradient = value(params, batch, KEY, index, knobs)
        params, state = descend(params, state, gradient)
        losses.append(float(parts["reconstruction"]))
    assert losses[-1] < 0.35 * losses[0]


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
