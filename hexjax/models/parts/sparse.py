"""Truly sparse grids: the cells that are there, sorted along Morton's curve, and convolutions that see those alone.

A cell's key interleaves the bits of its x, y and z, so that its eight children have the keys 8 k to 8 k + 7, in the order of
corners, and its parent k // 8. A shape has room for a fixed number of cells; those that are not there have the key ABSENT,
after all others, and no neighbours. An index that points at no cell is the number of cells, one past the last.

Arrays of keys are one shape's: vmap them. Features have a leading b, so that a batch is gathered and multiplied as one.
Backward passes gather too: nothing is scattered, and the sums come in the same order each time.

Source: submanifold convolutions, Graham et al. 2018 (arXiv:1711.10275); a backward pass by the symmetric table: ours.
"""

import functools
import itertools
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax.types import Array

MOST = 1024  # cells a side
ABSENT = MOST**3
OFFSETS = np.array(list(np.ndindex(3, 3, 3)), np.int32) - 1  # [27, 3]; the middle one is the cell itself
SPREAD = ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249))  # bits of ten to two zeros between each


class Link(NamedTuple):
    """What ties a level to the next finer one.

    children [*b, m, 8]: the place among the finer cells of each child of a coarser one; slots [*b, n]: the place among
    the 8 m children of each finer cell. Each is the other backwards.
    """

    children: Int[Array, "*b m 8"]
    slots: Int[Array, "*b n"]


class Levels(NamedTuple):
    """The cells of a batch of shapes, finest level first, with each level's neighbours and the links between them."""

    keys: tuple[Int[Array, "b n"], ...]
    tables: tuple[Int[Array, "b n 27"], ...]
    links: tuple[Link, ...]


def keys_of(cells: Int[Array, "n 3"], alive: Bool[Array, "n"]) -> Int[Array, "n"]:
    """The key of each cell, in no order."""
    x, y, z = (_spread(cells[:, axis].astype(jnp.int32)) for axis in range(3))
    return jnp.where(alive, (x << 2) | (y << 1) | z, ABSENT)


def cells_of(keys: Int[Array, "n"]) -> Int[Array, "n 3"]:
    """The cells that have these keys; of ABSENT, 0."""
    known = jnp.where(keys < ABSENT, keys, 0)
    return jnp.stack([_gathered_bits(known >> shift) for shift in (2, 1, 0)], -1)


def cells_at(place: Float[Array, "*b 3"], side: int) -> Int[Array, "*b 3"]:
    """The cells whose centres these are."""
    return jnp.round((jnp.asarray(place) + 1) * (side / 2) - 0.5).astype(jnp.int32)


def ordered(cells: Int[Array, "n 3"], alive: Bool[Array, "n"]) -> tuple[Int[Array, "n"], Int[Array, "n"]]:
    """The sorted keys of cells, and which of the cells stands where."""
    keys = keys_of(cells, alive)
    order = jnp.argsort(keys)
    return keys[order], order


def places(keys: Int[Array, "n"], wanted: Int[Array, "*m"]) -> Int[Array, "*m"]:
    """The place of each wanted key among sorted ones; n of what is not there."""
    at = jnp.searchsorted(keys, wanted.reshape(-1), method="scan").reshape(wanted.shape)
    found = keys.at[jnp.minimum(at, len(keys) - 1)].get(mode="promise_in_bounds")
    return jnp.where((found == wanted) & (wanted < ABSENT), at, len(keys)).astype(jnp.int32)


def neighbours(keys: Int[Array, "n"], side: int) -> Int[Array, "n 27"]:
    """The places of the cells around each cell, and of itself, in the order of OFFSETS; a symmetric table.

    If i has j at offset k, j has i at 26 - k.
    """
    around = cells_of(keys)[:, None] + OFFSETS[None]
    within = ((around >= 0) & (around < side)).all(-1) & (keys < ABSENT)[:, None]
    wanted = keys_of(jnp.maximum(around, 0).reshape(-1, 3), within.reshape(-1))
    return places(keys, wanted.reshape(-1, len(OFFSETS)))


def halved(keys: Int[Array, "n"], capacity: int) -> tuple[Int[Array, "m"], Int[Array, ""]]:
    """The sorted keys of the parents of sorted cells, and how many there was no room for."""
    parents = jnp.where(keys < ABSENT, keys >> 3, ABSENT)
    first = jnp.concatenate([jnp.ones(1, bool), parents[1:] != parents[:-1]])
    found = jnp.sort(jnp.where(first, parents, ABSENT))
    found = jnp.pad(found, (0, max(0, capacity - len(found))), constant_values=ABSENT)
    return found[:capacity], (found[capacity:] < ABSENT).sum()


def link(coarse: Int[Array, "m"], fine: Int[Array, "n"]) -> Link:
    """What ties the sorted cells of a level to those of the next finer one."""
    wanted = jnp.where((coarse < ABSENT)[:, None], (coarse[:, None] << 3) | jnp.arange(8)[None], ABSENT)
    parent = places(coarse, jnp.where(fine < ABSENT, fine >> 3, ABSENT))
    slots = jnp.where(parent < len(coarse), 8 * parent + (fine & 7), 8 * len(coarse))
    return Link(places(fine, wanted), slots.astype(jnp.int32))


def levels(keys: Int[Array, "b n"], side: int, capacities: tuple[int, ...]) -> tuple[Levels, Int[Array, "b"]]:
    """Sorted cells with their parents, those with theirs and so on, and how many of them there was no room for.

    Args:
        side: cells a side of the finest level; capacities: of the coarser ones, finest first.
    """
    every, lost = [keys], jnp.zeros(len(keys), jnp.int32)
    for capacity in capacities:
        coarse, dropped = jax.vmap(functools.partial(halved, capacity=capacity))(every[-1])
        every, lost = [*every, coarse], lost + dropped
    tables = tuple(tables_of(level, side >> number) for number, level in enumerate(every))
    links = tuple(jax.vmap(link)(coarse, fine) for fine, coarse in itertools.pairwise(every))
    return Levels(tuple(every), tables, links), lost


def tables_of(keys: Int[Array, "b n"], side: int) -> Int[Array, "b n 27"]:
    """`neighbours` of a batch of shapes, found once: the compiler would look for them again in each convolution."""
    return jax.lax.optimization_barrier(jax.vmap(functools.partial(neighbours, side=side))(keys))


def pruned(
    coarse: Int[Array, "m"], logits: Float[Array, "m 8"], capacity: int
) -> tuple[Int[Array, "n"], Int[Array, ""]]:
    """The sorted keys of the children that are likelier there than not, and how many there was no room for.

    Beyond the capacity the least probable are dropped.
    """
    wanted = jnp.where((coarse < ABSENT)[:, None], (coarse[:, None] << 3) | jnp.arange(8)[None], ABSENT).reshape(-1)
    logits = jnp.where(wanted < ABSENT, logits.reshape(-1), -jnp.inf)
    order = jnp.argsort(-logits)  # stable: of equals the first along the curve stays
    kept = order[: min(capacity, len(order))]
    found = jnp.sort(jnp.where(logits[kept] > 0, wanted[kept], ABSENT))
    found = jnp.pad(found, (0, capacity - len(found)), constant_values=ABSENT)
    return found, jnp.maximum((logits > 0).sum() - capacity, 0)


# Features


@jax.custom_vjp
def convolve(
    x: Float[Array, "b n c"], kernel: Float[Array, "27 c d"], table: Int[Array, "b n 27"]
) -> Float[Array, "b n d"]:
    """The 3 x 3 x 3 convolution of features that are 0 where no cell is, at the cells: one gather and one product."""
    return _convolve(x, kernel, table)


def _convolve(x: Array, kernel: Array, table: Array) -> Array:
    found = _rows(x, table)
    return found.reshape(*found.shape[:2], -1) @ kernel.reshape(-1, kernel.shape[-1])


def _forward(x: Array, kernel: Array, table: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return _convolve(x, kernel, table), (x, kernel, table)


def _backward(kept: tuple[Array, Array, Array], slope: Array) -> tuple[Array, Array, None]:
    """As the table is symmetric, what a cell gave to others stands at the opposite offsets of its own row."""
    x, kernel, table = kept
    found = _rows(slope, table)  # serves both gradients
    turned = jnp.swapaxes(kernel[::-1], 1, 2)
    to_x = found.reshape(*found.shape[:2], -1) @ turned.reshape(-1, turned.shape[-1])
    rows, channels = x.shape[0] * x.shape[1], x.shape[-1]
    to_kernel = x.reshape(rows, channels).T @ found.reshape(rows, -1)
    to_kernel = jnp.moveaxis(to_kernel.reshape(channels, len(OFFSETS), -1), 1, 0)[::-1]
    return to_x, to_kernel, None


convolve.defvjp(_forward, _backward)


@jax.custom_vjp
def moved(x: Float[Array, "b n c"], index: Int[Array, "b m"], back: Int[Array, "b n"]) -> Float[Array, "b m c"]:
    """Features at an index, 0 where it is n; `back` is where each of them went, m for those that went nowhere."""
    return _rows(x, index)


moved.defvjp(
    lambda x, index, back: (_rows(x, index), back),
    lambda back, slope: (_rows(slope, back), None, None),
)


def gathered(x: Float[Array, "b n c"], link: Link) -> Float[Array, "b m 8 c"]:
    """Features of the finer cells as those of the children of the coarser ones, 0 of children that are not there."""
    shape = link.children.shape
    return moved(x, link.children.reshape(shape[0], -1), link.slots).reshape(*shape, x.shape[-1])


def spread(x: Float[Array, "b m 8 c"], link: Link) -> Float[Array, "b n c"]:
    """Features of all children as those of the finer cells: the inverse of `gathered` where they are there."""
    shape = link.children.shape
    return moved(x.reshape(shape[0], -1, x.shape[-1]), link.slots, link.children.reshape(shape[0], -1))


def _rows(x: Array, index: Array) -> Array:
    """Rows [b, *m, c] of each shape's features, 0 where the index is their number."""
    shapes, count, channels = x.shape
    rows = jnp.concatenate([x.reshape(-1, channels), jnp.zeros((1, channels), x.dtype)])
    first = count * jnp.arange(shapes, dtype=jnp.int32).reshape(-1, *(1,) * (index.ndim - 1))
    return rows.at[jnp.where(index < count, first + index, shapes * count)].get(mode="promise_in_bounds")


# Storage


def packed(keys: Int[np.ndarray, "n"], side: int) -> bytes:
    """The cells, by their keys, as an octree: the children of each cell as a byte, from the cube down, compressed."""
    level, masks = np.unique(keys), []
    for _ in range(max(1, (side - 1).bit_length())):
        parents, place = np.unique(level >> 3, return_inverse=True)
        found = np.zeros(len(parents), np.uint8)
        np.bitwise_or.at(found, place, (1 << (level & 7)).astype(np.uint8))
        masks, level = [found.tobytes(), *masks], parents
    return zlib.compress(b"".join(masks), 9)


def unpacked(data: bytes, side: int) -> Int[np.ndarray, "n"]:
    """The sorted keys that were packed: its inverse."""
    masks, keys, start = np.frombuffer(zlib.decompress(data), np.uint8), np.zeros(1, np.int32), 0
    for _ in range(max(1, (side - 1).bit_length())):
        found = masks[start : start + len(keys), None] >> np.arange(8) & 1
        start += len(keys)
        keys = (8 * keys[: len(found), None] + np.arange(8, dtype=np.int32))[found == 1]
    return keys


def _spread(x: Array) -> Array:
    for shift, mask in SPREAD:
        x = (x | (x << shift)) & mask
    return x


def _gathered_bits(x: Array) -> Array:
    x = x & SPREAD[-1][1]
    for (shift, _), (_, mask) in zip(SPREAD[::-1], [*SPREAD[-2::-1], (0, MOST - 1)]):
        x = (x | (x >> shift)) & mask
    return x
