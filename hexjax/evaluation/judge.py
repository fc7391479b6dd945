"""The verdict on a run's latent, and the laboratory's figures, from some of its shapes."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from hexjax.diagnostics import collapse, diagnosis, measure, teacher
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.types import Array, Batch, Params


def diagnose(
    family: Family, params: Params, seen: Sequence[Batch], config: ml_collections.ConfigDict, folder: pathlib.Path
) -> dict[str, Any]:
    """`verdict`, why, and the figures of the laboratory on batches of a shape each; null where there is no latent to judge.

    The IoU at every threshold stands beside; a teacher that lies with the run's checkpoints is asked too.
    """
    names = ("verdict", "verdict_reason", "verdict_tags", "active_units", "diagnostics", "threshold_sweep")
    if family.probe is None:
        return dict.fromkeys(names)
    batch = {
        name: jnp.concatenate([each[name] for each in seen]) for name in seen[0] if all(name in each for each in seen)
    }
    known, x = diagnosis.know(family.probe, batch), family.probe.observe(batch)
    lesson = teacher.read(folder) if config.witness.classes else None
    classes = None if lesson is None else jnp.asarray(teacher.posterior(lesson, x.reshape(len(x), -1)), jnp.float32)
    knobs = families.knobs(config, families.LIKELIHOOD)
    diagnose, key = (
        diagnosis.make(family.encode, family.probe, config.witness, family.layout),
        jax.random.key(config.seed),
    )
    scalars, judged = diagnose(params, batch, known, key, knobs, classes)
    swept = jax.jit(functools.partial(_swept, family))(params, batch, x, knobs)
    swept = {name: [float(value) for value in values] for name, values in swept.items()}
    swept["threshold"] = list(collapse.THRESHOLDS)
    units = int(scalars["active_units"]) if len(seen) > 1 else None
    figures = {name: float(value) for name, value in scalars.items()}
    return dict(zip(names, (judged.name, judged.reason, list(judged.tags), units, figures, swept)))


def _swept(family: Family, params: Params, batch: Batch, x: Array, knobs: families.Knobs) -> dict[str, Array]:
    """The sweep of thresholds, encoder and all: compiled as one, where each of its operations would be on its own."""
    return measure.threshold_sweep(family.probe, params, family.encode(params, batch, None, knobs), x)
