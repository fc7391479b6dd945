"""The training loop: for each step, evaluate if due, save if due, step, write the previous step's metrics.

restore → one check of all stages before step 0 → the steps → final evaluation, save, close. A state's metrics are
waited for before it is evaluated or saved, so a non-finite state is never saved. The step is the position in the data.
"""

import functools
import pathlib
import shlex
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np

from hexjax import names
from hexjax.data import batches
from hexjax.diagnostics import verdict
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import checkpoint, escape, monitor, optimiser, record, step
from hexjax.training.signals import Signals
from hexjax.types import Scores, TrainState

# (params, step=, stopped=) -> scores; the numbers of `mean` go to metrics.jsonl. Where stopped() is true before a shape, it
# raises KeyboardInterrupt.
Evaluate = Callable[..., Scores]


class NonFiniteError(ArithmeticError):
    """A step's metrics hold a NaN or an infinity."""


def train(
    family: Family,
    config: ml_collections.ConfigDict,
    data: step.Data,
    folder: pathlib.Path,
    evaluate: Evaluate,
) -> int:
    """The exit code of a run that starts or goes on in `folder`.

    0 done, 3 non-finite, 4 stopped for a collapsed or exploded latent, 75 interrupted, 1 anything else: a disk that is
    full or broken, whoever meets it.
    """
    try:
        try:
            kept = config.checkpoint.keep, True, config.checkpoint.keep_every_steps
            with Signals() as signals, checkpoint.Store(folder / "checkpoints", *kept) as store:
                return _train(family, config, data, folder, evaluate, signals, store)
        except NonFiniteError as error:
            print(f"stopped: {error}; {checkpoint.kept(folder / 'checkpoints')}", file=sys.stderr)
            record.write_verdict(folder, verdict.Verdict("EXPLODED", str(error), ("non-finite",)))
            return names.NON_FINITE
    except checkpoint.CheckpointError as error:
        print(f"stopped: {error}", file=sys.stderr)
    except OSError as error:
        place = f" ({pathlib.Path(error.filename).name})" if isinstance(error.filename, str) else ""
        print(f"stopped: {error.strerror or error}{place}; {checkpoint.kept(folder / 'checkpoints')}", file=sys.stderr)
    return names.FAILED


def _train(family, config, data, folder, evaluate, signals, store) -> int:
    adam, knobs, steps = optimiser.make(config), families.knobs(config), config.train.steps
    init = functools.partial(
        step.make_init(family, adam, step.start(family, config, data.cache.count)), seed=config.seed
    )
    target = jax.eval_shape(init, data.cache)  # before anything is compiled: it may refuse
    data = monitor.with_teacher(family, config, data, folder)
    cache, batch_at, fixed, _, held_out = data
    loss = step.objective(family, config)
    restored = store.restore(target)
    is_longer = _tell_rate(config, store.config, restored)
    state = jax.jit(init)(cache) if restored is None else jax.device_put(restored)
    advance = jax.jit(functools.partial(step.make_step(loss, adam, batch_at), seed=config.seed), donate_argnums=0)
    validate = step.make_validate(loss, fixed, config.seed)
    if held_out is not None:
        numbers = np.arange(held_out.count)
        every = lambda cache: {name: value for name, value in batches.fixed(cache, numbers).items() if name != "item"}
        validate_held_out = step.make_validate(family.loss, every, config.seed)
    diagnose = monitor.make(family, config, data)
    first, pending, collapsed = int(state.step), {}, None
    escapes = config.diagnostics.on_collapse == "escape"
    measures = escape.kept(folder, int(state.step) if escapes else 0)
    if escapes:
        monitor.check_certifiable(config, data)
    if first == 0 and (expected := monitor.preflight(family, config, data)) is not None:
        print("\n".join(f"preflight: {line}" for line in expected.lines), file=sys.stderr)
    if first > steps:
        raise checkpoint.CheckpointError(f"config.train.steps is {steps}, and the run is at step {first} already")
    if is_longer:
        record.keep_scores(folder, f"step-{first}")
    rows = {"validation.": config.validate, "diagnostics.": config.diagnostics, "evaluation.": config.evaluate}
    again = tuple(name for name, each in rows.items() if first == steps or _is_due(first, each.every_steps))
    with record.Log(folder, first, steps, again=again) as log:
        for now in range(first, steps + 1):
            is_last = now == steps
            validates = loss is not None and _is_due(now, config.validate.every_steps)
            saves = _is_due(now, config.checkpoint.every_steps)
            diagnoses = diagnose is not None and (is_last or _is_due(now, config.diagnostics.every_steps))
            evaluates = is_last or (now > 0 and _is_due(now, config.evaluate.every_steps))
            if validates or saves or evaluates or diagnoses or signals.name:
                pending = _write(log, now, pending, config.log.every_steps)
            if validates and not signals.name:
                values = validate(state, cache, escape.knobs(knobs, measures))
                if held_out is not None:
                    seen = validate_held_out(state, held_out, knobs)
                    values |= {name.replace(".", ".held_out.", 1): value for name, value in seen.items()}
                log.row(now, _finite(now, values))
            if diagnoses and not signals.name:
                figures, judged = diagnose(state, cache, knobs)
                log.diagnosis(now, figures, judged)
                stops = config.diagnostics.on_collapse == "stop" and 2 * now >= steps > now
                collapsed = judged if stops and judged.name in monitor.FAILURES else None
                if escapes and steps > now >= 2 * config.diagnostics.every_steps:
                    before, lower = measures, float(figures["witness_sample_lower"])
                    expected = functools.partial(monitor.preflight, family, config, data)
                    measures = escape.taken(measures, now, judged.name, lower, expected)
                    if measures != before:
                        escape.write(folder, measures)
                        log.clear()
                        print(f"escape: the latent is {judged.name}; {escape.told(measures)}", file=sys.stderr)
            try:
                if evaluates and not collapsed and not signals.name:
                    log.clear()
                    began = time.time()
                    with signals.evaluating():
                        mean = evaluate(state.evaluated, step=now, stopped=signals.stopped)["mean"]
                        log.row(now, {f"evaluation.{name}": value for name, value in mean.items() if name != "ceiling"})
                        log.pictures(now, began)
            finally:
                is_new = now > first or (is_last and restored is None)  # the latter where nothing is trained
                if is_new and (is_last or saves or collapsed or signals.name):
                    log.sync()
                    store.save(state, config.to_dict())
            if is_last or collapsed or signals.name:
                break
            state, metrics = advance(state, cache, escape.knobs(knobs, measures))
            _write(log, now, pending, config.log.every_steps)
            pending = metrics
    store.wait()
    if signals.name:
        saved = f"step {now} is saved" if now or is_last else "there was nothing to save yet"
        print(f"{signals.name}: {saved}; go on with: {_command(folder)}", file=sys.stderr)
        return names.INTERRUPTED
    if collapsed:
        print(
            f"stopped: at step {now} the latent is {collapsed.name}: {collapsed.reason}; it is saved", file=sys.stderr
        )
        record.write_verdict(folder, collapsed._replace(reason=f"at step {now} {collapsed.reason}"))
        return names.COLLAPSED
    if measures:
        recovered = judged.name not in monitor.FAILURES and float(figures["witness_sample_lower"]) > 0
        record.add_tag(folder, f"{'escaped' if recovered else 'no escape'}: {escape.told(measures)}")
        if not recovered:
            print(f"at step {now} the latent is {judged.name} still: {judged.reason}", file=sys.stderr)
            return names.COLLAPSED
    return names.DONE


def _command(folder: pathlib.Path) -> str:
    """The command that goes on, as it can be typed where this one was."""
    program = [sys.argv[0]] if not sys.argv[0].endswith(".py") else ["python", sys.argv[0]]
    return shlex.join([*program, f"--workdir={folder}"])


def _tell_rate(config: ml_collections.ConfigDict, saved: dict[str, Any], restored: TrainState | None) -> bool:
    """Whether a run that had ended goes on to more steps; then, and where its learning rate jumps, a line says so."""
    if restored is None or saved["train"]["steps"] == config.train.steps:
        return False
    now, had = int(restored.step), saved["train"]["steps"]
    told = {name: config[name].to_dict() | saved[name] for name in ("optimiser", "train")}  # it may lack newer keys
    schedules = [optimiser.make(each).schedule for each in (ml_collections.ConfigDict(told), config)]
    rates = [config.optimiser.learning_rate * float(schedule(restored.step)) for schedule in schedules]
    jumps = f"{rates[0]:.3g} there by the old train.steps, is {rates[1]:.3g} by the new"
    jumps = f"the learning rate, {jumps}" if rates[0] != rates[1] else f"the learning rate stays {rates[0]:.3g}"
    print(f"train.steps was {had} and is {config.train.steps}; at step {now}, {jumps}", file=sys.stderr)
    return now == had < config.train.steps


def _is_due(now: int, every_steps: int) -> bool:
    return every_steps > 0 and now % every_steps == 0


def _write(log: record.Log, now: int, metrics: dict[str, Any], every_steps: int) -> dict[str, Any]:
    """Waits for the metrics of step `now`, if there are any, and writes them if due; nothing is pending then."""
    if metrics:
        values = _finite(now, metrics)
        if _is_due(now, every_steps):
            log.row(now, values)
        log.progress(now, float(values["loss"]))
    return {}


def _finite(now: int, metrics: dict[str, Any]) -> dict[str, np.ndarray]:
    values = jax.device_get(metrics)
    bad = [f"{name} is {value}" for name, value in values.items() if not np.isfinite(value)]
    if bad:
        raise NonFiniteError(f"at step {now} {', '.join(bad)}")
    return values
