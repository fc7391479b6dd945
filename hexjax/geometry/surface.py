"""Triangles as a surface, on the host: points drawn from it, its points nearest to others, and what a ray bundle meets.

Any triangle soup works; faces without area are never drawn, and never met by a ray. float64 inside and at the edges:
what stands on this file (`sdf`, `distance`) rounds once, at its own edges. Deterministic.
"""

from concurrent import futures

import igl
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csgraph

from hexjax import cores
from hexjax.types import Array, Mesh

CANDIDATES = 1 << 16  # pairs of a point and a face that are looked at together: what a core's cache holds
ROWS = 1024  # most strips that the bundle of rays is sorted into
STRIPS = 1 << 22  # pairs of a face and a strip: fewer strips where the faces are long
BLOCKS = 1024  # stretches of the curve along which points are sorted
CURVE = np.array([sum((i >> bit & 1) << 3 * bit for bit in range(8)) for i in range(256)], np.int32)  # bits apart


def corners(mesh: Mesh) -> Float[Array, "f 3 3"]:
    """The three corners of every face, float64, in the mesh's units."""
    return np.asarray(mesh.vertices, np.float64)[np.asarray(mesh.faces)]


def area_vectors(mesh: Mesh) -> Float[Array, "f 3"]:
    """Normals by the winding, as long as the face's area (0 for a degenerate face), float64."""
    a, b, c = np.moveaxis(corners(mesh), 1, 0)
    return _cross(b - a, c - a) / 2


def consistently_wound(faces: Int[Array, "f 3"]) -> bool:
    """Whether no two faces run through a shared edge in the same direction, and no edge has more than two faces.

    Faces that name a vertex twice do not count.
    """
    faces = np.asarray(faces, np.int64)
    directed = _directed_edges(faces[(faces != np.roll(faces, 1, axis=1)).all(1)])
    return not (directed[1:] == directed[:-1]).any()


def boundless(faces: Int[Array, "f 3"]) -> bool:
    """Whether there are faces, and every edge is run through as often in one direction as in the other.

    So it is wherever a consistently wound surface is closed. Winding numbers are whole there.
    """
    faces = np.asarray(faces, np.int64)
    return len(faces) > 0 and np.array_equal(_directed_edges(faces), _directed_edges(faces[:, ::-1]))


def connected(faces: Int[Array, "f 3"]) -> bool:
    """Whether all faces hang together by edges; may be denied where an edge has more than two faces."""
    beside = igl.triangle_triangle_adjacency(np.ascontiguousarray(faces, np.int64))[0]
    face, side = np.nonzero(beside >= 0)
    links = coo_array((np.ones(len(face), bool), (face, beside[face, side])), (len(beside),) * 2)
    return csgraph.connected_components(links, directed=False, return_labels=False) == 1


def _directed_edges(faces: np.ndarray) -> np.ndarray:
    """A number for each directed edge, ascending."""
    return np.sort((faces * (faces.max(initial=0) + 1) + np.roll(faces, -1, axis=1)).ravel())


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
    order = _along_curve(points)
    ordered, vertices = _for_igl(np.asarray(points)[order], mesh.vertices)
    found = igl.point_mesh_squared_distance(ordered, vertices, _for_igl_faces(mesh))
    distance, nearest, face = np.empty(len(order)), np.empty((len(order), 3)), np.empty(len(order), np.int64)
    distance[order], face[order], nearest[order] = np.sqrt(found[0]), found[1], found[2]
    return distance, nearest, face


def winding_number(mesh: Mesh, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Generalised winding number, positive inside outward winding; within 0.01 of the exact sum of solid angles.

    Source: Jacobson et al. 2013, in the hierarchical form of Barill et al. 2018 (libigl).
    """
    found = np.zeros(len(points))
    if len(points) and len(mesh.faces):
        order = _along_curve(points)
        ordered, vertices = _for_igl(np.asarray(points)[order], mesh.vertices)
        found[order] = igl.fast_winding_number(vertices, _for_igl_faces(mesh), ordered)
    return found


def _along_curve(points: Array) -> np.ndarray:
    """An order of the points in which neighbours take the same way through a tree, and all cores have as much to do.

    Along Morton's curve, cut into blocks that are dealt out to (up to sixteen) cores.
    """
    points = np.asarray(points)
    low, high = points.min(), points.max()
    x, y, z = CURVE[((points - low) * (127 / max(high - low, 1e-30))).astype(np.uint8)].T
    blocks = np.array_split(np.argsort(x | y << 1 | z << 2), BLOCKS)
    return np.concatenate([block for start in range(16) for block in blocks[start::16]])


def crossings(corners: Float[Array, "f 3 3"], points: Float[Array, "p 3"]) -> Int[np.ndarray, "p"]:
    """How many faces more the rays from points along the third axis meet from behind than from before.

    That is the winding number of a `boundless` mesh, and odd where they meet an odd number of faces. Edges are half-open
    and computed alike for all of their faces, so that a ray through a closed surface always meets an even number.
    """
    count = np.zeros(len(points), np.int64)
    low, high = _least(corners), -_least(-corners)
    if not len(low) or not (high.max(0) > low.min(0))[:2].all():
        return count
    origin, side = low.min(0)[:2], (high.max(0) - low.min(0))[:2]
    within = np.flatnonzero(((points[:, :2] >= origin) & (points <= high.max(0))[:, :2]).all(1))
    lengths = (high[:, 1] - low[:, 1]).sum() / side[1]
    rows = int(np.clip(min(0.4 * np.sqrt(len(within)), STRIPS / max(lengths, 1)), 1, ROWS))

    def row(v: np.ndarray) -> np.ndarray:
        return np.floor((v - origin[1]) * (rows / side[1]))

    def key(row: np.ndarray, u: np.ndarray) -> np.ndarray:  # sorted by strip, then by the place in it
        return row + (u - origin[0]) * (0.5 / side[0])

    u, v, w = points[within].T
    keys = key(row(v), u)
    order = np.argsort(keys)
    keys, u, v, w = keys[order], u[order], v[order], w[order]

    edges, normals = _edges(corners), _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    first, last = row(low[:, 1]).astype(np.int64), row(high[:, 1]).astype(np.int64)

    def met(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of some faces, the rays that meet them (as often as they do), and from which side."""
        which, strip = _ranges(first[faces], last[faces] + 1)
        face, height = faces[which], side[1] / rows
        left, right = _span(edges, face, origin[1] + (strip - 1e-6) * height, (1 + 2e-6) * height)
        begin = np.searchsorted(keys, key(strip, left), side="left")
        end = np.searchsorted(keys, key(strip, right), side="right")
        found = []
        for piece in _pieces(end - begin, CANDIDATES):
            which, ray = _ranges(begin[piece], end[piece])
            crossed = face[piece][which]
            hit = _hits(edges, crossed, u[ray], v[ray])
            ray, crossed = ray[hit], crossed[hit]
            depth = _depth(corners[:, 0], normals, crossed, u[ray], v[ray])
            beyond = np.clip(depth, low[crossed, 2], high[crossed, 2]) > w[ray]
            found.append((ray[beyond], np.sign(normals[crossed[beyond], 2])))
        return tuple(np.concatenate(part) for part in zip(*found))

    with futures.ThreadPoolExecutor(cores.allowed()) as pool:
        found = pool.map(met, _pieces(last - first + 1, CANDIDATES // 8))
        ray, sign = (np.concatenate(part) for part in zip(*found))
    count[within[order]] = np.bincount(ray, sign, len(order))
    return count


def _pieces(sizes: np.ndarray, most: int) -> list[np.ndarray]:
    """The indices of the sizes in runs that come to about `most` each; at least one run."""
    total = np.cumsum(sizes)
    return np.split(
        np.arange(len(sizes)), np.searchsorted(total, np.arange(most, total[-1] if len(total) else 0, most))
    )


def _span(edges: list, face: np.ndarray, bottom: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest u of the faces' edges where v is in [bottom, bottom + height]."""
    left, right, top = np.full(len(face), np.inf), np.full(len(face), -np.inf), bottom + height
    for low_u, low_v, high_v, slope in edges:
        base, start, tilt = low_v[face], low_u[face], slope[face]
        lower, upper = np.maximum(base, bottom), np.minimum(high_v[face], top)
        one, other, there = start + (lower - base) * tilt, start + (upper - base) * tilt, lower <= upper
        np.minimum(left, np.minimum(one, other), out=left, where=there)
        np.maximum(right, np.maximum(one, other), out=right, where=there)
    return left, right


def _hits(edges: list, face: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The indices of those pairs of a face and a ray at (u, v) that meet."""
    met = np.zeros(len(face), bool)
    for low_u, low_v, high_v, slope in edges:
        base = low_v[face]
        met ^= (base <= v) & (v < high_v[face]) & (low_u[face] + (v - base) * slope[face] > u)
    return np.flatnonzero(met)


def _depth(corner, normals, face, u, v) -> np.ndarray:
    """Where the ray at (u, v) meets the face's plane; not a number where that is seen edge-on."""
    normal, corner = normals[face], corner[face]
    across = normal[:, 0] * (u - corner[:, 0]) + normal[:, 1] * (v - corner[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return corner[:, 2] - across / normal[:, 2]


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The cross products of rows, in the order of the axes that NumPy's takes, and several times faster."""
    (ax, ay, az), (bx, by, bz) = one.T, other.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


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
