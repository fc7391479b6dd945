"""What config.data names becomes items; what it cannot become is refused in one line."""

import contextlib
import errno
import os
import pathlib
import re
import socket

import numpy as np
import pooch
import pytest
import requests
import trimesh

from hexjax import names
from hexjax.data import meshfile, procedural, solids, sources
from hexjax.evaluation import evaluate
from hexjax.geometry import frame
from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh
from tests import toys

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
    with refuses(MISSING.format(names.shown(path), "no such file or folder as 'nowhere'")):
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


def test_a_shape_of_points_is_centred_in_float64_and_an_evaluation_refuses_it(tmp_path):
    (tmp_path / "dots.xyz").write_text("1e8 0 0\n100000001 0 0\n1e8 0.5 0\n")
    (item,) = take(tmp_path)
    assert len(item.mesh.faces) == 0
    np.testing.assert_allclose(
        item.mesh.vertices, [[-0.95, -0.475, 0], [0.95, -0.475, 0], [-0.95, 0.475, 0]], atol=1e-6
    )
    found = meshes.to_source(item.mesh, item.similarity).vertices
    np.testing.assert_allclose(found, item.source.vertices, rtol=0, atol=1e-7)
    with refuses("dots is points without faces; accepted for a score: meshes with faces"):
        evaluate.check([item])


TREE = ("02691156/1a04e/models/model_normalized.obj", "02691156/2b/models/model_normalized.obj", "plain.obj")


def grow(folder, files, content=OBJ):
    """A folder with such files of meshes in it, in folders that are made."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_folders_are_searched_and_shapes_named_by_their_paths(tmp_path):
    grow(tmp_path, (*TREE, "glbs/000-023/a.off"))
    (tmp_path / "glbs/000-023/a.off").write_text(
        "OFF 4 4 0\n0 0 0\n1 0 0\n0 2 0\n0 0 3\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    )
    expected = [name.rpartition(".")[0] for name in (*TREE[:2], "glbs/000-023/a.off", TREE[2])]
    assert [item.name for item in take(tmp_path)] == expected
    assert [item.name for item in take(tmp_path, count=2)] == expected[:2]
    assert [item.name for item in take(f"{tmp_path},{tmp_path}", count=6)][4:] == [f"{name}_2" for name in expected[:2]]


def test_what_is_hidden_in_a_folder_is_passed_over_but_may_be_named_itself(tmp_path, capsys):
    grow(tmp_path, ("a.obj", ".b.obj", "sub/._a.obj", ".git/c.obj", "__MACOSX/a.obj", "sub/.DS_Store", "sub/d.obj"))
    assert [item.name for item in take(tmp_path)] == ["a", "sub/d"]
    assert capsys.readouterr().err == ""
    assert [item.name for item in take(f"{tmp_path / '.git'},{tmp_path / '.b.obj'}")] == ["c", ".b"]


def test_files_below_that_differ_only_in_suffix_or_case_keep_both(tmp_path):
    grow(tmp_path, ("sub/a.obj", "sub/A.obj", "other/a.obj"))
    save(tmp_path / "sub" / "a.npz", TETRAHEDRON)
    assert [item.name for item in take(tmp_path)] == ["other/a", "sub/A", "sub/a_npz", "sub/a_obj"]


def test_links_to_folders_are_followed_once_and_never_in_a_circle(tmp_path):
    grow(tmp_path / "real", ("a.obj", "sub/b.obj"))
    grow(tmp_path / "elsewhere", ("c.obj",))
    (tmp_path / "real" / "sub" / "up").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "self").symlink_to(tmp_path / "real" / "self")
    (tmp_path / "real" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "real" / "twice").symlink_to(tmp_path / "elsewhere")
    assert [item.name for item in take(tmp_path / "real")] == ["a", "other/c", "sub/b"]


def test_a_folder_below_that_may_not_be_read_is_left_out_in_a_line(tmp_path, monkeypatch, capsys):
    grow(tmp_path, ("a.obj", "shut/b.obj"))
    scandir = os.scandir

    def guarded(place):
        if pathlib.Path(place).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", guarded)
    assert [item.name for item in take(tmp_path)] == ["a"]
    assert capsys.readouterr().err.splitlines() == [
        "left out: shut: permission denied",
        f"1 of 2 files in {tmp_path.name} were left out",
    ]
    with refuses("config.data.path is 'shut'; permission denied"):
        take(tmp_path / "shut")


def test_head_sets_in_folders_below_are_head_sets_or_told(tmp_path, capsys):
    grow(tmp_path, ("a.obj", "heads/beside.obj", "wrong/b.obj"))
    save(tmp_path / "heads" / "heads.npz", HEADS)
    save(tmp_path / "wrong" / "heads.npz", HEADS, delta=np.zeros((2, 5, 3), np.int16))
    assert [item.name for item in take(tmp_path)] == ["a", "heads/head_0000", "heads/head_0001"]
    assert capsys.readouterr().err.splitlines() == [
        "left out: wrong/heads.npz: delta is int16 (2, 5, 3); accepted: numbers (i, 4, 3)",
        f"1 of 4 files in {tmp_path.name} were left out",
    ]


def test_of_a_large_tree_only_what_is_asked_for_is_loaded(tmp_path, monkeypatch):
    def walk(root):
        return [(f"{number:05d}/models/model_normalized.obj", "") for number in range(5_000)]

    monkeypatch.setattr(sources, "_walk", walk)
    listed = sources.listing(str(tmp_path), "procedural", 3, 0)
    assert (len(listed), listed[-1].name) == (5_000, "04999/models/model_normalized")
    grow(tmp_path, [f"{number:05d}/models/model_normalized.obj" for number in range(3)])
    assert len(sources.load(listed, "y", 3)) == 3
    with refuses("config.data.count is 5001; accepted: 0 (all) to 5000, which is all there is"):
        sources.listing(str(tmp_path), "procedural", 5_001, 0)


def test_what_is_no_file_is_left_out_or_refused_and_never_waited_for(tmp_path, capsys):
    grow(tmp_path, ("z.obj",))
    for name in ("pipe.obj", "pipe.npz"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "link.ply").symlink_to(tmp_path / "nothing")
    (tmp_path / "null.stl").symlink_to("/dev/zero")
    (tmp_path / "circle.obj").symlink_to(tmp_path / "circle.obj")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as end:
        end.bind(os.path.relpath(tmp_path / "socket.glb"))
    assert [item.name for item in take(tmp_path)] == ["z"]
    assert capsys.readouterr().err.splitlines() == [
        "left out: circle.obj: too many levels of symbolic links",
        "left out: link.ply: is a link to nothing",
        "left out: null.stl: is not a file",
        "left out: pipe.npz: is not a file",
        "left out: pipe.obj: is not a file",
        "left out: socket.glb: is not a file",
        f"6 of 7 files in {tmp_path.name} were left out",
    ]
    for name in ("pipe.obj", "pipe.npz", "null.stl"):
        with refuses(f"{name}: is not a file"):
            take(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("-x", "-x"),
        ("x" * 246, "x" * 246),
        ("te\u0302te", "te\u0302te"),
        ("a\nb\t", "a\\nb\\t"),
        ("a\udcff", "a\\udcff"),
        ("头 x", "头 x"),
        ("a.b", "a.b"),
        ("~x", "~x"),
    ],
)
def test_any_name_loads_and_is_named_printably(tmp_path, monkeypatch, capsys, file, name):
    monkeypatch.chdir(tmp_path)
    grow(tmp_path, (f"{file}.obj", f"{file}/{file}.obj"))
    for path in (f"{file}.obj", f"./{file}.obj", tmp_path / f"{file}.obj"):
        assert [item.name for item in take(path)] == [name]
    for path in (f"{file}", f"./{file}/", f"{tmp_path}/./{file}//"):
        assert [item.name for item in take(path)] == [name]
    (tmp_path / f"{file}.obj").write_text("")
    take(tmp_path)
    told = capsys.readouterr().err
    assert told.splitlines() == [
        f"left out: {name}.obj: is empty (0 bytes)",
        f"1 of 2 files in {tmp_path.name} were left out",
    ]
    assert told.replace("\n", "").isprintable()


def test_files_left_out_are_named_up_to_ten(tmp_path, capsys):
    grow(tmp_path, ("z.obj",))
    grow(tmp_path, [f"{number:02d}.obj" for number in range(12)], "")
    take(tmp_path)
    told = capsys.readouterr().err.splitlines()
    assert told[:10] == [f"left out: {number:02d}.obj: is empty (0 bytes)" for number in range(10)]
    assert told[10:] == [f"12 of 13 files in {tmp_path.name} were left out"]


def test_the_progress_of_many_shapes_is_told(tmp_path, monkeypatch, capsys):
    grow(tmp_path, ("a.obj", "c.obj"))
    grow(tmp_path, ("b.obj",), "")
    now = iter(range(0, 60, 6))
    monkeypatch.setattr(sources.progress.time, "monotonic", lambda: next(now))
    take(tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        "loading 1/3",
        "left out: b.obj: is empty (0 bytes)",
        "loading 3/3  0:00 left",
        f"1 of 3 files in {tmp_path.name} were left out",
    ]


TURNED = OBJ.replace("f 1 3 2", "f 1 2 3")
INSIDE_OUT = "v 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 2 3\nf 1 4 2\nf 1 3 4\nf 2 4 3\n"


def test_what_was_mended_at_load_is_told_in_a_line_a_shape(tmp_path, capsys):
    grow(tmp_path, ("plain.obj",))
    grow(tmp_path, ("turned.obj",), TURNED)
    grow(tmp_path, ("both.obj",), INSIDE_OUT + "f 2 4 3\nf 1 1 2\n")
    take(tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        "both: 100.0% of the faces turned to face outward; 33.3% of the faces dropped, doubled or collapsed",
        "turned: 25.0% of the faces turned to face outward",
    ]


def test_what_was_mended_in_many_shapes_is_told_in_a_line_each_kind(tmp_path, capsys):
    grow(tmp_path, [f"{number}.obj" for number in range(3)], TURNED)
    grow(tmp_path, [f"{number}.obj" for number in range(3, 5)], INSIDE_OUT + "f 1 1 2\n")
    fin = "v 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nv 1 1 1\nf 1 2 3\nf 1 2 4\nf 1 2 5\n"
    grow(tmp_path, ("fin.obj",), fin)
    take(tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        "5 shapes (0, 1, 2, ...): faces turned to face outward",
        "2 shapes (3, 4): faces dropped, doubled or collapsed",
        "1 shapes (fin): the winding could not be made consistent; some normals may be flipped",
    ]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (MemoryError(), "it does not fit into memory"),
        (OSError(errno.EIO, "Input/output error"), "input/output error"),
        (TimeoutError(), "timeouterror"),
    ],
)
def test_faults_of_the_machine_are_told_of_the_shape(tmp_path, monkeypatch, capsys, fault, reason):
    def fail(*_):
        raise fault

    kind = MemoryError if isinstance(fault, MemoryError) else ValueError
    monkeypatch.setattr(procedural, "head", fail)
    with pytest.raises(kind, match=f"^head_0002: {reason}$"):
        take(count=1, seed=2)
    place = grow(tmp_path, ("a.obj",))
    with monkeypatch.context() as patch:
        patch.setattr(meshes, "normalise", fail)
        with pytest.raises(kind, match=f"^a: {reason}$"):
            take(place)
    grow(tmp_path, ("b.obj",))
    inspect = meshfile.inspect
    monkeypatch.setattr(meshfile, "inspect", lambda path: fail() if path.stem == "b" else inspect(path))
    assert [item.name for item in take(tmp_path)] == ["a"]  # one of a folder is left out
    assert f"left out: b: {reason}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "reason"), [(None, "not a directory"), (PermissionError("pooch's own words"), "permission denied")]
)
def test_a_cache_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, monkeypatch, fault, reason):
    def fail(*_, **__):
        raise fault

    (tmp_path / "file").touch()
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "file" / name)
    if fault:
        monkeypatch.setattr(pooch, "retrieve", fail)
    reason = f"it cannot be stored in the cache folder ({reason})"
    tail = "accepted offline: procedural, solids, or a file of yours in config.data.path"
    with refuses(f"config.data.source is 'spot'; {reason}; {tail}"):
        take(source="spot", count=1)


def test_a_file_that_does_not_load_is_refused(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    with refuses("a.obj: has no faces (1 vertices)"):
        take(tmp_path / "a.obj")


def test_paths_without_meshes_are_refused(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    accepted = ".glb, .gltf, .obj, .off, .ply, .stl, .xyz, .npz"
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
    with refuses("config.data.source is 'bunny'; accepted: procedural, solids, latents, demosthenes, goathead, spot"):
        take(source="bunny", count=1)


def test_the_config_knows_every_source():
    assert {*sources.PUBLIC} == {*names.SOURCES} - {"procedural", "solids", "latents"}


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


@pytest.mark.slow
def test_every_nasty_file_gives_a_ceiling_or_a_line(data_folder, tmp_path, capsys):
    far = grow(tmp_path / "far", ("a.obj", "b/c.obj"), OBJ.replace("v 1 0 0", "v 1e30 0 0"))
    grow(far, ("all.obj",), OBJ.replace("v 1 0 0", "v 1e30 1e30 1e30"))
    config = toys.config_of("hexplane_ae", "surface", **{"data.count": 0})
    config.data.path = f"{data_folder / 'nasty'},{far}"
    loaded = sources.items(config.data.path, "procedural", "y", 0, 0)
    told = capsys.readouterr().err.splitlines()
    meshes = [item for item in loaded if len(item.mesh.faces)]  # points have no ceiling
    scores = evaluate.ceiling(toys.family_of(config), meshes, config, tmp_path / "run")
    listed = sources.listing(config.data.path, "procedural", 0, 0)
    assert len(scores["items"]) == len(meshes) == len(loaded) - 2
    assert told[-1] == f"{len(listed) - len(loaded)} of {len(listed)} files in nasty,far were left out"
    assert sum(line.startswith("left out: ") for line in told) == sources.TOLD


def test_shapes_are_taken_by_their_names_in_their_order(tmp_path):
    for name in ("ball", "cone", "cube"):
        trimesh.creation.box((1, 2, 3)).export(tmp_path / f"{name}.ply")
    listed = sources.listing(str(tmp_path), "", 0, 0, ("cube", "ball"))
    assert [entry.name for entry in listed] == ["cube", "ball"]
    assert [item.name for item in sources.items(str(tmp_path), "", "y", 1, 0, ("cube", "ball"))] == ["cube"]
    with pytest.raises(ValueError) as refused:
        sources.listing(str(tmp_path), "", 0, 0, ("cube", "bal"))
    text = (
        "config.data.names has 'bal', which config.data.path does not; nearest: ball; accepted: names of its 3 shapes"
    )
    assert str(refused.value) == text


def test_a_place_without_categories_beside_one_with_them_is_a_category(tmp_path):
    for place in ("many/chair/one", "many/lamp/two", "made/three", "four"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.box((1, 2, 3)).export(tmp_path / f"{place}.ply")
    path = f"{tmp_path / 'many'},{tmp_path / 'made'},{tmp_path / 'four.ply'}"
    assert [each.category for each in sources.listing(path, "", 0, 0)] == ["chair", "lamp", "made", "four"]
    assert [each.category for each in sources.listing(path.partition(",")[2], "", 0, 0)] == ["", ""]
