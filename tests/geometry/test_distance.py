"""The protocol's scores: closed forms on spheres and boxes; laws of identity, swapping and scale; failures."""

import json
import re

import numpy as np
import pytest
import trimesh

from hexjax.geometry import distance, frame, sdf
from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh
from tests import shapes

TOPOLOGY = {"watertight", "non_manifold_edges", "components", "euler", "genus", "vertices", "faces"}
KEYS = (
    {f"{name}_{limit}" for name in ("f_score", "precision", "recall") for limit in ("0.005", "0.01", "0.02")}
    | {
        "cd_l1",
        "cd_l2",
        "normal_consistency",
        "flipped_normals",
        "v_iou",
        "s_iou",
        "s_iou_0.05",
        "sharp_normal_error",
        "failed",
    }
    | TOPOLOGY
    | {f"reference_{name}" for name in TOPOLOGY}
)
PERFECT = {f"{name}_{limit}": 1.0 for name in ("f_score", "precision", "recall") for limit in (0.005, 0.01, 0.02)} | {
    "normal_consistency": 1.0,
    "v_iou": 1.0,
    "s_iou": 1.0,
    "s_iou_0.05": 1.0,
}


@pytest.fixture(autouse=True)
def small_renders(monkeypatch):
    monkeypatch.setattr(distance, "RENDER_PX", 96)


def refused(text: str):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def made(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))


def sphere(radius: float, subdivisions: int = 4) -> Mesh:
    return made(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius))


def box(size, centre=(0, 0, 0)) -> Mesh:
    return made(trimesh.creation.box(size, trimesh.transformations.translation_matrix(centre)))


def joined(one: Mesh, other: Mesh) -> Mesh:
    faces = np.concatenate([one.faces, other.faces + len(one.vertices)]).astype(np.int32)
    return Mesh(np.concatenate([one.vertices, other.vertices]), faces)


def flipped(mesh: Mesh) -> Mesh:
    return mesh._replace(faces=mesh.faces[:, ::-1].copy())


def expect_perfect(scores):
    assert {key: scores[key] for key in PERFECT} == pytest.approx(PERFECT, abs=1e-6)
    assert scores["cd_l1"] == pytest.approx(0, abs=1e-7)
    assert scores["cd_l2"] == pytest.approx(0, abs=1e-12)
    assert scores["sharp_normal_error"] == pytest.approx(0, abs=1e-9)
    assert scores["failed"] is False


@pytest.mark.parametrize("name", ["goathead", "suzanne", "fran_face"])
def test_a_head_is_perfect_against_itself(data_folder, name):
    head = meshes.normalise(made(trimesh.load(data_folder / "heads" / f"{name}.ply")))[0]
    scores = distance.score(head, head, samples=2000)
    assert scores.keys() == KEYS
    expect_perfect(scores)
    assert scores["flipped_normals"] == 0.0


def test_a_remeshed_copy_is_perfect_since_distances_are_to_the_surface_and_not_to_samples():
    coarse = trimesh.creation.box((1.2, 0.7, 0.9))
    scores = distance.score(made(coarse.subdivide().subdivide()), made(coarse), samples=50)
    expect_perfect(scores)


def test_scores_are_plain_numbers_and_survive_json():
    scores = distance.score(sphere(0.5, 2), box((1, 1, 1)), samples=500)
    assert {type(value) for value in scores.values()} == {float, int, bool}
    assert json.loads(json.dumps(scores)) == scores


def test_scores_are_a_function_of_the_seed():
    one, other = sphere(0.5, 2), box((1, 1, 1))
    first, same, different = (distance.score(one, other, samples=500, seed=seed) for seed in (3, 3, 4))
    assert first == same
    assert first["cd_l1"] != different["cd_l1"]


def test_concentric_spheres_have_the_closed_form():
    scores = distance.score(sphere(0.6, 5), sphere(0.5, 5), samples=20_000)
    assert scores["cd_l1"] == pytest.approx(0.2, abs=1e-3)
    assert scores["cd_l2"] == pytest.approx(0.02, abs=2e-4)
    assert scores["f_score_0.02"] == 0.0
    assert scores["normal_consistency"] == pytest.approx(1, abs=1e-3)
    assert scores["flipped_normals"] == 0.0
    assert scores["v_iou"] == pytest.approx((0.5 / 0.6) ** 3, abs=0.03)
    # Within 0.02 of the reference the larger sphere is full; the reference holds half of these points.
    assert scores["s_iou"] == pytest.approx(0.5, abs=0.02)


def test_surface_iou_of_spheres_closer_than_its_shell_has_the_closed_form():
    scores = distance.score(sphere(0.81, 5), sphere(0.8, 5), samples=20_000)
    # An offset's part along the normal is below half of the largest offset for (1 + (1 + log 2) / 2) / 2 of the points.
    assert scores["s_iou"] == pytest.approx(0.5 / (0.5 + 0.25 * (1 + np.log(2))), abs=0.02)
    assert scores["s_iou_0.05"] == pytest.approx(0.5 / (0.5 + 0.1 * (1 + np.log(5))), abs=0.02)  # a fifth of it


def test_precision_is_of_the_mesh_and_recall_of_the_reference():
    near, far = box((0.2, 0.2, 0.2), (-0.5, 0, 0)), box((0.4, 0.4, 0.4), (0.5, 0, 0))
    scores = distance.score(near, joined(near, far), samples=20_000)
    assert scores["precision_0.01"] == 1.0
    assert scores["recall_0.01"] == pytest.approx(0.2, abs=0.01)
    recall = scores["recall_0.01"]
    assert scores["f_score_0.01"] == pytest.approx(2 * recall / (1 + recall), abs=1e-12)
    assert (scores["components"], scores["reference_components"]) == (1, 2)


@pytest.mark.parametrize("gap", [0.004, 0.009, 0.019, 0.021])
def test_f_score_counts_distances_up_to_its_threshold(gap):
    side = box((1, 1, 1)).vertices
    wall = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    scores = distance.score(Mesh(side + np.float32([gap, 0, 0]), wall), Mesh(side, wall), samples=200)
    assert [scores[f"f_score_{limit}"] for limit in distance.THRESHOLDS] == [
        float(gap < limit) for limit in distance.THRESHOLDS
    ]


def test_distances_scale_and_swap():
    one, other = sphere(0.5, 3), box((1.1, 0.8, 0.9))
    scores = distance.score(one, other, samples=20_000)
    half = [mesh._replace(vertices=mesh.vertices / 2) for mesh in (one, other)]
    scaled = distance.score(*half, samples=20_000)
    assert scaled["cd_l1"] == pytest.approx(scores["cd_l1"] / 2, rel=1e-5)
    assert scaled["cd_l2"] == pytest.approx(scores["cd_l2"] / 4, rel=1e-5)
    assert scaled["normal_consistency"] == pytest.approx(scores["normal_consistency"], abs=1e-5)
    swapped = distance.score(other, one, samples=20_000)
    for key in ("cd_l1", "cd_l2", "normal_consistency", "flipped_normals", "v_iou"):
        assert swapped[key] == pytest.approx(scores[key], rel=0.03, abs=0.003)
    assert swapped["precision_0.02"] == pytest.approx(scores["recall_0.02"], abs=0.02)


@pytest.mark.parametrize("index", range(3, 24, 5))
def test_scores_change_with_a_rotation_of_both_meshes_by_no_more_than_sampling(index):
    turn = frame.rotations()[index]
    one, other = sphere(0.5, 3), box((1.1, 0.8, 0.9), (0.1, 0, 0))
    scores = distance.score(one, other, samples=10_000)
    turned = distance.score(*(mesh._replace(vertices=mesh.vertices @ turn.T) for mesh in (one, other)), samples=10_000)
    for key in ("cd_l1", "normal_consistency", "s_iou", "f_score_0.02"):
        assert turned[key] == pytest.approx(scores[key], abs=0.02)
    assert turned["v_iou"] == pytest.approx(scores["v_iou"], abs=0.06)  # about 1000 points in the union
    assert turned["sharp_normal_error"] == pytest.approx(scores["sharp_normal_error"], rel=0.1)
    assert {key: turned[key] for key in TOPOLOGY} == {key: scores[key] for key in TOPOLOGY}


def test_winding_turned_inside_out_shows_in_flipped_normals_alone():
    mesh = sphere(0.7, 3)
    scores = distance.score(flipped(mesh), mesh, samples=1000)
    assert scores["flipped_normals"] == 1.0
    expect_perfect(scores)


def test_flipped_normals_are_null_unless_both_meshes_are_consistently_wound():
    mesh = box((1, 1, 1))
    turned = mesh.faces.copy()
    turned[0] = turned[0, ::-1]
    inconsistent, doubtful = mesh._replace(faces=turned), mesh._replace(winding_doubtful=True)
    for pair in ((mesh, inconsistent), (inconsistent, mesh), (doubtful, mesh), (mesh, doubtful)):
        assert distance.score(*pair, samples=100)["flipped_normals"] is None
    assert distance.score(mesh, mesh, samples=100)["flipped_normals"] == 0.0


def test_faces_without_area_change_no_score_but_the_topology():
    mesh = box((1, 1, 1))
    more = mesh._replace(faces=np.concatenate([mesh.faces, [[0, 0, 1], [2, 2, 2]]]).astype(np.int32))
    expect_perfect(distance.score(more, mesh, samples=500))
    assert distance.score(more, mesh, samples=500)["faces"] == 14


@pytest.mark.parametrize("kind", ["no vertices", "no faces", "no area", "not finite"])
def test_a_failed_extraction_has_the_worst_scores_and_raises_nothing(kind):
    triangle = np.array([[0, 1, 2]], np.int32)
    mesh = {
        "no vertices": Mesh(np.zeros((0, 3), np.float32), triangle[:0]),
        "no faces": Mesh(np.zeros((3, 3), np.float32), triangle[:0]),
        "no area": Mesh(np.ones((3, 3), np.float32), triangle),
        "not finite": Mesh(np.float32([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]]), triangle),
    }[kind]
    scores = distance.score(mesh, box((1, 1, 1)), samples=100)
    assert scores.keys() == KEYS
    assert scores["failed"] is True
    for key in PERFECT:
        assert scores[key] == 0.0
    assert scores["cd_l1"] == pytest.approx(4 * np.sqrt(3))
    assert scores["cd_l2"] == pytest.approx(24)
    assert scores["sharp_normal_error"] == pytest.approx(4 / 3)
    assert scores["flipped_normals"] is None
    assert scores["faces"] == len(mesh.faces)
    assert scores["watertight"] is False
    assert scores["reference_watertight"] is True


@pytest.mark.parametrize("failed", [False, True])
def test_scores_at_0_005_are_null_where_the_grid_is_coarser(failed):
    mesh = sphere(0.5, 2)
    subject = mesh._replace(faces=mesh.faces[:0]) if failed else mesh
    for nodes, known in ((64, False), (256, False), (401, True), (512, True)):
        scores = distance.score(subject, mesh, samples=100, spacing=2 / (nodes - 1))
        for name in ("f_score", "precision", "recall"):
            assert (scores[f"{name}_0.005"] is not None) == known
            assert scores[f"{name}_0.01"] == float(not failed)


def test_volumes_of_two_meshes_that_enclose_nothing_have_no_overlap_and_a_volume_and_none_the_overlap_0():
    wall = Mesh(box((1, 1, 1)).vertices, np.array([[0, 1, 2], [1, 3, 2]], np.int32))
    for other in (wall, wall._replace(vertices=wall.vertices + np.float32([0.7, 0, 0]))):
        scores = distance.score(other, wall, samples=500)
        assert (scores["v_iou"], scores["s_iou"]) == (None, None)
    assert distance.score(sphere(0.5, 2), wall, samples=500)["v_iou"] == 0.0
    assert distance.score(wall, sphere(0.5, 2), samples=500)["v_iou"] == 0.0


@pytest.mark.parametrize("scale", [1.01, 1.5, 3.0, 10.0])
def test_what_a_mesh_encloses_outside_the_cube_is_seen(scale):
    cube = box((1.9, 1.9, 1.9))
    larger = cube._replace(vertices=cube.vertices * np.float32(scale))
    scores = distance.score(larger, cube, samples=20_000)
    assert scores["v_iou"] == pytest.approx(scale**-3, rel=0.03)
    assert scores["cd_l1"] > 0.95 * (scale - 1)
    away = distance.score(cube._replace(vertices=cube.vertices + np.float32([2, 0, 0])), cube, samples=20_000)
    assert away["v_iou"] == 0.0


def test_half_outside_the_cube_the_overlap_is_that_of_volumes():
    cube = box((1.8, 1.8, 1.8))
    moved = cube._replace(vertices=cube.vertices + np.float32([0.9, 0, 0]))
    assert distance.score(moved, cube, samples=20_000)["v_iou"] == pytest.approx(1 / 3, abs=0.01)
    spike = box((1e-3, 1e-3, 500), (0, 0, 250))  # in whose box no random point meets it
    assert distance.score(joined(cube, spike), cube, samples=20_000)["v_iou"] == pytest.approx(1, abs=1e-3)


def test_normal_renders_of_a_sphere_are_the_closed_form():
    mesh = sphere(1.0, 5)
    normals = distance._normals(mesh)
    bases = distance._bases()
    np.testing.assert_allclose(bases @ bases.transpose(0, 2, 1), np.broadcast_to(np.eye(3), bases.shape), atol=1e-12)
    centres = ((np.arange(distance.RENDER_PX) + 0.5) * (2 / distance.RENDER_PX) - 1) * distance.RENDER_HALF_SIDE
    right, up = np.meshgrid(centres, centres)
    disc = np.hypot(right, up)
    for basis in bases[::4]:
        for towards, image in zip((1, -1), distance._normal_renders(mesh, normals, basis)):
            assert (image[disc > 1] == 0).all()
            depth = towards * np.sqrt(np.maximum(1 - disc**2, 0))
            expected = right[..., None] * basis[0] + up[..., None] * basis[1] + depth[..., None] * basis[2]
            np.testing.assert_allclose(image[disc < 0.95], expected[disc < 0.95], atol=0.06)


def test_the_22_views_are_apart_from_each_other_and_from_the_cubes_faces():
    axes = distance._bases()[:, 2]
    views = np.concatenate([axes, -axes])
    assert len(views) == 22
    angles = np.degrees(np.arccos(np.clip(views @ views.T, -1, 1))) + 1e3 * np.eye(22)
    assert angles.min() > 25
    assert np.abs(axes).min() > 0.04


def test_normal_renders_show_the_nearer_of_two_surfaces_from_either_end():
    mesh = joined(box((0.4, 0.4, 0.4)), sphere(0.9, 4))
    hidden = distance._normal_renders(*_drawn(mesh), distance._bases()[5])
    alone = distance._normal_renders(*_drawn(sphere(0.9, 4)), distance._bases()[5])
    np.testing.assert_array_equal(hidden, alone)


def _drawn(mesh: Mesh):
    return mesh, distance._normals(mesh)


def test_sharp_normal_error_grows_as_edges_are_rounded_and_is_bounded():
    cube = box((1, 1, 1))
    errors = []
    for share in (0.02, 0.1, 0.3):
        rounded = trimesh.creation.box((1, 1, 1))
        for _ in range(4):
            rounded = rounded.subdivide()
        inner = np.clip(rounded.vertices, -0.5 + share, 0.5 - share)
        outward = rounded.vertices - inner
        rounded.vertices = inner + share * outward / np.linalg.norm(outward, axis=1, keepdims=True)
        errors.append(distance.sharp_normal_error(made(rounded), cube))
    assert 0 < errors[0] < errors[1] < errors[2] < distance.LARGEST_NORMAL_ERROR


def test_sharp_normal_error_is_null_where_the_reference_shows_nothing():
    speck = Mesh(np.float32([[0, 0, 0], [1e-7, 0, 0], [0, 1e-7, 0]]), np.array([[0, 1, 2]], np.int32))
    assert distance.sharp_normal_error(box((1, 1, 1)), speck) is None


def test_seen_recall_counts_only_what_lies_near_a_hit():
    reference = sphere(0.5, 5)
    points = reference.vertices[reference.faces].mean(1).astype(np.float64)
    upper, lower = (reference._replace(faces=reference.faces[mask]) for mask in (points[:, 1] > 0, points[:, 1] < 0))
    hits = points[points[:, 1] > 0]
    found = distance.seen_recall(upper, reference, hits, threshold=0.02, samples=5000)
    assert found["unseen_share"] == pytest.approx(0.5, abs=0.05)
    assert found["recall_seen_0.02"] == 1.0
    missed = distance.seen_recall(lower, reference, hits, threshold=0.02, samples=5000)
    assert missed["recall_seen_0.01"] < 0.1
    assert missed["unseen_share"] == found["unseen_share"]


def test_seen_recall_of_a_failed_mesh_is_0_and_of_nothing_seen_is_null():
    reference = sphere(0.5, 3)
    empty = reference._replace(faces=reference.faces[:0])
    hits = reference.vertices[reference.faces].mean(1)
    failed = distance.seen_recall(empty, reference, hits, threshold=0.1, samples=500)
    assert failed == {"recall_seen_0.005": 0.0, "recall_seen_0.01": 0.0, "recall_seen_0.02": 0.0, "unseen_share": 0.0}
    nothing = distance.seen_recall(reference, reference, hits[:0], samples=500)
    assert nothing == {
        "recall_seen_0.005": None,
        "recall_seen_0.01": None,
        "recall_seen_0.02": None,
        "unseen_share": 1.0,
    }


def test_closest_points_are_float32_on_the_surface():
    value, point, face = distance.closest(box((1, 1, 1)), np.float32([[1, 0, 0], [0.1, 0.2, 2], [0, 0, 0.4]]))
    assert (value.dtype, point.dtype, face.dtype) == (np.float32, np.float32, np.int32)
    np.testing.assert_allclose(value, [0.5, 1.5, 0.1], atol=1e-7)
    np.testing.assert_allclose(point, [[0.5, 0, 0], [0.1, 0.2, 0.5], [0, 0, 0.5]], atol=1e-7)


def test_refusals_tell_what_was_got():
    mesh = box((1, 1, 1))
    for call in (distance.score, lambda *pair: distance.seen_recall(*pair, np.zeros((1, 3)))):
        with refused("the reference has 0 faces and no finite area; a score needs a surface"):
            call(mesh, mesh._replace(faces=mesh.faces[:0]))
    with refused("config.score.samples is 0; accepted: at least 1"):
        distance.score(mesh, mesh, samples=0)


def test_a_reference_s_edges_are_looked_for_once_and_another_s_anew(monkeypatch):
    found, near_edges = [], distance._near_edges
    monkeypatch.setattr(distance, "_near_edges", lambda image: found.append(1) or near_edges(image))
    distance._expected.cache_clear()
    cube, ball = shapes.cube(0.5), shapes.sphere(0.6, 1)
    first = [distance.sharp_normal_error(mesh, cube) for mesh in (ball, cube)]
    assert len(found) == distance.VIEWS
    assert first[1] == 0 < first[0]
    assert distance.sharp_normal_error(ball, ball) == 0
    assert len(found) == 2 * distance.VIEWS


def test_a_reference_is_asked_once_and_anew_where_anything_is_another(monkeypatch):
    asked, inside = [], sdf.inside
    monkeypatch.setattr(sdf, "inside", lambda mesh, points: asked.append(len(mesh.faces)) or inside(mesh, points))
    distance._asked.cache_clear()
    cube, ball, other = shapes.cube(0.5), shapes.sphere(0.6, 1), shapes.sphere(0.5, 2)
    fresh = lambda *given, **more: distance._asked.cache_clear() or distance.score(*given, **more)
    calls = [
        (ball, cube, 200, 0),
        (other, cube, 200, 0),
        (ball, other, 200, 0),
        (ball, other, 200, 1),
        (ball, other, 300, 1),
    ]
    found = [distance.score(*call) for call in calls]
    references = [12, *[len(other.faces)] * 3]
    assert sorted(asked) == sorted([*(len(mesh.faces) for mesh, *_ in calls), *references])
    assert found == [fresh(*call) for call in calls]


def test_a_true_field_has_no_error_and_a_shifted_one_its_shift():
    mesh = shapes.sphere(0.6, 4)
    true = lambda points: sdf.signed_distance(mesh, points)[0]
    exact = distance.field(true, mesh, 4000, 0)
    assert max(exact["sdf_l1"], exact["sdf_normal_near_l1"]) < 1e-8
    assert exact["sdf_sign"] == exact["sdf_near_sign"] == exact["sdf_normal_sign"] == 1
    shifted = distance.field(lambda points: true(points) + 0.004, mesh, 4000, 0)
    np.testing.assert_allclose(shifted["sdf_near_l1"], 0.004, atol=1e-6)
    assert shifted["sdf_l1"] < 0.004  # beyond the clamp both are the same
    assert shifted["sdf_normal_near_sign"] < shifted["sdf_near_sign"] < 1


def test_a_field_of_zero_and_one_that_is_not_finite_score_as_they_deserve():
    mesh = shapes.sphere(0.6, 4)
    zero = distance.field(lambda points: np.zeros(len(points)), mesh, 8000, 0)
    assert abs(zero["sdf_near_l1"] - 0.0125) < 0.001
    assert abs(zero["sdf_normal_near_l1"] - 0.0011) < 0.0001
    broken = distance.field(lambda points: np.full(len(points), np.nan), mesh, 1000, 0)
    assert broken["sdf_l1"] == pytest.approx(0.2)
    assert broken["sdf_sign"] == 0
    with pytest.raises(ValueError) as refused:
        distance.field(lambda points: points[:, 0], mesh, 1, 0)
    assert str(refused.value) == "config.score.samples is 1; accepted with a field to score: at least 2"
