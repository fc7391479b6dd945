"""Bottlenecks: from what the encoder says to a latent, and what that latent costs. Pure functions.

Every control of the KL term has a value that switches it off (cap 1, free bits 0, limit infinity, prior variance 1), so
that all of them are arrays in one program and none is a branch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax.types import Array, Latent

KINDS = ("deterministic", "gaussian")
CAP_MODES = ("clip", "scale", "penalty")


def statistics_per_float(kind: str) -> int:
    """How many numbers the encoder gives for each float of the latent.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind == "deterministic":
        return 1
    if kind == "gaussian":
        return 2
    raise ValueError(f"config.latent.kind is {kind!r}; accepted: {', '.join(KINDS)}")


def gaussian(
    statistics: Float[Array, "b t e"], key: Array | None, log_variance_limit: Float[Array, ""] | float
) -> Latent:
    """A sample of the Gaussian posterior (its mean where key is None), with `mean` and `log_variance` [b,t,d]."""
    mean, log_variance = jnp.split(statistics, 2, -1)
    log_variance = jnp.clip(log_variance, -log_variance_limit, log_variance_limit)
    code = mean if key is None else mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
    return Latent(code, dict(mean=mean, log_variance=log_variance))


def gaussian_kl(latent: Latent, prior_variance: Float[Array, ""] | float) -> Float[Array, "b t d"]:
    """KL divergence in nats of each latent float's posterior from N(0, prior_variance)."""
    mean, log_variance = latent.statistics["mean"], latent.statistics["log_variance"]
    ratio = (jnp.exp(log_variance) + mean**2) / prior_variance
    return (ratio - 1 - log_variance + jnp.log(prior_variance)) / 2


def kl_weight(step: Array, knobs: dict[str, Array]) -> Float[Array, ""]:
    """The KL weight in force: linear from the initial to the final one over `kl.warmup_steps`."""
    steps = knobs["kl.warmup_steps"]
    share = jnp.where(steps > 0, jnp.clip(step / jnp.maximum(steps, 1), 0, 1), 1)
    return knobs["kl.initial_weight"] * (1 - share) + knobs["kl.final_weight"] * share


def capped(term: Array, reconstruction: Array, cap: Array, mode: str) -> Float[Array, ""]:
    """The weighted KL term, held to a share `cap` of the total loss; a cap of 1 changes nothing.

    clip: the smaller of the term and its share of the stopped total, so no gradient above the cap, as published.
    scale: the same value, but the gradient is scaled down instead of cut. penalty: above the cap it costs more.

    Raises:
        ValueError: for an unknown mode.
    """
    most = cap * jax.lax.stop_gradient(reconstruction + term)
    if mode == "clip":
        return jnp.minimum(term, most)
    stopped = jnp.maximum(jax.lax.stop_gradient(term), 1e-30)
    if mode == "scale":
        return term * jnp.minimum(1, most / stopped)
    if mode == "penalty":
        excess = term / jnp.maximum(most, 1e-30) - 1
        return term * (1 + jnp.where(excess > 1e-6, excess, 0))
    raise ValueError(f"config.kl.cap_mode is {mode!r}; accepted: {', '.join(CAP_MODES)}")
