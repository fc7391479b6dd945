"""Adam, or Muon for the weights of layers; the learning rate is a knob times a schedule, and the clipping norm a knob, so
that a sweep can batch them.

Parameters are a dict, and its top-level names are groups, each of which may have a share of the learning rate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Float, Int

from hexjax.types import Array, Params

ADAM_RMS = 0.2  # of an element of Adam's usual step; Muon's is made as long, so that one learning rate serves both


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
        ValueError: for an unknown `config.optimiser.kind` or `decay`.

    Source: Muon, Jordan et al. 2024, at the step length of Adam as Liu et al. 2025 (arXiv:2502.16982) scale it.
    """
    given, decay_steps, halve_every_steps = config.optimiser, float("inf"), 0
    if given.decay == "cosine":
        decay_steps = float(config.train.steps)
    elif given.decay == "halving":
        halve_every_steps = given.halve_every_steps
    elif given.decay != "none":
        raise ValueError(f"config.optimiser.decay is {given.decay!r}; accepted: none | cosine | halving")
    if given.kind == "muon":
        direction = optax.contrib.muon(
            1.0,
            adam_b2=given.beta2,
            eps=given.epsilon,
            consistent_rms=ADAM_RMS,
            muon_weight_dimension_numbers=_matrices,
        )
    elif given.kind == "adam":
        direction = optax.chain(optax.scale_by_adam(b2=given.beta2, eps=given.epsilon), optax.scale(-1.0))
    else:
        raise ValueError(f"config.optimiser.kind is {given.kind!r}; accepted: adam | muon")
    scale = {name: float(share) for name, share in given.scale.items()}
    return Optimiser(direction, given.warmup_steps, decay_steps, halve_every_steps, scale, float(config.train.ema))


def _matrices(params: Params) -> Params:
    """Which axis of a layer's weights is its output, the others its input; None for all that are no such weights.

    Codes of shapes and learnt queries are matrices too, but each row is for itself.
    """

    def axes(path: tuple, leaf: Array) -> optax.contrib.MuonDimensionNumbers | None:
        *_, layer, name = (getattr(part, "key", "") for part in ("", *path))
        if leaf.ndim < 2 or name != "kernel":
            return None
        first = (
            1 if layer in ("query", "key", "value") else leaf.ndim - 1
        )  # of the output; those have one for the heads
        return optax.contrib.MuonDimensionNumbers(tuple(range(first)), tuple(range(first, leaf.ndim)))

    return jax.tree_util.tree_map_with_path(axes, params)
