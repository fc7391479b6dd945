"""Polygons as a file or an object in memory holds them, and their cut into triangles.

Part of stage 1 (load). Corners count from 0; polygons of every size stand one after another in one flat array.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

CLIPPING_BUDGET = (
    20_000_000  # squared corners of concave polygons; those beyond are cut as a fan, so that no file hangs
)
MESHES = (
    "a path, a trimesh Trimesh, Scene or PointCloud, a hexjax.Mesh, a tuple of vertices [n, 3] and faces [f, 3], or points "
    "[n, 3]"
)
ATTEMPTS = 16  # corners tried for an ear in each round


class Polygons(NamedTuple):
    """Positions [n, 3], the corners of all polygons in a row [k], and how many of them each polygon has [f].

    `points` tells whether positions without a polygon are a shape of points, and not a mesh that lacks its faces, and
    `told` in words what a file holds that was not taken as it says.
    """

    positions: Float[np.ndarray, "n 3"]
    corners: Int[np.ndarray, "k"]
    sizes: Int[np.ndarray, "f"]
    points: bool = False
    told: tuple[str, ...] = ()


def cloud(positions: np.ndarray) -> Polygons:
    """Points alone."""
    return Polygons(np.asarray(positions, np.float64), np.zeros(0, np.int64), np.zeros(0, np.int64), True)


def triangles(positions: np.ndarray, corners: np.ndarray) -> Polygons:
    """Polygons whose corners [f, 3] are triangles."""
    return Polygons(
        np.asarray(positions, np.float64), np.asarray(corners, np.int64).reshape(-1), np.full(len(corners), 3)
    )


def strip(corners: np.ndarray) -> np.ndarray:
    """The triangles [f, 3] of a strip of corners [k], every second one turned."""
    found = np.stack([corners[i : max(len(corners) - 2, 0) + i] for i in range(3)], -1)
    found[1::2] = found[1::2, ::-1]
    return found


def of(given: Any) -> Polygons:
    """Polygons of a mesh in memory: a trimesh Trimesh or Scene, a `Mesh`, or (vertices [n, 3], faces).

    Faces are an array [f, k], or rows of any lengths. Of a scene, what has no faces is passed over. No faces at all, a
    trimesh PointCloud and an array [n, 3] are points.

    Raises:
        ValueError: for anything else, or a face of vertices that are not there.
    """
    if hasattr(given, "graph") and hasattr(given, "geometry"):
        placed = ((given.geometry[given.graph[node][1]], given.graph[node][0]) for node in given.graph.nodes_geometry)
        return joined((of(mesh), transform) for mesh, transform in placed if len(getattr(mesh, "faces", ())))
    if hasattr(given, "vertices") and hasattr(given, "faces"):
        given = given.vertices, given.faces
    elif type(given).__name__ == "PointCloud":
        given = given.vertices, ()
    elif getattr(given, "ndim", None) == 2:
        given = given, ()
    if not isinstance(given, tuple) or len(given) != 2:
        raise ValueError(f"is of type {type(given).__name__}; accepted: {MESHES}")
    positions, (corners, sizes) = _numbers(given[0]), _rows(given[1])
    if positions.ndim != 2 or positions.shape[1] != 3 or positions.dtype.kind not in "fiu":
        raise ValueError(f"vertices are {positions.dtype} {positions.shape}; accepted: numbers (n, 3)")
    found = Polygons(positions.astype(np.float64), corners, sizes, points=True)
    refuse_out_of_range(found)
    return found


def _rows(faces: Any) -> tuple[np.ndarray, np.ndarray]:
    """All corners of faces in a row, and how many each has."""
    array = _numbers(faces)
    if array.ndim == 2 and array.dtype.kind in "iu":
        return array.reshape(-1).astype(np.int64), np.full(len(array), array.shape[1])
    rows = [_numbers(row) for row in array] if array.dtype == object and array.ndim == 1 else []
    if array.size and not (rows and all(row.ndim == 1 and row.dtype.kind in "iu" for row in rows)):
        raise ValueError(f"faces are {array.dtype} {array.shape}; accepted: whole numbers (f, 3), or rows of them")
    return np.concatenate([np.zeros(0, np.int64), *rows]).astype(np.int64), np.array(
        [len(row) for row in rows], np.int64
    )


def _numbers(given: Any) -> np.ndarray:
    """The array of something, on whatever device; of objects where its rows differ in length."""
    try:
        return np.asarray(given)
    except ValueError:
        return np.array([*given, None], object)[:-1]
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"holds no numbers: {' '.join(str(error).split())[:160]}") from error


def joined(parts: Iterable[tuple[Polygons, np.ndarray]]) -> Polygons:
    """The triangles of several meshes, each with a transform [4, 4] applied; a mirror keeps the outside out."""
    found, offset = [triangles(np.zeros((0, 3)), np.zeros((0, 3)))], 0
    for part, transform in parts:
        faces = part.corners.reshape(-1, 3)[:, :: -1 if np.linalg.det(transform[:3, :3]) < 0 else 1]
        found.append(triangles(part.positions @ transform[:3, :3].T + transform[:3, 3], faces + offset))
        offset += len(part.positions)
    return Polygons(*(np.concatenate(arrays) for arrays in zip(*(part[:3] for part in found))))


def without_edges(polygons: Polygons) -> Polygons:
    """The polygons without those of one or two corners, which is told."""
    small = (polygons.sizes == 1) | (polygons.sizes == 2)
    if not small.any():
        return polygons
    count = int(small.sum())
    told = f"{count} face{'s' * (count > 1)} of fewer than 3 corners left out"
    corners = polygons.corners[~np.repeat(small, polygons.sizes)]
    return polygons._replace(corners=corners, sizes=polygons.sizes[~small], told=(*polygons.told, told))


def refuse_out_of_range(polygons: Polygons, first: int = 0) -> None:
    """Nothing, if every polygon has three corners that exist; `first` is the number of the file's first vertex.

    Raises:
        ValueError: else; it names the first such face, counted from 1.
    """
    small = np.flatnonzero(polygons.sizes < 3)
    if len(small):
        raise ValueError(f"face {small[0] + 1} has {polygons.sizes[small[0]]} corners, at least 3 are needed")
    count = len(polygons.positions)
    outside = np.flatnonzero((polygons.corners < 0) | (polygons.corners >= count))
    if len(outside):
        face = np.searchsorted(np.cumsum(polygons.sizes), outside[0], side="right") + 1
        index = polygons.corners[outside[0]] + first
        raise ValueError(f"face {face} names vertex {index}, but the vertices are {first} to {count - 1 + first}")


def cut(polygons: Polygons) -> tuple[Int[np.ndarray, "t 3"], int]:
    """Triangles in the polygons' order, and how many concave polygons may leave their outline.

    Convex polygons become the fan of their first corner; concave ones are cut by clipping ears, so that no triangle
    leaves a planar outline, unless the outline crosses itself or the clipping would cost too much. Needs polygons of at
    least three corners.
    """
    faces = np.empty((int(np.sum(polygons.sizes - 2)), 3), np.int64)
    first_corner = np.cumsum(polygons.sizes) - polygons.sizes
    first_face = first_corner - 2 * np.arange(len(polygons.sizes))
    doubtful, spent = 0, 0
    for size in np.unique(polygons.sizes).tolist():
        which = np.flatnonzero(polygons.sizes == size)
        corners = polygons.corners[first_corner[which, None] + np.arange(size)]
        fan = np.stack([np.zeros(size - 2, np.int64), np.arange(1, size - 1), np.arange(2, size)], axis=-1)
        parts = corners[:, fan]
        if size > 3:
            flat = _flatten(polygons.positions[corners])
            concave = np.flatnonzero(np.any(_turns(flat) < -1e-9 * _scale(flat), axis=1))
            spent += len(concave) * size**2
            if spent > CLIPPING_BUDGET:
                doubtful += len(concave)
            elif len(concave):
                local, crossing = _clip_ears(flat[concave])
                parts[concave] = corners[concave[:, None, None], local]
                doubtful += crossing
        faces[first_face[which, None] + np.arange(size - 2)] = parts
    return faces, doubtful


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The third component of the cross product of plane vectors."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _flatten(corners: np.ndarray) -> np.ndarray:
    """Polygons [m, k, 3] seen along the main axis of their normal [m, k, 2], anticlockwise."""
    centred = corners - corners.mean(axis=1, keepdims=True)
    normal = np.sum(np.cross(centred, np.roll(centred, -1, axis=1)), axis=1)
    axis = np.argmax(np.abs(normal), axis=1)
    kept = np.stack([(axis + 1) % 3, (axis + 2) % 3], axis=-1)
    flat = np.take_along_axis(centred, kept[:, None, :], axis=2)
    backwards = np.take_along_axis(normal, axis[:, None], axis=1)[:, 0] < 0
    return np.where(backwards[:, None, None], flat[..., ::-1], flat)


def _turns(flat: np.ndarray) -> np.ndarray:
    """Twice the signed area of the triangle at each corner [m, k]: negative where the outline is concave."""
    before, after = np.roll(flat, 1, axis=1), np.roll(flat, -1, axis=1)
    return _cross(flat - before, after - flat)


def _scale(flat: np.ndarray) -> np.ndarray:
    """Squared extent of each polygon [m, 1], against which an area is small or not."""
    return np.max(np.ptp(flat, axis=1), axis=1, keepdims=True) ** 2


def _clip_ears(flat: np.ndarray) -> tuple[np.ndarray, int]:
    """Triangles [m, k - 2, 3] of anticlockwise outlines [m, k, 2], and how many outlines ran out of ears.

    All outlines at once lose one ear a round: a convex corner whose triangle holds no other corner, sought by the
    shortest diagonal. Where none is found the corner of the largest area goes. Source: Meisters 1975, two-ears theorem.
    """
    outlines, size = flat.shape[:2]
    rows = np.arange(outlines)
    left = np.tile(np.arange(size), (outlines, 1))
    found = np.empty((outlines, size - 2, 3), np.int64)
    stuck = np.zeros(outlines, bool)
    for step in range(size - 3):
        points = np.take_along_axis(flat, left[..., None], axis=1)
        area = _turns(points)
        diagonal = np.sum((np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)) ** 2, axis=-1)
        candidates = np.argsort(np.where(area > 0, diagonal, np.inf), axis=1)
        tip = np.argmax(area, axis=1)
        seeking = rows
        for attempt in range(min(ATTEMPTS, size - step)):
            tried = candidates[seeking, attempt]
            ear = _is_ear(points[seeking], tried) & (area[seeking, tried] > 0)
            tip[seeking[ear]] = tried[ear]
            seeking = seeking[~ear]
            if not len(seeking):
                break
        stuck[seeking] = True
        found[:, step] = np.stack(
            [left[rows, tip - 1], left[rows, tip], left[rows, (tip + 1) % (size - step)]], axis=-1
        )
        left = left[np.arange(size - step) != tip[:, None]].reshape(outlines, -1)
    found[:, size - 3] = left
    return found, int(np.sum(stuck))


def _is_ear(points: np.ndarray, tip: np.ndarray) -> np.ndarray:
    """Whether the triangle at the tip [m] of each outline [m, k, 2] holds no corner but those at its own places."""
    rows = np.arange(len(points))
    ends = [points[rows, tip - 1], points[rows, tip], points[rows, (tip + 1) % points.shape[1]]]
    inside = np.ones(points.shape[:2], bool)
    for start, end in zip(ends, ends[1:] + ends[:1]):
        inside &= _cross((end - start)[:, None], points - start[:, None]) >= 0
        inside &= np.any(points != start[:, None], axis=-1)
    return ~np.any(inside, axis=1)
