"""A transformed shape gives the transformed maps, grids and cells; the 48 are a group; 0 changes no bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.geometry import frame, hexplane, surface, symmetry
from hexjax.types import Hexplane
from tests import shapes

EVERY = np.arange(symmetry.COUNT, dtype=np.int32)
# A quarter turn about each axis and the mirror through the centre make all 48; 29 and 40 mix a turn with the mirror.
RENDERED = (*[int(i) for i in EVERY[:24] if symmetry.MATRICES[i].trace() == 1], 24, 29, 40)


def distance(points):
    """A signed distance with no symmetry of the cube: two balls of different size, off every axis and diagonal."""
    balls = (((0.3, -0.1, 0.2), 0.35), ((-0.35, 0.25, -0.1), 0.2))
    return np.min([np.linalg.norm(np.asarray(points) - c, axis=-1) - r for c, r in balls], 0)


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def awkward(*shape: int) -> np.ndarray:
    """Numbers with -0, infinity and NaN among them."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values.reshape(-1)[:4] = -0.0, np.inf, -np.inf, np.nan
    return values


def centres(count: int) -> np.ndarray:
    along = np.asarray(frame.pixel_centres(count))
    return np.stack(np.meshgrid(along, along, along, indexing="ij"), -1)


def test_there_are_48_signed_permutations_the_identity_first_then_the_rotations():
    matrices = symmetry.MATRICES
    assert len({matrix.tobytes() for matrix in matrices}) == symmetry.COUNT == len(matrices)
    np.testing.assert_array_equal(matrices[0], np.eye(3))
    np.testing.assert_array_equal(np.abs(matrices).sum(1), 1)
    np.testing.assert_array_equal(np.abs(matrices).sum(2), 1)
    np.testing.assert_array_equal(np.linalg.det(matrices).round(), np.where(EVERY < symmetry.ROTATIONS, 1, -1))


def _products() -> np.ndarray:
    number = {matrix.tobytes(): i for i, matrix in enumerate(symmetry.MATRICES.astype(np.int8))}
    product = [
        [number[(one @ other).astype(np.int8).tobytes()] for other in symmetry.MATRICES] for one in symmetry.MATRICES
    ]
    return np.array(product, np.int32)


PRODUCT = _products()  # [48, 48]: PRODUCT[i, j] is j first, then i


def test_the_symmetries_are_a_group():
    assert all(sorted(row) == EVERY.tolist() for row in (*PRODUCT, *PRODUCT.T))


ACTIONS = {
    "vectors": (symmetry.vectors, awkward(7, 3)),
    "faces": (symmetry.faces, np.arange(12, dtype=np.int32).reshape(4, 3)),
    "images": (symmetry.images, awkward(6, 4, 4, 2)),
    "masks": (symmetry.images, awkward(6, 4, 4) > 0),
    "maps": (symmetry.maps, Hexplane(awkward(6, 4, 4), awkward(6, 4, 4, 3), awkward(6, 4, 4) > 0)),
    "cells": (lambda x, i: symmetry.cells(x, 5, i), np.random.default_rng(0).integers(0, 5, (9, 3), np.int32)),
    "grid": (symmetry.grid, awkward(4, 4, 4)),
    "grid of colours": (symmetry.grid, awkward(3, 3, 3, 2)),
    "corners": (symmetry.corners, awkward(5, 8)),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_index_0_changes_no_bit_and_no_type(name):
    action, values = ACTIONS[name]
    found = jax.jit(action)(values, jnp.int32(0))
    assert bits(found) == bits(values)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), found) == jax.tree.map(lambda a: (a.shape, a.dtype), values)


@pytest.mark.parametrize("name", ACTIONS)
def test_one_symmetry_after_another_is_their_product(name):
    action, values = ACTIONS[name]
    pairs = np.stack(np.meshgrid(EVERY, EVERY, indexing="ij"), -1).reshape(-1, 2)
    twice = jax.jit(jax.vmap(lambda pair: action(action(values, pair[1]), pair[0])))(pairs)
    once = jax.jit(jax.vmap(lambda index: action(values, index)))(PRODUCT[pairs[:, 0], pairs[:, 1]])
    jax.tree.map(np.testing.assert_array_equal, twice, once)


def test_points_and_normals_are_multiplied_by_the_matrix():
    points = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    found = jax.vmap(symmetry.vectors, (None, 0))(points, EVERY)
    np.testing.assert_array_equal(found, np.einsum("iab,pb->ipa", symmetry.MATRICES, points))


def test_a_mesh_stays_outward_and_its_normals_turn_as_vectors(data_folder):
    mesh = shapes.head(data_folder, "leeperrysmith_5500")
    volume = lambda each: np.einsum("fa,fa->", surface.area_vectors(each), surface.corners(each)[:, 0]) / 3
    normals = surface.area_vectors(mesh)
    for index in EVERY:
        image = jax.device_get(symmetry.mesh(mesh, int(index)))
        assert image.faces.dtype == np.int32
        np.testing.assert_allclose(volume(image), volume(mesh), rtol=1e-6)
        np.testing.assert_allclose(surface.area_vectors(image), symmetry.vectors(normals, int(index)), atol=1e-9)


@pytest.fixture(scope="module")
def rendered(data_folder):
    mesh = shapes.head(data_folder, "leeperrysmith_5500")
    return mesh, hexplane.render(mesh, 32)


@pytest.mark.parametrize("index", RENDERED)
def test_rendering_the_image_of_a_head_gives_the_images_of_its_maps(rendered, index):
    mesh, seen = rendered
    expected = symmetry.maps(seen, index)
    found = hexplane.render(jax.device_get(symmetry.mesh(mesh, index)), 32)
    assert np.asarray(found.mask).sum() > 1000
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_allclose(found.depth, expected.depth, atol=1e-5)
    np.testing.assert_allclose(found.normal, expected.normal, atol=1e-5)


def test_the_rendered_symmetries_make_all_others():
    made = {0}
    while len(more := made | {int(PRODUCT[i, j]) for i in made for j in RENDERED}) > len(made):
        made = more
    assert made == set(EVERY.tolist())


def test_depths_lie_where_their_points_went():
    depth = np.random.default_rng(2).uniform(0, 2, (6, 5, 5)).astype(np.float32)
    ordered = lambda points: np.stack(sorted(np.asarray(points).reshape(-1, 3).round(4) + 0.0, key=tuple))
    for index in EVERY:
        points = symmetry.vectors(frame.hit_points(depth), int(index))
        np.testing.assert_allclose(
            ordered(frame.hit_points(symmetry.images(depth, int(index)))), ordered(points), atol=2e-4
        )


@pytest.mark.parametrize("on_nodes", [True, False])
def test_grids_are_those_of_the_distance_to_the_image(on_nodes):
    points = centres(8)
    if on_nodes:
        along = np.asarray(frame.grid_nodes(8))
        points = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1)
    found = jax.jit(jax.vmap(symmetry.grid, (None, 0)))(distance(points), EVERY)
    back = jax.vmap(symmetry.vectors, (None, 0))(points, np.argmin(PRODUCT, 1))
    np.testing.assert_allclose(found, distance(back), atol=1e-6)
    assert np.ptp(np.asarray(found), axis=0).max() > 0.5


def test_cells_and_their_corners_are_those_of_the_distance_to_the_image():
    side, places = 6, np.random.default_rng(3).integers(0, 6, (40, 3), np.int32)

    def at_corners(places, index):  # of the distance to the image of the balls
        points = (places[:, None] + symmetry.CORNERS[None]) * (2 / side) - 1
        return distance(symmetry.vectors(points.astype(np.float32), np.argmin(PRODUCT, 1)[index]))

    for index in EVERY:
        moved = symmetry.cells(places, side, int(index))
        found = symmetry.corners(at_corners(places, 0), int(index))
        np.testing.assert_allclose(found, at_corners(np.asarray(moved), index), atol=1e-6)


def test_a_traced_index_makes_one_program():
    compiled = jax.jit(lambda values, index: symmetry.grid(values, index))
    for index in EVERY[::5]:
        compiled(awkward(3, 3, 3), index)
    assert compiled._cache_size() == 1
