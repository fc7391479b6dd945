"""Triangles as a surface, on the host: points drawn from it, its points nearest to others, and what a ray bundle meets.

Any triangle soup works; faces without area are never drawn, and never met by a ray. float64 inside and at the edges:
what stands on this file (`sdf`, `distance`) rounds once, at its own edges. Deterministic.
"""

from collections.abc import Iterator

import igl
import numpy as np
from jaxtyping import Float, Int

from hexjax.types import Array, Mesh

CANDIDATES = 1 << 21  # pairs of a point and a face that are looked at together: bounds the memory
ROWS = 1024  # most strips that the bundle of rays is sorted into
STRIPS = 1 << 22  # pairs of a face and a strip: fewer strips where the faces are long


def corners(mesh: Mesh) -> Float[Array, "f 3 3"]:
    """The three corners of every face, float64, in the mesh's units."""
    return np.asarray(mesh.vertices, np.float64)[np.asarray(mesh.faces)]


def area_vectors(mesh: Mesh) -> Float[Array, "f 3"]:
    """Normals by the winding, as long as the face's area (0 for a degenerate face), float64."""
    a, b, c = np.moveaxis(corners(mesh), 1, 0)
    return np.cross(b - a, c - a) / 2


def consistently_wound(faces: Int[Array, "f 3"]) -> bool:
    """Whether no two faces run through a shared edge in the same direction, and no edge has more than two faces.

    Faces that name a vertex twice do not count.
    """
    faces = np.asarray(faces, np.int64)
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    directed = np.sort(start * (faces.max(initial=0) + 1) + end)
    return not (directed[1:] == directed[:-1]).any()


def sample(mesh: Mesh, count: int, random: np.random.Generator) -> tuple[Float[Array, "p 3"], Int[Array, "p"]]:
    """`count` independent points, uniform over the surface's area, and the face of each.

    Raises:
        ValueError: where no face has an area.
    """
    areas = np.linalg.norm(area_vectors(mesh), axis=1)
    total = np.cumsum(areas)
    if not len(total) or not total[-1] > 0:
        raise ValueError(f"mesh has {len(areas)} faces and no area; samples need a surface")
    face = np.searchsorted(total, random.random(count) * total[-1], side="right")
    face = np.minimum(face, np.flatnonzero(areas)[-1])
    root, along = np.sqrt(random.random(count))[:, None], random.random(count)[:, None]
    a, b, c = np.moveaxis(corners(mesh)[face], 1, 0)
    return (1 - root) * a + root * (1 - along) * b + root * along * c, face


def offsets(count: int, limit: float, random: np.random.Generator) -> Float[Array, "p 3"]:
    """Vectors in directions uniform over the sphere, with lengths uniform in [0, limit]."""
    direction = random.standard_normal((count, 3))
    length = random.random(count) * limit
    return direction * (length / np.linalg.norm(direction, axis=1))[:, None]


def closest(mesh: Mesh, points: Float[Array, "p 3"]) -> tuple[Float[Array, "p"], Float[Array, "p 3"], Int[Array, "p"]]:
    """Exact distance to the nearest point of the triangles, that point, and its face; degenerate faces are segments.

    Raises:
        ValueError: for a mesh without faces.
    """
    if not len(mesh.faces):
        raise ValueError("mesh has 0 faces; a distance needs at least one")
    if not len(points):
        return np.zeros(0), np.zeros((0, 3)), np.zeros(0, np.int64)
    squared, face, nearest = igl.point_mesh_squared_distance(*_for_igl(points, mesh.vertices), _for_igl_faces(mesh))
    return np.sqrt(squared), nearest, face.astype(np.int64)  # libigl's own integer type is not NumPy's int64


def winding_number(mesh: Mesh, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Generalised winding number, positive inside outward winding; within 0.01 of the exact sum of solid angles.

    Source: Jacobson et al. 2013, in the hierarchical form of Barill et al. 2018 (libigl).
    """
    if not len(points) or not len(mesh.faces):
        return np.zeros(len(points))
    return igl.fast_winding_number(_for_igl(mesh.vertices)[0], _for_igl_faces(mesh), _for_igl(points)[0])


def covering(
    corners: Float[Array, "f 3 3"], points: Float[Array, "p 2"]
) -> Iterator[tuple[Int[Array, "k"], Int[Array, "k"], Float[Array, "k"]]]:
    """Yields (point, face, depth) for every face met by the ray through a point, in pieces of bounded size.

    The rays run along the third coordinate of the corners, through `points` in the first two. Edges are half-open and
    computed alike for all of their faces, so that a ray through a closed surface always meets an even number of faces.
    """
    low, high = _least(corners[..., :2]), -_least(-corners[..., :2])
    if not len(low) or not (high.max(0) > low.min(0)).all():
        return
    origin, side = low.min(0), high.max(0) - low.min(0)
    within = np.flatnonzero(((points >= origin) & (points <= high.max(0))).all(1))
    lengths = (high[:, 1] - low[:, 1]).sum() / side[1]
    rows = int(np.clip(min(2 * np.sqrt(len(within)), STRIPS / lengths), 1, ROWS))

    def row(v: np.ndarray) -> np.ndarray:
        return np.floor((v - origin[1]) * (rows / side[1]))

    def key(row: np.ndarray, u: np.ndarray) -> np.ndarray:  # sorted by strip, then by the place in it
        return row + (u - origin[0]) * (0.5 / side[0])

    keys = key(row(points[within, 1]), points[within, 0])
    order = np.argsort(keys, kind="stable")
    keys, order = keys[order], within[order]

    first, last = row(low[:, 1]).astype(np.int64), row(high[:, 1]).astype(np.int64)
    face, strip = _ranges(first, last + 1)
    begin = np.searchsorted(keys, key(strip, low[face, 0]), side="left")
    end = np.searchsorted(keys, key(strip, high[face, 0]), side="right")
    occupied = np.flatnonzero(end > begin)
    face, begin, end = face[occupied], begin[occupied], end[occupied]

    edges = _edges(corners)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.cumsum(end - begin)
    cuts = np.searchsorted(total, np.arange(CANDIDATES, total[-1] if len(total) else 0, CANDIDATES))
    for piece in np.split(np.arange(len(face)), cuts):
        which, index = _ranges(begin[piece], end[piece])
        yield _hits(corners, edges, normals, points, face[piece][which], order[index])


def _hits(corners, edges, normals, points, face, point):
    """Of pairs of a face and a point, those where the ray meets the face, with the depth."""
    u, v = points[point].T
    met = np.zeros(len(point), bool)
    for low_u, low_v, high_v, slope in edges:
        crossed = (low_v[face] <= v) & (v < high_v[face])
        met ^= crossed & (low_u[face] + (v - low_v[face]) * slope[face] > u)
    face, point, u, v = face[met], point[met], u[met], v[met]
    met = normals[face, 2] != 0  # a face seen exactly edge-on
    face, point, u, v = face[met], point[met], u[met], v[met]
    normal, corner = normals[face], corners[face, 0]
    depth = corner[:, 2] - (normal[:, 0] * (u - corner[:, 0]) + normal[:, 1] * (v - corner[:, 1])) / normal[:, 2]
    depths = corners[face, :, 2:]
    return point, face, np.clip(depth, _least(depths)[:, 0], -_least(-depths)[:, 0])


def _least(corners: np.ndarray) -> np.ndarray:
    """The least of each face's three corners; many times faster than a reduction over so short an axis."""
    return np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2])


def _edges(corners: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The three edges of each face from their lower to their higher end: low u, low v, high v, slope du/dv."""
    edges = []
    for one, other in ((0, 1), (1, 2), (2, 0)):
        swapped = (corners[:, one, 1] > corners[:, other, 1])[:, None]
        low = np.where(swapped, corners[:, other, :2], corners[:, one, :2])
        high = np.where(swapped, corners[:, one, :2], corners[:, other, :2])
        rise = high[:, 1] - low[:, 1]
        slope = np.divide(high[:, 0] - low[:, 0], rise, out=np.zeros_like(rise), where=rise > 0)
        edges.append((low[:, 0].copy(), low[:, 1].copy(), high[:, 1].copy(), slope))
    return edges


def _ranges(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All integers of many half-open ranges, one after the other, each with the index of its range."""
    count = end - begin
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) + (begin - (np.cumsum(count) - count))[which]


def _for_igl(*arrays: Array) -> list[np.ndarray]:
    return [np.ascontiguousarray(array, np.float64) for array in arrays]


def _for_igl_faces(mesh: Mesh) -> np.ndarray:
    return np.ascontiguousarray(mesh.faces, np.int64)
