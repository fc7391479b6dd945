"""Tables of the laboratory over all cells. Those of one block, and how all are to be read, are in `tables`."""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np

from hexjax import names
from hexjax.diagnostics import collapse, verdict
from hexjax.evaluation.laboratory import measures, tables
from hexjax.evaluation.laboratory.measures import Values
from hexjax.evaluation.laboratory.results import NONE, Group, Results

EARLY = 200  # a step
CERTIFIABLE = tuple(name for name in names.VERDICTS if name != "NOT-CERTIFIABLE")

# Metric: scalars of the end whose sum it is, with a minus for those to be taken off, and whether the verdict's rules read it.
METRICS = {
    "KL": ("kl", True),
    "KL a latent unit": ("kl_per_latent", False),
    "gain − KL (evidence bound over the constant's)": ("gain -kl", True),
    "encoder's variance, mean": ("posterior_variance", False),
    "encoder's largest log-variance, absolute": ("largest_log_variance", False),
    "squared error": ("squared_error", False),
    "negative log-likelihood": ("nll", False),
    "IoU": ("iou", True),
    "swap gap": ("swap_gap", True),
    "active units": ("active_units", True),
    "I_q": ("information", False),
    "G_μ, fitted witness": ("witness_mean_margin", False),
    "G_z, lower bound": ("witness_sample_lower", True),
    "G_μ, fixed simplex witness": ("witness_fixed_margin", False),
}


def overview(results: Results) -> str:
    """One row a sweep and source: how much was run, and what became of it."""
    head = ("sweep", "data", "cells", "runs", *names.VERDICTS, "not finite", "hours", "device", "commit")
    rows = []
    for sweep in results.sweeps():
        for source in results.sources():
            groups = [group for group in results.of(sweep) if group.source == source]
            cells = {group.name: group.cell for group in groups}
            runs = [run for group in groups for run in group.runs]
            counts, lacking = measures.verdicts(runs), len(results.missing.get((sweep, source), []))
            words = [", ".join(sorted({str(cell[key]) for cell in cells.values()})) for key in ("device", "commit")]
            rows.append((
                sweep, source, f"{len(cells)} of {len(cells) + lacking}" if cells or lacking else "not run", len(runs),
                *(counts.get(name, 0) for name in names.VERDICTS), measures.not_finite(runs),
                f"{sum(cell['seconds'] for cell in cells.values()) / 3600:.2f}", *(word or NONE for word in words),
            ))  # fmt: skip
    return tables.lines(head, rows) or "Missing: no sweep was run.\n"


def pairs(results: Results) -> str:
    """Binary silhouettes against their signed distance, the same information: do the verdicts of each seed agree?"""
    head = ("data", "likelihood", "latent", "shapes", *tables.INPUTS.values(), "seeds that agree", "true rate ≥ (95 %)")
    rows, sums = [], []
    for first, second in measures.pairs(results.of("collapse_cause", "collapse_latents"), *tables.INPUTS.values()):
        same, both = measures.agreeing(first, second)
        words = (first.source, *first.factors[1:4], measures.counted(first.runs), measures.counted(second.runs))
        rows.append((*words, f"{same} of {both}", f"{measures.rate_lower(same, both):.3f}"))
    for sweep in results.sweeps():
        for source in results.sources():
            several = [
                group for group in results.of(sweep) if group.source == source and measures.is_certifiable(group)
            ]
            found = measures.pairs(several, *tables.INPUTS.values())
            if not found:
                continue
            alike = sum(measures.commonest(first.runs) == measures.commonest(second.runs) for first, second in found)
            same, both = np.sum([measures.agreeing(*pair) for pair in found], 0)
            told = f"the commonest verdict agrees in {alike} of {len(found)} pairs, the seeds' in {same} of {both}"
            sums.append(f"- {sweep} on {source}, several shapes: {told}.\n")
    return tables.complete(
        "\n".join(filter(None, (tables.lines(head, rows), "".join(sums)))), results, "collapse_cause"
    )


def thresholds(results: Results) -> str:
    """One row a sweep, input and verdict: does any threshold leave a shape?"""
    head = ("data", "sweep", "input", "verdict", "runs", "not finite", "IoU at 0.5", "best IoU", "at threshold",
            "empty at every threshold")  # fmt: skip
    rows, found = [], collections.defaultdict(list)
    for group in results.of("collapse_cause", "collapse_recipe", "collapse_scale"):
        for run in group.runs:
            if "sweep_iou" in run["final"]:
                found[group.source, group.sweep, group.factors.input, run["verdict"]].append(run)
    for key, runs in sorted(found.items()):
        best = [_best(run["final"]["sweep_iou"]) for run in runs]
        middle = [run["final"]["iou"] for run in runs]
        spreads = (measures.spread(np.array(values, np.float64)) for values in (middle, *zip(*best)))
        rows.append((*key, len(runs), measures.not_finite(runs), *spreads, f"{measures.empty(runs)}/{len(runs)}"))
    return tables.complete(tables.lines(head, rows), results, "collapse_cause", "collapse_recipe")


def _best(scores: Sequence[float | None]) -> tuple[float, float]:
    """The best score over the thresholds, and where; not numbers where none is finite."""
    known = [(score, at) for score, at in zip(scores, np.asarray(collapse.THRESHOLDS).tolist()) if score is not None]
    return max(known, key=lambda pair: pair[0], default=(float("nan"), float("nan")))


def metrics(results: Results) -> str:
    """One row a metric: how well one threshold on it tells failed runs from healthy ones, over all cells that pay a rate."""
    pairs = {"COLLAPSED": ("COLLAPSED",), "EXPLODED": ("EXPLODED",), "either": ("COLLAPSED", "EXPLODED")}
    head = (
        "metric",
        "in the verdict's rules",
        *(f"{name} against HEALTHY" for name in pairs),
        "not finite",
        "not measured",
    )

    def make(groups: list[Group]) -> str:
        runs = [run for group in groups for run in group.runs if run["evidence"]["pays_rate"]]
        runs = [run for run in runs if run["verdict"] in CERTIFIABLE]
        rows = []
        for title, (scalars, read) in METRICS.items():
            values = np.array([_metric(run, scalars) for run in runs], np.float64)
            known = np.array([_is_measured(run, scalars) for run in runs], bool)
            cells = [_separation(values, runs, failed) for failed in pairs.values()]
            lost = int((known & ~np.isfinite(values)).sum())
            rows.append((title, "yes" if read else "no", *cells, lost, int((~known).sum())))
        counts = ", ".join(f"{count:,} {name}" for name, count in measures.verdicts(runs).items())
        words = "Area under the ROC curve by ranks: 0.5 tells nothing, 1 all; in brackets where failed runs lie"
        return f"{words}. Runs that pay a rate: {counts or 'none'}.\n\n{tables.lines(head, rows)}"

    return tables.by_source(results, results.groups, make) or "Missing: no sweep was run.\n"


def _is_measured(run: dict[str, Any], scalars: str) -> bool:
    return all(name.lstrip("-") in run["final"] for name in scalars.split())


def _metric(run: dict[str, Any], scalars: str) -> float:
    if not _is_measured(run, scalars):
        return float("nan")
    values = [run["final"][name.lstrip("-")] for name in scalars.split()]
    signs = [-1.0 if name.startswith("-") else 1.0 for name in scalars.split()]
    return float("nan") if None in values else sum(sign * value for sign, value in zip(signs, values))


def _separation(values: Values, runs: Sequence[dict[str, Any]], failed: tuple[str, ...]) -> str:
    """The area under the ROC curve of the better direction, and that direction."""
    had = np.array([run["verdict"] for run in runs], str)
    known = np.isfinite(values)
    area = measures.separation(values[known & np.isin(had, failed)], values[known & (had == "HEALTHY")])
    if np.isnan(area):
        return NONE
    return f"{max(area, 1 - area):.3f} ({'higher' if area > 0.5 else 'lower'})"


def preflight(results: Results) -> str:
    """One row a prediction: the verdicts of the runs that it was made for, and how many it was right of.

    Runs that begin where others ended are left out: the settings that they end with did not make their start.
    """
    head = ("data", "predicted before the run", "runs", *names.VERDICTS, "right")
    found = collections.defaultdict(list)
    for group in results.groups:
        if "sweep.start" not in group.cell["overrides"]:
            found[group.source, measures.predicted(group)] += group.runs
    rows = []
    for (source, word), runs in sorted(found.items()):
        counts = measures.verdicts(runs)
        right = NONE
        if word in names.VERDICTS:
            right = f"{counts.get(word, 0)} of {len(runs)} ({counts.get(word, 0) / len(runs):.0%})"
        rows.append((source, word, len(runs), *(counts.get(name, 0) for name in names.VERDICTS), right))
    return tables.lines(head, rows) or "Missing: no sweep was run.\n"


def early(results: Results) -> str:
    """One row a verdict in the end: how many of its runs, of those that pay a rate, showed each sign at step EARLY."""
    signs = {
        "no unit active": lambda moment: moment.get("active_units") == 0,
        f"rate above gain by {verdict.THRESHOLDS.excess_nats:g} nats, or a number not finite": _is_dear,
        "KL gradient removed": lambda moment: (moment.get("kl_gradient_removed") or 0) > 0.5,
    }
    found = collections.defaultdict(list)
    for group in results.groups:
        if "sweep.start" in group.cell["overrides"] or not measures.is_certifiable(group):
            continue
        for run in group.runs:
            moment = next((moment for moment in run["history"] if moment["step"] == EARLY), None)
            if run["evidence"]["pays_rate"] and moment is not None:
                found[group.source, run["verdict"]].append(moment)
    rows = [
        (source, name, len(moments), *(f"{sum(map(sign, moments))}" for sign in signs.values()))
        for source in results.sources()
        for name in CERTIFIABLE
        if (moments := found[source, name])
    ]
    return tables.lines(("data", "verdict in the end", "runs", *signs), rows) or "Missing: no sweep was run.\n"


def _is_dear(moment: dict[str, Any]) -> bool:
    kl, gain = moment["kl"], moment["gain"]
    return None in (kl, gain) or kl > gain + verdict.THRESHOLDS.excess_nats
