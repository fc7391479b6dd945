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
from jaxtyping import Int, PRNGKeyArray

from hexjax import rules
from hexjax.data import batches, cache, sources
from hexjax.diagnostics import collapse, witness
from hexjax.models import family as families
from hexjax.models.family import Family, Knobs
from hexjax.training import optimiser as optimisers
from hexjax.training.optimiser import Optimiser
from hexjax.types import Array, Batch, Item, TrainState

BatchAt = Callable[[Any, Any, Any], Batch]  # (cache, step, seed) -> batch, pure and jittable
Fixed = Callable[[Any], Batch]  # cache -> a batch that is always the same
Loss = Callable[..., tuple[Array, dict[str, Array]]]  # (params, batch, key, step, knobs), as a family's
Seed = int | Int[Array, ""]


class Data(NamedTuple):
    """What a run trains on: the cache on the device, and how batches come out of it."""

    cache: Any
    batch_at: BatchAt
    fixed: Fixed  # for validation
    probe: Fixed  # for diagnostics


def load(config: ml_collections.ConfigDict, mode: str) -> tuple[list[Item], Family | None, Data | None]:
    """The shapes that a config names, its family (none for ceiling and sweep) and, where it trains, the data of the run.

    Raises:
        ValueError: for data or a family that do not load or do not fit.
    """
    side = config.hexplane.resolution_px
    family = None
    if mode not in ("ceiling", "sweep"):
        family = families.get(config.model.family)({"mask": jax.ShapeDtypeStruct((6, side, side), bool)}, config)
    data = config.data
    entries = sources.listing(data.path, data.source, data.count, config.seed)
    if mode == "train":
        _refuse_few(config, data.count or len(entries))
    items = sources.load(entries, data.up, data.count)
    return items, family, prepare(family, config, items) if mode == "train" else None


def prepare(family: Family, config: ml_collections.ConfigDict, items: Sequence[Item]) -> Data:
    """The data of a run: maps rendered once, query points made once; the fixed batch is of the first shapes.

    Raises:
        ValueError: for a field that no batch has, a batch larger than the number of shapes, or too few for a teacher.
    """
    _refuse_few(config, len(items))
    points, count = config.sdf.points, config.train.batch_size
    fuse = functools.partial(family.field, None)  # what rendered maps say: the field of a perfect decoder
    resolution, pool_points = config.hexplane.resolution_px, config.sdf.pool_points
    stored = cache.build(items, family.inputs, resolution, pool_points, config.seed, config.data.cached, fuse)
    batch_at = functools.partial(batches.batch_at, batch_size=count, points=points)
    jax.eval_shape(batch_at, stored, 0, 0)
    first = lambda number, points: functools.partial(batches.fixed, items=np.arange(number), points=points)
    return Data(stored, batch_at, first(count, points), first(min(config.diagnostics.shapes, stored.count), 1))


def _refuse_few(config: ml_collections.ConfigDict, count: int) -> None:
    """Nothing, if a training can do with at most so many shapes."""
    rules.check_teacher(config, count)
    if config.train.batch_size > count:
        raise ValueError(
            f"config.train.batch_size is {config.train.batch_size}; accepted: 1 to {count}, the number of shapes"
        )


def stream_key(seed: Seed, stream: str, step: int | Int[Array, ""]) -> PRNGKeyArray:
    """The key of a named stream at a step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode())), step)


def objective(family: Family, config: ml_collections.ConfigDict) -> Loss:
    """The loss that is trained: the family's, and where a witness is asked to train, its alignment loss beside it.

    In the first `witness.prefit_steps` steps it is the distance of the mean to the teacher's analytic code instead.
    """
    if not config.witness.classes or (config.witness.weight == 0 and config.witness.prefit_steps == 0):
        return family.loss
    temperature = config.witness.temperature

    def loss(params: Any, batch: Batch, key: Array, step: Array, knobs: Knobs) -> tuple[Array, dict[str, Array]]:
        total, parts = family.loss(params, batch, key, step, knobs)
        mean, teacher = family.encode(params, batch, None, knobs).statistics["mean"], batch["teacher"]
        alignment = witness.alignment(mean, teacher, temperature)
        code = witness.closed_form_code(teacher, temperature)
        prefit = jnp.mean(jnp.square(mean.reshape(len(code), -1)[:, : code.shape[1]] - code).sum(-1)) / 2
        total = jnp.where(step < knobs["witness.prefit_steps"], prefit, total + knobs["witness.weight"] * alignment)
        return total, parts | {"alignment": alignment, "prefit": prefit}

    return loss


def make_init(family: Family, optimiser: Optimiser, fixed: Fixed) -> Callable[[Any, Seed], TrainState]:
    """A function of the cache and the seed: the state before the first step.

    As soon as it is traced it raises a ValueError for a group of `optimiser.scale` that the parameters lack.
    """

    def init(cache: Any, seed: Seed) -> TrainState:
        params = family.init(fixed(cache), stream_key(seed, "init", 0))
        optimiser.check_groups(params)
        average = jax.tree.map(jnp.copy, params) if optimiser.ema else None  # the step consumes both
        return TrainState(jnp.int32(0), params, optimiser.direction.init(params), average)

    return init


def make_step(
    loss: Loss, optimiser: Optimiser, batch_at: BatchAt
) -> Callable[[TrainState, Any, Knobs, Seed], tuple[TrainState, dict[str, Array]]]:
    """The step: (state, cache, knobs, seed) to the next state and the step's metrics. Pure; the caller compiles it.

    A group of scale 0 gives no gradient, so that the gradient's norm and its clipping are those of what is trained.
    """

    def trained(params: Any, *given: Any) -> tuple[Array, dict[str, Array]]:
        return loss(optimiser.held(params), *given)

    def step(state: TrainState, cache: Any, knobs: Knobs, seed: Seed) -> tuple[TrainState, dict[str, Array]]:
        batch, key = batch_at(cache, state.step, seed), stream_key(seed, "loss", state.step)
        value_and_grad = jax.value_and_grad(trained, has_aux=True)
        (total, parts), gradient = value_and_grad(state.params, batch, key, state.step, knobs)
        norm = optax.tree.norm(gradient)
        gradient = optimisers.clip(gradient, norm, knobs["optimiser.clip_norm"])
        direction, memory = optimiser.direction.update(gradient, state.optimiser, state.params)
        rate = knobs["optimiser.learning_rate"] * optimiser.schedule(state.step)
        params = optimiser.moved(state.params, direction, rate)
        average = optimiser.averaged(state.average, params, state.step) if optimiser.ema else None
        norms = {"gradient_norm": norm, "parameter_norm": optax.tree.norm(params)}
        norms["gradient_clipped"] = collapse.clip_removed(norm, knobs["optimiser.clip_norm"])
        metrics = {"loss": total, **parts, **norms, "learning_rate": rate}
        return TrainState(state.step + 1, params, memory, average), metrics

    return step


def make_validate(loss: Loss, fixed: Fixed, seed: int) -> Callable[[TrainState, Any, Knobs], dict[str, Array]]:
    """The jitted validation: the training's own loss on a fixed batch with a fixed key.

    It is of the averaged parameters where the state has some, as evaluation is.
    """

    def validate(state: TrainState, cache: Any, knobs: Knobs) -> dict[str, Array]:
        key = stream_key(seed, "validation", 0)
        total, parts = loss(state.evaluated, fixed(cache), key, state.step, knobs)
        return {"validation.loss": total} | {f"validation.{name}": value for name, value in parts.items()}

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
