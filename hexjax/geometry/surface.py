"""Triangles as a surface, on the host: points drawn from it, its points nearest to others, and what it winds around.

Any triangle soup works; faces without area are never drawn. float64 inside and at the edges:
what stands on this file (`sdf`, `distance`) rounds once, at its own edges. Deterministic.
"""

import igl
import numpy as np
from jaxtyping import Float, Int

from hexjax.types import Array, Mesh

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
    """Whether all faces hang together by edges."""
    return igl.facet_components(np.ascontiguousarray(faces, np.int64))[0] == 1


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


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The cross products of rows, in the order of the axes that NumPy's takes, and several times faster."""
    (ax, ay, az), (bx, by, bz) = one.T, other.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def _for_igl(*arrays: Array) -> list[np.ndarray]:
    return [np.ascontiguousarray(array, np.float64) for array in arrays]


def _for_igl_faces(mesh: Mesh) -> np.ndarray:
    return np.ascontiguousarray(mesh.faces, np.int64)
