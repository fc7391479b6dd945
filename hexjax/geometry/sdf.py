"""Ground-truth signed distance of a mesh, on the host: for supervision and for the volume scores. Negative inside.

Distances are exact. The sign is by parity where the mesh is closed and does not cut itself, so that its winding does not
matter; else by the winding number, which is whole where the mesh is closed, and generalised where it is open (inside above
1/2, the mesh's orientation turned outward first, so that only the consistency of its winding matters).
Signs that rest on a conflict are told as doubtful.
"""

import igl
import igl.predicates
import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax.geometry import frame, surface, symmetry
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Mesh

NEAR = 0.05  # world units: the band around the surface that three quarters of a query pool fill
DEVIATIONS = (0.0025, 0.00025)  # world units, of the law `normal`. Source: mesh_to_sdf's sampling, Kleineberg 2020
COARSEST = 8  # cells a side that are all asked for their distance
DEPTHS = 5e-4 * 1.1 ** np.arange(94)  # in the mesh's units, past the cube's diagonal, at which `thickness` asks
FINER = 9  # depths between two of them
WINDING_MARGIN = 0.25  # winding numbers nearer than this to 1/2, or below minus this, are doubtful


def signed_distance(mesh: Mesh, points: Float[Array, "p 3"]) -> tuple[Float[Array, "p"], Bool[Array, "p"]]:
    """Signed distance of points to the surface, in the mesh's units, negative inside, and whether the sign is doubtful.

    Raises:
        ValueError: for a mesh without faces.
    """
    distance = surface.closest(mesh, points)[0]
    within, doubtful = inside(mesh, points)
    return np.where(within, -distance, distance).astype(np.float32), doubtful


def inside(mesh: Mesh, points: Float[Array, "p 3"]) -> tuple[Bool[Array, "p"], Bool[Array, "p"]]:
    """Whether points are inside the mesh, and whether that is doubtful.

    Parity: doubtful where it disagrees with the winding number of consistently wound faces. Winding number: doubtful in
    the middle between outside and inside, as near an opening, and where it is negative.
    """
    whole, winding = surface.boundless(mesh.faces), winding_number(mesh, points)
    if whole and ((winding == 0) | (winding == 1)).all():  # then parity and winding number cannot but agree
        return winding == 1, np.zeros(len(points), bool)
    if (whole and surface.connected(mesh.faces)) or not parity_holds(mesh):  # one part alone, not cut, makes 0 and 1
        doubtful = (np.abs(winding - 0.5) < WINDING_MARGIN) | (winding < -WINDING_MARGIN)
        return winding > 0.5, doubtful
    within = parity(mesh, points)
    return within, whole & (within != (winding > 0.5))


def winding_number(mesh: Mesh, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """The winding number with the mesh's orientation turned outward, in whole numbers where it is boundless."""
    found = outward(mesh) * surface.winding_number(mesh, points)
    return np.rint(found) if surface.boundless(mesh.faces) else found


def parity_holds(mesh: Mesh) -> bool:
    """Whether every edge has exactly two faces and no two faces cut or touch each other, by exact predicates."""
    if not len(mesh.faces) or not meshes.topology(mesh)["watertight"]:
        return False
    vertices = np.ascontiguousarray(mesh.vertices, np.float64)
    faces = _oriented(mesh.faces)  # the test takes coplanar neighbours that run the same way for a cut
    return not igl.predicates.find_self_intersections(vertices, faces, True)[0]


def parity(mesh: Mesh, points: Float[Array, "p 3"]) -> Bool[Array, "p"]:
    """Whether rays from points meet an odd number of faces, of a mesh whose every edge has exactly two faces."""
    return np.rint(surface.winding_number(mesh._replace(faces=_oriented(mesh.faces)), points)) % 2 == 1


def _oriented(faces: Int[Array, "f 3"]) -> Int[np.ndarray, "f 3"]:
    """Faces that are consistently wound, in each part one way or the other."""
    faces = np.ascontiguousarray(faces, np.int64)
    return faces if surface.consistently_wound(faces) else igl.bfs_orient(faces)[0].astype(np.int64)


def thickness(mesh: Mesh, count: int, random: np.random.Generator) -> Float[np.ndarray, "p"]:
    """How far it is through the solid from points of its surface, along their normals, in the mesh's units; within 1 %.

    The points are area-weighted samples, without those within the solid, as where parts cut each other: so there may be
    fewer, or none. 0 where neither side is inside, as of a sheet, or it is thinner than the least of DEPTHS. A gap is jumped
    over that is narrower than a tenth of how deep it lies.

    Raises:
        ValueError: for a mesh without area.
    """
    points, face = surface.sample(mesh, count, random)
    normals = surface.area_vectors(mesh)[face]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)

    def along(points: np.ndarray, inward: np.ndarray, depths: np.ndarray) -> Bool[np.ndarray, "p k"]:
        asked = points[:, None] + inward[:, None] * depths[..., None]
        return inside(mesh, asked.reshape(-1, 3))[0].reshape(asked.shape[:2])

    sides = np.concatenate([along(points, sign * normals, DEPTHS[None, :1]) for sign in (1, -1)], 1)
    points, inward = (a[~sides.all(1)] for a in (points, np.where(sides[:, :1], normals, -normals)))
    if not len(points):
        return np.zeros(0)
    leaves = np.argmin(along(points, inward, DEPTHS[None]), 1)  # 0: it was never inside
    low, high = (np.where(leaves > 0, DEPTHS[at], 0) for at in (leaves - 1, leaves))
    between = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, FINER)
    last = np.maximum(np.argmin(along(points, inward, between), 1), 1)
    return (between[np.arange(len(points)), last - 1] + between[np.arange(len(points)), last]) / 2


def query_pool(
    mesh: Mesh, count: int, seed: int, law: str = "uniform"
) -> tuple[Float[Array, "p 3"], Float[Array, "p"], Bool[Array, "p"]]:
    """`count` points with their signed distances, in random order, and whether the sign of each is doubtful.

    The mesh is in the frame. A quarter of the points (rounded down) is uniform in the cube [-1, 1]^3, the others are near
    the surface.

    Args:
        law: of those near it, as `near` takes it.

    Raises:
        ValueError: for a mesh without area.
    """
    random = np.random.default_rng(seed)
    close = count - count // 4
    points = np.concatenate([near(mesh, close, law, random), random.uniform(-1, 1, (count - close, 3))])
    points = points.astype(np.float32)[random.permutation(count)]
    return points, *signed_distance(mesh, points)


def near(mesh: Mesh, count: int, law: str, random: np.random.Generator) -> Float[np.ndarray, "p 3"]:
    """Area-weighted samples of the surface, each moved off it.

    uniform: in directions uniform over the sphere by lengths uniform in [0, 0.05], so that |sdf| crowds towards 0 (its
    density over a flat piece is log(0.05 / |sdf|) / 0.05). normal: each coordinate by a normal deviate, of the first of
    DEVIATIONS for the first half of the points, of the second for the others. Over a flat piece the mean |sdf| is .0125
    under the first, and .0011 under the second.

    Raises:
        ValueError: for a mesh without area; for another law.
    """
    samples = surface.sample(mesh, count, random)[0]
    if law == "uniform":
        return samples + surface.offsets(count, NEAR * (1 - 1e-5), random)  # room for rounding to float32
    if law == "normal":
        spread = np.where(np.arange(count) < count - count // 2, *DEVIATIONS)
        return samples + spread[:, None] * random.standard_normal((count, 3))
    raise ValueError(f"config.sdf.near is {law!r}; accepted: uniform | normal")


def active_cells(mesh: Mesh, side: int) -> Int[np.ndarray, "n 3"]:
    """The cells of the cube, of `side` along each axis, that the surface may cross, in the order of x, y, z.

    That are those whose centre is no farther off than half a cell's diagonal. They are sought coarse to fine, which loses
    none: the ball around a cell lies in the ball around the eight of which it is one.
    """
    if side % 2 or side <= COARSEST:
        cells = np.array(list(np.ndindex(side, side, side)), np.int32)
    else:
        cells = (2 * active_cells(mesh, side // 2)[:, None] + symmetry.CORNERS).reshape(-1, 3)
        cells = cells[np.lexsort(cells.T[::-1])]
    centres = (cells + 0.5) * (2 / side) - 1
    return cells[surface.closest(mesh, centres)[0] <= 3**0.5 / side * (1 + 1e-9)]  # rounding must not tell twins apart


def corner_distance(mesh: Mesh, cells: Int[Array, "n 3"], side: int) -> Float[np.ndarray, "n 8"]:
    """Signed distances at the corners of cells, of `side` along each axis of the cube, in the order of symmetry.CORNERS."""
    sides = (side + 1,) * 3
    nodes = np.ravel_multi_index(tuple(np.moveaxis(np.asarray(cells)[:, None] + symmetry.CORNERS, -1, 0)), sides)
    nodes, place = np.unique(nodes, return_inverse=True)
    points = np.asarray(frame.grid_nodes(side + 1))[np.stack(np.unravel_index(nodes, sides), -1)]
    return signed_distance(mesh, points)[0][place.reshape(-1, 8)]


def grid(mesh: Mesh, count: int) -> Float[np.ndarray, "n n n"]:
    """Signed distances at the cube's nodes, `count` along each axis."""
    nodes = np.asarray(frame.grid_nodes(count))
    points = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    return signed_distance(mesh, points)[0].reshape((count,) * 3)


def outward(mesh: Mesh) -> int:
    """1, or -1 for a mesh that encloses a negative volume, open ends closed by cones to its centre of area."""
    vectors = surface.area_vectors(mesh)
    areas = np.linalg.norm(vectors, axis=1)
    centres = surface.corners(mesh).mean(1)
    centre = areas @ centres / max(areas.sum(), np.finfo(np.float64).tiny)
    return -1 if np.sum((centres - centre) * vectors) < 0 else 1
