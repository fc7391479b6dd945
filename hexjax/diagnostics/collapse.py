"""Has the latent collapsed? Figures of n shapes' posteriors, codes, reconstructions and gradients.

Rates, densities and gains are in nats; n, the first axis, are independent shapes. All is pure, compiles and vmaps. What
is not finite stays so, unless a docstring says what it counts as.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax.types import Array, Latent

ACTIVE_VARIANCE = 0.01
THRESHOLDS = np.arange(1, 20, dtype=np.float32) / 20  # of coverage: .05 to .95
REPEATS = 1000  # of the bootstrap
LEVEL = 0.95

Scalar = Float[Array, ""] | float
EXACT = jax.lax.Precision.HIGHEST

# Rates and information.


def kl_summary(rates: Float[Array, "n u"]) -> dict[str, Float[Array, ""]]:
    """kl, the mean nats of a shape; kl_per_latent, of one unit; kl_max_latent, of the unit that costs most on average."""
    per_unit = jnp.mean(rates, 0)
    return {"kl": jnp.sum(rates, 1).mean(), "kl_per_latent": per_unit.mean(), "kl_max_latent": per_unit.max()}


def active_unit_count(means: Float[Array, "n *d"]) -> Int[Array, ""]:
    """Latent floats whose posterior mean varies over the shapes by more than 0.01; means that are not finite do not count.

    Source: Burda et al. 2015, section 5.1; the variance in two passes: Chan et al. 1983, equation 1.7.
    """
    return _is_active(means).sum(dtype=jnp.int32)


def active_token_count(means: Float[Array, "n t d"]) -> Int[Array, ""]:
    """Tokens of which at least one float is active over the shapes, as `active_unit_count` counts those.

    A token is told by its place in the code. Of learnt queries that is the same query in every shape. Of farthest points it
    is how many were picked before, and what is picked then lies elsewhere on each shape, so that a token varies with its
    place alone. The count shows tokens that are the same for all shapes; it cannot show that one that varies says more
    than where it lies, or that a decoder reads it.
    """
    return _is_active(means).any(-1).sum(dtype=jnp.int32)


def _is_active(means: Float[Array, "n *d"]) -> Bool[Array, "*d"]:
    offset = jnp.asarray(means - means[:1])  # what all shapes share would cost float32 its digits
    deviation = offset - offset.mean(0, keepdims=True)
    return (deviation**2).mean(0) - deviation.mean(0) ** 2 > ACTIVE_VARIANCE


def gaussian_log_densities(
    samples: Float[Array, "n d"], means: Float[Array, "n d"], log_variances: Float[Array, "n d"]
) -> Float[Array, "n n"]:
    """log q(z_i | x_j) of sample i under the Gaussian posterior of shape j, in nats; needs n d floats at a time."""
    precision = jnp.exp(-log_variances / 2)
    constant = -(log_variances + jnp.log(2 * jnp.pi)).sum(1) / 2

    def under_all(sample: Array) -> Array:
        offset = sample[None] - means
        standard = jnp.where(offset == 0, 0, offset * precision)  # at the mean, however narrow the posterior
        return constant - (standard**2).sum(1) / 2

    return jax.lax.map(under_all, samples)


def bernoulli_log_densities(bits: Int[Array, "n d"], logits: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """log q(z_i | x_j) of the bits i in {0, 1} under the logits of shape j, in nats."""
    ones = bits.astype(logits.dtype)
    of_one, of_zero = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return jnp.matmul(ones, of_one.T, precision=EXACT) + jnp.matmul(1 - ones, of_zero.T, precision=EXACT)


def categorical_log_densities(indices: Int[Array, "n t"], logits: Float[Array, "n t k"]) -> Float[Array, "n n"]:
    """log q(z_i | x_j) of the codes i under the logits of shape j, in nats."""
    chosen = jax.nn.one_hot(indices, logits.shape[-1], dtype=logits.dtype)
    return jnp.einsum("itk,jtk->ij", chosen, jax.nn.log_softmax(logits), precision=EXACT)


def discrete_log_densities(latent: Latent) -> Float[Array, "n n"]:
    """log q(z_i | x_j) of a latent with `indices` and `logits`: Bernoulli where they are as many, else categorical."""
    count = latent.code.shape[0]
    indices = latent.statistics["indices"].reshape(count, -1)
    logits = latent.statistics["logits"].reshape(count, -1)
    if logits.shape == indices.shape:
        return bernoulli_log_densities(indices, logits)
    return categorical_log_densities(indices, logits.reshape(*indices.shape, -1))


def mutual_information(log_densities: Float[Array, "n n"]) -> Float[Array, ""]:
    """I_q(shape; latent) in nats against the aggregated posterior of the n shapes; log n at most, an estimate may be < 0.

    Args:
        log_densities: log q(z_i | x_j), where z_i was drawn for shape i.

    Source: Hoffman and Johnson 2016, section 2: with the KL's mean, it leaves KL(q(z) || p(z)).
    """
    against_own = log_densities - jnp.diagonal(log_densities)[:, None]
    return jnp.log(jnp.float32(len(log_densities))) - jax.nn.logsumexp(against_own, 1).mean()


# Codes.


def _code_counts(indices: Int[Array, "n *d"], codes: int) -> Float[Array, "p k"]:
    flat = indices.reshape(indices.shape[0], -1)
    return (flat[:, :, None] == jnp.arange(codes)[None, None]).sum(0).astype(jnp.float32)


def codes_used(indices: Int[Array, "n *d"], codes: int) -> Float[Array, ""]:
    """Share of the codes in use, in [0, 1]: at each position, beyond the one that a constant uses too; their mean.

    Of n shapes at most n codes can be told at a position, so that is all that is asked of them. Not a number for one shape.

    Source: ours; of a codebook of 8, a plain share would be at least 1/8 and could not show collapse.
    """
    if len(indices) < 2:
        return jnp.float32(jnp.nan)
    used = (_code_counts(indices, codes) > 0).sum(1)
    return (used - 1).mean() / (min(len(indices), codes) - 1)


def bit_entropy(indices: Int[Array, "n *d"], codes: int) -> Float[Array, ""]:
    """Entropy in bits of the codes found at a position, mean over positions; at most log2 of codes, and of n."""
    frequency = _code_counts(indices, codes) / len(indices)
    return jax.scipy.special.entr(frequency).sum(1).mean() / jnp.log(2.0)


# Reconstructions.


def swap_gap(own: Float[Array, "n"], swapped: Float[Array, "n"]) -> Float[Array, ""]:
    """How much worse another shape's latent gives a shape back, on average; of what is given: nats, or an error."""
    return jnp.mean(swapped - own)


def gain(constant: Float[Array, "n"], model: Float[Array, "n"]) -> Float[Array, ""]:
    """Nats that a model saves against the constant predictor, on average."""
    return jnp.mean(constant - model)


def mean_map_distance(
    predicted: Float[Array, "n *d"], mean_map: Float[Array, "*d"], truth: Float[Array, "n *d"]
) -> Float[Array, ""]:
    """RMS distance of predictions from the mean map, over that of the truth: 0 for the constant, 1 as spread as the data."""
    spread = lambda values: jnp.mean(jnp.square(values - mean_map[None]))
    return jnp.sqrt(spread(predicted) / spread(truth))


def iou_pairs(covered: Bool[Array, "n *d"], truth: Bool[Array, "*d"]) -> Float[Array, "n"]:
    """Intersection over union of each set with one; two empty sets count as 1."""
    return _overlap(covered, jnp.broadcast_to(truth[None], covered.shape))


def _overlap(covered: Array, truth: Array) -> Array:
    axes = tuple(range(1, covered.ndim))
    both, either = (covered & truth).sum(axes), (covered | truth).sum(axes)
    return jnp.where(either > 0, both / jnp.maximum(either, 1), 1)


def intersection_over_union(
    predicted: Float[Array, "n *d"], truth: Bool[Array, "n *d"], threshold: Scalar
) -> Float[Array, ""]:
    """Mean IoU of what is predicted above a threshold; two empty sets count as 1, and NaN as not covered."""
    return _overlap(predicted > threshold, truth).mean()


def threshold_sweep(
    predicted: Float[Array, "n *d"], truth: Bool[Array, "n *d"], thresholds: Float[Array, "k"] = THRESHOLDS
) -> dict[str, Float[Array, "k"]]:
    """At each threshold: `iou`, as `intersection_over_union`, and `non_empty`, the share of shapes with anything covered."""

    def at(threshold: Array) -> dict[str, Array]:
        covered = predicted > threshold
        anything = covered.any(tuple(range(1, covered.ndim)))
        return {"iou": _overlap(covered, truth).mean(), "non_empty": anything.mean()}

    return jax.lax.map(at, jnp.asarray(thresholds))


# Gradients and numbers.


def outline_gradient_share(
    gradient: Float[Array, "n k h w"], mask: Bool[Array, "n k h w"], radius_px: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Share of the gradient's absolute sum within `radius_px` steps of the outline, and the share of pixels there.

    The outline: pixels of which one of the four neighbours differs in the mask; steps go to those neighbours.
    The first is not a number where the gradient is 0 everywhere.
    """
    near = jnp.where(mask, _grown(~mask), _grown(mask))
    for _ in range(radius_px):
        near = _grown(near)
    size = jnp.abs(gradient)
    return jnp.where(near, size, 0).sum() / size.sum(), near.mean()


def _grown(near: Array) -> Array:
    """Pixels that are marked or have a marked neighbour."""
    padded = jnp.pad(near, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = padded[:, :, :-2, 1:-1] | padded[:, :, 2:, 1:-1]
    return near | rows | padded[:, :, 1:-1, :-2] | padded[:, :, 1:-1, 2:]


def clip_removed(gradient_norm: Scalar, clip_norm: Scalar) -> Float[Array, ""]:
    """Share of the gradient that clipping its norm removes: 0 below the limit, towards 1 above."""
    return jnp.maximum(1 - clip_norm / jnp.asarray(gradient_norm), 0)


def non_finite(tree: Any) -> Int[Array, ""]:
    """How many floats of all leaves of a pytree are NaN or infinite."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    counts = [(~jnp.isfinite(x)).sum(dtype=jnp.int32) for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
    return sum(counts, jnp.int32(0))


def largest_eigenvalue(x: Float[Array, "n p"]) -> Float[Array, ""]:
    """The variance of n shapes' values along their first principal direction (divided by n), by the smaller Gram matrix."""
    centred = x - jnp.mean(x, 0)[None]
    centred = centred if x.shape[0] <= x.shape[1] else centred.T
    gram = jnp.matmul(centred, centred.T, precision=EXACT) / x.shape[0]
    return jnp.maximum(jnp.linalg.eigvalsh(gram)[-1], 0)


@functools.partial(jax.jit, static_argnames="repeats")
def bootstrap_lower(
    values: Float[Array, "n"], key: Array, repeats: int = REPEATS, level: Scalar = LEVEL
) -> Float[Array, ""]:
    """A number that the mean of independent values exceeds with confidence `level`, nearly; right only for many values.

    Source: Efron 1979, percentile interval.
    """
    index = jax.random.randint(key, (repeats, values.shape[0]), 0, values.shape[0])
    return jnp.quantile(values[index].mean(1), 1 - level)
