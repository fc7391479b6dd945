"""Out of a collapse: what the first steps do to the margin by the witness's force, and what a run does that has collapsed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from hexjax.diagnostics import witness
from hexjax.models.family import Family, Knobs
from hexjax.training import optimiser as optimisers
from hexjax.training import step
from hexjax.types import Array, Batch, Params, TrainState


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


def forecast(
    family: Family, loss: step.Loss, optimiser: optimisers.Optimiser, steps: int, temperature: float
) -> Callable[..., Float[Array, "2"]]:
    """By how many nats the simplex witness's margin grows in the next step and in so many, to first order.

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
        (_, total), _ = jax.lax.scan(add, once, None, steps - 1)
        rate = knobs["optimiser.learning_rate"] * optimiser.schedule(state.step)

        def mean_of(params: Params) -> Array:
            mean = family.encode(params, held, None, knobs).statistics["mean"]
            return mean.reshape(len(t), -1)[:, : t.shape[1] - 1]

        def gain(direction: Params) -> Array:
            moved = jax.tree.map(lambda leaf: rate * leaf, direction)
            mean, change = jax.jvp(mean_of, (state.params,), (moved,))
            q = jnp.exp(witness.witness_log_q(mean, t.shape[1], temperature))
            return (witness.escape_force(t, q, temperature) * change).sum(1).mean()

        return jnp.stack([gain(once[1]), gain(total)])

    return predict
