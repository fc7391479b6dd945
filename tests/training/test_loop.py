"""What the loop does when: rows, validations, evaluations and checkpoints of one short run."""

import json
import re

import jax
import numpy as np
import pytest

from hexjax.training import loop, record
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


def test_a_group_that_the_family_lacks_is_refused_before_anything_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "jit", lambda *_, **__: pytest.fail("compiled"))
    monkeypatch.setattr(loop.monitor, "with_teacher", lambda *_: pytest.fail("a teacher was fitted"))
    text = (
        "config.optimiser.scale.encoder is 0, and the family's parameters have no such group; accepted: first, second"
    )
    with pytest.raises(ValueError, match=f"(?m)^{re.escape(text)}$"):
        toy.train(tmp_path, changes={"optimiser.scale.encoder": 0.0})


def test_rate_of_a_run_that_was_made_before_a_key_existed_is_told(capsys):
    config, state = toy.make_config(4), toy.target()._replace(step=np.array(2, np.int32))
    saved = toy.make_config(2).to_dict()
    del saved["optimiser"]["scale"], saved["optimiser"]["halve_every_steps"], saved["train"]["ema"]
    assert loop._tell_rate(config, saved, state)
    told = "train.steps was 2 and is 4; at step 2, the learning rate stays 0.01\n"
    assert capsys.readouterr().err == told
