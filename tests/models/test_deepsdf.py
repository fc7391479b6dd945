"""The auto-decoder: its size, its two ways to a code, and that the code's part of a layer is computed once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import deepsdf as experiment
from hexjax.data import fields
from hexjax.geometry import frame
from hexjax.models import deepsdf
from hexjax.models import family as families
from hexjax.models.parts import fourier
from tests import toys

KEY = jax.random.key(0)


def config_of(**more):
    return toys.config_of("deepsdf", "codes", **more)


def family_of(config, count=2):
    return families.make(fields.spec(config, ())._replace(shapes=count), config)


@pytest.mark.parametrize(("variant", "parameters"), [("", 1_945_089), ("small", 250_625), ("published20", 1_945_089)])
def test_the_decoder_has_the_published_number_of_parameters(variant, parameters):
    config = experiment.get_config(variant)
    params = jax.eval_shape(family_of(config, 20).init, {}, KEY, {})
    assert sum(leaf.size for leaf in jax.tree.leaves(params["decoder"])) == parameters
    assert params["codes"].shape == (20, 64)


def test_features_are_the_points_and_their_sines_and_their_products_know_differences_alone():
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 50, 3)).astype(np.float32)
    given, other = (np.asarray(fourier.features(a, 6), np.float64) for a in (x, y))
    assert given.shape == (50, 39)
    np.testing.assert_array_equal(given[:, :3], x)
    turns = np.pi * 2.0 ** np.arange(6)
    expected = np.cos(turns[:, None, None] * (x.astype(np.float64) - y)[None]).sum((0, 2))
    np.testing.assert_allclose((given[:, 3:] * other[:, 3:]).sum(1), expected, atol=2e-4)
    np.testing.assert_array_equal(fourier.features(x, 0), x)


@pytest.mark.parametrize("activation", ["relu_pe", "siren"])
def test_the_field_is_that_of_plain_layers_on_point_and_code(activation):
    """A slow reference in NumPy, layer by layer, the input put in again in the middle."""
    config = config_of(**{"model.activation": activation, "model.depth": 5})
    family = family_of(config)
    params = family.init({}, KEY, {})
    points = np.random.default_rng(1).uniform(-1, 1, (9, 3)).astype(np.float32)
    code = np.asarray(params["codes"][1], np.float64)
    layers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["decoder"]["params"])
    x = points.astype(np.float64) if activation == "siren" else np.asarray(fourier.features(points, 6), np.float64)
    act = (lambda y: np.sin(30 * y)) if activation == "siren" else (lambda y: np.maximum(y, 0))
    h = None
    for i in range(5):
        layer = layers[f"layers_{i}"]
        given = x if i == 0 else np.concatenate([h, x], 1) if i == 2 else h
        value = given @ layer["kernel"] + layer["bias"]
        if i in (0, 2):
            value = value + code @ layers[f"codes_{i // 2}"]["kernel"]
        h = act(value)
    expected = (h @ layers["out"]["kernel"] + layers["out"]["bias"])[:, 0]
    latent = family.encode(params, {"item": jnp.array([1])}, None)
    decoded = jax.tree.map(lambda leaf: leaf[0], family.decode(params, latent))
    np.testing.assert_allclose(family.field(params, decoded, points), expected, atol=2e-4)


def test_weights_start_within_their_published_bounds():
    for activation, bounds in (("relu_pe", (1 / 103**0.5, 1 / 359**0.5)), ("siren", (1 / 67, (6 / 323) ** 0.5 / 30))):
        config = experiment.get_config("small")
        config.model.activation = activation
        layers = family_of(config).init({}, KEY, {})["decoder"]["params"]
        for name, bound in zip(("0", "2"), bounds):
            for kind in (f"layers_{name}", f"codes_{int(name) // 2}"):
                largest = float(jnp.abs(layers[kind]["kernel"]).max())
                assert 0.95 * bound < largest <= bound, (activation, kind)


def spheres(count, points=600, seed=0):
    """Distances to spheres of radii from .3 to .8 at points of their own, up to .15 off the surface."""
    radii, random = np.linspace(0.3, 0.8, count, dtype=np.float32)[:, None], np.random.default_rng(seed)
    distance = random.uniform(-0.15, 0.15, (count, points)).astype(np.float32)
    ways = random.standard_normal((count, points, 3)).astype(np.float32)
    ways /= np.linalg.norm(ways, axis=-1, keepdims=True)
    return {"points": jnp.asarray(ways * (radii + distance)[..., None]), "sdf": jnp.asarray(distance)}


@functools.cache
def fitted():
    """A toy network that knows four spheres."""
    more = {"latent.channels": 4, "model.bands": 1, "search.steps": 100, "search.points": 128}
    family = family_of(config_of(**more, **{"search.learning_rate": 0.02}), 4)
    params, batch = family.init({}, KEY, {}), spheres(4, 300) | {"item": jnp.arange(4), "inside": jnp.zeros((4, 64))}
    knobs, adam = families.knobs(experiment.get_config("small")), optax.adam(3e-3)

    @jax.jit
    def train(params):
        def step(carry, number):
            params, memory = carry
            slope = jax.grad(lambda params: family.loss(params, batch, KEY, number, knobs)[0])(params)
            update, memory = adam.update(slope, memory)
            return (optax.apply_updates(params, update), memory), None

        return jax.lax.scan(step, (params, adam.init(params)), jnp.arange(400))[0][0]

    return family, train(params)


def error(family, params, code, batch):
    decoded = family.decode(params, latent_of(code))
    found = jax.vmap(lambda decoded, points: family.field(params, decoded, points))(decoded, batch["points"])
    clamp = lambda values: np.clip(values, -0.1, 0.1)
    return np.abs(clamp(np.asarray(found)) - clamp(np.asarray(batch["sdf"]))).mean(1)


def latent_of(code):
    return deepsdf.Latent(code, {"mean": code})


def test_a_search_finds_a_code_as_good_as_the_learnt_one_and_the_same_in_any_batch():
    family, params = fitted()
    new = spheres(4, seed=1)
    own = family.encode(params, {"item": jnp.arange(4)}, None).code
    encode = jax.jit(lambda batch: family.encode(params, batch, None).code)
    found, start = encode(new), jnp.zeros_like(own)
    fresh = spheres(4, seed=2)
    errors = [error(family, params, code, fresh) for code in (own, found, start)]
    assert errors[0].mean() < 0.01
    assert errors[1].mean() < 1.3 * errors[0].mean()
    assert errors[2].mean() > 3 * errors[1].mean()
    some = jax.tree.map(lambda leaf: leaf[1:3], new)
    np.testing.assert_allclose(encode(some), found[1:3], atol=1e-3)
    np.testing.assert_array_equal(encode(new), found)


def test_of_several_starts_the_one_is_kept_that_fits_points_which_were_not_fitted():
    family, params = fitted()
    config = config_of(**{"latent.channels": 4, "model.bands": 1, "search.steps": 1, "search.learning_rate": 1e-9,
                          "search.starts": 8})  # fmt: skip
    new = spheres(2, seed=1)
    starts = [0.01 * jax.random.normal(jax.random.fold_in(key, 1), (1, 4))
              for key in jax.random.split(jax.random.key(0), 8)]  # fmt: skip
    kept = jax.tree.map(lambda leaf: leaf[:, 480:], new)
    errors = np.stack([error(family, params, jnp.broadcast_to(one, (2, 1, 4)), kept) for one in starts])
    found = family_of(config, 4).encode(params, new, None).code[:, 0]
    best = np.concatenate([np.asarray(starts[i]) for i in errors.argmin(0)])
    np.testing.assert_allclose(found, best, atol=1e-6)
    assert errors.std(0).min() > 0


def test_a_gaussian_code_that_was_searched_is_as_sure_as_those_that_were_learnt():
    config = toys.config_of("deepsdf", "gaussian, plain")
    family, batch = family_of(config), toys.batch_of(config)
    params = family.init({}, KEY, {})
    params["codes"] = params["codes"].at[0, 4:].set(-3.0).at[1, 4:].set(-5.0)
    found = family.encode(params, {name: batch[name] for name in family.sees}, None)
    np.testing.assert_allclose(found.statistics["log_variance"], np.full((2, 1, 4), -4.0))
    np.testing.assert_array_equal(found.code, found.statistics["mean"])
    drawn = family.encode(params, {"item": jnp.arange(2)}, KEY)
    assert np.abs(np.asarray(drawn.code - drawn.statistics["mean"])).max() > 1e-3


def test_the_loss_is_the_clamped_difference_and_the_penalty_of_codes():
    config = config_of(**{"code.weight": 0.25})
    family, batch = family_of(config), toys.batch_of(config)
    params = family.init({}, KEY, {})
    total, parts = family.loss(params, batch, KEY, jnp.int32(0), families.knobs(config))
    own = family.encode(params, batch, None).code
    expected = error(family, params, own, batch).mean()
    penalty = 0.25 * (np.asarray(params["codes"], np.float64) ** 2).sum(1).mean()
    np.testing.assert_allclose(parts["reconstruction"], expected, rtol=1e-5)
    np.testing.assert_allclose(parts["penalty"], penalty, rtol=1e-5)
    np.testing.assert_allclose(total, expected + penalty, rtol=1e-5)
    assert 0 <= float(parts["sign"]) <= 1


def test_between_two_codes_the_slope_costs_its_squared_distance_from_one():
    config = config_of(**{"code.between_weight": 2.0})
    family, batch = family_of(config), toys.batch_of(config)
    params = family.init({}, KEY, {})
    _, parts = family.loss(params, batch, KEY, jnp.int32(0), families.knobs(config))
    middle = (params["codes"][0] + params["codes"][1]) / 2
    decoded = jax.tree.map(lambda leaf: leaf[0], family.decode(params, latent_of(middle[None, None])))
    slopes = jax.vmap(jax.grad(lambda point: family.field(params, decoded, point[None])[0]))
    lengths = np.linalg.norm(np.asarray(slopes(batch["points"].reshape(-1, 3))), axis=1)
    np.testing.assert_allclose(parts["between"], 2 * ((lengths - 1) ** 2).mean(), rtol=1e-3)


REFUSED = [
    ({"model.depth": 1}, "config.model.depth is 1; accepted: a whole number, at least 2"),
    ({"model.activation": "gelu"}, "config.model.activation is 'gelu'; accepted: relu_pe | siren"),
    ({"search.starts": 0}, "config.search.starts is 0; accepted: a whole number, at least 1"),
    ({"latent.kind": "fsq"}, "config.latent.kind is 'fsq'; accepted with model.family = deepsdf: deterministic | gaussian"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "text"), REFUSED)
def test_what_the_family_cannot_do_is_refused_in_a_line(more, text):
    with pytest.raises(ValueError) as refused:
        deepsdf.check(config_of(**more))
    assert str(refused.value) == text


def test_the_places_that_diagnostics_ask_are_those_of_the_field_inside():
    config = config_of()
    family = family_of(config)
    params = family.init({}, KEY, {})
    found = family.encode(params, {"item": jnp.arange(2)}, None)
    logits = family.probe.predict(params, found)
    decoded = jax.tree.map(lambda leaf: leaf[1], family.decode(params, found))
    values = family.field(params, decoded, jnp.asarray(frame.shared_points(config.inside.points)))
    np.testing.assert_allclose(logits[1], -values / deepsdf.SOFTNESS, rtol=1e-4, atol=1e-4)
