"""The verdict on a latent from measured figures. On the host, plain numbers.

A program decides, not a reader: the rules stand in one order, and all of their thresholds in `THRESHOLDS`. A figure that
is None was not measured: what needs it cannot be shown, so it never makes a model HEALTHY. Only the witness may be absent.
"""

import math
from typing import NamedTuple

from hexjax.diagnostics import collapse


class Thresholds(NamedTuple):
    """Every number that the rules compare with."""

    active_variance: float  # of a float's posterior mean over shapes
    swap_share: float  # of the constant predictor's error: a smaller swap gap is none
    wasted_nats: float  # a rate that a collapsed latent must not cost
    excess_nats: float  # of the rate above the gain
    iou_margin: float  # above the constant predictor, or half of what is missing to 1, where that is less
    decoder_iou: float  # at which a decoder gives back the one shape that there is
    codes_share: float  # of the codes in use
    kinds: float  # of shapes that a latent tells apart, or half of them all, where those are fewer
    tokens_share: float  # of a set's tokens that are active


THRESHOLDS = Thresholds(
    active_variance=collapse.ACTIVE_VARIANCE,
    swap_share=0.01,
    wasted_nats=5.0,
    excess_nats=10.0,
    iou_margin=0.10,
    decoder_iou=0.95,
    codes_share=0.10,
    kinds=8.0,
    tokens_share=0.95,
)


class Evidence(NamedTuple):
    """What a verdict reads; None: not measured. Rates and gains in nats, means over shapes.

    shapes: distinct ones of the training; non_finite: numbers among losses, parameters and latents.
    gain: nats saved against the constant predictor, likelihoods calibrated on training shapes.
    swap_gap: nats lost with another shape's latent, swap_lower its lower bound by a paired bootstrap; swap_error and
    constant_error: the same loss, and the constant predictor's, in the units of the reconstruction error.
    sampled_margin_lower: of a fitted witness on samples (LCB95 of G_z). codes_used: as `collapse.codes_used`.
    pays_rate: False where the loss charges nothing for the rate; held_out: False where training shapes were judged.
    information: of shape and latent, in nats, by as many shapes as have the logarithm information_ceiling; tags alone read it.
    active_tokens: of a set's tokens, as `collapse.active_token_count`; the reason tells them, and a tag where they are few.
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
    information: float | None = None
    information_ceiling: float | None = None
    active_tokens: int | None = None
    tokens: int | None = None


class Verdict(NamedTuple):
    """One of names.VERDICTS, the numbers that decided in one line, and what else is to be known."""

    name: str
    reason: str
    tags: tuple[str, ...]


def verdict(evidence: Evidence) -> Verdict:
    """The first rule that applies: EXPLODED, NOT-CERTIFIABLE, COLLAPSED, EXPLODED by its rate, HEALTHY, else WEAK.

    Tags do not change the name. After COLLAPSED they tell whose fault it is: of a decoder that ignores the latent, of a code
    that no witness reads either (both: a code of noise), of a code that tells only a few kinds of shapes.

    Source: ours.
    """
    found, active, tokens = _first(evidence), evidence.active_tokens, evidence.tokens
    if active is None or tokens is None or evidence.shapes < 2:
        return found
    tags = found.tags + (("few tokens active",) if active < THRESHOLDS.tokens_share * tokens else ())
    return found._replace(reason=f"{found.reason}; {active} of {tokens} tokens active", tags=tags)


def _first(evidence: Evidence) -> Verdict:
    """What the first rule that applies says."""
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
    tags += _faults(evidence)
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
    return evidence.active_units == 0 and _swaps_are_free(evidence) and not _above(evidence.sampled_margin_lower, 0.0)


def _swaps_are_free(evidence: Evidence) -> bool:
    if evidence.swap_error is None or evidence.constant_error is None:
        return False
    return evidence.swap_error < THRESHOLDS.swap_share * evidence.constant_error


def _faults(evidence: Evidence) -> tuple[str, ...]:
    """What is wrong with a latent that has not collapsed, in tags."""
    tags, margin = (), evidence.sampled_margin_lower
    if _swaps_are_free(evidence):
        tags += ("decoder ignores the latent",)
        tags += ("no witness reads the latent",) if margin is not None and not _above(margin, 0.0) else ()
    told, compared = evidence.information, evidence.information_ceiling
    if told is None or compared is None:
        return tags
    half = min(math.log(evidence.shapes), compared) - math.log(2)
    few = told < min(math.log(THRESHOLDS.kinds), half)
    return (*tags, "few kinds told apart") if few else tags


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
