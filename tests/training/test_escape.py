"""The force foretells the first step of a collapsed encoder; a run lowers its KL weight as often as its latent is lost."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import names
from hexjax.diagnostics import preflight, verdict
from hexjax.models import family as families
from hexjax.training import escape, loop, monitor, optimiser, step
from tests.training import test_monitor

pytestmark = pytest.mark.usefixtures("quick_programs")

make = test_monitor.make


@pytest.fixture(scope="module")
def items():
    return test_monitor.boxes()


WITNESS = {"witness.classes": 3, "witness.components": 2, "witness.weight": 10.0}


def begun(items, tmp_path, **more):
    """A family, its data with teachers, the loss, the optimiser and a state whose encoder says the same of every shape."""
    config, family, data = make(items, **WITNESS | more)
    data, adam = monitor.with_teacher(family, config, data, tmp_path), optimiser.make(config)
    state = step.make_init(family, adam, step.start(family, config, 8))(data.cache, 0)
    return config, family, data, adam, state._replace(params=escape.constant(state.params))


def test_a_constant_encoder_says_the_same_of_every_shape(items, tmp_path):
    _, family, data, _, state = begun(items, tmp_path)
    latent = family.encode(state.params, data.probe(data.cache), None)
    for values in (latent.code, *latent.statistics.values()):
        np.testing.assert_array_equal(values, np.broadcast_to(values[:1], values.shape))
    with pytest.raises(
        ValueError, match="constant_mean is True; accepted of a family whose encoder ends in a dense layer"
    ):
        escape.constant({"decoder": {}})


@pytest.mark.parametrize("rate", [1e-4, 1e-5])
def test_the_force_foretells_what_a_small_step_of_the_same_gradient_does_to_the_margin(items, tmp_path, rate):
    config, family, data, adam, state = begun(items, tmp_path, **{"optimiser.learning_rate": rate})
    loss, knobs, seed = step.objective(family, config), families.knobs(config), jnp.int32(0)
    batch = data.probe(data.cache)
    t, temperature = batch["teacher"], config.witness.temperature
    foretold = jax.jit(escape.forecast(family, loss, adam, temperature))(state, batch, knobs, seed, batch, t)
    advance = step.make_step(loss, adam, lambda cache, step, seed: batch)
    after, _ = jax.jit(advance)(state, data.cache, knobs, seed)
    margins = [escape.margin(family, params, batch, t, temperature) for params in (state.params, after.params)]
    assert foretold[0] > 0
    np.testing.assert_allclose(margins[1] - margins[0], foretold[0], rtol=0.05)
    np.testing.assert_allclose(
        foretold[1], escape.FIRST * foretold[0], rtol=1e-3
    )  # of the same gradient, from no memory


def test_a_collapse_lowers_the_weight_and_aligns_until_the_latent_is_certified(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    expected = lambda: preflight.Preflight(4.0, 100.0, 1.0, "COLLAPSED", ())
    once = escape.taken((), 200, "COLLAPSED", -1.0, expected)
    assert once == ((200, pytest.approx(4 / (20 * 100)), escape.ALIGNED),)
    twice = escape.taken(once, 400, "COLLAPSED", -1.0, expected)
    assert twice == (*once, (400, pytest.approx(0.1 * 4 / 2000), escape.ALIGNED))
    assert escape.taken(twice, 600, "WEAK", -0.1, expected) == twice
    free = escape.taken(twice, 600, "WEAK", 0.1, expected)
    assert free == (*twice, (600, twice[-1].share, 0.0))
    assert escape.taken(free, 800, "HEALTHY", 0.5, expected) == free
    assert escape.taken((), 200, "HEALTHY", 0.5, expected) == ()
    assert escape.taken((), 200, "COLLAPSED", -1.0, lambda: None)[0].share == 0.1
    escape.write(tmp_path, free)
    assert escape.kept(tmp_path, 1000) == free
    assert escape.kept(tmp_path, 400) == once  # a run that goes on from before looks again,
    assert escape.kept(tmp_path, 1000) == once  # and what it had not done by then is gone
    given = {name: jnp.float32(2) for name in ("kl.initial_weight", "kl.final_weight", "kl.cap", "witness.weight")}
    assert escape.knobs(given, ()) == given
    changed = {"kl.initial_weight": 1, "kl.final_weight": 1, "witness.weight": 5}
    assert escape.knobs(given, (escape.Measure(1, 0.5, 3.0),)) == given | changed


@pytest.mark.parametrize(("lower", "code", "word"), [(0.5, 0, "escaped"), (-0.5, 4, "no escape")])
def test_a_run_that_collapsed_takes_measures_and_its_end_says_whether_they_helped(
    items, tmp_path, monkeypatch, capsys, lower, code, word
):
    told = {name: verdict.Verdict(name, "as told", ()) for name in ("COLLAPSED", "WEAK")}
    seen = iter(["WEAK", "COLLAPSED", "COLLAPSED", "COLLAPSED", "WEAK", "WEAK"])
    monkeypatch.setattr(
        monitor, "make", lambda *_: lambda *_: ({"witness_sample_lower": np.float32(lower)}, told[next(seen)])
    )
    monkeypatch.setattr(monitor, "check_certifiable", lambda *_: None)
    often = {
        "diagnostics.every_steps": 1,
        "train.steps": 5,
        "diagnostics.on_collapse": "escape",
        "kl.final_weight": 8.0,
    }
    config, family, data = make(items, **WITNESS | often | {"log.every_steps": 1, "witness.weight": 0.0})
    (tmp_path / "scores.json").write_text('{"verdict": "WEAK", "verdict_tags": ["training shapes"]}')
    assert loop.train(family, config, data, tmp_path, lambda params, **_: {"mean": {}}) == code
    done = escape.kept(tmp_path, 6)
    shares = [each.share for each in done]
    assert [each.step for each in done] == [2, 3, 4][: 3 if lower > 0 else 2]  # not at its first look
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    weights = [row["kl_weight"] for row in rows if "kl_weight" in row and "loss" in row]
    np.testing.assert_allclose(weights, [8, 8, *(8 * np.array([shares[0], shares[1], shares[-1]]))], rtol=1e-5)
    (kept, tag) = json.loads((tmp_path / "scores.json").read_text())["verdict_tags"]
    assert kept == "training shapes"
    assert tag == f"{word}: {escape.told(done)}"
    said = capsys.readouterr().err
    assert said.count("escape: the latent is COLLAPSED; from step") == 2
    assert ("at step 5 the latent is WEAK still: as told" in said) == (code == 4)


def test_a_run_that_is_killed_after_a_look_takes_the_same_measures_and_ends_the_same(items, tmp_path, monkeypatch):
    told = {name: verdict.Verdict(name, "as told", ()) for name in ("COLLAPSED", "WEAK")}
    judged = {2: "COLLAPSED", 3: "COLLAPSED"}
    diagnose = lambda state, *_: ({"witness_sample_lower": np.float32(-1)}, told[judged.get(int(state.step), "WEAK")])
    monkeypatch.setattr(monitor, "make", lambda *_: diagnose)
    monkeypatch.setattr(monitor, "check_certifiable", lambda *_: None)
    often = {
        "diagnostics.every_steps": 1,
        "train.steps": 5,
        "diagnostics.on_collapse": "escape",
        "kl.final_weight": 8.0,
    }
    config, family, data = make(items, **WITNESS | often | {"witness.weight": 0.0, "checkpoint.every_steps": 2})
    ends, stop = {}, {"killed": True}

    def evaluate(params, **_):
        return {"mean": {}}

    def look(original, folder, done):
        original(folder, done)
        if done and done[-1].step == 3 and folder.name == "killed" and stop.pop("killed", False):
            raise OSError("killed")  # between the look at step 3 and the checkpoint at step 4

    monkeypatch.setattr(escape, "write", functools.partial(look, escape.write))
    for name in ("whole", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "scores.json").write_text("{}")
        code = loop.train(family, config, data, folder, evaluate)
        if name == "killed":
            assert code == names.FAILED
            code = loop.train(family, config, data, folder, evaluate)
        assert code == names.COLLAPSED
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        ends[name] = escape.kept(folder, 6), [row for row in rows if "validation.loss" in row]
    assert ends["whole"] == ends["killed"]
    assert [each.step for each in ends["whole"][0]] == [2, 3]
    report, *_ = make(items, **WITNESS | often | {"diagnostics.on_collapse": "report", "train.steps": 6})
    assert loop.train(family, report, data, tmp_path / "whole", evaluate) == names.DONE  # goes on by its own weights
    assert escape.kept(tmp_path / "whole", 10) == ()


def test_an_escape_that_no_witness_could_know_of_is_refused(items, tmp_path):
    config, family, data = make(items, **WITNESS | {"diagnostics.on_collapse": "escape"})
    with pytest.raises(ValueError) as error:
        monitor.check_certifiable(config, monitor.with_teacher(family, config, data, tmp_path))
    assert str(error.value) == (
        "config.diagnostics.shapes is 8, of which 8 are there: too few for a certificate; accepted with "
        "diagnostics.on_collapse = escape: more, some 250, or fewer witness.classes"
    )
