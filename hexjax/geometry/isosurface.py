"""Stage 7, polygonise: a signed field on the cube's nodes to a watertight mesh with outward winding (host code).

Nodes lie at -1 + 2 i / (n - 1) over xyz; negative is inside; the outermost layer counts as outside, so that a
shape which reaches it is closed there.
"""

import numpy as np
from jaxtyping import Float
from skimage import measure

from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh, Scores

NEAREST = 1e-3  # of the spacing: no vertex lies nearer to a node, where vertices of several edges would coincide


def polygonise(values: Float[np.ndarray, "n n n"], min_part_share: float = 0.01) -> tuple[Mesh, Scores]:
    """The zero level as a mesh in the frame, and what came out: its topology and the number of dropped parts.

    Args:
        min_part_share: parts with a smaller share of the whole area are dropped (`extract.min_part_share`).

    Raises:
        ValueError: if a value is not finite. An empty field is a result: a mesh of 0 vertices.

    Source: Lewiner et al. 2003, as in scikit-image.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"the field is not finite at {int((~np.isfinite(values)).sum())} of {values.size} nodes")
    count = values.shape[0]
    spacing = 2 / (count - 1)
    least = NEAREST * min(spacing, float(np.abs(values).max()))
    closed = np.where(np.abs(values) < least, np.where(values < 0, -least, least), values)
    for axis in range(3):
        border = (slice(None),) * axis + ([0, -1],)
        closed[border] = np.maximum(closed[border], least)
    if not (closed < 0).any():
        empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
        return empty, dict(meshes.topology(empty), dropped_parts=0)
    vertices, faces, _, _ = measure.marching_cubes(closed, 0.0, spacing=(spacing,) * 3)
    mesh, dropped = drop_small_parts(Mesh((vertices - 1).astype(np.float32), faces.astype(np.int32)), min_part_share)
    return mesh, dict(meshes.topology(mesh), dropped_parts=dropped)


def drop_small_parts(mesh: Mesh, min_share: float) -> tuple[Mesh, int]:
    """The mesh without the parts that have less than `min_share` of its area, and how many those were."""
    part = meshes.face_components(mesh)
    area = np.bincount(part, meshes.face_areas(mesh))
    kept = area >= min_share * area.sum()
    kept[area.argmax()] = True
    faces = np.asarray(mesh.faces)[kept[part]]
    used, faces = np.unique(faces, return_inverse=True)
    vertices = np.asarray(mesh.vertices)[used]
    return mesh._replace(vertices=vertices, faces=faces.reshape(-1, 3).astype(np.int32)), int((~kept).sum())
