"""The one command, from the command line to the scores, at toy size."""

import json
import pathlib
import subprocess
import sys

import pytest

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
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    assert {"config.json", "command.txt", "scores.json", "meshes", "images"} <= {item.name for item in first.iterdir()}
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
def test_broken_mesh_is_refused_and_makes_no_folder(tmp_path):
    mesh = tmp_path / "empty.obj"
    mesh.touch()
    command = [sys.executable, "launch.py", *TOY, f"--config.data.path={mesh}", f"--workdir={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("launch.py: empty.obj: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
