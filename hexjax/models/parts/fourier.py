"""Places in space as sines and cosines, so that a perceptron can tell near ones apart. Pure functions."""

import jax.numpy as jnp
from jaxtyping import Float

from hexjax.types import Array


def features(points: Float[Array, "*p 3"], bands: int) -> Float[Array, "*p e"]:
    """The points themselves, then sin and cos of 2^k pi p for k < bands: 3 + 6 bands numbers; 0 bands: the points alone.

    Without the points the product of two places' features is the sum over bands and axes of cos 2^k pi (x - y).

    Source: Mildenhall et al. 2020 (arXiv:2003.08934), equation 4, with the points put before.
    """
    if bands == 0:
        return points
    turns = jnp.pi * jnp.exp2(jnp.arange(bands, dtype=points.dtype))
    angles = (points[..., None, :] * turns.reshape(*(1,) * (points.ndim - 1), bands, 1)).reshape(*points.shape[:-1], -1)
    return jnp.concatenate([points, jnp.sin(angles), jnp.cos(angles)], -1)
