"""Voxels as an autoencoder: signed distances on a grid, to features at the cells of a coarse one, and back. Storage is a key.

dense: the clamped distances of a whole grid's nodes, and a latent at every coarse cell. sparse: the cells that the surface may
cross, with the distances at their corners, and a latent at those coarse cells alone that hold some. Its decoder predicts, level
by level, which of a cell's eight children are there; it is trained with the true ones. What is decoded is the same of both:
distances at the cube's nodes, between which the field is trilinear; away from the cells there is only a sign (`grids.flooded`).

Source: the structure and its levels, Xiang et al. 2024 (TRELLIS, arXiv:2412.01506) and Ren et al. 2024 (XCube,
arXiv:2312.03806); distances at corners as what is encoded: ours.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from hexjax import rules
from hexjax.geometry import frame
from hexjax.models import family as families
from hexjax.models.family import Cells, Family, Parents
from hexjax.models.parts import grids, latents, losses, sparse, targets, voxels
from hexjax.types import Array, Batch, Latent, Layout, Params, Size, Spec

CLAMP = frame.CLAMP
CAPACITIES = rules.Rule(
    tuple,
    'whole numbers above 0, as in "(704,)"; one for each of model.widths after the first',
    lambda value: all(type(item) is int and item > 0 for item in value),
)
KEYS = {
    "model.storage": rules.choice("dense", "sparse"),
    "model.widths": rules.WIDTHS,
    "model.blocks": rules.whole(0),
    "model.down": rules.choice(*grids.DOWN),
    "model.up": rules.choice(*grids.UP),
    "cells.coarse": CAPACITIES,
    "structure.loss": rules.choice("bce", "dice"),
    "structure.weight": rules.NOT_NEGATIVE,
}


def check(config: Any) -> None:
    """Nothing; the family's keys are there, each as its rule accepts it, and the sides fit the levels.

    Raises:
        ValueError: for the first that does not, in one line.
    """
    families.check_keys(config, KEYS)
    model, latent, count = config.model, config.latent, len(config.model.widths) - 1
    key, side = {"dense": ("distance_grid", config.distance_grid.side), "sparse": ("cells", config.cells.side)}[
        model.storage
    ]
    if side != latent.side * 2**count:
        raise ValueError(
            f"config.{key}.side is {side}; accepted with model.storage = {model.storage}: {latent.side * 2**count}, the "
            f"latent.side {latent.side} doubled for each of model.widths after the first"
        )
    if model.storage == "dense":
        return
    if side > sparse.MOST:
        raise ValueError(f"config.cells.side is {side}; accepted with model.storage = sparse: at most {sparse.MOST}")
    if len(config.cells.coarse) != count:
        raise ValueError(
            f"config.cells.coarse is {config.cells.coarse}; accepted: {count} of {CAPACITIES.accepted.split(';')[0]}, one "
            "for each of model.widths after the first"
        )
    if latent.kind in ("vamp_prior", "flow_prior"):
        raise ValueError(
            f"config.latent.kind is {latent.kind!r}; accepted with model.storage = sparse: a kind without a learned prior, "
            "which would need as many cells for every shape"
        )


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


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; how many cells a shape has room for is read from the spec's `cells`.

    Raises:
        ValueError: for an unknown name.
    """
    statistics = latents.make(config.latent, 1).statistics
    storage = {"dense": dense, "sparse": cells}[config.model.storage](spec, config, statistics)
    bottleneck = latents.make(config.latent, storage.layout.tokens)
    places = jnp.asarray(frame.shared_points(spec.fields["inside"].shape[0]))

    def predict(params: Params, found: Latent) -> Float[Array, "b q"]:
        """Logits of being inside at the places that all shapes share."""
        nodes = storage.decode(params, found).distance
        return -jax.lax.map(lambda one: grids.trilinear(one, places), nodes) / targets.SOFTNESS

    judged = dict(observe=lambda batch: batch["inside"], coverage=lambda x: x, **losses.probe("bernoulli"))
    rate, fields = latents.around(bottleneck, config.kl, storage.see, storage.statistics, predict, judged)

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        *keys, key = jax.random.split(key, 3)
        params = storage.init(jax.eval_shape(storage.see, batch), *keys)
        x = storage.see(batch) if bottleneck.pseudo_inputs else batch["inside"]  # which then nobody reads
        return params | latents.init_prior(bottleneck, x, lambda given: storage.statistics(params, given), key)

    def encode(params: Params, batch: Batch, key: Array | None, given: latents.Knobs | None = None) -> Latent:
        return storage.placed(fields["encode"](params, batch, key, given), storage.see(batch))

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: latents.Knobs) -> tuple[Array, dict]:
        seen = storage.see(batch)
        found = bottleneck.encode(storage.statistics(params, seen), key, knobs)
        fit, parts = storage.fit(params, storage.placed(found, seen), seen)
        term, told = latents.charge(bottleneck, rate(params, found, knobs), fit, step, knobs, config.kl)
        return fit + term, parts | told

    def size(found: Latent | None) -> Size:
        """Of one shape; without one, or of a dense grid, of all cells that there is room for, and a bit for each place."""
        if found is None or found.alive is None:
            bitmap = config.latent.side**3 if config.model.storage == "sparse" else 0
            return Size(bottleneck.floats_per_shape, bottleneck.bits + bitmap)
        alive = np.asarray(found.alive).reshape(-1)
        keys = sparse.keys_of(sparse.cells_at(found.place, config.latent.side).reshape(-1, 3), jnp.asarray(alive))
        stored = sparse.packed(np.asarray(keys)[alive], config.latent.side)
        floats = int(alive.sum()) * config.latent.channels
        return Size(floats, math.ceil(bottleneck.bits * alive.mean()) + 8 * len(stored))

    def judge(params: Params, batch: Batch, key: Array | None) -> dict[str, Array]:
        return storage.judge(params, encode(params, batch, None), storage.see(batch))

    def structure(params: Params, batch: Batch) -> Cells:
        return storage.structure(params, encode(params, batch, None), storage.see(batch))

    own = dict(encode=encode, size=size, sample=fields["sample"] if config.model.storage == "dense" else None)
    return Family(
        reads=(*storage.reads, "inside"),
        sees=storage.reads,
        layout=storage.layout,
        init=init,
        loss=loss,
        decode=storage.decode,
        field=lambda params, nodes, points: grids.trilinear(nodes.distance, points),
        grid=lambda params, nodes, count: grids.resampled(nodes.distance, count),
        ideal=lambda batch: storage.ideal(storage.see(batch)),
        judge=None if storage.judge is None else judge,
        structure=None if storage.structure is None else structure,
        **fields | own,
    )


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
    """The cells that the surface may cross: distances at their corners, in units of a cell's side."""
    side, latent = config.cells.side, config.latent
    capacities, spacing = (spec.fields["cells"].shape[0], *config.cells.coarse), 2 / side
    encoder, decoder = networks(config, statistics, 8, capacities)

    def see(batch: Batch) -> voxels.Seen:
        keys, order = jax.vmap(sparse.ordered)(batch["cells"], batch["alive"])
        corners = jnp.take_along_axis(batch["corner_distance"] / spacing, order[..., None], 1)
        levels, lost = sparse.levels(keys, side, capacities[1:])
        return voxels.Seen(levels, jnp.where(keys[..., None] < sparse.ABSENT, corners, 0), lost)

    def init(seen: Any, encoder_key: Array, decoder_key: Array) -> Params:
        keys = seen.levels.keys[-1]
        code = jax.ShapeDtypeStruct((*keys.shape, latent.channels), seen.corners.dtype)
        first = encoder.lazy_init(encoder_key, seen.corners, seen.levels)
        return {"encoder": first, "decoder": decoder.lazy_init(decoder_key, code, keys, seen.levels)}

    def alive(seen: voxels.Seen) -> Bool[Array, "b t"]:
        return seen.levels.keys[-1] < sparse.ABSENT

    def stated(params: Params, seen: voxels.Seen) -> Float[Array, "b t e"]:
        """0 where there is no cell: the standard normal, or even chances, which cost nothing under such a prior."""
        return jnp.where(alive(seen)[..., None], encoder.apply(params["encoder"], seen.corners, seen.levels), 0)

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
        error = voxels.corner_error(told.values, seen.corners, seen.levels.keys[0]).mean()
        apart = [voxels.structure_error(*pair, config.structure.loss) for pair in zip(told.logits, seen.levels.links)]
        structure = sum(apart, jnp.zeros(()))
        parts = {"reconstruction": error, "structure": structure, "lost_cells": seen.lost.mean(dtype=jnp.float32)}
        return error + config.structure.weight * structure, parts

    def nodes(keys: Int[Array, "b n"], corners: Float[Array, "b n 8"]) -> voxels.Nodes:
        one = lambda given: grids.flooded(*grids.nodes_of(given[0], spacing * given[1], side), spacing, CLAMP)
        return voxels.Nodes(jax.lax.map(one, (keys, corners)))

    def decode(params: Params, found: Latent) -> voxels.Nodes:
        told = predicted(params, found)
        return nodes(told.keys, told.values)

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
        reads=("cells", "corner_distance", "alive"),
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
