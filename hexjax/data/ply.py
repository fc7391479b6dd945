"""Reader of PLY, text and binary of both byte orders: bytes to polygons, or a ValueError that says what is wrong.

Part of stage 1 (load). And its writer, which loses no digit of a mesh.
"""

import re
from typing import NamedTuple

import numpy as np

from hexjax.data import meshtext, polygons
from hexjax.data.polygons import Polygons
from hexjax.types import Mesh

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float16": "f2", "float32": "f4", "float64": "f8",
}  # fmt: skip
COUNT_TYPES = [name for name, kind in TYPES.items() if kind[0] in "iu"]
FACES = ("face", "tristrips")
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class Property(NamedTuple):
    """A property of a PLY element: the NumPy type of its values and, for a list, of its length."""

    name: str
    type: np.dtype
    length: np.dtype | None


class Element(NamedTuple):
    """An element of a PLY header."""

    name: str
    count: int
    properties: list[Property]


def read(data: bytes) -> Polygons:
    """Polygons of a PLY file: its vertex element's x, y, z and the lists of its faces or triangle strips, in text or binary.

    Numbers in text may be wrapped as one likes, and comments stand among them. Vertices alone are points; with rows of
    another element, such as edges, they are a mesh that lacks faces.

    Raises:
        ValueError: for a broken header, and where less data follows than it promises.
    """
    order, elements, body = _header(data)
    if not any(element.name == "vertex" for element in elements):
        raise ValueError("no vertex element in the PLY header")
    rows = meshtext.text(body).split("\n") if order == "" else []
    rows = [row for row in rows if row.strip() and row.split()[0] not in ("comment", "obj_info")]
    if order == "" and not _are_rows(rows, elements):
        parts = [["list" if each.length else "1" for each in element.properties] for element in elements]
        rows = meshtext.reflowed(rows, list(zip((element.count for element in elements), parts))) or rows
    positions = np.zeros((0, 3))
    corners, sizes = np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = 0  # rows or bytes read so far
    for element in elements:
        available = len(rows) - place if order == "" else (len(body) - place) // max(1, _least_bytes(element))
        if element.properties:
            meshtext.refuse_missing(element.count, available, f"rows of element {element.name}")
        part = rows[place : place + element.count]
        if element.name == "vertex":
            positions = _positions(element, part, body, place)
        if order == "":
            place += element.count
            if element.name in FACES and element.count:
                corners, sizes = meshtext.lists(_from_list(element, part))
        elif all(item.length is None for item in element.properties):
            place += element.count * _least_bytes(element)
        else:
            place, starts, lengths = _walk(element, body, place)
            if element.name in FACES:
                corners, sizes = _gather(body, starts, lengths, element.properties[_list_index(element)].type), lengths
        if element.name == "tristrips":
            corners, sizes = _of_strips(corners, sizes)
    there = [element for element in elements if element.count]
    is_alone = [element.name for element in there] == ["vertex"] and all(p.length is None for p in there[0].properties)
    found = polygons.without_edges(Polygons(positions, corners, sizes, points=is_alone))
    polygons.refuse_out_of_range(found)
    return found


def _are_rows(rows: list[str], elements: list[Element]) -> bool:
    """Whether rows of text are those that the header promises, each with as many numbers as its element has."""
    promised = sum(element.count for element in elements)
    if len(rows) <= promised:
        return len(rows) == promised
    place = 0
    for element in elements:
        plain = all(each.length is None for each in element.properties)
        for row in rows[place : place + element.count]:
            words = row.split()
            if (
                len(words) < len(element.properties)
                if plain
                else len(element.properties) == 1 and (words[0].isdecimal() and len(words) < 1 + int(words[0]))
            ):
                return False
        place += element.count
    return True


def _of_strips(corners: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of rows of strips, -1 between them; every second triangle of a strip is turned."""
    ends = np.cumsum(sizes)[:-1]
    breaks = np.flatnonzero(corners == -1)
    strips = np.split(corners, np.unique(np.concatenate([ends, breaks])))
    found = [polygons.strip(part[part != -1]) for part in strips]
    faces = np.concatenate([np.zeros((0, 3), np.int64), *found])
    return faces.reshape(-1), np.full(len(faces), 3)


def _header(data: bytes) -> tuple[str, list[Element], bytes]:
    """Byte order ("" for text), the elements, and what follows the header."""
    end = re.search(rb"^[ \t]*(?i:end_header)[ \t]*(\r\n|\n|\r|$)", data.replace(b"\r", b"\n"), re.MULTILINE)
    if not re.match(rb"(?i:ply)\s", data) or end is None:
        is_one = re.match(rb"(?i:ply)\s", data)
        raise ValueError("truncated: the PLY header does not end" if is_one else "not a PLY file")
    lines = [line.lower().split() for line in meshtext.text(data[: end.start()]).split("\n")]
    order, elements = None, []
    for words in lines:
        match words:
            case ["format", name, _] if name in ORDERS:
                order = ORDERS[name]
            case ["element", name, count] if count.isdecimal():
                elements.append(Element(name, int(count), []))
            case ["property", "list", length, kind, name] if elements and length in COUNT_TYPES and kind in TYPES:
                types = np.dtype((order or "<") + TYPES[kind]), np.dtype((order or "<") + TYPES[length])
                elements[-1].properties.append(Property(name, *types))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append(Property(name, np.dtype((order or "<") + TYPES[kind]), None))
            case ["format" | "element" | "property", *_]:
                raise ValueError(f"the PLY header has the line {meshtext.shown(' '.join(words))}")
    if order is None:
        raise ValueError("the PLY header names no format")
    stop = end.end() + (data[end.end() - 1 : end.end() + 1] == b"\r\n")
    return order, elements, data[stop:]


def _least_bytes(element: Element) -> int:
    """Bytes of one row whose lists are empty."""
    return sum((item.length or item.type).itemsize for item in element.properties)


def _positions(element: Element, rows: list[str], body: bytes, place: int) -> np.ndarray:
    names = [item.name for item in element.properties]
    if not {"x", "y", "z"} <= set(names):
        raise ValueError(f"the PLY vertices have no x, y, z, only {meshtext.shown(', '.join(names))}")
    columns = [names.index(axis) for axis in "xyz"]
    lists = [index for index, item in enumerate(element.properties) if item.length is not None]
    if rows and (not lists or min(lists) > max(columns)):
        return meshtext.table(rows, max(columns) + 1, "vertex")[:, columns]
    if lists and element.count:
        return _walked(element, body, place, columns)
    layout = np.dtype([(str(index), item.type) for index, item in enumerate(element.properties)])
    table = np.frombuffer(body, layout, element.count, place) if element.count else np.zeros(0, layout)
    return np.stack([table[str(column)].astype(np.float64) for column in columns], axis=-1)


def _walked(element: Element, body: bytes, place: int, columns: list[int]) -> np.ndarray:
    """Positions of a binary vertex element whose rows hold lists as well."""
    found = np.zeros((element.count, 3))
    for row in range(element.count):
        for index, item in enumerate(element.properties):
            length = 1
            if item.length is not None:
                length, place = _integer(body, item.length, place), place + item.length.itemsize
            if index in columns and place + item.type.itemsize <= len(body):
                found[row, columns.index(index)] = np.frombuffer(body, item.type, 1, place)[0]
            place += length * item.type.itemsize
            if length < 0 or place > len(body):
                raise ValueError(f"truncated: the data ends inside row {row + 1} of element {element.name}")
    return found


def _list_index(element: Element) -> int:
    """Which property holds the corners: vertex_indices or vertex_index, else the only list."""
    lists = [index for index, item in enumerate(element.properties) if item.length is not None]
    named = [index for index in lists if element.properties[index].name in ("vertex_indices", "vertex_index")]
    if len(named or lists) != 1:
        raise ValueError(f"the PLY faces have {len(lists)} lists and not one vertex_indices")
    index = (named or lists)[0]
    if element.properties[index].type.kind == "f":
        raise ValueError(
            f"the PLY faces list their corners as {element.properties[index].type.name}, not as whole numbers"
        )
    return index


def _from_list(element: Element, rows: list[str]) -> list[str]:
    """Text rows from the list of corners on."""
    before = element.properties[: _list_index(element)]
    if not before:
        return rows
    found = []
    for row in rows:
        words = row.split()
        for item in before:
            words = words[1 + (int(meshtext.integers(words[:1], "list length")[0]) if item.length and words else 0) :]
        found.append(" ".join(words))
    return found


def _walk(element: Element, body: bytes, place: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Where the element ends, and for each row where its list of corners starts (in bytes) and how long it is."""
    wanted = _list_index(element) if element.name in FACES else -1
    starts, lengths = [], []
    for row in range(element.count):
        begin = place
        counts = []  # of this row: where each list's length stands, and its bytes
        for index, item in enumerate(element.properties):
            length = 1
            if item.length is not None:
                length = _integer(body, item.length, place)
                counts.append((place - begin, item.length.itemsize))
                place += item.length.itemsize
            if index == wanted:
                starts.append(place)
                lengths.append(length)
            place += length * item.type.itemsize
            if length < 0 or place > len(body):
                raise ValueError(f"truncated: the data ends inside row {row + 1} of element {element.name}")
        if row == 0 and _alike(body, begin, place - begin, element.count, counts):
            steps = (place - begin) * np.arange(element.count if starts else 0)
            return begin + (place - begin) * element.count, starts + steps, np.full(len(steps), sum(lengths))
    return place, np.array(starts, np.int64), np.array(lengths, np.int64)


def _alike(body: bytes, begin: int, stride: int, rows: int, counts: list[tuple[int, int]]) -> bool:
    """Whether all rows have lists as long as those of the first row, which takes `stride` bytes."""
    if begin + stride * rows > len(body):
        return False
    table = np.frombuffer(body, np.uint8, stride * rows, begin).reshape(rows, stride)
    columns = [column for start, size in counts for column in range(start, start + size)]
    return bool(np.all(table[:, columns] == table[0, columns]))


def _integer(body: bytes, kind: np.dtype, place: int) -> int:
    order = "big" if kind.byteorder == ">" else "little"
    return int.from_bytes(body[place : place + kind.itemsize], order, signed=kind.kind == "i")


def _gather(body: bytes, starts: np.ndarray, lengths: np.ndarray, kind: np.dtype) -> np.ndarray:
    """The corners of all rows, one after another."""
    raw = np.frombuffer(body, np.uint8)
    corners = np.empty(int(lengths.sum()), np.int64)
    first = np.cumsum(lengths) - lengths
    for length in np.unique(lengths).tolist():
        which = np.flatnonzero(lengths == length)
        found = raw[starts[which, None] + np.arange(length * kind.itemsize)].reshape(-1).view(kind)
        corners[first[which, None] + np.arange(length)] = found.reshape(len(which), length).astype(np.int64)
    return corners


def write(mesh: Mesh) -> bytes:
    """A binary PLY file of the mesh as it is: vertices float, or double where they are float64."""
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    name, kind = ("double", "<f8") if vertices.dtype == np.float64 else ("float", "<f4")
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    head += [f"property {name} {axis}" for axis in "xyz"]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    rows = np.zeros(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    return "\n".join(head).encode() + vertices.astype(kind).tobytes() + rows.tobytes()
