"""Shaded pictures of meshes from three angles, by ray casting on the host: nothing is compiled, any mesh works.

The camera stands at +z and looks at the centre, image right +x, up +y; a head that faces +z is turned, and seen from
its front, its side and its back, slightly from above. Colours are linear in [0, 1] until they become sRGB bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int, UInt8

from hexjax.geometry import surface
from hexjax.types import Mesh

ANGLES = {"front three-quarter": (30, 8), "side": (-62, 8), "back three-quarter": (150, 14)}  # degrees: yaw, pitch
OVERSAMPLING = 2  # samples a side of each pixel
CLAY = (0.60, 0.585, 0.565)  # linear albedo of a surface that says nothing
INSIDE = (0.42, 0.52, 0.70)  # what is left of the light on faces that are seen from behind
KEY = (-0.48, 0.62, 0.62)  # unit directions to the lights: right, up, towards the camera
FILL = (0.78, 0.05, 0.62)
CREASES = (0.012, 0.045)  # of the picture's side: widths over which a surface's surroundings are smoothed


class Sight(NamedTuple):
    """What the camera sees at each sample, from each angle (v).

    `corners` are the vertices of the triangle seen and `barycentric` their weights; normals are unit, in camera axes,
    and turned to the camera: `inside` tells where; `height` is towards the camera, in units of the frame.
    """

    mask: Bool[np.ndarray, "v h w"]
    corners: Int[np.ndarray, "v h w 3"]
    barycentric: Float[np.ndarray, "v h w 3"]
    normal: Float[np.ndarray, "v h w 3"]
    inside: Bool[np.ndarray, "v h w"]
    height: Float[np.ndarray, "v h w"]


def look(meshes: Sequence[Mesh], resolution: int) -> list[Sight]:
    """What is seen of each mesh in the frame from the three angles, all at one scale, OVERSAMPLING samples a pixel."""
    turned = [np.einsum("vij,nj->vni", cameras(), np.asarray(mesh.vertices, np.float64)) for mesh in meshes]
    scale = 0.98 / max(1e-6, *(np.abs(vertices[..., :2]).max(initial=0) for vertices in turned))
    sights = []
    for mesh, vertices in zip(meshes, turned):
        views = [_see(np.asarray(mesh.faces), view, scale, resolution * OVERSAMPLING) for view in vertices]
        sights.append(Sight(*(np.stack(parts) for parts in zip(*views))))
    return sights


def cameras() -> Float[np.ndarray, "v 3 3"]:
    """Rotations from the frame: yaw about +y (the front goes to the right), then pitch (the top comes nearer)."""
    rotations = []
    for angle in ANGLES.values():
        (a, b), (c, d) = ((np.cos(radians), np.sin(radians)) for radians in np.deg2rad(angle))
        yaw, pitch = [[a, 0, b], [0, 1, 0], [-b, 0, a]], [[1, 0, 0], [0, c, -d], [0, d, c]]
        rotations.append(np.array(pitch) @ np.array(yaw))
    return np.stack(rotations)


def _see(faces: np.ndarray, vertices: np.ndarray, scale: float, samples: int) -> Sight:
    """One view of vertices in camera axes, without the leading v."""
    places = (2 * np.arange(samples) + 1 - samples) / (samples * scale)
    rays = np.stack(np.meshgrid(places, -places), -1).reshape(-1, 2)
    hits = list(surface.covering(vertices[faces], rays))
    point, face, height = (np.concatenate(part) for part in zip(*hits)) if hits else (np.zeros(0, np.int64),) * 3
    nearest = np.lexsort((face, -height, point))
    nearest = nearest[np.diff(point[nearest], prepend=-1) > 0]
    point, corners, height = point[nearest], faces[face[nearest]], height[nearest]

    triangles = vertices[corners]
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    inside = normal[:, 2] < 0
    ends = triangles[..., :2] - rays[point][:, None]
    following, last = ends[:, [1, 2, 0]], ends[:, [2, 0, 1]]
    weight = following[..., 0] * last[..., 1] - following[..., 1] * last[..., 0]
    weight = weight / weight.sum(-1, keepdims=True)

    def image(values: np.ndarray | bool) -> np.ndarray:
        values = np.broadcast_to(values, (len(point), *np.shape(values)[1:]))
        filled = np.zeros((samples**2, *values.shape[1:]), values.dtype)
        filled[point] = values
        return filled.reshape(samples, samples, *values.shape[1:])

    normal = np.where(inside[:, None], -normal, normal)
    return Sight(*(image(part) for part in (True, corners, weight, normal, inside, height)))


def interpolate(sight: Sight, values: Float[np.ndarray, "n *d"]) -> Float[np.ndarray, "v h w *d"]:
    """Values of the vertices at every sample, linear over each triangle; without meaning where nothing is seen."""
    return np.einsum("vhwk,vhwk...->vhw...", sight.barycentric, values[sight.corners])


def shade(sight: Sight, albedo: Float[np.ndarray, "#v #h #w 3"]) -> UInt8[np.ndarray, "v h2 w2 3"]:
    """The pictures in sRGB bytes: a key light, a fill light and the sky, creases and rims darker, on white."""
    key, fill = (np.clip(sight.normal @ np.array(light), 0, None) for light in (KEY, FILL))
    sky = 0.5 + 0.5 * sight.normal[..., 1]
    rim = (1 - np.clip(sight.normal[..., 2], 0, 1)) ** 4
    light = (0.98 * key + 0.22 * fill + 0.26 * sky + 0.08) * (1 - 0.35 * rim)
    light *= np.stack([_openness(height, mask) for height, mask in zip(sight.height, sight.mask)])
    colour = albedo * light[..., None] * np.where(sight.inside[..., None], INSIDE, 1.0)
    colour = np.where(sight.mask[..., None], np.clip(colour, 0, 1), 1.0)
    v, h, w, _ = colour.shape
    return to_bytes(colour.reshape(v, h // OVERSAMPLING, OVERSAMPLING, w // OVERSAMPLING, OVERSAMPLING, 3).mean((2, 4)))


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
