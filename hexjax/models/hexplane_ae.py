"""The hexplane autoencoder: six maps to about 400 K floats and back. Input, likelihood and latent are keys.

A stem folds small patches into cells; convolution levels, the same for every view, halve the side down to the latent's;
a transformer branch over coarse patches lets all views see each other and holds most of the parameters, where they cost
few operations; a linear layer gives the latent. The decoder is the mirror image. Normals are seen in each view's own
axes (right, up, forward), so that one set of weights serves all views. With model.mixer_blocks = 0 there is no such
branch: both networks are convolutions alone, view by view.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen
from jaxtyping import Float

from hexjax import names, rules
from hexjax.geometry import planes
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import blocks, hexplanes, latents
from hexjax.types import Array, Params, Spec


class Encoder(linen.Module):
    """Maps [b,v,c,h,w] to the statistics of a latent [b,v,s,s,d]."""

    stem: int
    widths: tuple[int, ...]
    depth: int
    mixer: Mapping[str, Any]
    channels: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b v c h w"]) -> Float[Array, "b v s s d"]:
        x = blocks.planes_to_cells(x, self.stem)
        for level, width in enumerate(self.widths):
            x = linen.Dense(width, dtype=self.dtype)(x if level == 0 else blocks.space_to_depth(x, 2))
            for _ in range(self.depth):
                x = blocks.over_views(blocks.ResidualConvolution(self.dtype), x)
        x = mixed(self.mixer, x, self.dtype)
        return linen.Dense(self.channels, dtype=self.dtype)(x).astype(jnp.float32)


class Decoder(linen.Module):
    """A latent [b,v,s,s,d] to maps [b,v,c,h,w] of raw numbers."""

    stem: int
    widths: tuple[int, ...]
    depth: int
    mixer: Mapping[str, Any]
    channels: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b v s s d"]) -> Float[Array, "b v c h w"]:
        x = linen.Dense(self.widths[-1], dtype=self.dtype)(x)
        x = mixed(self.mixer, x, self.dtype)
        for level in reversed(range(len(self.widths))):
            for _ in range(self.depth):
                x = blocks.over_views(blocks.ResidualConvolution(self.dtype), x)
            if level:
                x = blocks.depth_to_space(linen.Dense(4 * self.widths[level - 1], dtype=self.dtype)(x), 2)
        x = linen.Dense(self.stem**2 * self.channels, dtype=self.dtype)(linen.RMSNorm(dtype=self.dtype)(x))
        return blocks.cells_to_planes(x, self.stem).astype(jnp.float32)


def mixed(mixer: Mapping[str, Any], x: Float[Array, "b v h w c"], dtype: jnp.dtype) -> Float[Array, "b v h w c"]:
    """The views' cells after they saw each other, within a module; as they are where there are no blocks to do so."""
    return blocks.Mixer(**mixer, dtype=dtype)(x) if mixer["blocks"] else x


KEYS = {
    "model.stem_px": rules.POWER_OF_TWO,
    "model.widths": rules.WIDTHS,
    "model.blocks": rules.whole(0),
    "model.width_scale": rules.POSITIVE,
    "model.mixer_side": rules.whole(1),
    "model.mixer_width": rules.whole(1),
    "model.mixer_blocks": rules.whole(0),
    "model.mixer_heads": rules.whole(1),
}


def check(config: Any) -> None:
    """Nothing; the family's keys are there and fit.

    Raises:
        ValueError: where the resolution is not stem times the latent's side, doubled for each level after the first; or
            the latent's side is no multiple of the mixer's; for an unknown input.
    """
    families.check_keys(config, KEYS)
    hexplanes.check_input(config.model.input)
    model, side = config.model, config.latent.side
    doubled = f"2^{len(model.widths) - 1} for model.widths {names.shown(model.widths)}"
    fits, accepted = model.stem_px * 2 ** (len(model.widths) - 1) * side, rules.RULES["hexplane.resolution_px"]
    if not accepted.check(fits):
        raise ValueError(
            f"config.latent.side is {side}; model.stem_px {model.stem_px} x latent.side x {doubled} is {fits}, and "
            f"hexplane.resolution_px accepts that alone and {accepted.accepted}"
        )
    if config.hexplane.resolution_px != fits:
        raise ValueError(
            f"config.hexplane.resolution_px is {config.hexplane.resolution_px}; accepted: {fits} = model.stem_px "
            f"{model.stem_px} x latent.side {side} x {doubled}"
        )
    if model.mixer_blocks and side % model.mixer_side:
        raise ValueError(f"config.model.mixer_side is {model.mixer_side}; accepted: a divisor of latent.side = {side}")


def networks(config: Any, statistics: int, resolution: int) -> tuple[Encoder, Decoder]:
    """The two modules of one configuration.

    Args:
        statistics: numbers that the encoder gives for each float of the latent.
    """
    model, latent = config.model, config.latent
    heads = model.mixer_heads
    scaled = lambda width: max(round(width * model.width_scale / heads), 1) * heads
    mixer = dict(side=model.mixer_side, width=scaled(model.mixer_width), blocks=model.mixer_blocks, heads=heads)
    common = dict(stem=model.stem_px, widths=tuple(scaled(width) for width in model.widths), depth=model.blocks,
                  mixer=mixer, dtype=jnp.dtype(model.dtype))  # fmt: skip
    channels = hexplanes.channels(config, resolution)
    return Encoder(channels=latent.channels * statistics, **common), Decoder(channels=channels, **common)


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; the maps' resolution is read from the spec's `mask`.

    Raises:
        ValueError: for an unknown name.
    """
    latent, resolution = config.latent, spec.fields["mask"].shape[-1]
    views = planes.shape(config.model.input, resolution)[0]
    bottleneck = latents.make(latent, views * latent.side**2)
    encoder, decoder = networks(config, bottleneck.statistics, resolution)

    def init(x: Array, encoder_key: Array, decoder_key: Array) -> Params:
        cells = jnp.zeros((1, views, latent.side, latent.side, latent.channels))
        return dict(encoder=encoder.init(encoder_key, x[:1]), decoder=decoder.init(decoder_key, cells))

    encode = lambda params, x: encoder.apply(params["encoder"], x)
    decode = lambda params, cells: decoder.apply(params["decoder"], cells)
    return hexplanes.autoencoder(spec, config, bottleneck, hexplanes.Networks(init, encode, decode))
