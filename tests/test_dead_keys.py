"""No key is dead: some run of some config reads it, in some mode; and no read counts that only copies or checks."""

import collections
import dataclasses
import functools
import importlib
import pathlib
import sys

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import trimesh
from PIL import Image

import hexjax.models
from hexjax import command as commands
from hexjax import config as configuration
from hexjax import names, rules
from hexjax.evaluation import evaluate, export, parents
from hexjax.geometry import distance
from hexjax.models import family as families
from hexjax.training import record, step, sweep

ROOT = pathlib.Path(__file__).parent.parent
THROWAWAY = ROOT / "tests" / "throwaway"
EXPERIMENTS = sorted(file.stem for file in (ROOT / "configs").glob("*.py") if file.stem != "base")
VARIANTS = [(name, variant) for name in EXPERIMENTS for variant in importlib.import_module(f"configs.{name}").VARIANTS]
# Who reads all keys alike, to check, compare, write or count them.
CHECKS = ("config.py", "rules.py", "unread.py", "training/record.py", "training/checkpoint.py")
BLIND = {ROOT / "hexjax" / name for name in CHECKS}
CONTROL = "model.unread"  # added to every config: what the test must find
TOY = {
    "hexplane.resolution_px": 16, "model.stem_px": 8, "model.widths": (4,), "model.mixer_side": 2,
    "model.mixer_width": 4, "model.mixer_blocks": 1, "model.mixer_heads": 2, "latent.side": 2,
    "latent.channels": 4, "sdf.pool_points": 256, "sdf.points": 32, "extract.grid": 16, "score.samples": 200,
    "train.steps": 2, "optimiser.decay": "halving", "evaluate.every_steps": 2, "sample.count": 1, "data.count": 0,
    "train.batch_size": 1, "model.components": 8, "model.width": 4, "witness.components": 2, "model.heads": 1,
    "model.blocks": 1, "views.resolution_px": 14, "views.count": 4, "views.held": 1, "views.shown": 1, "views.drawn": 2,
    "diffusion.levels": 4, "diffusion.steps": 2, "search.steps": 2, "search.points": 8, "sdf.seen_points": 16,
    "inside.points": 16, "evaluate.shapes": 1, "latent.tokens": 4, "surface.points": 16, "surface.pool_points": 32,
    "model.plane_side": 4, "model.encoder_layers": 1, "model.decoder_layers": 1, "model.cross_heads": 1,
}  # fmt: skip
MORE = {"sparse_voxels": {"model.widths": (4, 4), "cells.side": 4, "cells.capacity": 64, "cells.coarse": (8,)}}
SWEEP = {
    "hexplane.resolution_px": 8, "model.widths": (4,), "latent.side": 2, "train.steps": 1, "train.batch_size": 2,
    "witness.classes": 2, "witness.components": 2, "sweep.seeds": 1, "sweep.measure_every_steps": 1,
    "sweep.held_out": 0.5, "data.count": 0,
    "sweep.cells": (
        "a: latent.kind=bernoulli latent.estimator=gumbel",
        "b: latent.kind=vamp_prior",
        "c: sweep.start=b latent.kind=vamp_prior",
    ),
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
    return file.is_relative_to(ROOT / "hexjax") and file not in BLIND


def run(arguments: list[str], reads: set[str]) -> None:
    """One command in this process, with its reads noted."""
    command = configuration.parse(arguments)
    config = Recording(command.config, reads)
    config.model.unread = 0
    command = command._replace(config=config)
    loaded, get = step.load(config, command.mode), families.get

    def loss(params, batch, key, step, knobs):
        return loaded.family.loss(params, batch, key, step, RecordingDict(knobs, reads))

    recorded = None if loaded.family is None else dataclasses.replace(loaded.family, loss=loss)
    make = lambda name: lambda spec, own, parents: get(name)(spec, Recording(own, reads), parents)
    with pytest.MonkeyPatch.context() as patch:  # a sweep resolves configs of its own
        patch.setattr(families, "get", make)
        patch.setattr(sweep, "run", functools.partial(run_cells, sweep.run, reads))
        assert commands.run(command, loaded._replace(family=recorded)) == names.DONE


def show(command: configuration.Command) -> None:
    """A page of a command whose config notes its reads."""
    with pytest.MonkeyPatch.context() as patch:  # a copy is a plain config
        patch.setattr(Recording, "copy_and_resolve_references", lambda self: ml_collections.ConfigDict(self.to_dict()))
        assert commands.show(command) == names.DONE


def trace(arguments: list[str], reads: set[str]) -> None:
    """The loss of one command, traced and not compiled, with its reads noted."""
    config = Recording(configuration.parse(arguments).config, reads)
    loaded = step.load(config, "train")
    family, data, key = loaded.family, loaded.data, jax.random.key(0)
    batch = data.fixed(data.cache)
    knobs = RecordingDict(families.knobs(config), reads)
    params = jax.eval_shape(family.init, batch, key, {})
    jax.eval_shape(lambda params: family.loss(params, batch, key, jnp.int32(0), knobs), params)


def run_cells(original, reads, config, todo, items, folder):
    """The sweep, with each cell's reads noted."""
    original(config, [cell._replace(config=Recording(cell.config, reads)) for cell in todo], items, folder)


@pytest.fixture(scope="module")
def reads(tmp_path_factory, quick_programs) -> dict[str, set[str]]:
    """The keys read by each mode, over all configs and variants."""
    folder, found = tmp_path_factory.mktemp("dead"), collections.defaultdict(set)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("shape", "unseen", "history", "gallery"):  # pictures: slow, and they are given no config
            patch.setattr(export, name, lambda *arguments: None)
        patch.setattr(distance, "_comparison", lambda *arguments: collections.defaultdict(float))
        patch.setattr(evaluate, "_told", lambda row: row["name"])
        run_all(folder, found)
    return dict(found)


def run_all(folder: pathlib.Path, found: dict[str, set[str]]) -> None:
    """Every mode of every config and variant at toy size."""
    mesh = folder / "ball.ply"
    (folder / "boxes").mkdir()
    trimesh.creation.icosphere(1, 2.0).export(mesh)
    for number in range(8):
        trimesh.creation.box((1, 1 + number, 2)).export(folder / "boxes" / f"box_{number}.ply")
    for name, variant in dict(VARIANTS).items():  # the last variant of each: they read alike
        known = rules.flatten(importlib.import_module(f"configs.{name}").get_config(variant))
        toy = [f"--config.{key}={value}" for key, value in (TOY | MORE.get(name, {})).items() if key in known]
        if name in ("vae_binary_healthy", "latent_dit"):
            continue  # another value of a key of vae_binary; below
        config = f"--config={ROOT / 'configs' / name}.py" + (f":{variant}" if variant else "")
        workdir = folder / f"{name}-{variant}"
        start = [config, *toy, f"--config.data.path={mesh}"]
        if name not in ("ae_continuous", "vae_binary"):
            shapes = f"--config.data.path={folder / 'boxes'}"  # enough for a split
            trace([*start, shapes, f"--workdir={workdir}"], found["train"])  # the loop reads no latent's keys
            continue
        run([*start, f"--workdir={workdir}"], found["train"])
        run([f"--workdir={workdir}", "--mode=evaluate"], found["evaluate"])
        run([f"--workdir={workdir}", "--mode=encode"], found["encode"])
        run([*start, f"--workdir={workdir}-ceiling", "--mode=ceiling"], found["ceiling"])
        if name == "vae_binary":
            run([f"--workdir={workdir}", "--mode=sample"], found["sample"])
            command = configuration.parse([f"--workdir={workdir}", "--mode=export", f"--out={folder}/page.html"])
            show(command._replace(config=Recording(command.config, found["export"])))
    with pytest.MonkeyPatch.context() as patch:  # a family that reads pools of surface points
        patch.setattr(hexjax.models, "__path__", [*hexjax.models.__path__, str(THROWAWAY / "families")])
        given = [f"--config={THROWAWAY}/configs/points_ae.py", f"--config.data.path={mesh}", "--config.data.count=1"]
        trace([*given, "--config.train.batch_size=1", f"--workdir={folder}/points"], found["train"])
    draw(folder, found)
    toy = [f"--config.{key}={value}" for key, value in SWEEP.items()]
    start = [f"--config={ROOT / 'configs' / 'sweeps' / 'collapse_cause.py'}", f"--config.data.path={folder / 'boxes'}"]
    run([*start, *toy, f"--workdir={folder / 'sweep'}", "--mode=sweep"], found["sweep"])


def draw(folder: pathlib.Path, found: dict[str, set[str]]) -> None:
    """A generator on two runs, and a draw by a picture."""
    for name in ("deepsdf", "view_encoder", "latent_dit"):
        known = rules.flatten(importlib.import_module(f"configs.{name}").get_config("small"))
        toy = TOY | {"sdf.pool_points": 32, "train.batch_size": 2, "data.split": (), "latent.channels": 4}
        start = [f"--config={ROOT / 'configs' / name}.py:small", f"--workdir={folder}/{name}"]
        start += [f"--config.{key}={value}" for key, value in toy.items() if key in known]
        more = [f"--config.latents.run={folder}/deepsdf", f"--config.views.run={folder}/view_encoder"]
        start += more if name == "latent_dit" else [f"--config.data.path={folder / 'boxes'}"]
        told(start, found["train"])
    new = f"--config.data.path={folder}/ball.ply"
    told([f"--workdir={folder}/deepsdf", "--mode=encode", new], found["encode"])  # its code is searched for
    picture = np.zeros((28, 28, 3), np.uint8)
    picture[8:20, 6:22] = 200
    Image.fromarray(picture).save(folder / "photo.png")
    told(
        [f"--workdir={folder}/latent_dit", "--mode=sample", f"--config.sample.image={folder}/photo.png"],
        found["sample"],
    )


def told(arguments: list[str], reads: set[str]) -> None:
    """One command of a run that may stand on others, with its reads noted."""
    command = configuration.parse(arguments)
    config = Recording(command.config, reads)
    given = parents.load(config, command.workdir, command.mode == "train")
    known = record.read_spec(command.workdir)
    loaded = step.load(config, command.mode, known, given.parents, given.params)
    assert commands.run(command._replace(config=config), loaded, given) == names.DONE


@pytest.mark.slow
def test_some_run_of_some_config_reads_every_key(reads):
    configs = [importlib.import_module(f"configs.{name}").get_config(variant) for name, variant in VARIANTS]
    configs.append(importlib.import_module("configs.sweeps.collapse_cause").get_config())
    keys = set().union(*(rules.flatten(config) for config in configs)) - {"name", "sweep.cells"}  # of command lines
    keys = {key for key in keys if key.rpartition(".")[0] not in rules.OPEN}  # whose sections are read whole
    dead = (keys | {CONTROL}) - set().union(*reads.values())
    assert dead == {CONTROL}, f"no run reads {', '.join(sorted(dead - {CONTROL}))}"


@pytest.mark.slow
def test_modes_that_do_not_train_read_no_key_of_training(reads):
    for mode in ("evaluate", "encode", "sample", "ceiling"):
        training = {key for key in reads[mode] if key.startswith(("optimiser.", "train.", "checkpoint.", "validate."))}
        assert training == set(), f"--mode={mode} reads {', '.join(sorted(training))}"


def test_copies_and_checks_do_not_count_as_reads():
    noted = set()
    config = Recording(importlib.import_module("configs.ae_continuous").get_config(), noted)
    rules.validate(config)
    configuration.to_json(config)
    families.knobs(config)
    assert noted == set(rules.KNOBS)
