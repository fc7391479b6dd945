"""What each kind of input holds of six maps, and that planes and maps lead into each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import names
from hexjax.data import fields
from hexjax.geometry import frame, hexplane, planes
from tests import shapes

RESOLUTION = 32
MAPS = tuple(kind for kind in names.INPUTS if kind != "voxels")


@pytest.fixture(scope="module")
def batch():
    """Maps and what is made of them, of a torus that is turned out of all planes of symmetry, and of a ball."""
    turned = shapes.torus()._replace(vertices=shapes.torus().vertices @ np.asarray(TURN, np.float32).T)
    found = [hexplane.render(mesh, RESOLUTION) for mesh in (turned, shapes.sphere(0.6, 2))]
    made = [maps._asdict() | fields.derive(maps, fields.DERIVED) for maps in found]
    return {name: jnp.stack([jnp.asarray(each[name]) for each in made]) for name in made[0]}


TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]


@pytest.mark.parametrize("kind", names.INPUTS)
def test_planes_have_the_told_shape_and_stay_in_the_unit_interval(batch, kind):
    x = planes.planes({name: batch[name] for name in planes.fields(kind)}, kind)
    assert x.shape == (2, *planes.shape(kind, RESOLUTION))
    assert x.dtype == jnp.float32
    assert 0 <= x.min() < x.max() <= 1


@pytest.mark.parametrize("kind", MAPS)
def test_planes_give_the_masks_of_all_six_views_back(batch, kind):
    maps = planes.to_maps(planes.planes(batch, kind), kind)
    np.testing.assert_array_equal(maps.mask > 0.5, batch["mask"])


def test_the_signed_distance_holds_what_the_silhouettes_hold(batch):
    for kinds in (("silhouette_sdf", "silhouettes"), ("binary_sdf", "binary")):
        soft, hard = (planes.planes(batch, kind) for kind in kinds)
        np.testing.assert_array_equal(soft > 0.5, hard > 0.5)
        assert len(np.unique(soft)) > 20


def test_planes_of_depth_and_normals_are_those_maps(batch):
    maps, mask = planes.to_maps(planes.planes(batch, "continuous"), "continuous"), np.asarray(batch["mask"])
    np.testing.assert_allclose(np.asarray(maps.depth)[mask], np.asarray(batch["depth"])[mask], atol=1e-5)
    np.testing.assert_allclose(np.asarray(maps.normal)[mask], np.asarray(batch["normal"])[mask], atol=1e-4)


def test_depth_without_normals_keeps_the_surface_that_three_views_see(batch):
    maps = jax.tree.map(lambda a: a[1], planes.to_maps(planes.planes(batch, "depth"), "depth"))
    inside = planes.grid(maps, RESOLUTION, "depth", 0.5) < 0
    hull = planes.grid(maps, RESOLUTION, "silhouettes", 0.5) < 0
    truth = np.asarray(batch["voxels"][1])
    assert (inside & ~hull).sum() == 0
    assert (inside & truth).sum() > 0.95 * truth.sum()


def test_what_is_seen_of_rendered_maps_is_what_planes_hold(batch):
    maps = hexplane.render(shapes.torus(), RESOLUTION)
    assert planes.seen(maps, "silhouettes") is maps
    depth = planes.seen(maps, "depth")
    own, opposite = planes.INDEPENDENT[0], planes.INDEPENDENT[0] + 1
    hit = np.asarray(maps.mask[own])
    np.testing.assert_allclose(np.asarray(depth.depth[own])[hit], np.asarray(maps.depth[own])[hit], atol=1e-6)
    towards = (depth.normal * frame.FORWARD[:, None, None]).sum(-1)
    assert (towards[own] == -1).all()
    assert (towards[opposite] == 1).all()


def test_voxels_are_their_own_field():
    solid = jnp.zeros((9, 9, 9)).at[2:7, 3:6, 4].set(1)
    found = planes.grid(solid, 9, "voxels", 0.5)
    np.testing.assert_array_equal(found < 0, solid > 0.5)
    middle = planes.fuse(solid, jnp.array([[0.0, 0.0, 0.25 / 2]]), "voxels", 0.5)
    np.testing.assert_allclose(middle, 0, atol=1e-6)


@pytest.mark.parametrize("kind", names.INPUTS)
def test_planes_need_no_field_but_those_that_are_told(batch, kind):
    told = planes.fields(kind)
    planes.planes({name: batch[name] for name in told}, kind)
    for left_out in told:
        with pytest.raises(KeyError):
            planes.planes({name: batch[name] for name in told if name != left_out}, kind)


@pytest.mark.parametrize("function", [lambda: planes.fields("hull"), lambda: planes.planes({}, "hull")])
def test_an_unknown_kind_is_refused(function):
    with pytest.raises(ValueError) as error:
        function()
    assert str(error.value) == f"config.model.input is 'hull'; accepted: {', '.join(names.INPUTS)}"


def test_voxels_are_no_maps():
    with pytest.raises(ValueError) as error:
        planes.to_maps(jnp.zeros((1, 1, 4, 4, 4)), "voxels")
    assert str(error.value) == "config.model.input is 'voxels'; accepted where maps are asked for: all others"


def test_view_axes_are_inverted_and_a_normal_at_the_camera_points_back():
    normals = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 3, 3, 3)), jnp.float32)
    there = planes.to_view_axes(normals)
    np.testing.assert_allclose(planes.to_world_axes(there), normals, atol=1e-6)
    towards = jnp.broadcast_to(-jnp.asarray(frame.FORWARD)[None, :, None, None], (1, 6, 2, 2, 3))
    np.testing.assert_allclose(
        jnp.moveaxis(planes.to_view_axes(towards), 2, -1),
        np.broadcast_to([0, 0, -1], (1, 6, 2, 2, 3)),
        atol=1e-6,
    )


def test_opposite_views_share_their_outline():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8, 8)), jnp.float32)
    shared = planes.share_outline(logits)
    for view, opposite, mirrored in frame.OPPOSITE:
        np.testing.assert_array_equal(shared[:, view], jnp.flip(shared[:, opposite], mirrored + 1))
    np.testing.assert_allclose(planes.share_outline(shared), shared, atol=1e-6)
    mask = hexplane.render(shapes.torus(), 32).mask[None] * 1.0
    np.testing.assert_array_equal(planes.share_outline(mask), mask)


def test_filling_keeps_what_is_known_stays_between_and_fills_a_constant_with_itself():
    random = np.random.default_rng(0)
    for side in (16, 12, 7):
        known, values = random.random((3, side, side)) < 0.3, random.random((3, side, side)).astype(np.float32)
        known[2] = False
        filled = np.asarray(planes.fill(jnp.asarray(values), jnp.asarray(known)))
        np.testing.assert_array_equal(filled[known], values[known])
        for image, there, given in zip(filled[:2], known, values):
            assert given[there].min() - 1e-6 <= image.min()
            assert image.max() <= given[there].max() + 1e-6
        assert not filled[2].any()
        constant = planes.fill(jnp.full((side, side), 0.3), jnp.asarray(known[0]))
        np.testing.assert_allclose(np.asarray(constant), 0.3, atol=1e-6)
