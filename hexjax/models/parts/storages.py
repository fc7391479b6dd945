"""The two storages of a grid of voxels: the whole grid, or the cells that the surface may cross, each in its own way.

Distances stand at nodes, clamped, in units of the clamp, or at the corners of cells, in units of a cell's side. What is decoded
is the same of both: distances at the cube's nodes. Cells may carry what views show of them, beside the distances or in their
place; a decoder that is trained to say it too is judged by it, and what it says is no part of the shape.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from hexjax.geometry import frame
from hexjax.models.family import Cells
from hexjax.models.parts import grids, sparse, voxels
from hexjax.types import Array, Batch, Latent, Layout, Params, Spec

CLAMP = frame.CLAMP


class Storage(NamedTuple):
    """What the two storages do each in their own way; `seen` is what `see` makes of a batch.

    init(shapes of seen, encoder_key, decoder_key) -> params; statistics(params, seen) -> the encoder's [b, t, s * d]
    placed(latent, seen) -> the latent with the places of its tokens, and 0 where there is none
    fit(params, latent, seen) -> what the loss charges for what comes back with the true cells, and its parts
    decode(params, latent), ideal(seen) -> distances at the cube's nodes
    judge(params, latent, seen) -> named numbers [b], or None; structure(params, latent, seen) -> Cells, or None
    """

    reads: tuple[str, ...]
    layout: Layout
    see: Callable[[Batch], Any]
    init: Callable[..., Params]
    statistics: Callable[[Params, Any], Array]
    placed: Callable[[Latent, Any], Latent]
    fit: Callable[[Params, Latent, Any], tuple[Array, dict[str, Array]]]
    decode: Callable[[Params, Latent], voxels.Nodes]
    ideal: Callable[[Any], voxels.Nodes]
    judge: Callable[[Params, Latent, Any], dict[str, Array]] | None
    structure: Callable[[Params, Latent, Any], Cells] | None


def networks(config: Any, statistics: int, channels: int, capacities: tuple[int, ...]) -> tuple[Any, Any]:
    """The two modules; `channels` are those of a place of the finest level, `statistics` numbers for each float."""
    model, latent = config.model, config.latent
    common = dict(widths=tuple(model.widths), blocks=model.blocks, dtype=jnp.dtype(model.dtype))
    encoder = voxels.Encoder(down=model.down, channels=latent.channels * statistics, **common)
    return encoder, voxels.Decoder(
        up=model.up, channels=channels, side=config.cells.side, capacities=capacities, **common
    )


def centres(keys: Int[Array, "b n"], side: int) -> Float[Array, "b n 3"]:
    """The centres of cells in the frame; of ABSENT, that of the first."""
    return (jax.vmap(sparse.cells_of)(keys) + 0.5) * (2 / side) - 1


def dense(spec: Spec, config: Any, statistics: int) -> Storage:
    """The whole grid: distances at its nodes, clamped, in units of the clamp."""
    side, channels = config.latent.side, config.latent.channels
    encoder, decoder = networks(config, statistics, 1, ())

    def init(x: Any, encoder_key: Array, decoder_key: Array) -> Params:
        given, code = (jax.ShapeDtypeStruct(a, x.dtype) for a in ((*x.shape, 1), (1, side, side, side, channels)))
        first = encoder.lazy_init(encoder_key, given, None)
        return {"encoder": first, "decoder": decoder.lazy_init(decoder_key, code, None, None)}

    def stated(params: Params, x: Array) -> Float[Array, "b t e"]:
        return encoder.apply(params["encoder"], x[..., None], None).reshape(len(x), side**3, -1)

    def values(params: Params, found: Latent) -> Float[Array, "b m m m"]:
        code = found.code.reshape(-1, side, side, side, channels)
        return decoder.apply(params["decoder"], code, None, None).values[..., 0]

    def fit(params: Params, found: Latent, x: Array) -> tuple[Array, dict[str, Array]]:
        again = values(params, found)
        error = jnp.abs(again - x).mean()
        return error, {"reconstruction": error, "sign": ((again < 0) == (x < 0)).mean()}

    return Storage(
        reads=("distance_grid",),
        layout=Layout("grid", side**3, channels, (side,)),
        see=lambda batch: jnp.clip(batch["distance_grid"] / CLAMP, -1, 1),
        init=init,
        statistics=stated,
        placed=lambda found, x: found,
        fit=fit,
        decode=lambda params, found: voxels.Nodes(CLAMP * values(params, found)),
        ideal=lambda x: voxels.Nodes(CLAMP * x),
        judge=None,
        structure=None,
    )


def cells(spec: Spec, config: Any, statistics: int) -> Storage:
    """The cells that the surface may cross: distances at their corners, in units of a cell's side, what views show, or both."""
    side, latent, shows, weight = config.cells.side, config.latent, config.model.features, config.model.views_weight
    capacities, spacing = (spec.fields["cells"].shape[0], *config.cells.coarse), 2 / side
    more = ("feature", "viewed") if shows != "distances" else ()
    channels = voxels.CORNERS + (spec.fields["feature"].shape[1] if weight else 0)
    encoder, decoder = networks(config, statistics, channels, capacities)

    def see(batch: Batch) -> voxels.Seen:
        keys, order = jax.vmap(sparse.ordered)(batch["cells"], batch["alive"])
        corners = jnp.take_along_axis(batch["corner_distance"] / spacing, order[..., None], 1)
        levels, lost = sparse.levels(keys, side, capacities[1:])
        seen = voxels.Seen(levels, jnp.where(keys[..., None] < sparse.ABSENT, corners, 0), lost)
        if not more:
            return seen
        viewed = jnp.take_along_axis(batch["viewed"], order, 1) & (keys < sparse.ABSENT)
        feature = jnp.take_along_axis(batch["feature"], order[..., None], 1)
        return seen._replace(feature=jnp.where(viewed[..., None], feature, 0), viewed=viewed)

    def carried(seen: voxels.Seen) -> Float[Array, "b n e"]:
        """What the encoder is given of each cell; with features a flag, 1 where a view sees it."""
        if shows == "distances":
            return seen.corners
        shown = [seen.feature, seen.viewed[..., None].astype(jnp.float32)]
        return jnp.concatenate([seen.corners, *shown] if shows == "both" else shown, -1)

    def init(seen: Any, encoder_key: Array, decoder_key: Array) -> Params:
        keys = seen.levels.keys[-1]
        code = jax.ShapeDtypeStruct((*keys.shape, latent.channels), seen.corners.dtype)
        first = encoder.lazy_init(encoder_key, jax.eval_shape(carried, seen), seen.levels)
        return {"encoder": first, "decoder": decoder.lazy_init(decoder_key, code, keys, seen.levels)}

    def alive(seen: voxels.Seen) -> Bool[Array, "b t"]:
        return seen.levels.keys[-1] < sparse.ABSENT

    def stated(params: Params, seen: voxels.Seen) -> Float[Array, "b t e"]:
        """0 where there is no cell: the standard normal, or even chances, which cost nothing under such a prior."""
        return jnp.where(alive(seen)[..., None], encoder.apply(params["encoder"], carried(seen), seen.levels), 0)

    def placed(found: Latent, seen: voxels.Seen) -> Latent:
        there = alive(seen)
        place = jnp.where(there[..., None], centres(seen.levels.keys[-1], latent.side), 0)
        return found._replace(code=jnp.where(there[..., None], found.code, 0), place=place, alive=there)

    def given(params: Params, found: Latent, seen: voxels.Seen) -> voxels.Told:
        return decoder.apply(params["decoder"], found.code, seen.levels.keys[-1], seen.levels)

    def predicted(params: Params, found: Latent) -> voxels.Told:
        """With the children that are predicted, from tokens in any order."""
        if found.place is None or found.alive is None:
            raise ValueError(
                "the latent has no place and alive; accepted with model.storage = sparse: a Latent as encode gives it"
            )
        keys, order = jax.vmap(sparse.ordered)(sparse.cells_at(found.place, latent.side), found.alive)
        code = jnp.take_along_axis(found.code, order[..., None], 1)
        return decoder.apply(params["decoder"], code, keys, None)

    def fit(params: Params, found: Latent, seen: voxels.Seen) -> tuple[Array, dict[str, Array]]:
        told = given(params, found, seen)
        corners, shown = (told.values, None) if not weight else jnp.split(told.values, [voxels.CORNERS], -1)
        error = voxels.corner_error(corners, seen.corners, seen.levels.keys[0]).mean()
        apart = [voxels.structure_error(*pair, config.structure.loss) for pair in zip(told.logits, seen.levels.links)]
        structure = sum(apart, jnp.zeros(()))
        parts = {"reconstruction": error, "structure": structure, "lost_cells": seen.lost.mean(dtype=jnp.float32)}
        total = error + config.structure.weight * structure
        if shown is None:
            return total, parts
        parts["features"] = voxels.feature_error(shown, seen.feature, seen.viewed).mean()
        return total + weight * parts["features"], parts

    def nodes(keys: Int[Array, "b n"], corners: Float[Array, "b n 8"]) -> voxels.Nodes:
        one = lambda given: grids.flooded(*grids.nodes_of(given[0], spacing * given[1], side), spacing, CLAMP)
        return voxels.Nodes(jax.lax.map(one, (keys, corners)))

    def decode(params: Params, found: Latent) -> voxels.Nodes:
        told = predicted(params, found)
        return nodes(told.keys, told.values[..., : voxels.CORNERS])

    def judge(params: Params, found: Latent, seen: voxels.Seen) -> dict[str, Array]:
        told = voxels.compared(predicted(params, found), given(params, found, seen), seen)
        return told | {name: spacing * value for name, value in told.items() if name.startswith("corner_error")}

    def structure(params: Params, found: Latent, seen: voxels.Seen) -> Cells:
        told, true = predicted(params, found), seen.levels.keys[0]
        there = (told.parents < sparse.ABSENT)[..., None]
        every = jnp.where(there, (told.parents[..., None] << 3) | jnp.arange(8)[None, None], sparse.ABSENT)
        every, chance = (leaf.reshape(len(true), -1) for leaf in (every, there * jax.nn.sigmoid(told.logits[0])))
        kept = jax.vmap(sparse.places)(told.keys, every) < told.keys.shape[1]
        return Cells(centres(every, side), chance, kept, centres(true, side), true < sparse.ABSENT)

    return Storage(
        reads=("cells", "corner_distance", "alive", *more),
        layout=Layout("cells", capacities[-1], latent.channels, (latent.side,)),
        see=see,
        init=init,
        statistics=stated,
        placed=placed,
        fit=fit,
        decode=decode,
        ideal=lambda seen: nodes(seen.levels.keys[0], seen.corners),
        judge=judge,
        structure=structure if config.cells.coarse else None,
    )
