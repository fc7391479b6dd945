"""The public interface, as the README shows it: lazily loaded, of meshes of any kind and units, from the run's folder alone."""

import copy
import functools
import json
import math
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
import trimesh

import hexjax
from configs.sweeps import collapse_cause
from hexjax import api
from hexjax import config as configuration
from hexjax.data import fields, meshfile, ply
from hexjax.geometry import blocks, distance, field, hexplane, hulls, isosurface
from hexjax.geometry import mesh as meshes
from hexjax.models import family as families
from hexjax.training import checkpoint, optimiser, step
from hexjax.types import Item
from tests import shapes

PUBLIC = ["Hexplane", "Latent", "Mesh", "Similarity", "extract", "load", "normalise", "render", "restore", "score",
          "to_source"]  # fmt: skip
TOY = {
    "hexplane.resolution_px": 16, "model.widths": (32,), "latent.side": 2, "latent.channels": 16, "extract.grid": 33,
    "optimiser.decay": "none", "optimiser.learning_rate": 3e-3, "data.up": "z", "latent.bits": 16,
    "latent.kind": "deterministic", "reconstruction.reduction": "mean", "train.batch_size": 1, "witness.classes": 0,
}  # fmt: skip
STEPS = 150
SIZE, PLACE = np.array([4.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])
FAR = np.array([500_000.0, 4_500_000.0, 300.0])  # as in UTM, in metres
TURNED = "100.0% of the faces turned to face outward"
ROOT = pathlib.Path(__file__).parent.parent


def source() -> hexjax.Mesh:
    """An ellipsoid whose sides differ, away from the origin: half its axes are SIZE, its centre PLACE."""
    ball = shapes.sphere(1.0, 3)
    return ball._replace(vertices=(ball.vertices * SIZE + PLACE).astype(np.float32))


def refused(text: str):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def warned(text: str):
    return pytest.warns(UserWarning, match=f"^{re.escape(text)}$")


@pytest.fixture(autouse=True)
def small_renders(monkeypatch):
    monkeypatch.setattr(distance, "RENDER_PX", 96)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("meshes") / "egg.obj"
    trimesh.Trimesh(source().vertices, source().faces, process=False).export(file)
    return file


def train(file, folder, **settings):
    """A run's folder with a small network that has learnt one z-up mesh; nothing else of a run is in it."""
    config = collapse_cause.get_config()
    config.update_from_flattened_dict(TOY | {key.replace("_", ".", 1): value for key, value in settings.items()})
    loaded = meshfile.load(file)
    item = Item("egg", loaded, *meshes.normalise(loaded, "z"))
    family = families.make(fields.spec(config, [item]), config)
    data = step.prepare(family, config, [item])
    adam, knobs = optimiser.make(config), families.knobs(config)
    state = jax.jit(step.make_init(family, adam, data.fixed))(data.cache, 0)
    advance = jax.jit(step.make_step(family.loss, adam, data.batch_at))
    for _ in range(STEPS):
        state, _ = advance(state, data.cache, knobs, 0)
    text = configuration.to_json(config)
    (folder / "config.json").write_text(text, encoding="utf-8")
    with checkpoint.Store(folder / "checkpoints", keep=1) as store:
        store.save(state, json.loads(text))
        store.wait()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, file):
    return train(file, tmp_path_factory.mktemp("run"), model_input="continuous", reconstruction_kind="channels")


@pytest.fixture(scope="module")
def run(folder):
    return hexjax.restore(folder)


@pytest.fixture(scope="module")
def hull(tmp_path_factory, file):
    """The run of a family that decodes silhouettes alone."""
    folder = tmp_path_factory.mktemp("hull")
    return hexjax.restore(train(file, folder, model_input="silhouettes", reconstruction_kind="bernoulli"))


def in_a_new_python(code: str, **environment: str) -> str:
    variables = os.environ | environment
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    return found.stdout.strip()


def test_importing_the_package_and_listing_it_loads_no_jax():
    heavy = "{'jax', 'numpy', 'flax', 'trimesh'} & set(sys.modules)"
    assert in_a_new_python(f"import sys, hexjax; dir(hexjax); hexjax.__version__; print({heavy})") == "set()"


def test_programs_are_kept_from_the_first_use_on(tmp_path):
    code = """if True:
        import os
        for name in [name for name in os.environ if name.startswith("JAX_")]:
            del os.environ[name]
        import jax, hexjax
        told = lambda: jax.config.jax_compilation_cache_dir
        before, nouns, verbs = told(), (hexjax.Mesh, told())[1], (hexjax.render, told())[1]
        print(before, nouns, verbs, jax.config.jax_persistent_cache_min_compile_time_secs)
    """
    found = in_a_new_python(code, XDG_CACHE_HOME=str(tmp_path))
    assert found == f"None None {tmp_path / 'hexjax' / 'xla'} 0.0"


def test_programs_are_kept_where_the_user_says_or_not_at_all_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = jax.config.jax_compilation_cache_dir
    try:
        for said in ("there", None):
            jax.config.update("jax_compilation_cache_dir", said)
            api.keep_programs.__wrapped__()
            assert jax.config.jax_compilation_cache_dir == said
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("home", ["nohome", ""])
def test_programs_are_not_kept_where_there_is_no_home_and_none_is_made(tmp_path, monkeypatch, home):
    monkeypatch.chdir(tmp_path)
    code = "import hexjax, jax; hexjax.load; print(jax.config.jax_compilation_cache_dir)"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert in_a_new_python(code, HOME=str(tmp_path / home) if home else "~") == "None"
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.filterwarnings("ignore:parts dropped:UserWarning")  # the model that comes with hexjax knows heads alone
def test_the_lines_of_the_readme_run_as_they_stand(file, capsys):
    """But for the name of the user's own file, and sizes that a test can wait for; the model comes with hexjax."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(block.splitlines()) <= 20
    assert 'hexjax.restore("ae_heads-small")' in block
    for given, real in (('"head.obj"', repr(str(file))), ("512", "32"), ("256", "33")):
        assert given in block
        block = block.replace(given, real)
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert "f_score_0.01" in capsys.readouterr().out
    assert {type(value).__name__ for value in names.values()} >= {
        "Ready",
        "Similarity",
        "Hexplane",
        "Latent",
        "Restored",
    }


FORMS = {
    "path": lambda folder, ball: export(folder / "ball.ply", ball),
    "text": lambda folder, ball: str(export(folder / "ball.ply", ball)),
    "trimesh": lambda folder, ball: trimesh.Trimesh(ball.vertices, ball.faces, process=False),
    "scene": lambda folder, ball: trimesh.Scene(trimesh.Trimesh(ball.vertices, ball.faces, process=False)),
    "mesh": lambda folder, ball: ball,
    "arrays": lambda folder, ball: (ball.vertices, ball.faces),
    "lists": lambda folder, ball: (ball.vertices.tolist(), ball.faces.tolist()),
    "jax": lambda folder, ball: (jax.numpy.asarray(ball.vertices), jax.numpy.asarray(ball.faces)),
    "soup": lambda folder, ball: (ball.vertices[ball.faces].reshape(-1, 3), np.arange(ball.faces.size).reshape(-1, 3)),
}


def export(path, mesh):
    path.write_bytes(ply.write(mesh))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_one_mesh_in_any_form_is_the_same_mesh(tmp_path, form):
    ball = source()
    found, expected = hexjax.load(FORMS[form](tmp_path, ball)), hexjax.load(ball)
    np.testing.assert_array_equal(found.vertices[found.faces], ball.vertices[ball.faces])
    if form != "soup":  # whose vertices have another order
        np.testing.assert_array_equal(found.vertices, expected.vertices)
    assert meshes.topology(found) == meshes.topology(ball)


def test_quads_rows_of_any_lengths_and_a_mirrored_scene_are_read():
    box = trimesh.creation.box()
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    for faces in (quads, np.array(quads), np.array(quads, np.uint8), [*quads[:5], (1, 5, 7), np.array([1, 7, 3])]):
        found = hexjax.load((corners, faces))
        assert meshes.topology(found)["watertight"]
        assert len(found.faces) == 12
    mirrored = trimesh.Scene()
    mirrored.add_geometry(box, transform=np.diag([1.0, 1.0, -2.0, 1.0]))
    mirrored.add_geometry(box, transform=trimesh.transformations.translation_matrix([3, 0, 0]))
    mirrored.add_geometry(trimesh.points.PointCloud(corners))
    found = hexjax.load(mirrored)  # without a warning: the mirror itself keeps the outside out
    assert meshes.topology(found)["components"] == 2
    np.testing.assert_allclose(found.vertices.max(0), [3.5, 0.5, 1])


def test_what_load_mends_is_told_in_a_line_once(tmp_path):
    ball = source()
    flipped = ball._replace(faces=ball.faces[:, ::-1])
    with warned(f"mesh: {TURNED}"):
        found = hexjax.load(flipped)
    assert meshes.topology(found) == meshes.topology(ball)
    np.testing.assert_array_equal(found.faces, ball.faces)
    with warned(f"flipped.ply: {TURNED}"):
        hexjax.load(export(tmp_path / "flipped.ply", flipped))
    doubled = ball._replace(faces=np.concatenate([ball.faces, ball.faces[:320]]))
    with warned("mesh: 20.0% of the faces dropped, doubled or collapsed"):
        assert len(hexjax.load(doubled).faces) == len(ball.faces)
    strip = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], [[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    with warned("mesh: the winding could not be made consistent; some normals may be flipped"):
        loaded = hexjax.load(strip)
    assert loaded.winding_doubtful
    assert hexjax.load(hexjax.Mesh(*loaded)).winding_doubtful  # what a mesh says of itself is not told again


def test_load_is_idempotent_and_a_changed_mesh_is_made_ready_again():
    once = hexjax.load(source())
    assert hexjax.load(once) is once
    again = hexjax.load(hexjax.Mesh(*once))
    np.testing.assert_array_equal(again.vertices, once.vertices)
    np.testing.assert_array_equal(again.faces, once.faces)
    with pytest.raises(ValueError, match="read-only"):
        once.vertices[0] = 0
    mirrored = once._replace(vertices=once.vertices * np.float32([-1, 1, 1]))
    with warned(f"mesh: {TURNED}"):
        hexjax.normalise(mirrored)
    ball = source()
    back = hexjax.to_source(ball, hexjax.normalise(ball)[1])
    with warned(f"mesh: {TURNED}"):
        hexjax.load(back._replace(faces=back.faces[:, ::-1]))
    assert (type(back), ball.faces.flags.writeable) == (hexjax.Mesh, True)  # what is the user's stays the user's
    for copied in (copy.deepcopy(once), pickle.loads(pickle.dumps(once))):
        np.testing.assert_array_equal(copied.vertices, once.vertices)


def test_a_mesh_made_ready_is_normalised_and_rendered_bit_for_bit_as_in_a_run(file):
    inside, framed = meshes.normalise(meshfile.load(file), "z"), hexjax.normalise(hexjax.load(file), "z")
    np.testing.assert_array_equal(framed[0].vertices, inside[0].vertices)
    maps = hexplane.render(inside[0], 32)
    for found, expected in zip(hexjax.render(framed[0], 32), maps):
        np.testing.assert_array_equal(found, expected)
    found = hexjax.extract(maps, 33)
    expected = isosurface.polygonise(blocks.grid(maps, 33), ask=functools.partial(jax.jit(field.fuse), maps))[0]
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    np.testing.assert_array_equal(found.faces, expected.faces)


KINDS = (
    "a path, a trimesh Trimesh, Scene or PointCloud, a hexjax.Mesh, a tuple of vertices [n, 3] and faces [f, 3], or points "
    "[n, 3]"
)
CORNERS = np.eye(3)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (7, f"mesh: is of type int; accepted: {KINDS}"),
        ([CORNERS, [[0, 1, 2]]], f"mesh: is of type list; accepted: {KINDS}"),
        ((CORNERS,), f"mesh: is of type tuple; accepted: {KINDS}"),
        (CORNERS[0], f"mesh: is of type ndarray; accepted: {KINDS}"),
        (CORNERS[:, :2], "mesh: vertices are float64 (3, 2); accepted: numbers (n, 3)"),
        (trimesh.Scene(), "mesh: has no faces (0 vertices)"),
        ((CORNERS[:0], []), "mesh: has no faces (0 vertices)"),
        (trimesh.points.PointCloud(CORNERS * 0), "mesh: its longest side is 0: all points are one point"),
        ((CORNERS[:, :2], [[0, 1, 2]]), "mesh: vertices are float64 (3, 2); accepted: numbers (n, 3)"),
        ((CORNERS == 0, [[0, 1, 2]]), "mesh: vertices are bool (3, 3); accepted: numbers (n, 3)"),
        ((CORNERS, [[0, 1, 3]]), "mesh: face 1 names vertex 3, but the vertices are 0 to 2"),
        ((CORNERS, [[0, 1, -1]]), "mesh: face 1 names vertex -1, but the vertices are 0 to 2"),
        ((CORNERS, [[0, 1]]), "mesh: face 1 has 2 corners, at least 3 are needed"),
        ((CORNERS, [[0.0, 1.0, 2.0]]),
         "mesh: faces are float64 (1, 3); accepted: whole numbers (f, 3), or rows of them"),
        ((CORNERS, [[0, 1, 2], [0.0, 1, 2, 1]]),
         "mesh: faces are object (2,); accepted: whole numbers (f, 3), or rows of them"),
        ((CORNERS, None), "mesh: faces are object (); accepted: whole numbers (f, 3), or rows of them"),
        ((CORNERS * math.nan, [[0, 1, 2]]), "mesh: 3 of 3 vertices used by faces are NaN or infinite"),
        ((CORNERS * 0, [[0, 1, 2]]), "mesh: its longest side is 0: all vertices used by faces are one point"),
        ((CORNERS[[0, 0, 1]], [[0, 1, 2]]), "mesh: no face has an area at a longest side of 1"),
        ((CORNERS + 1e17, [[0, 1, 2]]), "mesh: its longest side is 0: all vertices used by faces are one point"),
        ((1e-3 * CORNERS + 1e12, [[0, 1, 2]]),
         "mesh: float64 has steps of 0.000122 at coordinates up to 1e+12, too coarse for a longest side of 0.000977: move "
         "it to the origin"),
        ("nowhere/egg.obj", "egg.obj: no such file"),
        ("~/no such egg.obj", "no such egg.obj: no such file"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_mesh_is_refused_in_a_line_by_every_function(given, text, run):
    functions = (
        hexjax.load,
        hexjax.normalise,
        hexjax.render,
        lambda given: hexjax.to_source(given, run.normalise(source())[1]),
    )
    for function in functions if isinstance(given, list) else (*functions, run.encode, run.reconstruct):
        with refused(text):
            function(given)
    with refused(text):
        hexjax.score(source(), given) if text.startswith(("egg", "no such")) else hexjax.load(given)


@pytest.mark.parametrize("value", [1e6, 9e29])
def test_a_vertex_astray_is_told_in_a_line_and_breaks_nothing(value):
    ball = shapes.sphere(1.0, 3)
    ball.vertices[3, 1] = value
    told = "a few vertices far from the rest, which take up "
    with pytest.warns(UserWarning, match=f"^mesh: (.*; )?{told}[^ ]+ of its longest side$"):
        framed, similarity = hexjax.normalise(ball)
    assert np.isfinite(hexjax.to_source(framed, similarity).vertices).all()
    with warned("no surface on a grid of 33 nodes a side: parts thinner than its spacing, 0.062, vanish"):
        hexjax.extract(hexjax.render(framed, 32), 33)
    assert hexjax.score(framed, framed, samples=100)["f_score_0.005"] == 1
    assert math.isfinite(hexjax.score(shapes.sphere(1.0, 2), framed, samples=100)["cd_l1"])


def test_a_mesh_far_from_the_origin_keeps_its_shape_and_comes_back_to_its_place_in_double_precision(tmp_path):
    ball = shapes.sphere(1.0, 3)
    vertices = ball.vertices.astype(np.float64)
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in (vertices + FAR).tolist()]
    lines += ["f {} {} {}".format(*face) for face in (ball.faces + 1).tolist()]
    (tmp_path / "far.obj").write_text("\n".join(lines))
    near, back = hexjax.normalise(ball)[0], hexplane.render(meshes.normalise(ball)[0], 32)
    for given in ((vertices + FAR, ball.faces), tmp_path / "far.obj"):
        loaded = hexjax.load(given)
        assert loaded.vertices.dtype == np.float64
        np.testing.assert_allclose(loaded.vertices - FAR, vertices, atol=1e-8)
        np.testing.assert_array_equal(hexjax.load(hexjax.Mesh(*loaded)).vertices, loaded.vertices)
        framed, similarity = hexjax.normalise(loaded)
        assert similarity.translation.dtype == np.float64
        np.testing.assert_allclose(framed.vertices, near.vertices, atol=1e-7)
        there = hexjax.to_source(framed, similarity)
        assert there.vertices.dtype == np.float64
        np.testing.assert_allclose(there.vertices - FAR, vertices, atol=1e-6)
        np.testing.assert_array_equal(hexjax.render(framed, 32).mask, back.mask)
        assert hexjax.score(there, given, samples=500)["f_score_0.005"] == 1
    again = ply.read(ply.write(there))  # a file of it loses no digit
    np.testing.assert_array_equal(again.positions, there.vertices)


def test_flipped_cut_doubled_and_moved_copies_of_one_shape_reconstruct_to_the_same(run):
    egg = source()
    expected = run.reconstruct(egg)
    copies = {
        "flipped": (egg.vertices, egg.faces[:, ::-1]),
        "soup": (egg.vertices[egg.faces].reshape(-1, 3), np.arange(egg.faces.size).reshape(-1, 3)),
        "doubled": (egg.vertices, np.concatenate([egg.faces, egg.faces])),
        "moved": (egg.vertices.astype(np.float64) + FAR, egg.faces),
    }
    for name, given in copies.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = run.reconstruct(given)
        away = FAR if name == "moved" else 0
        assert hexjax.score((found.vertices - away, found.faces), expected, samples=500)["f_score_0.005"] == 1, name


def test_load_normalise_render_extract_and_back_to_the_source(file):
    loaded = hexjax.load(str(file))
    assert isinstance(loaded, hexjax.Mesh)
    assert not loaded.winding_doubtful
    framed, similarity = hexjax.normalise(loaded)
    np.testing.assert_allclose(np.abs(framed.vertices).max(0), 0.95 * SIZE / 4, rtol=1e-5)
    maps = hexjax.render(framed, resolution=64)
    assert (maps.depth.shape, maps.normal.shape, maps.mask.shape) == ((6, 64, 64), (6, 64, 64, 3), (6, 64, 64))
    surface = hexjax.extract(maps, grid=65)
    assert meshes.topology(surface) | {"vertices": 0, "faces": 0} == {
        "vertices": 0, "faces": 0, "components": 1, "euler": 2, "genus": 0, "non_manifold_edges": 0, "watertight": True,
    }  # fmt: skip
    back = hexjax.to_source(surface, similarity)
    np.testing.assert_allclose(back.vertices.min(0), PLACE - SIZE, atol=0.1)
    np.testing.assert_allclose(back.vertices.max(0), PLACE + SIZE, atol=0.1)
    np.testing.assert_allclose(hexjax.to_source(back, similarity.inverse()).vertices, surface.vertices, atol=1e-5)
    np.testing.assert_allclose(similarity.inverse().inverse().translation, similarity.translation, atol=1e-12)


def test_extract_drops_parts_that_are_too_small_and_says_so():
    parts = [shapes.sphere(0.6, 3), shapes.sphere(0.09, 2)]
    parts[1] = parts[1]._replace(vertices=parts[1].vertices + np.array([0.8, 0.8, 0.8], np.float32))
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([parts[0].faces, parts[1].faces + len(parts[0].vertices)])
    maps = hexjax.render(hexjax.Mesh(vertices, faces), 64)
    whole = hexjax.extract(maps, 65, 0.0)
    text = r"^parts dropped: \d, each below 0\.1 of the area \(min_part_share\), 0\.\d+ of it together$"
    with pytest.warns(UserWarning, match=text):
        kept = hexjax.extract(maps, 65, 0.1)
    assert meshes.topology(whole)["components"] > meshes.topology(kept)["components"] == 1


def test_a_shape_thinner_than_the_grid_and_the_pixels_comes_back_as_thin():
    plate = trimesh.creation.box((1.8, 1.2, 0.001))
    found = hexjax.extract(hexjax.render(plate, 32), 33)
    scores = hexjax.score(found, plate, samples=2000)
    assert (scores["watertight"], scores["components"], scores["euler"]) == (True, 1, 2)
    assert scores["f_score_0.02"] > 0.9


def test_a_shape_that_no_ray_meets_has_no_surface_and_that_is_told():
    needle = trimesh.creation.box((1.8, 0.001, 0.001))
    maps = hexjax.render(needle, 32)
    with warned("no surface on a grid of 33 nodes a side: parts thinner than its spacing, 0.062, vanish"):
        found = hexjax.extract(maps, 33)
    assert hexjax.score(found, needle, samples=100)["failed"]


def test_extract_of_silhouettes_is_their_hull_and_of_a_batch_a_list():
    maps = hexplane.render(shapes.sphere(0.7, 3), 32)
    outlines = hexjax.Hexplane(maps.depth * 0, maps.normal * 0, maps.mask)
    batch = hexjax.Hexplane(*(np.stack([np.asarray(a), np.asarray(b)]) for a, b in zip(maps, outlines)))
    ball, hull = hexjax.extract(batch, 33)
    assert hexjax.score(ball, shapes.sphere(0.7, 3), samples=2000)["v_iou"] > 0.95
    expected = isosurface.polygonise(hulls.grid(outlines, 33))[0]
    np.testing.assert_array_equal(hull.vertices, expected.vertices)
    unknown = outlines._replace(depth=maps.depth * np.nan, normal=maps.normal * np.nan)
    np.testing.assert_array_equal(hexjax.extract(unknown, 33).vertices, expected.vertices)


MAPS = hexjax.Hexplane(np.ones((6, 8, 8), np.float32), np.zeros((6, 8, 8, 3), np.float32), np.ones((6, 8, 8), bool))


@pytest.mark.parametrize(
    ("maps", "text"),
    [
        (MAPS, "the maps have depth and no normals; accepted: both, or neither (silhouettes)"),
        (np.zeros((9, 9, 9)),
         "extract got a ndarray; accepted: a Hexplane of six maps; of a latent: model.mesh(latent)"),
        (MAPS._replace(mask=MAPS.mask[:5]),
         "maps have the shapes (6, 8, 8), (6, 8, 8, 3), (5, 8, 8); accepted: (6, n, n), (6, n, n, 3), (6, n, n), or with a "
         "leading b"),
        (MAPS._replace(mask=MAPS.mask[0, 0]),
         "maps have the shapes (6, 8, 8), (6, 8, 8, 3), (8,); accepted: (6, n, n), (6, n, n, 3), (6, n, n), or with a "
         "leading b"),
    ],
    ids=["depth alone", "no maps", "five", "flat"],
)  # fmt: skip
def test_extract_refuses_what_it_cannot_fuse(maps, text):
    with refused(text):
        hexjax.extract(maps, 33)


@pytest.mark.parametrize("value", [1, 0, -9, 2.5, True, 10**6, None, "a", np.float64(64)], ids=str)
def test_sizes_are_whole_numbers_in_range(value):
    for name, limits, function in (
        ("grid", "8 to 2048", lambda value: hexjax.extract(MAPS, value)),
        ("resolution", "8 to 4096", lambda value: hexjax.render(source(), value)),
        ("samples", "1 to 2147483647", lambda value: hexjax.score(source(), source(), value)),
        ("seed", "0 to 2147483647", lambda value: hexjax.score(source(), source(), 5, value)),
    ):
        if name in ("grid", "resolution") or not (isinstance(value, int) and value is not True and value > 0):
            if name == "seed" and value == 0 and value is not False:
                continue
            with refused(f"{name} is {value!r}; accepted: a whole number from {limits}"):
                function(value)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, True, None, "a"], ids=str)
def test_the_share_of_small_parts_is_a_share(value):
    with refused(f"min_part_share is {value!r}; accepted: a number from 0 to 1"):
        hexjax.extract(MAPS, 33, value)


def test_whole_numbers_of_numpy_are_taken_and_long_values_cut():
    assert api.whole("grid", np.int64(16), 8, 2048) == 16
    with refused(f"grid is '{'x' * 59}…; accepted: a whole number from 8 to 2048"):
        api.whole("grid", "x" * 300, 8, 2048)


@pytest.mark.parametrize("value", [2.0, math.nan, math.inf], ids=str)
def test_render_refuses_what_leaves_the_cube(value):
    mesh = shapes.sphere(0.7, 1)
    mesh.vertices[3, 1] = value
    text = f"the mesh reaches {value:.4g} along an axis; render accepts [-1, 1]: normalise it first"
    with refused(text if value == 2 else "mesh: 1 of 42 vertices used by faces are NaN or infinite"):
        hexjax.render(mesh, 16)
    with refused(text):
        hexplane.render(mesh, 16)


def test_scores_in_source_units_are_those_of_the_frame():
    mesh = source()
    framed, similarity = hexjax.normalise(mesh)
    surface = hexjax.extract(hexjax.render(framed, 48), 49)
    inside = hexjax.score(surface, framed, samples=2000)
    outside = hexjax.score(hexjax.to_source(surface, similarity), mesh, samples=2000)
    assert outside.keys() == inside.keys()
    for name, value in inside.items():
        if isinstance(value, float):
            assert outside[name] == pytest.approx(value, abs=2e-3), name
        else:
            assert outside[name] == value, name
    assert inside["f_score_0.02"] > 0.9


@pytest.mark.parametrize(("scale", "move"), [(1e-6, 0.0), (8.0, 3.0), (1e5, 4.5e6)])
def test_scores_do_not_change_with_a_similarity_of_both_meshes(scale, move):
    pair = [shapes.sphere(1.3, 2), shapes.sphere(1.0, 2)]  # of which the one leaves the other's cube
    moved = [(mesh.vertices.astype(np.float64) * scale + move, mesh.faces) for mesh in pair]
    scores, others = hexjax.score(*pair, samples=1000), hexjax.score(*moved, samples=1000)
    for name, value in scores.items():
        assert others[name] == (pytest.approx(value, abs=5e-3) if isinstance(value, float) else value), name


def test_a_mesh_scores_all_but_perfectly_against_itself_in_any_units():
    scores = hexjax.score(source(), source(), samples=2000)
    assert scores["f_score_0.005"] == 1
    assert scores["cd_l1"] < 1e-6
    assert scores["v_iou"] == 1
    assert hexjax.score(source(), source(), samples=2000) == scores


def test_points_load_and_what_needs_a_surface_refuses_them_by_name(run, tmp_path):
    (tmp_path / "dots.xyz").write_text("0 0 0\n1 0 0\n0 2 0\n")
    given = {"mesh": trimesh.points.PointCloud(CORNERS), "dots.xyz": tmp_path / "dots.xyz"}
    for name, points in given.items():
        framed, similarity = hexjax.normalise(points)
        assert len(framed.faces) == 0
        np.testing.assert_allclose(
            hexjax.to_source(framed, similarity).vertices, hexjax.load(points).vertices, atol=1e-6
        )
        with refused(f"{name} is points without faces; accepted for render: meshes with faces"):
            hexjax.render(points)
        with refused(f"{name} is points without faces; accepted for a score: meshes with faces"):
            hexjax.score(points, source())
        for function in (run.encode, run.reconstruct):
            with refused("the shape is points without faces; accepted for the field depth: meshes with faces"):
                function(points)


def test_a_mesh_of_nothing_has_failed_and_one_out_of_all_proportion_is_refused():
    ball = shapes.sphere(1.0, 2)
    nothing = ball._replace(vertices=ball.vertices[:0], faces=ball.faces[:0])
    for empty in (nothing, trimesh.Trimesh(), trimesh.Scene(), (ball.vertices[:0], []), tuple(nothing[:2])):
        assert hexjax.score(empty, ball, samples=100)["failed"]
    with refused("reference is points without faces; accepted for a score: meshes with faces"):
        hexjax.score(ball, ball._replace(faces=ball.faces[:0]))
    with refused("mesh: faces are int64 (); accepted: whole numbers (f, 3), or rows of them"):
        hexjax.score((ball.vertices, np.array(5)), ball)
    with refused("mesh reaches 9.5e+11 in the frame of the reference; accepted: up to 1e+09"):
        hexjax.score(ball._replace(vertices=ball.vertices * np.float32(1e12)), ball)


def test_params_of_a_run_are_a_plain_tree_of_numpy_arrays(run):
    def walk(node):
        if type(node) is dict:
            return [leaf for key, child in node.items() for leaf in walk(child) if isinstance(key, str)]
        return [node]

    leaves = walk(run.params)
    assert run.step == STEPS
    assert len(leaves) == len(jax.tree.leaves(run.params)) > 4
    assert {type(leaf) for leaf in leaves} == {np.ndarray}


def test_a_run_encodes_and_decodes_meshes_in_any_units(run):
    latent = run.encode(source())
    decoded = run.decode(latent)
    assert isinstance(latent, hexjax.Latent)
    assert latent.code.shape == (4, 16)
    assert set(latent.statistics) == {"mean"}
    np.testing.assert_array_equal(latent.code, np.asarray(latent.code).astype(np.float16))  # latent.bits = 16
    assert isinstance(decoded, hexjax.Hexplane)
    assert (decoded.depth.shape, decoded.mask.shape) == ((6, 16, 16), (6, 16, 16))
    larger = source()._replace(vertices=source().vertices * 8)  # by a power of two: the same mesh in the frame
    np.testing.assert_array_equal(run.encode(larger).code, latent.code)


@pytest.mark.filterwarnings("ignore:parts dropped")
def test_a_batch_is_what_its_shapes_are_one_by_one(run, file):
    given = [source(), (shapes.torus().vertices, shapes.torus().faces), file]
    latents = run.encode(given)
    assert latents.code.shape == (3, 4, 16)
    maps, found, back = run.decode(latents), run.mesh(latents), run.reconstruct(given)
    assert maps.mask.shape == (3, 6, 16, 16)
    for i, mesh in enumerate(given):
        latent = run.encode(mesh)
        np.testing.assert_array_equal(latents.code[i], latent.code)
        np.testing.assert_array_equal(maps.mask[i], run.decode(latent).mask)
        np.testing.assert_array_equal(found[i].vertices, run.mesh(latent).vertices)
        np.testing.assert_array_equal(back[i].vertices, run.reconstruct(mesh).vertices)
    ways = [run.normalise(mesh)[1] for mesh in given]
    for each, expected in zip(run.mesh(latents, ways), back):
        np.testing.assert_array_equal(each.vertices, expected.vertices)
    first = run.mesh(latents, ways[0])
    np.testing.assert_array_equal(first[1].vertices, hexjax.to_source(found[1], ways[0]).vertices)


def test_a_latent_between_two_has_a_mesh_in_the_frame_and_in_the_units_of_either(run):
    one, other = run.encode(source()), run.encode(shapes.torus())
    between = hexjax.Latent((one.code + other.code) / 2, {})
    mesh = run.mesh(between, grid=17)
    assert np.abs(mesh.vertices).max() < 1
    assert len(mesh.faces) < len(run.mesh(between).faces)
    similarity = run.normalise(source())[1]
    np.testing.assert_array_equal(
        run.mesh(between, similarity, 17).vertices, hexjax.to_source(mesh, similarity).vertices
    )
    assert run.config.extract.grid == 33


def test_a_family_of_silhouettes_has_one_mesh_by_both_ways(hull):
    latent = hull.encode(source())
    found = hull.mesh(latent)
    np.testing.assert_array_equal(found.vertices, hexjax.extract(hull.decode(latent), 33).vertices)
    assert hexjax.score(hull.reconstruct(source()), source(), samples=1000)["v_iou"] > 0.8


def test_latents_similarities_and_grids_that_do_not_fit_are_refused(run):
    latent = run.encode(source())
    accepted = "accepted: a Latent of code [t, d] or [b, t, d] as encode gives it, t x d = 64 floats"
    for given, got in (
        (latent.code, f"a {type(latent.code).__name__}"),
        (hexjax.Latent(latent.code[:3], {}), "code (3, 16)"),
        (hexjax.Latent(latent.code[0], {}), "code (16,)"),
        (hexjax.Latent(latent.code[None][:0], {}), "code (0, 4, 16)"),
    ):
        for function in (run.mesh, run.decode):
            with refused(f"latent is {got}; {accepted}"):
                function(given)
    with refused("got 2 similarities for 1 latents; accepted: one, or one for each"):
        run.mesh(latent, [run.normalise(source())[1]] * 2)
    with refused("grid is 1; accepted: a whole number from 8 to 2048"):
        run.mesh(latent, grid=1)
    with refused("got an empty list; accepted: a mesh or a latent, or a list of at least one"):
        run.encode([])


def test_a_model_without_a_surface_says_so(run):
    nothing = run._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, run.params))
    with warned("the decoded field is not finite at 35937 of 35937 nodes: no surface"):
        assert len(nothing.mesh(run.encode(source())).faces) == 0


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


def test_a_model_is_pickled_and_copied_and_its_name_is_a_line(run):
    expected = run.encode(source()).code
    for model in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        np.testing.assert_array_equal(model.encode(source()).code, expected)
        assert model.step == run.step
        assert model.config.to_dict() == run.config.to_dict()
    parameters = sum(leaf.size for leaf in jax.tree.leaves(run.params))
    assert repr(run) == f"Restored(hexplane_mlp, {parameters:,} parameters, step {STEPS}, 64 latent floats)"


def test_restore_refuses_what_is_no_run_in_a_line(tmp_path, folder, monkeypatch):
    accepted = "accepted: the folder of a run, as its training names it, or 'ae_heads-small'"
    (tmp_path / "file").write_text("")
    for place, reason in (("nowhere", "is not there"), ("file", "is a file"), ("", "has no config.json")):
        place = str(tmp_path / place)
        with refused(f"{place!r} {reason}; {accepted}"):
            hexjax.restore(place)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(checkpoint.CheckpointError, match=f"^{tmp_path.name} holds no checkpoints$"):
        hexjax.restore(tmp_path)
    monkeypatch.setenv("HOME", str(folder.parent))
    assert hexjax.restore(f"~/{folder.name}").step == STEPS


def test_a_folder_that_cannot_be_written_to_is_restored(folder, tmp_path):
    copied = pathlib.Path(shutil.copytree(folder, tmp_path / "run"))
    places = [copied, *copied.rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    before = sorted((str(place), place.stat().st_mtime_ns) for place in places)
    assert hexjax.restore(copied).step == STEPS
    assert sorted((str(place), place.stat().st_mtime_ns) for place in [copied, *copied.rglob("*")]) == before
