"""Constructive solid geometry on a grid: parts, each a signed distance in a box, added or cut in order, become a mesh.

Parts are boxes, ellipsoids, tapered rods, rings, strokes and turned bodies; seams are smooth. Their distances are exact
only near the surface, which is all that marching cubes reads. NumPy; units are the caller's, of about 1.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import igl
import numpy as np
import scipy.interpolate
import scipy.ndimage
import skimage.measure
from jaxtyping import Float

from hexjax.data import procedural
from hexjax.types import Array, Mesh

FAR = 1e3  # the distance where no part is near
NEAREST = 1e-3  # of the grid's step: no value is nearer to 0, so that no two vertices coincide
EVEN = 0.25  # of an edge of the grid: vertices start no nearer to its ends, so that faces are of even size
PAD = 2  # nodes around the parts, which are surely outside

Number = int | float | np.number
Vector = Sequence[Number] | np.ndarray  # of three
Radius = Callable[[Array, Array], Array]  # of a turned body: at places along the axis, and angles about it


class Part(NamedTuple):
    """A signed distance of points, the box outside of which it is positive, and how it joins the parts before it."""

    distance: Callable[[Array], Array]
    low: np.ndarray
    high: np.ndarray
    blend: float = 0.03  # width of the seam
    hollow: bool = False  # cut away instead of added


def box(centre: Vector, half: Vector, rounding: Number = 0.04) -> Part:
    """A box around `centre` that ends `half` away from it along each axis, with rounded edges."""
    centre, half = np.asarray(centre, np.float32), np.asarray(half, np.float32)

    def distance(points: Array) -> Array:
        x, y, z = (np.abs(points[..., i] - centre[i]) - (half[i] - rounding) for i in range(3))
        outside = np.sqrt(np.maximum(x, 0) ** 2 + np.maximum(y, 0) ** 2 + np.maximum(z, 0) ** 2)
        return outside + np.minimum(np.maximum(np.maximum(x, y), z), 0) - rounding

    return Part(distance, centre - half, centre + half)


def ball(centre: Vector, radii: Number | Vector) -> Part:
    """An ellipsoid."""
    centre, radii = np.asarray(centre, np.float32), np.broadcast_to(np.float32(radii), 3)
    return Part(
        lambda points: procedural.ellipsoid(points - centre, tuple(radii.tolist())), centre - radii, centre + radii
    )


def rod(start: Vector, end: Vector, first: Number, last: Number | None = None, flat: Vector = (1, 1, 1)) -> Part:
    """A tapered rod with round ends, whose radii are `flat` times the given ones along each axis."""
    ends, flat = np.array([start, end], np.float32), np.asarray(flat, np.float32)
    radii = float(first), float(first if last is None else last)
    squeezed = tuple(map(tuple, (ends / flat).tolist()))
    reach = np.outer(radii, flat)
    return Part(
        lambda points: procedural.capsule(points / flat, squeezed, radii) * flat.min(),
        (ends - reach).min(0),
        (ends + reach).max(0),
    )


def tube(path: Float[Array, "n 3"], radius: Number) -> list[Part]:
    """Rods along a path."""
    return [rod(start, end, radius) for start, end in itertools.pairwise(path)]


def ring(centre: Vector, axis: int | np.integer, major: Number, minor: Number, stretch: Vector = (0, 0, 0)) -> Part:
    """A torus about an axis, cut in half and drawn apart by `stretch` both ways along each axis."""
    centre, stretch = np.asarray(centre, np.float32), np.asarray(stretch, np.float32)
    reach = np.where(np.arange(3) == axis, minor, major + minor) + stretch

    def distance(points: Array) -> Array:
        offset = points - centre
        offset = offset - np.clip(offset, -stretch, stretch)
        along, u, v = (offset[..., (axis + i) % 3] for i in range(3))
        return np.hypot(np.hypot(u, v) - major, along) - minor

    return Part(distance, centre - reach, centre + reach)


def turned(
    centre: Vector, axis: int | np.integer, half: Number, radius: Radius | Number, rounding: Number = 0.05
) -> Part:
    """A body about an axis, `half` long both ways, of a radius that is a function of the place along it and the angle."""
    centre = np.asarray(centre, np.float32)
    find = radius if callable(radius) else lambda along, angle: np.float32(radius)
    most = np.max(find(*np.meshgrid(np.linspace(-half, half, 65), np.linspace(-np.pi, np.pi, 257))))
    reach = np.where(np.arange(3) == axis, half, most * 1.01)

    def distance(points: Array) -> Array:
        along, u, v = (points[..., (axis + i) % 3] - centre[(axis + i) % 3] for i in range(3))
        out = np.hypot(u, v) - find(along, np.arctan2(v, u)) + rounding
        past = np.abs(along) - (half - rounding)
        return np.hypot(np.maximum(out, 0), np.maximum(past, 0)) + np.minimum(np.maximum(out, past), 0) - rounding

    return Part(distance, centre - reach, centre + reach)


def extruded(start: Vector, end: Vector, half: Number, depth: Number) -> Part:
    """A stroke in the plane of x and y, `half` wide both ways with round ends, `depth` deep both ways."""
    flat = np.array([1, 1, 0], np.float32)
    stroke = rod(np.asarray(start) * flat, np.asarray(end) * flat, half)
    return stroke._replace(
        distance=lambda points: np.maximum(stroke.distance(points * flat), np.abs(points[..., 2]) - depth),
        low=np.append(stroke.low[:2], -depth),
        high=np.append(stroke.high[:2], depth),
    )


def profile(*radii: Number, half: Number, smooth: bool = False) -> Radius:
    """A radius for `turned`, through given ones evenly spaced from -half to half."""
    places, fine = np.linspace(-half, half, len(radii)), np.linspace(-half, half, 128)
    curve = scipy.interpolate.pchip_interpolate(places, radii, fine) if smooth else np.interp(fine, places, radii)
    return lambda along, angle: np.interp(along, fine, curve).astype(np.float32)


def cut(part: Part) -> Part:
    """The part as a hollow."""
    return part._replace(hollow=True)


def mesh(parts: Sequence[Part], cells: int, most_faces: int) -> Mesh:
    """The surface of the parts joined in order: closed and wound outwards.

    Args:
        cells: of the grid, along the longest side; what is thinner than one and a half of them may break.
        most_faces: where there are more, the shortest edges are collapsed, which keeps the topology.

    Source: marching cubes of Lewiner et al. 2003, as in scikit-image.
    """
    low, step, values = field(parts, cells)
    points, faces, _, _ = skimage.measure.marching_cubes(values, 0.0)
    node = np.floor(points)
    points = project(np.where(points > node, node + np.clip(points - node, EVEN, 1 - EVEN), points), values)
    if len(faces) > most_faces:
        arrays = np.asfortranarray(points, np.float64), np.asfortranarray(faces, np.int32)
        points, faces = igl.decimate(*arrays, most_faces)[:2]
        points = project(points, values)
    return Mesh((low + step * points).astype(np.float32), np.ascontiguousarray(faces, np.int32))


def project(points: Float[Array, "n 3"], values: Float[Array, "x y z"]) -> Float[Array, "n 3"]:
    """Points near the zero level of a grid, in its steps, moved onto it by two Newton steps of at most half a step."""
    read = lambda points: scipy.ndimage.map_coordinates(values, points.T, order=1)
    for _ in range(2):
        slope = np.stack([read(points + axis) - read(points - axis) for axis in np.eye(3) / 2], -1)
        steep = np.maximum(np.linalg.norm(slope, axis=1), 1e-9)
        points = points - (np.clip(read(points) / steep, -0.5, 0.5) / steep)[:, None] * slope
    return points


def field(parts: Sequence[Part], cells: int) -> tuple[np.ndarray, float, Float[np.ndarray, "x y z"]]:
    """The first node's place, the step, and a signed distance at nodes around the parts, exact only near their surface."""
    low = np.min([part.low for part in parts if not part.hollow], 0)
    high = np.max([part.high for part in parts if not part.hollow], 0)
    step = float((high - low).max()) / cells
    low, counts = low - PAD * step, np.ceil((high - low) / step).astype(int) + 2 * PAD + 1
    axes = [first + step * np.arange(count, dtype=np.float32) for first, count in zip(low.astype(np.float32), counts)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = np.full(counts, FAR, np.float32)
    for part in parts:
        reach = max(part.blend, 2 * step)
        ends = zip((part.low - reach - low) / step, (part.high + reach - low) / step, counts)
        place = tuple(slice(max(int(first), 0), min(int(last) + 2, int(count))) for first, last, count in ends)
        join = procedural.cut if part.hollow else procedural.union
        values[place] = join(values[place], part.distance(points[place]), part.blend)
    near = np.abs(values) < NEAREST * step
    values[near] = np.where(values[near] < 0, -NEAREST, NEAREST) * step
    return low, step, values
