"""What a page is sent: messages of a stage, a few words and arrays, as bytes; exact for a server, packed for a file.

A message is two uint32 (little-endian: bytes of the header, bytes of the body), the header in JSON, and the body, in which
each array begins at a multiple of 8. The header's `arrays` tells how each of them is read: see `PACKED`.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import igl
import numpy as np
from jaxtyping import Float

from hexjax import names
from hexjax import progress as progress_line
from hexjax.types import Array, Hexplane, Latent, Layout, Mesh

KINDS = ("depth", "normals", "mask")
SHORT = 65535  # the largest of uint16
PLACES, DEPTHS = 16384, 4096  # steps of a packed coordinate over the cube's side, and of a packed depth
UNIT = 127  # of a packed normal's coordinate
HIDDEN = 0.25  # coverage below which a page shows nothing of a pixel
SMALLEST = 100  # faces that are never fewer
ENDS = ("done", "error")  # the last stage of a stream
REFUSALS = (ValueError, OSError, MemoryError, RuntimeError)  # told as they say
FAULTS = (TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)  # told as such


class Message(NamedTuple):
    """One stage of what a page shows: its name, what is told of it (plain values), and arrays by name."""

    stage: str
    told: dict[str, Any]
    arrays: dict[str, np.ndarray]


def progress(text: str) -> Message:
    """What is being done now."""
    return Message("progress", {"text": text}, {})


def mesh(role: str, of: Mesh, error: Float[Array, "n"] | None = None, **told: Any) -> Message:
    """A mesh in the frame, and the distances of its vertices to the input's surface, where they are known.

    Args:
        role: input, ceiling or made.
    """
    faces = np.asarray(of.faces, np.uint32)
    arrays = {"vertices": np.asarray(of.vertices, np.float32), "faces": faces}
    if error is not None:
        arrays["error"] = np.asarray(error, np.float32)
    return Message("mesh", {"role": role, "faces": len(faces)} | told, arrays)


def maps(role: str, of: Hexplane, kinds: Sequence[str]) -> Message:
    """Six maps, of which some kinds say something.

    Args:
        role: seen or decoded.
    """
    arrays = {"mask": np.asarray(of.mask, np.float32)}
    if "depth" in kinds:
        arrays["depth"] = np.asarray(of.depth, np.float32)
    if "normals" in kinds:
        arrays["normal"] = np.asarray(of.normal, np.float32)
    return Message("maps", {"role": role, "kinds": [kind for kind in KINDS if kind in kinds]}, arrays)


def code(latent: Latent, layout: Layout) -> Message:
    """The latent of one shape, code [t, d]."""
    told = {"role": "latent", "layout": layout.kind, "size": list(latent.code.shape)}
    return Message("code", told, {"code": np.asarray(latent.code, np.float32)})


def told(source: Iterator[Message]) -> Iterator[Message]:
    """The messages of a stream, and at its end `done`, or `error` with what kept it from going on, in a line."""
    try:
        yield from source
    except REFUSALS as error:
        yield Message("error", {"text": names.one_line(str(error) or type(error).__name__, 4 * names.LINE)}, {})
    except FAULTS as error:
        yield Message("error", {"text": fault(error)}, {})
    else:
        yield Message("done", {}, {})


def fault(error: BaseException) -> str:
    """A fault of the code itself in a line, which is told on the terminal too."""
    text = names.one_line(f"a fault of hexjax: {type(error).__name__}: {error}", 4 * names.LINE)
    progress_line.tell(f"page: {text}")
    return text


def encode(message: Message, pack: bool = False) -> bytes:
    """The bytes of a message; packed, its arrays are those of `PACKED`, which lose what no eye sees."""
    parts, arrays, offset = [], {}, 0
    for name, array in message.arrays.items():
        stored, how = PACKED[name](array) if pack and name in PACKED else (np.ascontiguousarray(array), {})
        arrays[name] = {"dtype": stored.dtype.name, "shape": list(stored.shape), "offset": offset} | how
        content = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
        if pack:  # lowest bytes first, then the next ones: they deflate better apart
            content = np.frombuffer(content, np.uint8).reshape(-1, stored.dtype.itemsize).T.tobytes()
            arrays[name]["split"] = True
        parts.append(content)
        parts.append(bytes(-len(parts[-1]) % 8))
        offset += len(parts[-2]) + len(parts[-1])
    header = json.dumps({"stage": message.stage, **message.told, "arrays": arrays}, allow_nan=False).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<II", len(header), offset) + header + b"".join(parts)


def simplified(of: Message, most: int) -> Message:
    """The message of a mesh of at most so many faces, by libigl's quadric decimation; as it is where it has no more.

    An error is that of the vertex of the whole mesh that a vertex began as. What is near in space is near in the arrays.
    """
    vertices, faces = of.arrays["vertices"], of.arrays["faces"]
    if len(faces) <= max(most, SMALLEST):
        return of
    given = np.asfortranarray(vertices, np.float64), np.asfortranarray(faces, np.int32)
    found, corners, _, origin = igl.qslim(*given, max(most, SMALLEST))
    if not len(corners):
        return of
    corners = corners[_along_curve(found[corners].mean(1))]
    used, first, renumbered = np.unique(corners, return_index=True, return_inverse=True)
    order = np.argsort(first)  # vertices as faces name them first
    corners, used = np.argsort(order)[renumbered].reshape(-1, 3), used[order]
    arrays = {"vertices": found[used].astype(np.float32), "faces": corners.astype(np.uint32)}
    if "error" in of.arrays:
        arrays["error"] = of.arrays["error"][origin[used]]
    return of._replace(told=of.told | {"shown": len(corners)}, arrays=arrays)


def _along_curve(points: Float[np.ndarray, "p 3"]) -> np.ndarray:
    """The order of points in the cube along Morton's curve, by ten bits of each coordinate."""
    cells = np.clip(np.int64(512 * (points + 1)), 0, 1023)
    bits = (cells[:, :, None] >> np.arange(10)) & 1
    return np.argsort((bits << (3 * np.arange(10) + np.arange(3)[:, None])).sum((1, 2)), kind="stable")


def reduced(of: Message, most: int) -> Message:
    """The message of maps of at most so many pixels a side, every k-th of them, with nothing where nothing is shown."""
    step = -(-of.arrays["mask"].shape[-1] // most)
    rows = slice(step // 2, None, step)
    arrays = {name: array[:, rows, rows] for name, array in of.arrays.items()}
    covered = arrays["mask"] >= HIDDEN
    mark = lambda array: np.where(covered.reshape(covered.shape + (1,) * (array.ndim - 3)), array, 0)
    return of._replace(arrays={name: mark(array) for name, array in arrays.items()})


def thinned(of: Message, most: int) -> Message:
    """The message of a code of at most about so many floats, every k-th token; as it is where it has no more."""
    step = -(-of.arrays["code"].size // most)
    return of._replace(arrays={"code": of.arrays["code"][::step]})


Packed = tuple[np.ndarray, dict[str, Any]]


def _scaled(low: float, high: float, kind: type, steps: int = 255) -> Callable[[np.ndarray], Packed]:
    """Real values of [low, high] as whole numbers of a kind: real = stored * scale + shift, differences along each row."""
    scale = (high - low) / steps

    def pack(array: np.ndarray) -> Packed:
        whole = np.round((np.clip(array, low, high) - low) / scale).astype(kind)
        return np.diff(whole, axis=-1, prepend=kind(0)), {"scale": scale, "shift": low, "delta": "row"}

    return pack


def _vertices(array: np.ndarray) -> Packed:
    """Places in the cube, each coordinate one row: [3, n] stands for [n, 3]."""
    stored, how = _scaled(-1.0, 1.0, np.uint16, PLACES)(array.T)
    return stored, how | {"planar": True}


def _faces(array: np.ndarray) -> Packed:
    """Corners, each one row [3, f], as small as the number of vertices allows."""
    kind = np.uint16 if array.max(initial=0) <= SHORT else np.uint32
    return np.diff(array.T.astype(kind), axis=-1, prepend=kind(0)), {"delta": "row", "planar": True}


def _octahedral(array: np.ndarray) -> Packed:
    """Unit vectors as two bytes on the octahedron; 0 as the pole. Source: Meyer et al. 2010."""
    size = np.abs(array).sum(-1, keepdims=True)
    x, y, z = np.moveaxis(array / np.where(size == 0, 1, size), -1, 0)
    fold = lambda one, other: np.where(z < 0, (1 - np.abs(other)) * np.where(one < 0, -1, 1), one)
    stored = np.round(UNIT * np.stack([fold(x, y), fold(y, x)])).astype(np.int8)
    how = {"scale": 1 / UNIT, "shift": 0.0, "coding": "octahedral", "delta": "row", "planar": True}
    return np.diff(stored, axis=-1, prepend=np.int8(0)), how


def _code(array: np.ndarray) -> Packed:
    """Floats between the extremes, in 255 steps: a strip of colours shows no more."""
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    return _scaled(low, high if high > low else low + 1, np.uint8)(array)


PACKED: dict[str, Callable[[np.ndarray], Packed]] = {
    "vertices": _vertices,
    "faces": _faces,
    "error": _scaled(0.0, 0.1, np.uint8),
    "mask": _scaled(0.0, 1.0, np.uint8),
    "depth": _scaled(0.0, 2.0, np.uint16, DEPTHS),
    "normal": _octahedral,
    "points": _vertices,
    "code": _code,
}
