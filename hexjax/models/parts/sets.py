"""Sets of points: which of them stand for all. Pure functions, for one shape."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from hexjax.types import Array


def farthest(
    points: Float[Array, "p 3"],
    count: int,
    start: int | Int[Array, ""] | None = None,
    seeds: Float[Array, "s 3"] | None = None,
) -> Int[Array, "k"]:
    """The places of `count` points, each the farthest from all that were picked before it; the first one of equals.

    Where no point is left that lies elsewhere than those picked, it is place 0 again.

    Args:
        start: the first one's place; None: of the point farthest from the mean, or from the seeds where there are some.
        seeds: points that count as picked before.

    Source: Gonzalez 1985.
    """
    axes = jnp.asarray(points).T  # the many points innermost: processors compute along the innermost axis

    def squared(place: Float[Array, "3"]) -> Float[Array, "p"]:
        return jnp.square(axes - place[:, None]).sum(0)

    reach = jnp.full(axes.shape[1], jnp.inf)
    if seeds is not None:
        reach = jax.lax.map(squared, jnp.asarray(seeds)).min(0)
    if start is None:
        start = (squared(axes.mean(1)) if seeds is None else reach).argmax()

    def pick(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        reach, index = carry
        reach = jnp.minimum(reach, squared(axes[:, index]))
        return (reach, reach.argmax().astype(jnp.int32)), index

    return jax.lax.scan(pick, (reach, jnp.asarray(start, jnp.int32)), length=count)[1]
