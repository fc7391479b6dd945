"""Cameras: where they stand, what a pixel looks through, and poses."""

import numpy as np
import pytest

from hexjax.geometry import camera, frame, hexplane
from tests import shapes


def test_a_lattice_is_even_and_goes_from_the_top_down():
    azimuth, elevation = camera.fibonacci(64)
    assert (np.diff(elevation) < 0).all()
    np.testing.assert_allclose(elevation, -elevation[::-1], atol=1e-6)
    places = camera.around(azimuth, elevation, 2.0).position
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 2, rtol=1e-6)
    np.testing.assert_allclose(places.mean(0), 0, atol=0.03)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(64)
    assert apart.min() > 0.5 * np.median(apart.min(1))
    with pytest.raises(ValueError) as refused:
        camera.fibonacci(0)
    assert str(refused.value) == "config.views.count is 0; accepted: at least 1"


def test_axes_are_orthonormal_and_right_is_forward_times_up_and_the_poles_have_some():
    azimuth, elevation = np.float32([0, 1, -2, 0.3, 0.3]), np.float32([0, 0.5, -1, np.pi / 2, -np.pi / 2])
    found = camera.around(azimuth, elevation, 2.5)
    axes = np.stack(found[1:], 1)
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(found.right, np.cross(found.forward, found.up), atol=1e-6)
    np.testing.assert_allclose(found.position, -2.5 * found.forward, atol=1e-6)
    assert (found.up[:3, 1] > 0).all()


@pytest.mark.parametrize(("view", "azimuth"), [(2, np.pi), (3, 0), (4, -np.pi / 2), (5, np.pi / 2)])
def test_the_side_views_of_the_frame_are_cameras_at_quarter_turns(view, azimuth):
    found = camera.around(np.float32([azimuth]), np.float32([0]), 1.0)
    for axis, expected in ((found.right, frame.RIGHT), (found.up, frame.UP), (found.forward, frame.FORWARD)):
        np.testing.assert_allclose(axis[0], expected[view], atol=1e-6)


def test_rays_pass_through_the_pixels_that_points_on_them_are_seen_in():
    cameras, resolution = camera.around(np.float32([0.3, 2]), np.float32([0.4, -1]), 2.5), 8
    ways = np.asarray(camera.rays(cameras, 0.9, resolution))
    for number in range(2):
        points = cameras.position[number] + 2.1 * ways[number].reshape(-1, 3)
        column, row, along = (np.asarray(a)[number] for a in camera.project(points, cameras, 0.9, resolution))
        rows, columns = np.indices((resolution, resolution)).reshape(2, -1)
        np.testing.assert_allclose(column, columns, atol=1e-4)
        np.testing.assert_allclose(row, rows, atol=1e-4)
        np.testing.assert_allclose(along, -1 / 2.1, rtol=1e-5)


def test_poses_tell_directions_apart_and_know_no_full_turns():
    azimuth, elevation = camera.fibonacci(64)
    poses = camera.pose(azimuth, elevation)
    assert poses.shape == (64, camera.POSE) == (64, 64)
    apart = np.linalg.norm(poses[:, None] - poses[None], axis=-1) + 9 * np.eye(64)
    assert apart.min() > 1
    np.testing.assert_allclose(camera.pose(azimuth + 2 * np.pi, elevation), poses, atol=1e-4)


def test_a_ball_is_seen_as_a_disc_of_the_size_that_perspective_gives_it():
    mesh = shapes.sphere(0.8, 4)
    size = hexplane.padded_size(len(mesh.vertices), len(mesh.faces))
    padded = hexplane.pad(mesh, size, size)
    sight = camera.see(
        padded.vertices, padded.faces, camera.around(np.float32([0, 1]), np.float32([0.2, -0.7]), 2.5), 0.9, 128
    )
    radius = 64 * np.tan(np.arcsin(0.8 / 2.5)) / np.tan(0.45)
    np.testing.assert_allclose(np.asarray(sight.mask).sum((1, 2)), np.pi * radius**2, rtol=0.01)
    np.testing.assert_allclose(np.asarray(sight.depth)[:, 63:65, 63:65], 2.5 - 0.8, atol=2e-3)
    assert np.asarray(sight.depth)[~np.asarray(sight.mask)].max() == 0
