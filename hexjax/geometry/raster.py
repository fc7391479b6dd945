"""What a grid of parallel rays meets of triangles, on the host: for the scores' renders and for pictures. NumPy, float64.

Nothing is compiled, so a mesh of any size costs what it holds. A face meets a row of pixel centres between two of its
edges, half-open and computed alike for both faces of an edge: a closed surface has no holes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hexjax.types import Array

PIECE = 1 << 15  # faces, or pairs of a face and a row, looked at together: what stays in the processor's cache


class Seen(NamedTuple):
    """The face over each pixel (-1: none), and the height at which it is met (0 where there is none)."""

    face: Int[np.ndarray, "h w"]
    height: Float[np.ndarray, "h w"]


def ends(vertices: Float[Array, "n 3"], faces: Int[Array, "f 3"], side: int) -> tuple[Seen, Seen]:
    """The highest and the lowest face over each pixel of a square; of several at one height, any of them.

    Args:
        vertices: column, row and height of each; pixel centres lie at the whole numbers from 0 to side - 1.
    """
    images = [
        (better, np.full(side**2, worst), np.full(side**2, -1))
        for better, worst in ((np.maximum, -np.inf), (np.minimum, np.inf))
    ]
    for pixel, face, height in _hits(vertices, faces, side):
        for better, heights, owners in images:
            before = heights[pixel]
            better.at(heights, pixel, height)
            won = (height == heights[pixel]) & (height != before)
            owners[pixel[won]] = face[won]
    shape = (side, side)
    return tuple(
        Seen(owners.reshape(shape), np.where(owners < 0, 0, heights).reshape(shape)) for _, heights, owners in images
    )


def _hits(vertices: Array, faces: Array, side: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields pixel, face and height of every hit, in pieces of bounded size."""
    coordinates, faces = np.ascontiguousarray(np.asarray(vertices, np.float64).T), np.asarray(faces)
    for start in range(0, len(faces), PIECE):
        corners = coordinates.take(faces[start : start + PIECE].T, 1)  # [column row height, corner, face]
        low, high = _least(corners), -_least(-corners)
        first, end = (np.clip(np.ceil(bound[:2]), 0, side).astype(np.int64) for bound in (low, high))
        kept = np.flatnonzero((end > first).all(0))
        (u1, v1, z1), (u2, v2, z2) = (corners[:, k].take(kept, 1) - corners[:, 0].take(kept, 1) for k in (1, 2))
        area = u1 * v2 - u2 * v1
        flat = area == 0  # edge-on
        slopes = np.stack([z1 * v2 - z2 * v1, z2 * u1 - z1 * u2]) / np.where(flat, 1, area)
        rows = np.where(flat, 0, (end - first)[1, kept])
        cuts = np.searchsorted(np.cumsum(rows), np.arange(PIECE, rows.sum(), PIECE))
        for part in np.split(np.arange(len(kept)), cuts):
            chosen = kept[part]
            which, row = _ranges(first[1, chosen], first[1, chosen] + rows[part])
            left, right = _span(corners[:2].take(chosen, 2), which, row)
            left, right = (np.clip(np.ceil(u), 0, side).astype(np.int64) for u in (left, right))
            span, column = _ranges(left, right)
            row, at = row[span], which[span]
            origin = corners[:, 0].take(chosen, 1).take(at, 1)
            across, along = slopes.take(part, 1).take(at, 1)
            height = origin[2] + across * (column - origin[0]) + along * (row - origin[1])
            face = chosen[at]
            yield row * side + column, start + face, np.clip(height, low[2, face], high[2, face])


def _span(corners: np.ndarray, which: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rows enter and leave faces: on the edge from the lowest corner to the highest, and on one of the other two."""
    (u0, u1, u2), (v0, v1, v2) = corners
    u0, v0, u1, v1 = _sorted(u0, v0, u1, v1)
    u1, v1, u2, v2 = _sorted(u1, v1, u2, v2)
    u0, v0, u1, v1 = _sorted(u0, v0, u1, v1)
    u, v = np.concatenate([u0, u0, u1]), np.concatenate([v0, v0, v1])
    rise = np.concatenate([v2, v1, v2]) - v
    slope = (np.concatenate([u2, u1, u2]) - u) / np.where(rise > 0, rise, 1)
    edge = which + len(u0) * (1 + (row >= v1[which]))
    long, short = (u.take(index) + (row - v.take(index)) * slope.take(index) for index in (which, edge))
    return np.minimum(long, short), np.maximum(long, short)


def _sorted(u0: np.ndarray, v0: np.ndarray, u1: np.ndarray, v1: np.ndarray) -> tuple[np.ndarray, ...]:
    """Two corners of each face, the lower first."""
    swapped = v0 > v1
    return np.where(swapped, u1, u0), np.minimum(v0, v1), np.where(swapped, u0, u1), np.maximum(v0, v1)


def _least(corners: np.ndarray) -> np.ndarray:
    return np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2])


def _ranges(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of its range, and the number, for all integers of many half-open ranges, one after the other."""
    count = np.maximum(end - begin, 0)
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) + (begin - (np.cumsum(count) - count))[which]
