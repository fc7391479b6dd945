"""The generator on another run's latents: what it reads, what it is told by, and that the order of views does not matter."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import deepsdf, latent_dit, view_encoder
from hexjax.data import fields
from hexjax.models import family as families
from hexjax.types import Latent
from tests import toys

KEY, SHAPES, VIEWS = jax.random.key(0), 6, 5


def parent_of(config: ml_collections.ConfigDict, latents=None, look=None):
    spec = fields.spec(config, ())._replace(shapes=SHAPES)
    family = families.make(spec, config)
    return families.Parent(family, spec, config, "digest", latents)


@functools.cache
def parents():
    latents = {"latent": np.random.default_rng(0).normal(3, 2, (SHAPES, 1, 4)).astype(np.float32)}
    codes = toys.config_of("deepsdf", "codes")
    pictures = view_encoder.get_config("small")
    pictures.model.width, pictures.model.blocks, pictures.latent.channels = 16, 1, 6
    pictures.views.update({"count": 8, "held": 3, "resolution_px": 28})
    return {"latents": parent_of(codes, latents), "views": parent_of(pictures)}


@functools.cache
def parameters():
    batch = {"views": np.zeros((2, 2, 28, 28, 3), np.uint8)}
    found = {name: parent.family.init(batch, KEY, {}) for name, parent in parents().items()}
    random = np.random.default_rng(4)  # attention that starts at 0 would see no picture
    return jax.tree.map(lambda a: a + 0.1 * random.standard_normal(a.shape).astype(a.dtype), found)


def config_of(told=True):
    config = latent_dit.get_config("small")
    config.model.width, config.model.blocks, config.model.heads = 32, 2, 2
    config.diffusion.levels, config.diffusion.steps = 50, 5
    config.latents.run, config.views.run = "RUN", "RUN" if told else ""
    config.views.update({"count": 8, "held": 3, "drawn": VIEWS, "resolution_px": 28})
    return config


@functools.cache
def made(told=True):
    config = config_of(told)
    given = {name: parent for name, parent in parents().items() if told or name == "latents"}
    look = fields.Look(lambda views: views, (1, 6), "") if told else None
    spec = fields.spec(config, (), parents()["latents"].latents, look)._replace(shapes=SHAPES)
    family = families.make(spec, config, given)
    batch = {"latent": jnp.asarray(parents()["latents"].latents["latent"])}
    if told:
        random = np.random.default_rng(1)
        batch["condition"] = jnp.asarray(random.standard_normal((SHAPES, VIEWS, 1, 6)).astype(np.float32))
        batch["pose"] = jnp.asarray(random.standard_normal((SHAPES, VIEWS, 64)).astype(np.float32))
    params = family.init(batch, KEY, parameters())
    random = np.random.default_rng(2)  # what starts at 0 would hide what is asked
    params["network"] = jax.tree.map(
        lambda a: a + 0.05 * random.standard_normal(a.shape).astype(a.dtype), params["network"]
    )
    return config, family, batch, families.whole(params, {name: parameters()[name] for name in given})


def views_of(count=VIEWS, shapes=2):
    random = np.random.default_rng(3)
    views = random.integers(0, 256, (shapes, count, 28, 28, 3)).astype(np.uint8)
    return {"views": jnp.asarray(views), "pose": jnp.asarray(random.standard_normal((shapes, count, 64)).astype(np.float32)),
            "draw": jnp.arange(shapes)}  # fmt: skip


def test_the_full_size_has_the_parameters_that_its_listing_gives():
    config = latent_dit.get_config()
    config.latents.run = config.views.run = "RUN"
    codes = parent_of(deepsdf.get_config(), {"latent": np.zeros((2, 1, 64), np.float32)})
    pictures = parent_of(view_encoder.get_config("small"))
    look = fields.Look(lambda views: views, (1, 64), "")
    spec = fields.spec(config, (), codes.latents, look)._replace(shapes=2)
    family = families.make(spec, config, {"latents": codes, "views": pictures})
    batch = {"condition": jnp.zeros((2, 8, 1, 64)), "pose": jnp.zeros((2, 8, 64))}
    params = jax.eval_shape(family.init, batch, KEY, {})
    count = sum(leaf.size for leaf in jax.tree.leaves(params["network"]))
    assert 15.4e6 < count < 15.9e6, count


def test_latents_are_standardised_by_what_does_not_train():
    config, _, batch, params = made()
    latent = np.asarray(batch["latent"])
    np.testing.assert_allclose(params["scaling"]["mean"], latent.mean(0), rtol=1e-5)
    np.testing.assert_allclose(params["scaling"]["deviation"], latent.std(0), rtol=1e-5)
    assert config.optimiser.scale.scaling == 0


def test_views_in_any_order_and_in_any_company_give_the_same_shape():
    _, family, _, params = made()
    sample = jax.jit(lambda batch: family.sample(params, KEY, batch).code)
    batch, order = views_of(), np.array([3, 0, 4, 1, 2])
    turned = batch | {name: batch[name][:, order] for name in ("views", "pose")}
    found = sample(batch)
    np.testing.assert_allclose(sample(turned), found, atol=1e-4)
    alone = jax.tree.map(lambda leaf: leaf[1:], batch)
    np.testing.assert_allclose(sample(alone)[0], found[1], atol=1e-4)
    other = batch | {"views": batch["views"][::-1]}
    assert np.abs(np.asarray(sample(other) - found)).max() > 1e-3
    assert np.abs(np.asarray(sample(batch | {"draw": jnp.array([7, 8])}) - found)).max() > 1e-3


@pytest.mark.parametrize("told", [True, False])
def test_loss_and_gradient_are_finite_and_reach_the_network_alone(told):
    config, family, batch, params = made(told)
    knobs = families.knobs(config)
    value = jax.value_and_grad(family.loss, has_aux=True)
    (total, _), gradient = jax.jit(value)(params, batch, KEY, jnp.int32(0), knobs)
    assert np.isfinite(total)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient["parents"]))
    moved = [np.abs(np.asarray(leaf)).max() > 0 for leaf in jax.tree.leaves(gradient["network"])]
    assert np.mean(moved) > 0.75  # a single token's attention to itself has neither query nor key


def test_draws_are_of_the_parents_form_and_the_parent_decodes_them():
    _, family, _, params = made(False)
    drawn = family.sample(params, KEY, {"draw": jnp.arange(3)})
    assert isinstance(drawn, Latent)
    assert drawn.code.shape == (3, 1, 4)
    decoded = jax.tree.map(lambda leaf: leaf[1], family.decode(params, drawn))
    parent, own = parents()["latents"].family, params["parents"]["latents"]
    points = np.random.default_rng(0).uniform(-1, 1, (7, 3)).astype(np.float32)
    theirs = parent.field(own, jax.tree.map(lambda leaf: leaf[1], parent.decode(own, drawn)), points)
    np.testing.assert_array_equal(family.field(params, decoded, points), theirs)


REFUSED = [
    ({"model.width": 30}, "config.model.width is 30; accepted: multiples of twice model.heads = 2"),
    ({"diffusion.steps": 60}, "config.diffusion.steps is 60; accepted: 2 to diffusion.levels = 50"),
    ({"latents.run": ""}, "config.latents.run is ''; accepted: the folder of a trained run, whose latents are drawn"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "text"), REFUSED)
def test_what_does_not_fit_is_refused_in_a_line(more, text):
    config = config_of()
    config.update_from_flattened_dict(more)
    with pytest.raises(ValueError) as refused:
        families.check(config)
    assert str(refused.value) == text


def test_a_run_that_reads_no_pictures_is_refused_as_one_of_views():
    config = config_of()
    given = {"latents": parents()["latents"], "views": parents()["latents"]}
    spec = fields.spec(config, (), parents()["latents"].latents)._replace(shapes=SHAPES)
    with pytest.raises(ValueError) as refused:
        families.make(spec, config, given)
    assert str(refused.value) == "config.views.run is a run of deepsdf; accepted: one that encodes views alone"
