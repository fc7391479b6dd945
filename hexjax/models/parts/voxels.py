"""The two networks of a grid of voxels, dense or sparse: residual blocks, level by level, as halves and doubles of the side."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Bool, Float, Int

from hexjax.models.parts import grids, losses, sparse
from hexjax.types import Array


class Encoder(linen.Module):
    """What stands on a grid, or at the cells of the finest level, to the statistics of the latent at the coarsest."""

    widths: tuple[int, ...]
    blocks: int
    down: str
    channels: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b *n c"], levels: sparse.Levels | None) -> Float[Array, "b *m d"]:
        x = linen.Dense(self.widths[0], dtype=self.dtype)(x)
        for level, width in enumerate(self.widths):
            if level:
                x = grids.Down(width, self.down, self.dtype)(x, levels and levels.links[level - 1])
            for _ in range(self.blocks):
                x = grids.ResBlock3d(self.dtype)(x, levels and levels.tables[level])
        return linen.Dense(self.channels, dtype=self.dtype)(x).astype(jnp.float32)


class Nodes(NamedTuple):
    """What is decoded: signed distances at the cube's nodes, or no more than their signs away from the surface."""

    distance: Float[Array, "*b m m m"]


class Told(NamedTuple):
    """What a decoder says of cells: distances at the corners of the finest level's, and which those are.

    logits: of each coarser level's children being there, finest of these levels first; lost: how many that it predicted
    there was no room for; parents: the cells of the level before the finest. Of a dense grid the values of its nodes alone.
    """

    values: Float[Array, "b *n c"]
    keys: Int[Array, "b n"] | None
    logits: tuple[Float[Array, "b m 8"], ...]
    lost: Int[Array, "b"] | None
    parents: Int[Array, "b m"] | None


class Decoder(linen.Module):
    """A latent to what stands on a grid, or at the cells of the finest level: the given ones, or those that it predicts."""

    widths: tuple[int, ...]
    blocks: int
    up: str
    channels: int
    side: int  # cells a side of the finest level
    capacities: tuple[int, ...]  # finest first
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Array, keys: Int[Array, "b m"] | None, given: sparse.Levels | None) -> Told:
        """Of a dense grid there are neither keys nor levels; of cells without given levels the children are predicted."""
        every, lost, last = (), None if keys is None else jnp.zeros(len(x), jnp.int32), len(self.widths) - 1
        coarse = None
        table = self._table(keys, given, last)
        x = linen.Dense(self.widths[-1], dtype=self.dtype)(x)
        for level in range(last, -1, -1):
            for _ in range(self.blocks):
                x = grids.ResBlock3d(self.dtype)(x, table)
            if level == 0:
                break
            coarse, before, link = keys, table, None
            if coarse is not None:
                logits = linen.Dense(8, dtype=self.dtype)(linen.LayerNorm(dtype=self.dtype)(x)).astype(jnp.float32)
                every = logits, *every
                if given is None:
                    prune = functools.partial(sparse.pruned, capacity=self.capacities[level - 1])
                    keys, dropped = jax.vmap(prune)(coarse, logits)
                    link, lost = jax.vmap(sparse.link)(coarse, keys), lost + dropped
                else:
                    keys, link = given.keys[level - 1], given.links[level - 1]
                table = self._table(keys, given, level - 1)
            x = grids.Up(self.widths[level - 1], self.up, self.dtype)(x, link, before, table)
        values = linen.Dense(self.channels, dtype=self.dtype)(x).astype(jnp.float32)
        return Told(values, keys, every, lost, coarse)

    def _table(self, keys: Array | None, given: sparse.Levels | None, level: int) -> Array | None:
        if keys is None:
            return None
        return sparse.tables_of(keys, self.side >> level) if given is None else given.tables[level]


class Seen(NamedTuple):
    """A batch of shapes as cells: distances at the corners of the finest ones, in cells, and how many coarse ones are lost.

    feature, viewed: what views show of the finest, in the mean, and which of them any view sees; None where it is not read.
    """

    levels: sparse.Levels
    corners: Float[Array, "b n 8"]
    lost: Int[Array, "b"]
    feature: Float[Array, "b n c"] | None = None
    viewed: Bool[Array, "b n"] | None = None


CORNERS = 8  # of a cell: the first values that a decoder says of one; features follow


def feature_error(found: Float[Array, "b n c"], known: Float[Array, "b n c"], viewed: Bool[Array, "b n"]) -> Array:
    """The mean absolute difference [b] of features at the cells that are viewed; 0 where none is."""
    error = jnp.where(viewed[..., None], jnp.abs(found - known), 0).sum((1, 2))
    return error / (known.shape[-1] * jnp.maximum(viewed.sum(1), 1))


def corner_error(found: Float[Array, "b n 8"], known: Float[Array, "b n 8"], keys: Int[Array, "b n"]) -> Array:
    """The mean absolute difference [b] of corner distances at the cells that are there; NaN where none is."""
    alive = (keys < sparse.ABSENT)[..., None]
    return jnp.where(alive, jnp.abs(found - known), 0).sum((1, 2)) / (8 * alive.sum((1, 2)))


def structure_error(logits: Float[Array, "b m 8"], link: sparse.Link, kind: str) -> Float[Array, ""]:
    """How far the predicted children of true cells are from the true ones: nats a child, or 1 - Dice's coefficient.

    A cell of which there are no children is not there.
    """
    truth = (link.children < link.slots.shape[1]).astype(logits.dtype)
    weight = jnp.broadcast_to(truth.max(-1, keepdims=True), truth.shape)
    if kind == "bce":
        return (losses.cross_entropy(logits, truth) * weight).sum() / jnp.maximum(weight.sum(), 1)
    chance = jax.nn.sigmoid(logits) * weight
    overlap, total = (chance * truth).sum((1, 2)), (chance + truth).sum((1, 2))
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def compared(free: Told, given: Told, seen: Seen) -> dict[str, Float[Array, "b"]]:
    """What a decoder says of true shapes, by predicted children, and as `_given` where each level is told the true cells.

    structure_iou of the finest cells; corner_error, in cells, at the true ones that are there, and feature_error, of a decoder
    that says features; overflow: the cells that there was no room for, of the shape's own and of those that were predicted.
    """
    true = seen.levels.keys[0]
    at, back = jax.vmap(sparse.places)(free.keys, true), jax.vmap(sparse.places)(true, free.keys)
    both, again = at < free.keys.shape[1], sparse.moved(free.values, at, back)
    count = lambda there: there.sum(range(1, there.ndim), dtype=jnp.float32)
    every = count(true < sparse.ABSENT) + count(free.keys < sparse.ABSENT) - count(both)
    found = {"structure_iou": count(both) / jnp.maximum(every, 1)}
    if given.logits:
        parents = (seen.levels.keys[1] < sparse.ABSENT)[..., None]
        there, likely = seen.levels.links[0].children < true.shape[1], (given.logits[0] > 0) & parents
        found["structure_iou_given"] = count(there & likely) / jnp.maximum(count(there | likely), 1)
    (near, shown), (own, told) = (jnp.split(values, [CORNERS], -1) for values in (again, given.values))
    found["corner_error"] = corner_error(near, seen.corners, jnp.where(both, true, sparse.ABSENT))
    found["corner_error_given"] = corner_error(own, seen.corners, true)
    if told.shape[-1]:
        found["feature_error"] = feature_error(shown, seen.feature, both & seen.viewed)
        found["feature_error_given"] = feature_error(told, seen.feature, seen.viewed)
    return found | {"overflow": (free.lost + seen.lost).astype(jnp.float32)}
