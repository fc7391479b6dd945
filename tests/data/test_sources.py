"""What config.data names becomes items; what it cannot become is refused in one line."""

import re

import numpy as np
import pooch
import pytest
import requests

from hexjax import names, rules
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


MISSING = "config.data.path is {}: {}; accepted: a mesh file, a folder of meshes or an NPZ set, or several with commas between"


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
    path = f"{tmp_path / 'a.obj'},{tmp_path / 'nowhere'}"
    with refuses(MISSING.format(names.quote(path), "no such file or folder as 'nowhere'")):
        take(path)
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


def test_a_file_that_does_not_load_is_refused(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    with refuses("a.obj: has no faces (1 vertices)"):
        take(tmp_path / "a.obj")


def test_paths_without_meshes_are_refused(tmp_path):
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


def test_real_shapes_and_heads_together(data_folder):
    found = take(f"{data_folder / 'shapes'},{data_folder / 'head_set' / 'lowres.npz'}", count=2)
    assert len(found) == 2
    listed = sources.listing(f"{data_folder / 'shapes'},{data_folder / 'head_set' / 'lowres.npz'}", "procedural", 0, 0)
    assert len(listed) == len({entry.name for entry in listed}) == 594 + 200
    assert listed[-1].name == "head_0199"


def test_real_shapes_and_heads(data_folder):
    shapes = take(data_folder / "shapes", count=3)
    assert [item.name for item in shapes] == sorted(item.name for item in shapes)
    assert len(sources._at(data_folder / "shapes")) == 594
    assert len(sources._at(data_folder / "head_set" / "heads.npz")) == 200
    (head,) = take(data_folder / "heads" / "leeperrysmith_5500.ply", count=1)
    np.testing.assert_array_equal(
        head.source.faces, meshfile.load(data_folder / "heads" / "leeperrysmith_5500.ply").faces
    )
