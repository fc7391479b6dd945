"""Which of many shapes is nearest to one: by the CD-L1 between points of both surfaces, as usual for generators."""

from collections.abc import Sequence

import numpy as np
import scipy.spatial

from hexjax.geometry import surface
from hexjax.types import Mesh

RANKED = 2048  # points a side


def tree(mesh: Mesh, seed: int) -> scipy.spatial.KDTree:
    """Points uniform over a mesh's surface, to be asked for the nearest of them.

    Raises:
        ValueError: for a mesh without area.
    """
    return scipy.spatial.KDTree(surface.sample(mesh, RANKED, np.random.default_rng(seed))[0])


def nearest(one: scipy.spatial.KDTree, known: Sequence[scipy.spatial.KDTree]) -> int:
    """The place of the known points that are nearest to one shape's, the first of several; there are some."""
    return int(np.argmin([one.query(other.data)[0].mean() + other.query(one.data)[0].mean() for other in known]))
