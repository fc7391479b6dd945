"""Pure losses: on maps and the fused field, 0 at the truth; likelihoods of values in [0, 1]; the controlled KL term.

A likelihood reads logits: the mean of x is their sigmoid, but for the continuous Bernoulli. Every control of the KL term
has a value that switches it off (cap 1, free bits 0), so that all of them are arrays in one program and none is a branch.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from hexjax import names
from hexjax.geometry import frame
from hexjax.types import Array

BAND = frame.BAND
ROUNDING = 1e-5  # world units: below it, differences are the arithmetic's
LIKELIHOODS, CAP_MODES = names.LIKELIHOODS, names.CAP_MODES
NORMALISER = (1 / 12, -7 / 1440, 31 / 90720, -127 / 4838400, 73 / 34214400)  # of l^2, l^4 ... about l = 0; see below
MEAN = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)  # of l, l^3 ...
SERIES = 0.5  # logits nearer to 0 than this use the series


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


def depth_error(
    depth: Float[Array, "*d"],
    truth: Float[Array, "*d"],
    mask: Bool[Array, "*d"],
    knee: float = 0.0,
    quantile: float = 0.5,
    sides: float = 0.0,
) -> Float[Array, "*d"]:
    """Error in world units where there is surface, 0 elsewhere, over the share of pixels with surface.

    Args:
        knee: up to which it is squared, over twice the knee, as Huber's; beyond, and for 0 throughout, it is absolute.
        quantile: of depths that are possible and far apart, the one which costs least: below .5 what is too deep costs more.
        sides: what an error exceeds this, and the knee, by costs by its side; smaller ones are not pulled to either.

    Source: the weights, Koenker and Bassett 1978.
    """
    weight = jnp.where(depth > truth, 2 - 2 * quantile, 2 * quantile)
    error = jnp.abs(depth - truth)
    more = (weight - 1) * jnp.maximum(error - max(sides, knee), 0)
    if knee > 0:
        error = jnp.where(error < knee, error**2 / (2 * knee), error - knee / 2)
    return (error + more) * mask / jnp.maximum(mask.mean(), 1e-6)


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


# Likelihoods


def check_likelihood(kind: str) -> None:
    """Nothing; the kind is one of LIKELIHOODS.

    Raises:
        ValueError: for an unknown one.
    """
    if kind not in LIKELIHOODS:
        raise ValueError(f"config.reconstruction.kind is {kind!r}; accepted: {', '.join(LIKELIHOODS)}")


def expectation(logits: Float[Array, "*d"], kind: str) -> Float[Array, "*d"]:
    """The mean of x in [0, 1] that logits stand for.

    Raises:
        ValueError: for an unknown likelihood.
    """
    check_likelihood(kind)
    return continuous_bernoulli_mean(logits) if kind == "continuous_bernoulli" else jax.nn.sigmoid(logits)


def nll(
    logits: Float[Array, "*d"],
    x: Float[Array, "*d"],
    kind: str,
    variance: Float[Array, ""] | float,
    sigma_floor: Float[Array, ""] | float,
) -> Float[Array, "*d"]:
    """The reconstruction term of each value in nats; of `channels` the squared error, as published.

    Args:
        variance: of `gaussian`; that of `calibrated_gaussian` is what fits all values given, at least sigma_floor^2.

    Raises:
        ValueError: for an unknown likelihood.
    """
    mean = expectation(logits, kind)
    if kind == "channels":
        return (mean - x) ** 2
    if kind == "gaussian":
        return gaussian_nll(mean, x, variance)
    if kind == "calibrated_gaussian":
        return gaussian_nll(mean, x, jax.lax.stop_gradient(calibrated_variance(mean, x, sigma_floor)))
    return cross_entropy(logits, x) if kind == "bernoulli" else continuous_bernoulli_nll(logits, x)


def probe(kind: str | None) -> dict[str, Callable[..., Array]]:
    """The fields `expectation`, `nll` and `error` of a family's probe; None is for values given back as they are.

    Raises:
        ValueError: for an unknown likelihood.
    """
    if kind in ("bernoulli", "continuous_bernoulli"):
        nats = cross_entropy if kind == "bernoulli" else continuous_bernoulli_nll
        mean = functools.partial(expectation, kind=kind)
        squared = lambda predicted, x: (mean(predicted) - x) ** 2  # nats of a density may be negative: no share of them
        return dict(
            expectation=mean,
            nll=lambda predicted, x, variance: nats(predicted, x),
            error=nats if kind == "bernoulli" else squared,
        )
    if kind is not None:
        check_likelihood(kind)
    mean = jax.nn.sigmoid if kind else lambda predicted: predicted
    return dict(
        expectation=mean,
        nll=lambda predicted, x, variance: gaussian_nll(mean(predicted), x, variance),
        error=lambda predicted, x: (mean(predicted) - x) ** 2,
    )


def gaussian_nll(
    mean: Float[Array, "*d"], x: Float[Array, "*d"], variance: Float[Array, ""] | float
) -> Float[Array, "*d"]:
    """Nats of each value under N(mean, variance)."""
    return ((mean - x) ** 2 / variance + jnp.log(2 * math.pi * variance)) / 2


def calibrated_variance(
    mean: Float[Array, "*d"], x: Float[Array, "*d"], sigma_floor: Float[Array, ""] | float
) -> Float[Array, ""]:
    """The variance under which all values are likeliest, at least sigma_floor^2.

    Its own gradient may be stopped: at that variance it is 0 in the mean of the nats, and at the floor there is none.

    Source: Rybkin et al. 2021 (arXiv:2006.13202).
    """
    return jnp.maximum(jnp.mean((mean - x) ** 2), sigma_floor**2)


def continuous_bernoulli_nll(logits: Float[Array, "*d"], x: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """Nats of each value in [0, 1] under the continuous Bernoulli distribution of its logit.

    The constant C of a logit l is l / tanh(l / 2).

    Source: Loaiza-Ganem and Cunningham 2019 (arXiv:1907.06845); in logits: ours.
    """
    is_near = jnp.abs(logits) < SERIES
    far = jnp.where(is_near, 1, logits)
    near = math.log(2) + _odd_series(jnp.where(is_near, logits, 0), NORMALISER) * logits
    log_constant = jnp.where(is_near, near, jnp.log(far / jnp.tanh(far / 2)))
    return cross_entropy(logits, x) - log_constant


def continuous_bernoulli_mean(logits: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """The mean of the continuous Bernoulli distribution of each logit, 1 / (1 - exp(-l)) - 1 / l.

    Source: Loaiza-Ganem and Cunningham 2019 (arXiv:1907.06845); in logits: ours.
    """
    is_near = jnp.abs(logits) < SERIES
    far = jnp.where(is_near, 1, logits)
    near = _odd_series(jnp.where(is_near, logits, 0), MEAN)
    return 0.5 + jnp.where(is_near, near, 0.5 / jnp.tanh(far / 2) - 1 / far)


def _odd_series(x: Array, coefficients: tuple[float, ...]) -> Array:
    total = jnp.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x**2 + coefficient
    return total * x


# The KL term


def kl_weight(step: Array, knobs: dict[str, Array]) -> Float[Array, ""]:
    """The KL weight in force: linear from the initial to the final one over `kl.warmup_steps`."""
    steps = knobs["kl.warmup_steps"]
    share = jnp.where(steps > 0, jnp.clip(step / jnp.maximum(steps, 1), 0, 1), 1)
    return knobs["kl.initial_weight"] * (1 - share) + knobs["kl.final_weight"] * share


def capped(term: Array, reconstruction: Array, cap: Array, mode: str) -> Float[Array, ""]:
    """The weighted KL term, held to a share `cap` of the total loss; a cap of 1 changes nothing, whatever the total.

    clip: the smaller of the term and its share of the stopped total, so no gradient above the cap, as published.
    scale: the same value, but the gradient is scaled down instead of cut. penalty: above the cap it costs more.
    A share below 1 means something where the total is positive, which nats of a density need not be; below 0 it is 0.

    Raises:
        ValueError: for an unknown mode.
    """
    share = jnp.maximum(cap * jax.lax.stop_gradient(reconstruction + term), 0)
    most = jnp.where(cap < 1, share, jnp.inf)
    if mode == "clip":
        return jnp.minimum(term, most)
    stopped = jnp.maximum(jax.lax.stop_gradient(term), 1e-30)
    if mode == "scale":
        return term * jnp.minimum(1, most / stopped)
    if mode == "penalty":
        excess = term / jnp.maximum(most, 1e-30) - 1
        return term * (1 + jnp.where(excess > 1e-6, excess, 0))
    raise ValueError(f"config.kl.cap_mode is {mode!r}; accepted: {', '.join(CAP_MODES)}")


def controlled(
    rates: Float[Array, "b u"],
    reconstruction: Float[Array, ""],
    step: Array,
    knobs: dict[str, Array],
    reduction: str,
    cap_mode: str,
    floats: int | None = None,
    alive: Bool[Array, "b u"] | None = None,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The KL term of the loss (free bits, reduction, weight, cap), and its parts.

    Parts: kl, nats of one shape before any control; kl_per_float; kl_weight; kl_term; kl_gradient_removed, the share of
    the term's gradient in the rates that free bits and cap take away, by its norm: 1 above the cap of `clip`, between 0
    and 1 for `scale`; 0 for `penalty`, which only adds, and where the weight is 0.

    Args:
        floats: of one shape's latent: what `mean` divides by, and each has its free bits; None: as many as units.
        alive: the units that are there; what is not has no rate, no free bits and no floats. Means are of each shape's own,
            and over shapes then. None: all are there.

    Raises:
        ValueError: for an unknown reduction or mode.
    """
    units, weight, free = rates.shape[1], kl_weight(step, knobs), knobs["kl.free_bits"]
    floats = units if floats is None else floats
    divisor = floats / units if reduction == "mean" else 1
    if alive is not None:
        rates, own = jnp.where(alive, rates, 0), units / jnp.maximum(alive.sum(1, keepdims=True), 1)

    def plain(rates: Array) -> Array:
        if alive is not None:
            rates = jnp.where(alive, rates * own if reduction == "mean" else rates, 0)
        return weight * reduced(rates, reduction) / divisor

    def controls(rates: Array) -> Array:
        least = free * floats / units
        paid = jnp.where((rates > least) | (free <= 0), rates, least)
        return capped(plain(paid), reconstruction, knobs["kl.cap"], cap_mode)

    term, stopped, total = controls(rates), jax.lax.stop_gradient(rates), rates.sum() / len(rates)
    full = jnp.where(weight > 0 if alive is None else (weight > 0) & alive, jax.grad(plain)(stopped), 1)
    kept = jnp.sqrt(jnp.mean((jax.grad(controls)(stopped) / full) ** 2, where=alive))
    removed = jnp.where(weight > 0, jnp.clip(1 - kept, 0, 1), 0)
    each = total / floats if alive is None else (rates * own).mean() * units / floats
    parts = dict(kl=total, kl_per_float=each, kl_weight=weight, kl_term=term, kl_gradient_removed=removed)
    return term, parts


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 0)
