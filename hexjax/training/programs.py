"""Compiled programs of a sweep: training, measuring and judging all runs of a cell at once.

Cells that differ only in knobs, names or seeds share their programs.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from hexjax.data import batches, fields
from hexjax.diagnostics import collapse, measure, witness
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import escape, optimiser, step
from hexjax.types import Array, Batch, TrainState

JUDGED = 256  # held-out shapes in the end, and training shapes for calibration and the witness
MESHED, NODES = 16, 24  # decoded fields that are looked at for a surface, and their nodes a side
SAMPLED = 64  # draws from the prior
PAIRED, SMALL = 512, 128  # training shapes whose posteriors are compared in pairs, where the latent has few floats


class Programs(NamedTuple):
    """The compiled functions of all cells that differ in knobs only; runs are the leading axis."""

    family: Family
    init: Any
    advance: Any
    measure: Any
    extra: Any
    certify: Any
    lower: Any
    forecast: Any
    once: Any  # a single step, as `advance`; the state stays
    margin: Any


def static(config: ml_collections.ConfigDict, settings: Sequence[dict[str, float]] = ()) -> str:
    """The config as text without what is a knob or a name: cells of equal text share their programs.

    Of the witness the largest values of all settings are kept, and of the signed distance whether it is supervised: whether
    they train at all is the program's.
    """
    kept = ml_collections.ConfigDict(config.to_dict())
    for name in ("weight", "prefit_steps"):
        with kept.ignore_type():
            kept.witness[name] = max([kept.witness[name], *(each.get(f"witness.{name}", 0) for each in settings)])
    kept.name = kept.data.path = kept.data.source = kept.sweep.control = ""
    kept.sweep.cells, kept.sweep.shapes, kept.sweep.seeds = (), 0, 1
    kept.sweep.start, kept.sweep.constant_mean, kept.sweep.forget = "", False, False
    supervised = float(config.sdf.weight > 0)
    for key in families.knobs(config):
        section, name = key.split(".")
        with kept.ignore_type():
            kept[section][name] = 0.0 if section != "witness" else kept[section][name]
    kept.sdf.weight = supervised
    return kept.to_json(sort_keys=True)


def make(text: str, count: int, together: str) -> Programs:
    """The programs of cells of that `static` text and number of training shapes; together is vmap or map."""
    tuples = lambda section: {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
    config = ml_collections.ConfigDict(json.loads(text, object_hook=tuples))
    family = families.make(fields.spec(config, ())._replace(shapes=count), config)
    batch = min(config.train.batch_size, count)
    batch_at = functools.partial(batches.batch_at, batch_size=batch)
    adam = optimiser.make(config)
    loss = step.objective(family, config)
    one_init = step.make_init(family, adam, step.start(family, config, count))
    one_step = step.make_step(loss, adam, batch_at)
    forecast = escape.forecast(family, loss, adam, config.witness.temperature)

    def advance(state: TrainState, stored: Any, knobs: families.Knobs, seed: Array) -> tuple[TrainState, dict, Array]:
        def body(carry: TrainState, _: None) -> tuple[TrainState, dict]:
            return one_step(carry, stored, knobs, seed)

        state, metrics = jax.lax.scan(body, state, None, config.sweep.measure_every_steps)
        return state, jax.tree.map(lambda values: values[-1], metrics), jnp.isfinite(metrics["loss"]).all()

    def single(state: TrainState, stored: Any, knobs: families.Knobs, seed: Array) -> tuple[TrainState, dict, Array]:
        state, metrics = one_step(state, stored, knobs, seed)
        return state, metrics, jnp.isfinite(metrics["loss"])

    def moment(params: Any, batch: Batch, knobs: families.Knobs, seed: Array, known: Any, variance: Array) -> Any:
        key = step.stream_key(seed, "diagnostics", 0)
        return measure.measure(family.encode, family.probe, params, batch, key, knobs, known, variance)

    def certify(fitted: measure.Moment, judged: measure.Moment, t_train: Array, t_held: Array, *settings: Any) -> Any:
        return witness.certificate(fitted.mean, fitted.sample, t_train, judged.mean, judged.sample, t_held, *settings)

    def margin(params: Any, held: Batch, t: Array) -> Array:
        return escape.margin(family, params, held, t, config.witness.temperature)

    def lower(swaps: Array, seed: Array) -> Array:
        return collapse.bootstrap_lower(swaps, step.stream_key(seed, "bootstrap", 0))

    each = _each(together)
    if together == "vmap":
        trained = jax.jit(each(advance, (0, None, 0, 0)), donate_argnums=0)
    else:
        trained = _repeated(jax.jit(each(single, (0, None, 0, 0)), donate_argnums=0), config.sweep.measure_every_steps)
    return Programs(
        family,
        jax.jit(each(one_init, (None, 0))),
        trained,
        jax.jit(each(moment, (0, None, 0, 0, None, 0))),
        jax.jit(each(functools.partial(extra, family), (0, None, None, 0, 0))),
        jax.jit(each(certify, (0, 0, None, None, None, None))),
        jax.jit(each(lower, (0, 0))),
        jax.jit(each(forecast, (0, None, 0, 0, None, None))),
        jax.jit(each(single, (0, None, 0, 0))),
        jax.jit(each(margin, (0, None, None))),
    )


def _repeated(single: Any, count: int) -> Any:
    """The compiled step so many times, from the host: in a compiled loop XLA's convolutions are 25 times slower on a CPU."""

    def advance(state: TrainState, *given: Any) -> tuple[TrainState, dict, Array]:
        state, metrics, finite = single(state, *given)
        for _ in range(count - 1):
            state, metrics, now = single(state, *given)
            finite = finite & now
        return state, metrics, finite

    return advance


def _each(together: str) -> Any:
    """How a function of one run becomes one of all runs, given which arguments have a leading axis of runs (0 or None)."""
    if together == "vmap":
        return jax.vmap

    def mapped(function: Any, axes: tuple[int | None, ...]) -> Any:
        def over(*given: Any) -> Any:
            moved = [value for value, axis in zip(given, axes) if axis == 0]

            def one(values: list[Any]) -> Any:
                rest = iter(values)
                return function(*(next(rest) if axis == 0 else value for value, axis in zip(given, axes)))

            count = jax.tree.leaves(moved)[0].shape[0]  # unrolled: see `_repeated`
            found = [one(jax.tree.map(lambda leaf, run=run: leaf[run], moved)) for run in range(count)]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

        return over

    return mapped


def extra(
    family: Family, params: Any, train: Batch, batch: Batch, knobs: families.Knobs, seed: Array
) -> dict[str, Array]:
    """Figures of the end alone: the sweep of thresholds, surfaces in decoded fields, and what the prior gives.

    Args:
        train: fields of the training shapes; batch: of those that judge.
    """
    probe, key = family.probe, step.stream_key(seed, "prior", 0)
    latent, count = family.encode(params, batch, None, knobs), len(jax.tree.leaves(train)[0])
    swept = measure.threshold_sweep(probe, params, latent, probe.observe(batch))
    found = {"sweep_iou": swept["iou"], "sweep_non_empty": swept["non_empty"]}
    decoded = jax.tree.map(lambda a: a[:MESHED], family.decode(params, jax.tree.map(lambda a: a[:MESHED], latent)))
    nodes = jnp.linspace(-1, 1, NODES, dtype=jnp.float32)
    points = jnp.stack(jnp.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    inside = jax.vmap(lambda one: (family.field(params, one, points) < 0).any())(decoded)
    found["mesh_non_empty"] = inside.mean()
    if family.latent_floats <= SMALL:
        of_training = family.encode(params, {name: field[:PAIRED] for name, field in train.items()}, key, knobs)
        found["information_train"] = measure.information(of_training, PAIRED)
        found["information_train_ceiling"] = np.log(min(PAIRED, count))
    if family.sample is not None:
        latent = family.sample(params, key, {"draw": jnp.arange(SAMPLED)}, knobs)
        drawn = probe.coverage(probe.expectation(probe.predict(params, latent))) > 0.5
        known = probe.coverage(probe.observe(train)) > 0.5
        overlap = jax.lax.map(lambda one: collapse.iou_pairs(drawn, one), known[:JUDGED])  # [i, s]
        found |= {
            "prior_iou": overlap.max(0).mean(),
            "prior_occupancy": drawn.mean(),
            "prior_non_empty": drawn.reshape(len(drawn), -1).any(1).mean(),
            "data_occupancy": known.mean(),
        }
    return {name: jnp.asarray(value, jnp.float32) for name, value in found.items()}
