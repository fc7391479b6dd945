import jax
import numpy as np
import pytest
import scipy.ndimage

from hexjax.geometry import frame, hexplane
from tests import shapes


def test_a_cube_shows_its_faces():
    """Half side 1/2: every view meets the near face at depth 1/2 with the normal towards the camera."""
    maps = hexplane.render(shapes.cube(0.5), 24)
    mask = np.asarray(maps.mask)
    assert mask.sum() == 6 * 144
    np.testing.assert_allclose(np.asarray(maps.depth)[mask], 0.5, atol=1e-6)
    for view in range(6):
        np.testing.assert_allclose(np.asarray(maps.normal)[view][mask[view]] @ -frame.FORWARD[view], 1, atol=1e-6)


def test_a_sphere_has_its_closed_form_depth():
    maps = hexplane.render(shapes.sphere(0.7, 5), 64)
    x, y = np.meshgrid(*[np.asarray(frame.pixel_centres(64))] * 2)
    inner = np.hypot(x, y) < 0.6
    expected = 1 - np.sqrt(np.maximum(0.49 - x**2 - y**2, 0))
    for view in range(6):
        np.testing.assert_allclose(np.asarray(maps.depth)[view][inner], expected[inner], atol=2e-3)


def test_normals_are_unit_on_surface_and_zero_elsewhere():
    maps = hexplane.render(shapes.soup(1), 24)
    length = np.linalg.norm(maps.normal, axis=-1)
    np.testing.assert_allclose(length, np.asarray(maps.mask), atol=1e-6)
    np.testing.assert_array_equal(np.asarray(maps.depth)[~np.asarray(maps.mask)], 0)


def test_the_inside_of_an_open_box_shows_back_faces():
    box = shapes.cube(0.5)
    open_above = box._replace(faces=box.faces[np.abs(np.asarray(box.vertices)[box.faces][:, :, 1] - 0.5).max(1) > 1e-6])
    maps = hexplane.render(open_above, 24)
    assert (np.asarray(maps.normal)[0][np.asarray(maps.mask)[0]] @ frame.FORWARD[0] > 0.99).all()
    assert (np.asarray(maps.normal)[1][np.asarray(maps.mask)[1]] @ frame.FORWARD[1] < -0.99).all()


def test_barycentric_weights_give_the_pixel_back():
    mesh = shapes.torus()
    seen, weight = (np.asarray(a) for a in hexplane.visible(mesh, 32))
    assert (weight >= 0).all()
    np.testing.assert_allclose(weight.sum(-1), 1, atol=1e-6)
    points = (weight[..., None] * np.asarray(mesh.vertices)[np.asarray(mesh.faces)[np.maximum(seen, 0)]]).sum(-2)
    column, row, _ = (np.asarray(a) for a in frame.to_image(points, 32))
    for view in range(6):
        hit = seen[view] >= 0
        rows, columns = np.nonzero(hit)
        np.testing.assert_allclose(column[view][view][hit], columns, atol=1e-3)
        np.testing.assert_allclose(row[view][view][hit], rows, atol=1e-3)


def test_shading_has_right_derivatives_in_the_vertices():
    """At every pixel well inside the triangle that it sees, against central differences."""
    mesh, resolution = shapes.sphere(0.7, 2), 24
    seen, weight = hexplane.visible(mesh, resolution)
    shade = jax.jit(lambda vertices: [a[0] for a in hexplane.shade(vertices[None], mesh.faces[None], seen[None])[:2]])
    vertices = mesh.vertices
    direction = np.random.default_rng(1).normal(size=vertices.shape).astype(np.float32)
    step = np.float32(2e-3)
    ahead, behind = shade(vertices + step * direction), shade(vertices - step * direction)
    found = jax.jit(lambda *along: jax.jvp(shade, along[:1], along[1:])[1])(vertices, direction)
    inner = np.asarray(weight).min(-1) > 0.1
    assert inner.sum() > 500
    for one, other, derivative in zip(ahead, behind, found):
        difference = ((np.asarray(one) - np.asarray(other)) / (2 * step))[inner]
        error = np.abs(np.asarray(derivative)[inner] - difference)
        assert np.median(error) < 1e-2
        assert (error < 0.05 + 0.05 * np.abs(difference)).mean() > 0.98
    gradient = jax.jit(jax.grad(lambda v: sum(a.sum() for a in shade(v))))(vertices)
    assert np.isfinite(gradient).all()


def test_shading_has_finite_gradients_on_slivers():
    mesh = shapes.soup(2, count=30)
    thin = mesh._replace(vertices=np.asarray(mesh.vertices) * np.array([1, 1e-6, 1], np.float32))

    def total(vertices):
        maps = hexplane.render_padded(vertices[None], thin.faces[None], 32)
        return maps.depth.sum() + maps.normal.sum()

    assert np.isfinite(jax.jit(jax.grad(total))(thin.vertices)).all()


def test_meshes_outside_the_cube_are_refused():
    with pytest.raises(ValueError) as error:
        hexplane.render(shapes.sphere(1.5), 16)
    assert str(error.value) == "the mesh reaches 1.5 along an axis; render accepts [-1, 1]: normalise it first"
    with pytest.raises(ValueError) as error:
        hexplane.render(shapes.cube(), 0)
    assert str(error.value) == "resolution is 0; accepted: 1 and above (config.hexplane.resolution_px)"


def test_faces_of_vertices_that_are_not_there_are_refused():
    cube = shapes.cube()
    for index in (8, -1):
        with pytest.raises(ValueError) as error:
            hexplane.render(cube._replace(faces=np.where(cube.faces == 7, index, cube.faces).astype(np.int32)), 16)
        assert str(error.value) == f"a face names vertex {index}; accepted: 0 to 7"


def test_a_mesh_is_not_padded_to_less_than_it_has():
    with pytest.raises(ValueError) as error:
        hexplane.pad(shapes.cube(), 8, 11)
    assert str(error.value) == "the mesh has 8 vertices and 12 faces; it cannot be padded to 8 and 11"


def silhouettes(kind):
    """Masks [k, n, n]: blots of every density, noise, lines and points, and those of a real renderer."""
    random = np.random.default_rng(3)
    if kind == "rendered":
        return np.asarray(hexplane.render(shapes.torus(), 24).mask)
    if kind == "degenerate":
        masks = np.zeros((5, 20, 20), bool)
        masks[0, 0, 0] = masks[1, :, 7] = masks[2, 19] = True
        masks[3] = ~masks[0]
        masks[4, ::2] = True
        return masks
    noise, share = random.random((9, 33, 33)), np.linspace(0.05, 0.95, 9)
    if kind == "noise":
        return noise < share[:, None, None]
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 2, 2))
    return smooth < np.quantile(smooth, share)[:, None, None]


@pytest.mark.parametrize("kind", ["blots", "noise", "degenerate", "rendered"])
def test_the_silhouette_distance_is_that_of_scipy(kind):
    masks = silhouettes(kind)
    found = np.asarray(hexplane.silhouette_distance(masks))
    transform = scipy.ndimage.distance_transform_edt
    pixel = 2 / masks.shape[-1]
    expected = [np.where(mask, 0.5 - transform(mask), transform(~mask) - 0.5) * pixel for mask in masks]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(found < 0, masks)
    assert np.abs(found).min() >= np.float32(pixel) / 2


def test_an_empty_silhouette_is_a_diagonal_away_and_a_full_one_as_deep():
    empty = np.zeros((1, 12, 12), bool)
    np.testing.assert_allclose(hexplane.silhouette_distance(empty), 2 * np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(hexplane.silhouette_distance(~empty), -2 * np.sqrt(2), rtol=1e-6)


def test_the_silhouette_distance_turns_and_flips_with_the_mask_bit_for_bit():
    masks = silhouettes("blots")
    found = np.asarray(hexplane.silhouette_distance(masks))
    for change in (lambda a: a[:, ::-1], lambda a: a[:, :, ::-1], lambda a: np.swapaxes(a, 1, 2)):
        np.testing.assert_array_equal(hexplane.silhouette_distance(change(masks)), change(found))
    np.testing.assert_array_equal(hexplane.silhouette_distance(~masks), -found)


def test_the_silhouette_distance_is_the_same_with_more_leading_axes():
    masks = silhouettes("blots")
    found = np.asarray(hexplane.silhouette_distance(masks))
    np.testing.assert_array_equal(hexplane.silhouette_distance(masks.reshape(3, 3, 33, 33)).reshape(found.shape), found)
    np.testing.assert_array_equal(hexplane.silhouette_distance(masks[0]), found[0])
