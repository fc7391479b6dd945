"""Evaluation of a run: stages 3 to 8 for each item, beside the ceiling, into scores.json, meshes/ and images/.

The ceiling is what the representation itself allows: render, fuse, polygonise and score without a network. Scores are
in the frame; the meshes written are in the source's own units and orientation.
"""

import contextlib
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from hexjax import pipeline
from hexjax.diagnostics import collapse, diagnosis, measure, teacher
from hexjax.evaluation import export
from hexjax.geometry import distance, frame, planes
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import record
from hexjax.types import Hexplane, Item, Mesh, Params, Scores

TOLD = {"F@0.01": "f_score_0.01", "F@0.02": "f_score_0.02", "CD-L1": "cd_l1", "V-IoU": "v_iou"}

Ceilings = dict[str, tuple[Mesh, Scores]]  # by the item's name


class Clock(dict[str, float]):
    """Seconds by stage, summed over the items, with the compilation of the first."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds what the block takes to the stage; the block waits for the device itself."""
        began = time.monotonic()
        yield
        self[name] = self.get(name, 0.0) + time.monotonic() - began


def evaluate(
    family: Family,
    params: Params,
    items: Sequence[Item],
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    step: int | None = None,
    ceilings: Ceilings | None = None,
    pictures: bool = True,
    loaded: float | None = None,
    began: float | None = None,
) -> Scores:
    """The scores of a family on items, as written to scores.json in the run's folder; each stands beside its ceiling.

    `compression` is the bits of the input, float32 depth and normals [6, r, r, 4] or one bit a pixel of binary maps,
    over those of the latent. `active_units` is null for fewer than two shapes or a family without a latent to judge;
    `verdict` and its figures are of the first `diagnostics.shapes` shapes.

    Args:
        step: of the parameters; told in scores.json.
        ceilings: filled here and used again, so that a run that evaluates many times computes each once.
        pictures: whether meshes/ and images/ are written too.
        loaded: seconds in which shapes and training data were made ready, told as `seconds.load`.
        began: when the command began (time.monotonic()); `seconds.since_command` runs from there.

    Raises:
        ValueError: if there are no items.
    """
    clock, rows, seen = _start(items, folder), [], []
    ceilings = {} if ceilings is None else ceilings
    for item in items:
        with clock.stage("render"):
            maps = pipeline.render(item.mesh, config)
        mesh, report, decoded, _ = pipeline.reconstruct(maps, family, params, config, clock.stage)
        if len(seen) < config.diagnostics.shapes:
            seen.append(maps)
        row = _score(mesh, report, item, config, clock.stage)
        pipeline.tell(item.name, report)
        if item.name not in ceilings:
            with clock.stage("ceiling"):
                best, best_report, _ = pipeline.ceiling(item.mesh, config)
                ceilings[item.name] = best, _score(best, best_report, item, config)
                pipeline.tell(f"{item.name}, ceiling", best_report)
        best, best_row = ceilings[item.name]
        rows.append({"name": item.name} | row | {"ceiling": best_row})
        if pictures:
            with clock.stage("export"):
                export.shape(item, maps, decoded, {"reconstruction": mesh, "ceiling": best}, folder)
    if pictures:
        export.history(config.name, folder)
    with clock.stage("diagnose"):
        judged = diagnose(family, params, seen, config, folder)
    size = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "latent_floats": family.latent_floats,
        "latent_bits": family.latent_bits,
        "compression": input_bits(config) / family.latent_bits,
    } | judged
    return _write("evaluate", rows, size, clock, config, folder, step, loaded, began)


def diagnose(
    family: Family, params: Params, seen: Sequence[Hexplane], config: ml_collections.ConfigDict, folder: pathlib.Path
) -> dict[str, Any]:
    """`verdict`, why, and the figures of the laboratory on the maps of some shapes; null where there is no latent to judge.

    The IoU at every threshold stands beside; a teacher that lies with the run's checkpoints is asked too.
    """
    names = ("verdict", "verdict_reason", "verdict_tags", "active_units", "diagnostics", "threshold_sweep")
    if family.probe is None:
        return dict.fromkeys(names)
    given = [pipeline.fields(maps, family) for maps in seen]
    batch = {name: jnp.stack([each[name] for each in given]) for name in given[0]}
    known, x = diagnosis.know(family.probe, batch), family.probe.observe(batch)
    lesson = teacher.read(folder) if config.witness.classes else None
    classes = None if lesson is None else jnp.asarray(teacher.posterior(lesson, x.reshape(len(x), -1)), jnp.float32)
    knobs = families.knobs(config, families.LIKELIHOOD)
    diagnose, key = diagnosis.make(family.encode, family.probe, config.witness), jax.random.key(config.seed)
    scalars, judged = diagnose(params, batch, known, key, knobs, classes)
    swept = measure.threshold_sweep(family.probe, params, family.encode(params, batch, None, knobs), x)
    swept = {name: [float(value) for value in values] for name, values in swept.items()}
    swept["threshold"] = list(collapse.THRESHOLDS)
    units = int(scalars["active_units"]) if len(seen) > 1 else None
    figures = {name: float(value) for name, value in scalars.items()}
    return dict(zip(names, (judged.name, judged.reason, list(judged.tags), units, figures, swept)))


def ceiling(
    items: Sequence[Item],
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    loaded: float | None = None,
    began: float | None = None,
) -> Scores:
    """The scores of the representation itself, without a network, as written to scores.json in the run's folder.

    An item's scores stand in its own keys and again under `ceiling`; with them, the recall of the surface that some
    view sees (within 0.01 of a hit) and the share of the surface that none sees.

    Raises:
        ValueError: if there are no items.
    """
    clock, rows = _start(items, folder), []
    for item in items:
        mesh, report, maps = pipeline.ceiling(item.mesh, config, clock.stage)
        row = _score(mesh, report, item, config, clock.stage)
        pipeline.tell(f"{item.name}, ceiling", report)
        hits = np.asarray(frame.hit_points(maps.depth))[np.asarray(maps.mask)]
        with clock.stage("score"):
            row |= distance.seen_recall(mesh, item.mesh, hits, samples=config.score.samples, seed=config.seed)
        rows.append({"name": item.name} | row | {"ceiling": row})
        with clock.stage("export"):
            export.shape(item, maps, None, {"ceiling": mesh}, folder)
            export.unseen(item, hits, row["unseen_share"], folder)
    size = dict.fromkeys(("parameters", "latent_floats", "latent_bits", "compression", "active_units", "verdict"))
    return _write("ceiling", rows, size, clock, config, folder, None, loaded, began)


def encode(
    family: Family, params: Params, items: Sequence[Item], config: ml_collections.ConfigDict, folder: pathlib.Path
) -> list[pathlib.Path]:
    """The files latents/<name>.npz, written here: name, code [t, d], the posterior's statistics, the similarity.

    The code is float32, or float16 where `latent.bits` is 16. Generators read these files; nothing in them is pickled.

    Raises:
        ValueError: if there are no items.
    """
    _start(items, folder / "latents")
    files = []
    for item in items:
        latent = pipeline.encode(pipeline.render(item.mesh, config), family, params, config)
        arrays = {f"statistics.{name}": np.asarray(value[0]) for name, value in latent.statistics.items()}
        arrays |= {f"similarity.{name}": np.asarray(value) for name, value in item.similarity._asdict().items()}
        code = np.asarray(latent.code[0], np.float16 if config.latent.bits == 16 else np.float32)
        files.append(folder / "latents" / f"{export.stem(item.name)}.npz")
        np.savez(files[-1], allow_pickle=False, name=np.array(item.name), code=code, **arrays)
    return files


def input_bits(config: ml_collections.ConfigDict) -> int:
    """Bits of the planes that are encoded: float32, or one bit a pixel of silhouettes and voxels.

    Raises:
        ValueError: for an unknown `config.model.input`.
    """
    pixels = len(frame.VIEWS) * config.hexplane.resolution_px**2
    bits = {"continuous": 4 * 32, "silhouette_sdf": 16, "depth": 16}  # three views of 32 bits, over six
    if config.model.input == "voxels":
        return config.hexplane.resolution_px**3
    if config.model.input in bits:
        return pixels * bits[config.model.input]
    if config.model.input in ("binary", "silhouettes"):
        return pixels if config.model.input == "binary" else pixels // 2
    raise ValueError(f"config.model.input is {config.model.input!r}; accepted: {', '.join(planes.KINDS)}")


def summary(rows: Sequence[Scores], reduce: Callable[[list[float]], float]) -> Scores:
    """Every number of the rows, reduced over those that have it (None where none has), and the same under `ceiling`."""
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows if row[name] is not None]
        if values and isinstance(values[0], dict):
            found[name] = summary(values, reduce)
        elif not any(isinstance(value, str | bool) for value in values):
            found[name] = float(reduce(values)) if values else None
    return found


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite become None."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _start(items: Sequence[Item], folder: pathlib.Path) -> Clock:
    if not items:
        raise ValueError("there are no shapes; evaluation needs at least one (config.data.path, config.data.count)")
    folder.mkdir(parents=True, exist_ok=True)
    return Clock()


def _score(
    mesh: Mesh,
    report: Scores,
    item: Item,
    config: ml_collections.ConfigDict,
    stage: pipeline.Stage = pipeline.untimed,
) -> Scores:
    scores = pipeline.score(mesh, item.mesh, config, stage)
    return scores | {"dropped_parts": report["dropped_parts"]}


def _write(
    mode: str,
    rows: list[Scores],
    size: Scores,
    clock: Clock,
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    step: int | None,
    loaded: float | None,
    began: float | None,
) -> Scores:
    device = jax.devices()[0]
    if loaded is not None:
        clock["load"] = loaded
    if began is not None:
        clock["since_command"] = time.monotonic() - began
    settings = {
        "data": ",".join(pathlib.Path(place).name for place in config.data.path.split(",")) or config.data.source,
        "grid": config.extract.grid,
    }
    settings |= {"resolution_px": config.hexplane.resolution_px, "samples": config.score.samples}
    scores = {
        "mode": mode,
        "step": step,
        "settings": settings,
        "items": rows,
        "failed": sum(row["failed"] for row in rows),
    }
    scores |= {"mean": summary(rows, np.mean), "median": summary(rows, np.median)} | size
    scores |= {"seconds": {name: round(value, 3) for name, value in clock.items()}}
    scores |= {"device": f"{device.platform}: {device.device_kind}", "seed": config.seed}
    scores = plain(scores)
    record.write_atomically(folder / "scores.json", json.dumps(scores, indent=2, allow_nan=False) + "\n")
    for row in scores["items"]:
        print(_told(row), file=sys.stderr)
    if scores["verdict"]:
        print(f"latent: {scores['verdict']}: {scores['verdict_reason']}", file=sys.stderr)
    return scores


def _told(row: Scores) -> str:
    """One line of an item's scores, each with the ceiling's in brackets."""
    best = row["ceiling"]
    number = lambda value: "null" if value is None else f"{value:.4f}"
    parts = [f"{label} {number(row[key])} ({number(best[key])})" for label, key in TOLD.items()]
    parts += [f"{key} {row[key]} ({best[key]})" for key in ("watertight", "components", "euler")]
    return f"{row['name']}: {', '.join(parts)}; in brackets the ceiling"
