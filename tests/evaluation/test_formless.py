"""A family without a shape is trained, judged by its own numbers, and stands in no table of scores."""

import json

import pytest

from hexjax import command
from hexjax.evaluation import table


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


def test_it_is_evaluated_and_encoded_again_and_asked_for_no_surface(run, capsys):
    before = (run / "scores.json").read_text()
    assert command.main([f"--workdir={run}", "--mode=evaluate"]) == 0
    assert (run / "scores.json").read_text() == before
    assert command.main([f"--workdir={run}", "--mode=encode"]) == 0
    assert len(list((run / "latents").glob("*.npz"))) == 10
    capsys.readouterr()
    assert command.main(["--config=configs/view_encoder.py:small", "--mode=ceiling", f"--workdir={run}-ceiling"]) == 2
    assert "which has no surface" in capsys.readouterr().err


def test_tables_of_scores_leave_it_out(run):
    found = table.read(run.parent)
    assert [name for name, _ in found] == [run.name]
    for made in (table.runs, table.brief, table.unseen, table.verdicts):
        assert run.name not in made(found)
