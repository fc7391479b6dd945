"""Diagnostics while a run trains: on a fixed batch of its first shapes, every `diagnostics.every_steps`.

The shapes are those of the training, so figures of fit are optimistic; with a witness, it is fitted on every second of
them and judged on the others. The teacher is fitted once, before the first step, and lies with the checkpoints.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from hexjax.diagnostics import collapse, measure, teacher, verdict, witness
from hexjax.models.family import Family, Knobs
from hexjax.training import step
from hexjax.types import Array, TrainState

Diagnose = Callable[[TrainState, Any, Knobs], tuple[dict[str, Any], verdict.Verdict]]
TEACHER = "teacher.npz"
FAILURES = ("COLLAPSED", "EXPLODED")


def with_teacher(family: Family, config: ml_collections.ConfigDict, data: step.Data, folder: pathlib.Path) -> step.Data:
    """The data with the field `teacher` [i, k]: each shape's class probabilities, where the config asks for a witness.

    The teacher is read from the folder of checkpoints if it lies there, else fitted and written.

    Raises:
        ValueError: for fewer than two shapes, or fewer than classes.
    """
    if not config.witness.classes:
        return data
    if data.cache.count < 2:
        raise ValueError(
            f"config.witness.classes is {config.witness.classes} and there is one shape, which is NOT-CERTIFIABLE: its "
            "latent can hold no information; accepted: witness.classes = 0, or more shapes"
        )
    x = observations(family, data.cache)
    file = folder / "checkpoints" / TEACHER
    if file.is_file():
        with np.load(file, allow_pickle=False) as arrays:
            known = teacher.from_arrays(dict(arrays))
    else:
        known = fit_teacher(np.asarray(x), config)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, allow_pickle=False, **teacher.to_arrays(known))
    fields = data.cache.fields | {"teacher": jnp.asarray(teacher.posterior(known, x), jnp.float32)}
    return data._replace(cache=dataclasses.replace(data.cache, fields=fields))


def fit_teacher(x: np.ndarray, config: ml_collections.ConfigDict) -> teacher.Teacher:
    """The teacher of `config.witness`, fitted to values [n, p]."""
    given = config.witness
    return teacher.fit_teacher(x, given.classes, given.components, given.teacher_temperature, given.floor, config.seed)


def observations(family: Family, cache: Any) -> Array:
    """What the decoder is to give back, of all shapes of a cache of fields, as rows [i, p]."""
    x = family.probe.observe(dict(cache.fields))
    return x.reshape(len(x), -1)


def make_measure(family: Family, probed: step.Fixed) -> Callable[..., measure.Moment]:
    """The pure measurement of a state on the probed batch: (state, cache, knobs, seed) to a moment."""

    def moment(state: TrainState, cache: Any, knobs: Knobs, seed: step.Seed) -> measure.Moment:
        batch, key = probed(cache), step.stream_key(seed, "diagnostics", 0)
        known = measure.constant(family.probe, family.probe.observe(batch))
        return measure.measure(family.encode, family.probe, state.params, batch, key, knobs, known)

    return moment


def make(family: Family, config: ml_collections.ConfigDict, data: step.Data) -> Diagnose | None:
    """The diagnosis of a state, compiled: named scalars and the verdict; None for a family without a latent to judge."""
    if family.probe is None:
        return None
    moment = jax.jit(make_measure(family, data.probe))
    certify = jax.jit(certificate)
    classes, count = config.witness.classes, data.cache.count

    def diagnose(state: TrainState, cache: Any, knobs: Knobs) -> tuple[dict[str, Any], verdict.Verdict]:
        found = moment(state, cache, knobs, config.seed)
        scalars, bound = jax.device_get(found.scalars), None
        if classes and len(found.mean) >= 4:
            known = certify(found.mean, found.sample, data.probe(cache)["teacher"], config.witness.temperature,
                            config.witness.floor)  # fmt: skip
            scalars |= {f"witness_{name}": value for name, value in jax.device_get(known)._asdict().items()}
            bound = float(scalars["witness_sample_lower"])
        lower = None
        if len(found.swaps) > 1:
            lower = float(collapse.bootstrap_lower(found.swaps, step.stream_key(config.seed, "bootstrap", 0)))
        judged, _ = measure.judge(scalars, count, family.probe.pays_rate, lower, bound, held_out=False)
        return scalars, judged

    return diagnose


def certificate(
    mean: Array, sample: Array, teacher: Array, temperature: Array | float, floor: Array | float
) -> witness.Certificate:
    """The certificate of n shapes whose witness is fitted on every second of them and judged on the others."""
    train, held_out = (slice(0, None, 2), slice(1, None, 2))
    return witness.certificate(
        mean[train],
        sample[train],
        teacher[train],
        mean[held_out],
        sample[held_out],
        teacher[held_out],
        temperature,
        floor,
    )


def preflight(family: Family, config: ml_collections.ConfigDict, data: step.Data) -> verdict.Preflight | None:
    """What is to be expected before the first step, from the first shapes' values and the config alone."""
    if family.probe is None:
        return None
    return preflight_of(family, config, family.probe.observe(data.probe(data.cache)), data.cache.count)


def preflight_of(family: Family, config: ml_collections.ConfigDict, x: Array, shapes: int) -> verdict.Preflight:
    """The same from given values [i, ...] of some of the shapes."""
    rows = x.reshape(len(x), -1)
    return verdict.preflight(
        largest_eigenvalue=float(collapse.largest_eigenvalue(rows)),
        entries=rows.shape[1],
        shapes=shapes,
        latent_floats=family.latent_floats,
        pays_rate=family.probe.pays_rate,
        likelihood=config.reconstruction.kind,
        reduction=config.reconstruction.reduction,
        variance=config.reconstruction.variance,
        kl=config.kl,
        steps=config.train.steps,
        latent=config.latent.kind,
    )
