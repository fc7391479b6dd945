"""Stage 3b, shading: the six maps of depth, normal and mask from what each pixel sees; differentiable in the vertices.

Depth is met by the pixel's ray in the plane of the triangle it sees, clamped to that triangle's own range; the normal is
the face's, with the sign of the winding. See `geometry.frame` for views, rows and signs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from hexjax.geometry import frame, raycast
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Hexplane, Mesh


def barycentric(
    vertices: Float[Array, "n 3"], faces: Int[Array, "f 3"], seen: Int[Array, "v h w"]
) -> tuple[Float[Array, "v h w 3"], Float[Array, "v h w 3"]]:
    """Where each pixel's ray meets the plane of the face it sees (weights of the corners), and the corners' depths.

    Weights lie in [0, 1] and sum to 1; they are those of corner 0 alone where nothing is seen.
    """
    resolution = seen.shape[-1]
    images = frame.to_image(jnp.asarray(vertices), resolution)
    corners = jnp.asarray(faces)[jnp.maximum(seen, 0)]
    column, row, depth = (jax.vmap(lambda a, i: a[i])(a, corners) for a in images)
    x = column - jnp.arange(resolution, dtype=jnp.float32)[None, None, :, None]
    y = row - jnp.arange(resolution, dtype=jnp.float32)[None, :, None, None]
    first, second = np.array([1, 2, 0]), np.array([2, 0, 1])
    weight = x[..., first] * y[..., second] - x[..., second] * y[..., first]
    total = weight.sum(-1, keepdims=True)
    proper = (seen >= 0)[..., None] & (total != 0)
    weight = jnp.clip(jnp.where(proper, weight / jnp.where(proper, total, 1), jnp.eye(3)[0][None, None, None]), 0, 1)
    return weight / weight.sum(-1, keepdims=True), depth


def shade(vertices: Float[Array, "n 3"], faces: Int[Array, "f 3"], seen: Int[Array, "v h w"]) -> Hexplane:
    """The maps of a mesh in the frame, given the face that each pixel sees (`raycast.visible`)."""
    weight, corners = barycentric(vertices, faces, seen)
    mask = seen >= 0
    depth = jnp.clip((weight * corners).sum(-1), corners.min(-1), corners.max(-1))
    normal = meshes.face_normals(vertices, faces)[jnp.maximum(seen, 0)]
    return Hexplane(jnp.where(mask, depth, 0), jnp.where(mask[..., None], normal, 0), mask)


@functools.partial(jax.jit, static_argnums=2)
def _visible(vertices, faces, plan):
    return raycast.visible(vertices, faces, plan)


@functools.partial(jax.jit, static_argnums=2)
def _render(vertices, faces, plan):
    seen, overflow = raycast.visible(vertices, faces, plan)
    return shade(vertices, faces, seen), overflow


def pad(mesh: Mesh, vertices: int, faces: int) -> Mesh:
    """The mesh with as many vertices and faces as asked for; the added faces have no area and are never hit.

    Raises:
        ValueError: if the mesh has more of either.
    """
    if len(mesh.vertices) > vertices or len(mesh.faces) > faces:
        have = f"{len(mesh.vertices)} vertices and {len(mesh.faces)} faces"
        raise ValueError(f"the mesh has {have}; it cannot be padded to {vertices} and {faces}")
    more_vertices = np.zeros((vertices - len(mesh.vertices), 3), np.float32)
    more_faces = np.zeros((faces - len(mesh.faces), 3), np.int32)
    return mesh._replace(
        vertices=np.concatenate([np.asarray(mesh.vertices, np.float32), more_vertices]),
        faces=np.concatenate([np.asarray(mesh.faces, np.int32), more_faces]),
    )


def _prepared(mesh: Mesh, resolution: int) -> tuple[Array, Array, raycast.Plan]:
    """Checked arrays, padded to sizes that many meshes share so that few programs are compiled, and the plan."""
    vertices = np.asarray(mesh.vertices)
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}; accepted: 1 and above (config.hexplane.resolution_px)")
    if len(mesh.faces) and not np.abs(vertices[np.asarray(mesh.faces)]).max() <= 1:
        worst = float(np.abs(vertices).max())
        raise ValueError(f"the mesh reaches {worst:.4g} along an axis; render accepts [-1, 1]: normalise it first")
    padded = pad(mesh, _rounded(len(vertices)), _rounded(len(mesh.faces)))
    return padded.vertices, padded.faces, raycast.plan(mesh, resolution)


def _rounded(count: int) -> int:
    """The next of eight sizes between powers of two."""
    step = max(1 << max(int(count).bit_length() - 4, 0), 1)
    return max(-(-count // step) * step, 1)


def render(mesh: Mesh, resolution: int = 512) -> Hexplane:
    """The six maps of a mesh in the frame, each `resolution` pixels a side.

    Raises:
        ValueError: if the mesh leaves the cube [-1, 1]^3 or has non-finite vertices.
        RuntimeError: if the plan is too small for the mesh, which is a fault of ours.
    """
    hexplane, overflow = _render(*_prepared(mesh, resolution))
    if overflow:
        raise RuntimeError("a bin of the ray-casting plan overflowed; please report the mesh")
    return hexplane


def visible(mesh: Mesh, resolution: int = 512) -> tuple[Int[Array, "v h w"], Float[Array, "v h w 3"]]:
    """The face that each pixel sees (-1: none) and the weights of its corners there, for colours on a picture.

    Raises:
        ValueError: as `render`.
        RuntimeError: as `render`.
    """
    vertices, faces, plan = _prepared(mesh, resolution)
    seen, overflow = _visible(vertices, faces, plan)
    if overflow:
        raise RuntimeError("a bin of the ray-casting plan overflowed; please report the mesh")
    return seen, barycentric(vertices, faces, seen)[0]
