"""A throw-away auto-decoder: a table of codes, and for a new shape a search of one."""

import jax
import jax.numpy as jnp
from flax import linen

from hexjax.models.family import Family
from hexjax.types import Latent, Layout, Size


class Decoder(linen.Module):
    width: int

    @linen.compact
    def __call__(self, x):
        for _ in range(3):
            x = jax.nn.softplus(10 * linen.Dense(self.width)(x)) / 10
        return linen.Dense(1)(x)[..., 0]


def make(spec, config, parents):
    floats, table = config.latent.channels, config.table
    decoder, count = Decoder(table.width), spec.shapes

    def init(batch, key, parents):
        first, second = jax.random.split(key)
        codes = 0.01 * jax.random.normal(first, (count, floats))
        return {"codes": codes, "decoder": decoder.init(second, jnp.zeros((1, floats + 3)))}

    def field(params, code, points):
        return decoder.apply(params["decoder"], jnp.concatenate([jnp.tile(code, (len(points), 1)), points], -1))

    def error(params, codes, batch):
        found = jax.vmap(lambda code, points: field(params, code, points))(codes, batch["points"])
        return jnp.abs(jnp.clip(found, -0.1, 0.1) - jnp.clip(batch["sdf"], -0.1, 0.1)).mean()

    def loss(params, batch, key, step, knobs):
        codes = params["codes"][batch["item"]]
        fit = error(params, codes, batch)
        return fit + table.regular * (codes**2).mean(), {"reconstruction": fit}

    def encode(params, batch, key, knobs=None):
        if "item" in batch:
            codes = params["codes"][batch["item"]]
        else:
            slope = jax.grad(lambda codes: error(params, codes, batch))
            descend = lambda _, codes: codes - table.search_rate * slope(codes)
            codes = jax.lax.fori_loop(0, table.search_steps, descend, jnp.zeros((len(batch["points"]), floats)))
        return Latent(codes[:, None], {"mean": codes[:, None]})

    return Family(
        reads=("item", "points", "sdf"),
        sees=("points", "sdf"),
        layout=Layout("vector", 1, floats),
        size=lambda latent: Size(floats, 32 * floats),
        init=init,
        loss=loss,
        encode=encode,
        decode=lambda params, latent: latent.code[:, 0],
        field=field,
    )
