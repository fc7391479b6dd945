"""Stage 6 on a grid: the fused field of six maps on its nodes, in blocks of cells, without those whose sign is proved."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from hexjax.geometry import field, frame
from hexjax.geometry.field import Pixels, Taps
from hexjax.types import Array, Hexplane

BLOCK = 8  # cells a side of the blocks that are skipped or evaluated whole
CHUNK = 256  # blocks evaluated at once
ROUNDED = 1e-3  # pixels: places in an image may be computed so far off
VIEWS = range(len(frame.VIEWS))


@jax.jit
def _columns(table: Float[Array, "v h w 5"], places: Int[Array, "k 3"], spacing: Array) -> tuple[Taps, Array]:
    """The taps of the columns of blocks [v, n, n, k], and depths [v, n, k]: blocks last, where loops run side by side."""
    nodes = places.T[:, None] * BLOCK + jnp.arange(BLOCK + 1)[None, :, None]
    row, column, depth = frame.along(nodes * spacing - 1, table.shape[-2])
    return field.taps(table, row[:, :, None], column[:, None]), depth


def _placed(taps: Taps, view: int) -> Taps:
    """One view's taps over xyz, with 1 along its depth, blocks last."""
    place = lambda a: frame.to_xyz(view, a[:, :, None])
    four = [jax.vmap(place)(a[:, view]) for a in taps[:3]]
    return Taps(*four, *jax.tree.map(lambda a: place(a[view]), tuple(taps[3:])))


@functools.partial(jax.jit, static_argnums=3)
def _nodes(taps: Taps, depth: Array, spacing: Array, resolution: int) -> Float[Array, "n n n k"]:
    """The field on the nodes of blocks, clipped. Compiled apart from `_columns`, lest pixels are read again at each node."""
    views = [(_placed(taps, view), frame.to_xyz(view, depth[view][None, None])) for view in VIEWS]
    return jnp.clip(field.fused(views, resolution), -spacing, spacing)


class Bounds(NamedTuple):
    """Of each pixel, or the largest of many: what proves a sign at points around it."""

    before: Array  # minus the depth before which it is surely positive
    ahead: Array  # minus that before which it is so by more than blending takes off
    behind: Array  # the depth beyond which it is surely negative
    passed: Array  # the depth beyond which its surface is surely more than a pixel away
    facing: Array  # the cosine of its surface's normal to the ray
    up: Array  # the normal along the image's axes, and minus that
    down: Array
    right: Array
    left: Array


@functools.partial(jax.jit, static_argnums=1)
def _bounds(pixels: Pixels, resolution: int) -> Bounds:
    offset, slope, right, up, mask = pixels
    knee, blended = field.KNEE * 2 / resolution, (field.LOWERED + field.TIE) * 2 / resolution
    empty = field.compress(field.BACKGROUND, knee)
    tilt = (jnp.abs(right) + jnp.abs(up)) * (2 / resolution) + 1e-5
    owed = (1 - mask) / jnp.maximum(mask, 1e-6) * empty  # what the surface must outweigh
    behind = jnp.where(owed < 0.999 * knee, field.expand(jnp.minimum(owed, 0.999 * knee), knee), jnp.inf) * 1.001
    sloped = slope > 1e-6
    over = jnp.where(sloped, slope, 1)
    positive = [jnp.where(sloped, (offset - tilt - margin) / over, -jnp.inf) for margin in (0, blended)]
    positive = [jnp.where(mask < 0.999 * field.FAINT, jnp.inf, depth) for depth in positive]
    negative = jnp.where(sloped, (offset + tilt + behind) / over, jnp.inf)
    level = (slope == 0) & (offset < 0)  # abstaining: the same at every depth
    negative = jnp.where(level & (behind < -0.999 * offset), -jnp.inf, negative)
    passed = jnp.where(sloped & (mask > 0.5), (offset + tilt + 2 / resolution) / over, -jnp.inf)
    up, right = up * mask, right * mask
    return Bounds(-positive[0], -positive[1], negative, passed, slope * (mask > 0.5), up, -up, right, -right)


@jax.jit
def _most(maps: Array, rows: Array, columns: Array) -> Array:
    """The largest value in windows of maps. Compiled alone: together with others it takes five times as long on CPUs."""
    return jax.vmap(lambda a, i, j: a[i].max(1)[:, j].max(2))(maps, rows, columns)


def _windows(low: Array, high: Array, reach: int, resolution: int) -> Array:
    """Pixel indices [v, k, reach] of all that are read from `low` to `high`, the last ones repeated."""
    first, last = jnp.floor(low - ROUNDED).astype(jnp.int32), jnp.floor(high + ROUNDED).astype(jnp.int32) + 1
    indices = jnp.minimum(first[..., None] + jnp.arange(reach)[None, None], last[..., None])
    return jnp.clip(indices, 0, resolution - 1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _places(blocks: int, spacing: float, resolution: int) -> tuple[Array, ...]:
    """Of blocks along every view's axes: the rows and columns of the pixels that are read, the least and largest depth."""
    start = jnp.stack([-1 + spacing * BLOCK * jnp.arange(blocks)] * 3)
    ends = list(zip(frame.along(start, resolution), frame.along(start + spacing * BLOCK, resolution)))
    low, high = [jnp.minimum(*pair) for pair in ends], [jnp.maximum(*pair) for pair in ends]
    reach = int(np.ceil(spacing * BLOCK * resolution / 2)) + 3
    return *(_windows(low[i], high[i], reach, resolution) for i in (0, 1)), low[2], high[2]


def _proofs(pixels: Pixels, blocks: int, spacing: float) -> tuple[Array, Array]:
    """Blocks of cells [k, k, k] that are surely outside throughout, and surely inside."""
    resolution = pixels.mask.shape[-1]
    rows, columns, low, high = _places(blocks, spacing, resolution)
    return _proved(Bounds(*(_most(maps, rows, columns) for maps in _bounds(pixels, resolution))), low, high)


@jax.jit
def _proved(most: Bounds, low: Array, high: Array) -> tuple[Array, Array]:
    """The blocks that are outside, and inside, by the largest bounds of their windows and their depths.

    Outside is where the pair of views along an axis proves it and no other view can outweigh that (`field.fused`): none that
    has a surface which may be within a pixel of the block, or none that faces one along that axis, with room for blending.
    """
    place = lambda maps: [frame.to_xyz(v, maps[v][:, :, None]) for v in VIEWS]
    first, last = ([frame.to_xyz(v, ends[v][None, None]) for v in VIEWS] for ends in (low, high))
    before, ahead = ([a < -b for a, b in zip(last, place(bound))] for bound in (most.before, most.ahead))
    inside = [a > b for a, b in zip(first, place(most.behind))]
    close = [~a & (b <= c) for a, b, c in zip(ahead, first, place(most.passed))]
    alone, paired = (place(most.facing > least) for least in (field.FACING, field.PAIR))
    leaning = [place(jnp.maximum(-a, -b) > field.GRAZE) for a, b in ((most.up, most.down), (most.right, most.left))]
    outside = []
    for one, other, _ in frame.OPPOSITE:
        sure, none = ahead[one] | ahead[other], before[one] | before[other]
        for pair in frame.OPPOSITE:
            for v, back in (pair[:2], pair[1::-1]) if pair[0] != one else ():
                lies = frame.axes(v)[0].index(frame.axes(one)[0][2])  # along the view's rows or columns
                sure &= ~(close[v] & (alone[v] | paired[v] & close[back]) & ~leaning[lies][v])
                none &= ~close[v]
        outside.append(sure | none)
    return functools.reduce(jnp.logical_or, outside), functools.reduce(jnp.logical_and, inside)


def grid(hexplane: Hexplane, count: int, dense: bool = False) -> Float[np.ndarray, "n n n"]:
    """The field on count^3 nodes over xyz, clipped to one spacing, for polygonising: a host array.

    Blocks of cells where the maps prove one sign are filled with it and not evaluated, unless `dense`; the surface is the
    same. Clipping keeps a far claim on one side of an edge from drawing the surface to the other.
    """
    spacing = 2 / (count - 1)
    blocks = -(-(count - 1) // BLOCK)
    pixels = field.pixels(hexplane)
    outside, inside = (np.asarray(a) & (not dense) for a in _proofs(pixels, blocks, spacing))
    table = field.table(pixels)
    values = np.full((blocks * BLOCK + 1,) * 3, spacing, np.float32)
    _blocks(values, BLOCK)[inside] = -spacing
    places = np.argwhere(~(outside | inside)).astype(np.int32)
    for start in range(0, len(places), CHUNK):
        part = places[start : start + CHUNK]
        padded = np.concatenate([part, np.zeros((CHUNK - len(part), 3), np.int32)])
        found = _nodes(*_columns(table, padded, np.float32(spacing)), np.float32(spacing), hexplane.depth.shape[-1])
        _blocks(values, BLOCK + 1)[tuple(part.T)] = np.moveaxis(np.asarray(found), 3, 0)[: len(part)]
    return values[:count, :count, :count]


def _blocks(values: np.ndarray, side: int) -> np.ndarray:
    """The blocks of an array over xyz, [k, k, k, side, side, side], as a view; they share their ends if `side` is larger."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (side,) * 3, writeable=True)
    return windows[::BLOCK, ::BLOCK, ::BLOCK]
