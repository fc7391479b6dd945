"""Stage 6, fuse: six maps to one signed distance-like field, negative inside, at points.

A view's value at a point blends the four pixels around its projection. A pixel with surface gives the signed distance
to its tangent plane (positive in front); one that shows a back face, through an opening, abstains with -BACKGROUND; one
without surface carves: it gives the distance of the nearest surface that any view claims there, at most +BACKGROUND.
Coverage weighs surface against background. The field is the largest of the six values, blended where views agree, but for
those of views that may have missed a thin part (`fused`). Pure and differentiable in the maps and in the points; units of
the frame.

Source: ours; the truncation of far values before blending follows volumetric fusion (Curless and Levoy 1996).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax.geometry import frame
from hexjax.types import Array, Hexplane

BACKGROUND = 0.1  # world units: the most that an empty pixel claims about the points of its ray
KNEE = 0.25  # pixels: beyond it values count little more in the blend, so that an outline lies midway between pixels
FAINT = 0.25  # coverage up to which a pixel carves, whatever surface it claims
FAR = 9.0  # world units: of a surface that is not there
AGREE = 2.0  # pixels: views whose values are as near to the largest are blended with it
LOWERED = 1.0  # pixels: the most that blending takes off
TIE = 0.02  # pixels: of values as near to each other that of the view which faces the surface more counts as the larger
MISSED = 0.5  # pixels behind a surface that views which see none nearby may have missed
FACING, PAIR = 0.8, 0.5  # cosines of the normal to the ray from which one view, or two opposite ones, are believed then
APART = 0.5  # pixels: where the pixels around a place disagree by more about its surface, that is not believed
GRAZE = 0.2  # the most of a surface's normal along the rays of a view that may have missed it
SHEET = 1e-3  # world units: what is thinner between two opposite pixels is drawn so thick


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
    those of a plane that is BACKGROUND away at every depth. `normal`: along right, up and against the ray, as far as
    covered. `cosine`: the last of these, as far as the pixels agree too.
    """

    offset: Array
    slope: Array
    weight: Array
    empty: Array
    claimed: tuple[Array, Array]
    normal: tuple[Array, Array, Array]
    cosine: Array


@jax.jit
def pixels(hexplane: Hexplane) -> Pixels:
    """What the pixels of six maps say of points before them."""
    right, up, forward = (_component(hexplane.normal, axes) for axes in (frame.RIGHT, frame.UP, frame.FORWARD))
    front = forward <= 0
    slope = jnp.where(front, -forward, 0)
    mask = hexplane.mask.astype(jnp.float32)
    offset = jnp.where(front, hexplane.depth * slope - _sheet(hexplane.depth, slope, mask), -BACKGROUND)
    return Pixels(offset, slope, jnp.where(front, right, 0), jnp.where(front, up, 0), mask)


@jax.jit
def table(pixels: Pixels) -> Float[Array, "v h w 5"]:
    """What the pixels say, side by side, as it is read."""
    return jnp.stack(pixels, -1)


def _component(normal: Float[Array, "v h w 3"], axes: Float[np.ndarray, "v 3"]) -> Float[Array, "v h w"]:
    """Of each view's normals, the component along the view's own unit vector."""
    return sum(normal[..., i] * axes[:, i, None, None] for i in range(3))


def _sheet(depth: Array, slope: Array, mask: Array) -> Float[Array, "v h w"]:
    """How far a surface is moved towards its view, so that a sheet that the opposite view sees too has a thickness."""
    lacking = [None] * len(frame.VIEWS)
    for one, other, mirrored in frame.OPPOSITE:
        facing = [jnp.where(mask[view] > 0.5, slope[view], 0) for view in (one, other)]
        through = (2 - depth[one] - jnp.flip(depth[other], mirrored)) * slope[one]
        both = (facing[0] > 0.05) & (jnp.flip(facing[1], mirrored) > 0.05) & (through > -1e-5)
        lacking[one] = jnp.where(both, jnp.maximum(SHEET - through, 0) / 2, 0)
        lacking[other] = jnp.flip(lacking[one], mirrored)
    return jnp.stack(lacking)


def corners(row: Array, column: Array, resolution: int) -> tuple[Array, ...]:
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


def read(maps: Array, index: Array) -> Array:
    """The maps' values at flat places, which must lie in range."""
    return maps.reshape(-1).at[index].get(mode="promise_in_bounds")


def sum4(four: Array) -> Array:
    """The sum over the leading axis of four: additions of whole arrays, which a reduction is not on every device."""
    return four[0] + four[1] + four[2] + four[3]


def greatest(views: Sequence[Array]) -> Array:
    """The maximum over views, whose gradient goes to one of them.

    That of a reduction divides by how many equal the maximum: none, where a compiler computes them twice and rounds
    otherwise, and then it is not a number.
    """
    return functools.reduce(lambda best, view: jnp.where(view > best, view, best), views)


def taps(table: Float[Array, "v h w 5"], row: Array, column: Array) -> Taps:
    """The six views' taps at places [v, ...] in their images, in pixels: each field [4, v, ...] or [v, ...]."""
    resolution = table.shape[-2]
    index, right, up, weight = corners(row, column, resolution)
    said = table.reshape(-1, 5).at[index].get(mode="promise_in_bounds")
    offset, slope, to_right, to_up, mask = (said[..., part] for part in range(5))
    offset = offset + (right * to_right + up * to_up) * (2 / resolution)
    covered, solid = weight * mask, weight * (mask > 0.5)
    total = sum4(solid)
    share = solid / jnp.maximum(total, 1e-9)[None]
    claimed = jnp.where(total > 0, sum4(share * offset), FAR), sum4(share * slope)
    normal = tuple(sum4(covered * a) for a in (to_right, to_up, slope))
    middle = claimed[0] / jnp.maximum(claimed[1], 1e-3)
    apart = sum4(share * (offset - slope * middle[None]) ** 2) / (APART * 2 / resolution) ** 2
    return Taps(offset, slope, covered, sum4(weight - covered), claimed, normal, normal[2] / (1 + apart**2))


def compress(value: Array | float, knee: float) -> Array:
    """Values brought within `knee` of 0, those far below it unchanged; with finite gradients."""
    return value / (1 + jnp.abs(value) / knee)


def expand(value: Array | float, knee: float) -> Array:
    """The inverse of `compress`, of values within `knee` of 0."""
    return value / (1 - jnp.abs(value) / knee)


def carved(knee: float) -> float:
    """The least that an empty pixel claims: enough to outweigh any surface of coverage FAINT."""
    return FAINT / (1 - 2 * FAINT) * knee  # expand(knee FAINT / (1 - FAINT))


def _value(taps: Taps, depth: Array, nearest: Array, resolution: int) -> Array:
    """One view's value at points of given depth, over places that broadcast against it.

    Values are compressed before they are blended, so that an outline lies midway between its pixels, however far the
    surface and the background are.
    """
    knee = KNEE * 2 / resolution
    value = compress(taps.offset - taps.slope * depth[None], knee)
    empty = jnp.clip(nearest, carved(knee), BACKGROUND)
    return expand(sum4(taps.weight * value) + taps.empty * compress(empty, knee), knee)


class _Side(NamedTuple):
    """What a view says of a surface within a pixel of points: -1 where it sees none; `faces`: whether it is believed."""

    value: Array
    cosine: Array
    empty: Array
    normal: tuple[Array, ...]
    faces: Array


def _side(view: int, taps: Taps, claim: Array, value: Array, pixel: float) -> _Side:
    axes = (frame.RIGHT[view], frame.UP[view], -frame.FORWARD[view])
    normal = [sum(float(axis[i]) * part for axis, part in zip(axes, taps.normal) if axis[i]) for i in range(3)]
    known = jnp.abs(claim) < pixel
    return _Side(jnp.where(known, value, -1), taps.cosine, taps.empty, tuple(normal), known)


def _pick(first: Array, one: _Side, other: _Side) -> _Side:
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other)


def fused(views: Sequence[tuple[Taps, Array]], resolution: int) -> Array:
    """The field of the six views' taps and depths at points.

    Of the views that see a surface within a pixel the largest value counts. It is blended with those within AGREE of it whose
    normals agree with its own, each by the squared cosine of its normal to the ray: the ridges where another view governs go.
    A view that sees nothing as near may have missed a part narrower than its pixels, if that lies along its rays (GRAZE): it
    cannot outweigh, down to MISSED pixels behind the surface, a view that faces it (FACING), nor two opposite ones (PAIR).
    """
    pixel = 2 / resolution
    claims = [taps.claimed[0] - taps.claimed[1] * depth for taps, depth in views]
    nearest = functools.reduce(jnp.minimum, [jnp.abs(claim) for claim in claims])
    values = [_value(*view, nearest, resolution) for view in views]
    sides = []
    for one, other, _ in frame.OPPOSITE:
        pair = [_side(view, views[view][0], claims[view], values[view], pixel) for view in (one, other)]
        side = _pick(pair[0].value > pair[1].value, *pair)
        least = jnp.where(pair[0].faces & pair[1].faces, PAIR, FACING)
        sides.append(side._replace(faces=side.cosine > least))
    ahead = lambda side: side.value + TIE * pixel * side.cosine
    best = functools.reduce(lambda a, b: _pick(ahead(a) >= ahead(b), a, b), sides)
    lower, total = 0.0, best.empty + 1e-6
    for side in sides:
        agreed = jnp.maximum(sum(a * b for a, b in zip(side.normal, best.normal)), 0)
        fading = jnp.clip(4 * (1 + side.value / pixel), 0, 1)  # before its surface is a pixel away
        near = jnp.maximum(1 - (best.value - side.value) / (AGREE * pixel), 0)
        weight = side.cosine**2 * agreed * near * fading
        lower, total = lower + weight * (best.value - side.value), total + weight
    most = [jnp.maximum(values[one], values[other]) for one, other, _ in frame.OPPOSITE]
    sure = [
        jnp.where(best.faces & (jnp.abs(best.normal[axis]) <= GRAZE), -1, value) for axis, value in zip((1, 2, 0), most)
    ]
    far = greatest([*sure, jnp.minimum(greatest(most), -best.value - MISSED * pixel)])
    return best.value - jnp.minimum(lower / total, LOWERED * pixel) + jnp.maximum(far - best.value, 0)


def fuse(hexplane: Hexplane, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """The field at points of the frame: exact point-to-plane distance on a pixel's ray, negative inside."""
    resolution = hexplane.depth.shape[-1]
    column, row, depth = frame.to_image(jnp.asarray(points), resolution)
    found = taps(table(pixels(hexplane)), row, column)
    one = lambda view: jax.tree.map(lambda a: a[..., view, :], found)
    return fused([(one(view), depth[view]) for view in range(len(frame.VIEWS))], resolution)
