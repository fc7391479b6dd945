"""The verdict on a latent from measured figures, and what to expect before the first step. On the host, plain numbers.

A program decides, not a reader: the rules stand in one order, and all of their thresholds in `THRESHOLDS`. A figure that
is None was not measured: what needs it cannot be shown, so it never makes a model HEALTHY. Only the witness may be absent.
"""

import math
from typing import Any, NamedTuple

from hexjax.diagnostics import collapse

NAMES = ("EXPLODED", "NOT-CERTIFIABLE", "COLLAPSED", "HEALTHY", "WEAK")
GAUSSIAN = ("gaussian", "vamp_prior", "flow_prior")  # latents whose rate has no bound
CROSS_ENTROPIES = ("bernoulli", "continuous_bernoulli")
OVERFLOW = 88.7  # exp of more is infinite in float32


class Thresholds(NamedTuple):
    """Every number that the rules compare with."""

    active_variance: float  # of a float's posterior mean over shapes
    swap_share: float  # of the constant predictor's error: a smaller swap gap is none
    wasted_nats: float  # a rate that a collapsed latent must not cost
    excess_nats: float  # of the rate above the gain
    iou_margin: float  # above the constant predictor, or half of what is missing to 1, where that is less
    decoder_iou: float  # at which a decoder gives back the one shape that there is
    codes_share: float  # of the codes in use


THRESHOLDS = Thresholds(
    active_variance=collapse.ACTIVE_VARIANCE,
    swap_share=0.01,
    wasted_nats=5.0,
    excess_nats=10.0,
    iou_margin=0.10,
    decoder_iou=0.95,
    codes_share=0.10,
)


class Evidence(NamedTuple):
    """What a verdict reads; None: not measured. Rates and gains in nats, means over shapes.

    shapes: distinct ones of the training; non_finite: numbers among losses, parameters and latents.
    gain: nats saved against the constant predictor, likelihoods calibrated on training shapes.
    swap_gap: nats lost with another shape's latent, swap_lower its lower bound by a paired bootstrap; swap_error and
    constant_error: the same loss, and the constant predictor's, in the units of the reconstruction error.
    sampled_margin_lower: of a fitted witness on samples (LCB95 of G_z). codes_used: as `collapse.codes_used`.
    pays_rate: False where the loss charges nothing for the rate; held_out: False where training shapes were judged.
    """

    shapes: int
    non_finite: int
    kl: float | None
    gain: float | None
    active_units: int | None
    swap_gap: float | None
    swap_error: float | None
    constant_error: float | None
    swap_lower: float | None
    sampled_margin_lower: float | None
    iou: float | None
    iou_constant: float | None
    codes_used: float | None
    pays_rate: bool
    held_out: bool = True


class Verdict(NamedTuple):
    """One of NAMES, the numbers that decided in one line, and what else is to be known."""

    name: str
    reason: str
    tags: tuple[str, ...]


class Preflight(NamedTuple):
    """What the data and the settings foretell, and why, one line each.

    decoder_variance: of the Gaussian decoder that the loss amounts to; None where it amounts to none. kl_weight: on the
    summed KL at the end of the run. predicted: one of NAMES, or UNKNOWN; HEALTHY: nothing here foretells a failure.
    """

    largest_eigenvalue: float
    decoder_variance: float | None
    kl_weight: float
    predicted: str
    lines: tuple[str, ...]


def verdict(evidence: Evidence) -> Verdict:
    """The first rule that applies: EXPLODED, NOT-CERTIFIABLE, COLLAPSED, EXPLODED by its rate, HEALTHY, else WEAK.

    Source: ours.
    """
    tags = () if evidence.held_out else ("training shapes",)
    if broken := _broken(evidence):
        return Verdict("EXPLODED", broken, (*tags, "non-finite"))
    if evidence.shapes < 2:
        return _of_one_shape(evidence, tags)
    tags += ("no witness",) if evidence.sampled_margin_lower is None else ()
    tags += ("codebook collapsed",) if _above(THRESHOLDS.codes_share, evidence.codes_used) else ()
    kl, gain = evidence.kl, evidence.gain
    if _is_collapsed(evidence):
        wasted = evidence.pays_rate and _above(kl, THRESHOLDS.wasted_nats)
        return Verdict("COLLAPSED", _collapse(evidence), (*tags, "wasted rate") if wasted else tags)
    if evidence.pays_rate and _above(kl, _sum(gain, THRESHOLDS.excess_nats)):
        reason = f"the rate {kl:.4g} nats is more than {THRESHOLDS.excess_nats:g} above the gain {gain:.4g} nats"
        return Verdict("EXPLODED", reason, (*tags, "rate above gain"))
    conditions = _conditions(evidence)
    missed = [text for text, is_met in conditions if not is_met]
    if missed:
        return Verdict("WEAK", f"too little: {'; '.join(missed)}", tags)
    return Verdict("HEALTHY", "; ".join(text for text, _ in conditions), tags)


def _conditions(evidence: Evidence) -> list[tuple[str, bool]]:
    """What a HEALTHY latent shows, in words, and whether it does."""
    net, name = evidence.gain, "gain"
    if evidence.pays_rate:
        net, name = _sum(net, None if evidence.kl is None else -evidence.kl), "gain less rate"
    least = evidence.iou_constant
    if least is not None:  # of shapes that are much alike the mean is so good that there is no such margin above it
        least += min(THRESHOLDS.iou_margin, (1 - least) / 2)
    is_covered = evidence.iou is not None and least is not None and evidence.iou >= least
    conditions = [
        (_phrase(name, net, "nats"), _above(net, 0.0)),
        (_phrase("swap gap at least", evidence.swap_lower, "nats"), _above(evidence.swap_lower, 0.0)),
        (f"{_phrase('IoU', evidence.iou)}, {_phrase('asked', least)}", is_covered),
    ]
    if evidence.sampled_margin_lower is not None:
        text = _phrase("margin of a witness at least", evidence.sampled_margin_lower, "nats")
        conditions.append((text, _above(evidence.sampled_margin_lower, 0.0)))
    return conditions


def _broken(evidence: Evidence) -> str:
    """What is not finite, in words; nothing where all is."""
    if evidence.non_finite > 0:
        return f"{evidence.non_finite} numbers among loss, parameters and latents are not finite"
    names = ("gain", "swap_gap", "swap_error", "constant_error", "iou", "iou_constant")
    for name in (("kl",) if evidence.pays_rate else ()) + names:
        value = getattr(evidence, name)
        if value is not None and not math.isfinite(value):
            return f"{name} is {value}"
    return ""


def _of_one_shape(evidence: Evidence, tags: tuple[str, ...]) -> Verdict:
    least = THRESHOLDS.decoder_iou
    found = () if evidence.iou is None else ("decoder ok",) if evidence.iou >= least else ("decoder failed",)
    reason = f"{evidence.shapes} distinct shape, of which a latent can tell nothing; {_phrase('IoU', evidence.iou)}, "
    reason += f"asked {least:g}; {_phrase('KL', evidence.kl, 'nats')}"
    return Verdict("NOT-CERTIFIABLE", reason, (*tags, *found))


def _is_collapsed(evidence: Evidence) -> bool:
    """No unit is active, swaps cost nothing, and no witness certifies the latent."""
    if evidence.active_units is None or evidence.swap_error is None or evidence.constant_error is None:
        return False
    swaps_are_free = evidence.swap_error < THRESHOLDS.swap_share * evidence.constant_error
    return evidence.active_units == 0 and swaps_are_free and not _above(evidence.sampled_margin_lower, 0.0)


def _collapse(evidence: Evidence) -> str:
    share = f"{100 * THRESHOLDS.swap_share:g} % of the constant predictor's {evidence.constant_error:.4g}"
    reason = f"no unit's variance is above {THRESHOLDS.active_variance:g}; "
    reason += f"another shape's latent costs {evidence.swap_error:.4g}, below {share}"
    if evidence.sampled_margin_lower is not None:
        reason += f"; {_phrase('margin of a witness at least', evidence.sampled_margin_lower, 'nats')}"
    return f"{reason}; {_phrase('KL', evidence.kl, 'nats')}" if evidence.pays_rate else reason


def _above(value: float | None, limit: float | None) -> bool:
    """Whether both are known and the first is larger; NaN and infinity never are."""
    return value is not None and limit is not None and math.isfinite(value) and value > limit


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _phrase(text: str, value: float | None, unit: str = "") -> str:
    return f"{text} (not measured)" if value is None else f"{text} {value:.4g} {unit}".rstrip()


# Before the first step.


def preflight(
    *,
    largest_eigenvalue: float,
    entries: int,
    shapes: int,
    latent_floats: int,
    pays_rate: bool,
    likelihood: str,
    reduction: str,
    variance: float,
    kl: Any,
    steps: int,
    latent: str = "gaussian",
    alignment: float = 0.0,
) -> Preflight:
    """What to expect of a run from the spectrum of its data and its settings.

    Collapse is foretold where the data's largest eigenvalue is below the variance of the Gaussian decoder that loss and KL
    weight amount to: then no direction pays for its rate to second order, whatever the input and the network.

    Args:
        largest_eigenvalue: of the covariance of the values that are given back; for cross-entropies of `standardised` ones.
        entries: how many values a shape has.
        likelihood, reduction, variance: of config.reconstruction; kl: config.kl; latent: config.latent.kind.
        alignment: weight of the loss that aligns the latent with a teacher, which the spectrum does not see.

    Raises:
        ValueError: for an unknown name, or an eigenvalue that is not finite.

    Source: Lucas et al. 2019 (arXiv:1911.02469) and arXiv:2510.01621 for the threshold; the rest ours. A cross-entropy with
    logits b + W z is, for small W z, l(b) - (x - m)^T W z + (W z)^T D (W z) / 2 with m its mean at b and D the variances of its
    values there: the squared error, of variance 1, of D^(-1/2) (x - m).
    """
    if not math.isfinite(largest_eigenvalue):
        raise ValueError(f"the largest eigenvalue of the data is {largest_eigenvalue}; accepted: data of finite values")
    values = _named("config.reconstruction.reduction", reduction, {"sum": 1, "mean": entries})
    unit = ", each in units of its deviation" if likelihood in CROSS_ENTROPIES else ""
    known = f"largest eigenvalue of their covariance {largest_eigenvalue:.4g}"
    lines = [f"{shapes} shapes of {entries} values{unit}; {known}"]
    weight, threshold, predicted = 0.0, None, "HEALTHY"
    if pays_rate:
        weight, told = _weight(kl, latent_floats, steps)
        threshold = _decoder_variance(likelihood, weight * values, variance)
        by_data, why = _by_data(largest_eigenvalue, threshold, likelihood, weight * values, kl)
        by_controls, warnings = _by_controls(kl, latent, latent_floats, weight)
        predicted, lines = by_controls or by_data, [*lines, *told, why, *warnings]
        if predicted == "COLLAPSED" and alignment > 0:
            predicted = "UNKNOWN"
            lines.append("the alignment loss may keep a latent that the reconstruction does not pay for")
    else:
        lines.append("the latent pays no rate: no KL term can collapse or explode it")
    if shapes < 2:
        predicted = "NOT-CERTIFIABLE"
        lines.append(f"{shapes} shape: a latent can tell nothing of it")
    lines.append(f"expected: {predicted}" + (", as nothing here foretells a failure" if predicted == "HEALTHY" else ""))
    return Preflight(largest_eigenvalue, threshold, weight, predicted, tuple(lines))


def _named(key: str, name: str, table: dict[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{key} is {name!r}; accepted: {', '.join(table)}")
    return table[name]


def _weight(kl: Any, latent_floats: int, steps: int) -> tuple[float, list[str]]:
    """The weight on the summed KL at the end of the run, and lines where that is not the final weight as it stands."""
    lines, warmup, weight = [], kl["warmup_steps"], kl["final_weight"]
    if warmup > steps:
        weight = kl["initial_weight"] + (weight - kl["initial_weight"]) * steps / warmup
        ends = f"the KL weight ends at {weight:.4g}, not at {kl['final_weight']:.4g}"
        lines.append(f"the warm-up of {warmup} steps outlasts the run of {steps}: {ends}")
    divisor = _named("config.kl.reduction", kl["reduction"], {"sum": 1, "mean": latent_floats})
    if divisor > 1:
        amounts = f"the weight {weight:.4g} is {weight / divisor:.4g} on the sum"
        lines.append(f"the KL is averaged over {latent_floats} floats: {amounts}")
    return weight / divisor, lines


def _decoder_variance(likelihood: str, weight: float, variance: float) -> float | None:
    """Of the Gaussian whose negative ELBO the loss is, but for a factor; the weight is that beside summed values."""
    none = dict.fromkeys(("calibrated_gaussian", "surface"))
    known = {"channels": weight / 2, "gaussian": weight * variance} | dict.fromkeys(CROSS_ENTROPIES, weight) | none
    return _named("config.reconstruction.kind", likelihood, known)


def _by_data(eigenvalue: float, threshold: float | None, likelihood: str, weight: float, kl: Any) -> tuple[str, str]:
    """What the spectrum foretells, and the line that says so; the weight is that beside summed values."""
    if threshold is None:
        reason = f"{likelihood} has no threshold for the eigenvalue; beside summed values the KL weight is {weight:.4g}"
        if likelihood == "calibrated_gaussian" and weight <= 1:  # a constant fits the mean eigenvalue as its variance
            return "HEALTHY", f"{reason}: up to 1, the first principal direction pays for its rate"
        return "UNKNOWN", reason
    near = ", near the constant predictor," if likelihood in CROSS_ENTROPIES else ""
    known = f"the loss is{near} that of a Gaussian decoder of variance {threshold:.4g}"
    if eigenvalue >= threshold:
        return "HEALTHY", f"{known}, not above {eigenvalue:.4g}: the first principal direction pays for its rate"
    if kl["free_bits"] > 0:
        return "UNKNOWN", f"{known}, above {eigenvalue:.4g}: no direction pays for more than the free bits"
    return "COLLAPSED", f"{known}, above {eigenvalue:.4g}: no direction pays for its rate"


def _by_controls(kl: Any, latent: str, latent_floats: int, weight: float) -> tuple[str, list[str]]:
    """EXPLODED where nothing holds the rate down, else nothing; and a line for each control of the KL term."""
    lines, expected, prior = [], "", kl["prior_variance"]
    limit = kl["log_variance_limit"]
    if weight == 0 and latent in GAUSSIAN:
        expected = "EXPLODED"
        lines.append("the KL weight is 0: nothing holds the rate down")
    if kl["cap"] < 1:
        effects = {"clip": "is 0", "scale": "is scaled down, not cut", "penalty": "grows"}
        effect = _named("config.kl.cap_mode", kl["cap_mode"], effects)
        lines.append(f"where the KL term is above {100 * kl['cap']:.4g} % of the loss, its gradient {effect}")
        if kl["cap_mode"] == "clip" and latent in GAUSSIAN:
            expected = "EXPLODED"
            lines[-1] += ": nothing brings a large KL back"
    if latent in GAUSSIAN and limit >= OVERFLOW:
        lines.append(f"log-variances have no limit: from {OVERFLOW} on a variance is infinite in float32")
    elif latent in GAUSSIAN:
        stuck = (math.exp(limit) / prior - 1 - limit + math.log(prior)) / 2
        if stuck > THRESHOLDS.excess_nats:
            lines.append(f"a float beyond the log-variance {limit:g} has no gradient back, and costs {stuck:.4g} nats")
    if latent == "gaussian" and prior != 1:
        cost = (1 / prior - 1 + math.log(prior)) / 2
        costs = f"{cost:.4g} nats a float, {cost * latent_floats:.4g} in all"
        lines.append(f"under the prior's variance {prior:.4g} a posterior N(0, 1) costs {costs}")
    if kl["free_bits"] > 0:
        lines.append(f"free bits: {kl['free_bits'] * latent_floats:.4g} nats of a shape cost nothing")
    return expected, lines
