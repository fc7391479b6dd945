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
from jaxtyping import Float, Int

from hexjax.geometry import frame
from hexjax.types import Array, Hexplane

BACKGROUND = 0.1  # world units: the most that an empty pixel claims about the points of its ray
KNEE = 0.25  # pixels: beyond it values count little more in the blend, so that an outline lies midway between pixels
BLOCK = 8  # cells a side of the blocks that are skipped or evaluated whole
FAINT = 0.25  # coverage up to which a pixel carves, whatever surface it claims
CHUNK = 256  # blocks evaluated at once


class Pixels(NamedTuple):
    """What each pixel says of the points before it: value = offset - slope * depth, tilted by right and up off its ray."""

    offset: Array
    slope: Array
    right: Array
    up: Array
    mask: Array


class Taps(NamedTuple):
    """What a view says around a place: offset, slope and weight of the four pixels, and the background's weight.

    `claimed` holds offset and slope of the surface alone, of the pixels covered by more than half; where there is none,
    those of a plane that is BACKGROUND away at every depth.
    """

    offset: Array
    slope: Array
    weight: Array
    empty: Array
    claimed: tuple[Array, Array]


@jax.jit
def _pixels(hexplane: Hexplane) -> Pixels:
    right, up, forward = (_component(hexplane.normal, axes) for axes in (frame.RIGHT, frame.UP, frame.FORWARD))
    front = forward <= 0
    slope = jnp.where(front, -forward, 0)
    offset = jnp.where(front, hexplane.depth * slope, -BACKGROUND)
    mask = hexplane.mask.astype(jnp.float32)
    return Pixels(offset, slope, jnp.where(front, right, 0), jnp.where(front, up, 0), mask)


def _component(normal: Float[Array, "v h w 3"], axes: Float[np.ndarray, "v 3"]) -> Float[Array, "v h w"]:
    """Of each view's normals, the component along the view's own unit vector."""
    return sum(normal[..., i] * axes[:, i, None, None] for i in range(3))


def _corners(row: Array, column: Array, resolution: int) -> tuple[Array, ...]:
    """The four pixels around places [v, ...]: index in the six maps laid end to end, steps right and up, weight [4, v, ...].

    Row and column broadcast against each other.
    """
    shape = (4,) + (1,) * row.ndim
    rows = jnp.floor(row)[None] + np.array([0, 0, 1, 1], np.float32).reshape(shape)
    columns = jnp.floor(column)[None] + np.array([0, 1, 0, 1], np.float32).reshape(shape)
    right, up = column[None] - columns, rows - row[None]
    rows, columns = (jnp.clip(a, 0, resolution - 1).astype(jnp.int32) for a in (rows, columns))
    view = np.arange(len(frame.VIEWS), dtype=np.int32).reshape((1, -1) + (1,) * (row.ndim - 1))
    weight = (1 - jnp.abs(right)) * (1 - jnp.abs(up))
    return (view * resolution + rows) * resolution + columns, right, up, weight


def _read(maps: Array, index: Array) -> Array:
    return maps.reshape(-1).at[index].get(mode="promise_in_bounds")


def _sum(four: Array) -> Array:
    """The sum over the leading axis of four: additions of whole arrays, which a reduction is not on every device."""
    return four[0] + four[1] + four[2] + four[3]


def _greatest(views: Float[Array, "v *p"]) -> Float[Array, "*p"]:
    """The maximum over views, whose gradient goes to one of them.

    That of a reduction divides by how many equal the maximum: none, where a compiler computes them twice and rounds
    otherwise, and then it is not a number.
    """
    return functools.reduce(lambda best, view: jnp.where(view > best, view, best), list(views))


def _taps(pixels: Pixels, row: Array, column: Array) -> Taps:
    """The six views' taps at places [v, ...] in their images, in pixels: each field [4, v, ...] or [v, ...]."""
    resolution = pixels.mask.shape[-1]
    index, right, up, weight = _corners(row, column, resolution)
    offset, slope, to_right, to_up, mask = (_read(a, index) for a in pixels)
    offset = offset + (right * to_right + up * to_up) * (2 / resolution)
    covered, solid = weight * mask, weight * (mask > 0.5)
    total = _sum(solid)
    share = solid / jnp.maximum(total, 1e-9)[None]
    claimed = jnp.where(total > 0, _sum(share * offset), BACKGROUND), _sum(share * slope)
    return Taps(offset, slope, covered, _sum(weight - covered), claimed)


def _compress(value: Array | float, knee: float) -> Array:
    return value / (1 + jnp.abs(value) / knee)


def _expand(value: Array | float, knee: float) -> Array:
    return value / (1 - jnp.abs(value) / knee)


def _claim(taps: Taps, depth: Array) -> Array:
    """How far one view's surface is from points, whatever the sign; BACKGROUND where it shows none."""
    return jnp.abs(taps.claimed[0] - taps.claimed[1] * depth)


def _value(taps: Taps, depth: Array, nearest: Array, resolution: int) -> Array:
    """One view's value at points of given depth, over places that broadcast against it.

    Values are compressed before they are blended, so that an outline lies midway between its pixels, however far the
    surface and the background are.
    """
    knee = KNEE * 2 / resolution
    value = _compress(taps.offset - taps.slope * depth[None], knee)
    empty = jnp.clip(nearest, _carved(knee), BACKGROUND)
    return _expand(_sum(taps.weight * value) + taps.empty * _compress(empty, knee), knee)


def _carved(knee: float) -> float:
    """The least that an empty pixel claims: enough to outweigh any surface of coverage FAINT."""
    return FAINT / (1 - 2 * FAINT) * knee  # expand(knee FAINT / (1 - FAINT))


def fuse(hexplane: Hexplane, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """The field at points of the frame: exact point-to-plane distance on a pixel's ray, negative inside."""
    resolution = hexplane.depth.shape[-1]
    column, row, depth = frame.to_image(jnp.asarray(points), resolution)
    taps = _taps(_pixels(hexplane), row, column)
    nearest = -_greatest(-_claim(taps, depth))
    return _greatest(_value(taps, depth, nearest[None], resolution))


def fuse_silhouettes(hexplane: Hexplane, points: Float[Array, "p 3"], threshold: float = 0.5) -> Float[Array, "p"]:
    """The visual hull's field: threshold minus the smallest of the six views' coverages, negative inside."""
    column, row, _ = frame.to_image(jnp.asarray(points), hexplane.mask.shape[-1])
    return threshold + _greatest(-_coverage(hexplane.mask, row, column))


def _coverage(mask: Array, row: Array, column: Array) -> Array:
    index, _, _, weight = _corners(row, column, mask.shape[-1])
    return _sum(weight * _read(mask, index))


def _axes(view: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """World axes of a view's (row, column, depth), and how often each grows against the world: 0 or 1."""
    axes = (-frame.UP[view], frame.RIGHT[view], frame.FORWARD[view])
    return tuple(int(np.abs(a).argmax()) for a in axes), tuple(int(a.sum() < 0) for a in axes)


def _along(coordinates: Float[Array, "3 n *k"], resolution: int) -> tuple[Array, ...]:
    """Row, column and depth [v, n, ...] in the six views of coordinates along x, y and z."""
    signed = [[(1 - 2 * flip) * coordinates[axis] for axis, flip in zip(*_axes(view))] for view in range(6)]
    row, column, depth = (jnp.stack(a) for a in zip(*signed))
    return (row + 1) * (resolution / 2) - 0.5, (column + 1) * (resolution / 2) - 0.5, 1 + depth


def _to_xyz(view: int, values: Array) -> Array:
    """Values over (row, column, depth) of a view, in the first three axes, as values over xyz."""
    return jnp.moveaxis(values, (0, 1, 2), _axes(view)[0])


@jax.jit
def _columns(pixels: Pixels, places: Int[Array, "k 3"], spacing: Array) -> tuple[Taps, Array]:
    """The taps of the columns of blocks [v, n, n, k], and depths [v, n, k]: blocks last, where loops run side by side."""
    nodes = places.T[:, None] * BLOCK + jnp.arange(BLOCK + 1)[None, :, None]
    row, column, depth = _along(nodes * spacing - 1, pixels.mask.shape[-1])
    return _taps(pixels, row[:, :, None], column[:, None]), depth


def _placed(taps: Taps, view: int) -> Taps:
    """One view's taps over xyz, with 1 along its depth, blocks last."""
    place = lambda a: _to_xyz(view, a[:, :, None])
    four = [jax.vmap(place)(a[:, view]) for a in (taps.offset, taps.slope, taps.weight)]
    return Taps(*four, place(taps.empty[view]), tuple(place(a[view]) for a in taps.claimed))


@functools.partial(jax.jit, static_argnums=3)
def _nodes(taps: Taps, depth: Array, spacing: Array, resolution: int) -> Float[Array, "n n n k"]:
    """The field on the nodes of blocks, clipped. Compiled apart from `_columns`, lest pixels are read again at each node."""
    views = range(len(frame.VIEWS))
    placed = [(_placed(taps, view), _to_xyz(view, depth[view][None, None])) for view in views]
    nearest = functools.reduce(jnp.minimum, [_claim(*pair) for pair in placed])
    values = [_value(*pair, nearest, resolution) for pair in placed]
    return jnp.clip(functools.reduce(jnp.maximum, values), -spacing, spacing)


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
    """Pixel indices [v, k, reach] from the one before `low` to the one after `high`, the last ones repeated."""
    first, last = jnp.floor(low).astype(jnp.int32) - 1, jnp.floor(high).astype(jnp.int32) + 2
    indices = jnp.minimum(first[..., None] + jnp.arange(reach)[None, None], last[..., None])
    return jnp.clip(indices, 0, resolution - 1)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _proofs(pixels: Pixels, blocks: int, spacing: float) -> tuple[Array, Array]:
    """Blocks of cells [k, k, k] that are surely outside throughout, and surely inside."""
    resolution = pixels.mask.shape[-1]
    start = jnp.stack([-1 + spacing * BLOCK * jnp.arange(blocks)] * 3)
    ends = list(zip(_along(start, resolution), _along(start + spacing * BLOCK, resolution)))
    low, high = [jnp.minimum(*pair) for pair in ends], [jnp.maximum(*pair) for pair in ends]
    reach = int(np.ceil(spacing * BLOCK * resolution / 2)) + 5
    rows, columns = (_windows(low[i], high[i], reach, resolution) for i in (0, 1))
    positive, negative = _bounds(pixels, resolution)
    near = jax.vmap(lambda a, i, j: a[i].min(1)[:, j].min(2))(positive, rows, columns)
    far = jax.vmap(lambda a, i, j: a[i].max(1)[:, j].max(2))(negative, rows, columns)
    outside = [_to_xyz(v, high[2][v][None, None] < near[v][:, :, None]) for v in range(len(frame.VIEWS))]
    inside = [_to_xyz(v, low[2][v][None, None] > far[v][:, :, None]) for v in range(len(frame.VIEWS))]
    return functools.reduce(jnp.logical_or, outside), functools.reduce(jnp.logical_and, inside)


def grid(hexplane: Hexplane, count: int, dense: bool = False) -> Float[np.ndarray, "n n n"]:
    """The field on count^3 nodes over xyz, clipped to one spacing, for polygonising: a host array.

    Blocks of cells where the maps prove one sign are filled with it and not evaluated, unless `dense`; the surface is the
    same. Clipping keeps a far claim on one side of an edge from drawing the surface to the other.
    """
    spacing = 2 / (count - 1)
    blocks = -(-(count - 1) // BLOCK)
    pixels = _pixels(hexplane)
    outside, inside = (np.asarray(a) & (not dense) for a in _proofs(pixels, blocks, spacing))
    values = np.full((blocks * BLOCK + 1,) * 3, spacing, np.float32)
    _blocks(values, BLOCK)[inside] = -spacing
    places = np.argwhere(~(outside | inside)).astype(np.int32)
    for start in range(0, len(places), CHUNK):
        part = places[start : start + CHUNK]
        padded = np.concatenate([part, np.zeros((CHUNK - len(part), 3), np.int32)])
        found = _nodes(*_columns(pixels, padded, np.float32(spacing)), np.float32(spacing), hexplane.depth.shape[-1])
        _blocks(values, BLOCK + 1)[tuple(part.T)] = np.moveaxis(np.asarray(found), 3, 0)[: len(part)]
    return values[:count, :count, :count]


def _blocks(values: np.ndarray, side: int) -> np.ndarray:
    """The blocks of an array over xyz, [k, k, k, side, side, side], as a view; they share their ends if `side` is larger."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (side,) * 3, writeable=True)
    return windows[::BLOCK, ::BLOCK, ::BLOCK]


@functools.partial(jax.jit, static_argnums=1)
def _covered(mask: Array, count: int) -> Float[Array, "v n n"]:
    row, column, _ = _along(jnp.stack([frame.grid_nodes(count)] * 3), mask.shape[-1])
    return _coverage(mask, row[:, :, None], column[:, None])


@jax.jit
def _hull(covered: Float[Array, "v n n"], threshold: Array) -> Float[Array, "n n n"]:
    columns = [_to_xyz(view, covered[view][:, :, None]) for view in range(len(frame.VIEWS))]
    return threshold - functools.reduce(jnp.minimum, columns)


def grid_silhouettes(hexplane: Hexplane, count: int, threshold: float = 0.5) -> Float[np.ndarray, "n n n"]:
    """The visual hull's field on count^3 nodes over xyz, a host array."""
    return np.asarray(_hull(_covered(jnp.asarray(hexplane.mask, jnp.float32), count), np.float32(threshold)))
