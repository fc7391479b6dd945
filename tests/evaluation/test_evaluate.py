"""Evaluation: a family that loses nothing scores its ceiling; failures are counted; what is written can be read."""

import dataclasses
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image

from hexjax import pipeline, progress
from hexjax.data import fields
from hexjax.evaluation import encode as encoding
from hexjax.evaluation import evaluate, export, judge, written
from hexjax.evaluation import rows as evaluation_rows
from hexjax.geometry import distance, hexplane
from hexjax.training import fingerprint
from hexjax.types import Latent, Mesh, Size
from tests import shapes
from tests import toys as variants
from tests.evaluation import toys

KEYS = {
    *(f"{name}_{limit}" for name in ("f_score", "precision", "recall") for limit in ("0.005", "0.01", "0.02")),
    "cd_l1", "cd_l2", "normal_consistency", "flipped_normals", "v_iou", "s_iou", "s_iou_0.05", "sharp_normal_error", "failed",
    *(f"{prefix}{name}" for prefix in ("", "reference_")
      for name in ("watertight", "non_manifold_edges", "components", "euler", "genus", "vertices", "faces")),
}  # fmt: skip
SEEN = {"recall_seen_0.005", "recall_seen_0.01", "recall_seen_0.02", "unseen_share"}


def read(folder: pathlib.Path) -> dict:
    """scores.json, refusing what is not JSON: NaN and the infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"scores.json holds {constant}")

    return json.loads((folder / "scores.json").read_text(), parse_constant=refuse)


def timeless(scores: dict) -> list[dict]:
    """The rows without what a clock says."""
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "compiled")} for row in scores["items"]
    ]


@pytest.fixture(scope="module", autouse=True)
def small_renders():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distance, "RENDER_PX", 96)
        patch.setattr(export, "PANEL_PX", 120)
        yield


@pytest.fixture(scope="module")
def identity_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": s, "loss": 1 / (s + 1)}) + "\n" for s in range(9))
    )
    source = toys.sphere(3.0, (10, 20, 30), subdivisions=2)
    source = source._replace(vertices=source.vertices * np.array([1, 0.6, 0.8], np.float32))
    items = [toys.item("egg", source, up="z"), toys.item("ball", toys.sphere(subdivisions=2))]
    params = {"sign": jnp.float32(1)}
    scores = evaluate.evaluate(toys.identity(), params, items, toys.config(), folder, step=7)
    assert not (folder / "rows.jsonl").exists()
    return folder, items, scores


def test_a_family_that_loses_nothing_scores_exactly_its_ceiling(identity_run):
    for row in identity_run[2]["items"]:
        assert {name: row[name] for name in row["ceiling"]} == row["ceiling"]
        assert row["f_score_0.02"] > 0.5


def test_scores_json_holds_what_was_returned_and_every_key_of_the_protocol(identity_run):
    folder, _, scores = identity_run
    assert read(folder) == scores
    for row in scores["items"]:
        assert set(row) >= KEYS | {"name", "ceiling", "dropped_parts", "asked_share"}
        assert row["asked_share"] is None  # the family has a grid of its own
        assert row["ceiling"]["asked_share"] is None
        assert set(row["ceiling"]) >= KEYS
    assert [row["name"] for row in scores["items"]] == ["egg", "ball"]
    assert scores["step"] == 7
    assert scores["failed"] == 0
    assert scores["parameters"] == 1
    assert scores["seed"] == 0
    assert scores["latent_bits"] == 32 * scores["latent_floats"] == 32 * 6 * 32 * 32 * 5
    assert scores["compression"] == (4 * 32 + 1) / (5 * 32)  # float32 depth and normals and a bit of the mask
    for row in scores["items"]:
        size = ("latent_floats", "latent_bits", "compression")
        assert [row[name] for name in size] == [scores[name] for name in size]
    stages = ("observe", "encode", "decode", "field", "polygonise", "score", "ceiling", "export", "diagnose")
    assert set(scores["seconds"]) == set(stages)


def test_of_shapes_that_are_one_set_it_is_told_how_many_have_parts_and_handles_as_their_ceiling(tmp_path, capsys):
    config = toys.config()
    config.score.samples = 200
    run = toys.identity(), {"sign": jnp.float32(1)}
    evaluate.evaluate(*run, balls("a", "b"), config, tmp_path / "two", pictures=False)
    said = capsys.readouterr().err.splitlines()
    (line,) = [line for line in said if line.startswith("all, mean of 2: F@0.01 ")]
    assert line.endswith("; genus within 1 of the ceiling's on 2 of 2, same number of parts on 2 of 2")
    (line,) = [line for line in said if line.startswith("a: ")]
    told = "watertight True (True), components 1 (1), genus 0 (0), euler 2 (2); in brackets the ceiling"
    assert line.endswith(told)
    evaluate.evaluate(*run, balls("a"), config, tmp_path / "one", pictures=False)
    evaluate.ceiling(toys.identity(), balls("a", "b"), config, tmp_path / "ceiling")  # beside itself: nothing to tell
    assert "mean of" not in capsys.readouterr().err


def test_mean_and_median_are_those_of_the_items(identity_run):
    scores = identity_run[2]
    for name in ("cd_l1", "f_score_0.02", "euler", "genus", "components"):
        values = [row[name] for row in scores["items"]]
        assert scores["mean"][name] == pytest.approx(np.mean(values))
        assert scores["median"]["ceiling"][name] == pytest.approx(
            np.median([row["ceiling"][name] for row in scores["items"]])
        )


def test_meshes_lie_where_the_source_lay(identity_run):
    folder, items, _ = identity_run
    for item in items:
        for suffix in ("", "_ceiling"):
            found = trimesh.load(folder / "meshes" / f"{item.name}{suffix}.ply", process=False)
            bounds = np.array([item.source.vertices.min(0), item.source.vertices.max(0)])
            spacing = 2 / 32 / float(item.similarity.scale)
            np.testing.assert_allclose(found.bounds, bounds, atol=1.5 * spacing)
            assert found.is_watertight


def test_pictures_of_every_shape_show_something(identity_run):
    folder = identity_run[0]
    names = {f"{name}_{kind}.png" for name in ("egg", "ball") for kind in ("maps", "renders")} | {"loss.png"}
    assert {file.name for file in (folder / "images").iterdir()} == names
    for file in (folder / "images").iterdir():
        pixels = np.asarray(Image.open(file).convert("RGB"), np.float32)
        assert pixels.std() > 10
        assert file.stat().st_size < 1e6


def test_a_failed_extraction_is_counted_and_leaves_no_mesh_of_an_earlier_one(tmp_path):
    written.Ledger(tmp_path).put("meshes/ball.ply", b"of an earlier step")
    params = {"sign": jnp.float32(0)}
    scores = evaluate.evaluate(toys.identity(), params, [toys.item()], toys.config(), tmp_path)
    assert read(tmp_path) == scores
    assert scores["failed"] == 1
    row = scores["items"][0]
    assert row["failed"] is True
    assert row["ceiling"]["failed"] is False
    assert (row["f_score_0.02"], row["v_iou"], row["vertices"], row["genus"]) == (0, 0, 0, None)
    assert scores["topology"] == {"shapes": 1, "genus_within_1": 0, "same_components": 0}
    assert row["cd_l1"] == pytest.approx(2 * 2 * 3**0.5)
    assert [file.name for file in (tmp_path / "meshes").iterdir()] == ["ball_ceiling.ply"]


def test_maps_that_are_not_finite_are_a_failed_extraction_with_pictures(tmp_path, capsys):
    def decode(params, latent):
        return toys.identity().decode(params, latent._replace(code=latent.code * jnp.nan))

    family = dataclasses.replace(toys.identity(), decode=decode)
    scores = evaluate.evaluate(family, {"sign": jnp.float32(1)}, [toys.item()], toys.config(), tmp_path, loaded=1.5)
    assert (scores["failed"], scores["seconds"]["load"]) == (1, 1.5)
    assert "ball: the decoded field is not finite at 35937 of 35937 nodes: no surface\n" in capsys.readouterr().err
    assert {file.name for file in (tmp_path / "images").iterdir()} == {"ball_maps.png", "ball_renders.png"}


def test_an_item_is_encoded_once(tmp_path, monkeypatch):
    encoded, encode = [], pipeline.encode
    monkeypatch.setattr(pipeline, "encode", lambda *arguments: encoded.append(1) or encode(*arguments))
    params = {"sign": jnp.float32(1)}
    evaluate.evaluate(toys.identity(), params, [toys.item()], toys.config(), tmp_path, pictures=False)
    assert len(encoded) == 1


def test_ceilings_are_computed_once_a_run(tmp_path, monkeypatch):
    params, ceilings = {"sign": jnp.float32(1)}, {}
    arguments = (toys.identity(), params, [toys.item()], toys.config(), tmp_path)
    first = evaluate.evaluate(*arguments, ceilings=ceilings, pictures=False)
    monkeypatch.delattr(pipeline, "ceiling")
    again = evaluate.evaluate(*arguments, ceilings=ceilings, pictures=False)
    assert timeless(again) == timeless(first)
    assert [scores["items"][0]["compiled"] for scores in (first, again)] == [True, False]
    assert not (tmp_path / "images").exists()


def test_the_ceiling_needs_no_network_and_tells_what_is_unseen(tmp_path):
    inner, outer = toys.sphere(0.5), toys.sphere(1.0)
    faces = np.concatenate([outer.faces, inner.faces + len(outer.vertices)])
    hollow = Mesh(np.concatenate([outer.vertices, inner.vertices]), faces)
    config = toys.config()
    config.hexplane.resolution_px = 256  # pixels nearer to each other than the distance that counts as seen
    scores = evaluate.ceiling(toys.identity(), [toys.item("hollow", hollow)], config, tmp_path)
    assert read(tmp_path) == scores
    row = scores["items"][0]
    assert set(row["ceiling"]) >= KEYS | SEEN
    assert {name: row[name] for name in row["ceiling"]} == row["ceiling"]
    assert row["unseen_share"] == pytest.approx(0.2, abs=0.02)  # of the areas 1 and 4, the inner is never seen
    assert row["recall_seen_0.02"] > 0.95  # on a grid of 33 nodes
    assert scores["parameters"] is None
    assert {file.name for file in (tmp_path / "images").iterdir()} == {
        f"hollow_{kind}.png" for kind in ("maps", "renders", "unseen")
    }


@pytest.mark.parametrize(("bits", "dtype"), [(32, np.float32), (16, np.float16)])
def test_latents_are_written_without_pickle_at_their_stored_size(tmp_path, bits, dtype):
    config = toys.config()
    config.latent.bits = bits
    item = toys.item("a b/c")
    files = encoding.encode(toys.identity(), {"sign": jnp.float32(1)}, [item], config, tmp_path)
    assert [file.name for file in files] == ["a-b+c~539138d5.npz"]
    with np.load(files[0], allow_pickle=False) as found:
        assert str(found["name"]) == "a b/c"
        assert found["code"].dtype == dtype
        assert found["code"].shape == (6 * 32 * 32, 5)
        assert found["statistics.mean"].shape == (6 * 32 * 32, 5)
        assert float(found["similarity.scale"]) == pytest.approx(0.95)
        assert found["similarity.rotation"].shape == (3, 3)


@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        ("continuous", 6 * (4 * 32 + 1)),  # of each pixel of one side
        ("binary", 6),
        ("silhouettes", 6),
        ("silhouette_sdf", 6 * 32),
        ("depth", 6 * 33),
        ("voxels", variants.RESOLUTION),
    ],
)
def test_input_bits_are_those_of_the_fields_that_are_encoded(kind, bits):
    (variant,) = (name for name in variants.VARIANTS["hexplane_mlp"] if name.startswith(f"{kind},"))
    config = variants.config_of("hexplane_mlp", variant)
    family, spec = variants.family_of(config), fields.spec(config, ())
    seen = [np.zeros(spec.fields[name].shape, spec.fields[name].dtype) for name in family.sees]
    assert sum(map(evaluate.bits_of, seen)) == variants.RESOLUTION**2 * bits


def test_sizes_of_latents_are_each_shapes_and_their_mean(tmp_path):
    sizes = [4, 12]
    family = dataclasses.replace(toys.identity(), size=lambda latent: Size(sizes.pop(0), 64))
    scores = evaluate.evaluate(
        family, {"sign": jnp.float32(1)}, balls("a", "b"), toys.config(), tmp_path, pictures=False
    )
    assert [row["latent_floats"] for row in scores["items"]] == [4, 12]
    assert (scores["latent_floats"], scores["latent_bits"], scores["parameters"]) == (8, 64, 1)
    assert scores["compression"] == pytest.approx(6 * 32 * 32 * 129 / 64)


def test_what_a_familys_judge_says_stands_beside_each_shapes_scores(tmp_path):
    judge = lambda params, batch, key: {"covered": batch["mask"].mean((1, 2, 3), dtype=jnp.float32)}
    family = dataclasses.replace(toys.identity(), judge=judge)
    found = evaluate.evaluate(
        family, {"sign": jnp.float32(0)}, [toys.item()], toys.config(), tmp_path, step=7, pictures=False
    )
    assert 0.3 < found["items"][0]["covered"] == found["mean"]["covered"] < 1


def test_shapes_of_the_training_are_encoded_with_their_places_and_others_without(tmp_path):
    asked, items = [], balls("a", "b")
    items[1] = items[1]._replace(source=toys.sphere(2.0, subdivisions=1))
    fingerprint.keep(items, tmp_path)

    def encode(params, batch, key):
        jax.debug.callback(lambda place: asked.append(int(place[0])), batch.get("item", jnp.int32([-1])))
        return toys.identity().encode(params, batch, key)

    family = dataclasses.replace(toys.identity(), encode=encode)
    given, other = [items[1], *balls("c"), items[0]], tmp_path / "other"
    evaluate.evaluate(family, {"sign": jnp.float32(1)}, given, toys.config(), tmp_path, pictures=False)
    encoding.encode(family, {}, given, toys.config(), tmp_path)
    encoding.encode(family, {}, given, toys.config(), other)
    jax.effects_barrier()
    assert asked == [1, -1, 0] * 2 + [-1] * 3


@pytest.mark.usefixtures("plain_pictures")
def test_a_family_that_sees_no_maps_has_no_picture_of_them_and_the_meshs_own_ceiling(tmp_path):
    config, items = toys.config(), balls("a")
    encode = lambda params, batch, key: Latent(batch["surface"], {})
    family = dataclasses.replace(toys.identity(), sees=("surface",), encode=encode, ideal=None, grid=None)
    family = dataclasses.replace(
        family,
        decode=lambda params, latent: jnp.linalg.norm(latent.code, axis=-1).mean(-1, keepdims=True),
        field=lambda params, decoded, points: jnp.linalg.norm(points, axis=-1) - decoded[0],
    )
    scores = evaluate.evaluate(family, {}, items, config, tmp_path)
    drawn = {"meshes": {"a.ply", "a_ceiling.ply"}, "images": {"a_renders.png"}}
    assert files(tmp_path) == drawn
    row = scores["items"][0]
    assert row["ceiling"]["v_iou"] > row["v_iou"] > 0.9
    best = evaluate.ceiling(family, items, config, tmp_path / "ceiling")["items"][0]
    assert {name: best[name] for name in KEYS} == {name: row["ceiling"][name] for name in KEYS}
    assert not SEEN & set(best)
    assert files(tmp_path / "ceiling") == {"meshes": {"a_ceiling.ply"}, "images": {"a_renders.png"}}


def test_places_and_tokens_that_are_alive_are_written_with_the_code(tmp_path):
    place, alive = jnp.ones((1, 2, 3)), jnp.array([[True, False]])
    encode = lambda params, batch, key: Latent(
        jnp.zeros((1, 2, 5)), {"log_variance": jnp.zeros((1, 2, 5))}, place, alive
    )
    family = dataclasses.replace(toys.identity(), encode=encode)
    (file,) = encoding.encode(family, {}, balls("a"), toys.config(), tmp_path, 7)
    with np.load(file, allow_pickle=False) as found:
        assert {name: found[name].shape for name in found.files} == {
            "name": (), "step": (), "shape": (), "code": (2, 5), "statistics.log_variance": (2, 5), "place": (2, 3),
            "alive": (2,), "similarity.scale": (), "similarity.rotation": (3, 3), "similarity.translation": (3,),
        }  # fmt: skip
        assert found["alive"].tolist() == [True, False]
        assert [str(found["name"]), int(found["step"]), str(found["shape"])] == [
            "a",
            7,
            fingerprint.of(balls("a"))[0][1],
        ]


def test_a_family_that_encodes_nothing_is_refused_and_writes_nothing(tmp_path):
    family, config = dataclasses.replace(toys.identity(), encode=None), toys.config()
    message = (
        f"config.model.family is {config.model.family!r}, which encodes nothing with latent.kind = deterministic; "
        "--mode=encode accepts a family that does"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        encoding.encode(family, {}, balls("a"), config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_shapes_are_refused(tmp_path):
    message = "there are no shapes; evaluation needs at least one (config.data.path, config.data.count)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        evaluate.ceiling(toys.identity(), [], toys.config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_shape_without_an_area_is_refused_in_a_line(tmp_path):
    cube = shapes.cube(0.5)
    vertices = np.asarray(cube.vertices).copy()
    vertices[0] = 1e30
    item = toys.item("far off", cube._replace(vertices=vertices))
    message = "far off: none of its 12 faces has an area beside its size (1e+30); a score needs one"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        evaluate.ceiling(toys.identity(), [toys.item(), item], toys.config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def plain_pictures(monkeypatch):
    """Pictures that are quickly drawn: their title alone; and scores from few numbers."""
    monkeypatch.setattr(export, "contact_sheet", lambda before, after, title, path: path.write(title.encode()))
    monkeypatch.setattr(
        export, "renders", lambda found, bare, errors, title, path: path.write(" ".join(found).encode())
    )
    monkeypatch.setattr(export, "unseen", lambda item, hits, share, ledger: None)
    monkeypatch.setattr(distance, "sharp_normal_error", lambda mesh, reference: 0.0)


def run(folder, items, step=7, **more):
    """The scores of the family that loses nothing."""
    config = more.pop("config", None) or toys.config()
    return evaluate.evaluate(toys.identity(), {"sign": jnp.float32(1)}, items, config, folder, step=step, **more)


def balls(*names: str):
    return [toys.item(name, toys.sphere(1.0, subdivisions=1)) for name in names]


def files(folder: pathlib.Path) -> dict[str, set[str]]:
    return {name: {file.name for file in (folder / name).iterdir()} for name in ("meshes", "images")}


@pytest.mark.usefixtures("plain_pictures")
def test_four_names_are_four_shapes_in_every_file(tmp_path):
    items = balls("头", "脸", "a b", "a-b", "a-b_ceiling")
    scores = run(tmp_path, items)
    assert [len(found) for found in files(tmp_path).values()] == [10, 10]
    assert len(encoding.encode(toys.identity(), {}, items, toys.config(), tmp_path)) == 5
    assert len(list((tmp_path / "latents").iterdir())) == 5
    assert [row["name"] for row in scores["items"]] == [item.name for item in items]


@pytest.mark.usefixtures("plain_pictures")
def test_so_many_shapes_are_scored_and_so_many_drawn_and_the_verdict_is_of_more(tmp_path, monkeypatch):
    config, diagnose = toys.config(), judge.diagnose
    config.evaluate.shapes, config.evaluate.pictures = 2, 1
    judged = []
    monkeypatch.setattr(judge, "diagnose", lambda *given: judged.append(len(given[2])) or diagnose(*given))
    assert [row["name"] for row in run(tmp_path, balls("a", "b", "c"), config=config)["items"]] == ["a", "b"]
    drawn = {"meshes": {"a.ply", "a_ceiling.ply", "b.ply", "b_ceiling.ply"}, "images": {"a_maps.png", "a_renders.png"}}
    assert files(tmp_path) == drawn
    assert judged == [3]
    scores = evaluate.ceiling(toys.identity(), balls("a", "b", "c"), config, tmp_path / "ceiling")
    assert [row["name"] for row in scores["items"]] == ["a", "b"]
    drawn["meshes"] = {"a_ceiling.ply", "b_ceiling.ply"}
    assert files(tmp_path / "ceiling") == drawn


@pytest.mark.usefixtures("plain_pictures")
def test_an_evaluation_that_was_stopped_goes_on_and_gives_the_same(tmp_path, capsys, monkeypatch):
    items, asked = balls("a", "b", "c"), []
    whole = run(tmp_path / "whole", items)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", items, stopped=lambda: asked.append(1) or len(asked) == 3)
    cut = tmp_path / "cut" / "rows.jsonl"
    assert [json.loads(line)["row"].get("name") for line in cut.read_text().splitlines()] == [None, "a", "b"]
    assert f"2 of 3 shapes are done; the same evaluation goes on from them: {cut}" in capsys.readouterr().err
    scored, score = [], pipeline.score
    monkeypatch.setattr(pipeline, "score", lambda *arguments: scored.append(1) or score(*arguments))
    again = run(tmp_path / "cut", items)
    assert len(scored) == 2  # the third shape and its ceiling
    assert timeless(again) == timeless(whole)
    assert [again[name] for name in ("mean", "median")] == [whole[name] for name in ("mean", "median")]
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert not cut.exists()
    monkeypatch.undo()
    assert [row["compiled"] for row in again["items"]] == [True, False, True]


@pytest.mark.usefixtures("plain_pictures")
def test_another_evaluation_leaves_the_runs_scores_meshes_and_verdict(tmp_path):
    own, items = toys.config(), balls("a")
    run(tmp_path, items)
    scores = json.loads((tmp_path / "scores.json").read_text()) | {
        "verdict": "EXPLODED", "verdict_reason": "at step 7", "verdict_tags": ["non-finite"],
    }  # fmt: skip
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    other = toys.config()
    other.extract.grid = 25
    for config, others, step in ((other, items, 7), (own, balls("z"), 7), (own, items, 9)):
        run(tmp_path, others, step, config=config, own=own)
    assert before == {file: file.read_bytes() for file in before}
    labels = sorted(file.name.split("~")[0] for file in (tmp_path / "evaluations").iterdir())
    assert labels[:2] == ["step-7-data=" + evaluation_rows.digest(balls("z"))[:8], "step-7-extract.grid=25"]
    assert labels[2:] == ["step-9"]
    for folder in (tmp_path / "evaluations").iterdir():
        assert {file.name for file in folder.iterdir()} == {"scores.json", "meshes", "images", "written.sha256"}
    again = run(tmp_path, items, own=own)  # the very same once more
    assert timeless(again) == timeless(scores)
    assert [again[name] for name in ("verdict", "verdict_reason")] == ["EXPLODED", "at step 7"]


@pytest.mark.usefixtures("plain_pictures")
def test_a_training_that_goes_on_keeps_the_scores_of_its_earlier_end(tmp_path):
    run(tmp_path, balls("a"))
    earlier = (tmp_path / "scores.json").read_bytes()
    assert run(tmp_path, balls("a"), step=9)["step"] == read(tmp_path)["step"] == 9
    assert (tmp_path / "evaluations" / "step-7" / "scores.json").read_bytes() == earlier


@pytest.mark.usefixtures("plain_pictures")
def test_meshes_and_latents_of_the_users_stay(tmp_path):
    for place in ("meshes/a.ply", "meshes/a_ceiling.ply", "latents/a.npz", "images/a_maps.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("mine")
    for sign in (1, 0):  # with a surface and without
        evaluate.evaluate(toys.identity(), {"sign": jnp.float32(sign)}, balls("a"), toys.config(), tmp_path)
        encoding.encode(toys.identity(), {}, balls("a"), toys.config(), tmp_path)
    assert {file.name for file in (tmp_path / "meshes").iterdir()} == {"a.ply", "a_ceiling.ply", "a_ceiling (2).ply"}
    assert {file.name for file in (tmp_path / "latents").iterdir()} == {"a.npz", "a (2).npz"}
    assert all((tmp_path / "meshes" / name).read_text() == "mine" for name in ("a.ply", "a_ceiling.ply"))
    assert (tmp_path / "latents" / "a.npz").read_text() == (tmp_path / "images" / "a_maps.png").read_text() == "mine"


@pytest.mark.usefixtures("plain_pictures")
def test_overlaps_that_are_not_defined_are_none_everywhere(tmp_path, monkeypatch, capsys):
    score = distance.score
    monkeypatch.setattr(distance, "score", lambda *given: score(*given) | {"v_iou": None, "s_iou": None})
    scores = run(tmp_path, balls("a", "b"))
    assert scores["mean"]["v_iou"] is scores["median"]["ceiling"]["s_iou"] is None
    assert capsys.readouterr().err.count("V-IoU null (null)") == 3  # of each shape, and of both


@pytest.mark.usefixtures("plain_pictures")
def test_maps_are_rendered_once_a_shape_and_nothing_is_compiled_twice(tmp_path, monkeypatch):
    rendered, traced, render = [], [], hexplane.render
    family = toys.identity()
    encode = family.encode
    family = dataclasses.replace(family, encode=lambda *given: traced.append(1) or encode(*given))
    monkeypatch.setattr(hexplane, "render", lambda *given: rendered.append(1) or render(*given))
    evaluate.evaluate(family, {"sign": jnp.float32(1)}, balls("a", "b", "c"), toys.config(), tmp_path)
    encoding.encode(family, {"sign": jnp.float32(1)}, balls("a", "b", "c"), toys.config(), tmp_path)
    assert len(rendered) == 6
    assert len(traced) == 1


def test_a_disk_that_is_full_leaves_no_torn_latent_and_no_line_of_progress(tmp_path, monkeypatch):
    cleared = []
    monkeypatch.setattr(progress.Line, "clear", lambda line: cleared.append(line.what))
    monkeypatch.setattr(
        pathlib.Path, "replace", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left on device"):
        encoding.encode(toys.identity(), {}, balls("a"), toys.config(), tmp_path)
    assert list((tmp_path / "latents").iterdir()) == []
    assert cleared == ["shapes encoded"]


def test_summary_leaves_out_what_an_item_does_not_have():
    rows = [
        {"name": "a", "x": 1, "y": None, "z": None, "closed": True, "ceiling": {"x": 4, "y": None}},
        {"name": "b", "x": 3, "y": 5.0, "z": None, "closed": None, "ceiling": {"x": 6, "y": None}},
    ]
    assert evaluation_rows.summary(rows, np.mean) == {"x": 2, "y": 5, "z": None, "ceiling": {"x": 5, "y": None}}


def test_plain_has_none_for_what_is_not_finite():
    value = {"a": [np.float32("nan"), 1.5, np.int64(2)], "b": {"c": float("inf"), "d": np.bool_(True)}, "e": "nan"}
    assert evaluation_rows.plain(value) == {"a": [None, 1.5, 2], "b": {"c": None, "d": True}, "e": "nan"}


def test_scores_that_are_null_are_told_and_summed_up_as_such():
    sheet = Mesh(np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]]) / 2, np.array([[0, 1, 2]], np.int32))
    row = distance.score(sheet, sheet, samples=100)
    rows = [{"name": "sheet"} | row | {"ceiling": row}, {"name": "ball"} | row | {"v_iou": 0.5, "ceiling": row}]
    assert "V-IoU null (null), watertight False (False), components 1 (1), genus null (null)" in evaluate._told(rows[0])
    found = evaluation_rows.summary(rows, np.mean)
    assert (found["v_iou"], found["s_iou"], found["ceiling"]["v_iou"]) == (0.5, None, None)


def test_what_extraction_leaves_out_of_a_shape_is_told_with_its_name(tmp_path, capsys):
    needle = toys.sphere()._replace(vertices=toys.sphere().vertices * np.float32([1, 1e-4, 1e-4]))  # between all rays
    evaluate.evaluate(
        toys.identity(),
        {"sign": jnp.float32(1)},
        [toys.item("needle", needle)],
        toys.config(),
        tmp_path,
        pictures=False,
    )
    told = "no surface on a grid of 33 nodes a side: parts thinner than its spacing, 0.062, vanish"
    assert {f"needle: {told}", f"needle, ceiling: {told}"} <= set(capsys.readouterr().err.splitlines())


def test_held_out_shapes_stand_apart_with_what_no_learning_gives_which_is_found_once(tmp_path, monkeypatch, capsys):
    """In the order of the parts, the trained ones first; what only validates is left out."""
    items = [toys.item(name, toys.sphere(subdivisions=1, radius=1)) for name in "abcde"]
    fingerprint.keep(items, tmp_path, ((1, 3), (0,), (2, 4)), "digest")
    asked = []

    def scores(train, held, config, floats):
        asked.append(([item.name for item in train], [item.name for item in held], floats))
        mean = {"mean": {"f_score_0.02": 0.5}, "rows": {item.name: {} for item in held}}
        return {"mean_shape": mean, "nearest": mean, "pca": mean | {"components": 1}}

    monkeypatch.setattr(evaluate.baselines, "scores", scores)
    config = toys.config()
    config.evaluate.pictures, config.score.samples = 0, 200
    score = lambda **more: evaluate.evaluate(
        toys.identity(), {"sign": jnp.float32(1)}, items, config, tmp_path, 1, **more
    )
    found = score()
    assert [(row["name"], row["part"]) for row in found["items"]] == [
        ("b", "train"), ("d", "train"), ("c", "test"), ("e", "test")
    ]  # fmt: skip
    assert asked == [(["b", "d"], ["c", "e"], 6 * 32 * 32 * 5)]
    assert found["parts"]["test"]["shapes"] == found["parts"]["train"]["shapes"] == 2
    for name in ("mean", "median", "topology"):
        assert found[name] == found["parts"]["test"][name]
    assert found["topology"] == {"shapes": 2, "genus_within_1": 2, "same_components": 2}
    assert found["worst"] == ["c", "e"]
    assert (found["beats_nearest"], found["baselines"]["nearest"]) == (True, {"mean": {"f_score_0.02": 0.5}})
    said = capsys.readouterr().err
    assert "the model beats the nearest training shape, told by an oracle: F@0.02 " in said
    counted = "genus within 1 of the ceiling's on 2 of 2, same number of parts on 2 of 2"
    told = [line for line in said.splitlines() if line.endswith(f"; {counted}")]
    assert [line.partition(":")[0] for line in told] == ["train, mean of 2", "test, mean of 2"]
    assert all("components 1.0000 (1.0000), genus 0.0000 (0.0000)" in line for line in told)
    assert score()["baselines"] == found["baselines"]
    assert len(asked) == 1
    config.evaluate.shapes = 1
    assert [row["name"] for row in score()["items"]] == ["b", "c"]
    fewer = evaluate.evaluate(toys.identity(), {"sign": jnp.float32(1)}, items[2:], config, tmp_path, 1)
    assert "baselines" not in fewer  # of fewer training shapes they would be weaker than they are
