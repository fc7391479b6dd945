"""Which folders a run may have: that of a run of its kind, an empty one, or a new one. Standard library alone.

Nothing is written here: a folder of the user's own files is refused before anything is lost.
"""

import fnmatch
import json
import os
import pathlib

from hexjax import names, rules

ACCEPTED = "accepted: the folder of a run, an empty folder, or a new one"
RESULTS = pathlib.Path("results")  # where runs without a folder of their own are numbered
SECTIONS = {key.partition(".")[0] for key in rules.RULES if "." in key}
OURS = (
    ".lock",
    "config.json.tmp",
    ".*.tmp",
)  # what a run killed at once may leave, beside a checkpoints/ without files
LONGEST = 255  # bytes of a name, on common file systems
SHOWN = 3  # files that a refusal names


def check(text: str, writes: bool = True) -> tuple[pathlib.Path, str | None]:
    """The folder, and what made it (`made_by`), or None where no run did.

    Args:
        writes: whether something is to be written there.

    Raises:
        ValueError: where it holds something else, or nothing can be written.
    """
    folder, said = rules.expand(text), f"--workdir is {names.shown(text)}"
    if text.startswith("~") and not rules.expand(text.partition("/")[0]).is_dir():
        raise ValueError(f"{said}, and there is no such home folder; {ACCEPTED}")
    if any(len(os.fsencode(part)) > LONGEST for part in folder.parts):
        raise ValueError(f"{said}, longer than the {LONGEST} bytes that a name may have; {ACCEPTED}")
    there = _existing(folder)
    if not there.is_dir():
        kind = "a file" if there.exists() else "a link to nothing"
        what = kind if there == folder else f"inside {names.shown(str(there))}, {kind}"
        raise ValueError(f"{said}, {what}; {ACCEPTED}")
    if folder.resolve() == RESULTS.resolve():
        raise ValueError(f"{said}, the folder that all runs are numbered in; {ACCEPTED}")
    if writes and not is_writable(folder):
        where = "a folder" if there == folder else f"inside {names.shown(str(there))}, a folder"
        raise ValueError(f"{said}, {where} that cannot be written; {ACCEPTED}")
    made = made_by(folder) if there == folder else None
    if made is None and there == folder and (others := _others(folder)):
        told = ", ".join(names.cut(name) for name in others[:SHOWN]) + ", …" * (len(others) > SHOWN)
        what = "runs" if any(made_by(folder / name) is not None for name in others) else "files that are no run's"
        raise ValueError(f"{said}, a folder of {what} ({told}); {ACCEPTED}")
    return folder, made


def check_kind(text: str, made: str, mode: str) -> None:
    """Nothing; what made a folder is what is to go on there.

    Raises:
        ValueError: where a training would go on in the folder of a sweep, and so on.
    """
    if made not in ("", mode):
        hint = f", or --mode={made} to go on" if made == "sweep" else ""
        raise ValueError(f"--workdir={names.cut(text)} holds what --mode={made} made; accepted: another folder{hint}")


def check_goes_on(text: str, folder: pathlib.Path) -> None:
    """Nothing; a training can go on in the folder of a run, or begin there.

    Raises:
        ValueError: where it holds parameters alone.
    """
    if is_trained(folder) and not _has_checkpoints(folder):
        raise ValueError(
            f"--workdir={names.cut(text)} holds parameters without checkpoints, which a training cannot go on with; "
            "accepted: another folder, or a mode that reads a run"
        )


def check_default() -> None:
    """Nothing; a numbered folder can be made where the user stands.

    Raises:
        ValueError: where results is a file, or nothing can be written.
    """
    if os.path.lexists(RESULTS) and not RESULTS.is_dir():
        raise ValueError("results is a file here; accepted: --workdir=DIR, an empty or new folder")
    if not is_writable(RESULTS):
        raise ValueError("results cannot be written here; accepted: --workdir=DIR, an empty or new folder")


def is_writable(folder: pathlib.Path) -> bool:
    """Whether files can be made in a folder, or a new folder where it is to be."""
    there = _existing(folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def programs() -> pathlib.Path | None:
    """Where compiled programs are kept, in the user's folder of caches; None where there is none that can be written."""
    caches = names.caches()
    return caches / "xla" if caches is not None and is_writable(caches / "xla") else None


def is_trained(folder: pathlib.Path) -> bool:
    """Whether a folder holds a run's parameters: checkpoints, or a file of parameters alone."""
    return _has_checkpoints(folder) or (folder / "params.npz").is_file()


def is_finished(folder: pathlib.Path, steps: int) -> bool:
    """Whether the training in a folder has ended at so many steps: its last evaluation is written, and its state is saved.

    In a folder without checkpoints/, as version control keeps it, the evaluation tells it alone.
    """
    end = f'{{"step": {steps}, "evaluation.'.encode()
    try:
        is_scored = any(line.startswith(end) for line in (folder / "metrics.jsonl").read_bytes().splitlines())
    except OSError:
        return False
    kept = folder / "checkpoints"
    return is_scored and ((kept / str(steps)).is_dir() or not kept.is_dir())


def made_by(folder: pathlib.Path) -> str | None:
    """The mode that made a run's folder: train, sweep or ceiling, empty where it was ended too early to tell; else None.

    A config.json that cannot be read counts as a run's, as damage may be the reason.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(config, dict) or len(SECTIONS & config.keys()) < len(SECTIONS) / 2:
        return None
    if (folder / "metrics.jsonl").exists() or is_trained(folder):
        return "train"
    if "sweep" in config:
        return "sweep"
    return "ceiling" if (folder / "scores.json").exists() else ""


def _has_checkpoints(folder: pathlib.Path) -> bool:
    return any((folder / "checkpoints").glob("[0-9]*"))


def _existing(folder: pathlib.Path) -> pathlib.Path:
    """The folder, or the nearest above it that is there."""
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))


def _others(folder: pathlib.Path) -> list[str]:
    """Names in a folder that no run's beginning leaves there."""
    return [
        place.name
        for place in sorted(folder.iterdir())
        if not any(fnmatch.fnmatch(place.name, pattern) for pattern in OURS)
        and not (place.name == "checkpoints" and place.is_dir() and not any(place.iterdir()))
    ]
