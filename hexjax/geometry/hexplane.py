"""Stage 3b, shading: the six maps of depth, normal and mask from what each pixel sees; differentiable in the vertices.

Depth is met by the pixel's ray in the plane of the triangle it sees, clamped to that triangle's own range; the normal is
the face's, with the sign of the winding. See `geometry.frame` for views, rows and signs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int

from hexjax.geometry import frame, raycast
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Hexplane, Mesh

# Meshes are padded to the first of these that holds their faces and their vertices, above the last to a power of two, so
# that few programs are compiled. A program costs as much as ten million faces of padding; sets are often cut to 20 000
# faces, 50 000 or 100 000, which lie just below a size.
SIZES = (8192, 20480, 51200, 131072)


def barycentric(
    vertices: Float[Array, "b n 3"], faces: Int[Array, "b f 3"], seen: Int[Array, "b v h w"]
) -> Float[Array, "b v h w 3"]:
    """Where each pixel's ray meets the plane of the face it sees: weights of the corners, in [0, 1], of sum 1.

    They are those of corner 0 alone where nothing is seen.
    """
    return jnp.stack(_meet(vertices, faces, seen)[0], -1)


def _meet(vertices: Array, faces: Array, seen: Array) -> tuple[list[Array], list[Array]]:
    """Where each pixel's ray meets the plane of its face: the corners' weights, and their depths, [b, v, h, w] each."""
    batch, views, _, resolution = seen.shape
    mesh, view = jnp.arange(batch, dtype=jnp.int32)[:, None], jnp.arange(views, dtype=jnp.int32)[None]
    wide = lambda a: a[:, :, None, None]
    face = jnp.maximum(seen, 0) + wide(mesh) * faces.shape[1]
    start = wide(view * batch + mesh) * vertices.shape[1]
    # Flat arrays, one a corner and coordinate: a trailing axis of 3 would keep the loops from being vectorised.
    corners = [_at(faces[..., corner], face) + start for corner in range(3)]
    column, row, depth = (
        [_at(image, corner) for corner in corners] for image in frame.to_image(jnp.asarray(vertices), resolution)
    )
    pixel = jnp.arange(resolution, dtype=jnp.float32)
    x, y = [a - pixel[None, None, None, :] for a in column], [a - pixel[None, None, :, None] for a in row]
    weight = [x[i] * y[j] - x[j] * y[i] for i, j in ((1, 2), (2, 0), (0, 1))]
    total = sum(weight)
    proper = (seen >= 0) & (total != 0)
    total = jnp.where(proper, total, 1)
    weight = [jnp.clip(jnp.where(proper, w / total, float(i == 0)), 0, 1) for i, w in enumerate(weight)]
    total = sum(weight)
    return [w / total for w in weight], depth


def _at(values: Array, place: Array) -> Array:
    """Values at flat places, which must lie in range."""
    return jnp.asarray(values).reshape(-1).at[place].get(mode="promise_in_bounds")


def shade(vertices: Float[Array, "b n 3"], faces: Int[Array, "b f 3"], seen: Int[Array, "b v h w"]) -> Hexplane:
    """The maps, with a leading b, of meshes in the frame, given the face that each pixel sees (`raycast.visible`)."""
    weight, corners = _meet(vertices, faces, seen)
    low, high = functools.reduce(jnp.minimum, corners), functools.reduce(jnp.maximum, corners)
    depth = jnp.clip(sum(w * d for w, d in zip(weight, corners)), low, high)
    normals = jax.vmap(meshes.face_normals)(vertices, faces).reshape(-1, 3)
    first = jnp.arange(len(seen), dtype=jnp.int32)[:, None, None, None] * faces.shape[1]
    normal = normals.at[jnp.maximum(seen, 0) + first].get(mode="promise_in_bounds")
    mask = seen >= 0
    return Hexplane(jnp.where(mask, depth, 0), jnp.where(mask[..., None], normal, 0), mask)


@functools.partial(jax.jit, static_argnums=2)
def render_padded(vertices: Float[Array, "b n 3"], faces: Int[Array, "b f 3"], resolution: int) -> Hexplane:
    """The maps of meshes in the frame that `pad` brought to one size, with a leading b; traced or not, on any device.

    Nothing is checked: `render` says what is accepted. There must be a face, if only one that `pad` added.
    """
    return shade(vertices, faces, raycast.visible(vertices, faces, resolution))


@functools.partial(jax.jit, static_argnums=2)
def _render(vertices: Array, faces: Array, resolution: int) -> Hexplane:
    return jax.tree.map(lambda maps: maps[0], render_padded(vertices[None], faces[None], resolution))


@functools.partial(jax.jit, static_argnums=2)
def _visible(vertices: Array, faces: Array, resolution: int) -> tuple[Array, Array]:
    seen = raycast.visible(vertices[None], faces[None], resolution)
    return seen[0], barycentric(vertices[None], faces[None], seen)[0]


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


def _prepared(mesh: Mesh, resolution: int) -> tuple[Array, Array]:
    """Checked arrays, padded to a size that many meshes share so that few programs are compiled."""
    vertices = np.asarray(mesh.vertices)
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}; accepted: 1 and above (config.hexplane.resolution_px)")
    faces = np.asarray(mesh.faces)
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        named = int(faces.min() if faces.min() < 0 else faces.max())
        raise ValueError(f"a face names vertex {named}; accepted: 0 to {len(vertices) - 1}")
    if not _fits(vertices) and not _fits(vertices[np.unique(mesh.faces)]):  # vertices without a face may lie anywhere
        worst = float(np.abs(vertices[np.unique(mesh.faces)]).max())
        raise ValueError(f"the mesh reaches {worst:.4g} along an axis; render accepts [-1, 1]: normalise it first")
    size = padded_size(len(vertices), len(faces))
    padded = pad(mesh, size, size)
    return padded.vertices, padded.faces


def _fits(vertices: np.ndarray) -> bool:
    return bool(np.abs(vertices).max(initial=0) <= 1)


def padded_size(vertices: int, faces: int) -> int:
    """How many vertices and how many faces `render` pads a mesh of so many to."""
    most = max(vertices, faces)
    return next((size for size in SIZES if most <= size), 1 << (most - 1).bit_length())


def render(mesh: Mesh, resolution: int = 512) -> Hexplane:
    """The six maps of a mesh in the frame, each `resolution` pixels a side.

    Raises:
        ValueError: if the mesh leaves the cube [-1, 1]^3, has non-finite vertices or faces of vertices that it lacks.
    """
    return _render(*_prepared(mesh, resolution), resolution)


def visible(mesh: Mesh, resolution: int = 512) -> tuple[Int[Array, "v h w"], Float[Array, "v h w 3"]]:
    """The face that each pixel sees (-1: none) and the weights of its corners there, for colours on a picture.

    Raises:
        ValueError: as `render`.
    """
    return _visible(*_prepared(mesh, resolution), resolution)


def silhouette_distance(mask: Bool[Array, "*b h w"]) -> Float[np.ndarray, "*b h w"]:
    """Signed distance in world units of each pixel's centre to the silhouette's outline, negative inside; exact. Host code.

    It is the distance to the nearest pixel of the other kind, less half a pixel, so that its sign gives the mask back. An
    empty mask is the image's diagonal away everywhere, and a full one as deep.
    """
    mask = np.asarray(mask)
    far, found = np.hypot(*mask.shape[-2:]), np.empty(mask.shape, np.float32)
    for image in np.ndindex(mask.shape[:-2]):
        inside = mask[image]
        nearest = [
            np.float32(scipy.ndimage.distance_transform_edt(kind)) for kind in (inside, ~inside)
        ]  # 0 for the other
        found[image] = sum(nearest) - np.float32(0.5) if 0 < inside.sum() < inside.size else far
    return np.where(mask, -found, found) * np.float32(2 / mask.shape[-1])
