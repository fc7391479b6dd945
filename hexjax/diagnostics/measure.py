"""The figures of one moment of a training: from parameters and a batch of n shapes to named scalars, and their verdict.

A family takes part through its `encode` and its `probe` (models/family.py). All is pure and can be compiled and vmapped
over runs, but `judge`, which turns scalars into a verdict on the host.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax.diagnostics import collapse, verdict
from hexjax.types import Array, Batch, Latent, Params

PAIRED = 64  # shapes whose posteriors are compared in pairs, at most
INVERSIONS = 60  # halvings of the interval of logits
LOGIT_LIMIT = 1e4  # a continuous Bernoulli has the mean 1 / limit there
OUTLINE_PX = 1
LEAST_VARIANCE = 1e-6  # of a value that is standardised

Knobs = dict[str, Array]


class Constant(NamedTuple):
    """The best predictor that knows no latent: what the decoder would give for the mean of the training values."""

    mean: Float[Array, "*x"]
    predicted: Float[Array, "*x"]
    variance: Float[Array, ""]  # mean squared error on the values that it was made of


class Moment(NamedTuple):
    """What was measured: named scalars, and of each shape what certificates and bootstraps need."""

    scalars: dict[str, Float[Array, ""]]
    swaps: Float[Array, "n"]  # nats lost with another shape's latent
    mean: Float[Array, "n d"]
    sample: Float[Array, "n d"]


def constant(probe: Any, x: Float[Array, "n *x"]) -> Constant:
    """The constant predictor of training values; half a value of 1/2 is added, so that no held-out value is impossible.

    Of one shape it is that shape: nothing else is held out.
    """
    mean = x[0] if len(x) == 1 else (x.sum(0) + 0.25) / (len(x) + 0.5)
    low, high = jnp.full_like(mean, -LOGIT_LIMIT), jnp.full_like(mean, LOGIT_LIMIT)

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        is_less = probe.expectation(middle[None])[0] < mean
        return jnp.where(is_less, middle, low), jnp.where(is_less, high, middle)

    low, high = jax.lax.fori_loop(0, INVERSIONS, halve, (low, high))
    return Constant(mean, (low + high) / 2, jnp.mean(jnp.square(x - mean[None])))


def standardised(probe: Any, x: Float[Array, "n *x"]) -> Float[Array, "n *x"]:
    """Training values less their mean, over the deviation that a cross-entropy's constant predictor gives each of them."""
    known = constant(probe, x)
    variance = jax.grad(lambda logits: probe.expectation(logits).sum())(known.predicted)
    return (x - known.mean[None]) / jnp.sqrt(jnp.maximum(variance, LEAST_VARIANCE))[None]


def measure(
    encode: Callable[..., Latent],
    probe: Any,
    params: Params,
    batch: Batch,
    key: Array,
    knobs: Knobs,
    known: Constant,
    variance: Float[Array, ""] | float = 0.0,
) -> Moment:
    """Every figure of the laboratory for n shapes; nats and counts, see the names.

    Args:
        known: the constant predictor of the training shapes.
        variance: of the reconstruction on training shapes, for likelihoods that have one; 0 takes this batch's own.
    """
    latent = encode(params, batch, key, knobs)
    x, predicted = probe.observe(batch), probe.predict(params, latent)
    expected = probe.expectation(predicted)
    swapped = probe.predict(params, jax.tree.map(lambda a: jnp.roll(a, 1, 0), latent))
    flat = lambda values: values.reshape(len(values), -1)
    squared = jnp.mean(jnp.square(expected - x))
    floor = jnp.square(knobs["reconstruction.sigma_floor"])
    variance = jnp.maximum(jnp.where(variance > 0, variance, squared), floor)
    everywhere = jnp.broadcast_to(known.predicted[None], x.shape)
    nats = lambda given, spread: flat(probe.nll(given, x, spread)).sum(-1)
    error = lambda given: flat(probe.error(given, x)).sum(-1)
    own, other, blind = (
        nats(predicted, variance),
        nats(swapped, variance),
        nats(everywhere, jnp.maximum(known.variance, floor)),
    )
    rates, mean, sample = probe.rate(params, latent, knobs), flat(latent.statistics["mean"]), flat(latent.code)
    hit = probe.coverage(x) > 0.5
    scalars = collapse.kl_summary(rates) | {
        "rate_bits": rates.reshape(len(x), -1).sum(1).mean() / math.log(2),
        "nll": own.mean(),
        "nll_constant": blind.mean(),
        "gain": collapse.gain(blind, own),
        "swap_gap": collapse.swap_gap(own, other),
        "swap_error": collapse.swap_gap(error(predicted), error(swapped)),
        "constant_error": error(everywhere).mean(),
        "squared_error": squared,
        "variance": variance,
        "active_units": collapse.active_unit_count(mean),
        "information": information(latent),
        "information_ceiling": jnp.log(jnp.float32(min(len(x), PAIRED))),
        "iou": collapse.intersection_over_union(probe.coverage(expected), hit, 0.5),
        "iou_constant": collapse.intersection_over_union(probe.coverage(probe.expectation(everywhere)), hit, 0.5),
        "mean_map_distance": collapse.mean_map_distance(expected, known.mean, x),
        "largest_mean": jnp.abs(mean).max(),
        "non_finite": collapse.non_finite((params, latent, predicted)),
    }
    if hit.ndim == 4:  # images have outlines
        slope = jnp.abs(jax.grad(lambda given: probe.nll(given, x, variance).sum())(predicted))
        slope = slope.reshape(hit.shape) if slope.size == hit.size else slope.sum(2)
        near = collapse.outline_gradient_share(slope, hit, OUTLINE_PX)
        scalars |= dict(zip(("outline_gradient", "outline_pixels"), near))
    if "log_variance" in latent.statistics:
        scalars["posterior_variance"] = jnp.exp(latent.statistics["log_variance"]).mean()
        scalars["largest_log_variance"] = jnp.abs(latent.statistics["log_variance"]).max()
    if probe.codes:
        scalars["codes_used"] = collapse.codes_used(latent.statistics["indices"], probe.codes)
        scalars["bit_entropy"] = collapse.bit_entropy(latent.statistics["indices"], probe.codes)
    scalars = {name: jnp.asarray(value, jnp.float32) for name, value in scalars.items()}
    return Moment(scalars, other - own, mean, sample)


def information(latent: Latent, paired: int = PAIRED) -> Float[Array, ""]:
    """Mutual information of shape and latent in nats by the aggregated posterior of at most `paired` shapes.

    A deterministic code tells a shape from all whose code differs.
    """
    found = jax.tree.map(lambda a: a[:paired].reshape(min(len(a), paired), -1), latent)
    if "log_variance" in found.statistics:
        densities = collapse.gaussian_log_densities(
            found.code, found.statistics["mean"], found.statistics["log_variance"]
        )
        return collapse.mutual_information(densities)
    if "logits" in found.statistics:
        return collapse.mutual_information(collapse.discrete_log_densities(found))
    same = (found.code[:, None] == found.code[None]).all(-1)
    return jnp.log(jnp.float32(len(same))) - jnp.log(same.sum(1).astype(jnp.float32)).mean()


def threshold_sweep(probe: Any, params: Params, latent: Latent, x: Array) -> dict[str, Array]:
    """Mean IoU and the share of shapes with anything hit, at every threshold of `collapse.THRESHOLDS`."""
    covered = probe.coverage(probe.expectation(probe.predict(params, latent)))
    return collapse.threshold_sweep(covered, probe.coverage(x) > 0.5, collapse.THRESHOLDS)


def judge(
    scalars: dict[str, Any],
    shapes: int,
    pays_rate: bool,
    swap_lower: float | None = None,
    sampled_margin_lower: float | None = None,
    held_out: bool = True,
    tokens: int | None = None,
) -> tuple[verdict.Verdict, verdict.Evidence]:
    """The verdict on measured scalars, and the evidence that it was given.

    Args:
        shapes: how many distinct ones the run trains on.
        pays_rate: whether the loss charges the encoder for the rate.
        held_out: whether other shapes were measured than those that were trained on.
        tokens: of a latent that is a set, whose active ones are among the scalars.
    """
    given = {name: float(scalars[name]) for name in ("kl", "gain", "swap_gap", "swap_error", "constant_error", "iou",
                                                     "iou_constant", "information", "information_ceiling")}  # fmt: skip
    evidence = verdict.Evidence(
        shapes=shapes,
        non_finite=int(scalars["non_finite"]),
        active_units=int(scalars["active_units"]),
        swap_lower=swap_lower,
        sampled_margin_lower=sampled_margin_lower,
        codes_used=float(scalars["codes_used"]) if "codes_used" in scalars else None,
        pays_rate=pays_rate,
        held_out=held_out,
        active_tokens=int(scalars["active_tokens"]) if "active_tokens" in scalars else None,
        tokens=tokens,
        **given,
    )
    return verdict.verdict(evidence), evidence
