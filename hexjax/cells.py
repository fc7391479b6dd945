"""The cells of a sweep, read from a config before JAX is loaded: standard library and ml_collections only.

A cell is a line "name: key=value key=value" of config.sweep.cells, over the rest of the config. With sweep.form = vmapped a
knob may have several values, "kl.final_weight=1|8": each is a setting of its own, and all are trained together. What is known
of finished cells lies in one JSON file each, and in PACK once the sweep has ended: an object a line, compressed. With
sweep.form = runs a cell is a run, in a folder of its name, and its config has no sweep; with config.sweep.bases it starts
from the one it names, "name: base=NAME key=value", and has what `rules.SHARED` tells of the sweep's.
"""

import itertools
import lzma
import pathlib
from typing import NamedTuple

import ml_collections

from hexjax import names, rules

BASE = "base"  # of a cell: the one of config.sweep.bases that it starts from
PACK = "cells.jsonl.xz"
OTHERS = ("config.json", "data.json")  # in the same folder, and no cells
BESIDE = ("checkpoints", "command.txt", "config.json", "config.sha256", "curve.png")  # beside the folders of runs


class Cell(NamedTuple):
    """One line of a sweep."""

    name: str
    config: ml_collections.ConfigDict  # resolved
    settings: tuple[dict[str, float], ...]  # of knobs with several values, one entry a setting
    overrides: dict[str, str]


def file_name(name: str) -> str:
    """The name of the file of a finished cell."""
    return f"{name.replace('/', '-')}.json"


def complete(config: ml_collections.ConfigDict) -> None:
    """Nothing; a sweep's config made before there were `sweep.form` and starts is as it was then."""
    if not isinstance(config.get("sweep"), ml_collections.ConfigDict):
        return
    if "form" not in config.sweep:
        config.sweep.form = names.VMAPPED
    if config.sweep.form == names.VMAPPED:
        config.sweep.start = config.sweep.get("start", "")
        for name in ("constant_mean", "forget"):
            config.sweep[name] = config.sweep.get(name, False)


def are_runs(config: ml_collections.ConfigDict) -> bool:
    """Whether the cells of a sweep's config are runs."""
    return "sweep" in config and config.sweep.form == names.RUNS


def knob_names(config: ml_collections.ConfigDict) -> list[str]:
    """The keys that may have several values in one cell."""
    numbers = [f"kl.{name}" for name, value in config.kl.items() if not isinstance(value, str)]
    return sorted([*numbers, *rules.KNOBS])


def read(config: ml_collections.ConfigDict) -> list[Cell]:
    """The cells that a sweep's config names.

    Raises:
        ValueError: for a config without a sweep or without a key of its form, a line that is no cell, a name that comes
            twice, a key that is unknown, names that have one file or folder, several values of a key that is no knob, or
            a value that is refused.
    """
    if "sweep" not in config:
        raise ValueError(f"--mode=sweep, and {config.name} has no config.sweep; accepted: configs of configs/sweeps/")
    if lacking := [
        key for key in rules.SWEEP_RULES if not are_runs(config) and key.partition(".")[2] not in config.sweep
    ]:
        raise ValueError(
            f"config.{lacking[0]} is missing; configs of sweep.form = {names.VMAPPED} start from base.make_laboratory"
        )
    found = [_read(line, config) for line in config.sweep.cells]
    _check_starts(found)
    known = [cell.name for cell in found]
    if twice := [name for name in known if known.count(name) > 1]:
        raise ValueError(f"config.sweep.cells names {names.shown(twice[0])} twice; accepted: each cell once")
    kind, others, place = ("folder", BESIDE, str) if are_runs(config) else ("file", OTHERS, file_name)
    places = [place(name).casefold() for name in known]
    if shared := [name for name, one in zip(known, places) if places.count(one) > 1 or one in others]:
        raise ValueError(
            f"config.sweep.cells names {names.shown(shared[0])}, whose {kind} {names.cut(place(shared[0]))} is another's "
            "too; accepted: names that differ in more than case, and / for -"
        )
    return found


def _read(line: str, config: ml_collections.ConfigDict) -> Cell:
    name, colon, text = (part.strip() for part in line.partition(":"))
    pairs = [word.partition("=") for word in text.split()]
    if not colon or not name or any(not equals for _, equals, _ in pairs):
        raise ValueError(f"config.sweep.cells holds {names.shown(line)}; accepted: 'name: key=value key=value'")
    overrides, resolved, several = (
        {key: value for key, _, value in pairs},
        ml_collections.ConfigDict(config.to_dict()),
        {},
    )
    knobs, mode = knob_names(config), "cell"
    if are_runs(config):
        _check_folder(name)
        knobs, mode, resolved.name = [], "train", name
        resolved = _started(name, resolved, overrides)
        del resolved.sweep
    try:
        for key, value in overrides.items():
            if key == BASE and "bases" in config.sweep:
                continue
            values = value.split("|")
            if len(values) > 1 and key not in knobs:
                known = f"for: {', '.join(knobs)}" if knobs else f"with sweep.form = {names.RUNS}: one"
                raise ValueError(f"config.{names.cut(key)} has several values, {names.cut(value)}; accepted {known}")
            rules.override(resolved, key, values[0])
            if len(values) > 1:
                several[key] = values
        for key, values in several.items():
            for value in reversed(values):  # each is checked, the first stays
                rules.override(resolved, key, value)
                rules.validate(resolved, mode)
        rules.validate(resolved, mode)
        if not are_runs(config):
            _check_sweep(resolved, config)
    except ValueError as error:
        raise ValueError(f"config.sweep.cells, {names.cut(name)}: {error}") from error
    weights = [float(value) for value in several.get("sdf.weight", ())]
    if 0 in weights and any(weights):
        raise ValueError(
            f"config.sweep.cells, {names.cut(name)}: config.sdf.weight is {'|'.join(several['sdf.weight'])}; accepted: values "
            "above 0, or 0 in a cell of its own"
        )
    products = itertools.product(*several.values())
    settings = tuple({key: float(value) for key, value in zip(several, values)} for values in products)
    return Cell(name, resolved, settings, overrides)


def _started(name: str, config: ml_collections.ConfigDict, overrides: dict[str, str]) -> ml_collections.ConfigDict:
    """What a cell begins with: the sweep's config, or where that has bases the one that the cell names."""
    bases = config.sweep.get("bases")
    if bases is None:
        return config
    if overrides.get(BASE) not in bases:
        raise ValueError(
            f"config.sweep.cells, {names.cut(name)}: {BASE} is {names.shown(overrides.get(BASE, ''))}; accepted: "
            f"{', '.join(bases)}"
        )
    found = ml_collections.ConfigDict(bases[overrides[BASE]].to_dict())
    found.name = config.name
    for key in rules.SHARED:
        found[key] = config[key]
    found.sweep = config.sweep
    return found


def _check_starts(found: list[Cell]) -> None:
    """Nothing; each start is a cell before it, with as many runs and no start of its own."""
    before = {}
    for cell in found:
        sweep = cell.config.get("sweep", {})
        if start := sweep.get("start"):
            like = before.get(start)
            if like is None or like.config.sweep.start or len(like.settings) > 1 or len(cell.settings) > 1:
                raise ValueError(
                    f"config.sweep.cells, {names.cut(cell.name)}: config.sweep.start is {names.shown(start)}; accepted: the "
                    "name of a cell before it without a start, and one setting in both"
                )
            if (like.config.sweep.seeds, like.config.seed) != (sweep.seeds, cell.config.seed):
                raise ValueError(
                    f"config.sweep.cells, {names.cut(cell.name)}: config.sweep.seeds is {sweep.seeds}; accepted: those of its "
                    f"start, {like.config.sweep.seeds}"
                )
            _check_like(cell, like)
        elif without := [name for name in ("constant_mean", "forget") if sweep.get(name)]:
            raise ValueError(
                f"config.sweep.cells, {names.cut(cell.name)}: config.sweep.{without[0]} is True; accepted beside a sweep.start"
            )
        before[cell.name] = cell


def _check_like(cell: Cell, start: Cell) -> None:
    """Nothing; what a cell begins with fits its network, and its schedule does not depend on the step."""
    for key, accepted in (("optimiser.decay", "none"), ("optimiser.warmup_steps", 0), ("train.ema", 0.0)):
        section, name = key.split(".")
        if cell.config[section][name] != accepted:
            told = f"config.{key} is {names.shown(cell.config[section][name])}"
            raise ValueError(
                f"config.sweep.cells, {names.cut(cell.name)}: {told}; accepted beside a sweep.start: {accepted}"
            )
    for section in ("model", "latent", "hexplane"):
        mine, theirs = (rules.flatten(each.config[section], f"{section}.") for each in (cell, start))
        if differing := [key for key in mine if mine[key] != theirs.get(key)]:
            told = f"config.{differing[0]} is {names.shown(mine[differing[0]])}"
            raise ValueError(
                f"config.sweep.cells, {names.cut(cell.name)}: {told}; accepted: that of its start, "
                f"{names.shown(theirs.get(differing[0]))}"
            )


def _check_folder(name: str) -> None:
    if name.startswith(".") or not rules.RULES["name"].check(name):
        raise ValueError(
            f"config.sweep.cells names {names.shown(name)}; accepted with sweep.form = {names.RUNS}, as the name of a folder: "
            f"{rules.RULES['name'].accepted}, no . first"
        )


def _check_sweep(config: ml_collections.ConfigDict, whole: ml_collections.ConfigDict) -> None:
    if config.sweep.form != whole.sweep.form:
        raise ValueError(
            f"config.sweep.form is {names.shown(config.sweep.form)}; accepted: in no cell, but for all of them"
        )
    if config.diagnostics.on_collapse != "report":
        told = f"config.diagnostics.on_collapse is {names.shown(config.diagnostics.on_collapse)}"
        raise ValueError(f"{told}; accepted in a sweep of sweep.form = {names.VMAPPED}: report")
    steps, every = config.train.steps, config.sweep.measure_every_steps
    if steps % every:
        raise ValueError(f"config.sweep.measure_every_steps is {every}; accepted: a divisor of train.steps = {steps}")


def written(folder: pathlib.Path) -> dict[str, bytes]:
    """The JSON of each finished cell in a folder by where it lies: those of the pack, then those beside it, which are newer.

    Raises:
        ValueError: for a pack that is damaged.
    """
    found = {}
    if (folder / PACK).is_file():
        try:
            lines = lzma.decompress((folder / PACK).read_bytes()).splitlines()
        except lzma.LZMAError as error:
            raise ValueError(
                f"{folder.parent.name}/{folder.name}/{PACK} is damaged: {error}; accepted: what --mode=sweep packs; take it "
                "from a copy, or delete it and run again"
            ) from error
        found = {f"{PACK} line {number}": line for number, line in enumerate(lines, 1)}
    beside = sorted(file for file in folder.glob("*.json") if file.name not in OTHERS)
    return found | {file.name: file.read_bytes() for file in beside}
