"""What a page is told: of twins, and of no run; and that each stream is what its key says."""

import shutil

import numpy as np
import pytest

from hexjax import command, pipeline
from hexjax import config as configuration
from hexjax.data import meshfile, sources
from hexjax.evaluation import plans
from hexjax.training import checkpoint
from hexjax.viewer import contents
from tests.viewer import twins


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return twins.shared(tmp_path_factory)


@pytest.fixture(scope="module")
def page(folders):
    return twins.contents_of(folders)


def stages_of(page, key):
    return [one for one in page.messages(key) if one.stage != "progress"]


def test_the_index_of_twins_tells_each_by_its_input_with_its_verdict_and_the_study(page):
    found = page.index()
    runs = found["runs"]
    assert [run["label"] for run in runs] == ["CONTINUOUS", "BINARY"]
    assert [run["steps"] for run in runs] == [[20, 40, 60]] * 2
    assert [run["verdict"]["name"] for run in runs][1] == "EXPLODED"
    assert "failed in all of about five runs" in runs[1]["study"]
    assert [curve["name"] for curve in runs[0]["curves"]] == ["loss", "validation.loss"]
    assert [each["step"] for each in runs[0]["verdicts"]] == [0, 20, 40, 60]
    directions = {"count": 2, "share": None, "of": "training", "values": None, "together": True}
    assert runs[0]["directions"] == directions
    assert [run["draws"] for run in runs] == [0, contents.DRAWS]
    assert [run["parts"] for run in runs] == [["train"] * 3] * 2


def test_a_run_alone_is_told_by_its_folder_and_no_study_beside_it(folders):
    run = twins.contents_of(folders[:1]).index()["runs"][0]
    assert (run["label"], run["study"], run["state"]) == ("continuous", "", "done")


def test_the_stages_of_a_shape_come_in_the_order_of_the_path(page):
    assert [(one.stage, one.told.get("role")) for one in stages_of(page, "input/1")] == [("mesh", "input")]
    seen = [(one.stage, one.told["role"]) for one in stages_of(page, "seen/0/1")]
    assert seen == [("maps", "seen"), ("mesh", "ceiling"), ("scores", "ceiling")]
    made = [(one.stage, one.told["role"]) for one in stages_of(page, "made/0/60/1")]
    assert made == [("code", "latent"), ("maps", "decoded"), ("mesh", "made"), ("scores", "made")]


def test_a_binary_run_shows_silhouettes_alone(page):
    kinds = lambda key: next(one.told["kinds"] for one in stages_of(page, key) if one.stage == "maps")
    assert kinds("seen/0/0") == kinds("made/0/60/0") == ["depth", "normals", "mask"]
    assert kinds("seen/1/0") == kinds("made/1/60/0") == ["mask"]


def test_a_reconstruction_is_that_of_the_path_with_its_scores(page, folders):
    mesh, scores = stages_of(page, "made/0/60/2")[-2:]
    run, item = page.runs[0], page.items[2]
    params = checkpoint.restore_params(folders[0])[0]
    batch = pipeline.observe(item, run.family, run.config)
    expected = pipeline.reconstruct(batch, run.family, params, run.config)[0]
    np.testing.assert_array_equal(mesh.arrays["vertices"], expected.vertices)
    np.testing.assert_array_equal(mesh.arrays["faces"], expected.faces)
    assert len(mesh.arrays["error"]) == len(expected.vertices)
    found = pipeline.score(expected, item.mesh, run.config)
    assert {row["name"]: row["value"] for row in scores.told["rows"]}["CD-L1"] == pytest.approx(found["cd_l1"])


def test_the_way_back_leads_to_the_source(page):
    told = stages_of(page, "input/0")[0]
    matrix = np.reshape(told.told["to_source"], (4, 4))
    back = told.arrays["vertices"] @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(back, page.items[0].source.vertices, atol=1e-5)


def test_earlier_steps_are_other_networks(page):
    codes = [stages_of(page, f"made/0/{step}/0")[0].arrays["code"] for step in (20, 40, 60)]
    assert not np.allclose(codes[0], codes[1])
    assert not np.allclose(codes[1], codes[2])


def test_between_two_shapes_the_latent_goes_straight(page):
    ends = [stages_of(page, f"made/0/60/{shape}")[0].arrays["code"] for shape in (0, 2)]
    for share in ("0.000", "0.250", "1.000"):
        code = stages_of(page, f"between/0/60/0/2/{share}")[0].arrays["code"]
        np.testing.assert_allclose(code, ends[0] + float(share) * (ends[1] - ends[0]), atol=1e-5)


def test_principal_directions_span_the_training_latents_and_hold_their_variance(page):
    codes = np.stack([stages_of(page, f"made/0/60/{shape}")[0].arrays["code"].ravel() for shape in range(3)])
    mean = codes.mean(0)
    zero, one, other = (
        stages_of(page, f"direction/0/60/{each}")[0].arrays["code"].ravel()
        for each in ("0.0,0.0", "1.0,0.0", "0.0,1.0")
    )
    np.testing.assert_allclose(zero, mean, atol=1e-4)
    axes = np.stack([one - mean, other - mean])
    assert abs(np.vdot(*axes)) < 1e-2 * np.linalg.norm(axes[0]) * np.linalg.norm(axes[1])
    assert (axes**2).sum() == pytest.approx(codes.var(0, ddof=1).sum(), rel=1e-3)
    share = page.index()["runs"][0]["directions"]["share"]
    assert share == sorted(share, reverse=True)
    assert sum(share) == pytest.approx(1)


def test_directions_are_of_the_training_shapes_whichever_are_shown(page, folders):
    items = page.items
    few = contents.Contents([contents.open_run(folders[0], page.runs[0].config, items[:1], items)], items[:1])
    key = "direction/0/60/1.0,-1.0"
    np.testing.assert_allclose(*(stages_of(each, key)[0].arrays["code"] for each in (page, few)), atol=1e-5)
    new = sources.items("", "solids", "y", 5, 1)[3:]
    other = contents.Contents([contents.open_run(folders[0], page.runs[0].config, new)], new)
    assert other.index()["runs"][0]["directions"]["of"] == "shown"
    assert other.index()["runs"][0]["parts"] == ["new", "new"]


def test_a_draw_is_the_sample_of_its_number(page, folders, tmp_path):
    shutil.copytree(folders[1], tmp_path / "run")
    assert command.main([f"--workdir={tmp_path}/run", "--mode=sample", "--config.sample.count=3"]) == 0
    for number in range(3):
        mesh = stages_of(page, f"draw/1/60/{number}")[-1].arrays
        drawn = tmp_path / "run" / "meshes" / f"sample_{number:02d}.ply"
        if len(mesh["faces"]):
            np.testing.assert_allclose(meshfile.inspect(drawn)[0].vertices.max(0), mesh["vertices"].max(0), atol=1e-5)


def test_a_run_that_trains_on_or_has_no_checkpoint_says_so(page, folders, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(contents.lock, "is_held", lambda folder: folder == folders[0])
        assert [run["state"] for run in page.index()["runs"]] == ["training", "done"]
    shutil.copytree(folders[0], tmp_path / "run", ignore=shutil.ignore_patterns("[0-9]*"))
    run = twins.contents_of([tmp_path / "run"]).index()["runs"][0]
    assert (run["state"], run["steps"], run["between"], run["directions"]) == ("empty", [], None, None)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "input",
        "input/x",
        "input/../1",
        "seen/0",
        "made/0/60/0/0",
        "between/0/60/0/1/x",
        "between/0/60/0/1/1.1",
        "made/0/60/9",
        "seen/2/0",
        "direction/0/60/10.0",
        "run/0",
    ],
)
def test_a_key_that_nothing_stands_under_is_no_key(page, key):
    with pytest.raises(LookupError):
        page.messages(key)


def test_without_a_run_there_are_maps_and_their_ceiling():
    config = configuration.parse(["--mode=view", "--config.extract.grid=24", "--config.score.samples=100"]).config
    items = sources.items("", "solids", "y", 1, 0)
    page = contents.Contents([contents.open_run(None, config, items)], items)
    run = page.index()["runs"][0]
    assert (run["state"], run["steps"], run["verdict"], run["curves"]) == ("none", [], None, [])
    assert [one.stage for one in stages_of(page, "seen/0/0")] == ["maps", "mesh", "scores"]


def test_a_page_shows_what_is_held_out_first(folders):
    config = configuration.load(folders[0])
    items = sources.items("", "solids", "y", 4, 0)
    assert [item.name for item in plans.shown(items, config, None, 2)] == [item.name for item in items[:2]]
    assert len(plans.shown(items, config, folders[0])) == 4
