"""What a shape gives: the right fields, maps equal to a render of their own, honest points; and what is kept of them."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from configs import base
from hexjax import memory
from hexjax.data import batches, fields
from hexjax.geometry import field, frame, hexplane, sdf, surface, symmetry
from hexjax.geometry import mesh as meshes
from hexjax.types import Hexplane, Item, Mesh
from tests import shapes, toys

RESOLUTION = 32
POINTS, DRAWN = 2000, 100  # of a pool, and of it in a batch
SIDE, ROOM, NODES = 8, 500, 9  # of the cells, and of the dense grid
ALL = tuple(fields.spec(base.get_config(), ()).fields)
MADE = tuple(name for name in ALL if name != "item")  # which a batch alone has


def item(name, shape, category=""):
    source = Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))
    return Item(name, source, *meshes.normalise(source), category)


def ball(maps, points):
    """The signed distance of the normalised ball, whatever the maps."""
    return jnp.linalg.norm(points, axis=-1) - 0.95


def fuse(found, points):
    """The field of rendered maps."""
    return field.fuse(Hexplane(*(found[name] for name in fields.MAPS)), points)


def config_of(pool_points=POINTS, points=DRAWN, seed=0, cached=True):
    config = base.get_config()
    config.seed, config.data.cached, config.hexplane.resolution_px = seed, cached, RESOLUTION
    for section in batches.POOLS:
        if section != "views":
            config[section].pool_points, config[section].points = pool_points, points
    config.views.update({"count": 6, "held": 2, "drawn": 3, "resolution_px": 16})
    config.inside.points, config.cells.side, config.cells.capacity, config.distance_grid.side = 500, SIDE, ROOM, NODES
    return config


@pytest.fixture(scope="module")
def items():
    """A ball, and a box with a hollow that no view sees."""
    hollow = trimesh.creation.box((1, 1, 1))
    hollow.invert()
    sealed = trimesh.util.concatenate([trimesh.creation.box((2, 2, 2)), hollow])
    return [item("ball", trimesh.creation.icosphere(subdivisions=2)), item("sealed", sealed)]


@pytest.fixture(scope="module")
def open_box():
    """A box without a lid, whose inside is doubtful at its opening."""
    closed = shapes.box(1, 1, 1)
    top = (closed.vertices[closed.faces][..., 1] > 0).all(1)
    mesh = closed._replace(faces=closed.faces[~top])
    return Item("open", mesh, *meshes.normalise(mesh))


@pytest.fixture(scope="module")
def cloud():
    """A shape of points, of a ball's surface."""
    random = np.random.default_rng(0).normal(size=(300, 3))
    points = (0.95 * random / np.linalg.norm(random, axis=1, keepdims=True)).astype(np.float32)
    return toys.item_of(Mesh(points, np.zeros((0, 3), np.int32)), "cloud")


def build(items, names=MADE, pool_points=POINTS, seed=0, cached=True, fuse=ball):
    return fields.build(items, names, config_of(pool_points, seed=seed, cached=cached), fields.Fuse(jax.jit(fuse), ""))


@pytest.fixture(scope="module")
def whole(items):
    return build(items, fuse=fuse)


@pytest.fixture(scope="module")
def alone(items):
    """Every field of the ball, as of a shape that a run has not seen."""
    return fields.make(items[0], MADE, config_of(), 5, fuse=fields.Fuse(fuse, ""))


def test_fields_are_stacked_over_shapes(whole):
    found = {name: value.shape for name, value in whole.fields.items()}
    maps, pool = (2, 6, RESOLUTION, RESOLUTION), (2, POINTS)
    assert found == {
        "depth": maps,
        "normal": (*maps, 3),
        "mask": maps,
        "silhouette_distance": maps,
        "voxels": (2, RESOLUTION, RESOLUTION, RESOLUTION),
        "points": (*pool, 3),
        "sdf": pool,
        "sure": pool,
        "slack": pool,
        "seen": pool,
        "surface": (*pool, 3),
        "surface_normal": (*pool, 3),
        "inside": (2, 500),
        "salient": (*pool, 3),
        "salient_normal": (*pool, 3),
        "cells": (2, ROOM, 3),
        "corner_distance": (2, ROOM, 8),
        "alive": (2, ROOM),
        "distance_grid": (2, NODES, NODES, NODES),
        "feature": (2, ROOM, 3),
        "viewed": (2, ROOM),
        "views": (2, 4, 16, 16, 3),
        "pose": (2, 4, 64),
    }
    assert {value.dtype.name for value in whole.fields.values()} == {"float32", "bool", "int32", "uint8"}
    pools = [(name, POINTS, DRAWN) for name in ("sdf", "surface", "salient")]
    assert whole.pools == (*pools, ("views", 4, 3))
    assert whole.side == SIDE


def test_the_spec_tells_shape_and_type_of_every_field_before_it_is_made(items, whole, alone):
    """Of what is made of a new shape, and of what a batch of a training has."""
    told = fields.spec(config_of(), items)
    assert (told.shapes, told.categories) == (2, ())
    sizes = {name: (value.shape, value.dtype) for name, value in told.fields.items()}
    assert sizes.keys() == {*MADE, "item"}
    found = {name: (value.shape, value.dtype) for name, value in alone.items()} | {"item": sizes["item"]}
    every = {
        name: ((6, *sizes[name][0][1:]), sizes[name][1]) for name in ("views", "pose")
    }  # of a new shape, held or not
    assert found == sizes | every
    batch = batches.fixed(whole, jnp.arange(2))
    assert {name: (value.shape[1:], value.dtype) for name, value in batch.items()} == sizes


def test_pictures_are_found_again_whatever_reads_them(items):
    asked, config = [], config_of()

    def kept(told, make, packed=False):
        asked.append(told)
        return {"views": np.zeros(6), "pose": np.zeros(6)}

    for more in ({}, {"encoder": "pca", "weights": "FILE", "tokens": "cls", "run": "RUN", "drawn": 1}):
        config.views.update(more)
        fields._pictures(items[0].mesh, config, False, None, kept)
    assert asked[0] == asked[1]
    seen = {name for name, value in asked[0]["views"].items() if value is not None}
    assert seen == {"count", "resolution_px", "distance", "field_of_view", "channels", "shading"}
    assert {*asked[0]["views"]} - seen == {
        "held",
        "drawn",
        "shown",
        "shown_held",
        "run",
        "tokens",
    }  # as when first made


def test_the_spec_tells_categories_and_latents_and_a_batch_has_them(items):
    config, latents = config_of(), {"latent": np.arange(12, dtype=np.float32).reshape(2, 3, 2)}
    named = [each._replace(category=name) for each, name in zip(items, ("lamp", "chair"))]
    told = fields.spec(config, named, latents)
    assert told.categories == ("chair", "lamp")
    cache = fields.build(named, ("category", "latent"), config, latents=latents)
    batch = batches.fixed(cache, jnp.arange(2))
    for name in ("category", "latent"):
        assert (batch[name].shape[1:], batch[name].dtype) == (told.fields[name].shape, told.fields[name].dtype)
    np.testing.assert_array_equal(batch["category"], [1, 0])
    np.testing.assert_array_equal(batch["latent"], latents["latent"])
    assert fields.categories_of([named[0], items[1]]) == ()  # one without
    assert "category" not in fields.spec(config, items).fields


def test_a_field_is_the_same_whatever_is_made_beside_it_and_whoever_makes_it(items, whole, alone):
    for name in ("surface_normal", "sdf", "seen", "inside"):
        np.testing.assert_array_equal(
            fields.make(items[0], (name,), config_of(), 5, fuse=fields.Fuse(fuse, ""))[name], alone[name]
        )
    seed = fields.item_seed(0, 1)
    made = fields.make(items[1], ("points", "surface", "sure"), config_of(), seed, whole=True)
    for name, value in made.items():
        np.testing.assert_array_equal(whole.fields[name][1], value)


def test_only_the_fields_that_are_read_are_kept(items):
    cache = build(items, ("mask", "item"))
    assert list(cache.fields) == ["mask"]
    assert cache.pools == ()
    cache = build(items, ("seen",), 8)
    assert list(cache.fields) == ["seen"]
    assert cache.pools == (("sdf", 8, DRAWN),)


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
    assert fields.room() > 2**28
    monkeypatch.setattr(memory, "free", lambda: None)  # not known: it is tried
    assert fields.room() > 2**28


def test_the_progress_of_many_shapes_is_told(items, monkeypatch, capsys):
    now = iter(range(0, 60, 6))
    monkeypatch.setattr(fields.progress.time, "monotonic", lambda: next(now))
    assert list(fields.told(items)) == items
    assert capsys.readouterr().err.splitlines() == ["preparing 1/2", "preparing 2/2  0:00 left"]


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
    ask = jax.jit(fuse)
    for number, shape in enumerate(items):
        fused = ask(hexplane.render(shape.mesh, RESOLUTION)._asdict(), whole.fields["points"][number])
        error = jnp.abs(jnp.clip(fused, -fields.BAND, fields.BAND) - jnp.clip(whole.fields["sdf"][number], -0.05, 0.05))
        np.testing.assert_allclose(whole.fields["slack"][number], error, atol=1e-6)
        assert whole.fields["slack"][number].max() <= 2 * fields.BAND


def test_places_near_a_hidden_surface_are_not_seen(whole):
    """The sealed box, 1.9 wide, has a hollow of half its size: its walls are hidden, the outside is seen."""
    points, seen = np.asarray(whole.fields["points"][1]), np.asarray(whole.fields["seen"][1])
    reach = np.abs(points).max(-1)
    assert set(np.unique(seen)) == {0, 1}
    assert not seen[np.abs(reach - 0.475) < 0.04].any()
    assert seen[np.abs(reach - 0.95) < 0.02].all()
    assert not seen[reach < 0.4].any()  # the maps take the hollow for inside
    assert seen[(reach > 0.55) & (reach < 0.88)].all()


def test_every_place_around_a_seen_solid_is_seen(whole):
    assert whole.fields["seen"][0].mean() > 0.999


def test_the_fuse_that_is_given_is_the_one_used(items):
    cache = build(items[:1], ("slack", "sdf"), fuse=lambda maps, points: jnp.zeros(len(points)))
    np.testing.assert_allclose(cache.fields["slack"], jnp.minimum(jnp.abs(cache.fields["sdf"]), 0.05), atol=1e-7)


def test_sure_tells_where_the_sign_is_doubtful(open_box, whole):
    found = fields.make(open_box, ("points", "sure", "sdf"), config_of(points=4000), 0)
    _, doubtful = sdf.inside(open_box.mesh, found["points"])
    np.testing.assert_array_equal(found["sure"], 1 - doubtful.astype(np.float32))
    near = np.abs(found["points"] - np.float32([0, 0.95, 0])).max(-1) < 0.3  # the opening
    assert found["sure"][near].mean() < 0.6 < 0.9 < found["sure"][~near].mean() < 1
    assert (whole.fields["sure"][0] == 1).all()


def test_surface_points_lie_on_the_surface_with_the_normals_of_their_faces(items, whole):
    for number, shape in enumerate(items):
        points, normal = (np.asarray(whole.fields[name][number]) for name in ("surface", "surface_normal"))
        distance, _, face = surface.closest(shape.mesh, points)
        assert distance.max() < 1e-6
        vectors = surface.area_vectors(shape.mesh)[face]
        np.testing.assert_allclose(normal, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-6)
    assert abs((np.abs(points).max(-1) < 0.5).mean() - 1 / 5) < 0.04  # the hollow's share of the area


def test_salient_points_lie_on_sharp_edges_with_the_mean_of_two_normals_or_anywhere_on_a_round_shape(whole):
    points, normal = (np.asarray(whole.fields[name][1]) for name in ("salient", "salient_normal"))
    at_side = np.isclose(np.abs(points), 0.95) | np.isclose(np.abs(points), 0.475)  # of the box, and of its hollow
    outer = np.isclose(np.abs(points), 0.95).sum(1) == 2
    assert (at_side.sum(1) == 2).all()
    np.testing.assert_allclose(np.abs(normal), at_side / np.sqrt(2), atol=1e-6)
    assert (np.sum(points * normal, axis=1)[outer] > 0).all()
    assert (np.sum(points * normal, axis=1)[~outer] < 0).all()  # into the hollow
    assert abs(outer.mean() - 2 / 3) < 0.04  # by length
    points, normal = (np.asarray(whole.fields[name][0]) for name in ("salient", "salient_normal"))
    assert np.abs(np.linalg.norm(points, axis=1) - 0.95).max() < 0.05
    assert (np.sum(points * normal, axis=1) > 0.9).all()
    assert (points[:DRAWN] != np.asarray(whole.fields["surface"][0][:DRAWN])).all()


def test_corner_distances_and_the_dense_grid_are_signed_distances_at_those_nodes(items, whole):
    nodes = np.linspace(-1, 1, NODES, dtype=np.float32)  # the corners of the cells as well
    for number, shape in enumerate(items):
        cells, corners, alive, grid = (
            np.asarray(whole.fields[name][number]) for name in ("cells", "corner_distance", "alive", "distance_grid")
        )
        at = (cells[alive][:, None] + symmetry.CORNERS).reshape(-1, 3)
        np.testing.assert_allclose(corners[alive].ravel(), sdf.signed_distance(shape.mesh, nodes[at])[0], atol=1e-6)
        np.testing.assert_allclose(corners[alive].ravel(), grid[tuple(at.T)], atol=1e-6)
        assert not corners[~alive].any()
        assert not cells[~alive].any()
    ball = np.linalg.norm(np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1), axis=-1) - 0.95
    np.testing.assert_allclose(whole.fields["distance_grid"][0], ball, atol=0.04)  # of 320 flat faces


def test_more_cells_than_there_is_room_for_are_refused_with_the_number(items):
    config = config_of()
    config.cells.capacity = 200
    count = int(fields.make(items[0], ("alive",), config_of(), 0)["alive"].sum())
    text = (
        f"ball has {count} active cells with cells.side = 8; config.cells.capacity is 200, accepted: at least {count}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        fields.make(items[0], ("cells",), config, 0)
    config.cells.capacity = count
    assert fields.make(items[0], ("alive",), config, 0)["alive"].all()


def test_cells_are_drawn_with_symmetries_and_those_that_are_not_there_stay(items):
    config = config_of()
    config.data.augment = "cube"
    cache = fields.build(items, ("cells", "alive", "salient"), config)
    batch = batches.batch_at(cache, 0, 0, 2)
    assert (batch["cells"] != cache.fields["cells"][batch["item"]]).any()
    assert not np.asarray(batch["cells"])[~np.asarray(batch["alive"])].any()
    assert batch["salient"].shape == (2, DRAWN, 3)


@pytest.mark.parametrize("index", [1, 17, 24, 47])
def test_the_fields_of_a_shape_turn_to_those_of_its_image(whole, index):
    """The sealed box is its own image: its cells, with the distances at their corners, change places alone."""
    names = ("cells", "corner_distance", "alive", "distance_grid")
    shape = {name: whole.fields[name][1] for name in names}
    image = batches.turned(shape, jnp.int32(index), whole.side)
    np.testing.assert_array_equal(image["alive"], shape["alive"])
    np.testing.assert_allclose(image["distance_grid"], shape["distance_grid"], atol=1e-6)
    at = {
        tuple(cell): row
        for cell, row in zip(*(np.asarray(shape[name])[np.asarray(shape["alive"])] for name in names[:2]))
    }
    alive = np.asarray(image["alive"])
    assert {tuple(cell) for cell in np.asarray(image["cells"])[alive]} == at.keys()
    assert not np.asarray(image["cells"])[~alive].any()
    for cell, row in zip(np.asarray(image["cells"])[alive], np.asarray(image["corner_distance"])[alive]):
        np.testing.assert_allclose(row, at[tuple(cell)], atol=1e-6)


def test_surface_points_and_query_points_are_drawn_apart(items):
    found = fields.make(items[0], ("points", "surface"), config_of(points=40), 0)
    gap = np.linalg.norm(found["points"][:, None] - found["surface"][None], axis=-1)
    assert gap.min() > 1e-4


def test_inside_is_the_occupancy_of_points_that_all_shapes_share(items, whole):
    points = frame.shared_points(500)
    assert np.abs(points).max() <= 1
    for number, shape in enumerate(items):
        np.testing.assert_array_equal(whole.fields["inside"][number], sdf.inside(shape.mesh, points)[0])
    reach = np.abs(points).max(-1)
    np.testing.assert_array_equal(whole.fields["inside"][1], (reach < 0.95) & (reach > 0.475))


def test_a_shape_of_points_gives_its_own_points_and_refuses_what_needs_faces(cloud, items):
    config = config_of()
    found = fields.make(cloud, ("surface",), config, 0)["surface"]
    assert (found.shape, found.dtype) == ((DRAWN, 3), np.float32)
    assert {tuple(point) for point in found} <= {tuple(point) for point in np.float32(cloud.mesh.vertices)}
    assert found.shape == np.unique(found, axis=0).shape
    turned = cloud._replace(mesh=cloud.mesh._replace(vertices=cloud.mesh.vertices[::-1].repeat(2, 0)))
    np.testing.assert_array_equal(fields.make(turned, ("surface",), config, 0)["surface"], found)
    config.surface.points = 1000
    every = fields.make(cloud, ("surface", "salient"), config, 0)
    np.testing.assert_array_equal(np.unique(every["surface"], axis=0), np.unique(cloud.mesh.vertices, axis=0))
    assert every["salient"].shape == (0, 3)
    assert set(fields.spec(config, [cloud, items[0]]).fields) == {"item", "surface", "salient"}
    for name in set(MADE) - {"surface"}:
        pool = name == "salient"
        text = f"cloud is points without faces; accepted for the field {name}: meshes with faces"
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            fields.make(cloud, ("surface", name), config, 0, pool, fields.Fuse(ball, ""))
    assert build([items[0], cloud], ("surface",)).fields["surface"].shape == (2, POINTS, 3)


@pytest.mark.parametrize("name", ["points", "surface"])
def test_same_seed_same_pool_and_other_shapes_other_pools(items, name):
    first, again, other = (build([items[0]] * 2, (name,), 50, seed).fields[name] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(-1).all()
    assert (first[0] != first[1]).any(-1).all()


def test_meshes_that_are_rendered_in_every_step_are_padded_to_one_size(items):
    cache = build(items, ("depth", "normal", "mask"), cached=False)
    assert cache.fields == {}
    assert cache.meshes.vertices.shape == (2, 162, 3)
    assert cache.meshes.faces.shape == (2, 320, 3)
    render = jax.jit(functools.partial(hexplane.render_padded, resolution=cache.resolution))
    maps = render(cache.meshes.vertices, cache.meshes.faces)
    for number, shape in enumerate(items):
        alone = hexplane.render(shape.mesh, RESOLUTION)
        np.testing.assert_array_equal(maps.mask[number], alone.mask)
        np.testing.assert_allclose(maps.depth[number], alone.depth, atol=1e-6)
        np.testing.assert_allclose(maps.normal[number], alone.normal, atol=1e-6)


def test_a_cache_is_an_argument_of_jitted_functions(whole):
    doubled = jax.jit(lambda cache: cache.fields["sdf"] * 2)(whole)
    np.testing.assert_array_equal(doubled, whole.fields["sdf"] * 2)


def test_preparation_is_told_in_one_line(items, open_box, capsys):
    for shape, share in ((items[0], r"0\.00"), (open_box, r"[1-9]\d?\.\d\d")):
        build([shape], ("sdf",), 400)
        (line,) = capsys.readouterr().err.splitlines()
        assert re.fullmatch(rf"prepared 1 shapes in \d+\.\d s, {share}% of the signs doubtful", line)
    build(items[:1], ("surface",), 8)  # no signs
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"prepared 1 shapes in \d+\.\d s", line)


def test_no_shapes_are_refused():
    with pytest.raises(ValueError, match=r"^there are no shapes to train on; config\.data needs at least one$"):
        build([])


def test_meshes_outside_the_cube_are_refused(items):
    big = items[0]._replace(mesh=items[0].mesh._replace(vertices=items[0].mesh.vertices * 2))
    text = "the mesh reaches 1.9 along an axis; render accepts [-1, 1]: normalise it first"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        build([big])
