"""A closed mesh of an open one: what it holds by its winding number, with outlets closed where that is 1/2.

Behind `data.close`. Meshes are in the frame. The grid has 256 cells a side; most of its nodes take the value of a coarser
grid, as the winding number is harmonic off the surface: asked are those near the surface and near the level. What comes out
has some 300 000 faces of a head, nearly all of them on smooth ground: edges are collapsed until FACES are left.
"""

from typing import NamedTuple

import igl
import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int

from hexjax.geometry import isosurface, sdf, surface
from hexjax.types import Mesh

CELLS = 256  # a side
COARSER = 4  # times: the grid all of whose nodes are asked
SLOPE = 4.0  # a node this many cells from the surface counts no more than a winding number 1 away from 1/2
SURE = 0.02  # how far above 1/2 a winding number must be somewhere: twice its error
HELD = 0.5  # the least share of the surface that the closed one must hold
NEAR = 2.0  # cells: what lies no farther from the closed surface is part of it
FACES = (
    20_000  # at most; of a head, they lie 6e-5 off the 300 000 in the mean, 1e-3 at most (world units; a cell: 8e-3)
)
CRUMB = 1e-4  # of the area: parts with less, as they fall off at ragged rims, are dropped
SAMPLES = 20_000  # a side, of the errors


class Closed(NamedTuple):
    """A closed mesh in the frame, outward, and how far it and the mesh that it was made of lie apart (world units).

    `error` and `largest_error` are of the open mesh's samples to the closed one, `added` and `largest_added` the way back:
    they tell of the outlets too, which lie far from any surface. `held` is the share of the open mesh's samples that
    are inside the closed one or within two cells of it: the rest encloses nothing, or is thinner than a cell. Of parts
    that lie inside others nothing is left, so that they count as held, and as far off in `error`.
    """

    mesh: Mesh
    error: float
    largest_error: float
    added: float
    largest_added: float
    held: float
    dropped_parts: int


def close(mesh: Mesh, cells: int = CELLS) -> Closed:
    """The closed 2-manifold that a mesh in the frame encloses: all that its faces wind around, as one solid.

    What its parts enclose together is united, and a hollow whose own faces look outward is filled.

    Args:
        cells: of the grid, a side; a multiple of 8.

    Raises:
        ValueError: with the reason, for a mesh that has no inside or only a small part of which has one.

    Source: Jacobson et al. 2013 (winding number 1/2); distances near the surface are ours, for places within a cell.
    Garland and Heckbert 1997 (quadric errors, by which edges are collapsed).
    """
    values = _level(mesh, cells)
    if values is None:
        raise ValueError(f"has no inside to close: at no node, {2 / cells:.2g} apart, is its winding number above 1/2")
    closed, report = isosurface.polygonise(values, CRUMB)
    closed = _simplified(closed, FACES)
    random = np.random.default_rng(0)
    samples = surface.sample(mesh, SAMPLES, random)[0]
    there = surface.closest(closed, samples)[0]
    back = surface.closest(mesh, surface.sample(closed, SAMPLES, random)[0])[0]
    held = float(((there <= NEAR * 2 / cells) | (sdf.winding_number(closed, samples) > 0.5)).mean())
    if held < HELD:
        raise ValueError(
            f"has no inside to close: what it encloses holds {held:.0%} of its surface; accepted: at least {HELD:.0%}"
        )
    errors = (float(x) for x in (there.mean(), there.max(), back.mean(), back.max()))
    return Closed(closed, *errors, held, report["dropped_parts"])


def _level(mesh: Mesh, cells: int) -> Float[np.ndarray, "n n n"] | None:
    """A field that is 0 where the winding number passes 1/2, negative inside; None where there is no inside.

    Its size, where that matters, is the distance to the surface in cells, or SLOPE times how far the winding number is from
    1/2 where that is less: both are continuous, and one of them is smooth across the level wherever it lies.
    """
    side = cells // COARSER
    nodes = _nodes(np.ones((side,) * 3, bool), 1)
    winding = sdf.winding_number(mesh, nodes * (2 / side) - 1).astype(np.float32).reshape((side + 1,) * 3)
    while side < cells:
        asked = _nodes(
            scipy.ndimage.binary_dilation(isosurface.crossed(winding > 0.5)[1:, 1:, 1:]) | _touched(mesh, side), 2
        )
        asked = asked[(asked % 2).any(1)]  # the others are known
        side *= 2
        winding = winding.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:-1, :-1, :-1]
        winding[tuple(asked.T)] = sdf.winding_number(mesh, asked * (2 / side) - 1)
    if winding.max() < 0.5 + SURE:
        return None
    sides = (scipy.ndimage.binary_dilation(each) for each in (winding > 0.5, winding <= 0.5))
    ends = np.argwhere(np.logical_and(*sides))  # nodes with a neighbour along an axis on the other side
    values = SLOPE * (0.5 - winding)
    distance = surface.closest(mesh, ends * (2 / cells) - 1)[0] * (cells / 2)
    there = values[tuple(ends.T)]
    values[tuple(ends.T)] = np.copysign(np.minimum(np.abs(there), distance), there)
    return values


def _simplified(mesh: Mesh, faces: int) -> Mesh:
    """The mesh with at most so many faces, of the same parts and holes; itself where it has no more."""
    if len(mesh.faces) <= faces:
        return mesh
    vertices, corners, *_ = igl.qslim(mesh.vertices.astype(np.float64), mesh.faces.astype(np.int64), faces)
    return Mesh(vertices.astype(np.float32), corners.astype(np.int32))


def _touched(mesh: Mesh, side: int) -> Bool[np.ndarray, "s s s"]:
    """Blocks of the cube, so many a side, that the surface comes through, or nearly."""
    found = np.zeros((side,) * 3, bool)
    found[tuple(sdf.active_cells(mesh, side).T)] = True
    return found


def _nodes(blocks: Bool[np.ndarray, "s s s"], cells: int) -> Int[np.ndarray, "p 3"]:
    """The nodes of blocks that are so many cells a side."""
    corners = cells * np.argwhere(blocks)[:, None] + np.argwhere(np.ones((cells + 1,) * 3, bool))
    there = np.zeros((cells * len(blocks) + 1,) * 3, bool)
    there[tuple(corners.reshape(-1, 3).T)] = True
    return np.argwhere(there)
