"""Has the latent collapsed? Pure functions of posterior statistics."""

import numpy as np
from jaxtyping import Float

from hexjax.types import Array

ACTIVE_VARIANCE = 0.01


def active_units(means: Float[Array, "i *d"]) -> int | None:
    """Latent floats whose posterior mean varies over the shapes (i) by more than 0.01; None for fewer than two shapes.

    Source: Burda et al. 2015, section 5.1.
    """
    if len(means) < 2:
        return None
    return int((np.var(np.asarray(means, np.float64), 0) > ACTIVE_VARIANCE).sum())
