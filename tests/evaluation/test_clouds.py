"""What a run makes of clouds, of a family that takes a ball's radius for all it sees, so that its scores are known."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from hexjax import names, pipeline
from hexjax.data import fields, sources
from hexjax.evaluation import clouds, moved, studied
from hexjax.geometry import distance
from hexjax.models import family as families
from hexjax.models import vecset
from hexjax.types import Item, Latent, Layout, Mesh, Size
from tests import shapes
from tests import toys as variants
from tests.evaluation import toys

TOKENS, RADIUS = 300, 0.95


def encode(params, batch, key, knobs=None):
    if batch["surface"].shape[1] < TOKENS:
        raise ValueError(f"points are {batch['surface'].shape[1]}; accepted: at least {TOKENS}")
    code = params["scale"] * jnp.linalg.norm(batch["surface"], axis=-1).mean(1)[:, None, None]
    return Latent(code, {"mean": code})


BALLS = dataclasses.replace(
    toys.identity(), sees=("surface",), encode=encode, layout=Layout("set", TOKENS, 1), size=lambda latent: Size(1, 32),
    decode=lambda params, latent: latent.code[:, 0, 0], grid=None, ideal=None, probe=None,
    field=lambda params, radius, points: jnp.linalg.norm(points, axis=-1) - radius,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run of balls, one of them trained on, and its family found where it is asked for."""
    config, items = toys.config(), [toys.item(name) for name in ("one", "two", "three")]
    config.surface.points = 1024
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "get", lambda name: lambda spec, config, parents: BALLS)
        patch.setattr(sources, "items", lambda *_: items)
        yield toys.write_run(tmp_path_factory.mktemp("runs") / "run", config, {"scale": np.float32(1)}, items)


@pytest.fixture(scope="module")
def found(folder):
    return clouds.study(folder)


def test_a_ball_comes_back_of_its_clouds_of_noisy_ones_and_of_one_side(found):
    assert [row["name"] for row in found["items"]] == ["two", "three"]
    assert found["mesh"] > 0.98
    assert all(value > 0.97 for count, value in found["counts"].items() if int(count) >= TOKENS)
    assert min(found["noise"].values()) > 0.97
    assert 0.97 < found["scans"]["least"] <= found["scans"]["mean"]
    assert found["draws"]["deviation"] <= found["draws"]["range"] < 0.01
    assert len(found["items"][0]["scans"]) == clouds.VIEWS
    assert len(found["items"][0]["draws"]) == clouds.DRAWS


def test_fewer_points_than_tokens_are_told_as_refused(found):
    text = "points are 256; accepted: at least 300"
    assert (found["refused"], found["counts"]["256"]) == ({"256": text}, None)
    told = clouds.clouds_table([found])
    assert "| refused | " in told
    assert f"run refuses 256 points: {text}." in told


def test_the_order_of_the_points_changes_nothing_and_copies_of_all_of_them_neither(found):
    assert found["difference"]["permuted"] <= clouds.SAME
    assert found["difference"]["doubled"] <= clouds.SAME
    assert 0 < found["difference"]["half_doubled"] < 0.01
    assert "(yes)" in clouds.laws_table([found])


def test_a_ball_is_the_same_turned_and_one_that_is_shifted_is_not_found_where_the_family_has_it(found):
    told = {name: row["mean"] for name, row in found["moved"].items()}
    assert all(told[f"turned by {degrees}°"] > 0.97 for degrees in moved.TURNS)
    assert told["shifted by 0.1"] < told["shifted by 0.05"] < told["turned by 90°"] - 0.02  # it stays at the centre
    assert found["moved"]["shifted by 0.1"]["interval"][1] < 0
    line = clouds.TABLES["moved"]([found, {"run": "before", "shapes": 2}])
    assert "| no |" in line
    assert "| before | 2 | – |" in line


def test_a_family_that_moves_with_its_cloud_is_not_refuted():
    random = np.random.default_rng(0)
    box, cloud = np.array([0.5, 0.4, 0.3]), random.uniform(-1, 1, (900, 3)) * [0.5, 0.4, 0.3]
    places = random.uniform(-1, 1, (4000, 3))
    inside = (np.abs(places) < box).all(1)

    def invariant(cloud, asked):  # what lies within the cloud's convex hull
        return clouds.overlap(scipy.spatial.Delaunay(cloud).find_simplex(asked) >= 0, inside)

    rows = [moved.row(cloud, places, invariant)] * 3
    assert len(rows[0]) == 1 + len(moved.TURNS) + len(moved.SHIFTS)
    np.testing.assert_allclose([*rows[0].values()], rows[0][moved.AS_WAS], atol=0.005)
    assert "not refuted" in moved.moved_table(
        [{"run": "a", "shapes": 3, "moved": moved.summary([dict.fromkeys(rows[0], 0.9)] * 3)}]
    )


def test_a_scan_is_the_part_of_the_surface_that_its_camera_sees():
    ball = shapes.sphere(RADIUS, 4)
    for scan in clouds.scans(ball, 500, np.random.default_rng(0)):
        assert scan.shape == (500, 3)
        away, _, _ = distance.closest(ball, scan)
        assert away.max() < 1e-5
        middle = scan.mean(0)
        assert (scan @ middle > -0.02).all()  # a half of the ball
        assert np.linalg.norm(middle) > RADIUS / 2
    few = clouds.scans(ball, 10**6, np.random.default_rng(0))
    assert all(0.7 * 256**2 < len(scan) < 0.8 * 256**2 for scan in few)  # all that its pixels hold


def test_the_points_and_signs_are_those_of_the_protocols_v_iou():
    ball, inner = shapes.sphere(0.9, 4), shapes.sphere(0.8, 4)
    places, inside = distance.volume(ball, 4000, 0)
    by_sign = clouds.overlap(np.linalg.norm(places, axis=1) < 0.8, inside)
    assert by_sign == pytest.approx(distance.score(inner, ball, 4000, 0)["v_iou"], abs=5e-3)
    assert clouds.overlap(np.zeros(3, bool), np.zeros(3, bool)) is None


@pytest.mark.usefixtures("quick_programs")
def test_a_cloud_is_fed_as_the_pipeline_feeds_a_shape_of_points():
    config = variants.config_of("vecset", "truncated")
    family = vecset.make(fields.spec(config, ())._replace(shapes=2), config, {})  # `families.get` may be another here
    batch = variants.points_of(config)
    params = jax.jit(family.init)({name: jnp.asarray(batch[name]) for name in family.reads}, jax.random.key(0), {})
    run, cloud = studied.Run(family, params, config, 0, []), batch["surface"][0]
    mesh = Mesh(cloud, np.zeros((0, 3), np.int32))
    batches = clouds.batch_of(run, cloud), pipeline.observe(Item("a cloud", mesh, mesh, None), family, config)
    one, other = (pipeline.encode(each, family, params, config).code for each in batches)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_run_is_told_once_with_its_picture_and_a_page_is_filled(folder, tmp_path, monkeypatch, found):
    page = tmp_path / "page.md"
    monkeypatch.setattr(clouds, "study", lambda run: found)
    assert clouds.main([str(folder)]) == names.DONE
    assert json.loads((folder / "clouds.json").read_text())["mesh"] == found["mesh"]
    assert (folder / "images" / "clouds.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(clouds, "study", lambda run: pytest.fail("studied anew"))
    page.write_text(
        "".join(f"<!-- clouds:{name} -->\n<!-- /clouds:{name} -->\n" for name in ("table", "laws", "picture"))
    )
    assert clouds.main([str(folder), "--into", str(page)]) == names.DONE
    text = page.read_text()
    assert "| run | 2 | " in text
    assert "images/clouds.png)" in text
    with pytest.raises(pytest.fail.Exception):
        clouds.main([str(folder), "--again"])


def refused(capsys, *given):
    assert clouds.main([str(word) for word in given]) == names.REFUSED
    return capsys.readouterr().err


def test_runs_that_see_no_points_or_hold_nothing_out_are_refused(folder, tmp_path, capsys, monkeypatch):
    alone = toys.write_run(tmp_path / "alone", toys.config(), {"scale": np.float32(1)}, [toys.item("one")])
    told = "clouds: alone has no held-out shapes; accepted: runs with config.data.split\n"
    assert refused(capsys, alone) == told
    maps = dataclasses.replace(BALLS, sees=("depth", "mask"))
    monkeypatch.setattr(families, "get", lambda name: lambda spec, config, parents: maps)
    name = toys.config().model.family
    accepted = "accepted: one that makes a shape of points of the surface"
    assert refused(capsys, folder, "--again") == f"clouds: run is a run of {name}, which sees depth, mask; {accepted}\n"
    assert refused(capsys, tmp_path / "none").startswith("clouds: ")
