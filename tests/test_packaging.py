"""The wheel and the sdist: what they hold, and the command of an unpacked wheel in a folder that holds nothing else."""

import configparser
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import trimesh

from hexjax import command
from tests import test_launch

ROOT = pathlib.Path(__file__).parent.parent
LARGEST = 5_000_000  # bytes of the sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> pathlib.Path:
    """A folder with the wheel and the sdist, built offline."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install -e '.[dev]'")
    folder = tmp_path_factory.mktemp("built")
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> pathlib.Path:
    """The wheel, unpacked inside a repository that is not hexjax's."""
    site = tmp_path_factory.mktemp("theirs") / "site"
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    git = ["git", "-c", "user.name=they", "-c", "user.email=they@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "theirs"]):
        subprocess.run([*git, *words], cwd=site.parent, check=True)
    return site


def run(site: pathlib.Path, folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command as its entry point runs it."""
    scripts = configparser.ConfigParser()
    scripts.read(next(site.glob("*.dist-info")) / "entry_points.txt")
    module, _, function = scripts["console_scripts"]["hexjax"].partition(":")
    program = f"import sys; sys.argv[0] = '/bin/hexjax'; from {module} import {function}; sys.exit({function}())"
    environment = os.environ | {"PYTHONPATH": str(site)}
    words = [sys.executable, "-P", "-c", program, *arguments]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)


def test_sdist_is_small_and_whole(built):
    file = next(built.glob("*.tar.gz"))
    assert file.stat().st_size < LARGEST
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"launch.py", "configs/base.py", "hexjax/command.py", "tests/test_packaging.py", "LICENSE"} <= names


def test_wheel_holds_configs_and_the_command(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    own = {str(file.relative_to(ROOT)) for file in (ROOT / "configs").rglob("*.py")}
    assert {f"hexjax/_packaged/{name}" for name in own} <= names
    assert {name.partition("/")[0] for name in names} <= {
        "hexjax",
        *(name.split("/")[0] for name in names if ".dist-info" in name),
    }


def test_installed_command_finds_its_configs_in_an_empty_folder(installed, tmp_path):
    folder = tmp_path / "mes têtes 头"
    folder.mkdir()
    help_text = run(installed, folder, "-h")
    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert help_text.stdout == command.HELP.replace("python launch.py", "hexjax")
    for name in ("ae_continuous.py:small", "ae_continuous", "configs/vae_binary.py", "collapse_dose"):
        done = run(installed, folder, f"--config={name}", "--config.seed=x")
        accepted = "accepted: a whole number from 0 to 2147483647"
        assert (done.returncode, done.stderr) == (2, f"hexjax: config.seed is 'x'; {accepted}\n"), name
    done = run(installed, folder, "--config=ae_continous")
    assert done.stderr == "hexjax: --config is 'ae_continous': no such file; nearest: ae_continuous.py\n"
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_installed_command_trains_and_names_no_commit_of_another_repository(installed, tmp_path):
    folder = tmp_path / "mes têtes 头"
    folder.mkdir()
    mesh = "头.ply"
    toy = [word for word in test_launch.TOY if not word.startswith("--config=")]
    trimesh.creation.icosphere(3, 1.0).export(folder / mesh)
    done = run(
        installed, folder, "--config=ae_continuous:small", *toy, f"--config.data.path={mesh}", "--config.train.steps=2"
    )
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "results").iterdir()
    text = (made / "command.txt").read_text(encoding="utf-8")
    assert text.startswith("command: hexjax --config=")
    assert "\ncommit: unknown\n" in text
    assert f"of {os.cpu_count()} CPU cores" in text
    assert any((made / "meshes").glob("*.ply"))
    done = run(installed, folder, f"--workdir=results/{made.name}", "--mode=encode")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(made)
