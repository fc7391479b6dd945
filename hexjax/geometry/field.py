"""Stage 6, fuse: six maps to one signed distance-like field, negative inside, at points or on the nodes of a grid.

A view's value at a point blends the four pixels around its projection. A pixel with surface gives the signed distance
to its tangent plane (positive in front); one that shows a back face, through an opening, abstains with -BACKGROUND; one
without surface carves: it gives the distance of the nearest surface that any view claims there, at most +BACKGROUND.
Coverage weighs surface against background. The field is the largest of the six values. Pure and differentiable in the
maps and in the points; units of the frame.

Source: ours; the truncation of far values before blending follows volumetric fusion (Curless and Levoy 1996).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax.geometry import frame
from hexjax.types import Array, Hexplane

BACKGROUND = 0.1  # world units: the most that an empty pixel claims about the points of its ray
KNEE = 0.25  # pixels: beyond it values count little more in the blend, so that an outline lies midway between pixels
BLOCK = 8  # nodes a side of the blocks that are skipped or evaluated whole
FAINT = 0.25  # coverage up to which a pixel carves, whatever surface it claims
CHUNK = 512  # blocks evaluated at once


class Pixels(NamedTuple):
    """What each pixel says of the points before it: value = offset - slope * depth, tilted by right and up off its ray."""

    offset: Array
    slope: Array
    right: Array
    up: Array
    mask: Array


class Taps(NamedTuple):
    """The four pixels around a place in an image: offset, slope, weight and share of the surface [..., 4].

    `empty` is the background's weight; the shares sum to 1, or are all 0 where no pixel is covered by half.
    """

    offset: Array
    slope: Array
    weight: Array
    share: Array
    empty: Array


def _pixels(hexplane: Hexplane) -> Pixels:
    normal = [jnp.einsum("vhwc,vc->vhw", hexplane.normal, jnp.asarray(a), precision="highest")
              for a in (frame.RIGHT, frame.UP, frame.FORWARD)]  # fmt: skip
    front = normal[2] <= 0
    slope = jnp.where(front, -normal[2], 0)
    offset = jnp.where(front, hexplane.depth * slope, -BACKGROUND)
    mask = hexplane.mask.astype(jnp.float32)
    return Pixels(offset, slope, jnp.where(front, normal[0], 0), jnp.where(front, normal[1], 0), mask)


def _corners(column: Array, row: Array, resolution: int) -> tuple[Array, ...]:
    """The four pixels around a place: row and column index, steps right and up from the pixel, bilinear weight [..., 4]."""
    left, top = jnp.floor(column), jnp.floor(row)
    columns = jnp.stack([left, left + 1, left, left + 1], -1)
    rows = jnp.stack([top, top, top + 1, top + 1], -1)
    right, up = column[..., None] - columns, rows - row[..., None]
    weight = (1 - jnp.abs(right)) * (1 - jnp.abs(up))
    indices = (jnp.clip(a, 0, resolution - 1).astype(jnp.int32) for a in (rows, columns))
    return *indices, right, up, weight


def _taps(pixels: Pixels, column: Array, row: Array) -> Taps:
    """One view's taps at places [...] in its image (in pixels); `pixels` are that view's [h, w]."""
    resolution = pixels.mask.shape[-1]
    i, j, right, up, weight = _corners(column, row, resolution)
    offset, slope, to_right, to_up, mask = (a[i, j] for a in pixels)
    offset = offset + (right * to_right + up * to_up) * (2 / resolution)
    covered, solid = weight * mask, weight * (mask > 0.5)
    share = solid / jnp.maximum(solid.sum(-1, keepdims=True), 1e-9)
    return Taps(offset, slope, covered, share, (weight - covered).sum(-1))


def _compress(value: Array | float, knee: float) -> Array:
    return value / (1 + jnp.abs(value) / knee)


def _expand(value: Array | float, knee: float) -> Array:
    return value / (1 - jnp.abs(value) / knee)


def _claim(taps: Taps, depth: Array) -> Array:
    """How far one view's surface is from points, whatever the sign; BACKGROUND where it shows none."""
    value = (taps.share * (taps.offset - taps.slope * depth[..., None])).sum(-1)
    return jnp.where(taps.share.sum(-1) > 0, jnp.abs(value), BACKGROUND)


def _value(taps: Taps, depth: Array, nearest: Array, resolution: int) -> Array:
    """One view's value at points of given depth, over places that broadcast against it.

    Values are compressed before they are blended, so that an outline lies midway between its pixels, however far the
    surface and the background are.
    """
    knee = KNEE * 2 / resolution
    value = _compress(taps.offset - taps.slope * depth[..., None], knee)
    empty = jnp.clip(nearest, _carved(knee), BACKGROUND)
    return _expand((taps.weight * value).sum(-1) + taps.empty * _compress(empty, knee), knee)


def _carved(knee: float) -> float:
    """The least that an empty pixel claims: enough to outweigh any surface of coverage FAINT."""
    return FAINT / (1 - 2 * FAINT) * knee  # expand(knee FAINT / (1 - FAINT))


def fuse(hexplane: Hexplane, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """The field at points of the frame: exact point-to-plane distance on a pixel's ray, negative inside."""
    resolution = hexplane.depth.shape[-1]
    column, row, depth = frame.to_image(jnp.asarray(points), resolution)
    taps = jax.vmap(_taps)(_pixels(hexplane), column, row)
    nearest = jax.vmap(_claim)(taps, depth).min(0)
    return jax.vmap(lambda t, d: _value(t, d, nearest, resolution))(taps, depth).max(0)


def fuse_silhouettes(hexplane: Hexplane, points: Float[Array, "p 3"], threshold: float = 0.5) -> Float[Array, "p"]:
    """The visual hull's field: threshold minus the smallest of the six views' coverages, negative inside."""
    column, row, _ = frame.to_image(jnp.asarray(points), hexplane.mask.shape[-1])
    return threshold - jax.vmap(_coverage)(hexplane.mask, column, row).min(0)


def _coverage(mask: Array, column: Array, row: Array) -> Array:
    i, j, _, _, weight = _corners(column, row, mask.shape[-1])
    return (weight * mask[i, j]).sum(-1)


def _axes(view: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """World axes of a view's (row, column, depth), and how often each grows against the world: 0 or 1."""
    axes = (-frame.UP[view], frame.RIGHT[view], frame.FORWARD[view])
    return tuple(int(np.abs(a).argmax()) for a in axes), tuple(int(a.sum() < 0) for a in axes)


def _along(view: int, coordinates: Array, resolution: int) -> list[Array]:
    """Row, column and depth in a view of the same coordinates along its three axes."""
    signed = [(1 - 2 * flip) * coordinates[..., axis, :] for axis, flip in zip(*_axes(view))]
    return [(signed[0] + 1) * (resolution / 2) - 0.5, (signed[1] + 1) * (resolution / 2) - 0.5, 1 + signed[2]]


def _to_xyz(view: int, values: Array) -> Array:
    """Values over (row, column, depth) of a view, in the last three axes, as values over xyz."""
    order = np.argsort(_axes(view)[0])
    return jnp.transpose(values, (*range(values.ndim - 3), *(order + values.ndim - 3)))


def _block(pixels: Pixels, coordinates: Float[Array, "3 n"]) -> Float[Array, "n n n"]:
    """The field on the nodes of one block, given its coordinates along x, y and z: pixels are read once a column."""
    resolution = pixels.mask.shape[-1]
    views = []
    for view in range(len(frame.VIEWS)):
        row, column, depth = _along(view, coordinates, resolution)
        taps = _taps(Pixels(*(a[view] for a in pixels)), *(a.T for a in jnp.meshgrid(column, row, indexing="ij")))
        views.append((view, Taps(*(a[:, :, None] for a in taps)), depth[None, None]))
    nearest = functools.reduce(jnp.minimum, [_to_xyz(view, _claim(taps, depth)) for view, taps, depth in views])
    values = [
        _to_xyz(view, _value(taps, depth, jnp.transpose(nearest, _axes(view)[0]), resolution))
        for view, taps, depth in views
    ]
    return functools.reduce(jnp.maximum, values)


def _bounds(pixels: Pixels, resolution: int) -> tuple[Array, Array]:
    """Depths before which each pixel is surely positive, and beyond which it is surely negative, at points around it."""
    knee = KNEE * 2 / resolution
    empty = _compress(BACKGROUND, knee)
    tilt = (jnp.abs(pixels.right) + jnp.abs(pixels.up)) * (2 / resolution) + 1e-5
    owed = (1 - pixels.mask) / jnp.maximum(pixels.mask, 1e-6) * empty  # what the surface must outweigh
    behind = jnp.where(owed < 0.999 * knee, _expand(jnp.minimum(owed, 0.999 * knee), knee), jnp.inf) * 1.001
    sloped = pixels.slope > 1e-6
    slope = jnp.where(sloped, pixels.slope, 1)
    positive = jnp.where(sloped, (pixels.offset - tilt) / slope, -jnp.inf)
    positive = jnp.where(pixels.mask < 0.999 * FAINT, jnp.inf, positive)
    negative = jnp.where(sloped, (pixels.offset + tilt + behind) / slope, jnp.inf)
    level = (pixels.slope == 0) & (pixels.offset < 0)  # abstaining: the same at every depth
    return positive, jnp.where(level & (behind < -0.999 * pixels.offset), -jnp.inf, negative)


def _windows(low: Array, high: Array, reach: int, resolution: int) -> Array:
    """Pixel indices [k, reach] from the one before `low` to the one after `high`, the last ones repeated."""
    first, last = jnp.floor(low).astype(jnp.int32) - 1, jnp.floor(high).astype(jnp.int32) + 2
    return jnp.clip(jnp.minimum(first[:, None] + jnp.arange(reach)[None], last[:, None]), 0, resolution - 1)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _proofs(hexplane: Hexplane, blocks: int, spacing: float) -> tuple[Array, Array]:
    """Blocks of cells [k, k, k] that are surely outside throughout, and surely inside."""
    pixels, resolution = _pixels(hexplane), hexplane.depth.shape[-1]
    positive, negative = _bounds(pixels, resolution)
    start = -1 + spacing * BLOCK * jnp.arange(blocks)
    reach = int(np.ceil(spacing * BLOCK * resolution / 2)) + 5
    outside, inside = jnp.zeros((blocks,) * 3, bool), jnp.ones((blocks,) * 3, bool)
    for view in range(len(frame.VIEWS)):
        ends = [_along(view, jnp.stack([a] * 3), resolution) for a in (start, start + spacing * BLOCK)]
        low, high = [jnp.minimum(*pair) for pair in zip(*ends)], [jnp.maximum(*pair) for pair in zip(*ends)]
        rows, columns = (_windows(low[i], high[i], reach, resolution) for i in (0, 1))
        near = positive[view][rows].min(1)[:, columns].min(2)
        far = negative[view][rows].max(1)[:, columns].max(2)
        outside |= _to_xyz(view, high[2][None, None] < near[:, :, None])
        inside &= _to_xyz(view, low[2][None, None] > far[:, :, None])
    return outside, inside


@jax.jit
def _evaluate(hexplane: Hexplane, places: Array, spacing: Array) -> Array:
    steps = places[:, :, None] * BLOCK + jnp.arange(BLOCK)[None, None]
    return jax.vmap(functools.partial(_block, _pixels(hexplane)))(steps * spacing - 1)


def grid(hexplane: Hexplane, count: int, dense: bool = False) -> Float[np.ndarray, "n n n"]:
    """The field on count^3 nodes over xyz, clipped to one spacing, for polygonising: a host array.

    Blocks of nodes where the maps prove one sign are filled with it and not evaluated, unless `dense`; the surface is the
    same. Clipping keeps a far claim on one side of an edge from drawing the surface to the other.
    """
    spacing = 2 / (count - 1)
    blocks = -(-count // BLOCK)
    outside, inside = (np.array(a) for a in _proofs(hexplane, blocks, spacing))
    open_cells = ~(outside | inside)
    needed = np.ones_like(open_cells) if dense else open_cells.copy()
    for axis in range(3):  # a block's first nodes also belong to the cells of the blocks before it
        shifted = np.roll(needed, 1, axis)
        shifted[(slice(None),) * axis + (0,)] = False
        needed |= shifted
    values = np.empty((blocks,) * 3 + (BLOCK,) * 3, np.float32)
    values[:] = np.where(inside, -spacing, spacing)[..., None, None, None]
    places = np.argwhere(needed).astype(np.int32)
    for start in range(0, len(places), CHUNK):
        part = places[start : start + CHUNK]
        padded = np.concatenate([part, np.zeros((CHUNK - len(part), 3), np.int32)])
        found = np.asarray(_evaluate(hexplane, padded, np.float32(spacing)))[: len(part)]
        values[tuple(part.T)] = np.clip(found, -spacing, spacing)
    return values.transpose(0, 3, 1, 4, 2, 5).reshape((blocks * BLOCK,) * 3)[:count, :count, :count]


@functools.partial(jax.jit, static_argnums=1)
def _hull(mask: Array, count: int, threshold: Array) -> Array:
    resolution = mask.shape[-1]
    nodes = jnp.stack([frame.grid_nodes(count)] * 3)
    least = jnp.full((count,) * 3, jnp.inf)
    for view in range(len(frame.VIEWS)):
        row, column, _ = _along(view, nodes, resolution)
        covered = _coverage(mask[view], *(a.T for a in jnp.meshgrid(column, row, indexing="ij")))
        least = jnp.minimum(least, _to_xyz(view, jnp.broadcast_to(covered[:, :, None], (count,) * 3)))
    return threshold - least


def grid_silhouettes(hexplane: Hexplane, count: int, threshold: float = 0.5) -> Float[np.ndarray, "n n n"]:
    """The visual hull's field on count^3 nodes over xyz, a host array."""
    return np.asarray(_hull(jnp.asarray(hexplane.mask, jnp.float32), count, np.float32(threshold)))
