"""Batches as a pure function of the cache, the seed and the step: the step is the data's position, nothing is stored.

All of it is traced inside the jitted step.
"""

import dataclasses
import functools
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from hexjax.geometry import hexplane, symmetry
from hexjax.types import Array, Batch, Hexplane, Mesh, Params

MAPS = Hexplane._fields  # depth, normal, mask
POOLS = {  # by the section of the config that has their sizes
    "sdf": ("points", "sdf", "sure", "slack", "seen"),
    "surface": ("surface", "surface_normal"),
    "salient": ("salient", "salient_normal"),
    "views": ("views", "pose", "condition"),
}
DIFFERENT = ("views",)  # pools of which a step draws no place twice
CELLS = ("cells", "corner_distance", "alive")
SHOWN = ("feature", "viewed")  # of cells, by views
TURNS = {  # how a field turns with its shape; what is not here, nor is `cells`, does not change
    "depth": symmetry.images, "mask": symmetry.images, "silhouette_distance": symmetry.images, "voxels": symmetry.grid,
    "distance_grid": symmetry.grid, "corner_distance": symmetry.corners,
    "normal": lambda value, index: symmetry.vectors(symmetry.images(value, index), index),
    **dict.fromkeys(("points", "surface", "surface_normal", "salient", "salient_normal"), symmetry.vectors),
}  # fmt: skip
UNTURNED = (
    "inside",
    "latent",
    "place",
    "mean",
    "deviation",
    "views",
    "pose",
    "condition",
    "feature",
)  # stand for the shape as it is
MIRROR = int(np.flatnonzero((np.diag([-1, 1, 1]) == symmetry.MATRICES).all((1, 2)))[0])
SYMMETRIES = {"none": (0,), "mirror": (0, MIRROR), "cube": tuple(range(symmetry.COUNT))}
STREAMS = {"sdf": "points"}  # of a pool's draws, where it isn't the pool's name


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["fields", "meshes", "parents"],
    meta_fields=["inputs", "count", "pools", "resolution", "augment", "side"],
)
@dataclasses.dataclass(frozen=True)
class Cache:
    """A run's data on the device: fields of all shapes, for maps that are rendered in every step the meshes, and parents.

    A dataclass and no NamedTuple, because the counts are static: they are part of the program.
    """

    fields: dict[str, Array]  # name -> [i, ...]
    meshes: Mesh | None  # vertices [i, n, 3], faces [i, f, 3]; None: the maps are among the fields
    parents: dict[str, Params]  # the parameters of the runs that the family stands on
    inputs: tuple[str, ...]
    count: int  # shapes
    pools: tuple[tuple[str, int, int], ...]  # of those there are: name, points a shape, points a batch draws of it
    resolution: int  # pixels a side of the maps
    augment: str = "none"  # the symmetries of the cube that a step draws of: none | mirror: left and right | cube
    side: int = 0  # of the grid of `cells`


def batch_at(cache: Cache, step: int | Int[Array, ""], seed: int | Int[Array, ""], batch_size: int) -> Batch:
    """The batch of a step: the fields that the cache was built for, each with a leading b, and `item` [b] int32.

    Shapes come in a new order in every epoch, each once an epoch, whatever the batch size; an epoch may end inside a
    batch. Of each shape's pools places are drawn with replacement, of its views without. Exact up to 2^31 shapes seen.

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
    drawn = {
        pool: _places(stream_key(seed, STREAMS.get(pool, pool), step), pool, batch_size, size, points)
        for pool, size, points in cache.pools
    }
    batch, choices = _take(cache, item, drawn), SYMMETRIES[cache.augment]
    if len(choices) == 1:
        return batch
    choice = jax.random.randint(stream_key(seed, "symmetry", step), (batch_size,), 0, len(choices))
    return jax.vmap(functools.partial(turned, side=cache.side))(batch, jnp.asarray(choices)[choice])


def turned(fields: dict[str, Array], index: Int[Array, ""], side: int = 0) -> dict[str, Array]:
    """The fields of one shape under a symmetry of the cube, by its number in `geometry.symmetry`; others are as they were.

    Args:
        side: of the grid whose `cells` there are. Those that are not `alive` stay.
    """

    def cells(value: Array, index: Int[Array, ""]) -> Array:
        moved = symmetry.cells(value, side, index)
        return jnp.where(fields["alive"][:, None], moved, value) if "alive" in fields else moved

    turns = TURNS | {"cells": cells}
    return {name: turns.get(name, lambda value, index: value)(value, index) for name, value in fields.items()}


def fixed(cache: Cache, items: Int[Array, "b"]) -> Batch:
    """The batch of the given shapes, always with the same places of each pool, spread evenly over it."""
    items, places = jnp.asarray(items, jnp.int32), {}
    for pool, size, points in cache.pools:
        spread = np.linspace(0, size, points, endpoint=False).astype(np.int32)
        places[pool] = jnp.broadcast_to(spread, (len(items), points))
    return _take(cache, items, places)


def stream_key(seed: int | Int[Array, ""], stream: str, number: int | Int[Array, ""]) -> PRNGKeyArray:
    """The key of a named stream of the data at a step or epoch."""
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(f"data.{stream}".encode()))
    return jax.random.fold_in(root, number)


def _places(key: PRNGKeyArray, pool: str, shapes: int, size: int, points: int) -> Int[Array, "b p"]:
    if pool in DIFFERENT:
        return jnp.argsort(jax.random.uniform(key, (shapes, size)))[:, :points]
    return jax.random.randint(key, (shapes, points), 0, size)


def pool_size(config: Any, pool: str) -> tuple[int, int]:
    """How many places a pool has for a training, and how many a batch draws of it."""
    if pool == "views":
        return config.views.count - config.views.held, config.views.drawn
    return config[pool].pool_points, config[pool].points


def _take(cache: Cache, item: Int[Array, "b"], places: dict[str, Any]) -> Batch:
    batch, pool_of = {"item": item}, {name: pool for pool, names in POOLS.items() for name in names}
    for name, field in cache.fields.items():
        batch[name] = field[item[:, None], places[pool_of[name]]] if name in pool_of else field[item]
    if cache.meshes is not None:
        maps = hexplane.render_padded(cache.meshes.vertices[item], cache.meshes.faces[item], cache.resolution)
        batch |= {name: value for name, value in maps._asdict().items() if name in cache.inputs}
    return batch
