"""What the loop does when: rows, validations, evaluations and checkpoints of one short run."""

import json

import pytest

from hexjax.training import record
from tests.training import toy


@pytest.mark.parametrize(("save_every_steps", "saved"), [(2, {"2", "4", "5"}), (0, {"5"})])
def test_loop_writes_validates_evaluates_and_saves_when_due(tmp_path, save_every_steps, saved):
    evaluated = []

    def evaluate(params, step, stopped):
        evaluated.append(step)
        return toy.evaluate(params, step)

    assert toy.train(tmp_path, 5, score=evaluate, save_every_steps=save_every_steps) == 0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in rows if "validation.loss" in row] == [0, 2, 4]
    assert [row["step"] for row in rows if "evaluation.first" in row] == evaluated == [3, 5]
    assert {item.name for item in (tmp_path / "checkpoints").iterdir()} == saved


def test_an_evaluation_tells_its_lines_where_no_line_of_progress_stands(tmp_path, monkeypatch):
    order = []

    def evaluate(params, step, stopped):
        order.append("evaluation")
        return toy.evaluate(params, step)

    monkeypatch.setattr(record.Log, "clear", lambda log: order.append("clear"))
    assert toy.train(tmp_path, 3, score=evaluate) == 0
    assert order == ["clear", "evaluation", "clear"]


def test_every_row_comes_after_the_step_that_it_tells_of(tmp_path):
    def evaluate(params, step, stopped):
        written = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert json.loads(written[-1])["step"] == step
        return toy.evaluate(params, step)

    assert toy.train(tmp_path, 3, score=evaluate) == 0
