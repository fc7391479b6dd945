"""The hexplane autoencoder: six maps to about 400 K floats and back. Input, likelihood and latent are keys.

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
from flax import linen
from jaxtyping import Float

from hexjax import names
from hexjax.geometry import frame, planes
from hexjax.models.family import Family, Parents
from hexjax.models.parts import blocks, hexplanes, latents, losses
from hexjax.types import Array, Batch, Hexplane, Latent, Layout, Params, Spec

INPUTS = tuple(kind for kind in names.INPUTS if kind != "voxels")


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


def network_input(batch: Batch, kind: str) -> Float[Array, "b v c h w"]:
    """What the encoder sees: depth (background 2.0) and normals in view axes, or the planes of another kind of input.

    Raises:
        ValueError: for an unknown `model.input`, or voxels.
    """
    if kind not in INPUTS:
        raise ValueError(f"config.model.input is {kind!r}; accepted: {', '.join(INPUTS)}")
    if kind != "continuous":
        return planes.planes(batch, kind)
    depth = jnp.where(batch["mask"], batch["depth"], frame.DEPTH_LIMIT)
    return jnp.concatenate([depth[:, :, None] - 1, planes.to_view_axes(batch["normal"])], 2)


def likelihood_of(config: Any) -> str | None:
    """The likelihood of the planes; None where depth and normals are given back as such.

    Raises:
        ValueError: for an unknown `reconstruction.kind`.
    """
    kind = config.reconstruction.kind
    if kind not in ("surface", *losses.LIKELIHOODS):
        accepted = ", ".join(("surface", *losses.LIKELIHOODS))
        raise ValueError(f"config.reconstruction.kind is {kind!r}; accepted: {accepted}")
    if config.model.input == "continuous" and kind in ("surface", "channels"):
        return None
    return "bernoulli" if kind == "surface" else kind


def to_maps(raw: Float[Array, "b v c h w"], reconstruction: str) -> Hexplane:
    """The decoder's raw numbers as maps: mask as a probability, depth inside the cube, unit normals.

    With reconstruction.kind = channels a pixel is hit where the decoded normal is longer than 1/2, as first published.
    """
    depth, normal = jnp.clip(raw[:, :, -4] + 1, 0, frame.DEPTH_LIMIT), raw[:, :, -3:]
    length = jnp.sqrt((normal**2).sum(2) + 1e-12)
    outline = lambda: jax.nn.sigmoid(planes.share_outline(raw[:, :, 0]))
    mask = outline() if reconstruction == "surface" else (length > 0.5) * 1.0
    return Hexplane(depth, planes.to_world_axes(normal / length[:, :, None]), mask)


def surface_loss(raw: Array, batch: Batch, config: Any) -> tuple[Array, dict[str, Array]]:
    """The reconstruction term on depth and normals, and its parts (mean depth error in world units, and so on)."""
    reduce = functools.partial(losses.reduced, reduction=config.reconstruction.reduction)
    truth, mask = network_input(batch, "continuous"), batch["mask"]
    if config.reconstruction.kind == "channels":
        total = reduce((raw - truth) ** 2)
        return total, dict(reconstruction=total)
    entropy = reduce(losses.cross_entropy(planes.share_outline(raw[:, :, 0]), mask))
    depth = reduce(losses.depth_error(raw[:, :, 1], truth[:, :, 0], mask))
    normal = reduce(losses.normal_error(raw[:, :, 2:], truth[:, :, 1:], mask))
    total = entropy + config.reconstruction.depth_weight * depth + config.reconstruction.normal_weight * normal
    return total, dict(reconstruction=total, mask=entropy, depth=depth, normal=normal)


def supervision(values: Array, batch: Batch, config: Any) -> dict[str, Array]:
    """The terms of the signed-distance supervision on the fused field's values at the batch's points."""
    judged = values, batch["sdf"], batch["slack"], batch["seen"]
    if config.model.input in names.HULLS:
        return dict(sdf_sign=losses.side_error(*judged))
    return dict(zip(("sdf", "sdf_sign"), losses.signed_distance_error(*judged)))


def networks(config: Any, statistics: int, resolution: int, likelihood: str | None) -> tuple[Encoder, Decoder]:
    """The two modules of one configuration.

    Args:
        statistics: numbers that the encoder gives for each float of the latent.

    Raises:
        ValueError: where the resolution is not stem times the latent's side, doubled for each level after the first; or
            the latent's side is no multiple of the mixer's.
    """
    model, latent = config.model, config.latent
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
    mixer = dict(side=model.mixer_side, width=scaled(model.mixer_width), blocks=model.mixer_blocks, heads=heads)
    common = dict(stem=model.stem_px, widths=tuple(scaled(width) for width in model.widths), depth=model.blocks,
                  mixer=mixer, dtype=jnp.dtype(model.dtype))  # fmt: skip
    plain = config.reconstruction.kind == "surface" and model.input == "continuous"
    channels = 5 if plain else planes.shape(model.input, resolution)[1]
    return Encoder(channels=latent.channels * statistics, **common), Decoder(channels=channels, **common)


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; the maps' resolution is read from the spec's `mask`.

    Raises:
        ValueError: for sizes that do not fit, or an unknown name.
    """
    kind, latent, resolution = config.model.input, config.latent, spec.fields["mask"].shape[-1]
    if kind not in INPUTS:
        raise ValueError(f"config.model.input is {kind!r}; accepted: {', '.join(INPUTS)}")
    views, likelihood = planes.shape(kind, resolution)[0], likelihood_of(config)
    tokens = views * latent.side**2
    bottleneck = latents.make(latent, tokens)
    encoder, decoder = networks(config, bottleneck.statistics, resolution, likelihood)

    def statistics(params: Params, x: Array) -> Array:
        found = encoder.apply(params["encoder"], x)
        return found.reshape(found.shape[0], tokens, -1)

    def raw_planes(params: Params, found: Latent) -> Array:
        cells = found.code.reshape(-1, views, latent.side, latent.side, latent.channels)
        raw = decoder.apply(params["decoder"], cells)
        return planes.share_outline(raw[:, :, 0])[:, :, None] if kind == "binary" else raw

    def maps_of(raw: Array) -> Hexplane:
        if likelihood is None:
            return to_maps(raw, config.reconstruction.kind)
        return planes.to_maps(losses.expectation(raw, likelihood), kind)

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        encoder_key, decoder_key, key = jax.random.split(key, 3)
        cells = jnp.zeros((1, views, latent.side, latent.side, latent.channels))
        x = network_input(batch, kind)
        params = dict(encoder=encoder.init(encoder_key, x[:1]), decoder=decoder.init(decoder_key, cells))
        return params | latents.init_prior(bottleneck, x, lambda inputs: statistics(params, inputs), key)

    def predict(params: Params, found: Latent) -> Array:
        raw = raw_planes(params, found)
        return (
            raw if likelihood is not None else planes.planes(to_maps(raw, config.reconstruction.kind)._asdict(), kind)
        )

    see = functools.partial(network_input, kind=kind)
    scale = 2.0 if likelihood is None else 1.0  # depth in units and normals in [-1, 1], not planes in [0, 1]
    judged, surface = hexplanes.judged(kind, likelihood, scale), hexplanes.surface(kind, config.extract.threshold)
    rate, fields = latents.around(bottleneck, config.kl, see, statistics, predict, judged)

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        x = network_input(batch, kind)
        found = bottleneck.encode(statistics(params, x), key, knobs)
        raw = raw_planes(params, found)
        if likelihood is None:
            total, parts = surface_loss(raw, batch, config)
        else:
            spread = knobs["reconstruction.variance"], knobs["reconstruction.sigma_floor"]
            total = losses.reduced(
                losses.nll(raw, planes.planes(batch, kind), likelihood, *spread), config.reconstruction.reduction
            )
            parts = dict(reconstruction=total)
        term, told = latents.charge(bottleneck, rate(params, found, knobs), total, step, knobs, config.kl)
        total, parts = total + term, parts | told
        if config.sdf.weight > 0:
            fuse = functools.partial(surface["field"], None)
            terms = supervision(jax.vmap(fuse)(maps_of(raw), batch["points"]), batch, config)
            total, parts = total + knobs["sdf.weight"] * sum(terms.values()), parts | terms
        return total, parts

    def decode(params: Params, found: Latent) -> Hexplane:
        return maps_of(raw_planes(params, found))

    supervised = ("points", "sdf", "slack", "seen") if config.sdf.weight > 0 else ()
    return Family(
        reads=(*planes.fields(kind), *supervised),
        sees=planes.fields(kind),
        layout=Layout("planes", tokens, latent.channels, (views, latent.side)),
        init=init,
        loss=loss,
        decode=decode,
        **surface,
        **fields,
    )
