"""Evaluation of a family that has no shape: its loss and what it says of itself, on the shapes of each part of the split."""

import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from hexjax import pipeline, progress
from hexjax.evaluation import plans, rows
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import record
from hexjax.types import Item, Params, Scores


def evaluate(
    family: Family,
    params: Params,
    items: Sequence[Item],
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    step: int | None = None,
    own: ml_collections.ConfigDict | None = None,
    stopped: Callable[[], bool] = lambda: False,
    **_: Any,
) -> Scores:
    """What is written to scores.json, where `evaluate.evaluate` would write that of a family with a shape.

    The shapes of a part are judged together, as what is asked of one may be asked among all.

    Raises:
        KeyboardInterrupt: if it was stopped.
    """
    data = rows.digest(items)
    place = folder if own is None else rows.place(folder, config, own, step, data)
    plan, found = plans.make(items, config, folder, False), []
    batches = []
    with progress.Line(len(plan.items), "shapes prepared") as line:
        for number, item in enumerate(plan.items, 1):
            if stopped():
                raise KeyboardInterrupt
            batches.append(jax.device_get(pipeline.observe(item, family, config, None)))
            line.update(number)
    parts = [each.part for each in plan.standings]
    for part in dict.fromkeys(parts):
        numbers = [i for i, each in enumerate(parts) if each == part]
        batch = {name: np.concatenate([batches[i][name] for i in numbers]) for name in batches[0]}
        judged = jax.device_get(_judge(family, params, batch, config.seed))
        for row, number in enumerate(numbers):
            told = {name: float(values[row]) for name, values in judged.items()}
            found.append({"name": plan.items[number].name, "part": part} | plan.told(number) | told)
    means = {part: _mean([row for row in found if row["part"] == part]) for part in dict.fromkeys(parts)}
    asked = rows.HELD_OUT if rows.HELD_OUT in means else next(iter(means))
    device, size = jax.devices()[0], family.size(None)
    scores = {"mode": "judge", "step": step, "settings": {"digest": data}, "items": found, "mean": means[asked]}
    scores |= {"parts": {part: {"shapes": parts.count(part), "mean": mean} for part, mean in means.items()}}
    learnt = [leaf for name, part in params.items() if name != families.PARENTS for leaf in jax.tree.leaves(part)]
    scores |= {"parameters": sum(leaf.size for leaf in learnt), "latent_floats": size.floats, "latent_bits": size.bits}
    scores |= {"verdict": None, "device": f"{device.platform}: {device.device_kind}", "seed": config.seed}
    scores = rows.plain(scores)
    rows.keep_earlier(place, step, scores["settings"], len(found))
    place.mkdir(parents=True, exist_ok=True)
    record.write_atomically(place / "scores.json", json.dumps(scores, indent=2, allow_nan=False) + "\n")
    for part, each in scores["parts"].items():
        told = ", ".join(f"{name} {value:.4f}" for name, value in each["mean"].items())
        print(f"{part}, {each['shapes']} shapes: {told}", file=sys.stderr)
    return scores


def _judge(family: Family, params: Params, batch: dict[str, Any], seed: int) -> dict[str, Any]:
    if family.judge is None:
        return {}
    return jax.jit(family.judge)(params, jax.tree.map(jnp.asarray, batch), jax.random.key(seed))


def _mean(found: Sequence[Scores]) -> Scores:
    return {
        name: float(np.mean([row[name] for row in found]))
        for name, value in found[0].items()
        if isinstance(value, float)
    }
