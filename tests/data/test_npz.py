"""What an NPZ archive gives, and what in it is refused in one line."""

import numpy as np
import pytest

from tests.data.test_sources import HEADS, LOW, TETRAHEDRON, refuses, save, take

ACCEPTED = "accepted: vertices faces | mean faces scale delta | faces corner weight | vertices | points"


@pytest.mark.parametrize("name", ["points", "vertices"])
def test_points_without_faces_are_a_shape_of_points(tmp_path, name):
    points = TETRAHEDRON["vertices"]
    for more in ({}, {"normals": points, "loc": np.zeros(3), "scale": np.float32(1)}):
        (item,) = take(save(tmp_path / "cloud.npz", {name: points} | more))
        np.testing.assert_array_equal(item.source.vertices, points)
        assert len(item.mesh.faces) == 0
    (item,) = take(save(tmp_path / "cloud.npz", {"vertices": points, "faces": np.zeros((0, 3), int)}))
    assert len(item.mesh.faces) == 0


def test_a_head_set_adds_its_deltas_to_the_mean(tmp_path):
    save(tmp_path / "heads.npz", HEADS)
    save(tmp_path / "lowres.npz", LOW)
    for path in (tmp_path, tmp_path / "heads.npz"):
        items = take(path)
        assert [item.name for item in items] == ["head_0000", "head_0001"]
        np.testing.assert_array_equal(items[1].source.vertices, HEADS["mean"] + 0.5 * np.eye(4, 3, dtype=np.float32))
    low = take(tmp_path / "lowres.npz")
    np.testing.assert_allclose(low[0].source.vertices[0], [0.5, 0, 0])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"faces": None, "face": np.zeros((2, 3), int)}, f"has the arrays vertices face; {ACCEPTED}"),
        ({"faces": None, "vertices": None, "points": np.eye(3), "occupancies": np.eye(3)},
         f"has the arrays points occupancies; {ACCEPTED}"),
        ({"faces": None, "vertices": np.eye(2)}, "vertices is float64 (2, 2); accepted: numbers (n, 3)"),
        ({"faces": np.zeros((2, 4), int)}, "faces is int64 (2, 4); accepted: whole numbers (f, 3)"),
        ({"faces": np.zeros((2, 3))}, "faces is float64 (2, 3); accepted: whole numbers (f, 3)"),
        ({"faces": np.array([[0, 1, 9]])}, "face 1 names vertex 9, but the vertices are 0 to 3"),
        ({"faces": None, "vertices": np.zeros((0, 3))}, "has no faces (0 vertices)"),
        ({"vertices": np.zeros(3)}, "vertices is float64 (3,); accepted: numbers (n, 3)"),
        ({"vertices": np.full((4, 3), np.nan)}, "4 of 4 vertices used by faces are NaN or infinite"),
    ],
)  # fmt: skip
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


def test_real_head_set_in_both_resolutions(data_folder):
    folder = data_folder / "head_set"
    full, low = take(folder, count=2), take(folder / "lowres.npz", count=2)
    assert [item.name for item in full] == [item.name for item in low] == ["head_0000", "head_0001"]
    assert len(full[0].source.faces) == 25360
    assert len(low[0].source.faces) == 10999
    for one, other in zip(full, low):  # the same head: boxes agree to a centimetre
        np.testing.assert_allclose(one.source.vertices.max(0), other.source.vertices.max(0), atol=1)
