"""Adam; the learning rate is a knob times a schedule, and the clipping norm a knob, so that a sweep can batch them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Float, Int

from hexjax.types import Array, Params


class Optimiser(NamedTuple):
    """`direction` makes updates of the gradient for a learning rate of 1; the rest is the schedule's."""

    direction: optax.GradientTransformation
    warmup_steps: int
    decay_steps: float  # infinity: no decay

    def schedule(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Share of the learning rate at a step, in [0, 1]: linear warm-up times cosine decay."""
        warmup = jnp.minimum(1.0, (step + 1) / max(self.warmup_steps, 1))
        return warmup * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(step / self.decay_steps, 1.0)))


def clip(gradient: Params, norm: Float[Array, ""], limit: Float[Array, ""]) -> Params:
    """The gradient, whose global norm is given, scaled down to the norm `limit` where it is larger; infinity: as it is."""
    share = jnp.where(norm > limit, limit / norm, 1)
    return jax.tree.map(lambda leaf: share * leaf, gradient)


def make(config: ml_collections.ConfigDict) -> Optimiser:
    """The optimiser of `config.optimiser`; the decay ends at `config.train.steps`.

    Raises:
        ValueError: for an unknown `config.optimiser.decay`.
    """
    if config.optimiser.decay == "cosine":
        decay_steps = float(config.train.steps)
    elif config.optimiser.decay == "none":
        decay_steps = float("inf")
    else:
        raise ValueError(f"config.optimiser.decay is {config.optimiser.decay!r}; accepted: none | cosine")
    direction = optax.chain(optax.scale_by_adam(b2=config.optimiser.beta2), optax.scale(-1.0))
    return Optimiser(direction, config.optimiser.warmup_steps, decay_steps)
