import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from hexjax.models.parts import priors

KEY = jax.random.key(0)
to_base, from_base, log_density = (
    jax.jit(function) for function in (priors.flow_to_base, priors.flow_from_base, priors.flow_log_density)
)
SHAPES = [(1, 6, 4), (1, 5, 3), (3, 4, 2), (2, 1, 3)]  # tokens, floats, layers


def normal(*shape, seed=0, spread=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32))


@functools.cache
def started(tokens, floats, layers):
    return jax.jit(lambda key: priors.flow_init(key, tokens, floats, layers, 8))(KEY)


@functools.cache
def flow(tokens, floats, layers, spread=0.3):
    """A flow away from the identity, which it starts as because the last layers are 0."""
    leaves, structure = jax.tree.flatten(started(tokens, floats, layers))
    moved = [np.asarray(x) + np.asarray(normal(*x.shape, seed=1 + i, spread=spread)) for i, x in enumerate(leaves)]
    return jax.tree.unflatten(structure, moved)


@pytest.mark.parametrize(("tokens", "floats", "layers"), SHAPES)
def test_a_flow_starts_as_the_identity(tokens, floats, layers):
    code = normal(3, tokens, floats)
    base, volume = to_base(started(tokens, floats, layers), code)
    np.testing.assert_array_equal(base, code)
    np.testing.assert_array_equal(volume, 0)


@pytest.mark.parametrize(("tokens", "floats", "layers"), SHAPES)
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_a_flow_and_its_inverse_give_back_the_code(tokens, floats, layers, spread):
    params, code = flow(tokens, floats, layers), normal(4, tokens, floats, spread=spread)
    base, _ = to_base(params, code)
    assert np.abs(base - code).max() > 0.1
    np.testing.assert_allclose(from_base(params, base), code, atol=1e-5 * spread, rtol=1e-4)


@pytest.mark.parametrize(("tokens", "floats", "layers"), SHAPES)
def test_the_volume_change_is_the_jacobian_s(tokens, floats, layers):
    params, code = flow(tokens, floats, layers), normal(2, tokens, floats)
    _, volume = to_base(params, code)

    def flat(x):
        return priors.flow_to_base(params, x.reshape(1, tokens, floats))[0].reshape(-1)

    jacobian = jax.jit(jax.vmap(jax.jacobian(flat)))(code.reshape(2, -1))
    sign, expected = np.linalg.slogdet(jacobian)
    np.testing.assert_array_equal(sign, 1)
    np.testing.assert_allclose(volume, expected, atol=1e-5)
    assert np.abs(volume).min() > 1e-3


def test_layers_change_halves_and_then_every_second_float_in_turn():
    found = [list(priors.changed(4, layer)) for layer in range(5)]
    assert found == [[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 1, 1]]


def test_every_float_is_changed_and_seen_by_the_flow():
    params = flow(1, 6, 4)
    jacobian = jax.jit(jax.jacobian(lambda x: priors.flow_to_base(params, x)[0]))(normal(1, 1, 6))[0, 0, :, 0, 0]
    assert (np.abs(jacobian) > 1e-5).sum() > 30
    assert (np.abs(jacobian - np.eye(6)).max(1) > 1e-2).all()


def test_tokens_are_independent_under_the_flow_but_not_alike():
    params, code = flow(3, 4, 2), jnp.tile(normal(1, 1, 4), (1, 3, 1))
    base, _ = to_base(params, code)
    assert np.abs(base[0, 0] - base[0, 1]).max() > 1e-2
    other, _ = to_base(params, code.at[0, 2].add(1))
    np.testing.assert_array_equal(other[0, :2], base[0, :2])


def test_a_flow_sees_small_codes_whole_and_large_ones_as_tokens():
    assert priors.flow_shape(16, 64) == (1, 1024)
    assert priors.flow_shape(16, 65) == (16, 65)


def test_the_flow_s_density_integrates_to_one():
    params = flow(1, 2, 4, 0.1)
    axis = np.linspace(-12, 12, 481, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 1, 2))
    density = np.exp(np.asarray(log_density(params, grid), np.float64)).reshape(481, 481) / (2 * np.pi)
    total = integrate.trapezoid(integrate.trapezoid(density, axis), axis)
    assert total == pytest.approx(1, abs=1e-3)


def test_the_flow_is_finite_far_away():
    params, far = flow(1, 6, 4), jnp.full((1, 1, 6), 1e6)
    assert np.isfinite(log_density(params, far)).all()
    slopes = jax.jit(jax.grad(lambda params, code: priors.flow_log_density(params, code).sum(), (0, 1)))(params, far)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_the_mixture_s_density_is_scipy_s():
    mean, log_variance, code = normal(5, 2, 3), normal(5, 2, 3, seed=1), normal(4, 2, 3, seed=2, spread=2)
    each = [stats.norm.logpdf(code, mean[k], np.exp(log_variance[k] / 2)).sum((1, 2)) for k in range(5)]
    expected = np.logaddexp.reduce(each) - np.log(5) + 6 / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(priors.mixture_log_density(code, mean, log_variance), expected, rtol=1e-5)


def test_draws_of_the_mixture_have_its_moments():
    mean, log_variance = jnp.array([-3.0, 5.0])[:, None, None], jnp.log(jnp.array([0.25, 4.0]))[:, None, None]
    drawn = priors.mixture_sample(mean, log_variance, KEY, 20000)[:, 0, 0]
    assert float(drawn.mean()) == pytest.approx(1, abs=0.1)
    assert float(drawn.var()) == pytest.approx(16 + (0.25 + 4) / 2, rel=0.02)
    assert float((drawn < 0).mean()) == pytest.approx(0.5 + stats.norm.cdf(-2.5) / 2, abs=0.02)


def test_code_lengths_are_the_negative_logs_of_the_frequencies():
    chance = np.random.default_rng(0).dirichlet(np.ones(4), (2, 3))
    indices = np.random.default_rng(1).integers(0, 4, (5, 2, 3), np.int32)
    expected = -np.log([[chance[t, d, row[t, d]] for t in range(2) for d in range(3)] for row in indices])
    found = priors.code_nats(jnp.asarray(np.log(chance) + 7, jnp.float32), jnp.asarray(indices))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
