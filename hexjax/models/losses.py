"""Pure losses on maps and on the fused field. Means over what is named; every one is 0 at the truth."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from hexjax.types import Array

BAND = 0.05  # world units: signed distances are clamped to plus and minus this
ROUNDING = 1e-5  # world units: below it, differences are the arithmetic's


def reduced(values: Float[Array, "b *d"], reduction: str) -> Float[Array, ""]:
    """Mean over shapes of the mean or sum over everything else.

    Raises:
        ValueError: for an unknown reduction.
    """
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum() / values.shape[0]
    raise ValueError(
        f"the reduction is {reduction!r}; accepted: mean, sum (config.reconstruction.reduction, config.kl.reduction)"
    )


def cross_entropy(logits: Float[Array, "*d"], mask: Bool[Array, "*d"] | Float[Array, "*d"]) -> Float[Array, "*d"]:
    """Bernoulli cross-entropy in nats of each pixel's coverage, from its logit."""
    return jax.nn.softplus(logits) - logits * mask


def depth_error(depth: Float[Array, "*d"], truth: Float[Array, "*d"], mask: Bool[Array, "*d"]) -> Float[Array, "*d"]:
    """Absolute error in world units where there is surface, 0 elsewhere, over the share of pixels with surface."""
    return jnp.abs(depth - truth) * mask / jnp.maximum(mask.mean(), 1e-6)


def normal_error(
    normal: Float[Array, "*d 3 h w"], truth: Float[Array, "*d 3 h w"], mask: Bool[Array, "*d h w"]
) -> Float[Array, "*d h w"]:
    """Half the squared difference (1 - cosine for unit normals) where there is surface, over the share of such pixels."""
    return ((normal - truth) ** 2).sum(-3) / 2 * mask / jnp.maximum(mask.mean(), 1e-6)


def signed_distance_error(
    field: Float[Array, "b p"], truth: Float[Array, "b p"], slack: Float[Array, "b p"], weight: Float[Array, "b p"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Error in the clamped values, and in the sign, of a field at points, each in units of the band.

    `slack` is what the rendered maps themselves err at a point (projective distances are not Euclidean, and what no view
    sees is filled): only what exceeds it counts, so that value and gradient are 0 at the rendered maps.
    """
    field, truth = jnp.clip(field, -BAND, BAND), jnp.clip(truth, -BAND, BAND)
    allowed = slack + ROUNDING
    count = jnp.maximum(weight.sum(), 1)
    value = (_positive(jnp.abs(field - truth) - allowed) * weight).sum() / (BAND * count)
    sign = (_positive(-field * jnp.sign(truth) - allowed) * weight).sum() / (BAND * count)
    return value, sign


def side_error(
    field: Float[Array, "b p"], truth: Float[Array, "b p"], slack: Float[Array, "b p"], weight: Float[Array, "b p"]
) -> Float[Array, ""]:
    """How far a field without distances (a threshold minus a coverage) is on the wrong side at points, on average.

    Points where the rendered maps may be on the wrong side themselves (`slack` not below the distance) do not count.
    """
    sided = weight * (slack < jnp.abs(jnp.clip(truth, -BAND, BAND)))
    return (_positive(-field * jnp.sign(truth)) * sided).sum() / jnp.maximum(weight.sum(), 1)


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 0)
