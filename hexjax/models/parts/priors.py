"""Learned priors of a latent: log-densities, code lengths and samples. Pure functions of explicit parameters.

Densities leave out the constant of a Gaussian, (floats / 2) log 2 pi, which cancels in every rate. A flow sees a small
code as one vector and a large one as tokens, each given its own embedding: then tokens are independent under it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from hexjax.types import Array, Params

WHOLE = 1024  # floats of a code up to which a flow sees it as one vector
LOG_SCALE_LIMIT = 2.0  # of one coupling layer


def mixture_log_density(
    code: Float[Array, "b t d"], mean: Float[Array, "k t d"], log_variance: Float[Array, "k t d"]
) -> Float[Array, "b"]:
    """Log-density of codes, but for its constant, under equal shares of k Gaussians.

    Source: Tomczak and Welling 2018 (arXiv:1705.07120), section 3.
    """
    squared = (code[:, None] - mean[None]) ** 2 * jnp.exp(-log_variance)[None]
    each = -(squared + log_variance[None]).sum((-2, -1)) / 2
    return jax.nn.logsumexp(each, 1) - jnp.log(jnp.float32(len(mean)))


def mixture_sample(
    mean: Float[Array, "k t d"], log_variance: Float[Array, "k t d"], key: Array, count: int
) -> Float[Array, "n t d"]:
    """Draws from equal shares of k Gaussians."""
    which_key, noise_key = jax.random.split(key)
    which = jax.random.randint(which_key, (count,), 0, len(mean))
    return mean[which] + jnp.exp(log_variance[which] / 2) * jax.random.normal(noise_key, (count, *mean.shape[1:]))


def flow_shape(tokens: int, channels: int) -> tuple[int, int]:
    """How a flow sees a code: as one vector of all floats, or as tokens where they are more than WHOLE."""
    return (1, tokens * channels) if tokens * channels <= WHOLE else (tokens, channels)


def flow_init(key: Array, tokens: int, floats: int, layers: int, width: int) -> Params:
    """Parameters of affine coupling layers on [b, tokens, floats], which start as the identity."""
    return {f"layer_{i}": _layer(each, tokens, floats, width) for i, each in enumerate(jax.random.split(key, layers))}


def flow_to_base(params: Params, code: Float[Array, "b t d"]) -> tuple[Float[Array, "b t d"], Float[Array, "b"]]:
    """Codes as the standard normal numbers that they stand for, and the log of that map's volume change.

    Source: Dinh et al. 2017 (arXiv:1605.08803), equation 9.
    """
    volume = jnp.zeros(len(code), code.dtype)
    for i in range(len(params)):
        log_scale, shift = _coefficients(params[f"layer_{i}"], code, changed(code.shape[-1], i))
        code, volume = code * jnp.exp(log_scale) + shift, volume + log_scale.sum((-2, -1))
    return code, volume


def flow_from_base(params: Params, base: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
    """The codes of standard normal numbers: the inverse of `flow_to_base`."""
    for i in reversed(range(len(params))):
        log_scale, shift = _coefficients(params[f"layer_{i}"], base, changed(base.shape[-1], i))
        base = (base - shift) * jnp.exp(-log_scale)
    return base


def flow_log_density(params: Params, code: Float[Array, "b t d"]) -> Float[Array, "b"]:
    """Log-density of codes, but for its constant, under a flow that sees them by `flow_shape`."""
    base, volume = flow_to_base(params, code.reshape(-1, *flow_shape(*code.shape[1:])))
    return volume - (base**2).sum((-2, -1)) / 2


def code_nats(logits: Float[Array, "t d k"], indices: Int[Array, "b t d"]) -> Float[Array, "b u"]:
    """Nats of each float's code under a frequency of its own for each of k codes; no gradient reaches the codes."""
    log_chance = jax.nn.log_softmax(logits)[None]
    return -jnp.take_along_axis(log_chance, indices[..., None], -1).reshape(len(indices), -1)


def changed(floats: int, layer: int) -> Float[np.ndarray, "d"]:
    """1 for the floats that a layer changes, 0 for those that it keeps and reads: halves and every second take turns."""
    index = np.arange(floats)
    second = index % 2 if layer // 2 % 2 else index >= floats // 2
    return np.float32(second == 1 - layer % 2)


def _layer(key: Array, tokens: int, floats: int, width: int) -> Params:
    first, embedding, second = jax.random.split(key, 3)
    return dict(
        first=jax.random.normal(first, (floats, width)) / floats**0.5,
        embedding=jax.random.normal(embedding, (tokens, width)),
        second=jax.random.normal(second, (width, width)) / width**0.5,
        second_bias=jnp.zeros(width),
        last=jnp.zeros((width, 2 * floats)),
        last_bias=jnp.zeros(2 * floats),
    )


def _coefficients(params: Params, code: Float[Array, "b t d"], changed: Float[np.ndarray, "d"]) -> tuple[Array, Array]:
    """Log-scale, bounded, and shift of every float, 0 for those that are kept; only those are read."""
    changed = jnp.asarray(changed)[None, None]
    hidden = jax.nn.silu((code * (1 - changed)) @ params["first"] + params["embedding"][None])
    hidden = jax.nn.silu(hidden @ params["second"] + params["second_bias"][None, None])
    log_scale, shift = jnp.split(hidden @ params["last"] + params["last_bias"][None, None], 2, -1)
    return LOG_SCALE_LIMIT * jnp.tanh(log_scale / LOG_SCALE_LIMIT) * changed, shift * changed
