"""What shapes score without a model: laws that the three baselines cannot break, and what is told of a model beside them."""

import re

import numpy as np
import pytest
import scipy.spatial

from hexjax import pipeline
from hexjax.evaluation import baselines, nearness
from hexjax.geometry import frame, sdf, surface
from hexjax.types import Mesh
from tests import shapes
from tests.evaluation import toys

NODES, CLAMP = 33, 0.1


def items_of(**named: Mesh):
    """Shapes in the frame by their names, as they are."""
    return [toys.item()._replace(name=name, mesh=mesh) for name, mesh in named.items()]


def grown(mesh: Mesh, x: float, y: float) -> Mesh:
    return mesh._replace(vertices=mesh.vertices * np.array([x, y, 1], np.float32))


def varied():
    """Nine ellipsoids of two sizes that vary."""
    ball, sizes = shapes.sphere(0.6, 2), (0.8, 1.0, 1.3)
    return items_of(**{f"{x}x{y}": grown(ball, x, y) for x in sizes for y in sizes})


def fields_of(items):
    return baselines.fields([item.mesh for item in items], NODES, CLAMP)


def test_of_one_training_shape_all_three_give_it():
    (ball,), (torus,) = items_of(ball=shapes.sphere(0.6)), items_of(torus=shapes.torus())
    found = baselines.scores([ball], [ball, torus], toys.config(), 8, NODES, CLAMP)
    assert found["pca"]["components"] == 0
    assert found["mean_shape"]["rows"] == found["pca"]["rows"]
    for name in ("mean_shape", "nearest", "pca"):
        assert list(found[name]["rows"]) == ["ball", "torus"]
        assert found[name]["rows"]["ball"]["f_score_0.01"] > 0.99
        assert found[name]["rows"]["ball"]["v_iou"] > 0.97
        assert found[name]["rows"]["torus"]["v_iou"] < 0.6
    assert [row["nearest"] for row in found["nearest"]["rows"].values()] == ["ball", "ball"]


def test_a_shape_of_the_training_is_found_exactly_by_the_oracle_and_to_the_grid_by_pca():
    train = varied()
    found = baselines.scores(train, train[1:3], toys.config(), 100, NODES, CLAMP)
    assert [row["nearest"] for row in found["nearest"]["rows"].values()] == [item.name for item in train[1:3]]
    assert found["nearest"]["mean"]["cd_l1"] == pytest.approx(0, abs=1e-6)
    assert found["pca"]["components"] == 8
    assert found["pca"]["mean"]["f_score_0.01"] > 0.99
    assert found["pca"]["mean"]["cd_l1"] < 0.006 < found["mean_shape"]["mean"]["cd_l1"]
    known = fields_of(train)
    weights, _ = baselines.project(known, known[1:3], 100)
    np.testing.assert_allclose(weights, np.eye(9)[1:3], atol=1e-6)


def test_more_components_are_never_farther_off_than_fewer_and_none_are_the_mean():
    train = varied()
    known, asked = fields_of(train), fields_of(items_of(ball=shapes.sphere(0.7), cube=shapes.cube(0.45)))
    errors = []
    for floats in (0, 1, 2, 4, 8, 100):
        weights, count = baselines.project(known, asked, floats)
        assert count == min(floats, 8)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-9)
        errors.append(np.square(weights @ known - asked).sum(1))
    np.testing.assert_allclose(errors[0], np.square(known.mean(0) - asked).sum(1), rtol=1e-5)
    assert (np.diff(errors, axis=0) <= 1e-6).all()
    assert (errors[-1] < 0.9 * errors[0]).all()
    assert np.array_equal(errors[-1], errors[-2])


def test_projections_are_those_of_a_singular_value_decomposition():
    random = np.random.default_rng(0)
    known, asked = random.normal(size=(6, 40)).astype(np.float32), random.normal(size=(3, 40)).astype(np.float32)
    weights, _ = baselines.project(known, asked, 3)
    mean = known.astype(np.float64).mean(0)
    axes = np.linalg.svd(known - mean, full_matrices=False)[2][:3]
    np.testing.assert_allclose(weights @ known, mean + (asked - mean) @ axes.T @ axes, atol=1e-6)


def test_shapes_that_are_there_twice_add_no_component():
    known = fields_of([*varied()[:3], *varied()[:3]])
    assert baselines.project(known, known[:1], 5)[1] == 2
    assert baselines.project(known[[0, 0]], known[1:2], 5)[1] == 0


def test_scores_are_those_of_the_protocol():
    train, (ball,), config = varied()[:2], items_of(ball=shapes.sphere(0.7)), toys.config()
    found = baselines.scores(train, [ball], config, 1, NODES, CLAMP)
    best = train[1]
    row = found["nearest"]["rows"]["ball"]
    assert row == {"nearest": best.name, "dropped_parts": 0} | pipeline.score(best.mesh, ball.mesh, config)
    mean = fields_of(train).mean(0, dtype=np.float64).astype(np.float32)
    mesh, report = pipeline.polygonise(mean.reshape((NODES,) * 3), config)
    expected = pipeline.score(mesh, ball.mesh, config) | {"dropped_parts": report["dropped_parts"]}
    assert found["mean_shape"]["rows"]["ball"] == expected
    for name, each in found.items():
        assert each["failed"] == 0
        assert each["mean"]["f_score_0.02"] == each["median"]["f_score_0.02"] == each["rows"]["ball"]["f_score_0.02"]
        assert each.get("shapes") == (None if name == "nearest" else 2)


def test_a_mean_without_a_surface_has_failed_and_is_counted():
    corners = [(x, y, z) for x in (-0.6, 0.6) for y in (-0.6, 0.6) for z in (-0.6, 0.6)]
    ball = shapes.sphere(0.3, 2)
    train = items_of(**{str(at): ball._replace(vertices=ball.vertices + np.float32(at)) for at in corners})
    found = baselines.scores(train, train[:1], toys.config(), 8, NODES, CLAMP)
    assert [found[name]["failed"] for name in baselines.LABELS] == [1, 0, 0]
    assert found["mean_shape"]["mean"]["f_score_0.02"] == 0


@pytest.mark.parametrize("mesh", [shapes.sphere(0.6), shapes.torus(), shapes.soup(3, 8)], ids=["ball", "torus", "soup"])
@pytest.mark.parametrize("nodes", [17, 30])
def test_distances_are_exact_where_they_are_not_clamped(mesh, nodes):
    side = np.asarray(frame.grid_nodes(nodes))
    points = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
    expected = np.clip(sdf.signed_distance(mesh, points)[0], -CLAMP, CLAMP).reshape((nodes,) * 3)
    assert np.array_equal(baselines.distance(mesh, nodes, CLAMP), expected)


def test_distances_of_a_mesh_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXJAX_CACHE", str(tmp_path))
    train = varied()[:2]
    first = fields_of(train)

    def refuse(*given):
        raise AssertionError(f"made again: {given[1:]}")

    monkeypatch.setattr(baselines, "distance", refuse)
    assert np.array_equal(fields_of(train), first)
    with pytest.raises(AssertionError, match=re.escape(f"made again: ({NODES}, 0.2)")):
        baselines.fields([train[0].mesh], NODES, 0.2)


def test_of_many_training_shapes_the_mean_is_made_of_some_and_the_oracle_knows_all(monkeypatch):
    monkeypatch.setattr(baselines, "MOST", 4)
    train = varied()
    found = baselines.scores(train, train[4:5], toys.config(), 100, 17, CLAMP)
    told = [found[name].get("shapes") for name in baselines.LABELS]
    assert (told, found["pca"]["components"]) == ([3, None, 3], 2)
    assert found["nearest"]["rows"][train[4].name]["nearest"] == train[4].name


def test_the_nearest_is_that_of_the_points_both_ways():
    meshes = [shapes.sphere(0.5, 2), shapes.cube(0.45), shapes.torus()]
    trees, one = [nearness.tree(mesh, 3) for mesh in meshes], nearness.tree(shapes.sphere(0.6, 2), 3)
    distances = [
        scipy.spatial.distance.cdist(one.data, surface.sample(mesh, 2048, np.random.default_rng(3))[0])
        for mesh in meshes
    ]
    expected = np.argmin([each.min(0).mean() + each.min(1).mean() for each in distances])
    assert nearness.nearest(one, trees) == expected
    assert nearness.nearest(trees[2], [trees[0], trees[2], trees[2]]) == 1


@pytest.fixture(scope="module")
def found():
    return baselines.scores(varied()[:3], items_of(ball=shapes.sphere(0.7), cube=shapes.cube()), toys.config(), 1, 17)


def test_a_model_beats_the_oracle_only_by_a_higher_mean(found):
    means = {name: f"{found[name]['mean']['f_score_0.02']:.4f}" for name in baselines.LABELS}
    end = f"on 2 held-out shapes; mean shape {means['mean_shape']}, PCA of 1 components {means['pca']}"
    oracle = "the nearest training shape, told by an oracle: F@0.02"
    rows = [{"name": "cube", "f_score_0.02": 0.98}, {"name": "ball", "f_score_0.02": 1.0}]
    assert baselines.beats(rows, found) == (True, f"the model beats {oracle} 0.9900 against {means['nearest']} {end}")
    equal = [{"name": name, "f_score_0.02": row["f_score_0.02"]} for name, row in found["nearest"]["rows"].items()]
    told = f"the model does not beat {oracle} {means['nearest']} against {means['nearest']} {end}"
    assert baselines.beats(equal, found) == (False, told)


def test_rows_of_other_shapes_are_refused(found):
    with pytest.raises(ValueError, match=r"^the model's 1 rows and the baselines' 2 are not of the same shapes$"):
        baselines.beats([{"name": "ball", "f_score_0.02": 1.0}], found)


def test_no_shapes_and_shapes_of_points_are_refused():
    (ball,) = items_of(ball=shapes.sphere(0.6, 1))
    points = ball._replace(name="cloud", mesh=Mesh(ball.mesh.vertices, np.zeros((0, 3), np.int32)))
    for train, held, told in (
        ([], [ball], "there are no training shapes; baselines need at least one (config.data.split)"),
        ([ball], [], "there are no held-out shapes; baselines need at least one (config.data.split)"),
        ([ball], [points], "cloud is points without faces; accepted for baselines: meshes with faces"),
        ([points], [ball], "cloud is points without faces; accepted for baselines: meshes with faces"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
            baselines.scores(train, held, toys.config(), 8)
