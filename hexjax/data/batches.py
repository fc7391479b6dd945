"""Batches as a pure function of the cache, the seed and the step: the step is the data's position, nothing is stored.

All of it is traced inside the jitted step.
"""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from hexjax.data import cache as caches
from hexjax.geometry import hexplane
from hexjax.types import Array, Batch


def batch_at(
    cache: caches.Cache, step: int | Int[Array, ""], seed: int | Int[Array, ""], batch_size: int, points: int
) -> Batch:
    """The batch of a step: the fields that the cache was built for, each with a leading b, and `item` [b] int32.

    Shapes come in a new order in every epoch, each once an epoch, whatever the batch size; an epoch may end inside a
    batch. Of each shape's pool `points` places are drawn with replacement. Exact up to 2^31 shapes seen.

    Raises:
        ValueError: for a batch size above the number of shapes.
    """
    if not 1 <= batch_size <= cache.count:
        raise ValueError(f"config.train.batch_size is {batch_size}; accepted: 1 to {cache.count}, the number of shapes")
    step = jnp.asarray(step, jnp.int32)
    first = step * batch_size
    epoch, place = first // cache.count, first % cache.count
    orders = [jax.random.permutation(stream_key(seed, "order", epoch + i), cache.count) for i in (0, 1)]
    item = jax.lax.dynamic_slice_in_dim(jnp.concatenate(orders), place, batch_size)
    drawn = jax.random.randint(stream_key(seed, "points", step), (batch_size, points), 0, max(cache.pool_points, 1))
    return _take(cache, item, drawn)


def fixed(cache: caches.Cache, items: Int[Array, "b"], points: int) -> Batch:
    """The batch of the given shapes, always with the same `points` places of each pool, spread evenly over it."""
    items = jnp.asarray(items, jnp.int32)
    places = np.linspace(0, max(cache.pool_points, 1), points, endpoint=False).astype(np.int32)
    return _take(cache, items, jnp.broadcast_to(places, (len(items), points)))


def stream_key(seed: int | Int[Array, ""], stream: str, number: int | Int[Array, ""]) -> PRNGKeyArray:
    """The key of a named stream of the data at a step or epoch."""
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(f"data.{stream}".encode()))
    return jax.random.fold_in(root, number)


def _take(cache: caches.Cache, item: Int[Array, "b"], places: Int[Array, "b p"]) -> Batch:
    batch = {"item": item}
    for name, field in cache.fields.items():
        batch[name] = field[item[:, None], places] if name in caches.POOL else field[item]
    if cache.meshes is not None:
        maps = hexplane.render_padded(cache.meshes.vertices[item], cache.meshes.faces[item], cache.resolution)
        batch |= {name: value for name, value in maps._asdict().items() if name in cache.inputs}
    return batch
