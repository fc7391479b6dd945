"""Evaluation of a run: stages 3 to 8 for each item, beside the ceiling, into scores.json, meshes/ and images/.

The ceiling is what the representation itself allows: render, fuse, polygonise and score without a network. Scores are
in the frame; the meshes written are in the source's own units and orientation.
"""

import contextlib
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import ml_collections
import numpy as np

from hexjax import memory, names, pipeline
from hexjax.evaluation import baselines, export, judge, plans, rows, written
from hexjax.geometry import distance, frame
from hexjax.geometry import mesh as meshes
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import checkpoint, fingerprint, record
from hexjax.types import Array, Batch, Hexplane, Item, Mesh, Params, Scores

TOLD = {"F@0.01": "f_score_0.01", "F@0.02": "f_score_0.02", "CD-L1": "cd_l1", "V-IoU": "v_iou"}
TOLD |= {name: name for name in ("watertight", "components", "genus", "euler")}

NONE = "there are no shapes; evaluation needs at least one (config.data.path, config.data.count)"

Ceilings = dict[str, tuple[Mesh | None, Scores]]  # by the item's name; the mesh where pictures show it


class Clock(dict[str, float]):
    """Seconds by stage, summed over the items, with the compilation of the first."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds what the block takes to the stage; the block waits for the device itself."""
        began = time.monotonic()
        yield
        self[name] = self.get(name, 0.0) + time.monotonic() - began


def check(items: Sequence[Item]) -> None:
    """Nothing; there are items, and all of them have a surface to be scored against.

    Raises:
        ValueError: for none, a shape of points, or one whose faces have no area in the frame.
    """
    if not items:
        raise ValueError(NONE)
    for item in items:
        meshes.refuse_points(item.name, item.mesh, "a score")
        if not meshes.face_areas(item.mesh).sum() > 0:
            size = np.abs(np.asarray(item.source.vertices, np.float64)).max()
            told = f"none of its {len(item.mesh.faces)} faces has an area beside its size ({size:.3g})"
            raise ValueError(f"{item.name}: {told}; a score needs one")


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
    own: ml_collections.ConfigDict | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Scores:
    """The scores of a family on the first `evaluate.shapes` items, as written to scores.json; each beside its ceiling.

    That is the run's own scores.json, whose scores of an earlier step are kept beside it, or where this evaluation is not
    the run's own, that of a folder of its own (`rows`). Each shape's row is on the disk once it is there.

    `compression` is the bits of what is encoded, float32 or one bit a pixel of silhouettes and voxels, over those of the
    latent. `active_units` is null for fewer than two shapes or a family without a latent to judge; what the family's
    own `judge` says stands beside a shape's scores; `verdict` and its figures are of the first `diagnostics.shapes`
    shapes. `seconds` of the row with `compiled` hold compilation.

    Args:
        folder: of the run.
        step: of the parameters; told in scores.json.
        ceilings: filled here and used again, so that a run that evaluates many times computes each once.
        pictures: whether meshes/, and images/ of the first `evaluate.pictures` shapes, are written too.
        loaded: seconds in which shapes and training data were made ready, told as `seconds.load`.
        began: when the command began (time.monotonic()); `seconds.since_command` runs from there.
        own: the run's config, where this evaluation may differ from the run's own; None in its training.
        stopped: asked before each shape.

    Raises:
        ValueError: if there are no items, or one without a surface.
        KeyboardInterrupt: if it was stopped.
    """
    check(items)
    data, place, plan = rows.digest(items), folder, plans.make(items, config, folder, pictures)
    if own is not None:
        place = rows.place(folder, config, own, step, data)
    of = step, rows.scored(config), data, checkpoint.digest(params)
    course = rows.Rows(place, of, len(plan.items), rows.FILE if own is None else rows.APART)
    ceilings, clock, seen, worst = {} if ceilings is None else ceilings, Clock(), {}, []
    compiles, ledger = not ceilings, written.Ledger(place)
    judge_one = jax.jit(family.judge) if family.judge and family.encode else None  # others judge no observed shape

    def one(number: int, item: Item) -> Scores:
        is_shown, standing = number in plan.shown, plan.standings[number]
        with clock.stage("observe"):
            batch = pipeline.observe(item, family, config, standing.place)
        if plan.places[number] in plan.probed:
            seen[plan.places[number]] = batch
        mesh, report, decoded, latent = pipeline.reconstruct(batch, family, params, config, clock.stage)
        row, found = _score(mesh, report, item, config, clock.stage), {"reconstruction": mesh}
        with clock.stage("score"):
            row |= pipeline.score_field(decoded, family, params, item.mesh, config)
        if judge_one is not None:
            with clock.stage("judge"):
                told = judge_one(params, {name: batch[name] for name in family.sees}, jax.random.key(config.seed))
                row |= {name: float(value[0]) if np.isfinite(value[0]) else None for name, value in told.items()}
        pipeline.tell(item.name, report)
        best, best_row = ceilings.get(item.name, (None, None))
        if best_row is None or (is_shown and best is None):
            with clock.stage("ceiling"):
                best, best_report = pipeline.ceiling(item, batch, family, config)
                if best_row is None:
                    pipeline.tell(f"{item.name}, ceiling", best_report)
                best_row = best_row or _score(best, best_report, item, config)
                ceilings[item.name] = best if is_shown else None, best_row
        found |= {} if best is None else {"ceiling": best}
        if pictures:
            with clock.stage("export"):
                export.shape(item, maps_of(batch), decoded, found, ledger, is_shown)
        if plan.shown and standing.part == rows.HELD_OUT:
            kept = row["f_score_0.02"], number, (item, *jax.device_get((maps_of(batch), decoded)), found, ledger, True)
            worst[:] = sorted([*worst, kept], key=lambda each: each[:2])[: rows.WORST]
        size, bits = family.size(latent), sum(map(bits_of, (batch[name] for name in family.sees)))
        row |= {
            "latent_floats": size.floats,
            "latent_bits": size.bits,
            "compression": bits / size.bits if bits else None,
        }
        return {"name": item.name} | plan.told(number) | row | {"ceiling": best_row}

    _take(plan.items, config, course, clock, one, compiles, stopped)
    if pictures:
        for _, number, given in worst:
            if number not in plan.shown:
                export.shape(*given)
        export.history(config.name, folder, ledger)
    size = _ended(family, params, items, config, folder, place, plan, course.found, seen, clock)
    before = rows.read(folder / "scores.json") if own is not None and place == folder else {}
    if before.get("verdict"):  # the run's verdict stays its own
        size |= {name: before.get(name) for name in ("verdict", "verdict_reason", "verdict_tags")}
    return _write("evaluate", course, data, size, clock, config, place, step, loaded, began)


def _ended(family, params, items, config, folder, place, plan, found, seen, clock) -> Scores:
    """What is told of the whole when all rows are there: sizes, the verdict, and what no learning gives."""
    with clock.stage("diagnose"):
        own = {i: place for place, i in enumerate(plan.trained)}  # a shape that is trained on has a place
        given = [seen[i] if i in seen else pipeline.observe(items[i], family, config, own.get(i)) for i in plan.probed]
        judged = judge.diagnose(family, params, given, config, folder)
    mean, learnt = rows.summary(found, np.mean), {name: p for name, p in params.items() if name != families.PARENTS}
    size = {name: mean[name] for name in ("latent_floats", "latent_bits", "compression")} | judged
    for name in ("latent_floats", "latent_bits"):  # whole numbers where they are the same for all shapes
        size[name] = int(size[name]) if size[name] == int(size[name]) else size[name]
    size["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(learnt))
    whole = len(plan.trained) == len(fingerprint.trained(folder))  # else they would be weaker than they are
    if config.evaluate.baselines and plan.held_out and plan.trained and whole:
        with clock.stage("baselines"):
            train = [items[i] for i in plan.trained]
            size |= _baselines(train, plan.held_out, found, config, place, family)
    return size


def ceiling(
    family: Family,
    items: Sequence[Item],
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    loaded: float | None = None,
    began: float | None = None,
) -> Scores:
    """The scores of the representation itself, without a network, as written to scores.json in the run's folder.

    An item's scores stand in its own keys and again under `ceiling`; with them, where the family sees maps, the recall of
    the surface that some view sees (within 0.01 of a hit) and the share of the surface that none sees.

    Raises:
        ValueError: if there are no items.
    """
    check(items)
    data, items = rows.digest(items), items[: config.evaluate.shapes or None]
    clock, ledger = Clock(), written.Ledger(folder)
    course = rows.Rows(folder, ("ceiling", rows.scored(config), data), len(items))

    def one(number: int, item: Item) -> Scores:
        with clock.stage("observe"):
            batch = pipeline.observe(item, family, config)
        mesh, report = pipeline.ceiling(item, batch, family, config, clock.stage)
        row, maps, hits = _score(mesh, report, item, config, clock.stage), maps_of(batch), None
        pipeline.tell(f"{item.name}, ceiling", report)
        if maps is not None:
            hits = np.asarray(frame.hit_points(maps.depth))[np.asarray(maps.mask)]
            with clock.stage("score"):
                row |= distance.seen_recall(mesh, item.mesh, hits, samples=config.score.samples, seed=config.seed)
        is_shown = number < config.evaluate.pictures
        with clock.stage("export"):
            export.shape(item, maps, None, {"ceiling": mesh}, ledger, is_shown)
            if is_shown and hits is not None:
                export.unseen(item, hits, row["unseen_share"], ledger)
        return {"name": item.name} | row | {"ceiling": row}

    _take(items, config, course, clock, one)
    size = dict.fromkeys(("parameters", "latent_floats", "latent_bits", "compression", "active_units", "verdict"))
    return _write("ceiling", course, data, size, clock, config, folder, None, loaded, began)


def bits_of(field: Array) -> int:
    """Bits of a field as it is encoded: one of what is true or false, else 32 a number."""
    return field.size * (1 if field.dtype == bool else 32)


def maps_of(batch: Batch) -> Hexplane | None:
    """The maps of a batch of one shape, where it holds some."""
    return Hexplane(*(batch[name][0] for name in Hexplane._fields)) if "depth" in batch else None


def _baselines(train, held, found, config, place, family) -> Scores:
    """What no learning gives on the held-out shapes, beside what was found; kept in the folder for the next evaluation."""
    floats, file = family.size(None).floats, place / "baselines.json"
    settings = {
        "floats": floats,
        "samples": config.score.samples,
        "seed": config.seed,
        "extract": config.extract.to_dict(),
    }
    settings |= {"train": rows.digest(train), "held": rows.digest(held)}
    kept = rows.read(file)
    if kept.get("settings") != settings:
        kept = rows.plain(
            {"mode": "baselines", "settings": settings, "scores": baselines.scores(train, held, config, floats)}
        )
        record.write_atomically(file, json.dumps(kept, indent=2, allow_nan=False) + "\n")
    own = [row for row in found if row.get("part") == rows.HELD_OUT]
    is_better, told = baselines.beats(own, kept["scores"])
    print(told, file=sys.stderr)
    short = {
        name: {key: value for key, value in each.items() if key != "rows"} for name, each in kept["scores"].items()
    }
    return {"baselines": short, "beats_nearest": is_better}


def _take(items, config, course, clock, one, compiles=True, stopped=lambda: False) -> None:
    """Nothing; every item that has no row yet has one, with its seconds by stage; the first is marked if it compiles."""
    done = len(course.found)
    for name, seconds in (pair for row in course.found for pair in row["seconds"].items()):
        clock[name] = clock.get(name, 0.0) + seconds
    with course, memory.watched(config):
        for number, item in enumerate(items[done:], done):
            if stopped():
                raise KeyboardInterrupt
            before = dict(clock)
            row = rows.plain(one(number, item))
            seconds = {name: round(clock[name] - before.get(name, 0.0), 4) for name in clock}
            course.add(row | {"seconds": seconds, "compiled": compiles and number == done})


def _score(mesh, report, item, config, stage=pipeline.untimed) -> Scores:
    told = {key: report[key] for key in ("dropped_parts", "asked_share") if key in report}  # a ceiling asks no family
    return pipeline.score(mesh, item.mesh, config, stage) | told


def _write(mode, course, data, size, clock, config, folder, step, loaded, began) -> Scores:
    device, found = jax.devices()[0], course.found
    if loaded is not None:
        clock["load"] = loaded
    if began is not None:
        clock["since_command"] = time.monotonic() - began
    settings = {
        "data": names.place_names(config.data.path) or config.data.source,
        "grid": config.extract.grid,
        "resolution_px": config.hexplane.resolution_px,
        "samples": config.score.samples,
        "digest": data,
    }
    timeless = [{name: value for name, value in row.items() if name not in ("seconds", "compiled")} for row in found]
    scores = {"mode": mode, "step": step, "settings": settings, "items": found}
    scores |= {"failed": sum(row["failed"] for row in found)}
    scores |= rows.summaries(timeless, config.seed) | size
    scores |= {"seconds": {name: round(value, 3) for name, value in clock.items()}}
    scores |= {"device": f"{device.platform}: {device.device_kind}", "seed": config.seed}
    scores = rows.plain(scores)
    rows.keep_earlier(folder, step, settings, len(found))
    record.write_atomically(folder / "scores.json", json.dumps(scores, indent=2, allow_nan=False) + "\n")
    course.file.unlink(missing_ok=True)  # scores.json has them all
    for row in scores["items"]:
        print(_told(row), file=sys.stderr)
    if scores["verdict"] and (scores["verdict"] != "NOT-CERTIFIABLE" or len(found) > 1):  # said before the first step
        print(f"latent: {scores['verdict']}: {scores['verdict_reason']}", file=sys.stderr)
    whole = {"all": scores} if mode == "evaluate" and len(found) > 1 else {}
    for part, each in scores.get("parts", whole).items():
        print(f"{part}, {_told_set(each)}", file=sys.stderr)
    print(f"scores, meshes and pictures are in {folder}", file=sys.stderr)
    return scores


def _told_set(found: Scores) -> str:
    """One line of the mean over shapes, and of how many are in parts and handles as their ceiling."""
    count, within, same = (found["topology"][name] for name in ("shapes", "genus_within_1", "same_components"))
    told = f"genus within 1 of the ceiling's on {within} of {count}, same number of parts on {same} of {count}"
    return f"mean of {count}: {_beside(found['mean'])}; {told}"


def _told(row: Scores) -> str:
    """One line of an item's scores, each with the ceiling's in brackets."""
    return f"{names.printable(row['name'])}: {_beside(row)}; in brackets the ceiling"


def _beside(told: Scores) -> str:
    shown = lambda value: "null" if value is None else f"{value:.4f}" if isinstance(value, float) else value
    pairs = {label: (told[key], told["ceiling"][key]) for label, key in TOLD.items() if key in told}
    return ", ".join(f"{label} {shown(value)} ({shown(best)})" for label, (value, best) in pairs.items())
