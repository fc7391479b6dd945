"""A throw-away generator: a normal distribution of a parent's latents, decoded by the parent."""

import jax
import jax.numpy as jnp

from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.types import Latent


def make(spec, config, parents):
    if "latents" not in parents:
        raise ValueError("config.latents.run is ''; accepted: the folder of a trained run")
    parent, shape = parents["latents"].family, spec.fields["latent"].shape
    own = lambda params: params["parents"]["latents"]

    def init(batch, key, parents):
        return {"mean": jnp.zeros(shape), "log_deviation": jnp.zeros(shape)}

    def loss(params, batch, key, step, knobs):
        deviation = params["log_deviation"][None]
        scaled = (batch["latent"] - params["mean"][None]) * jnp.exp(-deviation)
        nats = (scaled**2 / 2 + deviation).mean()
        return nats, {"reconstruction": nats}

    def sample(params, key, batch, knobs=None):
        draw = lambda key: params["mean"] + jnp.exp(params["log_deviation"]) * jax.random.normal(key, shape)
        return Latent(families.drawn(draw, key, batch), {})

    return Family(
        reads=("latent",),
        sees=(),
        layout=parent.layout,
        size=parent.size,
        init=init,
        loss=loss,
        encode=None,
        decode=lambda params, latent: parent.decode(own(params), latent),
        field=lambda params, decoded, points: parent.field(own(params), decoded, points),
        sample=sample,
    )
