"""Which shapes train, which validate and which test: by their names alone, so that it is the same on every machine.

Within a category, shapes stand in the order of hashes of `data.split_seed` and their names, and the order is cut. A new
shape leaves the order of the others as it is: where a cut passes it by one, the one shape at that cut changes sides, and
no shape of another category does.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse

from hexjax import names as naming
from hexjax import wording

PARTS = ("train", "validation", "test")
ROUNDING = 1e-9  # of sums of shares


class Split(NamedTuple):
    """Places of the shapes of each part, ascending; a hash of names and parts; names of shapes kept together, in pairs."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    digest: str
    duplicates: tuple[tuple[str, str], ...]


def split(
    names: Sequence[str],
    categories: Sequence[str | None] | None,
    shares: tuple,
    seed: int,
    groups: Sequence[Sequence[int]] = (),
    held_out: Sequence[str] = (),
) -> Split:
    """The shapes in three parts of the given shares, each category as near to them as whole shapes come.

    Args:
        shares: of training, validation and test (`data.split`); (): all train.
        seed: of the order (`data.split_seed`), apart from `seed`, so that runs of many seeds share one split.
        groups: places of shapes that are nearly the same, such as the pairs of `duplicates.find`; what overlaps is one
            group. A group stands in the order where its first does, and is never cut. Its others are listed with it.
        held_out: names or categories of shapes that only test (`data.held_out`), and with them their whole groups; the
            others are split as if these were not there.

    Raises:
        ValueError: in one line, for shares of another form, a share that gets no shape, two shapes of one name, a category
            for some shapes alone, or one held out that no shape has, or all have.
    """
    if not naming.are_shares(shares):
        raise ValueError(f"config.data.split is {shares!r}; accepted: {naming.SHARES}")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"config.data.split: two shapes are named {naming.shown(twice)}; accepted: names that differ")
    given = [None] * len(names) if categories is None else [category or None for category in categories]
    missing = [name for name, category in zip(names, given, strict=True) if category is None]
    if 0 < len(missing) < len(names):
        raise ValueError(
            f"config.data.split: {len(missing)} of {len(names)} shapes have no category, {naming.shown(missing[0])} the "
            "first of them; accepted: a category for all shapes or for none"
        )
    order = sorted(range(len(names)), key=lambda i: _hash(seed, "shape", names[i]))
    united = _united(order, groups)
    if unknown := [each for each in held_out if each not in names and each not in given]:
        known = [*names, *dict.fromkeys(category for category in given if category)]
        raise ValueError(
            f"config.data.held_out has {naming.shown(unknown[0])}, which is no name and no category of the "
            f"{len(names)} shapes{wording.nearest(unknown[0], known)}"
        )
    sides, is_held = dict.fromkeys(order, 0), [name in held_out or of in held_out for name, of in zip(names, given)]
    sides |= {i: 2 for group in united if any(is_held[i] for i in group) for i in group}
    if shares:
        for category in dict.fromkeys(given):
            firsts = [group for group in united if given[group[0]] == category and not sides[group[0]]]
            offset = 0.5 if category is None else int(_hash(seed, "category", category)[:13], 16) / 16**13
            sides |= _cut(firsts, shares, offset)
    parts = [tuple(i for i in range(len(names)) if sides[i] == side) for side in range(len(PARTS))]
    if not parts[0] and held_out:
        raise ValueError(
            f"config.data.held_out holds out all {len(names)} shapes; accepted: some that are left to train"
        )
    for part, share, name in zip(parts, shares, PARTS):
        if share > 0 and not part:
            raise ValueError(
                f"config.data.split is {shares!r}: empty split, of {len(names)} shapes none is left for {name}; accepted: "
                "more shapes, a larger or no share for it, or another data.split_seed"
            )
    listed = tuple((names[group[0]], names[other]) for group in united for other in group[1:])
    lines = sorted(f"{names[i]}\n{PARTS[side]}" for i, side in sides.items())
    return Split(*parts, hashlib.sha256("\n\n".join(lines).encode()).hexdigest(), listed)


def _cut(groups: list[list[int]], shares: tuple, offset: float) -> dict[int, int]:
    """The part of each shape of groups in order. Cuts lie at whole shapes: the offset, in [0, 1), says which way.

    It is another for each category, so that of many small ones not all lack a test.
    """
    count = sum(map(len, groups))
    first, second = (math.floor(share * count + offset + ROUNDING) for share in (shares[0], 1 - shares[2]))
    sides, place = {}, 0
    for group in groups:
        sides |= dict.fromkeys(group, (place >= first) + (place >= second))
        place += len(group)
    return sides


def _united(order: list[int], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """All shapes in order, each with those that groups tie to it, however many groups lie between."""
    ties = np.array([(group[0], other) for group in groups for other in group], int).reshape(-1, 2).T
    links = scipy.sparse.coo_array((np.ones(ties.shape[1], bool), tuple(ties)), (len(order),) * 2)
    part = scipy.sparse.csgraph.connected_components(links, directed=False)[1]
    found = {}
    for i in order:
        found.setdefault(part[i], []).append(i)
    return list(found.values())


def _hash(seed: int, kind: str, name: str) -> str:
    return hashlib.sha256(f"{seed}\n{kind}\n{name}".encode()).hexdigest()
