"""The sentence: mesh -> maps -> latent -> decoded -> signed distance -> mesh -> scores, one line an arrow.

Evaluation runs through these functions. `stage` wraps each arrow, so that a caller can time it.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax import progress
from hexjax.data import cache
from hexjax.geometry import coarse, distance, hexplane, isosurface, planes
from hexjax.models.family import Family
from hexjax.types import Array, Hexplane, Latent, Mesh, Params, Scores

Stage = Callable[[str], contextlib.AbstractContextManager]
CHUNK = 2**14  # points asked of a family's field at once: a level of a grid seldom fills its last chunk


def untimed(name: str) -> contextlib.AbstractContextManager:
    """A stage that does nothing."""
    return contextlib.nullcontext(name)


def render(mesh: Mesh, config: Any) -> Hexplane:
    """The six maps of a mesh in the frame at the configured resolution."""
    return jax.block_until_ready(hexplane.render(mesh, config.hexplane.resolution_px))


def maps_grid(maps: Hexplane, config: Any) -> Float[np.ndarray, "n n n"]:
    """The field, on the configured grid, of what `config.model.input` holds of six maps.

    Raises:
        ValueError: for an unknown `config.model.input`.
    """
    kind, count, threshold = config.model.input, config.extract.grid, config.extract.threshold
    if kind == "voxels":
        inside = jnp.asarray(planes.voxels(maps, maps.mask.shape[-1]), jnp.float32)
        return planes.grid(inside, count, kind, threshold)
    return planes.grid(planes.seen(maps, kind), count, kind, threshold)


def ceiling(mesh: Mesh, config: Any, stage: Stage = untimed) -> tuple[Mesh, Scores, Hexplane]:
    """What the representation itself can give back of a mesh in the frame: no network between render and field."""
    with stage("render"):
        maps = render(mesh, config)
    with stage("field"):
        values = maps_grid(maps, config)
    with stage("polygonise"):
        surface, report = isosurface.polygonise(values, config.extract.min_part_share)
    return surface, report, maps


def fields(maps: Hexplane, family: Family) -> dict[str, Array]:
    """The batch fields of one shape that a family encodes: its maps, and what the family reads that is made of them."""
    found = maps._asdict() | cache.derive(maps, family.inputs)
    return {name: jnp.asarray(value) for name, value in found.items()}


def encode(maps: Hexplane, family: Family, params: Params, config: Any) -> Latent:
    """The latent of one shape's maps (the mean of a posterior), with a leading b of 1, rounded as stored (`latent.bits`)."""
    batch = {name: value[None] for name, value in fields(maps, family).items()}
    latent = jax.jit(family.encode)(params, batch, None)
    if config.latent.bits == 16:
        latent = latent._replace(code=latent.code.astype(jnp.float16).astype(jnp.float32))
    return jax.block_until_ready(latent)


def decode(latent: Latent, family: Family, params: Params) -> Any:
    """What the family decodes of one shape's latent, without the leading b."""
    return jax.block_until_ready(jax.tree.map(lambda a: a[0], jax.jit(family.decode)(params, latent)))


def family_grid(
    decoded: Any, family: Family, params: Params, config: Any
) -> tuple[Float[np.ndarray, "n n n"], float | None]:
    """The family's field on the configured grid, asked coarse to fine, and the share of the nodes that was asked.

    A family with a grid of its own fills it in its own way; then the share is None.
    """
    count = config.extract.grid
    if family.grid is not None:
        return np.asarray(family.grid(params, decoded, count)), None
    return coarse.grid(functools.partial(jax.jit(family.field), params, decoded), count, CHUNK)


def reconstruct(
    maps: Hexplane, family: Family, params: Params, config: Any, stage: Stage = untimed
) -> tuple[Mesh, Scores, Any, Latent]:
    """The mesh (in the frame) that comes back of six maps, its report, what was decoded, and the latent between."""
    with stage("encode"):
        latent = encode(maps, family, params, config)
    with stage("decode"):
        decoded = decode(latent, family, params)
    with stage("field"):
        values, share = family_grid(decoded, family, params, config)
    surface, report = polygonise(values, config, stage)
    return surface, report | {"asked_share": share}, decoded, latent


def polygonise(values: Float[np.ndarray, "n n n"], config: Any, stage: Stage = untimed) -> tuple[Mesh, Scores]:
    """The mesh (in the frame) of a family's field on the configured grid, and its report.

    A field that is not finite has no surface.
    """
    if bad := values.size - np.count_nonzero(np.isfinite(values)):
        values = np.ones_like(values)
    with stage("polygonise"):
        mesh, report = isosurface.polygonise(values, config.extract.min_part_share)
    if bad:
        report["told"] = f"the decoded field is not finite at {bad} of {values.size} nodes: no surface"
    return mesh, report


def tell(name: str, report: Scores) -> None:
    """Nothing; prints what a report says that a user must know of a shape, if there is anything."""
    if report["told"]:
        progress.tell(f"{name}: {report['told']}")


def score(mesh: Mesh, reference: Mesh, config: Any, stage: Stage = untimed) -> Scores:
    """Every score of the protocol for a mesh against a reference, both in the frame."""
    spacing = 2 / (config.extract.grid - 1)
    with stage("score"):
        return distance.score(mesh, reference, config.score.samples, config.seed, spacing)
