"""Shapes drawn from a family's prior: meshes/sample_NN.ply, one sheet of pictures, and how they stand to the data.

All of it is in the frame: a draw has no source whose units it could have. Draws without a surface are counted, never
dropped. The draws are a function of the parameters, config.seed and config.sample.count.
"""

import json
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
import scipy.spatial
from jaxtyping import Bool, Float

from hexjax import pipeline
from hexjax.data import batches
from hexjax.evaluation import evaluate, export
from hexjax.geometry import distance, sdf, surface
from hexjax.models.family import Family
from hexjax.training import record
from hexjax.types import Item, Latent, Mesh, Params, Scores

PRIORS = ("gaussian", "vamp_prior", "flow_prior", "bernoulli", "categorical", "fsq")  # of config.latent.kind
COMPARED = 32  # training shapes, spread evenly over all, among which the nearest is found
RANKED = 2048  # points a side by which it is found
SCORED = 5000  # samples a side by which it is scored
LIMIT = 0.02  # world units: the threshold of the F-score
SHOWN = 32  # draws on the sheet
CELLS = 32  # a side of the occupancy grid of the spread
TOLD = ("faces", "watertight", "components", "euler", "dropped_parts")  # of a draw's report


class Draw(NamedTuple):
    """One shape drawn from the prior: its name, its mesh in the frame, and its row of samples.json."""

    name: str
    mesh: Mesh
    row: Scores


def sample(
    family: Family,
    params: Params,
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    items: Sequence[Item],
    step: int | None = None,
) -> Scores:
    """What config.sample.count draws from the prior are like, as written to samples.json in the run's folder.

    `empty` counts the draws without a surface, `non_finite` those of them whose field is not finite; `watertight` counts
    among the others, and `components` is their mean. Each draw names the training shape that is nearest to it by
    CD-L1, scored from few samples. `spread` is the mean of 1 - V-IoU over pairs of draws with a surface, 0 where all are
    one shape; `training_spread` is that of the training shapes compared with.

    Args:
        items: what the family was trained on.
        step: of the parameters; told in samples.json.

    Raises:
        ValueError: for a family without a prior.
    """
    if family.sample is None:
        raise ValueError(
            f"config.latent.kind is {config.latent.kind!r}; it has no prior to draw from; --mode=sample accepts: "
            f"{', '.join(PRIORS)}"
        )
    clock, known = evaluate.Clock(), evenly(items, COMPARED)
    drawn = _draw(family, params, config, clock)
    with_surface = [one for one in drawn if one.row["faces"]]
    with clock.stage("nearest"):
        for one, found in zip(with_surface, nearest([each.mesh for each in with_surface], known, config.seed)):
            one.row["nearest"] = found
    with clock.stage("spread"):
        spreads = [spread([each.mesh for each in group]) for group in (with_surface, known)]
    scores = {"mode": "sample", "step": step, "count": len(drawn), "empty": len(drawn) - len(with_surface)}
    scores |= {name: sum(one.row[name] for one in drawn) for name in ("non_finite", "watertight")}
    scores["components"] = float(np.mean([one.row["components"] for one in with_surface])) if with_surface else None
    scores |= {"spread": spreads[0], "training_spread": spreads[1], "compared": len(known)}
    with clock.stage("export"):
        _export(drawn, known, scores, config, folder)
    device = jax.devices()[0]
    scores |= {"samples": [one.row for one in drawn]}
    scores |= {"seconds": {name: round(value, 3) for name, value in clock.items()}}
    scores |= {"device": f"{device.platform}: {device.device_kind}", "seed": config.seed}
    scores = evaluate.plain(scores)
    record.write_atomically(folder / "samples.json", json.dumps(scores, indent=2, allow_nan=False) + "\n")
    print(_told(scores), file=sys.stderr)
    return scores


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """All of the items, or `most` of them spread evenly over their order, the first among them."""
    return [items[i * len(items) // most] for i in range(most)] if len(items) > most else list(items)


def nearest(meshes: Sequence[Mesh], known: Sequence[Item], seed: int) -> list[Scores | None]:
    """For each mesh with a surface the known shape nearest to it: its name, and the mesh's CD-L1 and F-score against it.

    It is found by the CD-L1 between RANKED points a side, as usual for generators; the scores are of SCORED samples a
    side and exact to the other surface, as in `geometry.distance`. None where nothing is known.
    """
    trees, found = [_tree(item.mesh, seed) for item in known], []
    for mesh in meshes:
        tree = _tree(mesh, seed)
        distances = [tree.query(other.data)[0].mean() + other.query(tree.data)[0].mean() for other in trees]
        best = known[int(np.argmin(distances))] if distances else None
        found.append(None if best is None else {"name": best.name} | _closeness(mesh, best.mesh, seed))
    return found


def _closeness(mesh: Mesh, reference: Mesh, seed: int) -> Scores:
    """CD-L1 and F-score alone: all of `distance.score` takes several times as long on a fine mesh."""
    samples = [surface.sample(each, SCORED, np.random.default_rng(seed))[0] for each in (mesh, reference)]
    forward, backward = distance.closest(reference, samples[0])[0], distance.closest(mesh, samples[1])[0]
    precision, recall = (float((each <= LIMIT).mean()) for each in (forward, backward))
    f_score = 2 * precision * recall / max(precision + recall, 1e-30)
    return {"cd_l1": float(forward.mean() + backward.mean()), f"f_score_{LIMIT}": f_score}


def spread(meshes: Sequence[Mesh]) -> float | None:
    """Mean of 1 - V-IoU over all pairs of meshes, on the centres of 32^3 cells; None for fewer than two meshes.

    0 where all are the same, 1 where none overlap; two volumes that hold no centre count as the same.
    """
    if len(meshes) < 2:
        return None
    centres = (np.arange(CELLS) + 0.5) * (2 / CELLS) - 1
    points = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), -1).reshape(-1, 3)
    return float(1 - _overlaps(np.stack([sdf.inside(mesh, points)[0] for mesh in meshes])).mean())


def _overlaps(inside: Bool[np.ndarray, "i p"]) -> Float[np.ndarray, "j"]:
    """IoU of every pair of volumes that are given by the points they hold."""
    held = inside.astype(np.float32)  # counts below 2^24 are exact
    both, sizes = held @ held.T, held.sum(1)
    first, second = np.triu_indices(len(held), 1)
    both, either = both[first, second], sizes[first] + sizes[second] - both[first, second]
    return np.where(either > 0, both / np.maximum(either, 1), 1).astype(np.float64)


def _tree(mesh: Mesh, seed: int) -> scipy.spatial.KDTree:
    return scipy.spatial.KDTree(surface.sample(mesh, RANKED, np.random.default_rng(seed))[0])


def _draw(family: Family, params: Params, config: ml_collections.ConfigDict, clock: evaluate.Clock) -> list[Draw]:
    """Latents drawn together, then decoded and polygonised one by one, each as one shape of an evaluation is."""
    with clock.stage("sample"):
        key = batches.stream_key(config.seed, "sample", 0)
        latents = jax.device_get(jax.jit(family.sample, static_argnums=2)(params, key, config.sample.count))
    drawn = []
    for number in range(config.sample.count):
        latent = Latent(*jax.tree.map(lambda leaf, i=number: leaf[i : i + 1], tuple(latents)))
        with clock.stage("decode"):
            decoded = pipeline.decode(latent, family, params)
        with clock.stage("field"):
            values = pipeline.family_grid(decoded, family, params, config)
        mesh, report = pipeline.polygonise(values, config, clock.stage)
        name = f"sample_{number:02d}"
        pipeline.tell(name, report)
        row = {"name": name} | {key: report[key] for key in TOLD}
        drawn.append(Draw(name, mesh, row | {"non_finite": not np.isfinite(values).all(), "nearest": None}))
    return drawn


def _export(
    drawn: list[Draw], known: list[Item], scores: Scores, config: ml_collections.ConfigDict, folder: pathlib.Path
) -> None:
    """Writes meshes/sample_NN.ply, without those of an earlier draw, and images/samples.png."""
    for name in ("meshes", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for file in (folder / "meshes").iterdir():
        if re.fullmatch(r"sample_\d{2,3}\.ply", file.name):
            file.unlink()
    for one in drawn:
        if len(one.mesh.faces):
            export.write_mesh(one.mesh, folder / "meshes" / f"{one.name}.ply")
    export.gallery(_sections(drawn, known, scores), _title(config, scores), folder / "images" / "samples.png")


def _title(config: ml_collections.ConfigDict, scores: Scores) -> str:
    at = "" if scores["step"] is None else f" at step {scores['step']}"
    return f"{config.name}{at}: {scores['count']} shapes drawn from the prior, {scores['empty']} without a surface"


def _sections(drawn: list[Draw], known: list[Item], scores: Scores) -> dict[str, dict[str, Mesh]]:
    """What the sheet shows: a row of training shapes, and the first SHOWN draws, each told from its nearest training shape."""
    captions, first = {}, evenly(known, export.COLUMNS)
    for number, one in enumerate(drawn[:SHOWN]):
        best, caption = one.row["nearest"], f"{number:02d}"
        if best is not None:
            caption += f"  ·  CD-L1 {best['cd_l1']:.3f} to {best['name']}"
        captions[caption + "  ·  field not finite" * one.row["non_finite"]] = one.mesh
    heads = [f"training shapes, {len(first)} of {len(known)}", f"drawn from the prior, {len(captions)} of {len(drawn)}"]
    for i, key in enumerate(("training_spread", "spread")):
        heads[i] += "" if scores[key] is None else f"  ·  mean distance of pairs, 1 − V-IoU: {scores[key]:.2f}"
    return ({heads[0]: {item.name: item.mesh for item in first}} if known else {}) | {heads[1]: captions}


def _told(scores: Scores) -> str:
    """One line of what was drawn."""
    spreads = [scores[key] for key in ("spread", "training_spread")]
    told = ["none" if value is None else f"{value:.3f}" for value in spreads]
    return (
        f"{scores['count']} draws from the prior: {scores['empty']} without a surface ({scores['non_finite']} not "
        f"finite), {scores['watertight']} watertight; spread {told[0]}, of training shapes {told[1]}"
    )
