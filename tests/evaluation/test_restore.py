"""A run folder alone gives back its model, with meshes in the units that came in."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hexjax
from hexjax import command, names, pipeline
from hexjax import config as configuration
from hexjax.data import fields
from hexjax.evaluation import restore
from hexjax.geometry import mesh as meshes
from hexjax.models import family as families
from hexjax.models import hexplane_mlp
from hexjax.training import checkpoint, portable, record
from hexjax.types import TrainState
from tests import toys as variants
from tests.evaluation import toys


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = toys.config()
    config.data.up = "z"
    (folder / "config.json").write_text(configuration.to_json(config))
    params = {"sign": np.float32(1), "nested": {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    with checkpoint.Store(folder / "checkpoints", keep=1) as store:
        store.save(TrainState(jnp.int32(5), params, {}), json.loads(configuration.to_json(config)))
        store.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "get", lambda name: lambda spec, config, parents: toys.identity())
        yield params, restore.restore(str(folder))


def test_params_are_the_plain_tree_that_was_saved(run):
    params, restored = run
    assert restored.step == 5
    assert restored.config.data.up == "z"
    assert jax.tree.structure(restored.params) == jax.tree.structure(params)
    for found, expected in zip(jax.tree.leaves(restored.params), jax.tree.leaves(params)):
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, expected)


def test_encode_then_decode_of_a_family_that_loses_nothing_are_the_maps(run):
    restored, source = run[1], toys.sphere(40.0, (1, 2, 3), subdivisions=2)
    latent = restored.encode(source)
    decoded = restored.decode(latent)
    assert latent.code.shape == (6 * 32 * 32, 5)
    assert decoded.depth.shape == (6, 32, 32)
    depth = np.asarray(decoded.depth)[np.asarray(decoded.mask) > 0]
    assert depth.min() == pytest.approx(0.05, abs=0.02)


def test_reconstruct_answers_in_the_units_and_orientation_that_came_in(run):
    restored, ball = run[1], toys.sphere(40.0, (100, 200, 300), subdivisions=2)
    source = ball._replace(vertices=ball.vertices * np.array([1, 0.5, 1], np.float32))
    found = restored.reconstruct(source)
    low, high = source.vertices.min(0), source.vertices.max(0)
    np.testing.assert_allclose(found.vertices.min(0), low, atol=4.0)  # 1.5 nodes of the grid
    np.testing.assert_allclose(found.vertices.max(0), high, atol=4.0)
    assert meshes.topology(found)["watertight"]


def test_a_run_is_made_for_the_spec_in_its_folder_and_one_without_for_what_its_config_gives(run, tmp_path):
    restored = run[1]
    assert restored.spec == fields.spec(restored.config, ())
    assert {name: restored.spec.fields[name].shape for name in fields.MAPS} == {
        "depth": (6, 32, 32), "normal": (6, 32, 32, 3), "mask": (6, 32, 32),
    }  # fmt: skip
    folder, asked = tmp_path / "run", []
    ship(folder, {"sign": np.float32(1)}, toys.config())
    spec = restored.spec._replace(shapes=7, categories=("a", "b"))
    record.write_spec(folder, spec)
    with pytest.MonkeyPatch.context() as patch:
        make = lambda spec, config, parents: asked.append((spec, dict(parents))) or toys.identity()
        patch.setattr(families, "get", lambda name: make)
        assert restore.restore(folder).spec == spec
        pickled = pickle.loads(pickle.dumps(restore.restore(folder)))
    assert pickled.spec == spec
    assert asked == [(spec, {})] * 3
    (folder / "spec.json").write_text("{}")
    with pytest.raises(ValueError, match=r"^run/spec\.json is damaged; "):
        restore.restore(folder)


def ship(folder, params, config):
    """A folder of a config and parameters alone."""
    folder.mkdir()
    (folder / "config.json").write_text(configuration.to_json(config))
    portable.write(folder, params, 5)


@pytest.mark.usefixtures("quick_programs")
def test_parameters_without_checkpoints_are_restored_and_go_through_every_mode_that_reads_a_run(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(families, "get", lambda name: hexplane_mlp.make)
    config, folder = variants.config_of("hexplane_mlp", "silhouettes, gaussian, bernoulli"), tmp_path / "sent"
    config.update_from_flattened_dict(
        {"sample.count": 1, "data.count": 1, "evaluate.pictures": 0, "witness.classes": 0, "train.batch_size": 1}
    )
    family = variants.family_of(config)
    params = family.init(pipeline.observe(toys.item(), family, config), jax.random.key(0), {})
    ship(folder, params, config)
    restored = hexjax.restore(folder)
    assert (restored.step, checkpoint.digest(restored.params)) == (5, checkpoint.digest(params))
    assert restored.encode(toys.sphere(3.0)).code.shape == (family.layout.tokens, family.layout.channels)
    for mode, file in (("evaluate", "scores"), ("sample", "samples"), ("encode", None)):
        assert command.main([f"--workdir={folder}", f"--mode={mode}"]) == names.DONE, capsys.readouterr().err
        if file:
            assert json.loads((folder / f"{file}.json").read_text())["step"] == 5
    assert len(list((folder / "latents").iterdir())) == 1
    assert command.main([f"--workdir={folder}"]) == names.REFUSED
    assert "holds parameters without checkpoints" in capsys.readouterr().err
    (folder / portable.FILE).write_bytes(b"PK")
    assert command.main([f"--workdir={folder}", "--mode=evaluate"]) == names.REFUSED
    assert capsys.readouterr().err.splitlines()[-1].endswith("sent/params.npz is damaged; accepted: as it was written")


def test_a_folder_whose_config_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=rf"^{tmp_path.name}/config\.json cannot be read: .*$"):
        restore.restore(tmp_path)
