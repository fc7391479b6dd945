"""What of six maps a network sees, as planes with values in [0, 1], and how such planes become maps again.

A kind (config.model.input) names what is seen. Opposite silhouettes are mirror images, so three hold all that six do:
those of INDEPENDENT, which show a head's face and profile. The signed distance of a silhouette is given as 1/2 minus it,
cut to [0, 1]: above 1/2 inside, the same information as the silhouette, continuous. Depth is given as nearness
1 - depth/2, 0 where nothing is hit. A voxel grid is one view whose channels are x, rows y and columns z. Pure,
differentiable, with a leading b.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from hexjax import names
from hexjax.geometry import blocks, field, frame, hulls
from hexjax.types import Array, Batch, Hexplane

ALL_VIEWS = ("binary", "binary_sdf")  # kinds of outlines in all six views
INDEPENDENT = (0, 3, 5)  # top, back, right: one of each pair in frame.OPPOSITE
NEAR = 0.1  # a pixel of nearness above this counts as hit: depth below 1.8
AXES = np.stack([frame.RIGHT, frame.UP, frame.FORWARD], 1)  # [v, 3 view axes, 3 world axes]


def fields(kind: str) -> tuple[str, ...]:
    """The batch fields that `planes` reads.

    Raises:
        ValueError: for an unknown kind.
    """
    found = {"continuous": ("depth", "normal", "mask"), "depth": ("depth", "mask"), "voxels": ("voxels",),
             "silhouette_sdf": ("silhouette_distance",), "binary_sdf": ("silhouette_distance",)}  # fmt: skip
    return found.get(_known(kind), ("mask",))


def shape(kind: str, resolution: int) -> tuple[int, int, int, int]:
    """Views, channels, rows and columns of the planes of one shape.

    Raises:
        ValueError: for an unknown kind.
    """
    views, channels = {"continuous": (6, 4), "voxels": (1, resolution)}.get(
        _known(kind), (6 if kind in ALL_VIEWS else 3, 1)
    )
    return views, channels, resolution, resolution


def planes(batch: Batch, kind: str) -> Float[Array, "b v c h w"]:
    """The planes of a batch.

    Raises:
        ValueError: for an unknown kind.
    """
    independent = np.array(INDEPENDENT)
    if _known(kind) == "binary":
        return batch["mask"].astype(jnp.float32)[:, :, None]
    if kind == "silhouettes":
        return batch["mask"][:, independent].astype(jnp.float32)[:, :, None]
    if kind.endswith("_sdf"):
        inside = jnp.clip(0.5 - batch["silhouette_distance"], 0, 1)[:, :, None]
        return inside if kind in ALL_VIEWS else inside[:, independent]
    if kind == "voxels":
        return batch["voxels"].astype(jnp.float32)[:, None]
    mask = batch["mask"].astype(jnp.float32)
    near = mask * (1 - batch["depth"] / frame.DEPTH_LIMIT)
    if kind == "depth":
        return near[:, independent, None]
    normal = (to_view_axes(batch["normal"]) * mask[:, :, None] + 1) / 2
    return jnp.concatenate([near[:, :, None], normal], 2)


def coverage(values: Float[Array, "b v c h w"], kind: str) -> Float[Array, "b k h w"]:
    """How surely each pixel (or voxel) is hit, in [0, 1], of planes as seen or as decoded; 1/2 is the threshold.

    Raises:
        ValueError: for an unknown kind.
    """
    if _known(kind) == "voxels":
        return values[:, 0]
    if kind in names.HULLS:
        return values[:, :, 0]
    return jnp.clip(values[:, :, 0] / (2 * NEAR), 0, 1)


def to_maps(values: Float[Array, "b v c h w"], kind: str) -> Hexplane:
    """The six maps that planes tell of: silhouettes alone without depth; depth seen along the axes where no normals are.

    Raises:
        ValueError: for an unknown kind, or voxels, which are no maps.
    """
    covered = coverage(values, kind)
    if kind == "voxels":
        raise ValueError("config.model.input is 'voxels'; accepted where maps are asked for: all others")
    if kind == "continuous":
        normal = 2 * values[:, :, 1:] - 1
        length = jnp.sqrt((normal**2).sum(2, keepdims=True) + 1e-12)
        return Hexplane((1 - values[:, :, 0]) * frame.DEPTH_LIMIT, to_world_axes(normal / length), covered)
    mask = covered if kind in ALL_VIEWS else mirror(covered)
    depth, towards = jnp.zeros_like(mask), jnp.zeros(len(frame.VIEWS), jnp.float32)
    if kind == "depth":
        depth = mirror((1 - values[:, :, 0]) * frame.DEPTH_LIMIT)  # that of opposite views is never read
        towards = towards.at[np.array(INDEPENDENT)].set(-2) + 1  # a back face abstains
    normal = towards[:, None, None, None] * jnp.asarray(frame.FORWARD)[:, None, None]
    return Hexplane(depth, jnp.broadcast_to(normal[None], (*mask.shape, 3)), mask)


def seen(maps: Hexplane, kind: str) -> Hexplane:
    """What a kind of input holds of six rendered maps (no leading b), as six maps: what a perfect network gives back.

    Raises:
        ValueError: for an unknown kind, or voxels, which are no maps.
    """
    if _known(kind) in ("continuous", *names.HULLS):
        return maps
    batch = {name: value[None] for name, value in maps._asdict().items()}
    return jax.tree.map(lambda a: a[0], to_maps(planes(batch, kind), kind))


def mirror(three: Float[Array, "b 3 h w"]) -> Float[Array, "b v h w"]:
    """Images of the independent views, and their mirror images in the opposite views."""
    views = [None] * len(frame.VIEWS)
    for *pair, mirrored in frame.OPPOSITE:
        for view, opposite in (pair, reversed(pair)):
            if view in INDEPENDENT:
                image = three[:, INDEPENDENT.index(view)]
                views[view], views[opposite] = image, jnp.flip(image, mirrored + 1)
    return jnp.stack(views, 1)


def share_outline(logits: Float[Array, "b v h w"]) -> Float[Array, "b v h w"]:
    """Logits with those of opposite views, which look along the same rays, averaged: one outline for both."""
    views = [None] * len(frame.VIEWS)
    for view, opposite, mirrored in frame.OPPOSITE:
        mean = (logits[:, view] + jnp.flip(logits[:, opposite], mirrored + 1)) / 2
        views[view], views[opposite] = mean, jnp.flip(mean, mirrored + 1)
    return jnp.stack(views, 1)


def to_view_axes(normals: Float[Array, "b v h w 3"]) -> Float[Array, "b v 3 h w"]:
    """World normals as planes in each view's axes: right, up, forward."""
    return sum(normals[:, :, None, ..., axis] * AXES[None, ..., axis, None, None] for axis in range(3))


def to_world_axes(planes: Float[Array, "b v 3 h w"]) -> Float[Array, "b v h w 3"]:
    """Normals in each view's axes back in world axes."""
    turned = [sum(planes[:, :, k] * AXES[None, :, k, axis, None, None] for k in range(3)) for axis in range(3)]
    return jnp.stack(turned, -1)


def fill(values: Float[Array, "*b h w"], known: Bool[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Images whose unknown pixels are filled smoothly from the known ones: those stay, and an image without any is 0.

    Means of ever coarser squares, as long as sides are even, then each filled from the coarser one.

    Source: the pull-push algorithm, Gortler et al. 1996 (The Lumigraph), section 3.4.
    """
    weights = known.astype(values.dtype)
    values = values * weights
    if values.shape[-1] % 2 or values.shape[-2] % 2:
        mean = values.sum((-2, -1), keepdims=True) / jnp.maximum(weights.sum((-2, -1), keepdims=True), 1)
        return jnp.where(known, values, mean)
    quarter = lambda a: a.reshape(*a.shape[:-2], a.shape[-2] // 2, 2, a.shape[-1] // 2, 2).sum((-3, -1))
    total = quarter(weights)
    coarse = fill(quarter(values) / jnp.maximum(total, 1), total > 0)
    return jnp.where(known, values, jax.image.resize(coarse, values.shape, "bilinear"))


def fuse(decoded: Hexplane | Array, points: Float[Array, "p 3"], kind: str, threshold: float) -> Float[Array, "p"]:
    """The field at points, negative inside, of what a kind of input decodes to: maps, or for voxels their grid [n, n, n].

    Raises:
        ValueError: for an unknown kind.
    """
    if _known(kind) in names.HULLS:
        return hulls.fuse(decoded, points, threshold)
    if kind == "voxels":
        place = (jnp.asarray(points) + 1) * (decoded.shape[0] - 1) / 2
        found = jax.scipy.ndimage.map_coordinates(decoded, list(place.T), order=1, mode="nearest")
        return threshold - found
    return field.fuse(decoded, points)


def grid(decoded: Hexplane | Array, count: int, kind: str, threshold: float) -> Float[np.ndarray, "n n n"]:
    """The field on count^3 nodes over xyz, a host array.

    Raises:
        ValueError: for an unknown kind.
    """
    if _known(kind) in names.HULLS:
        return hulls.grid(decoded, count, threshold)
    if kind != "voxels":
        return blocks.grid(decoded, count)
    nodes = np.asarray(frame.grid_nodes(count))
    points = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    return np.asarray(fuse(decoded, points, kind, threshold)).reshape((count,) * 3)


def voxels(maps: Hexplane, count: int) -> Bool[np.ndarray, "n n n"]:
    """Which of count^3 nodes over xyz lie inside of what six rendered maps show."""
    return blocks.grid(maps, count) < 0


def _known(kind: str) -> str:
    if kind not in names.INPUTS:
        raise ValueError(f"config.model.input is {kind!r}; accepted: {', '.join(names.INPUTS)}")
    return kind
