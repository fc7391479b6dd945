"""The seam: families that read no maps, in one file and one config each, through every mode, and no shared file touched."""

import json
import pathlib
import pickle

import numpy as np
import pytest
import trimesh

import hexjax.models
from configs import ae_continuous
from hexjax import command, rules, types
from hexjax import config as configuration
from hexjax.data import ply, sources
from hexjax.evaluation import restore
from hexjax.training import step
from hexjax.viewer import contents
from tests import shapes

HERE = pathlib.Path(__file__).parent / "throwaway"
FAMILIES = ("points_ae", "code_table", "drawer")


@pytest.fixture(scope="module", autouse=True)
def found():
    """The throw-away families stand where families are looked for."""
    before = hexjax.models.__path__
    hexjax.models.__path__ = [*before, str(HERE / "families")]
    yield
    hexjax.models.__path__ = before


def launch(name, folder, *more):
    return command.main([f"--config={HERE}/configs/{name}.py", f"--workdir={folder}", *more])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run of each family; the drawer stands on the points'."""
    root = tmp_path_factory.mktemp("runs")
    for name in FAMILIES:
        more = [f"--config.latents.run={root}/points_ae"] if name == "drawer" else []
        assert launch(name, root / name, *more) == 0
    return root


def test_families_are_found_by_their_files():
    assert set(FAMILIES) < set(rules.families())


@pytest.mark.parametrize("name", FAMILIES[::-1])  # the drawer before its parent goes on
def test_a_run_goes_on_and_knows_what_it_was_made_for(runs, name, capsys):
    assert command.main([f"--workdir={runs / name}", "--config.train.steps=5"]) == 0
    assert json.loads((runs / name / "spec.json").read_text())["shapes"] == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_other_modes_work_or_say_in_a_line_what_they_cannot(runs, name, capsys):
    cannot = {"points_ae": "sample", "code_table": "sample", "drawer": "encode"}[name]
    does = {"sample": "draws nothing", "encode": "encodes nothing"}[cannot]
    for mode in ("encode", "sample"):
        code, told = command.main([f"--workdir={runs / name}", f"--mode={mode}"]), capsys.readouterr().err
        assert code == (2 if mode == cannot else 0), told
        assert (f"config.model.family is '{name}', which {does}" in told.splitlines()[-1]) == (mode == cannot)


def test_a_parent_that_was_trained_on_since_is_refused_and_the_copy_still_draws(runs, capsys):
    command.main([f"--workdir={runs}/points_ae", "--config.train.steps=6"])
    assert command.main([f"--workdir={runs}/drawer", "--config.train.steps=7"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"config.latents.run is '{runs}/points_ae', whose digest is " in told
    assert "; accepted: the run as it was, or a new --workdir" in told
    assert command.main([f"--workdir={runs}/drawer", "--mode=sample"]) == 0


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder of a mesh and a file of points."""
    folder = tmp_path_factory.mktemp("mixed")
    torus = shapes.torus()
    (folder / "torus.ply").write_bytes(ply.write(torus))
    np.savetxt(folder / "dots.xyz", torus.vertices)
    return folder


def test_points_are_encoded_beside_meshes_where_no_field_needs_faces(runs, mixed, capsys):
    given = ["--mode=encode", f"--config.data.path={mixed}", "--config.data.count=0"]
    assert command.main([f"--workdir={runs}/points_ae", *given]) == 0
    codes = [np.load(runs / "points_ae" / "latents" / f"{name}.npz")["code"] for name in ("dots", "torus")]
    assert codes[0].shape == codes[1].shape == (1, 8)
    assert command.main([f"--workdir={runs}/code_table", *given]) == 0
    told = "left out, as they are points without faces, and the family reads 'points' of meshes with faces: dots"
    assert told in capsys.readouterr().err.splitlines()
    there = [(runs / "code_table" / "latents" / f"{name}.npz").exists() for name in ("dots", "torus")]
    assert there == [False, True]


@pytest.mark.parametrize(
    ("config", "field", "mode"),
    [(f"{HERE}/configs/points_ae.py", "points", mode) for mode in ("train", "ceiling")]
    + [("ae_continuous.py:small", "mask", "train")],
)
def test_a_training_on_points_alone_names_them_where_a_field_needs_faces(mixed, tmp_path, capsys, config, field, mode):
    more = "--config.train.batch_size=1"
    given = [
        f"--config={config}",
        more,
        f"--config.data.path={mixed}/dots.xyz",
        "--config.data.count=0",
        f"--mode={mode}",
    ]
    assert command.main([*given, f"--workdir={tmp_path}/run"]) == 2
    given = "these data give: item, surface, salient, as dots is points without faces"
    told = f"the family of config.model.family reads {field!r}; {given}"
    assert capsys.readouterr().err.splitlines()[-1].endswith(told)
    assert not (tmp_path / "run").exists()


def test_a_restored_run_encodes_points_from_wherever(runs, mixed):
    model, points = restore.restore(runs / "points_ae"), shapes.torus().vertices
    codes = [
        model.encode(given).code for given in (mixed / "dots.xyz", trimesh.PointCloud(points), (points, []), points)
    ]
    for code in codes:
        np.testing.assert_allclose(code, codes[0], atol=1e-5)
    assert isinstance(model.reconstruct(points, grid=12), types.Mesh)


def test_a_restored_run_encodes_and_meshes_shapes_that_it_has_not_seen(runs):
    for name in ("points_ae", "code_table"):
        model = restore.restore(runs / name)
        mesh = shapes.torus()
        latent = model.encode(mesh)
        assert latent.code.shape == (1, 8)
        np.testing.assert_array_equal(latent.code, pickle.loads(pickle.dumps(model)).encode(mesh).code)
        assert isinstance(model.mesh(latent, grid=12), types.Mesh)


def test_points_among_meshes_are_left_out_of_a_family_of_maps_and_told(mixed, capsys):
    config = ae_continuous.get_config("small")
    config.data.path, config.data.count = str(mixed), 0
    loaded = step.load(config, "ceiling")
    assert ([item.name for item in loaded.items], loaded.split.train) == (["torus"], (0,))
    told = "left out, as they are points without faces, and the family reads 'depth' of meshes with faces: dots"
    assert capsys.readouterr().err.splitlines()[-1] == told


def page_of(runs, name):
    """What a page is told of the run of a family, of the shapes it was trained on."""
    config = configuration.load(runs / name)
    data = configuration.load(runs / "points_ae").data
    items = sources.items("", data.source, "y", data.count, 0)
    page = contents.Contents([contents.open_run(runs / name, config, items)], items)
    stages = lambda key: [one for one in page.messages(key) if one.stage != "progress"]
    return page.index()["runs"][0], stages


@pytest.mark.parametrize("name", ["points_ae", "code_table"])
def test_a_page_shows_of_a_family_without_maps_what_it_sees_and_its_code(runs, name):
    run, stages = page_of(runs, name)
    seen = stages("seen/0/0")
    assert [one.stage for one in seen] == ["points", "mesh", "scores"]
    assert seen[0].arrays["points"].shape[1:] == (3,)
    assert [one.stage for one in stages(f"made/0/{run['steps'][-1]}/1")] == ["code", "mesh", "scores"]


def test_a_page_offers_of_a_family_that_only_draws_its_draws(runs, tmp_path):
    run, stages = page_of(runs, "drawer")
    assert (run["between"], run["directions"], run["draws"]) == (None, None, contents.DRAWS)
    assert [one.stage for one in stages(f"draw/0/{run['steps'][-1]}/0")] == ["code", "mesh"]
    with pytest.raises(ValueError, match=r"^the family drawer encodes nothing: it draws$"):
        stages(f"made/0/{run['steps'][-1]}/0")
    assert command.main([f"--workdir={runs}/drawer", "--mode=export", f"--out={tmp_path}/drawer.html"]) == 0
    assert 'data-key="draw/0/' in (tmp_path / "drawer.html").read_text()


@pytest.mark.slow
def test_a_parent_with_a_split_gives_the_latents_of_its_training_shapes(tmp_path):
    given = ["--config.data.count=4", "--config.data.split=(0.5,0.25,0.25)", "--config.evaluate.baselines=false"]
    assert launch("points_ae", tmp_path / "parent", *given) == 0
    assert launch("drawer", tmp_path / "child", f"--config.latents.run={tmp_path}/parent") == 0
    assert json.loads((tmp_path / "child" / "spec.json").read_text())["shapes"] == 2
