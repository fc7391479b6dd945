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
TRIANGLES, STRIP, FAN = 4, 5, 6  # modes; those below are points and lines
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
    while data[chunk + 4 : chunk + 8] not in (b"BIN\0", b""):  # chunks of other kinds may stand between
        chunk += 8 + int.from_bytes(data[chunk : chunk + 4], "little")
    size, binary = int.from_bytes(data[chunk : chunk + 4], "little"), data[chunk + 8 :]
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
        told: list[str] = []
        roots = _roots(tree)
        placed, worlds = _placed(tree, roots)
        used = {mesh for mesh, _ in placed}
        _refuse_unknown(tree, used)
        buffers = [_buffer(entry, folder, binary) for entry in tree.get("buffers", [])]
        _refuse_accessors(tree, buffers, available + sum(map(len, buffers)))
        meshes = {mesh: _primitives(tree, buffers, mesh, told) for mesh in used}
        parts = [(part, transform) for mesh, transform in placed for part in meshes[mesh]]
        told += _not_applied(tree, buffers, worlds, len(tree.get("meshes", [])) - len(used))
    except (ArithmeticError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"its glTF structure is broken ({type(error).__name__}: {error})") from None
    if (total := sum(len(part.sizes) for part, _ in parts)) > FACES_LIMIT:
        raise ValueError(f"its nodes repeat meshes to {total} faces, more than {FACES_LIMIT}")
    return polygons.joined(parts)._replace(told=tuple(dict.fromkeys(told)))


def _primitives(tree: dict[str, Any], buffers: list[bytes], mesh: int, told: list[str]) -> list[Polygons]:
    """The triangles of the primitives of a mesh; what has none is left out, which is told."""
    found = []
    for primitive in tree["meshes"][mesh]["primitives"]:
        index, mode = primitive.get("indices"), primitive.get("mode", TRIANGLES)
        if mode < TRIANGLES or "POSITION" not in primitive["attributes"]:
            told.append(f"{'points or lines' if mode < TRIANGLES else 'a primitive without positions'} left out")
            continue
        positions = _positions(tree, buffers, primitive["attributes"]["POSITION"])
        corners = np.arange(len(positions)) if index is None else _values(tree, buffers, index)[:, 0].astype(np.int64)
        if mode == STRIP:
            corners = polygons.strip(corners)
        elif mode == FAN:
            corners = np.stack([np.full(max(len(corners) - 2, 0), corners[0]), corners[1:-1], corners[2:]], -1)
        if corners.size % 3:
            raise ValueError(f"a primitive of triangles has {corners.size} corners")
        found.append(polygons.triangles(positions, corners.reshape(-1, 3)))
        polygons.refuse_out_of_range(found[-1])
    return found


def _positions(tree: dict[str, Any], buffers: list[bytes], index: int) -> np.ndarray:
    """Positions [n, 3] of an accessor; normalised integers stand for numbers of [-1, 1]."""
    values = _values(tree, buffers, index)
    if tree["accessors"][index].get("normalized") and values.dtype.kind in "iu":
        return np.maximum(values / np.iinfo(values.dtype).max, -1.0)
    return values.astype(np.float64)


def _values(tree: dict[str, Any], buffers: list[bytes], index: int) -> np.ndarray:
    """The items of an accessor, a row each, with those that a sparse one puts in the place of others."""
    accessor = tree["accessors"][index]
    shape = accessor["count"], COMPONENTS[accessor["type"]]
    found = np.zeros(shape, COMPONENT_TYPES[accessor["componentType"]])
    if "bufferView" in accessor:
        found = _viewed(tree, buffers, accessor, accessor["componentType"], shape)
    if sparse := accessor.get("sparse"):
        count, found = sparse["count"], found.copy()
        places = _viewed(tree, buffers, sparse["indices"], sparse["indices"]["componentType"], (count, 1))[:, 0]
        found[places] = _viewed(tree, buffers, sparse["values"], accessor["componentType"], (count, shape[1]))
    return found


def _viewed(tree, buffers, place: dict[str, Any], component: int, shape: tuple[int, int]) -> np.ndarray:
    """Rows of numbers where a buffer view says that they lie."""
    view, kind = tree["bufferViews"][place["bufferView"]], np.dtype(COMPONENT_TYPES[component])
    strides = view.get("byteStride", shape[1] * kind.itemsize), kind.itemsize
    start = view.get("byteOffset", 0) + place.get("byteOffset", 0)
    return np.ndarray(shape, kind, buffers[view["buffer"]], start, strides)


def _not_applied(tree: dict[str, Any], buffers: list[bytes], worlds: dict[int, np.ndarray], unused: int) -> list[str]:
    """What a file asks for that is not done, in words."""
    nodes, told = (
        [tree["nodes"][index] for index in worlds],
        [f"{unused} of its meshes, which no node shows, left out"] * bool(unused),
    )
    shown = [tree["meshes"][node["mesh"]] for node in nodes if "mesh" in node]
    weights = [each.get("weights", ()) for each in (*nodes, *shown)]
    asks = {
        "morph targets": any(any(each) for each in weights),
        "skins that move": any(_moves(tree, buffers, worlds, node["skin"]) for node in nodes if "skin" in node),
        "hidden nodes": any(_extension(node, "KHR_node_visibility").get("visible") is False for node in nodes),
        "instances": any(_extension(node, "EXT_mesh_gpu_instancing") for node in nodes),
    }
    if any(asks.values()):
        told.append(f"not applied: {', '.join(name for name, is_asked in asks.items() if is_asked)}")
    return told


def _extension(node: dict[str, Any], name: str) -> dict[str, Any]:
    return node.get("extensions", {}).get(name, {})


def _moves(tree: dict[str, Any], buffers: list[bytes], worlds: dict[int, np.ndarray], index: int) -> bool:
    """Whether a skin puts a vertex elsewhere than it stands."""
    skin = tree["skins"][index]
    bound = np.tile(np.eye(4), (len(skin["joints"]), 1, 1))
    if "inverseBindMatrices" in skin:
        bound = _values(tree, buffers, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    found = [worlds[joint] @ each for joint, each in zip(skin["joints"], bound) if joint in worlds]
    return any(np.abs(each - np.eye(4)).max() > 1e-4 for each in found)


def _roots(tree: dict[str, Any]) -> list[int]:
    """The roots of the shown scene, below which the nodes are a tree, as glTF demands.

    Raises:
        ValueError: if a node is named twice, as parents of each other are.
    """
    scenes, nodes = tree.get("scenes", []), tree.get("nodes", [])
    below = {child for node in nodes for child in node.get("children", [])}
    roots = [index for index in range(len(nodes)) if index not in below]  # without a scene all are shown
    roots = scenes[tree.get("scene", 0)].get("nodes", []) if scenes else roots
    linked = roots + [child for node in tree.get("nodes", []) for child in node.get("children", [])]
    if len(set(linked)) < len(linked) or any(node < 0 for node in linked):
        node = collections.Counter(linked).most_common(1)[0][0]
        raise ValueError(f"its nodes are not a tree: node {node} has two parents or is its own ancestor")
    return roots


def _placed(tree: dict[str, Any], roots: list[int]) -> tuple[list[tuple[int, np.ndarray]], dict[int, np.ndarray]]:
    """The mesh of every node below the roots that has one with its transform [4, 4] to the world, and those of all nodes."""
    from trimesh import transformations

    placed, worlds = [], {}
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
        worlds[index] = above @ local
        if "mesh" in node:
            placed.append((node["mesh"], worlds[index]))
        waiting += [(child, above @ local) for child in reversed(node.get("children", []))]
    return placed, worlds


def _refuse_unknown(tree: dict[str, Any], used: set[int]) -> None:
    """Nothing, if all that the geometry of the used meshes is made of is known."""
    version = str(tree.get("asset", {}).get("version", "2.0"))
    if version.split(".")[0] != "2":
        raise ValueError(f"glTF version is {version!r}; accepted is 2")
    for name in tree.get("extensionsRequired", []):
        if not str(name).startswith(HARMLESS):
            raise ValueError(f"it needs the glTF extension {name}, which is not read")
    for primitive in (part for mesh in used for part in tree["meshes"][mesh]["primitives"]):
        if primitive.get("mode", TRIANGLES) not in range(FAN + 1):
            raise ValueError(f"its glTF mode is {primitive['mode']}; accepted: 4 (triangles), 5 (strips), 6 (fans)")
        for index, kinds in ((primitive["attributes"].get("POSITION"), POSITIONS), (primitive.get("indices"), INDICES)):
            if index is None:
                continue
            accessor = tree["accessors"][index]
            if (accessor["type"], accessor["componentType"]) not in kinds:
                raise ValueError(
                    f"accessor {index} holds {accessor['type']} of {accessor['componentType']}, not what is due"
                )


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
        if sparse := accessor.get("sparse"):
            width = np.dtype(COMPONENT_TYPES[sparse["indices"]["componentType"]]).itemsize
            for part, size in ((sparse["indices"], width), (sparse["values"], row)):
                begin, held = part.get("byteOffset", 0), views[part["bufferView"]]
                if min(sparse["count"], begin) < 0 or begin + sparse["count"] * size > held["byteLength"]:
                    raise ValueError(f"truncated: sparse accessor {index} reaches beyond its buffer view")
