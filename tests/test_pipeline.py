"""The sentence: the ceiling of plain shapes, and reconstruction through families that lose nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import pipeline
from hexjax.data import fields
from hexjax.geometry import sdf
from hexjax.models import family as families
from hexjax.types import Latent, Mesh
from tests import shapes
from tests import toys as variants
from tests.evaluation import toys

PARAMS = {"sign": jnp.float32(1)}


@pytest.fixture(scope="module")
def sphere():
    """A sphere, its ceiling at toy size, the report and the batch of its maps."""
    item = toys.item("ball", shapes.sphere(0.7, 3))
    batch = pipeline.observe(item, toys.identity(), toy_config())
    return item, *pipeline.ceiling(item, batch, toys.identity(), toy_config()), batch


def toy_config():
    """Nodes on the outermost layer but one lie outside the frame's box, so that closing the cube moves no vertex."""
    config = toys.config()
    config.extract.grid = 49
    return config


def family_of(kind: str, config):
    """A family that sees such planes of 64-pixel maps."""
    (variant,) = (name for name in variants.VARIANTS["hexplane_mlp"] if name.startswith(f"{kind},"))
    own = variants.config_of("hexplane_mlp", variant, **{"hexplane.resolution_px": config.hexplane.resolution_px})
    own.extract.threshold = config.extract.threshold
    return families.make(fields.spec(own, ())._replace(shapes=2), own)


def ideal_grid(batch, family, config):
    """The field of a perfect network."""
    return pipeline.family_grid(jax.tree.map(lambda leaf: leaf[0], family.ideal(batch)), family, None, config)[0]


def assert_same(found: Mesh, expected: Mesh) -> None:
    np.testing.assert_array_equal(found.faces, expected.faces)
    np.testing.assert_array_equal(found.vertices, expected.vertices)


@pytest.mark.parametrize(("shape", "euler"), [(shapes.sphere, 2), (shapes.torus, 0)])
def test_the_ceiling_of_a_smooth_shape_is_nearly_itself(shape, euler):
    config, item, family = toy_config(), toys.item("a shape", shape()), toys.identity()
    config.hexplane.resolution_px, config.extract.grid = 64, 65
    batch = pipeline.observe(item, family, config)
    surface, report = pipeline.ceiling(item, batch, family, config)
    scores = pipeline.score(surface, item.mesh, config)
    assert batch["mask"].shape == (1, 6, 64, 64)
    assert scores["f_score_0.02"] > 0.98
    assert scores["f_score_0.01"] > 0.9
    assert scores["f_score_0.005"] is None  # the grid's spacing is wider
    assert scores["v_iou"] > 0.95
    assert scores["flipped_normals"] == 0
    assert (report["watertight"], report["components"], report["euler"]) == (True, 1, euler)
    assert not scores["failed"]


def test_the_binary_ceiling_of_a_torus_is_its_visual_hull():
    config, item = toy_config(), toys.item("a torus", shapes.torus())
    config.hexplane.resolution_px, config.extract.grid = 64, 65
    binary, continuous = (family_of(kind, config) for kind in ("binary", "continuous"))
    batch = pipeline.observe(item, continuous, config)
    _, report = pipeline.ceiling(item, pipeline.observe(item, binary, config), binary, config)
    assert (report["watertight"], report["euler"]) == (True, 0)  # seen along the axis the hole is open
    inside, shape = (ideal_grid(batch, family, config) < 0 for family in (binary, continuous))
    assert (shape & ~inside).sum() < 0.02 * shape.sum()  # at the outline, by less than a pixel
    assert inside.sum() > 1.05 * shape.sum()  # outlines do not tell the hollows


def test_the_threshold_of_silhouettes_is_the_config_s(sphere):
    config, volumes = toy_config(), []
    for threshold in (0.2, 0.8):
        config.extract.threshold = threshold
        volumes.append((ideal_grid(sphere[3], family_of("binary", config), config) < 0).sum())
    assert volumes[0] > volumes[1] > 0


def test_points_have_no_ceiling(sphere):
    item, *_, batch = sphere
    cloud = item._replace(name="cloud", mesh=item.mesh._replace(faces=item.mesh.faces[:0]))
    with pytest.raises(ValueError, match=r"^cloud is points without faces; accepted for a ceiling: meshes with faces$"):
        pipeline.ceiling(cloud, batch, toys.identity(), toy_config())


def test_the_ceiling_of_a_family_without_an_ideal_is_the_meshs_own_distance(sphere):
    item, *_, batch = sphere
    family = dataclasses.replace(toys.identity(), ideal=None, grid=None, field=None)
    config = toy_config()
    config.extract.grid = 17
    found, report = pipeline.ceiling(item, batch, family, config)
    nodes = np.linspace(-1, 1, 17, dtype=np.float32)
    points = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    values = sdf.signed_distance(item.mesh, points)[0].reshape(17, 17, 17)
    expected = pipeline.polygonise(values, config)[0]
    assert len(found.faces) == len(expected.faces)
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-5)
    assert (report["watertight"], report["euler"]) == (True, 2)


def test_what_a_family_sees_is_observed_and_of_maps_all_three(sphere):
    item, config = sphere[0], toy_config()
    plain = toys.identity()
    for sees, names in (
        (("surface",), ["surface"]),
        (("mask",), ["mask", "depth", "normal"]),
        (("voxels",), ["voxels", "depth", "normal", "mask"]),
        ((), []),
    ):
        batch = pipeline.observe(item, dataclasses.replace(plain, sees=sees), config)
        assert list(batch) == names
        assert all(len(field) == 1 for field in batch.values())
    again = pipeline.observe(item, dataclasses.replace(plain, sees=("surface",)), config, 3)
    assert list(again) == ["surface", "item"]
    assert again["surface"].shape == (1, config.surface.points, 3)
    assert (again["item"].dtype, again["item"].tolist()) == (np.int32, [3])


def test_a_family_encodes_what_it_sees_and_the_place_of_a_training_shape_alone(sphere):
    asked = []

    def encode(params, batch, key):
        asked.append(sorted(batch))
        return Latent(jnp.zeros((1, 1, 1)), {})

    family = dataclasses.replace(toys.identity(), sees=("mask",), encode=encode)
    for place in (None, 0):
        batch = pipeline.observe(sphere[0], family, toy_config(), place)
        pipeline.encode(batch | {"sdf": jnp.zeros((1, 4))}, family, PARAMS, toy_config())
    assert asked == [["mask"], ["item", "mask"]]


def test_reconstruction_through_a_family_that_loses_nothing_is_the_ceiling(sphere):
    _, best, best_report, batch = sphere
    found, report, decoded, latent = pipeline.reconstruct(batch, toys.identity(), PARAMS, toy_config())
    assert_same(found, best)
    assert report == best_report | {"asked_share": None}
    for field in ("depth", "normal", "mask"):
        np.testing.assert_array_equal(getattr(decoded, field), batch[field][0])
    np.testing.assert_array_equal(latent.code, pipeline.encode(batch, toys.identity(), PARAMS, toy_config()).code)


@pytest.mark.parametrize("chunk", [49**3, 10_000], ids=["one chunk", "last chunks that are not full"])
def test_a_family_without_a_grid_of_its_own_is_asked_coarse_to_fine_and_gives_the_same_mesh(sphere, chunk, monkeypatch):
    monkeypatch.setattr(pipeline, "CHUNK", chunk)
    family = dataclasses.replace(toys.identity(), grid=None)
    found, report, *_ = pipeline.reconstruct(sphere[3], family, PARAMS, toy_config())
    assert 0 < report.pop("asked_share") < 0.7  # the spacing is wide
    assert len(found.faces) == len(sphere[1].faces)
    np.testing.assert_allclose(found.vertices, sphere[1].vertices, atol=1e-4)
    assert report | {"asked_share": None} == sphere[2]


def test_chunks_lie_on_the_grid_with_x_first():
    family = dataclasses.replace(toys.identity(), grid=None, field=lambda params, decoded, points: points @ decoded)
    config = toy_config()
    config.extract.grid = 9
    values, share, ask = pipeline.family_grid(jnp.array([1.0, 10.0, 100.0]), family, {}, config)
    assert share == 1  # of so few
    nodes = np.linspace(-1, 1, 9)
    expected = nodes[:, None, None] + 10 * nodes[None, :, None] + 100 * nodes[None, None, :]
    np.testing.assert_allclose(values, expected, atol=1e-4)
    points = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    np.testing.assert_allclose(ask(points), points @ np.array([1, 10, 100]), atol=1e-4)


def test_a_latent_of_16_bits_is_the_code_rounded_to_half_precision(sphere):
    config, batch = toy_config(), sphere[3]
    full = pipeline.encode(batch, toys.identity(), PARAMS, config).code
    config.latent.bits = 16
    half = pipeline.encode(batch, toys.identity(), PARAMS, config).code
    assert half.dtype == full.dtype == jnp.float32
    np.testing.assert_array_equal(half, np.asarray(full, np.float16).astype(np.float32))
    assert (half != full).any()


def test_an_empty_field_is_a_failed_result_and_no_exception(sphere):
    config = toy_config()
    found, report, *_ = pipeline.reconstruct(sphere[3], toys.identity(), {"sign": jnp.float32(0)}, config)
    assert found.vertices.shape == (0, 3)
    assert report["vertices"] == 0
    assert pipeline.score(found, sphere[0].mesh, config)["failed"]


def test_a_field_that_is_not_finite_is_a_failed_result_and_one_line(sphere, capsys):
    config = toy_config()
    family = dataclasses.replace(toys.identity(), grid=lambda params, decoded, count: np.full((count,) * 3, np.nan))
    found, report, *_ = pipeline.reconstruct(sphere[3], family, PARAMS, config)
    assert len(found.faces) == report["vertices"] == 0
    assert pipeline.score(found, sphere[0].mesh, config)["failed"]
    nodes = config.extract.grid**3
    told = f"the decoded field is not finite at {nodes} of {nodes} nodes: no surface"
    assert report["told"] == told
    pipeline.tell("ball", report)
    pipeline.tell("ball", {"told": None})
    assert capsys.readouterr().err == f"ball: {told}\n"


def test_every_arrow_is_a_stage(sphere):
    item, *_, batch = sphere
    config, passed = toy_config(), []

    def stage(name):
        passed.append(name)
        return pipeline.untimed(name)

    surface, _ = pipeline.ceiling(item, batch, toys.identity(), config, stage)
    pipeline.reconstruct(batch, toys.identity(), PARAMS, config, stage)
    pipeline.score(surface, item.mesh, config, stage)
    assert passed == ["field", "polygonise", "encode", "decode", "field", "polygonise", "score"]


def test_the_ceiling_of_a_family_without_an_ideal_is_made_once_and_comes_back_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXJAX_CACHE", str(tmp_path))
    config, family = toy_config(), dataclasses.replace(toys.identity(), ideal=None)
    item = variants.item_of(shapes.torus(), "torus")
    config.extract.grid = 24
    first, report = pipeline.ceiling(item, {}, family, config)
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(sdf, "signed_distance", lambda *given: asked.append(given))
        again, told = pipeline.ceiling(item, {}, family, config)
    assert (asked, told) == ([], report)
    for mine, theirs in zip(first[:2], again[:2]):
        np.testing.assert_array_equal(mine, theirs)
    config.extract.grid = 20
    other, _ = pipeline.ceiling(item, {}, family, config)
    assert len(other.vertices) < len(first.vertices)
