"""What the statements of the witness are about and hexjax itself never asks: energies, paths; and exact counts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax.diagnostics import collapse, witness
from hexjax.types import Array

Scalar = Float[Array, ""] | float


class Path(NamedTuple):
    """Energy above the anchor, and margin, for each share of the way from the anchor to the closed-form code."""

    energy: Float[Array, "a"]
    margin: Float[Array, "a"]


class ViewGap(NamedTuple):
    """E KL(t'||q) - E KL(t||q) = entropy + cross, and |cross| <= bound."""

    gap: Float[Array, ""]
    entropy: Float[Array, ""]
    cross: Float[Array, ""]
    bound: Float[Array, ""]


def active_units(means: Float[Array, "n *d"]) -> int | None:
    """Latent floats whose posterior mean varies over the shapes by more than 0.01; None for fewer than two shapes.

    Source: Burda et al. 2015, section 5.1.
    """
    if len(means) < 2:
        return None
    return int((np.var(np.asarray(means, np.float64), 0) > collapse.ACTIVE_VARIANCE).sum())


def energy(t: Float[Array, "n k"], temperature: Scalar) -> Float[Array, ""]:
    """E |mean|^2 / 2 of the closed-form code: the mean's part of its KL from N(0, I), in nats."""
    log_t = jnp.log(t)
    spread = ((log_t - log_t.mean(1, keepdims=True)) ** 2).sum(1).mean()
    return (t.shape[1] - 1) / (2 * t.shape[1] * temperature**2) * spread


def margin_path(t: Float[Array, "n k"], temperature: Scalar, alphas: Float[Array, "a"]) -> Path:
    """Energy and margin on the way from the code of tbar, where the margin is 0, to the closed-form code, where it is I_T."""
    anchor = witness.closed_form_code(t.mean(0)[None], temperature)
    offset = witness.closed_form_code(t, temperature) - anchor
    log_q = lambda alpha: witness.witness_log_q(anchor + alpha * offset, t.shape[1], temperature)
    margins = jax.vmap(lambda alpha: witness.margin(t, log_q(alpha)))(alphas)
    return Path(alphas**2 * (offset**2).sum(1).mean() / 2, margins)


def minimal_variance(t: Float[Array, "n k"], nats: Scalar, temperature: Scalar) -> Float[Array, ""]:
    """The least total variance of the K - 1 floats that a margin of `nats` takes with the simplex witness; 0 for none.

    Source: ours: convexity of the loss around tbar, and Cauchy-Schwarz.
    """
    classes = t.shape[1]
    spread = ((t - t.mean(0)[None]) ** 2).sum(1).mean()
    least = (classes - 1) * jnp.maximum(nats, 0) ** 2 / (classes * temperature**2)
    return jnp.where(spread > 0, least / jnp.where(spread > 0, spread, 1), 0)


def view_gap(t: Float[Array, "n k"], t_other: Float[Array, "n k"], log_q: Float[Array, "n k"]) -> ViewGap:
    """How much the loss, hence the margin, changes when the teacher sees another view of the same shapes.

    Source: ours; the bound holds half the range of each shape's logits against |t - t'|_1.
    """
    entropies = (witness.entropy(t) - witness.entropy(t_other)).mean()
    cross = ((t - t_other) * log_q).sum(1).mean()
    reach = (log_q.max(1) - log_q.min(1)) / 2
    return ViewGap(entropies + cross, entropies, cross, (reach * jnp.abs(t - t_other).sum(1)).mean())
