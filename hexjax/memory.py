"""What a grid takes of the memory, told before it is tried where that is known, and in one line where it was too much."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path("/")
BYTES = {"voxels": 36}  # at the peak, a node, from maps to a mesh that fills the cube; measured on grids of 256 and 400
OTHERS = 12
CONTAINER = (  # limit, use and its parts, in control groups of version 2 and 1
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
CACHED = ("active_file", "inactive_file")  # what is in use and given back when asked for


def free() -> int | None:
    """Bytes that this process may still take: of the machine, or of its container; None where that is not known."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (ROOT / "proc/meminfo").read_text(encoding="utf-8").splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    for names in CONTAINER:
        with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
            most, used, parts = ((ROOT / "sys/fs/cgroup" / name).read_text(encoding="utf-8") for name in names)
            cached = sum(int(line.split()[1]) for line in parts.splitlines() if line.split()[0] in CACHED)
            found.append(max(int(most) - int(used) + cached, 0))
    return min(found, default=None)


def check(config: Any) -> None:
    """Nothing; the grid fits in the memory that is free, if that is known.

    Raises:
        ValueError: if it does not.
    """
    left = free()
    if left is not None and _needed(config) > left:
        most = max(int((left / BYTES.get(config.model.input, OTHERS)) ** (1 / 3)), 8)
        raise ValueError(f"{_told(config)}, and {left / 2**30:.3g} GiB are free; accepted here: at most {most}")


@contextlib.contextmanager
def watched(config: Any) -> Iterator[None]:
    """Within it, a grid that does not fit is one line.

    Raises:
        MemoryError: if there is too little memory, told with the key.
    """
    try:
        check(config)
    except ValueError as refusal:
        raise MemoryError(str(refusal)) from refusal
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # XLA's own error is a RuntimeError
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise MemoryError(f"{_told(config)}, which are not free; a smaller extract.grid takes less") from error


def _needed(config: Any) -> int:
    return config.extract.grid**3 * BYTES.get(config.model.input, OTHERS)


def _told(config: Any) -> str:
    return f"config.extract.grid is {config.extract.grid}: its nodes take about {_needed(config) / 2**30:.3g} GiB"
