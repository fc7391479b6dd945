"""Draws from a prior: counted whatever comes out, the same for the same seed, and told from the training shapes."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image

from configs import base
from hexjax import names, pipeline
from hexjax.data import batches, fields
from hexjax.evaluation import evaluate, export, sample, written
from hexjax.geometry import distance, frame
from hexjax.models import family as families
from hexjax.models.parts import latents
from hexjax.types import Latent
from tests import shapes
from tests.evaluation import toys

pytestmark = pytest.mark.usefixtures("quick_programs")

RADII = (0.8, 0.5, 0.0, np.nan, 0.8, 0.3)  # a draw with no surface, and one that is not finite


def balls(radii=RADII, noise: float = 0.0):
    """A family whose latent is the radius of a ball, and whose prior draws the given ones, some noise added."""

    def draw(params, key, batch, knobs=None):
        del params
        moved = noise * families.drawn(jax.random.uniform, key, batch)
        radius = jnp.asarray(radii, jnp.float32)[batch["draw"] % len(radii)] + moved
        return Latent(radius[:, None, None], {"mean": radius[:, None, None]})

    def grid(params, decoded, count):
        del params
        nodes = np.asarray(frame.grid_nodes(count))
        square = nodes[:, None, None] ** 2 + nodes[None, :, None] ** 2 + nodes[None, None, :] ** 2
        return np.sqrt(square) - np.asarray(decoded)[0, 0]

    def field(params, decoded, points):
        del params
        return jnp.linalg.norm(points, axis=-1) - decoded[0, 0]

    own = dict(decode=lambda params, latent: latent.code, field=field, grid=grid)
    return dataclasses.replace(toys.identity(), sample=draw, **own)


def config_of(count: int):
    config = toys.config()
    config.sample.count = count
    return config


def items_of(*radii: float):
    """Balls in the frame by their radii, which normalising would all make alike."""
    return [toys.item()._replace(name=f"ball_{radius}", mesh=toys.sphere(radius)) for radius in radii]


@pytest.fixture
def sheets(monkeypatch) -> list:
    """What would have been drawn: sections and title of each sheet; none is."""
    shown = []
    monkeypatch.setattr(export, "gallery", lambda sections, title, path: shown.append((sections, title)))
    return shown


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("draws")
    ledger = written.Ledger(folder)
    for name in ("sample_02", "sample_17", "sample_123", "sample_1000 (2)", "head", "sample_head"):
        ledger.put(f"meshes/{name}.ply", b"of something earlier")
    (folder / "meshes" / "sample_04.ply").write_text("of a user")
    (folder / "meshes" / "sample_18.ply").write_text("of a user")
    items = items_of(0.3, 0.5, 0.8)
    return folder, sample.sample(balls(), {}, config_of(len(RADII)), folder, items, step=7)


def test_samples_json_holds_what_was_returned_and_only_json(run):
    folder, scores = run

    def refuse(constant):
        raise AssertionError(f"samples.json holds {constant}")

    assert json.loads((folder / "samples.json").read_text(), parse_constant=refuse) == scores
    head = {name: scores[name] for name in ("mode", "step", "count", "compared", "seed")}
    assert head == {"mode": "sample", "step": 7, "count": 6, "compared": 3, "seed": 0}
    assert set(scores["seconds"]) == {"sample", "decode", "field", "polygonise", "nearest", "spread", "export"}


def test_draws_without_a_surface_are_counted_and_never_dropped(run):
    scores = run[1]
    assert [scores[name] for name in ("empty", "non_finite", "watertight", "components", "genus")] == [2, 1, 4, 1, 0]
    rows = scores["samples"]
    assert [row["name"] for row in rows] == [f"sample_{number:02d}" for number in range(6)]
    assert [row["faces"] > 0 for row in rows] == [True, True, False, False, True, True]
    assert [row["non_finite"] for row in rows] == [False, False, False, True, False, False]
    assert [row["euler"] for row in rows] == [2, 2, 0, 0, 2, 2]
    assert [row["genus"] for row in rows] == [0, 0, None, None, 0, 0]


def test_every_draw_names_the_training_shape_nearest_to_it(run):
    rows = run[1]["samples"]
    found = [row["nearest"] and row["nearest"]["name"] for row in rows]
    assert found == ["ball_0.8", "ball_0.5", None, None, "ball_0.8", "ball_0.3"]
    assert all(row["nearest"]["f_score_0.02"] > 0.95 for row in rows if row["nearest"])


def test_meshes_lie_in_the_frame_and_those_of_an_earlier_draw_are_gone(run):
    folder, scores = run
    found = {file.name for file in (folder / "meshes").iterdir()}
    kept = {"head.ply", "sample_head.ply", "sample_04.ply", "sample_18.ply"}
    drawn = {0: "sample_00.ply", 1: "sample_01.ply", 4: "sample_04 (2).ply", 5: "sample_05.ply"}
    assert found == kept | set(drawn.values())
    assert {(folder / "meshes" / f"sample_{number}.ply").read_text() for number in ("04", "18")} == {"of a user"}
    for number, name in drawn.items():
        mesh = trimesh.load(folder / "meshes" / name, process=False)
        np.testing.assert_allclose(mesh.bounds, [[-RADII[number]] * 3, [RADII[number]] * 3], atol=0.01)
        assert len(mesh.faces) == scores["samples"][number]["faces"]


def test_the_sheet_shows_what_was_drawn(run):
    pixels = np.asarray(Image.open(run[0] / "images" / "samples.png").convert("RGB"), np.float32)
    assert {file.name for file in (run[0] / "images").iterdir()} == {"samples.png"}
    assert pixels.std() > 20


@pytest.mark.usefixtures("sheets")
def test_what_is_not_finite_and_the_counts_are_told_in_a_line_each(tmp_path, capsys):
    scores = sample.sample(balls(), {}, config_of(4), tmp_path, items_of(0.8))
    assert scores["spread"] == pytest.approx(1 - (0.5 / 0.8) ** 3, abs=0.01)
    assert capsys.readouterr().err.splitlines() == [
        "sample_02: no surface on a grid of 33 nodes a side: parts thinner than its spacing, 0.062, vanish",
        "sample_03: the decoded field is not finite at 35937 of 35937 nodes: no surface",
        "4 draws from the prior: 2 without a surface (1 not finite), 2 watertight; spread "
        f"{scores['spread']:.3f}, of training shapes none",
    ]


@pytest.mark.usefixtures("sheets")
def test_the_same_seed_gives_the_same_meshes_and_another_gives_others(tmp_path):
    config, meshes = config_of(2), []
    for number, seed in enumerate((3, 3, 4)):
        config.sample.seed = seed
        sample.sample(balls(noise=0.1), {}, config, tmp_path / str(number), items_of(0.8))
        meshes.append([(tmp_path / str(number) / "meshes" / f"sample_0{i}.ply").read_bytes() for i in range(2)])
    assert meshes[0] == meshes[1]
    assert meshes[0][0] != meshes[2][0]


def test_a_prior_that_gives_nothing_is_a_result(tmp_path):
    scores = sample.sample(balls((0.0, 0.0)), {}, config_of(2), tmp_path, items_of(0.8))
    figures = [scores[name] for name in ("empty", "watertight", "components", "genus", "spread", "training_spread")]
    assert figures == [2, 0, None, None, None, None]
    assert not (tmp_path / "meshes").exists()
    assert (tmp_path / "images" / "samples.png").is_file()


@pytest.mark.usefixtures("sheets")
def test_draws_that_are_all_one_shape_have_no_spread(tmp_path):
    scores = sample.sample(balls((0.5, 0.5, 0.5)), {}, config_of(3), tmp_path, items_of(0.3, 0.8))
    assert scores["spread"] == 0
    assert scores["training_spread"] > 0.5


def test_spread_of_cubes_is_that_of_their_volumes():
    half, quarter = shapes.cube(0.5), shapes.cube(0.25)
    away = quarter._replace(vertices=quarter.vertices + np.float32(0.75))
    assert sample.spread([half, quarter]) == 1 - 1 / 8
    assert sample.spread([half, away]) == 1
    assert sample.spread([half, quarter, quarter]) == pytest.approx((2 * (1 - 1 / 8) + 0) / 3)
    assert sample.spread([half]) is None


def test_two_volumes_too_thin_for_the_grid_are_alike():
    thin = shapes.cube(0.001)
    assert sample.spread([thin, thin]) == 0
    assert sample.spread([thin, shapes.cube(0.5)]) == 1


def test_closeness_is_that_of_the_protocol():
    ball, torus = toys.sphere(0.7), toys.item("torus", shapes.torus())
    found = sample.nearest([ball], [torus], 0)[0]
    expected = distance.score(ball, torus.mesh, 5000)
    assert found == {
        "name": "torus",
        "cd_l1": pytest.approx(expected["cd_l1"], rel=0.03),
        "f_score_0.02": pytest.approx(expected["f_score_0.02"], abs=0.02),
    }
    assert sample.nearest([ball], [], 0) == [None]


def test_the_nearest_of_concentric_balls_is_that_of_the_nearest_radius():
    known = items_of(0.3, 0.4, 0.5, 0.6, 0.7)
    found = sample.nearest([toys.sphere(radius) for radius in (0.44, 0.46, 0.9)], known, 1)
    assert [one["name"] for one in found] == ["ball_0.4", "ball_0.5", "ball_0.7"]
    assert found[2]["cd_l1"] == pytest.approx(2 * 0.2, rel=0.02)


def test_evenly_keeps_the_first_and_spreads_the_rest():
    assert sample.evenly(range(10), 4) == [0, 2, 5, 7]
    assert sample.evenly(range(3), 4) == [0, 1, 2]
    assert sample.evenly([], 4) == []


def test_a_sheet_of_many_draws_shows_the_first_and_tells_of_how_many(tmp_path, monkeypatch, sheets):
    monkeypatch.setattr(sample, "SHOWN", 2)
    config = config_of(3)
    config.name = "toy"
    sample.sample(balls((0.5, np.nan, 0.5)), {}, config, tmp_path, items_of(*np.linspace(0.3, 0.8, 6).round(2)), 40)
    sections, title = sheets[0]
    assert title == "toy at step 40: 3 shapes drawn from the prior, 1 without a surface"
    heads = list(sections)
    assert heads[0].startswith("training shapes, 4 of 6  ·  mean distance of pairs, 1 − V-IoU: 0.")
    assert heads[1] == "drawn from the prior, 2 of 3  ·  mean distance of pairs, 1 − V-IoU: 0.00"
    assert list(sections[heads[0]]) == ["ball_0.3", "ball_0.4", "ball_0.6", "ball_0.7"]
    captions = list(sections[heads[1]])
    assert re.fullmatch(r"00  ·  CD-L1 0\.00\d to ball_0\.5", captions[0])
    assert captions[1] == "01  ·  field not finite"


def test_draws_are_not_compared_with_points(tmp_path):
    (item,) = items_of(0.8)
    cloud = item._replace(name="cloud", mesh=item.mesh._replace(faces=item.mesh.faces[:0]))
    text = r"^cloud is points without faces; accepted for shapes that draws are compared with: meshes with faces$"
    with pytest.raises(ValueError, match=text):
        sample.sample(balls(), {}, config_of(2), tmp_path / "run", [item, cloud])
    assert not (tmp_path / "run").exists()


def test_a_family_without_a_prior_is_refused_before_anything_is_written(tmp_path):
    message = (
        "config.model.family is 'hexplane_ae', which draws nothing with latent.kind = deterministic; --mode=sample accepts "
        "a family that does; latents with a prior: gaussian, vamp_prior, flow_prior, bernoulli, categorical, fsq"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        sample.sample(toys.identity(), {}, config_of(2), tmp_path / "run", items_of(0.8))
    assert not (tmp_path / "run").exists()


def test_the_kinds_named_in_the_refusal_are_those_with_a_prior():
    latent, found = base.get_config().latent, []
    for kind in latents.KINDS:
        latent.kind = kind
        found += [kind] if latents.make(latent, 4).sample is not None else []
    assert tuple(found) == names.PRIORS


@pytest.mark.usefixtures("sheets")
@pytest.mark.parametrize("kind", names.PRIORS)
def test_a_real_family_gives_the_meshes_of_what_its_prior_draws(tmp_path, kind):
    config = toys.config()
    base.make_laboratory(config)
    config.hexplane.resolution_px, config.extract.grid, config.model.widths = 16, 17, (16,)
    config.latent.kind, config.sample.count = kind, 2
    family = families.make(fields.spec(config, ())._replace(shapes=2), config)
    params = family.init({"mask": jnp.ones((2, 6, 16, 16), bool)}, jax.random.key(0), {})
    scores = sample.sample(family, params, config, tmp_path, items_of(0.5, 0.8))
    numbers = {"draw": jnp.arange(config.sample.count)}  # whatever is drawn together
    drawn = family.sample(params, batches.stream_key(config.sample.seed, "sample", 0), numbers)
    for number, row in enumerate(scores["samples"]):
        latent = jax.tree.map(lambda leaf, i=number: leaf[i : i + 1], drawn)
        values, _, ask = pipeline.family_grid(pipeline.decode(latent, family, params), family, params, config)
        mesh = pipeline.polygonise(values, config, ask=ask)[0]
        assert row["faces"] == len(mesh.faces) > 0


def test_draw_i_is_the_same_whatever_the_count_and_names_have_as_many_digits_as_needed():
    counts = {}
    for count in (3, sample.BLOCK + 2):
        config = config_of(count)
        config.extract.grid = 9
        counts[count] = list(sample._draw(balls((0.5,), noise=0.3), {}, config, evaluate.Clock()))
    few, many = counts.values()
    for one, other in zip(few, many):
        np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
        assert one.row == other.row
    assert len({one.mesh.vertices.tobytes() for one in many}) == len(many)  # in the next block too
    config.sample.count = 5000
    draws = sample._draw(balls((0.0,)), {}, config, evaluate.Clock())
    first = [one.name for one, _ in zip(draws, range(102))]
    assert first[99:] == ["sample_99", "sample_100", "sample_101"]


def test_a_draw_tells_the_share_of_nodes_that_a_family_without_a_grid_was_asked():
    family, config = balls((0.5,)), config_of(1)
    whole, asked = (
        next(sample._draw(each, {}, config, evaluate.Clock()))
        for each in (family, dataclasses.replace(family, grid=None))
    )
    assert whole.row["asked_share"] is None
    assert 0 < asked.row["asked_share"] < 0.6
    assert len(asked.mesh.faces) == len(whole.mesh.faces)


@pytest.mark.usefixtures("sheets")
def test_only_the_draws_on_the_sheet_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "SHOWN", 1)
    kept, sections = [], sample._sections
    monkeypatch.setattr(sample, "_sections", lambda drawn, *rest: kept.extend(drawn) or sections(drawn, *rest))
    sample.sample(balls((0.5, 0.6, 0.7)), {}, config_of(3), tmp_path, items_of(0.8))
    assert [one.mesh is None for one in kept] == [False, True, True]


def test_the_spread_of_many_is_that_of_all_pairs(monkeypatch):
    held = list(np.random.default_rng(0).random((7, 40)) < 0.3) + [np.zeros(40, bool)] * 2
    pairs = [(one & other).sum() / max((one | other).sum(), 1) if (one | other).any() else 1
             for i, one in enumerate(held) for other in held[:i]]  # fmt: skip
    for together in (512, 4, 1):
        monkeypatch.setattr(sample, "PAIRED", together)
        assert sample._spread(held) == pytest.approx(1 - np.mean(pairs), abs=1e-6)


@pytest.mark.usefixtures("sheets")
def test_an_evaluation_of_draws_tells_them_as_a_set(tmp_path):
    scores = sample.as_set(balls(), {}, config_of(len(RADII)), tmp_path, items_of(0.3, 0.8), step=3)
    told = {"empty": 2, "non_finite": 1, "watertight": 4, "components": 1, "genus": 0, "spread": scores["spread"]}
    assert scores["mean"] == told
    written = json.loads((tmp_path / "samples.json").read_text())
    assert written == {name: value for name, value in scores.items() if name != "mean"}
    assert not (tmp_path / "scores.json").exists()
