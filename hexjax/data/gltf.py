"""Reader of glTF and GLB: bytes to polygons with the nodes' transforms applied.

Part of stage 1 (load). trimesh believes the counts, zeros what it cannot decode, passes over what it does not know, takes
time of a high power of the nodes' depth and loses what hangs below a camera. Here the structure is checked first; buffers
are read from the file's own folder only.
"""

import base64
import collections
import json
import math
import pathlib
import urllib.parse
from typing import Any

import numpy as np

from hexjax.data import meshtext, polygons
from hexjax.data.polygons import Polygons

COMPONENT_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
POSITIONS = [("VEC3", component) for component in (5120, 5121, 5122, 5123, 5126)]
INDICES = [("SCALAR", component) for component in (5121, 5123, 5125)]
HARMLESS = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_lights_", "KHR_mesh_quantization", "KHR_xmp")
MODES = (0, 1, 2, 3, 4, 5)  # points and lines, which are passed over; triangles and triangle strips
FACES_LIMIT = 200_000_000  # after repetition


def read_glb(data: bytes, folder: pathlib.Path) -> Polygons:
    """Triangles of a binary glTF.

    Raises:
        ValueError: for another header, lengths that do not match the file, and all that `read_gltf` refuses.
    """
    if data[:4] != b"glTF":
        raise ValueError("not a GLB file: it does not begin with glTF")
    if len(data) < 20:
        raise ValueError(f"truncated: a GLB header has 20 bytes, {len(data)} are there")
    version, promised, length = (int.from_bytes(data[place : place + 4], "little") for place in (4, 8, 12))
    if version != 2:
        raise ValueError(f"GLB version is {version}; accepted is 2")
    if promised > len(data) or 20 + length > len(data):
        raise ValueError(f"truncated: the header promises {max(promised, 20 + length)} bytes, {len(data)} are there")
    if data[16:20] != b"JSON":
        raise ValueError("the first chunk of the GLB file is not JSON")
    tree = _parse(data[20 : 20 + length])
    chunk = 20 + length
    size = int.from_bytes(data[chunk : chunk + 4], "little")
    binary = data[chunk + 8 :] if data[chunk + 4 : chunk + 8] == b"BIN\0" else b""
    if size > len(binary) and binary:
        raise ValueError(f"truncated: the buffer promises {size} bytes, {len(binary)} are there")
    return _read(tree, folder, binary[:size], len(data))


def read_gltf(data: bytes, folder: pathlib.Path) -> Polygons:
    """Triangles of a glTF in JSON whose buffers stand in it or in the same folder.

    Raises:
        ValueError: for broken JSON, buffers that are missing or too short, accessors beyond their buffer, nodes that
            are not a tree, compressed or otherwise unknown geometry.
    """
    return _read(_parse(data), folder, b"", len(data))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its JSON is broken: {error}") from None
    if not isinstance(tree, dict):
        raise ValueError("its JSON is not an object")
    return tree


def _read(tree: dict[str, Any], folder: pathlib.Path, binary: bytes, available: int) -> Polygons:
    try:
        _refuse_unknown(tree)
        roots = _roots(tree)
        placed = _placed(tree, roots)
        buffers = [_buffer(entry, folder, binary) for entry in tree.get("buffers", [])]
        _refuse_accessors(tree, buffers, available + sum(map(len, buffers)))
        meshes = _primitives(tree, buffers)
        parts = [(part, transform) for mesh, transform in placed for part in meshes[mesh]]
    except (ArithmeticError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"its glTF structure is broken ({type(error).__name__}: {error})") from None
    if (total := sum(len(part.sizes) for part, _ in parts)) > FACES_LIMIT:
        raise ValueError(f"its nodes repeat meshes to {total} faces, more than {FACES_LIMIT}")
    return polygons.joined(parts)


def _primitives(tree: dict[str, Any], buffers: list[bytes]) -> list[list[Polygons]]:
    """The triangle primitives of every mesh."""
    found = []
    for mesh in tree.get("meshes", []):
        found.append([])
        for primitive in mesh["primitives"]:
            positions = _values(tree, buffers, primitive["attributes"]["POSITION"]).astype(np.float64)
            index, mode = primitive.get("indices"), primitive.get("mode", 4)
            corners = (
                np.arange(len(positions)) if index is None else _values(tree, buffers, index)[:, 0].astype(np.int64)
            )
            if mode < 4:  # points and lines
                continue
            if mode == 5:  # every second triangle of a strip is turned
                corners = np.stack([corners[i : len(corners) - 2 + i] for i in range(3)], -1)
                corners[1::2] = corners[1::2, ::-1]
            if corners.size % 3:
                raise ValueError(f"a primitive of triangles has {corners.size} corners")
            found[-1].append(polygons.triangles(positions, corners.reshape(-1, 3)))
            polygons.refuse_out_of_range(found[-1][-1])
    return found


def _values(tree: dict[str, Any], buffers: list[bytes], index: int) -> np.ndarray:
    """The items of an accessor, a row each."""
    accessor = tree["accessors"][index]
    view, kind = tree["bufferViews"][accessor["bufferView"]], np.dtype(COMPONENT_TYPES[accessor["componentType"]])
    shape = accessor["count"], COMPONENTS[accessor["type"]]
    strides = view.get("byteStride", shape[1] * kind.itemsize), kind.itemsize
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    return np.ndarray(shape, kind, buffers[view["buffer"]], start, strides)


def _roots(tree: dict[str, Any]) -> list[int]:
    """The roots of the shown scene, below which the nodes are a tree, as glTF demands.

    Raises:
        ValueError: if a node is named twice, as parents of each other are.
    """
    scenes = tree.get("scenes", [])
    roots = scenes[tree.get("scene", 0)].get("nodes", []) if scenes else []
    linked = roots + [child for node in tree.get("nodes", []) for child in node.get("children", [])]
    if len(set(linked)) < len(linked) or any(node < 0 for node in linked):
        node = collections.Counter(linked).most_common(1)[0][0]
        raise ValueError(f"its nodes are not a tree: node {node} has two parents or is its own ancestor")
    return roots


def _placed(tree: dict[str, Any], roots: list[int]) -> list[tuple[int, np.ndarray]]:
    """The mesh of every node below the roots that has one, and its transform [4, 4] to the world."""
    from trimesh import transformations

    placed = []
    waiting = [(node, np.eye(4)) for node in reversed(roots)]
    while waiting:
        index, above = waiting.pop()
        node = tree["nodes"][index]
        if "matrix" in node:
            local = np.array(node["matrix"], np.float64)
            if local.shape != (16,):
                raise ValueError(f"node {index} has a matrix of {local.size} numbers, not 16")
            local = local.reshape(4, 4).T
        else:
            x, y, z, w = node.get("rotation", (0, 0, 0, 1))
            local = transformations.quaternion_matrix([w, x, y, z])
            local[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
            local[:3, 3] = node.get("translation", (0, 0, 0))
        if "mesh" in node:
            placed.append((node["mesh"], above @ local))
        waiting += [(child, above @ local) for child in reversed(node.get("children", []))]
    return placed


def _refuse_unknown(tree: dict[str, Any]) -> None:
    """Nothing, if all that the geometry is made of is known."""
    version = str(tree.get("asset", {}).get("version", "2.0"))
    if version.split(".")[0] != "2":
        raise ValueError(f"glTF version is {version!r}; accepted is 2")
    for name in tree.get("extensionsRequired", []):
        if not str(name).startswith(HARMLESS):
            raise ValueError(f"it needs the glTF extension {name}, which is not read")
    for primitive in (part for mesh in tree.get("meshes", []) for part in mesh["primitives"]):
        if primitive.get("mode", 4) not in MODES:
            raise ValueError(f"its glTF mode is {primitive['mode']}; accepted: 4 (triangles), 5 (triangle strips)")
        for index, kinds in ((primitive["attributes"].get("POSITION"), POSITIONS), (primitive.get("indices"), INDICES)):
            if index is None:
                continue
            accessor = tree["accessors"][index]
            if (accessor["type"], accessor["componentType"]) not in kinds:
                raise ValueError(
                    f"accessor {index} holds {accessor['type']} of {accessor['componentType']}, not what is due"
                )
            if accessor.get("normalized"):
                raise ValueError("its positions are normalised integers, which are not read")
            if "sparse" in accessor or "bufferView" not in accessor:
                raise ValueError(f"accessor {index} is sparse or without data, which is not read")


def _buffer(entry: dict[str, Any], folder: pathlib.Path, binary: bytes) -> bytes:
    """The bytes of one buffer: the GLB chunk, embedded in base64, or a file of the same folder."""
    uri, length = entry.get("uri"), entry["byteLength"]
    if uri is None:
        data = binary
    elif uri.startswith("data:"):
        try:
            data = base64.b64decode(uri.partition("base64,")[2])
        except ValueError as error:
            raise ValueError(f"the base64 of a buffer is broken: {error}") from None
    else:
        path = (folder / urllib.parse.unquote(uri)).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise ValueError(f"its buffer file {meshtext.shown(uri)} is missing; it must lie in the same folder")
        data = path.read_bytes()
    if len(data) < length:
        raise ValueError(f"truncated: a buffer promises {length} bytes, {len(data)} are there")
    return data


def _refuse_accessors(tree: dict[str, Any], buffers: list[bytes], available: int) -> None:
    """Nothing, if every accessor and buffer view lies inside its buffer."""
    views = tree.get("bufferViews", [])
    for index, view in enumerate(views):
        start, length, stride = view.get("byteOffset", 0), view["byteLength"], view.get("byteStride", 1)
        if min(start, length) < 0 or stride < 1 or start + length > len(buffers[view["buffer"]]):
            raise ValueError(f"truncated: buffer view {index} reaches beyond its buffer")
    for index, accessor in enumerate(tree.get("accessors", [])):
        row = np.dtype(COMPONENT_TYPES[accessor["componentType"]]).itemsize * COMPONENTS[accessor["type"]]
        view = views[accessor["bufferView"]] if "bufferView" in accessor else {"byteLength": math.inf}
        count, start = accessor["count"], accessor.get("byteOffset", 0)
        end = start + max(0, count - 1) * view.get("byteStride", row) + row
        if min(count, start) < 0 or end > min(view["byteLength"], available):
            raise ValueError(f"truncated: accessor {index} promises {count} items, its buffer view is too short")
