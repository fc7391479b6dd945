"""Three feature planes and a global code, on which a surface's points are gathered, and through which any point is asked.

What the surface's points say is averaged where they fall on each of three planes through the centre; convolutions and
attention among the planes' cells make few cells of it, and these are planes again behind the latent. At a point the
features of its three places and those of the global code are summed, and a small perceptron says the signed distance.
The last tokens of the latent are the global code. On a GPU sums over points may come in another order each time.

Source: Peng et al. 2020 (arXiv:2003.04618) and Chan et al. 2022 (arXiv:2112.07945), with an autoencoder's latent between.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jaxtyping import Float

from hexjax import rules
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import blocks, fourier, latents, targets
from hexjax.types import Array, Batch, Latent, Layout, Params, Spec

AXES = ((0, 1), (1, 2), (2, 0))  # of a point, that a plane's two axes are
KEYS = targets.KEYS | {
    "latent.global_floats": rules.whole(1),
    "model.width": rules.whole(1),
    "model.heads": rules.whole(1),
    "model.bands": rules.whole(0, 16),
    "model.plane_side": rules.whole(1),
    "model.features": rules.whole(1),
    "model.mixer_blocks": rules.whole(0),
    "model.layers": rules.whole(1),
}


def check(config: Any) -> None:
    """Nothing; the family's keys are there, each as its rule accepts it, and fit.

    Raises:
        ValueError: for the first that is not, in one line.
    """
    families.check_keys(config, KEYS)
    model, side = config.model, config.latent.side
    if model.width % model.heads:
        raise ValueError(f"config.model.width is {model.width}; accepted: multiples of model.heads = {model.heads}")
    times = model.plane_side / side
    if times < 1 or not math.log2(times).is_integer():
        raise ValueError(
            f"config.model.plane_side is {model.plane_side}; accepted: latent.side = {side} times a power of two"
        )


def global_tokens(config: Any) -> int:
    """Tokens of the latent that the global code fills, at the latent's channels."""
    return math.ceil(config.latent.global_floats / config.latent.channels)


def cells(points: Float[Array, "*p 3"], side: int) -> Float[Array, "*p 3 2"]:
    """Where points of the cube fall on the three planes, in cells, whose centres are whole numbers."""
    return (points[..., np.asarray(AXES)] + 1) / 2 * side - 0.5


def gather(found: Float[Array, "p d"], points: Float[Array, "p 3"], side: int) -> Float[Array, "3 n n d"]:
    """The mean of what points say in each cell of the three planes; 0 where there are none."""
    place = jnp.clip(jnp.round(cells(points, side)), 0, side - 1).astype(jnp.int32)
    index = jnp.arange(3)[None] * side**2 + place[..., 0] * side + place[..., 1]
    told = jnp.repeat(jnp.concatenate([found, jnp.ones_like(found[:, :1])], -1), 3, 0)
    sums = jax.ops.segment_sum(told, index.reshape(-1), 3 * side**2)
    return (sums[:, :-1] / jnp.maximum(sums[:, -1:], 1)).reshape(3, side, side, -1)


def look(planes: Float[Array, "3 n n d"], points: Float[Array, "p 3"]) -> Float[Array, "p d"]:
    """The sum of what the three planes say at points, linear between the centres of cells and constant beyond."""
    side = planes.shape[1]
    place = jnp.clip(cells(points, side), 0, side - 1)
    low = jnp.clip(jnp.floor(place), 0, max(side - 2, 0)).astype(jnp.int32)
    share, flat = place - low, planes.reshape(3 * side**2, -1)
    total = 0.0
    for first in (0, 1):
        for second in (0, 1):
            corner = jnp.minimum(low + jnp.asarray([first, second])[None, None], side - 1)
            weight = math.prod(share[..., k] if high else 1 - share[..., k] for k, high in enumerate((first, second)))
            index = jnp.arange(3)[None] * side**2 + corner[..., 0] * side + corner[..., 1]
            total = total + (flat[index] * weight[..., None]).sum(-2)
    return total


class Encoder(linen.Module):
    """Points to the statistics of a latent's tokens: the planes' cells, then the global code."""

    side: int
    plane_side: int
    global_tokens: int
    outputs: int
    width: int
    heads: int
    bands: int
    mixer_blocks: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, points: Float[Array, "b p 3"]) -> Float[Array, "b t e"]:
        dense = lambda outputs: linen.Dense(outputs, dtype=self.dtype)
        half = self.width // 2
        x = jax.nn.gelu(dense(half)(fourier.features(points, self.bands)))
        x = dense(half)(x).astype(jnp.float32)
        planes = jax.vmap(lambda found, points: gather(found, points, self.plane_side))(x, points)
        planes = _placed(self, dense(half)(planes))
        times = self.plane_side // self.side
        while times > 1:
            planes = blocks.over_views(blocks.ResidualConvolution(self.dtype), planes)
            planes, times = dense(self.width)(blocks.space_to_depth(planes, 2)), times // 2
        planes = blocks.over_views(blocks.ResidualConvolution(self.dtype), dense(self.width)(planes))
        x = planes.reshape(len(planes), -1, self.width)
        for _ in range(self.mixer_blocks):
            x = blocks.Attention(self.heads, self.dtype)(x)
        x = linen.RMSNorm(dtype=self.dtype)(x)
        whole = dense(self.global_tokens * self.outputs)(x.mean(1)).reshape(len(x), self.global_tokens, self.outputs)
        return jnp.concatenate([dense(self.outputs)(x), whole], 1).astype(jnp.float32)


class Decoder(linen.Module):
    """Tokens of a latent to planes and a global feature: all that points look at that does not depend on them."""

    side: int
    plane_side: int
    features: int
    width: int
    heads: int
    mixer_blocks: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, code: Float[Array, "b t d"]) -> tuple[Float[Array, "b 3 n n f"], Float[Array, "b f"]]:
        dense = lambda outputs: linen.Dense(outputs, dtype=self.dtype)
        count = 3 * self.side**2
        whole = dense(self.width)(code[:, count:].reshape(len(code), -1))
        x = dense(self.width)(code[:, :count]).reshape(len(code), 3, self.side, self.side, self.width)
        x = _placed(self, x) + whole[:, None, None, None]
        x = x.reshape(len(code), count, self.width)
        for _ in range(self.mixer_blocks):
            x = blocks.Attention(self.heads, self.dtype)(x)
        x, times = x.reshape(len(code), 3, self.side, self.side, self.width), self.plane_side // self.side
        x = blocks.over_views(blocks.ResidualConvolution(self.dtype), x)
        while times > 1:
            width = max(self.features, x.shape[-1] // 2)
            x, times = blocks.depth_to_space(dense(4 * width)(x), 2), times // 2
            x = blocks.over_views(blocks.ResidualConvolution(self.dtype), x)
        return dense(self.features)(x).astype(jnp.float32), dense(self.features)(whole).astype(jnp.float32)


class Head(linen.Module):
    """The sum of features at a point to one number, positive outside."""

    width: int
    layers: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "*b p f"]) -> Float[Array, "*b p"]:
        for _ in range(self.layers):
            x = jax.nn.gelu(linen.Dense(self.width, dtype=self.dtype)(x))
        return linen.Dense(1, dtype=self.dtype)(x)[..., 0].astype(jnp.float32)


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration."""
    model, latent, more = config.model, config.latent, global_tokens(config)
    tokens = 3 * latent.side**2 + more
    bottleneck, dtype = latents.make(latent, tokens), jnp.dtype(model.dtype)
    common = dict(side=latent.side, plane_side=model.plane_side, width=model.width, heads=model.heads, dtype=dtype)
    common["mixer_blocks"] = model.mixer_blocks
    outputs = latent.channels * bottleneck.statistics
    encoder = Encoder(global_tokens=more, outputs=outputs, bands=model.bands, **common)
    decoder, head = Decoder(features=model.features, **common), Head(model.features, model.layers, dtype)
    count = spec.fields["inside"].shape[0]
    see = lambda batch: batch["surface"]

    def statistics(params: Params, points: Array) -> Array:
        return encoder.apply(params["encoder"], points)

    def decode(params: Params, found: Latent) -> tuple[Array, Array]:
        return decoder.apply(params["decoder"], found.code)

    def field(params: Params, decoded: tuple[Array, Array], points: Array) -> Array:
        planes, whole = decoded
        return model.truncation * head.apply(params["head"], look(planes, points) + whole[None])

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        encoder_key, decoder_key, head_key, prior_key = jax.random.split(key, 4)
        points = see(batch)
        params = {
            "encoder": encoder.init(encoder_key, points[:1]),
            "decoder": decoder.init(decoder_key, jnp.zeros((1, tokens, latent.channels))),
            "head": head.init(head_key, jnp.zeros((1, model.features))),
        }
        return params | latents.init_prior(bottleneck, points, lambda points: statistics(params, points), prior_key)

    return Family(
        reads=("surface", "points", "sdf", "sure", "inside"),
        sees=("surface",),
        layout=Layout("set", tokens, latent.channels),
        init=init,
        **targets.autoencoder(config, bottleneck, count, see, statistics, decode, field),
    )


def _placed(module: linen.Module, planes: Float[Array, "b 3 n n d"]) -> Float[Array, "b 3 n n d"]:
    """Planes with a learnt number added for each feature of each cell, so that places differ."""
    place = module.param("place", linen.initializers.normal(0.02), planes.shape[1:], jnp.float32)
    return planes + place.astype(planes.dtype)[None]
