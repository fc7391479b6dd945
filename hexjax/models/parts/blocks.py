"""Shared linen blocks: residual convolutions, and transformer blocks in which the cells of all views see each other.

Arithmetic runs in `dtype`, parameters are float32, outputs keep `dtype`; the caller returns to float32 at its edge.
"""

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Bool, Float

from hexjax.types import Array


def space_to_depth(images: Float[Array, "*b h w c"], side: int) -> Float[Array, "*b i j d"]:
    """Images with every side x side patch of pixels folded into the channels."""
    *lead, height, width, channels = images.shape
    split = images.reshape(*lead, height // side, side, width // side, side, channels)
    return jnp.moveaxis(split, -4, -3).reshape(*lead, height // side, width // side, side * side * channels)


def depth_to_space(cells: Float[Array, "*b i j d"], side: int) -> Float[Array, "*b h w c"]:
    """Cells with their channels unfolded into side x side patches of pixels: the inverse of `space_to_depth`."""
    *lead, height, width, depth = cells.shape
    split = cells.reshape(*lead, height, width, side, side, depth // side**2)
    return jnp.moveaxis(split, -3, -4).reshape(*lead, height * side, width * side, depth // side**2)


def planes_to_cells(planes: Float[Array, "*b c h w"], side: int) -> Float[Array, "*b i j d"]:
    """Images given as planes, one a channel, with every side x side patch of pixels folded into the channels.

    Planes keep the many pixels, not the few channels, innermost: processors compute along the innermost axis.
    """
    *lead, channels, height, width = planes.shape
    split = planes.reshape(*lead, channels, height // side, side, width // side, side)
    cells = jnp.moveaxis(split, (-4, -2, -3, -1, -5), (-5, -4, -3, -2, -1))
    return cells.reshape(*lead, height // side, width // side, side * side * channels)


def cells_to_planes(cells: Float[Array, "*b i j d"], side: int) -> Float[Array, "*b c h w"]:
    """Cells with their channels unfolded into patches of planes: the inverse of `planes_to_cells`."""
    *lead, height, width, depth = cells.shape
    split = cells.reshape(*lead, height, width, side, side, depth // side**2)
    planes = jnp.moveaxis(split, (-5, -4, -3, -2, -1), (-4, -2, -3, -1, -5))
    return planes.reshape(*lead, depth // side**2, height * side, width * side)


class ResidualConvolution(linen.Module):
    """Two 3 x 3 convolutions on the images of all views alike, added to their input; it starts as the identity."""

    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        width = x.shape[-1]
        y = linen.RMSNorm(dtype=self.dtype)(x)
        y = linen.Conv(width, (3, 3), dtype=self.dtype)(y)
        y = linen.Conv(width, (3, 3), dtype=self.dtype, kernel_init=linen.initializers.zeros)(jax.nn.silu(y))
        return x + y


def attend(
    query: Float[Array, "*b q k d"],
    key: Float[Array, "*b t k d"],
    value: Float[Array, "*b t k d"],
    mask: Bool[Array, "*b t"] | None = None,
) -> Float[Array, "*b q k d"]:
    """Values weighted by the softmax of scaled products, for k heads; float32 but for the products' factors.

    The sum of the weights divides the few outputs, not the many weights, and the largest product has no gradient.

    Args:
        mask: which of the t are there; None: all. At least one is.
    """
    query = query * query.shape[-1] ** -0.5
    products = jnp.einsum("...qkd,...tkd->...kqt", query, key, preferred_element_type=jnp.float32)
    if mask is not None:
        products = jnp.where(mask[..., None, None, :], products, -jnp.inf)
    weights = jnp.exp(products - jax.lax.stop_gradient(products.max(-1, keepdims=True)))
    sums = jnp.einsum("...kqt,...tkd->...kqd", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return jnp.swapaxes(sums / weights.sum(-1, keepdims=True), -3, -2).astype(value.dtype)


def feed_forward(x: Float[Array, "*b d"], dtype: jnp.dtype) -> Float[Array, "*b d"]:
    """A perceptron of 4 widths, added to its input, within a module; it starts as the identity."""
    width = x.shape[-1]
    y = linen.Dense(4 * width, dtype=dtype)(linen.RMSNorm(dtype=dtype)(x))
    return x + linen.Dense(width, dtype=dtype, kernel_init=linen.initializers.zeros)(jax.nn.gelu(y))


class Attention(linen.Module):
    """A transformer block (attention, then a perceptron of 4 widths) over tokens; it starts as the identity."""

    heads: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        zeros = linen.initializers.zeros
        y = linen.RMSNorm(dtype=self.dtype)(x)
        common = dict(dtype=self.dtype, attention_fn=attend)
        x = x + linen.MultiHeadDotProductAttention(self.heads, out_kernel_init=zeros, **common)(y, y)
        return feed_forward(x, self.dtype)


class Mixer(linen.Module):
    """Transformer blocks over the patches of all six views at once, added to the views' cells.

    Opposite views share an outline and neighbours share edges: here every patch can look at every other view.
    """

    side: int  # patches a side of each view
    width: int
    blocks: int
    heads: int
    dtype: jnp.dtype

    @linen.compact
    def __call__(self, x: Float[Array, "b v h w c"]) -> Float[Array, "b v h w c"]:
        patch = x.shape[-2] // self.side
        y = linen.Dense(self.width, dtype=self.dtype)(space_to_depth(x, patch))
        place = self.param("place", linen.initializers.normal(0.02), y.shape[1:], jnp.float32)
        tokens = (y + place.astype(y.dtype)[None]).reshape(x.shape[0], -1, self.width)
        for _ in range(self.blocks):
            tokens = Attention(self.heads, self.dtype)(tokens)
        tokens = linen.RMSNorm(dtype=self.dtype)(tokens).reshape(y.shape)
        return x + depth_to_space(linen.Dense(patch**2 * x.shape[-1], dtype=self.dtype)(tokens), patch)


def over_views(layer: linen.Module, x: Float[Array, "b v h w c"]) -> Float[Array, "b v i j d"]:
    """A layer of images applied to the images of all views with the same weights."""
    y = layer(x.reshape(-1, *x.shape[2:]))
    return y.reshape(*x.shape[:2], *y.shape[1:])
