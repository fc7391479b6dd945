"""A set of shapes made ready for a run: open meshes closed where that is asked for, and which shapes train and which judge."""

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from hexjax import progress
from hexjax.data import cache, close, duplicates, sources, split
from hexjax.types import Item, Mesh

TOLD = 10  # shapes left out, and pairs, that are named


def ready(items: Sequence[Item], config: Any, divides: bool = True) -> tuple[list[Item], split.Split]:
    """The shapes that a run works on, and its split; told are those left out and near-duplicates that are kept together.

    Where nothing is trained there is nothing to divide: what a shape is to a run, the run's record tells.

    Raises:
        ValueError: where `data.close` leaves none, or `data.split` cannot be had.
    """
    if config.data.close:
        items = closed(items)
    if not divides:
        return list(items), split.Split(tuple(range(len(items))), (), (), "", ())
    return list(items), divide(items, config)


def closed(items: Sequence[Item]) -> list[Item]:
    """The shapes whose meshes enclose something, closed; the error of closing and those left out are told.

    Raises:
        ValueError: if there are none.
    """
    found, errors, left = [], [], []
    with progress.Line(len(items), "closing") as line:
        for number, item in enumerate(items, 1):
            try:
                made = cache.kept(
                    cache.digest(item.mesh),
                    {"closed": (close.CELLS, close.FACES)},
                    lambda mesh=item.mesh: _closed(mesh),
                    True,
                )
                found.append(item._replace(mesh=Mesh(made["vertices"], made["faces"])))
                errors.append(made["errors"])
            except ValueError as error:
                left.append(f"left out: {item.name} {error}")
            line.update(number)
    if not found:
        raise ValueError(
            f"config.data.close is True, and none of {len(items)} shapes has an inside to close; {left[0]}"
        )
    more = [f"and {len(left) - TOLD} more"] if len(left) > TOLD else []
    mean, largest = np.mean(errors, 0)[0], np.max(errors, 0)[1]
    told = f"closed {len(found)} shapes: {mean:.2g} off the surfaces as they were in the mean, {largest:.2g} at most (frame)"
    for text in (*left[:TOLD], *more, told):
        print(text, file=sys.stderr)
    return found


def _closed(mesh: Mesh) -> dict[str, np.ndarray]:
    if not len(mesh.faces):
        raise ValueError("is points without faces")
    made = close.close(mesh)
    return {
        "vertices": made.mesh.vertices,
        "faces": made.mesh.faces,
        "errors": np.array([made.error, made.largest_error]),
    }


def divide(items: Sequence[Item], config: Any) -> split.Split:
    """The split of `data.split` and `data.held_out`, by category where there is one; near-duplicates stay together, told.

    Raises:
        ValueError: as `split.split`.
    """
    names, categories = [item.name for item in items], [item.category for item in items]
    shares, held_out, seed = tuple(config.data.split), tuple(config.data.held_out), config.data.split_seed
    if not shares and not held_out:
        return split.split(names, None, (), seed)
    groups = ()
    split.split(names, categories, shares, seed, (), held_out)  # it may refuse, before the pairs are looked for
    faced = [i for i, item in enumerate(items) if len(item.mesh.faces)]  # points are compared with nothing
    if faced:
        meshes = [items[i].mesh for i in faced]
        of = hashlib.sha256("".join(map(cache.digest, meshes)).encode()).hexdigest()
        rule = [getattr(duplicates, name) for name in ("CELLS", "OVERLAP", "ALIKE", "SAMPLES", "LIMIT")]
        pairs = cache.kept(of, {"duplicates": rule}, lambda: {"pairs": _pairs(meshes)})
        groups = [tuple(faced[place] for place in pair) for pair in pairs["pairs"]]
    found = split.split(names, categories, shares, seed, groups, held_out)
    if found.duplicates:
        told = ", ".join(f"{one} = {other}" for one, other in found.duplicates[:TOLD])
        more = f" and {len(found.duplicates) - TOLD} more" if len(found.duplicates) > TOLD else ""
        print(f"near-duplicates, kept on one side of the split: {told}{more}", file=sys.stderr)
    counts = ", ".join(f"{len(part)} {name}" for name, part in zip(split.PARTS, found[:3]))
    print(f"config.data.split: {counts}; digest {found.digest[:8]}", file=sys.stderr)
    return found


def _pairs(meshes: Sequence[Mesh]) -> np.ndarray:
    return np.array([pair[:2] for pair in duplicates.find(meshes)], np.int32).reshape(-1, 2)


def load(config: Any, entries: Sequence[sources.Entry], divides: bool = True) -> tuple[list[Item], split.Split]:
    """The shapes of some entries, loaded and made ready."""
    return ready(sources.load(entries, config.data.up, config.data.count), config, divides)
