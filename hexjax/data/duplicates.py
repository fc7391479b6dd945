"""Which shapes of a data set are nearly the same as another, so that no split puts the two on different sides.

Shapes are compared as they stand in the frame: a copy that was moved, scaled or reordered is found, one that was turned or
mirrored is not. Candidates overlap by volume; a pair is then decided by the distances between the surfaces.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax import progress
from hexjax.geometry import sdf, surface
from hexjax.types import Mesh

CELLS = 32  # a side of the occupancy grid
OVERLAP = 0.8  # IoU of the occupied cells above which two shapes are compared
SAMPLES = 5000  # a shape
LIMIT = 0.01  # world units: the threshold of the F-score
ALIKE = 0.98  # F-score above which two shapes are nearly the same
ROUNDS = (0, 256, 1024, SAMPLES)  # samples looked at between one look at what they missed and the next
BLOCK = 512  # shapes whose overlaps with all are found together


class Pair(NamedTuple):
    """Two shapes that are nearly the same, by their places in the data, and how near."""

    first: int
    second: int
    iou: float
    f_score: float


def find(meshes: Sequence[Mesh]) -> tuple[Pair, ...]:
    """The pairs of meshes in the frame, each with an area, whose F-score at 0.01 is above 0.98, in order.

    Looked at are those that overlap by more than 0.8. Two that hold no cell's centre (sheets, wires) overlap wholly.
    """
    with progress.Line(2 * len(meshes), "looking for duplicates") as line:
        held = np.zeros((len(meshes), CELLS**3), bool)
        for i, mesh in enumerate(meshes):
            held[i] = occupied(mesh)
            line.update(i + 1)
        overlaps = {(i, j): overlap for start in range(0, len(held), BLOCK) for i, j, overlap in _overlaps(held, start)}
        missed = _missed(meshes, list(overlaps), line)
    shares = {pair: [1 - count / SAMPLES for count in counts] for pair, counts in missed.items()}
    scores = {pair: 2 * one * other / (one + other) for pair, (one, other) in shares.items()}
    return tuple(Pair(*pair, overlaps[pair], score) for pair, score in sorted(scores.items()) if score > ALIKE)


def occupied(mesh: Mesh) -> Bool[np.ndarray, "p"]:
    """Which of the centres of 32^3 cells are inside."""
    along = (np.arange(CELLS) + 0.5) * (2 / CELLS) - 1
    centres = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1).reshape(-1, 3)
    return sdf.inside(mesh, centres)[0]


def overlap(one: Bool[np.ndarray, "i p"], other: Bool[np.ndarray, "j p"]) -> Float[np.ndarray, "i j"]:
    """The IoU of every set of points with every other; two empty ones overlap wholly."""
    one, other = one.astype(np.float32), other.astype(np.float32)
    both = one @ other.T  # counts below 2^24 are exact
    either = one.sum(1)[:, None] + other.sum(1)[None] - both
    return np.where(either > 0, both / np.maximum(either, 1), 1)


def _overlaps(held: Bool[np.ndarray, "i p"], start: int) -> list[tuple[int, int, float]]:
    """The pairs that overlap enough to be compared, the first of each within one block, and their IoU."""
    found = []
    for other in range(start, len(held), BLOCK):
        shares = overlap(held[start : start + BLOCK], held[other : other + BLOCK])
        pairs = np.argwhere(shares > OVERLAP)
        found += [(start + int(i), other + int(j), float(shares[i, j])) for i, j in pairs if start + i < other + j]
    return found


def _missed(
    meshes: Sequence[Mesh], pairs: list[tuple[int, int]], line: progress.Line
) -> dict[tuple[int, int], list[int]]:
    """How many samples of the first are farther than LIMIT from the second, and of the second from the first.

    A pair is left out as soon as one side has missed so many that the F-score cannot be above ALIKE: each side's share
    of near samples must be, for the other's is at most 1.
    """
    most = math.floor(SAMPLES * (1 - ALIKE / (2 - ALIKE)))
    partners, counts = {}, {pair: [0, 0] for pair in pairs}
    for i, j in pairs:
        partners.setdefault(i, []).append(j)
        partners.setdefault(j, []).append(i)
    samples = {i: surface.sample(meshes[i], SAMPLES, np.random.default_rng(0))[0] for i in partners}
    for number, mesh in enumerate(meshes):
        others = [i for i in partners.get(number, []) if _key(number, i) in counts]
        for begin, end in itertools.pairwise(ROUNDS) if others else ():
            far = _far(mesh, [samples[i][begin:end] for i in others])
            for i, count in zip(others, far):
                counts[_key(number, i)][int(i > number)] += int(count)
            lost = {i for i in others if counts[_key(number, i)][int(i > number)] > most}
            for i in lost:
                del counts[_key(number, i)]
            others = [i for i in others if i not in lost]
            if not others:
                break
        line.update(len(meshes) + number + 1)
    return counts


def _key(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _far(mesh: Mesh, points: list[Float[np.ndarray, "p 3"]]) -> Int[np.ndarray, "k"]:
    """How many points of each set are farther from the mesh than LIMIT."""
    return (surface.closest(mesh, np.concatenate(points))[0].reshape(len(points), -1) > LIMIT).sum(1)
