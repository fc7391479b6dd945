"""Readers of OBJ, OFF, STL and XYZ: bytes to polygons, or a ValueError that says what is wrong with them.

Part of stage 1 (load). They are strict where trimesh is not: it reads relative OBJ indices from the wrong end, takes
index 0 for the first vertex, loses what a truncated text file promises, fans concave polygons, and cannot read a binary
PLY of triangles and quads. Every count of a header is held against the bytes that are there before memory is asked for.
"""

import contextlib
import re
from collections.abc import Sequence

import numpy as np

from hexjax.data import polygons
from hexjax.data.polygons import Polygons

STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
STL_HEADER = 84  # bytes


def read_obj(data: bytes) -> Polygons:
    """Polygons of the `v` and `f` lines of a Wavefront OBJ; everything else in it is passed over.

    Raises:
        ValueError: for lines that are not numbers, and for indices that are 0 or name no vertex.
    """
    lines = text(data).replace("\\\n", " ").replace(".#", ".")  # 1.#QNAN is no comment
    lines = re.findall(r"^[ \t]*(v|fo?)(?=\s)([^\n#]*)", lines + "\n", re.MULTILINE)
    positions = table([rest for kind, rest in lines if kind == "v"], 3, "vertex")
    rows = [rest for kind, rest in lines if kind != "v"]
    joined = " ".join(rows)
    words = (re.sub(r"/\S*", "", joined) if "/" in joined else joined).split()
    corners = integers(words, "face index")
    sizes = np.fromiter((len(row.split()) for row in rows), np.int64, len(rows))
    if len(corners) != np.sum(sizes):
        raise ValueError("a face line has a slash that stands alone")
    if np.any(corners < 0):  # relative to the vertices so far
        is_face = np.fromiter((kind != "v" for kind, _ in lines), bool, len(lines))
        so_far = np.repeat(np.cumsum(~is_face)[is_face], sizes)
        corners = np.where(corners < 0, corners + so_far + 1, corners)
    found = Polygons(positions, corners - 1, sizes)
    polygons.refuse_out_of_range(found, first=1)
    return found


def read_off(data: bytes) -> Polygons:
    """Polygons of an OFF file in text, with or without colours, normals and texture coordinates.

    Raises:
        ValueError: for another header, and where fewer lines follow than it promises.
    """
    plain = re.sub(r"#[^\n]*", "", text(data).replace(".#", "."))  # 1.#QNAN is no comment
    lines = [line for line in plain.split("\n") if line.strip()]
    header = re.match(r"\s*(ST)?(C)?(N)?OFF\b(.*)", lines[0]) if lines else None
    if header is None:
        raise ValueError("the header is not OFF, COFF, NOFF or STOFF")
    rest = header.group(4).split()
    if rest and rest[0].upper() == "BINARY":
        raise ValueError("binary OFF is not read; accepted is OFF in text")
    body = lines[1:] if rest else lines[2:]
    counts = integers(rest or " ".join(lines[1:2]).split(), "count")
    if len(counts) < 2 or np.any(counts < 0):
        raise ValueError("the counts of vertices and faces are missing")
    vertices, faces = (int(count) for count in counts[:2])
    refuse_missing(vertices + faces, len(body), "lines of vertices and faces")
    corners, sizes = lists(body[vertices : vertices + faces])
    found = Polygons(table(body[:vertices], 3, "vertex"), corners, sizes)
    polygons.refuse_out_of_range(found)
    return found


def read_stl(data: bytes) -> Polygons:
    """Triangles of an STL file, binary or text.

    Raises:
        ValueError: where fewer triangles follow than the header promises, or the text does not end.
    """
    count = int.from_bytes(data[STL_HEADER - 4 : STL_HEADER], "little") if len(data) >= STL_HEADER else -1
    exact = len(data) == STL_HEADER + count * STL_TRIANGLE.itemsize
    if not exact and data.lstrip()[:5].lower() == b"solid" and b"\0" not in data:
        return _read_stl_text(text(data).lower())
    if count < 0:
        raise ValueError(f"truncated: an STL header has {STL_HEADER} bytes, {len(data)} are there")
    available = (len(data) - STL_HEADER) // STL_TRIANGLE.itemsize
    refuse_missing(count, available, "triangles")
    corners = np.frombuffer(data, STL_TRIANGLE, count, STL_HEADER)["corners"]
    return polygons.triangles(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


def _read_stl_text(text: str) -> Polygons:
    lines = re.findall(r"^[ \t]*(solid|vertex|endfacet|endsolid)\b([^\n]*)", text, re.MULTILINE)
    kinds = [kind for kind, _ in lines]
    if kinds.count("solid") != kinds.count("endsolid"):
        raise ValueError(f"truncated: {kinds.count('solid')} solid, {kinds.count('endsolid')} endsolid")
    facets = [kind for kind in kinds if "solid" not in kind]
    if facets != ["vertex", "vertex", "vertex", "endfacet"] * (len(facets) // 4):
        raise ValueError("a facet has not three vertex lines and an endfacet")
    positions = table([rest for kind, rest in lines if kind == "vertex"], 3, "vertex")
    return polygons.triangles(positions, np.arange(len(positions)).reshape(-1, 3))


def read_xyz(data: bytes) -> Polygons:
    """Points of lines of 3 numbers, or of 6 whose last three (a normal, a colour) are passed over; # begins a comment.

    Raises:
        ValueError: for a line of anything else.
    """
    rows = [row for row in re.sub(r"#[^\n]*", "", text(data)).split("\n") if row.strip()]
    columns = len(rows[0].split()) if rows else 3
    for number, row in enumerate(rows, 1):
        if columns not in (3, 6) or len(row.split()) != columns:
            accepted = columns if columns in (3, 6) else "3 or 6"
            raise ValueError(f"point {number} has {len(row.split())} numbers; accepted: {accepted}")
    return polygons.cloud(table(rows, columns, "point")[:, :3])


def text(data: bytes) -> str:
    """Text with plain line ends; UTF-16 is told by its mark, and only ASCII matters in all else."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


def shown(text: str) -> str:
    """Text of a file fit for one line of a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def refuse_missing(promised: int, available: int, what: str) -> None:
    """Nothing, if the file has room for all that its header promises."""
    if promised > available:
        raise ValueError(f"truncated: the header promises {promised} {what}, there is room for {available}")


def integers(words: Sequence[str], what: str) -> np.ndarray:
    """Words as int64.

    Raises:
        ValueError: for a word that is no whole number below 1e18; `what` names its kind.
    """
    try:
        return np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError):
        wrong = next((word for word in words if not re.fullmatch(r"[+-]?\d{1,18}", word)), words[0])
        raise ValueError(f"{what} {shown(wrong)} is not a whole number below 1e18") from None


def table(rows: list[str], columns: int, what: str) -> np.ndarray:
    """The first numbers of each row of text [n, columns]."""
    numbers = np.zeros((0, columns))
    if rows and rows[0].strip():
        with contextlib.suppress(ValueError):  # told below
            numbers = np.loadtxt(rows, usecols=range(columns), ndmin=2, comments=None)
    if len(numbers) == len(rows):
        return numbers
    for number, row in enumerate(rows, 1):
        words = row.split()[:columns]
        wrong = next((word for word in words if not _is_number(word)), None)
        if wrong is not None:
            raise ValueError(f"{what} {number} has {shown(wrong)}, which is not a number")
        if len(words) < columns:
            raise ValueError(f"{what} {number} has {len(words)} numbers, {columns} are needed")
    raise ValueError(f"the {what} lines are not plain numbers")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def lists(rows: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Corners of all rows, one after another, and the number that each row begins with: how many are its own."""
    sizes = integers([row.split(maxsplit=1)[0] if row.strip() else "nothing" for row in rows], "corner count")
    room = np.fromiter((len(row) // 2 for row in rows), np.int64, len(rows))  # a corner takes a blank and a digit
    short = np.flatnonzero((sizes < 0) | (sizes > room))
    if len(short):
        raise ValueError(f"face {short[0] + 1} promises {sizes[short[0]]} corners, which are not there")
    corners = np.empty(int(sizes.sum()), np.int64)
    first = np.cumsum(sizes) - sizes
    for size in np.unique(sizes).tolist():
        which = np.flatnonzero(sizes == size)
        indices = table([rows[row] for row in which], size + 1, "face")[:, 1:]
        if not np.all(indices == np.floor(indices)) or np.any(np.abs(indices) > 2**53):
            raise ValueError("a face has a corner that is not a whole number")
        corners[first[which, None] + np.arange(size)] = indices
    return corners, sizes
