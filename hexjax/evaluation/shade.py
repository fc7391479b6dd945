"""Shaded pictures of meshes from three angles, by ray casting on the host: nothing is compiled, any mesh works.

The camera stands at +z and looks at the centre, image right +x, up +y; a head that faces +z is turned, and seen from
its front, its side and its back, slightly from above. Colours are linear in [0, 1] until they become sRGB bytes.
"""

from collections.abc import Sequence
from concurrent import futures
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int, UInt8

from hexjax import cores
from hexjax.geometry import raster, surface
from hexjax.types import Mesh

ANGLES = {"front three-quarter": (30, 8), "side": (-62, 8), "back three-quarter": (150, 14)}  # degrees: yaw, pitch
OVERSAMPLING = 2  # samples a side of each pixel
CLAY = (0.60, 0.585, 0.565)  # linear albedo of a surface that says nothing
INSIDE = (0.42, 0.52, 0.70)  # what is left of the light on faces that are seen from behind
KEY = (-0.48, 0.62, 0.62)  # unit directions to the lights: right, up, towards the camera
FILL = (0.78, 0.05, 0.62)
CREASES = (0.012, 0.045)  # of the picture's side: widths over which a surface's surroundings are smoothed


class Sight(NamedTuple):
    """What the camera sees from each angle (v): where there is a surface, and of each such sample (p), in that order, what.

    `corners` are the vertices of the triangle seen and `barycentric` their weights; normals are unit, in camera axes,
    and turned to the camera: `inside` tells where; `height` is towards the camera, in units of the frame; `light` is
    what a white surface would send there.
    """

    mask: Bool[np.ndarray, "v h w"]
    corners: Int[np.ndarray, "p 3"]
    barycentric: Float[np.ndarray, "p 3"]
    normal: Float[np.ndarray, "p 3"]
    inside: Bool[np.ndarray, "p"]
    height: Float[np.ndarray, "p"]
    light: Float[np.ndarray, "p"]


def look(meshes: Sequence[Mesh], resolution: int) -> list[Sight]:
    """What is seen of each mesh in the frame from the three angles, all at one scale, OVERSAMPLING samples a pixel."""
    turned = [np.einsum("vij,nj->vni", cameras(), np.asarray(mesh.vertices, np.float64)) for mesh in meshes]
    scale = 0.98 / max(1e-6, *(np.abs(vertices[..., :2]).max(initial=0) for vertices in turned))
    views = [(mesh, view) for mesh, vertices in zip(meshes, turned) for view in vertices]
    with futures.ThreadPoolExecutor(cores.allowed()) as pool:
        seen = list(pool.map(lambda view: _see(*view, scale, resolution * OVERSAMPLING), views))
    count = len(ANGLES)
    gathered = [tuple(zip(*seen[i : i + count])) for i in range(0, len(seen), count)]
    return [Sight(np.stack(masks), *map(np.concatenate, rest)) for masks, *rest in gathered]


def close_up(
    meshes: Sequence[Mesh],
    resolution: int,
    camera: Float[np.ndarray, "3 3"],
    centre: Float[np.ndarray, "3"],
    reach: float,
) -> list[Sight]:
    """What one camera, a rotation from the frame, sees of each mesh within so much of a place, in a picture each (v = 1)."""
    turned = [(np.asarray(mesh.vertices, np.float64) - centre) @ camera.T for mesh in meshes]
    seen = [_see(mesh, vertices, 1 / reach, resolution * OVERSAMPLING) for mesh, vertices in zip(meshes, turned)]
    return [sight._replace(mask=sight.mask[None]) for sight in seen]


def cameras() -> Float[np.ndarray, "v 3 3"]:
    """Rotations from the frame: yaw about +y (the front goes to the right), then pitch (the top comes nearer)."""
    rotations = []
    for angle in ANGLES.values():
        (a, b), (c, d) = ((np.cos(radians), np.sin(radians)) for radians in np.deg2rad(angle))
        yaw, pitch = [[a, 0, b], [0, 1, 0], [-b, 0, a]], [[1, 0, 0], [0, c, -d], [0, d, c]]
        rotations.append(np.array(pitch) @ np.array(yaw))
    return np.stack(rotations)


def _see(mesh: Mesh, turned: np.ndarray, scale: float, samples: int) -> Sight:
    """The sight from one angle, without v, of a mesh whose vertices are given in a camera's axes [n, 3]."""
    faces, middle = np.asarray(mesh.faces), (samples - 1) / 2
    image = turned * [scale * samples / 2, -scale * samples / 2, 1] + [middle, middle, 0]
    top, _ = raster.ends(image, faces, samples)
    mask = top.face >= 0
    row, column = np.nonzero(mask)
    face = top.face[mask]
    corners = faces.take(face, 0)
    u, v = image[:, 0].take(corners.T) - column, image[:, 1].take(corners.T) - row
    weight = u[[1, 2, 0]] * v[[2, 0, 1]] - v[[1, 2, 0]] * u[[2, 0, 1]]
    total = weight.sum(0)
    normal = surface.area_vectors(mesh._replace(vertices=turned))  # of the faces, not of the samples, which are more
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    inside = normal[:, 2] < 0
    normal[inside] *= -1
    barycentric = (weight / np.where(total == 0, 1, total)).T
    light = _light(normal).take(face) * _openness(top.height.astype(np.float32), mask)[mask]
    exact = corners, barycentric, normal.take(face, 0), inside.take(face), top.height[mask], light
    kinds = np.int32, np.float32, np.float32, bool, np.float32, np.float32
    return Sight(mask, *(each.astype(kind) for each, kind in zip(exact, kinds)))


def _light(normal: np.ndarray) -> np.ndarray:
    """What a white surface sends to the camera: a key light, a fill light and the sky, darker at its rims."""
    key, fill = (np.clip(normal @ np.array(light), 0, None) for light in (KEY, FILL))
    rim = (1 - np.clip(normal[:, 2], 0, 1)) ** 4
    return (0.98 * key + 0.22 * fill + 0.13 * (1 + normal[:, 1]) + 0.08) * (1 - 0.35 * rim)


def interpolate(sight: Sight, values: Float[np.ndarray, "n *d"]) -> Float[np.ndarray, "p *d"]:
    """Values of the vertices at every sample that is seen, linear over each triangle."""
    return np.einsum("pk,pk...->p...", sight.barycentric, values[sight.corners])


def shade(sight: Sight, albedo: Float[np.ndarray, "#p 3"]) -> UInt8[np.ndarray, "v h2 w2 3"]:
    """The pictures in sRGB bytes, on white; what is seen from behind is tinted."""
    colour = np.ones((*sight.mask.shape, 3), np.float32)
    tint = np.where(sight.inside[:, None], np.float32(INSIDE), 1)
    colour[sight.mask] = np.clip(np.asarray(albedo, np.float32) * sight.light[:, None] * tint, 0, 1)
    steps = range(OVERSAMPLING)
    return to_bytes(sum(colour[:, i::OVERSAMPLING, j::OVERSAMPLING] for i in steps for j in steps) / OVERSAMPLING**2)


def to_bytes(colour: Float[np.ndarray, "*p 3"]) -> UInt8[np.ndarray, "*p 3"]:
    """Linear colours, cut to [0, 1], as sRGB bytes."""
    colour = np.clip(colour, 0, 1)
    encoded = np.where(colour > 0.0031308, 1.055 * colour ** (1 / 2.4) - 0.055, 12.92 * colour)
    return np.round(255 * encoded).astype(np.uint8)


def _openness(height: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much of the sky each sample sees, in (0, 1]: less, where it lies below its smoothed surroundings.

    Source: Luft et al. 2006, with the depth buffer's unsharp mask; one value a pixel.
    """
    height, mask = height[::OVERSAMPLING, ::OVERSAMPLING], mask[::OVERSAMPLING, ::OVERSAMPLING]
    light = np.ones(height.shape)
    for share in CREASES:
        width = share * len(height)
        weight = np.maximum(scipy.ndimage.gaussian_filter(mask.astype(np.float64), width), 1e-3)
        around = scipy.ndimage.gaussian_filter(np.where(mask, height, 0), width) / weight
        light *= np.clip(1 - 4.0 * np.clip(around - height, 0, 0.12), 0.45, 1)
    return light.repeat(OVERSAMPLING, 0).repeat(OVERSAMPLING, 1)
