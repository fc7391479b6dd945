"""Many small trainings as one experiment: cells of a config, each with several seeds and settings in one compiled step.

What a cell is, `hexjax.cells` says. Shapes are split by name into training and held-out ones, and only the latter judge.
A finished cell is one JSON file, written at once; run again, only what is missing or has other settings is trained.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from hexjax.cells import Cell
from hexjax.data import batches, cache
from hexjax.diagnostics import collapse, measure, teacher, witness
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import monitor, optimiser, record, step
from hexjax.types import Array, Hexplane, Item, TrainState

HISTORY = ("kl", "kl_per_latent", "kl_max_latent", "gain", "swap_gap", "active_units", "information", "nll", "iou",
           "mean_map_distance", "outline_gradient", "codes_used", "bit_entropy", "largest_mean", "largest_log_variance",
           "variance")  # fmt: skip
TRAINED = ("loss", "gradient_norm", "gradient_clipped", "kl_weight", "kl_gradient_removed")  # of the step's metrics
PROBED = 64  # held-out shapes on the way
JUDGED = 256  # held-out shapes in the end, and training shapes for calibration and the witness
MESHED, NODES = 16, 24  # decoded fields that are looked at for a surface, and their nodes a side
SAMPLED = 64  # draws from the prior
PAIRED, SMALL = 512, 128  # training shapes whose posteriors are compared in pairs, where the latent has few floats
KEPT = 8  # sets of compiled programs that are remembered: hundreds would use up what a process may map

Runs = list[dict[str, Any]]


class Split(NamedTuple):
    """Names of the training and held-out shapes, and a hash of both."""

    train: list[int]
    held_out: list[int]
    digest: str


class Observed(NamedTuple):
    """Values of shapes as a decoder is to give them back."""

    train: Array  # [i, v, c, h, w]
    held_out: Array


def split(items: Sequence[Item], share: float) -> Split:
    """The shapes in the order of their names' hashes, the last `share` of them held out."""
    order = sorted(range(len(items)), key=lambda i: hashlib.sha256(items[i].name.encode()).hexdigest())
    count = len(items) - round(share * len(items))
    text = "\n".join(items[i].name for i in order) + f"\n{count}"
    return Split(order[:count], order[count:], hashlib.sha256(text.encode()).hexdigest())


def run(config: ml_collections.ConfigDict, todo: Sequence[Cell], items: Sequence[Item], folder: pathlib.Path) -> None:
    """Nothing; every cell that was not done before is trained, judged and written to folder/<cell>.json."""
    parts, done = split(items, config.sweep.held_out), 0
    rendered = functools.cache(lambda resolution: cache.render(items, resolution))
    observed = functools.cache(lambda kind, resolution: _observed(rendered(resolution), parts, kind))
    programs, taught = functools.lru_cache(KEPT)(_programs), {}
    for number, cell in enumerate(todo, 1):
        file = folder / f"{cell.name.replace('/', '-')}.json"
        digest = _digest(cell, parts)
        if file.is_file() and json.loads(file.read_text())["digest"] == digest:
            done += 1
            continue
        began = time.monotonic()
        x = observed(cell.config.model.input, cell.config.hexplane.resolution_px)
        found = _run_cell(cell, parts, x, programs, taught)
        found |= {"sweep": config.name, "digest": digest, "seconds": round(time.monotonic() - began, 2)}
        record.write_atomically(file, json.dumps(_short(found), allow_nan=False) + "\n")
        names = [each["verdict"] for each in found["runs"]]
        counts = ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
        print(f"[{number}/{len(todo)}] {cell.name}: {counts}; {found['seconds']:.1f} s", file=sys.stderr, flush=True)
    print(f"{len(todo)} cells in {folder.name}, {done} of them done before", file=sys.stderr)


def _observed(rendered: Sequence[Hexplane], parts: Split, kind: str) -> Observed:
    """The planes of all shapes, made once for each kind of input."""
    x = cache.observations(rendered, kind)
    return Observed(x[np.array(parts.train)], x[np.array(parts.held_out)])


def _digest(cell: Cell, parts: Split) -> str:
    config = cell.config.to_dict()
    config["sweep"] = {name: value for name, value in config["sweep"].items() if name != "cells"}
    text = json.dumps([config | {"data": {}}, cell.settings, parts.digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _run_cell(cell: Cell, parts: Split, x: Observed, programs: Any, taught: dict[Any, Any]) -> dict[str, Any]:
    """What is written of a cell. `programs` and `taught` remember compiled programs and fitted teachers for later cells."""
    config, one = cell.config, cell.config.sweep.shapes == 1
    x_train = x.train[: config.sweep.shapes] if config.sweep.shapes else x.train
    x_held = x_train if one else x.held_out
    seeds = jnp.arange(config.sweep.seeds, dtype=jnp.int32) + config.seed
    settings = [setting for setting in cell.settings for _ in range(len(seeds))]
    every = jnp.tile(seeds, len(cell.settings))
    knobs = {name: jnp.broadcast_to(value, every.shape) for name, value in families.knobs(config).items()}
    for name in cell.settings[0]:
        knobs[name] = jnp.array([setting[name] for setting in settings], jnp.float32)
    program = programs(static(config, cell.settings), len(x_train), len(every), config.sweep.together)
    known = measure.constant(program.family.probe, x_train)
    stored = cache.of_planes(x_train)
    lesson = (config.model.input, x_train.shape, config.witness.to_json(sort_keys=True), config.seed)
    if lesson not in taught:
        taught[lesson] = _teachers(config, x_train, x_held)
    t_train, t_held = taught[lesson]
    if t_train is not None:
        stored = dataclasses.replace(stored, fields=stored.fields | {"teacher": t_train})
    state, history, blown = program.init(stored, every), [], np.zeros(len(every), bool)
    own = jnp.zeros(len(every))  # variances of its own for each measured batch
    for _ in range(config.train.steps // config.sweep.measure_every_steps):
        state, trained, finite = program.advance(state, stored, knobs, every)
        moment = program.measure(state.params, x_held[:PROBED], knobs, every, known, own)
        blown |= ~np.asarray(finite)
        history.append(jax.device_get({"step": state.step} | {k: trained[k] for k in TRAINED if k in trained}
                       | {k: moment.scalars[k] for k in HISTORY if k in moment.scalars}))  # fmt: skip
    count = min(JUDGED, len(x_held), len(x_train))  # as many of both: one program
    fitted = program.measure(state.params, x_train[:count], knobs, every, known, own)
    if count < min(JUDGED, len(x_held)):
        count = min(JUDGED, len(x_held))
    judged = program.measure(state.params, x_held[:count], knobs, every, known, fitted.scalars["squared_error"])
    scalars = judged.scalars | program.extra(state.params, x_train, x_held[:count], knobs, every)
    scalars |= {f"train_{name}": fitted.scalars[name] for name in ("nll", "iou", "squared_error", "kl")}
    if t_train is not None and not one:
        bounds = program.certify(fitted, judged, t_train[: len(fitted.swaps[0])], t_held[:count],
                                 config.witness.temperature, config.witness.floor)  # fmt: skip
        scalars |= {f"witness_{name}": value for name, value in bounds._asdict().items()}
    scalars, lower = jax.device_get((scalars, program.lower(judged.swaps, every)))
    runs = [
        _judge(program.family, len(x_train), i, settings[i], int(every[i]), scalars, lower, blown, history)
        for i in range(len(every))
    ]
    expected = monitor.preflight_of(program.family, config, x_train, len(x_train))
    return {
        "cell": cell.name,
        "overrides": cell.overrides,
        "factors": factors(config),
        "data": {"source": data_name(config), "split": parts.digest, "train": len(x_train), "held_out": len(x_held)},
        "settings": {
            "steps": config.train.steps, "batch_size": min(config.train.batch_size, len(x_train)),
            "resolution_px": config.hexplane.resolution_px, "latent_floats": program.family.latent_floats,
            "latent_bits": program.family.latent_bits,
            "parameters": sum(leaf.size // len(every) for leaf in jax.tree.leaves(state.params)),
        },
        "preflight": expected._asdict(),
        "runs": runs,
        "device": jax.devices()[0].device_kind,
        "commit": record.commit(),
    }  # fmt: skip


def folder(config: ml_collections.ConfigDict) -> pathlib.Path:
    """Where a sweep's cells lie: results/collapse/<name>/<data>."""
    return pathlib.Path("results") / "collapse" / config.name / data_name(config)


def data_name(config: ml_collections.ConfigDict) -> str:
    """The data's name, without where they lie."""
    return "+".join(pathlib.Path(part).name for part in config.data.path.split(",")) or config.data.source


def factors(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What a table of cells is made by."""
    return {
        "input": config.model.input,
        "likelihood": config.reconstruction.kind,
        "reduction": config.reconstruction.reduction,
        "latent": config.latent.kind,
        "shapes": config.sweep.shapes,
        "control": config.sweep.control,
    }


def _teachers(config: ml_collections.ConfigDict, x_train: Array, x_held: Array) -> tuple[Array | None, Array | None]:
    if not config.witness.classes or len(x_train) <= max(config.witness.classes, config.witness.components):
        return None, None  # so few shapes have no more components, and as many classes would be the shapes themselves
    rows = [x.reshape(len(x), -1) for x in (x_train, x_held)]
    known = monitor.fit_teacher(np.asarray(rows[0]), config)
    return tuple(jnp.asarray(teacher.posterior(known, row), jnp.float32) for row in rows)


def _judge(family, shapes, i, setting, seed, scalars, lower, blown, history) -> dict[str, Any]:
    mine = {name: value[i] for name, value in scalars.items() if np.ndim(value) == 1}
    mine["non_finite"] = mine["non_finite"] + blown[i]
    bound = float(mine["witness_sample_lower"]) if "witness_sample_lower" in mine else None
    judged, evidence = measure.judge(
        mine, shapes, family.probe.pays_rate, float(lower[i]) if shapes > 1 else None, bound, held_out=shapes > 1
    )
    sweeps = {name: value[i].tolist() for name, value in scalars.items() if np.ndim(value) == 2}
    rows = [{name: value[i] for name, value in row.items()} for row in history]
    return {
        "seed": seed, "setting": setting, "verdict": judged.name, "tags": list(judged.tags), "reason": judged.reason,
        "evidence": evidence._asdict(), "final": mine | sweeps, "history": rows,
    }  # fmt: skip


class Programs(NamedTuple):
    """The compiled functions of all cells that differ in knobs only; runs are the leading axis."""

    family: Family
    init: Any
    advance: Any
    measure: Any
    extra: Any
    certify: Any
    lower: Any


def static(config: ml_collections.ConfigDict, settings: Sequence[dict[str, float]] = ()) -> str:
    """The config as text without what is a knob or a name: cells of equal text share their programs.

    Of the witness the largest values of all settings are kept, as whether it trains at all is the program's.
    """
    kept = ml_collections.ConfigDict(config.to_dict())
    for name in ("weight", "prefit_steps"):
        with kept.ignore_type():
            kept.witness[name] = max([kept.witness[name], *(each.get(f"witness.{name}", 0) for each in settings)])
    kept.name = kept.data.path = kept.data.source = kept.sweep.control = ""
    kept.sweep.cells, kept.sweep.shapes, kept.sweep.seeds = (), 0, 1
    for key in families.knobs(config):
        section, name = key.split(".")
        with kept.ignore_type():
            kept[section][name] = 0.0 if section != "witness" else kept[section][name]
    return kept.to_json(sort_keys=True)


def _programs(text: str, count: int, runs: int, together: str) -> Programs:
    config = ml_collections.ConfigDict(json.loads(text))
    side = config.hexplane.resolution_px
    family = families.get(config.model.family)({"mask": jax.ShapeDtypeStruct((6, side, side), bool)}, config)
    batch = min(config.train.batch_size, count)
    batch_at = functools.partial(batches.batch_at, batch_size=batch, points=1)
    first = functools.partial(batches.fixed, items=np.arange(min(count, batch)), points=1)
    adam = optimiser.make(config)
    one_init, one_step = (
        step.make_init(family, adam, first),
        step.make_step(step.objective(family, config), adam, batch_at),
    )

    def advance(state: TrainState, stored: Any, knobs: families.Knobs, seed: Array) -> tuple[TrainState, dict, Array]:
        def body(carry: TrainState, _: None) -> tuple[TrainState, dict]:
            return one_step(carry, stored, knobs, seed)

        state, metrics = jax.lax.scan(body, state, None, config.sweep.measure_every_steps)
        return state, jax.tree.map(lambda values: values[-1], metrics), jnp.isfinite(metrics["loss"]).all()

    def moment(params: Any, x: Array, knobs: families.Knobs, seed: Array, known: Any, variance: Array) -> Any:
        key = step.stream_key(seed, "diagnostics", 0)
        return measure.measure(family.encode, family.probe, params, {"planes": x}, key, knobs, known, variance)

    def certify(fitted: measure.Moment, judged: measure.Moment, t_train: Array, t_held: Array, *settings: Any) -> Any:
        return witness.certificate(fitted.mean, fitted.sample, t_train, judged.mean, judged.sample, t_held, *settings)

    def lower(swaps: Array, seed: Array) -> Array:
        return collapse.bootstrap_lower(swaps, step.stream_key(seed, "bootstrap", 0))

    each = _each(together)
    return Programs(
        family,
        jax.jit(each(one_init, (None, 0))),
        jax.jit(each(advance, (0, None, 0, 0)), donate_argnums=0),
        jax.jit(each(moment, (0, None, 0, 0, None, 0))),
        jax.jit(each(functools.partial(extra, family), (0, None, None, 0, 0))),
        jax.jit(each(certify, (0, 0, None, None, None, None))),
        jax.jit(each(lower, (0, 0))),
    )


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

            return jax.lax.map(one, moved)

        return over

    return mapped


def extra(
    family: Family, params: Any, x_train: Array, x: Array, knobs: families.Knobs, seed: Array
) -> dict[str, Array]:
    """Figures of the end alone: the sweep of thresholds, surfaces in decoded fields, and what the prior gives."""
    probe, key = family.probe, step.stream_key(seed, "prior", 0)
    latent = family.encode(params, {"planes": x}, None, knobs)
    swept = measure.threshold_sweep(probe, params, latent, x)
    found = {"sweep_iou": swept["iou"], "sweep_non_empty": swept["non_empty"]}
    decoded = jax.tree.map(lambda a: a[:MESHED], family.decode(params, jax.tree.map(lambda a: a[:MESHED], latent)))
    nodes = jnp.linspace(-1, 1, NODES, dtype=jnp.float32)
    points = jnp.stack(jnp.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    inside = jax.vmap(lambda one: (family.field(params, one, points) < 0).any())(decoded)
    found["mesh_non_empty"] = inside.mean()
    if family.latent_floats <= SMALL:
        of_training = family.encode(params, {"planes": x_train[:PAIRED]}, key, knobs)
        found["information_train"] = measure.information(of_training, PAIRED)
        found["information_train_ceiling"] = np.log(min(PAIRED, len(x_train)))
    if family.sample is not None:
        latent = family.sample(params, key, SAMPLED, knobs)
        drawn = probe.coverage(probe.expectation(probe.predict(params, latent))) > 0.5
        known = probe.coverage(x_train) > 0.5
        overlap = jax.lax.map(lambda one: collapse.iou_pairs(drawn, one), known[:JUDGED])  # [i, s]
        found |= {
            "prior_iou": overlap.max(0).mean(),
            "prior_occupancy": drawn.mean(),
            "prior_non_empty": drawn.reshape(len(drawn), -1).any(1).mean(),
            "data_occupancy": known.mean(),
        }
    return {name: jnp.asarray(value, jnp.float32) for name, value in found.items()}


def _short(value: Any) -> Any:
    """The value for JSON: five significant digits, what is not finite as null."""
    if isinstance(value, dict):
        return {name: _short(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(part) for part in value]
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        value = np.asarray(value).item()
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value
