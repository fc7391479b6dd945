"""A set of vectors: points of a surface become a few tokens, which say the signed distance at any point that asks them.

The surface's points, as sines and cosines, are looked at by queries: some of the points themselves, or learnt ones. What
the queries saw is the latent. Behind it the tokens see each other, once a shape (`decode`); a point of space looks at them
alone (`field`). Nothing depends on the order of the points, but `random` queries, which are the first of them. A shape needs
no faces.

Source: Zhang et al. 2023 (arXiv:2301.11445), with the surface's edges as Chen et al. 2024 (arXiv:2412.17808) sample them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Float

from hexjax import rules
from hexjax.models import family as families
from hexjax.models.family import Family, Parents, Picks
from hexjax.models.parts import attention, fourier, latents, sets, targets
from hexjax.types import Array, Batch, Latent, Layout, Params, Spec

KEYS = targets.KEYS | {
    "latent.tokens": rules.whole(1),
    "model.width": rules.whole(1),
    "model.heads": rules.whole(1),
    "model.cross_heads": rules.whole(1),
    "model.bands": rules.whole(0, 16),
    "model.encoder_layers": rules.whole(0),
    "model.decoder_layers": rules.whole(0),
    "model.expansion": rules.whole(1),
    "model.queries": rules.choice("fps", "learned", "random"),
    "model.salient": rules.number(" from 0, below 1", lambda value: 0 <= value < 1),
    "model.remat": rules.FLAG,
}


def check(config: Any) -> None:
    """Nothing; the family's keys are there, each as its rule accepts it, and fit.

    Raises:
        ValueError: for the first that is not, in one line.
    """
    families.check_keys(config, KEYS)
    model, tokens = config.model, config.latent.tokens
    for name in ("heads", "cross_heads"):
        if model.width % model[name]:
            told = f"config.model.width is {model.width}; accepted: multiples of model.{name} = {model[name]}"
            raise ValueError(told)
    _refuse_few("config.surface.points is", config.surface.points, tokens)
    sharp = edge_points(config)
    if sharp > config.salient.points:
        raise ValueError(
            f"config.salient.points is {config.salient.points}; accepted with model.salient = {model.salient:g} and "
            f"surface.points = {config.surface.points}: at least {sharp}"
        )


def edge_points(config: Any) -> int:
    """How many of the points that are seen lie on sharp edges."""
    return round(config.model.salient * config.surface.points)


def _refuse_few(what: str, count: int, tokens: int) -> None:
    if count < tokens:
        raise ValueError(f"{what} {count}; accepted with latent.tokens = {tokens}: at least {tokens}")


def picks(points: Float[Array, "b p 3"], tokens: int, queries: str) -> Float[Array, "b t 3"]:
    """The points that look at all: `fps`, far apart, or `random`, the first of them, which are drawn at random as all are."""
    if queries == "random":
        return points[:, :tokens]
    return jax.vmap(lambda points: points[sets.farthest(points, tokens)])(jax.lax.stop_gradient(points))


class Encoder(linen.Module):
    """Points to the statistics of a latent's tokens."""

    tokens: int
    outputs: int
    width: int
    heads: int
    cross_heads: int
    bands: int
    count: int  # of layers
    expansion: int
    queries: str
    remat: bool
    dtype: jnp.dtype

    def setup(self) -> None:
        self.place = linen.Dense(self.width, dtype=self.dtype)
        if self.queries == "learned":
            self.learned = self.param("learned", linen.initializers.normal(1.0), (self.tokens, self.width), jnp.float32)
        self.cross = attention.Cross(self.width, self.cross_heads, self.expansion, self.dtype)
        self.layers = attention.layers(self.count, self.heads, self.dtype, self.remat)
        self.norm, self.out = linen.RMSNorm(dtype=self.dtype), linen.Dense(self.outputs, dtype=self.dtype)

    def __call__(self, points: Float[Array, "b p 3"]) -> Float[Array, "b t e"]:
        embed = lambda points: self.place(fourier.features(points, self.bands))
        if self.queries == "learned":
            x = jnp.broadcast_to(self.learned.astype(self.dtype)[None], (len(points), *self.learned.shape))
        else:
            x = embed(picks(points, self.tokens, self.queries))
        x = self.cross(x, embed(points))
        for layer in self.layers:
            x = layer(x)
        return self.out(self.norm(x)).astype(jnp.float32)


class Decoder(linen.Module):
    """Tokens of a latent to keys, and points that look at those to one number each, positive outside."""

    width: int
    heads: int
    cross_heads: int
    bands: int
    count: int  # of layers
    expansion: int
    remat: bool
    dtype: jnp.dtype

    def setup(self) -> None:
        self.up = linen.Dense(self.width, dtype=self.dtype)
        self.layers = attention.layers(self.count, self.heads, self.dtype, self.remat)
        self.place = linen.Dense(self.width, dtype=self.dtype)
        self.cross = attention.Cross(self.width, self.cross_heads, self.expansion, self.dtype)
        self.norm, self.out = linen.RMSNorm(dtype=self.dtype), linen.Dense(1, dtype=self.dtype)

    def keys(self, code: Float[Array, "*b t d"]) -> attention.Keys:
        """What points look at: all of it that does not depend on them."""
        x = self.up(code)
        for layer in self.layers:
            x = layer(x)
        return self.cross.keys(x)

    def __call__(self, points: Float[Array, "*b p 3"], keys: attention.Keys) -> Float[Array, "*b p"]:
        x = self.cross.ask(self.place(fourier.features(points, self.bands)), keys)
        return self.out(self.norm(x))[..., 0].astype(jnp.float32)

    def start(self, code: Float[Array, "*b t d"], points: Float[Array, "*b p 3"]) -> Float[Array, "*b p"]:
        """Both in one, so that all parameters are made."""
        return self(points, self.keys(code))


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration."""
    model, tokens, channels = config.model, config.latent.tokens, config.latent.channels
    bottleneck, sharp = latents.make(config.latent, tokens), edge_points(config)
    common = {name: model[name] for name in ("width", "heads", "cross_heads", "bands", "expansion", "remat")}
    common["dtype"] = jnp.dtype(model.dtype)
    outputs = channels * bottleneck.statistics
    encoder = Encoder(tokens, outputs, count=model.encoder_layers, queries=model.queries, **common)
    decoder = Decoder(count=model.decoder_layers, **common)
    count = spec.fields["inside"].shape[0]

    def see(batch: Batch) -> Array:
        """The points [b, p, 3] that are looked at."""
        points = batch["surface"]
        if not sharp:
            return points
        edges = batch["salient"][:, :sharp]  # none of a shape of points
        return jnp.concatenate([points[:, : points.shape[1] - edges.shape[1]], edges], 1)

    def statistics(params: Params, points: Array) -> Array:
        _refuse_few("a shape's distinct points are", points.shape[1], tokens)
        return encoder.apply(params["encoder"], points)

    def decode(params: Params, latent: Latent) -> attention.Keys:
        return decoder.apply(params["decoder"], latent.code, method="keys")

    def field(params: Params, decoded: attention.Keys, points: Array) -> Array:
        return model.truncation * decoder.apply(params["decoder"], points, decoded)

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        encoder_key, decoder_key, prior_key = jax.random.split(key, 3)
        points = see(batch)
        params = {
            "encoder": encoder.init(encoder_key, points[:1]),
            "decoder": decoder.init(decoder_key, jnp.zeros((1, tokens, channels)), points[:1, :1], method="start"),
        }
        return params | latents.init_prior(bottleneck, points, lambda points: statistics(params, points), prior_key)

    sees = ("surface", "salient") if sharp else ("surface",)
    return Family(
        reads=(*sees, "points", "sdf", "sure", "inside"),
        sees=sees,
        layout=Layout("set", tokens, channels),
        init=init,
        structure=None
        if model.queries == "learned"
        else lambda _, batch: Picks(picks(see(batch), tokens, model.queries)),
        **targets.autoencoder(config, bottleneck, count, see, statistics, decode, field),
    )
