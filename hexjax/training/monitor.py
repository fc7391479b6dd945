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

from hexjax.diagnostics import collapse, diagnosis, measure, teacher, verdict, witness
from hexjax.diagnostics import preflight as forecast
from hexjax.models import family as families
from hexjax.models.family import Family, Knobs
from hexjax.training import files, step
from hexjax.types import Array, TrainState

Diagnose = Callable[[TrainState, Any, Knobs], tuple[dict[str, Any], verdict.Verdict]]
FORETOLD = 2**26  # floats of the values whose spectrum is looked at
FAILURES = ("COLLAPSED", "EXPLODED")


def with_teacher(family: Family, config: ml_collections.ConfigDict, data: step.Data, folder: pathlib.Path) -> step.Data:
    """The data with the field `teacher` [i, k]: each shape's class probabilities, where the config asks for a witness.

    The teacher is read from the folder of checkpoints if it lies there whole, else fitted, the same each time, and written.

    Raises:
        ValueError: for too few shapes.
    """
    if not config.witness.classes:
        return data
    x, file = observations(family, data.cache), folder / teacher.FILE
    if (known := teacher.read(folder)) is None:
        known = fit_teacher(np.asarray(x), config)
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(file, teacher.to_bytes(known))
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


def make(family: Family, config: ml_collections.ConfigDict, data: step.Data) -> Diagnose | None:
    """The diagnosis of a state, compiled: named scalars and the verdict; None for a family without a latent to judge."""
    if family.probe is None:
        return None
    classes = "teacher" if config.witness.classes else None
    judge, known = diagnosis.make(family.encode, family.probe, config.witness, family.layout), []
    key = step.stream_key(config.seed, "diagnostics", 0)

    def diagnose(state: TrainState, cache: Any, knobs: Knobs) -> tuple[dict[str, Any], verdict.Verdict]:
        batch = data.probe(cache)
        known[:] = known or [diagnosis.know(family.probe, batch)]
        params = families.whole(state.evaluated, cache.parents)
        return judge(params, batch, known[0], key, knobs, batch[classes] if classes else None)

    return diagnose


def check_certifiable(config: ml_collections.ConfigDict, data: step.Data) -> None:
    """Nothing, if some latent of the diagnosed shapes could be certified: without that no escape would be known.

    Raises:
        ValueError: for too few shapes.
    """
    judged = data.probe(data.cache)["teacher"][1::2]
    if len(judged) < 2 or float(witness.ceiling(judged, config.witness.floor)) <= 0:
        raise ValueError(
            f"config.diagnostics.shapes is {config.diagnostics.shapes}, of which {2 * len(judged)} are there: too few for a "
            "certificate; accepted with diagnostics.on_collapse = escape: more, some 250, or fewer witness.classes"
        )


def preflight(family: Family, config: ml_collections.ConfigDict, data: step.Data) -> forecast.Preflight | None:
    """What is to be expected before the first step, from the shapes' values and the config alone.

    The values are those of the first shapes that make up FORETOLD floats, or where they are not kept, of the probed ones.
    """
    if family.probe is None:
        return None
    if not config.data.cached:
        return preflight_of(family, config, family.probe.observe(data.probe(data.cache)), data.cache.count)
    floats = jax.eval_shape(family.probe.observe, dict(data.cache.fields)).size // data.cache.count
    count = max(FORETOLD // floats, 1)
    x = family.probe.observe({name: field[:count] for name, field in data.cache.fields.items()})
    return preflight_of(family, config, x, data.cache.count)


def preflight_of(family: Family, config: ml_collections.ConfigDict, x: Array, shapes: int) -> forecast.Preflight:
    """The same from given values [i, ...] of some of the shapes."""
    if config.reconstruction.kind in forecast.CROSS_ENTROPIES and len(x) > 1:
        x = measure.standardised(family.probe, x)
    rows = x.reshape(len(x), -1)
    return forecast.preflight(
        largest_eigenvalue=float(collapse.largest_eigenvalue(rows)) * family.probe.scale**2,
        entries=rows.shape[1],
        shapes=shapes,
        latent_floats=family.size(None).floats,
        pays_rate=family.probe.pays_rate,
        likelihood=config.reconstruction.kind,
        reduction=config.reconstruction.reduction,
        variance=config.reconstruction.variance,
        kl=config.kl,
        steps=config.train.steps,
        latent=config.latent.kind,
        alignment=config.witness.weight if config.witness.classes else 0.0,
    )
