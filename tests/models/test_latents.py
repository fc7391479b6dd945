import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.models import latents

KEY = jax.random.key(0)


def statistics(seed=0, spread=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(0, spread, (3, 5, 8)), jnp.float32)


@pytest.mark.parametrize("variance", [1.0, 0.1])
def test_kl_is_the_mean_log_ratio_of_samples(variance):
    latent = latents.gaussian(statistics(), None, np.inf)
    mean, deviation = latent.statistics["mean"], jnp.exp(latent.statistics["log_variance"] / 2)
    z = mean[None] + deviation[None] * jax.random.normal(KEY, (20000, *mean.shape))
    log_q = -(((z - mean[None]) / deviation[None]) ** 2) / 2 - jnp.log(deviation)[None]
    log_p = -(z**2) / (2 * variance) - 0.5 * np.log(variance)
    np.testing.assert_allclose(latents.gaussian_kl(latent, variance), (log_q - log_p).mean(0), rtol=0.05, atol=0.1)


def test_kl_is_zero_only_at_the_prior():
    at_prior = jnp.concatenate([jnp.zeros((1, 1, 4)), jnp.full((1, 1, 4), np.log(0.1))], -1)
    np.testing.assert_allclose(latents.gaussian_kl(latents.gaussian(at_prior, None, np.inf), 0.1), 0, atol=1e-6)
    assert (latents.gaussian_kl(latents.gaussian(statistics(), None, np.inf), 1.0) > 0).all()


def test_the_log_variance_is_clamped_and_infinity_clamps_nothing():
    wide = statistics(spread=30)
    assert np.abs(latents.gaussian(wide, None, 5.0).statistics["log_variance"]).max() == 5
    np.testing.assert_array_equal(latents.gaussian(wide, None, np.inf).statistics["log_variance"], wide[..., 4:])


def test_without_a_key_the_code_is_the_mean():
    latent = latents.gaussian(statistics(), None, np.inf)
    np.testing.assert_array_equal(latent.code, latent.statistics["mean"])
    assert (latents.gaussian(statistics(), KEY, np.inf).code != latent.code).all()


def test_the_weight_warms_up_linearly():
    knobs = {"kl.initial_weight": 1e-6, "kl.final_weight": 1e-4, "kl.warmup_steps": 100.0}
    knobs = {name: jnp.float32(value) for name, value in knobs.items()}
    found = [float(latents.kl_weight(jnp.int32(step), knobs)) for step in (0, 50, 100, 1000)]
    np.testing.assert_allclose(found, [1e-6, (1e-6 + 1e-4) / 2, 1e-4, 1e-4], rtol=1e-5)
    assert float(latents.kl_weight(jnp.int32(0), knobs | {"kl.warmup_steps": jnp.float32(0)})) == np.float32(1e-4)


def capped(term, cap, mode):
    function = lambda x: latents.capped(x, jnp.float32(1.0), jnp.float32(cap), mode)
    value, slope = jax.value_and_grad(function)(jnp.float32(term))
    return float(value), float(slope)


@pytest.mark.parametrize("mode", latents.CAP_MODES)
@pytest.mark.parametrize("term", [1e-4, 0.3, 50.0])
def test_a_cap_of_one_changes_nothing(mode, term):
    np.testing.assert_allclose(capped(term, 1.0, mode), (term, 1.0), rtol=1e-5)


@pytest.mark.parametrize("mode", latents.CAP_MODES)
def test_below_the_cap_nothing_changes(mode):
    np.testing.assert_allclose(capped(0.05, 0.1, mode), (0.05, 1.0), rtol=1e-5)


def test_above_the_cap_clip_has_no_gradient_scale_a_smaller_one_and_penalty_a_larger():
    value, slope = capped(9.0, 0.1, "clip")
    assert (value, slope) == (pytest.approx(1.0), 0.0)
    value, slope = capped(9.0, 0.1, "scale")
    assert (value, slope) == (pytest.approx(1.0), pytest.approx(1 / 9))
    value, slope = capped(9.0, 0.1, "penalty")
    assert value == pytest.approx(81.0)
    assert slope > 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: latents.statistics_per_float("vq"), "config.latent.kind is 'vq'; accepted: deterministic, gaussian"),
        (lambda: capped(1.0, 0.1, "soft"), "config.kl.cap_mode is 'soft'; accepted: clip, scale, penalty"),
    ],
)
def test_unknown_names_are_refused(call, text):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == text
