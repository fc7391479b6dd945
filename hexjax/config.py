"""Parses and checks a command line before JAX is loaded: standard library, absl and ml_collections only.

Every refusal is a ValueError of one line: what was got, what is accepted, which key. `rules` says what a key accepts.
"""

import atexit
import contextlib
import ctypes
import fnmatch
import hashlib
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import tempfile
from typing import Any, NamedTuple

import ml_collections
from absl import flags, logging

from hexjax import cells, experiments, names, rules, shell, unread, wording, workdirs

MODES = ("train", "evaluate", "encode", "sample", "ceiling", "sweep", "view", "export")
PAGES = ("view", "export")  # write in no run's folder, and show several runs
FLAGS = ("--config", "--workdir", "--mode", "--out", "--address")
DEFAULT = "ae_continuous.py:small"  # what a page shows shapes by where neither a run nor a config is named
ADDRESS = "127.0.0.1:8000"
WRITING = ("train", "ceiling", "sweep")  # the others read a run
# glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX: what was freed is kept, in one heap.
MALLOC = ((-4, 0), (-1, -1), (-8, 1))

# What may differ from the run in --workdir: a resumed training, and whatever only reads one.
FREE_TO_RESUME = ("train.steps", "*.every_steps", "diagnostics.on_collapse", "evaluate.*")
FREE_TO_SWEEP = ("*",)  # each cell knows its own settings
FREE_TO_READ = ("train.steps", "*.every_steps", "evaluate.*", "data.*", "extract.*", "score.*", "sample.*", "export.*",
                "diagnostics.*", "latent.bits")  # fmt: skip
TOLD = 8  # keys that a refusal lists
# Keys that an older run may lack: it has those of base.py, where what concerns a training is off.
ADDED = ("evaluate.*", "sample.*", "export.*", "surface.*", "salient.*", "cells.*", "distance_grid.*", "inside.*",
         "checkpoint.keep_every_steps", "optimiser.kind", "optimiser.halve_every_steps", "optimiser.epsilon", "train.ema",
         "data.split", "data.split_seed", "data.held_out", "data.close", "data.augment", "reconstruction.depth_knee",
         "reconstruction.depth_quantile")  # fmt: skip
# Keys of one family that its older runs may lack, and what these did.
ADDED_TO = {
    "view_encoder": {"views.encoder": "own", "views.weights": ""},
    "vecset": {"model.error": "l1"},
    "triplane": {"model.error": "l1"},
    "sparse_voxels": {"model.features": "distances", "model.views_weight": 0.0},
}
NO_CONFIG = (ValueError, TypeError, AttributeError)  # what the text of none raises

Saved = dict[int, ml_collections.ConfigDict]  # by the checkpoint's step, the newest first


class Command(NamedTuple):
    """A checked command line."""

    mode: str
    config: ml_collections.ConfigDict  # resolved and locked
    workdir: pathlib.Path | None  # None: a new folder in results/
    name: str  # of that new folder, after its number
    json: str | None  # the text of its config.json; None where a run is read, whose own stays
    line: str  # the command as typed, absolute paths cut to file names
    warnings: tuple[str, ...]
    out: pathlib.Path | None = None  # the file that --mode=export writes
    address: tuple[str, int] = ("", 0)  # host and port where --mode=view is served
    others: tuple["Command", ...] = ()  # of the other runs that a page shows


def parse(arguments: list[str]) -> Command:
    """The checked command of a command line (without the program's name).

    Raises:
        ValueError: for anything that is not accepted, in one line.
    """
    given, overrides = _split(arguments)
    text = given["workdir"] or ""
    if given["mode"] not in PAGES or "," not in text or rules.expand(text).is_dir():
        return _parse(given, overrides, arguments)
    several = [each for each in text.split(",") if each]
    if not several:
        raise ValueError(f"--workdir is {names.shown(text)}; accepted: folders of runs with commas between them")
    first = _parse(given | {"workdir": several[0]}, overrides, arguments)
    place = {"data.path": first.config.data.path}  # all are shown the shapes of the first
    others = [_parse(given | {"workdir": each}, overrides | place, arguments) for each in several[1:]]
    return first._replace(others=tuple(others))


def _parse(given: dict[str, str | None], overrides: dict[str, str], arguments: list[str]) -> Command:
    mode = _check_mode(given["mode"])
    workdir, kind = workdirs.check(given["workdir"], mode not in PAGES) if given["workdir"] else (None, None)
    page = _check_page(given, mode)
    has_run = kind is not None
    if mode in PAGES and given["workdir"] and not has_run:
        raise ValueError(
            f"--mode={mode} shows a run; accepted: --workdir=DIR of one, got {names.shown(given['workdir'])}"
        )
    if mode not in (*WRITING, *PAGES) and not (has_run and workdirs.is_trained(workdir)):
        got = names.shown(given["workdir"])
        raise ValueError(f"--mode={mode} reads a trained run; accepted: --workdir=DIR of one, got {got}")
    if given["config"] is not None:
        config, changed = experiments.load(given["config"])
    elif has_run:
        config, changed = load(workdir), set()
    elif mode in PAGES:
        config, changed = experiments.load(DEFAULT)[0], set()
    else:
        raise ValueError(
            "no --config; accepted: --config=FILE.py or FILE.py:variant, or --workdir=DIR of a run; -h tells more"
        )
    cells.complete(config)
    for key, text in overrides.items():
        rules.override(config, key, text)
    rules.validate(config, mode)
    if mode == "sweep":
        cells.read(config)
        if cells.are_runs(config) and workdir is None:
            given["workdir"] = str(workdirs.RESULTS / config.name)
            workdir, kind = workdirs.check(given["workdir"])
            has_run = kind is not None
    if mode == "ceiling" and has_run and (kind not in ("", "ceiling") or _differing(config, load(workdir), ())):
        workdir = None  # it reads the run's config, and must not write over its scores
    elif has_run:
        _check_goes_on(config, given["workdir"], workdir, kind, mode)
    if workdir is None and mode not in PAGES:
        workdirs.check_default()
    warnings = unread.lines(config, changed | set(overrides))
    name = config.name if mode == "train" else f"{config.name}-{mode}"
    line, text = _line(arguments), to_json(config)
    command = Command(mode, config.lock(), workdir, name, text if mode in WRITING else None, line, warnings, *page)
    more = of_cells(command) if mode == "sweep" and cells.are_runs(config) else ()
    told = (f"{cell.workdir.name}: {line}" for cell in more for line in cell.warnings)
    return command._replace(warnings=(*warnings, *told))


def of_cells(command: Command) -> list[Command]:
    """The command of each cell of a sweep whose cells are runs, with a folder of the cell's name in the sweep's.

    Raises:
        ValueError: for a cell that is refused, or whose folder is that of another run.
    """
    return [_of_cell(cell, command.workdir / cell.name, command.line) for cell in cells.read(command.config)]


def _of_cell(cell: cells.Cell, place: pathlib.Path, line: str) -> Command:
    config, text = cell.config, str(place)
    folder, kind = workdirs.check(text)
    if kind is not None:
        _check_goes_on(config, text, folder, kind, "train", workdirs.is_finished(folder, config.train.steps))
    told = " ".join(f"{key}={value}" for key, value in cell.overrides.items())
    warnings = unread.lines(config, set(cell.overrides))
    # What is told after # is no word of the command, which makes all cells.
    line = f"{line} # {cell.name}: {told}"
    return Command("train", config.lock(), folder, config.name, to_json(config), line, warnings)


def _check_goes_on(
    config: ml_collections.ConfigDict, text: str, folder: pathlib.Path, kind: str, mode: str, finished: bool = False
) -> None:
    """Nothing; a mode has a folder that a run of this kind made, and the run a config that agrees with its own."""
    workdirs.check_kind(text, kind, mode if mode in WRITING else "train")
    if mode == "train" and not finished:
        workdirs.check_goes_on(text, folder)
    known = load(folder)
    if mode == "sweep" and "sweep" in known and known.sweep.form != config.sweep.form:
        told = f"a sweep of sweep.form = {known.sweep.form}, and config.sweep.form is {config.sweep.form}"
        raise ValueError(f"--workdir={names.cut(text)} holds {told}; accepted: another folder")
    _compare(config, known, text, {"train": FREE_TO_RESUME, "sweep": FREE_TO_SWEEP}.get(mode, FREE_TO_READ))
    _check_steps(config, folder, mode)


def load(folder: pathlib.Path) -> ml_collections.ConfigDict:
    """The config of a run, from its folder; `data.path` is where the mesh lay, if that was on this machine.

    It is as config.sha256 beside it says, or else has the values of a checkpoint; of a run without config.sha256, made
    earlier, what may differ in a resumed training is not compared.

    Raises:
        ValueError: if config.json is missing, damaged or edited.
    """
    try:
        content = (folder / "config.json").read_bytes()
        config = _read(content)
    except (OSError, *NO_CONFIG) as error:
        cure = _cure(folder, _saved(folder))
        raise ValueError(f"{folder.name}/config.json cannot be read: {wording.of_error(error)}{cure}") from error
    _verify(folder, content, config)
    _complete(config)
    place = folder / "checkpoints" / "data_path.txt"
    if place.is_file() and isinstance(config.get("data"), ml_collections.ConfigDict):
        config.data.path = place.read_bytes().decode("utf-8", "surrogateescape")  # a name may hold any byte
    return config


def _verify(folder: pathlib.Path, content: bytes, config: ml_collections.ConfigDict) -> None:
    known = folder / "config.sha256"
    is_sealed = known.is_file()
    if is_sealed and hashlib.sha256(content).hexdigest().encode() in known.read_bytes():
        return
    saved, free = (
        _saved(folder),
        () if is_sealed else FREE_TO_RESUME[:2],
    )  # what could differ when runs had no config.sha256
    differing = [_differing(config, each, free, added=False) for each in saved.values()]
    if all(differing) and (is_sealed or differing):
        keys = differing[0] if differing else ["no checkpoint to compare with"]
        told = ", ".join(keys[:4]) + f" and {len(keys) - 4} more" * (len(keys) > 4)
        by = "config.sha256" if is_sealed else "its checkpoints"
        cure = f"{_cure(folder, saved)}; to change a value: --config.KEY=VALUE"
        raise ValueError(f"{folder.name}/config.json is damaged or was edited, by {by}: {told}{cure}")


def _saved(folder: pathlib.Path) -> Saved:
    """The configs that can be read in a run's checkpoints, by step, the newest first. They are not verified here."""
    found = {}
    steps = [int(place.name) for place in (folder / "checkpoints").glob("[0-9]*") if place.name.isdigit()]
    for step in sorted(steps, reverse=True):
        with contextlib.suppress(OSError, *NO_CONFIG):
            found[step] = _read((folder / "checkpoints" / str(step) / "config" / "metadata").read_bytes())
    return found


def _read(content: bytes) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(_from_json(json.loads(content)))


def _cure(folder: pathlib.Path, saved: Saved) -> str:
    """What to do about a config.json that is not as it was written."""
    if not saved:
        return "; if it is right, delete config.sha256" if (folder / "config.sha256").is_file() else ""
    there = folder / "checkpoints" / str(next(iter(saved))) / "config" / "metadata"
    return f"; to have it back: {shlex.join(['cp', str(there), str(folder / 'config.json')])}"


def _complete(config: ml_collections.ConfigDict) -> None:
    """Nothing; a run made before a key of `ADDED`, or a section of `rules.OPEN`, existed gets that of configs/base.py.

    So does one made before a sweep had a form; one that lacks a key of `ADDED_TO` gets what stands there.
    """
    cells.complete(config)
    leaves = rules.flatten(experiments.base())
    known = {key: leaves[key] for key in leaves if any(fnmatch.fnmatch(key, pattern) for pattern in ADDED)}
    known |= ADDED_TO.get(str(rules.flatten(config).get("model.family")), {})
    for key, value in known.items():
        section, _, name = key.rpartition(".")
        if section not in config:
            config[section] = ml_collections.ConfigDict()
        part = config[section]
        if isinstance(part, ml_collections.ConfigDict) and name not in part:
            part[name] = value
    for section, _, name in (key.rpartition(".") for key in rules.OPEN):
        if isinstance(config[section], ml_collections.ConfigDict) and name not in config[section]:
            config[section][name] = ml_collections.ConfigDict()


def to_json(config: ml_collections.ConfigDict) -> str:
    """config.json: nested, infinity as "inf", and `data.path` as a file name."""
    plain = config.to_dict()
    plain["data"]["path"] = rules.place_names(plain["data"]["path"])
    return json.dumps(_to_json(plain), indent=2) + "\n"


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _from_json(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else math.inf if value == "inf" else value


def _split(arguments: list[str]) -> tuple[dict[str, str | None], dict[str, str]]:
    """The values of --config, --workdir and --mode, and the overrides by key."""
    parser = flags.FlagValues()
    flags.DEFINE_string("config", None, "", flag_values=parser)
    flags.DEFINE_string("workdir", None, "", flag_values=parser)
    flags.DEFINE_string("mode", "train", "", flag_values=parser)
    flags.DEFINE_string("out", None, "", flag_values=parser)
    flags.DEFINE_string("address", None, "", flag_values=parser)
    try:
        rest = parser(["launch.py", *arguments], known_only=True)[1:]
    except flags.Error as error:
        raise ValueError(wording.of_error(error)) from error
    overrides = {}
    while rest:
        head, equals, value = rest.pop(0).partition("=")
        if not head.startswith("--"):
            stray = names.cut(head + equals + value)
            hint = f"; did you mean --{stray}?" if equals else ""
            raise ValueError(f"stray argument '{stray}'; accepted: {', '.join(FLAGS)}, --config.KEY=VALUE{hint}")
        if not head.startswith("--config."):
            raise ValueError(
                f"unknown flag {names.cut(head)}; flags: {', '.join(FLAGS)}, --config.KEY{wording.nearest(head, FLAGS)}"
            )
        if not equals and (not rest or rest[0].startswith("--")):
            raise ValueError(f"{names.cut(head)} has no value; accepted: {names.cut(head)}=VALUE")
        overrides[head.removeprefix("--config.")] = value if equals else rest.pop(0)
    return {name.strip("-"): parser[name.strip("-")].value for name in FLAGS}, overrides


def set_environment() -> tuple[str, ...]:
    """Lines that warn; compiled programs are kept in the user's cache folder, and libraries tell errors only.

    Before JAX is imported. With glibc, memory that was freed stays with the process: XLA asks anew in every step for what
    it calculates in, and to have that mapped page by page takes an eighth to a quarter of a training step on a CPU.
    """
    warnings, cache = (), workdirs.programs()
    if cache is None:
        if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
            warnings = (
                "there is no folder for caches in a home folder; programs are compiled anew: XDG_CACHE_HOME names one",
            )
        if "MPLCONFIGDIR" not in os.environ:  # where matplotlib would make the missing home, or warn
            os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="hexjax-")
            atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
    else:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # many small programs make seconds too
    logging.set_verbosity(logging.ERROR)
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for option, value in MALLOC:
            library.mallopt(option, value)
    return warnings


def _check_mode(mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"--mode is {names.shown(mode)}; modes: {', '.join(MODES)}{wording.nearest(mode, MODES)}")
    return mode


def _check_page(given: dict[str, str | None], mode: str) -> tuple[pathlib.Path | None, tuple[str, int]]:
    """The file that a page is written to, and the host and port where one is served."""
    out, address = given["out"], given["address"]
    for name, text, own in (("out", out, "export"), ("address", address, "view")):
        if text is not None and mode != own:
            raise ValueError(f"--{name} is {names.shown(text)}; accepted with --mode={own} alone")
    if mode == "export" and not (out or "").lower().endswith(".html"):
        got = "there is no --out" if out is None else f"--out is {names.shown(out)}"
        raise ValueError(f"{got}; accepted: --out=FILE.html")
    file = None if out is None else rules.expand(out)
    if file is not None and not file.parent.is_dir():
        raise ValueError(
            f"--out is {names.shown(out)}, in a folder that is not there; accepted: one in a folder that is"
        )
    if file is not None and file.exists() and not _is_page(file):
        raise ValueError(f"--out is {names.shown(out)}, which is there and is no page of hexjax; accepted: a new file")
    host, _, port = (address or ADDRESS).rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not int(port) < 65536 or not re.fullmatch(r"[\w.:\[\]-]+", host):
        told = f"accepted: HOST:PORT, as {ADDRESS}, with a port up to 65535; 0 takes a free one"
        raise ValueError(f"--address is {names.shown(address)}; {told}")
    return file, (host.strip("[]"), int(port))


def _is_page(file: pathlib.Path) -> bool:
    return file.is_file() and names.GENERATOR.encode() in file.read_bytes()[:1000]


def _compare(
    new: ml_collections.ConfigDict, old: ml_collections.ConfigDict, folder: str, free: tuple[str, ...]
) -> None:
    differing = _differing(new, old, free)
    if len(differing) > TOLD:
        differing[TOLD:] = [f"{len(differing) - TOLD} more"]
    if differing:
        raise ValueError(
            f"--workdir={names.cut(folder)} holds a run with other values of {', '.join(differing)}; "
            f"may differ: {', '.join(free)}"
        )


def _differing(
    new: ml_collections.ConfigDict, old: ml_collections.ConfigDict, free: tuple[str, ...], added: bool = True
) -> list[str]:
    """The keys whose values differ, but for those that may, each with both values.

    Where added is False, keys that only the new one has are no matter, and none may be gone.
    """
    new, old = rules.flatten(new), rules.flatten(old)
    for leaves in (new, old):
        leaves["data.path"] = rules.place_names(str(leaves.get("data.path", "")))
    return [
        f"{key} ({names.cut(str(old.get(key, 'absent')))} there, {names.cut(str(new.get(key, 'absent')))} here)"
        for key in sorted(new.keys() | old.keys() if added else old.keys())
        if new.get(key) != old.get(key)
        and not (any(fnmatch.fnmatch(key, pattern) for pattern in free) and (added or key in new))
    ]


def _check_steps(config: ml_collections.ConfigDict, workdir: pathlib.Path, mode: str) -> None:
    steps = [int(place.name) for place in (workdir / "checkpoints").glob("[0-9]*") if place.name.isdigit()]
    if mode == "train" and steps and max(steps) > config.train.steps:
        raise ValueError(
            f"config.train.steps is {config.train.steps}; accepted: at least {max(steps)}, where the run stands"
        )


def _line(arguments: list[str]) -> str:
    short = []
    for argument in arguments:
        head, equals, value = argument.partition("=") if "=" in argument else ("", "", argument)
        short.append(head + equals + (rules.place_names(value) if value.startswith(("/", "~")) else value))
    return shlex.join([*(["python"] if shell.program() == "launch.py" else []), shell.program(), *short])
