"""Who may import whom, parsed from the sources; and no pickle anywhere."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
GEOMETRY = ("types", "cores", "geometry")
EVALUATION = (
    *GEOMETRY,
    "cells",
    "memory",
    "progress",
    "data",
    "diagnostics",
    "pipeline",
    "rules",
    "models.family",
    "training.checkpoint",
    "training.fingerprint",
    "training.record",
    "evaluation",
)

# What a part of the package may import of it. Itself is always among it, but for families; names is everybody's.
MAY = {
    "names": (),
    "__init__": (),
    "types": (),
    "cores": (),
    "memory": (),
    "progress": (),
    "wording": (),
    "rules": ("wording",),
    "cells": ("rules",),
    "unread": ("rules",),
    "workdirs": ("rules",),
    "experiments": ("rules", "wording"),
    "config": ("rules", "cells", "unread", "experiments", "shell", "wording", "workdirs"),
    "shell": (),
    "command": (
        "shell",
        "cells",
        "config",
        "memory",
        "runs",
        "data",
        "models.family",
        "training",
        "evaluation",
        "viewer",
    ),
    "runs": ("config", "workdirs", "models.family", "training"),
    "geometry": GEOMETRY,
    "data": (*GEOMETRY, "memory", "progress", "wording", "data"),
    "models": (*GEOMETRY, "rules", "models.family", "models.parts"),
    "models.family": ("types", "rules", "names"),
    "diagnostics": ("types", "diagnostics"),
    "pipeline": (*GEOMETRY, "progress", "data", "models.family"),
    "training.sweep": ("types", "cells", "rules", "data", "diagnostics", "models.family", "training"),
    "training.step": ("types", "rules", "progress", "data", "diagnostics", "models.family", "training"),
    "training": ("types", "cells", "cores", "progress", "data", "diagnostics", "models.family", "training"),
    "evaluation": EVALUATION,
    "evaluation.restore": (*EVALUATION, "config", "api", "training.portable"),  # a run's folder alone tells its config
    "evaluation.parents": (*EVALUATION, "config", "training.portable"),  # and so a parent's
    "viewer": (*EVALUATION, "training.lock", "viewer"),
    "launch": ("command",),
    "api": (*GEOMETRY, "data", "workdirs"),
    "configs": (),
}

# Packages that a part never imports.
NEVER = {
    "names": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh", "ml_collections", "absl"),
    "progress": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh"),
    "types": ("flax", "optax", "orbax", "ml_collections", "absl"),
    "rules": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh"),
    "cells": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh"),
    "experiments": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh"),
    "workdirs": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh"),
    "shell": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh", "ml_collections", "absl"),
    "config": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "scipy", "trimesh"),
    "geometry": ("flax", "optax", "orbax", "ml_collections", "absl"),
    "models": ("orbax", "trimesh"),
    "configs": ("jax", "jaxtyping", "flax", "optax", "orbax", "numpy", "hexjax"),
}

FILES = sorted([*(ROOT / "hexjax").rglob("*.py"), *(ROOT / "configs").glob("*.py"), ROOT / "launch.py"])


def part_of(file: pathlib.Path) -> str:
    """The row of MAY for a file: its own, or else its folder's."""
    relative = file.relative_to(ROOT)
    if relative.parts[0] != "hexjax":
        return relative.parts[0].removesuffix(".py")
    module = ".".join(relative.with_suffix("").parts[1:])
    return module if module in MAY else module.split(".")[0]


def imported(file: pathlib.Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_file_imports_only_what_its_part_may(file):
    part, names = part_of(file), imported(file)
    own = {name.removeprefix("hexjax.") for name in names if name.startswith("hexjax.")}
    assert {name for name in own if not is_within(name, (*MAY[part], "names"))} == set()
    assert {name for name in names if is_within(name, NEVER.get(part, ()))} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_file_never_pickles_and_hides_no_errors(file):
    names = imported(file)
    assert not {
        name for name in names if is_within(name, ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"))
    }
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"bare except, line {node.lineno}"
        assert not (isinstance(node, ast.Attribute) and node.attr == "nan_to_num"), f"nan_to_num, line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant), f"allow_pickle, line {node.value.lineno}"
            assert node.value.value is False, f"allow_pickle, line {node.value.lineno}"
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__", "annotations are checked as they stand"


def test_every_row_of_the_table_names_a_part():
    parts = {part_of(file) for file in FILES}
    assert set(MAY) <= parts
    assert parts <= set(MAY)


@pytest.mark.parametrize(
    "file", [*FILES, *sorted((ROOT / "benchmarks").glob("*.py"))], ids=lambda file: str(file.relative_to(ROOT))
)
def test_text_is_read_and_written_in_utf_8_whatever_the_locale(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        is_text = name in ("read_text", "write_text") or (name == "open" and modes and not any("b" in m for m in modes))
        if is_text:
            said = {ast.literal_eval(each.value) for each in node.keywords if each.arg == "encoding"}
            said |= {a.value for a in node.args if isinstance(a, ast.Constant)}
            assert "utf-8" in said, f"{file.name}, line {node.lineno}"
