"""A generator: a transformer that turns noise into the latents of a parent run, told by views of the shape where it has some.

The parent of `latents.run` gives the latents that it learns, and decodes what it draws; the parent of `views.run` says what
is seen in pictures. A token of the transformer is a token of the latent, standardised; it looks at the features of the
views, each beside its pose, in whatever order.

Source: Peebles and Xie 2023 (arXiv:2212.09748), with attention to the views between attention and perceptron.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jaxtyping import Bool, Float, Int

from hexjax import rules
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import diffusion
from hexjax.types import Array, Batch, Latent, Params, Spec

LEAST = 1e-6  # deviation of a float of the latents
LONGEST = 1e4  # of the waves that tell the level
KEYS = {
    "latents.run": rules.TEXT,
    "views.run": rules.TEXT,
    "model.width": rules.whole(2),
    "model.blocks": rules.whole(1),
    "model.heads": rules.whole(1),
    "diffusion.levels": rules.whole(2),
    "diffusion.steps": rules.whole(2),
}


def check(config: Any) -> None:
    """Nothing; the family's keys are there, each as its rule accepts it, and fit together.

    Raises:
        ValueError: for the first that does not, in one line.
    """
    families.check_keys(config, KEYS)
    if config.model.width % (2 * config.model.heads):
        raise ValueError(
            f"config.model.width is {config.model.width}; accepted: multiples of twice model.heads = {config.model.heads}"
        )
    if config.diffusion.steps > config.diffusion.levels:
        most = f"diffusion.levels = {config.diffusion.levels}"
        raise ValueError(f"config.diffusion.steps is {config.diffusion.steps}; accepted: 2 to {most}")
    if not config.latents.run:
        raise ValueError("config.latents.run is ''; accepted: the folder of a trained run, whose latents are drawn")


class Block(linen.Module):
    """Attention among the tokens, to what is seen, and a perceptron; the level shifts, scales and gates each, at first to 0."""

    heads: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        seen: Float[Array, "b m d"] | None,
        alive: Bool[Array, "b m"] | None,
        level: Float[Array, "b d"],
    ) -> Float[Array, "b t d"]:
        width, zeros = x.shape[-1], linen.initializers.zeros
        count = 9 if seen is not None else 6
        told = linen.Dense(count * width, dtype=self.dtype, kernel_init=zeros)(jax.nn.silu(level))
        told = iter(jnp.split(told[:, None], count, -1))
        norm = lambda x: linen.LayerNorm(use_bias=False, use_scale=False, dtype=self.dtype)(x)
        attend = lambda: linen.MultiHeadDotProductAttention(self.heads, dtype=self.dtype)

        def moved(x: Array) -> Array:
            return norm(x) * (1 + next(told)) + next(told)

        y = moved(x)
        x = x + next(told) * attend()(y, y)
        if seen is not None:
            x = x + next(told) * attend()(moved(x), seen, mask=alive[:, None, None])
        y = linen.Dense(4 * width, dtype=self.dtype)(moved(x))
        return x + next(told) * linen.Dense(width, dtype=self.dtype)(jax.nn.gelu(y))


class Transformer(linen.Module):
    """The standardised latent that is expected of a noisy one at a level, and of what is seen."""

    width: int
    blocks: int
    heads: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        level: Float[Array, "b"],
        seen: Float[Array, "b m e"] | None,
        alive: Bool[Array, "b m"] | None,
    ) -> Float[Array, "b t d"]:
        dense = lambda width, **more: linen.Dense(width, dtype=self.dtype, **more)
        place = self.param("place", linen.initializers.normal(0.02), (1, x.shape[1], self.width), jnp.float32)
        h = dense(self.width)(x) + place.astype(self.dtype)
        c = dense(self.width)(waves(level, self.width))
        c = dense(self.width)(jax.nn.silu(c))
        if seen is not None:
            seen = linen.LayerNorm(dtype=self.dtype)(dense(self.width)(seen))
        for _ in range(self.blocks):
            h = Block(self.heads, self.dtype)(h, seen, alive, c)
        shift, scale = jnp.split(
            dense(2 * self.width, kernel_init=linen.initializers.zeros)(jax.nn.silu(c))[:, None], 2, -1
        )
        h = linen.LayerNorm(use_bias=False, use_scale=False, dtype=self.dtype)(h) * (1 + scale) + shift
        return dense(x.shape[-1], kernel_init=linen.initializers.zeros)(h).astype(jnp.float32)


def waves(level: Float[Array, "b"], width: int) -> Float[Array, "b w"]:
    """Cosines and sines of a level, of wavelengths from 2 pi to 2 pi LONGEST."""
    turns = jnp.exp(-jnp.log(LONGEST) * jnp.arange(width // 2) / (width // 2))
    angles = level[:, None] * turns[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration and the runs that it stands on.

    Raises:
        ValueError: without a run of latents, or with a run of views that says nothing of pictures.
    """
    if "latents" not in parents:
        raise ValueError("config.latents.run is ''; accepted: the folder of a trained run, whose latents are drawn")
    parent, model, diffused = parents["latents"], config.model, config.diffusion
    looks = parents.get("views") if config.views.run else None
    if looks is not None and looks.family.sees != ("views",):
        raise ValueError(
            f"config.views.run is a run of {looks.config.model.family}; accepted: one that encodes views alone"
        )
    network = Transformer(model.width, model.blocks, model.heads, jnp.dtype(model.dtype))
    shape = (parent.family.layout.tokens, parent.family.layout.channels)
    own = lambda params: params[families.PARENTS]["latents"]

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        known = np.zeros((1, *shape), np.float32) if parent.latents is None else parent.latents["latent"]
        scaling = {"mean": jnp.asarray(known.mean(0)), "deviation": jnp.asarray(np.maximum(known.std(0), LEAST))}
        seen, alive = tokens(batch, slice(1)) if looks is not None else (None, None)
        network_params = network.init(key, jnp.zeros((1, *shape)), jnp.zeros(1), seen, alive)
        return {"network": network_params, "scaling": scaling}

    def tokens(batch: Batch, some: slice = slice(None)) -> tuple[Array, Array]:
        """What is seen, [b, k n, c + 64], from `condition` [b, k, n, c] and `pose`; all of it is there."""
        condition, pose = batch["condition"][some], batch["pose"][some]
        pose = jnp.broadcast_to(pose[:, :, None], (*condition.shape[:3], pose.shape[-1]))
        seen = jnp.concatenate([condition, pose], -1).reshape(len(condition), -1, condition.shape[-1] + pose.shape[-1])
        return seen, jnp.ones(seen.shape[:2], bool)

    def denoise(params: Params, x: Array, level: Int[Array, "b"], seen: Array | None, alive: Array | None) -> Array:
        return network.apply(params["network"], x, level.astype(jnp.float32), seen, alive)

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        level_key, noise_key, view_key = jax.random.split(key, 3)
        scaling = params["scaling"]
        x = (batch["latent"] - scaling["mean"][None]) / scaling["deviation"][None]
        level = jax.random.randint(level_key, (len(x),), 0, diffused.levels)
        noisy = diffusion.noised(x, jax.random.normal(noise_key, x.shape), level, diffused.levels)
        seen, alive = tokens(batch) if looks is not None else (None, None)
        if looks is not None:  # of the views that are drawn the first few, the same number in a batch
            views = batch["condition"].shape[1]
            few = jax.random.randint(view_key, (), 1, views + 1)
            shown = jnp.repeat(jnp.arange(views) < few, seen.shape[1] // views)
            alive = jnp.broadcast_to(shown[None], alive.shape)
        error = jnp.square(denoise(params, noisy, level, seen, alive) - x).mean((1, 2))
        return error.mean(), {"reconstruction": error.mean()}

    def judge(params: Params, batch: Batch, key: Array) -> dict[str, Array]:
        """The loss at ten levels, told by all views of the batch; beside it that of the exact denoiser of the batch's latents.

        The mean alone has a loss of 1.
        """
        x = (batch["latent"] - params["scaling"]["mean"][None]) / params["scaling"]["deviation"][None]
        seen, alive = tokens(batch) if looks is not None else (None, None)
        noise, told = jax.random.normal(key, x.shape), {}
        for at in np.linspace(0, diffused.levels, 10, endpoint=False).astype(int).tolist():
            level = jnp.full(len(x), at)
            noisy = diffusion.noised(x, noise, level, diffused.levels)
            told[f"loss_{at}"] = jnp.square(denoise(params, noisy, level, seen, alive) - x).mean((1, 2))
            told[f"exact_{at}"] = jnp.square(diffusion.exact(x, diffused.levels)(noisy, level) - x).mean((1, 2))
        return told

    def sample(params: Params, key: Array, batch: Batch, knobs: dict[str, Array] | None = None) -> Latent:
        noise = families.drawn(lambda key: jax.random.normal(key, shape), key, batch)
        seen = alive = None
        if looks is not None:
            views = batch["views"]
            found = looks.family.encode(params[families.PARENTS]["views"], {"views": views}, None).code
            condition = found.reshape(*views.shape[:2], -1, found.shape[-1])
            seen, alive = tokens({"condition": condition, "pose": batch["pose"]})
        ask = lambda x, level: denoise(params, x, level, seen, alive)
        drawn = diffusion.sample(ask, noise, diffused.levels, diffused.steps)
        code = drawn * params["scaling"]["deviation"][None] + params["scaling"]["mean"][None]
        return Latent(code, {"mean": code})

    return Family(
        reads=("latent",) + (("condition", "pose") if looks is not None else ()),
        sees=(),
        layout=parent.family.layout,
        size=parent.family.size,
        init=init,
        loss=loss,
        encode=None,
        decode=lambda params, latent: parent.family.decode(own(params), latent),
        field=lambda params, decoded, points: parent.family.field(own(params), decoded, points),
        grid=None
        if parent.family.grid is None
        else lambda params, decoded, count: parent.family.grid(own(params), decoded, count),
        sample=sample,
        judge=judge,
        conditions=("views", "pose") if looks is not None else (),
    )
