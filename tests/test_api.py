"""The public interface, as the README shows it: lazily loaded, in any units, from the run's folder alone."""

import math
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import trimesh

import hexjax
import launch
from hexjax import config as configuration
from hexjax.evaluation import export
from hexjax.geometry import mesh as meshes
from hexjax.training import step
from tests import shapes

PUBLIC = ["Hexplane", "Latent", "Mesh", "Similarity", "extract", "load", "normalise", "render", "restore", "score"]
TOY = {
    "hexplane.resolution_px": 16, "model.stem_px": 4, "model.widths": (16, 32), "model.mixer_side": 2,
    "model.mixer_width": 32, "model.mixer_blocks": 1, "model.mixer_heads": 2, "latent.side": 2,
    "latent.channels": 16, "sdf.weight": 0.0, "extract.grid": 33, "score.samples": 500, "train.steps": 200,
    "optimiser.decay": "none", "validate.every_steps": 0, "data.up": "z", "latent.bits": 16,
}  # fmt: skip
SIZE, PLACE = np.array([4.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])


def source() -> hexjax.Mesh:
    """An ellipsoid whose sides differ, away from the origin: half its axes are SIZE, its centre PLACE."""
    ball = shapes.sphere(1.0, 3)
    return ball._replace(vertices=(ball.vertices * SIZE + PLACE).astype(np.float32))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("meshes") / "egg.obj"
    trimesh.Trimesh(source().vertices, source().faces, process=False).export(file)
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory, file):
    """A run that has learnt one z-up mesh, restored from its folder."""
    folder = tmp_path_factory.mktemp("run")
    toy = [f"--config.{key}={value}" for key, value in TOY.items()]
    command = configuration.parse(
        ["--config=configs/ae_continuous.py:small", *toy, f"--config.data.path={file}", f"--workdir={folder}"]
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("shape", "history"):  # no pictures: they are slow, and other tests look at them
            patch.setattr(export, name, lambda *arguments: None)
        assert launch.run(command, *step.load(command.config, command.mode)) == configuration.DONE
    return hexjax.restore(folder)


def in_a_new_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_and_listing_it_loads_no_jax():
    heavy = "{'jax', 'numpy', 'flax', 'trimesh'} & set(sys.modules)"
    assert in_a_new_python(f"import sys, hexjax; dir(hexjax); hexjax.__version__; print({heavy})") == "set()"


def test_names_are_loaded_on_first_use():
    assert in_a_new_python("import hexjax; print(hexjax.Mesh.__name__, callable(hexjax.load))") == "Mesh True"


def test_the_public_names_are_those_of_the_readme_and_each_has_a_docstring():
    assert hexjax.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(hexjax))
    for name in PUBLIC:
        assert getattr(hexjax, name).__doc__


def test_an_unknown_name_is_refused_with_those_that_exist():
    text = f"module 'hexjax' has no attribute 'scores'; it has: {', '.join(PUBLIC)}"
    with pytest.raises(AttributeError, match=f"^{re.escape(text)}$"):
        hexjax.scores  # noqa: B018
    assert not hasattr(hexjax, "encode")


def test_load_normalise_render_extract_and_back_to_the_source(file):
    loaded = hexjax.load(str(file))
    assert isinstance(loaded, hexjax.Mesh)
    assert not loaded.winding_doubtful
    framed, similarity = hexjax.normalise(loaded)
    np.testing.assert_allclose(np.abs(framed.vertices).max(0), 0.95 * SIZE / 4, rtol=1e-5)
    hexplane = hexjax.render(framed, resolution=64)
    assert (hexplane.depth.shape, hexplane.normal.shape, hexplane.mask.shape) == (
        (6, 64, 64),
        (6, 64, 64, 3),
        (6, 64, 64),
    )
    surface = hexjax.extract(hexplane, grid=65)
    assert meshes.topology(surface) | {"vertices": 0, "faces": 0} == {
        "vertices": 0, "faces": 0, "components": 1, "euler": 2, "non_manifold_edges": 0, "watertight": True,
    }  # fmt: skip
    back = meshes.to_source(surface, similarity)
    np.testing.assert_allclose(back.vertices.min(0), PLACE - SIZE, atol=0.1)
    np.testing.assert_allclose(back.vertices.max(0), PLACE + SIZE, atol=0.1)


def test_extract_drops_parts_that_are_too_small():
    parts = [shapes.sphere(0.6, 3), shapes.sphere(0.09, 2)]
    parts[1] = parts[1]._replace(vertices=parts[1].vertices + np.array([0.8, 0.8, 0.8], np.float32))
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([parts[0].faces, parts[1].faces + len(parts[0].vertices)])
    hexplane = hexjax.render(hexjax.Mesh(vertices, faces), 64)
    counts = [meshes.topology(hexjax.extract(hexplane, 65, share))["components"] for share in (0.0, 0.1)]
    assert counts[0] > counts[1] == 1


@pytest.mark.parametrize("value", [2.0, math.nan, math.inf], ids=str)
def test_render_refuses_what_leaves_the_cube(value):
    mesh = shapes.sphere(0.7, 1)
    mesh.vertices[3, 1] = value
    text = f"the mesh reaches {value:.4g} along an axis; render accepts [-1, 1]: normalise it first"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        hexjax.render(mesh, 16)


def test_scores_in_source_units_are_those_of_the_frame():
    mesh = source()
    framed, similarity = hexjax.normalise(mesh)
    surface = hexjax.extract(hexjax.render(framed, 48), 49)
    inside = hexjax.score(surface, framed, samples=2000)
    outside = hexjax.score(meshes.to_source(surface, similarity), mesh, samples=2000)
    assert outside.keys() == inside.keys()
    for name, value in inside.items():
        if isinstance(value, float):
            assert outside[name] == pytest.approx(value, abs=2e-3), name
        else:
            assert outside[name] == value, name
    assert inside["f_score_0.02"] > 0.9


def test_a_mesh_scores_all_but_perfectly_against_itself_in_any_units():
    scores = hexjax.score(source(), source(), samples=2000)
    assert scores["f_score_0.005"] == 1
    assert scores["cd_l1"] < 1e-6
    assert scores["v_iou"] == 1
    assert hexjax.score(source(), source(), samples=2000) == scores


def test_params_of_a_run_are_a_plain_tree_of_numpy_arrays(run):
    def walk(node):
        if type(node) is dict:
            return [leaf for key, child in node.items() for leaf in walk(child) if isinstance(key, str)]
        return [node]

    leaves = walk(run.params)
    assert run.step == TOY["train.steps"]
    assert len(leaves) == len(jax.tree.leaves(run.params)) > 10
    assert {type(leaf) for leaf in leaves} == {np.ndarray}


def test_a_run_encodes_and_decodes_meshes_in_any_units(run):
    latent = run.encode(source())
    decoded = run.decode(latent)
    assert isinstance(latent, hexjax.Latent)
    assert latent.code.shape == (1, 6 * 2 * 2, 16)
    assert set(latent.statistics) == {"mean"}
    np.testing.assert_array_equal(latent.code, np.asarray(latent.code).astype(np.float16))  # latent.bits = 16
    assert isinstance(decoded, hexjax.Hexplane)
    assert (decoded.depth.shape, decoded.mask.shape) == ((6, 16, 16), (6, 16, 16))
    larger = source()._replace(vertices=source().vertices * 8)  # by a power of two: the same mesh in the frame
    np.testing.assert_array_equal(run.encode(larger).code, latent.code)


def test_a_run_reconstructs_in_the_units_and_orientation_of_the_source(run):
    found = run.reconstruct(source())
    assert meshes.topology(found)["watertight"]
    np.testing.assert_allclose(found.vertices.min(0), PLACE - SIZE, atol=0.4)  # half a pixel is 0.26
    np.testing.assert_allclose(found.vertices.max(0), PLACE + SIZE, atol=0.4)


def test_a_y_up_source_comes_back_as_the_z_up_one_turned(run):
    config = run.config.copy_and_resolve_references()
    config.data.up = "y"
    turned = shapes.turned(source(), meshes.UP_ROTATIONS["z"])
    found, expected = run._replace(config=config).reconstruct(turned), run.reconstruct(source())
    np.testing.assert_array_equal(found.faces, expected.faces)
    np.testing.assert_allclose(found.vertices, shapes.turned(expected, meshes.UP_ROTATIONS["z"]).vertices, atol=1e-4)
