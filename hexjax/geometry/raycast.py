"""Stage 3a, visibility: which triangle every pixel of the six views sees, by exact parallel ray casting in jax.numpy.

The rays of a view are parallel to an axis, so a triangle can only meet the pixels of its projected box, and opposite
views look along the same lines: one pass an axis keeps the nearest and the farthest hit. Boxes are sorted by size into
dense windows of 1, 2, 4, 8 and 16 pixels a side; larger ones are cut into tiles of 16, of which only those that the
triangle touches are kept. A `Plan`, made on the host, holds the capacity of each of these bins and is static.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax.geometry import frame
from hexjax.types import Array, Mesh

SIDES = (1, 2, 4, 8, 16)  # pixels a side of the windows
TILE = SIDES[-1]
CHUNK = 2**19  # fragments evaluated at once: bounds the memory for any mesh
AXIS_VIEWS = tuple(pair[0] for pair in frame.OPPOSITE)  # one view an axis; its opposite is the mirrored far side
NONE = np.int32(np.iinfo(np.int32).max)
ROUNDING = 2.0**-22  # four units in the last place: what an edge function of coordinates below its box may err


class Plan(NamedTuple):
    """Capacities: of the windows of each side, of (large triangle, tile) pairs, and of the tiles that are touched."""

    resolution: int
    windows: tuple[int, ...]
    large: int
    pairs: int
    tiles: int


class Setup(NamedTuple):
    """Triangles in image coordinates, one row for each axis and face: corners [m,3] in pixels, box of pixel centres."""

    column: Array
    row: Array
    height: Array
    low: Array  # [m, 2] first column and row inside the box
    size: Array  # [m, 2] columns and rows inside the box; 0 for triangles that can hit nothing


def _edges(column: Array, row: Array) -> tuple[Array, ...]:
    """Start and direction of the three edges [..., 3], and the sign that makes their functions positive inside.

    Each edge runs from its smaller to its larger end, so that two triangles compute the same number on a shared edge.
    """
    first, second = (1, 2, 0), (2, 0, 1)
    x0, x1, y0, y1 = (a[..., list(i)] for a in (column, row) for i in (first, second))
    swapped = (x0 > x1) | ((x0 == x1) & (y0 > y1))
    start = jnp.where(swapped, x1, x0), jnp.where(swapped, y1, y0)
    direction = jnp.where(swapped, x0 - x1, x1 - x0), jnp.where(swapped, y0 - y1, y1 - y0)
    return *start, *direction, jnp.where(swapped, -1.0, 1.0)


def _area(column: Array, row: Array) -> tuple[Array, Array]:
    """Twice the signed area of projected triangles, and the rounding error that it may carry."""
    ax, ay = column[..., 1] - column[..., 0], row[..., 1] - row[..., 0]
    bx, by = column[..., 2] - column[..., 0], row[..., 2] - row[..., 0]
    return ax * by - ay * bx, ROUNDING * (jnp.abs(ax * by) + jnp.abs(ay * bx))


def _setup(vertices: Float[Array, "n 3"], faces: Int[Array, "f 3"], resolution: int) -> Setup:
    images = [a[np.array(AXIS_VIEWS)] for a in frame.to_image(jnp.asarray(vertices), resolution)]
    column, row, height = (a[:, jnp.asarray(faces)].reshape(-1, 3) for a in images)
    corners = jnp.stack([column, row], -1)
    low = jnp.clip(jnp.ceil(corners.min(1)), 0, resolution).astype(jnp.int32)
    high = jnp.clip(jnp.floor(corners.max(1)), -1, resolution - 1).astype(jnp.int32)
    area, error = _area(column, row)
    size = jnp.where((jnp.abs(area) > error)[:, None], jnp.maximum(high - low + 1, 0), 0)
    return Setup(column, row, height, low, jnp.where(size.min(1, keepdims=True) > 0, size, 0))


def _window_class(size: Int[Array, "m 2"]) -> Int[Array, "m"]:
    """Index into SIDES of the window that holds the box; len(SIDES) for larger ones and one more for empty ones."""
    side = size.max(1)
    return jnp.where(side == 0, len(SIDES) + 1, sum((side > limit).astype(jnp.int32) for limit in SIDES))


def _first(selected: Bool[Array, "m"], count: int) -> tuple[Int[Array, "k"], Bool[Array, "k"]]:
    """The first `count` selected indices and which of these places are filled."""
    index = jnp.nonzero(selected, size=count, fill_value=0)[0].astype(jnp.int32)
    return index, jnp.arange(count) < selected.sum()


def _touched(setup: Setup, item: Int[Array, "k"], low: Int[Array, "k 2"]) -> Bool[Array, "k"]:
    """Whether a triangle can touch the tile at `low`: no edge has the whole tile on its outer side."""
    x, y, dx, dy, sign = _edges(setup.column[item], setup.row[item])
    sign *= jnp.sign(_area(setup.column[item], setup.row[item])[0])[:, None]
    centre = low + (TILE - 1) / 2
    value = sign * (dx * (centre[:, 1, None] - y) - dy * (centre[:, 0, None] - x))
    reach = (TILE / 2 + 0.01) * (jnp.abs(dx) + jnp.abs(dy))
    return (value + reach >= 0).all(1)


def _tiles(setup: Setup, large: Array, filled: Array, pairs: int) -> tuple[Array, Array, Array, Array]:
    """All (triangle, tile) pairs of the large triangles' boxes: triangle, tile corner, whether touched, and the count."""
    tiles = -(-setup.size[large] // TILE)
    counts = jnp.where(filled, tiles[:, 0] * tiles[:, 1], 0)
    ends = jnp.cumsum(counts)
    place = jnp.arange(pairs, dtype=jnp.int32)
    owner = jnp.clip(jnp.searchsorted(ends, place, side="right"), 0, len(large) - 1)
    inside = place - (ends - counts)[owner]
    across = jnp.maximum(tiles[owner, 0], 1)
    low = setup.low[large[owner]] + TILE * jnp.stack([inside % across, inside // across], -1)
    touched = (place < ends[-1]) & _touched(setup, large[owner], low)
    return large[owner], low, touched, ends[-1]


@jax.jit
def _count(size: Int[Array, "m 2"]) -> tuple[Array, Array]:
    kind = _window_class(size)
    tiles = -(-size // TILE)
    pairs = jnp.where(kind == len(SIDES), tiles[:, 0] * tiles[:, 1], 0).sum()
    return jnp.stack([(kind == i).sum() for i in range(len(SIDES) + 1)]), pairs


def _capacity(count: int) -> int:
    """The power of two above a count; a little more is left where compilation may round a box the other way."""
    return 0 if count == 0 else 1 << int(count + 2 + count // 256).bit_length()


_setup_jit = jax.jit(_setup, static_argnums=2)
_tiles_jit = jax.jit(_tiles, static_argnums=3)


def plan(mesh: Mesh, resolution: int) -> Plan:
    """The capacities of all bins for one mesh in the frame; `merge` makes one plan for many meshes."""
    faces = np.asarray(mesh.faces)
    padded = np.zeros((_capacity(len(faces)), 3), np.int32)  # bounds the number of compilations
    padded[: len(faces)] = faces
    vertices = np.zeros((_capacity(len(mesh.vertices)), 3), np.float32)
    vertices[: len(mesh.vertices)] = mesh.vertices
    setup = _setup_jit(vertices, padded, resolution)
    counts, pairs = _count(setup.size)
    *windows, large = (_capacity(int(count)) for count in counts)
    pairs, touched = _capacity(int(pairs)), 0
    if large:
        index, filled = _first(_window_class(setup.size) == len(SIDES), large)
        touched = int(_tiles_jit(setup, index, filled, pairs)[2].sum())
    return Plan(resolution, tuple(windows), large, pairs, _capacity(touched))


def merge(plans: list[Plan]) -> Plan:
    """One plan that serves every mesh of the given plans, for batches under vmap.

    Raises:
        ValueError: if the plans differ in resolution.
    """
    if len({each.resolution for each in plans}) != 1:
        raise ValueError(f"plans have resolutions {sorted({each.resolution for each in plans})}; accepted: one")
    windows = tuple(max(column) for column in zip(*(each.windows for each in plans)))
    return Plan(plans[0].resolution, windows, *(max(getattr(p, name) for p in plans) for name in Plan._fields[2:]))


class _Images(NamedTuple):
    """Height along the axis and face of the nearest and the farthest hit so far, [3, r + TILE, r + TILE] each."""

    near: Array
    near_face: Array
    far: Array
    far_face: Array


def _fragments(setup: Setup, item: Array, low: Array, filled: Array, side: int) -> tuple[Array, Array]:
    """Hit or not, and height of the hit, at the side x side pixels from `low` for each item: [k, side, side] each."""
    column, row, height = setup.column[item], setup.row[item], setup.height[item]
    x, y, dx, dy, sign = (a[:, None, None, :] for a in _edges(column, row))
    sign = sign * jnp.sign(_area(column, row)[0])[:, None, None, None]
    steps = jnp.arange(side)
    across = (low[:, :1] + steps[None]).astype(jnp.float32)[:, None, :, None]
    down = (low[:, 1:] + steps[None]).astype(jnp.float32)[:, :, None, None]
    value = sign * (dx * (down - y) - dy * (across - x))
    extent = (setup.size[item] + 1).astype(jnp.float32)[:, None, None, :]
    slack = ROUNDING * (jnp.abs(dx) * extent[..., 1:] + jnp.abs(dy) * extent[..., :1])
    # Inclusive with room for rounding: an edge's two sides may both hit, but never both miss.
    hit = (value >= -slack).all(-1) & filled[:, None, None]
    weight = jnp.maximum(value, 0)
    total = weight.sum(-1)
    at = (weight * height[:, None, None, :]).sum(-1) / jnp.where(total > 0, total, 1)
    at = jnp.where(total > 0, at, height[:, None, None, 0])
    return hit, jnp.clip(at, height.min(1)[:, None, None], height.max(1)[:, None, None])


_WINDOW = jax.lax.ScatterDimensionNumbers((1, 2), (0,), (0, 1, 2))
_WINDOW_GATHER = jax.lax.GatherDimensionNumbers((1, 2), (0,), (0, 1, 2))
_IN_BOUNDS = jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS


def _keep(images: _Images, corner: Array, hit: Array, at: Array, face: Array) -> _Images:
    """Images with a chunk of windows merged in; of equal heights the lowest face index is kept."""
    side = at.shape[-1]
    face = jnp.broadcast_to(face[:, None, None], at.shape)

    def best(height, owner, scatter, worst, better):
        merged = scatter(height, corner, jnp.where(hit, at, worst), _WINDOW, mode=_IN_BOUNDS)
        here = jax.lax.gather(merged, corner, _WINDOW_GATHER, (1, side, side), mode=_IN_BOUNDS)
        owner = jnp.where(better(merged, height), NONE, owner)
        winner = jnp.where(hit & (at == here), face, NONE)
        return merged, jax.lax.scatter_min(owner, corner, winner, _WINDOW, mode=_IN_BOUNDS)

    near = best(images.near, images.near_face, jax.lax.scatter_min, jnp.inf, jnp.less)
    far = best(images.far, images.far_face, jax.lax.scatter_max, -jnp.inf, jnp.greater)
    return _Images(*near, *far)


def _cast(images: _Images, setup: Setup, item: Array, low: Array, filled: Array, side: int) -> _Images:
    """Images with all windows of one side merged in, a bounded number of fragments at a time."""
    faces = setup.size.shape[0] // 3
    length = min(len(item), max(CHUNK // side**2, 1))

    def chunk(k, images):
        part = [jax.lax.dynamic_slice_in_dim(a, k * length, length) for a in (item, low, filled)]
        hit, at = _fragments(setup, *part, side)
        corner = jnp.concatenate([(part[0] // faces)[:, None], part[1][:, ::-1]], 1)
        return _keep(images, corner, hit, at, part[0] % faces)

    chunks = -(-filled.sum() // length)
    return jax.lax.fori_loop(0, chunks, chunk, images)


def visible(
    vertices: Float[Array, "n 3"], faces: Int[Array, "f 3"], plan: Plan
) -> tuple[Int[Array, "6 h w"], Bool[Array, ""]]:
    """The face that each pixel of the six views sees (-1: none), and whether the plan was too small for the mesh.

    Any triangle soup in the frame; jit with `plan` static, vmap over padded meshes (a face of three equal indices never
    hits). Where the second value is true the first is not to be used. Not differentiated: shading is.
    """
    resolution = plan.resolution
    setup = jax.tree.map(jax.lax.stop_gradient, _setup(vertices, faces, resolution))
    kind = _window_class(setup.size)
    shape = (3, resolution + TILE, resolution + TILE)
    images = _Images(jnp.full(shape, jnp.inf), jnp.full(shape, NONE), jnp.full(shape, -jnp.inf), jnp.full(shape, NONE))
    overflow = jnp.zeros((), bool)
    for index, (side, capacity) in enumerate(zip(SIDES, plan.windows)):
        overflow |= (kind == index).sum() > capacity
        if capacity:
            item, filled = _first(kind == index, capacity)
            images = _cast(images, setup, item, setup.low[item], filled, side)
    large = kind == len(SIDES)
    overflow |= large.sum() > plan.large
    if plan.large:
        owner, low, touched, pairs = _tiles(setup, *_first(large, plan.large), plan.pairs)
        overflow |= (pairs > plan.pairs) | (touched.sum() > plan.tiles)
        place, filled = _first(touched, plan.tiles)
        images = _cast(images, setup, owner[place], low[place], filled, TILE)
    views = [None] * len(frame.VIEWS)
    for axis, (view, opposite, mirrored) in enumerate(frame.OPPOSITE):
        views[view] = images.near_face[axis, :resolution, :resolution]
        views[opposite] = jnp.flip(images.far_face[axis, :resolution, :resolution], mirrored)
    seen = jnp.stack(views)
    return jnp.where(seen == NONE, -1, seen), overflow
