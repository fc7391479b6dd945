"""What a field is asked to be at the points of a query pool: a cut distance, or inside and outside; and autoencoders of it.

Points whose sign is not sure do not count. A family with these keys has `KEYS` among its own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hexjax import rules
from hexjax.geometry import frame
from hexjax.models.parts import latents, losses
from hexjax.types import Array, Batch, Latent, Params

SOFTNESS = 0.01  # world units: a signed distance over it is the logit of being outside, for diagnostics alone
KEYS = {
    "model.target": rules.choice("truncated", "occupancy"),
    "model.error": rules.choice("l1", "l2"),
    "model.truncation": rules.POSITIVE,
    "model.eikonal_weight": rules.NOT_NEGATIVE,
}


def softness(model: Any) -> float:
    """World units that a logit of being outside stands for."""
    return model.truncation if model.target == "occupancy" else SOFTNESS


def fit(model: Any, ask: Callable[[Array], Array], batch: Batch) -> tuple[Array, dict[str, Array]]:
    """The loss of a field at a batch's points, and its parts; a distance counts in truncations.

    Args:
        ask: from points [b, p, 3] to signed distances [b, p], which are never cut themselves.
    """
    points, distance, sure = batch["points"], batch["sdf"], batch["sure"]
    mean = lambda values: (values * sure).sum() / jnp.maximum(sure.sum(), 1)
    values = ask(points)
    if model.target == "occupancy":
        error = mean(losses.cross_entropy(-values / softness(model), distance < 0))
    else:
        cut = jnp.clip(distance, -model.truncation, model.truncation)
        off = (values - cut) / model.truncation
        error = mean(jnp.square(off) if model.error == "l2" else jnp.abs(off))
    parts = {"reconstruction": error, "sign": mean(1.0 * ((values < 0) == (distance < 0)))}
    if not model.eikonal_weight:
        return error, parts
    slope = jax.grad(lambda points: ask(points).sum())(points)
    off = jnp.square(jnp.sqrt(jnp.square(slope).sum(-1) + 1e-12) - 1)
    parts["eikonal"] = model.eikonal_weight * mean(off * (jnp.abs(distance) < model.truncation))
    return error + parts["eikonal"], parts


def autoencoder(
    config: Any,
    bottleneck: latents.Bottleneck,
    count: int,
    see: Callable[[Batch], Array],
    statistics: Callable[[Params, Array], Array],
    decode: Callable[[Params, Latent], Any],
    field: Callable[[Params, Any, Array], Array],
) -> dict[str, Any]:
    """The fields of a Family that encodes a shape and is fitted to its distances: all but names, layout and `init`.

    Args:
        count: of the places that all shapes share, for diagnostics. see, statistics: as in `latents.around`.
        decode, field: as in a Family.
    """
    model, kl, places = config.model, config.kl, jnp.asarray(frame.shared_points(count))

    def predict(params: Params, found: Latent) -> Array:
        """Logits [b, q] of being inside at the places that all shapes share."""
        return -jax.lax.map(lambda one: field(params, one, places), decode(params, found)) / softness(model)

    judged = dict(observe=lambda batch: batch["inside"], coverage=lambda x: x, **losses.probe("bernoulli"))
    rate, fields = latents.around(bottleneck, kl, see, statistics, predict, judged)

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: latents.Knobs) -> tuple[Array, dict]:
        found = bottleneck.encode(statistics(params, see(batch)), key, knobs)
        decoded = decode(params, found)
        ask = lambda points: jax.vmap(lambda one, points: field(params, one, points))(decoded, points)
        error, parts = fit(model, ask, batch)
        term, told = latents.charge(bottleneck, rate(params, found, knobs), error, step, knobs, kl)
        return error + term, parts | told

    return dict(loss=loss, decode=decode, field=field, **fields)
