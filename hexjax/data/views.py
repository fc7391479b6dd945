"""Stage 3, pictures of a mesh: what cameras around it see, shaded, as depth or as normals, as bytes; and what cells show.

Cameras stand on a Fibonacci lattice, in a fixed order that is even at every length: the last `views.held` are never trained
with. All look at the centre from so many times the shape's radius about it, so that every shape fills its pictures alike.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hexjax import names
from hexjax.geometry import camera, hexplane
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Mesh

CHANNELS = {"shaded": 3, "depth": 1, "normal": 3, "all": 7}
FEATURES = {
    "shaded": 3,
    "normal": 3,
    "all": 6,
}  # of a cell: without the depth, which is the camera's and not the shape's
ALBEDO = (0.7, 0.7, 0.75)  # linear
ROUGHNESS = 0.4
REFLECTANCE = 0.04  # of a dielectric, head-on
RIM = (np.deg2rad(60), np.deg2rad(-30))  # azimuth and elevation of the second light, about the camera's own direction
LIGHT, RIM_LIGHT = 0.75, 0.35  # of the one at the camera, and of that: no surface is much brighter than white
AT_ONCE = 16  # cameras
ROOMS = 1024  # cells are filled up to a multiple of it, so that few programs are compiled


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
    padded, groups, radius = _placed(mesh, azimuth, elevation, settings)
    given = settings.field_of_view, settings.resolution_px, settings.channels, settings.shading
    found = [_look(padded.vertices, padded.faces, cameras, radius, *given) for cameras in groups]
    return np.concatenate([np.asarray(part) for part in found])[: len(azimuth)]


def at_cells(
    mesh: Mesh, cells: Int[Array, "n 3"], side: int, settings: Any, cameras: tuple[Array, Array] | None = None
) -> dict[str, np.ndarray]:
    """The fields `feature` [n, c] and `viewed` [n] of cells of a grid: the mean of what the pixels show that see them.

    A pixel sees a cell if it is the nearest to where the cell's centre is in its picture, and what it hits is as far away as
    that centre, to a cell's side. What pixels show, as float32: shaded, sRGB in [0, 1]; normal, the hit face's own by its
    winding, in world axes, so that a mean of it is shorter where the surface bends; all: both. A cell that no pixel sees
    has 0, and is not `viewed`. Nothing of it is learnt.

    Args:
        settings: the section `views`, all of whose cameras count, those that are held too.
        cameras: azimuth and elevation of others than those.

    Source: the mean over views, Xiang et al. 2024 (TRELLIS, arXiv:2412.01506), section 3.1, there of DINOv2's patches.

    Raises:
        ValueError: for channels of which a cell has no mean.
    """
    if settings.channels not in FEATURES:
        raise ValueError(f"config.views.channels is {settings.channels!r}; accepted of cells: {', '.join(FEATURES)}")
    azimuth, elevation = angles(settings.count) if cameras is None else cameras
    padded, groups, _ = _placed(mesh, azimuth, elevation, settings)
    places = np.pad((np.asarray(cells, np.float32) + 0.5) * (2 / side) - 1, ((0, -len(cells) % ROOMS), (0, 0)))
    given = settings.field_of_view, settings.resolution_px
    total, count = np.zeros((len(cells), FEATURES[settings.channels])), np.zeros(len(cells), int)
    for i, group in enumerate(groups):
        shown, depth, mask = _show(padded.vertices, padded.faces, group, *given, settings.channels, settings.shading)
        at, seen = (
            np.asarray(part)[: len(azimuth) - i * AT_ONCE, : len(cells)]
            for part in camera.pixels(places, depth, mask, group, *given, 2 / side)
        )
        found = np.take_along_axis(np.asarray(shown, np.float64)[: len(at)], at[..., None], 1)
        total, count = total + (found * seen[..., None]).sum(0), count + seen.sum(0)
    return {"feature": np.float32(total / np.maximum(count, 1)[:, None]), "viewed": count > 0}


def _placed(
    mesh: Mesh, azimuth: Float[Array, "k"], elevation: Float[Array, "k"], settings: Any
) -> tuple[Mesh, list[camera.Camera], float]:
    """The mesh padded, the cameras in groups of AT_ONCE, filled up, and the shape's radius about the centre."""
    spare = -len(azimuth) % AT_ONCE
    radius = float(np.linalg.norm(np.asarray(mesh.vertices)[np.unique(mesh.faces)], axis=1).max())
    every = camera.around(np.pad(azimuth, (0, spare)), np.pad(elevation, (0, spare)), settings.distance * radius)
    size = hexplane.padded_size(len(mesh.vertices), len(mesh.faces))
    starts = range(0, len(azimuth) + spare, AT_ONCE)
    groups = [jax.tree.map(lambda a: a[i : i + AT_ONCE], every) for i in starts]  # noqa: B023
    return hexplane.pad(mesh, size, size), groups, radius


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _show(
    vertices, faces, cameras, angle, resolution, channels, shading
) -> tuple[Float[Array, "k p c"], Float[Array, "k h w"], Bool[Array, "k h w"]]:
    """What each pixel shows of the surface, row by row, how far along the camera's forward that is, and whether it is any."""
    sight, axes = camera.see(vertices, faces, cameras, angle, resolution), _axes(cameras)
    normal = jnp.einsum("khwi,kji->khwj", sight.normal, axes, precision="highest")
    colour = lambda: encoded(shaded(normal, camera.rays(cameras, angle, resolution), axes, shading))
    parts = {"shaded": colour, "normal": lambda: meshes.face_normals(vertices, faces)[jnp.maximum(sight.face, 0)]}
    chosen = ("shaded", "normal") if channels == "all" else (channels,)
    shown = jnp.concatenate([parts[name]() for name in chosen], -1)
    return shown.reshape(len(shown), -1, shown.shape[-1]), sight.depth, sight.mask


def _axes(cameras: camera.Camera) -> Float[Array, "k 3 3"]:
    """Right, up and towards the camera, as rows."""
    return jnp.stack([cameras.right, cameras.up, -cameras.forward], 1)


@functools.partial(jax.jit, static_argnums=(5, 6, 7))
def _look(vertices, faces, cameras, radius, angle, resolution, channels, shading) -> UInt8[Array, "k h w c"]:
    sight = camera.see(vertices, faces, cameras, angle, resolution)
    mask, axes = sight.mask[..., None], _axes(cameras)
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
