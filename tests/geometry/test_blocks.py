import numpy as np
import pytest

from hexjax.geometry import blocks, field, frame, hexplane, isosurface
from tests import shapes
from tests.geometry import maps

CLIPPED = 1  # spacings


@pytest.mark.parametrize("name", ["cube", "sphere", "torus", "soup", "plate"])
@pytest.mark.parametrize("soft", [False, True])
def test_skipped_blocks_change_nothing(name, soft):
    """Coarse to fine and dense give one mesh, for rendered masks and for probabilities."""
    given = maps.of(name)
    if soft:
        noise = np.random.default_rng(2).normal(0, 1.5, given.mask.shape)
        probability = (1 / (1 + np.exp(-np.where(given.mask, 3, -3) - noise))).astype(np.float32)
        given = given._replace(mask=probability)
    assert_one_mesh(given, 67, not soft and name != "soup")


def assert_one_mesh(given, count, asks=True):
    """Coarse to fine and dense agree in every node's sign, in faces and in vertices; and with thin parts, where asked."""
    sparse, dense = blocks.grid(given, count), blocks.grid(given, count, dense=True)
    np.testing.assert_array_equal(sparse < 0, dense < 0)
    for ask in (None, *[maps.ask(given)] * asks):
        one, other = (isosurface.polygonise(values, 0.0, ask)[0] for values in (sparse, dense))
        np.testing.assert_array_equal(one.faces, other.faces)
        np.testing.assert_allclose(one.vertices, other.vertices, atol=1e-6)


@pytest.mark.parametrize("name", ["leeperrysmith_5500", "suzanne"])
def test_skipped_blocks_change_nothing_of_a_head(data_folder, name):
    assert_one_mesh(maps.render(shapes.head(data_folder, name), 256), 96, name == "suzanne")


@pytest.mark.slow
def test_skipped_blocks_change_nothing_of_all_heads(data_folder):
    for file in sorted((data_folder / "heads").glob("*.ply")):
        assert_one_mesh(hexplane.render(shapes.head(data_folder, file.stem), 512), 256)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_skipped_blocks_change_nothing_of_200_shapes(data_folder, part):
    files = sorted((data_folder / "shapes").glob("*.npz"))
    for file in files[:: max(len(files) // 200, 1)][part:200:10]:
        assert_one_mesh(hexplane.render(shapes.shape(data_folder, file.stem), 512), 256)


def test_most_blocks_of_a_plain_shape_are_skipped():
    outside, inside = blocks._proofs(field.pixels(maps.of("sphere", 256)), 16, 2 / 127)
    assert (np.asarray(outside) | np.asarray(inside)).mean() > 0.7
    assert not (np.asarray(outside) & np.asarray(inside)).any()


def test_the_grid_is_the_field_at_its_nodes_clipped():
    count = 40
    values = blocks.grid(maps.of("soup"), count, dense=True)
    index = np.random.default_rng(0).integers(0, count, (500, 3))
    points = np.asarray(frame.grid_nodes(count))[index]
    expected = clipped(maps.fuse(maps.of("soup"), points), count)
    assert (
        np.isclose(values[tuple(index.T)], expected, atol=1e-5).mean() > 0.99
    )  # it jumps where other views come to count


def clipped(values, count):
    return np.clip(values, *(side * CLIPPED * 2 / (count - 1) for side in (-1, 1)))


@pytest.mark.parametrize("count", [2, 8, 9, 10, 17])
def test_every_node_is_filled_whatever_their_number(count):
    nodes = np.stack(np.meshgrid(*[np.asarray(frame.grid_nodes(count))] * 3, indexing="ij"), -1).reshape(-1, 3)
    expected = clipped(maps.fuse(maps.of("soup"), nodes), count).reshape((count,) * 3)
    dense = blocks.grid(maps.of("soup"), count, dense=True)
    np.testing.assert_allclose(dense, expected, atol=1e-5)
    np.testing.assert_array_equal(blocks.grid(maps.of("soup"), count) < 0, dense < 0)


def test_blocks_in_several_chunks_are_the_field_too():
    given, count = maps.of("torus"), 81
    assert (-(-(count - 1) // blocks.BLOCK)) ** 3 > 2 * blocks.CHUNK
    index = np.random.default_rng(0).integers(0, count, (2000, 3))
    points = np.asarray(frame.grid_nodes(count))[index]
    expected = clipped(maps.fuse(given, points), count)
    np.testing.assert_allclose(blocks.grid(given, count, dense=True)[tuple(index.T)], expected, atol=1e-5)
