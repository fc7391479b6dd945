"""The command itself: its help, and faults of the machine told in one line each."""

import os
import pathlib
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from hexjax import command, memory, names
from hexjax import config as configuration
from hexjax.data import fields
from hexjax.training import checkpoint, step
from tests import test_launch

ROOT = pathlib.Path(__file__).parent.parent
SMALL = "--config=ae_continuous:small"


@pytest.mark.parametrize("typed", [("-h",), ("--help",), (SMALL, "--config.seed=x", "-h"), ("--mode", "--help")])
def test_help_tells_flags_modes_codes_examples_and_environment(capsys, typed):
    assert command.main(list(typed)) == names.DONE
    text = capsys.readouterr().out
    assert text == command.HELP
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 120
    words = [*configuration.MODES, "--config", "--workdir", "--mode", "--help", "HEXJAX_DATA", "JAX_PLATFORMS"]
    codes = (names.DONE, names.REFUSED, names.NON_FINITE, names.COLLAPSED)
    for name in (*words, *map(str, codes), str(names.INTERRUPTED), f"{names.FAILED} anything else"):
        assert name in text


@pytest.mark.parametrize(
    ("typed", "name", "first"),
    [("/bin/hexjax", "hexjax", "hexjax"), ("hexjax.exe", "hexjax", "hexjax"), ("launch.py", "launch.py", "python launch.py")],
)  # fmt: skip
def test_the_program_has_the_name_it_was_called_by(capsys, monkeypatch, typed, name, first):
    monkeypatch.setattr(sys, "argv", [typed])
    command.say("so")
    assert capsys.readouterr().err == f"{name}: so\n"
    command.main(["-h"])
    text = capsys.readouterr().out
    assert text.startswith(f"{first} --config=")
    assert ("launch.py" in text) == (name == "launch.py")
    assert configuration.parse([SMALL]).line == f"{first} {SMALL}"


def test_every_example_of_the_help_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "head.obj").touch()
    (tmp_path / "heads").mkdir()
    text = command.HELP.split("Examples\n")[1].split("\n\n")[0]
    for line in text.splitlines():
        given = line.split("  ")[1].split()[2:]
        if "--workdir=results/001-NAME" not in given:
            assert configuration.parse(given).mode == "train"


def fails(capsys, monkeypatch, error, folder) -> str:
    """What is told where loading ends with an error."""

    def load(*_):
        raise error

    monkeypatch.setattr(step, "load", load)
    assert command.main([SMALL, f"--workdir={folder / 'run'}"]) == names.FAILED
    assert not (folder / "run").exists()
    return capsys.readouterr().err


GRID = types.SimpleNamespace(grid=10**6, input="continuous")
SMALLER = "smaller: train.batch_size, hexplane.resolution_px, extract.grid, data.count"
TOLD = {
    PermissionError(13, "Permission denied", "a\nb"): r"Permission denied: 'a\nb'; what was written before stays",
    OSError(28, "No space left on device"): "No space left on device; what was written before stays",
    MemoryError("Unable to allocate 8 GiB"): f"out of memory: Unable to allocate 8 GiB; {SMALLER}",
    MemoryError(): f"out of memory: no reason is given; {SMALLER}",
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore"): (
        f"out of memory: Out of memory allocating 9 bytes.; {SMALLER}"
    ),
    MemoryError("ball: its maps do not fit; config.hexplane.resolution_px is 9"): (
        "ball: its maps do not fit; config.hexplane.resolution_px is 9"
    ),
    checkpoint.CheckpointError("none is good"): "none is good",
}


def test_a_group_that_the_family_lacks_is_refused_before_there_are_fields_or_a_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(fields, "build", lambda *_: pytest.fail("fields were made"))
    folder = tmp_path / "run"
    assert command.main([SMALL, f"--workdir={folder}", "--config.optimiser.scale.encodr=0"]) == names.REFUSED
    told = (
        "config.optimiser.scale.encodr is 0, and the family's parameters have no such group; accepted: decoder, encoder"
    )
    assert capsys.readouterr().err.splitlines()[-1] == f"launch.py: {told}"
    assert not folder.exists()


@pytest.mark.parametrize("error", TOLD, ids=lambda error: type(error).__name__)
def test_fault_of_the_machine_is_one_line(capsys, monkeypatch, tmp_path, error):
    assert fails(capsys, monkeypatch, error, tmp_path) == f"launch.py: {TOLD[error]}\n"


def test_any_other_error_is_not_hidden(capsys, monkeypatch, tmp_path):
    with pytest.raises(RuntimeError, match=r"^a fault of ours$"):
        fails(capsys, monkeypatch, RuntimeError("a fault of ours"), tmp_path)


def test_what_hexjax_refuses_is_a_line_and_what_a_library_meets_is_not_hidden(capsys, monkeypatch, tmp_path):
    given = [SMALL, f"--workdir={tmp_path / 'run'}"]
    monkeypatch.setattr(step, "load", lambda *_: memory.check(types.SimpleNamespace(extract=GRID, model=GRID)))
    assert command.main(given) == names.REFUSED
    told = capsys.readouterr().err
    assert told.startswith("launch.py: config.extract.grid is 1000000: its nodes take about ")
    assert told.count("\n") == 1
    monkeypatch.setattr(step, "load", lambda *_: fields.stack([]))  # no refusal, but a fault where hexjax calls Python
    with pytest.raises(ValueError, match=r"empty"):
        command.main(given)
    monkeypatch.setattr(step, "load", lambda *_: np.zeros(2).reshape(3))
    with pytest.raises(ValueError, match=r"^cannot reshape array of size 2 into shape \(3,\)$"):
        command.main(given)


@pytest.mark.parametrize("platform", ["cuda", "none_of_this_name"])
def test_platform_that_is_not_there_is_refused(tmp_path, platform):
    if platform == "cuda" and jax.default_backend() != "cpu":
        pytest.skip("there is a GPU")
    line = [sys.executable, str(ROOT / "launch.py"), SMALL]
    environment = os.environ | {"JAX_PLATFORMS": platform}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (names.REFUSED, "")
    assert done.stderr == (
        f"launch.py: JAX_PLATFORMS is '{platform}', and JAX finds no such device here; accepted: cpu, cuda where "
        "jax[cuda12] or jax[cuda13] is installed and a GPU is there, or nothing, for the best there is\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "told"), [(1, ""), (3, "launch.py: 3 devices are visible, and one is used: cpu:0\n")]
)
def test_several_devices_are_told_and_one_is_used(capsys, monkeypatch, count, told):
    monkeypatch.setattr(jax, "devices", lambda: jax.local_devices()[:1] * count)
    command.find_device()
    assert capsys.readouterr().err == told


@pytest.fixture
def environment(monkeypatch) -> dict[str, str]:
    """The environment of a user who has no home folder and asks for nothing."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XDG_", "MPL"))}
    monkeypatch.setattr(os, "environ", own | {"HOME": "/there/is/no/such/home"})
    monkeypatch.setattr(configuration, "MALLOC", ())
    return os.environ


def test_missing_home_costs_a_cache_and_nothing_else(environment):
    assert configuration.set_environment() == (
        "there is no folder for caches in a home folder; programs are compiled anew: XDG_CACHE_HOME names one",
    )
    assert "JAX_COMPILATION_CACHE_DIR" not in environment
    assert pathlib.Path(environment["MPLCONFIGDIR"]).is_dir()
    assert not pathlib.Path("/there").exists()


def test_caches_lie_where_they_are_asked_for(environment, tmp_path):
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    assert configuration.set_environment() == ()
    assert environment["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "hexjax" / "xla")
    assert "MPLCONFIGDIR" not in environment


@pytest.mark.slow
def test_first_lines_alone_can_be_read_and_the_run_is_whole(tmp_path):
    words = [sys.executable, "launch.py", *test_launch.TOY, f"--workdir={tmp_path / 'run'}", "--config.train.steps=2"]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8")
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(600) == 0
    assert (tmp_path / "run" / "scores.json").exists()
