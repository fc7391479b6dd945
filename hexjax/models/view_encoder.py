"""An encoder of pictures: features of views, so alike for views of one shape that they tell it from others. It has no shape.

own: a transformer over the patches of a picture, trained to find among the pictures of a batch the other one of its shape;
nothing is labelled. dinov2: one that others trained on photographs, with weights from a file. pca: the floor, the whitened
principal components of small pictures of the training. Of these two nothing is trained: a run of theirs has no steps.
Latents of a shape are the features of its views, one token each, or one for each patch.

Source: the loss, van den Oord et al. 2018 (arXiv:1807.03748) and Chen et al. 2020 (arXiv:2002.05709), without augmentations.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Float, UInt8

from hexjax import names, rules
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import blocks, dinov2
from hexjax.types import Array, Batch, Latent, Layout, Params, Size, Spec

PATCH_PX = dinov2.PATCH_PX
SMALL_PX = 16  # side of the pictures that principal components are of
FITTED = 128  # the most training shapes whose pictures give components
LEAST = 1e-3  # of the largest deviation: a component with less is no more than rounding, and says 0
KEYS = {
    "views.encoder": rules.choice("own", "dinov2", "pca"),
    "views.weights": rules.TEXT,
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
    model, views, channels = config.model, config.views, config.latent.channels
    said = f"with views.encoder = {views.encoder}"
    if views.encoder != "pca" and views.resolution_px % PATCH_PX:
        raise ValueError(
            f"config.views.resolution_px is {views.resolution_px}; accepted with model.family = view_encoder: "
            f"multiples of {PATCH_PX}"
        )
    if model.width % model.heads:
        raise ValueError(f"config.model.heads is {model.heads}; accepted: a divisor of model.width = {model.width}")
    if views.encoder == "own" and views.drawn != 2:
        raise ValueError(f"config.views.drawn is {views.drawn}; accepted with model.family = view_encoder: 2")
    if (views.encoder == "dinov2") != bool(views.weights):
        accepted = dinov2.ACCEPTED.removeprefix("accepted: ") if views.encoder == "dinov2" else "'', as none are read"
        raise ValueError(f"config.views.weights is {names.shown(views.weights)}; accepted {said}: {accepted}")
    if views.encoder == "dinov2" and views.channels != "shaded":
        raise ValueError(f"config.views.channels is {views.channels!r}; accepted {said}: shaded")
    if views.encoder == "dinov2" and channels != model.width:
        raise ValueError(f"config.latent.channels is {channels}; accepted {said}: {model.width}, its model.width")
    if views.encoder == "pca" and views.tokens != "cls":
        raise ValueError(f"config.views.tokens is {views.tokens!r}; accepted {said}: cls")


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


class Encoder(NamedTuple):
    """What becomes of pictures [b, h, w, c] in [0, 1]."""

    init: Callable[[Batch, Array], Params]  # (batch, key) -> parameters
    ask: Callable[[Params, Array], tuple[Array, Array]]  # -> features of the whole [b, d], of the patches [b, t, d]


def own(config: Any) -> Encoder:
    """The transformer that is trained here."""
    model = config.model
    network = Transformer(model.width, model.blocks, model.heads, config.latent.channels, jnp.dtype(model.dtype))
    return Encoder(lambda batch, key: network.init(key, scaled(batch["views"][:1, 0])), network.apply)


def pretrained(config: Any) -> Encoder:
    """DINOv2's transformer. Its file is read by `init` alone, and out of the program, which would else hold all weights.

    Whatever reads a run needs no file; a training that goes on looks whether it fits, as one that begins does.
    """
    model, side = config.model, config.views.resolution_px // PATCH_PX

    def init(batch: Batch, key: Array) -> Params:
        size = model.width, model.blocks
        dinov2.check(config.views.weights, *size)
        read = functools.partial(dinov2.read, config.views.weights, *size, side)
        return jax.pure_callback(read, dinov2.layout(*size, side))

    return Encoder(init, lambda params, shown: dinov2.features(params, shown, model.heads, jnp.dtype(model.dtype)))


def principal(config: Any) -> Encoder:
    """Whitened principal components of pictures made small; they are of the pictures that `init` is given, all of them.

    In a training these are `views.drawn` pictures of each of the first FITTED shapes, or of all where there are fewer.
    """
    count, side = config.latent.channels, min(SMALL_PX, config.views.resolution_px)

    def small(shown: Float[Array, "b h w c"]) -> Float[Array, "b q"]:
        size = (len(shown), side, side, shown.shape[-1])
        return jax.image.resize(shown, size, "linear").reshape(len(shown), -1)

    def init(batch: Batch, key: Array) -> Params:
        found = jax.lax.map(lambda views: small(scaled(views)), batch["views"])
        return whitened(found.reshape(-1, found.shape[-1]), count)

    def ask(params: Params, shown: Array) -> tuple[Array, Array]:
        centred = small(shown) - params["mean"][None]
        whole = jnp.matmul(centred, params["kernel"], precision="highest")
        return whole, whole[:, None]

    return Encoder(init, ask)


def whitened(x: Float[Array, "n q"], count: int) -> dict[str, Array]:
    """Mean [q] of rows, and the kernel [q, count] to their first principal components, each of unit deviation over the rows.

    Raises:
        ValueError: for more components than numbers in a row.
    """
    if count > x.shape[1]:
        raise ValueError(
            f"config.latent.channels is {count}; accepted with views.encoder = pca: at most {x.shape[1]}, the numbers of a "
            "picture made small"
        )
    mean = x.mean(0)
    centred = x - mean[None]
    covariance = jnp.matmul(centred.T, centred, precision="highest") / len(x)
    variances, components = (part[..., ::-1][..., :count] for part in jnp.linalg.eigh(covariance))
    deviations = jnp.sqrt(jnp.maximum(variances, 0))
    is_sure = deviations > LEAST * deviations[0]
    return {"mean": mean, "kernel": components * jnp.where(is_sure, 1 / jnp.where(is_sure, deviations, 1), 0)[None]}


def scaled(views: UInt8[Array, "*b c"]) -> Float[Array, "*b c"]:
    """Pictures in [0, 1]; what misses is 0."""
    return views.astype(jnp.float32) / 255


ENCODERS = {"own": own, "dinov2": pretrained, "pca": principal}


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration."""
    model, channels, views = config.model, config.latent.channels, config.views
    encoder, is_own = ENCODERS[views.encoder](config), views.encoder == "own"
    each = 1 if views.tokens == "cls" else (views.resolution_px // PATCH_PX) ** 2
    tokens = views.count * each

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        return {"encoder": encoder.init(batch, key)}

    def features(params: Params, views: UInt8[Array, "b k h w c"]) -> tuple[Array, Array]:
        """Of the whole pictures [b, k, d], and of their patches [b, k, t, d]; one picture of each shape at a time."""
        one = lambda pictured: encoder.ask(params["encoder"], scaled(pictured))
        return tuple(jnp.moveaxis(part, 0, 1) for part in jax.lax.map(one, jnp.moveaxis(views, 1, 0)))

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        count = len(batch["views"])
        both = scaled(jnp.concatenate([batch["views"][:, 0], batch["views"][:, 1]]))
        found = encoder.ask(params["encoder"], both)[0]
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
        """How often the nearest by angle of all shapes, each shown from another direction, is the shape that is asked for.

        `recall` is over all pairs of different views, `recall_held` over those that were never trained with.
        """
        found = features(params, batch["views"])[0]
        found = found / jnp.maximum(jnp.linalg.norm(found, axis=-1, keepdims=True), 1e-6)
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
        loss=loss if is_own else None,
        encode=encode,
        decode=None,
        field=None,
        judge=judge,
        starts=FITTED if views.encoder == "pca" else 1,
    )
