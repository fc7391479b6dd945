import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from hexjax import names
from hexjax.models.parts import posteriors

KEY = jax.random.key(0)
TOKENS, CHANNELS = 5, 4


def statistics(seed=0, spread=1.0, batch=3, floats=2 * CHANNELS):
    return jnp.asarray(np.random.default_rng(seed).normal(0, spread, (batch, TOKENS, floats)).astype(np.float32))


def drawn(function, logits, key, estimator):
    """The codes of a kind, on the host."""
    return jax.device_get(jax.jit(function, static_argnums=(2, 3))(logits, key, estimator, 0.5))


@pytest.mark.parametrize("variance", [1.0, 0.1])
def test_kl_is_the_mean_log_ratio_of_samples(variance):
    latent = posteriors.gaussian(statistics(), None, np.inf)
    mean, deviation = (np.asarray(latent.statistics[name]) for name in ("mean", "log_variance"))
    deviation = np.exp(deviation / 2)
    z = mean[None] + deviation[None] * np.random.default_rng(0).normal(size=(20000, *mean.shape))
    log_q = -(((z - mean[None]) / deviation[None]) ** 2) / 2 - np.log(deviation)[None]
    log_p = -(z**2) / (2 * variance) - 0.5 * np.log(variance)
    np.testing.assert_allclose(posteriors.gaussian_kl(latent, variance), (log_q - log_p).mean(0), rtol=0.05, atol=0.1)


def test_kl_is_zero_only_at_the_prior():
    at_prior = jnp.concatenate([jnp.zeros((1, 1, 4)), jnp.full((1, 1, 4), np.log(0.1))], -1)
    np.testing.assert_allclose(posteriors.gaussian_kl(posteriors.gaussian(at_prior, None, np.inf), 0.1), 0, atol=1e-6)
    assert (posteriors.gaussian_kl(posteriors.gaussian(statistics(), None, np.inf), 1.0) > 0).all()


def test_the_log_variance_is_clamped_and_infinity_clamps_nothing():
    wide = statistics(spread=30)
    assert np.abs(posteriors.gaussian(wide, None, 5.0).statistics["log_variance"]).max() == 5
    np.testing.assert_array_equal(posteriors.gaussian(wide, None, np.inf).statistics["log_variance"], wide[..., 4:])


def test_without_a_key_the_code_is_the_mean():
    latent = posteriors.gaussian(statistics(), None, np.inf)
    np.testing.assert_array_equal(latent.code, latent.statistics["mean"])
    assert (posteriors.gaussian(statistics(), KEY, np.inf).code != latent.code).all()


@pytest.mark.parametrize("estimator", names.ESTIMATORS)
def test_bernoulli_codes_are_signs_with_the_chances_of_their_logits(estimator):
    logits = np.linspace(-3, 3, 7, dtype=np.float32)[None, None]
    latent = drawn(posteriors.bernoulli, np.tile(logits, (20000, 1, 1)), KEY, estimator)
    assert set(np.unique(latent.code)) == {-1.0, 1.0}
    np.testing.assert_allclose((latent.code > 0).mean(0)[0], scipy.special.expit(logits[0, 0]), atol=0.012)
    np.testing.assert_array_equal(latent.code, 2 * latent.statistics["indices"] - 1)
    np.testing.assert_allclose(latent.statistics["mean"][0], scipy.special.expit(logits[0]), rtol=1e-6)
    mode = drawn(posteriors.bernoulli, logits, None, estimator).code
    np.testing.assert_array_equal(mode[0, 0], [-1, -1, -1, -1, 1, 1, 1])


def test_the_straight_through_slope_is_that_of_the_mean_and_gumbel_s_that_of_the_relaxed_sample():
    logits = statistics()
    loss = lambda *given: lambda x: (posteriors.bernoulli(x, KEY, *given).code * logits).sum()
    slope = lambda *given: jax.jit(jax.grad(loss(*given)))(logits)
    logistic = jax.jit(jax.random.logistic, static_argnums=1)(KEY, logits.shape)
    logits, chance = np.asarray(logits), scipy.special.expit(logits)
    np.testing.assert_allclose(
        slope("straight_through", None), logits * 2 * chance * (1 - chance), rtol=1e-4, atol=1e-6
    )
    relaxed = scipy.special.expit((logits + np.asarray(logistic)) / 0.5)
    np.testing.assert_allclose(slope("gumbel", 0.5), logits * 2 * relaxed * (1 - relaxed) / 0.5, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("estimator", names.ESTIMATORS)
def test_categorical_codes_are_one_hot_with_the_chances_of_their_logits(estimator):
    logits = np.array([0.0, 1.0, -1.0, 2.0], np.float32)[None, None]
    latent = drawn(posteriors.categorical, np.tile(logits, (20000, 1, 1)), KEY, estimator)
    np.testing.assert_array_equal(latent.code, np.eye(4)[latent.statistics["indices"]])
    np.testing.assert_allclose(latent.code.mean(0), scipy.special.softmax(logits[0], -1), atol=0.012)
    np.testing.assert_array_equal(drawn(posteriors.categorical, logits, None, estimator).code[0, 0], [0, 0, 0, 1])


def test_the_categorical_slope_is_that_of_the_softmax_of_what_was_drawn_or_of_the_mean():
    logits, weight = statistics(), statistics(1)
    slope_of = lambda code: jax.jit(jax.grad(lambda x: (code(x) * weight).sum()))(logits)
    slope = lambda *given: slope_of(lambda x: posteriors.categorical(x, KEY, *given).code)
    mean = slope_of(jax.nn.softmax)
    relaxed = slope_of(lambda x: jax.nn.softmax((x + jax.random.gumbel(KEY, x.shape)) / 0.5))
    np.testing.assert_allclose(slope("straight_through", None), mean, atol=1e-6)
    np.testing.assert_allclose(slope("gumbel", 0.5), relaxed, atol=1e-5)
    assert np.abs(mean).max() > 0.1


@pytest.mark.parametrize("codes", [2, 3, 4, 5, 8, 255, 256])
def test_finite_scalar_codes_are_all_reached_even_and_symmetric(codes):
    said = np.arctanh(np.linspace(-0.99999, 0.99999, 4 * codes + 1)).astype(np.float32)[None, None]

    @jax.jit
    def quantised(said):
        latent = posteriors.quantise(said, codes)
        return latent, posteriors.nearest_level(latent.code, codes)

    latent, nearest = jax.device_get(quantised(said))
    np.testing.assert_allclose(np.unique(latent.code), np.linspace(-1, 1, codes), atol=1e-6)
    assert set(np.unique(latent.statistics["indices"])) == set(range(codes))
    np.testing.assert_allclose(latent.code, 2 * latent.statistics["indices"] / (codes - 1) - 1, atol=1e-6)
    np.testing.assert_array_equal(nearest, latent.statistics["indices"])
    apart = np.abs(latent.code - np.tanh(said)).max()
    assert apart <= 1 / (codes - 1) + 1e-5


@pytest.mark.parametrize("codes", [2, 5])
def test_the_slope_of_a_rounded_float_is_that_of_the_bounded_one(codes):
    said = statistics()
    slope = np.asarray(jax.jit(jax.grad(lambda x: (posteriors.quantise(x, codes).code * said).sum()))(said))
    np.testing.assert_allclose(slope, said * (1 - np.tanh(said) ** 2), atol=1e-6)
    assert (np.abs(slope) > 0).mean() > 0.99
