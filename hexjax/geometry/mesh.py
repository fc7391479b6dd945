"""Stage 2, normalise: source units to the frame and back, without deforming; face normals, areas and topology.

Host code in NumPy, but for `face_normals`, which is traced and differentiated by shading.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array, csgraph

from hexjax.geometry import frame
from hexjax.types import Array, Mesh, Scores, Similarity

FAR = 8  # times the longest side: vertices farther from the origin are kept in float64, which float32 would move
UP_ROTATIONS = {
    "y": np.eye(3, dtype=np.float32),
    "z": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32),  # z up, facing -y (as in Blender) -> y up, facing +z
}


def normalise(mesh: Mesh, up: str = "y") -> tuple[Mesh, Similarity]:
    """The mesh with the box of its referenced vertices centred in the frame, longest side 2 (1 - margin), and the way.

    Of a shape of points it is the box of all.

    Args:
        up: the source's axis that points up, y or z (`data.up`).

    Raises:
        ValueError: for another `up`, a mesh without vertices, non-finite vertices or a longest side of 0.
    """
    if up not in UP_ROTATIONS:
        raise ValueError(f"config.data.up is {up!r}; accepted: {', '.join(UP_ROTATIONS)}")
    faces = np.asarray(mesh.faces)
    if not len(mesh.vertices):
        raise ValueError("the mesh has no vertices; normalise needs at least two")
    rotation = UP_ROTATIONS[up]
    turned = np.asarray(mesh.vertices, np.float64) @ rotation.T
    used = turned[np.unique(faces)] if len(faces) else turned
    if not np.isfinite(used).all():
        raise ValueError("the mesh has vertices that are not finite; normalise needs finite ones")
    low, high = used.min(0), used.max(0)
    side = float((high - low).max())
    if side == 0:
        raise ValueError("the mesh's longest side is 0; normalise needs some extent")
    scale = 2 * (1 - frame.MARGIN) / side
    similarity = Similarity(scale, rotation, -scale * (low + high) / 2)
    vertices = ((turned - (low + high) / 2) * scale).astype(np.float32)
    return mesh._replace(vertices=vertices, faces=faces.astype(np.int32)), similarity


def refuse_points(name: str, mesh: Mesh, what: str) -> None:
    """Nothing; the mesh has faces, which `what` needs.

    Raises:
        ValueError: for a shape of points, in one line with its name.
    """
    if not len(mesh.faces):
        raise ValueError(f"{name} is points without faces; accepted for {what}: meshes with faces")


def to_frame(mesh: Mesh, similarity: Similarity) -> Mesh:
    """The source's mesh brought to the frame by a similarity that `normalise` gave."""
    turned = np.asarray(mesh.vertices, np.float64) @ np.asarray(similarity.rotation, np.float64).T
    vertices = turned * float(similarity.scale) + np.asarray(similarity.translation, np.float64)
    return mesh._replace(vertices=vertices.astype(np.float32))


def to_source(mesh: Mesh, similarity: Similarity) -> Mesh:
    """The frame's mesh brought back to the source's own units and orientation, float64 where that lies far off (`FAR`)."""
    translation = np.asarray(similarity.translation, np.float64)
    moved = np.asarray(mesh.vertices, np.float64) - translation
    vertices = (moved / float(similarity.scale)) @ np.asarray(similarity.rotation, np.float64)
    is_far = np.abs(translation).max() > FAR * 2 * (1 - frame.MARGIN)
    return mesh._replace(vertices=vertices if is_far else vertices.astype(np.float32))


def face_normals(vertices: Float[Array, "n 3"], faces: Array) -> Float[Array, "f 3"]:
    """Unit normals by the winding's right-hand rule; 0 for faces without area; finite gradients there too."""
    corners = jnp.asarray(vertices)[jnp.asarray(faces)]
    return unit(jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))


def unit(vectors: Float[Array, "*p 3"]) -> Float[Array, "*p 3"]:
    """Vectors over their length; 0 stays 0, with a gradient of 0."""
    # Scaled by the largest component first: the squares of a small triangle's cross product underflow. The scale cancels.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), -1, keepdims=True))
    scaled = vectors / jnp.where(largest > 0, largest, 1)
    squared = jnp.sum(scaled * scaled, -1, keepdims=True)
    return scaled * jnp.where(largest > 0, 1 / jnp.sqrt(jnp.where(largest > 0, squared, 1)), 0)


def face_areas(mesh: Mesh) -> Float[np.ndarray, "f"]:
    """Areas of the faces, in the mesh's units squared, float64."""
    corners = np.asarray(mesh.vertices, np.float64).T[
        :, np.asarray(mesh.faces).T
    ]  # components first: loops run over faces
    (a, b, c), (d, e, f) = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.sqrt((b * f - c * e) ** 2 + (c * d - a * f) ** 2 + (a * e - b * d) ** 2) / 2


def face_components(mesh: Mesh) -> np.ndarray:
    """The part [f] int that each face belongs to; parts hang together by shared vertices."""
    faces = np.asarray(mesh.faces)
    count = len(np.asarray(mesh.vertices))
    links = coo_array(
        (np.ones(2 * len(faces), bool), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())), (count,) * 2
    )
    labels = csgraph.connected_components(links, directed=False)[1][faces[:, 0]]
    used = np.bincount(labels) > 0
    return (np.cumsum(used) - 1)[labels]


def topology(mesh: Mesh) -> Scores:
    """Counts of a mesh: vertices (referenced), faces, components, Euler number, genus, non-manifold edges, watertight or not.

    Watertight: every edge is shared by exactly two faces. Non-manifold edges are those of more than two faces. Genus: the
    handles of all parts together, components - Euler number / 2; None where the mesh is not watertight, so where it has
    non-manifold edges or no faces, and where that is no count, as of two spheres that share a vertex. Vertices where a
    surface touches itself are not looked for otherwise.
    """
    faces = np.asarray(mesh.faces, np.int64)
    if len(faces) == 0:
        return dict(vertices=0, faces=0, components=0, euler=0, genus=None, non_manifold_edges=0, watertight=False)
    start, end = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    edges = np.sort(np.minimum(start, end) * (faces.max() + 1) + np.maximum(start, end))
    first = np.flatnonzero(np.diff(edges, prepend=-1))
    shared = np.diff(first, append=len(edges))
    vertices, components = int(np.count_nonzero(np.bincount(start))), int(face_components(mesh).max()) + 1
    euler, watertight = vertices - len(shared) + len(faces), bool((shared == 2).all())
    return dict(
        vertices=vertices,
        faces=len(faces),
        components=components,
        euler=euler,
        genus=components - euler // 2 if watertight and euler % 2 == 0 and euler <= 2 * components else None,
        non_manifold_edges=int((shared > 2).sum()),
        watertight=watertight,
    )
