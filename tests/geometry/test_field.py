import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.geometry import field, frame, hexplane, isosurface
from hexjax.types import Hexplane
from tests import shapes


def render(mesh, resolution=64):
    return hexplane.render(hexplane.pad(mesh, 8192, 16384), resolution)  # one program for all


@functools.cache
def maps_of(name, resolution=64):
    made = dict(cube=shapes.cube, sphere=lambda: shapes.sphere(0.7, 4), torus=shapes.torus, soup=lambda: shapes.soup(5))
    return render(made[name](), resolution)


fuse_program, silhouettes_program = jax.jit(field.fuse), jax.jit(field.fuse_silhouettes, static_argnums=2)
AT_ONCE = 4096  # points of one program, which serves all numbers of them


def at_points(program, maps, points, *more):
    maps = maps._replace(mask=jnp.asarray(maps.mask, jnp.float32))
    padded = np.concatenate([points, np.zeros((-len(points) % AT_ONCE, 3), np.float32)]).reshape(-1, AT_ONCE, 3)
    return np.concatenate([np.asarray(program(maps, part, *more)) for part in padded])[: len(points)]


def fuse(maps, points):
    return at_points(fuse_program, maps, points)


def fuse_silhouettes(maps, points, threshold=0.5):
    return at_points(silhouettes_program, maps, points, threshold)


def random_points(count, seed=0, reach=1.0):
    return np.random.default_rng(seed).uniform(-reach, reach, (count, 3)).astype(np.float32)


def test_field_is_the_point_to_plane_distance_of_a_cube():
    """Off its edges, a cube's six views give the largest of the distances to its six planes."""
    points = random_points(4000)
    behind = np.abs(points).max(1) - 0.5
    edge = np.sort(np.abs(points), 1)[:, 1]
    clear = (edge < 0.5 - 2 / 64) & (np.abs(behind) < 0.45)
    found = fuse(maps_of("cube"), points)
    least = 0.5 * field.KNEE * 2 / 64  # what an empty pixel claims at the least
    np.testing.assert_allclose(found[clear], behind[clear], atol=least + 1e-4)


def test_field_is_near_the_distance_of_a_sphere_at_its_surface():
    direction = random_points(500)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for offset in (-0.03, -0.01, 0.0, 0.01, 0.03):
        found = fuse(maps_of("sphere", 256), direction * np.float32(0.7 + offset))
        assert np.abs(found - offset).max() < 8e-3


def test_background_carves_and_a_full_view_of_nothing_is_outside():
    empty = Hexplane(jnp.zeros((6, 8, 8)), jnp.zeros((6, 8, 8, 3)), jnp.zeros((6, 8, 8), bool))
    np.testing.assert_allclose(fuse(empty, random_points(20)), field.BACKGROUND, rtol=1e-3)
    assert ((fuse(maps_of("sphere"), np.full((1, 3), 0.95, np.float32))) > 0.09).all()


def test_back_faces_abstain_and_six_abstentions_are_inside():
    inward = shapes.sphere(0.7, 3)
    inward = inward._replace(faces=inward.faces[:, ::-1])
    found = fuse(render(inward), np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(found, -field.BACKGROUND, rtol=1e-3)


def test_an_open_box_is_filled_not_emptied():
    """Seen from above the open box shows its inner floor: that view must not carve the walls' inside."""
    box = shapes.cube(0.5)
    walls = box._replace(faces=box.faces[np.abs(np.asarray(box.vertices)[box.faces][:, :, 1] - 0.5).max(1) > 1e-6])
    found = np.asarray(fuse(render(walls), np.array([[0, 0.3, 0], [0, -0.6, 0], [0.7, 0, 0]], np.float32)))
    assert (found[0] < 0) & (found[1] > 0) & (found[2] > 0)


def test_coverage_blends_surface_and_background():
    maps = maps_of("sphere")
    inside = np.zeros((1, 3), np.float32)
    covered = [float(fuse(maps._replace(mask=maps.mask * share), inside)[0]) for share in (1.0, 0.6, 0.4, 0.0)]
    assert covered[0] < covered[1] < 0 < covered[2] < covered[3]
    covers = lambda x: field.fuse(maps._replace(mask=maps.mask * jax.nn.sigmoid(x)), inside)[0]
    slope = jax.jit(jax.grad(covers))(0.0)
    assert np.isfinite(slope)
    assert slope < 0


@functools.cache
def total_of_field():
    """The weighted sum of the field's values, its gradient in the maps' depth, and that of the plain sum in everything."""
    total = lambda maps, points, weight: (weight * field.fuse(maps, points)).sum()
    plain = lambda maps, points: field.fuse(maps, points).sum()
    gradients = lambda *at: (jax.grad(total)(*at).depth, jax.grad(plain, (0, 1))(*at[:2]))
    return jax.jit(total), jax.jit(gradients)


@pytest.mark.parametrize("name", ["cube", "torus", "soup"])
def test_gradients_in_points_and_maps_are_right(name):
    maps = maps_of(name)._replace(mask=np.asarray(maps_of(name).mask, np.float32))
    points, random = random_points(400, 3, 0.8), np.random.default_rng(0)
    weight = np.where(np.abs(fuse(maps, points)) < 0.08, random.normal(size=len(points)), 0).astype(np.float32)
    direction = np.random.default_rng(1).normal(size=maps.depth.shape).astype(np.float32)
    total, gradients = total_of_field()
    depth, step = np.asarray(maps.depth), np.float32(1e-4)
    ahead, behind = (total(maps._replace(depth=depth + s * direction), points, weight) for s in (step, -step))
    in_depth, everything = gradients(maps, points, weight)
    np.testing.assert_allclose((in_depth * direction).sum(), (ahead - behind) / (2 * step), rtol=0.05, atol=0.5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(everything))


@pytest.mark.parametrize("name", ["cube", "sphere", "torus", "soup"])
@pytest.mark.parametrize("soft", [False, True])
def test_skipped_blocks_change_nothing(name, soft):
    """Coarse to fine and dense give one mesh, for rendered masks and for probabilities."""
    maps = maps_of(name)
    if soft:
        noise = np.random.default_rng(2).normal(0, 1.5, maps.mask.shape)
        probability = (1 / (1 + np.exp(-np.where(maps.mask, 3, -3) - noise))).astype(np.float32)
        maps = maps._replace(mask=probability)
    assert_one_mesh(maps, 67)


def assert_one_mesh(maps, count):
    """Coarse to fine and dense agree in the sign of every node, in the faces and in the vertices."""
    sparse, dense = field.grid(maps, count), field.grid(maps, count, dense=True)
    np.testing.assert_array_equal(sparse < 0, dense < 0)
    one, other = (isosurface.polygonise(values, 0.0)[0] for values in (sparse, dense))
    np.testing.assert_array_equal(one.faces, other.faces)
    np.testing.assert_allclose(one.vertices, other.vertices, atol=1e-6)


@pytest.mark.parametrize("name", ["leeperrysmith_5500", "suzanne"])
def test_skipped_blocks_change_nothing_of_a_head(data_folder, name):
    assert_one_mesh(render(shapes.head(data_folder, name), 256), 96)


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
    outside, inside = field._proofs(field._pixels(maps_of("sphere", 256)), 16, 2 / 127)
    assert (np.asarray(outside) | np.asarray(inside)).mean() > 0.7
    assert not (np.asarray(outside) & np.asarray(inside)).any()


def test_the_grid_is_the_field_at_its_nodes_clipped():
    count = 40
    values = field.grid(maps_of("soup"), count, dense=True)
    index = np.random.default_rng(0).integers(0, count, (500, 3))
    points = np.asarray(frame.grid_nodes(count))[index]
    expected = np.clip(fuse(maps_of("soup"), points), -2 / (count - 1), 2 / (count - 1))
    np.testing.assert_allclose(values[tuple(index.T)], expected, atol=1e-5)


@pytest.mark.parametrize("count", [2, 8, 9, 10, 17])
def test_every_node_is_filled_whatever_their_number(count):
    nodes = np.stack(np.meshgrid(*[np.asarray(frame.grid_nodes(count))] * 3, indexing="ij"), -1).reshape(-1, 3)
    expected = np.clip(fuse(maps_of("soup"), nodes), -2 / (count - 1), 2 / (count - 1)).reshape((count,) * 3)
    dense = field.grid(maps_of("soup"), count, dense=True)
    np.testing.assert_allclose(dense, expected, atol=1e-5)
    np.testing.assert_array_equal(field.grid(maps_of("soup"), count) < 0, dense < 0)


def test_blocks_in_several_chunks_are_the_field_too():
    maps, count = maps_of("torus"), 81
    assert (-(-(count - 1) // field.BLOCK)) ** 3 > 2 * field.CHUNK
    index = np.random.default_rng(0).integers(0, count, (2000, 3))
    points = np.asarray(frame.grid_nodes(count))[index]
    expected = np.clip(fuse(maps, points), -2 / (count - 1), 2 / (count - 1))
    np.testing.assert_allclose(field.grid(maps, count, dense=True)[tuple(index.T)], expected, atol=1e-5)


def test_the_hull_is_where_every_silhouette_covers():
    maps, count = maps_of("torus"), 48
    values = field.grid_silhouettes(maps, count)
    index = np.random.default_rng(0).integers(0, count, (500, 3))
    points = np.asarray(frame.grid_nodes(count))[index]
    np.testing.assert_allclose(values[tuple(index.T)], fuse_silhouettes(maps, points), atol=1e-5)
    covered = (fuse(maps, points)) < -0.03
    assert (values[tuple(index.T)][covered] < 0).all()
    assert (np.asarray(fuse_silhouettes(maps, points, 0.9)) >= np.asarray(fuse_silhouettes(maps, points))).all()


@pytest.mark.parametrize("fuse", [field.fuse, field.fuse_silhouettes])
def test_gradients_are_finite_however_the_program_is_compiled(fuse):
    """Programs compute a value twice and may round it otherwise: the best of several views is still one of them."""
    random = np.random.default_rng(0)
    shape = (6, 16, 16)
    normal = random.normal(size=(*shape, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    maps = Hexplane(
        *(jnp.asarray(a, jnp.float32) for a in (random.uniform(0, 2, shape), normal, random.uniform(size=shape)))
    )
    gradient = jax.grad(lambda m, p: fuse(m, p).sum(), (0, 1))
    for level in ("0", "3"):
        compiled = jax.jit(gradient, compiler_options={"xla_backend_optimization_level": level})
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(compiled(maps, random_points(200))))
