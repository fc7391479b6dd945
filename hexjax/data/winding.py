"""Winding made consistent and outward, where that can be told from the faces alone.

Part of stage 1 (load). Faces that share an edge with nobody but each other are wound alike; then each such part is
turned outward as a whole, unless the six views would see more of its back than as it is filed.
"""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax.geometry import raster

SIDE = 128  # pixels of the pictures in which front and back are counted
OUTWARD_LIMIT = 0.1  # how clearly an open part's normals must point away from, or towards, its middle; between -1 and 1
UNDECIDED_AREA = (0.5, 0.01)  # share of the area whose side nothing tells, above which the winding is doubtful: in a
# file that needed no turning, and in one that did


class Orientation(NamedTuple):
    """Which faces were turned [f], the number of parts, and whether the result is doubtful."""

    turned: Bool[np.ndarray, "f"]
    parts: int
    doubtful: bool


class _Edges(NamedTuple):
    """The three edges of every face, sorted by edge: the face, +1 or -1 for its direction, and the edge's number."""

    face: np.ndarray
    direction: np.ndarray
    number: np.ndarray
    count: np.ndarray  # faces at each edge


def orient(vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]) -> Orientation:
    """What must be turned so that neighbours agree and every part faces outward; needs three different corners a face.

    A part is what hangs together by edges of exactly two faces. In a part that can be wound consistently the smaller
    area is turned to match the larger. Then a closed part gets positive volume; an open one is turned only if its
    normals clearly point to its own middle, since a view that sees a back face takes it for an opening. A part that
    cannot be wound consistently (a Möbius strip) stays as in the file, and so does one of which the six views would see
    more back faces than as filed, unless the other way round shows fewer still. Doubtful: such a part, an edge of more than two
    faces whose directions do not cancel, or several parts of which too large a share shows no outer side: half the
    area, or a hundredth where something had to be turned, so that the file's own winding cannot be trusted.
    """
    edges = _edges(len(vertices), faces)
    oriented, part = igl.bfs_orient(np.ascontiguousarray(faces, np.int64))
    parts, turned = int(part.max(initial=-1)) + 1, (oriented != faces).any(axis=1)
    paired = np.flatnonzero(edges.count[edges.number] == 2).reshape(-1, 2)
    alike = np.prod(edges.direction[paired] * (1 - 2 * turned[edges.face[paired]]), axis=1) > 0  # neighbours disagree
    orientable = np.bincount(part[edges.face[paired[alike, 0]]], minlength=parts) == 0
    turned &= orientable[part]

    corners = vertices.astype(np.float64)[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    areas = np.linalg.norm(normals, axis=1)
    total = np.bincount(part, areas, parts)
    turned ^= (2 * np.bincount(part, areas * turned, parts) > total)[part]

    outwardness = _outwardness(corners.mean(axis=1), normals * (1 - 2 * turned[:, None]), areas, part, parts)
    closed = _closed(edges, turned, part, parts)
    turned ^= (orientable & (outwardness < np.where(closed, 0.0, -OUTWARD_LIMIT)))[part]

    if turned.any():
        turned = _as_seen(vertices, faces, normals, turned, part, orientable)
    sums = np.bincount(edges.number, edges.direction * (1 - 2 * turned[edges.face]))
    loose = np.bincount(part[edges.face], sums[edges.number] != 0, parts) > 0
    undecided = loose & (np.abs(outwardness) < OUTWARD_LIMIT)
    doubtful = bool(
        not np.all(orientable)
        or np.any(np.abs(sums) > edges.count % 2)
        or (parts > 1 and np.sum(total[undecided]) > UNDECIDED_AREA[int(np.any(turned))] * np.sum(total))
    )
    return Orientation(turned, parts, doubtful)


def _as_seen(
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    turned: np.ndarray,
    part: np.ndarray,
    orientable: np.ndarray,
) -> np.ndarray:
    """Which faces are turned when no part shows more of its back to the six views than as filed."""
    count, shown = len(orientable), _shown(vertices, faces, normals)
    filed, found = (np.bincount(part, shown * (1 - 2 * each), count) for each in (np.zeros(len(faces), int), turned))
    worse = found < filed
    other = worse & orientable & (-found > filed)
    return np.where((worse & ~other)[part], False, turned ^ other[part])


def _shown(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Of each face, the pixels of the six views that show its front, less those that show its back."""
    low = vertices.min(0).astype(np.float64)
    placed = (vertices - low) * ((SIDE - 1) / max(float(np.ptp(vertices, axis=0).max()), np.finfo(np.float64).tiny))
    found = np.zeros(len(faces))
    for axis in range(3):
        image = placed[:, [(axis + 1) % 3, (axis + 2) % 3, axis]]
        for seen, side in zip(raster.ends(image, faces, SIDE), (1, -1)):
            face = seen.face[seen.face >= 0]
            found += np.bincount(face, side * np.sign(normals[face, axis]), len(faces))
    return found


def _edges(vertices: int, faces: np.ndarray) -> _Edges:
    start, end = faces.astype(np.int64).reshape(-1), np.roll(faces.astype(np.int64), -1, axis=1).reshape(-1)
    key = np.minimum(start, end) * vertices + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    key = key[order]
    number = np.cumsum(np.concatenate([[False], key[1:] != key[:-1]]))
    direction = np.where(start < end, 1, -1)[order]
    return _Edges(order // 3, direction, number, np.bincount(number))


def _outwardness(
    centres: np.ndarray, normals: np.ndarray, areas: np.ndarray, part: np.ndarray, parts: int
) -> np.ndarray:
    """How far the area-weighted normals of each part point away from its middle, in [-1, 1]: the sign of its volume."""
    total = np.maximum(np.bincount(part, areas, parts), np.finfo(np.float64).tiny)
    middle = np.stack([np.bincount(part, areas * centres[:, i], parts) / total for i in range(3)], axis=-1)
    arms = centres - middle[part]
    most = np.bincount(part, areas * np.linalg.norm(arms, axis=1), parts)
    rounding = 1e-9 * np.max(np.abs(centres)) * total  # keeps a lone triangle, whose arm is 0, at 0
    return np.bincount(part, np.sum(arms * normals, axis=1), parts) / np.maximum(most, rounding)


def _closed(edges: _Edges, turned: np.ndarray, part: np.ndarray, parts: int) -> np.ndarray:
    """Parts without a border: the directions of their own faces cancel at every edge."""
    owner = part[edges.face]
    _, group = np.unique(edges.number * parts + owner, return_inverse=True)
    open_edge = np.bincount(group, edges.direction * (1 - 2 * turned[edges.face])) != 0
    return np.bincount(owner, open_edge[group], parts) == 0
