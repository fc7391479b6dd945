"""Out of a collapse: what the first steps do to the margin by the witness's force, and what a run does that has collapsed."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax.diagnostics import preflight, witness
from hexjax.models.family import Family, Knobs
from hexjax.training import files, step
from hexjax.training import optimiser as optimisers
from hexjax.types import Array, Batch, Params, TrainState

FILE = "checkpoints/escape.json"  # in a run's folder: at which steps it lowered its KL weight, and to which share of its own
SHARE = 0.1  # of the weight so far, each time
MARGIN = 20  # how many times the variance of the decoder that the loss amounts to is to go into the largest eigenvalue
FIRST = 10  # steps that are foretold
WEIGHTS = ("kl.initial_weight", "kl.final_weight")

Lowered = tuple[tuple[int, float], ...]


def read(folder: pathlib.Path, before: int) -> Lowered:
    """What a run did to its KL weight before a step: (step, share) in their order."""
    file = folder / FILE
    found = json.loads(file.read_bytes()) if file.is_file() else []
    return tuple((int(step), float(share)) for step, share in found if step < before)


def lower(folder: pathlib.Path, done: Lowered, now: int, expected: preflight.Preflight | None) -> Lowered:
    """The same with one more: first to the weight that the data pay for MARGIN times, where it is known, then by SHARE."""
    share = SHARE * (done[-1][1] if done else 1.0)
    if not done and expected is not None and expected.decoder_variance:
        share = min(share, expected.largest_eigenvalue / (MARGIN * expected.decoder_variance))
    done = (*done, (now, share))
    files.write_atomically(folder / FILE, json.dumps(done) + "\n")
    return done


def knobs(given: Knobs, done: Lowered) -> Knobs:
    """The knobs with the share of their KL weights that stands."""
    return given | {name: done[-1][1] * given[name] for name in WEIGHTS} if done else given


def told(done: Sequence[tuple[int, float]], recovered: bool) -> str:
    """A tag of the verdict: what was done, and whether it helped."""
    step, share = done[-1]
    return f"{'escaped' if recovered else 'no escape'}: from step {step} on at {share:.3g} of the KL weight"


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
