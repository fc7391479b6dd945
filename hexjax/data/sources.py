"""What a run learns from: named meshes out of files, folders or NPZ sets, made in code, or fetched once.

NPZ forms: one mesh (vertices [n, 3], faces [f, 3]); a head set (mean [n, 3], faces [f, 3], scale, delta [i, n, 3]: the
vertices of head i are mean + scale * delta[i]); its low-resolution form (faces [f, 3], corner [m, 3], weight [m, 3]:
vertices are weighted sums of three of the full ones), with heads.npz beside it.
"""

import collections
import functools
import itertools
import pathlib
import sys
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pooch

from hexjax.data import meshfile, polygons, procedural, solids
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Item, Mesh

COLLECTION = "https://raw.githubusercontent.com/odedstein/meshes/835213277571d625722d25880c9c3010c6f45a5a/objects/"
PUBLIC = {  # name: file in the collection, its SHA-256
    # bust of Demosthenes; ryanfb, CC-BY-4.0
    "demosthenes": (
        "demosthenes/demosthenes-low-res.obj",
        "52ebee44fc09a0da440e2b3608d791925b2db90175fbb0c06a7d2b56cc4468af",
    ),
    # hugoelec, CC-BY-3.0
    "goathead": ("goathead/goathead.obj", "b0aa414ce3c46e5e30ee506261f1e3cb85025e2a33b5b18bc638b08a7c57a6cb"),
    # Spot the cow; Keenan Crane, public domain
    "spot": ("spot/spot_low_resolution.obj", "87e930ef794271d6c6ab18ded4f8b8343d414720fe655489336c09cc9e7d5430"),
}
NAMES = ("procedural", "solids", *PUBLIC)  # what config.data.source accepts
SUFFIXES = (*meshfile.READERS, ".npz")
HEAD_SET = "heads.npz"
BROKEN_ARCHIVE = (OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)

Entry = tuple[str, Callable[[], Mesh]]  # a name, and what loads its mesh


def items(path: str, source: str, up: str, count: int, seed: int) -> list[Item]:
    """The shapes that the keys of config.data name, each with a name of its own; those of a folder in alphabetical order.

    Args:
        path: a mesh file, a folder of them or an NPZ set, or several with commas between; empty: `source` decides.
        up: the axis of the source that points up, y or z.
        count: shapes to take; 0 takes all. Files of a folder that do not load are told on stderr and do not count.
        seed: of the first procedural head or solid; head_0007 is that of seed 7, whatever the count.

    Raises:
        ValueError: for an unknown source, a path without meshes, a file that does not load, fewer shapes than `count`.
    """
    named = places(path)
    skipped = [place.name for place in named if place.is_dir() and not (place / HEAD_SET).is_file()]
    entries = _all_at(named) if named else [(*entry, False) for entry in _named(source, count, seed)]
    found, failed, tried = [], 0, 0
    for name, load, skips in entries:
        if count and len(found) == count:
            break
        tried += skips
        try:
            mesh = load()
        except ValueError as error:
            if not skips:
                raise
            print(f"left out: {error}", file=sys.stderr)
            failed += 1
            continue
        if mesh.winding_doubtful:
            print(f"{name}: the winding could not be made consistent; some normals may be flipped", file=sys.stderr)
        found.append(Item(name, mesh, *meshes.normalise(mesh, up)))
    if len(found) + failed < len(entries):
        print(f"config.data.count takes {len(found)} of {len(entries)} shapes; 0 takes all", file=sys.stderr)
    if failed:
        print(f"{failed} of {tried} files in {','.join(skipped)} were left out", file=sys.stderr)
    if not found:
        raise ValueError(f"config.data.path is {','.join(skipped)!r}; none of its {len(entries)} files loads")
    if len(found) < count:
        raise ValueError(f"config.data.count is {count}; accepted: 0 (all) to {len(found)}, which is all there is")
    return found


def places(path: str) -> list[pathlib.Path]:
    """What a path names: itself if it is there or has no comma, else what stands between its commas; nothing if empty."""
    whole = pathlib.Path(path).expanduser()
    if not path or whole.exists():
        return [whole] if path else []
    return [pathlib.Path(part).expanduser() for part in path.split(",")]


def _named(source: str, count: int, seed: int) -> list[Entry]:
    if source not in NAMES:
        raise ValueError(f"config.data.source is {source!r}; accepted: {', '.join(NAMES)}")
    if source in PUBLIC:
        return [(source, functools.partial(_fetch, source))]
    if count < 1:
        raise ValueError(f"config.data.count is {count}; config.data.source = {source} accepts 1 and above")
    seeds = range(seed, seed + count)
    if source == "solids":
        return [(solids.name(number), functools.partial(solids.shape, number)) for number in seeds]
    return [(f"head_{number:04d}", functools.partial(procedural.head, number)) for number in seeds]


def _fetch(source: str) -> Mesh:
    """The named public mesh, out of the user's cache folder or, the first time, from the network."""
    file, digest = PUBLIC[source]
    name = f"{source}{pathlib.PurePosixPath(file).suffix}"
    try:
        stored = pooch.retrieve(COLLECTION + file, f"sha256:{digest}", fname=name, path=pooch.os_cache("hexjax"))
    except OSError as error:  # of which the network's errors are kinds
        reason = f"it cannot be fetched ({type(error).__name__})"
    except ValueError:
        reason = "what was fetched has another SHA-256"
    else:
        return meshfile.load(stored)
    raise ValueError(
        f"config.data.source is {source!r}; {reason} from {COLLECTION}{file}; "
        "accepted offline: procedural, solids, or a file of yours in config.data.path"
    )


def _all_at(named: list[pathlib.Path]) -> list[tuple[str, Callable[[], Mesh], bool]]:
    """The entries at some places, in order, a repeated name with a number behind it, and whether failures are left out."""
    entries, taken = [], set()
    for place in named:
        if len(named) > 1 and place == pathlib.Path():
            raise ValueError("config.data.path has nothing, or a dot, beside one of its commas; accepted: a path each")
        skips = place.is_dir() and not (place / HEAD_SET).is_file()
        for name, load in _at(place):
            names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
            name = next(free for free in names if free not in taken)
            taken.add(name)
            entries.append((name, load, skips))
    return entries


def _at(place: pathlib.Path) -> list[Entry]:
    if not place.exists():
        raise ValueError(f"config.data.path is {place.name!r}; there is no such file or folder")
    if (place / HEAD_SET).is_file():
        return _in_file(place / HEAD_SET)
    if not place.is_dir():
        return _in_file(place)
    files = sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise ValueError(
            f"config.data.path is {place.name!r}, a folder without meshes; accepted: {', '.join(SUFFIXES)}"
        )
    repeated = collections.Counter(file.stem for file in files)
    names = [file.stem if repeated[file.stem] == 1 else file.name.replace(".", "_") for file in files]
    return [(name, functools.partial(_load_one, file)) for name, file in zip(names, files)]


def _load_one(file: pathlib.Path) -> Mesh:
    entries = _in_file(file)
    if len(entries) != 1:
        raise ValueError(f"{file.name}: holds {len(entries)} meshes; accepted in a folder: one a file")
    return entries[0][1]()


def _in_file(file: pathlib.Path) -> list[Entry]:
    if file.suffix.lower() != ".npz":
        return [(file.stem, functools.partial(meshfile.load, file))]
    arrays = _read(file)
    for names, reader in NPZ_FORMS.items():
        if set(names) <= set(arrays):
            return reader(file, arrays)
    forms = " | ".join(" ".join(names) for names in NPZ_FORMS)
    raise ValueError(f"{file.name}: has the arrays {' '.join(arrays) or '(none)'}; accepted: {forms}")


def _read(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(file):  # so that a bare array or a pickle is no archive
            pass
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except BROKEN_ARCHIVE as error:
        raise ValueError(f"{file.name}: not a readable NPZ archive ({type(error).__name__})") from error


def _one_mesh(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> list[Entry]:
    vertices = _array(file, arrays, "vertices", ("n", 3), "fiu")
    return [(file.stem, functools.partial(clean, file.name, vertices, _array(file, arrays, "faces", ("f", 3), "iu")))]


def _head_set(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> list[Entry]:
    faces, heads = _array(file, arrays, "faces", ("f", 3), "iu"), _heads(file, arrays)
    return _entries(file, len(arrays["delta"]), heads, faces)


def _low_head_set(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> list[Entry]:
    faces = _array(file, arrays, "faces", ("f", 3), "iu")
    corner = _array(file, arrays, "corner", ("m", 3), "iu")
    weight = _array(file, arrays, "weight", (len(corner), 3), "f")
    full = file.with_name(HEAD_SET)
    if not full.is_file():
        raise ValueError(f"{file.name}: needs {HEAD_SET} beside it, which is missing")
    arrays = _read(full)
    if missing := {"mean", "scale", "delta"} - set(arrays):
        raise ValueError(f"{full.name}: lacks the arrays {' '.join(sorted(missing))}")
    heads = _heads(full, arrays)
    if corner.size and not 0 <= corner.min() <= corner.max() < len(arrays["mean"]):
        limits = f"{corner.min()} to {corner.max()}"
        raise ValueError(f"{file.name}: corner runs from {limits}; accepted: 0 to {len(arrays['mean']) - 1}")
    low = functools.partial(_weighted, heads, corner, weight)
    return _entries(file, len(arrays["delta"]), low, faces)


NPZ_FORMS = {
    ("vertices", "faces"): _one_mesh,
    ("mean", "faces", "scale", "delta"): _head_set,
    ("faces", "corner", "weight"): _low_head_set,
}


def _heads(file: pathlib.Path, arrays: dict[str, np.ndarray]) -> Callable[[int], np.ndarray]:
    """A function of the head's number: its vertices at full resolution."""
    mean = _array(file, arrays, "mean", ("n", 3), "f")
    scale = _array(file, arrays, "scale", (), "f")
    delta = _array(file, arrays, "delta", ("i", len(mean), 3), "fi")
    return lambda number: mean + scale * delta[number]


def _weighted(heads: Callable[[int], np.ndarray], corner: np.ndarray, weight: np.ndarray, number: int) -> np.ndarray:
    return (heads(number)[corner] * weight[..., None]).sum(1)


def _entries(file: pathlib.Path, count: int, vertices: Callable[[int], np.ndarray], faces: np.ndarray) -> list[Entry]:
    names = [f"head_{number:04d}" for number in range(count)]

    def load(number: int) -> Mesh:
        return clean(f"{file.name}: {names[number]}", vertices(number), faces)

    return [(name, functools.partial(load, number)) for number, name in enumerate(names)]


def clean(name: str, vertices: Array, faces: Array) -> Mesh:
    """The mesh of raw arrays, checked and made ready as those of mesh files are."""
    try:
        triangles = polygons.triangles(vertices, faces)
        polygons.refuse_out_of_range(triangles)
        with np.errstate(all="ignore"):  # positions that are not finite are refused on the way
            return meshfile.clean(triangles)[0]
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
        raise ValueError(f"{file.name}: {name} is {array.dtype} {array.shape}; accepted: {wanted}")
    return array
