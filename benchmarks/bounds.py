"""What six depth maps can tell of a surface at all, whatever is made of them."""

import itertools

import numpy as np

from hexjax.geometry import frame
from hexjax.types import Hexplane

NEAR = 0.01


def known(maps: Hexplane, points: np.ndarray) -> np.ndarray:
    """Which points lie within NEAR of a place that some view sees to be empty, or of its hit; the rest is hidden.

    Hits alone are too few: a wall along the view direction has none, and yet the empty space beside it tells where it is.
    The points lie in the frame's margin: no pixel within NEAR of one is off the maps.
    """
    depth = np.where(maps.mask, maps.depth, np.inf)
    half = depth.shape[-1] / 2
    reach = range(-int(np.ceil(NEAR * half)), int(np.ceil(NEAR * half)) + 1)
    found = np.zeros(len(points), bool)
    for view, at in enumerate(zip(*map(np.asarray, frame.to_image(points.astype(np.float32), depth.shape[-1])))):
        column, row, away = at
        for right, down in itertools.product(reach, reach):
            x, y = np.rint(column).astype(int) + right, np.rint(row).astype(int) + down
            left = NEAR**2 - ((x - column) ** 2 + (y - row) ** 2) / half**2
            found |= (left >= 0) & (depth[view, y, x] >= away - np.sqrt(np.maximum(left, 0)))
    return found
