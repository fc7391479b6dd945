"""What a run learns from: named meshes out of files, folders or NPZ sets, made in code, or fetched once."""

import collections
import contextlib
import csv
import functools
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pooch

from hexjax import names, progress, wording
from hexjax.data import meshfile, npz, procedural, solids
from hexjax.geometry import mesh as meshes
from hexjax.types import Item, Mesh

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
NAMES = names.SOURCES  # those of PUBLIC among them
SUFFIXES = (*meshfile.READERS, ".npz")
INDEX = "index.csv"
HIDDEN = (".", "__MACOSX")  # beginnings of names of what is no mesh of the user's
TOLD = 10  # files left out that are named
FEW = 3  # shapes whose mending is told in a line each


class Entry(NamedTuple):
    """A shape before it is loaded: its name, what gives its mesh and report, and the folder in which it may fail."""

    name: str
    load: Callable[[], npz.Loaded]
    folder: str = ""  # files of a folder that do not load are left out, others are refused
    category: str = ""


def items(path: str, source: str, up: str, count: int, seed: int, named: Sequence[str] = ()) -> list[Item]:
    """The shapes that the keys of config.data name, as `listing` finds and `load` loads them."""
    return load(listing(path, source, count, seed, named), up, count)


def listing(path: str, source: str, count: int, seed: int, named: Sequence[str] = ()) -> list[Entry]:
    """The shapes that the keys of config.data name, each with a name of its own, those of a folder in alphabetical order.

    Args:
        path: a mesh file, a folder of them or an NPZ set, or several with commas between; empty: `source` decides.
            Folders are searched with all that is below them, but for what is hidden.
        count: shapes to take; 0 takes all.
        seed: of the first procedural head or solid; head_0007 is that of seed 7, whatever the count.
        named: names of the shapes of a path to take, in this order, before `count`; none takes all.

    Raises:
        ValueError: for an unknown source, a path that is missing or without meshes, or has no shape of one of the names;
            fewer shapes than `count`.
    """
    entries = _all_at(path) if path else _named(source, count, seed)
    if path and named:
        known = {entry.name: entry for entry in entries}
        missing = [name for name in named if name not in known]
        if missing:
            told = f"config.data.names has {names.shown(missing[0])}, which config.data.path does not"
            raise ValueError(
                f"{told}{wording.nearest(missing[0], [*known])}; accepted: names of its {len(known)} shapes"
            )
        entries = [known[name] for name in named]
    _refuse_few(count, len(entries))
    return entries


def load(entries: Sequence[Entry], up: str, count: int) -> list[Item]:
    """The first `count` shapes that load (0: all), in the frame; what is left out or was mended is told on stderr.

    Args:
        up: the axis of the source that points up, y or z.

    Raises:
        ValueError: for a file that does not load, unless it is one of a folder; for fewer shapes than `count`.
        MemoryError: for a shape that does not fit into memory.
    """
    found, mended, failed, tried = [], {}, 0, 0
    folders = ",".join(dict.fromkeys(entry.folder for entry in entries if entry.folder))
    with progress.Line(count or len(entries), "loading") as line:
        for entry in entries:
            if count and len(found) == count:
                break
            tried += bool(entry.folder)
            try:
                with _one_line(entry.name):
                    mesh, report = entry.load()
            except (ValueError, MemoryError) as error:
                if not entry.folder:
                    raise
                failed += 1
                if failed <= TOLD:
                    line.tell(f"left out: {error}")
                continue
            mended[entry.name] = meshfile.mended(report) if report else {}
            with _one_line(entry.name):
                found.append(Item(entry.name, mesh, *meshes.normalise(mesh, up), entry.category))
            line.update(len(found) if count else len(found) + failed)
    for text in _told(mended):
        print(text, file=sys.stderr)
    if len(found) + failed < len(entries):
        print(f"config.data.count takes {len(found)} of {len(entries)} shapes; 0 takes all", file=sys.stderr)
    if failed:
        print(f"{failed} of {tried} files in {folders} were left out", file=sys.stderr)
    if not found:
        raise ValueError(f"config.data.path is {folders!r}; none of its {len(entries)} files loads")
    _refuse_few(count, len(found))
    return found


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """A block whose faults of the machine are told of the shape with this name."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"{name}: it does not fit into memory") from error
    except OSError as error:
        raise ValueError(f"{name}: {(error.strerror or type(error).__name__).lower()}") from error


def _refuse_few(count: int, found: int) -> None:
    if found < count:
        raise ValueError(f"config.data.count is {count}; accepted: 0 (all) to {found}, which is all there is")


def _told(mended: dict[str, dict[str, str]]) -> list[str]:
    """What was mended at load: a line a shape, or where there are many one for each kind that names the first."""
    mended = {name: words for name, words in mended.items() if words}
    if len(mended) <= FEW:
        return [f"{name}: {'; '.join(words.values())}" for name, words in mended.items()]
    lines = []
    for kind in dict.fromkeys(kind for words in mended.values() for kind in words):
        named = [name for name, words in mended.items() if kind in words]
        more = ", ..." if len(named) > FEW else ""
        lines.append(f"{len(named)} shapes ({', '.join(named[:FEW])}{more}): {kind}")
    return lines


def _named(source: str, count: int, seed: int) -> list[Entry]:
    if source not in NAMES:
        raise ValueError(f"config.data.source is {source!r}; accepted: {', '.join(NAMES)}")
    if source in PUBLIC:
        return [Entry(source, functools.partial(_fetch, source))]
    if count < 1:
        raise ValueError(f"config.data.count is {count}; config.data.source = {source} accepts 1 and above")
    named, make = (solids.name, solids.shape) if source == "solids" else ("head_{:04d}".format, procedural.head)
    kind = solids.kind if source == "solids" else lambda number: "head"
    numbers = range(seed, seed + count)
    return [Entry(named(number), functools.partial(_made, make, number), "", kind(number)) for number in numbers]


def _made(make: Callable[[int], Mesh], number: int) -> npz.Loaded:
    return make(number), {}


def _fetch(source: str) -> npz.Loaded:
    """The named public mesh, out of the user's cache folder or, the first time, from the network."""
    file, digest = PUBLIC[source]
    name = f"{source}{pathlib.PurePosixPath(file).suffix}"
    try:
        stored = pooch.retrieve(COLLECTION + file, f"sha256:{digest}", fname=name, path=pooch.os_cache("hexjax"))
    except OSError as error:  # of which the network's errors are kinds, but without a number
        reason = f"it cannot be fetched ({type(error).__name__}) from {COLLECTION}{file}"
        if error.errno or isinstance(error, PermissionError):  # pooch's own has none
            reason = f"it cannot be stored in the cache folder ({(error.strerror or 'permission denied').lower()})"
    except ValueError:
        reason = f"what was fetched has another SHA-256 from {COLLECTION}{file}"
    else:
        return meshfile.inspect(stored)
    raise ValueError(
        f"config.data.source is {source!r}; {reason}; "
        "accepted offline: procedural, solids, or a file of yours in config.data.path"
    )


def _all_at(path: str) -> list[Entry]:
    """The entries at the places that a path names, in order, a repeated name with a number behind it.

    Where some places tell categories, the name of a place that does not is the category of all its shapes.
    """
    names.refuse_missing(path)
    places = names.places(path)
    if len(places) > 1 and pathlib.Path() in places:
        raise ValueError("config.data.path has nothing, or a dot, beside one of its commas; accepted: a path each")
    entries, taken, found = [], set(), [_at(place) for place in places]
    is_told = [any(entry.category for entry in each) for each in found]
    for place, some, told in zip(places, found, is_told):
        for entry in some:
            if any(is_told) and not told:
                entry = entry._replace(category=names.printable(place.stem))
            name = names.printable(entry.name)
            numbered = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
            name = next(free for free in numbered if free not in taken)
            taken.add(name)
            entries.append(entry._replace(name=name))
    return entries


def _at(place: pathlib.Path) -> list[Entry]:
    if os.path.isfile(place / npz.HEAD_SET):
        return _in_file(place / npz.HEAD_SET)
    if not place.is_dir():
        return _in_file(place)
    below, folder, entries = _walk(place), names.printable(names.name(place)), []
    if below and not below[0][0]:
        raise ValueError(f"config.data.path is {folder!r}; {below[0][1]}")
    repeated, of = collections.Counter(os.path.splitext(path)[0] for path, _ in below), _categories(place)
    for path, reason in below:
        parent, slash, file = path.rpartition("/")
        if file == npz.HEAD_SET:
            entries += _set_below(place, path, folder)
            continue
        stem = os.path.splitext(path)[0]
        name = stem if repeated[stem] == 1 else parent + slash + file.replace(".", "_")
        category = of.get(path, parent.partition("/")[0])
        entries.append(Entry(name, functools.partial(_load_below, place, path, reason), folder, category))
    if not entries:
        raise ValueError(f"config.data.path is {folder!r}, a folder without meshes; accepted: {', '.join(SUFFIXES)}")
    return entries


def _categories(folder: pathlib.Path) -> dict[str, str]:
    """The category of each file by its path in the folder, as index.csv there tells with columns file and category.

    Without it, a file's category is the first folder that it lies in.
    """
    try:
        with (folder / INDEX).open(encoding="utf-8", newline="") as opened:
            rows = csv.DictReader(opened)
            return (
                {row["file"]: row["category"] for row in rows}
                if {"file", "category"} <= {*(rows.fieldnames or ())}
                else {}
            )
    except (OSError, ValueError, csv.Error):  # none, or another file of that name
        return {}


def _walk(root: pathlib.Path) -> list[tuple[str, str]]:
    """Mesh files below a folder in the order of their paths from it, and folders that cannot be read with the reason.

    What is hidden is passed over, and so is a folder that a link leads to again; of a folder with a head set, the rest.
    """
    found, seen = [], set()  # folders where they really are
    path = lambda place: os.path.relpath(place, root).removeprefix(".")
    failed = lambda error: found.append((path(error.filename), (error.strerror or type(error).__name__).lower()))
    for folder, below, files in os.walk(root, onerror=failed, followlinks=True):
        real, head = os.path.realpath(folder), f"{path(folder)}/".removeprefix("/")
        if real in seen or (head and npz.HEAD_SET in files):
            below.clear()
            files = [npz.HEAD_SET] if real not in seen else []
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith(HIDDEN))
        shown = [name for name in files if not name.startswith(HIDDEN) and name.lower().endswith(SUFFIXES)]
        found += [(head + name, "") for name in shown]
    return sorted(found, key=lambda one: one[0].split("/"))


def _set_below(root: pathlib.Path, path: str, folder: str) -> list[Entry]:
    """The heads of a set in a folder below, named by that folder; one entry that fails where it does not load."""
    parent = path.rpartition("/")[0]
    try:
        return [Entry(f"{parent}/{head.name}", head.load, folder) for head in _in_file(root / path)]
    except ValueError as error:
        return [Entry(parent, functools.partial(_load_below, root, path, str(error).partition(": ")[2]), folder)]


def _load_below(root: pathlib.Path, path: str, reason: str) -> npz.Loaded:
    """The one mesh of a file below a folder; its path from there stands in messages."""
    parent = names.printable("".join(path.rpartition("/")[:2]))
    if reason:
        raise ValueError(f"{names.printable(path)}: {reason}")
    try:
        entries = _in_file(root / path)
        if len(entries) == 1:
            return entries[0].load()
    except ValueError as error:
        raise ValueError(f"{parent}{error}") from error
    raise ValueError(f"{names.printable(path)}: holds {len(entries)} meshes; accepted in a folder: one a file")


def _in_file(file: pathlib.Path) -> list[Entry]:
    if file.suffix.lower() != ".npz":
        return [Entry(file.stem, functools.partial(meshfile.inspect, file))]
    return [Entry(name, load) for name, load in npz.shapes(file)]
