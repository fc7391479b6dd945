import numpy as np
import pytest
from skimage import measure

from hexjax.geometry import frame, isosurface
from hexjax.geometry import mesh as meshes


def sphere_field(count, *centres, radius=0.4):
    nodes = np.stack(np.meshgrid(*[np.asarray(frame.grid_nodes(count))] * 3, indexing="ij"), -1)
    return np.min([np.linalg.norm(nodes - np.array(c), axis=-1) - radius for c in centres], 0).astype(np.float32)


def volume(mesh):
    corners = mesh.vertices.astype(float)[mesh.faces]
    return np.einsum("fc,fc->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


def test_a_sphere_is_closed_outward_and_in_place():
    mesh, report = isosurface.polygonise(sphere_field(48, (0.3, 0, -0.1)))
    assert (report["watertight"], report["components"], report["euler"], report["dropped_parts"]) == (True, 1, 2, 0)
    assert report["vertices"] == len(mesh.vertices)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.02)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - [0.3, 0, -0.1], axis=1), 0.4, atol=2e-3)


def test_what_reaches_the_border_is_closed_there():
    mesh, report = isosurface.polygonise(-np.ones((12, 12, 12), np.float32))
    assert report["watertight"]
    assert volume(mesh) > 0
    assert np.abs(mesh.vertices).max() == pytest.approx(1, abs=1e-3)


def test_far_values_do_not_move_the_border():
    near = sphere_field(24, (0, 0, 0), radius=0.96)
    far = np.where(near > 0.3, 50.0, near).astype(np.float32)
    np.testing.assert_allclose(isosurface.polygonise(near)[0].vertices, isosurface.polygonise(far)[0].vertices)


def test_small_parts_are_dropped_and_counted():
    field = np.minimum(sphere_field(64, (-0.4, 0, 0)), sphere_field(64, (0.6, 0.5, 0.5), (0.6, -0.5, 0), radius=0.06))
    kept, report = isosurface.polygonise(field, 0.05)
    assert (report["components"], report["dropped_parts"]) == (1, 2)
    every, whole = isosurface.polygonise(field, 0.0)
    assert (whole["components"], whole["told"]) == (3, None)
    share = 1 - meshes.face_areas(kept).sum() / meshes.face_areas(every).sum()
    assert (
        report["told"] == f"parts dropped: 2, each below 0.05 of the area (min_part_share), {share:.2g} of it together"
    )
    assert len(kept.vertices) == len(np.unique(kept.faces))


def test_values_of_zero_make_no_coincident_vertices():
    nodes = np.asarray(frame.grid_nodes(17))
    field = np.broadcast_to(np.abs(nodes)[:, None, None] - 0.5, (17, 17, 17)).astype(np.float32)
    mesh, report = isosurface.polygonise(field)
    assert report["watertight"]
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)
    assert (meshes.face_areas(mesh) > 0).all()


@pytest.mark.parametrize("reach", [0.5, 0.9, 2.0])
def test_cells_that_are_left_out_change_nothing(reach):
    """Noise in a ball: the very faces of scikit-image on all nodes, also where the border cuts them."""
    random, count = np.random.default_rng(0), 24
    field = np.maximum(random.normal(size=(count,) * 3), sphere_field(count, (0.1, 0, 0), radius=reach)).astype(
        np.float32
    )
    field[random.random(field.shape) < 0.01] = 0
    mesh, report = isosurface.polygonise(field, 0.0)
    closed = np.where(np.abs(field) < least_value(field), np.where(field < 0, -1, 1) * least_value(field), field)
    for axis in range(3):
        border = (slice(None),) * axis + ([0, -1],)
        closed[border] = np.maximum(closed[border], least_value(field))
    vertices, faces, _, _ = measure.marching_cubes(closed.astype(np.float32), 0.0, spacing=(2 / (count - 1),) * 3)
    np.testing.assert_array_equal(mesh.faces, faces)
    np.testing.assert_allclose(mesh.vertices, vertices - 1, atol=1e-6)
    assert (report["vertices"], report["dropped_parts"]) == (len(vertices), 0)


def least_value(field):
    return np.float32(isosurface.NEAREST * min(2 / (len(field) - 1), np.abs(field).max()))


def test_only_the_border_inside_is_empty():
    field = np.ones((8, 8, 8), np.float32)
    field[0] = -1
    assert isosurface.polygonise(field)[1]["faces"] == 0


def test_the_values_given_are_not_changed():
    field = sphere_field(16, (0, 0, 0))
    before = field.copy()
    isosurface.polygonise(field)
    np.testing.assert_array_equal(field, before)


def test_an_empty_field_is_a_result():
    mesh, report = isosurface.polygonise(np.ones((8, 8, 8), np.float32))
    assert len(mesh.vertices) == len(mesh.faces) == 0
    assert (report["vertices"], report["watertight"]) == (0, False)


def test_a_field_that_is_not_finite_is_refused():
    field = np.ones((8, 8, 8), np.float32)
    field[1, 2, 3] = np.nan
    with pytest.raises(ValueError) as error:
        isosurface.polygonise(field)
    assert str(error.value) == "the field is not finite at 1 of 512 nodes"
