"""Stage 3, pictures of a mesh: what cameras around it see, shaded, as depth or as normals, as bytes.

Cameras stand on a Fibonacci lattice, in a fixed order that is even at every length: the last `views.held` are never trained
with. All look at the centre from so many times the shape's radius about it, so that every shape fills its pictures alike.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from hexjax import names
from hexjax.geometry import camera, hexplane
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Mesh

CHANNELS = {"shaded": 3, "depth": 1, "normal": 3, "all": 7}
ALBEDO = (0.7, 0.7, 0.75)  # linear
ROUGHNESS = 0.4
REFLECTANCE = 0.04  # of a dielectric, head-on
RIM = (np.deg2rad(60), np.deg2rad(-30))  # azimuth and elevation of the second light, about the camera's own direction
LIGHT, RIM_LIGHT = 0.75, 0.35  # of the one at the camera, and of that: no surface is much brighter than white
AT_ONCE = 16  # cameras


@functools.lru_cache(8)
def angles(count: int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Azimuth and elevation of each camera: each is the farthest from those before it, the first stands at the middle."""
    azimuth, elevation = camera.fibonacci(count)
    places = camera.around(azimuth, elevation, 1.0).position
    order = [count // 2]
    near = places @ places[order[0]]  # cosine of the nearest that is taken
    while len(order) < count:
        near[order] = 2
        order.append(int(near.argmin()))
        near = np.maximum(near, places @ places[order[-1]])
    return azimuth[order], elevation[order]


def make(mesh: Mesh, settings: Any) -> dict[str, np.ndarray]:
    """The fields `views` [k, h, w, c] uint8 and `pose` [k, 64] of a mesh in the frame.

    Channels: shaded, sRGB on black; depth, from 1 at the near end of the shape's ball to 0 at the far end; normal, in
    camera axes (right, up, towards the camera), from -1 to 1; all: the three behind each other. What misses is 0.

    Args:
        settings: the section `views`.
    """
    azimuth, elevation = angles(settings.count)
    shown = [
        look(mesh, azimuth[i : i + AT_ONCE], elevation[i : i + AT_ONCE], settings)
        for i in range(0, settings.count, AT_ONCE)
    ]
    return {"views": np.concatenate(shown), "pose": camera.pose(azimuth, elevation)}


def look(
    mesh: Mesh, azimuth: Float[Array, "k"], elevation: Float[Array, "k"], settings: Any
) -> UInt8[np.ndarray, "k h w c"]:
    """The pictures from some directions; the cameras are filled up to AT_ONCE, so that few programs are compiled.

    Raises:
        ValueError: for channels or shading that are unknown.
    """
    count, spare = len(azimuth), -len(azimuth) % AT_ONCE
    radius = float(np.linalg.norm(np.asarray(mesh.vertices)[np.unique(mesh.faces)], axis=1).max())
    cameras = camera.around(np.pad(azimuth, (0, spare)), np.pad(elevation, (0, spare)), settings.distance * radius)
    size = hexplane.padded_size(len(mesh.vertices), len(mesh.faces))
    padded = hexplane.pad(mesh, size, size)
    given = settings.field_of_view, settings.resolution_px, settings.channels, settings.shading
    found = [
        _look(padded.vertices, padded.faces, jax.tree.map(lambda a: a[i : i + AT_ONCE], cameras), radius, *given)  # noqa: B023
        for i in range(0, count + spare, AT_ONCE)
    ]
    return np.concatenate([np.asarray(part) for part in found])[:count]


@functools.partial(jax.jit, static_argnums=(5, 6, 7))
def _look(vertices, faces, cameras, radius, angle, resolution, channels, shading) -> UInt8[Array, "k h w c"]:
    sight = camera.see(vertices, faces, cameras, angle, resolution)
    mask = sight.mask[..., None]
    axes = jnp.stack([cameras.right, cameras.up, -cameras.forward], 1)
    normal = jnp.einsum("khwi,kji->khwj", sight.normal, axes, precision="highest")
    away = jnp.linalg.norm(cameras.position, axis=-1)[:, None, None]
    depth = ((away + radius - sight.depth) / (2 * radius))[..., None]
    parts = {"depth": lambda: depth, "normal": lambda: (normal + 1) / 2}
    parts["shaded"] = lambda: encoded(shaded(normal, camera.rays(cameras, angle, resolution), axes, shading))
    if channels not in CHANNELS:
        raise ValueError(f"config.views.channels is {channels!r}; accepted: {', '.join(CHANNELS)}")
    chosen = ("shaded", "depth", "normal") if channels == "all" else (channels,)
    found = jnp.where(mask, jnp.concatenate([parts[name]() for name in chosen], -1), 0)
    return jnp.round(255 * jnp.clip(found, 0, 1)).astype(jnp.uint8)


def shaded(
    normal: Float[Array, "k h w 3"], rays: Float[Array, "k h w 3"], axes: Float[Array, "k 3 3"], kind: str
) -> Float[Array, "k h w 3"]:
    """Linear colours of a surface with ALBEDO, under a light at the camera and one at its rim; 0 normals are black.

    Args:
        normal: unit, in camera axes; rays: in world axes, from the camera.
        kind: lambert, or rough: with the highlights of a dielectric of ROUGHNESS.

    Source: rough, the microfacets of Walter et al. 2007 with Schlick's Fresnel term and Smith's shadowing, as in glTF 2.0.

    Raises:
        ValueError: for another kind.
    """
    view = meshes.unit(-jnp.einsum("khwi,kji->khwj", rays, axes, precision="highest"))
    sides = np.array([np.sin(RIM[0]) * np.cos(RIM[1]), np.sin(RIM[1]), np.cos(RIM[0]) * np.cos(RIM[1])], np.float32)
    lights = ((view, LIGHT), (jnp.broadcast_to(sides[None, None, None], view.shape), RIM_LIGHT))
    albedo, total = jnp.asarray(ALBEDO, jnp.float32), 0.0
    for light, share in lights:
        facing = jnp.maximum((normal * light).sum(-1, keepdims=True), 0)
        if kind == "lambert":
            total = total + share * facing * albedo[None, None, None]
        elif kind == "rough":
            total = total + share * facing * _reflected(normal, view, light, albedo[None, None, None], facing)
        else:
            raise ValueError(f"config.views.shading is {kind!r}; accepted: {', '.join(names.SHADINGS)}")
    return total


def _reflected(normal: Array, view: Array, light: Array, albedo: Array, facing: Array) -> Array:
    """Pi times what is sent to the camera for each unit of light that falls in."""
    half, seen = meshes.unit(view + light), jnp.maximum((normal * view).sum(-1, keepdims=True), 1e-4)
    cosine, wide = jnp.maximum((normal * half).sum(-1, keepdims=True), 0), ROUGHNESS**4
    spread = wide / (cosine**2 * (wide - 1) + 1) ** 2
    grazing = REFLECTANCE + (1 - REFLECTANCE) * (1 - jnp.maximum((view * half).sum(-1, keepdims=True), 0)) ** 5
    shadow = facing * jnp.sqrt(seen**2 * (1 - wide) + wide) + seen * jnp.sqrt(facing**2 * (1 - wide) + wide)
    return (1 - grazing) * albedo + grazing * spread / (2 * jnp.maximum(shadow, 1e-6))


def encoded(linear: Float[Array, "*p 3"]) -> Float[Array, "*p 3"]:
    """Linear colours, cut to [0, 1], as sRGB in [0, 1]."""
    linear = jnp.clip(linear, 0, 1)
    return jnp.where(linear > 0.0031308, 1.055 * jnp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)
