"""Every file loads or is refused in one line that names it."""

import base64
import csv
import json
import os
import pathlib
import re
import struct

import jax
import numpy as np
import pytest
import trimesh

from hexjax.data import meshfile, ply
from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh

FORMATS = "accepted: .glb, .gltf, .obj, .off, .ply, .stl, .xyz"

LOADED = {  # vertices, faces, winding doubtful
    "nancolor.obj": (8, 12, False),
    "plane.ply": (4, 2, False),
    "polygon_concave.obj": (64, 64, False),
    "octagon.obj": (8, 6, False),
    "non_manifold_wrap.obj": (10, 12, False),
    "joined_tetrahedra.obj": (5, 8, False),
    "soup.stl": (300, 100, True),
    "sphere_with_hole.stl": (146, 285, False),
    "multibody.stl": (20, 32, False),
    "cube_no_bottom.obj": (25, 40, False),
    "cargo_duplicate_faces.obj": (552, 1086, False),
    "scaffolding_152_parts.obj": (1718, 2652, False),
    "wrist_inconsistent.stl": (882, 1764, False),
    "penguin_control_quads.obj": (201, 398, False),
    "cube_quads.ply": (8, 12, False),
    "negative_indices.obj": (8, 12, False),
    "wrong_attribute_mapping.obj": (3, 1, False),
    "vertexcolors_partly.obj": (5, 3, True),
    "longline.obj": (8, 12, False),
    "utf16be.obj": (8, 12, False),
    "comments.off": (8, 12, False),
    "header_crlf_binary.ply": (8, 12, False),
    "extra_whitespace.ply": (3, 1, False),
    "two_solids_one_empty.stl": (3, 1, False),
    "no_indices.glb": (24, 72, False),
    "nested.glb": (24, 36, False),
    "textured_interleaved.glb": (8, 12, False),
}
CLOUDS = {"points_bin.ply": 8, "points_emptyface.ply": 1024}
REFUSED = {
    "zero_bytes.obj": "is empty (0 bytes)",
    "zero_bytes.ply": "is empty (0 bytes)",
    "empty.obj": "has no faces (0 vertices)",
    "empty.ply": "has no faces (0 vertices)",
    "stl_empty_ascii.stl": "has no faces (0 vertices)",
    "ply_empty_header.ply": "no vertex element in the PLY header",
    "empty_nodes.glb": "has no faces (0 vertices)",
    "obj_wireframe.obj": "has no faces (8 vertices)",
    "point_cloud.obj": "has no faces (3 vertices)",
    "inf_nan.obj": "3 of 3 vertices used by faces are NaN or infinite",
    "float_inf_point_cloud.ply": "3 of 16 points are NaN or infinite",
    "box_with_infinites.glb": "24 of 24 vertices used by faces are NaN or infinite",
    "degenerate_mesh.obj": "its longest side is 0: all vertices used by faces are one point",
    "malformed_index.obj": "face 1 names vertex 12, but the vertices are 1 to 8",
    "malformed_material.obj": "face 1 has 0 corners, at least 3 are needed",
    "number_formats.obj": "vertex 8 has '3.1+e2', which is not a number",
    "face_in_group_name.obj": "has no faces (1 vertices)",
    "invalid_counts.off": "face 2 promises 2 corners, which are not there",
    "truncated_header.ply": "truncated: the PLY header does not end",
    "comment_in_element.ply": "has no faces (24 vertices)",
    "zip_in_name.stl.zip": f"unknown format '.zip'; {FORMATS}",
    "rock.obj.bz2": f"unknown format '.bz2'; {FORMATS}",
    "draco_box.glb": "it needs the glTF extension KHR_draco_mesh_compression, which is not read",
    "index_out_of_range/IndexOutOfRange.gltf": "face 1 names vertex 255, but the vertices are 0 to 23",
    "index_out_of_range/IndexOutOfRange.bin": f"unknown format '.bin'; {FORMATS}",
    "missing_bin.gltf": "its buffer file 'BoxTextured0.bin' is missing; it must lie in the same folder",
    "recursive_nodes.gltf": "its nodes are not a tree: node 0 has two parents or is its own ancestor",
    "no_scene.gltf": "has no faces (0 vertices)",
    "invalid_json.gltf": "its JSON is broken: Expecting value: line 1 column 4635 (char 4634)",
    "utf8_mangled.glb": "truncated: the header promises 3220111380 bytes, 6376 are there",
    "truncated.dae": f"unknown format '.dae'; {FORMATS}",
}
HEADS = {  # vertices, faces, share turned: as LICENSES.md counts them
    "demosthenes": (8394, 16719, 0.0),
    "fran_face": (2205, 4224, 1.0),
    "goathead": (2763, 5522, 0.0),
    "ict_neutral": (12788, 25360, 0.0),
    "leeperrysmith": (8842, 17680, 0.0),
    "leeperrysmith_5500": (5500, 10996, 0.0),
    "makehuman_female_old": (4490, 8916, 0.0),
    "makehuman_male_young": (4437, 8808, 0.0),
    "mediapipe_face": (468, 898, 0.0),
    "suzanne": (505, 968, 0.0),
}

CUBE = trimesh.creation.box((1.0, 2.0, 3.0))
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)


def write(folder: pathlib.Path, name: str, content: str | bytes) -> pathlib.Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: pathlib.Path, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path.name}: {reason}')}$"):
        meshfile.load(path)


def check(mesh: Mesh) -> None:
    """What holds of every mesh that loads."""
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == np.int32
    assert mesh.vertices.flags.c_contiguous
    assert mesh.faces.flags.c_contiguous
    assert np.all(np.isfinite(mesh.vertices))
    assert np.max(np.ptp(mesh.vertices, axis=0)) > 0
    if not len(mesh.faces):  # points stay as they are
        return
    assert np.array_equal(np.unique(mesh.faces), np.arange(len(mesh.vertices)))
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)
    assert np.all(np.diff(np.sort(mesh.faces, axis=1), axis=1) > 0)


def outcome(path: pathlib.Path) -> str | None:
    """The refusal's text, or None for a file that loads as it should."""
    try:
        mesh = meshfile.load(path)
    except ValueError as error:
        return str(error)
    check(mesh)
    return None


def volume(mesh: Mesh) -> float:
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    return float(np.sum(corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])) / 6)


def obj(vertices: np.ndarray, faces: np.ndarray) -> str:
    lines = [f"v {x} {y} {z}" for x, y, z in vertices.tolist()]
    return "\n".join(lines + ["f " + " ".join(str(index + 1) for index in face) for face in faces.tolist()]) + "\n"


def gltf(vertices: np.ndarray, faces: np.ndarray, **changes: object) -> dict:
    """A glTF of one mesh in one node with its buffer embedded; `changes` replace top-level entries."""
    parts = vertices.astype("<f4").tobytes(), faces.astype("<u4").tobytes()
    size = [len(part) for part in parts]
    tree = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": size[0]},
            {"buffer": 0, "byteOffset": size[0], "byteLength": size[1]},
        ],
        "buffers": [{"byteLength": sum(size), "uri": "data:;base64," + base64.b64encode(b"".join(parts)).decode()}],
    }
    return {**tree, **changes}


def test_the_tables_cover_the_manifest(data_folder):
    rows = csv.DictReader((data_folder / "nasty" / "manifest.csv").read_text().splitlines())
    assert {row["file"] for row in rows} == LOADED.keys() | REFUSED.keys() | CLOUDS.keys()


@pytest.mark.parametrize("name", LOADED)
def test_nasty_files_that_load(data_folder, name):
    mesh, findings = meshfile.inspect(data_folder / "nasty" / name)
    check(mesh)
    assert (len(mesh.vertices), len(mesh.faces), mesh.winding_doubtful) == LOADED[name]
    assert (findings["vertices"], findings["faces"], findings["winding_doubtful"]) == LOADED[name]


@pytest.mark.parametrize("name", CLOUDS)
def test_nasty_files_of_points_load(data_folder, name):
    mesh, findings = meshfile.inspect(data_folder / "nasty" / name)
    check(mesh)
    assert (len(mesh.vertices), len(mesh.faces), findings["vertices"]) == (CLOUDS[name], 0, CLOUDS[name])
    assert meshfile.mended(findings) == {}


XYZ = "0 0 0\n1 0 0  # a comment\n\n0 2e0 .5\n0 2 0.5\n"


def test_points_stay_all_in_their_order_whatever_holds_them(tmp_path):
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0.5], [0, 2, 0.5]], np.float32)
    normals = "\n".join(f"{x} {y} {z}\t0 0 1" for x, y, z in points)
    ply = "ply\nformat ascii 1.0\nelement vertex 4\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    rows = "\n".join(" ".join(map(str, row)) for row in points.tolist())
    files = {"a.xyz": XYZ, "b.XYZ": normals, "c.ply": f"{ply}end_header\n{rows}\n"}
    cloud = trimesh.PointCloud(points)
    given = [points, jax.numpy.asarray(points), cloud, (points, []), (points, np.zeros((0, 3), int))]
    given += [Mesh(points, np.zeros((0, 3), np.int32))]
    for mesh in map(meshfile.load, [*given, *(write(tmp_path, name, text) for name, text in files.items())]):
        check(mesh)
        np.testing.assert_array_equal(mesh.vertices, points)
        assert mesh.faces.shape == (0, 3)
        assert mesh.winding_doubtful is False
    far = meshfile.load(points.astype(np.float64) + 1e8)
    assert far.vertices.dtype == np.float64
    np.testing.assert_array_equal(far.vertices, points.astype(np.float64) + 1e8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty (0 bytes)"),
        ("\n# nothing\n", "has no faces (0 vertices)"),
        ("1 2\n3 4\n", "point 1 has 2 numbers; accepted: 3 or 6"),
        ("1 2 3\n1 2 3 4 5 6\n", "point 2 has 6 numbers; accepted: 3"),
        ("1 2 3\n1 2 c\n", "point 2 has 'c', which is not a number"),
        ("1 2 3 0 0 1\n1 2 4 0 0 x\n", "point 2 has 'x', which is not a number"),
        ("1 2 3\n1 nan 3\n", "1 of 2 points are NaN or infinite"),
        ("1 2 3\n1 2 3\n", "its longest side is 0: all points are one point"),
    ],
)
def test_a_file_of_points_that_are_none_is_refused(tmp_path, content, reason):
    refused(write(tmp_path, "points.xyz", content), reason)


def test_a_ply_of_more_than_vertices_is_a_mesh_that_lacks_faces(tmp_path):
    ply = "ply\nformat ascii 1.0\nelement vertex 3\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    rows = "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    path = write(tmp_path, "a.ply", f"{ply}element edge 1\nproperty int vertex1\nend_header\n{rows}")
    refused(path, "has no faces (3 vertices)")
    strips = f"{ply}element tristrips 1\nproperty list int int vertex_indices\nend_header\n{rows}"
    np.testing.assert_array_equal(meshfile.load(write(tmp_path, "strips.ply", strips)).faces, [[0, 1, 2]])


def test_faces_without_an_area_do_not_become_points(tmp_path):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    refused(
        write(tmp_path, "flat.obj", obj(vertices, np.array([[0, 1, 2]]))), "no face has an area at a longest side of 2"
    )


@pytest.mark.parametrize("name", REFUSED)
def test_nasty_files_that_are_refused(data_folder, name):
    refused(data_folder / "nasty" / name, REFUSED[name])


@pytest.mark.parametrize("name", HEADS)
def test_every_head_loads_with_its_published_counts(data_folder, name):
    path = data_folder / "heads" / f"{name}.ply"
    mesh, findings = meshfile.inspect(path)
    check(mesh)
    assert (len(mesh.vertices), len(mesh.faces), findings["turned_share"]) == HEADS[name]
    assert not mesh.winding_doubtful
    raw = trimesh.load_mesh(path, process=False)
    assert np.array_equal(mesh.vertices, np.asarray(raw.vertices, np.float32))
    kept = np.asarray(raw.faces)
    assert np.array_equal(mesh.faces, kept[:, ::-1] if name == "fran_face" else kept)


def test_closed_heads_have_positive_volume(data_folder):
    for name in ("leeperrysmith", "leeperrysmith_5500", "goathead"):
        assert volume(meshfile.load(data_folder / "heads" / f"{name}.ply")) > 0


@pytest.mark.parametrize("kind", ["ply", "obj", "stl", "off", "glb", "ascii.ply", "ascii.stl"])
def test_one_mesh_in_any_format_is_the_same_mesh(tmp_path, kind):
    source = trimesh.creation.icosphere(subdivisions=2, radius=1.5)
    source.vertices = source.vertices.astype(np.float32)
    encoding = {"ascii.ply": ("ply", {"encoding": "ascii"}), "ascii.stl": ("stl_ascii", {})}
    file_type, options = encoding.get(kind, (kind, {}))
    mesh = meshfile.load(write(tmp_path, f"sphere.{kind}", source.export(file_type=file_type, **options)))
    check(mesh)
    assert (len(mesh.vertices), len(mesh.faces)) == (162, 320)
    expected = source.vertices[source.faces].reshape(-1, 9)
    found = mesh.vertices[mesh.faces].reshape(-1, 9)
    np.testing.assert_allclose(found, expected, atol=2e-7 if "ascii" not in kind else 1e-6)


@pytest.mark.parametrize("kind", ["ply", "stl", "glb"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, kind):
    whole = CUBE.export(file_type=kind)
    for length in range(1, len(whole), 7):
        path = write(tmp_path, f"cube.{kind}", whole[:length])
        with pytest.raises(ValueError, match=rf"^cube\.{kind}: [^\n]+$"):
            meshfile.load(path)


@pytest.mark.parametrize("kind", ["off", "ascii.ply", "ascii.stl"])
def test_a_text_that_lacks_lines_is_refused(tmp_path, kind):
    encoding = {"ascii.ply": ("ply", {"encoding": "ascii"}), "ascii.stl": ("stl_ascii", {}), "off": ("off", {})}
    file_type, options = encoding[kind]
    text = CUBE.export(file_type=file_type, **options)
    lines = (text.decode() if isinstance(text, bytes) else text).strip().split("\n")
    for count in range(1, len(lines)):
        path = write(tmp_path, f"cube.{kind}", "\n".join(lines[:count]) + "\n")
        if "\n".join(lines[:count]).rstrip().endswith("endfacet"):  # as programs leave it that write no endsolid
            told = meshfile.mended(meshfile.inspect(path)[1])
            assert "the text has no endsolid: it may be cut off" in told
            continue
        with pytest.raises(ValueError, match=rf"^cube\.{re.escape(kind)}: [^\n]+$"):
            meshfile.load(path)


PLY_PROMISE = (
    "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
    "element face {}\nproperty list uchar int vertex_indices\nend_header\n"
)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "text.ply",
            PLY_PROMISE.format("ascii", 8_000_000_000, 1) + "0 0 0\n",
            "truncated: the header promises 8000000000 rows of element vertex, there is room for 1",
        ),
        (
            "binary.ply",
            PLY_PROMISE.format("binary_little_endian", 8_000_000_000, 1) + "0" * 30,
            "truncated: the header promises 8000000000 rows of element vertex, there is room for 2",
        ),
        (
            "faces.ply",
            PLY_PROMISE.format("binary_big_endian", 1, 3_000_000_000) + "0" * 30,
            "truncated: the header promises 3000000000 rows of element face, there is room for 18",
        ),
        (
            "vertices.off",
            "OFF\n4000000000 1 0\n0 0 0\n",
            "truncated: the header promises 4000000001 lines of vertices and faces, there is room for 1",
        ),
        (
            "corners.off",
            "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4000000000 0 1 2\n",
            "face 1 promises 4000000000 corners, which are not there",
        ),
        (
            "binary.stl",
            b"\0" * 80 + struct.pack("<I", 2**32 - 1) + b"\0" * 120,
            "truncated: the header promises 4294967295 triangles, there is room for 2",
        ),
        (
            "binary.glb",
            struct.pack("<4sIII4s", b"glTF", 2, 2**32 - 1, 2**32 - 9, b"JSON") + b"{}",
            "truncated: the header promises 4294967307 bytes, 22 are there",
        ),
    ],
)
def test_a_header_that_promises_billions_is_refused(tmp_path, name, content, reason):
    refused(write(tmp_path, name, content), reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 4_000_000_000, "type": "VEC3"}] * 2},
            "accessor 1 holds VEC3 of 5126, not what is due",
        ),
        (
            {
                "accessors": [
                    {"bufferView": 0, "componentType": 5126, "count": 4_000_000_000, "type": "VEC3"},
                    {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
                ]
            },
            "truncated: accessor 0 promises 4000000000 items, its buffer view is too short",
        ),
        (
            {"bufferViews": [{"buffer": 0, "byteLength": 4_000_000_000}] * 2},
            "truncated: buffer view 0 reaches beyond its buffer",
        ),
        (
            {"buffers": [{"byteLength": 4_000_000_000, "uri": "data:;base64,AAAA"}]},
            "truncated: a buffer promises 4000000000 bytes, 3 are there",
        ),
        ({"nodes": [{"children": [0]}]}, "its nodes are not a tree: node 0 has two parents or is its own ancestor"),
        ({"nodes": [{"children": [-1]}]}, "its nodes are not a tree: node 0 has two parents or is its own ancestor"),
        ({"nodes": [{"mesh": 0, "matrix": [1] * 15}]}, "node 0 has a matrix of 15 numbers, not 16"),
        ({"nodes": [{"mesh": 5}]}, "its glTF structure is broken (IndexError: list index out of range)"),
        ({"asset": {"version": "1.0"}}, "glTF version is '1.0'; accepted is 2"),
        (
            {"extensionsRequired": ["EXT_meshopt_compression"]},
            "it needs the glTF extension EXT_meshopt_compression, which is not read",
        ),
        (
            {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "mode": 7}]}]},
            "its glTF mode is 7; accepted: 4 (triangles), 5 (strips), 6 (fans)",
        ),
        ({"meshes": [{}]}, "its glTF structure is broken (KeyError: 'primitives')"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}]}, "has no faces (0 vertices)"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 1}]}]}, "has no faces (0 vertices)"),
        ({"meshes": [{"primitives": [{"attributes": {}}]}]}, "has no faces (0 vertices)"),
        ({"scenes": [{"nodes": []}]}, "has no faces (0 vertices)"),
    ],
)
def test_a_gltf_that_is_not_what_it_says_is_refused(tmp_path, changes, reason):
    tree = gltf(TRIANGLE, np.array([[0, 1, 2]]), **changes)
    refused(write(tmp_path, "broken.gltf", json.dumps(tree)), reason)


def test_a_gltf_buffer_outside_its_folder_is_not_read(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    write(tmp_path, "secret.bin", b"\0" * 48)
    for uri in ("../secret.bin", "%2e%2e/secret.bin", str(tmp_path / "secret.bin"), "https://example.org/secret.bin"):
        tree = gltf(TRIANGLE, np.array([[0, 1, 2]]), buffers=[{"byteLength": 48, "uri": uri}])
        path = write(inner, "a.gltf", json.dumps(tree))
        shown = uri if len(uri) <= 60 else uri[:57] + "..."
        refused(path, f"its buffer file {shown!r} is missing; it must lie in the same folder")


def test_a_gltf_buffer_in_its_folder_is_read(tmp_path):
    data = TRIANGLE.astype("<f4").tobytes() + np.arange(3, dtype="<u4").tobytes()
    write(tmp_path, "my buffer.bin", data)
    tree = gltf(TRIANGLE, np.array([[0, 1, 2]]), buffers=[{"byteLength": 48, "uri": "my%20buffer.bin"}])
    mesh = meshfile.load(write(tmp_path, "a.gltf", json.dumps(tree)))
    assert np.array_equal(mesh.vertices[mesh.faces[0]], TRIANGLE)


def test_node_transforms_apply_and_a_mirror_keeps_the_outside_out(tmp_path):
    children = [
        {"mesh": 0, "scale": [-1, 1, 1], "translation": [10, 0, 0]},
        {"mesh": 0, "matrix": [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, -9, 1]},
    ]
    tree = gltf(
        CUBE.vertices,
        CUBE.faces,
        scenes=[{"nodes": [0]}],
        nodes=[{"children": [1, 2], "translation": [0, 5, 0]}, *children],
    )
    mesh, findings = meshfile.inspect(write(tmp_path, "nodes.gltf", json.dumps(tree)))
    assert (len(mesh.vertices), len(mesh.faces), findings["turned_share"]) == (16, 24, 0.0)
    assert volume(mesh) == pytest.approx(6 + 8 * 6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [10.5, 7, 1.5])
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [-1, 3, -12])


def test_meshes_below_a_camera_and_of_several_primitives_keep_their_place(tmp_path):
    primitive = {"attributes": {"POSITION": 0}, "indices": 1}
    tree = gltf(
        TRIANGLE,
        np.array([[0, 1, 2]]),
        meshes=[{"primitives": [primitive, {**primitive, "mode": 5}, {**primitive, "mode": 0}]}, {"primitives": []}],
        cameras=[{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}],
        nodes=[{"camera": 0, "translation": [5, 0, 0], "children": [1]}, {"mesh": 0, "rotation": [0, 0, 1, 0]}],
    )
    mesh, findings = meshfile.inspect(write(tmp_path, "camera.gltf", json.dumps(tree)))
    assert (findings["polygons_in_file"], findings["doubled_faces"]) == (2, 1)
    np.testing.assert_allclose(mesh.vertices, [[5, 0, 0], [4, 0, 0], [5, -1, 0]], atol=1e-6)


def test_a_long_chain_of_nodes_loads(tmp_path):
    count = 2000
    nodes = [{"mesh": 0, "translation": [2, 0, 0], "children": [index + 1]} for index in range(count)] + [{}]
    mesh = meshfile.load(write(tmp_path, "chain.gltf", json.dumps(gltf(CUBE.vertices, CUBE.faces, nodes=nodes))))
    assert len(mesh.faces) == 12 * count
    assert mesh.vertices[:, 0].max() == 2 * count + 0.5


def test_a_mirrored_open_mesh_keeps_its_winding_relative_to_its_shape(tmp_path):
    flat = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    tree = gltf(flat, faces, nodes=[{"mesh": 0, "scale": [-1, 1, 1]}])
    mesh = meshfile.load(write(tmp_path, "flat.gltf", json.dumps(tree)))
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.array_equal(normals, [[0, 0, 1], [0, 0, 1]])


@pytest.mark.parametrize("seed", range(5))
def test_turned_faces_of_a_closed_mesh_are_turned_back(tmp_path, seed):
    source = trimesh.creation.torus(2.0, 0.5)
    flipped = np.random.default_rng(seed).random(len(source.faces)) < 0.2 * seed
    faces = np.where(flipped[:, None], source.faces[:, ::-1], source.faces)
    mesh, findings = meshfile.inspect(write(tmp_path, "torus.obj", obj(source.vertices, faces)))
    assert volume(mesh) == pytest.approx(source.volume, rel=1e-6)
    assert findings["turned_share"] == np.mean(flipped)
    assert not mesh.winding_doubtful


def test_obj_dialects_give_one_cube(tmp_path):
    corners = np.array(list(np.ndindex(2, 2, 2)), np.float64)
    quads = [[1, 2, 4, 3], [5, 7, 8, 6], [1, 5, 6, 2], [3, 4, 8, 7], [1, 3, 7, 5], [2, 6, 8, 4]]
    lines = [f"v {x} {y} {z}" for x, y, z in corners.tolist()]
    dialects = [
        lines + ["f " + " ".join(map(str, quad)) for quad in quads],
        lines + ["f " + " ".join(f"{index}/9/9" for index in quad) + " # last" for quad in quads],
        lines + ["f " + " ".join(f"{index}//1" for index in quad) for quad in quads] + ["v 5 5 5"],
        [line for quad in quads for line in [*(lines[i - 1] for i in quad), "f -4 -3 -2 -1"]],
        ["\ufeff# mark"]
        + [f"\t{line} 0.5 0.5 0.5" for line in lines]
        + [f"f {a} {b} \\\n{c} {d}" for a, b, c, d in quads],
    ]
    for number, dialect in enumerate(dialects):
        for end in ("\n", "\r\n", "\r"):
            mesh, _ = meshfile.inspect(write(tmp_path, f"cube{number}.obj", end.join(dialect).replace("\n", end)))
            check(mesh)
            assert (len(mesh.vertices), len(mesh.faces)) == (8, 12)
            assert volume(mesh) == pytest.approx(1)


def test_a_concave_polygon_keeps_to_its_outline(tmp_path):
    arrow = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
    comb = [(0, 0), (7, 0), (7, 3), (6, 3), (6, 1), (5, 1), (5, 3), (4, 3), (4, 1), (3, 1), (3, 3), (0, 3)]
    dart = [(0, 0), (2, 1), (4, 0), (2, 4)]
    for outline, area in ((arrow, 10.0), (comb, 17.0), (dart, 6.0)):
        for shift in range(len(outline)):
            turned = outline[shift:] + outline[:shift]
            lines = [f"v {x} {y - x} {x}" for x, y in turned] + ["f " + " ".join(map(str, range(1, len(turned) + 1)))]
            mesh = meshfile.load(write(tmp_path, "outline.obj", "\n".join(lines)))
            flat = mesh.vertices[mesh.faces][..., :2].astype(np.float64)
            edges = flat[:, 1:] - flat[:, :1]
            areas = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2
            assert len(mesh.faces) == len(outline) - 2
            assert np.all(areas >= 0)
            assert np.sum(areas) == pytest.approx(area)


def test_a_huge_concave_polygon_is_fanned_and_told(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    radius = 1 + 0.5 * (np.arange(5000) % 2)
    star = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(5000)], axis=-1)
    _, findings = meshfile.inspect(write(tmp_path, "star.obj", obj(star, np.arange(5000)[None])))
    assert (findings["doubtful_polygons"], findings["faces"]) == (1, 4998)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_binary_ply_of_triangles_and_quads_loads(tmp_path, order):
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    header = PLY_PROMISE.format(name, 5, 5).replace("property float x", "property uchar flag\nproperty double x")
    header = header.replace("element face 5\n", "element face 5\nproperty float weight\n")
    points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, 1)]
    body = b"".join(struct.pack(f"{order}Bdff", 7, *point) for point in points)
    for face in ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)):
        body += struct.pack(f"{order}fB{len(face)}i", 0.5, len(face), *face)
    mesh = meshfile.load(write(tmp_path, "pyramid.ply", header.encode() + body))
    check(mesh)
    assert (len(mesh.vertices), len(mesh.faces)) == (5, 6)
    assert volume(mesh) == pytest.approx(1 / 3)


def test_positions_are_welded_and_unused_ones_dropped(tmp_path):
    points = np.array([[9, 9, np.nan], [0, 0, 0], [1, 0, 0], [0, 1, 0], [-0.0, 0, 0], [1, 0, 0], [0, -1, 0]])
    mesh, findings = meshfile.inspect(
        write(tmp_path, "two.obj", obj(points, np.array([[1, 2, 3], [4, 6, 5], [1, 2, 4]])))
    )
    assert np.array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert np.array_equal(mesh.faces, [[0, 1, 2], [0, 3, 1]])
    assert [findings[key] for key in ("unused_vertices", "welded_vertices", "collapsed_faces")] == [1, 2, 1]


def test_a_doubled_face_is_dropped_and_its_back_side_kept(tmp_path):
    faces = np.array([[0, 1, 2], [1, 2, 0], [2, 1, 0]])
    mesh, findings = meshfile.inspect(write(tmp_path, "doubled.obj", obj(TRIANGLE, faces)))
    assert np.array_equal(mesh.faces, [[0, 1, 2], [2, 1, 0]])
    assert findings["doubled_faces"] == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1\nf 1 2 3\n", "vertex 3 has 2 numbers, 3 are needed"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 1.#QNAN\nf 1 2 3\n", "vertex 3 has '1.QNAN', which is not a number"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 inf\nf 1 2 3\n", "1 of 3 vertices used by faces are NaN or infinite"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "face 1 names vertex 0, but the vertices are 1 to 3"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -4 1 2\n", "face 1 names vertex 0, but the vertices are 1 to 3"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n", "has no faces (3 vertices)"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 x\n", "face index 'x' is not a whole number below 1e18"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3 / 4\n", "a face line has a slash that stands alone"),
        ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no face has an area at a longest side of 2"),
        ("v 0 0 0\nv 1 0 0\nv 1 0 0\nf 1 2 3\n", "no face has an area at a longest side of 1"),
        (
            "v 0 0 0\nv 1e-40 0 0\nv 0 1e-40 0\nf 1 2 3\n",
            "its longest side is 1e-40 at coordinates up to 1e-40; accepted: 1e-30 to 1e+30",
        ),
        (
            "v 0 0 0\nv 1e308 0 0\nv -1e308 1 0\nf 1 2 3\n",
            "its longest side is inf at coordinates up to 1e+308; accepted: 1e-30 to 1e+30",
        ),
        (
            "v 1e12 0 0\nv 1000000000000.001 0 0\nv 1e12 0.001 0\nf 1 2 3\n",
            "float64 has steps of 0.000122 at coordinates up to 1e+12, too coarse for a longest side of 0.001: "
            "move it to the origin",
        ),
    ],
)
def test_broken_obj_text_is_refused(tmp_path, content, reason):
    refused(write(tmp_path, "broken.obj", content), reason)


def test_a_vertex_far_from_the_rest_is_told_and_refused_where_it_leaves_no_area(tmp_path):
    ball = trimesh.creation.icosphere(1)
    for far, told in (
        (np.array([1e30, 0, 0]), "a few vertices far from the rest, which take up 7e-30 of its longest side"),
        (np.array([50, 0, 0]), None),
        (np.array([1e30, 1e30, 1e30]), "no face has an area at a longest side of 1e+30"),
    ):
        points = np.concatenate([np.tile(ball.vertices, (4, 1)) * np.arange(1, 5).repeat(42)[:, None], [far]])
        faces = np.concatenate([ball.faces + 42 * number for number in range(4)] + [[[168, 0, 1]]])
        path = write(tmp_path, "far.obj", obj(points, faces))
        if told and told.startswith("no face"):
            refused(path, told)
        else:
            words = meshfile.mended(meshfile.inspect(path)[1])
            assert words.get("a few vertices far from the rest") == told, words


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.off", "OFF BINARY\n1 1 1\n", "binary OFF is not read; accepted is OFF in text"),
        ("a.off", "hello\n", "the header is not OFF, COFF, NOFF or STOFF"),
        ("a.off", "OFF\n", "the counts of vertices and faces are missing"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n", "face 1 names vertex 9, but the vertices are 0 to 2"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 0.5\n", "a face has a corner that is not a whole number"),
        ("a.stl", "solid a\n", "has no faces (0 vertices)"),
        (
            "a.stl",
            "solid a\nfacet normal 0 0 1\nvertex 0 0 0\nendfacet\nendsolid",
            "truncated, or broken: a facet has not three vertex lines and an endfacet",
        ),
        (
            "a.stl",
            "solid a\nfacet normal 0 0 1\nvertex 0 0 0 vertex 1 0 0 vertex 0 1 endfacet\nendsolid",
            "vertex 3 has 'endfacet', which is not a number",
        ),
        (
            "a.obj",
            "v 0 0 0\nv 1,5 0 0\nv 0 1 0\nf 1 2 3\n",
            "vertex 2 has '1,5', which is not a number: a decimal comma; accepted: a point",
        ),
        (
            "a.obj",
            "v 0 0 0\nv 1d0 0 0\nv 0 1 0\nf 1 2 3\n",
            "vertex 2 has '1d0', which is not a number: a Fortran exponent; accepted: one with e",
        ),
        ("a.stl", b"1234567", "truncated: an STL header has 84 bytes, 7 are there"),
        ("a.ply", "plx\n", "not a PLY file"),
        ("a.ply", "ply\nelement vertex 3\nend_header\n", "the PLY header names no format"),
        (
            "a.ply",
            "ply\nformat ascii 1.0\nelement vertex x\nend_header\n",
            "the PLY header has the line 'element vertex x'",
        ),
        (
            "a.ply",
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float u\nend_header\n1\n",
            "the PLY vertices have no x, y, z, only 'u'",
        ),
        ("a.glb", b"glTX" + b"\0" * 40, "not a GLB file: it does not begin with glTF"),
        ("a.glb", b"glTF", "truncated: a GLB header has 20 bytes, 4 are there"),
        ("a.glb", struct.pack("<4sIII4s", b"glTF", 1, 20, 0, b"JSON"), "GLB version is 1; accepted is 2"),
        ("a.gltf", "[]", "its JSON is not an object"),
        (
            "a.gltf",
            "[" * 200_000,
            "its JSON is broken: maximum recursion depth exceeded while decoding a JSON array from",
        ),
    ],
)
def test_broken_headers_are_refused(tmp_path, name, content, reason):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name}: {reason}')}") as caught:
        meshfile.load(path)
    assert "recursion" in reason or str(caught.value) == f"{name}: {reason}"


def test_what_is_no_file_is_refused(tmp_path):
    refused(tmp_path / "none.obj", "no such file")
    (tmp_path / "folder.obj").mkdir()
    refused(tmp_path / "folder.obj", "is a folder")
    os.mkfifo(tmp_path / "pipe.obj")
    refused(tmp_path / "pipe.obj", "is not a file")
    (tmp_path / "broken.obj").symlink_to("nothing")
    refused(tmp_path / "broken.obj", "is a link to nothing")
    refused(write(tmp_path, "mesh", "v 0 0 0"), f"unknown format ''; {FORMATS}")


@pytest.mark.parametrize("kind", ["ply", "obj", "stl", "off", "glb", "gltf", "ascii.ply", "ascii.stl"])
def test_flipped_bytes_give_a_mesh_or_one_line(tmp_path, kind):
    encoding = {"ascii.ply": ("ply", {"encoding": "ascii"}), "ascii.stl": ("stl_ascii", {})}
    file_type, options = encoding.get(kind, (kind, {}))
    if kind == "gltf":
        whole = json.dumps(gltf(CUBE.vertices, CUBE.faces)).encode()
    else:
        whole = CUBE.export(file_type=file_type, **options)
    whole = np.frombuffer(whole.encode() if isinstance(whole, str) else whole, np.uint8)
    generator = np.random.default_rng(7)
    outcomes = []
    for _ in range(400):
        damaged = whole.copy()
        places = generator.integers(len(whole), size=generator.integers(1, 6))
        damaged[places] = generator.integers(256, size=len(places))
        outcomes.append(outcome(write(tmp_path, f"cube.{kind}", damaged.tobytes())))
    messages = [text for text in outcomes if text is not None]
    assert 0 < len(messages) < len(outcomes)
    assert all(re.fullmatch(rf"cube\.{re.escape(kind)}: [^\n]+", text) for text in messages)


def test_a_sphere_far_from_the_origin_has_the_area_and_volume_of_the_one_at_it(data_folder):
    mesh = meshfile.load(data_folder / "reports" / "sphere20m_utm.ply")
    found = trimesh.Trimesh(mesh.vertices - mesh.vertices.mean(0), mesh.faces, process=False)
    assert mesh.vertices.dtype == np.float64
    assert found.area == pytest.approx(1256, rel=5e-3)
    assert found.volume == pytest.approx(4187, rel=5e-3)
    centred = meshfile.load((mesh.vertices - np.round(mesh.vertices.mean(0)), mesh.faces))
    assert meshes.face_areas(mesh).sum() == pytest.approx(meshes.face_areas(centred).sum(), rel=1e-6)
    np.testing.assert_array_equal(centred.faces, mesh.faces)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_written_ply_is_read_as_it_was_and_by_others(tmp_path, kind):
    ball = trimesh.creation.icosphere(1)
    mesh = Mesh(np.asarray(ball.vertices, kind) / kind(3), ball.faces)
    (tmp_path / "ball.ply").write_bytes(ply.write(mesh))
    found = ply.read(ply.write(mesh))
    np.testing.assert_array_equal(found.positions, mesh.vertices)
    np.testing.assert_array_equal(found.corners, mesh.faces.reshape(-1))
    np.testing.assert_array_equal(trimesh.load(tmp_path / "ball.ply", process=False).vertices, mesh.vertices)


def reports():
    """The small inputs made after public bug reports: file, kind, and what must come out; none where they are absent."""
    here = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("HEXJAX_DATA", here)) / "reports"
    manifest = folder / "manifest.csv"
    return list(csv.DictReader(manifest.read_text(encoding="utf-8").splitlines())) if manifest.is_file() else []


FILES = [row for row in reports() if not row["kind"].startswith("geometry")]


@pytest.mark.parametrize("row", FILES, ids=lambda row: row["file"])
def test_reports_come_out_as_they_must(data_folder, row):
    path = data_folder / "reports" / row["file"]
    if row["must"].startswith("a refusal"):
        with pytest.raises(ValueError, match=r"a decimal comma|a Fortran exponent"):
            meshfile.load(path)
        return
    mesh, found = meshfile.inspect(path)
    told, corners = " ".join(meshfile.mended(found)), np.float64(mesh.vertices)[mesh.faces]
    edges = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(*edges), axis=1).sum() / 2
    volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    if "sphere20m" in row["file"]:
        ball = trimesh.creation.icosphere(5, 20.0 / 2)  # of as many faces, at the origin
        assert (area, volume) == pytest.approx((ball.area, ball.volume), rel=1e-4)
    elif row["file"] == "node_visibility.glb":
        assert told == "not applied: hidden nodes"
    else:
        near = 1 / 127 if "5120" in row["file"] else 5e-3 if "quant" in row["file"] else 1e-6
        assert len(mesh.faces) == 12
        assert (area, volume) == pytest.approx((62, 30), rel=3 * near)
    for words in TOLD.values():
        assert (words in told) == (TOLD.get(path.stem) == words), told


TOLD = {
    "obj_two_gon": "1 face of fewer than 3 corners left out",
    "ply_two_gon": "1 face of fewer than 3 corners left out",
    "stl_bin_count_less": "the header counts 7 triangles and the file holds 12, which are read",
    "unused_mesh_bad": "1 of its meshes, which no node shows, left out",
    "primitive_without_position": "a primitive without positions left out",
    "morph_mesh_weights": "not applied: morph targets",
    "skin_joint_moves": "not applied: skins that move",
    "node_visibility": "not applied: hidden nodes",
}


@pytest.mark.parametrize("end", ["\\\n", "\\  \n", "\\\r\n"])
def test_a_backslash_continues_a_line_of_vertices_or_faces_and_no_other(tmp_path, end):
    whole = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    cut = whole.replace("v 1 0 0", f"v 1{end}0 0").replace("f 1 2 4", f"f {end} 1 {end}2 4")
    for word in ("# a comment", "mtllib a", "usemtl b", "g c", "vn 0 0"):
        cut = cut.replace("\nf 1 4 3", f"\n{word} {end}f 1 4 3").replace("\nv 0 0 1", f"\n{word}{end}v 0 0 1")
    expected, found = (meshfile.load(write(tmp_path, name, text)) for name, text in (("a.obj", whole), ("b.obj", cut)))
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    np.testing.assert_array_equal(found.faces, expected.faces)


@pytest.mark.parametrize(("count", "told"), [(0, False), (2**32 - 1, False), (5, True), (12, False)])
def test_a_binary_stl_holds_what_its_size_says(tmp_path, count, told):
    whole = CUBE.export(file_type="stl")
    path = write(tmp_path, "a.stl", whole[:80] + count.to_bytes(4, "little") + whole[84:])
    mesh, found = meshfile.inspect(path)
    assert len(mesh.faces) == 12
    words = f"the header counts {count} triangles and the file holds 12, which are read"
    assert list(meshfile.mended(found)) == [words] * told
    behind = write(tmp_path, "b.stl", path.read_bytes()[:80] + (12).to_bytes(4, "little") + whole[84:] + bytes(60))
    assert list(meshfile.mended(meshfile.inspect(behind)[1])) == ["60 bytes behind the triangles passed over"]


@pytest.mark.slow
def test_mutated_files_load_or_are_refused_in_a_line(data_folder, tmp_path):
    random = np.random.default_rng(0)
    files = [file for name in ("reports", "nasty") for file in sorted((data_folder / name).iterdir())]
    files = [file for file in files if file.suffix in meshfile.READERS and 0 < file.stat().st_size < 20_000]
    for number in range(4000):
        file = files[number % len(files)]
        content = bytearray(file.read_bytes())
        for _ in range(random.integers(1, 4)):
            place, length = random.integers(len(content)), int(random.integers(1, 9))
            change = random.integers(4)
            if change == 0:
                content[place] ^= 1 << random.integers(8)
            elif change == 1:
                del content[place : place + length]
            elif change == 2:
                content[place:place] = content[-length:]
            else:
                content[place : place + length] = random.bytes(length)
            content = content or bytearray(b"\n")
        path = write(tmp_path, f"a{file.suffix}", bytes(content))
        mesh, told = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)), ""
        try:
            mesh, _ = meshfile.inspect(path)
        except ValueError as error:
            told = str(error)
        assert "\n" not in told
        assert np.isfinite(mesh.vertices).all()
        assert mesh.faces.max(initial=-1) < max(len(mesh.vertices), 1)
