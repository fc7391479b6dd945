"""Results of sweeps as groups of runs that differ in the seed alone.

A cell lies in <folder>/<sweep>/<data>/<cell>.json or, once its sweep has ended, is a line of cells.jsonl.xz there. What it
is, its `factors` and `overrides` say; its name is a name and nothing else.
What is not finite is null there and not a number here; it is counted, never dropped. Cells that the sweep's config.json
names and that have no file are missing: partial results are results.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from hexjax import cells

KEYS = ("cell", "overrides", "factors", "data", "settings", "preflight", "runs", "seconds", "device", "commit")
NONE = "–"
LIKELIHOODS = {  # kind and reduction: what tables call it; others by their kind
    ("channels", "mean"): "mean_mse",
    ("channels", "sum"): "sum_squares",  # that of variance 1/2
    ("gaussian", "sum"): "sum_mse",
    ("bernoulli", "sum"): "entropy",
    ("continuous_bernoulli", "sum"): "entropy",  # the same, where values lie between 0 and 1
    ("calibrated_gaussian", "sum"): "calibrated",
}
SHAPES = {0: "many", 1: "one"}  # others by their number


class Factors(NamedTuple):
    """What tables are made by, as they call it; a dash for what a cell's family does not have."""

    input: str
    likelihood: str
    latent: str
    shapes: str  # of the training
    control: str  # what the cell changes besides; empty for nothing


class Group(NamedTuple):
    """The runs of one cell that have the same setting of its knobs."""

    sweep: str
    source: str  # of the shapes
    name: str  # of the cell
    factors: Factors
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
            found[cell["cell"]] = cell
        if lacking := [name for name in names if name not in found]:
            missing[place.parent.name, place.name] = lacking
        order = {name: number for number, name in enumerate(names)}
        for name in sorted(found, key=lambda name: (order.get(name, len(order)), name)):
            groups += _groups(found[name], place)
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


def _groups(cell: dict[str, Any], place: pathlib.Path) -> list[Group]:
    factors, runs, settings = _factors(cell), cell.pop("runs"), []
    for run in runs:
        if run["setting"] not in settings:
            settings.append(run["setting"])
    return [
        Group(place.parent.name, place.name, cell["cell"], factors, setting, cell,
              [run for run in runs if run["setting"] == setting])
        for setting in settings
    ]  # fmt: skip


def _factors(cell: dict[str, Any]) -> Factors:
    known = dict.fromkeys(("input", "likelihood", "reduction", "latent", "shapes"), NONE) | cell["factors"]
    likelihood = LIKELIHOODS.get((known["likelihood"], known["reduction"]), known["likelihood"])
    shapes = SHAPES.get(known["shapes"], str(known["shapes"]))
    return Factors(known["input"], likelihood, known["latent"], shapes, _control(cell))


def _control(cell: dict[str, Any]) -> str:
    """The control that the sweep gave the cell; where it gave several one, or none, what they override tells them apart."""
    given, control = cell["overrides"], cell["factors"].get("control", "")
    if control == "floats":
        return f"floats_{cell['settings']['latent_floats']}" + "_cap" * ("kl.cap" in given)
    if control == "witness":
        steps = given.get("witness.prefit_steps", "0")
        return "plain" if "witness.weight" not in given else "aligned" if steps == "0" or "|" in steps else "prefit"
    if control:
        return control
    if "latent.estimator" in given:
        return given["latent.estimator"]
    if "latent.bits" in given:
        return f"bits_{cell['settings']['latent_bits']}"
    return "weights" if "|" in given.get("kl.final_weight", "") else ""
