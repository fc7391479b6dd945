"""Stage 7, polygonise: a signed field on the cube's nodes to a watertight mesh with outward winding (host code).

Nodes lie at -1 + 2 i / (n - 1) over xyz; negative is inside; the outermost layer counts as outside, so that a
shape which reaches it is closed there.
"""

import numpy as np
from jaxtyping import Bool, Float
from skimage import measure

from hexjax.geometry import mesh as meshes
from hexjax.geometry import thin
from hexjax.types import Mesh, Scores

NEAREST = 1e-3  # of the spacing: no vertex lies nearer to a node, where vertices of several edges would coincide


def polygonise(
    values: Float[np.ndarray, "n n n"], min_part_share: float = 0.01, ask: thin.Ask | None = None
) -> tuple[Mesh, Scores]:
    """The zero level as a mesh in the frame, and what came out: its topology and the number of dropped parts.

    `told` is a line that the user must read, as where a thin shape has no surface, or None.

    Args:
        min_part_share: parts with a smaller share of the whole area are dropped (`extract.min_part_share`).
        ask: the field at points; where given, parts that lie between the nodes are found and meshed too (`thin`).

    Raises:
        ValueError: if a value is not finite. An empty field is a result: a mesh of 0 vertices.

    Source: Lewiner et al. 2003, as in scikit-image.
    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"the field is not finite at {int((~np.isfinite(values)).sum())} of {values.size} nodes")
    spacing = 2 / (len(values) - 1)
    moved = thin.move(values, ask) if ask is not None else thin.NONE
    if len(moved.nodes):
        values = values.copy()
        values.ravel()[moved.nodes] = -spacing
    box = _box(values[1:-1, 1:-1, 1:-1] < 0)
    if box is None:
        empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
        vanish = f"parts thinner than its spacing, {2 / (values.shape[0] - 1):.2g}, vanish"
        told = f"no surface on a grid of {values.shape[0]} nodes a side: {vanish}"
        return empty, dict(meshes.topology(empty), dropped_parts=0, told=told)
    closed = _closed(values[box], NEAREST * min(spacing, max(-low, high)))
    vertices, faces, _, _ = measure.marching_cubes(closed, 0.0, mask=crossed(closed < 0))
    first = np.array([side.start for side in box])
    vertices = vertices.astype(np.float64) + first
    placed = thin.settle(vertices, values < 0, moved, ask) if len(moved.nodes) else vertices * spacing - 1
    mesh, dropped, share = drop_small_parts(Mesh(placed.astype(np.float32), faces.astype(np.int32)), min_part_share)
    each = f"each below {min_part_share:g} of the area (min_part_share), {share:.2g} of it together"
    told = f"parts dropped: {dropped}, {each}" if dropped else None
    return mesh, dict(meshes.topology(mesh), dropped_parts=dropped, told=told)


def _box(inside: Bool[np.ndarray, "x y z"]) -> tuple[slice, ...] | None:
    """The nodes from one before to one after those inside, if there are any; `inside` lacks the outermost layer."""
    plane = inside.any(2)
    lines = plane.any(1), plane.any(0), inside.any((0, 1))
    if not plane.any():
        return None
    ends = [np.flatnonzero(line)[[0, -1]] for line in lines]
    return tuple(slice(int(first), int(last) + 3) for first, last in ends)


def _closed(values: Float[np.ndarray, "x y z"], least: float) -> Float[np.ndarray, "x y z"]:
    """A copy without values nearer to 0 than `least`, and with an outermost layer that is outside."""
    closed = values.astype(np.float32)
    near = (closed < least) & (closed > -least)
    closed[near] = np.where(closed[near] < 0, -least, least)
    for axis in range(3):
        border = (slice(None),) * axis + ([0, -1],)
        closed[border] = np.maximum(closed[border], least)
    return closed


def crossed(inside: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Whether the cell before each node, along every axis, has nodes on both sides: marching cubes skips the others."""
    some, every = inside, inside
    for axis in range(3):
        before, after = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        some, every = some[before] | some[after], every[before] & every[after]
    return np.pad(some > every, [(1, 0)] * 3)


def drop_small_parts(mesh: Mesh, min_share: float) -> tuple[Mesh, int, float]:
    """The mesh without the parts that have less than `min_share` of its area, how many those were, and their share."""
    part = meshes.face_components(mesh)
    if part.max() == 0:
        return mesh, 0, 0.0
    area = np.bincount(part, meshes.face_areas(mesh))
    kept = area >= min_share * area.sum()
    kept[area.argmax()] = True
    if kept.all():
        return mesh, 0, 0.0
    faces = np.asarray(mesh.faces)[kept[part]]
    used = np.zeros(len(mesh.vertices), bool)
    used[faces] = True
    faces = (np.cumsum(used, dtype=np.int32) - 1)[faces]
    mesh = mesh._replace(vertices=np.asarray(mesh.vertices)[used], faces=faces)
    return mesh, int((~kept).sum()), float(area[~kept].sum() / area.sum())
