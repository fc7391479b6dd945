"""Results of sweeps as groups of runs that differ in the seed alone, and the statistics that tables and pictures share.

A cell lies in <folder>/<sweep>/<data>/<cell>.json or, once its sweep has ended, is a line of cells.jsonl.gz there; its name is
"<input>,<likelihood>,<latent>,<one|many|N>[,control]".
What is not finite is null there and not a number here; it is counted, never dropped. Cells that the sweep's config.json
names and that have no file are missing: partial results are results.
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from hexjax import cells

VERDICTS = ("HEALTHY", "WEAK", "COLLAPSED", "EXPLODED", "NOT-CERTIFIABLE")
KEYS = ("cell", "factors", "data", "settings", "preflight", "runs", "seconds", "device", "commit")
DOUBT = 0.05  # probability with which a lower bound on a rate may fail
NAMED = 6  # missing cells that are named; the others are counted
NONE = "–"

Values = Float[np.ndarray, "_"]


class Group(NamedTuple):
    """The runs of one cell that have the same setting of its knobs."""

    sweep: str
    source: str  # of the shapes
    name: str  # of the cell
    parts: tuple[str, ...]  # of its name: input, likelihood, latent, shapes and, where it has one, control
    setting: dict[str, float]
    cell: dict[str, Any]  # the file without its runs
    runs: list[dict[str, Any]]


Groups = Sequence[Group]


class Results(NamedTuple):
    """All groups, in the order of their configs, and the names of missing cells by sweep and source."""

    groups: list[Group]
    missing: dict[tuple[str, str], list[str]]

    def of(self, *sweeps: str) -> list[Group]:
        """The groups of some sweeps."""
        return [group for group in self.groups if group.sweep in sweeps]

    def sources(self) -> list[str]:
        """Names of the sources of shapes."""
        return sorted({group.source for group in self.groups} | {source for _, source in self.missing})

    def sweeps(self) -> list[str]:
        """Names of the sweeps."""
        return sorted({group.sweep for group in self.groups} | {sweep for sweep, _ in self.missing})


def read(folder: pathlib.Path) -> Results:
    """Every result of a folder of sweeps.

    Raises:
        ValueError: for a folder that is not there, and for a file that is no JSON or lacks a key, naming it.
    """
    if not folder.is_dir():
        raise ValueError(
            f"results: {folder.name} is no folder; accepted: the folder that holds a folder for each sweep"
        )
    groups, missing = [], {}
    for place in sorted(folder.glob("*/*/")):
        names, found = _named(place, folder), {}
        for where, text in cells.written(place).items():  # the newest last
            cell = _json(text, f"{place.relative_to(folder).as_posix()}/{where}", KEYS)
            found[cell["cell"]] = cell, where
        if lacking := [name for name in names if name not in found]:
            missing[place.parent.name, place.name] = lacking
        order = {name: number for number, name in enumerate(names)}
        for name in sorted(found, key=lambda name: (order.get(name, len(order)), name)):
            groups += _groups(*found[name], place)
    return Results(groups, missing)


def _named(place: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Names of the cells of a sweep's config, where it lies there."""
    file = place / "config.json"
    if not file.is_file():
        return []
    config = _json(file.read_bytes(), file.relative_to(folder).as_posix(), ("sweep",))
    return [line.partition(":")[0].strip() for line in config["sweep"]["cells"]]


def _json(text: bytes, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"{name} is no JSON: {error}; accepted: what --mode=sweep writes; delete it and run again"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{name} holds a {type(found).__name__}; accepted: an object with {', '.join(keys)}")
    if lacking := [key for key in keys if key not in found]:
        raise ValueError(f"{name} lacks {', '.join(lacking)}; accepted: an object with {', '.join(keys)}")
    return found


def _groups(cell: dict[str, Any], where: str, place: pathlib.Path) -> list[Group]:
    parts = tuple(cell["cell"].split(","))
    if len(parts) < 4:
        raise ValueError(
            f"{place.parent.name}/{place.name}/{where} holds the cell {cell['cell']!r}; accepted: "
            "'input,likelihood,latent,shapes' and, where there is one, ',control'"
        )
    runs, settings = cell.pop("runs"), []
    for run in runs:
        if run["setting"] not in settings:
            settings.append(run["setting"])
    return [
        Group(place.parent.name, place.name, cell["cell"], parts, setting, cell,
              [run for run in runs if run["setting"] == setting])
        for setting in settings
    ]  # fmt: skip


# Figures of groups.


def control(group: Group) -> str:
    """What the group's cell changes besides input, likelihood, latent and shapes; empty for nothing."""
    return ",".join(group.parts[4:])


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
    names = [run["verdict"] for run in runs]
    return {name: names.count(name) for name in (*VERDICTS, *sorted(set(names) - set(VERDICTS))) if name in names}


def commonest(runs: Sequence[dict[str, Any]]) -> str:
    """The verdict of most runs, of several the first in the order of VERDICTS."""
    counts = verdicts(runs)
    return max(counts, key=counts.__getitem__)


def agreeing(first: Group, second: Group) -> tuple[int, int]:
    """How many of the seeds that both groups have lead to the same verdict, and how many they both have."""
    mine, theirs = ({run["seed"]: run["verdict"] for run in group.runs} for group in (first, second))
    both = mine.keys() & theirs.keys()
    return sum(mine[seed] == theirs[seed] for seed in both), len(both)


def pairs(groups: Groups, first: str = "silhouettes", second: str = "silhouette_sdf") -> list[tuple[Group, Group]]:
    """Groups of one input beside those of another that are alike in all else, source and setting too."""
    key = lambda group: (group.sweep, group.source, group.parts[1:], tuple(sorted(group.setting.items())))
    others = {key(group): group for group in groups if group.parts[0] == second}
    return [(group, others[key(group)]) for group in groups if group.parts[0] == first and key(group) in others]


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

    1/2 is no information; 1, or 0, a threshold that separates all.

    Source: area under the ROC curve by ranks, Hanley and McNeil 1982.
    """
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
                names = "; ".join(f"`{name}`" for name in lacking[:NAMED]) + more
                lines.append(
                    f"Missing: {len(lacking)} of {len(lacking) + len(found)} cells of {sweep} on {source}: {names}.\n"
                )
            elif not found:
                lines.append(f"Missing: {sweep} on {source} was not run.\n")
    return "\n".join(lines)
