"""The sharp edges of a mesh, and points drawn from them; host code, float64, in the mesh's units.

An edge is sharp where its two faces meet at a dihedral angle, between their normals, above a limit. Edges of one face, of
more than two and of a face without an area are not.

Source: Chen et al. 2024 (Dora), sharp edge sampling.
"""

import numpy as np
from jaxtyping import Float, Int

from hexjax.geometry import surface
from hexjax.types import Array, Mesh

ANGLE = np.pi / 6


def sharp(mesh: Mesh, angle: float = ANGLE) -> tuple[Int[Array, "e 2"], Float[Array, "e 3"]]:
    """The vertices of every sharp edge, and the unit mean of its two faces' normals.

    Where both faces run through an edge in the same direction, one is taken as wound the other way. Where the normals are
    opposite, at the rim of a sheet of two sides, the first stands for the mean.

    Args:
        angle: radians, between the normals of the faces.
    """
    faces, normal = np.asarray(mesh.faces, np.int64), surface.area_vectors(mesh)
    area = np.linalg.norm(normal, axis=1)
    normal = normal / np.where(area > 0, area, 1)[:, None]
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    number = len(mesh.vertices)
    keys, which, count = np.unique(
        np.minimum(start, end) * number + np.maximum(start, end), return_inverse=True, return_counts=True
    )
    order = np.argsort(which, kind="stable")
    first = (np.cumsum(count) - count)[count == 2]
    one, other = order[first], order[np.minimum(first + 1, len(order) - 1)]
    flip = np.where(start[one] == start[other], -1.0, 1.0)[:, None]
    normals = normal[one // 3], flip * normal[other // 3]
    is_sharp = (np.sum(normals[0] * normals[1], axis=1) < np.cos(angle)) & (area[one // 3] > 0) & (area[other // 3] > 0)
    first, second = (each[is_sharp] for each in normals)
    mean = first + second
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    edges = np.stack(np.divmod(keys[count == 2][is_sharp], number), 1)
    return edges, np.where(length > 1e-6, mean / np.maximum(length, 1e-6), first)


def sample(
    mesh: Mesh, count: int, random: np.random.Generator, angle: float = ANGLE
) -> tuple[Float[Array, "p 3"], Float[Array, "p 3"]]:
    """`count` independent points, uniform over the length of the sharp edges, with their normals; none where no edge is."""
    edges, normals = sharp(mesh, angle)
    one, other = (np.asarray(mesh.vertices, np.float64)[edges[:, place]] for place in (0, 1))
    total = np.cumsum(np.linalg.norm(other - one, axis=1))
    if not len(total) or not total[-1] > 0:
        return np.zeros((0, 3)), np.zeros((0, 3))
    which = np.minimum(np.searchsorted(total, random.random(count) * total[-1], side="right"), len(total) - 1)
    along = random.random(count)[:, None]
    return (1 - along) * one[which] + along * other[which], normals[which]
