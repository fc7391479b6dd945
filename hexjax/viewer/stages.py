"""The stages of `pipeline` as messages of a page, each as soon as it is done.

What is shown is chosen by the fields that a family sees and by what it decodes, never by its name.
"""

from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np

from hexjax import pipeline
from hexjax.data import fields
from hexjax.evaluation import evaluate
from hexjax.geometry import distance
from hexjax.models.family import Family
from hexjax.types import Array, Batch, Hexplane, Item, Latent, Mesh, Params, Similarity
from hexjax.viewer import messages
from hexjax.viewer.messages import Message

SCORES = {  # as a page calls them; how they are named in scores.json, and which end is better
    "F@0.01": ("f_score_0.01", "high"),
    "F@0.02": ("f_score_0.02", "high"),
    "CD-L1": ("cd_l1", "low"),
    "V-IoU": ("v_iou", "high"),
    "normals": ("normal_consistency", "high"),
}
POINTS = ("surface", "points", "salient")  # fields that are shown as points
MOST_CELLS = 60_000  # cells that a page is sent

Told = Iterator[Message]


def source(item: Item, told: list[str]) -> Told:
    """The input: a mesh in the frame, or a shape of points; `to_source` [16] is the way back, row by row."""
    if not len(item.mesh.faces):
        yield Message("points", {"role": "input"}, {"points": np.asarray(item.mesh.vertices, np.float32)})
        return
    yield messages.mesh("input", item.mesh, name=item.name, told=told, to_source=_matrix(item.similarity.inverse()))


def seen(item: Item, batch: Batch, family: Family, config: ml_collections.ConfigDict) -> Told:
    """What a family sees of a shape, and the ceiling: what a perfect network would give, with its scores.

    Args:
        batch: as `pipeline.observe` makes it.
    """
    maps = evaluate.maps_of(batch)
    if maps is not None:
        yield messages.maps("seen", maps, _kinds_seen(family))
    elif (name := next((name for name in POINTS if name in batch), None)) is not None:
        yield Message("points", {"role": "seen"}, {"points": np.asarray(batch[name][0], np.float32)})
    elif "cells" in batch:
        places = np.asarray(batch["cells"][0])[np.asarray(batch["alive"][0])]
        yield _cells("seen", places, config.cells.side)
    elif "distance_grid" in batch:
        yield from _occupied("seen", np.asarray(batch["distance_grid"][0]) <= 0)
    if family.field is None and family.ideal is None:
        return
    yield messages.progress(f"the ceiling, on {config.extract.grid}³ nodes")
    mesh, _ = pipeline.ceiling(item, batch, family, config)
    yield from _judged("ceiling", mesh, item, config)


def made(item: Item, latent: Latent, family: Family, params: Params, config: ml_collections.ConfigDict) -> Told:
    """What becomes of a shape's latent, with the distances to the shape and the scores."""
    mesh = yield from decoded(latent, family, params, config)
    if mesh is not None:
        yield from _judged("made", mesh, item, config)


def drawn(latent: Latent, family: Family, params: Params, config: ml_collections.ConfigDict) -> Told:
    """What becomes of a latent that is no shape's."""
    mesh = yield from decoded(latent, family, params, config)
    if mesh is not None:
        yield messages.mesh("made", mesh)


def decoded(latent: Latent, family: Family, params: Params, config: ml_collections.ConfigDict) -> Iterator[Any]:
    """The code, and what is decoded of it where that can be shown; gives the mesh back, None of a family without shapes.

    Args:
        latent: of one shape, with a leading 1.
    """
    yield messages.code(latent._replace(code=latent.code[0]), family.layout)
    if family.decode is None:
        return None
    yield messages.progress("decoding")
    found = pipeline.decode(latent, family, params)
    if isinstance(found, Hexplane):
        yield messages.maps("decoded", found, _kinds_decoded(found))
    elif isinstance(found, Array) and found.ndim == 3 and len(set(found.shape)) == 1:
        yield from _occupied("decoded", np.asarray(found) > 0.5)
    if family.field is None:
        return None
    yield messages.progress(f"the surface, on {config.extract.grid}³ nodes")
    values, _, ask = pipeline.family_grid(found, family, params, config)
    return pipeline.polygonise(values, config, ask=ask)[0]


def _judged(role: str, mesh: Mesh, item: Item, config: ml_collections.ConfigDict) -> Told:
    error = distance.closest(item.mesh, mesh.vertices)[0] if len(mesh.faces) else None
    yield messages.mesh(role, mesh, error)
    yield messages.progress("scores")
    found = pipeline.score(mesh, item.mesh, config)
    rows = [{"name": name, "value": found[key], "best": best} for name, (key, best) in SCORES.items()]
    yield Message("scores", {"role": role, "rows": [row | {"value": _plain(row["value"])} for row in rows]}, {})


def _plain(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _kinds_seen(family: Family) -> tuple[str, ...]:
    """The kinds of maps that a family sees; all of one that sees what is derived of them."""
    found = {"depth": "depth", "normal": "normals", "mask": "mask"}
    if not set(family.sees) & {"depth", "normal"} and "mask" in family.sees:
        return ("mask",)
    return tuple(found[name] for name in fields.MAPS)


def _kinds_decoded(maps: Hexplane) -> tuple[str, ...]:
    covered = np.asarray(maps.mask) > 0.5
    there = [kind for kind, part in zip(messages.KINDS, maps) if np.any(np.asarray(part)[covered] != 0)]
    return tuple({*there, "mask"})


def _occupied(role: str, inside: np.ndarray) -> Told:
    """The cells of a grid that are inside and have a neighbour that is not."""
    hidden = inside.copy()
    for axis in range(3):
        for shift in (1, -1):
            hidden &= np.roll(inside, shift, axis)
    yield _cells(role, np.argwhere(inside & ~hidden), inside.shape[0])


def _cells(role: str, places: np.ndarray, side: int) -> Message:
    kept = places[:: max(1, -(-len(places) // MOST_CELLS))]
    return Message("cells", {"role": role, "side": int(side)}, {"cells": np.ascontiguousarray(kept, np.uint16)})


def _matrix(way: Similarity) -> list[float]:
    """A similarity as the 16 numbers of a 4x4 matrix, row by row."""
    rows = np.eye(4)
    rows[:3, :3] = way.scale * np.asarray(way.rotation, np.float64)
    rows[:3, 3] = way.translation
    return [float(value) for value in rows.ravel()]
