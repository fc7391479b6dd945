"""Readers of NPZ archives: the shapes in one, each with a name and what gives its mesh.

One mesh (vertices [n, 3], faces [f, 3]); a head set (mean [n, 3], faces [f, 3], scale, delta [i, n, 3]: the vertices of
head i are mean + scale * delta[i]); its low-resolution form (faces [f, 3], corner [m, 3], weight [m, 3]: vertices are
weighted sums of three of the full ones), with heads.npz beside it; or points alone (vertices or points [n, 3]).
"""

import functools
import pathlib
import textwrap
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from hexjax import names
from hexjax.data import meshfile, polygons
from hexjax.types import Array, Mesh

HEAD_SET = "heads.npz"
BROKEN_ARCHIVE = (OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)

Loaded = tuple[Mesh, dict[str, Any]]  # with what was found on the way, as meshfile.inspect tells it
Shape = tuple[str, Callable[[], Loaded]]


def shapes(file: pathlib.Path) -> list[Shape]:
    """The shapes in an NPZ archive, each a name and what gives its mesh.

    Raises:
        ValueError: one line with the file's name and what is wrong with it.
    """
    arrays = _read(file)
    for keys, reader in FORMS.items():
        if set(keys) <= set(arrays) and (reader is not _points or set(arrays) <= {*keys, *BESIDE}):
            return reader(file, arrays)
    there = textwrap.shorten(" ".join(arrays), 100) or "(none)"
    raise ValueError(f"{_name(file)}: has the arrays {there}; accepted: {' | '.join(' '.join(keys) for keys in FORMS)}")


def _name(file: pathlib.Path) -> str:
    return names.printable(file.name)


def _read(file: pathlib.Path) -> dict[str, np.ndarray]:
    if reason := meshfile.not_a_file(file):
        raise ValueError(f"{_name(file)}: {reason}")
    try:
        with zipfile.ZipFile(file):  # so that a bare array or a pickle is no archive
            pass
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except BROKEN_ARCHIVE as error:
        raise ValueError(f"{_name(file)}: not a readable NPZ archive ({type(error).__name__})") from error


def _one_mesh(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> list[Shape]:
    vertices = _array(file, arrays, "vertices", ("n", 3), "fiu")
    faces = _array(file, arrays, "faces", ("f", 3), "iu")
    return [(file.stem, functools.partial(_clean, _name(file), vertices, faces))]


def _points(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> list[Shape]:
    (name,) = {"vertices", "points"} & set(arrays)
    points = _array(file, arrays, name, ("n", 3), "fiu")
    return [(file.stem, functools.partial(_clean, _name(file), points, np.zeros((0, 3), int)))]


def _head_set(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> list[Shape]:
    faces, heads = _array(file, arrays, "faces", ("f", 3), "iu"), _heads(file, arrays)
    return _entries(file, len(arrays["delta"]), heads, faces)


def _low_head_set(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> list[Shape]:
    faces = _array(file, arrays, "faces", ("f", 3), "iu")
    corner = _array(file, arrays, "corner", ("m", 3), "iu")
    weight = _array(file, arrays, "weight", (len(corner), 3), "f")
    full = file.with_name(HEAD_SET)
    if not full.is_file():
        raise ValueError(f"{_name(file)}: needs {HEAD_SET} beside it, which is missing")
    arrays = _read(full)
    if missing := {"mean", "scale", "delta"} - set(arrays):
        raise ValueError(f"{_name(full)}: lacks the arrays {' '.join(sorted(missing))}")
    heads = _heads(full, arrays)
    if corner.size and not 0 <= corner.min() <= corner.max() < len(arrays["mean"]):
        limits = f"{corner.min()} to {corner.max()}"
        raise ValueError(f"{_name(file)}: corner runs from {limits}; accepted: 0 to {len(arrays['mean']) - 1}")
    low = functools.partial(_weighted, heads, corner, weight)
    return _entries(file, len(arrays["delta"]), low, faces)


FORMS = {
    ("vertices", "faces"): _one_mesh,
    ("mean", "faces", "scale", "delta"): _head_set,
    ("faces", "corner", "weight"): _low_head_set,
    ("vertices",): _points,
    ("points",): _points,
}
BESIDE = {"normals", "colors", "loc", "scale"}  # what may lie beside points; with others they may be queries


def _heads(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> Callable[[int], np.ndarray]:
    """A function of the head's number: its vertices at full resolution."""
    mean = _array(file, arrays, "mean", ("n", 3), "f")
    scale = _array(file, arrays, "scale", (), "f")
    delta = _array(file, arrays, "delta", ("i", len(mean), 3), "fi")
    return lambda number: mean + scale * delta[number]


def _weighted(heads: Callable[[int], np.ndarray], corner: np.ndarray, weight: np.ndarray, number: int) -> np.ndarray:
    return (heads(number)[corner] * weight[..., None]).sum(1)


def _entries(file: pathlib.Path, count: int, vertices: Callable[[int], np.ndarray], faces: np.ndarray) -> list[Shape]:

    def load(number: int, name: str) -> Loaded:
        return _clean(f"{_name(file)}: {name}", vertices(number), faces)

    heads = [f"head_{number:04d}" for number in range(count)]
    return [(name, functools.partial(load, number, name)) for number, name in enumerate(heads)]


def _clean(name: str, vertices: Array, faces: Array) -> Loaded:
    """The mesh of raw arrays, checked and made ready as those of mesh files are, and its report."""
    try:
        triangles = polygons.triangles(vertices, faces)._replace(points=True)
        polygons.refuse_out_of_range(triangles)
        with np.errstate(all="ignore"):  # positions that are not finite are refused on the way
            return meshfile.clean(triangles)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _array(
    file: pathlib.Path, arrays: dict[str, np.ndarray], name: str, shape: tuple[int | str, ...], kinds: str
) -> np.ndarray:
    """The named array, if its kind is one of NumPy's `kinds` and it has the shape; letters in a shape are free."""
    array = arrays[name]
    fits = len(shape) == array.ndim and all(isinstance(a, str) or a == b for a, b in zip(shape, array.shape))
    if not fits or array.dtype.kind not in kinds:
        words = {"f": "floats", "iu": "whole numbers"}.get(kinds, "numbers")
        wanted = f"{words} ({', '.join(map(str, shape))})"
        raise ValueError(f"{_name(file)}: {name} is {array.dtype} {array.shape}; accepted: {wanted}")
    return array
