"""A family without a shape is trained, judged by its own numbers, and stands in no table of scores."""

import json

import numpy as np
import pytest

from configs import latent_dit
from hexjax import command
from hexjax import config as configuration
from hexjax.data import fields
from hexjax.evaluation import parents, table
from hexjax.viewer import contents


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A toy encoder of views, three shapes of ten held out."""
    folder = tmp_path_factory.mktemp("runs") / "001-view_encoder-small"
    toy = {"data.count": 10, "data.split": (0.7, 0.0, 0.3), "views.count": 4, "views.held": 2, "views.shown": 1,
           "views.resolution_px": 14, "model.width": 8, "model.blocks": 1, "model.heads": 1, "train.steps": 2,
           "train.batch_size": 4, "latent.channels": 4}  # fmt: skip
    given = [f"--config.{key}={value}" for key, value in toy.items()]
    assert command.main(["--config=configs/view_encoder.py:small", f"--workdir={folder}", *given]) == 0
    return folder


def test_every_shape_has_a_row_and_every_part_a_mean(run):
    found = json.loads((run / "scores.json").read_text())
    parts = [row["part"] for row in found["items"]]
    assert (parts.count("train"), parts.count("test")) == (7, 3)
    assert found["mean"] == found["parts"]["test"]["mean"]
    assert {"recall", "recall_held"} == set(found["mean"])
    for part, told in found["parts"].items():
        own = [row["recall"] for row in found["items"] if row["part"] == part]
        assert told["mean"]["recall"] == pytest.approx(sum(own) / len(own))
        assert 0 <= told["mean"]["recall"] <= 1


@pytest.mark.slow
def test_it_is_evaluated_and_encoded_again_and_asked_for_no_surface(run, capsys):
    before = (run / "scores.json").read_text()
    assert command.main([f"--workdir={run}", "--mode=evaluate"]) == 0
    assert (run / "scores.json").read_text() == before
    assert command.main([f"--workdir={run}", "--mode=encode"]) == 0
    assert len(list((run / "latents").glob("*.npz"))) == 10
    capsys.readouterr()
    assert command.main(["--config=configs/view_encoder.py:small", "--mode=ceiling", f"--workdir={run}-ceiling"]) == 2
    assert "which has no surface" in capsys.readouterr().err


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Principal components of a few pictures: a run without a step."""
    folder = tmp_path_factory.mktemp("untrained") / "001-view_encoder-pca"
    toy = {"data.count": 10, "data.split": (0.7, 0.0, 0.3), "views.count": 4, "views.held": 2, "views.shown": 1,
           "views.drawn": 2, "views.resolution_px": 14, "latent.channels": 4}  # fmt: skip
    given = [f"--config.{key}={value}" for key, value in toy.items()]
    assert command.main(["--config=configs/view_encoder.py:pca", f"--workdir={folder}", *given]) == 0
    return folder


def test_what_nothing_is_trained_of_is_a_run_of_no_steps(untrained, capsys):
    rows = [json.loads(line) for line in (untrained / "metrics.jsonl").read_text().splitlines()]
    assert [sorted(row) for row in rows] == [["evaluation.recall", "evaluation.recall_held", "step"]]
    assert [place.name for place in (untrained / "checkpoints").glob("[0-9]*")] == ["0"]
    found = json.loads((untrained / "scores.json").read_text())
    assert (found["step"], len(found["items"]), found["parameters"]) == (0, 10, 5 * 14 * 14 * 3)
    before = (untrained / "metrics.jsonl").read_bytes()
    assert command.main([f"--workdir={untrained}"]) == 0  # it goes on, and has ended
    assert (untrained / "metrics.jsonl").read_bytes() == before
    assert command.main([f"--workdir={untrained}", "--mode=encode"]) == 0
    assert json.loads((untrained / "scores.json").read_text())["mean"] == found["mean"]
    assert len(list((untrained / "latents").glob("*.npz"))) == 10
    capsys.readouterr()
    assert command.main([f"--workdir={untrained}", "--config.train.steps=5"]) == 2
    told = "config.train.steps is 5; accepted: 0, as nothing is trained with views.encoder = pca\n"
    assert capsys.readouterr().err.endswith(told)


def test_a_generator_reads_pictures_by_it(untrained):
    config = latent_dit.get_config("small")
    config.views.update({"run": str(untrained), "count": 4, "held": 2, "shown": 1, "resolution_px": 14})
    given = parents.load(config, None)
    look = fields.look_of(given.parents["views"], given.params["views"], config)
    assert look.shape == (1, 4)
    assert look.ask(np.zeros((4, 14, 14, 3), np.uint8)).shape == (4, 1, 4)


@pytest.mark.parametrize("mode", ["view", "export"])
def test_a_page_of_it_is_refused_in_one_line(run, tmp_path, mode, capsys):
    out = [f"--out={tmp_path}/page.html"] * (mode == "export")
    assert command.main([f"--workdir={run}", f"--mode={mode}", *out]) == 2
    text = f"which has no surface with latent.kind = deterministic; --mode={mode} accepts a family that does\n"
    told = capsys.readouterr().err
    assert told.endswith(f": config.model.family is 'view_encoder', {text}")
    with pytest.raises(ValueError, match="has no surface"):  # beside a run that has one
        contents.open_run(run, configuration.load(run), [])


def test_tables_of_scores_leave_it_out(run):
    found = table.read(run.parent)
    assert [name for name, _ in found] == [run.name]
    for made in (table.runs, table.brief, table.unseen, table.verdicts):
        assert run.name not in made(found)
