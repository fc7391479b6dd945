"""What is kept on the device: the right fields, maps equal to a render of their own, and honest query points."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from hexjax import memory
from hexjax.data import cache as caches
from hexjax.geometry import field, hexplane, sdf
from hexjax.geometry import mesh as meshes
from hexjax.types import Item, Mesh

RESOLUTION = 32
POINTS = 2000


def item(name, shape):
    source = Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))
    return Item(name, source, *meshes.normalise(source))


def ball(maps, points):
    """The signed distance of the normalised ball, whatever the maps."""
    return jnp.linalg.norm(points, axis=-1) - 0.95


@pytest.fixture(scope="module")
def items():
    """A ball, and a box with a hollow that no view sees."""
    hollow = trimesh.creation.box((1, 1, 1))
    hollow.invert()
    sealed = trimesh.util.concatenate([trimesh.creation.box((2, 2, 2)), hollow])
    return [item("ball", trimesh.creation.icosphere(subdivisions=2)), item("sealed", sealed)]


def build(items, inputs=caches.FIELDS, pool_points=POINTS, seed=0, cached=True, fuse=ball):
    return caches.build(items, inputs, RESOLUTION, pool_points, seed, cached, fuse)


@pytest.fixture(scope="module")
def whole(items):
    return build(items, fuse=field.fuse)


def test_fields_are_stacked_over_shapes(whole):
    shapes = {name: value.shape for name, value in whole.fields.items()}
    maps, pool = (2, 6, RESOLUTION, RESOLUTION), (2, POINTS)
    assert shapes == {
        "depth": maps,
        "normal": (*maps, 3),
        "mask": maps,
        "silhouette_distance": maps,
        "voxels": (2, RESOLUTION, RESOLUTION, RESOLUTION),
        "points": (*pool, 3),
        "sdf": pool,
        "slack": pool,
        "weight": pool,
    }
    assert {value.dtype.name for value in whole.fields.values()} == {"float32", "bool"}


def test_only_the_fields_that_are_read_are_kept(items):
    cache = build(items, ("mask", "item"))
    assert list(cache.fields) == ["mask"]
    assert cache.pool_points == 0
    assert list(build(items, ("weight",), 8).fields) == ["weight"]


def test_shapes_that_do_not_fit_into_memory_are_refused_by_name_or_before_the_second(items, monkeypatch):
    text = "ball: its maps do not fit into memory; config.hexplane.resolution_px is 32"
    render, rendered = hexplane.render, []
    for error in (MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")):
        monkeypatch.setattr(hexplane, "render", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(MemoryError, match=f"^{re.escape(text)}$"):
            build(items, ("mask",))
    monkeypatch.setattr(hexplane, "render", lambda mesh, side: rendered.append(mesh) or render(mesh, side))
    monkeypatch.setattr(memory, "free", lambda: 10_000)
    text = (
        "config.data.path and data.count give 2 shapes, whose fields take 1.23e-05 GB of the 1e-05 GB there are; "
        "accepted: at most 1, data.cached = false, or smaller maps"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        build(items, ("mask",))
    assert len(rendered) == 1
    monkeypatch.undo()
    assert caches.room() > 2**28
    monkeypatch.setattr(memory, "free", lambda: None)  # not known: it is tried
    assert caches.room() > 2**28


def test_the_progress_of_many_shapes_is_told(items, monkeypatch, capsys):
    now = iter(range(0, 60, 6))
    monkeypatch.setattr(caches.progress.time, "monotonic", lambda: next(now))
    assert list(caches.told(items)) == items
    assert capsys.readouterr().err.splitlines() == ["rendering 1/2", "rendering 2/2  0:00 left"]


def test_maps_are_those_of_a_render(items, whole):
    for number, shape in enumerate(items):
        for name, value in hexplane.render(shape.mesh, RESOLUTION)._asdict().items():
            np.testing.assert_array_equal(whole.fields[name][number], value)


def test_signed_distances_are_those_of_the_mesh(items, whole):
    for number, shape in enumerate(items):
        distance, _ = sdf.signed_distance(shape.mesh, np.asarray(whole.fields["points"][number]))
        np.testing.assert_allclose(whole.fields["sdf"][number], distance, atol=1e-6)


def test_slack_forgives_the_rendered_maps_exactly(items, whole):
    """What the maps themselves say is never farther from the truth than the slack, within the band."""
    for number, shape in enumerate(items):
        fused = field.fuse(hexplane.render(shape.mesh, RESOLUTION), whole.fields["points"][number])
        error = jnp.abs(jnp.clip(fused, -caches.BAND, caches.BAND) - jnp.clip(whole.fields["sdf"][number], -0.05, 0.05))
        np.testing.assert_allclose(whole.fields["slack"][number], error, atol=1e-6)
        assert whole.fields["slack"][number].max() <= 2 * caches.BAND


def test_places_near_a_hidden_surface_have_no_weight(whole):
    """The sealed box, 1.9 wide, has a hollow of half its size: its walls are hidden, the outside is seen."""
    points, weight = np.asarray(whole.fields["points"][1]), np.asarray(whole.fields["weight"][1])
    reach = np.abs(points).max(-1)
    assert set(np.unique(weight)) == {0, 1}
    assert not weight[np.abs(reach - 0.475) < 0.04].any()
    assert weight[np.abs(reach - 0.95) < 0.02].all()
    assert not weight[reach < 0.4].any()  # the maps take the hollow for inside
    assert weight[(reach > 0.55) & (reach < 0.88)].all()


def test_every_place_around_a_seen_solid_has_weight(whole):
    assert whole.fields["weight"][0].mean() > 0.999


def test_the_fuse_that_is_given_is_the_one_used(items):
    cache = build(items[:1], ("slack", "sdf"), fuse=lambda maps, points: jnp.zeros(len(points)))
    np.testing.assert_allclose(cache.fields["slack"], jnp.minimum(jnp.abs(cache.fields["sdf"]), 0.05), atol=1e-7)


def test_same_seed_same_pool_and_other_shapes_other_pools(items):
    first, again, other = (build([items[0]] * 2, ("points",), 50, seed).fields["points"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    assert (first[0] != first[1]).all()


def test_meshes_that_are_rendered_in_every_step_are_padded_to_one_size(items):
    cache = build(items, ("depth", "normal", "mask"), cached=False)
    assert cache.fields == {}
    assert cache.meshes.vertices.shape == (2, 162, 3)
    assert cache.meshes.faces.shape == (2, 320, 3)
    maps = hexplane.render_padded(cache.meshes.vertices, cache.meshes.faces, cache.resolution)
    for number, shape in enumerate(items):
        alone = hexplane.render(shape.mesh, RESOLUTION)
        np.testing.assert_array_equal(maps.mask[number], alone.mask)
        np.testing.assert_allclose(maps.depth[number], alone.depth, atol=1e-6)
        np.testing.assert_allclose(maps.normal[number], alone.normal, atol=1e-6)


def test_a_cache_is_an_argument_of_jitted_functions(whole):
    doubled = jax.jit(lambda cache: cache.fields["sdf"] * 2)(whole)
    np.testing.assert_array_equal(doubled, whole.fields["sdf"] * 2)


def test_preparation_is_told_in_one_line(items, capsys):
    build(items[:1], ("sdf",), 8)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"prepared 1 shapes in \d+\.\d s, 0\.00% of the signs doubtful", line)


def test_unknown_fields_are_refused(items):
    accepted = "depth, normal, mask, silhouette_distance, voxels, points, sdf, slack, weight, item"
    text = f"the family of config.model.family reads 'colour'; accepted: {accepted}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        build(items, ("depth", "colour"))


def test_no_shapes_are_refused():
    with pytest.raises(ValueError, match=r"^there are no shapes to train on; config\.data needs at least one$"):
        build([])


def test_meshes_outside_the_cube_are_refused(items):
    big = items[0]._replace(mesh=items[0].mesh._replace(vertices=items[0].mesh.vertices * 2))
    text = "the mesh reaches 1.9 along an axis; render accepts [-1, 1]: normalise it first"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        build([big])
