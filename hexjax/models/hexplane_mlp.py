"""Perceptrons from the planes of one shape to its latent and back: small enough to be trained some hundred times.

The laboratory's network: the same for every input, likelihood and latent, so that a sweep changes nothing else. See
`geometry.planes` for what it sees, `latents` for what stands between, `losses` for the likelihoods.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Float

from hexjax import rules
from hexjax.geometry import planes
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import hexplanes, latents, losses
from hexjax.types import Array, Params, Spec


class Perceptron(linen.Module):
    """Dense layers with GELU between them, the last one linear."""

    widths: tuple[int, ...]
    outputs: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b p"]) -> Float[Array, "b q"]:
        for width in self.widths:
            x = jax.nn.gelu(linen.Dense(width, dtype=self.dtype)(x))
        return linen.Dense(self.outputs, dtype=self.dtype)(x).astype(jnp.float32)


KEYS = {"model.widths": rules.WIDTHS, "model.width_scale": rules.POSITIVE}


def check(config: Any) -> None:
    """Nothing; the family's keys are there, each as its rule accepts it.

    Raises:
        ValueError: for one that does not.
    """
    families.check_keys(config, KEYS)


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; the maps' resolution is read from the spec's `mask`.

    Raises:
        ValueError: for an unknown input, likelihood or latent.
    """
    model, latent = config.model, config.latent
    form, tokens = planes.shape(model.input, spec.fields["mask"].shape[-1]), latent.side**2
    bottleneck = latents.make(latent, tokens)
    losses.check_likelihood(config.reconstruction.kind)
    widths = tuple(max(round(width * model.width_scale), 1) for width in model.widths)
    dtype = jnp.dtype(model.dtype)
    encoder = Perceptron(widths, tokens * latent.channels * bottleneck.statistics, dtype)
    decoder = Perceptron(widths[::-1], math.prod(form), dtype)
    flat = lambda values: values.reshape(values.shape[0], -1)

    def init(x: Array, encoder_key: Array, decoder_key: Array) -> Params:
        code = jnp.zeros((1, tokens * latent.channels))
        return dict(encoder=encoder.init(encoder_key, flat(x[:1])), decoder=decoder.init(decoder_key, code))

    encode = lambda params, x: encoder.apply(params["encoder"], 2 * flat(x) - 1)
    decode = lambda params, code: decoder.apply(params["decoder"], flat(code)).reshape(-1, *form)
    networks = hexplanes.Networks(init, encode, decode)
    return hexplanes.autoencoder(spec, config, bottleneck, networks, plain=True)
