import functools

import jax
import numpy as np
import pytest
import trimesh

from hexjax.data import meshfile
from hexjax.geometry import frame, hexplane, raycast
from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh
from tests import shapes

HEADS = [
    "demosthenes",
    "fran_face",
    "goathead",
    "ict_neutral",
    "leeperrysmith",
    "leeperrysmith_5500",
    "makehuman_female_old",
    "makehuman_male_young",
    "mediapipe_face",
    "suzanne",
]


def image64(mesh, view, resolution):
    """Columns, rows and depths of the faces' corners in one view, float64 [f, 3]."""
    points = np.asarray(mesh.vertices, np.float64)[np.asarray(mesh.faces)]
    column = (points @ frame.RIGHT[view].astype(float) + 1) * resolution / 2 - 0.5
    row = (1 - points @ frame.UP[view].astype(float)) * resolution / 2 - 0.5
    return column, row, 1 + points @ frame.FORWARD[view].astype(float)


def cast64(corners, h, w):
    """Depth of the nearest hit (inf: none) at one pixel by the plain test of all faces, and its distance to an edge."""
    column, row, depth = corners
    x, y = column - w, row - h
    ahead = np.roll(np.arange(3), -1)
    cross = x * y[:, ahead] - x[:, ahead] * y  # edge from corner i to i + 1
    area = cross.sum(1)
    inside = ((cross >= 0).all(1) | (cross <= 0).all(1)) & (area != 0)
    dx, dy = x[:, ahead] - x, y[:, ahead] - y
    along = np.clip(-(x * dx + y * dy) / np.maximum(dx**2 + dy**2, 1e-300), 0, 1)
    edge = np.hypot(x + along * dx, y + along * dy).min()
    if not inside.any():
        return np.inf, edge
    weights = cross[inside][:, [1, 2, 0]] / area[inside, None]
    return (weights * depth[inside]).sum(1).min(), edge


@functools.partial(jax.jit, static_argnums=2)
def rendered(vertices, faces, resolution):
    seen = raycast.visible(vertices[None], faces[None], resolution)
    return seen[0], jax.tree.map(lambda maps: maps[0], hexplane.shade(vertices[None], faces[None], seen))


def embree_hits(mesh, resolution):
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    scene = RayMeshIntersector(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), scale_to_box=False)._scene
    rays = [[np.ascontiguousarray(a, np.float32).reshape(-1, 3) for a in frame.rays(v, resolution)] for v in range(6)]
    return np.stack([np.asarray(scene.run(*pair)).reshape(resolution, resolution) for pair in rays])


def disagreements(mesh, seen, maps, resolution):
    """Pixels where Embree and we differ, each after float64 and an edge's nearness had their say."""
    theirs = embree_hits(mesh, resolution)
    mask = np.asarray(maps.mask)
    corners = np.asarray(mesh.vertices, np.float64)[np.asarray(mesh.faces)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    exceptions = []
    for view in range(6):
        image = image64(mesh, view, resolution)
        origins = np.asarray(frame.rays(view, resolution)[0], np.float64)
        facing = normals @ frame.FORWARD[view].astype(float)
        face = np.maximum(theirs[view], 0)
        offset = ((corners[face, 0] - origins) * normals[face]).sum(-1)  # (their depth) (normal . forward)
        error = np.abs(offset - np.asarray(maps.depth[view], np.float64) * facing[face])
        both = mask[view] & (theirs[view] >= 0)
        for h, w in np.argwhere((mask[view] != (theirs[view] >= 0)) | (both & (error > 2e-6))):
            depth, edge = cast64(image, h, w)
            ours = float(maps.depth[view, h, w]) if mask[view, h, w] else np.inf
            slope = abs(facing[seen[view, h, w]]) if mask[view, h, w] else 1
            agrees = depth == ours or abs(depth - ours) * slope <= 2e-6
            exceptions.append((view, h, w, edge, agrees))
    return exceptions


def check_against_embree(meshes, resolution):
    vertices, faces = (max(len(mesh[i]) for mesh in meshes) for i in (0, 1))
    padded = [hexplane.pad(mesh, vertices, faces) for mesh in meshes]
    unexplained, total = [], 0
    for number, (mesh, full) in enumerate(zip(meshes, padded)):
        seen, maps = rendered(full.vertices, full.faces, resolution)
        for exception in disagreements(mesh, np.asarray(seen), maps, resolution):
            total += 1
            if exception[3] > 1e-3 and not exception[4]:
                unexplained.append((number, exception))
    assert not unexplained
    return total / (len(meshes) * 6 * resolution**2)


def test_embree_agrees_on_heads(data_folder):
    assert check_against_embree([shapes.head(data_folder, name) for name in HEADS[1:3]], 128) <= 1e-5


@pytest.mark.slow
def test_embree_agrees_on_every_head(data_folder):
    assert check_against_embree([shapes.head(data_folder, name) for name in HEADS], 512) <= 1e-5


@pytest.mark.slow
def test_embree_agrees_on_a_hundred_shapes(data_folder):
    names = sorted(file.stem for file in (data_folder / "shapes").glob("*.npz"))
    assert len(names) == 594
    assert check_against_embree([shapes.shape(data_folder, name) for name in names[::6]][:100], 512) <= 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_any_soup_gives_the_nearest_hit_of_the_float64_reference(seed):
    mesh, resolution = shapes.soup(seed, count=40), 24
    maps = hexplane.render(mesh, resolution)
    wrong = 0
    for view in range(6):
        image = image64(mesh, view, resolution)
        for h, w in np.ndindex(resolution, resolution):
            depth, edge = cast64(image, h, w)
            ours = float(maps.depth[view, h, w]) if maps.mask[view, h, w] else np.inf
            if not (depth == ours or abs(depth - ours) < 2e-4):
                assert edge < 1e-3
                wrong += 1
    assert wrong <= 2
    assert 0 < np.asarray(maps.mask).mean() < 1


def test_rendering_turns_with_the_cube():
    """A mesh turned by any of the cube's rotations shows the same six maps, permuted and turned in the image."""
    mesh, resolution = shapes.soup(7, count=40), 24

    def heights(each):
        maps = hexplane.render(each, resolution)
        return sorted(round(float(np.asarray(a)[np.asarray(m)].sum()), 1) for a, m in zip(maps.depth, maps.mask))

    expected = heights(mesh)
    for matrix in frame.rotations()[[3, 7, 12, 20]]:
        np.testing.assert_allclose(heights(shapes.turned(mesh, matrix)), expected, rtol=2e-3)


def test_a_closed_surface_never_leaks():
    """Pixels strictly inside the outline of a fine sphere all hit, also on vertices and edges (a centred grid)."""
    resolution = 65
    mesh = shapes.sphere(0.8, 4)
    seen, _ = hexplane.visible(mesh, resolution)
    centres = np.asarray(frame.pixel_centres(resolution))
    inside = np.hypot(*np.meshgrid(centres, centres)) < 0.79
    assert (np.asarray(seen)[:, inside] >= 0).all()


def test_edges_and_corners_on_pixel_centres_hit():
    """A square of two triangles whose outline and diagonal run exactly through pixel centres covers all of them."""
    resolution = 24
    low, high = frame.pixel_centres(resolution)[1], frame.pixel_centres(resolution)[22]
    vertices = np.array([[x, y, 0] for x in (low, high) for y in (low, high)], np.float32)
    mesh = Mesh(vertices, np.array([[0, 1, 3], [0, 3, 2]], np.int32))
    mask = np.asarray(hexplane.render(mesh, resolution).mask)
    assert mask[2].sum() == mask[3].sum() == 22**2
    assert mask[[0, 1, 4, 5]].sum() == 0  # edge-on: parallel to the rays


def test_ties_go_to_the_lowest_face():
    square = shapes.cube()
    doubled = square._replace(faces=np.concatenate([square.faces, square.faces[::-1]]))
    seen = np.asarray(hexplane.visible(doubled, 32)[0])
    assert seen.max() < 12
    turned = square._replace(faces=np.concatenate([square.faces[::-1], square.faces]))
    assert np.asarray(hexplane.visible(turned, 32)[0]).max() < 12


def test_faces_without_area_never_hit():
    vertices = np.array([[-0.5, 0.1, 0], [0.5, 0.1, 0], [0.0, 0.1, 0], [0.3, 0.3, 0.3]], np.float32)
    mesh = Mesh(vertices, np.array([[0, 1, 2], [3, 3, 3], [0, 1, 1]], np.int32))
    assert not np.asarray(hexplane.render(mesh, 24).mask).any()


def test_opposite_silhouettes_are_mirrored():
    mask = np.asarray(hexplane.render(shapes.soup(3), 24).mask)
    for view, opposite, mirrored in frame.OPPOSITE:
        np.testing.assert_array_equal(mask[view], np.flip(mask[opposite], mirrored))


def test_large_thin_triangles_are_found_along_their_whole_length():
    vertices = np.array([[-0.9, -0.9, 0], [0.9, 0.9, 0.1], [0.9, 0.895, 0.1]], np.float32)
    mesh = Mesh(vertices, np.array([[0, 1, 2]], np.int32))
    seen, _ = hexplane.visible(mesh, 512)
    image = image64(mesh, 3, 512)
    columns = [int(w) for w in np.argwhere(np.asarray(seen)[3] >= 0)[:, 1]]
    assert len(columns) > 200
    for h, w in np.argwhere(np.asarray(seen)[3] >= 0)[::20]:
        assert np.isfinite(cast64(image, h, w)[0])


@pytest.mark.parametrize("chunk", [256, 1024])
def test_bins_emptied_in_many_rounds_give_the_same(monkeypatch, chunk):
    """One or four tiles a round, against all at once: soup of every size, from one pixel to the whole map."""
    mesh = shapes.soup(5, count=60)
    small = mesh._replace(vertices=np.asarray(mesh.vertices) * np.float32(0.05))
    both = Mesh(
        np.concatenate([mesh.vertices, small.vertices]), np.concatenate([mesh.faces, small.faces + len(mesh.vertices)])
    )
    seen = lambda: np.asarray(jax.jit(lambda *mesh: raycast.visible(*mesh, 200))(both.vertices[None], both.faces[None]))
    expected = seen()
    monkeypatch.setattr(raycast, "CHUNK", chunk)
    np.testing.assert_array_equal(seen(), expected)  # a new function, compiled anew


def test_a_batch_sees_what_each_mesh_sees_alone():
    pair = [shapes.sphere(0.7, 3), shapes.torus()]
    most = [max(len(mesh[i]) for mesh in pair) for i in (0, 1)]
    padded = [hexplane.pad(mesh, *most) for mesh in pair]
    stacked = [np.stack([mesh[i] for mesh in padded]) for i in (0, 1)]
    together = jax.jit(raycast.visible, static_argnums=2)(*stacked, 32)
    shade = jax.jit(hexplane.shade)
    one_by_one = jax.jit(jax.vmap(lambda v, f: raycast.visible(v[None], f[None], 32)[0]))(*stacked)
    for mesh, full, *batched in zip(pair, padded, together, one_by_one):
        alone = hexplane.visible(mesh, 32)[0]
        for seen in batched:
            maps = [shade(full.vertices[None], full.faces[None], each[None]) for each in (seen, alone)]
            np.testing.assert_array_equal(maps[0].mask, maps[1].mask)
            np.testing.assert_allclose(maps[0].depth, maps[1].depth, atol=1e-5)
            assert (np.asarray(seen) != np.asarray(alone)).mean() < 1e-3  # pixels on an edge may round to either face


def soup_of(count):
    """As many triangles, of which all but forty are small."""
    mesh = shapes.soup(count, count=count)
    corners = np.asarray(mesh.vertices).reshape(-1, 3, 3)
    corners[40:] = corners[40:, :1] + np.float32(0.02) * (corners[40:] - corners[40:, :1])
    return Mesh(corners.reshape(-1, 3), mesh.faces)


def test_a_mixed_set_takes_one_program_and_gives_maps_that_do_not_depend_on_its_size(monkeypatch):
    """Eight meshes of 20 to 2700 faces, some of them also padded by less."""
    set_of_meshes = [soup_of(count) for count in np.geomspace(20, 2700, 8).astype(int).tolist()]
    before = hexplane._render._cache_size()
    together = [jax.device_get(hexplane.render(mesh, 16)) for mesh in set_of_meshes]
    assert hexplane._render._cache_size() - before <= 1
    monkeypatch.setattr(hexplane, "SIZES", (2048,))
    for mesh, maps in list(zip(set_of_meshes, together))[::4]:
        for one, other in zip(hexplane.render(mesh, 16), maps):
            np.testing.assert_array_equal(one, other)


def test_what_is_seen_does_not_depend_on_the_padding_bit_for_bit(monkeypatch):
    mesh = soup_of(600)
    expected = hexplane.visible(mesh, 24)
    monkeypatch.setattr(hexplane, "SIZES", (2048,))
    found = hexplane.visible(mesh, 24)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert (np.asarray(found[0]) >= 0).any()


def test_sizes_are_few_and_hold_every_mesh():
    """Six from 1 to 400 000 faces; a set cut to 20 000 is padded by little."""
    counts = np.unique(np.geomspace(1, 400_000, 300).astype(int)).tolist()
    sizes = [hexplane.padded_size(max(count // 2, 3), count) for count in counts]
    assert all(size >= count for size, count in zip(sizes, counts))
    assert sorted(set(sizes)) == [*hexplane.SIZES, 262144, 524288]
    assert hexplane.padded_size(60_000, 20_000) == 131072  # a soup's vertices count as well
    assert hexplane.padded_size(10_000, 20_000) == 20480


def test_of_coincident_faces_each_view_sees_the_one_that_is_turned_to_it(data_folder):
    for name in ("sheet_double_sided", "tub_double_sided"):
        mesh, _ = meshes.normalise(meshfile.load(data_folder / "reports" / f"{name}.obj"))
        maps = hexplane.render(mesh, 64)
        for view, forward in enumerate(frame.FORWARD):
            towards = (np.asarray(maps.normal[view]) @ forward)[np.asarray(maps.mask[view])]
            assert len(towards)
            assert towards.max() < 1e-6, (name, frame.VIEWS[view])


def test_two_solids_that_share_a_wall_are_seen_as_each_alone_would_be():
    """Turned and renumbered faces on the same corners are hit at equal heights, wherever the surface is slanted."""
    ball = shapes.sphere(0.7, 2)
    random = np.random.default_rng(0)
    order = random.permutation(2 * len(ball.faces))
    turned = np.roll(ball.faces[:, ::-1], 1, axis=1)
    both = ball._replace(faces=np.concatenate([ball.faces, turned])[order].astype(np.int32))
    for one, two in zip(hexplane.render(ball, 48), hexplane.render(both, 48)):
        np.testing.assert_array_equal(one, two)
