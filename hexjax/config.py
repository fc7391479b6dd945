"""Parses and checks a command line before JAX is loaded: standard library, absl and ml_collections only.

Every refusal is a ValueError of one line: what was got, what is accepted, which key. `rules` says what a key accepts.
"""

import contextlib
import ctypes
import fnmatch
import hashlib
import importlib.util
import inspect
import json
import math
import os
import pathlib
import re
import shlex
from typing import Any, NamedTuple

import ml_collections
from absl import flags, logging

from hexjax import cells, rules

DONE, REFUSED, NON_FINITE, COLLAPSED, INTERRUPTED = 0, 2, 3, 4, 75  # exit codes; 1 is anything else
MODES = ("train", "evaluate", "encode", "sample", "ceiling", "sweep")
WRITING = ("train", "ceiling", "sweep")  # the others read a run
# glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX: what was freed is kept, in one heap.
MALLOC = ((-4, 0), (-1, -1), (-8, 1))

# What may differ from the run in --workdir: a resumed training, and whatever only reads one.
FREE_TO_RESUME = ("train.steps", "*.every_steps")
FREE_TO_SWEEP = ("*",)  # each cell knows its own settings
FREE_TO_READ = (*FREE_TO_RESUME, "data.*", "extract.*", "score.*", "sample.*", "diagnostics.*", "latent.bits")
NO_CONFIG = (ValueError, TypeError, AttributeError)  # what the text of none raises
SHOWN = 4  # keys that a message names

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


def parse(arguments: list[str]) -> Command:
    """The checked command of a command line (without the program's name).

    Raises:
        ValueError: for anything that is not accepted, in one line.
    """
    given, overrides = _split(arguments)
    mode, workdir = _check_mode(given["mode"]), _check_workdir(given["workdir"])
    has_run = workdir is not None and (workdir / "config.json").is_file()
    if mode not in WRITING and not (has_run and any((workdir / "checkpoints").glob("[0-9]*"))):
        raise ValueError(f"--mode={mode} reads a trained run; accepted: --workdir=DIR of one, got {given['workdir']!r}")
    if given["config"] is not None:
        config, changed = _load_file(given["config"])
    elif has_run:
        config, changed = load(workdir), set()
    else:
        raise ValueError("no --config; accepted: --config=FILE.py or FILE.py:variant, or --workdir=DIR of a run")
    for key, text in overrides.items():
        rules.override(config, key, text)
    rules.validate(config, mode != "ceiling")
    if mode == "sample" and config.latent.kind == "deterministic":
        raise ValueError(
            "config.latent.kind is 'deterministic'; it has no prior to draw from; --mode=sample accepts: "
            f"{', '.join(rules.PRIORS)}"
        )
    if mode == "sweep":
        cells.read(config)
    if has_run:
        free = {"train": FREE_TO_RESUME, "sweep": FREE_TO_SWEEP}.get(mode, FREE_TO_READ)
        _compare(config, load(workdir), given["workdir"], free)
        _check_steps(config, workdir, mode)
    if mode == "ceiling" and has_run and (workdir / "metrics.jsonl").exists():
        workdir = None  # it reads the run's config, and must not write over its scores
    warnings = rules.unread(config, changed | set(overrides))
    name, line, text = _name(config, mode, overrides), _line(arguments), to_json(config)
    return Command(mode, config.lock(), workdir, name, text if mode in WRITING else None, line, warnings)


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
        raise ValueError(f"{folder.name}/config.json cannot be read: {_one_line(error)}{cure}") from error
    _verify(folder, content, config)
    place = folder / "checkpoints" / "data_path.txt"
    if place.is_file() and "data" in config:
        config.data.path = place.read_bytes().decode("utf-8", "surrogateescape")  # a name may hold any byte
    return config


def _verify(folder: pathlib.Path, content: bytes, config: ml_collections.ConfigDict) -> None:
    known = folder / "config.sha256"
    is_sealed = known.is_file()
    if is_sealed and hashlib.sha256(content).hexdigest().encode() in known.read_bytes():
        return
    saved, free = _saved(folder), () if is_sealed else FREE_TO_RESUME
    differing = [_differing(config, each, free, added=False) for each in saved.values()]
    if all(differing) and (is_sealed or differing):
        keys = differing[0] if differing else ["no checkpoint to compare with"]
        told = ", ".join(keys[:SHOWN]) + f" and {len(keys) - SHOWN} more" * (len(keys) > SHOWN)
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
    try:
        rest = parser(["launch.py", *arguments], known_only=True)[1:]
    except flags.Error as error:
        raise ValueError(_one_line(error)) from error
    overrides = {}
    while rest:
        head, equals, value = rest.pop(0).partition("=")
        if not head.startswith("--"):
            stray = head + equals + value
            hint = f"; did you mean --{stray}?" if equals else ""
            raise ValueError(
                f"stray argument {stray!r}; accepted: --config, --workdir, --mode, --config.KEY=VALUE{hint}"
            )
        if not head.startswith("--config."):
            known = ("--config", "--workdir", "--mode")
            raise ValueError(
                f"unknown flag {head}; flags: {', '.join(known)}, --config.KEY{rules.nearest(head, known)}"
            )
        if not equals and (not rest or rest[0].startswith("--")):
            raise ValueError(f"{head} has no value; accepted: {head}=VALUE")
        overrides[head.removeprefix("--config.")] = value if equals else rest.pop(0)
    return {name: parser[name].value for name in ("config", "workdir", "mode")}, overrides


def set_environment() -> None:
    """Nothing; compiled programs are kept in the user's cache folder, and libraries tell errors only.

    Before JAX is imported. With glibc, memory that was freed stays with the process: XLA asks anew in every step for what
    it calculates in, and to have that mapped page by page takes an eighth to a quarter of a training step on a CPU.
    """
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "hexjax" / "xla"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # many small programs make seconds too
    logging.set_verbosity(logging.ERROR)
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for option, value in MALLOC:
            library.mallopt(option, value)


def _check_mode(mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"--mode is {mode!r}; modes: {', '.join(MODES)}{rules.nearest(mode, MODES)}")
    return mode


def _check_workdir(text: str | None) -> pathlib.Path | None:
    workdir = pathlib.Path(text).expanduser() if text else None
    if workdir is not None and workdir.exists() and not workdir.is_dir():
        raise ValueError(f"--workdir is {text!r}, a file; accepted: a new folder or that of a run")
    return workdir


def _load_file(text: str) -> tuple[ml_collections.ConfigDict, set[str]]:
    """The config of FILE.py or FILE.py:variant, and the keys in which it differs from the base.py beside it."""
    match = re.fullmatch(r"(.+\.py)(?::(.*))?", text)
    if match is None:
        raise ValueError(f"--config is {text!r}; accepted: FILE.py or FILE.py:variant")
    file = pathlib.Path(match[1]).expanduser()
    if not file.is_file():
        nearest = rules.nearest(file.name, sorted(other.name for other in file.parent.glob("*.py")))
        raise ValueError(f"--config is {text!r}: no such file{nearest}")
    config, base = _get_config(file, match[2]), file.parent / "base.py"
    default = rules.flatten(_get_config(base, None)) if base.is_file() else {}
    return config, {key for key, value in rules.flatten(config).items() if default.get(key, value) != value}


def _get_config(file: pathlib.Path, variant: str | None) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if variant and not inspect.signature(module.get_config).parameters:
            raise ValueError(f"config variant is {variant!r}; {file.stem} has no variants")
        config = module.get_config(variant) if variant else module.get_config()
        if not isinstance(config, ml_collections.ConfigDict):
            raise TypeError(f"get_config gives a {type(config).__name__}, accepted: an ml_collections.ConfigDict")
        return config
    except ValueError as error:
        raise ValueError(_one_line(error)) from error
    except (ImportError, SyntaxError, NameError, AttributeError, LookupError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{file.name} gives no config: {type(error).__name__}: {_one_line(error)}") from error


def _compare(
    new: ml_collections.ConfigDict, old: ml_collections.ConfigDict, folder: str, free: tuple[str, ...]
) -> None:
    if differing := _differing(new, old, free):
        raise ValueError(
            f"--workdir={folder} holds a run with other values of {', '.join(differing)}; may differ: {', '.join(free)}"
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
        f"{key} ({old.get(key, 'absent')} there, {new.get(key, 'absent')} here)"
        for key in sorted(new.keys() | old.keys() if added else old.keys())
        if new.get(key) != old.get(key)
        and not (any(fnmatch.fnmatch(key, pattern) for pattern in free) and (added or key in new))
    ]


def _name(config: ml_collections.ConfigDict, mode: str, overrides: dict[str, str]) -> str:
    parts = [config.name] + ([mode] if mode != "train" else [])
    parts += [f"{key}={rules.place_names(text) if key == 'data.path' else text}" for key, text in overrides.items()]
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", "-".join(parts))[:100].rstrip("-.")


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
    return shlex.join(["python", "launch.py", *short])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
