"""The cube's 48 symmetries, and what each makes of all that is made of a shape: exact, by tables, with a traced index.

Symmetry i takes a point p to MATRICES[i] @ p. 0 is the identity, 0 to 23 are the rotations, and i + 24 is rotation i
followed by the reflection through the centre. Every function is for one shape (vmap it), takes the index as a number or
a traced one, and changes signs and places alone, so that nothing is rounded and index 0 gives every bit back.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped

from hexjax.geometry import frame
from hexjax.types import Array, Hexplane, Mesh

ROTATIONS = 24  # the first so many are proper; the others mirror
COUNT = 48
MATRICES = np.concatenate([frame.rotations(), -frame.rotations()]) + np.float32(0)  # [48, 3, 3], without -0
CORNERS = np.array(
    list(np.ndindex(2, 2, 2)), np.int32
)  # [8, 3]: corner 4 x + 2 y + z of a cell, x, y and z each 0 or 1

Index = int | np.integer | Int[Array, ""]


def _views() -> tuple[np.ndarray, np.ndarray]:
    """The view whose map each view takes, and whether it is transposed, then its rows, then its columns reversed."""
    forward, right, up = (np.einsum("icd,vc->ivd", MATRICES, axes) for axes in (frame.FORWARD, frame.RIGHT, frame.UP))
    source = (forward[:, :, None] == frame.FORWARD).all(-1).argmax(-1)
    along = lambda axes, known: np.einsum("ivd,ivd->iv", axes, known[source])
    transposed = along(right, frame.RIGHT) == 0
    # Columns grow along right and rows against up, so a transposed map is reversed where its axis is not.
    rows = np.where(transposed, along(up, frame.RIGHT) > 0, along(up, frame.UP) < 0)
    columns = np.where(transposed, along(right, frame.UP) > 0, along(right, frame.RIGHT) < 0)
    return source.astype(np.int32), np.stack([transposed, rows, columns], -1)


def _corners() -> np.ndarray:
    """The corner of a cell that comes to each corner of its image."""
    found = np.empty((COUNT, 8, 3), np.int32)
    for i in range(COUNT):
        found[i][:, AXIS[i]] = np.where(SIGN[i] > 0, CORNERS, 1 - CORNERS)
    return (found @ np.array([4, 2, 1])).astype(np.int32)


AXIS, SIGN = (
    np.abs(MATRICES).argmax(-1).astype(np.int32),
    MATRICES.sum(-1),
)  # [48, 3]: image[k] = SIGN[k] point[AXIS[k]]
SOURCE, TURNED = _views()  # [48, 6], [48, 6, 3]
CORNER = _corners()  # [48, 8]


def vectors(values: Float[Array, "*p 3"], index: Index) -> Float[Array, "*p 3"]:
    """Images of points, or of normals: those of a mirrored mesh are the mirrored ones, once `faces` turned its windings."""
    return jnp.take(jnp.asarray(values), _row(AXIS, index), axis=-1) * _ranked(_row(SIGN, index), values)


def faces(corners: Int[Array, "f 3"], index: Index) -> Int[Array, "f 3"]:
    """The same faces, run through the other way round by a symmetry that mirrors, so that they still face outward."""
    corners = jnp.asarray(corners)
    return jnp.where(jnp.asarray(index) < ROTATIONS, corners, corners[:, ::-1])


def mesh(shape: Mesh, index: Index) -> Mesh:
    """The image of a mesh, as outward as it was."""
    return shape._replace(vertices=vectors(shape.vertices, index), faces=faces(shape.faces, index))


def images(values: Shaped[Array, "v n n *c"], index: Index) -> Shaped[Array, "v n n *c"]:
    """What the six views see of the image of a shape, of values that do not turn with it: depths, masks, colours."""
    values = jnp.take(jnp.asarray(values), _row(SOURCE, index), axis=0)
    transposed, rows, columns = _row(TURNED, index).T.reshape(3, 6, *(1,) * (values.ndim - 1))
    values = jnp.where(transposed, values.swapaxes(1, 2), values)
    values = jnp.where(rows, values[:, ::-1], values)
    return jnp.where(columns, values[:, :, ::-1], values)


def maps(seen: Hexplane, index: Index) -> Hexplane:
    """The six maps of the image of a shape: what rendering it would give, as pixel centres come to lie on such."""
    return Hexplane(images(seen.depth, index), vectors(images(seen.normal, index), index), images(seen.mask, index))


def cells(places: Int[Array, "*p 3"], side: int, index: Index) -> Int[Array, "*p 3"]:
    """Images of cells, or of nodes, that are numbered from 0 to `side` - 1 along each axis of the cube."""
    places = jnp.take(jnp.asarray(places), _row(AXIS, index), axis=-1)
    return jnp.where(_ranked(_row(SIGN, index), places) > 0, places, side - 1 - places)


def grid(values: Shaped[Array, "n n n *c"], index: Index) -> Shaped[Array, "n n n *c"]:
    """What stands on the cells, or nodes, of a dense grid over the cube, for the image of the shape."""
    values = jnp.asarray(values)
    side = values.shape[0]
    axis, sign, along = _row(AXIS, index), _row(SIGN, index), jnp.arange(side, dtype=jnp.int32)
    stride = jnp.asarray([side * side, side, 1], jnp.int32)[axis]
    steps = jnp.where(sign[:, None] > 0, along[None], side - 1 - along[None]) * stride[:, None]
    place = steps[0][:, None, None] + steps[1][None, :, None] + steps[2][None, None, :]
    return values.reshape(side**3, *values.shape[3:]).at[place].get(mode="promise_in_bounds")


def corners(values: Shaped[Array, "*n 8"], index: Index) -> Shaped[Array, "*n 8"]:
    """What stands at the eight corners of cells, in the order of CORNERS, for the images of those cells (`cells`)."""
    return jnp.take(jnp.asarray(values), _row(CORNER, index), axis=-1)


def _row(table: np.ndarray, index: Index) -> Array:
    return jnp.take(jnp.asarray(table), jnp.asarray(index), axis=0, mode="clip")


def _ranked(row: Array, values: Array) -> Array:
    """The row with leading axes of 1, as ranks do not promote."""
    return row.reshape((1,) * (np.ndim(values) - 1) + row.shape)
