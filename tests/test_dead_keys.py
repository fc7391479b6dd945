"""No key is dead: some run of some config reads it, in some mode; and no read counts that only copies or checks."""

import collections
import contextlib
import dataclasses
import functools
import importlib
import pathlib
import sys

import jax
import ml_collections
import pytest
import trimesh
from jax.experimental.compilation_cache import compilation_cache

import launch
from hexjax import config as configuration
from hexjax import rules
from hexjax.evaluation import evaluate, export
from hexjax.geometry import distance
from hexjax.models import family
from hexjax.training import step

ROOT = pathlib.Path(__file__).parent.parent
EXPERIMENTS = sorted(file.stem for file in (ROOT / "configs").glob("*.py") if file.stem != "base")
VARIANTS = [(name, variant) for name in EXPERIMENTS for variant in importlib.import_module(f"configs.{name}").VARIANTS]
# Who reads all keys alike, to check, compare, write or count them.
BLIND = {ROOT / "hexjax" / name for name in ("config.py", "rules.py", "training/record.py", "training/checkpoint.py")}
CONTROL = "model.unread"  # added to every config: what the test must find
TOY = {
    "hexplane.resolution_px": 16, "model.stem_px": 4, "model.widths": (4, 8), "model.mixer_side": 2,
    "model.mixer_width": 4, "model.mixer_blocks": 1, "model.mixer_heads": 2, "latent.side": 2,
    "latent.channels": 4, "sdf.pool_points": 256, "sdf.points": 32, "extract.grid": 16, "score.samples": 200,
    "train.steps": 2, "evaluate.every_steps": 2,
}  # fmt: skip


class Recording(ml_collections.ConfigDict):
    """A copy of a config that notes its leaves' dotted keys as files of hexjax read them by name."""

    def __init__(self, config: ml_collections.ConfigDict, reads: set[str], prefix: str = ""):
        super().__init__()
        object.__setattr__(self, "_reads", reads)
        object.__setattr__(self, "_prefix", prefix)
        for key, value in config.items():
            is_section = isinstance(value, ml_collections.ConfigDict)
            super().__setitem__(key, Recording(value, reads, f"{prefix}{key}.") if is_section else value)

    def __getattr__(self, name):
        value = super().__getattr__(name)
        self._note(name, value, sys._getframe(1).f_code.co_filename)
        return value

    def __getitem__(self, name):
        value = super().__getitem__(name)
        self._note(name, value, sys._getframe(1).f_code.co_filename)
        return value

    def _note(self, name, value, reader):
        """`reader` is the very next caller: what ml_collections reads for `items` and `to_dict` is none of ours."""
        if not isinstance(value, ml_collections.ConfigDict) and is_ours(reader):
            self._reads.add(self._prefix + name)


class RecordingDict(dict):
    """The knobs as a family's loss sees them, noting which it looks at."""

    def __init__(self, values, reads):
        super().__init__(values)
        self.reads = reads

    def __getitem__(self, name):
        self.reads.add(name)
        return super().__getitem__(name)


@functools.cache
def is_ours(reader: str) -> bool:
    file = pathlib.Path(reader).resolve()
    return file == ROOT / "launch.py" or (file.is_relative_to(ROOT / "hexjax") and file not in BLIND)


def run(arguments: list[str], reads: set[str]) -> None:
    """One command in this process, with its reads noted."""
    command = configuration.parse(arguments)
    config = Recording(command.config, reads)
    config.model.unread = 0
    command = command._replace(config=config)
    items, family, data = step.load(config, command.mode)

    def loss(params, batch, key, step, knobs):
        return family.loss(params, batch, key, step, RecordingDict(knobs, reads))

    recorded = None if family is None else dataclasses.replace(family, loss=loss)
    assert launch.run(command, items, recorded, data) == configuration.DONE


def update(settings: dict[str, object]) -> None:
    compilation_cache.reset_cache()
    for name, value in settings.items():
        jax.config.update(name, value)


@contextlib.contextmanager
def jax_fast(folder: pathlib.Path):
    """Programs are compiled carelessly, and each once only: what counts here happens while they are traced."""
    settings = {
        "jax_disable_most_optimizations": True,
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: jax.config.values[name] for name in settings}
    try:
        update(settings)
        yield
    finally:
        update(before)


@pytest.fixture(scope="module")
def reads(tmp_path_factory) -> dict[str, set[str]]:
    """The keys read by each mode, over all configs and variants."""
    folder, found = tmp_path_factory.mktemp("dead"), collections.defaultdict(set)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("shape", "unseen", "history"):  # pictures: slow, and they are given no config
            patch.setattr(export, name, lambda *arguments: None)
        patch.setattr(distance, "_comparison", lambda *arguments: {"f_score": 0.0})
        patch.setattr(evaluate, "_told", lambda row: row["name"])
        with jax_fast(folder / "xla"):
            run_all(folder, found)
    return dict(found)


def run_all(folder: pathlib.Path, found: dict[str, set[str]]) -> None:
    """Every mode of every config and variant at toy size."""
    mesh = folder / "ball.ply"
    trimesh.creation.icosphere(1, 2.0).export(mesh)
    toy = [f"--config.{key}={value}" for key, value in TOY.items()]
    for name, variant in VARIANTS:
        config = f"--config={ROOT / 'configs' / name}.py" + (f":{variant}" if variant else "")
        workdir = folder / f"{name}-{variant}"
        start = [config, *toy, f"--config.data.path={mesh}"]
        run([*start, f"--workdir={workdir}"], found["train"])
        run([f"--workdir={workdir}", "--mode=evaluate"], found["evaluate"])
        run([f"--workdir={workdir}", "--mode=encode"], found["encode"])
        run([*start, f"--workdir={workdir}-ceiling", "--mode=ceiling"], found["ceiling"])


def test_some_run_of_some_config_reads_every_key(reads):
    configs = [importlib.import_module(f"configs.{name}").get_config(variant) for name, variant in VARIANTS]
    keys = set().union(*(rules.flatten(config) for config in configs)) - {"name"}
    dead = (keys | {CONTROL}) - set().union(*reads.values())
    assert dead == {CONTROL}, f"no run reads {', '.join(sorted(dead - {CONTROL}))}"


def test_modes_that_do_not_train_read_no_key_of_training(reads):
    for mode in ("evaluate", "encode", "ceiling"):
        training = {key for key in reads[mode] if key.startswith(("optimiser.", "train.", "checkpoint.", "validate."))}
        assert training == set(), f"--mode={mode} reads {', '.join(sorted(training))}"


def test_copies_and_checks_do_not_count_as_reads():
    noted = set()
    config = Recording(importlib.import_module("configs.ae_continuous").get_config(), noted)
    rules.validate(config)
    configuration.to_json(config)
    family.knobs(config)
    assert noted == {"optimiser.learning_rate", "sdf.weight"}
