"""The schedule's closed form, clipping, Adam against its textbook loop, and the laws of Muon."""

import math
import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hexjax.training import optimiser
from tests.training import toy


def make(**values):
    """The optimiser of a toy config with some values of `optimiser`."""
    config = toy.make_config(steps=100)
    config.optimiser.update(values)
    return optimiser.make(config)


def test_schedule_is_linear_warm_up_times_cosine_to_zero():
    schedule = make(warmup_steps=10, decay="cosine").schedule
    steps = np.arange(101)
    expected = np.minimum(1, (steps + 1) / 10) * 0.5 * (1 + np.cos(np.pi * steps / 100))
    np.testing.assert_allclose([schedule(jnp.int32(step)) for step in steps], expected, atol=1e-6)


def test_schedule_without_warm_up_and_decay_is_one():
    schedule = make(warmup_steps=0, decay="none").schedule
    assert [float(schedule(jnp.int32(step))) for step in (0, 1, 10**6)] == [1.0, 1.0, 1.0]


def test_rate_is_halved_every_so_many_steps_after_the_warm_up():
    schedule = make(warmup_steps=10, decay="halving", halve_every_steps=7).schedule
    steps = np.arange(101)
    expected = np.minimum(1, (steps + 1) / 10) * 0.5 ** (np.maximum(steps - 10, 0) // 7)
    np.testing.assert_allclose([schedule(jnp.int32(step)) for step in steps], expected, rtol=1e-6)
    assert [float(schedule(jnp.int32(step))) for step in (16, 17, 23, 24)] == [1.0, 0.5, 0.5, 0.25]


def test_unknown_decay_is_refused():
    text = r"^config\.optimiser\.decay is 'linear'; accepted: none \| cosine \| halving$"
    with pytest.raises(ValueError, match=text):
        make(decay="linear")


def test_average_is_that_of_a_loop_and_forgets_the_initial_parameters():
    values = np.random.default_rng(0).normal(size=(30, 3))
    adam = make()._replace(ema=0.6)
    average, expected = {"kernel": jnp.zeros(3, jnp.float32)}, np.zeros(3)
    for step, value in enumerate(values):
        average = adam.averaged(average, {"kernel": jnp.asarray(value, jnp.float32)}, jnp.int32(step))
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        np.testing.assert_allclose(average["kernel"], expected, atol=1e-6)
    first = adam.averaged({"kernel": jnp.ones(3)}, {"kernel": jnp.zeros(3)}, jnp.int32(0))
    np.testing.assert_allclose(first["kernel"], 0.1, rtol=1e-6)


def test_a_group_that_the_parameters_lack_is_refused_with_those_there_are():
    adam = make()._replace(scale={"decoder": 0.5, "encodr": 0.0})
    text = (
        "config.optimiser.scale.encodr is 0, and the family's parameters have no such group; accepted: decoder, encoder"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        adam.check_groups({"encoder": {}, "decoder": {}})
    adam.check_groups({"encodr": {}, "decoder": {}})


def test_direction_is_adam():
    gradients = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    direction = make().direction
    memory, first, second = direction.init(jnp.zeros(3)), np.zeros(3), np.zeros(3)
    for count, gradient in enumerate(gradients, start=1):
        update, memory = direction.update(jnp.asarray(gradient), memory)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        expected = -(first / (1 - 0.9**count)) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        np.testing.assert_allclose(update, expected, rtol=1e-4)


def test_muon_turns_the_weights_of_layers_by_as_much_along_every_axis_and_leaves_the_rest_to_adam():
    random = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
    query, out = {"kernel": normal(32, 4, 8), "bias": normal(4, 8)}, {"kernel": normal(4, 8, 48)}
    gradient = {"query": query, "out": out, "codes": normal(6, 16)}
    update = lambda direction: direction.update(gradient, direction.init(gradient), gradient)[0]
    muon, adam = update(make(kind="muon").direction), update(optax.adam(1.0, nesterov=True))
    for name, shape in (("query", (32, 32)), ("out", (32, 48))):
        turned = np.asarray(muon[name]["kernel"]).reshape(shape)
        lengths = np.linalg.svd(turned, compute_uv=False) / (optimiser.ADAM_RMS * math.sqrt(max(shape)))
        assert lengths.min() > 0.6  # five iterations bring them close to 1, not to it
        assert lengths.max() < 1.3
        assert (turned * np.asarray(gradient[name]["kernel"]).reshape(shape)).sum() < 0
    np.testing.assert_array_equal(muon["codes"], adam["codes"])
    np.testing.assert_array_equal(muon["query"]["bias"], adam["query"]["bias"])


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=re.escape("config.optimiser.kind is 'sgd'; accepted: adam | muon")):
        make(kind="sgd")


def test_clipping_scales_only_gradients_above_the_norm():
    large, unit = jnp.array([30.0, 40.0]), jnp.array([0.6, 0.8])
    for gradient, norm, limit, expected in (
        (large, 50.0, 1.0, unit),
        (unit, 1.0, 1.0, unit),
        (0.5 * unit, 0.5, 1.0, 0.5 * unit),
        (large, 50.0, math.inf, large),
    ):
        clipped = optimiser.clip({"kernel": gradient}, jnp.float32(norm), jnp.float32(limit))
        np.testing.assert_allclose(clipped["kernel"], expected, rtol=1e-6)
