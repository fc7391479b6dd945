"""Every config builds in every variant, is accepted, and sets nothing that its variant does not read."""

import importlib
import pathlib

import pytest

from hexjax import config as configuration
from hexjax import rules

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted((ROOT / "configs").glob("*.py"))
EXPERIMENTS = [file for file in FILES if file.stem != "base"]


def variants(file):
    return importlib.import_module(f"configs.{file.stem}").VARIANTS


@pytest.mark.parametrize(
    ("file", "variant"),
    [(file, f":{variant}" if variant else "") for file in EXPERIMENTS for variant in variants(file)],
    ids=lambda part: getattr(part, "stem", part),
)
def test_config_is_accepted_under_its_own_name_without_warnings(file, variant):
    command = configuration.parse([f"--config={file}{variant}"])
    assert command.warnings == ()
    assert command.name == f"{file.stem}{variant.replace(':', '-')}"
    assert set(rules.flatten(command.config)) >= set(rules.RULES)


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_unknown_variant_is_refused_with_those_that_exist(file):
    known = ", ".join(variants(file)[1:])
    with pytest.raises(ValueError, match=rf"^config variant is 'smal'; variants of {file.stem}: {known}$"):
        configuration.parse([f"--config={file}:smal"])


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_header_gives_the_command(file):
    assert f"python launch.py --config=configs/{file.name}" in file.read_text().split('"""')[1]


def test_base_is_accepted():
    assert configuration.parse([f"--config={ROOT / 'configs' / 'base.py'}"]).name == "base"
