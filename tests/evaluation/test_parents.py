"""Runs that stand on others: which, what they are known by, what they give, and that a copy needs no original."""

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import trimesh

from hexjax import config as configuration
from hexjax.data import sources
from hexjax.evaluation import encode as encoding
from hexjax.evaluation import parents, written
from hexjax.models import family as families
from hexjax.training import checkpoint, fingerprint, portable, record
from hexjax.types import Latent, Layout, Size
from tests.evaluation import toys

NAMES = ("b", "c", "a")  # in the order of data.json
SIZES = {"a": 1.0, "b": 2.0, "c": 3.0}
PARAMS = {"scale": np.float32([2.0])}


def encode(params, batch, key, knobs=None):
    """A code of two tokens, by the share of pixels that are hit and the place among the training shapes."""
    hit = batch["mask"].mean((1, 2, 3)) * params["scale"]
    code = jnp.stack([hit, jnp.broadcast_to(batch.get("item", -1), hit.shape).astype(jnp.float32)], 1)[..., None]
    return Latent(code, {"mean": 2 * code, "log_variance": 0 * code + 2})


@pytest.fixture(autouse=True)
def family(monkeypatch):
    """A family that encodes, whatever its name."""
    made = dataclasses.replace(
        toys.identity(), sees=("mask",), encode=encode, layout=Layout("vector", 2, 1), size=lambda latent: Size(2, 64)
    )
    monkeypatch.setattr(families, "get", lambda name: lambda spec, config, parents: made)
    return made


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function that makes the folder of a run whose shapes lie in another folder; egg-shaped, to be told apart."""
    data = tmp_path / "meshes"
    data.mkdir()
    for name, length in SIZES.items():
        ball = toys.sphere(subdivisions=1)
        trimesh.Trimesh(ball.vertices * [1, length, 1], ball.faces, process=False).export(data / f"{name}.ply")
    monkeypatch.setattr(sources, "items", lambda *_: items())

    def made(name, params=PARAMS, step=4, runs=None, **changes):
        config = toys.config()
        config.unlock()
        for key, run in (runs or {}).items():
            config[key] = ml_collections.ConfigDict({"run": str(run)})
        config.data.path = str(data)
        config.update_from_flattened_dict(changes)
        folder = tmp_path / name
        record.write_header(folder, "a test", configuration.to_json(config), str(data))
        fingerprint.keep(items(), folder)
        portable.write(folder, params, step)
        parents.keep(parents.load(config, None), folder)  # as a run does that trains
        return folder

    def items():
        entries = {entry.name: entry for entry in sources.listing(str(data), "meshes", 0, 0)}
        return sources.load([entries[name] for name in NAMES], "y", 0)

    return made


def config_of(**runs):
    config = toys.config()
    for key, run in runs.items():
        config[key] = ml_collections.ConfigDict({"run": str(run)})
    return config


def refused(text):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def test_runs_are_named_by_keys_that_end_so_and_hold_something():
    config = config_of(latents="a", teacher="b/c", idle="")
    config.deep = ml_collections.ConfigDict({"below": {"run": "d"}, "rerun": "e", "runs": "f"})
    assert parents.named(config) == {"latents": "a", "teacher": "b/c", "deep.below": "d"}
    assert parents.named(toys.config()) == {}
    assert parents.load(toys.config(), None) == parents.NONE


def test_a_parent_is_known_by_its_parameters_config_and_shapes_and_not_by_its_place(make, tmp_path):
    first = make("first")
    known = parents.read(first)[0].digest
    shutil.copytree(first, tmp_path / "moved")
    (tmp_path / "moved" / "checkpoints" / "data_path.txt").write_text("elsewhere")
    assert parents.read(tmp_path / "moved")[0].digest == known
    other = {"scale": np.float32([2.5])}
    digests = {parents.read(make(name, **more))[0].digest for name, more in
               {"params": {"params": other}, "config": {"latent.channels": 3}, "step": {"step": 5}}.items()}  # fmt: skip
    assert len(digests | {known}) == 3  # the step is not asked: the parameters tell
    found = json.loads((first / "data.json").read_text())["shapes"]
    (first / "data.json").unlink()
    assert parents.read(first)[0].digest != known
    assert [name for name, _ in found] == list(NAMES)


def test_a_parents_own_parents_are_part_of_what_it_is_known_by(make):
    digests, held = set(), []
    for number, scale in enumerate((2.0, 3.0, 2.0)):
        below = make(f"below_{number}", {"scale": np.float32([scale])})
        parent, params, step = parents.read(make(f"run_{number}", runs={"teacher": below}))
        digests.add(parent.digest)
        held.append(params["parents"]["teacher"]["scale"].tolist())
        assert (sorted(params), step) == (["parents", "scale"], 4)
    assert len(digests) == 2  # of the first and the last the folders' names differ alone
    assert held == [[2.0], [3.0], [2.0]]


def test_latents_of_the_training_shapes_are_made_once_and_stacked_in_their_order(make, capsys):
    folder = make("run")
    given = parents.load(config_of(latents=folder), None)
    told = "run/latents is not there, not whole, or of another step or shapes: it is made first\n"
    assert told in capsys.readouterr().err
    found = given.parents["latents"].latents
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == {
        "latent": ((3, 2, 1), np.float32), "mean": ((3, 2, 1), np.float32), "deviation": ((3, 2, 1), np.float32),
    }  # fmt: skip
    np.testing.assert_array_equal(found["latent"][:, 1, 0], [0, 1, 2])  # places
    hit = found["latent"][:, 0, 0]
    assert hit[2] > hit[0] > hit[1]  # a is a ball, b is longer, c longest: fewer pixels are hit
    np.testing.assert_array_equal(found["mean"], 2 * found["latent"])
    np.testing.assert_allclose(found["deviation"], np.e, rtol=1e-6)
    before = {file: file.stat().st_mtime_ns for file in (folder / "latents").iterdir()}
    again = parents.load(config_of(latents=folder), None).parents["latents"].latents
    assert capsys.readouterr().err == ""
    assert {file: file.stat().st_mtime_ns for file in (folder / "latents").iterdir()} == before
    jax.tree.map(np.testing.assert_array_equal, again, found)
    assert parents.load(config_of(teacher=folder), None).parents["teacher"].latents is None


@pytest.mark.parametrize("harm", ["gone", "torn", "another step", "another shape", "a user's"])
def test_latents_that_are_not_those_of_the_run_are_made_again(make, harm, capsys):
    folder = make("run")
    whole = parents.load(config_of(latents=folder), None).parents["latents"].latents
    file = folder / "latents" / f"{written.stem('c')}.npz"
    if harm == "gone":
        file.unlink()
    elif harm == "torn":
        file.write_bytes(file.read_bytes()[:-40])
    elif harm == "another step":
        portable.write(folder, {"scale": np.float32([4.0])}, 6)
    elif harm == "another shape":
        parent, params, step = parents.read(folder)
        ball = toys.item("c", toys.sphere(subdivisions=1))
        encoding.encode(parent.family, params | {"scale": params["scale"] + 1}, [ball], parent.config, folder, step)
    else:
        file.write_bytes(b"mine")
    capsys.readouterr()
    found = parents.load(config_of(latents=folder), None).parents["latents"].latents
    assert "run/latents is not there, not whole, or of another step or shapes" in capsys.readouterr().err
    factor = 2 if harm == "another step" else 1
    np.testing.assert_allclose(found["latent"][:, 0], factor * whole["latent"][:, 0], rtol=1e-6)
    if harm in ("torn", "a user's"):
        assert file.with_name(f"{file.stem} (2).npz").is_file()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda code: code * np.nan,
            "2 of 2 numbers of the code are not finite; accepted: finite ones; without the file it is made again",
        ),
        (
            lambda code: np.concatenate([code, code], 1),
            "a code of shape (2, 2); accepted from this family: (2, 1); without the file it is made again",
        ),
    ],
)
def test_a_code_that_is_not_the_familys_is_refused_in_a_line(make, spoil, told):
    folder = make("run")
    parents.load(config_of(latents=folder), None)
    file = folder / "latents" / f"{written.stem('b')}.npz"
    with np.load(file) as arrays:
        harmed = dict(arrays)
    np.savez(file, **harmed | {"code": spoil(harmed["code"])})
    with pytest.raises(ValueError, match=f"^latents/{re.escape(file.name)}.*{re.escape(told)}$"):
        parents.load(config_of(latents=folder), None)


def test_half_codes_are_float32_again_and_tokens_stay_alive_or_not(tmp_path):
    for number in range(2):
        code, alive = np.full((2, 3), number + 1 / 3, np.float16), np.array([True, number > 0])
        np.savez(tmp_path / f"{number}.npz", code=code, alive=alive, place=np.ones((2, 3)), other=np.ones(7))
    found = parents.stacked([tmp_path / "1.npz", tmp_path / "0.npz"])
    assert {name: (value.shape, value.dtype.name) for name, value in found.items()} == {
        "latent": ((2, 2, 3), "float32"), "alive": ((2, 2), "bool"), "place": ((2, 2, 3), "float32")
    }  # fmt: skip
    assert found["alive"].tolist() == [[True, True], [True, False]]
    np.testing.assert_array_equal(found["latent"][0], np.float32(np.float16(4 / 3)))


def test_a_copy_is_the_parent_without_the_original(make, tmp_path):
    below = make("below", {"scale": np.float32([3.0])})
    source = make("source", runs={"teacher": below})
    config, run = config_of(latents=source, other=below), tmp_path / "run"
    given = parents.load(config, run, trains=True)
    run.mkdir()
    parents.keep(given, run)
    assert not (run / "parents" / "other" / "latents").exists()
    for folder in (source, below, tmp_path / "meshes"):
        shutil.rmtree(folder)
    again = parents.load(config, run, trains=True)
    assert again.folders == {name: run / "parents" / name for name in ("latents", "other")}
    for name, parent in given.parents.items():
        assert again.parents[name].digest == parent.digest
        assert checkpoint.digest(again.params[name]) == checkpoint.digest(given.params[name])
    assert again.params["latents"]["parents"]["teacher"]["scale"].tolist() == [3.0]
    jax.tree.map(np.testing.assert_array_equal, again.parents["latents"].latents, given.parents["latents"].latents)
    parents.keep(again, run)  # what lies there already stays
    (run / "parents" / "latents" / portable.FILE).unlink()  # a copy that was cut short is none
    with refused(f"config.latents.run is '{source}'; accepted: the folder of a trained run"):
        parents.load(config, run)


def test_what_is_no_parent_is_refused_in_a_line(make, tmp_path, monkeypatch, family):
    nowhere = tmp_path / "nowhere"
    with refused(f"config.teacher.run is '{nowhere}'; accepted: the folder of a trained run"):
        parents.load(config_of(teacher=nowhere), None)
    folder = make("run")
    (folder / portable.FILE).unlink()
    with pytest.raises(checkpoint.CheckpointError, match=r"^run holds no checkpoints$"):
        parents.load(config_of(teacher=folder), None)
    portable.write(folder, PARAMS, 4)
    shapes = (folder / "data.json").read_bytes()
    (folder / "data.json").unlink()
    with refused("run has no record of its shapes (data.json); accepted: a run that has"):
        parents.load(config_of(latents=folder), None)
    (folder / "data.json").write_bytes(shapes)
    nothing = dataclasses.replace(family, encode=None)
    with monkeypatch.context() as patch:
        patch.setattr(families, "get", lambda name: lambda spec, config, parents: nothing)
        with pytest.raises(ValueError, match=r"^config\.model\.family is 'hexplane_ae', which encodes nothing "):
            parents.load(config_of(latents=folder), None)
    ball = toys.sphere(subdivisions=1)
    trimesh.Trimesh(ball.vertices * [1, 9, 1], ball.faces, process=False).export(tmp_path / "meshes" / "b.ply")
    with pytest.raises(ValueError, match=r"run is trained on other data than config\.data gives now: changed b; "):
        parents.load(config_of(latents=folder), None)


def test_a_run_that_was_trained_on_since_is_refused_where_one_trains_and_read_from_its_copy(make, tmp_path):
    source, run = make("source"), tmp_path / "run"
    config = config_of(teacher=source)
    given = parents.load(config, run, trains=True)
    run.mkdir()
    parents.keep(given, run)
    known = given.parents["teacher"].digest
    portable.write(source, {"scale": np.float32([9.0])}, 8)
    now = parents.read(source)[0].digest
    told = f"config.teacher.run is '{source}', whose digest is {now[:8]}, and this run stands on {known[:8]}; "
    with refused(told + "accepted: the run as it was, or a new --workdir"):
        parents.load(config, run, trains=True)
    assert parents.load(config, run).parents["teacher"].digest == known
    assert parents.load(config, None).parents["teacher"].digest == now
