"""Meshes that a page sends: read by the loader of files in a process of their own, whose time and memory are limited.

As a program, `python -m hexjax.viewer.intake FILE`: the mesh of a file as an NPZ on the standard output, or the loader's
refusal in a line on the standard error, with the exit code 2.
"""

import contextlib
import ctypes
import io
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np

from hexjax import names
from hexjax.data import meshfile
from hexjax.geometry import mesh as meshes
from hexjax.types import Item, Mesh

MOST = 64 * 2**20  # bytes of a file
SECONDS = 60  # of a processor, and twice as many of a clock
MEMORY = 4 * 2**30  # bytes beside those of the program itself
FACES = 2_000_000  # of a mesh that is shown
SUFFIXES = tuple(meshfile.READERS)  # buffers of a glTF may stand in it, and in no other file


class Taken(NamedTuple):
    """A mesh that was read, and what the loader says of it."""

    item: Item
    told: list[str]


def take(name: str, content: bytes, up: str) -> Taken:
    """The shape of a file's content.

    Args:
        name: of the file, whose suffix tells the format; nothing is read or written under it.
        up: as `data.up`.

    Raises:
        ValueError: in a line, for what is too large or does not load.
    """
    shown, suffix = names.printable(pathlib.PurePath(name).name)[:80], pathlib.PurePath(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{shown}: unknown format {suffix!r}; accepted: {', '.join(SUFFIXES)}")
    if len(content) > MOST:
        raise ValueError(f"{shown} has {len(content):,} bytes; accepted: up to {MOST:,}")
    with tempfile.TemporaryDirectory(prefix="hexjax-") as folder:
        file = pathlib.Path(folder) / f"mesh{suffix}"
        file.write_bytes(content)
        mesh, told = _read(file, shown)
    framed, similarity = meshes.normalise(mesh, up)
    return Taken(Item(pathlib.PurePath(shown).stem, mesh, framed, similarity), told)


def _read(file: pathlib.Path, shown: str) -> tuple[Mesh, list[str]]:
    """The mesh of a file, read in another process, and what its loader says."""
    command = [sys.executable, "-m", "hexjax.viewer.intake", str(file)]
    home = pathlib.Path(__file__).parents[2]
    path = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=2 * SECONDS, env=environment, cwd=file.parent)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{shown} takes longer than {2 * SECONDS} s to read") from error
    if done.returncode == names.REFUSED:
        raise ValueError(done.stderr.decode("utf-8", "replace").strip().replace(file.name, shown))
    if done.returncode == -signal.SIGXCPU:
        raise ValueError(f"{shown} takes longer than {SECONDS} s of a processor to read")
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ValueError(f"{shown} could not be read: {names.cut(last) or f'exit code {done.returncode}'}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as found:
        mesh = Mesh(found["vertices"], found["faces"], bool(found["doubtful"]))
        return mesh, json.loads(str(found["told"]))


def _limit() -> None:
    """Nothing; this process takes no more time and memory than a mesh may, and ends with the one that started it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of Linux
    size = int(pathlib.Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(file: str) -> int:
    """The exit code of the program."""
    _limit()
    try:
        mesh, found = meshfile.inspect(file)
        if len(mesh.faces) > FACES:
            raise ValueError(f"{pathlib.Path(file).name} has {len(mesh.faces):,} faces; accepted: up to {FACES:,}")
    except ValueError as error:
        print(str(error), file=sys.stderr)
        return names.REFUSED
    held = io.BytesIO()
    told = np.array(json.dumps(list(meshfile.mended(found).values())))
    np.savez(held, vertices=mesh.vertices, faces=mesh.faces, doubtful=np.array(mesh.winding_doubtful), told=told)
    sys.stdout.buffer.write(held.getvalue())
    sys.stdout.buffer.flush()
    return names.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
