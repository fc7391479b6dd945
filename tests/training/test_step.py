"""The step program: one for all steps, nothing from the host, its knobs and its randomness."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import cells, rules
from hexjax.data import fields, sources, split
from hexjax.models import family as families
from hexjax.training import optimiser, step
from hexjax.types import Mesh, Spec
from tests import shapes, toys
from tests.training import toy


@pytest.fixture
def run():
    """Initial state, cache, knobs and step program of the toy."""
    config, model = toy.make_config(), toy.make_family()
    adam, cache = optimiser.make(config), toy.make_cache()
    state = jax.jit(step.make_init(model, adam, toy.fixed))(cache, 0)
    advance = functools.partial(step.make_step(model.loss, adam, toy.batch_at), seed=0)
    return state, cache, families.knobs(config), jax.jit(advance, donate_argnums=0)


def test_knobs_are_the_numbers_of_the_config_by_their_names():
    config = toy.make_config()
    knobs = families.knobs(config)
    expected = {f"kl.{name}" for name in config.kl if name not in ("cap_mode", "reduction")}
    assert set(knobs) == expected | set(rules.KNOBS) == set(cells.knob_names(config))
    assert {(knob.dtype, knob.shape) for knob in knobs.values()} == {(jnp.dtype("float32"), ())}
    assert float(knobs["kl.log_variance_limit"]) == np.inf


def test_all_steps_are_one_program_without_transfers_that_consumes_its_state(run):
    state, cache, knobs, advance = run
    first = state
    state, _ = advance(state, cache, knobs)
    with jax.transfer_guard("disallow"):
        for _ in range(3):
            state, metrics = advance(state, cache, knobs)
    assert advance._cache_size() == 1
    assert first.params["first"].is_deleted()
    assert int(state.step) == 4
    assert set(metrics) == {
        "loss",
        "reconstruction",
        "gradient_norm",
        "gradient_clipped",
        "parameter_norm",
        "learning_rate",
    }


def test_learning_rate_is_a_knob(run):
    state, cache, knobs, advance = run
    before = np.asarray(state.params["first"])
    state, metrics = advance(state, cache, knobs | {"optimiser.learning_rate": jnp.float32(0.0)})
    np.testing.assert_array_equal(state.params["first"], before)
    assert float(metrics["learning_rate"]) == 0.0


def test_scale_of_a_group_multiplies_its_steps_and_zero_leaves_it_bit_equal(run):
    state, cache, knobs, advance = run
    first = state.params["first"].at[0, 0].set(-0.0)  # which a step of 0 would turn into 0.0
    state = state._replace(params=state.params | {"first": first})
    before = jax.device_get(state.params)
    plain, model = jax.device_get(advance(jax.tree.map(jnp.copy, state), cache, knobs)[0].params), toy.make_family()
    moved = plain["first"] - before["first"]
    assert np.abs(moved).min() > 0
    for share in (0.0, 0.5):
        adam = optimiser.make(toy.make_config())._replace(scale={"first": share}, ema=0.5)
        scaled = jax.jit(functools.partial(step.make_step(model.loss, adam, toy.batch_at), seed=0))
        later, _ = scaled(state._replace(average=state.params), cache, knobs)
        np.testing.assert_allclose(later.params["first"] - before["first"], share * moved, atol=1e-6)
        np.testing.assert_allclose(later.params["second"]["kernel"], plain["second"]["kernel"], rtol=1e-6)
        if share == 0:
            later, _ = scaled(later, cache, knobs)
            assert np.asarray(later.params["first"]).tobytes() == before["first"].tobytes()
            np.testing.assert_array_equal(later.average["first"], before["first"])
            assert not np.any(later.optimiser[0].mu["first"])
            assert np.any(later.optimiser[0].mu["second"]["kernel"])


def test_gradient_norm_is_that_of_the_loss(run):
    state, cache, knobs, advance = run
    key = step.stream_key(0, "loss", state.step)
    gradient = jax.grad(lambda params: toy.make_family().loss(params, toy.batch_at(cache, 0), key, 0, knobs)[0])
    leaves = jax.tree.leaves(jax.jit(gradient)(state.params))
    expected = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in leaves))
    np.testing.assert_allclose(advance(state, cache, knobs)[1]["gradient_norm"], expected, rtol=1e-5)


def test_keys_differ_by_seed_stream_and_step_only():
    arguments = [(0, "loss", 0), (1, "loss", 0), (0, "init", 0), (0, "loss", 1)]
    bits = [tuple(jax.random.key_data(step.stream_key(*each)).tolist()) for each in arguments]
    assert len(set(bits)) == 4
    assert bits[0] == tuple(jax.random.key_data(step.stream_key(*arguments[0])).tolist())


def test_validation_does_not_depend_on_the_step(run):
    state, cache, knobs, _ = run
    validate = step.make_validate(toy.make_family().loss, toy.fixed, 0)
    later = state._replace(step=state.step + 5)
    assert validate(state, cache, knobs) == validate(later, cache, knobs)


def test_validation_is_of_the_averaged_parameters_where_there_are_some(run):
    state, cache, knobs, _ = run
    validate = step.make_validate(toy.make_family().loss, toy.fixed, 0)
    other = jax.tree.map(lambda leaf: 0.5 * leaf, state.params)
    found, plain = validate(state._replace(average=other), cache, knobs), validate(state, cache, knobs)
    expected = validate(state._replace(params=other), cache, knobs)
    np.testing.assert_allclose(found["validation.loss"], expected["validation.loss"], rtol=1e-6)
    assert abs(found["validation.loss"] - plain["validation.loss"]) > 1e-3


def test_field_of_the_wrong_shape_is_refused_before_the_first_step():
    wrong = dataclasses.replace(toy.make_family(), field=lambda params, decoded, points: points)
    item = jax.ShapeDtypeStruct((), np.int32)
    with pytest.raises(ValueError, match=r"^family\.field of 7 points has the shape \(7, 3\); accepted: \(7,\)$"):
        step.check_stages(wrong, Spec({"item": item}, 2), toy.make_config())
    for without in ("field", "encode"):
        step.check_stages(dataclasses.replace(wrong, **{without: None}), Spec({"item": item}, 2), toy.make_config())


def test_a_fault_of_the_family_shows_before_any_field_is_made(monkeypatch):
    """Parameters of the parents are among those that its functions take."""
    monkeypatch.setattr(fields, "make", lambda *_: pytest.fail("made"))
    asked = []

    def encode(params, batch, key):
        asked.append((params["parents"]["other"]["weight"], sorted(batch)))
        raise TypeError("a fault of the family")

    family = dataclasses.replace(toy.make_family(), sees=("surface",), encode=encode)
    monkeypatch.setattr(families, "make", lambda *_: family)
    config = toys.config_of("hexplane_ae", "surface", **{"data.count": 2, "train.batch_size": 2})
    with pytest.raises(TypeError, match=r"^a fault of the family"):
        step.load(config, "train", params={"other": {"weight": np.float32(1)}})
    assert [names for _, names in asked] == [["item", "surface"]]


def test_gradients_reach_the_family_and_not_its_parents(run):
    state, cache, knobs, _ = run
    held = {"other": {"weight": jnp.float32(2)}}

    def loss(params, batch, key, step, knobs):
        total, parts = toy.make_family().loss(params, batch, key, step, knobs)
        return total * params["parents"]["other"]["weight"], parts

    cache = dataclasses.replace(cache, parents=held)
    advance = jax.jit(step.make_step(loss, optimiser.make(toy.make_config()), toy.batch_at))
    key = step.stream_key(0, "loss", 0)
    plain = toy.make_family().loss(state.params, toy.batch_at(cache, 0), key, 0, knobs)[0]
    after, metrics = advance(state, cache, knobs, 0)
    assert set(after.params) == {"first", "second"}
    np.testing.assert_allclose(metrics["loss"], 2 * plain, rtol=1e-5)
    validate = step.make_validate(loss, toy.fixed, 0)
    assert float(validate(state, cache, knobs)["validation.loss"]) > 0


def test_too_few_shapes_are_refused_before_any_is_loaded(monkeypatch):
    def listing(path, source, count, seed, named):
        return [sources.Entry(f"shape_{number}", loaded.append) for number in range(3)]

    loaded, config = [], toys.config_of("hexplane_ae", "surface", **{"data.count": 0, "train.batch_size": 4})
    monkeypatch.setattr(sources, "listing", listing)
    batch = "config.train.batch_size is 4; accepted: 1 to 3, the number of shapes"
    with pytest.raises(ValueError, match=f"^{re.escape(batch)}$"):
        step.load(config, "train")
    config.train.batch_size, config.witness.classes = 2, 4
    with pytest.raises(ValueError, match=r"^config\.witness\.classes is 4; accepted: at most the number of shapes, 3$"):
        step.load(config, "train")
    assert not loaded


def test_too_few_shapes_that_load_are_refused_before_any_is_rendered(tmp_path, monkeypatch):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    (tmp_path / "b.obj").touch()
    config = toys.config_of("hexplane_ae", "surface", **{"data.count": 0, "train.batch_size": 2})
    config.data.path = str(tmp_path)
    monkeypatch.setattr(fields, "make", lambda *_: pytest.fail("rendered"))
    text = "config.train.batch_size is 2; accepted: 1 to 1, the number of shapes"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        step.load(config, "train")
    loaded = step.load(config, "evaluate")
    assert (len(loaded.items), loaded.spec.shapes, loaded.data) == (1, 1, None)


def test_points_that_are_left_out_leave_the_other_shapes_in_their_parts():
    config, mesh = toys.config_of("hexplane_ae", "surface"), shapes.sphere(0.5, 1)
    cloud = Mesh(mesh.vertices, np.zeros((0, 3), np.int32))
    items = [toys.item_of(each, name) for name, each in zip("abcde", (mesh, cloud, mesh, cloud, mesh))]
    parts = split.Split((0, 1, 4), (2,), (3,), "digest", ())
    kept, moved = step._served(items, parts, config, "train", None, None, None)
    assert [item.name for item in kept] == ["a", "c", "e"]
    assert moved == split.Split((0, 2), (1,), (), "digest", ())
    with pytest.raises(ValueError) as error:
        step._served(items, parts._replace(train=(1,), validation=(0, 2, 4)), config, "train", None, None, None)
    assert str(error.value) == (
        "config.data.split: all training shapes are points without faces; accepted: some with faces"
    )
