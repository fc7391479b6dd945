"""World frame and the six views; the only file that knows a sign or an axis order.

Right-handed, +y up. A view's name is the side where its camera stands, looking at the centre. right = forward x up, so
no view is mirrored. Depth = 1 + p.forward, in [0, 2] inside the cube. Row 0 is the image's top.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax.types import Array

VIEWS = ("top", "bottom", "front", "back", "left", "right")
CAMERAS = ("+y", "−y", "−z", "+z", "−x", "+x")
FORWARD = np.array([[0, -1, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0]], np.float32)
RIGHT = np.array([[-1, 0, 0], [-1, 0, 0], [-1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, -1]], np.float32)
UP = np.array([[0, 0, 1], [0, 0, -1], [0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]], np.float32)

DEPTH_LIMIT = 2.0  # the cube's side: the largest depth, and the background's sentinel in network inputs
BAND = 0.05  # world units: signed distances of queries are clamped to plus and minus this
CLAMP = 0.1  # world units: to plus and minus this, where a field is trained and scored as one of distances
MARGIN = 0.05  # left free on each side by `mesh.normalise`, as a share of the half side

# Pairs of views that look along one line, and the image axis (of h, w) that their maps are mirrored in.
OPPOSITE = ((1, 0, 0), (3, 2, 1), (5, 4, 1))


def pixel_centres(resolution: int) -> Float[Array, "n"]:
    """Image coordinates of the pixel centres, growing with the column, in (-1, 1)."""
    return (jnp.arange(resolution, dtype=jnp.float32) + 0.5) * (2.0 / resolution) - 1.0


def rays(view: int, resolution: int) -> tuple[Float[Array, "h w 3"], Float[Array, "h w 3"]]:
    """Origins on the cube's face and unit directions of one view's rays, one through each pixel's centre.

    Raises:
        ValueError: for a view outside 0..5.
    """
    if not 0 <= view < len(VIEWS):
        raise ValueError(f"view is {view}; views are 0 to 5: {', '.join(VIEWS)}")
    centres = pixel_centres(resolution)
    right, up, forward = (jnp.asarray(axis[view])[None, None] for axis in (RIGHT, UP, FORWARD))
    origins = centres[None, :, None] * right - centres[:, None, None] * up - forward
    return origins, jnp.broadcast_to(forward, origins.shape)


def to_image(points: Float[Array, "*p 3"], resolution: int) -> tuple[Float[Array, "v *p"], ...]:
    """Column, row (in pixels; a pixel's centre is a whole number) and depth (world units) of points in all six views."""
    projected = [jnp.stack([sum(points[..., i] * float(axis[i]) for i in range(3) if axis[i]) for axis in axes])
                 for axes in (RIGHT, UP, FORWARD)]  # fmt: skip
    half = resolution / 2
    return (projected[0] + 1) * half - 0.5, (1 - projected[1]) * half - 0.5, 1 + projected[2]


def to_world(column: Array, row: Array, depth: Array, view: int, resolution: int) -> Float[Array, "*p 3"]:
    """Points from image coordinates in pixels and depth in world units: the inverse of `to_image` for one view."""
    right = (column + 0.5) * (2 / resolution) - 1
    up = 1 - (row + 0.5) * (2 / resolution)
    axes = jnp.stack([jnp.asarray(axis[view]) for axis in (RIGHT, UP, FORWARD)])
    return jnp.einsum("...k,kc->...c", jnp.stack([right, up, depth - 1], -1), axes, precision="highest")


def axes(view: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """World axes of a view's (row, column, depth), and how often each grows against the world: 0 or 1."""
    vectors = (-UP[view], RIGHT[view], FORWARD[view])
    return tuple(int(np.abs(a).argmax()) for a in vectors), tuple(int(a.sum() < 0) for a in vectors)


def along(coordinates: Float[Array, "3 n *k"], resolution: int) -> tuple[Float[Array, "v n *k"], ...]:
    """Row, column (in pixels) and depth, in the six views, of coordinates along x, y and z."""
    signed = [[(1 - 2 * flip) * coordinates[axis] for axis, flip in zip(*axes(view))] for view in range(len(VIEWS))]
    row, column, depth = (jnp.stack(a) for a in zip(*signed))
    return (row + 1) * (resolution / 2) - 0.5, (column + 1) * (resolution / 2) - 0.5, 1 + depth


def to_xyz(view: int, values: Array) -> Array:
    """Values over (row, column, depth) of a view, in the first three axes, as values over xyz."""
    return jnp.moveaxis(values, (0, 1, 2), axes(view)[0])


def hit_points(depth: Float[Array, "v h w"]) -> Float[Array, "v h w 3"]:
    """World points seen by every pixel of the six depth maps (meaningless where nothing is hit)."""
    pixels = jnp.arange(depth.shape[-1], dtype=jnp.float32)
    column, row = jnp.meshgrid(pixels, pixels)
    return jnp.stack([to_world(column, row, depth[view], view, depth.shape[-1]) for view in range(len(VIEWS))])


def grid_nodes(count: int) -> Float[Array, "n"]:
    """Coordinates of `count` nodes along one side of the cube: -1 + 2 i / (count - 1)."""
    return jnp.linspace(-1.0, 1.0, count, dtype=jnp.float32)


@functools.lru_cache(4)
def shared_points(count: int) -> Float[np.ndarray, "q 3"]:
    """Points of the cube at which the occupancy of every shape is asked, the same for all."""
    return np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)


def rotations() -> np.ndarray:
    """The cube's 24 proper rotations [24, 3, 3], the identity first."""
    found = []
    for permutation in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)):
        for signs in np.ndindex(2, 2, 2):
            matrix = np.eye(3, dtype=np.float32)[list(permutation)] * (1 - 2 * np.array(signs, np.float32))[:, None]
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return np.stack(found)
