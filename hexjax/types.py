"""The nouns of the project, and the letters of its axes.

Axes: b shapes in a batch, v six views, h w image rows and columns, c channels, n vertices, f faces, p query or surface
points, t latent tokens, d features. xyz is last and in that order; channels are last; leading axes belong to the caller.
Frame: right-handed, +y up; the bounding box of a normalised mesh is centred at 0, its longest side 2 (1 - margin).
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

Array = jax.Array | np.ndarray
Params = Any  # a pytree of arrays, as Flax linen makes it
Batch = dict[str, Array]  # fields by name, as data.fields makes them, each with a leading b
Scores = dict[str, Any]  # one object of scores.json


class Mesh(NamedTuple):
    """Triangles: vertices [n, 3] float32, faces [f, 3] int32, and whether their winding could not be made consistent.

    In a source's own units, far from its origin, vertices are float64: float32 would spoil the shape.
    """

    vertices: Float[Array, "n 3"]
    faces: Int[Array, "f 3"]
    winding_doubtful: bool | Bool[Array, ""] = False


class Similarity(NamedTuple):
    """Source to frame, and nothing that deforms: p_frame = scale * rotation @ p_source + translation (float64)."""

    scale: float | Float[Array, ""]
    rotation: Float[Array, "3 3"]
    translation: Float[Array, "3"]

    def inverse(self) -> "Similarity":
        """The way back: frame to source."""
        back = np.asarray(self.rotation, np.float64).T
        return Similarity(1 / self.scale, back, -(back @ np.asarray(self.translation, np.float64)) / self.scale)


class Hexplane(NamedTuple):
    """Six orthographic maps in the order of `geometry.frame`: depth [v,h,w], normal [v,h,w,3], mask [v,h,w].

    Depth runs in world units from the view's face of the cube and is 0 where nothing is hit; normals are unit, in world
    axes, and 0 where nothing is hit; the mask is bool when rendered and a probability when decoded.
    """

    depth: Float[Array, "*b v h w"]
    normal: Float[Array, "*b v h w 3"]
    mask: Bool[Array, "*b v h w"] | Float[Array, "*b v h w"]


class Latent(NamedTuple):
    """A sample (or the code itself) and, for stochastic kinds, the posterior statistics that it came from.

    Where tokens have a place in the cube it stands in `place`, and where their number differs `alive` tells which are there.
    """

    code: Float[Array, "*b t d"]
    statistics: dict[str, Array]
    place: Float[Array, "*b t 3"] | None = None
    alive: Bool[Array, "*b t"] | None = None


class Layout(NamedTuple):
    """How a latent's code [t, d] is laid out: planes of (views, side), grid and cells of (side,), set and vector of ()."""

    kind: str
    tokens: int
    channels: int
    sides: tuple[int, ...] = ()


class Size(NamedTuple):
    """What one shape's latent takes, stored."""

    floats: int
    bits: int


class Spec(NamedTuple):
    """What a family is made for: what the data and the config can give, by arithmetic, before anything is made."""

    fields: dict[str, jax.ShapeDtypeStruct]  # one shape's, by name
    shapes: int  # that are trained on
    categories: tuple[str, ...] = ()


class TrainState(NamedTuple):
    """Everything that a run must remember: the step is the position in the data, and no key is stored."""

    step: Int[Array, ""]
    params: Params
    optimiser: Any
    average: Params | None = None  # of the parameters over the steps, where `train.ema` asks for it

    @property
    def evaluated(self) -> Params:
        """What is validated, diagnosed and scored: the averaged parameters where there are some, else the parameters."""
        return self.params if self.average is None else self.average


class Item(NamedTuple):
    """One shape of a data set: its name, the mesh as loaded, the mesh in the frame, and what leads from one to the other.

    A mesh without faces is a shape of points.
    """

    name: str
    source: Mesh
    mesh: Mesh
    similarity: Similarity
    category: str = ""
