"""Parts thinner than a cell are meshed as they are, others as if nobody asked."""

import functools

import numpy as np
import pytest
from scipy.spatial import transform

from benchmarks import thin as plates
from hexjax.geometry import blocks, distance, frame, hulls, isosurface, thin
from tests.geometry import maps

COUNT = 48
SPACING = 2 / (COUNT - 1)
TURNED = transform.Rotation.from_euler("xyz", (25, 35, 15), degrees=True).as_matrix()


def grid(ask, count=COUNT):
    """A field on a grid's nodes, clipped as that of maps is."""
    nodes = np.stack(np.meshgrid(*[np.asarray(frame.grid_nodes(count))] * 3, indexing="ij"), -1).reshape(-1, 3)
    return np.clip(ask(nodes), -4 / (count - 1), 4 / (count - 1)).astype(np.float32).reshape((count,) * 3)


def shell(points, radius=0.6, half=0.1 * SPACING, centre=(0.01, -0.02, 0.03)):
    return np.abs(np.linalg.norm(points - np.array(centre), axis=-1) - radius) - half


def rod(points, end=(0.5, 0.35, 0.2), radius=0.2 * SPACING):
    """From an end through the cube's centre to the opposite one, with round caps."""
    end = np.array(end)
    along = np.clip(points @ end / (end @ end), -1, 1)
    return np.linalg.norm(points - along[..., None] * end, axis=-1) - radius


def slab(points, half=(0.6, 0.1 * SPACING, 0.5), matrix=TURNED, move=0.0):
    """A box, moved along its second side."""
    beyond = np.abs(points @ matrix - np.array([0, move, 0])) - np.array(half)
    return np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(-1), 0)


def pair(points, apart=3 * SPACING, matrix=TURNED):
    return np.minimum(*(slab(points, matrix=matrix, move=move) for move in (-apart / 2, apart / 2)))


def ball(points):
    return np.linalg.norm(points, axis=-1) - 0.7


def cube(points):
    return slab(points, (0.5, 0.5, 0.5), np.eye(3))


def turned_cube(points):
    return slab(points, (0.5, 0.5, 0.5))


STRAIGHT = {"matrix": np.eye(3)}


@pytest.mark.parametrize(
    ("ask", "parts", "euler", "most"),
    [
        pytest.param(shell, 2, 4, 1e-3, id="shell"),  # a sphere within a sphere
        pytest.param(rod, 1, 2, 1e-3, id="rod"),
        pytest.param(slab, 1, 2, 1e-3, id="slab"),
        pytest.param(functools.partial(slab, **STRAIGHT), 1, 2, 1e-3, id="straight slab"),
        pytest.param(functools.partial(slab, move=SPACING / 2, **STRAIGHT), 1, 2, SPACING / 4, id="slab on nodes"),
        pytest.param(pair, 2, 4, 1e-3, id="pair"),
        pytest.param(functools.partial(pair, **STRAIGHT), 2, 4, SPACING / 4, id="straight pair"),
    ],
)
def test_what_is_thinner_than_a_cell_is_meshed_as_it_is(ask, parts, euler, most):
    """Where nodes lie inside none is moved, and rims are cut as marching cubes cuts them."""
    mesh, report = isosurface.polygonise(grid(ask), 0.0, ask)
    assert (report["components"], report["euler"], report["watertight"]) == (parts, euler, True)
    assert np.abs(ask(mesh.vertices)).max() < most


@pytest.mark.parametrize("ask", [ball, cube, turned_cube, functools.partial(shell, half=2 * SPACING)])
def test_what_the_grid_sees_is_meshed_as_if_nobody_asked(ask):
    values = grid(ask)
    assert len(thin.move(values, ask).nodes) == 0
    for found, expected in zip(isosurface.polygonise(values, 0.0, ask)[0], isosurface.polygonise(values, 0.0)[0]):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["sphere", "plate"])
def test_fields_that_are_no_distances_are_meshed_too(name):
    """A hull is all the grid sees of it or thinner; steps are as steep as can be."""
    given = maps.soft(maps.of(name))
    hull = functools.partial(maps.hull_program, given)
    steps = lambda points: np.where(np.asarray(hull(points)) < 0, -0.5, 0.5)
    for ask in (hull, steps):
        mesh, report = isosurface.polygonise(np.asarray(grid_of(ask), np.float32), ask=ask)
        assert report["watertight"]
        assert np.isfinite(mesh.vertices).all()
    np.testing.assert_allclose(hulls.grid(given, 33), grid_of(hull), atol=1e-5)


def grid_of(ask, count=33):
    nodes = np.stack(np.meshgrid(*[np.asarray(frame.grid_nodes(count))] * 3, indexing="ij"), -1).reshape(-1, 3)
    return thin.asked(ask, nodes).reshape((count,) * 3)


def test_a_field_that_is_not_finite_is_refused_whoever_is_asked():
    values = grid(ball)
    values[1, 2, 3] = np.nan
    with pytest.raises(ValueError) as error:
        isosurface.polygonise(values, ask=ball)
    assert str(error.value) == f"the field is not finite at 1 of {COUNT**3} nodes"


BENDS = {
    "straight": (lambda way: way, 2e-4),
    "flat within": (lambda way: np.maximum(way, -0.1), 2e-4),
    "bent": (lambda way: way + 4 * way**3, 2e-4),
    "steep": (lambda way: 1e3 * way, 2e-4),
    "slight": (lambda way: 1e-3 * way, 2e-4),
    "thin": (lambda way: np.maximum(way, -0.01), 2e-4),
    "step": (lambda way: np.where(way < 0, -0.5, 0.5), 2e-3),
    "uneven step": (lambda way: np.where(way < 0, -0.001, 0.1), 2e-3),
}


@pytest.mark.parametrize("bend", BENDS)
def test_the_zero_level_between_points_is_found(bend):
    """As a share of the way between them, which is a part of the x axis for every y."""
    field, atol = BENDS[bend]
    inner = np.stack([np.full(500, -0.5), np.linspace(-0.9, 0.9, 500), np.zeros(500)], -1)
    share = lambda y: 0.5 + 0.49 * np.sin(9 * y)
    ask = lambda points: field(points[:, 0] + 0.5 - share(points[:, 1]))
    found = thin._zero(ask, inner, inner + np.array([1, 0, 0]))
    np.testing.assert_allclose(found[:, 0] + 0.5, share(inner[:, 1]), atol=atol)


THICKNESSES, GRIDS = (0.001, 0.003, 0.01, 0.03), (64, 96, 128, 192, 256)
QUICK = [(0.001, True, 128, 64), (0.01, False, 128, 96)]
EVERY = [
    (t, turned, resolution, grid)
    for t in THICKNESSES
    for turned in (False, True)
    for resolution in (128, 512)
    for grid in GRIDS
]


def assert_plate(thickness, turned, resolution, count):
    """One closed part, a sphere's, in its place and as thick."""
    plate = plates.plate("y", thickness, turned)
    given = maps.render(plate, resolution)
    mesh, report = isosurface.polygonise(blocks.grid(given, count), ask=maps.ask(given))
    assert (report["components"], report["watertight"], report["euler"]) == (1, True, 2)
    assert distance.score(mesh, plate, 20_000, 0)["f_score_0.02"] >= 0.99
    assert abs(volume(mesh) / (plates.LONG * plates.SHORT * thickness) - 1) < 0.15


def volume(mesh):
    corners = np.asarray(mesh.vertices, float)[np.asarray(mesh.faces)]
    return np.linalg.det(corners).sum() / 6


@pytest.mark.parametrize(("thickness", "turned", "resolution", "count"), QUICK)
def test_a_plate_thinner_than_a_pixel_is_one_part_as_thick_as_it_is(thickness, turned, resolution, count):
    assert_plate(thickness, turned, resolution, count)


@pytest.mark.slow
@pytest.mark.parametrize(("thickness", "turned", "resolution", "count"), EVERY)
def test_every_plate_is_one_part_as_thick_as_it_is(thickness, turned, resolution, count):
    assert_plate(thickness, turned, resolution, count)
