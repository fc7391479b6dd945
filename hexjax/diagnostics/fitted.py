"""The fitted witness: a linear softmax of latent features, regressed on soft classes within the training shapes.

One scale for all features, as the floats of a latent share their unit: dead floats stay small. Compiles, and vmaps over
runs: shapes are static, the number of steps is fixed, nothing is drawn.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax.types import Array

Scalar = Float[Array, ""] | float

SMOOTHING = 0.05  # share of the uniform distribution in a witness that is scored: bounds its cross-entropies
VARIANCES = (1.0, 30.0, 1e3, 3e4)  # of the prior on the weights: cross-validated
FOLDS = 2
ITERATIONS = 100
CAP = 128  # principal directions that a witness sees
TINY = 1e-30
CONSTANT = 1e-6  # deviations below this share of the mean's norm are rounding, not features


class Witness(NamedTuple):
    """A linear softmax witness: log q = log_softmax((features - centre) weight + bias)."""

    centre: Float[Array, "d"]
    weight: Float[Array, "d k"]
    bias: Float[Array, "k"]


@functools.partial(jax.jit, static_argnames=("variances", "cap"))
def fit_witness(
    features: Float[Array, "n *d"],
    t: Float[Array, "n k"],
    guide: Float[Array, "n *d"] | None = None,
    variances: tuple[float, ...] = VARIANCES,
    cap: int = CAP,
) -> Witness:
    """The multinomial logistic regression of soft classes on features, with a Gaussian prior on its weights.

    One scale for all features, as floats of a latent share their unit; of more than `cap` features, or shapes, only the leading
    principal directions count. Where there is a `guide`, of samples their means, they are its own, and along each the features
    are shrunk to its variance, so that floats of mere noise are not read.
    The prior's variance is cross-validated within these shapes. Deterministic: a fixed number of accelerated gradient steps
    within the curvature bound. Constant features give the mean class.

    Source: Boehning 1992 (curvature), O'Donoghue and Candes 2015 (restarts); ours otherwise.
    """
    features = features.reshape(len(features), -1)
    with jax.default_matmul_precision("highest"):
        if guide is not None:
            centre, directions, spreads = _principal(guide.reshape(len(guide), -1), cap)
            own = ((features - centre[None]) @ directions).var(0)
            directions = directions * jnp.sqrt(spreads / jnp.maximum(own, spreads + TINY))[None]
            inner = fit_witness((features - centre[None]) @ directions, t, None, variances, cap)
            return Witness(centre, directions @ inner.weight, inner.bias - inner.centre @ inner.weight)
        centre, directions, spreads = _principal(features, cap)
        scores = (features - centre[None]) @ directions
        left_out = jnp.arange(len(features))[None] % FOLDS == jnp.arange(FOLDS + 1)[:, None]  # the last: none
        left_out = left_out.astype(features.dtype)
        fit = functools.partial(_fit, scores, spreads, t)
        each = jax.vmap(jax.vmap(fit, (0, None)), (None, 0))
        weight, bias = each(1 - left_out, jnp.asarray(variances, features.dtype))
        log_q = smoothed(jnp.einsum("nr,vfrk->vfnk", scores, weight) + bias[:, :, None], SMOOTHING)
        losses = -jnp.einsum("fn,nk,vfnk->v", left_out, t, log_q)
        best = jnp.argmin(losses)
        return Witness(centre, directions @ weight[best, -1], bias[best, -1])


def _principal(features: Float[Array, "n d"], cap: int) -> tuple[Array, Array, Array]:
    """Centre [d], directions [d, r] scaled so that all variances sum to 1, and the variances along them [r]."""
    count, width = features.shape
    centre = features.mean(0)
    centred = features - centre[None]
    total = (centred**2).sum(1).mean()
    varies = total > CONSTANT**2 * (centre**2).sum()
    scale = jnp.where(varies, jax.lax.rsqrt(jnp.where(varies, total, 1)), 0)
    centred = centred * scale
    kept = min(width, cap) if width < count else max(min(count - 1, cap), 1)
    if width < count:
        spreads, directions = jnp.linalg.eigh(centred.T @ centred / count)
        return centre, directions[:, -kept:] * scale, jnp.maximum(spreads[-kept:], 0)
    spreads, scores = jnp.linalg.eigh(centred @ centred.T / count)
    spreads, scores = spreads[-kept:], scores[:, -kept:]
    sound = spreads > CONSTANT  # what is smaller is rounding
    lengths = jnp.where(sound, jax.lax.rsqrt(count * jnp.where(sound, spreads, 1)), 0)
    return centre, centred.T @ scores * lengths[None] * scale, jnp.maximum(spreads, 0)


def _fit(scores: Array, spreads: Array, t: Array, include: Array, variance: Array) -> tuple[Array, Array]:
    """Weights [r, k] and bias [k] that minimise the included shapes' mean cross-entropy + |weight|^2 / (2 n variance)."""
    count = jnp.maximum(include.sum(), 1)
    ridge = 1 / (count * variance)
    step = 1 / (spreads * len(scores) / count + ridge)  # inverse of a bound of the Hessian, block by block
    share = (include / count)[:, None]

    def advance(state: tuple, _: None) -> tuple[tuple, None]:
        weight, bias, last_weight, last_bias, age = state
        momentum = age / (age + 3)
        ahead, ahead_bias = weight + momentum * (weight - last_weight), bias + momentum * (bias - last_bias)
        residual = (jax.nn.softmax(scores @ ahead + ahead_bias[None]) - t) * share
        slope, slope_bias = scores.T @ residual + ridge * ahead, residual.sum(0)
        new_weight, new_bias = ahead - step[:, None] * slope, ahead_bias - slope_bias
        uphill = (slope * (new_weight - weight)).sum() + (slope_bias * (new_bias - bias)).sum() > 0
        return (new_weight, new_bias, weight, bias, jnp.where(uphill, 0, age + 1)), None

    weight = jnp.zeros((scores.shape[1], t.shape[1]), scores.dtype)
    bias = jnp.log(jnp.maximum((t * share).sum(0), CONSTANT))
    start = weight, bias, weight, bias, jnp.zeros((), scores.dtype)
    (weight, bias, *_), _ = jax.lax.scan(advance, start, None, length=ITERATIONS)
    return weight, bias


def smoothed(logits: Float[Array, "*n k"], smoothing: Scalar) -> Float[Array, "*n k"]:
    """log q of the softmax mixed with a share `smoothing` of the uniform distribution."""
    log_q = jax.nn.log_softmax(logits)
    return jnp.logaddexp(log_q + jnp.log1p(-smoothing), jnp.log(smoothing / logits.shape[-1]))


def apply_witness(
    witness: Witness, features: Float[Array, "n *d"], smoothing: Scalar = SMOOTHING
) -> Float[Array, "n k"]:
    """log q of a fitted witness, mixed with a share `smoothing` of the uniform distribution."""
    centred = features.reshape(len(features), -1) - witness.centre[None]
    logits = jnp.matmul(centred, witness.weight, precision=jax.lax.Precision.HIGHEST)
    return smoothed(logits + witness.bias[None], smoothing)
