"""The data of a run on the device: maps rendered once, and query points with their signed distances.

`build` works on the host, once a run; the result is an argument of the jitted step, never closed over. Fields are
stacked over shapes, i first; only those that a family names in `inputs` are kept.
"""

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.spatial
from jaxtyping import Bool, Float

from hexjax import cores, memory, progress
from hexjax.geometry import frame, hexplane, planes, sdf
from hexjax.types import Array, Hexplane, Item, Mesh

MAPS = Hexplane._fields  # depth, normal, mask
DERIVED = ("silhouette_distance", "voxels")  # made of the maps
POOL = ("points", "sdf", "slack", "weight")
FIELDS = (*MAPS, *DERIVED, *POOL, "item")  # of a batch
BAND = frame.BAND

Fuse = Callable[[Hexplane, Array], Array]  # (maps, points [p, 3]) -> signed-distance-like values [p]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["fields", "meshes"],
    meta_fields=["inputs", "count", "pool_points", "resolution"],
)
@dataclasses.dataclass(frozen=True)
class Cache:
    """Fields of all shapes, and for maps that are rendered in every step the padded meshes.

    A dataclass and no NamedTuple, because the counts are static: they are part of the program.
    """

    fields: dict[str, Array]  # name -> [i, ...]
    meshes: Mesh | None  # vertices [i, n, 3], faces [i, f, 3]; None: the maps are among the fields
    inputs: tuple[str, ...]
    count: int  # shapes
    pool_points: int  # a shape; 0: no field of the pool is kept
    resolution: int  # pixels a side of the maps


def build(
    items: Sequence[Item],
    inputs: Sequence[str],
    resolution: int,
    pool_points: int,
    seed: int,
    cached: bool,
    fuse: Fuse,
) -> Cache:
    """The cache of the given shapes; its seconds and the share of doubtful signs are told in a line on stderr.

    Args:
        inputs: names of the batch fields that the family reads.
        resolution: pixels a side of the maps.
        pool_points: query points made for each shape, if `inputs` names any of their fields.
        cached: False keeps the meshes and renders their maps anew in every step.
        fuse: the signed distance that the maps themselves give, for the slack and the weight of query points.

    Raises:
        ValueError: for a name in `inputs` that no batch has, no items, a mesh outside the cube, and where the fields of
            all do not fit into memory.
        MemoryError: where the maps of one shape do not.
    """
    if unknown := [name for name in inputs if name not in FIELDS]:
        raise ValueError(f"the family of config.model.family reads {unknown[0]!r}; accepted: {', '.join(FIELDS)}")
    if not items:
        raise ValueError("there are no shapes to train on; config.data needs at least one")
    begin = time.perf_counter()
    if not any(name in POOL for name in inputs):
        pool_points = 0
    kept = [name for name in FIELDS if name in inputs and name != "item" and (cached or name not in MAPS)]
    shapes, doubtful, fuse = [], [], jax.jit(fuse)
    judged = fuse if {"slack", "weight"} & set(inputs) else None
    for number, item in enumerate(told(items)):
        with fitting(item.name, resolution):
            maps = hexplane.render(item.mesh, resolution)
            shape = {name: np.asarray(value) for name, value in (maps._asdict() | derive(maps, inputs)).items()}
            if pool_points:
                values, share = pool(item.mesh, maps, pool_points, item_seed(seed, number), judged)
                shape |= values
                doubtful.append(share)
        shapes.append({name: shape[name] for name in kept})
        if number == 0:
            refuse_too_many(len(items), sum(field.nbytes for field in shapes[0].values()), room())
    fields = {name: jnp.asarray(np.stack([shape[name] for shape in shapes])) for name in kept}
    padded = None if cached else stack([item.mesh for item in items])
    signs = f", {np.mean(doubtful):.2%} of the signs doubtful" if doubtful else ""
    print(f"prepared {len(items)} shapes in {time.perf_counter() - begin:.1f} s{signs}", file=sys.stderr)
    return Cache(fields, padded, tuple(inputs), len(items), pool_points, resolution)


@contextlib.contextmanager
def fitting(name: str, resolution: int) -> Iterator[None]:
    """A block that renders the shape with this name.

    Raises:
        MemoryError: one line with the name and the key, where memory does not suffice.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise MemoryError(
                f"{name}: its maps do not fit into memory; config.hexplane.resolution_px is {resolution}"
            ) from error
        raise


def room() -> int:
    """Bytes that are free on the host, or in its container, and that the device has, where they tell."""
    free, device = memory.free(), jax.local_devices()[0].memory_stats() or {}
    return min(sys.maxsize if free is None else free, device.get("bytes_limit", sys.maxsize))


def refuse_too_many(count: int, size: int, room: int) -> None:
    """Nothing, if the fields of so many shapes, of `size` bytes each, fit: asked before the second one is rendered."""
    if count * size > room:
        raise ValueError(
            f"config.data.path and data.count give {count} shapes, whose fields take {count * size / 1e9:.3g} GB of the "
            f"{room / 1e9:.3g} GB there are; accepted: at most {room // size}, data.cached = false, or smaller maps"
        )


def derive(maps: Hexplane, names: Sequence[str]) -> dict[str, Array]:
    """Those of the named fields that are made of one shape's maps: silhouette_distance [v,h,w], voxels [r,r,r]."""
    found = {}
    if "silhouette_distance" in names:
        found["silhouette_distance"] = hexplane.silhouette_distance(maps.mask)
    if "voxels" in names:
        found["voxels"] = planes.voxels(maps, maps.mask.shape[-1])
    return found


def render(items: Sequence[Item], resolution: int) -> list[Hexplane]:
    """The maps of all shapes, on the host."""
    return [jax.device_get(hexplane.render(item.mesh, resolution)) for item in told(items)]


def told(items: Sequence[Item]) -> Iterator[Item]:
    """The shapes one by one, with the progress of what is done to each between."""
    with progress.Line(len(items), "rendering") as line:
        for number, item in enumerate(items, 1):
            yield item
            line.update(number)


def observations(rendered: Sequence[Hexplane], kind: str) -> Float[Array, "i v c h w"]:
    """The planes of shapes for a kind of input, as `planes.planes` gives them, from their maps."""
    found, names = [], planes.fields(kind)
    for maps in rendered:
        fields = maps._asdict() | derive(maps, names)
        found.append(np.asarray(planes.planes({name: jnp.asarray(fields[name])[None] for name in names}, kind)[0]))
    return jnp.asarray(np.stack(found))


def of_planes(x: Float[Array, "i v c h w"]) -> Cache:
    """A cache of planes made before, as the field `planes` that `planes.planes` takes as it is."""
    return Cache({"planes": x}, None, ("planes",), len(x), 0, x.shape[-1])


def item_seed(seed: int, number: int) -> int:
    """A seed for one shape of a run."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def pool(mesh: Mesh, maps: Hexplane, count: int, seed: int, fuse: Fuse | None) -> tuple[dict[str, Array], float]:
    """The fields POOL of one shape in the frame (points [p, 3], the others [p]), and the share of doubtful signs.

    `slack` is the error of the maps' own signed distance, both clamped to the band; a loss that forgives it is 0 at the
    rendered maps. `weight` is 1 within the band of a surface that some view sees, and outside the band of
    every surface where the maps give the right sign; else 0: hidden places cannot be learnt from the maps.
    """
    points, distance, doubtful = sdf.query_pool(mesh, count, seed)
    if fuse is None:  # a family that asks for distances alone
        return {"points": points, "sdf": distance}, doubtful
    fused = np.asarray(fuse(maps, jnp.asarray(points)))
    slack = np.abs(np.clip(fused, -BAND, BAND) - np.clip(distance, -BAND, BAND))
    weight = near_seen(maps, points) | ((np.abs(distance) > BAND) & ((fused < 0) == (distance < 0)))
    arrays = {"points": points, "sdf": distance, "slack": slack, "weight": weight}
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}, doubtful


def near_seen(maps: Hexplane, points: Float[Array, "p 3"]) -> Bool[Array, "p"]:
    """Whether points lie within the band of a surface that some view sees."""
    reach = np.hypot(BAND, 2 / maps.depth.shape[-1])  # hits are samples: their surface runs on for about a pixel
    seen = np.asarray(frame.hit_points(maps.depth))[np.asarray(maps.mask)]
    if not len(seen):
        return np.zeros(len(points), bool)
    nearest, _ = scipy.spatial.cKDTree(seen).query(points, distance_upper_bound=reach, workers=cores.allowed())
    return np.isfinite(nearest)


def stack(meshes: Sequence[Mesh]) -> Mesh:
    """The meshes padded to one size and stacked on the device, vertices [i, n, 3] and faces [i, f, 3]."""
    vertices, faces = (max(len(mesh[place]) for mesh in meshes) for place in (0, 1))
    padded = [hexplane.pad(mesh, vertices, faces) for mesh in meshes]
    return Mesh(*(jnp.asarray(np.stack([mesh[place] for mesh in padded])) for place in (0, 1)))
