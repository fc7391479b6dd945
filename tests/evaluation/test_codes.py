"""What latents are like, of a family whose latents are spheres, so that all that lies between two is known."""

import dataclasses
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from hexjax import config as configuration
from hexjax import names
from hexjax.data import fields, sources
from hexjax.evaluation import codes, rows
from hexjax.models import family as families
from hexjax.training import fingerprint, portable, record
from hexjax.types import Latent, Layout, Size
from tests import shapes
from tests import toys as variants
from tests.evaluation import toys

SPHERES = np.float32([[0.5, 0, 0, 0], [0.56, 0, 0, 0], [0.3, 0.6, 0, 0], [0.3, -0.6, 0, 0]])  # radius and centre
MESHES = {
    "ball": shapes.sphere(0.8),
    "plate": shapes.box(1.8, 0.04, 1.8),
    "ring": shapes.torus(),
    "cube": shapes.cube(),
}
GRID = "--grid=24"


def encode(params, batch, key, knobs=None):
    code = params["codes"][batch["item"]][:, None]
    return Latent(code, {"mean": code})


SPHERICAL = dataclasses.replace(
    toys.identity(), sees=("mask",), encode=encode, layout=Layout("vector", 1, 4), size=lambda latent: Size(4, 128),
    decode=lambda params, latent: latent.code[:, 0], grid=None, ideal=None,
    field=lambda params, one, points: jnp.sqrt(jnp.square(points - one[None, 1:]).sum(-1)) - one[0],
)  # fmt: skip


def row_of(name, f_score, iou, euler=2, components=1, best=2):
    scores = {"name": name, "f_score_0.01": f_score, "v_iou": iou, "components": components, "euler": euler}
    scores |= {"reference_components": 1, "reference_euler": best, "sdf_l1": 1 - f_score, "sdf_near_sign": iou}
    return scores | {"ceiling": scores | {"f_score_0.01": 1.0, "v_iou": 1.0, "components": 1, "euler": best}}


ROWS = [
    row_of("ball", 1.0, 0.99),
    row_of("plate", 0.7, 0.5),
    row_of("ring", 0.9, 0.9, 2, 3, 0),
    row_of("cube", 0.95, 0.95),
]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function that makes the folder of a run of the first so many spheres, scored, with what it logged."""

    def items(*_):
        return [toys.item(name, mesh)._replace(category=name[0]) for name, mesh in MESHES.items()]

    def made(name="run", count=4, family=SPHERICAL, scores=ROWS):
        monkeypatch.setattr(families, "get", lambda name: lambda spec, config, parents: family)
        monkeypatch.setattr(sources, "items", items)
        config, folder = toys.config(), tmp_path / name
        record.write_header(folder, "a test", configuration.to_json(config), "")
        record.write_spec(folder, fields.spec(config, ()))
        fingerprint.keep(items()[:count], folder)
        portable.write(folder, {"codes": SPHERES}, 4)
        (folder / "scores.json").write_text(json.dumps({"mode": "evaluate", "items": scores}))
        logged = [{"step": step, "reconstruction": 1 / (step + 1), "sign": step / 10} for step in range(10)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in logged))
        return folder

    return made


def refused(capsys, *given):
    assert codes.main([str(word) for word in given]) == names.REFUSED
    return capsys.readouterr().err


def test_a_run_is_told_with_tables_and_pictures_and_not_studied_twice(make, tmp_path, capsys, monkeypatch):
    folder, page = make(), tmp_path / "page.md"
    assert codes.main([str(folder), GRID, "--pairs=9", "--worst=1"]) == names.DONE
    assert "| 24³ |" in capsys.readouterr().out
    found = json.loads((folder / "codes.json").read_text())
    assert (found["shapes"], found["floats"], found["step"], found["midpoints"]["pairs"]) == (4, 4, 4, 6)
    assert found["codes"]["norm_largest"] == pytest.approx(np.sqrt(0.45))
    between = {tuple(row["pair"]): row for row in found["pairs"]}
    alike, apart = between["ball", "plate"], between["ring", "cube"]
    assert alike["to_mean"] == 1  # the mean of the distances to two spheres about one centre
    assert alike["to_ends"][0] == pytest.approx((0.5 / 0.53) ** 3, abs=0.03)
    assert (alike["parts"], alike["euler"], alike["ends_parts"], alike["ends_euler"]) == (1, 2, [1, 1], [2, 2])
    assert (apart["ends"], apart["to_mean"], apart["is_empty"], apart["mean_is_empty"]) == (0, 0, False, True)
    assert found["failing"]["wrong"] == 1
    for name in ("codes_by_category", "l1_by_time"):
        with PIL.Image.open(folder / "images" / f"{name}.png") as picture:
            assert picture.mode == "P"
        assert (folder / "images" / f"{name}.png").stat().st_size < 60_000
    monkeypatch.setattr(codes, "study", lambda *_: pytest.fail("studied anew"))
    page.write_text("".join(f"<!-- codes:{name} -->\n<!-- /codes:{name} -->\n" for name in codes.TABLES))
    assert codes.main([str(folder), str(folder), "--into", str(page)]) == names.DONE
    text = page.read_text()
    cells = text.splitlines()[4].split(" | ")
    assert cells[:6] == ["| run", found["family"], "deterministic", "4", "4", "4"]
    assert text.count("| 24³ |") == 2
    assert "| plate | F@0.01, V-IoU | 0.700 (1.000) | 0.500 (1.000) | 1 (1) | 2 (2) | 0.0 | 0.0" in text
    assert "run: 1 of 4; run: 1 of 4. Thickness" in text
    page.write_text("<!-- codes:codes run -->\n<!-- /codes:codes -->\n")
    assert codes.main([str(folder), str(folder), "--into", str(page)]) == names.DONE
    assert page.read_text().count("| run | ") == 2  # the head and one row
    page.write_text("<!-- codes:codes another -->\n<!-- /codes:codes -->\n")
    assert (
        refused(capsys, folder, "--into", str(page)) == "codes: page.md: a marker names the run 'another'; runs: run\n"
    )
    with pytest.raises(pytest.fail.Exception):
        codes.main([str(folder), "--again"])


def test_halfway_between_a_latent_and_itself_is_the_shape_itself(make):
    asked, _ = codes.load(make(), 24)
    code = asked.codes[0]
    end, middle = codes.decoded(asked, code), codes.decoded(asked, (code + code) / 2)
    found = codes.between(end, middle, end, codes.mean_of(asked, end, end))
    assert (found["to_mean"], found["to_ends"], found["ends"], found["mean_to_ends"]) == (1, [1, 1], 1, [1, 1])
    assert (found["parts"], found["mean_parts"], found["ends_parts"]) == (1, 1, [1, 1])


def test_what_is_decoded_is_the_solid_and_the_mesh_of_the_field(make):
    asked, _ = codes.load(make(), 24)
    side = np.linspace(-1, 1, 24, dtype=np.float32)
    away = np.sqrt(sum(np.square(each) for each in np.meshgrid(side - 0.6, side, side, indexing="ij")))
    found = codes.decoded(asked, asked.codes[2])
    np.testing.assert_allclose(found.clamped, np.clip(away - 0.3, -0.1, 0.1), atol=1e-6)
    np.testing.assert_array_equal(found.solid, away < 0.3)
    nothing = codes.decoded(asked, np.float32([[-1, 0, 0, 0]]))
    assert (nothing.parts, nothing.euler, nothing.solid.any()) == (0, 0, False)
    beside = codes.between(nothing, nothing, found, codes.mean_of(asked, nothing, found))
    assert (beside["to_ends"], beside["to_mean"], beside["is_empty"]) == ([None, 0], None, True)
    everywhere = codes.solid(-np.ones((4, 4, 4)))
    assert everywhere.sum() == 8


def test_the_worst_are_told_by_score_and_topology_with_what_they_are():
    items = [toys.item(name)._replace(mesh=mesh) for name, mesh in MESHES.items()]
    found = codes.failing(items, ROWS, 1, 0)
    assert [(row["name"], row["why"]) for row in found["rows"]] == [
        ("plate", ["F@0.01", "V-IoU"]), ("ring", ["parts", "Euler"]),
    ]  # fmt: skip
    assert found["rows"][0]["thickness"] == pytest.approx(0.04, rel=0.02)
    assert found["rows"][1]["genus_per_part"] == 1
    others = found["others"]
    assert (others["shapes"], others["f_score_0.01"], others["euler"], others["genus_per_part"]) == (2, 0.975, 2, 0)
    assert others["thickness"] == pytest.approx((1 + 1.6) / 2, rel=0.02)
    assert codes.failing(items, [row_of("another", 1, 1)], 1, 0) is None


def test_the_fit_is_told_with_its_worst_and_with_whose_topology_is_their_own():
    found = codes.fit([toys.item(name) for name in MESHES], ROWS)
    assert found["sdf_l1"] == [pytest.approx((0 + 0.3 + 0.1 + 0.05) / 4), pytest.approx(0.3)]
    assert found["v_iou"] == [pytest.approx(0.835), 0.5]
    assert found["sdf_normal_l1"] == [None, None]
    assert (found["scored"], found["single"], found["right"]) == (4, 4, 3)
    assert codes.fit([toys.item("another")], ROWS) is None


def test_rows_of_an_evaluation_under_way_are_read_and_those_of_a_ceiling_are_not(tmp_path):
    assert codes.scored(tmp_path) == []
    course = rows.Rows(tmp_path, "of", 2)
    course.add(ROWS[0])
    with course.file.open("ab") as file:
        file.write(b'{"crc": "damaged"}\n')
    (tmp_path / "scores.json").write_text(json.dumps({"mode": "ceiling", "items": ROWS}))
    assert codes.scored(tmp_path) == ROWS[:1]
    (tmp_path / "scores.json").write_text(json.dumps({"mode": "evaluate", "items": ROWS}))
    assert codes.scored(tmp_path) == ROWS


def test_a_run_that_logs_no_signs_is_told_to_have_no_picture_of_them(make, capsys):
    folder = make(scores=[])
    (folder / "metrics.jsonl").unlink()
    found = codes.study(folder, 1, 16, 1)
    assert found["failing"] is None
    assert "run logs no signs of its field over its training: no picture l1_by_time.png\n" in capsys.readouterr().err
    assert not (folder / "images" / "l1_by_time.png").exists()
    assert "none scored. Thickness" in codes.failing_table([found])


def test_l1_and_signs_are_told_over_the_minutes_of_training(tmp_path):
    write = lambda name, found: (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in found))
    write("metrics.jsonl", [{"step": step, "loss": 0.1} for step in range(3)])
    assert codes.courses(tmp_path) is None
    logged = [{"step": step, "reconstruction": 0.1, "sign": 0.9} for step in (0, 10, 20, 30)]
    write("metrics.jsonl", [*logged, {"step": 30, "evaluation.sdf_l1": 0.2, "evaluation.sdf_sign": 0.8}])
    found, axis = codes.courses(tmp_path)
    assert axis == "step"
    assert found == {"training": [(step, 0.1, 0.9) for step in (0, 10, 20, 30)], "evaluation": [(30, 0.2, 0.8)]}
    write("timing.jsonl", [{"step": step, "seconds": seconds} for step, seconds in ((10, 60), (20, 180), (30, 30))])
    found, axis = codes.courses(tmp_path)  # the run went on after step 20
    assert axis == "minutes of training, by the clock"
    assert [at for at, _, _ in found["training"]] == [0, 1, 3, 3.5]


def test_the_auto_decoder_logs_what_is_drawn():
    config = variants.config_of("deepsdf", "codes")
    family, batch = variants.family_of(config), dict.fromkeys(("points", "sdf"), jnp.zeros((2, 32)))
    batch |= {"points": jnp.zeros((2, 32, 3)), "item": jnp.arange(2)}
    params = jax.eval_shape(family.init, {}, jax.random.key(0), {})
    told = jax.eval_shape(family.loss, params, batch, jax.random.key(0), jnp.int32(0), families.knobs(config))[1]
    assert {codes.L1, codes.SIGN} <= told.keys()


def test_categories_have_marks_of_their_own_and_the_legend_names_them(monkeypatch):
    drawn = []
    monkeypatch.setattr(codes.curve, "save_small", lambda canvas, path: drawn.append(canvas.axes[0]))
    categories = [f"kind {number}" for number in range(9)] * 2
    codes.codes_by_category(np.random.default_rng(0).standard_normal((18, 5)), categories, "a $ run", io.BytesIO())
    assert drawn[0].get_legend_handles_labels()[1] == sorted(set(categories))
    assert len({(line.get_marker(), line.get_color()) for line in drawn[0].lines}) == 9


def test_what_cannot_be_studied_is_refused_in_a_line(make, tmp_path, capsys):
    assert refused(capsys, tmp_path).startswith("codes: ")
    assert refused(capsys, make(), "--grid=7") == "codes: --grid is 7; accepted: at least 8\n"
    told = "codes: one is known to be trained on 1 shapes; accepted: at least 2\n"
    assert refused(capsys, make("one", 1)) == told
    folder = make("views", family=dataclasses.replace(SPHERICAL, decode=None, field=None))
    name = toys.config().model.family
    assert refused(capsys, folder) == f"codes: views is a run of {name}, which has no surface; accepted: one that has\n"
    folder = make("draws", family=dataclasses.replace(SPHERICAL, encode=None))
    assert refused(capsys, folder) == f"codes: draws is a run of {name}, which has no encoder; accepted: one that has\n"
    assert not list(tmp_path.glob("*/codes.json"))


def test_shapes_that_are_no_longer_there_are_refused(make, monkeypatch, capsys):
    folder = make()
    codes.load(folder, 24)  # its latents are there from now on
    capsys.readouterr()
    few = sources.items()[:3]
    monkeypatch.setattr(sources, "items", lambda *_: few)
    told = "codes: 3 of the 4 shapes that run is trained on are where config.data says; accepted: all, as they were\n"
    assert refused(capsys, folder) == told
