"""What to expect of a latent before the first step, from the data's spectrum and the settings. On the host, plain numbers."""

import math
from typing import Any, NamedTuple

from hexjax import names
from hexjax.diagnostics import verdict

CROSS_ENTROPIES = ("bernoulli", "continuous_bernoulli")
ALONE = (
    "one shape: whether the latent tells shapes apart cannot be judged; that takes two (config.data.path, data.count)"
)
OVERFLOW = 88.7  # exp of more is infinite in float32


class Preflight(NamedTuple):
    """What the data and the settings foretell, and why, one line each.

    decoder_variance: of the Gaussian decoder that the loss amounts to; None where it amounts to none. kl_weight: on the
    summed KL at the end of the run. predicted: one of names.VERDICTS, or UNKNOWN; HEALTHY: nothing here foretells a failure.
    """

    largest_eigenvalue: float
    decoder_variance: float | None
    kl_weight: float
    predicted: str
    lines: tuple[str, ...]


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
        predicted, lines = "NOT-CERTIFIABLE", [*lines, ALONE] if pays_rate else [ALONE]
        return Preflight(largest_eigenvalue, threshold, weight, predicted, tuple(lines))
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
    if weight == 0 and latent in names.GAUSSIAN:
        expected = "EXPLODED"
        lines.append("the KL weight is 0: nothing holds the rate down")
    if kl["cap"] < 1:
        effects = {"clip": "is 0", "scale": "is scaled down, not cut", "penalty": "grows"}
        effect = _named("config.kl.cap_mode", kl["cap_mode"], effects)
        lines.append(f"where the KL term is above {100 * kl['cap']:.4g} % of the loss, its gradient {effect}")
        if kl["cap_mode"] == "clip" and latent in names.GAUSSIAN:
            expected = "EXPLODED"
            lines[-1] += ": nothing brings a large KL back"
    if latent in names.GAUSSIAN and limit >= OVERFLOW:
        lines.append(f"log-variances have no limit: from {OVERFLOW} on a variance is infinite in float32")
    elif latent in names.GAUSSIAN:
        stuck = (math.exp(limit) / prior - 1 - limit + math.log(prior)) / 2
        if stuck > verdict.THRESHOLDS.excess_nats:
            lines.append(f"a float beyond the log-variance {limit:g} has no gradient back, and costs {stuck:.4g} nats")
    if latent == "gaussian" and prior != 1:
        cost = (1 / prior - 1 + math.log(prior)) / 2
        costs = f"{cost:.4g} nats a float, {cost * latent_floats:.4g} in all"
        lines.append(f"under the prior's variance {prior:.4g} a posterior N(0, 1) costs {costs}")
    if kl["free_bits"] > 0:
        lines.append(f"free bits: {kl['free_bits'] * latent_floats:.4g} nats of a shape cost nothing")
    return expected, lines
