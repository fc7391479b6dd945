"""Voxels as an autoencoder: signed distances on a grid, to features at the cells of a coarse one, and back. Storage is a key.

dense: the clamped distances of a whole grid's nodes, and a latent at every coarse cell. sparse: the cells that the surface may
cross, with the distances at their corners, and a latent at those coarse cells alone that hold some. Its decoder predicts, level
by level, which of a cell's eight children are there; it is trained with the true ones. What is decoded is the same of both:
distances at the cube's nodes, between which the field is trilinear; away from the cells there is only a sign (`grids.flooded`).
By `model.features` cells carry what views show of them (`data.views.at_cells`) beside distances or for them: which cells there
are, the loss and the ceiling come of the mesh's distances all the same.

Source: the structure, its levels and the mean over views, Xiang et al. 2024 (TRELLIS, arXiv:2412.01506), and Ren et al. 2024
(XCube, arXiv:2312.03806); distances at corners, and pixels in the place of a network's patches: ours.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax import rules
from hexjax.geometry import frame
from hexjax.models import family as families
from hexjax.models.family import Cells, Family, Parents
from hexjax.models.parts import grids, latents, losses, sparse, storages, targets
from hexjax.types import Array, Batch, Latent, Params, Size, Spec

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
    "model.features": rules.choice("distances", "views", "both"),
    "model.views_weight": rules.NOT_NEGATIVE,
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
    if model.storage == "dense" and model.features != "distances":
        raise ValueError(
            f"config.model.features is {model.features!r}; accepted with model.storage = dense: distances, as views show "
            "cells of the surface alone"
        )
    if model.features == "distances" and model.views_weight:
        raise ValueError(
            f"config.model.views_weight is {model.views_weight:g}; accepted with model.features = distances: 0, as no "
            "features are read"
        )
    if model.features != "distances" and config.views.channels == "depth":
        raise ValueError(
            f"config.views.channels is 'depth'; accepted with model.features = {model.features}: shaded, normal, all, of "
            "which a cell has a mean"
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


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; how many cells a shape has room for is read from the spec's `cells`.

    Raises:
        ValueError: for an unknown name.
    """
    statistics = latents.make(config.latent, 1).statistics
    storage = {"dense": storages.dense, "sparse": storages.cells}[config.model.storage](spec, config, statistics)
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
        found = storage.placed(bottleneck.encode(storage.statistics(params, seen), key, knobs), seen)
        fit, parts = storage.fit(params, found, seen)
        term, told = latents.charge(bottleneck, rate(params, found, knobs), fit, step, knobs, config.kl, found.alive)
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
