"""Perceptrons from the planes of one shape to its latent and back: small enough to be trained some hundred times.

The laboratory's network: the same for every input, likelihood and latent, so that a sweep changes nothing else. See
`geometry.planes` for what it sees, `latents` for what stands between, `losses` for the likelihoods.
"""

import functools
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
from hexjax.types import Array, Batch, Hexplane, Latent, Layout, Params, Spec


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
        ValueError: for one that does not; for a signed distance that is to be supervised.
    """
    families.check_keys(config, KEYS)
    if config.sdf.weight:
        raise ValueError(
            f"config.sdf.weight is {config.sdf.weight:g}; accepted with model.family = hexplane_mlp: 0, as its planes have "
            "no points"
        )


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; the maps' resolution is read from the spec's `mask`.

    Raises:
        ValueError: for an unknown input, likelihood or latent.
    """
    model, kind, likelihood = config.model, config.model.input, config.reconstruction.kind
    form, tokens = planes.shape(kind, spec.fields["mask"].shape[-1]), config.latent.side**2
    bottleneck = latents.make(config.latent, tokens)
    losses.check_likelihood(likelihood)
    widths = tuple(max(round(width * model.width_scale), 1) for width in model.widths)
    dtype = jnp.dtype(model.dtype)
    encoder = Perceptron(widths, tokens * config.latent.channels * bottleneck.statistics, dtype)
    decoder = Perceptron(widths[::-1], math.prod(form), dtype)

    def statistics(params: Params, x: Array) -> Array:
        flat = encoder.apply(params["encoder"], 2 * x.reshape(x.shape[0], -1) - 1)
        return flat.reshape(x.shape[0], tokens, -1)

    def predict(params: Params, latent: Latent) -> Array:
        code = latent.code.reshape(latent.code.shape[0], -1)
        return decoder.apply(params["decoder"], code).reshape(-1, *form)

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        encoder_key, decoder_key, key = jax.random.split(key, 3)
        x = planes.planes(batch, kind)
        params = dict(encoder=encoder.init(encoder_key, x[:1].reshape(1, -1)))
        params["decoder"] = decoder.init(decoder_key, jnp.zeros((1, tokens * config.latent.channels)))
        return params | latents.init_prior(bottleneck, x, lambda inputs: statistics(params, inputs), key)

    see = functools.partial(planes.planes, kind=kind)
    judged = hexplanes.judged(kind, likelihood)
    rate, fields = latents.around(bottleneck, config.kl, see, statistics, predict, judged)

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        x = planes.planes(batch, kind)
        found = bottleneck.encode(statistics(params, x), key, knobs)
        values = losses.nll(
            predict(params, found), x, likelihood, knobs["reconstruction.variance"], knobs["reconstruction.sigma_floor"]
        )
        total = losses.reduced(values, config.reconstruction.reduction)
        term, parts = latents.charge(bottleneck, rate(params, found, knobs), total, step, knobs, config.kl)
        return total + term, dict(reconstruction=total) | parts

    def decode(params: Params, found: Latent) -> Hexplane | Array:
        mean = losses.expectation(predict(params, found), likelihood)
        return mean[:, 0] if kind == "voxels" else planes.to_maps(mean, kind)

    return Family(
        reads=planes.fields(kind),
        sees=planes.fields(kind),
        layout=Layout("vector", tokens, config.latent.channels),
        init=init,
        loss=loss,
        decode=decode,
        **hexplanes.surface(kind, config.extract.threshold),
        **fields,
    )
