"""The sentence: the ceiling of plain shapes, and reconstruction through families that lose nothing."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import pipeline
from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh
from tests import shapes
from tests.evaluation import toys

PARAMS = {"sign": jnp.float32(1)}


@pytest.fixture(scope="module")
def sphere():
    """A sphere in the frame, its ceiling at toy size, the report and the maps."""
    mesh = meshes.normalise(shapes.sphere(0.7, 3))[0]
    return mesh, *pipeline.ceiling(mesh, toy_config())


def toy_config():
    """Nodes on the outermost layer but one lie outside the frame's box, so that closing the cube moves no vertex."""
    config = toys.config()
    config.extract.grid = 49
    return config


def assert_same(found: Mesh, expected: Mesh) -> None:
    np.testing.assert_array_equal(found.faces, expected.faces)
    np.testing.assert_array_equal(found.vertices, expected.vertices)


@pytest.mark.parametrize(("shape", "euler"), [(shapes.sphere, 2), (shapes.torus, 0)])
def test_the_ceiling_of_a_smooth_shape_is_nearly_itself(shape, euler):
    config, mesh = toy_config(), meshes.normalise(shape())[0]
    config.hexplane.resolution_px, config.extract.grid = 64, 65
    surface, report, maps = pipeline.ceiling(mesh, config)
    scores = pipeline.score(surface, mesh, config)
    assert maps.mask.shape == (6, 64, 64)
    assert scores["f_score_0.02"] > 0.98
    assert scores["f_score_0.01"] > 0.9
    assert scores["f_score_0.005"] is None  # the grid's spacing is wider
    assert scores["v_iou"] > 0.95
    assert scores["flipped_normals"] == 0
    assert (report["watertight"], report["components"], report["euler"]) == (True, 1, euler)
    assert not scores["failed"]


def test_the_binary_ceiling_of_a_torus_is_its_visual_hull():
    config, mesh = toy_config(), meshes.normalise(shapes.torus())[0]
    config.hexplane.resolution_px, config.extract.grid, config.model.input = 64, 65, "binary"
    _, report, maps = pipeline.ceiling(mesh, config)
    assert (report["watertight"], report["euler"]) == (True, 0)  # seen along the axis the hole is open
    inside = pipeline.maps_grid(maps, config) < 0
    config.model.input = "continuous"
    shape = pipeline.maps_grid(maps, config) < 0
    assert (shape & ~inside).sum() < 0.02 * shape.sum()  # at the outline, by less than a pixel
    assert inside.sum() > 1.05 * shape.sum()  # outlines do not tell the hollows


def test_the_threshold_of_silhouettes_is_the_config_s(sphere):
    config = toy_config()
    config.model.input = "binary"
    volumes = []
    for threshold in (0.2, 0.8):
        config.extract.threshold = threshold
        volumes.append((pipeline.maps_grid(sphere[3], config) < 0).sum())
    assert volumes[0] > volumes[1] > 0


def test_reconstruction_through_a_family_that_loses_nothing_is_the_ceiling(sphere):
    _, best, best_report, maps = sphere
    found, report, decoded, latent = pipeline.reconstruct(maps, toys.identity(), PARAMS, toy_config())
    assert_same(found, best)
    assert report == best_report | {"asked_share": None}
    for field in ("depth", "normal", "mask"):
        np.testing.assert_array_equal(getattr(decoded, field), getattr(maps, field))
    np.testing.assert_array_equal(latent.code, pipeline.encode(maps, toys.identity(), PARAMS, toy_config()).code)


@pytest.mark.parametrize("chunk", [49**3, 10_000], ids=["one chunk", "last chunks that are not full"])
def test_a_family_without_a_grid_of_its_own_is_asked_coarse_to_fine_and_gives_the_same_mesh(sphere, chunk, monkeypatch):
    monkeypatch.setattr(pipeline, "CHUNK", chunk)
    family = dataclasses.replace(toys.identity(), grid=None)
    found, report, *_ = pipeline.reconstruct(sphere[3], family, PARAMS, toy_config())
    assert 0 < report.pop("asked_share") < 0.7  # the spacing is wide
    assert len(found.faces) == len(sphere[1].faces)
    np.testing.assert_allclose(found.vertices, sphere[1].vertices, atol=1e-4)
    assert report == sphere[2]


def test_chunks_lie_on_the_grid_with_x_first():
    family = dataclasses.replace(toys.identity(), grid=None, field=lambda params, decoded, points: points @ decoded)
    config = toy_config()
    config.extract.grid = 9
    values, share = pipeline.family_grid(jnp.array([1.0, 10.0, 100.0]), family, {}, config)
    assert share == 1  # of so few
    nodes = np.linspace(-1, 1, 9)
    expected = nodes[:, None, None] + 10 * nodes[None, :, None] + 100 * nodes[None, None, :]
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_a_latent_of_16_bits_is_the_code_rounded_to_half_precision(sphere):
    config, maps = toy_config(), sphere[3]
    full = pipeline.encode(maps, toys.identity(), PARAMS, config).code
    config.latent.bits = 16
    half = pipeline.encode(maps, toys.identity(), PARAMS, config).code
    assert half.dtype == full.dtype == jnp.float32
    np.testing.assert_array_equal(half, np.asarray(full, np.float16).astype(np.float32))
    assert (half != full).any()


def test_an_empty_field_is_a_failed_result_and_no_exception(sphere):
    config = toy_config()
    found, report, *_ = pipeline.reconstruct(sphere[3], toys.identity(), {"sign": jnp.float32(0)}, config)
    assert found.vertices.shape == (0, 3)
    assert report["vertices"] == 0
    assert pipeline.score(found, sphere[0], config)["failed"]


def test_a_field_that_is_not_finite_is_a_failed_result_and_one_line(sphere, capsys):
    config = toy_config()
    family = dataclasses.replace(toys.identity(), grid=lambda params, decoded, count: np.full((count,) * 3, np.nan))
    found, report, *_ = pipeline.reconstruct(sphere[3], family, PARAMS, config)
    assert len(found.faces) == report["vertices"] == 0
    assert pipeline.score(found, sphere[0], config)["failed"]
    nodes = config.extract.grid**3
    told = f"the decoded field is not finite at {nodes} of {nodes} nodes: no surface"
    assert report["told"] == told
    pipeline.tell("ball", report)
    pipeline.tell("ball", {"told": None})
    assert capsys.readouterr().err == f"ball: {told}\n"


def test_every_arrow_is_a_stage(sphere):
    mesh, config, passed = sphere[0], toy_config(), []

    def stage(name):
        passed.append(name)
        return pipeline.untimed(name)

    surface, _, maps = pipeline.ceiling(mesh, config, stage)
    pipeline.reconstruct(maps, toys.identity(), PARAMS, config, stage)
    pipeline.score(surface, mesh, config, stage)
    assert passed == ["render", "field", "polygonise", "encode", "decode", "field", "polygonise", "score"]
