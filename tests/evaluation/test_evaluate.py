"""Evaluation: a family that loses nothing scores its ceiling; failures are counted; what is written can be read."""

import dataclasses
import json
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image

from hexjax import pipeline
from hexjax.evaluation import evaluate
from hexjax.geometry import distance
from hexjax.types import Mesh
from tests.evaluation import toys

KEYS = {
    *(f"{name}_{limit}" for name in ("f_score", "precision", "recall") for limit in ("0.005", "0.01", "0.02")),
    "cd_l1", "cd_l2", "normal_consistency", "flipped_normals", "v_iou", "s_iou", "sharp_normal_error", "failed",
    *(f"{prefix}{name}" for prefix in ("", "reference_")
      for name in ("watertight", "non_manifold_edges", "components", "euler", "vertices", "faces")),
}  # fmt: skip
SEEN = {"recall_seen_0.005", "recall_seen_0.01", "recall_seen_0.02", "unseen_share"}


def read(folder: pathlib.Path) -> dict:
    """scores.json, refusing what is not JSON: NaN and the infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"scores.json holds {constant}")

    return json.loads((folder / "scores.json").read_text(), parse_constant=refuse)


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
    return folder, items, scores


def test_a_family_that_loses_nothing_scores_exactly_its_ceiling(identity_run):
    for row in identity_run[2]["items"]:
        assert {name: row[name] for name in row["ceiling"]} == row["ceiling"]
        assert row["f_score_0.02"] > 0.5


def test_scores_json_holds_what_was_returned_and_every_key_of_the_protocol(identity_run):
    folder, _, scores = identity_run
    assert read(folder) == scores
    for row in scores["items"]:
        assert set(row) >= KEYS | {"name", "ceiling", "dropped_parts"}
        assert set(row["ceiling"]) >= KEYS
    assert [row["name"] for row in scores["items"]] == ["egg", "ball"]
    assert scores["step"] == 7
    assert scores["failed"] == 0
    assert scores["parameters"] == 1
    assert scores["seed"] == 0
    assert scores["latent_bits"] == 32 * scores["latent_floats"] == 32 * 6 * 32 * 32 * 5
    assert scores["compression"] == 4 / 5
    stages = ("render", "encode", "decode", "field", "polygonise", "score", "ceiling", "export", "diagnose")
    assert set(scores["seconds"]) == set(stages)


def test_mean_and_median_are_those_of_the_items(identity_run):
    scores = identity_run[2]
    for name in ("cd_l1", "f_score_0.02", "euler"):
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
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "ball.ply").write_text("of an earlier step")
    params = {"sign": jnp.float32(0)}
    scores = evaluate.evaluate(toys.identity(), params, [toys.item()], toys.config(), tmp_path)
    assert read(tmp_path) == scores
    assert scores["failed"] == 1
    row = scores["items"][0]
    assert row["failed"] is True
    assert row["ceiling"]["failed"] is False
    assert (row["f_score_0.02"], row["v_iou"], row["vertices"]) == (0, 0, 0)
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
    assert again["items"] == first["items"]
    assert not (tmp_path / "images").exists()


def test_the_ceiling_needs_no_network_and_tells_what_is_unseen(tmp_path):
    inner, outer = toys.sphere(0.5), toys.sphere(1.0)
    faces = np.concatenate([outer.faces, inner.faces + len(outer.vertices)])
    hollow = Mesh(np.concatenate([outer.vertices, inner.vertices]), faces)
    config = toys.config()
    config.hexplane.resolution_px = 256  # pixels nearer to each other than the distance that counts as seen
    scores = evaluate.ceiling([toys.item("hollow", hollow)], config, tmp_path)
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
    files = evaluate.encode(toys.identity(), {"sign": jnp.float32(1)}, [item], config, tmp_path)
    assert [file.name for file in files] == ["a-b-c.npz"]
    with np.load(files[0], allow_pickle=False) as found:
        assert str(found["name"]) == "a b/c"
        assert found["code"].dtype == dtype
        assert found["code"].shape == (6 * 32 * 32, 5)
        assert found["statistics.mean"].shape == (6 * 32 * 32, 5)
        assert float(found["similarity.scale"]) == pytest.approx(0.95)
        assert found["similarity.rotation"].shape == (3, 3)


def test_input_bits_are_those_of_the_maps_that_are_encoded():
    config = toys.config()
    assert evaluate.input_bits(config) == 6 * 32 * 32 * 4 * 32
    config.model.input = "binary"
    assert evaluate.input_bits(config) == 6 * 32 * 32
    floats = {"silhouettes": 3, "silhouette_sdf": 3 * 32, "depth": 3 * 32}
    for kind, bits in floats.items():
        config.model.input = kind
        assert evaluate.input_bits(config) == 32 * 32 * bits
    config.model.input = "voxels"
    assert evaluate.input_bits(config) == 32**3
    config.model.input = "colour"
    known = "config.model.input is 'colour'; accepted: continuous, binary, silhouettes, silhouette_sdf, depth, voxels"
    with pytest.raises(ValueError, match=re.escape(known) + "$"):
        evaluate.input_bits(config)


def test_no_shapes_are_refused(tmp_path):
    message = "there are no shapes; evaluation needs at least one (config.data.path, config.data.count)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        evaluate.ceiling([], toys.config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_summary_leaves_out_what_an_item_does_not_have():
    rows = [
        {"name": "a", "x": 1, "y": None, "z": None, "closed": True, "ceiling": {"x": 4, "y": None}},
        {"name": "b", "x": 3, "y": 5.0, "z": None, "closed": None, "ceiling": {"x": 6, "y": None}},
    ]
    assert evaluate.summary(rows, np.mean) == {"x": 2, "y": 5, "z": None, "ceiling": {"x": 5, "y": None}}


def test_plain_has_none_for_what_is_not_finite():
    value = {"a": [np.float32("nan"), 1.5, np.int64(2)], "b": {"c": float("inf"), "d": np.bool_(True)}, "e": "nan"}
    assert evaluate.plain(value) == {"a": [None, 1.5, 2], "b": {"c": None, "d": True}, "e": "nan"}


def test_scores_that_are_null_are_told_and_summed_up_as_such():
    sheet = Mesh(np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]]) / 2, np.array([[0, 1, 2]], np.int32))
    row = distance.score(sheet, sheet, samples=100)
    rows = [{"name": "sheet"} | row | {"ceiling": row}, {"name": "ball"} | row | {"v_iou": 0.5, "ceiling": row}]
    assert "V-IoU null (null)" in evaluate._told(rows[0])
    found = evaluate.summary(rows, np.mean)
    assert (found["v_iou"], found["s_iou"], found["ceiling"]["v_iou"]) == (0.5, None, None)


def test_what_extraction_leaves_out_of_a_shape_is_told_with_its_name(tmp_path, capsys):
    plate = toys.sphere()._replace(vertices=toys.sphere().vertices * np.float32([1, 1, 1e-4]))
    evaluate.evaluate(
        toys.identity(), {"sign": jnp.float32(1)}, [toys.item("plate", plate)], toys.config(), tmp_path, pictures=False
    )
    told = "no surface on a grid of 33 nodes a side: parts thinner than its spacing, 0.062, vanish"
    assert {f"plate: {told}", f"plate, ceiling: {told}"} <= set(capsys.readouterr().err.splitlines())
