"""Figures of groups of runs, the statistics over them, and how both are worded: what tables and pictures share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

from hexjax import names
from hexjax.evaluation.laboratory.results import NONE, Group, Groups, Results

DOUBT = 0.05  # probability with which a lower bound on a rate may fail
NAMED = 6  # missing cells that are named; the others are counted
# Keys in which cells may differ and be a pair: the factors, whose words are compared, and how many runs there are.
THREE = {"binary": "silhouettes", "binary_sdf": "silhouette_sdf"}
OWN = ("model.input", "reconstruction.kind", "reconstruction.reduction", "latent.kind", "sweep.shapes", "sweep.control",
       "sweep.seeds", "sweep.start")  # fmt: skip

Values = Float[np.ndarray, "_"]


# Figures of groups.


def is_certifiable(group: Group) -> bool:
    """Whether there was more than one shape, so that the verdict is not given by their number."""
    return group.cell["data"]["train"] > 1


def final(groups: Group | Groups, name: str) -> Values:
    """A scalar of the end of each run, not a number where it was not finite; of runs that have it."""
    runs = groups.runs if isinstance(groups, Group) else [run for group in groups for run in group.runs]
    return np.array([run["final"][name] for run in runs if name in run["final"]], np.float64)


def history(group: Group, name: str) -> tuple[Values, Float[np.ndarray, "r s"]]:
    """The steps, and a scalar of every run at each of them; no rows where it was not measured."""
    rows = [[moment[name] for moment in run["history"]] for run in group.runs if all(name in m for m in run["history"])]
    steps = [moment["step"] for moment in group.runs[0]["history"]]
    values = np.array(rows, np.float64).reshape(len(rows), len(steps))
    return np.array(steps, np.float64), values


def difference(group: Group, name: str, other: str) -> Values:
    """One scalar of the end less another, of runs that have both."""
    runs = [run["final"] for run in group.runs if name in run["final"] and other in run["final"]]
    return np.array([run[name] for run in runs], np.float64) - np.array([run[other] for run in runs], np.float64)


def late_change(group: Group, name: str) -> Values:
    """By what share a scalar of each run changes over the last fifth of its steps."""
    steps, values = history(group, name)
    before = values[:, np.searchsorted(steps, 0.8 * steps[-1])]
    return values[:, -1] / np.where(before == 0, np.nan, before) - 1


def weight(group: Group) -> float:
    """beta: the weight of the KL term in the end."""
    name = "kl.final_weight"
    return group.setting[name] if name in group.setting else group.cell["preflight"]["kl_weight"]


def threshold(group: Group) -> float:
    """beta sigma^2 / lambda_max: above 1, no direction of the data pays for its rate; not a number for other likelihoods.

    sigma^2 is that of the Gaussian decoder which the loss amounts to. The preflight saw the cell's first setting only.
    """
    known = group.cell["preflight"]
    if known["decoder_variance"] is None:
        return float("nan")
    ours = known["decoder_variance"] * (weight(group) / known["kl_weight"] if known["kl_weight"] else 1.0)
    return ours / known["largest_eigenvalue"] if known["largest_eigenvalue"] else float("inf")


def predicted(group: Group) -> str:
    """The preflight's word, for the group's own weight of the KL term."""
    word = group.cell["preflight"]["predicted"]
    if word not in ("HEALTHY", "COLLAPSED") or np.isnan(threshold(group)):
        return word
    return "COLLAPSED" if threshold(group) > 1 else "HEALTHY"


def not_finite(runs: Sequence[dict[str, Any]]) -> int:
    """How many of the runs had a figure, a parameter or a latent that is not finite."""
    return sum("non-finite" in run["tags"] or bool(run["evidence"]["non_finite"]) for run in runs)


def empty(runs: Sequence[dict[str, Any]]) -> int:
    """In how many of the runs no threshold leaves anything of any shape."""
    return sum(not any((share or 0) > 0 for share in run["final"]["sweep_non_empty"]) for run in runs)


def verdicts(runs: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many runs had each verdict, those of none left out; they add up to the number of runs."""
    had = [run["verdict"] for run in runs]
    return {name: had.count(name) for name in (*names.VERDICTS, *sorted({*had} - {*names.VERDICTS})) if name in had}


def commonest(runs: Sequence[dict[str, Any]]) -> str:
    """The verdict of most runs, of several the first in the order of names.VERDICTS."""
    counts = verdicts(runs)
    return max(counts, key=counts.__getitem__)


def agreeing(first: Group, second: Group) -> tuple[int, int]:
    """How many of the seeds that both groups have lead to the same verdict, and how many they both have."""
    mine, theirs = ({run["seed"]: run["verdict"] for run in group.runs} for group in (first, second))
    both = mine.keys() & theirs.keys()
    return sum(mine[seed] == theirs[seed] for seed in both), len(both)


def three(group: Group) -> str:
    """The input of a cell, as that of three planes where it has all six: the same information."""
    return THREE.get(group.factors.input, group.factors.input)


def pairs(groups: Groups, first: str = "silhouettes", second: str = "silhouette_sdf") -> list[tuple[Group, Group]]:
    """Groups of one input beside those of another that are alike in all else, source and setting too."""
    others = {_but_input(group): group for group in groups if three(group) == second}
    firsts = ((_but_input(group), group) for group in groups if three(group) == first)
    return [(group, others[key]) for key, group in firsts if key in others]


def _but_input(group: Group) -> tuple[Any, ...]:
    """What tells a group from others of its input."""
    changed = {key: value for key, value in group.cell["overrides"].items() if key not in (*OWN, *group.setting)}
    both = (tuple(sorted(each.items())) for each in (group.setting, changed))
    return group.sweep, group.source, group.factors._replace(input=""), group.factors.input in THREE, *both


# Statistics.


def median(values: Values) -> float:
    """The median of the finite values; not a number for none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def rate_lower(successes: int, trials: int, doubt: float = DOUBT) -> float:
    """A number that the true rate of successes falls below with probability `doubt` at most; 0 for none.

    Source: Clopper and Pearson 1934, one-sided.
    """
    return float(scipy.stats.beta.ppf(doubt, successes, trials - successes + 1)) if successes else 0.0


def separation(failed: Values, healthy: Values) -> float:
    """The chance that a failed run's value is above a healthy one's, ties counted half; not a number without both.

    Values that are not finite are left out. 1/2 is no information; 1, or 0, a threshold that separates all.

    Source: area under the ROC curve by ranks, Hanley and McNeil 1982.
    """
    failed, healthy = failed[np.isfinite(failed)], healthy[np.isfinite(healthy)]
    if not len(failed) or not len(healthy):
        return float("nan")
    ranks = scipy.stats.rankdata(np.concatenate([failed, healthy]))[: len(failed)]
    return float((ranks.sum() - len(failed) * (len(failed) + 1) / 2) / (len(failed) * len(healthy)))


# Words.


def number(value: float) -> str:
    """Three digits or whole, thousands with commas, from a million on as 1.23e6; a dash for what is not a number."""
    size = abs(value)
    if not np.isfinite(value):
        return NONE
    if size >= 1e6:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if size >= 100 or value == round(value):
        return f"{value + 0:,.0f}"  # no minus before 0
    if size >= 1:
        return f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.001 else f"{value:.1g}"


def spread(values: Values, write: Callable[[float], str] = number) -> str:
    """Median (least..largest) of the finite values, and how many are not finite; a dash for none."""
    if not len(values):
        return NONE
    finite = values[np.isfinite(values)]
    lost = f"{len(values) - len(finite)} not finite"
    if not len(finite):
        return lost
    middle, low, high = (write(float(value)) for value in (np.median(finite), finite.min(), finite.max()))
    text = middle if low == high else f"{middle} ({low}..{high})"
    return text if len(finite) == len(values) else f"{text}; {lost}"


def counted(runs: Sequence[dict[str, Any]]) -> str:
    """Counts of verdicts as "9/10 HEALTHY, 1/10 WEAK", and of tags in brackets."""
    tags = [tag for run in runs for tag in run["tags"]]
    told = ", ".join(f"{tags.count(tag)} × {tag}" for tag in sorted(set(tags)))
    text = ", ".join(f"{count}/{len(runs)} {name}" for name, count in verdicts(runs).items())
    return f"{text} ({told})" if told else text or NONE


def missing_text(results: Results, *sweeps: str) -> str:
    """One line for each sweep and source of which cells are missing; empty where none is."""
    lines = []
    for sweep in sweeps:
        for source in results.sources() or ["any data"]:
            lacking = results.missing.get((sweep, source), [])
            found = {group.name for group in results.of(sweep) if group.source == source}
            if lacking:
                more = f"; and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
                named = "; ".join(f"`{name}`" for name in lacking[:NAMED]) + more
                lines.append(
                    f"Missing: {len(lacking)} of {len(lacking) + len(found)} cells of {sweep} on {source}: {named}.\n"
                )
            elif not found:
                lines.append(f"Missing: {sweep} on {source} was not run.\n")
    return "\n".join(lines)
