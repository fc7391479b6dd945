"""A run folder alone gives back its model, with meshes in the units that came in."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import config as configuration
from hexjax.evaluation import restore
from hexjax.geometry import mesh as meshes
from hexjax.models import family as families
from hexjax.training import checkpoint
from hexjax.types import TrainState
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
        patch.setattr(families, "get", lambda name: lambda spec, config: toys.identity())
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


def test_the_spec_has_the_shapes_of_one_shape():
    spec = restore.maps_spec(toys.config())
    assert {name: value.shape for name, value in spec.items()} == {
        "depth": (6, 32, 32), "normal": (6, 32, 32, 3), "mask": (6, 32, 32),
    }  # fmt: skip


def test_a_folder_whose_config_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=rf"^{tmp_path.name}/config\.json cannot be read: .*$"):
        restore.restore(tmp_path)
