"""How well a generator draws the shape that it is shown: python -m hexjax.evaluation.pictured RUN

Trained shapes: whether what is drawn is nearest to the shape's own latent among all, told by 1 to 8 views, those of the
training or others. Shapes never trained: the scores of what is drawn from 1 and 8 views that were never trained with, beside
what is had without a generator: the nearest training shape by the same features, ridge regression of the latent on them, the
mean latent, a random training shape, the best training latent as an oracle tells it, a latent that was searched for, and the
ceiling; and of which kind the outputs are. Of several draws of a shape the median of their scores counts. Writes
RUN/pictured.json and pictures beside it, and prints its tables; with --into PAGE it fills them into a page, between
`<!-- pictured:NAME -->` and `<!-- /pictured:NAME -->`, or `<!-- pictured:NAME RUN -->` where several runs are given.
"""

import argparse
import functools
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Float, Int

from hexjax import names, pipeline, progress
from hexjax.data import batches, fields, views
from hexjax.diagnostics import generation
from hexjax.evaluation import likeness, parents, pictured_page, restore, rows
from hexjax.geometry import mesh as geometry
from hexjax.models.family import Parent
from hexjax.training import fingerprint, record
from hexjax.types import Array, Item, Latent, Mesh, Scores

VIEWS = (1, 2, 4, 8)  # that a trained shape is told by
UNSEEN = (1, 8)  # and one that was never trained
SUBSETS = 4  # of a training shape's views, by which ridge is fitted
PROBED = 2048  # points by which the oracle chooses
BETTER = {"cd_l1": False, "f_score_0.02": True, "v_iou": True, "sdf_sign": True}  # whether more is better
NOISES, NOISY = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0), 6  # deviations of the training latents; shapes they are added to
AT_ONCE = 8  # searches
KINDS = ("drawn", "nearest", "ridge")  # what is told of which kind it is
FILE = "pictured.json"
VERDICTS = ("GENERALISES", "RETRIEVES", "BOUNDED-BY-DECODER", "UNDECIDED")


Meshes = dict[str, list[list[Mesh]]]  # by what they are made of, of each shape that was never trained, of each draw


class Study(NamedTuple):
    """A run and what it is asked of: shapes, and the features of all views of each, `known` ones first."""

    model: restore.Restored
    parent: Parent
    codes: Float[np.ndarray, "n d"]  # of the training shapes
    train: list[Item]
    held: list[Item]
    looks: dict[str, dict[str, np.ndarray]]  # by the shape's name: views, pose, condition
    known: int  # views of each that were trained with
    look: fields.Look  # what says features of pictures


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=pathlib.Path, nargs="+", help="folders of latent_dit runs that views tell")
    parser.add_argument("--draws", type=int, default=4, help="of each shape that was never trained")
    parser.add_argument("--shapes", type=int, default=20, help="never trained, the first so many")
    parser.add_argument("--grid", type=int, default=64, help="nodes a side")
    parser.add_argument("--samples", type=int, default=5000, help="of each score")
    parser.add_argument("--into", type=pathlib.Path, nargs="+", default=[], help="pages to fill from RUN/pictured.json")
    given = parser.parse_args(arguments)
    try:
        found = {}
        for run in given.runs:
            file = run / FILE
            if not given.into:
                told = study(run, given.draws, given.shapes, given.grid, given.samples)
                record.write_atomically(file, json.dumps(rows.plain(told), indent=1, allow_nan=False) + "\n")
            elif not file.is_file():
                raise ValueError(f"{run.name} has no {FILE}; it is made by the same command without --into")
            found[run.resolve().name] = json.loads(file.read_text(encoding="utf-8"))
        pictured_page.publish(given.into, found)
    except (ValueError, OSError) as error:
        print(f"pictured: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def study(folder: pathlib.Path, draws: int, shapes: int, grid: int, samples: int) -> Scores:
    """What is written to pictured.json; pictures are written to RUN/images.

    Raises:
        ValueError: for a run that draws by no views, has no shapes held out, or whose views' run has trained on them.
    """
    asked = load(folder, shapes)
    with asked.model.config.unlocked():
        asked.model.config.extract.grid, asked.model.config.score.samples = grid, samples
    found = {
        "run": folder.resolve().name,
        "step": asked.model.step,
        "trained": len(asked.train),
        "held": len(asked.held),
    }
    found |= {"draws": draws, "grid": grid, "samples": samples, "levels": _levels(asked)}
    found["recall"] = [recall(asked, kind, count) for kind in ("known", "unseen") for count in VIEWS]
    found["noise"], found["search"] = _noise(asked), _control(asked)
    told, meshes = unseen(asked, draws)
    found |= told
    found["likeness"] = _likeness(asked, meshes)
    _draw(asked, found, meshes, folder / "images")
    return found


def load(folder: pathlib.Path, shapes: int) -> Study:
    """The study of a run in a folder, the features of all shapes' views made.

    Raises:
        ValueError: as `study`.
    """
    model = restore.restore(folder)
    if model.family.conditions != ("views", "pose"):
        raise ValueError(f"{folder.name} is a run of {model.config.model.family}; accepted: one that draws by views")
    given = parents.load(model.config, folder)
    parent, look = given.parents["latents"], fields.look_of(given.parents["views"], given.params["views"], model.config)
    items = parents.items_of(parent)
    standings = fingerprint.standings(items, folder, not parent.config.data.path)
    train = [item for item, each in zip(items, standings) if each.part == "train"]
    held = [item for item, each in zip(items, standings) if each.part == "test"][:shapes]
    if not held:
        raise ValueError(f"{folder.name} holds no shapes out; accepted: a run of latents with config.data.split")
    seen = {name for name, _ in fingerprint.trained(given.folders["views"])}
    if both := sorted(seen & {item.name for item in held}):
        raise ValueError(
            f"the run of config.views.run has trained on {both[0]}, which is to be new; accepted: another one"
        )
    looks = {}
    with progress.Line(len(train) + len(held), "shapes' views read") as line:
        for number, item in enumerate([*train, *held], 1):
            asked = ("views", "pose", "condition")
            looks[item.name] = fields.make(item, asked, model.config, model.config.seed, look=look)
            line.update(number)
    known = model.config.views.count - model.config.views.held
    codes = parent.latents["latent"].reshape(len(train), -1)
    return Study(model, parent, codes, train, held, looks, known, look)


def chosen(asked: Study, kind: str, count: int) -> slice:
    """The views that tell: the first so many of those that were trained with, or of the others."""
    first = 0 if kind == "known" else asked.known
    return slice(first, first + count)


def drawn(asked: Study, items: Sequence[Item], shown: slice, draw: Int[Array, "n"]) -> Float[np.ndarray, "n d"]:
    """A latent drawn for each shape, told by some of its views."""
    key = batches.stream_key(asked.model.config.sample.seed, "sample", 0)
    sample, found = jax.jit(asked.model.family.sample), []
    for start in range(0, len(items), 32):
        some = [asked.looks[item.name] for item in items[start : start + 32]]
        batch = {name: jnp.asarray(np.stack([each[name][shown] for each in some])) for name in ("views", "pose")}
        code = sample(asked.model.params, key, batch | {"draw": jnp.asarray(draw[start : start + 32])}).code
        found.append(np.asarray(code).reshape(len(some), -1))
    return np.concatenate(found)


def recall(asked: Study, kind: str, count: int) -> Scores:
    """How trained shapes are found again, told by so many views that were trained with, or by others."""
    numbers = np.arange(len(asked.train))
    found = drawn(asked, asked.train, chosen(asked, kind, count), numbers)
    told = {"views": kind, "count": count} | generation.shrinkage(found, asked.codes, asked.codes)
    told["raw"] = generation.ranking(found, asked.codes, numbers, False)
    told["centred"] = generation.ranking(found, asked.codes, numbers, True)
    return told


def unseen(asked: Study, draws: int) -> tuple[Scores, Meshes]:
    """The rows of shapes that were never trained, what beats what, and the verdict; and the meshes that were scored."""
    model, held, found, nearness, meshes = asked.model, asked.held, {}, {}, {}
    searched = _searched(asked, held)
    best = np.array([_oracle(asked, item) for item in held])
    random = np.random.default_rng(model.config.seed).integers(0, len(asked.train), len(held))
    codes = {"searched": [searched], "oracle": [asked.codes[best]], "random": [asked.codes[random]]}
    codes["mean"] = [np.broadcast_to(asked.codes.mean(0), searched.shape)]
    for count in UNSEEN:
        shown = chosen(asked, "unseen", count)
        some = [drawn(asked, held, shown, 1000 * number + np.arange(len(held))) for number in range(draws)]
        codes |= {f"drawn, {count}": some, f"nearest, {count}": [asked.codes[_retrieved(asked, shown)]]}
        codes[f"ridge, {count}"] = [_ridge(asked, count)]
        nearness[f"drawn, {count}"] = float(np.median(generation.nearest(np.concatenate(some), asked.codes)))
    nearness["searched"] = float(np.median(generation.nearest(searched, asked.codes)))
    scored = functools.lru_cache(None)(lambda place, raw: _scored(asked, held[place], np.frombuffer(raw, np.float32)))
    total = sum(len(each) for each in codes.values()) * len(held) + len(held)
    with progress.Line(total, "meshes scored") as line:
        done = 0
        for name, several in codes.items():
            found[name], meshes[name] = [], []
            for place, item in enumerate(held):
                made = [scored(place, np.float32(each[place]).tobytes()) for each in several]
                meshes[name].append([mesh for mesh, _ in made])
                found[name].append({"name": item.name, "category": item.category} | _median([told for _, told in made]))
                done += len(several)
                line.update(done)
        found["ceiling"] = []
        for item in held:
            found["ceiling"].append({"name": item.name, "category": item.category} | _ceiling(asked, item))
            done += 1
            line.update(done)
    judged = {count: verdict(found, nearness, count, model.config.seed) for count in UNSEEN}
    told = {name: {key: _middle(found[name], key) for key in BETTER} for name in found}
    return {"unseen": told, "to_nearest": nearness, "verdicts": judged, "rows": found}, meshes


def verdict(found: Mapping[str, Sequence[Scores]], nearness: Mapping[str, float], count: int, seed: int) -> Scores:
    """One of VERDICTS, why, and the differences that it rests on: medians over shapes with their 95 % intervals.

    BOUNDED-BY-DECODER: searched latents are no better than the oracle's, in CD-L1 or in IoU. GENERALISES: draws are better
    than ridge and than the nearest shape, in both. RETRIEVES: they are not, and lie nearer to a training latent than
    searched ones do. UNDECIDED: none of these.
    """
    column = lambda name, key: np.array([row[key] for row in found[name]], np.float64)
    better = lambda one, other, key: generation.is_better(column(one, key), column(other, key), BETTER[key], seed)
    draws, keys = f"drawn, {count}", ("cd_l1", "v_iou")
    told = {
        f"{draws} against {other}": {
            key: generation.paired(column(draws, key), column(other, key), seed) for key in keys
        }
        for other in (f"ridge, {count}", f"nearest, {count}", "searched", "oracle", "random")
    }
    wins = all(better(draws, f"{other}, {count}", key) for other in ("ridge", "nearest") for key in keys)
    if not all(better("searched", "oracle", key) for key in keys):
        name, why = VERDICTS[2], "searched latents are no better than the best training latent"
    elif wins:
        name, why = VERDICTS[0], "draws are better than ridge and the nearest shape, in CD-L1 and IoU"
    elif nearness[draws] < nearness["searched"]:
        near = f"{nearness[draws]:.3g} from a training latent, searched ones {nearness['searched']:.3g}"
        name, why = VERDICTS[1], f"draws are not better than ridge and the nearest shape, and lie {near}"
    else:
        name, why = (
            VERDICTS[3],
            "draws are not better than ridge and the nearest shape, and no nearer to training latents",
        )
    return {"verdict": name, "reason": why, "differences": told}


def _levels(asked: Study) -> list[Scores]:
    """The loss of trained shapes at ten levels, told by eight known views."""
    some = [asked.looks[item.name] for item in asked.train]
    shown = chosen(asked, "known", VIEWS[-1])
    batch = {name: jnp.asarray(np.stack([each[name][shown] for each in some])) for name in ("condition", "pose")}
    batch["latent"] = jnp.asarray(asked.parent.latents["latent"])
    told = jax.jit(asked.model.family.judge)(asked.model.params, batch, jax.random.key(asked.model.config.seed))
    levels = sorted(int(name.removeprefix("loss_")) for name in told if name.startswith("loss_"))
    return [{"level": at} | {kind: float(told[f"{kind}_{at}"].mean()) for kind in ("loss", "exact")} for at in levels]


def _code(asked: Study, row: Float[np.ndarray, "d"]) -> Latent:
    layout = asked.model.family.layout
    code = jnp.asarray(row, jnp.float32).reshape(1, layout.tokens, layout.channels)
    return Latent(code, {"mean": code})


def _scored(asked: Study, item: Item, row: Float[np.ndarray, "d"]) -> tuple[Mesh, Scores]:
    model = asked.model
    decoded = pipeline.decode(_code(asked, row), model.family, model.params)
    values, _, ask = pipeline.family_grid(decoded, model.family, model.params, model.config)
    mesh, _ = pipeline.polygonise(values, model.config, ask=ask)
    told = pipeline.score(mesh, item.mesh, model.config)
    told |= pipeline.score_field(decoded, model.family, model.params, item.mesh, model.config)
    return mesh, {key: told[key] for key in BETTER}


def _ceiling(asked: Study, item: Item) -> Scores:
    mesh, _ = pipeline.ceiling(item, {}, asked.model.family, asked.model.config)
    told = pipeline.score(mesh, item.mesh, asked.model.config)
    return {key: told.get(key) for key in BETTER}


def _observed(asked: Study, item: Item, place: int | None = None) -> Any:
    return pipeline.observe(item, asked.parent.family, asked.parent.config, place)


def _searched(asked: Study, items: Sequence[Item]) -> Float[np.ndarray, "n d"]:
    """What the run of latents says of shapes as if they were new: of an auto-decoder, a search."""
    own, found = asked.model.params["parents"]["latents"], []
    with progress.Line(len(items), "shapes encoded anew") as line:
        for start in range(0, len(items), AT_ONCE):
            some = [_observed(asked, item) for item in items[start : start + AT_ONCE]]
            batch = {name: jnp.concatenate([each[name] for each in some]) for name in some[0]}
            latent = pipeline.encode(batch, asked.parent.family, own, asked.parent.config)
            found.append(np.asarray(latent.code).reshape(len(some), -1))
            line.update(start + len(some))
    return np.concatenate(found)


def _oracle(asked: Study, item: Item) -> int:
    """The training shape whose latent gives a shape's signed distances with the least clamped error."""
    config = _copy(asked.parent.config)
    config.sdf.seen_points = PROBED
    pool = fields.make(item, ("points", "sdf"), config, config.seed + 1)
    errors = _errors(asked.model.family)(asked.model.params, jnp.asarray(asked.codes), pool["points"], pool["sdf"])
    return int(np.asarray(errors).argmin())


@functools.lru_cache(2)
def _errors(family: Any) -> Any:
    layout = family.layout

    @jax.jit
    def errors(params: Any, codes: Array, points: Array, distance: Array) -> Array:
        def one(code: Array) -> Array:
            code = code.reshape(1, layout.tokens, layout.channels)
            decoded = jax.tree.map(lambda leaf: leaf[0], family.decode(params, Latent(code, {"mean": code})))
            clamp = functools.partial(jnp.clip, min=-0.1, max=0.1)
            return jnp.abs(clamp(family.field(params, decoded, points)) - clamp(distance)).mean()

        return jax.lax.map(one, codes)

    return errors


def _pooled(asked: Study, item: Item, shown: Any) -> Float[np.ndarray, "c"]:
    return asked.looks[item.name]["condition"][shown].mean((0, 1))


def _features(asked: Study, item: Item, shown: slice) -> Float[np.ndarray, "k c"]:
    return asked.looks[item.name]["condition"][shown].mean(1)


def _retrieved(asked: Study, shown: slice) -> Int[np.ndarray, "h"]:
    """The training shape, for each that was not trained, whose known views are most like those that are shown."""
    known = slice(asked.known)
    bank = likeness.unit(np.stack([_features(asked, item, known) for item in asked.train]))
    return np.array([likeness.alike(_features(asked, item, shown), bank).argmax() for item in asked.held])


def _ridge(asked: Study, count: int) -> Float[np.ndarray, "h d"]:
    """Latents by ridge regression on the mean feature of so many views, its penalty by cross-validation over shapes."""
    random = np.random.default_rng(asked.model.config.seed)
    some = [random.permutation(asked.known)[:count] for _ in range(SUBSETS)]
    x = np.concatenate([[_pooled(asked, item, places) for item in asked.train] for places in some])
    y = np.concatenate([asked.codes] * SUBSETS)
    order = np.arange(len(x)).reshape(SUBSETS, -1).T.ravel()  # a shape's rows together
    weight = generation.chosen_ridge(x[order], y[order], block=SUBSETS)
    shown = chosen(asked, "unseen", count)
    return generation.ridge(x, y, np.stack([_pooled(asked, item, shown) for item in asked.held]), weight)


def _noise(asked: Study) -> list[Scores]:
    """The V-IoU of trained shapes whose latents are moved by noise, by its size in deviations of the training latents."""
    some = asked.train[:: max(len(asked.train) // NOISY, 1)][:NOISY]
    places, deviation = [asked.train.index(item) for item in some], asked.codes.std(0)
    noise, found = np.random.default_rng(asked.model.config.seed).standard_normal((NOISY, asked.codes.shape[1])), []
    with progress.Line(len(NOISES), "sizes of noise") as line:
        for number, size in enumerate(NOISES, 1):
            moved = [asked.codes[place] + size * deviation * noise[i] for i, place in enumerate(places)]
            scores = [_scored(asked, item, row)[1]["v_iou"] or 0.0 for item, row in zip(some, moved)]
            found.append({"noise": size, "shapes": len(some), "v_iou": float(np.median(scores))})
            line.update(number)
    return found


def _control(asked: Study) -> Scores:
    """How well trained shapes come back by latents that are searched anew, beside their own."""
    some = asked.train[:: max(len(asked.train) // 10, 1)][:10]
    own = [_scored(asked, item, asked.codes[asked.train.index(item)])[1]["v_iou"] or 0.0 for item in some]
    again = [_scored(asked, item, row)[1]["v_iou"] or 0.0 for item, row in zip(some, _searched(asked, some))]
    return {"shapes": len(some), "own": float(np.mean(own)), "searched": float(np.mean(again))}


def _likeness(asked: Study, meshes: Meshes) -> list[Scores]:
    """Of which kind the outputs are: of each the shape that it is most like among all shapes of the run but the one asked.

    `truth` is the shape itself, which tells how far the measures can be trusted.
    """
    everything, config = [*asked.train, *asked.held], asked.model.config
    known = slice(asked.known)
    bank = np.stack([_features(asked, item, known) for item in everything])
    gallery, shown = likeness.gallery(everything, bank, config.seed), chosen(asked, "unseen", UNSEEN[-1])
    azimuth, elevation = (angle[shown] for angle in views.angles(config.views.count))
    sources = {name: meshes[name] for name in ("searched", *(f"{kind}, {UNSEEN[-1]}" for kind in KINDS))}
    sources["truth"] = [[item.mesh] for item in asked.held]
    found = []
    with progress.Line(len(sources) * len(asked.held), "outputs' kinds told") as line:
        for number, (name, place) in enumerate(((name, i) for name in sources for i in range(len(asked.held))), 1):
            item = asked.held[place]
            for mesh in sources[name][place]:
                row = {"name": item.name, "category": item.category, "source": name}
                row |= {"chance": likeness.chance(everything, item.name, item.category)}
                row |= dict.fromkeys(("by_features", "by_surface", "likest", "nearest", "elongation", "euler"))
                if len(mesh.faces):
                    pictures = views.look(mesh, azimuth, elevation, config.views)
                    query = np.asarray(asked.look.ask(pictures)).mean(1)
                    places = likeness.nearest(mesh, query, gallery, item.name, config.seed)
                    row |= {key: everything[at].category for key, at in places.items()}
                    row |= dict(zip(("likest", "nearest"), (everything[at].name for at in places.values())))
                    row |= {"elongation": likeness.elongation(mesh, config.seed)}
                    row |= {"euler": geometry.topology(mesh)["euler"]}
                found.append(row)
            line.update(number)
    return found


def _draw(asked: Study, found: Scores, meshes: Meshes, folder: pathlib.Path) -> None:
    """Nothing; writes the pictures: the loss by level, the ranking maps, and the worst shapes beside what they should be."""
    folder.mkdir(exist_ok=True)
    pictured_page.draw_levels(found, folder / "pictured_levels.png")
    order = sorted(range(len(asked.train)), key=lambda i: (asked.train[i].category, asked.train[i].name))
    maps = {}
    for kind, count in (("known", VIEWS[-1]), ("unseen", VIEWS[0])):
        made = drawn(asked, asked.train, chosen(asked, kind, count), np.arange(len(asked.train)))
        one, other = (likeness.unit(rows - asked.codes.mean(0)) for rows in (made, asked.codes))
        maps[f"{count} {kind} view{'s' * (count > 1)}"] = (one @ other.T)[order][:, order]
    pictured_page.draw_ranking(maps, folder / "pictured_ranking.png")
    shown, best = chosen(asked, "unseen", UNSEEN[-1]), f"drawn, {UNSEEN[-1]}"
    iou = [row["v_iou"] or 0 for row in found["rows"][best]]
    lines = []
    for place in np.argsort(iou)[: pictured_page.WORST]:
        item = asked.held[place]
        others = (best, f"nearest, {UNSEEN[-1]}", "searched")
        columns = {"truth": item.mesh} | {name: meshes[name][place][0] for name in others}
        lines.append((f"{item.name}, V-IoU {iou[place]:.2f}", asked.looks[item.name]["views"][shown][:2], columns))
    pictured_page.draw_sheet(lines, folder / "pictured_worst.png")


def _median(found: Sequence[Scores]) -> Scores:
    values = {key: [each[key] for each in found if each[key] is not None] for key in BETTER}
    return {key: float(np.median(each)) if each else None for key, each in values.items()}


def _middle(found: Sequence[Scores], key: str) -> float | None:
    values = [row[key] for row in found if row[key] is not None]
    return float(np.median(values)) if values else None


def _copy(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    return config.copy_and_resolve_references().unlock()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
