"""The head made in code: closed, simple, of a known size, the same for the same seed, and different for others."""

import igl.predicates
import numpy as np
import pytest

from hexjax.data import procedural
from hexjax.geometry import mesh as meshes

SEEDS = range(3)


@pytest.fixture(scope="module")
def heads():
    return [procedural.head(seed) for seed in SEEDS]


def test_every_head_is_closed_of_one_part_without_handles(heads):
    for head in heads:
        found = meshes.topology(head)
        assert found["watertight"]
        assert found["components"] == 1
        assert found["euler"] == 2
        assert (found["vertices"], found["faces"]) == (5700, 11396)


def test_no_head_cuts_itself(heads):
    for head in heads:
        arrays = head.vertices.astype(np.float64), head.faces.astype(np.int64)
        assert not igl.predicates.find_self_intersections(*arrays, True)[0]


def test_winding_is_outward(heads):
    for head in heads:
        corners = head.vertices[head.faces].astype(np.float64)
        volume = np.linalg.det(corners).sum() / 6
        assert 3000 < volume < 8000  # cubic centimetres; negative if wound inwards


def test_vertices_lie_on_the_zero_level_and_normals_along_the_gradient(heads):
    for seed, head in zip(SEEDS, heads):
        shape, vertices = procedural.draw(seed), head.vertices.astype(np.float64)
        assert np.abs(procedural.signed_distance(vertices, shape)).max() < 0.1
        corners = vertices[head.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        slope = procedural.gradient(corners.mean(1), shape)
        assert ((normal * slope).sum(1) > 0).mean() > 0.999


def test_the_face_looks_along_positive_z_and_the_top_is_up(heads):
    """The most forward vertex is the nose's tip, below the eyes and near the middle; the neck widens below."""
    for head in heads:
        tip = head.vertices[head.vertices[:, 2].argmax()]
        assert abs(tip[0]) < 1
        assert -6 < tip[1] < -2
        assert head.vertices[:, 1].max() > 10 > -10 > head.vertices[:, 1].min()


def test_same_seed_same_head(heads):
    again = procedural.head(2)
    np.testing.assert_array_equal(again.vertices, heads[2].vertices)
    np.testing.assert_array_equal(again.faces, heads[2].faces)


def test_other_seeds_give_other_heads(heads):
    """Any two heads differ by half a centimetre somewhere on the rays from the middle of the head."""
    directions = np.random.default_rng(0).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = np.linspace(5, 16, 300)
    profiles = []
    for seed in range(5):
        points = reach[:, None, None] * directions
        profiles.append(reach[(procedural.signed_distance(points, procedural.draw(seed)) < 0).sum(0).clip(0, 299)])
    for i in range(5):
        for j in range(i):
            assert np.abs(profiles[i] - profiles[j]).max() > 0.5


def test_seed_zero_is_the_mean_head():
    assert procedural.draw(0) == {name: mean for name, (mean, _) in procedural.PARAMETERS.items()}


def test_parameters_stay_within_two_standard_deviations():
    for seed in range(1, 50):
        for name, value in procedural.draw(seed).items():
            mean, spread = procedural.PARAMETERS[name]
            assert abs(value - mean) <= 2 * spread * (1 + 1e-12)


def test_a_smooth_union_is_the_minimum_away_from_the_seam_and_below_it_near():
    first, second = np.array([0.0, 1.0, 5.0]), np.array([0.0, 1.5, 2.0])
    np.testing.assert_allclose(procedural.union(first, second, 1.0), [-0.25, 1.0 - 0.0625, 2.0])
