"""The sentence: shape -> fields -> latent -> decoded -> signed distance -> mesh -> scores, one line an arrow.

Evaluation runs through these functions. `stage` wraps each arrow, so that a caller can time it.
"""

import contextlib
import functools
import json
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax import progress
from hexjax.data import batches, cache, fields
from hexjax.geometry import coarse, distance, isosurface, sdf
from hexjax.geometry import mesh as meshes
from hexjax.geometry.thin import Ask
from hexjax.models.family import Family
from hexjax.types import Batch, Item, Latent, Mesh, Params, Scores

Stage = Callable[[str], contextlib.AbstractContextManager]
OWN = 1  # of how a mesh comes back from its own distance: a new number makes all anew
CHUNK = 2**14  # points asked of a family's field at once: a level of a grid seldom fills its last chunk


def untimed(name: str) -> contextlib.AbstractContextManager:
    """A stage that does nothing."""
    return contextlib.nullcontext(name)


def observe(item: Item, family: Family, config: Any, place: int | None = None) -> Batch:
    """The batch of one shape: the fields that its family encodes, and where it sees maps all three, as pictures show them.

    Args:
        place: among the training shapes, for one of them.
    """
    more = fields.MAPS if {*family.sees} & {*fields.MAPS, *fields.DERIVED} else ()
    if family.probe is not None and "inside" in family.reads and len(item.mesh.faces):
        more += ("inside",)  # what a probe may observe
    names = dict.fromkeys((*family.sees, *family.conditions, *more))
    batch = {name: jnp.asarray(value)[None] for name, value in fields.make(item, [*names], config, config.seed).items()}
    if "views" in family.conditions:
        first = config.views.count - config.views.held if config.views.shown_held else 0
        batch |= {name: batch[name][:, first : first + config.views.shown] for name in ("views", "pose")}
    if family.encode is None:
        batch["draw"] = jnp.int32([zlib.crc32(item.name.encode()) >> 1])
    return batch if place is None else batch | {"item": jnp.int32([place])}


def encode(batch: Batch, family: Family, params: Params, config: Any) -> Latent:
    """The latent of a batch of shapes (the mean of a posterior), rounded as stored (`latent.bits`).

    Of a family that encodes nothing it is a draw by what each shape tells (`conditions`).
    """
    if family.encode is None:
        key, told = batches.stream_key(config.sample.seed, "sample", 0), (*family.conditions, "draw")
        latent = jax.jit(family.sample)(params, key, {name: batch[name] for name in told})
    else:
        seen = {name: batch[name] for name in (*family.sees, "item") if name in batch}
        latent = jax.jit(family.encode)(params, seen, None)
    if config.latent.bits == 16:
        latent = latent._replace(code=latent.code.astype(jnp.float16).astype(jnp.float32))
    return jax.block_until_ready(latent)


def decode(latent: Latent, family: Family, params: Params) -> Any:
    """What the family decodes of one shape's latent, without the leading b."""
    return jax.block_until_ready(jax.tree.map(lambda a: a[0], jax.jit(family.decode)(params, latent)))


def family_grid(
    decoded: Any, family: Family, params: Params, config: Any
) -> tuple[Float[np.ndarray, "n n n"], float | None, Ask]:
    """The family's field on the configured grid, asked coarse to fine, the share of the nodes that was asked, and how to ask.

    A family with a grid of its own fills it in its own way; then the share is None.
    """
    count, ask = config.extract.grid, functools.partial(jax.jit(family.field), params, decoded)
    if family.grid is not None:
        return np.asarray(family.grid(params, decoded, count)), None, ask
    return *coarse.grid(ask, count, CHUNK), ask


def reconstruct(
    batch: Batch, family: Family, params: Params, config: Any, stage: Stage = untimed
) -> tuple[Mesh, Scores, Any, Latent]:
    """The mesh (in the frame) that comes back of one shape's batch, its report, what was decoded, and the latent between."""
    with stage("encode"):
        latent = encode(batch, family, params, config)
    with stage("decode"):
        decoded = decode(latent, family, params)
    with stage("field"):
        values, share, ask = family_grid(decoded, family, params, config)
    surface, report = polygonise(values, config, stage, ask)
    return surface, report | {"asked_share": share}, decoded, latent


def ceiling(item: Item, batch: Batch, family: Family, config: Any, stage: Stage = untimed) -> tuple[Mesh, Scores]:
    """What the representation itself can give back of a shape: no network between what is seen and the field.

    Of a family without an ideal it is the mesh's own signed distance on the same grid, and kept on disk with the fields.

    Raises:
        ValueError: for a shape of points.
    """
    meshes.refuse_points(item.name, item.mesh, "a ceiling")
    if family.ideal is None:
        settings = {"own": OWN, "grid": config.extract.grid, "min_part_share": config.extract.min_part_share}
        make = functools.partial(_own, item.mesh, config, stage)
        made = cache.kept(cache.digest(item.mesh), settings, make, packed=True)
        return Mesh(made["vertices"], made["faces"]), json.loads(str(made["report"]))
    with stage("field"):
        decoded = jax.tree.map(lambda leaf: leaf[0], family.ideal(batch))
        values, share, ask = family_grid(decoded, family, None, config)
    surface, report = polygonise(values, config, stage, ask)
    return surface, report | {"asked_share": share}


def _own(mesh: Mesh, config: Any, stage: Stage) -> dict[str, Any]:
    """The mesh that its own signed distance gives on the configured grid, and the report as JSON."""
    ask = lambda points: sdf.signed_distance(mesh, points)[0]
    with stage("field"):
        values, share = coarse.grid(ask, config.extract.grid, CHUNK)
    surface, report = polygonise(values, config, stage, ask)
    report = json.dumps(report | {"asked_share": share}, default=lambda number: number.item())
    return {"vertices": surface.vertices, "faces": surface.faces, "report": report}


def polygonise(
    values: Float[np.ndarray, "n n n"], config: Any, stage: Stage = untimed, ask: Ask | None = None
) -> tuple[Mesh, Scores]:
    """The mesh (in the frame) of a family's field on the configured grid, and its report.

    A field that is not finite has no surface.
    """
    if bad := values.size - np.count_nonzero(np.isfinite(values)):
        values = np.ones_like(values)
    with stage("polygonise"):
        mesh, report = isosurface.polygonise(values, config.extract.min_part_share, None if bad else ask)
    if bad:
        report["told"] = f"the decoded field is not finite at {bad} of {values.size} nodes: no surface"
    return mesh, report


def score_field(decoded: Any, family: Family, params: Params, reference: Mesh, config: Any) -> Scores:
    """How far the family's field of what is decoded of one shape is from the signed distance to a reference in the frame."""
    ask = jax.jit(family.field)

    def whole(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        padded = np.concatenate([points, np.zeros((-len(points) % CHUNK, 3), np.float32)])
        parts = [ask(params, decoded, part) for part in np.split(padded, len(padded) // CHUNK)]
        return np.concatenate([np.asarray(part) for part in parts])[: len(points)]

    return distance.field(whole, reference, config.score.samples, config.seed)


def tell(name: str, report: Scores) -> None:
    """Nothing; prints what a report says that a user must know of a shape, if there is anything."""
    if report["told"]:
        progress.tell(f"{name}: {report['told']}")


def score(mesh: Mesh, reference: Mesh, config: Any, stage: Stage = untimed) -> Scores:
    """Every score of the protocol for a mesh against a reference, both in the frame."""
    spacing = 2 / (config.extract.grid - 1)
    with stage("score"):
        return distance.score(mesh, reference, config.score.samples, config.seed, spacing)
