"""The one command, from the command line to the scores, at toy size."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import trimesh

from hexjax.training import lock

ROOT = pathlib.Path(__file__).parent.parent
TOY = (
    "--config=configs/ae_continuous.py:small",
    "--config.hexplane.resolution_px=32",
    "--config.model.stem_px=4",
    "--config.model.widths=(8,16)",
    "--config.model.mixer_width=16",
    "--config.latent.side=4",
    "--config.model.mixer_side=4",
    "--config.sdf.pool_points=2048",
    "--config.extract.grid=32",
    "--config.score.samples=1000",
    "--config.log.every_steps=1",
    "--config.optimiser.decay=none",
)


def launch(*arguments: str) -> str:
    """What a command that succeeds tells on stderr."""
    command = [sys.executable, "launch.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_command_trains_resumes_exactly_and_leaves_mesh_and_scores(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    launch(*TOY, f"--workdir={first}", "--config.train.steps=4")
    launch(*TOY, f"--workdir={second}", "--config.train.steps=2")
    launch(f"--workdir={second}", "--config.train.steps=4")
    lines = (second / "metrics.jsonl").read_text().splitlines()
    ended = [line for line in lines if line.startswith(('{"step": 2, "evaluation.', '{"step": 2, "diagnostics.'))]
    assert ended  # of the run's earlier end: they stay
    assert [line for line in lines if line not in ended] == (first / "metrics.jsonl").read_text().splitlines()
    assert {"config.json", "spec.json", "data.json", "command.txt", "scores.json", "meshes", "images"} <= {
        item.name for item in first.iterdir()
    }
    trained = json.loads((first / "scores.json").read_text())
    assert len(trained["items"]) == 1
    launch(f"--workdir={first}", "--mode=evaluate")
    again = json.loads((first / "scores.json").read_text())
    for row in (*again["items"], *trained["items"]):
        row.pop("seconds")  # what a clock says
    assert again["items"] == trained["items"]
    assert not (first / "evaluations").exists()
    launch(f"--workdir={first}", "--mode=evaluate", "--config.extract.grid=24")
    assert json.loads((first / "scores.json").read_text())["settings"]["grid"] == 32
    assert len(list((first / "evaluations").glob("step-4-extract.grid=24~*/scores.json"))) == 1
    launch(f"--workdir={first}", "--mode=encode")
    assert len(list((first / "latents").iterdir())) == 1


@pytest.mark.slow
def test_run_is_written_by_one_process_and_goes_on_with_its_own_data(tmp_path):
    def told(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "launch.py", f"--workdir={tmp_path / 'run'}", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stderr

    mesh, run = tmp_path / "head.ply", tmp_path / "run"
    trimesh.creation.icosphere(2).export(mesh)
    launch(*TOY, f"--workdir={run}", "--config.train.steps=2", f"--config.data.path={mesh}")
    assert json.loads((run / "data.json").read_text())["shapes"][0][0] == "head"
    files = {file: file.read_bytes() for file in run.glob("*.*")}
    with lock.take(run):
        code, errors = told("--config.train.steps=4")
        assert code == 2
        text = f"launch.py: {run} is written by another process, {os.getpid()}; accepted: a folder that no other run writes, "
        assert errors.splitlines()[-1] == text + "or this one when that has ended"
        assert told("--mode=encode")[0] == 0  # reading asks for no lock
    trimesh.creation.box().export(mesh)
    code, errors = told("--config.train.steps=4")
    text = f"launch.py: {run} is trained on other data than config.data gives now: changed head; accepted: the data as "
    assert (code, errors.splitlines()[-1]) == (2, text + "they were, or a new --workdir")
    code, errors = told("--mode=encode")
    assert code == 0
    assert "the shapes are not those that run was trained on: changed head\n" in errors
    changed = {file.name for file, content in files.items() if file.read_bytes() != content}
    assert changed <= {"command.txt", ".lock", "written.sha256"}  # the last tells what encode wrote


@pytest.mark.slow
def test_broken_mesh_is_refused_and_makes_no_folder(tmp_path):
    mesh = tmp_path / "empty.obj"
    mesh.touch()
    command = [sys.executable, "launch.py", *TOY, f"--config.data.path={mesh}", f"--workdir={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("launch.py: empty.obj: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
