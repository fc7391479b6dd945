"""What is made of a mesh, kept on disk by a hash of its content and of the settings that it was made with.

The folder is HEXJAX_CACHE, else hexjax/fields in the user's folder for caches; an empty HEXJAX_CACHE keeps nothing. Files
are written whole or not at all; a damaged one is made anew. It may be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hexjax import names
from hexjax.data import npz
from hexjax.types import Array, Mesh

VERSION = 2  # of how fields are made: a new number makes all anew
TOLD: set[str] = set()  # faults that were told

Made = dict[str, np.ndarray]


def folder() -> pathlib.Path | None:
    """Where fields are kept; None where nothing is."""
    said = os.environ.get("HEXJAX_CACHE")
    if said is not None:
        return names.expand(said) if said else None
    caches = names.caches()
    return None if caches is None else caches / "fields"


def digest(mesh: Mesh) -> str:
    """SHA-256 of a mesh's vertices and faces."""
    found = hashlib.sha256(repr([(part.shape, part.dtype.name) for part in map(np.asarray, mesh[:2])]).encode())
    for part in mesh[:2]:
        found.update(np.ascontiguousarray(part))
    return found.hexdigest()


def kept(
    shape: str, settings: Mapping[str, Any], make: Callable[[], Mapping[str, Array]], packed: bool = False
) -> Made:
    """What `make` gives, read where it was made before of a mesh of that digest with the same settings.

    Args:
        packed: whether the file is compressed.
    """
    place = folder()
    if place is None:
        return _plain(make())
    key = hashlib.sha256(json.dumps([VERSION, shape, settings], sort_keys=True).encode()).hexdigest()
    file = place / key[:2] / f"{key}.npz"
    found = _read(file)
    if found is None:
        found = _plain(make())
        _write(file, found, packed)
    return found


def _plain(made: Mapping[str, Array]) -> Made:
    return {name: np.asarray(value) for name, value in made.items()}


def _read(file: pathlib.Path) -> Made | None:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except FileNotFoundError:
        return None
    except (OSError, *npz.BROKEN_ARCHIVE) as error:
        _tell(f"{file.name} in the cache of fields cannot be read ({type(error).__name__}): it is made anew")
        return None


def _write(file: pathlib.Path, made: Made, packed: bool) -> None:
    """Nothing; a fault of the disk is told once, and nothing is lost but time."""
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as opened:
            temporary = pathlib.Path(opened.name)
            (np.savez_compressed if packed else np.savez)(opened, allow_pickle=False, **made)
        temporary.replace(file)
    except OSError as error:
        _tell(f"the cache of fields cannot be written: {error.strerror or error}; HEXJAX_CACHE names another folder")
        with contextlib.suppress(OSError):
            if temporary is not None:
                temporary.unlink(missing_ok=True)


def _tell(text: str) -> None:
    if text not in TOLD:
        TOLD.add(text)
        print(text, file=sys.stderr)
