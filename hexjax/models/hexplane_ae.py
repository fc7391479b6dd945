"""The hexplane autoencoder: six maps to about 400 K floats and back. Deterministic or Gaussian, depth or silhouettes: keys.

A stem folds small patches into cells; convolution levels, the same for every view, halve the side down to the latent's;
a transformer branch over coarse patches lets all views see each other and holds most of the parameters, where they cost
few operations; a linear layer gives the latent. The decoder is the mirror image. Normals are seen in each view's own
axes (right, up, forward), so that one set of weights serves all views.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jaxtyping import Float

from hexjax.geometry import field, frame
from hexjax.models import blocks, latents, losses
from hexjax.models.family import Family
from hexjax.types import Array, Batch, Hexplane, Latent, Params

AXES = np.stack([frame.RIGHT, frame.UP, frame.FORWARD], 1)  # [v, 3 view axes, 3 world axes]
INPUTS = ("continuous", "binary")
RECONSTRUCTIONS = ("surface", "channels")


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
        x = blocks.Mixer(**self.mixer, dtype=self.dtype)(x)
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
        x = blocks.Mixer(**self.mixer, dtype=self.dtype)(x)
        for level in reversed(range(len(self.widths))):
            for _ in range(self.depth):
                x = blocks.over_views(blocks.ResidualConvolution(self.dtype), x)
            if level:
                x = blocks.depth_to_space(linen.Dense(4 * self.widths[level - 1], dtype=self.dtype)(x), 2)
        x = linen.Dense(self.stem**2 * self.channels, dtype=self.dtype)(linen.RMSNorm(dtype=self.dtype)(x))
        return blocks.cells_to_planes(x, self.stem).astype(jnp.float32)


def to_view_axes(normals: Float[Array, "b v h w 3"]) -> Float[Array, "b v 3 h w"]:
    """World normals as planes in each view's axes: right, up, forward."""
    return sum(normals[:, :, None, ..., axis] * AXES[None, ..., axis, None, None] for axis in range(3))


def to_world_axes(planes: Float[Array, "b v 3 h w"]) -> Float[Array, "b v h w 3"]:
    """Normals in each view's axes back in world axes."""
    turned = [sum(planes[:, :, k] * AXES[None, :, k, axis, None, None] for k in range(3)) for axis in range(3)]
    return jnp.stack(turned, -1)


def share_outline(logits: Float[Array, "b v h w"]) -> Float[Array, "b v h w"]:
    """Logits with those of opposite views, which look along the same rays, averaged: one outline for both."""
    views = [None] * len(frame.VIEWS)
    for view, opposite, mirrored in frame.OPPOSITE:
        mean = (logits[:, view] + jnp.flip(logits[:, opposite], mirrored + 1)) / 2
        views[view], views[opposite] = mean, jnp.flip(mean, mirrored + 1)
    return jnp.stack(views, 1)


def network_input(batch: Batch, kind: str) -> Float[Array, "b v c h w"]:
    """What the encoder sees: depth (background 2.0) and normals in view axes, or the silhouettes alone.

    Raises:
        ValueError: for an unknown `model.input`.
    """
    mask = batch["mask"].astype(jnp.float32)
    if kind == "binary":
        return mask[:, :, None]
    if kind == "continuous":
        depth = jnp.where(batch["mask"], batch["depth"], frame.DEPTH_LIMIT)
        return jnp.concatenate([depth[:, :, None] - 1, to_view_axes(batch["normal"])], 2)
    raise ValueError(f"config.model.input is {kind!r}; accepted: {', '.join(INPUTS)}")


def output_channels(kind: str, reconstruction: str) -> int:
    """Numbers a pixel that the decoder gives: a logit; depth and normal; or both.

    Raises:
        ValueError: for an unknown `reconstruction.kind`.
    """
    if reconstruction not in RECONSTRUCTIONS:
        raise ValueError(f"config.reconstruction.kind is {reconstruction!r}; accepted: {', '.join(RECONSTRUCTIONS)}")
    if kind == "binary":
        return 1
    return 5 if reconstruction == "surface" else 4


def to_maps(raw: Float[Array, "b v c h w"], kind: str, reconstruction: str) -> Hexplane:
    """The decoder's raw numbers as maps: mask as a probability, depth inside the cube, unit normals.

    With reconstruction.kind = channels a pixel is hit where the decoded normal is longer than 1/2, as first published.
    """
    if kind == "binary":
        mask = jax.nn.sigmoid(share_outline(raw[:, :, 0]))
        return Hexplane(jnp.zeros_like(mask), jnp.zeros((*mask.shape, 3)), mask)
    depth, normal = jnp.clip(raw[:, :, -4] + 1, 0, frame.DEPTH_LIMIT), raw[:, :, -3:]
    length = jnp.sqrt((normal**2).sum(2) + 1e-12)
    mask = jax.nn.sigmoid(share_outline(raw[:, :, 0])) if reconstruction == "surface" else (length > 0.5) * 1.0
    return Hexplane(depth, to_world_axes(normal / length[:, :, None]), mask)


def reconstruction_loss(raw: Array, batch: Batch, config: Any) -> tuple[Array, dict[str, Array]]:
    """The reconstruction term and its parts (mean depth error in world units, and so on)."""
    reduce = functools.partial(losses.reduced, reduction=config.reconstruction.reduction)
    truth, mask = network_input(batch, config.model.input), batch["mask"]
    if config.reconstruction.kind == "channels":
        binary = config.model.input == "binary"
        predicted = jax.nn.sigmoid(share_outline(raw[:, :, 0]))[:, :, None] if binary else raw
        total = reduce((predicted - truth) ** 2)
        return total, dict(reconstruction=total)
    entropy = reduce(losses.cross_entropy(share_outline(raw[:, :, 0]), mask))
    if config.model.input == "binary":
        return entropy, dict(reconstruction=entropy)
    depth = reduce(losses.depth_error(raw[:, :, 1], truth[:, :, 0], mask))
    normal = reduce(losses.normal_error(raw[:, :, 2:], truth[:, :, 1:], mask))
    total = entropy + config.reconstruction.depth_weight * depth + config.reconstruction.normal_weight * normal
    return total, dict(reconstruction=total, mask=entropy, depth=depth, normal=normal)


def make(spec: dict[str, Any], config: Any) -> Family:
    """The family for one configuration.

    Args:
        spec: shapes of one shape's batch fields (the maps' resolution is read from `mask`).

    Raises:
        ValueError: where the resolution is not stem times the latent's side, doubled for each level after the first; or
            the latent's side is no multiple of the mixer's; or a name is unknown.
    """
    model, latent, resolution = config.model, config.latent, spec["mask"].shape[-1]
    fits = model.stem_px * 2 ** (len(model.widths) - 1) * latent.side
    if fits != resolution:
        levels = f"model.stem_px {model.stem_px} x latent.side {latent.side} x 2^{len(model.widths) - 1} levels"
        raise ValueError(f"config.hexplane.resolution_px is {resolution}; accepted: {levels} of model.widths = {fits}")
    if latent.side % model.mixer_side:
        raise ValueError(
            f"config.model.mixer_side is {model.mixer_side}; accepted: divisors of latent.side {latent.side}"
        )
    heads = model.mixer_heads
    scaled = lambda width: max(round(width * model.width_scale / heads), 1) * heads
    widths = tuple(scaled(width) for width in model.widths)
    mixer = dict(side=model.mixer_side, width=scaled(model.mixer_width), blocks=model.mixer_blocks, heads=heads)
    common = dict(stem=model.stem_px, widths=widths, depth=model.blocks, mixer=mixer, dtype=jnp.dtype(model.dtype))
    encoder = Encoder(channels=latent.channels * latents.statistics_per_float(latent.kind), **common)
    decoder = Decoder(channels=output_channels(model.input, config.reconstruction.kind), **common)
    tokens, gaussian = len(frame.VIEWS) * latent.side**2, latent.kind == "gaussian"

    def statistics(params: Params, batch: Batch) -> Array:
        x = encoder.apply(params["encoder"], network_input(batch, model.input))
        return x.reshape(x.shape[0], tokens, -1)

    def bottleneck(x: Array, key: Array | None, limit: Array | float) -> Latent:
        return latents.gaussian(x, key, limit) if gaussian else Latent(x, {})

    def raw_maps(params: Params, code: Array) -> Array:
        cells = code.reshape(code.shape[0], len(frame.VIEWS), latent.side, latent.side, latent.channels)
        return decoder.apply(params["decoder"], cells)

    def init(batch: Batch, key: Array) -> Params:
        encoder_key, decoder_key = jax.random.split(key)
        cells = jnp.zeros((1, len(frame.VIEWS), latent.side, latent.side, latent.channels))
        first = network_input(jax.tree.map(lambda a: a[:1], batch), model.input)
        return dict(encoder=encoder.init(encoder_key, first), decoder=decoder.init(decoder_key, cells))

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        found = bottleneck(statistics(params, batch), key, knobs["kl.log_variance_limit"])
        raw = raw_maps(params, found.code)
        total, parts = reconstruction_loss(raw, batch, config)
        if gaussian:
            kl = latents.gaussian_kl(found, knobs["kl.prior_variance"])
            reduced = losses.reduced(jnp.maximum(kl, knobs["kl.free_bits"]), config.kl.reduction)
            weight = latents.kl_weight(step, knobs)
            term = latents.capped(weight * reduced, total, knobs["kl.cap"], config.kl.cap_mode)
            parts |= dict(kl=kl.sum() / kl.shape[0], kl_per_float=kl.mean(), kl_weight=weight, kl_term=term)
            total = total + term
        if config.sdf.weight > 0:
            values = jax.vmap(fuse)(to_maps(raw, model.input, config.reconstruction.kind), batch["points"])
            judged = values, batch["sdf"], batch["slack"], batch["weight"]
            if model.input == "binary":
                supervision = dict(sdf_sign=losses.side_error(*judged))
            else:
                supervision = dict(zip(("sdf", "sdf_sign"), losses.signed_distance_error(*judged)))
            parts |= supervision
            total = total + knobs["sdf.weight"] * sum(supervision.values())
        return total, parts

    def encode(params: Params, batch: Batch, key: Array | None) -> Latent:
        return bottleneck(statistics(params, batch), key, config.kl.log_variance_limit)

    def decode(params: Params, found: Latent) -> Hexplane:
        return to_maps(raw_maps(params, found.code), model.input, config.reconstruction.kind)

    def fuse(maps: Hexplane, points: Array) -> Array:
        if model.input == "binary":
            return field.fuse_silhouettes(maps, points, config.extract.threshold)
        return field.fuse(maps, points)

    def grid(params: Params, maps: Hexplane, count: int) -> Array:
        if model.input == "binary":
            return field.grid_silhouettes(maps, count, config.extract.threshold)
        return field.grid(maps, count)

    supervised = ("points", "sdf", "slack", "weight") if config.sdf.weight > 0 else ()
    return Family(
        inputs=("depth", "normal", "mask", *supervised) if model.input == "continuous" else ("mask", *supervised),
        init=init,
        loss=loss,
        encode=encode,
        decode=decode,
        field=lambda params, maps, points: fuse(maps, points),
        grid=grid,
        sample=None,
        latent_floats=tokens * latent.channels,
        latent_bits=tokens * latent.channels * latent.bits,
    )
