"""Stage 6, the visual hull: six silhouettes to a field, negative inside, at points or on the nodes of a grid."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax.geometry import field, frame
from hexjax.types import Array, Hexplane


def fuse(hexplane: Hexplane, points: Float[Array, "p 3"], threshold: float = 0.5) -> Float[Array, "p"]:
    """The visual hull's field: threshold minus the smallest of the six views' coverages, negative inside."""
    column, row, _ = frame.to_image(jnp.asarray(points), hexplane.mask.shape[-1])
    return threshold + field.greatest(list(-_coverage(hexplane.mask, row, column)))


def _coverage(mask: Array, row: Array, column: Array) -> Array:
    index, _, _, weight = field.corners(row, column, mask.shape[-1])
    return field.sum4(weight * field.read(mask, index))


@functools.partial(jax.jit, static_argnums=1)
def _covered(mask: Array, count: int) -> Float[Array, "v n n"]:
    row, column, _ = frame.along(jnp.stack([frame.grid_nodes(count)] * 3), mask.shape[-1])
    return _coverage(mask, row[:, :, None], column[:, None])


@jax.jit
def _hull(covered: Float[Array, "v n n"], threshold: Array) -> Float[Array, "n n n"]:
    columns = [frame.to_xyz(view, covered[view][:, :, None]) for view in range(len(frame.VIEWS))]
    return threshold - functools.reduce(jnp.minimum, columns)


def grid(hexplane: Hexplane, count: int, threshold: float = 0.5) -> Float[np.ndarray, "n n n"]:
    """The visual hull's field on count^3 nodes over xyz, a host array."""
    return np.asarray(_hull(_covered(jnp.asarray(hexplane.mask, jnp.float32), count), np.float32(threshold)))
