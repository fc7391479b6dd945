"""Many small trainings as one experiment: cells of a config, each with several seeds and settings in one compiled step.

What a cell is, `hexjax.cells` says. Shapes are split by name into training and held-out ones, and only the latter judge.
A finished cell is one JSON file, written at once, and all are packed into one file in the end; run again, only what is missing
or has other settings is trained.
"""

import dataclasses
import functools
import hashlib
import json
import lzma
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Float

from hexjax import cells, names, rules
from hexjax.cells import Cell
from hexjax.data import batches, fields
from hexjax.diagnostics import measure, teacher
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import escape, fingerprint, monitor, programs, record
from hexjax.types import Array, Batch, Item, TrainState

HISTORY = ("kl", "kl_per_latent", "kl_max_latent", "gain", "swap_gap", "active_units", "information", "nll", "iou",
           "mean_map_distance", "outline_gradient", "codes_used", "bit_entropy", "largest_mean", "largest_log_variance",
           "variance")  # fmt: skip
# What the figures of a cell depend on: these sections and keys, and sections that make fields which its family reads. A key
# of OFF came later and counts where it is not what it was before it was there: finished cells stay finished.
READ = ("seed", "hexplane", "model", "latent", "kl", "reconstruction", "optimiser", "train", "witness", "sweep")
ALSO = ("data.close", "extract.threshold", "sdf.weight")
BESIDE = ("sweep.cells", "sweep.form")
MAKING = batches.POOLS | {
    "cells": (*batches.CELLS, *batches.SHOWN),
    "views": (*batches.POOLS["views"], *batches.SHOWN),
    "distance_grid": ("distance_grid",),
    "inside": ("inside",),
}
OFF = {
    "optimiser.kind": "adam",
    "optimiser.epsilon": 1e-8,
    "data.close": False,
    "sweep.start": "",
    "sweep.constant_mean": False,
    "sweep.forget": False,
    "reconstruction.depth_knee": 0,
    "reconstruction.depth_quantile": 0.5,
    "train.ema": 0,
    "sdf.near": "uniform",
    "model.features": "distances",
    "model.views_weight": 0,
    "sdf.seen_points": 0,
}
CERTIFIED = ("fixed_margin", "mean_margin", "sample_margin", "sample_lower", "force", "force_constant")
TRAINED = ("loss", "gradient_norm", "gradient_clipped", "kl_weight", "kl_gradient_removed")  # of the step's metrics
PROBED = 64  # held-out shapes on the way
KEPT = 8  # sets of compiled programs that are remembered: hundreds would use up what a process may map


class Split(NamedTuple):
    """Names of the training and held-out shapes, and a hash of both."""

    train: list[int]
    held_out: list[int]
    digest: str


class Observed(NamedTuple):
    """Fields of the training and held-out shapes, on the device."""

    train: batches.Cache
    held_out: batches.Cache


def split(items: Sequence[Item], share: float) -> Split:
    """The shapes in the order of their names' hashes, the last `share` of them held out."""
    order = sorted(range(len(items)), key=lambda i: hashlib.sha256(items[i].name.encode()).hexdigest())
    count = len(items) - round(share * len(items))
    text = "\n".join(items[i].name for i in order) + f"\n{count}"
    return Split(order[:count], order[count:], hashlib.sha256(text.encode()).hexdigest())


def run(config: ml_collections.ConfigDict, todo: Sequence[Cell], items: Sequence[Item], folder: pathlib.Path) -> None:
    """Nothing; every cell that was not done before is trained, judged and written to folder/<cell>.json; then all are packed.

    Raises:
        ValueError: for a folder whose finished cells cannot be read.
    """
    parts, done = split(items, config.sweep.held_out), 0
    known = {_identity(text, where) for where, text in cells.written(folder).items()}
    data = fingerprint.of(items) if config.data.path else None  # made in code, another machine may give other last bits
    by_name = {cell.name: cell for cell in todo}
    digests = {cell.name: _digest(cell, parts, data, by_name.get(cell.config.sweep.start)) for cell in todo}
    asked = {*digests.items()}
    train, held_out = ([items[i] for i in part] for part in parts[:2])
    reads, like = {}, {}  # by the keys that fields are made by, all that is read of them, and a config with those keys
    for cell in todo:
        made = _made(cell.config)
        reads[made], like[made] = {*reads.get(made, ()), *_reads(_family(cell.config))}, cell.config
    observed = functools.cache(lambda made: _observed(train, held_out, like[made], tuple(sorted(reads[made]))))
    make, taught = functools.lru_cache(KEPT)(programs.make), {}

    @functools.lru_cache(1)
    def start(name: str) -> TrainState:
        """How the runs of a cell ended."""
        of = by_name[name]
        return _train(*_ready(of, observed(_made(of.config)), make, taught), None).state

    for number, cell in enumerate(todo, 1):
        file = folder / cells.file_name(cell.name)
        digest = digests[cell.name]
        if (cell.name, digest) in known:
            done += 1
            continue
        began = time.monotonic()
        ready = _ready(cell, observed(_made(cell.config)), make, taught)
        begin = _begin(cell.config, start(cell.config.sweep.start)) if cell.config.sweep.start else None
        found = _run_cell(cell, parts, ready, begin)
        found |= {"sweep": config.name, "digest": digest, "seconds": round(time.monotonic() - began, 2)}
        record.write_atomically(file, json.dumps(_short(found), allow_nan=False) + "\n")
        verdicts = [each["verdict"] for each in found["runs"]]
        counts = ", ".join(f"{verdicts.count(name)} {name}" for name in sorted(set(verdicts)))
        print(f"[{number}/{len(todo)}] {cell.name}: {counts}; {found['seconds']:.1f} s", file=sys.stderr, flush=True)
    pack(folder, asked)
    print(f"{len(todo)} cells in {folder.name}, {done} of them done before", file=sys.stderr)


def pack(folder: pathlib.Path, asked: set[tuple[str, str]]) -> None:
    """Nothing; all finished cells lie in one file, sorted by name, the newest of a name, or the one of a digest asked for.

    Their own files go when the pack is on the disk, so that nothing is lost whenever this is stopped.
    """
    found, chosen = cells.written(folder), {}
    beside = [where for where in found if where.endswith(".json")]
    if not beside:
        return
    for where, text in found.items():
        name, digest = _identity(text, where)
        if name not in chosen or chosen[name][0] not in asked or (name, digest) in asked:
            chosen[name] = (name, digest), text.replace(b"\n", b"") + b"\n"
    data = lzma.compress(b"".join(chosen[name][1] for name in sorted(chosen)))
    record.write_atomically(folder / cells.PACK, data)
    for name in beside:
        (folder / name).unlink()


def _identity(text: bytes, where: str) -> tuple[str, str]:
    """The name and the digest of a finished cell."""
    try:
        cell = json.loads(text)
        return cell["cell"], cell["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{where} is no cell: {error!r}; accepted: what --mode=sweep writes; delete it and run again"
        ) from error


def _family(config: ml_collections.ConfigDict) -> Family:
    """The family of a cell.

    Raises:
        ValueError: for one that the programs of a sweep can't train and judge.
    """
    for key, off in (("augment", "none"), ("split", ())):
        if config.data[key] != off:
            told = f"config.data.{key} is {config.data[key]!r}"
            raise ValueError(f"{told}; accepted with sweep.form = vmapped: {off}")
    family = families.make(fields.spec(config, ()), config)
    judged = () if family.ideal is not None else fields.JUDGED
    unmade = [name for name in _reads(family) if name in (*judged, *fields.LATENT)]
    if unmade or family.probe is None:
        reason = f"reads {unmade[0]!r}" if unmade else "has no probe, by which a sweep judges"
        raise ValueError(
            f"config.model.family is {config.model.family!r}, which {reason}; --mode=sweep accepts families with a probe "
            "that read no parent, and slack or seen where they have an ideal"
        )
    return family


def _reads(family: Family) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*family.reads, *family.sees)))


def _made(config: ml_collections.ConfigDict) -> str:
    """The keys that fields are made by, as text: cells of equal text share their fields."""
    sections = ["hexplane", *MAKING]
    if {*_reads(_family(config))} & {*fields.JUDGED}:
        sections += ["model", "extract"]
    return json.dumps({name: config[name].to_dict() for name in sections} | {"seed": config.seed}, sort_keys=True)


def _observed(
    train: Sequence[Item], held_out: Sequence[Item], config: ml_collections.ConfigDict, names: tuple[str, ...]
) -> Observed:
    """The named fields of all shapes."""
    config = ml_collections.ConfigDict(config.to_dict())
    config.data.cached = True
    fuse = fields.fuse_of(_family(config), config) if {*names} & {*fields.JUDGED} else None
    whole, count = fields.build([*train, *held_out], names, config, fuse), len(train)
    both = [{name: field[part] for name, field in whole.fields.items()} for part in (slice(count), slice(count, None))]
    caches = [dataclasses.replace(whole, fields=each, count=size) for each, size in zip(both, (count, len(held_out)))]
    return Observed(*caches)


def _of(x: Observed, family: Family, shapes: int) -> Observed:
    """What a cell's family reads of the first so many training shapes; a single one judges itself."""
    names = tuple(name for name in _reads(family) if name != "item")

    def part(cache: batches.Cache, count: int) -> batches.Cache:
        kept = {name: cache.fields[name][:count] for name in names}
        pools = tuple(pool for pool in cache.pools if {*names} & {*batches.POOLS[pool[0]]})
        return dataclasses.replace(cache, fields=kept, inputs=names, pools=pools, count=count)

    train = part(x.train, shapes)
    return Observed(train, train if shapes == 1 else part(x.held_out, x.held_out.count))


def first(cache: batches.Cache, count: int | None = None) -> Batch:
    """The batch of the first shapes, all of them if no number is given, but for their places among the training's."""
    found = batches.fixed(cache, np.arange(min(count or cache.count, cache.count)))
    return {name: field for name, field in found.items() if name != "item"}


def _digest(cell: Cell, parts: Split, data: fingerprint.Shapes | None, start: Cell | None = None) -> str:
    """What the figures of a cell depend on, with the cell whose runs it starts from; keys that came later stand in it where
    something reads them."""
    reads, leaves = {*_reads(_family(cell.config))}, rules.flatten(cell.config)
    sections = {*READ, *(section for section, fields in MAKING.items() if reads & {*fields})}
    off = OFF if leaves["optimiser.decay"] == "halving" else OFF | {"optimiser.halve_every_steps": ...}
    config = {
        key: value
        for key, value in leaves.items()
        if (key in ALSO or key.partition(".")[0] in sections) and key not in BESIDE and off.get(key) not in (value, ...)
    }
    of = [
        config,
        cell.settings,
        parts.digest,
        *([data] if data else []),
        *([_digest(start, parts, data)] if start else []),
    ]
    text = json.dumps(of, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Ready(NamedTuple):
    """What a cell is trained with."""

    config: ml_collections.ConfigDict
    program: programs.Programs
    given: Observed
    teachers: tuple[Array | None, Array | None]  # classes of the training and the held-out shapes
    known: measure.Constant
    knobs: families.Knobs  # each [r]
    every: Array  # seeds [r]


def _ready(cell: Cell, observed: Observed, make: Any, taught: dict[Any, Any]) -> Ready:
    """Programs, data and numbers of a cell. `make` and `taught` remember compiled programs and fitted teachers for others."""
    config = cell.config
    seeds = range(config.seed, config.seed + config.sweep.seeds)
    every = jnp.tile(jnp.array(seeds, jnp.int32), len(cell.settings))
    knobs = {name: jnp.broadcast_to(value, every.shape) for name, value in families.knobs(config).items()}
    for name in cell.settings[0]:
        knobs[name] = jnp.array([setting[name] for setting in cell.settings for _ in seeds], jnp.float32)
    shapes = min(config.sweep.shapes or observed.train.count, observed.train.count)
    program = make(programs.static(config, cell.settings), shapes, config.sweep.together)
    given = _of(observed, program.family, shapes)
    x_train, x_held = (program.family.probe.observe(first(part)) for part in given)
    lesson = (
        config.model.family,
        config.model.input,
        x_train.shape,
        config.witness.to_json(sort_keys=True),
        config.seed,
    )
    if lesson not in taught:
        taught[lesson] = _teachers(config, x_train, x_held)
    known = measure.constant(program.family.probe, x_train)
    return Ready(config, program, given, taught[lesson], known, knobs, every)


def _begin(config: ml_collections.ConfigDict, ended: TrainState) -> TrainState:
    """Where the runs of a cell with a start begin."""
    state = jax.tree.map(jnp.copy, ended)  # the step consumes it
    if config.sweep.forget or config.sweep.constant_mean:
        state = state._replace(optimiser=jax.tree.map(jnp.zeros_like, state.optimiser))
    return state._replace(params=escape.constant(state.params)) if config.sweep.constant_mean else state


def _run_cell(cell: Cell, parts: Split, ready: Ready, begin: TrainState | None) -> dict[str, Any]:
    """What is written of a cell, whose runs begin in given states or in those of the seeds."""
    config, program, given, teachers, _, _, every = ready
    shapes, family = given.train.count, program.family
    settings = [setting for setting in cell.settings for _ in range(config.sweep.seeds)]
    foretold = {} if begin is None or teachers[0] is None else _forecast(ready, begin)
    trained = _train(*ready, begin)
    scalars, lower = _measure(ready, trained.state)
    scalars |= foretold
    runs = [_judge(family, shapes, i, settings[i], int(every[i]), scalars, lower, trained) for i in range(len(every))]
    expected = monitor.preflight_of(family, config, family.probe.observe(first(given.train)), shapes)
    return {
        "cell": cell.name,
        "overrides": cell.overrides,
        "factors": factors(config),
        "data": {"source": data_name(config), "split": parts.digest, "train": shapes, "held_out": given.held_out.count},
        "settings": {
            "steps": config.train.steps, "batch_size": min(config.train.batch_size, shapes),
            "resolution_px": config.hexplane.resolution_px, "latent_floats": family.size(None).floats,
            "latent_bits": family.size(None).bits,
            "parameters": sum(leaf.size // len(every) for leaf in jax.tree.leaves(trained.state.params)),
        },
        "preflight": expected._asdict(),
        "runs": runs,
        "device": jax.devices()[0].device_kind,
        "commit": record.commit(),
    }  # fmt: skip


class Trained(NamedTuple):
    """All runs of a cell after their last step."""

    state: TrainState
    history: list[dict[str, Any]]  # scalars of every run at each measurement
    blown: np.ndarray  # [r], whether a loss was not finite at any step


def _train(config, program, given, teachers, known, knobs, every, begin) -> Trained:
    """The runs after their steps; those that begin in a given state are measured there too, and certified each time."""
    stored, probed = given.train, first(given.held_out, PROBED)
    if teachers[0] is not None:
        stored = dataclasses.replace(stored, fields=stored.fields | {"teacher": teachers[0]})
    state = program.init(stored, every) if begin is None else begin
    history, blown = [], np.zeros(len(every), bool)
    own = jnp.zeros(len(every))  # variances of its own for each measured batch
    ready = Ready(config, program, given, teachers, known, knobs, every)

    def measured(state: TrainState, metrics: dict[str, Array]) -> dict[str, Any]:
        moment = program.measure(state.evaluated, probed, knobs, every, known, own)
        found = {"step": state.step} | {k: metrics[k] for k in TRAINED if k in metrics}
        found |= {k: moment.scalars[k] for k in HISTORY if k in moment.scalars}
        if begin is not None and teachers[0] is not None:
            found |= {f"witness_{k}": getattr(_moments(ready, state)[2], k) for k in CERTIFIED}
        return jax.device_get(found)

    if begin is not None:
        history.append(measured(state, {}))
    for _ in range(config.train.steps // config.sweep.measure_every_steps):
        state, metrics, finite = program.advance(state, stored, knobs, every)
        history.append(measured(state, metrics))
        blown |= ~np.asarray(finite)
    return Trained(state, history, blown)


def _forecast(ready: Ready, begin: TrainState) -> dict[str, Float[np.ndarray, "r"]]:
    """Gains of the simplex witness's margin in the first step and in the first ones, as the force foretells them and as they
    come, in nats."""
    _, program, given, (t_train, t_held), _, knobs, every = ready
    count = min(programs.JUDGED, given.held_out.count)
    stored = dataclasses.replace(given.train, fields=given.train.fields | {"teacher": t_train})
    batch, held, t = first(given.train) | {"teacher": t_train}, first(given.held_out, count), t_held[:count]
    foretold = program.forecast(begin, batch, knobs, every, held, t)
    margins, state = [program.margin(begin.params, held, t)], begin
    for _ in range(escape.FIRST):
        state, _, _ = program.once(state, stored, knobs, every)
        margins.append(program.margin(state.params, held, t))
    gains = {"predicted_once": foretold[:, 0], "measured_once": margins[1] - margins[0]}
    gains |= {"predicted": foretold[:, 1], "measured": margins[-1] - margins[0]}
    return {f"escape_{name}": np.asarray(value) for name, value in gains.items()}


def _moments(ready: Ready, state: TrainState) -> tuple[Any, Any, Any]:
    """Figures on training and on held-out shapes, as many of both: one program; and certificates, None without a teacher."""
    config, program, given, (t_train, t_held), known, knobs, every = ready
    judged_count = min(programs.JUDGED, given.held_out.count)
    count = min(judged_count, given.train.count)
    batch = first(given.held_out, judged_count)
    fitted = program.measure(state.evaluated, first(given.train, count), knobs, every, known, jnp.zeros(len(every)))
    judged = program.measure(state.evaluated, batch, knobs, every, known, fitted.scalars["squared_error"])
    if t_train is None or given.train.count < 2:
        return fitted, judged, None
    bounds = program.certify(fitted, judged, t_train[:count], t_held[:judged_count],
                             config.witness.temperature, config.witness.floor)  # fmt: skip
    return fitted, judged, bounds


def _measure(ready: Ready, state: TrainState) -> tuple[dict, np.ndarray]:
    """Figures of the end on held-out shapes, and lower bounds of the swap gap."""
    program, given, knobs, every = ready.program, ready.given, ready.knobs, ready.every
    fitted, judged, bounds = _moments(ready, state)
    batch = first(given.held_out, min(programs.JUDGED, given.held_out.count))
    scalars = judged.scalars | program.extra(state.evaluated, first(given.train), batch, knobs, every)
    scalars |= {f"train_{name}": fitted.scalars[name] for name in ("nll", "iou", "squared_error", "kl")}
    if bounds is not None:
        scalars |= {f"witness_{name}": value for name, value in bounds._asdict().items()}
    return jax.device_get((scalars, program.lower(judged.swaps, every)))


def folder(config: ml_collections.ConfigDict) -> pathlib.Path:
    """Where a sweep's cells lie: results/collapse/<name>/<data>."""
    return pathlib.Path("results") / "collapse" / config.name / data_name(config)


def data_name(config: ml_collections.ConfigDict) -> str:
    """The data's name, without where they lie."""
    return "+".join(map(names.name, names.places(config.data.path))) or config.data.source


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


def _judge(family, shapes, i, setting, seed, scalars, lower, trained) -> dict[str, Any]:
    mine = {name: value[i] for name, value in scalars.items() if np.ndim(value) == 1}
    mine["non_finite"] = mine["non_finite"] + trained.blown[i]
    can_certify = mine.get("witness_ceiling", 0) > 0  # of so few shapes a witness may certify no latent at all
    bound = float(mine["witness_sample_lower"]) if can_certify else None
    judged, evidence = measure.judge(
        mine, shapes, family.probe.pays_rate, float(lower[i]) if shapes > 1 else None, bound, held_out=shapes > 1
    )
    sweeps = {name: value[i].tolist() for name, value in scalars.items() if np.ndim(value) == 2}
    rows = [{name: value[i] for name, value in row.items()} for row in trained.history]
    return {
        "seed": seed, "setting": setting, "verdict": judged.name, "tags": list(judged.tags), "reason": judged.reason,
        "evidence": evidence._asdict(), "final": mine | sweeps, "history": rows,
    }  # fmt: skip


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
