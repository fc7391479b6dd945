"""A run's parameters alone, in one file: for a run that others stand on, and to ship or to send. Nothing is pickled.

The file is an NPZ whose arrays are named by the leaf's path, with the step and a digest of all beside; float32 may be
stored as float16.
"""

import hashlib
import io
import pathlib
from typing import Any

import jax
import numpy as np

from hexjax.data import npz
from hexjax.training import files
from hexjax.types import Params

FILE = "params.npz"
STEP, DIGEST = "step", "digest"  # beside the leaves, whose names begin with a slash


def write(folder: pathlib.Path, params: Params, step: int, half: bool = False) -> None:
    """Nothing; writes RUN/params.npz; half stores what is float32 as float16."""
    arrays = {STEP: np.array(step)}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        array = np.asarray(leaf)
        small = half and array.dtype == np.float32
        arrays["".join(f"/{key.key}" for key in path)] = array.astype(np.float16) if small else array
    held = io.BytesIO()
    np.savez_compressed(held, **arrays, **{DIGEST: _digest(arrays)})
    files.write_atomically(folder / FILE, held.getvalue())


def read(folder: pathlib.Path) -> tuple[Params, int]:
    """The parameters in RUN/params.npz, float16 as float32, and the step.

    Raises:
        ValueError: for a damaged file.
    """
    params: dict[str, Any] = {}
    content = io.BytesIO((folder / FILE).read_bytes())
    try:
        with np.load(content, allow_pickle=False) as opened:
            found = dict(opened)
        if found.pop(DIGEST) != _digest(found):
            raise ValueError("another digest")
        step = int(found.pop(STEP))
        for name, array in found.items():
            *sections, leaf = name.split("/")[1:]
            place = params
            for section in sections:
                place = place.setdefault(section, {})
            place[leaf] = array.astype(np.float32) if array.dtype == np.float16 else array
        return params, step
    except (*npz.BROKEN_ARCHIVE, TypeError) as error:
        raise ValueError(f"{folder.name}/{FILE} is damaged; accepted: as it was written") from error


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """Of all names, types, shapes and bytes: an archive's own checksums don't tell of a file that it lost."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.name} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
