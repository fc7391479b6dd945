"""Grids over xyz: patches and channels, residual blocks, levels of half and double the side, and the field of nodes.

The blocks take dense grids [b, d, h, w, c], or with tables and links of `parts.sparse` the features [b, n, c] of the cells
that are there: with the same parameters. A convolution gives the same numbers at the cells where all others are 0.
Arithmetic runs in `dtype`, parameters are float32, outputs keep `dtype`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jaxtyping import Bool, Float, Int

from hexjax.models.parts import sparse
from hexjax.types import Array

DOWN = ("conv", "pool")
UP = ("shuffle", "nearest", "transposed")


def patchify(x: Float[Array, "*n c"], side: int, rank: int) -> Float[Array, "*m d"]:
    """A grid of some rank, channels last, with every patch of `side` along each axis folded into the channels.

    Of the new channels all places of a patch come within each old channel, as PyTorch's pixel_unshuffle has them.
    """
    *lead, channels = x.shape
    lead, sides = lead[: len(lead) - rank], lead[len(lead) - rank :]
    split = x.reshape(*lead, *(each for n in sides for each in (n // side, side)), channels)
    within = [len(lead) + 2 * axis + 1 for axis in range(rank)]
    split = jnp.moveaxis(split, within, range(-rank, 0))
    return split.reshape(*lead, *(n // side for n in sides), channels * side**rank)


def unpatchify(x: Float[Array, "*m d"], side: int, rank: int) -> Float[Array, "*n c"]:
    """A grid of some rank with its channels unfolded into patches of `side` along each axis: the inverse of `patchify`."""
    *lead, depth = x.shape
    lead, sides = lead[: len(lead) - rank], lead[len(lead) - rank :]
    split = x.reshape(*lead, *sides, depth // side**rank, *(side,) * rank)
    within = [len(lead) + 2 * axis + 1 for axis in range(rank)]
    split = jnp.moveaxis(split, range(-rank, 0), within)
    return split.reshape(*lead, *(n * side for n in sides), depth // side**rank)


pixel_unshuffle_3d = functools.partial(patchify, rank=3)
pixel_shuffle_3d = functools.partial(unpatchify, rank=3)


def _taps() -> Int[np.ndarray, "27 8"]:
    """Which of the 4^3 taps of a transposed convolution of stride 2 leads from each neighbour to each child; 64: none.

    Along an axis child a of a cell takes its neighbour at offset o by tap 2 o + 2 - a.
    """
    along = 2 * sparse.OFFSETS[:, None] + 2 - np.array(list(np.ndindex(2, 2, 2)))[None]
    return np.where(((along >= 0) & (along < 4)).all(-1), along @ [16, 4, 1], 64).astype(np.int32)


TAPS = _taps()


class Convolution3d(linen.Module):
    """A 3 x 3 x 3 convolution with a bias; what lies outside the grid is 0, and where no cell is."""

    width: int
    dtype: jnp.dtype
    start: linen.initializers.Initializer = linen.initializers.lecun_normal()

    @linen.compact
    def __call__(self, x: Float[Array, "b *n c"], table: Int[Array, "b n 27"] | None) -> Float[Array, "b *n d"]:
        kernel = self.param("kernel", self.start, (3, 3, 3, x.shape[-1], self.width), jnp.float32).astype(self.dtype)
        bias = self.param("bias", linen.initializers.zeros, (self.width,), jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        if table is None:
            names = ("NDHWC", "DHWIO", "NDHWC")
            found = jax.lax.conv_general_dilated(x, kernel, (1, 1, 1), "SAME", dimension_numbers=names)
        else:
            found = sparse.convolve(x, kernel.reshape(27, *kernel.shape[3:]), table)
        return found + bias.reshape((1,) * (found.ndim - 1) + bias.shape)


class ResBlock3d(linen.Module):
    """Norm, SiLU and convolution, twice, added to their input; it starts as the identity."""

    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b *n c"], table: Int[Array, "b n 27"] | None) -> Float[Array, "b *n c"]:
        y = x
        for start in (linen.initializers.lecun_normal(), linen.initializers.zeros):
            y = jax.nn.silu(linen.LayerNorm(dtype=self.dtype)(y))
            y = Convolution3d(x.shape[-1], self.dtype, start)(y, table)
        return x + y


class Down(linen.Module):
    """Half the side: eight cells become one by one linear layer of them all (`conv`), or of their mean (`pool`)."""

    width: int
    kind: str
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b *n c"], link: sparse.Link | None) -> Float[Array, "b *m d"]:
        channels = x.shape[-1]
        if link is None:
            x = pixel_unshuffle_3d(x, 2)
        else:
            x = jnp.swapaxes(sparse.gathered(x, link), 2, 3).reshape(*link.children.shape[:2], -1)
        if self.kind == "pool":
            x = x.reshape(*x.shape[:-1], channels, 8).mean(-1)
        elif self.kind != "conv":
            raise ValueError(f"config.model.down is {self.kind!r}; accepted: {' | '.join(DOWN)}")
        return linen.Dense(self.width, dtype=self.dtype)(x)


class Up(linen.Module):
    """Double the side.

    shuffle: a convolution gives the channels of all eight children; nearest: children start as their parent, and a
    convolution follows; transposed: the transposed convolution of 4^3 taps, stride 2.
    """

    width: int
    kind: str
    dtype: jnp.dtype

    @linen.compact
    def __call__(
        self,
        x: Float[Array, "b *m c"],
        link: sparse.Link | None,
        table: Int[Array, "b m 27"] | None,
        finer: Int[Array, "b n 27"] | None,
    ) -> Float[Array, "b *n d"]:
        if self.kind == "shuffle":
            return self._children(Convolution3d(8 * self.width, self.dtype)(x, table), link)
        if self.kind == "nearest":
            return Convolution3d(self.width, self.dtype)(self._children(jnp.repeat(x, 8, -1), link), finer)
        if self.kind != "transposed":
            raise ValueError(f"config.model.up is {self.kind!r}; accepted: {' | '.join(UP)}")
        shape = (4, 4, 4, x.shape[-1], self.width)
        kernel = self.param("kernel", linen.initializers.lecun_normal(), shape, jnp.float32).astype(self.dtype)
        bias = self.param("bias", linen.initializers.zeros, (self.width,), jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        if link is None:
            names = ("NDHWC", "DHWIO", "NDHWC")
            found = jax.lax.conv_transpose(x, kernel, (2, 2, 2), "SAME", dimension_numbers=names)
        else:
            every = jnp.concatenate([kernel.reshape(64, *shape[3:]), jnp.zeros((1, *shape[3:]), self.dtype)])[TAPS]
            every = jnp.moveaxis(every, 1, -1).reshape(27, x.shape[-1], -1)  # [27, c, d * 8]
            found = self._children(sparse.convolve(x, every, table), link)
        return found + bias.reshape((1,) * (found.ndim - 1) + bias.shape)

    @staticmethod
    def _children(x: Array, link: sparse.Link | None) -> Array:
        """Channels unfolded into children."""
        if link is None:
            return pixel_shuffle_3d(x, 2)
        return sparse.spread(jnp.swapaxes(x.reshape(*x.shape[:2], -1, 8), 2, 3), link)


# The field of a grid's nodes


def trilinear(nodes: Float[Array, "n n n"], points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """The values at points between the values at the cube's nodes; beyond the cube those of its nearest place."""
    count = nodes.shape[0]
    at = (jnp.clip(points, -1, 1) + 1) * ((count - 1) / 2)
    first = jnp.clip(jnp.floor(at), 0, count - 2)
    share, first = at - first, first.astype(jnp.int32)
    total = jnp.zeros(len(points), nodes.dtype)
    for corner in np.ndindex(2, 2, 2):
        weight = math.prod(share[:, axis] if corner[axis] else 1 - share[:, axis] for axis in range(3))
        total = total + weight * nodes[tuple(first[:, axis] + corner[axis] for axis in range(3))]
    return total


def resampled(nodes: Float[Array, "n n n"], count: int) -> Float[Array, "m m m"]:
    """`trilinear` at `count` nodes along each axis: a product with weights along each in turn."""
    known, asked = (np.linspace(-1, 1, n) for n in (nodes.shape[0], count))
    weights = jnp.asarray(np.stack([np.interp(asked, known, one) for one in np.eye(len(known))], -1), nodes.dtype)
    return jnp.einsum("xyz,ix,jy,kz->ijk", nodes, weights, weights, weights, precision="highest", optimize=True)


def flooded(
    values: Float[Array, "n n n"], known: Bool[Array, "n n n"], spacing: float, limit: float
) -> Float[Array, "n n n"]:
    """Values at all of the cube's nodes, from those that are known: beyond them the sign alone means something.

    The sign floods from the cube's faces, which are outside, and from the known nodes, one neighbour at a time, and the value
    grows by a spacing each up to the limit. Where cells enclose a shape this is the flood from the faces alone; where a cell
    is missing, or a mesh is open, the floods of both sides meet in the gap, and the inside does not run out.
    """
    inner = jnp.zeros(values.shape, bool).at[1:-1, 1:-1, 1:-1].set(True)
    values = jnp.where(known, values, jnp.where(inner, 0, limit))

    def around(given: Array) -> Array:
        padded = jnp.pad(given, 1)
        middle = slice(1, -1)
        sides = [(part, middle, middle) for part in (slice(2, None), slice(None, -2))]
        return sum(padded[side[-axis:] + side[:-axis]] for side in sides for axis in range(3))

    def grow(state: tuple[Array, Array]) -> tuple[Array, Array]:
        values, known = state
        count, total = around(known.astype(values.dtype)), around(jnp.where(known, values, 0))
        mean = total / jnp.maximum(count, 1)
        grown = jnp.clip(jnp.where(mean < 0, mean - spacing, mean + spacing), -limit, limit)
        return jnp.where(known, values, jnp.where(count > 0, grown, 0)), known | (count > 0)

    return jax.lax.while_loop(lambda state: ~state[1].all(), grow, (values, known | ~inner))[0]


def nodes_of(
    keys: Int[Array, "n"], corners: Float[Array, "n 8"], side: int
) -> tuple[Float[Array, "m m m"], Bool[Array, "m m m"]]:
    """Values at the cube's nodes: the mean of what the sorted cells around say of their corners; and where there are some."""
    axis = jnp.arange(side + 1, dtype=jnp.int32)
    nodes = jnp.stack(jnp.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    total, count = jnp.zeros(len(nodes), corners.dtype), jnp.zeros(len(nodes), corners.dtype)
    rows = jnp.concatenate([corners, jnp.zeros((1, 8), corners.dtype)])
    for number, corner in enumerate(np.ndindex(2, 2, 2)):
        cell = nodes - jnp.asarray(corner, jnp.int32)[None]
        within = ((cell >= 0) & (cell < side)).all(-1)
        at = sparse.places(keys, sparse.keys_of(jnp.maximum(cell, 0), within))
        total, count = total + rows[at, number], count + (at < len(keys))
    shape = (side + 1,) * 3
    return (total / jnp.maximum(count, 1)).reshape(shape), (count > 0).reshape(shape)
