"""Names and digests of the shapes that a run is trained on, in RUN/data.json, so that no other data come under it.

A digest is of the mesh as loaded: its vertices and faces.
"""

import contextlib
import hashlib
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hexjax.training import files
from hexjax.types import Item

FILE = "data.json"
PARTS = ("train", "validation", "test")  # of a split
SHOWN = 3  # shapes that a message names

Shapes = list[list[str]]  # name and digest of each shape, in the order of the data


def of(items: Sequence[Item]) -> Shapes:
    """Name and digest of each shape."""
    found = []
    for item in items:
        digest = hashlib.sha256(repr([part.shape for part in item.source[:2]]).encode())
        for part in item.source[:2]:
            digest.update(np.ascontiguousarray(part))
        found.append([item.name, digest.hexdigest()[:16]])
    return found


def check(items: Sequence[Item], folder: pathlib.Path, trains: bool, is_made: bool, split: str = "") -> None:
    """Nothing; a training goes on with the data of its run. A run that is only read: other shapes of its names are told.

    Args:
        is_made: shapes made in code, whose last bits another machine may make otherwise: told, not refused.
        split: the digest of the split that is trained on; none where all shapes are.

    Raises:
        ValueError: for a training on other data than the run's, or another split, in one line.
    """
    if trains and (found := _read(folder)) is not None and found.get("split", "") != split:
        was, now = (digest[:8] or "none" for digest in (found.get("split", ""), split))
        raise ValueError(
            f"{folder} is trained on the split {was} of its shapes, and config.data gives {now} now; accepted: shapes and "
            "categories as they were, or a new --workdir"
        )
    known = read(folder)
    if known is None:
        if trains and any((folder / "checkpoints").glob("[0-9]*")):
            print(
                f"{folder.name} has no record of its data: these are taken to be those it began with", file=sys.stderr
            )
        return
    shapes = of(items)
    if not trains:
        shapes = [[name, digest] for name, digest in shapes if name in dict(known)]
        known = [[name, digest] for name, digest in known if name in dict(shapes)]
    told = differences(known, shapes) if trains or dict(known) != dict(shapes) else ""
    if told and trains and not is_made:
        accepted = "accepted: the data as they were, or a new --workdir"
        raise ValueError(f"{folder} is trained on other data than config.data gives now: {told}; {accepted}")
    if told:
        print(f"the shapes are not those that {folder.name} was trained on: {told}", file=sys.stderr)


def keep(items: Sequence[Item], folder: pathlib.Path, parts: Sequence[Sequence[int]] = (), split: str = "") -> None:
    """Nothing; writes RUN/data.json where there is none, or a damaged one.

    Args:
        parts: places of the shapes of each of PARTS, and split the digest of these; none where all are trained on.
    """
    shapes, of_shape = of(items), {}
    for name, part in zip(PARTS, parts):
        of_shape |= dict.fromkeys(part, name)
    told = {"split": split, "parts": [of_shape[place] for place in range(len(items))]} if parts else {}
    text = json.dumps({"digest": _digest(shapes, told), "shapes": shapes} | told, indent=0)
    if not (folder / FILE).exists() or _read(folder) is None:
        files.write_atomically(folder / FILE, text + "\n")


class Standing(NamedTuple):
    """What a shape is to a run: of PARTS or "new", and its place among the shapes that are trained on, if it is one."""

    part: str
    place: int | None


def standings(items: Sequence[Item], folder: pathlib.Path, is_made: bool = False) -> list[Standing]:
    """What each shape is to the run in a folder; new where the run has no record of its data.

    Args:
        is_made: shapes made in code, which their names tell: another machine may make other last bits.
    """
    found, known = _read(folder) or {"shapes": []}, {}
    parts, trained = found.get("parts") or [PARTS[0]] * len(found["shapes"]), 0
    for shape, part in zip(found["shapes"], parts):
        known[tuple(shape)] = Standing(part, trained if part == PARTS[0] else None)
        trained += part == PARTS[0]
    named = {name: standing for (name, _), standing in known.items()} if is_made else {}
    return [known.get(tuple(shape)) or named.get(shape[0]) or Standing("new", None) for shape in of(items)]


def trained(folder: pathlib.Path) -> Shapes:
    """Name and digest of the shapes that the run in a folder is trained on, in their order; none where there is no record."""
    found = _read(folder) or {"shapes": []}
    parts = found.get("parts") or [PARTS[0]] * len(found["shapes"])
    return [shape for shape, part in zip(found["shapes"], parts) if part == PARTS[0]]


def read(folder: pathlib.Path) -> Shapes | None:
    """The shapes of RUN/data.json, None where there is none or it is damaged, which is told."""
    found = _read(folder)
    if found is None and (folder / FILE).exists():
        print(f"{folder.name}/{FILE} is damaged: whether the data are the run's own is not known", file=sys.stderr)
    return None if found is None else found["shapes"]


def _read(folder: pathlib.Path) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        found = json.loads((folder / FILE).read_bytes())
        told = {name: found[name] for name in ("split", "parts") if name in found}
        if found["digest"] == _digest(found["shapes"], told):
            return found
    return None


def differences(known: Shapes, shapes: Shapes) -> str:
    """What became of the known shapes, in words; nothing where they are the same, in the same order."""
    before, after = dict(known), dict(shapes)
    parts = {
        "changed": [name for name in after if name in before and before[name] != after[name]],
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
    }
    told = "; ".join(f"{kind} {_list(names)}" for kind, names in parts.items() if names)
    return told or ("in another order" if known != shapes else "")


def _digest(shapes: Shapes, told: dict[str, Any]) -> str:
    of = [shapes, told] if told else shapes
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:16]


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
