import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from hexjax.data import fields
from hexjax.models import family as families
from hexjax.models.parts import hexplanes
from hexjax.training import step
from tests import toys

pytestmark = pytest.mark.usefixtures("quick_programs")


@pytest.mark.parametrize("kind", ["surface", "channels"])
def test_true_outputs_are_the_rendered_maps_and_cost_nothing(kind):
    config = toys.config_of("hexplane_ae", "surface", **{"reconstruction.kind": kind})
    batch = toys.batch_of(config)
    truth = hexplanes.network_input(batch, "continuous")
    logit = jnp.where(batch["mask"], 60.0, -60.0)[:, :, None]
    raw = truth if kind == "channels" else jnp.concatenate([logit, truth], 2)
    total, parts = hexplanes.surface_loss(raw, batch, config)
    assert float(total) < 1e-6
    assert float(parts["reconstruction"]) == float(total)
    maps = hexplanes.to_maps(raw, kind)
    mask = np.asarray(batch["mask"])
    np.testing.assert_array_equal(np.asarray(maps.mask) > 0.5, mask)
    np.testing.assert_allclose(np.asarray(maps.depth)[mask], np.asarray(batch["depth"])[mask], atol=1e-6)
    np.testing.assert_allclose(np.asarray(maps.normal)[mask], np.asarray(batch["normal"])[mask], atol=1e-5)


def test_decoded_maps_are_in_range():
    raw = jnp.asarray(np.random.default_rng(0).normal(0, 5, (1, 6, 5, 8, 8)), jnp.float32)
    maps = hexplanes.to_maps(raw, "surface")
    assert ((maps.mask >= 0) & (maps.mask <= 1)).all()
    assert ((maps.depth >= 0) & (maps.depth <= 2)).all()
    np.testing.assert_allclose(np.linalg.norm(maps.normal, axis=-1), 1, atol=1e-4)


def test_each_extra_level_and_thirty_percent_more_parameters():
    config = toys.config_of("hexplane_ae", "surface")
    config.update_from_flattened_dict({"model.widths": (64, 128), "model.mixer_width": 128, "model.mixer_heads": 8})
    count = lambda: sum(
        leaf.size
        for leaf in jax.tree.leaves(
            jax.eval_shape(toys.family_of(config).init, toys.batch_of(config), jax.random.key(0), {})
        )
    )
    plain = count()
    config.model.width_scale = 1.14
    assert 1.2 < count() / plain < 1.4


@pytest.mark.parametrize(("blocks", "views"), [(0, [2]), (1, [0, 1, 2, 3, 4, 5])])
def test_without_a_mixer_no_view_sees_another(blocks, views):
    config = toys.config_of("hexplane_ae", "surface")
    config.model.mixer_blocks = blocks
    family, batch = toys.family_of(config), toys.batch_of(config)
    params = family.init(batch, jax.random.key(0), {})
    noise = lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape)  # blocks start as the identity
    params = jax.tree.map(noise, params)
    other = batch | {"depth": batch["depth"].at[:, 2].add(0.1)}
    codes = [family.encode(params, each, None).code.reshape(len(batch["depth"]), 6, -1) for each in (batch, other)]
    changed = np.abs(codes[0] - codes[1]).max((0, 2)) > 0
    assert np.flatnonzero(changed).tolist() == views


@pytest.mark.parametrize("name", ["ae_continuous", "vae_binary"])
def test_the_published_variants_are_convolutions_alone_and_have_38_million_parameters(name):
    config = importlib.import_module(f"configs.{name}").get_config("published")
    spec = fields.spec(config, ())
    batch = {name: jax.ShapeDtypeStruct((1, *each.shape), each.dtype) for name, each in spec.fields.items()}
    params = jax.eval_shape(families.make(spec, config).init, batch, jax.random.key(0), {})
    assert 37e6 < sum(leaf.size for leaf in jax.tree.leaves(params)) < 39e6
    assert "Mixer" not in str(jax.tree.structure(params))


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            {"hexplane.resolution_px": 20},
            "config.hexplane.resolution_px is 20; accepted: 16 = model.stem_px 4 x latent.side 2 x 2^1 for model.widths "
            "(8, 16)",
        ),
        (
            {"model.stem_px": 1, "model.widths": (8,), "hexplane.resolution_px": 8},
            "config.latent.side is 2; model.stem_px 1 x latent.side x 2^0 for model.widths (8,) is 2, and "
            "hexplane.resolution_px accepts that alone and a whole number from 8 to 4096",
        ),
        ({"model.mixer_side": 3}, "config.model.mixer_side is 3; accepted: a divisor of latent.side = 2"),
        ({"model.stem_px": 3}, "config.model.stem_px is 3; accepted: a power of two"),
        (
            {"model.widths": (32, 6.5)},
            'config.model.widths is (32, 6.5); accepted: whole numbers above 0, as in "(64, 128)"',
        ),
        (
            {"reconstruction.kind": "l1"},
            "config.reconstruction.kind is 'l1'; accepted: surface, channels, gaussian, "
            "calibrated_gaussian, bernoulli, continuous_bernoulli",
        ),
        (
            {"latent.kind": "vq"},
            "config.latent.kind is 'vq'; accepted: deterministic, gaussian, vamp_prior, "
            "flow_prior, bernoulli, categorical, fsq",
        ),
    ],
)
def test_what_does_not_fit_is_refused(overrides, text):
    with pytest.raises(ValueError) as error:
        toys.family_of(toys.config_of("hexplane_ae", "surface", **overrides))
    assert str(error.value) == text


def test_a_config_without_the_keys_of_the_family_is_refused_before_shapes_are_loaded():
    config = base.get_config()
    config.data.path = "nowhere.obj"
    with pytest.raises(ValueError) as error:
        step.load(config, "train")
    assert str(error.value) == (
        "config.model.stem_px is missing; accepted with model.family = hexplane_ae: a power of two"
    )


def test_an_unknown_input_is_refused():
    batch = toys.batch_of(toys.config_of("hexplane_ae", "surface"))
    with pytest.raises(ValueError) as error:
        hexplanes.network_input(batch, "voxels")
    assert (
        str(error.value)
        == "config.model.input is 'voxels'; accepted: continuous, binary, binary_sdf, silhouettes, silhouette_sdf, depth"
    )


def family_of(dtype):
    return toys.family_of(toys.config_of("hexplane_ae", "surface+sdf", **{"model.dtype": dtype}))


@functools.cache
def started():
    """A batch and parameters, which are float32 whatever the dtype of the arithmetic."""
    batch = toys.batch_of(toys.config_of("hexplane_ae", "surface+sdf"))
    given = batch, jax.random.key(0), {}
    float32, bfloat16 = (jax.eval_shape(family_of(dtype).init, *given) for dtype in ("float32", "bfloat16"))
    assert float32 == bfloat16
    return batch, jax.jit(family_of("float32").init)(*given)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_moves_nothing_between_host_and_device_and_is_finite(dtype):
    family, zero, key = family_of(dtype), jnp.int32(0), jax.random.key(0)
    batch, params = started()
    knobs = {"sdf.weight": jnp.float32(1.0), "kl.log_variance_limit": jnp.float32(np.inf)}
    step = jax.jit(jax.value_and_grad(lambda *given: family.loss(*given)[0]))
    given = params, batch, key, zero, knobs
    compiled = step.lower(*given).compile()
    with jax.transfer_guard("disallow"):
        loss, gradient = jax.block_until_ready(compiled(*given))
    assert loss.dtype == jnp.float32
    assert np.isfinite(loss)
    for leaf in jax.tree.leaves(gradient):
        assert leaf.dtype == jnp.float32
        assert np.isfinite(leaf).all()


def test_bfloat16_inside_blocks_changes_the_maps_by_little_and_keeps_them_float32():
    (batch, params), maps = started(), []
    for dtype in ("float32", "bfloat16"):
        family = family_of(dtype)
        maps.append(jax.jit(lambda p: family.decode(p, family.encode(p, batch, None)))(params))  # noqa: B023
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(maps[1]))
    np.testing.assert_allclose(maps[0].depth, maps[1].depth, atol=0.1)
    np.testing.assert_allclose(maps[0].mask, maps[1].mask, atol=0.1)
