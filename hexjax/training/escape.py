"""Out of a collapse: what the first steps do to the margin by the witness's force, and what a run does that has collapsed."""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax.diagnostics import preflight, witness
from hexjax.models.family import Family, Knobs
from hexjax.training import files, step
from hexjax.training import optimiser as optimisers
from hexjax.types import Array, Batch, Params, TrainState

FILE = "checkpoints/escape.json"  # in a run's folder: the measures that it took
SHARE = 0.1  # of the weight so far, each time
MARGIN = 20  # how many times the variance of the decoder that the loss amounts to is to go into the largest eigenvalue
ALIGNED = 10.0  # weight of the alignment loss
FIRST = 10  # steps that are foretold
WEIGHTS = ("kl.initial_weight", "kl.final_weight")


class Measure(NamedTuple):
    """What stands from a step on: the share of the run's own KL weights, and a weight of the alignment loss that it had not."""

    step: int
    share: float
    alignment: float


Measures = tuple[Measure, ...]


def kept(folder: pathlib.Path, before: int) -> Measures:
    """The measures that a run took before a step; later ones, which a run that goes on from there has not taken, are gone."""
    file = folder / FILE
    found = [Measure(*each) for each in json.loads(file.read_bytes())] if file.is_file() else []
    stand = tuple(each for each in found if each.step < before)
    if len(stand) < len(found):
        write(folder, stand)
    return stand


def taken(
    done: Measures, now: int, judged: str, lower: float, expected: Callable[[], preflight.Preflight | None]
) -> Measures:
    """The measures after a look at the latent.

    Of a collapsed one the KL weight is lowered, first to what the data pay for MARGIN times, where that is known, then by
    SHARE; and its means are aligned with the teacher, until a witness certifies it: the force of that is not 0 at a constant
    mean, whatever the decoder does.

    Args:
        lower: the certified margin, in nats; expected: the preflight.
    """
    last = done[-1] if done else Measure(0, 1.0, 0.0)
    if judged == "COLLAPSED":
        share, known = SHARE * last.share, None if done else expected()
        if known is not None and known.decoder_variance:
            share = min(share, known.largest_eigenvalue / (MARGIN * known.decoder_variance))
        return (*done, Measure(now, share, ALIGNED))
    return (*done, last._replace(step=now, alignment=0.0)) if last.alignment and lower > 0 else done


def write(folder: pathlib.Path, done: Measures) -> None:
    """Nothing; the measures lie in the run's folder."""
    files.write_atomically(folder / FILE, json.dumps(done) + "\n")


def knobs(given: Knobs, done: Measures) -> Knobs:
    """The knobs under the measure that stands."""
    if not done:
        return given
    changed = {name: done[-1].share * given[name] for name in WEIGHTS}
    return given | changed | {"witness.weight": given["witness.weight"] + done[-1].alignment}


def told(done: Measures) -> str:
    """The measure that stands, in words."""
    aligned = ", and its means are aligned" if done[-1].alignment else ""
    return f"from step {done[-1].step} on its KL weight is {done[-1].share:.3g} of its own{aligned}"


def constant(params: Params) -> Params:
    """The parameters with an encoder that says the same of every shape: its last dense layer has its bias alone.

    Raises:
        ValueError: for parameters without an encoder of layers.
    """
    layers = params.get("encoder", {}).get("params", {})
    dense = [name for name in layers if name.startswith("Dense_")]
    if not dense:
        raise ValueError("config.sweep.constant_mean is True; accepted of a family whose encoder ends in a dense layer")
    last = max(dense, key=lambda name: int(name.rpartition("_")[2]))
    kernel = jnp.zeros_like(layers[last]["kernel"])
    layers = layers | {last: layers[last] | {"kernel": kernel}}
    return params | {"encoder": params["encoder"] | {"params": layers}}


def margin(family: Family, params: Params, held: Batch, t: Float[Array, "n k"], temperature: float) -> Float[Array, ""]:
    """The margin of the simplex witness on the shapes' means."""
    return witness.margin(t, witness.witness_log_q(_mean(family, params, held, t), t.shape[1], temperature))


def _mean(family: Family, params: Params, held: Batch, t: Float[Array, "n k"]) -> Float[Array, "n j"]:
    """Those floats of each shape's mean that the simplex witness sees."""
    mean = family.encode(params, held, None).statistics["mean"]
    return mean.reshape(len(t), -1)[:, : t.shape[1] - 1]


def forecast(
    family: Family, loss: step.Loss, optimiser: optimisers.Optimiser, temperature: float
) -> Callable[..., Float[Array, "2"]]:
    """By how many nats the simplex witness's margin grows in the next step and in FIRST steps, to first order.

    The function takes (state, batch, knobs, seed, held [n shapes], t [n, k]): the optimiser is given the same gradient, that
    of the loss on the batch, at every step; the force on each held-out shape's mean times how its mean moves is its gain.
    """

    def predict(state: TrainState, batch: Batch, knobs: Knobs, seed: Array, held: Batch, t: Array) -> Array:
        key = step.stream_key(seed, "loss", state.step)
        gradient = jax.grad(lambda params: loss(params, batch, key, state.step, knobs)[0])(state.params)
        norm = jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradient)))
        gradient = optimisers.clip(gradient, norm, knobs["optimiser.clip_norm"])

        def add(carry: tuple[Any, Params], _: None) -> tuple[tuple[Any, Params], None]:
            memory, total = carry
            direction, memory = optimiser.direction.update(gradient, memory, state.params)
            return (memory, jax.tree.map(jnp.add, total, direction)), None

        still = jax.tree.map(jnp.zeros_like, state.params)
        once, _ = add((state.optimiser, still), None)
        (_, total), _ = jax.lax.scan(add, once, None, FIRST - 1)
        rate = knobs["optimiser.learning_rate"] * optimiser.schedule(state.step)

        def gain(direction: Params) -> Array:
            moved = jax.tree.map(lambda leaf: rate * leaf, direction)
            mean, change = jax.jvp(lambda params: _mean(family, params, held, t), (state.params,), (moved,))
            q = jnp.exp(witness.witness_log_q(mean, t.shape[1], temperature))
            return (witness.escape_force(t, q, temperature) * change).sum(1).mean()

        return jnp.stack([gain(once[1]), gain(total)])

    return predict
