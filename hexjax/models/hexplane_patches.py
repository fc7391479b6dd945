"""The hexplane autoencoder of patches: principal components of square patches of six maps, and networks that refine them.

Each view's maps fall into as many square patches as the latent has cells. Before the first step the patches of a few
shapes give their principal components; a patch's code is its first ones, to which a small network over neighbouring
patches adds. On the way back another one adds to the code and says the components that follow. Both networks start at
nothing, so that a run starts at the best linear code (but of latents that round, the nearest they give). Depth behind
outlines is filled smoothly for the encoder, lest components be spent on the jump. The parameters' group `basis` is
meant to be still.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen
from jaxtyping import Float

from hexjax import rules
from hexjax.geometry import planes
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import blocks, hexplanes, latents
from hexjax.types import Array, Params, Spec

# Of mask, depth and normal: how many world units of depth a difference of 1 weighs. Of heads, .03 to .1 score alike.
WEIGHTS = np.array([0.05, 1, 0.05, 0.05, 0.05], np.float32)[None, None, :, None, None]
LOGIT = 20.0  # of a pixel whose mask is given back as it was
LEAST = 1e-3  # of the largest deviation: a component with less, of few patches, is taken to have so much
KEYS = {"model.components": rules.whole(1), "model.width": rules.whole(1), "model.blocks": rules.whole(0)}
INIT_SHAPES = 16  # the most that give components
MOST = 8192  # numbers of a patch: components of larger ones take minutes and gigabytes
times = functools.partial(jnp.matmul, precision="highest")  # as float32 on every device: codes are small differences


class Refiner(linen.Module):
    """Residual blocks over the patches of each view, with the same weights for all; it starts at 0."""

    width: int
    blocks: int
    outputs: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b v s s d"]) -> Float[Array, "b v s s e"]:
        x = linen.Dense(self.width, dtype=self.dtype)(x)
        for _ in range(self.blocks):
            x = blocks.over_views(blocks.ResidualConvolution(self.dtype), x)
            x = blocks.feed_forward(x, self.dtype)
        x = linen.RMSNorm(dtype=self.dtype)(x)
        zeros = linen.initializers.zeros
        return linen.Dense(self.outputs, dtype=self.dtype, kernel_init=zeros)(x).astype(jnp.float32)


def patches(x: Float[Array, "b v 4 h w"], side: int) -> Float[Array, "b v s s d"]:
    """The weighed mask, depth and normals of what the encoder sees, cut into patches of side x side pixels."""
    depth, normal = x[:, :, :1], x[:, :, 1:]
    hit = (normal**2).sum(2, keepdims=True) > 0.25  # no normal where nothing is hit
    values = jnp.concatenate([jnp.where(hit, 1.0, -1.0), planes.fill(depth, hit), normal], 2)
    return blocks.planes_to_cells(values * WEIGHTS, side)


def principal(found: Float[Array, "*p d"], count: int) -> dict[str, Float[Array, "..."]]:
    """Mean [d], first principal components [d, count] and deviations along them [count] of patches."""
    flat = found.reshape(-1, found.shape[-1])
    mean = flat.mean(0)
    centred = flat - mean[None]
    variances, components = jnp.linalg.eigh(times(centred.T, centred) / len(flat))
    deviation = jnp.sqrt(jnp.maximum(variances[::-1][:count], LEAST**2 * variances[-1]))
    return dict(mean=mean, components=components[:, ::-1][:, :count], deviation=deviation)


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; the maps' resolution is read from the spec's `mask`.

    Raises:
        ValueError: for an unknown name.
    """
    model, latent, resolution = config.model, config.latent, spec.fields["mask"].shape[-1]
    views, side = planes.shape("continuous", resolution)[0], resolution // latent.side
    bottleneck = latents.make(latent, views * latent.side**2)
    common = dict(width=model.width, blocks=model.blocks, dtype=jnp.dtype(model.dtype))
    encoder = Refiner(outputs=latent.channels * bottleneck.statistics, **common)
    decoder = Refiner(outputs=model.components, **common)
    grown = lambda x, count: jnp.pad(x, ((0, 0),) * 4 + ((0, count - x.shape[-1]),))
    each = lambda vector: vector.reshape(1, 1, 1, 1, -1)  # for each patch

    def init(x: Array, encoder_key: Array, decoder_key: Array) -> Params:
        empty = lambda count: jnp.zeros((1, views, latent.side, latent.side, count))
        return dict(
            basis=principal(patches(x[:INIT_SHAPES], side), model.components),
            encoder=encoder.init(encoder_key, empty(model.components)),
            decoder=decoder.init(decoder_key, empty(latent.channels)),
        )

    def encode(params: Params, x: Array) -> Array:
        basis = params["basis"]
        code = times(patches(x, side) - each(basis["mean"]), basis["components"]) / each(basis["deviation"])
        return grown(code[..., : latent.channels], encoder.outputs) + encoder.apply(params["encoder"], code)

    def decode(params: Params, cells: Array) -> Array:
        basis = params["basis"]
        code = grown(cells, model.components) + decoder.apply(params["decoder"], cells)
        found = times(code * each(basis["deviation"]), basis["components"].T) + each(basis["mean"])
        raw = blocks.cells_to_planes(found, side) / WEIGHTS
        return jnp.concatenate([LOGIT * raw[:, :, :1], raw[:, :, 1:]], 2)

    return hexplanes.autoencoder(spec, config, bottleneck, hexplanes.Networks(init, encode, decode))


def check(config: Any) -> None:
    """Nothing; the family's keys are there and fit.

    Raises:
        ValueError: in one line, for the first key that does not.
    """
    families.check_keys(config, KEYS)
    model, latent, resolution = config.model, config.latent, config.hexplane.resolution_px
    for key, value in (("model.input", "continuous"), ("reconstruction.kind", "surface")):
        section, name = key.split(".")
        if config[section][name] != value:
            raise ValueError(
                f"config.{key} is {config[section][name]!r}; accepted with model.family = hexplane_patches: {value}"
            )
    if resolution % latent.side:
        raise ValueError(
            f"config.latent.side is {latent.side}; accepted: divisors of hexplane.resolution_px {resolution}"
        )
    most = WEIGHTS.size * (resolution // latent.side) ** 2
    if most > MOST:
        raise ValueError(
            f"config.latent.side is {latent.side}: a patch of hexplane.resolution_px {resolution} has {most} numbers; "
            f"accepted: sides that leave at most {MOST}"
        )
    if not latent.channels <= model.components <= most:
        raise ValueError(
            f"config.model.components is {model.components}; accepted: from latent.channels {latent.channels} to {most}, the "
            "numbers of a patch"
        )
