"""Cameras that look at the centre of the frame from around it, in perspective, and what they see of a mesh.

A camera's right = forward x up, as in `geometry.frame`; +y is up in every picture. Angles in radians: the azimuth of a
place is atan2(x, z), from +z towards +x, its elevation that above the plane of x and z.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax.geometry import mesh as meshes
from hexjax.geometry import raycast
from hexjax.types import Array

GOLDEN = np.pi * (3 - 5**0.5)  # the angle between neighbours of a Fibonacci lattice
HARMONICS = 16  # of each angle of a pose
POSE = 4 * HARMONICS
Angle = float | Float[Array, ""]


class Camera(NamedTuple):
    """Where cameras stand, and their axes, all [k, 3] in the frame."""

    position: Float[Array, "k 3"]
    right: Float[Array, "k 3"]
    up: Float[Array, "k 3"]
    forward: Float[Array, "k 3"]


class Sight(NamedTuple):
    """What cameras see: the face of each pixel (-1: none), its distance along the camera's forward, its normal.

    Normals are those of faces, unit, in world axes, turned to who looks; both are 0 where nothing is hit.
    """

    face: Int[Array, "k h w"]
    depth: Float[Array, "k h w"]
    normal: Float[Array, "k h w 3"]

    @property
    def mask(self) -> Bool[Array, "k h w"]:
        """Whether a pixel sees anything."""
        return self.face >= 0


def fibonacci(count: int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Azimuth in [-pi, pi] and elevation of `count` places spread evenly over the sphere, from the top down.

    Raises:
        ValueError: for none.
    """
    if count < 1:
        raise ValueError(f"config.views.count is {count}; accepted: at least 1")
    number = np.arange(count)
    azimuth = np.angle(np.exp(1j * GOLDEN * number))
    return azimuth.astype(np.float32), np.arcsin(1 - (2 * number + 1) / count).astype(np.float32)


def around(azimuth: Float[Array, "k"], elevation: Float[Array, "k"], distance: float) -> Camera:
    """Cameras at a distance from the centre, in the directions of the angles, that look at it."""
    azimuth, elevation = np.asarray(azimuth, np.float64), np.asarray(elevation, np.float64)
    sine, cosine, level = np.sin(azimuth), np.cos(azimuth), np.cos(elevation)
    away = np.stack([sine * level, np.sin(elevation), cosine * level], -1)
    right = np.stack([cosine, 0 * sine, -sine], -1)  # level, and there at the poles too
    up = np.cross(right, -away)
    return Camera(*(np.float32(axis) for axis in (distance * away, right, up, -away)))


def pose(azimuth: Float[Array, "*k"], elevation: Float[Array, "*k"]) -> Float[np.ndarray, "*k 64"]:
    """Sines and cosines of the first sixteen multiples of both angles: the same for an azimuth and its full turns."""
    turns = np.stack([np.asarray(azimuth), np.asarray(elevation)], -1)[..., None] * np.arange(1, HARMONICS + 1)
    flat = turns.reshape(*turns.shape[:-2], -1)
    return np.concatenate([np.sin(flat), np.cos(flat)], -1).astype(np.float32)


def rays(camera: Camera, angle: Angle, resolution: int) -> Float[Array, "k h w 3"]:
    """Directions of the rays through the pixels' centres, as long as makes them 1 along the camera's forward.

    Args:
        angle: between the rays to opposite edges of the picture.
    """
    side = jnp.tan(angle / 2) * ((2 * jnp.arange(resolution, dtype=jnp.float32) + 1) / resolution - 1)
    right, up, forward = (jnp.asarray(axis)[:, None, None] for axis in (camera.right, camera.up, camera.forward))
    return forward + side[None, None, :, None] * right - side[None, :, None, None] * up


def project(
    vertices: Float[Array, "n 3"], camera: Camera, angle: Angle, resolution: int
) -> tuple[Float[Array, "k n"], ...]:
    """Column, row (in pixels; a pixel's centre is a whole number), and the inverse of the depth, negative, of points.

    All points must lie before the cameras.
    """
    seen = vertices[None] - jnp.asarray(camera.position)[:, None]
    right, up, depth = (
        jnp.einsum("kni,ki->kn", seen, axis, precision="highest") for axis in (camera.right, camera.up, camera.forward)
    )
    half = resolution / 2
    scale = half / (jnp.tan(angle / 2) * depth)
    return right * scale + (half - 0.5), half - 0.5 - up * scale, -1 / depth


@functools.partial(jax.jit, static_argnums=4)
def see(
    vertices: Float[Array, "n 3"], faces: Int[Array, "f 3"], camera: Camera, angle: Angle, resolution: int
) -> Sight:
    """What cameras see of a mesh, padded as `raycast` takes it: the depth is met in the plane of the face that is seen."""
    images = tuple(each[:, None] for each in project(vertices, camera, angle, resolution))
    face = raycast.cast(images, faces[None], resolution)[0][:, 0]
    normals, first = meshes.face_normals(vertices, faces), jnp.maximum(face, 0)
    ray, normal = rays(camera, angle, resolution), normals[first]
    corner = vertices[faces[first, 0]] - jnp.asarray(camera.position)[:, None, None]
    facing = (normal * ray).sum(-1)
    depth = (normal * corner).sum(-1) / jnp.where(facing == 0, 1, facing)
    near, far = (fold(images[2][:, 0], faces) for fold in (_least, _most))
    number = jnp.arange(len(face), dtype=jnp.int32)[:, None, None]
    depth = jnp.clip(depth, -1 / near[number, first], -1 / far[number, first])
    mask = face >= 0
    turned = jnp.where(facing[..., None] > 0, -normal, normal)
    return Sight(face, jnp.where(mask, depth, 0), jnp.where(mask[..., None], turned, 0))


@functools.partial(jax.jit, static_argnums=(4, 5))
def pixels(
    points: Float[Array, "n 3"],
    depth: Float[Array, "k h w"],
    mask: Bool[Array, "k h w"],
    camera: Camera,
    angle: float,
    resolution: int,
    within: Angle,
) -> tuple[Int[Array, "k n"], Bool[Array, "k n"]]:
    """The pixel, row by row, whose centre is nearest to each point in each picture, and whether it sees the point.

    It does where what it hits is as far along the camera's forward as the point, to `within`. A point beside the picture or
    behind the camera is not seen, and has some pixel.

    Args:
        depth, mask: of a Sight of these cameras.
    """
    column, row, inverse = project(points, camera, angle, resolution)
    column, row = jnp.round(column), jnp.round(row)
    inside = (inverse < 0) & (column >= 0) & (column < resolution) & (row >= 0) & (row < resolution)
    at = jnp.where(inside, row * resolution + column, 0).astype(jnp.int32)
    taken = lambda picture: jnp.take_along_axis(picture.reshape(len(picture), -1), at, 1)
    near = jnp.abs(taken(depth) + 1 / inverse) <= within
    return at, inside & taken(mask) & near


def _least(values: Float[Array, "k n"], faces: Int[Array, "f 3"]) -> Float[Array, "k f"]:
    return values[:, faces].min(-1)


def _most(values: Float[Array, "k n"], faces: Int[Array, "f 3"]) -> Float[Array, "k f"]:
    return values[:, faces].max(-1)
