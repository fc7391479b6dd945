"""The figures of one moment: right for a decoder that is perfect, for one that ignores its latent, and for one that breaks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.diagnostics import measure
from hexjax.models.family import Probe
from hexjax.models.parts import losses
from hexjax.types import Latent

pytestmark = pytest.mark.usefixtures("quick_programs")

SHAPES, SIDE = 24, 8
KEY = jax.random.key(0)
KNOBS = {"reconstruction.sigma_floor": jnp.float32(0.01)}


def shapes():
    """Discs of different sizes and places: [n, 1, 1, h, w]."""
    random = np.random.default_rng(0)
    centre, radius = random.uniform(2, 5, (SHAPES, 2, 1, 1)), random.uniform(1, 3, (SHAPES, 1, 1))
    row, column = np.mgrid[:SIDE, :SIDE]
    inside = (row - centre[:, 0]) ** 2 + (column - centre[:, 1]) ** 2 < radius**2
    return jnp.asarray(inside[:, None, None], jnp.float32)


def probe(kind, predict):
    return Probe(
        observe=lambda batch: batch["x"],
        predict=predict,
        **losses.probe(kind),
        coverage=lambda x: x[:, :, 0],
        rate=lambda params, latent, knobs: latent.statistics["mean"].reshape(SHAPES, -1) ** 2,
        pays_rate=True,
        codes=0,
    )


def encode(params, batch, key, knobs):
    """A latent that holds the shape itself, with a little noise."""
    mean = batch["x"].reshape(SHAPES, SIDE, SIDE)
    log_variance = jnp.full_like(mean, -6.0)
    return Latent(mean + 0.05 * jax.random.normal(key, mean.shape), dict(mean=mean, log_variance=log_variance))


def faithful(params, latent):
    return (40 * latent.code - 20).reshape(SHAPES, 1, 1, SIDE, SIDE)


def blind(params, latent):
    return params + 0 * faithful(params, latent)


def taken(kind, predict, params=jnp.float32(0), variance=0.0):
    x, ask = shapes(), probe(kind, predict)
    known = measure.constant(ask, x)
    return measure.measure(encode, ask, params, {"x": x}, KEY, KNOBS, known, variance)


@pytest.mark.parametrize("kind", ["bernoulli", "calibrated_gaussian"])
def test_a_faithful_decoder_is_healthy(kind):
    moment = taken(kind, faithful)
    found = {name: float(value) for name, value in moment.scalars.items()}
    assert found["iou"] > 0.99 > found["iou_constant"]
    assert found["gain"] > 10
    assert found["swap_gap"] > found["gain"]
    assert found["active_units"] > 10
    assert 0.9 < found["mean_map_distance"] < 1.1
    np.testing.assert_allclose(
        found["information"], math.log(SHAPES) - 2 * math.log(2) / SHAPES, atol=1e-3
    )  # one twice
    np.testing.assert_allclose(found["information_ceiling"], math.log(SHAPES), rtol=1e-6)
    judged, evidence = measure.judge(found | {"kl": 1.0}, SHAPES, True, float(moment.swaps.min()), 0.5)
    assert judged.name == "HEALTHY"
    assert (evidence.shapes, evidence.gain) == (SHAPES, found["gain"])


def test_values_that_are_no_images_have_the_same_figures_but_for_outlines():
    """As the occupancy of points that all shapes share: a row of values a shape."""
    x, images = shapes().reshape(SHAPES, -1), taken("bernoulli", faithful)
    row = lambda params, latent: faithful(params, latent).reshape(SHAPES, -1)
    ask = probe("bernoulli", row)._replace(coverage=lambda x: x)
    rows = measure.measure(encode, ask, jnp.float32(0), {"x": x}, KEY, KNOBS, measure.constant(ask, x))
    assert images.scalars.keys() - rows.scalars.keys() == {"outline_gradient", "outline_pixels"}
    for name, value in rows.scalars.items():
        np.testing.assert_allclose(value, images.scalars[name], rtol=1e-4, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(rows.swaps, images.swaps, rtol=1e-4)
    sweeps = [
        measure.threshold_sweep(asked, jnp.float32(0), encode(0, {"x": x}, KEY, KNOBS), values)
        for asked, values in ((ask, x), (probe("bernoulli", faithful), shapes()))
    ]
    jax.tree.map(np.testing.assert_array_equal, *sweeps)


@pytest.mark.parametrize("kind", ["bernoulli", "continuous_bernoulli", "calibrated_gaussian"])
def test_the_constant_predictor_gains_nothing_on_itself(kind):
    known = measure.constant(probe(kind, blind), shapes())
    found = taken(kind, lambda params, latent: jnp.broadcast_to(known.predicted[None], shapes().shape) + 0 * params)
    scalars = {name: float(value) for name, value in found.scalars.items()}
    np.testing.assert_allclose(scalars["gain"], 0, atol=0.05)
    assert scalars["swap_gap"] == 0
    assert scalars["mean_map_distance"] < 0.01
    assert scalars["iou"] == scalars["iou_constant"]


@pytest.mark.parametrize("kind", ["bernoulli", "continuous_bernoulli", "gaussian"])
def test_the_constant_predictor_has_the_mean_of_the_data(kind):
    ask, x = probe(kind, blind), shapes()
    known = measure.constant(ask, x)
    np.testing.assert_allclose(ask.expectation(known.predicted), known.mean, atol=2e-3)
    np.testing.assert_allclose(known.mean, (np.asarray(x).sum(0) + 0.25) / (SHAPES + 0.5), atol=1e-6)
    np.testing.assert_allclose(known.variance, np.square(np.asarray(x) - np.asarray(known.mean)).mean(), rtol=1e-5)


@pytest.mark.parametrize("kind", ["bernoulli", "continuous_bernoulli"])
def test_standardised_values_make_the_nats_a_squared_error_near_the_constant(kind):
    """Second differences of the nats along a small change of logits, against the squares that stand for them."""
    x, ask = shapes(), probe(kind, blind)
    if kind == "continuous_bernoulli":
        x = 0.1 + 0.7 * x + 0.1 * jnp.linspace(0, 1, SHAPES)[:, None, None, None, None]
    known, rows = measure.constant(ask, x), measure.standardised(ask, x)
    step = 0.05 * jax.random.normal(KEY, x.shape[1:])
    slope = jax.grad(lambda logits: ask.expectation(logits).sum())(known.predicted)
    nats = lambda logits: ask.nll(jnp.broadcast_to(logits[None], x.shape), x, 1.0).sum((1, 2, 3, 4))
    found = np.asarray(nats(known.predicted + step) - nats(known.predicted))
    moved = (jnp.sqrt(slope) * step)[None]
    expected = np.asarray((jnp.square(rows - moved) - jnp.square(rows)).sum((1, 2, 3, 4)) / 2)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_the_constant_of_one_shape_is_that_shape():
    x, ask = shapes()[:1], probe("calibrated_gaussian", blind)
    known = measure.constant(ask, x)
    np.testing.assert_array_equal(known.mean, x[0])
    assert float(known.variance) == 0


def test_a_continuous_bernoulli_that_ignores_its_latent_has_no_swap_error_and_a_constant_one_above_it():
    """Its nats lie below 0, where 1 % of them is no bound; its squared error does not."""
    known = measure.constant(probe("continuous_bernoulli", blind), shapes())
    ignorant = lambda params, latent: jnp.broadcast_to(known.predicted[None], shapes().shape) + 0 * params
    scalars = {name: float(value) for name, value in taken("continuous_bernoulli", ignorant).scalars.items()}
    assert scalars["swap_error"] == 0 < scalars["constant_error"]
    judged, _ = measure.judge(scalars | {"active_units": 0, "kl": 0.0}, SHAPES, True, 0.0)
    assert judged.name == "COLLAPSED"


def test_a_given_variance_is_that_of_the_nats():
    wide, own = (taken("gaussian", faithful, variance=variance).scalars for variance in (4.0, 0.0))
    assert float(wide["variance"]) == 4.0
    np.testing.assert_allclose(own["variance"], max(float(own["squared_error"]), 1e-4), rtol=1e-5)
    entries = SIDE**2
    expected = entries * (math.log(2 * math.pi * 4) / 2 + float(wide["squared_error"]) / 8)
    np.testing.assert_allclose(wide["nll"], expected, rtol=1e-4)


def test_what_is_not_finite_is_counted_and_explodes():
    moment = taken("bernoulli", blind, params=jnp.float32(jnp.nan))
    assert float(moment.scalars["non_finite"]) > SHAPES
    scalars = {name: float(value) for name, value in moment.scalars.items()}
    assert measure.judge(scalars, SHAPES, True)[0].name == "EXPLODED"


def test_one_shape_is_not_certifiable():
    scalars = {name: float(value) for name, value in taken("bernoulli", faithful).scalars.items()}
    judged, _ = measure.judge(scalars, 1, True)
    assert judged.name == "NOT-CERTIFIABLE"
    assert judged.tags == ("decoder ok",)


def test_deterministic_codes_tell_all_shapes_whose_codes_differ():
    code = jnp.asarray(np.repeat(np.arange(4.0), 4)[:, None, None], jnp.float32)
    found = measure.information(Latent(code, dict(mean=code)))
    np.testing.assert_allclose(found, math.log(4), rtol=1e-5)


def test_measuring_compiles_and_vmaps_over_runs():
    x, ask = shapes(), probe("bernoulli", blind)
    known = measure.constant(ask, x)
    one = lambda params: measure.measure(encode, ask, params, {"x": x}, KEY, KNOBS, known).scalars
    both = jax.jit(jax.vmap(one))(jnp.array([-1.0, 2.0]))
    for i, params in enumerate((-1.0, 2.0)):
        alone = one(jnp.float32(params))
        for name in alone:
            np.testing.assert_allclose(both[name][i], alone[name], rtol=1e-4, atol=1e-4, err_msg=name)
