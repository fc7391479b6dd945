import numpy as np
import pytest

from hexjax.geometry import frame

AXES = dict(x=0, y=1, z=2)
TABLE = [  # conventions: camera at, looking, image right, image up
    ("top", "+y", "-y", "-x", "+z"),
    ("bottom", "-y", "+y", "-x", "-z"),
    ("front", "-z", "+z", "-x", "+y"),
    ("back", "+z", "-z", "+x", "+y"),
    ("left", "-x", "+x", "+z", "+y"),
    ("right", "+x", "-x", "-z", "+y"),
]


def direction(text):
    vector = np.zeros(3)
    vector[AXES[text[1]]] = 1 if text[0] == "+" else -1
    return vector


@pytest.mark.parametrize(("view", "row"), list(enumerate(TABLE)))
def test_views_stand_look_and_lie_as_the_table_says(view, row):
    name, camera, looking, right, up = row
    assert frame.VIEWS[view] == name
    assert frame.CAMERAS[view].replace("−", "-") == camera
    np.testing.assert_array_equal(frame.FORWARD[view], direction(looking))
    np.testing.assert_array_equal(frame.FORWARD[view], -direction(camera))
    np.testing.assert_array_equal(frame.RIGHT[view], direction(right))
    np.testing.assert_array_equal(frame.UP[view], direction(up))


def test_no_view_is_mirrored():
    np.testing.assert_array_equal(np.cross(frame.FORWARD, frame.UP), frame.RIGHT)


@pytest.mark.parametrize("view", range(6))
def test_rays_start_on_the_face_and_look_forward(view):
    origins, directions = frame.rays(view, 4)
    assert origins.shape == directions.shape == (4, 4, 3)
    np.testing.assert_allclose(np.asarray(origins) @ frame.FORWARD[view], -1)
    np.testing.assert_array_equal(directions, np.broadcast_to(frame.FORWARD[view], (4, 4, 3)))
    h, w = 1, 3
    expected = frame.RIGHT[view] * ((w + 0.5) * 2 / 4 - 1) + frame.UP[view] * (1 - (h + 0.5) * 2 / 4)
    np.testing.assert_allclose(origins[h, w], expected - frame.FORWARD[view], atol=1e-6)


def test_rays_refuse_a_view_that_does_not_exist():
    with pytest.raises(ValueError) as error:
        frame.rays(6, 8)
    assert str(error.value) == "view is 6; views are 0 to 5: top, bottom, front, back, left, right"


def test_to_image_and_to_world_are_inverse():
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    column, row, depth = frame.to_image(points, 64)
    for view in range(6):
        back = frame.to_world(column[view], row[view], depth[view], view, 64)
        np.testing.assert_allclose(back, points, atol=1e-6)


@pytest.mark.parametrize("view", range(6))
def test_pixel_centres_are_whole_numbers_and_depth_grows_forward(view):
    origins, directions = frame.rays(view, 8)
    column, row, depth = (a[view] for a in frame.to_image(origins + 0.25 * directions, 8))
    np.testing.assert_allclose(column, np.broadcast_to(np.arange(8), (8, 8)), atol=1e-5)
    np.testing.assert_allclose(row, np.broadcast_to(np.arange(8)[:, None], (8, 8)), atol=1e-5)
    np.testing.assert_allclose(depth, 0.25, atol=1e-6)


@pytest.mark.parametrize(("view", "opposite", "mirrored"), frame.OPPOSITE)
def test_opposite_views_are_mirrored_in_the_named_axis(view, opposite, mirrored):
    np.testing.assert_array_equal(frame.FORWARD[view], -frame.FORWARD[opposite])
    one, other = (np.asarray(frame.rays(each, 6)[0]) for each in (view, opposite))
    face = frame.FORWARD[view]
    np.testing.assert_allclose(one + face, np.flip(other, mirrored) - face, atol=1e-6)


def test_hit_points_lie_at_their_depth():
    depth = np.random.default_rng(1).uniform(0, 2, (6, 5, 5)).astype(np.float32)
    column, row, found = frame.to_image(frame.hit_points(depth), 5)
    for view in range(6):
        np.testing.assert_allclose(found[view][view], depth[view], atol=1e-6)
        np.testing.assert_allclose(column[view][view], np.broadcast_to(np.arange(5), (5, 5)), atol=1e-5)
        np.testing.assert_allclose(row[view][view], np.broadcast_to(np.arange(5)[:, None], (5, 5)), atol=1e-5)


def test_grid_nodes_span_the_cube():
    np.testing.assert_allclose(frame.grid_nodes(5), [-1, -0.5, 0, 0.5, 1])


def test_the_cube_has_24_proper_rotations():
    rotations = frame.rotations()
    assert rotations.shape == (24, 3, 3)
    assert len({matrix.tobytes() for matrix in rotations + 0.0}) == 24
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_array_equal(rotations[0], np.eye(3))
