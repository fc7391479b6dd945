"""What a page shows of runs and shapes: an index, and under each key a stream of messages.

Keys: input/S, seen/R/S, made/R/STEP/S, between/R/STEP/A/B/T, direction/R/STEP/X1,X2,…, draw/R/STEP/N, where S, A and B are
numbers of shapes, R of a run, T a share of the way, X deviations along the principal directions of the training latents.
"""

import collections
import pathlib
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from jaxtyping import Float

import hexjax
from hexjax import pipeline
from hexjax.data import batches, fields
from hexjax.evaluation import parents, rows
from hexjax.geometry import frame
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import checkpoint, fingerprint, lock, record
from hexjax.types import Batch, Item, Latent, Params
from hexjax.viewer import messages, stages
from hexjax.viewer.messages import Message

DIRECTIONS = 3  # principal directions that a page offers
ENCODED = 64  # training shapes whose latents they are of
KEPT = 8  # parameters, batches and latents each, that are held
DRAWS = 1000  # that a page offers
CURVES = ("loss", "validation.loss")
POINTS = 400  # of a curve
STUDY = {  # what the study whose claims docs/collapse.md tests reported, by model.input
    "binary": "A Gaussian VAE on six silhouettes failed in all of about five runs: the KL term exploded, the mesh was empty, "
    "and no schedule of the KL weight helped. Binary input was named as the cause.",
    "continuous": "An autoencoder of the same size on continuous depth and normals gave back the head, and was named as "
    "the cure.",
}
INTEGER, NUMBER = r"(\d{1,9})", r"(-?\d{1,3}(?:\.\d{1,3})?)"
KEYS = {
    "input": rf"input/{INTEGER}",
    "seen": rf"seen/{INTEGER}/{INTEGER}",
    "made": rf"made/{INTEGER}/{INTEGER}/{INTEGER}",
    "between": rf"between/{INTEGER}/{INTEGER}/{INTEGER}/{INTEGER}/{NUMBER}",
    "direction": rf"direction/{INTEGER}/{INTEGER}/({NUMBER[1:-1]}(?:,{NUMBER[1:-1]}){{0,{DIRECTIONS - 1}}})",
    "draw": rf"draw/{INTEGER}/{INTEGER}/{INTEGER}",
}


class Run(NamedTuple):
    """A run that a page shows, or where there is none (folder None), what a config says that shapes are seen as."""

    folder: pathlib.Path | None
    config: ml_collections.ConfigDict
    family: Family
    given: parents.Given
    standings: list[fingerprint.Standing]  # of the shapes that the page began with


class Principal(NamedTuple):
    """Mean, and by direction a standard deviation along it and its share of the variance."""

    mean: Float[np.ndarray, "*q"]
    directions: list[np.ndarray]
    share: list[float]


class Kept:
    """What was made last, by key: at most KEPT of them."""

    def __init__(self) -> None:
        self.held: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What make() gives, or gave."""
        if key not in self.held:
            self.held[key] = make()
        self.held.move_to_end(key)
        if len(self.held) > KEPT:
            self.held.popitem(last=False)
        return self.held[key]


def open_run(folder: pathlib.Path | None, config: ml_collections.ConfigDict, items: Sequence[Item]) -> Run:
    """The run of a folder, and what these shapes are to it.

    Raises:
        ValueError, CheckpointError: for a run that does not load.
    """
    given = parents.load(config, folder) if folder is not None else parents.NONE
    spec = (folder and record.read_spec(folder)) or fields.spec(config, items)
    family = families.make(spec, config, given.parents)
    if folder is None:
        return Run(folder, config, family, given, [fingerprint.Standing("", None)] * len(items))
    return Run(folder, config, family, given, fingerprint.standings(items, folder, not config.data.path))


class Contents:
    """Runs and shapes, and what becomes of the ones in the others. One thread at a time may read its streams.

    Args:
        coarse: the most nodes a side of grids for what is no shape's own; None: the run's extract.grid.
    """

    def __init__(self, runs: Sequence[Run], items: Sequence[Item], coarse: int | None = None):
        self.runs, self.items, self.coarse = list(runs), list(items), coarse
        self.told: list[list[str]] = [[] for _ in items]
        self.params, self.batches, self.codes = Kept(), Kept(), Kept()
        self.principal: dict[tuple[int, int], Principal] = {}  # by run and step

    def add(self, item: Item, told: list[str]) -> int:
        """The number of a shape that joins."""
        self.items.append(item)
        self.told.append(told)
        return len(self.items) - 1

    def index(self) -> dict[str, Any]:
        """What there is, as a page reads it first."""
        return {
            "version": hexjax.__version__,
            "note": "",
            "error_limit": 0.02,
            "depth_limit": frame.DEPTH_LIMIT,
            "views": list(frame.VIEWS),
            "cameras": list(frame.CAMERAS),
            "runs": [self._run(number) for number in range(len(self.runs))],
            "shapes": [self._shape(number) for number in range(len(self.items))],
        }

    def _shape(self, number: int) -> dict[str, Any]:
        item, standings = self.items[number], self.runs[0].standings
        part = standings[number].part if number < len(standings) else "opened"
        told = {"name": item.name, "category": item.category, "part": part}
        return told | {"faces": len(item.mesh.faces), "points": 0 if len(item.mesh.faces) else len(item.mesh.vertices)}

    def _run(self, number: int) -> dict[str, Any]:
        run = self.runs[number]
        config, folder, family = run.config, run.folder, run.family
        steps = [] if folder is None else checkpoint.steps(folder)
        curve = [] if folder is None else record.read_rows(folder / "metrics.jsonl")
        state = "none" if folder is None else "training" if lock.is_held(folder) else "done" if steps else "empty"
        size = family.size(None) if family.layout.kind not in ("set", "cells") else None
        encodes = family.encode is not None and family.decode is not None
        trained = len(self._trained(run))
        moves = encodes and family.layout.kind not in ("set", "cells")  # tokens have no order to go along
        return {
            "name": config.name if folder is None else folder.resolve().name,
            "label": self._label(number),
            "config": config.name,
            "family": config.model.family,
            "input": config.model.input,
            "floats": family.latent_floats,
            "bits": None if size is None else size.bits,
            "resolution": config.hexplane.resolution_px,
            "grid": config.extract.grid,
            "state": state,
            "total": config.train.steps,
            "steps": steps,
            "verdict": _verdict(folder, curve),
            "study": STUDY.get(config.model.input, "") if self._is_of_study() and folder is not None else "",
            "curves": _curves(curve),
            "verdicts": [
                {"step": row["step"], "name": row["diagnostics.verdict"]}
                for row in curve
                if "diagnostics.verdict" in row
            ],
            "between": {"pairs": None, "values": None} if moves and steps else None,
            "directions": self._directions(number, steps[-1]) if moves and steps and trained > 1 else None,
            "draws": DRAWS if family.sample is not None and not family.conditions else 0,
        }

    def _is_of_study(self) -> bool:
        """Whether a run is the study's failure: a Gaussian latent of silhouettes."""
        return any((run.config.model.input, run.config.latent.kind) == ("binary", "gaussian") for run in self.runs)

    def _label(self, number: int) -> str:
        """What tells a run from the others: what it sees, where that differs, else its name."""
        inputs = [run.config.model.input for run in self.runs]
        if len(set(inputs)) == len(inputs) > 1:
            return inputs[number].upper().replace("_", " ")
        folder = self.runs[number].folder
        return self.runs[number].config.name if folder is None else folder.resolve().name

    def _directions(self, number: int, step: int) -> dict[str, Any]:
        """Those of the newest step; the share of the variance of each is known once they were asked for."""
        count, found = min(DIRECTIONS, len(self._trained(self.runs[number])) - 1), self.principal.get((number, step))
        return {"count": count, "share": found and found.share, "values": None, "together": True}

    def _trained(self, run: Run) -> list[int]:
        """Numbers of the shapes whose latents' principal directions are shown: trained on, or all where none is known to be."""
        own = [number for number, each in enumerate(run.standings) if each.part == rows.TRAINED]
        return (own or list(range(len(run.standings))))[:ENCODED]

    def messages(self, key: str) -> Iterator[Message]:
        """The stream of a key, made while it is read.

        Raises:
            LookupError: for a key that nothing stands under.
        """
        for kind, pattern in KEYS.items():
            if match := re.fullmatch(pattern, key):
                return getattr(self, f"_{kind}")(*match.groups())
        raise LookupError(key)

    def _input(self, number: str) -> Iterator[Message]:
        item = self.items[int(number)]
        return stages.source(item, self.told[int(number)])

    def _seen(self, number: str, shape: str) -> Iterator[Message]:
        run, item = self.runs[int(number)], self.items[int(shape)]
        yield messages.progress(_observing(run))
        batch = self._batch(int(number), int(shape))
        yield from stages.seen(item, batch, run.family, run.config)

    def _made(self, number: str, step: str, shape: str) -> Iterator[Message]:
        run, item = self.runs[int(number)], self.items[int(shape)]
        yield messages.progress("restoring the network")
        params = self._params(int(number), int(step))
        yield messages.progress("encoding")
        latent = self._latent(int(number), int(step), int(shape))
        yield from stages.made(item, latent, run.family, params, run.config)

    def _between(self, number: str, step: str, one: str, other: str, share: str) -> Iterator[Message]:
        yield messages.progress("encoding two shapes")
        codes = [np.asarray(self._latent(int(number), int(step), int(each)).code) for each in (one, other)]
        yield from self._drawn(int(number), int(step), codes[0] + float(share) * (codes[1] - codes[0]))

    def _direction(self, number: str, step: str, values: str) -> Iterator[Message]:
        key, shapes = (int(number), int(step)), self._trained(self.runs[int(number)])
        if key not in self.principal:
            codes = []
            for count, shape in enumerate(shapes):
                yield messages.progress(f"encoding training shapes, {count} of {len(shapes)}")
                codes.append(np.asarray(self._latent(*key, shape).code, np.float64))
            self.principal[key] = principal(np.stack(codes))
        mean, directions, _ = self.principal[key]
        amounts = [float(value) for value in values.split(",")]
        yield from self._drawn(*key, mean + sum(x * each for x, each in zip(amounts, directions)))

    def _draw(self, number: str, step: str, draw: str) -> Iterator[Message]:
        run, params = self.runs[int(number)], self._params(int(number), int(step))
        if run.family.sample is None or run.family.conditions:
            raise ValueError(
                f"the family {run.config.model.family} draws nothing with latent.kind = {run.config.latent.kind}"
            )
        yield messages.progress("drawing")
        key = batches.stream_key(run.config.sample.seed, "sample", 0)  # as --mode=sample
        latent = jax.jit(run.family.sample)(params, key, {"draw": np.array([int(draw)], np.int32)})
        yield from stages.drawn(latent, run.family, params, run.config)

    def _drawn(self, number: int, step: int, code: np.ndarray) -> Iterator[Message]:
        run = self.runs[number]
        config = run.config.copy_and_resolve_references().unlock()
        config.extract.grid = min(config.extract.grid, self.coarse or config.extract.grid)
        yield from stages.drawn(Latent(code, {}), run.family, self._params(number, step), config)

    def _params(self, number: int, step: int) -> Params:
        run = self.runs[number]
        restore = lambda: families.whole(checkpoint.restore_params(run.folder, step)[0], run.given.params)
        return self.params.get((number, step), restore)

    def _batch(self, number: int, shape: int) -> Batch:
        run = self.runs[number]
        place = run.standings[shape].place if shape < len(run.standings) else None
        observe = lambda: pipeline.observe(self.items[shape], run.family, run.config, place)
        return self.batches.get((number, shape), observe)

    def _latent(self, number: int, step: int, shape: int) -> Latent:
        run = self.runs[number]
        if run.family.encode is None:
            raise ValueError(f"the family {run.config.model.family} encodes nothing: it draws")
        params = self._params(number, step)
        encode = lambda: pipeline.encode(self._batch(number, shape), run.family, params, run.config)
        return self.codes.get((number, step, shape), encode)


def principal(codes: Float[np.ndarray, "i *q"]) -> Principal:
    """The mean of some latents, a standard deviation along each of the first principal directions, their shares of variance."""
    mean, count = codes.mean(0), min(DIRECTIONS, len(codes) - 1)
    _, sizes, axes = np.linalg.svd((codes - mean).reshape(len(codes), -1), full_matrices=False)
    deviations = sizes / np.sqrt(max(len(codes) - 1, 1))
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])  # a decomposition may turn them
    found = [(signs[i] * deviations[i] * axes[i]).reshape(mean.shape).astype(np.float32) for i in range(count)]
    share = sizes[:count] ** 2 / max(float((sizes**2).sum()), 1e-30)
    return Principal(mean.astype(np.float32), found, share.tolist())


def _observing(run: Run) -> str:
    sees = {*run.family.sees} & {*fields.MAPS, *fields.DERIVED}
    side = run.config.hexplane.resolution_px
    return f"rendering six maps of {side} × {side}" if sees else f"sampling {', '.join(run.family.sees)}"


def _verdict(folder: pathlib.Path | None, curve: Sequence[dict[str, Any]]) -> dict[str, str] | None:
    """The run's verdict on its latent and the reason: of its evaluation, or the last in training; None without one."""
    if folder is None:
        return None
    scores = rows.read(folder / "scores.json")
    found = {"name": scores.get("verdict"), "reason": scores.get("verdict_reason")}
    if not found["name"]:
        judged = [row for row in curve if "diagnostics.verdict" in row]
        found = (
            {"name": judged[-1]["diagnostics.verdict"], "reason": judged[-1].get("diagnostics.reason", "")}
            if judged
            else {}
        )
    return found if found.get("name") else None


def _curves(curve: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for name in CURVES:
        points = [(row["step"], row[name]) for row in curve if isinstance(row.get(name), int | float)]
        points = [each for each in points if np.isfinite(each[1])]
        kept = [points[i * len(points) // POINTS] for i in range(POINTS)] if len(points) > POINTS else points
        if kept:
            found.append({"name": name, "step": [step for step, _ in kept], "value": [value for _, value in kept]})
    return found
