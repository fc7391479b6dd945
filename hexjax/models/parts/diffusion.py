"""Diffusion in a given number of noise levels: k = 0 is nearest to the data, k = levels - 1 is noise. Pure functions.

Source: the cosine schedule, Nichol and Dhariwal 2021 (arXiv:2102.09672), equation 17; sampling, Song et al. 2020
(arXiv:2010.02502), equation 12 with no noise added.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from hexjax.types import Array

OFFSET = 0.008
Denoise = Callable[[Array, Array], Array]  # (x [b, *d], k [b]) -> the data x0 [b, *d] that is expected


def signal(levels: int) -> Float[np.ndarray, "k"]:
    """The share of the data's variance that is left at each level, alpha bar, from near 1 down to near 0.

    Level k has had k + 1 of `levels` steps.
    """
    turn = lambda step: np.cos((step / levels + OFFSET) / (1 + OFFSET) * np.pi / 2) ** 2
    return np.clip(turn(np.arange(1, levels + 1)) / turn(0), 1e-9, 1).astype(np.float32)


def noised(
    x: Float[Array, "b *d"], noise: Float[Array, "b *d"], level: Int[Array, "b"], levels: int
) -> Float[Array, "b *d"]:
    """The data with noise at a level each."""
    left = jnp.asarray(signal(levels))[level].reshape(-1, *(1,) * (x.ndim - 1))
    return jnp.sqrt(left) * x + jnp.sqrt(1 - left) * noise


def sample(denoise: Denoise, noise: Float[Array, "b *d"], levels: int, steps: int) -> Float[Array, "b *d"]:
    """What the noise becomes in so many steps over levels that are evenly spread, by what is expected at each."""
    left = jnp.asarray(signal(levels))
    at = jnp.asarray(np.round(np.linspace(levels - 1, 0, steps)).astype(np.int32))

    def step(x: Array, levels: tuple[Array, Array]) -> tuple[Array, None]:
        now, then = levels
        expected = denoise(x, jnp.full((len(x),), now))
        other = (x - jnp.sqrt(left[now]) * expected) / jnp.sqrt(1 - left[now])
        return jnp.sqrt(left[then]) * expected + jnp.sqrt(1 - left[then]) * other, None

    x, _ = jax.lax.scan(step, noise, (at[:-1], at[1:]))
    return denoise(x, jnp.full((len(x),), at[-1]))


def exact(data: Float[Array, "n *d"], levels: int) -> Denoise:
    """The denoiser that expects no more than is known: the mean of the data, weighted by how likely x came from each."""
    left, flat = jnp.asarray(signal(levels)), data.reshape(len(data), -1)

    def denoise(x: Array, level: Array) -> Array:
        share = left[level][:, None]
        squares = jnp.square(x.reshape(len(x), 1, -1) - jnp.sqrt(share)[..., None] * flat[None]).sum(-1)
        return (jax.nn.softmax(-squares / (2 * (1 - share))) @ flat).reshape(x.shape)

    return denoise
