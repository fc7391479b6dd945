"""Patches and channels on boxes that are no cubes, levels up and down, and the field of a grid's nodes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.models.parts import grids

BOX = (2, 3, 4)
KEY = jax.random.key(0)


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("side", "rank", "shape", "patches"),
    [(2, 3, (4, 6, 8, 3), (2, 3, 4, 24)), (3, 2, (2, 9, 6, 5), (2, 3, 2, 45)), (2, 1, (2, 8, 4), (2, 4, 8)),
     (2, 4, (2, 4, 2, 6, 8, 1), (2, 2, 1, 3, 4, 16))],
)  # fmt: skip
def test_patches_and_channels_are_inverse_pairs_on_boxes_of_any_rank(side, rank, shape, patches):
    x = numbered(*shape)
    folded = grids.patchify(x, side, rank)
    assert folded.shape == patches
    np.testing.assert_array_equal(grids.unpatchify(folded, side, rank), x)
    np.testing.assert_array_equal(grids.patchify(grids.unpatchify(folded, side, rank), side, rank), folded)


def test_each_value_stands_at_twice_its_cell_and_its_offset():
    x = numbered(2, *BOX, 8 * 5)
    found = grids.pixel_shuffle_3d(x, 2)
    assert found.shape == (2, 4, 6, 8, 5)
    for (i, j, k), (a, b, c) in itertools.product(np.ndindex(BOX), np.ndindex(2, 2, 2)):
        expected = x[:, i, j, k].reshape(2, 5, 8)[:, :, 4 * a + 2 * b + c]
        np.testing.assert_array_equal(found[:, 2 * i + a, 2 * j + b, 2 * k + c], expected)


def test_in_the_plane_it_is_pytorchs_pixel_shuffle():
    """By its formula: out[c, r i + a, r j + b] = in[c r^2 + a r + b, i, j]."""
    r, x = 3, numbered(2 * 9, 4, 5)
    expected = np.empty((2, 12, 15), np.float32)
    for c, i, j, a, b in itertools.product(range(2), range(4), range(5), range(r), range(r)):
        expected[c, r * i + a, r * j + b] = x[c * r * r + a * r + b, i, j]
    found = grids.unpatchify(np.moveaxis(x, 0, -1), r, 2)
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected)


def test_the_published_listing_is_right_on_cubes_alone():
    """It unpacks H, W, D and reshapes by D, H, W: on a box what stands in cell (0, 0, 3) first is that of (0, 0, 0)."""

    def published(x):  # channels first, the factor 2
        channels, h, w, d = x.shape
        split = x.reshape(channels // 8, 2, 2, 2, d, h, w).transpose(0, 4, 1, 5, 2, 6, 3)
        return split.reshape(channels // 8, 2 * h, 2 * w, 2 * d)

    def ours(x):
        return np.moveaxis(np.asarray(grids.pixel_shuffle_3d(np.moveaxis(x, 0, -1), 2)), -1, 0)

    cube, box = numbered(8, 3, 3, 3), numbered(8, *BOX)
    np.testing.assert_array_equal(published(cube), ours(cube))
    wrong, right = published(box), ours(box)
    assert wrong.shape == right.shape
    assert np.mean(wrong == right) == 0.125
    first = tuple(np.argwhere(wrong != right)[0].tolist())
    cell = lambda value: tuple(int(each) for each in np.unravel_index(int(value) % 24, BOX))
    assert (first, cell(right[first]), cell(wrong[first])) == ((0, 0, 0, 6), (0, 0, 3), (0, 0, 0))


def test_a_residual_block_starts_as_the_identity():
    x = jax.random.normal(KEY, (1, *BOX, 4))
    block = grids.ResBlock3d(jnp.dtype("float32"))
    np.testing.assert_array_equal(block.apply(block.init(KEY, x, None), x, None), x)


@pytest.mark.parametrize(("down", "kind"), [("conv", "shuffle"), ("pool", "nearest"), ("conv", "transposed")])
def test_levels_halve_and_double_boxes(down, kind):
    x, dtype = jax.random.normal(KEY, (1, 2, 4, 6, 3)), jnp.dtype("float32")
    half = grids.Down(5, down, dtype)
    small = half.apply(half.init(KEY, x, None), x, None)
    assert small.shape == (1, 1, 2, 3, 5)
    double = grids.Up(7, kind, dtype)
    assert double.apply(double.init(KEY, small, None, None, None), small, None, None, None).shape == (1, 2, 4, 6, 7)


@pytest.mark.parametrize(
    ("module", "text"),
    [(grids.Down(2, "max", jnp.dtype("float32")), "config.model.down is 'max'; accepted: conv | pool"),
     (grids.Up(2, "cubic", jnp.dtype("float32")), "config.model.up is 'cubic'; accepted: shuffle | nearest | transposed")],
)  # fmt: skip
def test_unknown_ways_up_and_down_are_refused(module, text):
    given = (jnp.zeros((1, 2, 2, 2, 1)), *(None,) * (1 if isinstance(module, grids.Down) else 3))
    with pytest.raises(ValueError) as refused:
        module.init(KEY, *given)
    assert str(refused.value) == text


def test_the_field_is_trilinear_between_nodes_and_the_same_on_a_grid():
    nodes = np.random.default_rng(0).normal(size=(5, 5, 5)).astype(np.float32)
    axis = np.linspace(-1, 1, 5, dtype=np.float32)
    at = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    np.testing.assert_allclose(grids.trilinear(nodes, at), nodes.ravel(), atol=1e-6)
    fine = np.linspace(-1, 1, 8, dtype=np.float32)
    at = np.stack(np.meshgrid(fine, fine, fine, indexing="ij"), -1).reshape(-1, 3)
    found = grids.trilinear(nodes, at).reshape(8, 8, 8)
    np.testing.assert_allclose(grids.resampled(nodes, 8), found, atol=1e-5)
    linear = at @ np.float32([1, 2, 3]) + 4
    known = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1) @ np.float32([1, 2, 3]) + 4
    np.testing.assert_allclose(grids.trilinear(known, at), linear, atol=1e-5)
    outside = np.float32([[1.5, 0.2, -9]])
    np.testing.assert_allclose(grids.trilinear(nodes, outside), grids.trilinear(nodes, np.clip(outside, -1, 1)))


def shell(side, open_at=()):
    """Signed distances to a ball at the nodes nearer than a spacing to its surface, less those that are left out."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    at = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    values = np.linalg.norm(at, axis=-1) - 0.6
    known = np.abs(values) < 2 / (side - 1)
    for cell in open_at:
        known[cell] = False
    return values, known


def test_the_sign_floods_to_every_node_and_does_not_run_out_of_a_gap():
    values, known = shell(13)
    spacing = 2 / 12
    found = np.asarray(grids.flooded(values, known, spacing, 0.5))
    np.testing.assert_array_equal(found < 0, values < 0)
    np.testing.assert_array_equal(found[known], values[known])
    assert np.abs(found).max() <= 0.5 + 1e-6
    hole = [tuple(cell) for cell in np.argwhere(known) if cell[0] > 8 and (abs(cell[1:] - 6) <= 1).all()]
    assert len(hole) > 5
    again = np.asarray(grids.flooded(*shell(13, hole), spacing, 0.5))
    assert (again < 0)[4:8, 4:8, 4:8].all()
    assert ((again < 0) != (values < 0)).sum() <= len(hole)


def test_where_no_cell_is_known_all_is_outside():
    nothing = jnp.zeros((4, 4, 4))
    assert (np.asarray(grids.flooded(nothing, nothing > 0, 0.1, 0.3)) > 0).all()
