"""A run tells of its latent: rows, a verdict, a preflight, a frozen teacher; and it stops for a collapse if asked."""

import dataclasses
import json
import random
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import names
from hexjax.data import fields
from hexjax.diagnostics import teacher, verdict, witness
from hexjax.models import family as families
from hexjax.training import loop, monitor, step
from hexjax.types import Item, TrainState
from tests import damage, shapes
from tests.training import toy

pytestmark = pytest.mark.usefixtures("quick_programs")

TOY = {
    "model.family": "hexplane_mlp", "model.input": "silhouettes", "model.widths": (16,),
    "model.width_scale": 1.0, "hexplane.resolution_px": 8,
    "latent.kind": "gaussian", "latent.side": 1, "latent.channels": 4, "reconstruction.kind": "bernoulli",
    "reconstruction.reduction": "sum", "kl.final_weight": 1.0, "train.steps": 4, "train.batch_size": 2,
    "diagnostics.every_steps": 2, "diagnostics.shapes": 8, "data.count": 8, "evaluate.every_steps": 0,
}  # fmt: skip


def boxes():
    """Eight boxes of different proportions."""
    from hexjax.geometry import mesh as meshes

    found = [shapes.box(*np.random.default_rng(number).uniform(0.2, 1, 3)) for number in range(8)]
    return [Item(f"box_{i}", box, *meshes.normalise(box, "y")) for i, box in enumerate(found)]


@pytest.fixture(scope="module")
def items():
    return boxes()


def make(items, count=8, **more):
    config = toy.make_config()
    config.update_from_flattened_dict(TOY | more)
    family = families.make(fields.spec(config, items[:count]), config)
    return config, family, step.prepare(family, config, items[:count])


def run(items, folder, count=8, **more):
    config, family, data = make(items, count, **more)
    code = loop.train(family, config, data, folder, lambda params, **_: {"mean": {}})
    return code, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_of_diagnostics_stand_in_the_metrics_and_the_verdict_in_the_progress(items, tmp_path, capsys):
    code, rows = run(items, tmp_path)
    assert code == names.DONE
    told = [row for row in rows if "diagnostics.verdict" in row]
    assert [row["step"] for row in told] == [0, 2, 4]
    assert {"diagnostics.kl", "diagnostics.information", "diagnostics.swap_gap", "diagnostics.reason"} <= set(told[0])
    assert told[-1]["diagnostics.tags"].startswith("training shapes")
    error = capsys.readouterr().err
    assert f"loss {[row['loss'] for row in rows if 'loss' in row][-1]:.4g}  {told[-1]['diagnostics.verdict']}" in error
    assert "preflight: 8 shapes of 192 values, each in units of its deviation; largest eigenvalue" in error


def test_one_shape_is_not_certifiable_and_that_is_told_once(items, tmp_path, capsys):
    _, rows = run(items, tmp_path, 1, **{"train.batch_size": 1, "data.count": 1})
    told = capsys.readouterr().err
    assert told.count("one shape: whether the latent tells shapes apart cannot be judged; that takes two") == 1
    assert "NOT-CERTIFIABLE" not in told
    assert {row["diagnostics.verdict"] for row in rows if "diagnostics.verdict" in row} == {"NOT-CERTIFIABLE"}


def test_a_collapse_stops_the_run_in_its_second_half_if_asked(items, tmp_path, capsys):
    collapsing = {"kl.final_weight": 1e4, "optimiser.learning_rate": 0.05, "train.steps": 800}
    often = {"diagnostics.every_steps": 200, "validate.every_steps": 0, "checkpoint.every_steps": 0}
    stops = {"diagnostics.on_collapse": "stop"}
    code, rows = run(items, tmp_path, **collapsing, **often, **stops)
    assert code == names.COLLAPSED == 4
    assert (stop := rows[-1]["step"]) in (400, 600)
    assert rows[-1]["diagnostics.verdict"] == "COLLAPSED"
    assert (
        f"stopped: at step {stop} the latent is COLLAPSED: no unit's variance is above 0.01;" in capsys.readouterr().err
    )
    assert (tmp_path / "checkpoints" / str(stop)).is_dir()


WITNESS = {"witness.classes": 3, "witness.components": 2, "witness.weight": 10.0}


def test_the_teacher_is_fitted_once_and_lies_with_the_checkpoints(items, tmp_path):
    config, family, data = make(items, **WITNESS)
    first = monitor.with_teacher(family, config, data, tmp_path)
    t = np.asarray(first.cache.fields["teacher"])
    assert t.shape == (8, 3)
    np.testing.assert_allclose(t.sum(1), 1, atol=1e-5)
    with np.load(tmp_path / teacher.FILE, allow_pickle=False) as arrays:
        stored = dict(arrays)
    known = teacher.from_arrays(stored)
    np.testing.assert_allclose(teacher.posterior(known, monitor.observations(family, data.cache)), t, atol=1e-6)
    swapped = teacher.to_bytes(known._replace(temperature=known.temperature * 0 + 50.0))
    (tmp_path / teacher.FILE).write_bytes(swapped)
    again = np.asarray(monitor.with_teacher(family, config, data, tmp_path).cache.fields["teacher"])
    assert np.abs(again - t).max() > 0.01  # what is stored counts


def test_a_damaged_teacher_is_told_and_fitted_again_the_same(items, tmp_path, capsys):
    config, family, data = make(items, **WITNESS)
    t = np.asarray(monitor.with_teacher(family, config, data, tmp_path).cache.fields["teacher"])
    file, draw = tmp_path / teacher.FILE, random.Random(0)
    whole, noticed, _ = file.read_bytes(), 0, capsys.readouterr()
    for turn in range(200):
        content = damage.damaged(whole, turn, draw)
        file.write_bytes(content)
        found, told = teacher.read(tmp_path), capsys.readouterr().err
        if found is None:
            noticed += 1
            form = rf"{tmp_path.name}/checkpoints/teacher.npz is damaged \(\w+\): it is not used\n"
            assert re.fullmatch(form, told)
        else:
            assert teacher.to_bytes(found) == whole
    assert noticed > 150
    file.write_bytes(whole[:100])
    again = np.asarray(monitor.with_teacher(family, config, data, tmp_path).cache.fields["teacher"])
    np.testing.assert_array_equal(again, t)
    assert file.read_bytes() == whole


def test_alignment_is_trained_and_the_prefit_comes_before_it(items, tmp_path):
    code, rows = run(items, tmp_path, **WITNESS | {"witness.prefit_steps": 2, "log.every_steps": 1})
    assert code == names.DONE
    losses = [row for row in rows if "alignment" in row]
    for row in losses:
        expected = row["prefit"] if row["step"] <= 2 else None
        if expected is not None:
            np.testing.assert_allclose(row["loss"], expected, rtol=1e-5)
    last = losses[-1]
    np.testing.assert_allclose(
        last["loss"], last["reconstruction"] + last["kl_term"] + 10 * last["alignment"], rtol=1e-4
    )
    assert {"diagnostics.witness_sample_margin", "diagnostics.witness_fixed_margin"} <= {
        key for row in rows for key in row
    }


def test_the_objective_is_the_familys_loss_where_no_witness_trains(items):
    config, family, _ = make(items)
    assert step.objective(family, config) is family.loss
    watching = make(items, **WITNESS | {"witness.weight": 0.0})
    assert step.objective(watching[1], watching[0]) is watching[1].loss


def test_alignment_alone_makes_the_mean_tell_the_teachers_classes(items):
    config, family, data = make(items, **WITNESS | {"witness.weight": 100.0, "kl.final_weight": 0.0})
    t = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(3), 8), jnp.float32)
    batch = data.fixed(data.cache) | {"teacher": t[:2]}
    params, knobs = jax.jit(family.init)(batch, jax.random.key(0), {}), families.knobs(config)
    loss = step.objective(family, config)
    slope = jax.jit(
        jax.grad(lambda params: loss(params, batch, jax.random.key(1), jnp.int32(5), knobs)[1]["alignment"])
    )
    mean = lambda params: family.encode(params, batch, None).statistics["mean"]
    told = jax.jit(lambda params: witness.alignment(mean(params), t[:2], config.witness.temperature))
    before = told(params)
    for _ in range(60):
        params = jax.tree.map(lambda leaf, step: np.asarray(leaf) - np.float32(0.02) * step, params, slope(params))
    assert told(params) < 0.5 * before


def test_a_witness_of_too_few_shapes_is_refused_before_anything_is_rendered(items, capsys):
    with pytest.raises(ValueError) as error:
        make(items, 1, **WITNESS | {"train.batch_size": 1})
    assert str(error.value) == (
        "config.witness.classes is 3 and there is one shape: it is NOT-CERTIFIABLE, its latent can hold no information; "
        "accepted: witness.classes = 0, or at least 3 shapes"
    )
    with pytest.raises(ValueError) as error:
        make(items, 4, **WITNESS | {"witness.components": 4})
    assert str(error.value) == "config.witness.components is 4; accepted: fewer than the shapes, 4"
    assert "prepared" not in capsys.readouterr().err


def test_a_witness_that_can_certify_nothing_makes_no_verdict(items, tmp_path):
    """Eight shapes leave four to judge: no bound on their margin is above 0, whatever the latent."""
    _, rows = run(items, tmp_path, **WITNESS)
    last = [row for row in rows if "diagnostics.verdict" in row][-1]
    assert last["diagnostics.witness_ceiling"] <= 0
    assert "8 shapes are too few for a certificate" in last["diagnostics.tags"]
    assert "margin of a witness" not in last["diagnostics.reason"]


def test_a_mesh_that_comes_twice_is_one_shape(items, tmp_path):
    _, rows = run([items[0], items[0]], tmp_path, 2, **{"data.count": 2})
    assert {row["diagnostics.verdict"] for row in rows if "diagnostics.verdict" in row} == {"NOT-CERTIFIABLE"}


def test_a_run_that_blows_up_leaves_the_verdict_exploded(items, tmp_path):
    with jax.debug_nans(False):
        config, family, data = make(items, **{"optimiser.learning_rate": 1e30})
        assert loop.train(family, config, data, tmp_path, lambda params, **_: {"mean": {}}) == names.NON_FINITE
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["verdict"], scores["items"], scores["verdict_tags"]) == ("EXPLODED", [], ["non-finite"])
    assert scores["verdict_reason"].startswith("at step ")


def test_a_finished_run_is_evaluated_whatever_its_latent(items, tmp_path):
    """`stop` saves steps; at the last one there are none to save."""
    collapsing = {"kl.final_weight": 1e4, "train.steps": 2, "diagnostics.on_collapse": "stop"}
    assert run(items, tmp_path, **collapsing)[0] == names.DONE


def test_the_preflight_looks_at_all_shapes_that_are_kept(items, monkeypatch):
    config, family, data = make(items, **{"diagnostics.shapes": 2})
    few = monitor.preflight_of(family, config, family.probe.observe(data.probe(data.cache)), 8)
    all_of_them = monitor.preflight(family, config, data)
    assert all_of_them.largest_eigenvalue != few.largest_eigenvalue
    monkeypatch.setattr(monitor, "FORETOLD", 2 * 192)
    assert monitor.preflight(family, config, data).largest_eigenvalue == pytest.approx(few.largest_eigenvalue)


def test_the_averaged_parameters_are_judged_where_there_are_some(monkeypatch):
    told = verdict.Verdict("HEALTHY", "", ())
    monkeypatch.setattr(monitor.diagnosis, "make", lambda *_: lambda params, *_: ({"of": params}, told))
    monkeypatch.setattr(monitor.diagnosis, "know", lambda *_: None)
    family = dataclasses.replace(toy.make_family(), probe=families.Probe(*[None] * 9))
    diagnose = monitor.make(family, toy.make_config(), step.Data(None, toy.batch_at, toy.fixed, lambda cache: {}))
    cache = toy.make_cache()
    assert diagnose(TrainState(jnp.int32(0), "now", None, "average"), cache, {}) == ({"of": "average"}, told)
    assert diagnose(TrainState(jnp.int32(0), "now", None), cache, {}) == ({"of": "now"}, told)
