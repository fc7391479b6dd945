"""Closed thin shapes made in code, in the frame: plates, vessels with walls of WALL, a wheel with slender spokes."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial import transform

from hexjax.types import Mesh

LONG, SHORT = 1.8, 1.2  # of a plate's faces
EXTENTS = {"y": (SHORT, 0, LONG), "x": (0, SHORT, LONG), "z": (SHORT, LONG, 0)}  # by the thin axis: they fit turned too
TURN = (30, 30)  # degrees about x, then about y
WALL, AROUND = 0.012, 96  # of a vessel; steps around an axis


def plate(axis: str, thickness: float, turned: bool) -> Mesh:
    """A closed box of LONG and SHORT sides, thin along an axis, which lies in the cube without being scaled."""
    extent = np.array([side or thickness for side in EXTENTS[axis]])
    corners = np.array([*itertools.product((-0.5, 0.5), repeat=3)]) * extent
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    box = Mesh(corners, np.int32([[four[0], *four[i : i + 2]] for four in faces for i in (1, 2)]))
    box = placed(box, "xy", TURN if turned else (0, 0))
    assert np.abs(box.vertices).max() <= 1
    return box


def placed(mesh: Mesh, axes: str, degrees: Sequence[float], move: Sequence[float] = (0, 0, 0)) -> Mesh:
    """The mesh turned about fixed axes, one after the other, then moved."""
    spin = transform.Rotation.from_euler(axes, degrees, degrees=True)
    return mesh._replace(vertices=(spin.apply(mesh.vertices) + move).astype(np.float32))


def revolved(loop: Any, turns: float = 1.0) -> Mesh:
    """The closed surface that a loop of (radius, height) sweeps around +y from +x; with caps where it stops before."""
    loop, around = np.asarray(loop, np.float64), np.linspace(0, 2 * np.pi * turns, AROUND + 1)
    radius, height = loop.T
    across = [radius * np.cos(around)[:, None], radius * np.sin(around)[:, None]]
    points = np.stack([across[0], np.broadcast_to(height, across[0].shape), across[1]], -1).reshape(-1, 3)
    step, place = np.divmod(np.arange(AROUND * len(loop)), len(loop))
    a, b = step * len(loop) + place, step * len(loop) + (place + 1) % len(loop)
    faces = np.concatenate([np.stack([a, b, b + len(loop)], 1), np.stack([a, b + len(loop), a + len(loop)], 1)])
    if turns < 1:
        fan = np.array([[0, i + 1, i] for i in range(1, len(loop) - 1)])
        faces = np.concatenate([faces, fan, fan[:, ::-1] + AROUND * len(loop)])
    points, same = np.unique(np.round(points, 9) + 0.0, axis=0, return_inverse=True)  # one on the axis, one at the seam
    faces = same.ravel()[faces].astype(np.int32)
    return Mesh(points.astype(np.float32), faces[(faces != np.roll(faces, 1, 1)).all(1)])


def joined(parts: Sequence[Mesh]) -> Mesh:
    """Closed parts as one mesh, each left whole where they overlap."""
    first = np.cumsum([0, *(len(part.vertices) for part in parts)], dtype=np.int32)
    faces = [part.faces + start for part, start in zip(parts, first)]
    return Mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(faces))


def circle(radius: float, size: float) -> np.ndarray:
    """A loop around (radius, 0)."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([radius + size * np.cos(angle), size * np.sin(angle)], 1)


def vessel(low: float, high: float, handle: bool = False) -> Mesh:
    """A cup, 1.9 high, with radii at foot and rim; at wish a handle whose ends lie within the wall of a straight one."""
    loop = [[0, -0.95], [low, -0.95], [high, 0.95], [high - WALL, 0.95], [low - WALL, WALL - 0.95], [0, WALL - 0.95]]
    half_ring = placed(revolved(circle(0.5, 0.05), 0.5), "xz", (90, 90), (high - WALL / 2, 0, 0))
    return joined([revolved(loop), *[half_ring] * handle])


def bowl() -> Mesh:
    """Half a spherical shell, open above."""
    angle = np.linspace(0, np.pi / 2, 49)
    arc = np.stack([np.sin(angle), -np.cos(angle)], 1)
    return revolved(np.concatenate([0.95 * arc, (0.95 - WALL) * arc[::-1]]))


def wheel(spokes: int = 13) -> Mesh:
    """A rim, a hub and spokes between, upright."""
    rod = lambda radius, low, high: revolved([[0, low], [radius, low], [radius, high], [0, high]])
    parts = [revolved(circle(0.88, 0.07)), rod(0.16, -0.12, 0.12)]
    parts += [placed(rod(0.02, 0.1, 0.88), "zy", (90, 360 * i / spokes)) for i in range(spokes)]
    return placed(joined(parts), "x", (90,))


MADE = {
    "bowl": bowl,
    "cup": functools.partial(vessel, 0.5, 0.7),
    "wheel": wheel,
    "mug": functools.partial(vessel, 0.55, 0.55, True),
}
