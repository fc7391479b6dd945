"""The one step program: batch, loss, gradient and update in a single jitted function of the state and the cache.

Randomness is a function of (seed, stream name, step): no key is stored, so a resumed run draws the same.
"""

import functools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Int, PRNGKeyArray

from hexjax import progress, rules
from hexjax.data import batches, fields, sets, sources, split
from hexjax.diagnostics import collapse, witness
from hexjax.models import family as families
from hexjax.models.family import Family, Knobs
from hexjax.training import optimiser as optimisers
from hexjax.training.optimiser import Optimiser
from hexjax.types import Array, Batch, Item, Params, Spec, TrainState

BatchAt = Callable[[Any, Any, Any], Batch]  # (cache, step, seed) -> batch, pure and jittable
Fixed = Callable[[Any], Batch]  # cache -> a batch that is always the same
# (params, batch, key, step, knobs), as a family's; None where nothing is trained, and then no step is taken
Loss = Callable[..., tuple[Array, dict[str, Array]]] | None
Shapes = dict[str, tuple[list[Item], split.Split]]  # by what asked for them
Seed = int | Int[Array, ""]


class Data(NamedTuple):
    """What a run trains on: the cache on the device, and how batches come out of it."""

    cache: Any
    batch_at: BatchAt
    fixed: Fixed  # for validation
    probe: Fixed  # for diagnostics
    held_out: Any = None  # a cache of shapes that validate, where the config splits some off


class Loaded(NamedTuple):
    """What a command works on: the shapes, what they and the config can give, the family, and where it trains its data."""

    items: list[Item]
    split: split.Split
    spec: Spec
    family: Family | None  # none for a sweep, whose cells have one each
    data: Data | None


def load(
    config: ml_collections.ConfigDict,
    mode: str,
    known: Spec | None = None,
    parents: families.Parents | None = None,
    params: Mapping[str, Params] | None = None,
    shapes: Shapes | None = None,
) -> Loaded:
    """The shapes that a config names, its family, made for them, and where it trains, the data of the run.

    With data.source = latents they are those of the parent `latents`.

    Args:
        known: the spec of the run that is read or goes on.
        parents, params: the runs that it stands on, and their parameters.
        shapes: what was loaded last, taken where the same is asked for again, and filled here.

    Raises:
        ValueError: for data or a family that do not load or do not fit.
    """
    if mode != "sweep":
        families.check(config)
    own = config
    if config.data.source == "latents" and not config.data.path:
        if "latents" not in (parents or {}):
            raise ValueError("config.data.source is 'latents'; accepted with config.latents.run=RUN, a trained run")
        own = parents["latents"].config
    entries = sources.listing(own.data.path, own.data.source, own.data.count, own.seed, own.data.names)
    if mode == "train":
        _refuse_few(config, own.data.count or len(entries))
    asked, shapes = json.dumps([own.data.to_dict(), own.seed], sort_keys=True), {} if shapes is None else shapes
    if asked not in shapes:
        shapes.clear()
        shapes[asked] = sets.load(own, entries, mode == "train")
    items, parts = shapes[asked]
    latents = parents["latents"].latents if own is not config else None
    if mode != "sweep":
        items, parts = _served(items, parts, config, mode, parents, known, latents)
    train, held_out = ([items[i] for i in part] for part in parts[:2])
    look = fields.look_of((parents or {}).get("views"), (params or {}).get("views"), config)
    spec = fields.spec(config, items, latents, look)._replace(shapes=len(train)) if known is None else known
    if mode == "sweep":
        return Loaded(items, parts, spec, None, None)
    why = next((f"{item.name} is points without faces" for item in items if not len(item.mesh.faces)), "")
    family = families.make(spec, config, parents, why)
    families.check_mode(family, config, mode)
    if mode != "train":
        return Loaded(items, parts, spec, family, None)
    check_stages(family, spec, config, params)
    data = prepare(family, config, train, latents, params, spec.categories, look)
    if held_out and not {"item", *fields.LATENT} & {*family.reads}:
        held = fields.build(
            held_out[: config.train.batch_size],
            data.cache.inputs,
            config,
            _fuse(family, config),
            None,
            params,
            spec.categories,
        )
        data = data._replace(held_out=held)
    return Loaded(items, parts, spec, family, data)


def _served(
    items: list[Item],
    parts: split.Split,
    config: ml_collections.ConfigDict,
    mode: str,
    parents: families.Parents | None,
    known: Spec | None,
    latents: Mapping[str, Array] | None,
) -> tuple[list[Item], split.Split]:
    """The shapes without those of points alone, which are told, where a mode or the family needs faces and others have some."""
    kept = [i for i, item in enumerate(items) if len(item.mesh.faces)]
    if len(kept) in (0, len(items)):
        return items, parts
    faced = [items[i] for i in kept]
    family = families.make(fields.spec(config, faced, latents) if known is None else known, config, parents)
    asked = family.sees if mode == "encode" else (*family.reads, *family.sees)
    needed = [name for name in asked if name not in (*fields.spec(config, items, latents).fields, "category")]
    if mode == "encode" and not needed:
        return items, parts
    why = f"the family reads {needed[0]!r}" if needed else "scores do"
    left = [item.name for item in items if not len(item.mesh.faces)]
    more = f" and {len(left) - sets.TOLD} more" * (len(left) > sets.TOLD)
    progress.tell(
        f"left out, as they are points without faces, and {why} of meshes with faces: {', '.join(left[: sets.TOLD])}{more}"
    )
    place = {old: new for new, old in enumerate(kept)}
    moved = [tuple(place[i] for i in part if i in place) for part in parts[:3]]
    if mode == "train" and not moved[0]:
        raise ValueError("config.data.split: all training shapes are points without faces; accepted: some with faces")
    return faced, parts._replace(train=moved[0], validation=moved[1], test=moved[2])


def prepare(
    family: Family,
    config: ml_collections.ConfigDict,
    items: Sequence[Item],
    latents: Mapping[str, Array] | None = None,
    parents: Mapping[str, Params] | None = None,
    categories: Sequence[str] = (),
    look: fields.Look | None = None,
) -> Data:
    """The data of a run: the fields that its family takes, made once; the fixed batch is of the first shapes.

    Args:
        latents, parents, categories, look: as `fields.build` takes them.

    Raises:
        ValueError: for a batch larger than the number of shapes, too few for a teacher, or a field that no shape gives.
    """
    _refuse_few(config, len(items))
    names = tuple(dict.fromkeys((*family.reads, *family.sees)))
    stored = fields.build(items, names, config, _fuse(family, config), latents, parents, categories, look)
    batch_at = functools.partial(batches.batch_at, batch_size=config.train.batch_size)
    jax.eval_shape(batch_at, stored, 0, 0)
    first = lambda number: functools.partial(batches.fixed, items=np.arange(number))
    return Data(stored, batch_at, first(config.train.batch_size), first(min(config.diagnostics.shapes, stored.count)))


def _fuse(family: Family, config: ml_collections.ConfigDict) -> fields.Fuse | None:
    return fields.fuse_of(family, config) if family.ideal is not None else None


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
    """The loss that is trained: the family's, and where a witness is asked to train, or may be, its alignment loss beside it.

    In the first `witness.prefit_steps` steps it is the distance of the mean to the teacher's analytic code instead.
    """
    trains = config.witness.weight or config.witness.prefit_steps or config.diagnostics.on_collapse == "escape"
    if not config.witness.classes or not trains:
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


def start(family: Family, config: ml_collections.ConfigDict, count: int) -> Fixed:
    """The shapes that a family may start from: the first `starts` of so many, or those of a batch where they are more."""
    return functools.partial(batches.fixed, items=np.arange(min(max(config.train.batch_size, family.starts), count)))


def make_init(family: Family, optimiser: Optimiser, fixed: Fixed) -> Callable[[Any, Seed], TrainState]:
    """A function of the cache and the seed: the state before the first step.

    `fixed` gives the shapes that a family may start from: see `start`. Where nothing is trained the optimiser has no memory.

    As soon as it is traced it raises a ValueError for a group of `optimiser.scale` that the parameters lack.
    """

    def init(cache: Any, seed: Seed) -> TrainState:
        params = family.init(fixed(cache), stream_key(seed, "init", 0), cache.parents)
        optimiser.check_groups(params)
        average = jax.tree.map(jnp.copy, params) if optimiser.ema else None  # the step consumes both
        memory = optimiser.direction.init(params if family.loss is not None else {})
        return TrainState(jnp.int32(0), params, memory, average)

    return init


def make_step(
    loss: Loss, optimiser: Optimiser, batch_at: BatchAt
) -> Callable[[TrainState, Any, Knobs, Seed], tuple[TrainState, dict[str, Array]]]:
    """The step: (state, cache, knobs, seed) to the next state and the step's metrics. Pure; the caller compiles it.

    A group of scale 0 gives no gradient, so that the gradient's norm and its clipping are those of what is trained.
    """

    def step(state: TrainState, cache: Any, knobs: Knobs, seed: Seed) -> tuple[TrainState, dict[str, Array]]:
        batch, key = batch_at(cache, state.step, seed), stream_key(seed, "loss", state.step)
        whole = lambda params, *given: loss(families.whole(optimiser.held(params), cache.parents), *given)
        value_and_grad = jax.value_and_grad(whole, has_aux=True)
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
        total, parts = loss(families.whole(state.evaluated, cache.parents), fixed(cache), key, state.step, knobs)
        return {"validation.loss": total} | {f"validation.{name}": value for name, value in parts.items()}

    return jax.jit(validate)


def check_stages(
    family: Family, spec: Spec, config: ml_collections.ConfigDict, parents: Mapping[str, Params] | None = None
) -> None:
    """Nothing; traces init, encode, decode and field on what the spec says, so that their faults show before data are made.

    Raises:
        ValueError: if the field of p points is not [p]; for a group of `optimiser.scale` that the parameters lack.
    """
    batch = {name: jax.ShapeDtypeStruct((2, *each.shape), each.dtype) for name, each in spec.fields.items()}

    def field(batch: Batch, parents: Mapping[str, Params]) -> Array | None:
        key = stream_key(config.seed, "evaluation", 0)
        params = family.init(batch, key, parents)
        optimisers.make(config).check_groups(params)
        params = families.whole(params, parents)
        if family.encode is None:
            return None
        latent = family.encode(params, {name: batch[name] for name in (*family.sees, "item")}, key)
        if family.field is None:
            return None
        decoded = jax.tree.map(lambda leaf: leaf[0], family.decode(params, latent))
        return family.field(params, decoded, jnp.zeros((7, 3), jnp.float32))

    found = jax.eval_shape(field, batch, dict(parents or {}))
    if found is not None and found.shape != (7,):
        raise ValueError(f"family.field of 7 points has the shape {found.shape}; accepted: (7,)")
