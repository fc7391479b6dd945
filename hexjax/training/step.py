"""The one step program: batch, loss, gradient and update in a single jitted function of the state and the cache.

Randomness is a function of (seed, stream name, step): no key is stored, so a resumed run draws the same.
"""

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Float, Int, PRNGKeyArray

from hexjax.data import batches, cache, sources
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training.optimiser import Optimiser
from hexjax.types import Array, Batch, Item, TrainState

Knobs = dict[str, Float[Array, "*sweep"]]
BatchAt = Callable[[Any, Any], Batch]  # (cache, step) -> batch, pure and jittable
Fixed = Callable[[Any], Batch]  # cache -> the batch for validation


class Data(NamedTuple):
    """What a run trains on: the cache on the device, and how batches come out of it."""

    cache: Any
    batch_at: BatchAt
    fixed: Fixed


def load(config: ml_collections.ConfigDict, mode: str) -> tuple[list[Item], Family | None, Data | None]:
    """The shapes that a config names, its family (none for the ceiling) and, where it trains, the data of the run.

    Raises:
        ValueError: for data or a family that do not load or do not fit.
    """
    side = config.hexplane.resolution_px
    family = None
    if mode != "ceiling":
        family = families.get(config.model.family)({"mask": jax.ShapeDtypeStruct((6, side, side), bool)}, config)
    items = sources.items(config.data.path, config.data.source, config.data.up, config.data.count, config.seed)
    return items, family, prepare(family, config, items) if mode == "train" else None


def prepare(family: Family, config: ml_collections.ConfigDict, items: Sequence[Item]) -> Data:
    """The data of a run: maps rendered once, query points made once; the fixed batch is of the first shapes.

    Raises:
        ValueError: for a field that no batch has, or a batch larger than the number of shapes.
    """
    points, count = config.sdf.points, config.train.batch_size
    fuse = functools.partial(family.field, None)  # what rendered maps say: the field of a perfect decoder
    resolution, pool_points = config.hexplane.resolution_px, config.sdf.pool_points
    stored = cache.build(items, family.inputs, resolution, pool_points, config.seed, config.data.cached, fuse)
    batch_at = functools.partial(batches.batch_at, seed=config.seed, batch_size=count, points=points)
    jax.eval_shape(batch_at, stored, 0)
    return Data(stored, batch_at, functools.partial(batches.fixed, items=np.arange(count), points=points))


def knobs(config: ml_collections.ConfigDict) -> Knobs:
    """Scalars that may vary without a new program: the numbers of kl, the weight of the SDF, the learning rate."""
    values = {f"kl.{name}": value for name, value in config.kl.items() if not isinstance(value, str)}
    values["sdf.weight"] = config.sdf.weight
    values["optimiser.learning_rate"] = config.optimiser.learning_rate
    return {name: jnp.float32(value) for name, value in values.items()}


def stream_key(seed: int, stream: str, step: int | Int[Array, ""]) -> PRNGKeyArray:
    """The key of a named stream at a step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode())), step)


def make_init(family: Family, optimiser: Optimiser, fixed: Fixed, seed: int) -> Callable[[Any], TrainState]:
    """A function of the cache: the state before the first step."""

    def init(cache: Any) -> TrainState:
        params = family.init(fixed(cache), stream_key(seed, "init", 0))
        return TrainState(jnp.int32(0), params, optimiser.direction.init(params))

    return init


def make_step(
    family: Family, optimiser: Optimiser, batch_at: BatchAt, seed: int
) -> Callable[[TrainState, Any, Knobs], tuple[TrainState, dict[str, Array]]]:
    """The jitted step: (state, cache, knobs) to the next state and the step's metrics; the state given is consumed."""

    def step(state: TrainState, cache: Any, knobs: Knobs) -> tuple[TrainState, dict[str, Array]]:
        batch, key = batch_at(cache, state.step), stream_key(seed, "loss", state.step)
        value_and_grad = jax.value_and_grad(family.loss, has_aux=True)
        (loss, parts), gradient = value_and_grad(state.params, batch, key, state.step, knobs)
        direction, memory = optimiser.direction.update(gradient, state.optimiser, state.params)
        rate = knobs["optimiser.learning_rate"] * optimiser.schedule(state.step)
        params = optax.apply_updates(state.params, jax.tree.map(lambda update: rate * update, direction))
        norms = {"gradient_norm": optax.tree.norm(gradient), "parameter_norm": optax.tree.norm(params)}
        return TrainState(state.step + 1, params, memory), {"loss": loss, **parts, **norms, "learning_rate": rate}

    return jax.jit(step, donate_argnums=0)


def make_validate(family: Family, fixed: Fixed, seed: int) -> Callable[[TrainState, Any, Knobs], dict[str, Array]]:
    """The jitted validation: the training's own loss on a fixed batch with a fixed key."""

    def validate(state: TrainState, cache: Any, knobs: Knobs) -> dict[str, Array]:
        key = stream_key(seed, "validation", 0)
        loss, parts = family.loss(state.params, fixed(cache), key, state.step, knobs)
        return {"validation.loss": loss} | {f"validation.{name}": value for name, value in parts.items()}

    return jax.jit(validate)


def check_stages(family: Family, fixed: Fixed, state: TrainState, cache: Any, seed: int) -> None:
    """Nothing; traces encode, decode and field, without compiling or running them: their faults show before step 0.

    Raises:
        ValueError: if the field of p points is not [p].
    """

    def field(params: Any, cache: Any) -> Array:
        latent = family.encode(params, fixed(cache), stream_key(seed, "evaluation", 0))
        decoded = jax.tree.map(lambda leaf: leaf[0], family.decode(params, latent))
        return family.field(params, decoded, jnp.zeros((7, 3), jnp.float32))

    shape = jax.eval_shape(field, state.params, cache).shape
    if shape != (7,):
        raise ValueError(f"family.field of 7 points has the shape {shape}; accepted: (7,)")
