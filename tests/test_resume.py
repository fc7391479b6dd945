"""A run that is interrupted, killed or damaged ends as if nothing had happened, bit for bit."""

import json
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from hexjax.diagnostics import verdict
from hexjax.training import checkpoint, loop
from tests.training import toy

ROOT = pathlib.Path(__file__).parent.parent
# A read that fails leaves callbacks of Orbax behind, which find their event loop closed at some later time.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STEPS = 200  # of the runs in processes of their own: about a second of training


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> pathlib.Path:
    """A run of four steps with checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("trained")
    assert toy.train(folder, 4) == 0
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> pathlib.Path:
    """A run of STEPS steps in one process."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = start(folder)
    assert process.wait(120) == 0, process.stderr.read()
    process.stderr.close()
    return folder


def start(folder: pathlib.Path) -> subprocess.Popen:
    """A toy run in a process of its own."""
    command = [sys.executable, "-m", "tests.training.toy", str(folder), str(STEPS)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def hint(folder: pathlib.Path, program: str = sys.argv[0]) -> str:
    """What a run that was interrupted tells to type."""
    return (
        f"go on with: {shlex.join([*(['python'] if program.endswith('.py') else []), program, f'--workdir={folder}'])}"
    )


def rows(folder: pathlib.Path) -> list[dict]:
    """The rows of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def wait_for_rows(folder: pathlib.Path, process: subprocess.Popen, above: int) -> None:
    """Returns when the run has written more than `above` bytes of metrics, or ended."""
    file = folder / "metrics.jsonl"
    while process.poll() is None and (not file.exists() or file.stat().st_size <= above):
        time.sleep(0.01)


def test_two_and_two_steps_equal_four(trained, tmp_path):
    assert toy.train(tmp_path, 2) == 0
    assert toy.train(tmp_path, 4) == 0
    assert [row["step"] for row in rows(trained)] == [0, 1, 2, 2, 3, 3, 4, 4, 4]
    state, metrics = toy.outcome(tmp_path)
    earlier = [line for line in metrics.splitlines(keepends=True) if "evaluation" in line and '"step": 2,' in line]
    assert len(earlier) == 1  # of the run's earlier end
    assert (state, metrics.replace(earlier[0], "")) == toy.outcome(trained)


def test_an_average_is_scored_and_restored_and_two_and_two_steps_equal_four(tmp_path):
    changes = {"train.ema": 0.9, "optimiser.kind": "muon"}
    scored, (whole, parts) = {}, (tmp_path / "whole", tmp_path / "parts")

    def score(params, step, stopped):
        scored[step] = checkpoint.digest(params)
        return toy.evaluate(params, step)

    assert toy.train(parts, 2, changes=changes) == 0
    for folder in (parts, whole):
        assert toy.train(folder, 4, score=score, changes=changes) == 0
    saved = [json.loads((each / "checkpoints" / "4" / "digests" / "metadata").read_text()) for each in (parts, whole)]
    assert saved[0] == saved[1]
    assert rows(parts)[-1] == rows(whole)[-1]
    params, _, step = checkpoint.restore_params(parts)
    assert checkpoint.digest(params) == scored[step] == scored[4]
    found = {key.removeprefix("['average']"): value for key, value in saved[0].items() if "average" in key}
    assert found == scored[4] != {key: saved[0][f"['params']{key}"] for key in found}


def test_more_steps_are_told_and_the_earlier_end_is_kept(tmp_path, capsys):
    def score(params, step, stopped):
        (tmp_path / "scores.json").write_text(str(step))
        return toy.evaluate(params, step)

    cosine = {"optimiser.decay": "cosine"}
    assert toy.train(tmp_path, 2, score=score, changes=cosine) == 0
    capsys.readouterr()
    assert toy.train(tmp_path, 4, score=score, changes=cosine) == 0
    rate = "the learning rate, 0 there by the old train.steps, is 0.005 by the new"
    assert f"train.steps was 2 and is 4; at step 2, {rate}\n" in capsys.readouterr().err
    assert [row["step"] for row in rows(tmp_path) if "evaluation.first" in row] == [2, 3, 4]
    assert (tmp_path / "evaluations" / "step-2" / "scores.json").read_text() == "2"
    assert (tmp_path / "scores.json").read_text() == "4"
    assert toy.train(tmp_path, 6, score=score, save_every_steps=1, changes={"optimiser.decay": "none"}) == 0
    told = (
        "train.steps was 4 and is 6; at step 4, the learning rate, 0 there by the old train.steps, is 0.01 by the new\n"
    )
    assert told in capsys.readouterr().err
    assert {folder.name for folder in (tmp_path / "evaluations").iterdir()} == {"step-2", "step-4"}


def test_run_that_a_collapse_stopped_goes_on_when_told_to_report(tmp_path, monkeypatch):
    judged = verdict.Verdict("COLLAPSED", "all is one", ())
    monkeypatch.setattr(loop.monitor, "make", lambda *_: lambda *_: ({"kl": 0.0}, judged))
    for told, code in (("stop", 4), ("stop", 4), ("report", 0)):
        changes = {"diagnostics.every_steps": 1, "diagnostics.on_collapse": told}
        assert toy.train(tmp_path, 4, changes=changes) == code
        assert rows(tmp_path)[-1]["step"] == (4 if code == 0 else 2)


def test_run_that_is_done_stays_as_it_is(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    assert toy.train(tmp_path, 4) == 0
    assert toy.outcome(tmp_path) == toy.outcome(trained)


def test_kill_at_any_time_changes_nothing(uninterrupted, tmp_path):
    draw, reached = random.Random(0), 0
    for kill in range(3):
        process = start(tmp_path)
        before = (tmp_path / "metrics.jsonl").stat().st_size if kill else 0
        wait_for_rows(tmp_path, process, above=before)
        time.sleep(draw.uniform(0.0, 0.4))
        process.kill()
        _, errors = process.communicate()
        state = toy.restore(tmp_path)
        step = 0 if state is None else int(state.step)
        assert step >= reached, errors
        reached = step
    process = start(tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert toy.outcome(tmp_path) == toy.outcome(uninterrupted)


def test_sigterm_saves_and_the_resumed_run_is_exact(uninterrupted, tmp_path):
    process = start(tmp_path)
    wait_for_rows(tmp_path, process, above=2000)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    step = int(toy.restore(tmp_path).step)
    assert 0 < step < STEPS
    program = str(ROOT / "tests" / "training" / "toy.py")
    assert errors.splitlines()[-1] == f"SIGTERM: step {step} is saved; {hint(tmp_path, program)}"
    process = start(tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert toy.outcome(tmp_path) == toy.outcome(uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_cuts_an_evaluation_short(trained, tmp_path, capsys, number):
    def evaluate(params, step, stopped):
        os.kill(os.getpid(), number)
        time.sleep(60)
        raise AssertionError("the evaluation went on")

    assert toy.train(tmp_path, 4, score=evaluate) == 75
    expected = f"{number.name}: step 3 is saved; {hint(tmp_path)}"
    assert capsys.readouterr().err.splitlines()[-1] == expected
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert toy.train(tmp_path, 4) == 0
    assert toy.outcome(tmp_path) == toy.outcome(trained)


def test_final_state_is_saved_though_its_evaluation_fails(trained, tmp_path):
    def evaluate(params, step, stopped):
        if step == 4:
            raise RuntimeError("no mesh")
        return toy.evaluate(params, step)

    with pytest.raises(RuntimeError, match=r"^no mesh$"):
        toy.train(tmp_path, 4, score=evaluate, save_every_steps=0)
    assert toy.outcome(tmp_path)[0] == toy.outcome(trained)[0]


def test_first_non_finite_value_stops_the_run_with_its_step(tmp_path, capsys):
    assert toy.train(tmp_path, 8, blow_up_at=5, save_every_steps=1) == 3
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("stopped: at step 6 ")
    assert "loss is nan" in message
    assert message.endswith("; the checkpoint of step 5 is kept")
    state = toy.restore(tmp_path)
    assert int(state.step) == 5
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert rows(tmp_path)[-1]["step"] == 5


def test_run_that_stops_before_its_first_checkpoint_promises_none(tmp_path, capsys):
    assert toy.train(tmp_path, 8, blow_up_at=1, save_every_steps=4) == 3
    assert capsys.readouterr().err.splitlines()[-1].endswith("; there is no checkpoint yet")


def flip(trained: pathlib.Path, folder: pathlib.Path, seed: int) -> str:
    """Copies a run, flips one bit of its newest checkpoint, and tells where."""
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    draw = random.Random(seed)
    files = sorted(file for file in (folder / "checkpoints" / "4").rglob("*") if file.is_file() and file.stat().st_size)
    file = draw.choice(files)
    content = bytearray(file.read_bytes())
    position = draw.randrange(8 * len(content))
    content[position // 8] ^= 1 << position % 8
    file.write_bytes(content)
    return f"bit {position} of {file.relative_to(folder)}"


def check_flip(trained: pathlib.Path, folder: pathlib.Path, seed: int) -> int:
    """The step that is restored after a bit flip: the newest with its true values, or else the one before."""
    place = flip(trained, folder, seed)
    truth = toy.restore(trained)
    state = toy.restore(folder)
    if int(state.step) == 4:
        assert checkpoint.digest(state) == checkpoint.digest(truth), place
    else:
        assert int(state.step) == 2, place
    return int(state.step)


def test_flipped_bit_is_harmless_or_noticed(trained, tmp_path):
    steps = {check_flip(trained, tmp_path / str(seed), seed) for seed in range(12)}
    assert 2 in steps


@pytest.mark.slow
def test_every_flipped_bit_is_harmless_or_noticed(trained, tmp_path):
    for seed in range(200):
        check_flip(trained, tmp_path / str(seed), 1000 + seed)


def damage_removed(step: pathlib.Path) -> None:
    shutil.rmtree(step / "params")


def damage_emptied(step: pathlib.Path) -> None:
    for file in (step / "rest").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def damage_no_digests(step: pathlib.Path) -> None:
    shutil.rmtree(step / "digests")


@pytest.mark.parametrize("damage", [damage_removed, damage_emptied, damage_no_digests])
def test_damaged_step_is_told_and_trained_again(trained, tmp_path, capsys, damage):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "checkpoints" / "4")
    assert toy.train(tmp_path, 4) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("checkpoint ")]
    assert len(told) == 1
    assert told[0].startswith("checkpoint 4 cannot be restored: ")
    assert toy.outcome(tmp_path) == toy.outcome(trained)


def test_run_without_a_good_checkpoint_never_starts_from_scratch(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    for step in (2, 4):
        damage_removed(tmp_path / "checkpoints" / str(step))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert toy.train(tmp_path, 4) == 1
    expected = f"stopped: none of the checkpoints [2, 4] in {tmp_path.name} is good"
    assert capsys.readouterr().err.splitlines()[-1] == expected
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert (tmp_path / "checkpoints" / "4").is_dir()
