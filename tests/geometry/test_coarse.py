"""Coarse to fine: the mesh of all nodes asked, from few of them, whatever the field is."""

import numpy as np
import pytest

from hexjax.geometry import coarse, frame, isosurface, sdf
from tests import shapes

CHUNK = 1000


def ball(points, centre=(0.0, 0.0, 0.0), radius=0.7):
    return np.linalg.norm(points - np.array(centre), axis=1) - radius


def torus(points, major=0.6, minor=0.25):
    return np.hypot(np.hypot(points[:, 0], points[:, 2]) - major, points[:, 1]) - minor


def plate(points, half=0.012):
    """Thinner than a cell of the grids below, at no node of the first blocks."""
    return np.maximum(np.abs(points[:, 1] - 0.031) - half, np.abs(points).max(1) - 0.85)


FIELDS = {
    "ball": ball,
    "torus": torus,
    "thin ring": lambda points: torus(points, 0.7, 0.02),
    "plate": plate,
    "two far parts": lambda points: np.minimum(
        ball(points, (0.6, 0.6, 0.6), 0.2), ball(points, (-0.7, -0.7, 0.7), 0.06)
    ),
    "plane, out of the cube": lambda points: points[:, 1] - 0.1,
    "a hollow ball": lambda points: np.abs(ball(points)) - 0.05,
    "full to the border": lambda points: ball(points, radius=1.9),
    "full": lambda points: -np.ones(len(points)),
    "empty": lambda points: np.ones(len(points)),
    "zero": lambda points: np.zeros(len(points)),
    "clamped": lambda points: np.clip(torus(points), -0.1, 0.1),
    "an occupancy": lambda points: np.tanh(30 * torus(points)),
    "signs alone": lambda points: np.sign(torus(points)),
    "unevenly steep": lambda points: torus(points) * (1 + 4 * points[:, 0] ** 2),
    "rough": lambda points: torus(points) + 0.02 * np.sin(40 * points[:, 0]) * np.sin(40 * points[:, 1]),
}


def nodes_of(count):
    side = np.asarray(frame.grid_nodes(count))
    return np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)


def every(field, count):
    return field(nodes_of(count)).astype(np.float32).reshape((count,) * 3)


class Asked:
    """A field that keeps where it was asked."""

    def __init__(self, field, count):
        self.field, self.count, self.points = field, count, []

    def __call__(self, points):
        assert points.dtype == np.float32
        self.points.append(points)
        return self.field(points).astype(np.float32)

    def times(self):
        """How often each node was asked."""
        found = np.zeros((self.count,) * 3, int)
        places = np.rint((np.concatenate(self.points) + 1) * (self.count - 1) / 2).astype(int)
        np.add.at(found, tuple(places.T), 1)
        return found


def assert_same(values, expected):
    found, report = isosurface.polygonise(values, 0.01)
    mesh, expected_report = isosurface.polygonise(expected, 0.01)
    np.testing.assert_array_equal(found.faces, mesh.faces)
    np.testing.assert_array_equal(found.vertices, mesh.vertices)
    assert report == expected_report


@pytest.mark.parametrize(("name", "count"), [*((name, count) for name in FIELDS for count in (24, 100)), ("ball", 9),
                                             ("plate", 192), ("two far parts", 192)])  # fmt: skip
def test_the_mesh_is_that_of_all_nodes(name, count):
    ask, expected = Asked(FIELDS[name], count), every(FIELDS[name], count)
    values, share = coarse.grid(ask, count, CHUNK)
    assert (values.shape, values.dtype) == ((count,) * 3, np.float32)
    assert_same(values, expected)
    np.testing.assert_array_equal(values < 0, expected < 0)  # filled in with the right sign
    assert share < 0.5 or count < 50


def test_nodes_are_asked_once_in_whole_chunks_and_their_share_is_told():
    count = 66  # no node is at 0, where the padding is
    ask = Asked(torus, count)
    values, share = coarse.grid(ask, count, CHUNK)
    assert {points.shape for points in ask.points} == {(CHUNK, 3)}
    ask.points = [points[(points != 0).any(1)] for points in ask.points]
    times = ask.times()
    assert times.max() == 1
    assert share == pytest.approx(times.mean())
    np.testing.assert_array_equal(values[times > 0], every(torus, count)[times > 0])


def test_a_chunk_is_no_larger_than_the_grid():
    ask = Asked(torus, 9)
    coarse.grid(ask, 9, CHUNK)
    assert [len(points) for points in ask.points] == [9**3]


@pytest.mark.parametrize(("name", "most"), [("ball", 0.11), ("thin ring", 0.02), ("two far parts", 0.02), ("clamped", 0.14),
                                            ("an occupancy", 0.18), ("empty", 0.005)])  # fmt: skip
def test_few_nodes_are_asked(name, most):
    assert coarse.grid(Asked(FIELDS[name], 129), 129, 2**14)[1] < most


@pytest.mark.parametrize("seed", range(6))
def test_fields_that_are_no_distances_give_the_same_mesh(seed):
    """Small random networks, whose level is a quantile of their values: folded sheets and loose parts, of any scale."""
    random, count = np.random.default_rng(seed), 75
    weights = [random.normal(0, 1.5, (3, 24)), random.normal(0, 0.5, (24, 24)), random.normal(0, 1, (24, 1))]
    scale = 10.0 ** random.uniform(-2, 3)

    def raw(points):
        hidden = np.tanh(np.tanh(points.astype(np.float64) @ weights[0] + weights[0][0]) @ weights[1])
        return scale * (hidden @ weights[2])[:, 0]

    level = np.quantile(raw(nodes_of(12)), 0.3)
    field = lambda points: raw(points) - level
    values, share = coarse.grid(Asked(field, count), count, CHUNK)
    assert_same(values, every(field, count))
    assert share < 0.6


@pytest.mark.parametrize(
    "name",
    ["furniture_kenney_chair", "furniture_kaykit_shelf_a_big", "tool_weapon_gazebo_plastic_cup_plastic_cup",
     "misc_drake_dishes_plate_8in"],
)  # fmt: skip
def test_real_thin_shapes_are_whole(data_folder, name):
    mesh, count = shapes.shape(data_folder, name), 64
    expected = every(lambda points: sdf.signed_distance(mesh, points)[0], count)
    look_up = lambda points: expected[tuple(np.rint((points + 1) * (count - 1) / 2).astype(int).T)]
    values, share = coarse.grid(look_up, count, CHUNK)
    assert_same(values, expected)
    assert share < 0.3


def rod(points):
    """A ball and a rod two cells thick, by signs alone: no value tells that the rod is near, and the ball alone is met."""
    thin = (np.abs(points[:, 1:] - 0.045).max(1) < 0.03) & (points[:, 0] > -0.6) & (points[:, 0] < 0.9)
    return np.where(thin | (ball(points, (-0.6, 0, 0), 0.25) < 0), -1, 1)


def test_a_surface_once_met_is_followed_to_its_end(monkeypatch):
    count, expected = 65, every(rod, 65)
    values, share = coarse.grid(Asked(rod, count), count, CHUNK)
    assert_same(values, expected)
    assert share < 0.2
    monkeypatch.setattr(coarse, "_left_out", lambda nodes: [])
    values, _ = coarse.grid(Asked(rod, count), count, CHUNK)
    assert (values[expected < 0] > 0).any()  # the rod is what following finds


def holed(points, inner, outer):
    """A ball whose field is no number between two distances from the centre."""
    values = ball(points)
    return np.where((values > inner) & (values < outer), np.nan, values)


@pytest.mark.parametrize(
    ("inner", "outer"), [(-0.1, 0.1), (-0.005, 0.02), (-9, 9)], ids=["early", "late", "everywhere"]
)
def test_a_field_that_is_not_finite_is_asked_everywhere(inner, outer):
    count, field = 50, lambda points: holed(points, inner, outer)
    expected = every(field, count)
    assert np.isnan(expected).any()
    values, share = coarse.grid(Asked(field, count), count, CHUNK)
    assert share == 1
    np.testing.assert_array_equal(values, expected)
    values, share = coarse.grid(Asked(lambda points: np.where(np.isnan(field(points)), np.inf, 1), count), count, CHUNK)
    assert share == 1
    np.testing.assert_array_equal(np.isinf(values), np.isnan(expected))


def test_huge_values_warn_of_nothing():
    field = lambda points: 1e38 * ball(points)
    assert_same(coarse.grid(Asked(field, 50), 50, CHUNK)[0], every(field, 50))


@pytest.mark.parametrize(("count", "stride"), [(8, 1), (24, 2), (33, 2), (64, 4), (128, 8), (256, 8), (512, 8)])
def test_the_first_blocks_are_enough_to_see_a_shape_by(count, stride):
    assert coarse.first_stride(count) == stride
