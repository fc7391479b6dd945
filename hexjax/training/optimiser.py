"""Adam; the learning rate is a knob times a schedule, and the clipping norm a knob, so that a sweep can batch them.

Parameters are a dict, and its top-level names are groups, each of which may have a share of the learning rate.
"""

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
    decay_steps: float  # infinity: no cosine decay
    halve_every_steps: int  # 0: no halving
    scale: dict[str, float]  # share of the learning rate by group; 1 for a group that is not named, 0: still
    ema: float  # decay of the average of the parameters; 0: none is kept

    def schedule(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Share of the learning rate at a step, in [0, 1]: linear warm-up, then cosine decay or halving.

        Source: halving, Park et al. 2019 (DeepSDF), whose code multiplies by 0.5 ** (step // interval).
        """
        warmup = jnp.minimum(1.0, (step + 1) / max(self.warmup_steps, 1))
        if self.halve_every_steps:
            return warmup * jnp.ldexp(1.0, -(jnp.maximum(step - self.warmup_steps, 0) // self.halve_every_steps))
        return warmup * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(step / self.decay_steps, 1.0)))

    def check_groups(self, params: Params) -> None:
        """Nothing; the parameters have every group that has a share of its own.

        Raises:
            ValueError: for a group that they lack.
        """
        groups = sorted(params) if isinstance(params, dict) else []
        for name, share in self.scale.items():
            if name not in groups:
                raise ValueError(
                    f"config.optimiser.scale.{name} is {share:g}, and the family's parameters have no such "
                    f"group; accepted: {', '.join(groups)}"
                )

    def held(self, params: Params) -> Params:
        """The parameters, of which those of still groups give no gradient."""
        still = [name for name, share in self.scale.items() if share == 0]
        return params | {name: jax.lax.stop_gradient(params[name]) for name in still} if still else params

    def moved(self, params: Params, direction: Params, rate: Float[Array, ""]) -> Params:
        """The parameters after a step in the direction, by the rate times the share of their group; still ones as they are."""

        def move(part: Params, way: Params, share: float = 1.0) -> Params:
            return optax.apply_updates(part, jax.tree.map(lambda update: share * rate * update, way))

        if not self.scale:
            return move(params, direction)
        shares = {name: self.scale.get(name, 1.0) for name in params}
        return {
            name: move(params[name], direction[name], share) if share else params[name]
            for name, share in shares.items()
        }

    def averaged(self, average: Params, params: Params, step: Int[Array, ""]) -> Params:
        """The average after the parameters of so many steps before: it starts at the initial ones, and soon forgets them.

        The decay is min(ema, (1 + step) / (10 + step)). Source: TensorFlow's ExponentialMovingAverage with `num_updates`.
        """
        share = jnp.maximum(1 - self.ema, 9 / (10 + step))  # of the new ones, 1 - decay
        return jax.tree.map(lambda old, new: old + (share * (new - old)).astype(old.dtype), average, params)


def clip(gradient: Params, norm: Float[Array, ""], limit: Float[Array, ""]) -> Params:
    """The gradient, whose global norm is given, scaled down to the norm `limit` where it is larger; infinity: as it is."""
    share = jnp.where(norm > limit, limit / norm, 1)
    return jax.tree.map(lambda leaf: share * leaf, gradient)


def make(config: ml_collections.ConfigDict) -> Optimiser:
    """The optimiser of `config.optimiser` and `config.train.ema`; a cosine decay ends at `config.train.steps`.

    Raises:
        ValueError: for an unknown `config.optimiser.decay`.
    """
    given, decay_steps, halve_every_steps = config.optimiser, float("inf"), 0
    if given.decay == "cosine":
        decay_steps = float(config.train.steps)
    elif given.decay == "halving":
        halve_every_steps = given.halve_every_steps
    elif given.decay != "none":
        raise ValueError(f"config.optimiser.decay is {given.decay!r}; accepted: none | cosine | halving")
    direction = optax.chain(optax.scale_by_adam(b2=given.beta2, eps=given.epsilon), optax.scale(-1.0))
    scale = {name: float(share) for name, share in given.scale.items()}
    return Optimiser(direction, given.warmup_steps, decay_steps, halve_every_steps, scale, float(config.train.ema))
