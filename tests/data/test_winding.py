"""Faces are wound alike and outward where that can be told, and told doubtful where not."""

import numpy as np
import pytest
import trimesh

from hexjax.data import meshfile, winding
from hexjax.geometry import frame, hexplane
from hexjax.geometry import mesh as meshes

CUBE = trimesh.creation.box()


def oriented(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, winding.Orientation]:
    found = winding.orient(np.asarray(vertices, np.float64), np.asarray(faces))
    return np.where(found.turned[:, None], faces[:, ::-1], faces), found


def together(*meshes: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    faces = [mesh.faces + offset for mesh, offset in zip(meshes, offsets)]
    return np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces)


def strip(count: int, twist: float) -> tuple[np.ndarray, np.ndarray]:
    """A closed band of quads whose cross section turns by `twist` on the way: pi gives a Möbius strip."""
    angle = np.arange(count) * 2 * np.pi / count
    lean = np.arange(count) * twist / count
    side = np.stack([np.cos(lean) * np.cos(angle), np.cos(lean) * np.sin(angle), np.sin(lean)], axis=-1)
    middle = np.stack([2 * np.cos(angle), 2 * np.sin(angle), 0 * angle], axis=-1)
    vertices = np.stack([middle - side / 2, middle + side / 2], axis=1).reshape(-1, 3)
    crossed = np.isclose(twist, np.pi)
    faces = []
    for i in range(count):
        a, b = 2 * i, 2 * i + 1
        c, d = (2 * i + 2) % (2 * count), (2 * i + 3) % (2 * count)
        c, d = (d, c) if crossed and i == count - 1 else (c, d)
        faces += [[a, b, c], [b, d, c]]
    return vertices, np.array(faces)


@pytest.mark.parametrize("seed", range(8))
def test_a_cube_with_any_faces_turned_becomes_outward(seed):
    flipped = np.random.default_rng(seed).random(12) < 0.5
    faces, found = oriented(CUBE.vertices, np.where(flipped[:, None], CUBE.faces[:, ::-1], CUBE.faces))
    assert np.array_equal(found.turned, flipped)
    assert np.array_equal(np.sort(faces, axis=1), np.sort(CUBE.faces, axis=1))
    assert not found.doubtful


def test_every_body_of_several_faces_outward():
    inner = trimesh.creation.icosphere(subdivisions=1, radius=0.2)
    beside = trimesh.creation.icosphere(subdivisions=1, radius=0.2)
    beside.apply_translation([3, 0, 0])
    inner.invert()
    _, found = oriented(*together(CUBE, inner, beside))
    assert found.parts == 3
    assert np.array_equal(found.turned, np.repeat([False, True, False], [12, 80, 80]))
    assert not found.doubtful


def test_the_winding_does_not_depend_on_place_or_size():
    torus = trimesh.creation.torus(2.0, 0.5)
    for scale, shift in ((1e-12, 0.0), (1e12, 0.0), (1.0, 1000.0)):
        _, found = oriented(torus.vertices * scale + shift, torus.faces[:, ::-1])
        assert np.all(found.turned)


@pytest.mark.parametrize("inverted", [False, True])
def test_an_open_bowl_faces_away_from_its_middle(inverted):
    sphere = trimesh.creation.icosphere(subdivisions=3)
    bowl = sphere.faces[np.all(sphere.vertices[sphere.faces][..., 2] < 0.3, axis=1)]
    _, found = oriented(sphere.vertices, bowl[:, ::-1] if inverted else bowl)
    assert np.all(found.turned == inverted)
    assert not found.doubtful


@pytest.mark.parametrize("inverted", [False, True])
def test_a_flat_or_wavy_sheet_keeps_its_winding(inverted):
    x, y = np.meshgrid(np.linspace(0, 4, 21), np.linspace(0, 4, 21))
    index = np.arange(441).reshape(21, 21)
    a, b, c, d = (part.reshape(-1) for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=-1), np.stack([b, d, c], axis=-1)])
    for z in (0 * x, np.sin(np.pi * x) * np.sin(np.pi * y)):
        vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
        _, found = oriented(vertices, faces[:, ::-1] if inverted else faces)
        assert not np.any(found.turned)
        assert not found.doubtful


def test_in_a_flat_sheet_the_larger_area_decides():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 0]])
    _, found = oriented(vertices, np.array([[0, 1, 2], [1, 2, 3]]))
    assert found.turned.tolist() == [True, False]
    assert not found.doubtful


def test_a_band_is_wound_alike_and_a_moebius_strip_is_doubtful():
    _, band = oriented(*strip(24, 0.0))
    vertices, faces = strip(24, np.pi)
    _, moebius = oriented(vertices, faces)
    assert not band.doubtful
    assert moebius.doubtful
    assert not np.any(moebius.turned)


def test_faces_that_meet_at_an_edge_are_doubtful_only_if_their_directions_do_not_cancel():
    vertices = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    vertices = np.concatenate([vertices, 9 * CUBE.vertices])
    body = CUBE.faces + 6
    cancel = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4], [1, 0, 5]])
    clash = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4], [1, 0, 5]])
    assert not oriented(vertices, np.concatenate([cancel, body]))[1].doubtful
    assert oriented(vertices, np.concatenate([clash, body]))[1].doubtful


def test_loose_triangles_are_doubtful_if_they_are_the_most_or_something_was_turned():
    flat = np.random.default_rng(0).normal(size=(30, 3)) / 4
    loose = np.arange(30).reshape(-1, 3)
    _, found = oriented(flat, loose)
    assert not np.any(found.turned)
    assert found.doubtful
    vertices = np.concatenate([flat, CUBE.vertices + 9])
    assert not oriented(vertices, np.concatenate([loose, CUBE.faces + 30]))[1].doubtful
    assert oriented(vertices, np.concatenate([loose, CUBE.faces[:, ::-1] + 30]))[1].doubtful


def test_two_cubes_that_share_a_whole_face_keep_their_faces_outward():
    beside = CUBE.copy()
    beside.apply_translation([1, 0, 0])
    vertices, faces = together(CUBE, beside)
    _, same = np.unique(np.round(vertices, 6), axis=0, return_inverse=True)
    positions = np.unique(np.round(vertices, 6), axis=0)
    _, found = oriented(positions, same.reshape(-1)[faces])
    assert not np.any(found.turned)
    assert not found.doubtful


WORSE_ONCE = (
    "vehicle_kenney_ambulance",
    "food_kenney_cocktail",
    "furniture_kaykit_kitchentable_sink",
    "vehicle_kenney_truck",
)


@pytest.mark.parametrize("name", WORSE_ONCE)
def test_no_view_sees_more_of_the_back_than_as_filed(data_folder, name, monkeypatch):
    arrays = np.load(data_folder / "shapes" / f"{name}.npz")
    given = arrays["vertices"], arrays["faces"]
    turned = share_of_back(meshfile.inspect(given)[0])
    as_filed = lambda vertices, faces: winding.Orientation(np.zeros(len(faces), bool), 1, False)
    monkeypatch.setattr(winding, "orient", as_filed)
    assert turned <= share_of_back(meshfile.inspect(given)[0])


def share_of_back(mesh):
    """Of the pixels of the six maps that are hit, how many show the back of a face."""
    maps = hexplane.render(meshes.normalise(mesh)[0], 96)
    away = np.einsum("vhwc,vc->vhw", np.asarray(maps.normal), frame.FORWARD) > 1e-6
    return (away & np.asarray(maps.mask)).sum() / np.asarray(maps.mask).sum()


def test_a_scene_of_parts_of_which_one_shows_its_inside_is_not_turned_to_show_more_of_it():
    box = trimesh.creation.box((1, 1, 1))
    sheet = trimesh.creation.icosphere(3, 1.0)
    bowl = trimesh.Trimesh(sheet.vertices, sheet.faces[(sheet.triangles_center[:, 1] < 0.1)])
    vertices = np.concatenate([box.vertices, bowl.vertices * 0.5 + [2, 0, 0]])
    faces = np.concatenate([box.faces, bowl.faces[:, ::-1] + len(box.vertices)])
    filed = share_of_back(meshfile.Mesh(vertices.astype(np.float32), faces.astype(np.int32)))
    assert share_of_back(meshfile.load((vertices, faces))) <= filed
