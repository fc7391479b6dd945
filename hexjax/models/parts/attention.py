"""Perceiver blocks: queries that see a set of tokens or points. What they say does not depend on the order of the set.

Arithmetic runs in `dtype`, the softmax and the parameters are float32, outputs keep `dtype`.

Source: Jaegle et al. 2021 (arXiv:2103.03206), with the norms before.
"""

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Bool, Float

from hexjax.models.parts import blocks
from hexjax.types import Array

Keys = tuple[Float[Array, "*b t k h"], Float[Array, "*b t k h"]]  # and values, of k heads


class Cross(linen.Module):
    """Queries that look at a set, and a perceptron of `expansion` widths; both are added to the queries.

    What the set adds is computed once (`keys`), and asked by as many queries as there are (`ask`).
    """

    width: int  # of the queries; a multiple of heads
    heads: int
    expansion: int
    dtype: jnp.dtype

    def setup(self) -> None:
        dense = lambda outputs, **more: linen.Dense(outputs, dtype=self.dtype, **more)
        norm = lambda: linen.RMSNorm(dtype=self.dtype)
        self.query_norm, self.set_norm, self.hidden_norm = norm(), norm(), norm()
        self.query, self.pair, self.out = dense(self.width, use_bias=False), dense(2 * self.width), dense(self.width)
        self.hidden, self.back = dense(self.expansion * self.width), dense(self.width)

    def keys(self, given: Float[Array, "*b t e"]) -> Keys:
        """Keys and values of a set."""
        pair = self.pair(self.set_norm(given))
        return tuple(self._split(part) for part in jnp.split(pair, 2, -1))

    def ask(
        self, queries: Float[Array, "*b q d"], keys: Keys, mask: Bool[Array, "*b t"] | None = None
    ) -> Float[Array, "*b q d"]:
        """What queries become that look at the keys of a set; each on its own."""
        found = blocks.attend(self._split(self.query(self.query_norm(queries))), *keys, mask)
        queries = queries + self.out(found.reshape(queries.shape))
        return queries + self.back(jax.nn.gelu(self.hidden(self.hidden_norm(queries))))

    def __call__(
        self,
        queries: Float[Array, "*b q d"],
        given: Float[Array, "*b t e"],
        mask: Bool[Array, "*b t"] | None = None,
    ) -> Float[Array, "*b q d"]:
        return self.ask(queries, self.keys(given), mask)

    def _split(self, x: Float[Array, "*b t d"]) -> Float[Array, "*b t k e"]:
        return x.reshape(*x.shape[:-1], self.heads, -1)


def layers(count: int, heads: int, dtype: jnp.dtype, remat: bool) -> list[linen.Module]:
    """Blocks in which the tokens of a set see each other, for a module's `setup`; each starts as the identity.

    Args:
        remat: what is between the blocks' ends is computed again for the gradient, instead of kept.
    """
    block = linen.remat(blocks.Attention) if remat else blocks.Attention
    return [block(heads, dtype) for _ in range(count)]
