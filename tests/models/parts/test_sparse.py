"""Sparse grids are the dense ones read at their cells, values and gradients, whatever the order and the room."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.models.parts import grids, sparse

SIDE, ROOM = 6, 90
KEY = jax.random.key(0)
FLOAT = jnp.dtype("float32")
pytestmark = pytest.mark.usefixtures("quick_programs")


def some_cells(room=ROOM, seed=0, count=60):
    """Different cells of a cube, in random order, and which of the rows hold one."""
    random = np.random.default_rng(seed)
    every = np.stack(np.unravel_index(random.permutation(SIDE**3)[:count], (SIDE,) * 3), -1).astype(np.int32)
    return np.pad(every, ((0, room - count), (0, 0))), np.arange(room) < count


def made(room=ROOM, coarse=27):
    """Two shapes: sorted keys [2, n], their levels, and the cells."""
    cells, there = (np.stack(each) for each in zip(*(some_cells(room, seed) for seed in (0, 1))))
    return levels_of(cells, there, coarse)[0]


@functools.partial(jax.jit, static_argnums=2)
def levels_of(cells, there, coarse):
    """The levels of a batch of cells in any order, and the order that they have there."""
    keys, order = jax.vmap(sparse.ordered)(cells, there)
    return sparse.levels(keys, SIDE, (coarse,))[0], order


def dense(keys, x, side):
    """Features on the whole grid, 0 where no cell is."""
    cells, there = np.asarray(jax.vmap(sparse.cells_of)(keys)), np.asarray(keys) < sparse.ABSENT
    found = np.zeros((len(x), side, side, side, x.shape[-1]), np.float32)
    for number in range(len(x)):
        found[number][tuple(cells[number][there[number]].T)] = np.asarray(x)[number][there[number]]
    return jnp.asarray(found)


def read(keys, grid):
    """The grid at the cells, 0 in rows that hold none."""
    cells = jax.vmap(sparse.cells_of)(keys)
    found = jax.vmap(lambda grid, cells: grid[cells[:, 0], cells[:, 1], cells[:, 2]])(grid, cells)
    return jnp.where((keys < sparse.ABSENT)[..., None], found, 0)


def alive(keys):
    return (keys < sparse.ABSENT)[..., None]


def test_keys_are_mortons_and_give_the_cells_back():
    cells = np.random.default_rng(0).integers(0, sparse.MOST, (200, 3)).astype(np.int32)
    keys = np.asarray(sparse.keys_of(cells, np.ones(200, bool)))
    bits = lambda value, axis: sum((int(value) >> bit & 1) << (3 * bit + 2 - axis) for bit in range(10))
    assert keys.tolist() == [sum(bits(cell[axis], axis) for axis in range(3)) for cell in cells]
    np.testing.assert_array_equal(sparse.cells_of(jnp.asarray(keys)), cells)
    np.testing.assert_array_equal(sparse.keys_of(cells // 2, np.ones(200, bool)), keys // 8)


def test_the_table_names_the_neighbours_and_is_symmetric():
    levels = made()
    keys, table = np.asarray(levels.keys[0][0]), np.asarray(levels.tables[0][0])
    place = {tuple(cell): i for i, cell in enumerate(np.asarray(sparse.cells_of(jnp.asarray(keys)))[:60].tolist())}
    for cell, i in place.items():
        around = [tuple(np.add(cell, offset).tolist()) for offset in sparse.OFFSETS]
        assert table[i].tolist() == [place.get(other, ROOM) for other in around]
    assert (table[60:] == ROOM).all()
    for i, offset in np.argwhere(table < ROOM):
        assert table[table[i, offset], 26 - offset] == i


@pytest.mark.parametrize("kind", ["convolution", *grids.DOWN, *grids.UP])
def test_a_layer_is_the_dense_one_read_at_the_cells_with_its_gradients(kind):
    levels = made()
    (keys, coarse), (table, above), (link,) = levels
    before, after = (keys, coarse) if kind in grids.DOWN else (coarse, keys) if kind in grids.UP else (keys, keys)
    sides = {id(keys): SIDE, id(coarse): SIDE // 2}
    if kind == "convolution":
        module, given, whole = grids.Convolution3d(5, FLOAT), (table,), (None,)
    elif kind in grids.DOWN:
        module, given, whole = grids.Down(5, kind, FLOAT), (link,), (None,)
    else:
        module, given, whole = grids.Up(5, kind, FLOAT), (link, above, table), (None, None, None)
    x = jnp.where(alive(before), jax.random.normal(KEY, (*before.shape, 4)), 0)
    params = module.init(KEY, x, *given)
    there = dense(keys, alive(keys).astype(np.float32), SIDE)
    slope = jax.random.normal(jax.random.fold_in(KEY, 1), (*after.shape, 5)) * alive(after)

    def at_cells(params, x):
        found = jnp.where(alive(after), module.apply(params, x, *given), 0)
        return (found * slope).sum(), found

    def on_grid(params, x):
        place = jax.vmap(sparse.cells_of)(before)
        grid = jnp.zeros((2, *(sides[id(before)],) * 3, 4))
        put = lambda grid, cells, x: grid.at[cells[:, 0], cells[:, 1], cells[:, 2]].add(x)
        grid = jax.vmap(put)(grid, place, jnp.where(alive(before), x, 0))
        if kind == "nearest":  # a child that is not there gives its neighbours nothing
            inner = grids.Convolution3d(5, FLOAT)
            spread = grids.pixel_shuffle_3d(jnp.repeat(grid, 8, -1), 2) * there
            found = inner.apply({"params": params["params"]["Convolution3d_0"]}, spread, None)
        else:
            found = module.apply(params, grid, *whole)
        found = read(after, found)
        return (found * slope).sum(), found

    ours, theirs = (jax.jit(jax.grad(f, (0, 1), has_aux=True))(params, x) for f in (at_cells, on_grid))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)
    assert all(np.abs(np.asarray(leaf)).max() > 1e-3 for leaf in jax.tree.leaves(ours))


def test_order_and_room_change_nothing():
    kernel = jax.random.normal(KEY, (27, 3, 4))
    told = []
    for room, seed in ((ROOM, 0), (ROOM + 13, 1)):
        cells, there = some_cells(room)
        order = np.random.default_rng(seed).permutation(room)
        x = np.sin(cells @ np.float32([[1, 2, 3], [4, 5, 7], [2, 9, 1]])).astype(np.float32) * there[:, None]
        levels, turn = levels_of(cells[order][None], there[order][None], 27)

        def value(x, kernel, levels=levels):
            found = sparse.convolve(x, kernel, levels.tables[0])
            return (found**2).sum(), found

        (to_x, to_kernel), found = jax.jit(jax.grad(value, (0, 1), has_aux=True))(x[order][turn], kernel)
        told.append((found[:, :60], to_x[:, :60], to_kernel, levels.keys[1]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *told)


def test_the_backward_pass_gathers_and_gives_the_same_bits():
    levels = made()
    x, kernel = jax.random.normal(KEY, (2, ROOM, 3)), jax.random.normal(KEY, (27, 3, 4))

    def total(x, kernel):
        found = sparse.convolve(x, kernel, levels.tables[0])
        return jnp.sin(sparse.spread(sparse.gathered(found, levels.links[0]), levels.links[0])).sum()

    slopes = jax.jit(jax.grad(total, (0, 1)))
    text = str(jax.make_jaxpr(jax.grad(total, (0, 1)))(x, kernel))
    assert "gather" in text
    assert "scatter" not in text
    jax.tree.map(np.testing.assert_array_equal, slopes(x, kernel), slopes(x, kernel))


def test_parents_and_children_are_linked_both_ways():
    levels = made()
    keys, coarse, link = levels.keys[0][0], levels.keys[1][0], jax.tree.map(lambda a: a[0], levels.links[0])
    parents = sorted({int(key) // 8 for key in keys if key < sparse.ABSENT})
    assert coarse.tolist() == parents + [sparse.ABSENT] * (27 - len(parents))
    x = jax.random.normal(KEY, (1, ROOM, 2)) * (keys < sparse.ABSENT)[None, :, None]
    link = jax.tree.map(lambda a: a[None], link)
    np.testing.assert_array_equal(sparse.spread(sparse.gathered(x, link), link), x)
    few, lost = sparse.halved(keys, len(parents) - 2)
    assert few.tolist() == parents[:-2]
    assert int(lost) == 2


def test_children_are_pruned_at_one_half_and_the_least_probable_beyond_the_room():
    coarse = jnp.array([1, 5, sparse.ABSENT])
    logits = np.full((3, 8), -1.0, np.float32)
    logits[0, [2, 7]], logits[1, [0, 3]], logits[2, 1] = (0.5, 3.0), (0.25, 2.0), 9.0
    found, lost = sparse.pruned(coarse, jnp.asarray(logits), 6)
    assert found.tolist() == [10, 15, 40, 43, sparse.ABSENT, sparse.ABSENT]
    assert int(lost) == 0
    found, lost = sparse.pruned(coarse, jnp.asarray(logits), 3)
    assert found.tolist() == [10, 15, 43]
    assert int(lost) == 1
    found, _ = sparse.pruned(coarse, -jnp.abs(logits), 3)
    assert found.tolist() == [sparse.ABSENT] * 3


@pytest.mark.parametrize("side", [1, 2, 6, 16])
def test_packed_cells_come_back(side):
    for share in (0.02, 0.4, 1.0):
        cells = np.argwhere(np.random.default_rng(side).random((side,) * 3) <= share).astype(np.int32)
        keys = np.sort(np.asarray(sparse.keys_of(cells, np.ones(len(cells), bool))))
        stored = sparse.packed(keys, side)
        np.testing.assert_array_equal(sparse.unpacked(stored, side), keys)
    assert len(sparse.packed(keys[::-1], side)) == len(stored)
