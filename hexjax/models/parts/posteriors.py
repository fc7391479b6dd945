"""Posteriors of each kind of latent: from what an encoder says to a sample, and what that costs. Pure functions."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax.types import Array, Latent


def gaussian(
    statistics: Float[Array, "b t e"], key: Array | None, log_variance_limit: Float[Array, ""] | float
) -> Latent:
    """A sample of the Gaussian posterior, with `mean`, `log_variance` and the standard normal `noise` that it is made of.

    Without a key it is the mean, and there is no noise.
    """
    mean, log_variance = moments(statistics, log_variance_limit)
    found = dict(mean=mean, log_variance=log_variance)
    if key is None:
        return Latent(mean, found)
    noise = jax.random.normal(key, mean.shape)
    return Latent(mean + jnp.exp(log_variance / 2) * noise, found | dict(noise=noise))


def moments(statistics: Float[Array, "b t e"], log_variance_limit: Float[Array, ""] | float) -> tuple[Array, Array]:
    """Mean and clamped log-variance [b,t,d] of a Gaussian posterior."""
    mean, log_variance = jnp.split(statistics, 2, -1)
    return mean, jnp.clip(log_variance, -log_variance_limit, log_variance_limit)


def gaussian_log_density(latent: Latent) -> Float[Array, "b"]:
    """Log-density of a code, but for its constant (see `priors`), under the Gaussian posterior that it came from."""
    total = latent.statistics["log_variance"]
    if "noise" in latent.statistics:  # rounding would lose it in (code - mean) / deviation
        total = total + latent.statistics["noise"] ** 2
    return -total.sum((-2, -1)) / 2


def gaussian_kl(latent: Latent, prior_variance: Float[Array, ""] | float) -> Float[Array, "b t d"]:
    """KL divergence in nats of each latent float's posterior from N(0, prior_variance)."""
    mean, log_variance = latent.statistics["mean"], latent.statistics["log_variance"]
    ratio = (jnp.exp(log_variance) + mean**2) / prior_variance
    return (ratio - 1 - log_variance + jnp.log(prior_variance)) / 2


def bernoulli(logits: Float[Array, "b t d"], key: Array | None, estimator: str, temperature: float | None) -> Latent:
    """Codes in {-1, 1}, sampled (the likelier where key is None), with `mean` (chance of 1), `logits` and `indices` in {0, 1}.

    straight_through: the gradient is that of the code's mean. gumbel: that of the relaxed sample at a temperature.
    The code itself is hard with both, so that what is decoded in training is what is stored.

    Source: Bengio et al. 2013 (arXiv:1308.3432); Jang et al. 2017 (arXiv:1611.01144), section 2.2.
    """
    noisy = logits if key is None else logits + jax.random.logistic(key, logits.shape)
    soft = jnp.tanh(logits / 2) if estimator == "straight_through" else jnp.tanh(noisy / (2 * temperature))
    indices = (noisy > 0).astype(jnp.int32)
    statistics = dict(mean=jax.nn.sigmoid(logits), logits=logits, indices=indices)
    return Latent(_hard(2.0 * indices - 1, soft), statistics)


def bernoulli_kl(logits: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
    """KL divergence in nats of each float's posterior from Bernoulli(1/2)."""
    size = jnp.abs(logits)
    return math.log(2) - jax.nn.softplus(-size) - size * jax.nn.sigmoid(-size)


def categorical(logits: Float[Array, "b t d"], key: Array | None, estimator: str, temperature: float | None) -> Latent:
    """One of d one-hot codes a token, sampled (the likeliest where key is None), with `mean` (chances), `logits`, `indices`.

    Gradients and source as in `bernoulli`, with the softmax as the mean.
    """
    noisy = logits if key is None else logits + jax.random.gumbel(key, logits.shape)
    mean, indices = jax.nn.softmax(logits), noisy.argmax(-1).astype(jnp.int32)
    soft = mean if estimator == "straight_through" else jax.nn.softmax(noisy / temperature)
    one_hot = jax.nn.one_hot(indices, logits.shape[-1])
    return Latent(_hard(one_hot, soft), dict(mean=mean, logits=logits, indices=indices))


def categorical_kl(logits: Float[Array, "b t d"]) -> Float[Array, "b t"]:
    """KL divergence in nats of each token's posterior from equal chances."""
    log_chance = jax.nn.log_softmax(logits)
    return (jnp.exp(log_chance) * log_chance).sum(-1) + math.log(logits.shape[-1])


def quantise(statistics: Float[Array, "b t d"], codes: int) -> Latent:
    """Each float bounded to [-1, 1] and rounded to the nearest of `codes` even steps, with `mean` (the code) and `indices`.

    The gradient is that of the bounded float. Published with a shift for even counts, which puts a step at 0 and none
    opposite the lowest; here the steps lie evenly about 0 for every count, so that two codes are the signs.

    Source: Mentzer et al. 2023 (arXiv:2309.15505), section 3.1; steps about 0: Parker et al. 2024 (arXiv:2411.19842).
    """
    bounded = jnp.tanh(statistics)
    levels = nearest_level(bounded, codes)
    code = _hard(2 * levels / (codes - 1) - 1, bounded)
    return Latent(code, dict(mean=code, indices=levels.astype(jnp.int32)))


def nearest_level(bounded: Float[Array, "*d"], codes: int) -> Float[Array, "*d"]:
    """The number, from 0, of the even step in [-1, 1] nearest to each float."""
    return jnp.floor((bounded + 1) / 2 * (codes - 1) + 0.5)


def _hard(code: Array, soft: Array) -> Array:
    """The code, with the gradient of its soft twin."""
    return code + (soft - jax.lax.stop_gradient(soft))
