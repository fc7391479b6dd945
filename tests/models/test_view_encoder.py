"""The encoder of pictures: its loss, its features, and how it judges itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import view_encoder as experiment
from hexjax.data import fields
from hexjax.models import family as families
from hexjax.models.parts import dinov2
from tests.models import weights

KEY = jax.random.key(0)


def config_of(**more):
    config = experiment.get_config("small")
    config.update_from_flattened_dict(
        {"model.width": 16, "model.blocks": 1, "model.heads": 2, "latent.channels": 6, "views.resolution_px": 28,
         "views.count": 5, "views.held": 2} | more
    )  # fmt: skip
    return config


def made(**more):
    config = config_of(**more)
    family = families.make(fields.spec(config, ())._replace(shapes=4), config)
    views = np.random.default_rng(0).integers(0, 256, (4, 5, 28, 28, 3)).astype(np.uint8)
    batch = {"views": jnp.asarray(views)}
    params = family.init(batch, KEY, {})
    random = np.random.default_rng(2)
    return (
        config,
        family,
        batch,
        jax.tree.map(lambda a: a + 0.05 * random.standard_normal(a.shape).astype(a.dtype), params),
    )


def test_the_small_encoder_has_at_most_one_and_a_half_million_parameters_and_the_large_one_five():
    for variant, most in (("small", 1.5e6), ("", 5e6)):
        config = experiment.get_config(variant)
        family = families.make(fields.spec(config, ())._replace(shapes=4), config)
        side = config.views.resolution_px
        params = jax.eval_shape(family.init, {"views": jnp.zeros((1, 1, side, side, 3), jnp.uint8)}, KEY, {})
        assert 0.6 * most < sum(leaf.size for leaf in jax.tree.leaves(params)) <= most


@pytest.mark.parametrize(("tokens", "count"), [("cls", 5), ("patches", 20)])
def test_a_latent_has_a_feature_for_each_view_or_patch_of_length_root_d(tokens, count):
    _, family, batch, params = made(**{"views.tokens": tokens})
    latent = family.encode(params, batch, None)
    assert latent.code.shape == (4, count, 6)
    assert (family.layout.kind, family.layout.tokens) == ("set", count)
    np.testing.assert_allclose(np.square(latent.code).sum(-1), 6, rtol=1e-4)


PCA = {"views.encoder": "pca", "latent.channels": 3, "train.steps": 0}
DINOV2 = {
    "views.encoder": "dinov2", "views.weights": "FILE", "train.steps": 0, "model.width": weights.WIDTH,
    "model.blocks": weights.BLOCKS, "model.heads": weights.HEADS, "latent.channels": weights.WIDTH,
}  # fmt: skip


@pytest.mark.parametrize("more", [{}, PCA])
def test_a_view_is_read_the_same_whatever_is_beside_it(more):
    _, family, batch, params = made(**more)
    whole = family.encode(params, batch, None).code
    order = np.array([4, 1, 0, 3, 2])
    np.testing.assert_allclose(
        family.encode(params, {"views": batch["views"][:, order]}, None).code, whole[:, order], atol=1e-5
    )
    np.testing.assert_allclose(family.encode(params, {"views": batch["views"][1:2]}, None).code[0], whole[1], atol=1e-5)


def test_the_loss_is_the_mean_of_both_cross_entropies():
    config, family, batch, params = made()
    pair = {"views": batch["views"][:, :2]}
    total, parts = family.loss(params, pair, KEY, jnp.int32(0), families.knobs(config))
    found = np.asarray(family.encode(params, pair, None).code, np.float64)
    products = found[:, 0] @ found[:, 1].T / 6 / config.model.temperature
    nats = [np.log(np.exp(each).sum(1)) - np.diag(each) for each in (products, products.T)]
    np.testing.assert_allclose(total, np.mean(nats), rtol=1e-4)
    np.testing.assert_allclose(parts["recall"], (products.argmax(1) == np.arange(4)).mean())


def test_recall_counts_the_shapes_that_are_found_from_another_view():
    _, family, batch, params = made()
    judged = family.judge(params, batch, KEY)
    found = np.asarray(family.encode(params, batch, None).code, np.float64)
    for name, places in (("recall", range(5)), ("recall_held", (3, 4))):
        expected = [
            np.mean([(found[b, i] @ found[:, j].T).argmax() == b for i in places for j in places if i != j])
            for b in range(4)
        ]
        np.testing.assert_allclose(judged[name], expected, atol=1e-6)
    same = {"views": jnp.broadcast_to(batch["views"][:, :1], batch["views"].shape)}
    np.testing.assert_allclose(family.judge(params, same, KEY)["recall"], 1)


def test_others_learn_nothing():
    for more in ({}, PCA, DINOV2):
        config = config_of(**more)
        assert (families.make(fields.spec(config, ()), config).loss is None) == bool(more)


def test_principal_components_are_of_all_pictures_that_are_given_and_of_unit_deviation():
    _, family, batch, _ = made(**PCA)
    found = np.asarray(family.encode(family.init(batch, KEY, {}), batch, None).code, np.float64).reshape(-1, 3)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(3), atol=1e-4)
    small = jax.image.resize(batch["views"].reshape(20, 28, 28, 3) / 255, (20, 16, 16, 3), "linear").reshape(20, -1)
    small = np.asarray(small, np.float64)
    axes = np.linalg.svd(small - small.mean(0), full_matrices=False)[0][:, :3] * np.sqrt(20)
    np.testing.assert_allclose(np.abs(found.T @ axes) / 20, np.eye(3), atol=1e-3)


def test_components_that_too_few_pictures_tell_nothing_of_say_nothing():
    _, family, batch, _ = made(**PCA | {"latent.channels": 12})
    params = family.init({"views": batch["views"][:1]}, KEY, {})  # five pictures
    found = np.asarray(family.encode(params, batch, None).code)
    assert np.abs(found[..., :4]).max() > 0.5
    np.testing.assert_array_equal(found[..., 4:], 0)


@pytest.mark.parametrize(("tokens", "each"), [("cls", 1), ("patches", 4)])
def test_weights_of_others_are_read_at_the_start_and_needed_no_more(tmp_path, tokens, each):
    pytest.importorskip("safetensors", reason="safetensors is not installed: pip install -e '.[dev]'")
    file = tmp_path / "weights"
    weights.write(file, weights.original())
    config = config_of(**DINOV2 | {"views.weights": str(file), "views.tokens": tokens})
    family = families.make(fields.spec(config, ())._replace(shapes=4), config)
    views = np.random.default_rng(0).integers(0, 256, (2, 5, 28, 28, 3)).astype(np.uint8)
    params = jax.jit(family.init)({"views": views}, KEY, {})
    jax.tree.map(np.testing.assert_array_equal, params, {"encoder": dinov2.read(str(file), 24, 2, 2)})
    file.unlink()
    code = family.encode(params, {"views": views}, None).code
    assert code.shape == (2, 5 * each, 24)
    found = dinov2.features(params["encoder"], views[:, 1] / np.float32(255), 2, jnp.dtype("float32"))
    expected = found[0][:, None] if tokens == "cls" else found[1]
    np.testing.assert_allclose(code[:, each : 2 * each], expected, atol=1e-5)
    with pytest.raises(ValueError, match="where no file is"):
        jax.eval_shape(lambda *given: family.init(*given), {"views": views}, KEY, {})  # traced anew


def test_more_components_than_numbers_are_refused_before_data_are_made():
    config = config_of(**PCA | {"latent.channels": 800})
    family = families.make(fields.spec(config, ())._replace(shapes=4), config)
    with pytest.raises(ValueError) as refused:
        jax.eval_shape(family.init, {"views": jax.ShapeDtypeStruct((2, 2, 28, 28, 3), np.uint8)}, KEY, {})
    text = "config.latent.channels is 800; accepted with views.encoder = pca: at most 768, the numbers of a picture made small"
    assert str(refused.value) == text


REFUSED = [
    ({"views.encoder": "clip"}, "config.views.encoder is 'clip'; accepted: own | dinov2 | pca"),
    ({"views.weights": "FILE"}, "config.views.weights is 'FILE'; accepted with views.encoder = own: '', as none are read"),
    (DINOV2 | {"views.weights": ""},
     "config.views.weights is ''; accepted with views.encoder = dinov2: a safetensors file of DINOv2's weights"),
    (DINOV2 | {"views.channels": "normal"},
     "config.views.channels is 'normal'; accepted with views.encoder = dinov2: shaded"),
    (DINOV2 | {"latent.channels": 64},
     "config.latent.channels is 64; accepted with views.encoder = dinov2: 24, its model.width"),
    (PCA | {"views.tokens": "patches"}, "config.views.tokens is 'patches'; accepted with views.encoder = pca: cls"),
    ({"views.resolution_px": 30},
     "config.views.resolution_px is 30; accepted with model.family = view_encoder: multiples of 14"),
    ({"model.heads": 3}, "config.model.heads is 3; accepted: a divisor of model.width = 16"),
    ({"views.drawn": 3}, "config.views.drawn is 3; accepted with model.family = view_encoder: 2"),
    ({"views.tokens": "all"}, "config.views.tokens is 'all'; accepted: cls | patches"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "text"), REFUSED)
def test_what_does_not_fit_is_refused_in_a_line(more, text):
    with pytest.raises(ValueError) as refused:
        families.check(config_of(**more))
    assert str(refused.value) == text
