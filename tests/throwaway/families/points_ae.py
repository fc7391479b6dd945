"""A throw-away autoencoder that sees surface points alone: a pooled perceptron, and a field of code and place."""

import jax
import jax.numpy as jnp
from flax import linen

from hexjax.models.family import Family
from hexjax.types import Latent, Layout, Size


class Perceptron(linen.Module):
    widths: tuple[int, ...]

    @linen.compact
    def __call__(self, x):
        for width in self.widths[:-1]:
            x = jax.nn.gelu(linen.Dense(width)(x))
        return linen.Dense(self.widths[-1])(x)


def make(spec, config, parents):
    floats, width = config.latent.channels, config.points.width
    if width < 1:
        raise ValueError(f"config.points.width is {width}; accepted: a whole number, at least 1")
    encoder, decoder = Perceptron((width, width, floats)), Perceptron((width, width, 1))

    def init(batch, key, parents):
        first, second = jax.random.split(key)
        return {
            "encoder": encoder.init(first, batch["surface"][:1]),
            "decoder": decoder.init(second, jnp.zeros((1, floats + 3))),
        }

    def encode(params, batch, key, knobs=None):
        code = encoder.apply(params["encoder"], batch["surface"]).max(1)[:, None]
        return Latent(code, {"mean": code})

    def field(params, code, points):
        return decoder.apply(params["decoder"], jnp.concatenate([jnp.tile(code, (len(points), 1)), points], -1))[:, 0]

    def loss(params, batch, key, step, knobs):
        codes = encode(params, batch, key).code[:, 0]
        found = jax.vmap(lambda code, points: field(params, code, points))(codes, batch["points"])
        error = jnp.abs(jnp.clip(found, -0.1, 0.1) - jnp.clip(batch["sdf"], -0.1, 0.1)).mean()
        edges = jnp.abs(jax.vmap(lambda code, points: field(params, code, points))(codes, batch["salient"])).mean()
        return error + edges, {"reconstruction": error, "edges": edges}

    return Family(
        reads=("surface", "points", "sdf", "salient"),
        sees=("surface",),
        layout=Layout("vector", 1, floats),
        size=lambda latent: Size(floats, 32 * floats),
        init=init,
        loss=loss,
        encode=encode,
        decode=lambda params, latent: latent.code[:, 0],
        field=field,
    )
