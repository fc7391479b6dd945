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
from hexjax.evaluation import export, parents, rows
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
STUDY = {  # what the study whose claims docs/collapse_claims.md tests reported, by model.input
    "binary": "A Gaussian VAE on six silhouettes failed in all of about five runs: the KL term exploded, the mesh was empty, "
    "and no schedule of the KL weight helped. Binary input was named as the cause.",
    "continuous": "An autoencoder of the same size on continuous depth and normals gave back the head, and was named as "
    "the cure.",
}
SHAPE, OTHER, RUN, STEP = (rf"(?P<{name}>\d{{1,9}})" for name in ("shape", "other", "run", "step"))
AMOUNT = r"-?\d(?:\.\d{1,3})?"
KEYS = {
    "input": f"input/{SHAPE}",
    "seen": f"seen/{RUN}/{SHAPE}",
    "made": f"made/{RUN}/{STEP}/{SHAPE}",
    "between": rf"between/{RUN}/{STEP}/{SHAPE}/{OTHER}/(?P<share>0\.\d{{1,3}}|1\.0{{1,3}})",
    "direction": f"direction/{RUN}/{STEP}/(?P<amounts>{AMOUNT}(?:,{AMOUNT}){{0,{DIRECTIONS - 1}}})",
    "draw": rf"draw/{RUN}/{STEP}/(?P<draw>\d{{1,9}})",
}


class Learned(NamedTuple):
    """A shape that a run was trained on, and its place among those."""

    item: Item
    place: int | None


class Run(NamedTuple):
    """A run that a page shows, or where there is none (folder None), what a config says that shapes are seen as."""

    folder: pathlib.Path | None
    config: ml_collections.ConfigDict
    family: Family
    given: parents.Given
    standings: list[fingerprint.Standing]  # of the shapes that the page began with
    learned: list[Learned]  # at most ENCODED of the data, whether or not they are shown


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


def open_run(
    folder: pathlib.Path | None,
    config: ml_collections.ConfigDict,
    items: Sequence[Item],
    data: Sequence[Item] | None = None,
) -> Run:
    """The run of a folder, and what these shapes are to it.

    Args:
        data: all shapes of the data, of which these are shown; None: these.

    Raises:
        ValueError, CheckpointError: for a run that does not load.
    """
    given = parents.load(config, folder) if folder is not None else parents.NONE
    spec = (folder and record.read_spec(folder)) or fields.spec(config, items)
    family = families.make(spec, config, given.parents)
    families.check_mode(family, config, "view")
    if folder is None:
        return Run(folder, config, family, given, [fingerprint.Standing("", None)] * len(items), [])
    data, is_made = items if data is None else data, not config.data.path
    standings = zip(data, fingerprint.standings(data, folder, is_made))
    learned = [Learned(item, each.place) for item, each in standings if each.part == rows.TRAINED]
    return Run(folder, config, family, given, fingerprint.standings(items, folder, is_made), learned[:ENCODED])


class Contents:
    """Runs and shapes, and what becomes of the ones in the others. One thread at a time may read its streams.

    Args:
        coarse: the most nodes a side of grids for what is no shape's own; None: the run's extract.grid.
    """

    def __init__(self, runs: Sequence[Run], items: Sequence[Item], coarse: int | None = None):
        self.runs, self.items, self.coarse = list(runs), list(items), coarse
        self.count = len(items)  # of those that it began with
        self.told: list[list[str]] = [[] for _ in items]
        self.params, self.batches, self.codes = Kept(), Kept(), Kept()
        self.principal: dict[tuple[int, int], Principal] = {}  # by run and step

    def add(self, item: Item, told: list[str]) -> int:
        """The number of a shape that joins."""
        self.told.append(told)
        self.items.append(item)
        return len(self.items) - 1

    def index(self) -> dict[str, Any]:
        """What there is, as a page reads it first."""
        return {
            "version": hexjax.__version__,
            "note": "",
            "error_limit": export.ERROR_LIMIT,
            "views": list(frame.VIEWS),
            "cameras": list(frame.CAMERAS),
            "axes": [np.stack(axes).astype(int).tolist() for axes in zip(frame.RIGHT, frame.UP, frame.FORWARD)],
            "runs": [self._run(number) for number in range(len(self.runs))],
            "shapes": [self._shape(number) for number in range(len(self.items))],
        }

    def _shape(self, number: int) -> dict[str, Any]:
        item = self.items[number]
        faces, points = len(item.mesh.faces), 0 if len(item.mesh.faces) else len(item.mesh.vertices)
        return {"name": item.name, "category": item.category, "faces": faces, "points": points}

    def _run(self, number: int) -> dict[str, Any]:
        run = self.runs[number]
        config, folder, family = run.config, run.folder, run.family
        steps = [] if folder is None else checkpoint.steps(folder)
        curve = [] if folder is None else record.read_rows(folder / "metrics.jsonl")
        state = "none" if folder is None else "training" if lock.is_held(folder) else "done" if steps else "empty"
        encodes = family.encode is not None and family.decode is not None
        moves = encodes and family.layout.kind not in ("set", "cells")  # tokens have no order to go along
        return {
            "name": config.name if folder is None else folder.resolve().name,
            "label": self._label(number),
            "family": config.model.family,
            "input": config.model.input,
            "floats": family.latent_floats,
            "resolution": config.hexplane.resolution_px,
            "grid": config.extract.grid,
            "state": state,
            "total": config.train.steps,
            "parts": [each.part for each in run.standings],
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
            "directions": self._directions(number, steps[-1]) if moves and steps else None,
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

    def _directions(self, number: int, step: int) -> dict[str, Any] | None:
        """Those of the newest step, `of` the training shapes, or where none is known those that are shown.

        The share of the variance of each is known once they were asked for.
        """
        count, found = min(DIRECTIONS, len(self._learned(number)) - 1), self.principal.get((number, step))
        of = "training" if self.runs[number].learned else "shown"
        told = {"count": count, "share": found and found.share, "of": of, "values": None, "together": True}
        return told if count > 0 else None

    def _learned(self, number: int) -> list[Learned]:
        shown = zip(self.items[: self.count], self.runs[number].standings)
        return self.runs[number].learned or [Learned(item, each.place) for item, each in shown][:ENCODED]

    def messages(self, key: str) -> Iterator[Message]:
        """The stream of a key, made while it is read.

        Raises:
            LookupError: for a key that nothing stands under.
        """
        for kind, pattern in KEYS.items():
            if match := re.fullmatch(pattern, key):
                return getattr(self, f"_{kind}")(**self._known(match.groupdict()))
        raise LookupError(key)

    def _known(self, asked: dict[str, str]) -> dict[str, Any]:
        """What a key asks, as numbers of what is there."""
        found = {name: value if name in ("share", "amounts") else int(value) for name, value in asked.items()}
        is_there = all(found.get(name, 0) < len(self.items) for name in ("shape", "other"))
        is_there &= found.get("run", 0) < len(self.runs)
        if not is_there or ("step" in found and self.runs[found["run"]].folder is None):
            raise LookupError(asked)
        return found

    def _input(self, shape: int) -> Iterator[Message]:
        return stages.source(self.items[shape], self.told[shape])

    def _seen(self, run: int, shape: int) -> Iterator[Message]:
        yield messages.progress(_observing(self.runs[run]))
        batch = self._batch(run, shape)
        yield from stages.seen(self.items[shape], batch, self.runs[run].family, self.runs[run].config)

    def _made(self, run: int, step: int, shape: int) -> Iterator[Message]:
        yield messages.progress("restoring the network")
        params = self._params(run, step)
        yield messages.progress("encoding")
        latent = self._latent(run, step, shape)
        yield from stages.made(self.items[shape], latent, self.runs[run].family, params, self.runs[run].config)

    def _between(self, run: int, step: int, shape: int, other: int, share: str) -> Iterator[Message]:
        yield messages.progress("encoding two shapes")
        codes = [np.asarray(self._latent(run, step, each).code) for each in (shape, other)]
        yield from self._drawn(run, step, codes[0] + float(share) * (codes[1] - codes[0]))

    def _direction(self, run: int, step: int, amounts: str) -> Iterator[Message]:
        if (run, step) not in self.principal:
            params, codes, learned = self._params(run, step), [], self._learned(run)
            for count, (item, place) in enumerate(learned):
                yield messages.progress(f"encoding shapes, {count} of {len(learned)}")
                batch = pipeline.observe(item, self.runs[run].family, self.runs[run].config, place)
                codes.append(np.asarray(self._encode(run, batch, params).code, np.float64))
            self.principal[run, step] = principal(np.stack(codes))
        mean, directions, _ = self.principal[run, step]
        moved = (float(x) * each for x, each in zip(amounts.split(","), directions))
        yield from self._drawn(run, step, mean + sum(moved))

    def _draw(self, run: int, step: int, draw: int) -> Iterator[Message]:
        params, family, config = self._params(run, step), self.runs[run].family, self._coarse(run)
        if family.sample is None or family.conditions:
            raise ValueError(f"the family {config.model.family} draws nothing with latent.kind = {config.latent.kind}")
        yield messages.progress("drawing")
        key = batches.stream_key(config.sample.seed, "sample", 0)  # as --mode=sample
        latent = jax.jit(family.sample)(params, key, {"draw": np.array([draw], np.int32)})
        yield from stages.drawn(latent, family, params, config)

    def _drawn(self, run: int, step: int, code: np.ndarray) -> Iterator[Message]:
        yield from stages.drawn(Latent(code, {}), self.runs[run].family, self._params(run, step), self._coarse(run))

    def _coarse(self, run: int) -> ml_collections.ConfigDict:
        """The run's config, with no finer a grid than what is no shape's own is shown on."""
        config = self.runs[run].config.copy_and_resolve_references().unlock()
        config.extract.grid = min(config.extract.grid, self.coarse or config.extract.grid)
        return config

    def _params(self, run: int, step: int) -> Params:
        folder, _, _, given, *_ = self.runs[run]
        restore = lambda: families.whole(checkpoint.restore_params(folder, step)[0], given.params)
        return self.params.get((run, step), restore)

    def _batch(self, run: int, shape: int) -> Batch:
        _, config, family, _, standings, _ = self.runs[run]
        place = standings[shape].place if shape < len(standings) else None
        return self.batches.get((run, shape), lambda: pipeline.observe(self.items[shape], family, config, place))

    def _latent(self, run: int, step: int, shape: int) -> Latent:
        encode = lambda: self._encode(run, self._batch(run, shape), self._params(run, step))
        return self.codes.get((run, step, shape), encode)

    def _encode(self, run: int, batch: Batch, params: Params) -> Latent:
        _, config, family, *_ = self.runs[run]
        if family.encode is None:
            raise ValueError(f"the family {config.model.family} encodes nothing: it draws")
        return pipeline.encode(batch, family, params, config)


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
