"""The public functions: the stages of `pipeline` for what a user holds; a run's model is in `evaluation.restore`.

A mesh is a path, a trimesh Trimesh or Scene, a `Mesh`, or a tuple of vertices [n, 3] and faces [f, 3] (or [f, k], or rows
of any lengths), in any units. `load` makes it ready, the others do so where it is not, and what hexjax gives is ready.
Points without faces (a file, a trimesh PointCloud, an array [n, 3]) are taken where no surface is needed.
What a user must know of it is one warning of a line.
"""

import contextlib
import functools
import numbers
import operator
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from hexjax import names, workdirs
from hexjax.data import meshfile, npz
from hexjax.geometry import blocks, distance, field, hexplane, hulls, isosurface
from hexjax.geometry import mesh as meshes
from hexjax.types import Hexplane, Mesh, Scores, Similarity

GRID, RESOLUTION, MOST = (8, 2048), (8, 4096), 2**31 - 1
Whole = int | Any  # as given by a user: what it must be is checked here, not by its type
FARTHEST = 1e9  # units of the reference's frame: beyond it float32 tells nothing of a mesh


class Ready(Mesh):
    """A mesh as `load` gives it, with arrays that are not written to; `_replace` gives a `Mesh` that is made ready anew."""

    __slots__ = ()

    def _replace(self, **changes: Any) -> Mesh:
        return Mesh(*self)._replace(**changes)

    __replace__ = _replace


def load(mesh: Any) -> Mesh:
    """The mesh welded, cut to triangles and wound outward: vertices [n, 3] in its own units, faces [f, 3].

    Of points all stay, in their order, and there are 0 faces.
    Vertices are float32, or float64 where float32 would move them: farther from the origin than eight times the size.

    Raises:
        ValueError: one line with the file's name, or "mesh", and what is wrong.
    """
    return _ready(mesh)


def normalise(mesh: Any, up: str = "y") -> tuple[Mesh, Similarity]:
    """The mesh with its box centred in [-1, 1]^3, longest side 1.9, never deformed; and the way there, in float64.

    Args:
        up: the source's axis that points up, y or z (`data.up`).

    Raises:
        ValueError: as `load`, and for another `up`.
    """
    framed, similarity = meshes.normalise(_ready(mesh), up)
    return own(framed), similarity


def to_source(mesh: Any, similarity: Similarity) -> Mesh:
    """The mesh of the frame in the source's units and orientation: the way back of `normalise`. A `Mesh` is taken as it is.

    Raises:
        ValueError: as `load`.
    """
    mesh = mesh if isinstance(mesh, Mesh) else _ready(mesh)
    found = meshes.to_source(mesh, similarity)
    return own(found) if isinstance(mesh, Ready) else found


def render(mesh: Any, resolution: Whole = 512) -> Hexplane:
    """The six maps of a mesh in the frame: depth [6, h, w], normal [6, h, w, 3], mask [6, h, w].

    Args:
        resolution: pixels a side, from 8 to 4096.

    Raises:
        ValueError: as `load`, for points, and for a mesh that leaves the cube [-1, 1]^3.
    """
    return hexplane.render(_surfaced(mesh, "render"), whole("resolution", resolution, *RESOLUTION))


def extract(maps: Hexplane | Any, grid: Whole = 256, min_part_share: float | Any = 0.01) -> Mesh | list[Mesh]:
    """The watertight mesh, in the frame, of six maps [6, h, w]; of maps with a leading b a list of b meshes.

    Maps of depth and normals are fused; silhouettes alone, as some families decode them, give their hull.

    Args:
        grid: nodes a side, from 8 to 2048.
        min_part_share: parts with a smaller share of the area are dropped, which is told.

    Raises:
        ValueError: for what are no such maps, or depth without normals.
    """
    grid = whole("grid", grid, *GRID)
    if isinstance(min_part_share, bool) or not (isinstance(min_part_share, numbers.Real) and 0 <= min_part_share <= 1):
        raise ValueError(f"min_part_share is {_shown(min_part_share)}; accepted: a number from 0 to 1")
    if not isinstance(maps, Hexplane):
        raise ValueError(
            f"extract got a {type(maps).__name__}; accepted: a Hexplane of six maps; of a latent: model.mesh(latent)"
        )
    found = [np.shape(part) for part in maps]
    side = found[2][-1:] * 2
    if len(found[2]) not in (3, 4) or found != [found[2], (*found[2], 3), (*found[2][:-3], 6, *side)]:
        told = ", ".join(map(str, found))
        raise ValueError(
            f"maps have the shapes {told}; accepted: (6, n, n), (6, n, n, 3), (6, n, n), or with a leading b"
        )
    if len(found[2]) == 4:
        return [extract(Hexplane(*parts), grid, min_part_share) for parts in zip(*maps)]
    values, ask = _values(maps, grid)
    return surface(*isosurface.polygonise(values, min_part_share, functools.partial(jax.jit(ask), maps)))


def score(mesh: Any, reference: Any, samples: Whole = 100_000, seed: Whole = 0) -> Scores:
    """Every score of the protocol for a mesh against a reference, both in one frame, any; that of the reference is used.

    A mesh of no vertices and no faces has the scores of a failed extraction. What encloses nothing has no IoU: None
    where neither does.

    Raises:
        ValueError: as `load`, for points, and for a mesh out of all proportion to the reference.
    """
    samples, seed = whole("samples", samples, 1, MOST), whole("seed", seed, 0, MOST)
    framed, similarity = meshes.normalise(_surfaced(reference, "a score", "reference"))
    if _is_empty(mesh):
        mesh = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    else:
        mesh = _surfaced(mesh, "a score")
        reach = float(np.max(np.abs(mesh.vertices * np.float64(similarity.scale) + similarity.translation)))
        if not reach <= FARTHEST:
            raise ValueError(f"mesh reaches {reach:.3g} in the frame of the reference; accepted: up to {FARTHEST:g}")
    return distance.score(meshes.to_frame(mesh, similarity), framed, samples, seed)


def own(mesh: Mesh) -> Mesh:
    """A mesh that hexjax made, as ready."""
    for array in mesh[:2]:
        array.setflags(write=False)
    return Ready(*mesh)


def surface(mesh: Mesh, report: Scores) -> Mesh:
    """What polygonising gave, as ready; warns with what the report says that a user must know."""
    if report["told"]:
        _warn(report["told"])
    return own(mesh)


def _ready(given: Any, name: str = "mesh") -> Mesh:
    if isinstance(given, Ready):
        return given
    mesh, report = _inspected(given, name)
    words, was_doubtful = meshfile.mended(report), bool(getattr(given, "winding_doubtful", False))
    if was_doubtful:  # told before
        words.pop(meshfile.DOUBTFUL, None)
    if words:
        _warn(f"{_named(given, name)}: {'; '.join(words.values())}")
    return own(mesh._replace(winding_doubtful=mesh.winding_doubtful or was_doubtful))


def _inspected(given: Any, name: str) -> tuple[Mesh, dict[str, Any]]:
    """What `meshfile.inspect` tells, or of an NPZ archive of one shape its reader."""
    if not isinstance(given, str | os.PathLike) or not os.fspath(given).lower().endswith(".npz"):
        return meshfile.inspect(given, name)
    found = npz.shapes(names.expand(os.fspath(given)))
    if len(found) != 1:
        raise ValueError(f"{_named(given, name)}: has {len(found)} shapes; accepted: an archive of one")
    return found[0][1]()


def _named(given: Any, name: str) -> str:
    return names.printable(os.path.basename(given)) if isinstance(given, str | os.PathLike) else name


def _surfaced(given: Any, what: str, name: str = "mesh") -> Mesh:
    """What is given as ready, if it has faces."""
    mesh = _ready(given, name)
    meshes.refuse_points(_named(given, name), mesh, what)
    return mesh


def _is_empty(given: Any) -> bool:
    """Whether what is given as a mesh, and is no file, has neither faces nor vertices."""
    is_pair = type(given) is tuple and len(given) == 2
    parts = given if is_pair else (getattr(given, "vertices", None), getattr(given, "faces", None))
    with contextlib.suppress(TypeError):  # what has no length is none: `load` tells so
        return bool(getattr(given, "is_empty", False)) or not any(len(part) for part in parts)
    return False


def _warn(text: str) -> None:
    """Nothing; warns, at the user's own line."""
    level, place = 1, sys._getframe()
    while place.f_back is not None and place.f_globals.get("__name__", "").startswith("hexjax."):
        level, place = level + 1, place.f_back
    warnings.warn(text, stacklevel=level)


def _values(maps: Hexplane, grid: int) -> tuple[Float[np.ndarray, "n n n"], Callable]:
    """The field of depth and normals, or of silhouettes where there are neither, on a grid, and how it is asked at points."""
    covered = np.asarray(maps.mask, np.float32) > 0.5
    has_depth, has_normals = (bool(np.any(np.abs(np.asarray(part)[covered]) > 0)) for part in maps[:2])
    if has_normals or not covered.any():
        return blocks.grid(maps, grid), field.fuse
    if has_depth:
        raise ValueError("the maps have depth and no normals; accepted: both, or neither (silhouettes)")
    return hulls.grid(maps, grid), hulls.fuse


def whole(name: str, value: Any, low: int, high: int) -> int:
    """The value as an int.

    Raises:
        ValueError: for what is no whole number from low to high.
    """
    with contextlib.suppress(TypeError):
        if not isinstance(value, bool) and low <= operator.index(value) <= high:
            return operator.index(value)
    raise ValueError(f"{name} is {_shown(value)}; accepted: a whole number from {low} to {high}")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}…"


@functools.cache
def keep_programs() -> None:
    """Nothing; compiled programs are kept in the user's cache folder as launch.py keeps them, where nobody said otherwise."""
    folder = workdirs.programs()
    if jax.config.jax_compilation_cache_dir is None and folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
