"""Two runs that differ in their input, trained for a moment on three solids: what a page of twins is shown."""

import fcntl
import json
import os
import pathlib
import struct

import numpy as np

from hexjax import command
from hexjax import config as configuration
from hexjax.data import sources
from hexjax.viewer import contents

CONFIG = """
from tests import toys

def get_config(variant):
    name = {{"continuous": "surface", "binary": "binary gaussian"}}[variant]
    more = {{"train.steps": 60, "checkpoint.every_steps": 20, "checkpoint.keep_every_steps": 20, "checkpoint.keep": 1,
            "log.every_steps": 5, "validate.every_steps": 20, "diagnostics.every_steps": 20, "evaluate.pictures": 0,
            "data.source": "solids", "data.count": 3, "train.batch_size": 3,
            "kl.warmup_steps": 30, "optimiser.learning_rate": 5e-3, "latent.channels": 16}}
    config = toys.config_of("hexplane_ae", name, **more)
    config.name = f"twin_{{variant}}"
    return config
"""


def make(root: pathlib.Path) -> list[pathlib.Path]:
    """The folders of the two runs, continuous and binary."""
    config = root / "twin.py"
    config.write_text(CONFIG.format(), encoding="utf-8")
    folders = [root / name for name in ("continuous", "binary")]
    for folder in folders:
        assert command.main([f"--config={config}:{folder.name}", f"--workdir={folder}"]) == 0
    return folders


def shared(tmp_path_factory) -> list[pathlib.Path]:
    """The same, made once for all processes of a session."""
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root) / "twins"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "made").exists():
            make(root)
            (root / "made").touch()
    return [root / "continuous", root / "binary"]


def contents_of(folders) -> contents.Contents:
    """What a page shows of the runs."""
    configs = [configuration.load(folder) for folder in folders]
    items = sources.items("", "solids", "y", 3, 0)
    return contents.Contents([contents.open_run(*each, items) for each in zip(folders, configs)], items)


def unpacked(content: bytes) -> list[tuple[dict, dict[str, np.ndarray]]]:
    """The headers and arrays of messages, read as a page reads them."""
    found = []
    while content:
        head, body = struct.unpack("<II", content[:8])
        header, rest = json.loads(content[8 : 8 + head]), content[8 + head : 8 + head + body]
        arrays = {name: _array(rest, **how) for name, how in header.pop("arrays").items()}
        found.append((header, arrays))
        content = content[8 + head + body :]
    return found


def _array(body, dtype, shape, offset, scale=None, shift=0.0, delta="", planar=False, coding="", split=False):
    size = np.dtype(dtype).itemsize
    body = body[offset : offset + size * int(np.prod(shape))]
    body = np.frombuffer(body, np.uint8).reshape(size, -1).T.tobytes() if split else body
    array = np.frombuffer(body, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    if delta:
        array = np.cumsum(array, -1, dtype=dtype)
    array = array if scale is None else array * scale + shift
    array = np.moveaxis(array, 0, -1) if planar else array
    if coding:
        x, y = np.moveaxis(array, -1, 0)
        z = 1 - abs(x) - abs(y)
        fold = lambda one, other: np.where(z < 0, (1 - abs(other)) * np.where(one < 0, -1, 1), one)
        array = np.stack([fold(x, y), fold(y, x), z], -1)
        array = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return array
