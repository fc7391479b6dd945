"""What the latents of a run are like: python -m hexjax.evaluation.codes RUN [RUN ...] [--into PAGE ...]

For any family that encodes and has a surface, of the shapes that it was trained on: lengths, cosines and components of
their latents (posterior means); what lies halfway between two, beside both ends and the mean of their distances; which
shapes come back worst, and how thick and how winding these are. Writes RUN/codes.json, and in RUN/images/ the course of
the L1 with that of the signs, and latents by category. Prints tables, a row a run, or fills them into pages, between
`<!-- codes:NAME -->` and `<!-- /codes:NAME -->`; `<!-- codes:NAME RUN RUN -->` shows these alone. A run that has its
codes.json is not studied anew without --again.
"""

import argparse
import functools
import itertools
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Bool, Float
from matplotlib import figure

from hexjax import names, pipeline, progress
from hexjax.diagnostics import generation
from hexjax.evaluation import curve, page, parents, rows, table, written
from hexjax.geometry import frame, sdf, thin
from hexjax.models.family import Family
from hexjax.training import checkpoint, fingerprint, record
from hexjax.types import Array, Item, Latent, Params, Scores

FILE = "codes.json"
LEAST = {"pairs": 1, "grid": 8, "worst": 1}
SAMPLES = 200  # points of a shape's surface whose thickness is asked
JUDGED = {"f_score_0.01": "F@0.01", "v_iou": "V-IoU"}  # scores by which a shape may be among the worst
TOPOLOGY = {"components": "parts", "euler": "Euler"}
FITTED = {
    "sdf_l1": True,
    "sdf_normal_l1": True,
    "sdf_near_sign": False,
    "sdf_normal_near_sign": False,
    "f_score_0.01": False,
    "v_iou": False,
}  # whether less is better
L1, SIGN = (
    "reconstruction",
    "sign",
)  # of metrics.jsonl, where a family's fit is the clamped L1: one that tells its signs
COURSES = {  # what the legend calls them, the names of L1 and sign in metrics.jsonl, and how they are drawn
    "training": (L1, SIGN, {"color": "#8fb3c9", "lw": 0.8}),
    "validation": (f"validation.{L1}", f"validation.{SIGN}", {"color": "#1b4965", "lw": 1.6}),
    "evaluation": ("evaluation.sdf_l1", "evaluation.sdf_sign", {"color": "#c8553d", "lw": 0.8, "marker": "o", "ms": 4}),
}
MARKERS = "osD^v"

Value = float | int | bool | None  # of a row
Course = list[tuple[float, float | None, float | None]]  # step or minutes, L1, share of right signs


class Study(NamedTuple):
    """A run, the shapes that it was trained on, and their latents in the same order."""

    family: Family
    params: Params
    config: ml_collections.ConfigDict  # of the run, its grid the one that is asked here
    items: list[Item]
    codes: Float[np.ndarray, "n t d"]


class Decoded(NamedTuple):
    """What a latent gives on the nodes: the field clamped to frame.CLAMP, the solid, and its mesh's topology."""

    clamped: Float[np.ndarray, "n n n"]
    solid: Bool[np.ndarray, "n n n"]
    parts: int
    euler: int


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=pathlib.Path, nargs="+", help="folders of trained runs, a row of each table each")
    parser.add_argument("--pairs", type=int, default=20, help="of latents, whose midpoints are decoded")
    parser.add_argument("--grid", type=int, default=64, help="nodes a side, of the midpoints")
    parser.add_argument("--worst", type=int, default=5, help="shapes that are told by each score")
    parser.add_argument("--again", action="store_true", help=f"make RUN/{FILE} anew where it is there")
    parser.add_argument("--into", type=pathlib.Path, nargs="+", default=[], help=f"pages to fill from RUN/{FILE}")
    given = parser.parse_args(arguments)
    try:
        for name, least in LEAST.items():
            if getattr(given, name) < least:
                raise ValueError(f"--{name} is {getattr(given, name)}; accepted: at least {least}")
        found = [rows.read(run / FILE) if not given.again else {} for run in given.runs]
        for place, run in enumerate(given.runs):
            if not found[place]:
                found[place] = rows.plain(study(run, given.pairs, given.grid, given.worst))
                text = json.dumps(found[place], indent=1, allow_nan=False)
                record.write_atomically(run / FILE, text + "\n")
        page.publish(given.into, "codes", TABLES, found, chosen)
    except (ValueError, OSError, checkpoint.CheckpointError) as error:
        print(f"codes: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def chosen(found: Sequence[Scores], words: Sequence[str]) -> list[Scores]:
    """The runs that a marker names, in its order.

    Raises:
        ValueError: for one that is not among them.
    """
    known = {run["run"]: run for run in found}
    if missing := [word for word in words if word not in known]:
        raise ValueError(f"a marker names the run {missing[0]!r}; runs: {', '.join(known)}")
    return [known[word] for word in words]


def study(folder: pathlib.Path, pairs: int, grid: int, worst: int) -> Scores:
    """What is written to codes.json; the pictures are written too.

    Raises:
        ValueError: for a run without a field or an encoder, of fewer than two shapes, or whose shapes are not to be had.
        CheckpointError: for one without a good checkpoint.
    """
    asked, step = load(folder, grid)
    config, seed = asked.config, asked.config.seed
    flat = asked.codes.reshape(len(asked.items), -1)
    found = {"mode": "codes", "run": folder.resolve().name, "family": config.model.family, "latent": config.latent.kind}
    found |= {"step": step, "shapes": len(flat), "floats": flat.shape[1], "grid": grid, "seed": seed}
    found |= {"codes": generation.spread(flat)} | midpoints(asked, pairs, seed)
    scores = scored(folder)
    found |= {"fit": fit(asked.items, scores), "failing": failing(asked.items, scores, worst, seed)}
    ledger, title = written.Ledger(folder), f"{found['run']}, step {step}"
    drawn = functools.partial(codes_by_category, flat, [item.category for item in asked.items], title)
    ledger.write("images/codes_by_category.png", drawn)
    if told := courses(folder):
        ledger.write("images/l1_by_time.png", functools.partial(l1_by_time, *told, title))
    else:
        progress.tell(f"{found['run']} logs no signs of its field over its training: no picture l1_by_time.png")
    return found


def load(folder: pathlib.Path, grid: int) -> tuple[Study, int]:
    """The study of a run in a folder, its latents encoded where they are not there yet, and the step of its parameters.

    Raises:
        ValueError, CheckpointError: as `study`.
    """
    parent, params, step = parents.read(folder)
    family, config = parent.family, parent.config
    if family.field is None or family.encode is None:
        lacks = "surface" if family.field is None else "encoder"
        raise ValueError(
            f"{folder.name} is a run of {config.model.family}, which has no {lacks}; accepted: one that has"
        )
    if (count := len(fingerprint.trained(folder))) < 2:
        raise ValueError(f"{folder.name} is known to be trained on {count} shapes; accepted: at least 2")
    codes = parents.latents(parent, params, folder, step)["latent"]
    items = parents.items_of(parent)
    standings = fingerprint.standings(items, folder, not config.data.path)
    places = {each.place: item for item, each in zip(items, standings) if each.place is not None}
    if len(places) < len(codes):
        told = f"{len(places)} of the {len(codes)} shapes that {folder.name} is trained on are where config.data says"
        raise ValueError(f"{told}; accepted: all, as they were")
    with config.unlocked():
        config.extract.grid = grid
    params = jax.tree.map(jnp.asarray, params)
    return Study(family, params, config, [places[place] for place in range(len(codes))], codes), step


def decoded(asked: Study, code: Float[Array, "t d"]) -> Decoded:
    """What a latent gives, every node asked; its mesh is polygonised as the pipeline does, of values cut to one spacing.

    (`family_grid` would not do: hexplanes cut their grid to one spacing themselves, which is less than frame.CLAMP.)
    """
    count, code = asked.config.extract.grid, jnp.asarray(code, jnp.float32)[None]
    one = pipeline.decode(Latent(code, {"mean": code}), asked.family, asked.params)
    ask = functools.partial(jax.jit(asked.family.field), asked.params, one)
    side, spacing = np.asarray(frame.grid_nodes(count)), 2 / (count - 1)
    nodes = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1)
    values = thin.asked(ask, nodes.reshape(-1, 3)).reshape(nodes.shape[:-1])
    _, told = pipeline.polygonise(np.clip(values, -spacing, spacing), asked.config, ask=ask)
    clamped = np.clip(values, -frame.CLAMP, frame.CLAMP)
    return Decoded(clamped, solid(clamped), told["components"], told["euler"])


def solid(values: Float[np.ndarray, "n n n"]) -> Bool[np.ndarray, "n n n"]:
    """The nodes that are inside; the outermost layer counts as outside, as where a mesh is made."""
    inside = np.zeros(values.shape, bool)
    inside[1:-1, 1:-1, 1:-1] = values[1:-1, 1:-1, 1:-1] < 0
    return inside


def overlap(one: Bool[np.ndarray, "n n n"], other: Bool[np.ndarray, "n n n"]) -> float | None:
    """Intersection over union; None where both are empty."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else None


def mean_of(asked: Study, one: Decoded, other: Decoded) -> Decoded:
    """The mean of two clamped fields on the nodes, and its mesh: what needs no latent to lie between two shapes."""
    values, spacing = (one.clamped + other.clamped) / 2, 2 / (len(one.clamped) - 1)
    _, told = pipeline.polygonise(np.clip(values, -spacing, spacing), asked.config)
    return Decoded(values, solid(values), told["components"], told["euler"])


def between(one: Decoded, middle: Decoded, other: Decoded, mean: Decoded) -> Scores:
    """What lies halfway between two ends, beside them and the mean of their fields; IoUs are None of two empty solids."""
    found, ends = {}, (one, other)
    for name, each in (("", middle), ("mean_", mean)):
        found[f"{name}to_ends"] = [overlap(each.solid, end.solid) for end in ends]
        found |= {f"{name}parts": each.parts, f"{name}euler": each.euler, f"{name}is_empty": not each.solid.any()}
    found |= {"to_mean": overlap(middle.solid, mean.solid), "ends": overlap(one.solid, other.solid)}
    return found | {"ends_parts": [end.parts for end in ends], "ends_euler": [end.euler for end in ends]}


def midpoints(asked: Study, count: int, seed: int) -> Scores:
    """The rows of random pairs, all different, and their means: of so many, or of all that there are."""
    every = list(itertools.combinations(range(len(asked.items)), 2))
    random = np.random.default_rng(seed)
    chosen = [every[place] for place in random.permutation(len(every))[:count]]
    found, cached = [], functools.cache(lambda place: decoded(asked, asked.codes[place]))
    with progress.Line(len(chosen), "midpoints decoded") as line:
        for done, (one, other) in enumerate(chosen, 1):
            ends, middle = (cached(one), cached(other)), decoded(asked, (asked.codes[one] + asked.codes[other]) / 2)
            row = between(ends[0], middle, ends[1], mean_of(asked, *ends))
            found.append({"pair": [asked.items[one].name, asked.items[other].name]} | row)
            line.update(done)
    return {"midpoints": summary(found), "pairs": found}


def summary(found: Sequence[Scores]) -> Scores:
    """Means over pairs, and over both ends, of those that have the number; `nearer_end` of the larger IoU of each pair.

    `is_empty` is the share without an inside; `to_mean_least` the least IoU with the mean of the ends' fields.
    """
    flat = lambda value: value if isinstance(value, list) else [value]
    told = {key: _mean([each for row in found for each in flat(row[key])]) for key in found[0] if key != "pair"}
    nearer = [max((value for value in row["to_ends"] if value is not None), default=None) for row in found]
    known = [row["to_mean"] for row in found if row["to_mean"] is not None]
    return {"pairs": len(found)} | told | {"nearer_end": _mean(nearer), "to_mean_least": min(known, default=None)}


def scored(folder: pathlib.Path) -> list[Scores]:
    """The rows of a run's own evaluation, finished or under way; none where there is none."""
    whole = rows.read(folder / "scores.json")
    found = whole.get("items") if whole.get("mode") == "evaluate" else None
    return found or rows.kept(folder / rows.FILE)[1:]


def fit(items: Sequence[Item], found: Sequence[Scores]) -> Scores | None:
    """How well a run's shapes come back: means of FITTED with the worst, and how many have their own topology.

    Told is the distance of the field under both laws of points near the surface, as L1 and as the share of right signs near
    it. Parts and Euler number are compared with the source's, of shapes of one part. None without scores of any.
    """
    names_of = {item.name for item in items}
    found = [row for row in found if row["name"] in names_of]
    if not found:
        return None
    told: Scores = {"scored": len(found)}
    for key, is_better_low in FITTED.items():
        known = [row[key] for row in found if row.get(key) is not None]
        told[key] = [_mean(known), (max if is_better_low else min)(known, default=None)]
    single = [row for row in found if row["reference_components"] == 1]
    right = [all(row[key] == row[f"reference_{key}"] for key in TOPOLOGY) for row in single]
    return told | {"single": len(single), "right": sum(right)}


def failing(items: Sequence[Item], found: Sequence[Scores], worst: int, seed: int) -> Scores | None:
    """The shapes that come back worst, each with why, and the medians of the others; None without scores of any.

    Those are the lowest by each of JUDGED, and the farthest from their ceiling in parts and Euler number; at most `worst`
    of each. Genus a part is the ceiling's, 1 - Euler number / (2 parts); thickness is the median over the surface.
    """
    known = {item.name: item for item in items}
    found = [row for row in found if row["name"] in known]
    if not found:
        return None
    reasons: dict[str, list[str]] = {}
    for key, label in JUDGED.items():
        for row in sorted((row for row in found if row.get(key) is not None), key=lambda row: row[key])[:worst]:
            reasons.setdefault(row["name"], []).append(label)
    wrong = sorted((row for row in found if _away(row)), key=_away, reverse=True)
    for row in wrong[:worst]:
        reasons.setdefault(row["name"], []).extend(label for key, label in TOPOLOGY.items() if _away(row, (key,)))
    told = []
    for row in found:
        item, best = known[row["name"]], row["ceiling"]
        through = sdf.thickness(item.mesh, SAMPLES, np.random.default_rng(seed))
        told.append({"name": item.name, "category": item.category, "why": reasons.get(item.name, [])})
        told[-1] |= {key: row.get(key) for key in (*JUDGED, *TOPOLOGY)}
        told[-1] |= {"ceiling": {key: best.get(key) for key in (*JUDGED, *TOPOLOGY)}}
        told[-1] |= {"genus_per_part": 1 - best["euler"] / (2 * best["components"]) if best["components"] else None}
        told[-1] |= {"thickness": float(np.median(through)) if len(through) else None}
    others = [row for row in told if not row["why"]]
    medians = {
        key: _median([row[key] for row in others]) for key in (*JUDGED, *TOPOLOGY, "genus_per_part", "thickness")
    }
    medians["ceiling"] = {key: _median([row["ceiling"][key] for row in others]) for key in (*JUDGED, *TOPOLOGY)}
    bad = sorted((row for row in told if row["why"]), key=lambda row: (-len(row["why"]), row["f_score_0.01"]))
    return {"scored": len(told), "wrong": len(wrong), "rows": bad, "others": {"shapes": len(others)} | medians}


def courses(folder: pathlib.Path) -> tuple[dict[str, Course], str] | None:
    """L1 and signs by COURSES over the minutes of training, else over steps, and which; None for less than two of them."""
    logged, timing = (record.read_rows(folder / name) for name in ("metrics.jsonl", record.TIMING))
    found = {
        label: [(float(row["step"]), row.get(l1), row[sign]) for row in logged if row.get(sign) is not None]
        for label, (l1, sign, _) in COURSES.items()
    }
    found = {label: course for label, course in found.items() if course}
    if sum(map(len, found.values())) < 2:
        return None
    if not timing:
        return found, "step"
    steps, seconds = (np.array([row[name] for row in timing], np.float64) for name in ("step", "seconds"))
    gained = np.diff(seconds, prepend=0.0)
    minutes = np.cumsum(np.where(gained < 0, seconds, gained)) / 60  # the clock of a run that went on began anew
    at = lambda step: float(np.interp(step, np.append(0, steps), np.append(0, minutes)))
    found = {label: [(at(step), *both) for step, *both in course] for label, course in found.items()}
    return found, "minutes of training, by the clock"


def l1_by_time(found: Mapping[str, Course], axis: str, title: str, path: curve.Target) -> None:
    """Writes the courses of L1 and of the signs side by side: a field near 0 everywhere has a low L1 and no signs."""
    with curve.styled():
        canvas = figure.Figure((8.4, 3.6), dpi=100, layout="constrained")
        canvas.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", fontsize=11)
        left, right = canvas.subplots(1, 2)
        for label, course in found.items():
            curve.line(left, [(at, l1) for at, l1, _ in course], label=label, **COURSES[label][2])
            curve.line(right, [(at, sign) for at, _, sign in course], label=label, **COURSES[label][2])
        left.set_yscale("log")
        for axes, name in ((left, "L1, clamped at 0.1"), (right, "share of points with the right sign")):
            axes.set_title(name, loc="left", fontsize=9)
            axes.set_xlabel(axis)
            axes.grid(True, which="major", color="#e6e6e6", lw=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(x=0.01)
        right.legend(loc="lower right", fontsize=8)
        curve.save_small(canvas, path)


def codes_by_category(codes: Float[Array, "n d"], categories: Sequence[str], title: str, path: curve.Target) -> None:
    """Writes the latents along their first two principal components, coloured by category."""
    places, variances = generation.principal(codes, 2)
    shares = variances[:2] / max(variances.sum(), 1e-300)
    styles = itertools.product(MARKERS, curve.LINES)
    with curve.styled():
        canvas = figure.Figure((7.2, 4.6), dpi=100, layout="constrained")
        axes = canvas.add_subplot()
        for name, (marker, color) in zip(sorted(set(categories)), itertools.cycle(styles)):
            of = np.array([category == name for category in categories])
            style = {"ls": "", "marker": marker, "ms": 5, "mec": "white", "mew": 0.4, "color": color}
            axes.plot(*places[of].T, label=name or "no category", **style)
        for axis, share, number in ((axes.xaxis, shares[0], "first"), (axes.yaxis, shares[1], "second")):
            axis.set_label_text(f"{number} principal component: {share:.0%} of the variance")
        axes.set_title(title.replace("$", r"\$"), loc="left", fontsize=11)
        axes.set_aspect("equal", "datalim")
        axes.grid(True, color="#e6e6e6", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        curve.save_small(canvas, path)


def codes_table(found: Sequence[Scores]) -> str:
    """Lengths, cosines and components of each run's latents."""
    head = ("run", "family", "latent", "step", "shapes", "floats", "length [least, largest]", "cosine, raw", "cosine, centred",
            "−1/(N−1)", "cosine of the most alike, centred", "components for 50 %", "for 90 %", "participation")  # fmt: skip
    lines = []
    for run in found:
        told = run["codes"]
        length = f"{told['norm']:.3g} [{told['norm_least']:.3g}, {told['norm_largest']:.3g}]"
        cosines = [_number(told[f"cosine{of}"]) for of in ("", "_centred", "_expected", "_largest")]
        lines.append((*_named(run), run["step"], run["shapes"], f"{run['floats']:,}", length, *cosines, told["half"],
                      told["ninety"], _number(told["participation"], 1)))  # fmt: skip
    told = (
        "Cosines are means over all pairs of trained shapes; centred: less the mean latent. −1/(N−1) is what any centred "
        "set has, lengths apart."
    )
    return f"{table.markdown(head, lines)}\n{told}"


def fit_table(found: Sequence[Scores]) -> str:
    """How well the shapes of each run come back: means, and the worst in brackets."""
    head = ("run", "shapes", "step", "L1, uniform", "L1, normal", "near sign, uniform", "near sign, normal", "F@0.01",
            "V-IoU", "own parts and Euler")  # fmt: skip
    lines = []
    for run in found:
        if told := run.get("fit"):
            digits = {"sdf_l1": 5, "sdf_normal_l1": 5}
            cells = [" [".join(_number(value, digits.get(key, 3)) for value in told[key]) + "]" for key in FITTED]
            lines.append((run["run"], told["scored"], run["step"], *cells, f"{told['right']} of {told['single']}"))
    told = (f"Trained shapes, means and the worst of them. L1: of signed distances clamped at {frame.CLAMP:g}, half of the "
            "points near the surface: uniform, within 0.05; normal, of deviations 0.0025 and 0.00025. Own parts and Euler: "
            "of shapes of one part.")  # fmt: skip
    return f"{table.markdown(head, lines)}\n{told}"


def midpoints_table(found: Sequence[Scores]) -> str:
    """What lies halfway between two latents, of each run."""
    head = ("run", "family", "latent", "pairs", "nodes", "IoU with the mean field [least]", "with an end (mean field)",
            "with the nearer end", "IoU of the ends", "parts (ends, mean field)", "Euler (ends, mean field)",
            "empty (mean field)")  # fmt: skip
    lines = []
    for run in found:
        told = run["midpoints"]
        beside = [", ".join(_number(told[f"{of}_{key}"], 1) for of in ("ends", "mean")) for key in ("parts", "euler")]
        lines.append((
            *_named(run), told["pairs"], f"{run['grid']}³", f"{_number(told['to_mean'])} [{_number(told['to_mean_least'])}]",
            f"{_number(told['to_ends'])} ({_number(told['mean_to_ends'])})", _number(told["nearer_end"]),
            _number(told["ends"]), f"{_number(told['parts'], 1)} ({beside[0]})", f"{_number(told['euler'], 1)} ({beside[1]})",
            f"{told['is_empty']:.0%} ({told['mean_is_empty']:.0%})",
        ))  # fmt: skip
    told = (f"Means over random pairs of trained shapes. The mean field is that of what both ends decode to, clamped at "
            f"{frame.CLAMP:g}: it needs no latent to lie between.")  # fmt: skip
    return f"{table.markdown(head, lines)}\n{told}"


def failing_table(found: Sequence[Scores]) -> str:
    """The shapes of each run that come back worst, and the medians of its others."""
    head = ("run", "shape", "worst by", "F@0.01 (ceiling)", "V-IoU (ceiling)", "parts (ceiling)", "Euler (ceiling)",
            "genus a part", "thickness")  # fmt: skip
    lines = []
    for run in found:
        told = run["failing"]
        for row in told["rows"] if told else ():
            lines.append((run["run"], row["name"], ", ".join(row["why"]), *_against(row)))
        if told and told["others"]["shapes"]:
            others = told["others"]
            lines.append((run["run"], f"median of the other {others['shapes']}", None, *_against(others)))
    counted = [
        f"{run['run']}: {run['failing']['wrong']} of {run['failing']['scored']}" for run in found if run["failing"]
    ]
    told = (f"Scored shapes that are trained on; with other parts or another Euler number than their ceiling: "
            f"{'; '.join(counted) or 'none scored'}. Thickness: median over the surface, in units of the frame.")  # fmt: skip
    return f"{table.markdown(head, lines)}\n{told}"


TABLES: page.Tables = {"codes": codes_table, "fit": fit_table, "midpoints": midpoints_table, "failing": failing_table}


def _named(run: Scores) -> tuple[str, str, str]:
    return run["run"], run["family"], run["latent"]


def _against(row: Scores) -> list[str]:
    """Cells of scores and topology, each with the ceiling's in brackets, of genus a part and thickness."""
    best = row["ceiling"]
    cells = [f"{_number(row[key])} ({_number(best[key])})" for key in JUDGED]
    cells += [f"{_count(row[key])} ({_count(best[key])})" for key in TOPOLOGY]
    return [*cells, _number(row["genus_per_part"], 1), _number(row["thickness"])]


def _away(row: Scores, keys: Sequence[str] = tuple(TOPOLOGY)) -> int:
    """How far a shape's topology is from its ceiling's."""
    return sum(abs(row[key] - row["ceiling"][key]) for key in keys)


def _number(value: Value, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _count(value: Value) -> str:
    return "–" if value is None else f"{value:g}"


def _mean(values: Sequence[Value]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _median(values: Sequence[Value]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
