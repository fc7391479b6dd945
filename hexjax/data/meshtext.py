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
UNKNOWN = 2**32 - 1  # triangles, as programs that write while they make them say
# A vertex or face line of an OBJ, with the lines that continue it, up to a comment.
OBJ_LINE = re.compile(r"^[^\S\n]*(v|fo?)(?=\s)((?:[^\n#\\]+|\\[^\S\n]*\n|\\)*)", re.MULTILINE | re.IGNORECASE)
CONTINUED = re.compile(r"\\[^\S\n]*\n")


def read_obj(data: bytes) -> Polygons:
    """Polygons of the `v` and `f` lines of a Wavefront OBJ; everything else in it is passed over.

    A backslash at the end of such a line continues it; at the end of others, as of comments, it says nothing.

    Raises:
        ValueError: for lines that are not numbers, and for indices that are 0 or name no vertex.
    """
    lines = OBJ_LINE.findall(text(data).replace(".#", ".") + "\n")  # 1.#QNAN is no comment
    lines = [(kind.lower(), CONTINUED.sub(" ", rest)) for kind, rest in lines]
    positions = table([rest for kind, rest in lines if kind == "v"], 3, "vertex")
    rows = [rest for kind, rest in lines if kind != "v"]
    joined = " ".join(rows)
    words = (re.sub(r"/\S*", "", joined) if "/" in joined else joined).split()
    if "." in joined:
        words = [re.sub(r"\.0*$", "", word) for word in words]  # 1.0, as some write it
    corners = integers(words, "face index")
    sizes = np.fromiter((len(row.split()) for row in rows), np.int64, len(rows))
    if len(corners) != np.sum(sizes):
        raise ValueError("a face line has a slash that stands alone")
    if np.any(corners < 0):  # relative to the vertices so far
        is_face = np.fromiter((kind != "v" for kind, _ in lines), bool, len(lines))
        so_far = np.repeat(np.cumsum(~is_face)[is_face], sizes)
        corners = np.where(corners < 0, corners + so_far + 1, corners)
    found = polygons.without_edges(Polygons(positions, corners - 1, sizes))
    polygons.refuse_out_of_range(found, first=1)
    return found


def read_off(data: bytes) -> Polygons:
    """Polygons of an OFF file in text, with or without colours, normals and texture coordinates.

    Its numbers may be wrapped as one likes, where rows hold nothing but positions and corners.

    Raises:
        ValueError: for another header, and where fewer lines follow than it promises.
    """
    plain = re.sub(r"#[^\n]*", "", text(data).replace(".#", "."))  # 1.#QNAN is no comment
    header = re.match(r"\s*(ST)?(C)?(N)?OFF(?![A-Za-z])", plain)
    if header is None:
        raise ValueError("the header is not OFF, COFF, NOFF or STOFF")
    if re.match(r"\s*BINARY\b", plain[header.end() :], re.IGNORECASE):
        raise ValueError("binary OFF is not read; accepted is OFF in text")
    lines = [line for line in plain[header.end() :].split("\n") if line.strip()]
    head = lines.pop(0).split() if lines else []
    while lines and len(head) < 3 and (len(head) < 2 or len(lines[0].split()) == 1):  # the third, of edges, may lack
        head += lines.pop(0).split()
    counts = integers(head, "count")
    if len(counts) < 2 or np.any(counts < 0):
        raise ValueError("the counts of vertices and faces are missing")
    vertices, faces = (int(count) for count in counts[:2])
    try:
        refuse_missing(vertices + faces, len(lines), "lines of vertices and faces")
        positions = table(lines[:vertices], 3, "vertex")
        corners, sizes = lists(lines[vertices : vertices + faces])
    except ValueError:
        if any(header.groups()):
            raise
        rows = reflowed(lines, [(vertices, ["1"] * 3), (faces, ["list"])])
        if rows is None:
            raise
        positions = table(rows[:vertices], 3, "vertex")
        corners, sizes = lists(rows[vertices:])
    found = polygons.without_edges(Polygons(positions, corners, sizes))
    polygons.refuse_out_of_range(found)
    return found


def reflowed(rows: Sequence[str], promised: Sequence[tuple[int, Sequence[str]]]) -> list[str] | None:
    """Rows of numbers, wrapped as they please, as one row each; None where they are not as many as are promised.

    Args:
        promised: how many rows, and what each of their parts is: "list", which begins with its length, or one number.
    """
    words, place, found = " ".join(rows).split(), 0, []
    for count, parts in promised:
        for _ in range(count if parts else 0):
            begin = place
            for part in parts:
                if place >= len(words):
                    return None
                length = words[place] if part == "list" else "0"
                if not re.fullmatch(r"\d{1,9}", length):
                    return None
                place += 1 + int(length)
            found.append(" ".join(words[begin:place]))
    return found if place == len(words) else None


def read_stl(data: bytes) -> Polygons:
    """Triangles of an STL file, binary or text.

    A binary one holds as many as its size says, where its header says fewer, or as many as no file has.

    Raises:
        ValueError: where fewer triangles follow than the header promises, or the text does not end.
    """
    count = int.from_bytes(data[STL_HEADER - 4 : STL_HEADER], "little") if len(data) >= STL_HEADER else -1
    exact = len(data) == STL_HEADER + count * STL_TRIANGLE.itemsize
    if not exact and _is_text(data):
        return _read_stl_text(text(data.rstrip(b"\0")).lower())
    if count < 0:
        raise ValueError(f"truncated: an STL header has {STL_HEADER} bytes, {len(data)} are there")
    available, rest = divmod(len(data) - STL_HEADER, STL_TRIANGLE.itemsize)
    told = ()
    if not rest and (count < available or count == UNKNOWN):
        told = (f"the header counts {count} triangles and the file holds {available}, which are read",) * (
            count not in (0, UNKNOWN)
        )
        count = available
    elif count < available:
        told = (f"{len(data) - STL_HEADER - count * STL_TRIANGLE.itemsize} bytes behind the triangles passed over",)
    refuse_missing(count, available, "triangles")
    corners = np.frombuffer(data, STL_TRIANGLE, count, STL_HEADER)["corners"]
    return polygons.triangles(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))._replace(told=told)


def _is_text(data: bytes) -> bool:
    """Whether an STL file whose size is not that of a binary one is text."""
    start = data[:2000].replace(b"\0", b"").lower()  # UTF-16 has every second byte 0
    return (b"solid" in start and b"facet" in start) or (start.lstrip()[:5] == b"solid" and b"\0" not in data)


def _read_stl_text(text: str) -> Polygons:
    plain = re.sub(r"\b(?:end\s*)?solid\b.*?(?=facet\s+normal|\Z)", " ", text, flags=re.DOTALL)  # names of keywords
    words = re.findall(r"\b(vertex|end\s*facet)\b", plain)
    ends = ["vertex" if word == "vertex" else "endfacet" for word in words]
    facets = len(re.findall(r"\bfacet\s+normal\b", plain))
    if ends != ["vertex", "vertex", "vertex", "endfacet"] * facets:
        raise ValueError("truncated, or broken: a facet has not three vertex lines and an endfacet")
    positions = table(re.findall(r"\bvertex\s+(\S+\s+\S+\s+\S+)", plain.replace("\n", " ")), 3, "vertex")
    if len(positions) != 3 * facets:
        raise ValueError("truncated, or broken: a vertex has not three numbers")
    told = () if re.search(r"end\s*solid", text) or not facets else ("the text has no endsolid: it may be cut off",)
    return polygons.triangles(positions, np.arange(len(positions)).reshape(-1, 3))._replace(told=told)


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
    """Text with plain line ends and spaces; UTF-16 is told by its mark, and only ASCII matters in all else."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        found = data.decode("utf-16", "replace")
    else:
        found = data.removeprefix(b"\xef\xbb\xbf").replace(b"\xc2\xa0", b" ").decode("latin-1")
    return found.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")


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
            raise ValueError(f"{what} {number} has {shown(wrong)}, which is not a number{_cause(wrong)}")
        if len(words) < columns:
            raise ValueError(f"{what} {number} has {len(words)} numbers, {columns} are needed")
    raise ValueError(f"the {what} lines are not plain numbers")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _cause(word: str) -> str:
    """Why a word that may be meant as a number is none."""
    if re.fullmatch(r"[+-]?\d*\.?\d*d[+-]?\d+", word, re.IGNORECASE):
        return ": a Fortran exponent; accepted: one with e"
    return ": a decimal comma; accepted: a point" if re.fullmatch(r"[+-]?\d*,\d+\S*", word) else ""


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
