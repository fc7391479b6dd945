"""An encoder of pictures: features of views, so alike for views of one shape that they tell it from others. It has no shape.

own: a transformer over the patches of a picture, trained to find among the pictures of a batch the other one of its shape;
nothing is labelled. `latents` of a shape are the features of its views, one token each, or one for each patch.

Source: the loss, van den Oord et al. 2018 (arXiv:1807.03748) and Chen et al. 2020 (arXiv:2002.05709), without augmentations.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Float, UInt8

from hexjax import rules
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import blocks
from hexjax.types import Array, Batch, Latent, Layout, Params, Size, Spec

PATCH_PX = 14
KEYS = {
    "views.tokens": rules.choice("cls", "patches"),
    "model.width": rules.whole(1),
    "model.blocks": rules.whole(1),
    "model.heads": rules.whole(1),
    "model.temperature": rules.POSITIVE,
}


def check(config: Any) -> None:
    """Nothing; the family's keys are there, each as its rule accepts it, and fit together.

    Raises:
        ValueError: for the first that does not, in one line.
    """
    families.check_keys(config, KEYS)
    if config.views.resolution_px % PATCH_PX:
        raise ValueError(
            f"config.views.resolution_px is {config.views.resolution_px}; accepted with model.family = view_encoder: "
            f"multiples of {PATCH_PX}"
        )
    if config.model.width % config.model.heads:
        raise ValueError(
            f"config.model.heads is {config.model.heads}; accepted: a divisor of model.width = {config.model.width}"
        )
    if config.views.drawn != 2:
        raise ValueError(f"config.views.drawn is {config.views.drawn}; accepted with model.family = view_encoder: 2")


class Transformer(linen.Module):
    """Features of pictures: of the whole, and of each patch."""

    width: int
    blocks: int
    heads: int
    channels: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, pictures: Float[Array, "b h w c"]) -> tuple[Float[Array, "b d"], Float[Array, "b t d"]]:
        cells = blocks.space_to_depth(pictures.astype(self.dtype), PATCH_PX)
        x = linen.Dense(self.width, dtype=self.dtype)(cells.reshape(len(cells), -1, cells.shape[-1]))
        normal = linen.initializers.normal(0.02)
        first = self.param("first", normal, (1, 1, self.width), jnp.float32)
        place = self.param("place", normal, (1, *x.shape[1:]), jnp.float32)
        start = jnp.broadcast_to(first, (len(x), 1, self.width)).astype(self.dtype)
        x = jnp.concatenate([start, x + place.astype(self.dtype)], 1)
        for _ in range(self.blocks):
            x = blocks.Attention(self.heads, self.dtype)(x)
        x = linen.RMSNorm(dtype=self.dtype)(x)
        x = jnp.concatenate([x[:, :1] + x[:, 1:].mean(1, keepdims=True), x[:, 1:]], 1)
        x = linen.Dense(self.channels, dtype=self.dtype)(x).astype(jnp.float32)
        x = x / jnp.maximum(jnp.sqrt(jnp.square(x).mean(-1, keepdims=True)), 1e-6)
        return x[:, 0], x[:, 1:]


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration."""
    model, channels, views = config.model, config.latent.channels, config.views
    network = Transformer(model.width, model.blocks, model.heads, channels, jnp.dtype(model.dtype))
    each = 1 if views.tokens == "cls" else (views.resolution_px // PATCH_PX) ** 2
    tokens = views.count * each

    def pictures(views: Array) -> Array:
        return views.astype(jnp.float32) / 255  # what misses is 0

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        return {"encoder": network.init(key, pictures(batch["views"][:1, 0]))}

    def features(params: Params, views: UInt8[Array, "b k h w c"]) -> tuple[Array, Array]:
        """Of the whole pictures [b, k, d], and of their patches [b, k, t, d]; one picture of each shape at a time."""
        one = lambda pictured: network.apply(params["encoder"], pictures(pictured))
        return tuple(jnp.moveaxis(part, 0, 1) for part in jax.lax.map(one, jnp.moveaxis(views, 1, 0)))

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        count = len(batch["views"])
        both = pictures(jnp.concatenate([batch["views"][:, 0], batch["views"][:, 1]]))
        found = network.apply(params["encoder"], both)[0]
        products = found[:count] @ found[count:].T / (channels * model.temperature)
        own = jnp.diagonal(products)
        nats = [jax.nn.logsumexp(products, axis) - own for axis in (0, 1)]
        right = (products.argmax(1) == jnp.arange(count)).mean()
        total = (nats[0].mean() + nats[1].mean()) / 2
        return total, {"reconstruction": total, "recall": right}

    def encode(params: Params, batch: Batch, key: Array | None, knobs: dict[str, Array] | None = None) -> Latent:
        whole, patches = features(params, batch["views"])
        code = whole if views.tokens == "cls" else patches.reshape(len(whole), -1, channels)
        return Latent(code, {"mean": code})

    def judge(params: Params, batch: Batch, key: Array) -> dict[str, Array]:
        """How often the nearest of all shapes, each shown from another direction, is the shape that is asked for.

        `recall` is over all pairs of different views, `recall_held` over those that were never trained with.
        """
        found = features(params, batch["views"])[0]
        count, held = found.shape[1], min(views.held, found.shape[1])
        products = jnp.einsum("bid,ajd->ijba", found, found)  # query view and gallery view, query shape and its
        right = (products.argmax(-1) == jnp.arange(len(found))[None, None]).astype(jnp.float32)
        other = 1 - jnp.eye(count)
        mean = lambda kept: (right * kept[:, :, None]).sum((0, 1)) / jnp.maximum(kept.sum(), 1)
        asked = jnp.arange(count) >= count - held
        told = {"recall": mean(other)}
        return told | ({"recall_held": mean(other * asked[:, None] * asked[None])} if held > 1 else {})

    return Family(
        reads=("views",),
        sees=("views",),
        layout=Layout("set", tokens, channels),
        size=lambda latent: Size(tokens * channels, tokens * channels * config.latent.bits),
        init=init,
        loss=loss,
        encode=encode,
        decode=None,
        field=None,
        judge=judge,
    )
