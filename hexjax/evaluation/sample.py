"""Shapes drawn from a family's prior: meshes/sample_NN.ply, one sheet of pictures, and how they stand to the data.

All of it is in the frame: a draw has no source whose units it could have. Draws without a surface are counted, never
dropped. Draw i is a function of the parameters, config.sample.seed and i, however many there are.
"""

import functools
import itertools
import json
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import scipy.spatial
from jaxtyping import Bool

from hexjax import memory, names, pipeline, progress
from hexjax.data import batches, duplicates, fields, ply
from hexjax.evaluation import evaluate, export, nearness, parents, photo, rows, written
from hexjax.geometry import distance, surface
from hexjax.geometry import mesh as meshes
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import fingerprint, record
from hexjax.types import Array, Item, Mesh, Params, Scores

COMPARED = 32  # training shapes, spread evenly over all, among which the nearest is found
SCORED = 5000  # samples a side by which it is scored
LIMIT = 0.02  # world units: the threshold of the F-score
SHOWN = 32  # draws on the sheet
BLOCK = 16  # draws made at once
PAIRED = 512  # volumes whose pairs are looked at together
TOLD = ("faces", "watertight", "components", "euler", "genus", "dropped_parts")  # of a draw's report


class Draw(NamedTuple):
    """One shape drawn from the prior: its name, its mesh in the frame (of those on the sheet), its row of samples.json."""

    name: str
    mesh: Mesh | None
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
    among the others, and `components` and `genus` are means over those that have one. Each draw names the training shape
    that is nearest to it by CD-L1, scored from few samples. `spread` is the mean of 1 - V-IoU over pairs of draws with a
    surface, 0 where all are one shape; `training_spread` is that of the training shapes compared with.

    Args:
        items: shapes, of which those are compared with that the run in the folder is trained on, or all where none is known.
        step: of the parameters; told in samples.json.

    Raises:
        ValueError: for a family without a prior, and items that are points.
    """
    families.check_mode(family, config, "sample")
    for item in items:
        meshes.refuse_points(item.name, item.mesh, "shapes that draws are compared with")
    standings = fingerprint.standings(items, folder, not config.data.path)
    trained = [item for item, each in zip(items, standings) if each.part == rows.TRAINED]
    told = _conditions(family, config, folder, trained or items)
    clock, known, ledger = evaluate.Clock(), evenly(trained or items, COMPARED), written.Ledger(folder)
    trees, line = (
        [nearness.tree(item.mesh, config.seed) for item in known],
        progress.Line(config.sample.count, "shapes drawn"),
    )
    drawn, held, files = [], [], set()
    with memory.watched(config), line:
        for one in _draw(family, params, config, clock, told):
            if one.row["faces"]:
                with clock.stage("nearest"):
                    one.row["nearest"] = nearest([one.mesh], known, config.seed, trees)[0]
                with clock.stage("spread"):
                    held.append(duplicates.occupied(one.mesh))
                with clock.stage("export"):
                    files.add(ledger.put(f"meshes/{one.name}.ply", ply.write(one.mesh)))
            drawn.append(one if len(drawn) < SHOWN else one._replace(mesh=None))
            line.update(len(drawn))
    with_surface = [one for one in drawn if one.row["faces"]]
    with clock.stage("spread"):
        spreads = [_spread(held), spread([item.mesh for item in known])]
    scores = {"mode": "sample", "step": step, "count": len(drawn), "empty": len(drawn) - len(with_surface)}
    scores |= {name: sum(one.row[name] for one in drawn) for name in ("non_finite", "watertight")}
    counted = [{name: one.row[name] for name in ("components", "genus")} for one in with_surface]
    scores |= rows.summary(counted, np.mean) if counted else dict.fromkeys(("components", "genus"))
    scores |= {"spread": spreads[0], "training_spread": spreads[1], "compared": len(known)}
    with clock.stage("export"):
        for file in sorted({*(folder / "meshes").glob("sample_*.ply")} - files):  # of an earlier draw
            if re.fullmatch(r"sample_\d+( \(\d+\))?\.ply", file.name) and ledger.owns(f"meshes/{file.name}"):
                file.unlink()
        sheet = _sections(drawn, known, scores), _title(config, scores)
        ledger.write("images/samples.png", functools.partial(export.gallery, *sheet))
    device = jax.devices()[0]
    scores |= {"samples": [one.row for one in drawn]}
    scores |= {"seconds": {name: round(value, 3) for name, value in clock.items()}}
    scores |= {"device": f"{device.platform}: {device.device_kind}", "seed": config.sample.seed}
    scores = rows.plain(scores)
    record.write_atomically(folder / "samples.json", json.dumps(scores, indent=2, allow_nan=False) + "\n")
    print(_told(scores), file=sys.stderr)
    return scores


def as_set(*given: Any, **more: Any) -> Scores:
    """What an evaluation tells of a family that encodes nothing and draws without conditions: `sample`, numbers as `mean`."""
    scores = sample(*given, **more)
    names = ("empty", "non_finite", "watertight", "components", "genus", "spread")
    return scores | {"mean": {name: scores[name] for name in names}}


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """All of the items, or `most` of them spread evenly over their order, the first among them."""
    return [items[i * len(items) // most] for i in range(most)] if len(items) > most else list(items)


def nearest(
    meshes: Sequence[Mesh], known: Sequence[Item], seed: int, trees: Sequence[scipy.spatial.KDTree] | None = None
) -> list[Scores | None]:
    """For each mesh with a surface the known shape nearest to it: its name, and the mesh's CD-L1 and F-score against it.

    It is found by the CD-L1 between points a side (`nearness`); the scores are of SCORED samples a side and exact to the
    other surface, as in `geometry.distance`. None where nothing is known.

    Args:
        trees: of the known shapes' points, where they were made before.
    """
    trees, found = [nearness.tree(item.mesh, seed) for item in known] if trees is None else trees, []
    for mesh in meshes:
        best = known[nearness.nearest(nearness.tree(mesh, seed), trees)] if known else None
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
    return _spread([duplicates.occupied(mesh) for mesh in meshes])


def _spread(held: Sequence[Bool[np.ndarray, "p"]]) -> float | None:
    """The same of volumes that are given by the points they hold; pairs are looked at in blocks."""
    if len(held) < 2:
        return None
    total, starts = 0.0, range(0, len(held), PAIRED)
    for first, second in itertools.combinations_with_replacement(starts, 2):
        one, other = (np.stack(held[start : start + PAIRED]) for start in (first, second))
        overlaps = duplicates.overlap(one, other).astype(np.float64)
        total += (1 - (overlaps[np.triu_indices(len(one), 1)] if first == second else overlaps)).sum()
    return float(total / (len(held) * (len(held) - 1) / 2))


def _conditions(
    family: Family, config: ml_collections.ConfigDict, folder: pathlib.Path, items: Sequence[Item]
) -> dict[str, Array]:
    """What every draw is told, without a leading b: the pictures of `config.sample`, where the family draws by pictures.

    Raises:
        ValueError: for a picture that nothing reads, or none where one is needed.
    """
    if not family.conditions:
        if config.sample.image:
            raise ValueError(
                f"config.sample.image is {names.shown(config.sample.image)}; accepted with model.family = "
                f"{config.model.family} of this run: none, as it draws by no pictures"
            )
        return {}
    if not config.sample.image:
        raise ValueError(
            "config.sample.image is ''; accepted: a picture of what is to be drawn, or several with commas between"
        )
    given = parents.load(config, folder)
    found = photo.tell(config, items, fields.look_of(given.parents["views"], given.params["views"], config))
    for line in found.lines:
        print(line, file=sys.stderr)
    return {"views": jnp.asarray(found.views), "pose": jnp.asarray(found.pose)}


def _draw(
    family: Family,
    params: Params,
    config: ml_collections.ConfigDict,
    clock: evaluate.Clock,
    told: dict[str, Array] | None = None,
) -> Iterator[Draw]:
    """Latents drawn a block at a time, always whole, then decoded and polygonised one by one, each as in an evaluation."""
    draw, key = jax.jit(family.sample), batches.stream_key(config.sample.seed, "sample", 0)
    for number in range(config.sample.count):
        if number % BLOCK == 0:
            with clock.stage("sample"):
                numbers = {"draw": jnp.arange(number, number + BLOCK, dtype=jnp.int32)}
                numbers |= {
                    name: jnp.broadcast_to(value, (BLOCK, *value.shape)) for name, value in (told or {}).items()
                }
                latents = jax.device_get(draw(params, key, numbers))
        latent = jax.tree.map(lambda leaf, i=number % BLOCK: leaf[i : i + 1], latents)
        with clock.stage("decode"):
            decoded = pipeline.decode(latent, family, params)
        with clock.stage("field"):
            values, share, ask = pipeline.family_grid(decoded, family, params, config)
        mesh, report = pipeline.polygonise(values, config, clock.stage, ask)
        name = f"sample_{number:02d}"
        pipeline.tell(name, report)
        row = {"name": name} | {key: report[key] for key in TOLD} | {"asked_share": share}
        yield Draw(name, mesh, row | {"non_finite": not np.isfinite(values).all(), "nearest": None})


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
