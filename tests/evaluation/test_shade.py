"""Shading: what the camera sees of closed forms, from angles that are what they are called."""

import numpy as np
import pytest

from hexjax.evaluation import shade
from hexjax.types import Mesh
from tests.evaluation import toys

PIXELS = 64
CLAY = np.reshape(shade.CLAY, (1, 3))


def test_a_sphere_is_seen_as_a_disc_with_its_normals_from_every_angle():
    mesh = toys.sphere(0.8, subdivisions=4)
    sight = shade.look([mesh], PIXELS)[0]
    np.testing.assert_allclose(sight.mask.mean((1, 2)), np.pi / 4 * 0.98**2, rtol=0.01)
    points = shade.interpolate(sight, mesh.vertices.astype(np.float64))
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 0.8, rtol=0.01)
    np.testing.assert_allclose(sight.height / 0.8, sight.normal[:, 2], atol=0.08)
    assert not sight.inside.any()


def test_interpolated_positions_lie_on_the_rays():
    mesh = toys.sphere(0.5)
    sight = shade.look([mesh], PIXELS)[0]
    points = shade.interpolate(sight, mesh.vertices.astype(np.float64))
    samples = PIXELS * shade.OVERSAMPLING
    places = (2 * np.arange(samples) + 1 - samples) / samples / 0.98 * 0.5
    angle, row, column = np.nonzero(sight.mask)
    turned = np.einsum("pij,pj->pi", shade.cameras()[angle], points)
    np.testing.assert_allclose(turned, np.stack([places[column], -places[row], sight.height], -1), atol=2e-3)


def test_the_nose_of_a_head_that_faces_plus_z_points_to_where_the_angles_say():
    camera = dict(zip(shade.ANGLES, shade.cameras()))
    nose = {name: rotation @ np.array([0, 0, 1.0]) for name, rotation in camera.items()}
    assert nose["front three-quarter"][2] > 0.5
    assert abs(nose["side"][0]) > 0.8
    assert nose["back three-quarter"][2] < -0.5
    for rotation in camera.values():
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0
        assert (rotation @ np.array([0, 1.0, 0]))[1:].min() > 0  # up stays up, and comes nearer: seen from above


def test_faces_seen_from_behind_are_told_and_tinted():
    ball = toys.sphere(0.8)
    inverted = ball._replace(faces=ball.faces[:, ::-1])
    outer, inner = shade.look([ball, inverted], PIXELS)
    assert inner.inside.all()
    np.testing.assert_array_equal(inner.mask, outer.mask)
    warm, cold = shade.shade(outer, CLAY).astype(int), shade.shade(inner, CLAY).astype(int)
    assert (warm[..., 0] - warm[..., 2]).max() > 0
    assert (cold[..., 2] - cold[..., 0]).max() > 20


def test_meshes_seen_together_keep_their_sizes():
    large, small = shade.look([toys.sphere(0.8), toys.sphere(0.4)], PIXELS)
    assert small.mask.sum() / large.mask.sum() == pytest.approx(0.25, rel=0.02)


def test_a_mesh_without_faces_is_a_white_picture():
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    sight = shade.look([empty], PIXELS)[0]
    assert not sight.mask.any()
    assert (shade.shade(sight, CLAY) == 255).all()


def test_bytes_are_srgb():
    found = shade.to_bytes(np.array([[-1.0, 0.0, 0.002], [0.2140411, 1.0, 7.0]]))
    np.testing.assert_array_equal(found, [[0, 0, 7], [127, 255, 255]])
