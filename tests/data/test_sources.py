"""What config.data names becomes items; what it cannot become is refused in one line."""

import re

import numpy as np
import pooch
import pytest
import requests

from hexjax import rules
from hexjax.data import meshfile, procedural, solids, sources
from hexjax.geometry import frame
from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh

TETRAHEDRON = {
    "vertices": np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32),
    "faces": np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32),
}
OBJ = "v 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
HEADS = {
    "mean": TETRAHEDRON["vertices"],
    "faces": TETRAHEDRON["faces"],
    "scale": np.float32(0.5),
    "delta": np.array([np.zeros((4, 3)), np.eye(4, 3)], np.int16),
}
LOW = {
    "faces": TETRAHEDRON["faces"],
    "corner": np.array([[0, 1, 2], [1, 1, 1], [2, 2, 2], [3, 3, 3]], np.int32),
    "weight": np.array([[0.5, 0.5, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.float32),
}


def take(path="", source="procedural", up="y", count=0, seed=0):
    return sources.items(str(path), source, up, count, seed)


def refuses(text):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def save(file, arrays, **changes):
    np.savez(file, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return file


def test_procedural_heads_are_named_by_their_seed(monkeypatch):
    tetrahedron = Mesh(TETRAHEDRON["vertices"], TETRAHEDRON["faces"])
    monkeypatch.setattr(procedural, "head", lambda seed: tetrahedron._replace(vertices=tetrahedron.vertices + seed))
    first, second = take(count=2, seed=3)
    assert (first.name, second.name) == ("head_0003", "head_0004")
    assert np.abs(first.mesh.vertices).max() == pytest.approx(1 - frame.MARGIN)
    np.testing.assert_array_equal(take(count=1, seed=4)[0].source.vertices, second.source.vertices)


def test_solids_are_named_by_their_kind_and_number():
    found = take(source="solids", count=3, seed=4)
    assert [item.name for item in found] == ["tree_0004", "letter_0005", "table_0006"]
    np.testing.assert_array_equal(found[1].source.vertices, solids.shape(5).vertices)


def test_the_similarity_leads_back_to_the_source(tmp_path):
    (tmp_path / "tetrahedron.obj").write_text(OBJ)
    (item,) = take(tmp_path / "tetrahedron.obj", up="z", count=1)
    assert item.name == "tetrahedron"
    back = meshes.to_source(item.mesh, item.similarity)
    np.testing.assert_allclose(back.vertices, item.source.vertices, atol=1e-6)


def test_several_places_give_their_meshes_in_order_each_with_a_name_of_its_own(tmp_path):
    for folder in ("first", "second", "heads"):
        (tmp_path / folder).mkdir()
    for file in ("first/b.obj", "first/a.obj", "second/a.obj", "a.obj", "second/a_2.obj"):
        (tmp_path / file).write_text(OBJ)
    save(tmp_path / "heads" / "heads.npz", HEADS)
    found = take(",".join(str(tmp_path / name) for name in ("second", "heads", "first", "a.obj")))
    assert [item.name for item in found] == ["a", "a_2", "head_0000", "head_0001", "a_3", "b", "a_4"]
    assert [item.name for item in take(f"{tmp_path / 'heads'},{tmp_path / 'first'}", count=3)][2] == "a"


def test_a_path_with_a_comma_that_is_there_is_one_place(tmp_path):
    (tmp_path / "a,b.obj").write_text(OBJ)
    assert [item.name for item in take(tmp_path / "a,b.obj")] == ["a,b"]


def test_a_missing_one_of_several_places_is_refused_by_name(tmp_path):
    (tmp_path / "a.obj").write_text(OBJ)
    with refuses("config.data.path is 'nowhere'; there is no such file or folder"):
        take(f"{tmp_path / 'a.obj'},{tmp_path / 'nowhere'}")
    with refuses("config.data.path has nothing, or a dot, beside one of its commas; accepted: a path each"):
        take(f"{tmp_path / 'a.obj'},")


def test_a_file_of_a_folder_that_does_not_load_is_left_out_but_one_named_itself_is_refused(tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    for file in ("folder/a.obj", "b.obj"):
        (tmp_path / file).write_text("v 0 0 0\n")
    for file in ("folder/c.obj", "d.obj"):
        (tmp_path / file).write_text(OBJ)
    assert [item.name for item in take(f"{tmp_path / 'd.obj'},{tmp_path / 'folder'}")] == ["d", "c"]
    assert capsys.readouterr().err.splitlines()[-1] == "1 of 2 files in folder were left out"
    with refuses("b.obj: has no faces (1 vertices)"):
        take(f"{tmp_path / 'folder'},{tmp_path / 'b.obj'}")


def test_the_config_and_the_data_read_a_path_alike(tmp_path):
    (tmp_path / "a,b").mkdir()
    for path in ("", "one", "one,two", "~/one,two", str(tmp_path / "a,b"), str(tmp_path / "a,c")):
        assert rules.places(path) == sources.places(path)


def test_a_folder_gives_its_meshes_in_alphabetical_order(tmp_path):
    save(tmp_path / "b.npz", TETRAHEDRON)
    for name in ("c.obj", "a.OBJ"):
        (tmp_path / name).write_text(OBJ)
    (tmp_path / "notes.md").write_text("no mesh")
    assert [item.name for item in take(tmp_path)] == ["a", "b", "c"]
    assert [item.name for item in take(tmp_path, count=2)] == ["a", "b"]


def test_files_of_one_stem_get_names_of_their_own(tmp_path):
    (tmp_path / "a.obj").write_text(OBJ)
    save(tmp_path / "a.npz", TETRAHEDRON)
    assert [item.name for item in take(tmp_path)] == ["a_npz", "a_obj"]


def test_files_that_do_not_load_are_told_and_do_not_count(tmp_path, capsys):
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    (tmp_path / "b.obj").write_text(OBJ)
    save(tmp_path / "c.npz", HEADS)
    assert [item.name for item in take(tmp_path)] == ["b"]
    assert capsys.readouterr().err.splitlines() == [
        "left out: a.obj: has no faces (1 vertices)",
        "left out: c.npz: holds 2 meshes; accepted in a folder: one a file",
        f"2 of 3 files in {tmp_path.name} were left out",
    ]


def test_a_head_set_adds_its_deltas_to_the_mean(tmp_path):
    save(tmp_path / "heads.npz", HEADS)
    save(tmp_path / "lowres.npz", LOW)
    for path in (tmp_path, tmp_path / "heads.npz"):
        items = take(path)
        assert [item.name for item in items] == ["head_0000", "head_0001"]
        np.testing.assert_array_equal(items[1].source.vertices, HEADS["mean"] + 0.5 * np.eye(4, 3, dtype=np.float32))
    low = take(tmp_path / "lowres.npz")
    np.testing.assert_allclose(low[0].source.vertices[0], [0.5, 0, 0])


def test_a_file_that_does_not_load_is_refused(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    with refuses("a.obj: has no faces (1 vertices)"):
        take(tmp_path / "a.obj")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"faces": None},
            "has the arrays vertices; accepted: vertices faces | mean faces scale delta | faces corner weight",
        ),
        ({"faces": np.zeros((2, 4), int)}, "faces is int64 (2, 4); accepted: whole numbers (f, 3)"),
        ({"faces": np.zeros((2, 3))}, "faces is float64 (2, 3); accepted: whole numbers (f, 3)"),
        ({"faces": np.array([[0, 1, 9]])}, "face 1 names vertex 9, but the vertices are 0 to 3"),
        ({"faces": np.zeros((0, 3), int)}, "has no faces (4 vertices)"),
        ({"vertices": np.zeros(3)}, "vertices is float64 (3,); accepted: numbers (n, 3)"),
        ({"vertices": np.full((4, 3), np.nan)}, "4 of 4 vertices used by faces are NaN or infinite"),
    ],
)
def test_a_wrong_npz_mesh_is_refused(tmp_path, changes, text):
    save(tmp_path / "wrong.npz", TETRAHEDRON, **changes)
    with refuses(f"wrong.npz: {text}"):
        take(tmp_path / "wrong.npz")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"delta": np.zeros((2, 5, 3), np.int16)}, "heads.npz: delta is int16 (2, 5, 3); accepted: numbers (i, 4, 3)"),
        ({"scale": np.ones(2, np.float32)}, "heads.npz: scale is float32 (2,); accepted: floats ()"),
        ({"mean": np.zeros((4, 3), int)}, "heads.npz: mean is int64 (4, 3); accepted: floats (n, 3)"),
        ({"scale": np.float32(np.nan)}, "heads.npz: head_0000: 4 of 4 vertices used by faces are NaN or infinite"),
    ],
)
def test_a_wrong_head_set_is_refused(tmp_path, changes, text):
    save(tmp_path / "heads.npz", HEADS, **changes)
    with refuses(text):
        take(tmp_path)


def test_a_low_head_set_needs_the_full_one(tmp_path):
    save(tmp_path / "lowres.npz", LOW)
    with refuses("lowres.npz: needs heads.npz beside it, which is missing"):
        take(tmp_path / "lowres.npz")
    save(tmp_path / "heads.npz", HEADS, delta=None)
    with refuses("heads.npz: lacks the arrays delta"):
        take(tmp_path / "lowres.npz")
    save(tmp_path / "heads.npz", HEADS)
    save(tmp_path / "lowres.npz", LOW, corner=LOW["corner"] + 1)
    with refuses("lowres.npz: corner runs from 1 to 4; accepted: 0 to 3"):
        take(tmp_path / "lowres.npz")
    save(tmp_path / "lowres.npz", LOW, weight=LOW["weight"][:2])
    with refuses("lowres.npz: weight is float32 (2, 3); accepted: floats (4, 3)"):
        take(tmp_path / "lowres.npz")


def test_pickles_and_damaged_archives_are_refused(tmp_path):
    np.savez(tmp_path / "object.npz", vertices=np.array([{}], object), faces=TETRAHEDRON["faces"])
    np.save(tmp_path / "array.npy", TETRAHEDRON["vertices"])
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    whole = save(tmp_path / "whole.npz", TETRAHEDRON).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, kind in (
        ("object", "ValueError"),
        ("array", "BadZipFile"),
        ("half", "BadZipFile"),
        ("empty", "BadZipFile"),
    ):
        with refuses(f"{name}.npz: not a readable NPZ archive ({kind})"):
            take(tmp_path / f"{name}.npz")


def test_paths_without_meshes_are_refused(tmp_path):
    with refuses("config.data.path is 'nowhere'; there is no such file or folder"):
        take(tmp_path / "nowhere")
    folder = tmp_path / "bare"
    folder.mkdir()
    accepted = ".glb, .gltf, .obj, .off, .ply, .stl, .npz"
    with refuses(f"config.data.path is 'bare', a folder without meshes; accepted: {accepted}"):
        take(folder)
    for name in "ab":
        (folder / f"{name}.obj").write_text("")
    with refuses("config.data.path is 'bare'; none of its 2 files loads"):
        take(folder)


def test_more_shapes_than_there_are_are_refused(tmp_path):
    (tmp_path / "a.obj").write_text(OBJ)
    with refuses("config.data.count is 2; accepted: 0 (all) to 1, which is all there is"):
        take(tmp_path / "a.obj", count=2)
    for source in ("procedural", "solids"):
        with refuses(f"config.data.count is 0; config.data.source = {source} accepts 1 and above"):
            take(source=source, count=0)


def test_an_unknown_source_is_refused():
    with refuses("config.data.source is 'bunny'; accepted: procedural, solids, demosthenes, goathead, spot"):
        take(source="bunny", count=1)


def test_the_config_knows_every_source():
    assert rules.SOURCES == sources.NAMES


def test_a_public_mesh_is_fetched_once_into_the_users_cache(tmp_path, monkeypatch):
    calls = []

    def retrieve(url, known_hash, fname, path):
        calls.append((url, known_hash, fname, path))
        (tmp_path / fname).write_text(OBJ)
        return str(tmp_path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    (item,) = take(source="goathead", count=1)
    assert item.name == "goathead"
    ((url, known_hash, fname, path),) = calls
    assert url == f"{sources.COLLECTION}goathead/goathead.obj"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", known_hash)
    assert (fname, path) == ("goathead.obj", pooch.os_cache("hexjax"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.exceptions.ConnectionError("no route\nto host"), "it cannot be fetched (ConnectionError)"),
        (ValueError("SHA256 hash of downloaded file does not match"), "what was fetched has another SHA-256"),
    ],
)
def test_a_public_mesh_that_cannot_be_fetched_is_told_in_one_line(monkeypatch, error, reason):
    def retrieve(*_, **__):
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    address = f"{sources.COLLECTION}spot/spot_low_resolution.obj"
    tail = "accepted offline: procedural, solids, or a file of yours in config.data.path"
    with refuses(f"config.data.source is 'spot'; {reason} from {address}; {tail}"):
        take(source="spot", count=1)


def test_real_head_set_in_both_resolutions(data_folder):
    folder = data_folder / "head_set"
    full, low = take(folder, count=2), take(folder / "lowres.npz", count=2)
    assert [item.name for item in full] == [item.name for item in low] == ["head_0000", "head_0001"]
    assert len(full[0].source.faces) == 25360
    assert len(low[0].source.faces) == 10999
    for one, other in zip(full, low):  # the same head: boxes agree to a centimetre
        np.testing.assert_allclose(one.source.vertices.max(0), other.source.vertices.max(0), atol=1)


def test_real_shapes_and_heads_together(data_folder):
    found = take(f"{data_folder / 'shapes'},{data_folder / 'head_set' / 'lowres.npz'}", count=2)
    assert len(found) == 2
    names = [name for name, _, _ in sources._all_at([data_folder / "shapes", data_folder / "head_set" / "lowres.npz"])]
    assert len(names) == len(set(names)) == 594 + 200
    assert names[-1] == "head_0199"


def test_real_shapes_and_heads(data_folder):
    shapes = take(data_folder / "shapes", count=3)
    assert [item.name for item in shapes] == sorted(item.name for item in shapes)
    assert len(sources._at(data_folder / "shapes")) == 594
    assert len(sources._at(data_folder / "head_set" / "heads.npz")) == 200
    (head,) = take(data_folder / "heads" / "leeperrysmith_5500.ply", count=1)
    np.testing.assert_array_equal(
        head.source.faces, meshfile.load(data_folder / "heads" / "leeperrysmith_5500.ply").faces
    )
