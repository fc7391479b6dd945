"""Messages: exact for a server; packed, they lose what no eye sees; smaller meshes and maps are what they say."""

import numpy as np
import pytest

from hexjax.geometry import distance
from hexjax.types import Hexplane, Latent, Layout, Mesh
from hexjax.viewer import messages
from tests import shapes
from tests.viewer import twins


def maps(side=8):
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(6, side, side, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    depth = rng.uniform(0, 2, (6, side, side)).astype(np.float32)
    mask = rng.uniform(0, 1, depth.shape).astype(np.float32)
    return messages.maps("seen", Hexplane(depth, normal.astype(np.float32), mask), messages.KINDS)


def test_what_a_server_sends_is_exact():
    sphere = shapes.sphere(0.7, 2)
    error = np.linspace(0, 0.05, len(sphere.vertices), dtype=np.float32)
    sent = [messages.mesh("made", sphere, error, name="a"), maps(), messages.progress("…")]
    found = twins.unpacked(b"".join(map(messages.encode, sent)))
    assert [header["stage"] for header, _ in found] == ["mesh", "maps", "progress"]
    assert found[0][0] == {"stage": "mesh", "role": "made", "faces": len(sphere.faces), "name": "a"}
    for one, (_, arrays) in zip(sent, found):
        assert arrays.keys() == one.arrays.keys()
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(arrays[name], array)


def test_arrays_begin_where_a_browser_can_read_them():
    code = messages.code(Latent(np.ones((3, 1), np.float32), {}), Layout("set", 3, 1))
    for pack in (False, True):
        content = messages.encode(code._replace(arrays=code.arrays | {"mask": np.ones((1, 1, 1))}), pack)
        assert len(content) % 8 == 0
        assert len(twins.unpacked(content)[0][1]) == 2


def test_what_a_file_holds_is_as_near_as_is_told():
    sphere = shapes.sphere(0.7, 2)
    error = np.linspace(0, 0.05, len(sphere.vertices), dtype=np.float32)
    code = messages.code(Latent(np.random.default_rng(1).normal(size=(4, 5)), {}), Layout("set", 4, 5))
    sent = [messages.mesh("made", sphere, error), maps(), code]
    found = twins.unpacked(b"".join(messages.encode(one, pack=True) for one in sent))
    near = {
        "vertices": 1 / messages.PLACES,
        "error": 0.0002,
        "depth": 1 / messages.DEPTHS,
        "mask": 1 / 255,
        "code": 0.02,
    }
    for one, (_, arrays) in zip(sent, found):
        for name, array in one.arrays.items():
            if name == "normal":
                assert (arrays[name] * array).sum(-1).min() > np.cos(np.deg2rad(1.2))
            else:
                np.testing.assert_allclose(arrays[name], array, atol=near.get(name, 0))


def test_faces_of_many_vertices_are_read_back_exactly():
    faces = np.array([[0, 70_000, 5], [69_999, 1, 2]], np.uint32)
    mesh = messages.mesh("made", Mesh(np.zeros((70_001, 3), np.float32), faces.astype(np.int32)))
    np.testing.assert_array_equal(twins.unpacked(messages.encode(mesh, pack=True))[0][1]["faces"], faces)


def test_a_simplified_mesh_has_so_many_faces_lies_near_and_keeps_its_errors():
    sphere = shapes.sphere(0.7, 4)
    error = np.abs(sphere.vertices[:, 0])
    whole = messages.mesh("made", sphere, error)
    few = messages.simplified(whole, 500)
    assert len(few.arrays["faces"]) == few.told["shown"] == 500
    assert few.told["faces"] == len(sphere.faces)
    vertices = few.arrays["vertices"]
    mesh = Mesh(vertices, few.arrays["faces"].astype(np.int32))
    assert distance.closest(mesh, sphere.vertices)[0].max() < 0.03
    np.testing.assert_allclose(few.arrays["error"], np.abs(vertices[:, 0]), atol=0.2)
    assert messages.simplified(whole, len(sphere.faces)) is whole
    empty = messages.mesh("made", Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)))
    assert messages.simplified(empty, 10) is empty


@pytest.mark.parametrize(("side", "most", "step"), [(8, 8, 1), (8, 4, 2), (9, 4, 3), (8, 256, 1)])
def test_reduced_maps_are_every_kth_pixel_and_hold_nothing_where_nothing_is_shown(side, most, step):
    given = maps(side)
    found = messages.reduced(given, most)
    rows = slice(step // 2, None, step)
    mask = given.arrays["mask"][:, rows, rows]
    assert found.arrays["mask"].shape[-1] <= most
    hidden = mask < messages.HIDDEN
    np.testing.assert_array_equal(found.arrays["depth"], np.where(hidden, 0, given.arrays["depth"][:, rows, rows]))
    assert not found.arrays["normal"][hidden].any()
