"""Voxels: what they store of a shape, what is lost where there is no room, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import sparse_voxels as experiment
from hexjax import pipeline
from hexjax.data import fields
from hexjax.models import family as families
from hexjax.models import sparse_voxels
from hexjax.models.parts import sparse
from tests import toys

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("quick_programs")


def config_of(**more):
    return toys.config_of("sparse_voxels", "sparse", **more)


def family_of(config):
    return families.make(fields.spec(config, ())._replace(shapes=2), config)


@functools.cache
def made():
    """A family at its start, the batch of two balls, and its latents."""
    config = config_of()
    family, batch = family_of(config), toys.batch_of(config)
    params = jax.jit(family.init)(batch, KEY, {})
    return config, family, params, batch, jax.jit(family.encode)(params, batch, None)


def test_the_small_networks_have_so_many_parameters():
    config = experiment.get_config("small")
    batch = {name: jnp.zeros((1, *field.shape), field.dtype) for name, field in fields.spec(config, ()).fields.items()}
    params = jax.eval_shape(lambda: family_of(config).init(batch, KEY, {}))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 705_148


def test_a_ball_comes_back_by_its_own_distances_with_the_right_sign_everywhere():
    config, family, _, batch, _ = made()
    nodes = np.asarray(jax.jit(family.ideal)(batch).distance)
    axis = np.linspace(-1, 1, config.cells.side + 1)
    at = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    for ball, radius in zip(nodes, (0.7, 0.6)):
        np.testing.assert_array_equal(ball < 0, np.linalg.norm(at, axis=-1) < radius)
    for number in range(2):
        cells, corners = (np.asarray(batch[name])[number][np.asarray(batch["alive"])[number]]
                          for name in ("cells", "corner_distance"))  # fmt: skip
        nearest = tuple(cells.T)
        np.testing.assert_allclose(nodes[number][nearest], corners[:, 0], atol=1e-6)


def test_latents_stand_at_the_cells_that_hold_some_whatever_their_order():
    config, family, params, batch, found = made()
    order = np.random.default_rng(0).permutation(config.cells.capacity)
    turned = batch | {name: batch[name][:, order] for name in ("cells", "corner_distance", "alive")}
    again = jax.jit(family.encode)(params, turned, None)
    np.testing.assert_allclose(again.code, found.code, atol=1e-5)
    cells = np.asarray(batch["cells"])[0][np.asarray(batch["alive"])[0]]
    places = np.unique(cells // 2, axis=0)
    alive = np.asarray(found.alive[0])
    known = np.asarray(sparse.cells_at(found.place[0], config.latent.side))[alive]
    assert sorted(map(tuple, known.tolist())) == sorted(map(tuple, places.tolist()))
    assert not np.asarray(found.code)[0][~alive].any()
    tokens = np.random.default_rng(1).permutation(found.code.shape[1])
    moved = found._replace(code=found.code[:, tokens], place=found.place[:, tokens], alive=found.alive[:, tokens])
    decode = jax.jit(family.decode)
    np.testing.assert_allclose(decode(params, moved).distance, decode(params, found).distance, atol=1e-5)


def test_a_latent_takes_the_floats_of_its_cells_and_the_bits_of_where_they_are():
    config, family, _, _, found = made()
    one = jax.tree.map(lambda leaf: leaf[0], found)
    cells = np.asarray(sparse.cells_at(one.place, config.latent.side))
    keys = np.asarray(sparse.keys_of(cells, np.asarray(one.alive)))[np.asarray(one.alive)]
    size = family.size(one)
    assert size.floats == len(keys) * config.latent.channels
    assert size.bits == 32 * size.floats + 8 * len(sparse.packed(keys, config.latent.side))


def test_a_judge_tells_the_structure_and_what_there_was_no_room_for():
    _, family, params, batch, _ = made()
    told = jax.jit(family.judge)(params, batch, KEY)
    assert {"structure_iou", "structure_iou_given", "corner_error", "corner_error_given", "overflow"} == set(told)
    assert all(0 <= float(value) <= 1 for name in told if name.startswith("structure") for value in told[name])
    np.testing.assert_allclose(told["structure_iou"], told["structure_iou_given"], rtol=1e-6)  # of one level
    np.testing.assert_array_equal(told["overflow"], 0)
    config = config_of(**{"cells.coarse": (20,)})
    few = family_of(config)
    cells = [np.asarray(batch["cells"])[i][np.asarray(batch["alive"])[i]] // 2 for i in range(2)]
    lost = [len(np.unique(each, axis=0)) - 20 for each in cells]
    np.testing.assert_array_equal(jax.jit(few.judge)(params, batch, KEY)["overflow"], lost)


def test_the_structure_tells_the_likely_children_of_the_latents_cells_and_the_shapes_own_cells():
    config, family, params, batch, found = made()
    told = jax.tree.map(np.asarray, jax.jit(family.structure)(params, {name: batch[name] for name in family.sees}))
    number = lambda places, side: set(map(tuple, np.asarray(sparse.cells_at(places, side)).tolist()))
    for i in range(2):
        there = told.chance[i] > 0
        assert there.sum() == 8 * np.asarray(found.alive)[i].sum()
        np.testing.assert_array_equal(told.kept[i], told.chance[i] > 0.5)  # there is room for all
        parents = number(np.asarray(found.place)[i][np.asarray(found.alive)[i]], config.latent.side)
        assert {tuple(x // 2 for x in cell) for cell in number(told.candidate[i][there], config.cells.side)} == parents
        own = set(map(tuple, np.asarray(batch["cells"])[i][np.asarray(batch["alive"])[i]].tolist()))
        assert number(told.true[i][told.alive[i]], config.cells.side) == own
    assert family_of(toys.config_of("sparse_voxels", "dense gaussian")).structure is None


def test_where_there_is_no_cell_a_posterior_is_the_prior_and_costs_nothing():
    more = {"latent.kind": "gaussian", "structure.loss": "dice", "kl.final_weight": 1e-4, "kl.reduction": "mean"}
    family, batch = family_of(config_of(**more)), made()[3]
    params = jax.jit(family.init)(batch, KEY, {})

    @jax.jit
    def told(params, batch):
        found = family.encode(params, batch, KEY)
        knobs = families.knobs(config_of(**more))
        return found, family.probe.rate(params, found, knobs), family.loss(params, batch, KEY, jnp.int32(1), knobs)

    found, rates, (loss, parts) = told(params, batch)
    alive = np.asarray(found.alive)
    rates = np.asarray(rates).reshape(*found.code.shape)
    assert not rates[~alive].any()
    assert (rates[alive].sum(-1) > 0).all()
    assert not np.asarray(found.code)[~alive].any()
    assert 0 < float(parts["structure"]) < 1
    each = np.mean(
        [rates[i][alive[i]].mean() for i in range(2)]
    )  # of the floats that there are, not of the room for them
    np.testing.assert_allclose(parts["kl_term"], 1e-4 * each, rtol=1e-4)
    np.testing.assert_allclose(
        loss, sum(float(parts[name]) for name in ("reconstruction", "structure", "kl_term")), rtol=1e-5
    )


def test_a_structure_without_cells_is_an_empty_mesh_and_no_crash():
    config, family, params, _, found = made()
    heads = [
        name for name, leaf in params["decoder"]["params"].items() if "bias" in leaf and leaf["bias"].shape == (8,)
    ]
    for name in heads:
        layer = params["decoder"]["params"][name]
        layer = layer | {"bias": layer["bias"] - 1e6}
        params = params | {"decoder": {"params": params["decoder"]["params"] | {name: layer}}}
    nodes = jax.jit(family.decode)(params, found)
    assert (np.asarray(nodes.distance) > 0).all()
    one = jax.tree.map(lambda leaf: leaf[0], nodes)
    mesh, _ = pipeline.polygonise(np.asarray(family.grid(params, one, config.extract.grid)), config)
    assert len(mesh.faces) == 0


REFUSED = [
    ({"model.storage": "octree"}, "config.model.storage is 'octree'; accepted: dense | sparse"),
    ({"model.down": "max"}, "config.model.down is 'max'; accepted: conv | pool"),
    ({"structure.loss": "l1"}, "config.structure.loss is 'l1'; accepted: bce | dice"),
    ({"cells.side": 9}, "config.cells.side is 9; accepted with model.storage = sparse: 8, the latent.side 4 doubled for each "
     "of model.widths after the first"),
    ({"model.storage": "dense", "distance_grid.side": 33}, "config.distance_grid.side is 33; accepted with model.storage = "
     "dense: 8, the latent.side 4 doubled for each of model.widths after the first"),
    ({"cells.coarse": ()}, 'config.cells.coarse is (); accepted: 1 of whole numbers above 0, as in "(704,)", one for each of '
     "model.widths after the first"),
    ({"cells.side": 2048, "latent.side": 1024}, "config.cells.side is 2048; accepted with model.storage = sparse: at most "
     "1024"),
    ({"model.features": "patches"}, "config.model.features is 'patches'; accepted: distances | views | both"),
    ({"model.features": "views", "model.storage": "dense", "distance_grid.side": 8}, "config.model.features is 'views'; "
     "accepted with model.storage = dense: distances, as views show cells of the surface alone"),
    ({"model.views_weight": 0.5}, "config.model.views_weight is 0.5; accepted with model.features = distances: 0, as no "
     "features are read"),
    ({"model.features": "both", "views.channels": "depth"}, "config.views.channels is 'depth'; accepted with model.features = "
     "both: shaded, normal, all, of which a cell has a mean"),
    ({"latent.kind": "vamp_prior"}, "config.latent.kind is 'vamp_prior'; accepted with model.storage = sparse: a kind without "
     "a learned prior, which would need as many cells for every shape"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "text"), REFUSED)
def test_what_does_not_fit_is_refused_in_a_line(more, text):
    with pytest.raises(ValueError) as refused:
        sparse_voxels.check(config_of(**more))
    assert str(refused.value) == text


def test_a_latent_without_places_is_refused_in_a_line():
    _, family, params, _, found = made()
    with pytest.raises(ValueError) as refused:
        family.decode(params, found._replace(place=None))
    told = "the latent has no place and alive; accepted with model.storage = sparse: a Latent as encode gives it"
    assert str(refused.value) == told


# What views show


def shown(batch):
    """The batch with the way out from the centre as what views show of each cell, but of every third, which none sees."""
    place = (np.asarray(batch["cells"]) + 0.5) / 4 - 1
    viewed = np.asarray(batch["alive"]) & (np.arange(place.shape[1]) % 3 > 0)[None]
    way = place / np.linalg.norm(place, axis=-1, keepdims=True)
    return batch | {"feature": jnp.float32(way * viewed[..., None]), "viewed": jnp.asarray(viewed)}


def test_distances_alone_read_no_features_and_are_the_network_that_they_were():
    _, family, params, batch, _ = made()
    assert family.reads == ("cells", "corner_distance", "alive", "inside")
    kernels = [params[name]["params"]["Dense_0"]["kernel"].shape for name in ("encoder", "decoder")]
    assert kernels == [(8, 8), (4, 16)]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 64_060
    assert {name for name in jax.eval_shape(family.judge, params, batch, None) if "feature" in name} == set()


@pytest.mark.parametrize(("features", "width"), [("views", 4), ("both", 12)])
def test_views_are_read_and_are_a_target_where_views_see_cells(features, width):
    more = {"model.features": features, "model.views_weight": 2.0, "views.channels": "normal"}
    config = config_of(**more)
    family, batch = family_of(config), shown(made()[3])
    knobs, params = families.knobs(config), jax.jit(family.init)(batch, KEY, {})
    assert family.reads == ("cells", "corner_distance", "alive", "feature", "viewed", "inside")
    assert params["encoder"]["params"]["Dense_0"]["kernel"].shape == (width, 8)
    told = lambda batch: (
        *family.loss(params, batch, KEY, jnp.int32(0), knobs),
        family.encode(params, batch, None).code,
    )
    told = jax.jit(told)
    total, parts, code = told(batch)
    apart = parts["reconstruction"] + parts["structure"] + 2 * parts["features"]
    np.testing.assert_allclose(total, apart, rtol=1e-5)
    assert 0.2 < float(parts["features"]) < 2
    unseen = jnp.where(batch["viewed"][..., None], batch["feature"], 5.0)
    _, again, same = told(batch | {"feature": unseen})  # whatever is said of cells that none sees
    np.testing.assert_array_equal(same, code)
    np.testing.assert_array_equal(again["features"], parts["features"])
    assert np.abs(told(batch | {"viewed": batch["alive"]})[2] - code).max() > 1e-3  # the flag is read
    far = told(batch | {"corner_distance": batch["corner_distance"] + 0.01})[2]
    assert bool((far == code).all()) == (features == "views")
    if features == "both":
        judged = jax.jit(family.judge)(params, batch, None)
        np.testing.assert_allclose(judged["feature_error_given"].mean(), parts["features"], rtol=1e-5)
        assert (np.asarray(judged["feature_error"]) > 0).all()
