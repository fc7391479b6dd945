"""Stage 3a, visibility: which triangle every pixel of the six views sees, by exact parallel ray casting in jax.numpy.

The rays of a view are parallel to an axis, so a triangle can only meet the pixels of its projected box, and opposite
views look along the same lines: one pass an axis keeps the nearest and the farthest hit. Boxes are sorted by size into
dense windows of 4, 8 and 16 pixels a side; larger ones are cut into tiles of 16, of which those that the triangle
touches are kept. Every bin is emptied by a loop as long as it is full, so one program serves all meshes of one padded
size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float, Int, UInt32

from hexjax.geometry import frame
from hexjax.types import Array

SIDES = (4, 8, 16)  # pixels a side of the windows
TILE = SIDES[-1]
CHUNK = 2**16  # fragments evaluated at once on a CPU: fits a core's cache
CHUNK_ACCELERATOR = 2**22  # and elsewhere, where each round of a loop costs a wait
TEST = 16  # fragments that testing a (large triangle, tile) pair counts for
AXIS_VIEWS = tuple(pair[0] for pair in frame.OPPOSITE)  # one view an axis; its opposite is the mirrored far side
ROUNDING = 2.0**-22  # four units in the last place: what an edge function of coordinates below its box may err
NO_NEAR, NO_FAR = np.int64(2**63 - 1), np.int64(-(2**63))
AWAY = 2**31  # above every face's number


class Setup(NamedTuple):
    """Triangles in image coordinates, one for each image, mesh and face: corners [3, m] in pixels, pixel centres boxed [m].

    Corners stand in the order of their vertices' numbers, so that two faces on the same ones are hit at equal heights; in
    `odd` ones that turns the winding. `width` and `height` of the box are 0 for triangles that can hit nothing.
    """

    column: Array
    row: Array
    along: Array  # world units, growing with the depth in the axis's view
    left: Array
    top: Array
    width: Array
    height: Array
    odd: Array

    def take(self, item: Int[Array, "k"]) -> "Setup":
        """The triangles of the given numbers; numbers must lie in range."""
        get = lambda a: a.at[item].get(mode="promise_in_bounds")
        return Setup(*(jnp.stack([get(corner) for corner in a]) if a.ndim == 2 else get(a) for a in self))


class Images(NamedTuple):
    """The nearest and the farthest hit so far, int64 [image, r + TILE, r + TILE]: see `_keys`."""

    near: Array
    far: Array


def _edges(setup: Setup) -> list[tuple[Array, ...]]:
    """Start and direction of the three edges, each facing the corner of its number, inside to their positive side.

    Each edge is computed from its smaller to its larger end, so that two triangles compute the same on a shared edge.
    """
    facing = jnp.sign(_area(setup)[0])
    edges = []
    for first, second in ((1, 2), (2, 0), (0, 1)):
        x0, x1, y0, y1 = (a[i] for a in (setup.column, setup.row) for i in (first, second))
        swapped = (x0 > x1) | ((x0 == x1) & (y0 > y1))
        sign = jnp.where(swapped, -facing, facing)
        dx, dy = (sign * jnp.where(swapped, a - b, b - a) for a, b in ((x0, x1), (y0, y1)))
        edges.append((jnp.where(swapped, x1, x0), jnp.where(swapped, y1, y0), dx, dy))
    return edges


def _area(setup: Setup) -> tuple[Array, Array]:
    """Twice the signed area of projected triangles, and the rounding error that it may carry."""
    ax, ay = (a[1] - a[0] for a in (setup.column, setup.row))
    bx, by = (a[2] - a[0] for a in (setup.column, setup.row))
    return ax * by - ay * bx, ROUNDING * (jnp.abs(ax * by) + jnp.abs(ay * bx))


def _setup(images: tuple[Float[Array, "a b n"], ...], faces: Int[Array, "b f 3"], resolution: int) -> Setup:
    many, meshes, vertices = images[0].shape
    start = jnp.arange(many * meshes, dtype=jnp.int32).reshape(many, -1, 1) * vertices
    a, b, c = (faces[..., corner] for corner in range(3))
    low, high = jnp.minimum(jnp.minimum(a, b), c), jnp.maximum(jnp.maximum(a, b), c)
    place = [(start + corner[None]).reshape(-1) for corner in (low, a + (b - low) + (c - high), high)]
    odd = jnp.tile(((a > b) ^ (b > c) ^ (a > c)).reshape(-1), many)
    get = lambda a: jnp.stack([a.reshape(-1).at[i].get(mode="promise_in_bounds") for i in place])
    column, row, along = (get(a) for a in images)
    first = lambda a: jnp.clip(jnp.ceil(a.min(0)), 0, resolution).astype(jnp.int32)
    last = lambda a: jnp.clip(jnp.floor(a.max(0)), -1, resolution - 1).astype(jnp.int32)
    left, top = first(column), first(row)
    setup = Setup(column, row, along, left, top, last(column) - left + 1, last(row) - top + 1, odd)
    area, error = _area(setup)
    hits = (jnp.abs(area) > error) & (setup.width > 0) & (setup.height > 0)
    return setup._replace(width=jnp.where(hits, setup.width, 0), height=jnp.where(hits, setup.height, 0))


def _binned(setup: Setup) -> tuple[Int[Array, "m"], Int[Array, "c"]]:
    """The triangles' numbers, sorted by bin, and where each bin ends: one for each of SIDES, the large ones, the empty."""
    side = jnp.maximum(setup.width, setup.height)
    kind = jnp.where(side == 0, len(SIDES) + 1, sum((side > limit).astype(jnp.int32) for limit in SIDES))
    member = kind[None] == jnp.arange(len(SIDES) + 2)[:, None]
    place = jnp.cumsum(member.reshape(-1).astype(jnp.int32)).reshape(member.shape)
    target = jnp.where(member, place - 1, 0).sum(0)
    number = jnp.arange(len(side), dtype=jnp.int32)
    return jnp.zeros_like(number).at[target].set(number, mode="promise_in_bounds", unique_indices=True), place[:, -1]


def _keys(height: Float[Array, "*k"], near: UInt32[Array, "*k"], far: UInt32[Array, "*k"]) -> tuple[Array, Array]:
    """What is kept of hits, int64: the least near key is the nearest hit, the greatest far key the farthest one.

    The upper half orders as the height does, and the lower ones are given (`_names`).
    """
    bits = lax.bitcast_convert_type(height, jnp.int32)
    ordered, hit = jnp.where(bits < 0, bits ^ np.int32(2**31 - 1), bits), height < jnp.inf
    with jax.enable_x64(True):
        upper = lax.mul(lax.convert_element_type(ordered, jnp.int64), lax.full(hit.shape, 2**32, jnp.int64))
        near, far = (lax.add(upper, lax.convert_element_type(each, jnp.int64)) for each in (near, far))
        return lax.select(hit, near, lax.full(hit.shape, NO_NEAR)), lax.select(hit, far, lax.full(hit.shape, NO_FAR))


def _names(setup: Setup, face: Int[Array, "k"]) -> tuple[Array, Array]:
    """The lower halves of the near and far keys of triangles: AWAY where they are turned away, and their faces' numbers.

    Far ones are complements, so that of equal heights a face that is turned to who looks is kept, the lowest one.
    """
    away = ((_area(setup)[0] > 0) ^ setup.odd).astype(jnp.uint32) * np.uint32(AWAY)
    number = face.astype(jnp.uint32)
    return number | away, ~(number | (away ^ np.uint32(AWAY)))


def _fragments(setup: Setup, left: Array, top: Array, side: int) -> Float[Array, "k s s"]:
    """Height along the axis where the side x side pixels from the given corners hit the triangles; elsewhere infinity."""
    wide = lambda a: a[:, None, None]
    steps = jnp.arange(side, dtype=jnp.int32)
    across = (left[:, None] + steps[None]).astype(jnp.float32)[:, None, :]
    down = (top[:, None] + steps[None]).astype(jnp.float32)[:, :, None]
    hit, total, sum_along = True, 0.0, 0.0
    for (x, y, dx, dy), along in zip(_edges(setup), setup.along):
        value = wide(dx) * (down - wide(y)) - wide(dy) * (across - wide(x))
        slack = ROUNDING * (jnp.abs(dx) * (setup.height + 1) + jnp.abs(dy) * (setup.width + 1))
        hit &= value >= wide(-slack)  # with room for rounding: an edge's two sides may both hit, but never both miss
        weight = jnp.maximum(value, 0)
        total, sum_along = total + weight, sum_along + weight * wide(along)
    sum_along = jnp.where(total > 0, sum_along, wide(setup.along[0]))
    # Misses are marked before the division: XLA then evaluates the edges once for both keys, not once for each.
    height = jnp.where(hit, sum_along, jnp.inf) / jnp.where(total > 0, total, 1)
    clipped = jnp.clip(height, wide(setup.along.min(0)), wide(setup.along.max(0)))
    return jnp.where(height < jnp.inf, clipped, jnp.inf)


_WINDOW = lax.ScatterDimensionNumbers((1, 2), (0,), (0, 1, 2))


def _cast(images: Images, setup: Setup, item: Array, left: Array, top: Array, filled: Array, side: int) -> Images:
    """The images with one window an item merged in, where `filled`: the triangle of that number at the given corner."""
    faces = setup.left.shape[0] // images.near.shape[0]
    taken = setup.take(item)
    height = _fragments(taken, left, top, side)
    names = (jnp.broadcast_to(each[:, None, None], height.shape) for each in _names(taken, item % faces))
    near, far = _keys(jnp.where(filled[:, None, None], height, jnp.inf), *names)
    corner = jnp.stack([item // faces, top, left], -1)
    with jax.enable_x64(True):
        scatter = dict(dimension_numbers=_WINDOW, mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS)
        return Images(
            lax.scatter_min(images.near, corner, near, **scatter), lax.scatter_max(images.far, corner, far, **scatter)
        )


def _chunk() -> int:
    return CHUNK if jax.default_backend() == "cpu" else CHUNK_ACCELERATOR


def _bin(images: Images, setup: Setup, order: Array, begin: Array, end: Array, side: int) -> Images:
    """The images with a bin of triangles merged in, those at `order[begin:end]`, a bounded number at a time."""
    length = min(max(_chunk() // side**2, 1), len(order))

    def chunk(state: tuple[Array, Images]) -> tuple[Array, Images]:
        place, images = state
        first = jnp.minimum(place, len(order) - length)  # where a slice may begin
        item = lax.dynamic_slice_in_dim(order, first, length)
        number = first + jnp.arange(length, dtype=jnp.int32)
        filled = (number >= place) & (number < end)
        return place + length, _cast(images, setup, item, setup.left[item], setup.top[item], filled, side)

    return lax.while_loop(lambda state: state[0] < end, chunk, (begin, images))[1]


def _large(images: Images, setup: Setup, order: Array, begin: Array, end: Array) -> Images:
    """The images with the large triangles merged in, tile by tile."""
    most = (images.near.shape[-1] // TILE) ** 2  # tiles of a triangle; their sum must stay an int32
    block = min(_chunk() // TEST, len(order), 2**30 // most)

    def triangles(state: tuple[Array, Images]) -> tuple[Array, Images]:
        place, images = state
        first = jnp.minimum(place, len(order) - block)
        item = lax.dynamic_slice_in_dim(order, first, block)
        number = first + jnp.arange(block, dtype=jnp.int32)
        return place + block, _tiles(images, setup, item, (number >= place) & (number < end))

    return lax.while_loop(lambda state: state[0] < end, triangles, (begin, images))[1]


def _tiles(images: Images, setup: Setup, item: Array, filled: Array) -> Images:
    """The images with the tiles merged in that some triangles touch."""
    across = -(-setup.width[item] // TILE)
    ends = jnp.cumsum(jnp.where(filled, across * -(-setup.height[item] // TILE), 0))
    block, length = _chunk() // TEST, _chunk() // TILE**2

    def pairs(state: tuple[Array, Images]) -> tuple[Array, Images]:
        start, images = state
        place = start + jnp.arange(block, dtype=jnp.int32)
        owner = jnp.minimum(jnp.searchsorted(ends, place, side="right").astype(jnp.int32), len(item) - 1)
        inside = place - jnp.where(owner > 0, ends[owner - 1], 0)
        wide = jnp.maximum(across[owner], 1)
        left = setup.left[item[owner]] + TILE * (inside % wide)
        top = setup.top[item[owner]] + TILE * (inside // wide)
        touched = (place < ends[-1]) & _touched(setup.take(item[owner]), left, top)
        order = jnp.nonzero(touched, size=block, fill_value=0)[0].astype(jnp.int32)
        count = touched.sum(dtype=jnp.int32)

        def chunk(state: tuple[Array, Images]) -> tuple[Array, Images]:
            first, images = state
            pair = lax.dynamic_slice_in_dim(order, first, length)
            kept = first + jnp.arange(length, dtype=jnp.int32) < count
            corner = (jnp.where(kept, a[pair], 0) for a in (left, top))  # under vmap a finished mesh goes round again
            return first + length, _cast(images, setup, item[owner[pair]], *corner, kept, TILE)

        return start + block, lax.while_loop(lambda state: state[0] < count, chunk, (jnp.int32(0), images))[1]

    return lax.while_loop(lambda state: state[0] < ends[-1], pairs, (jnp.int32(0), images))[1]


def _touched(setup: Setup, left: Array, top: Array) -> Bool[Array, "k"]:
    """Whether a triangle can touch the tile at a corner: no edge has the whole tile on its outer side."""
    middle, touched = (TILE - 1) / 2, True
    for x, y, dx, dy in _edges(setup):
        value = dx * (top + middle - y) - dy * (left + middle - x)
        touched &= value + (TILE / 2 + 0.01) * (jnp.abs(dx) + jnp.abs(dy)) >= 0
    return touched


def cast(
    images: tuple[Float[Array, "a b n"], ...], faces: Int[Array, "b f 3"], resolution: int
) -> tuple[Int[Array, "a b h w"], Int[Array, "a b h w"]]:
    """The nearest and the farthest face over each pixel of `a` images of each of b meshes; -1: none.

    To be jitted with `resolution` static; a batch is faster than vmap.

    Args:
        images: of the vertices column, row (in pixels; a pixel's centre is a whole number), and what grows with the depth
            and is linear over a triangle's image: the depth of a parallel projection, less its inverse of a perspective.
    """
    setup = jax.tree.map(lax.stop_gradient, _setup(images, faces, resolution))
    many, meshes, _ = images[0].shape
    shape = (many * meshes, resolution + TILE, resolution + TILE)
    with jax.enable_x64(True):
        keys = Images(lax.full(shape, NO_NEAR), lax.full(shape, NO_FAR))
    order, ends = _binned(setup)
    for side, begin, end in zip(SIDES, jnp.concatenate([jnp.zeros(1, ends.dtype), ends]), ends):
        keys = _bin(keys, setup, order, begin, end, side)
    keys = _large(keys, setup, order, ends[len(SIDES) - 1], ends[len(SIDES)])
    # The lower half of a key, or its complement, without its highest bit: AWAY - 1 where there was no hit.
    near, far = (a[:, :resolution, :resolution].astype(jnp.int32) for a in keys)
    near, far = (a.reshape(many, meshes, resolution, resolution) & (AWAY - 1) for a in (near, ~far))
    return tuple(jnp.where(a == AWAY - 1, -1, a) for a in (near, far))


def visible(vertices: Float[Array, "b n 3"], faces: Int[Array, "b f 3"], resolution: int) -> Int[Array, "b 6 h w"]:
    """The face that each pixel of the six views of each mesh sees; -1: none.

    Any triangle soups in the frame, padded to one size of at least one face (a face of three equal indices never hits). To
    be jitted with `resolution` static; a batch is faster than vmap. Has no derivative: shading is differentiated.
    """
    vertices, faces = jnp.asarray(vertices), jnp.asarray(faces)
    images = tuple(a[np.array(AXIS_VIEWS)] for a in frame.to_image(vertices, resolution))
    near, far = cast(images, faces, resolution)
    views = [None] * len(frame.VIEWS)
    for axis, (view, opposite, mirrored) in enumerate(frame.OPPOSITE):
        views[view], views[opposite] = near[axis], jnp.flip(far[axis], mirrored + 1)
    return jnp.stack(views, 1)
