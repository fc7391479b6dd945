"""An item as the fields that a family asks for, each made here and nowhere else; and all of a run's on the device.

`make` is host work for one shape: training, evaluation, a restored run, sweeps and export all take it. `build` stacks the
fields of a set over its shapes, i first; the result is an argument of the jitted step, never closed over. A pool is larger
than what a batch draws of it: each has a section of the config, with `pool_points` and `points`.
"""

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.spatial
from jaxtyping import Bool, Float

from hexjax import cores, memory, progress
from hexjax.data import batches, cache, views
from hexjax.geometry import camera, edges, frame, hexplane, planes, sdf, surface
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Hexplane, Item, Mesh, Params, Spec

MAPS = batches.MAPS
DERIVED = ("silhouette_distance", "voxels")  # made of the maps
JUDGED = ("slack", "seen")  # of the maps and the family's ideal at the points of the query pool
BAND = frame.BAND
FUSION = 2  # of how six maps become a field: a new number judges all anew
UNSEEN = dict.fromkeys(("held", "drawn", "shown", "shown_held", "run", "tokens"))  # pictures do not depend on these
UNNAMED = ("encoder", "weights")  # nor on these, which are newer: those made before there were any are found as well
LATENT = ("latent", "place", "mean", "deviation")  # of a parent; `alive` too, where it has some, else of cells


class Fuse(NamedTuple):
    """What a family's field says at points where its decoder is perfect, and what it depends on, as text."""

    ask: Callable[[Mapping[str, Array], Array], Array]  # (fields of one shape, points [p, 3]) -> signed distances [p]
    key: str


class Look(NamedTuple):
    """What a run that reads pictures says of them: views [k, h, w, c] -> features [k, n, c]; their shape, and its digest."""

    ask: Callable[[Array], Array]
    shape: tuple[int, int]
    key: str


def spec(
    config: Any, items: Sequence[Item], latents: Mapping[str, Array] | None = None, look: Look | None = None
) -> Spec:
    """What these shapes can give with a config: the shape and type of each field of one of them, by arithmetic.

    Args:
        latents: of the parent `latents`, stacked over its training shapes, where the config names one; look: of the
            parent `views`.
    """
    side, categories = config.hexplane.resolution_px, categories_of(items)
    sizes = {"item": ((), np.int32), "surface": ((config.surface.points, 3), np.float32)}
    sizes["salient"] = (config.salient.points, 3), np.float32
    if all(len(item.mesh.faces) for item in items):
        p, square = config.sdf.points, (len(frame.VIEWS), side, side)
        sizes |= {"depth": (square, np.float32), "normal": ((*square, 3), np.float32), "mask": (square, np.bool_)}
        sizes |= {"silhouette_distance": (square, np.float32), "voxels": ((side,) * 3, np.bool_)}
        sizes |= {"points": ((p, 3), np.float32), "surface_normal": ((config.surface.points, 3), np.float32)}
        sizes |= dict.fromkeys(("sdf", "sure", *JUDGED), ((p,), np.float32))
        sizes |= {"inside": ((config.inside.points,), np.float32)}
        sizes["salient_normal"] = sizes["salient"]
        n, nodes = config.cells.capacity, config.distance_grid.side
        sizes |= {"cells": ((n, 3), np.int32), "corner_distance": ((n, 8), np.float32), "alive": ((n,), np.bool_)}
        sizes |= {"distance_grid": ((nodes,) * 3, np.float32)}
        if config.views.channels in views.FEATURES:
            sizes |= {"feature": ((n, views.FEATURES[config.views.channels]), np.float32), "viewed": ((n,), np.bool_)}
        picture = (config.views.resolution_px,) * 2
        sizes["views"] = (config.views.drawn, *picture, views.CHANNELS[config.views.channels]), np.uint8
        sizes["pose"] = (config.views.drawn, camera.POSE), np.float32
        if look is not None:
            sizes["condition"] = (config.views.drawn, *look.shape), np.float32
    if categories:
        sizes["category"] = ((), np.int32)
    for name, value in (latents or {}).items():
        sizes[name] = (np.shape(value)[1:], value.dtype)
    return Spec({name: jax.ShapeDtypeStruct(*size) for name, size in sizes.items()}, len(items), categories)


def categories_of(items: Sequence[Item]) -> tuple[str, ...]:
    """The categories of the shapes, sorted; none where a shape has none."""
    found = sorted({item.category for item in items})
    return () if "" in found else tuple(found)


def make(
    item: Item,
    names: Sequence[str],
    config: Any,
    seed: int,
    whole: bool = False,
    fuse: Fuse | None = None,
    look: Look | None = None,
) -> dict[str, np.ndarray]:
    """The named fields of one shape in the frame, each without a leading axis.

    `slack` is the error of the signed distance that the shape's own maps give, both clamped to the band; a loss that
    forgives it is 0 at the rendered maps. `seen` is 1 within the band of a surface that some view sees, and outside the
    band of every surface where the maps give the right sign; else 0: hidden places cannot be learnt from the maps. `sure`
    is 1 where the sign of `sdf` is. `inside` is the occupancy of points that all shapes share. `salient` are samples of
    sharp edges, or of the surface where there are none. A shape of points gives its own as `surface`: at most as many as a
    batch takes, none twice, the same whatever their order; and none as `salient`. `cells` are those of a grid that the
    surface may cross, with the signed distances at their corners, padded by 0; `distance_grid` are signed distances at
    nodes. `feature` is what views show of the cells, in the mean, and `viewed` whether any does.

    Args:
        whole: pools as large as a training draws from, instead of what a batch takes.
        fuse: what a perfect network's field says at points, for `slack` and `seen`; look: what `condition` is of views.

    Raises:
        ValueError: for a field that the shape cannot give.
        MemoryError: where its maps do not fit into memory.
    """
    asked, found, mesh, px = set(names), {}, item.mesh, config.hexplane.resolution_px
    for name in names:
        if name not in ("surface", "item", "category", *LATENT, *(() if whole else ("salient",))):
            meshes.refuse_points(item.name, mesh, f"the field {name}")
    kept = functools.partial(cache.kept, cache.digest(mesh))
    if asked & {*MAPS, *DERIVED, *JUDGED}:
        with fitting(item.name, px):
            found |= kept({"maps": px}, lambda: hexplane.render(mesh, px)._asdict(), packed=True)
    maps = Hexplane(*(found.get(name) for name in MAPS))
    for name in asked & set(DERIVED):
        found |= kept({name: px}, functools.partial(derive, maps, (name,)), packed=True)
    for section in [section for section in _POOLED if asked & set(batches.POOLS[section])]:
        found |= kept(*_pool(section, mesh, config, seed, whole))
    if asked & set(batches.POOLS["views"]):
        found |= _pictures(mesh, config, whole, look if "condition" in asked else None, kept)
    if asked & set(JUDGED):
        seen = {name: found[name] for name in found if name in (*MAPS, *DERIVED)}
        ask = lambda: judged(maps, found["points"], found["sdf"], fuse.ask(seen, found["points"]))
        found |= kept({"judged": fuse.key, "px": px, "sdf": len(found["points"]), "seed": seed}, ask)
    if "inside" in asked:
        count = config.inside.points
        found |= kept(
            {"inside": count}, lambda: {"inside": np.float32(sdf.inside(mesh, frame.shared_points(count))[0])}
        )
    if asked & {*batches.CELLS, *batches.SHOWN}:
        side = config.cells.side
        cells = kept({"cells": side}, functools.partial(_cells, mesh, side))
        if asked & set(batches.SHOWN):
            shown = functools.partial(views.at_cells, mesh, cells["cells"], side, config.views)
            cells |= kept({"feature": side, "views": _seen_by(config)}, shown, packed=True)
        found |= padded(item.name, cells, side, config.cells.capacity)
    if "distance_grid" in asked:
        count = config.distance_grid.side
        found |= kept({"distance_grid": count}, lambda: {"distance_grid": sdf.grid(mesh, count)})
    return {name: found[name] for name in names if name in found}


def build(
    items: Sequence[Item],
    names: Sequence[str],
    config: Any,
    fuse: Fuse | None = None,
    latents: Mapping[str, Array] | None = None,
    parents: Mapping[str, Params] | None = None,
    categories: Sequence[str] = (),
    look: Look | None = None,
) -> batches.Cache:
    """The fields of a set on the device; its seconds and the share of doubtful signs are told in a line on stderr.

    Args:
        names: of the fields that the family reads.
        fuse, look: as in `make`, of the family and of the run that it reads pictures by.
        latents: of a parent, stacked over the items; parents: the parameters of all.
        categories: by whose places the shapes' are numbered; of these shapes alone where none are given.

    Raises:
        ValueError: for no items, a mesh outside the cube, a field that a shape cannot give, and where the fields of all
            do not fit into memory.
        MemoryError: where the maps of one shape do not.
    """
    if not items:
        raise ValueError("there are no shapes to train on; config.data needs at least one")
    if config.data.augment != "none" and (fixed := [name for name in names if name in batches.UNTURNED]):
        raise ValueError(
            f"config.data.augment is {config.data.augment!r}; accepted with a family that reads {fixed[0]}: none"
        )
    if fuse is None and (unmade := [name for name in names if name in JUDGED]):
        raise ValueError(f"the family of config.model.family reads {unmade[0]!r}; accepted of a family with an ideal")
    if any(len(value) != len(items) for value in (latents or {}).values()):
        counts = f"{len(next(iter(latents.values())))} latents and {len(items)} shapes"
        raise ValueError(
            f"config.latents.run has {counts}; accepted: a run whose shapes are still those it was trained on"
        )
    begin, given = time.perf_counter(), dict(latents or {})
    cached = config.data.cached or not set(names) & set(MAPS)
    pools = {section: pool for section, pool in batches.POOLS.items() if set(names) & set(pool)}
    made = [name for name in dict.fromkeys(names) if name not in ("item", "category", *given)]
    kept = [name for name in made if cached or name not in MAPS]
    shapes, doubtful = [], []
    asked = [*kept, *(["sure"] if "sdf" in pools else [])]
    for number, item in enumerate(told(items)) if asked else ():
        found = make(item, asked, config, item_seed(config.seed, number), whole=True, fuse=fuse, look=look)
        doubtful += [1 - found["sure"].mean()] if "sure" in found else []
        shapes.append({name: found[name] for name in kept})
        if number == 0:
            refuse_too_many(len(items), sum(field.nbytes for field in shapes[0].values()), room())
    fields = {name: jnp.asarray(np.stack([shape[name] for shape in shapes])) for name in kept}
    fields |= {name: jnp.asarray(given[name]) for name in names if name in given}
    if "category" in names:
        places = {name: place for place, name in enumerate(categories or categories_of(items))}
        fields["category"] = jnp.asarray([places[item.category] for item in items], jnp.int32)
    signs = f", {np.mean(doubtful):.2%} of the signs doubtful" if doubtful else ""
    print(f"prepared {len(items)} shapes in {time.perf_counter() - begin:.1f} s{signs}", file=sys.stderr)
    return batches.Cache(
        fields=fields,
        meshes=None if cached else stack([item.mesh for item in items]),
        parents=jax.device_put(dict(parents or {})),
        inputs=tuple(names),
        count=len(items),
        pools=tuple((section, *batches.pool_size(config, section)) for section in pools),
        resolution=config.hexplane.resolution_px,
        augment=config.data.augment,
        side=config.cells.side,
    )


def fuse_of(family: Any, config: Any) -> Fuse:
    """The field of a family whose decoder is perfect."""

    @jax.jit
    def ask(fields: Mapping[str, Array], points: Array) -> Array:
        batch = {name: jnp.asarray(fields[name])[None] for name in family.sees}
        return family.field(None, jax.tree.map(lambda leaf: leaf[0], family.ideal(batch)), points)

    return Fuse(ask, json.dumps([FUSION, config.model.to_dict(), config.extract.threshold], sort_keys=True))


def look_of(parent: Any, params: Params, config: Any) -> Look | None:
    """What a run says of pictures; None where there is no such run.

    Args:
        parent: a models.family.Parent whose family encodes views, or None.

    Raises:
        ValueError: where it reads other pictures than the config's.
    """
    if parent is None:
        return None
    for key in ("count", "resolution_px", "distance", "field_of_view", "channels", "shading"):
        own, theirs = config.views[key], parent.config.views[key]
        if own != theirs:
            raise ValueError(f"config.views.{key} is {own}; accepted with this views.run: {theirs}, which it reads")
    encode, layout = jax.jit(parent.family.encode), parent.family.layout

    def ask(views: Array) -> Array:
        code = encode(params, {"views": jnp.asarray(views)[None]}, None).code[0]
        return code.reshape(len(views), -1, layout.channels)

    return Look(ask, (layout.tokens // parent.config.views.count, layout.channels), parent.digest)


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


def padded(name: str, cells: Mapping[str, Array], side: int, capacity: int) -> dict[str, np.ndarray]:
    """The active cells of a grid as fields that are as long for every shape, and which of them are there.

    Raises:
        ValueError: for more than there is room for, with the shape's name.
    """
    count = len(cells["cells"])
    if count > capacity:
        raise ValueError(
            f"{name} has {count} active cells with cells.side = {side}; config.cells.capacity is {capacity}, accepted: at "
            f"least {count}"
        )
    pad = lambda value: np.pad(value, ((0, capacity - count), *((0, 0),) * (value.ndim - 1)))
    found = {field: pad(value) for field, value in cells.items()}
    return found | {"alive": np.arange(capacity) < count}


def told(items: Sequence[Item]) -> Iterator[Item]:
    """The shapes one by one, with the progress of what is done to each between."""
    with progress.Line(len(items), "preparing") as line:
        for number, item in enumerate(items, 1):
            yield item
            line.update(number)


def item_seed(seed: int, number: int) -> int:
    """A seed for one shape of a run."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def judged(
    maps: Hexplane, points: Float[Array, "p 3"], distance: Float[Array, "p"], fused: Float[Array, "p"]
) -> dict[str, np.ndarray]:
    """The fields JUDGED [p] of points with their distances, and what the maps' own field says there."""
    fused = np.asarray(fused)
    slack = np.abs(np.clip(fused, -BAND, BAND) - np.clip(distance, -BAND, BAND))
    seen = near_seen(maps, points) | ((np.abs(distance) > BAND) & ((fused < 0) == (distance < 0)))
    return {"slack": slack.astype(np.float32), "seen": seen.astype(np.float32)}


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


def _pool(section: str, mesh: Mesh, config: Any, seed: int, whole: bool) -> tuple[dict[str, Any], Callable[[], Any]]:
    """What a pool of points depends on, and how it is made."""
    size = batches.pool_size(config, section)[not whole]
    if not whole and not len(mesh.faces):
        own = functools.partial(_own_points, mesh, size if section == "surface" else 0, seed)
        return {section: size, "seed": seed, "own": True}, lambda: {section: own()}
    if section != "sdf":
        return {section: size, "seed": seed}, functools.partial(_POOLED[section], mesh, size, seed)
    size, law = size if whole else config.sdf.seen_points or size, config.sdf.near
    told = {"near": law} if law != "uniform" else {}  # so that pools made before there was another law are found
    return {section: size, "seed": seed} | told, functools.partial(_query_pool, mesh, size, seed, law)


def _pictures(
    mesh: Mesh, config: Any, whole: bool, look: Look | None, kept: Callable[..., dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The views and their poses, and what a look says of them; those that are held are left out of a training's pool."""
    settings = _seen_by(config)
    made = kept({"views": settings}, lambda: views.make(mesh, config.views), packed=True)
    if look is not None:
        made |= kept(
            {"condition": look.key, "views": settings}, lambda: {"condition": np.asarray(look.ask(made["views"]))}
        )
    size = batches.pool_size(config, "views")[0] if whole else config.views.count
    return {name: value[:size] for name, value in made.items()}


def _seen_by(config: Any) -> dict[str, Any]:
    """What pictures depend on."""
    return {name: value for name, value in config.views.to_dict().items() if name not in UNNAMED} | UNSEEN


def _query_pool(mesh: Mesh, count: int, seed: int, law: str) -> dict[str, np.ndarray]:
    points, distance, doubtful = sdf.query_pool(mesh, count, seed, law)
    return {"points": points, "sdf": distance, "sure": np.float32(~doubtful)}


def _surface_pool(mesh: Mesh, count: int, seed: int) -> dict[str, np.ndarray]:
    """Area-weighted samples and the normals of their faces; of a shape of points, draws from them with replacement."""
    random = np.random.default_rng((seed, 1))
    if not len(mesh.faces):
        return {"surface": mesh.vertices[random.integers(0, len(mesh.vertices), count)].astype(np.float32)}
    return dict(zip(batches.POOLS["surface"], _samples(mesh, count, random)))


def _own_points(mesh: Mesh, count: int, seed: int) -> np.ndarray:
    """At most so many of a shape's points, none twice, in an order that does not depend on theirs."""
    found = np.unique(np.asarray(mesh.vertices, np.float32), axis=0)
    return found[np.random.default_rng((seed, 1)).permutation(len(found))[:count]]


def _salient_pool(mesh: Mesh, count: int, seed: int) -> dict[str, np.ndarray]:
    """Samples of the sharp edges, uniform over their length; of the surface where there are none."""
    random = np.random.default_rng((seed, 2))
    points, normals = (value.astype(np.float32) for value in edges.sample(mesh, count, random))
    found = (points, normals) if len(points) else _samples(mesh, count, random)
    return dict(zip(batches.POOLS["salient"], found))


def _samples(mesh: Mesh, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    points, face = surface.sample(mesh, count, random)
    normal = surface.area_vectors(mesh)[face]  # none without an area
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return points.astype(np.float32), normal.astype(np.float32)


def _cells(mesh: Mesh, side: int) -> dict[str, np.ndarray]:
    cells = sdf.active_cells(mesh, side)
    return {"cells": cells, "corner_distance": sdf.corner_distance(mesh, cells, side)}


_POOLED = {"sdf": _query_pool, "surface": _surface_pool, "salient": _salient_pool}
