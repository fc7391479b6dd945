"""A run's parameters alone, in one file: for a run that others stand on, and to ship or to send. Nothing is pickled.

The file is an NPZ whose arrays are named by the leaf's path, with the step beside; float32 may be stored as float16.
"""

import io
import pathlib
import zipfile
import zlib
from typing import Any

import jax
import numpy as np

from hexjax.training import files
from hexjax.types import Params

FILE = "params.npz"
STEP = "step"  # beside the leaves, whose names begin with a slash


def write(folder: pathlib.Path, params: Params, step: int, half: bool = False) -> None:
    """Nothing; writes RUN/params.npz; half stores what is float32 as float16."""
    arrays = {STEP: np.int64(step)}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        array = np.asarray(leaf)
        small = half and array.dtype == np.float32
        arrays["".join(f"/{key.key}" for key in path)] = array.astype(np.float16) if small else array
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    files.write_atomically(folder / FILE, held.getvalue())


def read(folder: pathlib.Path) -> tuple[Params, int]:
    """The parameters in RUN/params.npz, float16 as float32, and the step.

    Raises:
        ValueError: for a damaged file.
    """
    params: dict[str, Any] = {}
    try:
        with (folder / FILE).open("rb") as opened, np.load(opened, allow_pickle=False) as found:
            for name in found.files:
                *sections, leaf = name.split("/")[1:] or [name]
                place = params
                for section in sections:
                    place = place.setdefault(section, {})
                array = found[name]
                place[leaf] = array.astype(np.float32) if array.dtype == np.float16 else array
        return params, int(params.pop(STEP))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{folder.name}/{FILE} is damaged; accepted: as it was written") from error
