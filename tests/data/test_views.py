"""Pictures of a mesh: what is seen agrees with Embree, fills the picture, is lit as it says, and is the same in any batch."""

import numpy as np
import pytest
import trimesh

from configs import base
from hexjax.data import views
from hexjax.geometry import camera, hexplane, sdf
from hexjax.types import Mesh
from tests import shapes


def settings_of(**more):
    settings = base.get_config().views
    settings.update({"count": 5, "held": 1, "resolution_px": 48} | more)
    return settings


def test_pictures_have_their_channels_and_show_the_whole_shape():
    mesh = shapes.torus()
    found = {kind: views.make(mesh, settings_of(channels=kind)) for kind in views.CHANNELS}
    for kind, channels in views.CHANNELS.items():
        assert (found[kind]["views"].shape, found[kind]["views"].dtype) == ((5, 48, 48, channels), np.uint8)
    every = found["all"]["views"]
    for kind, part in (("shaded", slice(3)), ("depth", slice(3, 4)), ("normal", slice(4, 7))):
        np.testing.assert_array_equal(every[..., part], found[kind]["views"])
    seen = every[..., 3] > 0
    assert 0.05 < seen.mean() < 0.9
    edges = [seen[:, 0], seen[:, -1], seen[:, :, 0], seen[:, :, -1]]
    assert not any(edge.any() for edge in edges)
    assert (every[~seen] == 0).all()
    assert found["all"]["pose"].shape == (5, 64)


def test_any_first_directions_are_spread_over_the_sphere():
    azimuth, elevation = views.angles(64)
    away = camera.around(azimuth, elevation, 1.0).position
    for count, most in ((8, 1.3), (48, 0.75), (64, 0.5)):
        random = np.random.default_rng(0).standard_normal((500, 3))
        random /= np.linalg.norm(random, axis=1, keepdims=True)
        farthest = np.arccos(np.clip((random @ away[:count].T).max(1), -1, 1)).max()
        assert farthest < most, count


def test_pictures_are_the_same_in_whatever_company():
    mesh, settings = shapes.torus(), settings_of(channels="all")
    azimuth, elevation = views.angles(5)
    whole = views.make(mesh, settings)["views"]
    for place in (0, 4):
        np.testing.assert_array_equal(views.look(mesh, azimuth[place : place + 1], elevation[place : place + 1], settings)[0],
                                      whole[place])  # fmt: skip


def test_a_larger_shape_looks_the_same():
    mesh, settings = shapes.sphere(0.9, 3), settings_of()
    small = mesh._replace(vertices=mesh.vertices / 2)
    one, other = (views.make(each, settings)["views"].astype(int) for each in (mesh, small))
    assert np.abs(one - other).max() <= 1


def reflected(normal, view, light, albedo):
    """Pi times glTF's reflection of one direction into another, after its appendix B, in float64."""
    half = (view + light) / np.linalg.norm(view + light)
    alpha = views.ROUGHNESS**2
    spread = alpha**2 / (np.pi * ((normal @ half) ** 2 * (alpha**2 - 1) + 1) ** 2)
    lambda_of = lambda cosine: (np.sqrt(1 + alpha**2 * (1 / cosine**2 - 1)) - 1) / 2
    shadow = 1 / (1 + lambda_of(normal @ view) + lambda_of(normal @ light))
    grazing = 0.04 + 0.96 * (1 - view @ half) ** 5
    mirrored = spread * shadow * grazing / (4 * (normal @ view) * (normal @ light))
    return (1 - grazing) * albedo + np.pi * mirrored


@pytest.mark.parametrize("kind", ["lambert", "rough"])
def test_light_is_that_of_its_formula(kind):
    random = np.random.default_rng(0)
    normals = random.standard_normal((40, 3)) + [0, 0, 1.5]
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    ray = np.array([0.2, -0.1, -1])
    axes = np.eye(3, dtype=np.float32)[None]
    given = np.broadcast_to(np.float32(ray), (1, 40, 1, 3))
    found = np.asarray(views.shaded(np.float32(normals)[None, :, None], given, axes, kind))[0, :, 0]
    view, (turn, rise) = -ray / np.linalg.norm(ray), views.RIM
    rim = np.array([np.sin(turn) * np.cos(rise), np.sin(rise), np.cos(turn) * np.cos(rise)])
    albedo = np.array(views.ALBEDO)
    for normal, colour in zip(normals, found):
        if normal @ view < 0.05:
            continue
        expected = np.zeros(3)
        for light, share in ((view, views.LIGHT), (rim, views.RIM_LIGHT)):
            if normal @ light > 0:
                sent = albedo if kind == "lambert" else reflected(normal, view, light, albedo)
                expected += share * (normal @ light) * sent
        np.testing.assert_allclose(colour, expected, rtol=2e-4)


def test_bytes_are_encoded_as_the_standard_of_srgb_says():
    linear = np.float32([0, 0.0031308, 0.02, 0.5, 1, 2])
    expected = np.array([0, 0.04045, 0.151700, 0.735357, 1, 1])
    np.testing.assert_allclose(views.encoded(linear[:, None] * np.ones(3, np.float32))[:, 0], expected, atol=2e-5)


@pytest.mark.parametrize("name", [
    "furniture_kenney_chair", "animal_quaternius_spider", "vehicle_quaternius_boat",
])  # fmt: skip
def test_embree_sees_the_same(data_folder, name):
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    mesh, resolution, angle = shapes.shape(data_folder, name), 96, 0.85
    cameras = camera.around(*views.angles(6), 3.5)
    size = hexplane.padded_size(len(mesh.vertices), len(mesh.faces))
    padded = hexplane.pad(mesh, size, size)
    sight = camera.see(padded.vertices, padded.faces, cameras, angle, resolution)
    ways = np.asarray(camera.rays(cameras, angle, resolution)).reshape(-1, 3)
    starts = np.repeat(cameras.position, resolution**2, axis=0)
    tree = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    scene = RayMeshIntersector(tree, scale_to_box=False)._scene
    theirs = np.asarray(scene.run(np.ascontiguousarray(starts), np.ascontiguousarray(ways))).reshape(6, resolution, -1)
    assert (np.asarray(sight.mask) != (theirs >= 0)).mean() < 1e-3
    both = np.asarray(sight.mask) & (theirs >= 0)
    assert both.mean() > 0.01
    corners = tree.triangles[theirs]
    normals = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    ways = ways.reshape(*both.shape, 3)
    facing = (normals * ways).sum(-1)
    away = ((corners[..., 0, :] - cameras.position[:, None, None]) * normals).sum(-1)
    depth = away / np.where(facing == 0, 1, facing)
    steep = np.abs(facing) < 0.05 * np.linalg.norm(normals, axis=-1)
    wrong = both & ~steep & (np.abs(depth - np.asarray(sight.depth)) > 1e-3)
    assert wrong.mean() < 1e-3


# What cells show


def plane_of(turn, tilt, half=0.8):
    """A square about the centre, its corners, and its normal: along the way to the camera at that azimuth and elevation."""
    there = camera.around(*(np.float32([angle]) for angle in (turn, tilt)), 1.0)
    corners = [half * (a * there.right[0] + b * there.up[0]) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return Mesh(np.float32(corners), np.int32([[0, 1, 2], [0, 2, 3]])), there.position[0]


@pytest.mark.parametrize(("turn", "tilt"), [(0.0, 0.0), (0.7, -0.4)])
def test_cells_of_a_plane_show_its_normal_and_those_away_from_it_show_nothing(turn, tilt):
    mesh, normal = plane_of(turn, tilt)
    cells = np.int32(list(np.ndindex(8, 8, 8)))
    at = (cells + 0.5) / 4 - 1
    facing = np.float32([turn]), np.float32([tilt])
    found = views.at_cells(mesh, cells, 8, settings_of(channels="normal"), facing)
    away, beside = np.abs(at @ normal), np.linalg.norm(at - (at @ normal)[:, None] * normal, axis=1)
    assert found["viewed"][(away < 0.24) & (beside < 0.6)].all()  # nearer than a cell, 0.25
    assert not found["viewed"][(away > 0.26) | (beside > 1.6)].any()
    np.testing.assert_allclose(
        found["feature"][found["viewed"]], normal + np.zeros((found["viewed"].sum(), 3)), atol=1e-5
    )
    assert not found["feature"][~found["viewed"]].any()
    behind = views.at_cells(mesh, cells, 8, settings_of(channels="normal"), (facing[0] + np.float32(np.pi), -facing[1]))
    np.testing.assert_allclose(
        behind["feature"][behind["viewed"]], normal + np.zeros((behind["viewed"].sum(), 3)), atol=1e-5
    )


def test_what_cells_show_does_not_depend_on_the_order_of_the_views_nor_of_the_cells():
    mesh, settings = shapes.torus(), settings_of(count=20, channels="all")
    cells = sdf.active_cells(mesh, 8)
    one = views.at_cells(mesh, cells, 8, settings)
    views_order, cells_order = (np.random.default_rng(0).permutation(n) for n in (20, len(cells)))
    cameras = tuple(angle[views_order] for angle in views.angles(20))
    other = views.at_cells(mesh, cells[cells_order], 8, settings, cameras)
    np.testing.assert_allclose(other["feature"], one["feature"][cells_order], atol=1e-6)
    np.testing.assert_array_equal(other["viewed"], one["viewed"][cells_order])
    assert (one["feature"].shape, one["feature"].dtype, one["viewed"].dtype) == ((len(cells), 6), np.float32, np.bool_)
    assert one["viewed"].mean() > 0.9
    assert 0 < one["feature"][:, :3].max() <= 1
    at = (cells + 0.5) / 4 - 1
    ring = at * [1, 1, 0]
    outward = at - 0.6 * ring / np.linalg.norm(ring, axis=1, keepdims=True)  # from the middle of the tube
    cosine = (one["feature"][:, 3:] * outward).sum(1) / np.linalg.norm(outward, axis=1)
    far = one["viewed"] & (np.linalg.norm(outward, axis=1) > 0.2)
    assert np.median(cosine[far]) > 0.85


def test_a_cell_that_no_view_sees_has_zeros_and_says_so():
    within = shapes.cube(0.3)
    outer = shapes.cube(0.9)
    mesh = Mesh(
        np.concatenate([outer.vertices, within.vertices]),
        np.concatenate([outer.faces, within.faces + len(outer.vertices)]),
    )
    cells = sdf.active_cells(mesh, 8)
    found = views.at_cells(mesh, cells, 8, settings_of(channels="all"))
    hidden = np.abs((cells + 0.5) / 4 - 1).max(1) < 0.5
    assert 0 < hidden.sum() < len(cells)
    assert not found["viewed"][hidden].any()
    assert not found["feature"][hidden].any()
    assert found["viewed"][~hidden].mean() > 0.5


def test_depths_are_refused_of_cells():
    with pytest.raises(ValueError) as refused:
        views.at_cells(shapes.cube(), np.zeros((1, 3), int), 8, settings_of(channels="depth"))
    assert str(refused.value) == "config.views.channels is 'depth'; accepted of cells: shaded, normal, all"
