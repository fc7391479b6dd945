"""Which folders a run may have: nothing of a user's is ever in one, and a refusal writes nothing."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from hexjax import config as configuration
from hexjax import workdirs

ROOT = pathlib.Path(__file__).parent.parent
SMALL = f"--config={ROOT / 'configs' / 'ae_continuous.py'}:small"
ACCEPTED = "accepted: the folder of a run, an empty folder, or a new one"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The user stands in an empty folder."""
    monkeypatch.chdir(tmp_path)


def refusal(*arguments: str) -> str:
    with pytest.raises(ValueError) as error:
        configuration.parse(list(arguments))
    return str(error.value)


def write_run(folder: pathlib.Path, *arguments: str) -> None:
    """A folder as a run leaves it that was ended at once."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(configuration.parse([SMALL, *arguments]).json, encoding="utf-8")


def test_folder_of_ones_own_files_is_refused_before_jax_and_stays_as_it_is(tmp_path):
    for name in ("a.ply", "b.ply", "c.txt", "d"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    before = {file: file.stat() for file in tmp_path.iterdir()}
    program = (
        "import sys; from hexjax import command; code = command.main(sys.argv[1:]); "
        "assert not {'jax', 'numpy'} & set(sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, SMALL, "--workdir=."]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"launch.py: --workdir is '.', a folder of files that are no run's (a.ply, b.ply, c.txt, …); {ACCEPTED}\n"
    )
    assert {file: file.stat() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("mode", configuration.MODES)
def test_no_mode_takes_a_folder_of_other_files(tmp_path, mode):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    told = f"--workdir is 'mine', a folder of files that are no run's (notes); {ACCEPTED}"
    assert refusal(SMALL, "--workdir=mine", f"--mode={mode}") == told
    assert refusal(SMALL, f"--workdir={tmp_path / 'mine'}", f"--mode={mode}") == told.replace(
        "'mine'", f"'{tmp_path / 'mine'}'"
    )


@pytest.mark.parametrize("text", ['{"model_type": "bert", "data": {}}', "[]", "3"])
def test_config_json_of_another_tool_makes_no_run(tmp_path, text):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(text, encoding="utf-8")
    assert refusal(SMALL, "--workdir=mine") == (
        f"--workdir is 'mine', a folder of files that are no run's (config.json); {ACCEPTED}"
    )


def test_damaged_config_json_is_told_as_such(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_bytes(b'{"seed": \xff')
    assert refusal(SMALL, "--workdir=run").startswith("run/config.json cannot be read: ")


def test_folder_of_runs_is_refused(tmp_path):
    write_run(tmp_path / "all" / "001-a")
    assert refusal(SMALL, "--workdir=all") == f"--workdir is 'all', a folder of runs (001-a); {ACCEPTED}"
    for text in ("results", "./results/", str(tmp_path / "results")):
        assert refusal(SMALL, f"--workdir={text}") == (
            f"--workdir is '{text}', the folder that all runs are numbered in; {ACCEPTED}"
        )


def test_new_and_empty_folders_and_the_beginnings_of_a_run_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    for name in (".lock", "config.json.tmp", ".config.json.17.tmp"):
        (tmp_path / "begun" / name).touch()
    write_run(tmp_path / "run")
    for name in ("empty", "begun", "run", "new", "new/below", "mes têtes 头"):
        assert configuration.parse([SMALL, f"--workdir={name}"]).workdir == pathlib.Path(name)
    assert not (tmp_path / "new").exists()
    (tmp_path / "begun" / "checkpoints" / "mine").touch()
    assert refusal(SMALL, "--workdir=begun") == (
        f"--workdir is 'begun', a folder of files that are no run's (checkpoints); {ACCEPTED}"
    )


def test_places_where_no_folder_can_be_are_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    long, home = "a" * 256, tmp_path / "home"
    monkeypatch.setenv("HOME", str(home / "file" / "of"))
    assert refusal(SMALL, "--workdir=file") == f"--workdir is 'file', a file; {ACCEPTED}"
    assert refusal(SMALL, "--workdir=link") == f"--workdir is 'link', a link to nothing; {ACCEPTED}"
    assert refusal(SMALL, "--workdir=file/run") == f"--workdir is 'file/run', inside 'file', a file; {ACCEPTED}"
    assert refusal(SMALL, "--workdir=~no.body/x") == (
        f"--workdir is '~no.body/x', and there is no such home folder; {ACCEPTED}"
    )
    assert refusal(SMALL, "--workdir=~/x") == f"--workdir is '~/x', and there is no such home folder; {ACCEPTED}"
    assert refusal(SMALL, f"--workdir={long}") == (
        f"--workdir is '{'a' * 79}…{'a' * 38}', longer than the 255 bytes that a name may have; {ACCEPTED}"
    )
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert configuration.parse([SMALL, "--workdir=~/x"]).workdir == home / "x"
    assert list(home.iterdir()) == []


def test_folders_that_cannot_be_written_are_told(tmp_path, monkeypatch):
    (tmp_path / "run" / "checkpoints" / "5").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text(configuration.parse([SMALL]).json, encoding="utf-8")
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, kind: real(place, kind) and not kind & os.W_OK)
    for mode in ("train", "evaluate", "encode", "sample"):
        assert refusal("--workdir=run", f"--mode={mode}") == (
            f"--workdir is 'run', a folder that cannot be written; {ACCEPTED}"
        )
    assert refusal(SMALL, "--workdir=a/b") == (
        f"--workdir is 'a/b', inside '.', a folder that cannot be written; {ACCEPTED}"
    )
    accepted = "accepted: --workdir=DIR, an empty or new folder"
    assert refusal(SMALL) == f"results cannot be written here; {accepted}"
    monkeypatch.setattr(os, "access", real)
    (tmp_path / "results").touch()
    assert refusal(SMALL) == f"results is a file here; {accepted}"


def test_what_made_a_folder_goes_on_there_and_nothing_else(tmp_path):
    sweep = f"--config={ROOT / 'configs' / 'sweeps' / 'collapse_cause.py'}"
    write_run(tmp_path / "trained")
    (tmp_path / "trained" / "metrics.jsonl").touch()
    write_run(tmp_path / "ceiling")
    (tmp_path / "ceiling" / "scores.json").touch()
    (tmp_path / "swept").mkdir()
    text = configuration.parse([sweep, "--mode=sweep"]).json
    (tmp_path / "swept" / "config.json").write_text(text, encoding="utf-8")
    assert [workdirs.made_by(tmp_path / name) for name in ("trained", "ceiling", "swept")] == [
        "train", "ceiling", "sweep"
    ]  # fmt: skip
    assert refusal(sweep, "--mode=sweep", "--workdir=trained") == (
        "--workdir=trained holds what --mode=train made; accepted: another folder"
    )
    assert refusal("--workdir=swept") == (
        "--workdir=swept holds what --mode=sweep made; accepted: another folder, or --mode=sweep to go on"
    )
    assert refusal("--workdir=ceiling") == "--workdir=ceiling holds what --mode=ceiling made; accepted: another folder"
    assert configuration.parse(["--workdir=swept", "--mode=sweep"]).workdir == pathlib.Path("swept")
    again = configuration.parse(["--workdir=ceiling", "--mode=ceiling"])
    finer = configuration.parse(["--workdir=ceiling", "--mode=ceiling", "--config.extract.grid=99"])
    assert (again.workdir, finer.workdir) == (pathlib.Path("ceiling"), None)
    assert json.loads((tmp_path / "ceiling" / "config.json").read_text(encoding="utf-8"))["extract"]["grid"] == 192


def test_parameters_alone_are_a_trained_run_that_is_read_and_does_not_go_on(tmp_path):
    write_run(tmp_path / "sent")
    for name in ("params.npz", "scores.json"):
        (tmp_path / "sent" / name).touch()
    assert workdirs.made_by(tmp_path / "sent") == "train"
    for mode in ("evaluate", "encode", "sample"):
        assert configuration.parse(["--workdir=sent", f"--mode={mode}"]).workdir == pathlib.Path("sent")
    told = "--workdir=sent holds parameters without checkpoints, which a training cannot go on with; "
    told += "accepted: another folder, or a mode that reads a run"
    assert refusal("--workdir=sent") == told
    (tmp_path / "sent" / "checkpoints" / "4").mkdir(parents=True)
    assert configuration.parse(["--workdir=sent"]).workdir == pathlib.Path("sent")


def test_programs_are_kept_where_they_can_be_written_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    kept, nobody = pathlib.Path("hexjax") / "xla", "~nobody_of_this_name/x"
    for told, place in (
        (str(tmp_path), tmp_path / kept),
        ("", None),
        ("~/x", tmp_path / "none/x" / kept),
        (nobody, None),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", told)
        assert workdirs.programs() == place
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", nobody)
    assert workdirs.programs() is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert workdirs.programs() == tmp_path / ".cache" / kept
    (tmp_path / ".cache" / kept).mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path / ".cache" / kept)
    assert workdirs.programs() is None
