"""A sweep trains what its cells say, each run as it would be alone, judges by held-out shapes, and resumes."""

import dataclasses
import errno
import json
import lzma
import pathlib
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.sweeps import collapse_cause
from hexjax import cells
from hexjax.data import batches
from hexjax.geometry import mesh as meshes
from hexjax.training import files, fingerprint, programs, sweep
from hexjax.types import Item, TrainState
from tests import shapes

pytestmark = pytest.mark.usefixtures("quick_programs")

TOY = {
    "hexplane.resolution_px": 8, "model.widths": (12,), "latent.side": 2, "latent.channels": 2, "train.steps": 6,
    "train.batch_size": 4, "witness.classes": 3, "witness.components": 2, "sweep.seeds": 2,
    "sweep.measure_every_steps": 3, "sweep.held_out": 0.4,
}  # fmt: skip


def make(*lines, **more):
    config = collapse_cause.get_config()
    config.update_from_flattened_dict(TOY | {"sweep.cells": lines} | more)
    return config


@pytest.fixture(scope="module")
def items():
    """Boxes of twenty different proportions."""
    found = []
    for number in range(20):
        box = shapes.box(*np.random.default_rng(number).uniform(0.2, 1, 3))
        found.append(Item(f"box_{number:02d}", box, *meshes.normalise(box, "y")))
    return found


def run(config, items, folder):
    folder.mkdir(exist_ok=True)
    sweep.run(config, cells.read(config), items, folder)
    return {cell["cell"]: cell for cell in map(json.loads, cells.written(folder).values())}


def test_a_cell_of_other_meshes_of_the_same_names_is_another(items):
    (cell,) = cells.read(make("a: latent.kind=gaussian"))
    parts, other = sweep.split(items, 0.4), [items[0]._replace(source=items[1].source), *items[1:]]
    digests = {sweep._digest(cell, parts, data) for data in (None, fingerprint.of(items), fingerprint.of(other))}
    assert len(digests) == 3


def test_the_split_is_by_name_and_its_hash_changes_with_it(items):
    parts = sweep.split(items, 0.4)
    assert sorted(parts.train + parts.held_out) == list(range(20))
    assert len(parts.held_out) == 8
    names = {items[i].name for i in parts.held_out}
    again = sweep.split(items[::-1], 0.4)
    assert {items[::-1][i].name for i in again.held_out} == names
    assert again.digest == parts.digest
    assert len({parts.digest, sweep.split(items, 0.5).digest, sweep.split(items[1:], 0.4).digest}) == 3


@pytest.fixture(scope="module")
def found(items, tmp_path_factory):
    """Three cells, of which the last one blows up."""
    two = "kl.final_weight=0.1|8"
    lines = f"a: {two}", "b: sweep.shapes=1 sweep.seeds=1", f"c: {two} optimiser.learning_rate=1e30"
    return run(make(*lines), items, tmp_path_factory.mktemp("cells"))


@pytest.mark.slow
def test_runs_begin_where_those_of_their_start_ended(items, tmp_path):
    lines = (
        "a: train.steps=3",
        "b: sweep.start=a train.steps=3",
        "c: sweep.start=a sweep.constant_mean=True train.steps=3",
    )
    whole = run(make("a: train.steps=6"), items, tmp_path / "whole")["a"]["runs"]
    found = run(make(*lines), items, tmp_path / "parts")
    for there, here in zip(whole, found["b"]["runs"]):
        assert [row["step"] for row in here["history"]] == [3, 6]
        for name in ("nll", "kl", "swap_gap"):
            np.testing.assert_allclose(here["final"][name], there["final"][name], rtol=1e-3, atol=1e-3, err_msg=name)
        assert {"witness_force", "witness_force_constant", "witness_sample_lower"} <= here["history"][0].keys()
        assert {"escape_predicted", "escape_measured", "escape_predicted_once"} <= here["final"].keys()
    for constant in found["c"]["runs"]:
        assert constant["history"][0]["active_units"] == 0
    (tmp_path / "other").mkdir()  # the start is done before, and trained once more for b
    (tmp_path / "other" / "a.json").write_text(json.dumps(found["a"]))
    assert run(make(*lines[:2]), items, tmp_path / "other")["b"]["runs"] == found["b"]["runs"]


def test_a_cell_of_another_start_is_another(items):
    parts = sweep.split(items, 0.4)
    a, b = cells.read(make("a: train.steps=3", "b: sweep.start=a"))
    other, _ = cells.read(make("a: train.steps=3 kl.final_weight=3", "b: sweep.start=a"))
    assert len({sweep._digest(b, parts, None, start) for start in (None, a, other)}) == 3


def test_a_cell_holds_all_its_runs_with_verdicts(found):
    many, one = found["a"], found["b"]
    assert [(each["seed"], each["setting"]) for each in many["runs"]] == [
        (seed, {"kl.final_weight": weight}) for weight in (0.1, 8.0) for seed in (0, 1)
    ]
    assert many["data"]["train"] == 12
    assert many["data"]["held_out"] == 8
    assert one["data"]["train"] == 1
    assert [each["verdict"] for each in one["runs"]] == ["NOT-CERTIFIABLE"]
    for each in many["runs"]:
        assert [row["step"] for row in each["history"]] == [3, 6]
        assert {"kl", "gain", "iou", "swap_gap", "loss", "kl_gradient_removed"} <= set(each["history"][0])
        assert {"witness_sample_lower", "prior_iou", "mesh_non_empty", "sweep_iou"} <= set(each["final"])
        assert len(each["final"]["sweep_iou"]) == 19
        assert each["final"]["information_train_ceiling"] == pytest.approx(np.log(12), rel=1e-4)
    seeds = {each["final"]["nll"] for each in many["runs"]}
    assert len(seeds) == 4


@pytest.fixture(scope="module")
def alone(items, tmp_path_factory):
    return run(make("a: kl.final_weight=4", **{"sweep.seeds": 1, "seed": 1}), items, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("together", ["vmap", pytest.param("map", marks=pytest.mark.slow)])
def test_a_run_in_company_is_the_run_alone(items, tmp_path, alone, together):
    company = run(make("a: kl.final_weight=1|4", **{"sweep.together": together}), items, tmp_path / "company")
    there, here = company["a"]["runs"][3]["final"], alone["a"]["runs"][0]["final"]
    for name in ("nll", "kl", "iou", "swap_gap", "train_nll"):
        np.testing.assert_allclose(there[name], here[name], rtol=2e-3, atol=1e-3, err_msg=name)


def test_one_run_by_map_has_no_loop_and_is_the_run_alone(items, tmp_path, alone):
    mapped = run(
        make("a: kl.final_weight=4", **{"sweep.seeds": 1, "seed": 1, "sweep.together": "map"}), items, tmp_path
    )
    for there, here in zip(mapped["a"]["runs"][0]["history"], alone["a"]["runs"][0]["history"], strict=True):
        assert there.keys() == here.keys()
        for name in ("step", "loss", "kl", "nll"):
            np.testing.assert_allclose(there[name], here[name], rtol=2e-3, atol=1e-3, err_msg=name)


@pytest.fixture
def trained(monkeypatch):
    """Steps of the cells that were trained, which takes no time."""
    done = []
    found = lambda cell: {"cell": cell.name, "steps": cell.config.train.steps, "runs": [{"verdict": "WEAK"}]}
    monkeypatch.setattr(sweep, "_run_cell", lambda cell, *_: done.append(cell.config.train.steps) or found(cell))
    return done


def test_finished_cells_are_not_done_again_and_changed_ones_are(items, tmp_path, capsys, trained):
    first = run(make("a: seed=0"), items, tmp_path)["a"]
    stamp = (tmp_path / cells.PACK).stat().st_mtime_ns
    run(make("a: seed=0"), items, tmp_path)
    assert (tmp_path / cells.PACK).stat().st_mtime_ns == stamp
    run(make("a: seed=0", "b: seed=3"), items, tmp_path)
    assert "2 cells in" in capsys.readouterr().err
    changed = run(make("a: seed=0 train.steps=3"), items, tmp_path)["a"]
    assert changed["digest"] != first["digest"]
    assert trained == [6, 6, 3]


def test_a_sweep_that_has_ended_is_one_file_that_holds_every_cell_as_it_was_written(
    items, tmp_path, trained, monkeypatch
):
    lines = "b,x: seed=1", "a/x: seed=0"
    monkeypatch.setattr(sweep, "pack", lambda *_: None)
    run(make(*lines), items, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-x.json", "b,x.json"]
    beside = b"".join((tmp_path / name).read_bytes() for name in ("a-x.json", "b,x.json"))
    monkeypatch.undo()
    sweep.pack(tmp_path, set())
    assert [file.name for file in tmp_path.iterdir()] == [cells.PACK]
    packed = (tmp_path / cells.PACK).read_bytes()
    assert lzma.decompress(packed) == beside
    (tmp_path / "a-x.json").write_bytes(beside.splitlines()[0])
    sweep.pack(tmp_path, set())
    assert (tmp_path / cells.PACK).read_bytes() == packed


@pytest.mark.parametrize("place", ["replace", "unlink"])
def test_a_sweep_stopped_while_it_packs_has_lost_nothing(items, tmp_path, trained, monkeypatch, place):
    lines = "a: seed=0", "b: seed=0"
    before = run(make(*lines), items, tmp_path)

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    newer = make("b: seed=0 train.steps=3", "a: seed=0", "c: seed=0")
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "pack", lambda *_: None)
        run(newer, items, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, place, kill)
        with pytest.raises(Killed):
            run(newer, items, tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} >= {".json", ".xz"}
    after = run(newer, items, tmp_path)
    assert trained == [6, 6, 3, 6]
    assert (after["a"], after["b"]["steps"], sorted(after)) == (before["a"], 3, ["a", "b", "c"])
    assert [file.name for file in tmp_path.glob("*.json")] == []


def test_a_full_disk_leaves_no_half_of_a_pack(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text(json.dumps({"cell": "a", "digest": "0"}))

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        sweep.pack(tmp_path, set())
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_pack_keeps_the_cell_that_was_asked_for_and_cells_of_other_configs(items, tmp_path, trained, monkeypatch):
    old, newer = make("a: seed=0", "b: seed=0"), make("a: seed=0 train.steps=3")
    run(old, items, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "pack", lambda *_: None)
        assert run(newer, items, tmp_path)["a"]["steps"] == 3  # beside the pack: newer
    assert run(old, items, tmp_path)["a"]["steps"] == 6
    assert trained == [6, 6, 3]
    assert sorted(run(newer, items, tmp_path)) == ["a", "b"]


def test_a_damaged_pack_or_cell_is_refused(items, tmp_path, trained):
    run(make("a: seed=0"), items, tmp_path)
    pack = tmp_path / cells.PACK
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-9])
    end = "; accepted: what --mode=sweep packs; take it from a copy, or delete it and run again"
    told = "Compressed data ended before the end-of-stream marker was reached"
    message = f"{tmp_path.parent.name}/{tmp_path.name}/cells.jsonl.xz is damaged: {told}{end}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run(make("a: seed=0"), items, tmp_path)
    pack.write_bytes(whole)
    (tmp_path / "b.json").write_text("[1]")
    told = "TypeError('list indices must be integers or slices, not str')"
    message = f"b.json is no cell: {told}; accepted: what --mode=sweep writes; delete it and run again"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run(make("a: seed=0"), items, tmp_path)


def test_a_sweep_measures_the_averaged_parameters_where_there_are_some():
    def measure(params, *_):
        asked.append(params)
        return types.SimpleNamespace(
            scalars={name: np.zeros(1) for name in ("squared_error", "nll", "iou", "kl")}, swaps=0
        )

    asked, state = [], TrainState(np.int32(0), "now", None, "average")
    program = types.SimpleNamespace(
        init=lambda *_: state,
        advance=lambda *_: (state, {}, np.ones(1, bool)),
        measure=measure,
        extra=lambda params, *_: asked.append(params) or {},
        lower=lambda *_: np.zeros(1),
    )
    config, every = make(), np.zeros(1, np.int32)
    part = batches.Cache({"mask": jnp.zeros((4, 6, 8, 8), bool)}, None, {}, ("mask",), 4, (), 8)
    given = sweep.Observed(part, part)
    ready = sweep.Ready(config, program, given, (None, None), None, {}, every)
    sweep._train(*ready, None)
    sweep._measure(ready, state)
    assert set(asked) == {"average"}
    assert len(asked) == config.train.steps // config.sweep.measure_every_steps + 3


def test_a_run_that_blows_up_is_exploded_and_told(found):
    assert {each["verdict"] for each in found["c"]["runs"]} == {"EXPLODED"}
    assert {"non-finite"} <= set(found["c"]["runs"][0]["tags"])
    assert found["c"]["runs"][0]["final"]["nll"] is None


def test_cells_that_differ_in_knobs_alone_share_their_programs():
    read = cells.read(
        make(
            "a: kl.cap=0.1", "b: kl.cap=1 kl.free_bits=2", "c: kl.cap_mode=scale", "d: latent.side=1 latent.channels=8"
        )
    )
    texts = [programs.static(cell.config) for cell in read]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_a_cell_whose_settings_train_a_witness_has_the_program_that_does():
    plain, aligned = cells.read(make("a: kl.cap=1", "b: witness.weight=0|10 witness.prefit_steps=0|2"))
    assert [json.loads(programs.static(cell.config, cell.settings))["witness"]["weight"] for cell in (plain, aligned)] == [
        0, 10
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "has_one"), [(2, False), (3, False), (4, True)])
def test_no_more_shapes_than_classes_or_components_have_no_teacher(count, has_one):
    x = jax.random.uniform(jax.random.key(0), (8, 3, 1, 4, 4))
    (cell,) = cells.read(make("a: seed=0"))  # three classes, two components
    t_train, t_held = sweep._teachers(cell.config, x[:count], x)
    assert (t_train is not None) == (t_held is not None) == has_one


def test_a_cell_reads_the_fields_of_its_family_alone_and_a_single_shape_judges_itself(items):
    parts = sweep.split(items, 0.4)
    train, held_out = ([items[i] for i in part] for part in parts[:2])
    config = make("a: seed=0")
    family = sweep._family(config)
    x = sweep._observed(train, held_out, config, ("mask", "voxels"))
    assert [{name: field.shape for name, field in part.fields.items()} for part in x] == [
        {"mask": (count, 6, 8, 8), "voxels": (count, 8, 8, 8)} for count in (12, 8)
    ]
    given = sweep._of(x, family, 5)
    assert [(tuple(part.fields), part.count) for part in given] == [(("mask",), 5), (("mask",), 8)]
    np.testing.assert_array_equal(given.train.fields["mask"], x.train.fields["mask"][:5])
    np.testing.assert_array_equal(given.held_out.fields["mask"], x.held_out.fields["mask"])
    one = sweep._of(x, family, 1)
    assert one.held_out is one.train
    assert {name: field.shape for name, field in sweep.first(given.train, 3).items()} == {"mask": (3, 6, 8, 8)}
    assert len(sweep.first(given.train, 64)["mask"]) == len(sweep.first(given.train)["mask"]) == 5


def test_fields_of_the_set_are_made_once_for_all_cells_that_differ_in_other_keys(items, tmp_path, monkeypatch):
    built, build = [], sweep.fields.build
    monkeypatch.setattr(
        sweep.fields, "build", lambda items, names, *more: built.append(names) or build(items, names, *more)
    )
    monkeypatch.setattr(sweep, "_run_cell", lambda cell, *_: {"cell": cell.name, "runs": [{"verdict": "WEAK"}]})
    config = make("a: kl.cap=1", "b: model.input=voxels train.steps=3", "c: hexplane.resolution_px=16")
    run(config, items, tmp_path)
    assert built == [("mask", "voxels"), ("mask",)]


def test_families_that_a_sweep_cannot_judge_are_refused_in_a_line(items, monkeypatch):
    config, end = (
        make("a: seed=0"),
        "--mode=sweep accepts families with a probe that read no parent, and slack or seen where they have an ideal",
    )
    family = sweep._family(config)
    for changes, reason in (
        ({"probe": None}, "has no probe, by which a sweep judges"),
        ({"reads": ("mask", "slack"), "ideal": None}, "reads 'slack'"),
        ({"sees": ("latent",)}, "reads 'latent'"),
    ):
        monkeypatch.setattr(sweep.families, "make", lambda *_, changes=changes: dataclasses.replace(family, **changes))
        message = f"config.model.family is 'hexplane_mlp', which {reason}; {end}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            sweep._family(config)
