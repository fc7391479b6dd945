"""What a run makes of point clouds: python -m hexjax.evaluation.clouds RUN [RUN ...] [--into PAGE ...]

For a family that sees points of the surface, of its held-out shapes: the V-IoU of what is decoded of clouds of fewer and
more points, of noisy ones, of one-sided scans, and of turned and shifted ones (`moved`), beside that of the mesh; and what
order, copies and draws of the points change. It is of the field's sign at the points where the protocol asks it, so no mesh
is made. Clouds stay in the frame of their mesh. Writes RUN/clouds.json, once without --again, and RUN/images/clouds.png.
Prints tables, a row a run, or fills them into pages, between `<!-- clouds:NAME -->` and `<!-- /clouds:NAME -->`;
`<!-- clouds:NAME RUN RUN -->` shows these alone.
"""

import functools
import pathlib
import sys
import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from matplotlib import figure

from hexjax import pipeline, progress
from hexjax.evaluation import curve, moved, page, studied, table
from hexjax.geometry import camera, distance, raster, surface, thin
from hexjax.types import Array, Batch, Item, Mesh, Scores

COUNTS = (256, 512, 1024, 2048, 4096, 8192)  # points of a cloud
NOISES = (0.001, 0.002, 0.005, 0.01, 0.02)  # standard deviations along each axis, world units
VIEWS, SCAN_PX = 6, 256  # directions of scans, spread over the sphere; pixels a side of what each sees
DRAWS = 8  # of a cloud as large as what the run sees
SAME = 1e-5  # world units: what a field may differ by where only the order of the points does


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    what = "What runs make of point clouds."
    return studied.command(arguments, studied.Study("clouds", what, study, TABLES, draw, pictures))


def study(folder: pathlib.Path) -> Scores:
    """What is written to clouds.json.

    Raises:
        ValueError: for a run that does not see points, has no surface or no held-out shapes, or whose shapes do not load.
        CheckpointError: for one without a good checkpoint.
    """
    run, told = read(folder), []
    family, config = run.family, run.config
    with progress.Line(len(run.held_out), "shapes told by clouds") as line:
        for done, item in enumerate(run.held_out, 1):
            told.append(row_of(run, item))
            line.update(done)
    found = {"mode": "clouds", "run": folder.resolve().name, "family": config.model.family, "step": run.step}
    found |= {"points": config.surface.points, "tokens": family.layout.tokens, "shapes": len(told)}
    return found | {"samples": config.score.samples, "seed": config.seed} | summary(told) | {"items": told}


def read(folder: pathlib.Path) -> studied.Run:
    """The run in a folder, of a family that makes a shape of points of the surface.

    Raises:
        ValueError, CheckpointError: as `study`.
    """
    run = studied.read(folder)
    family, config = run.family, run.config
    if family.encode is None or family.field is None or not {"surface"} <= {*family.sees} <= {"surface", "salient"}:
        told = f"{folder.name} is a run of {config.model.family}, which sees {', '.join(family.sees) or 'nothing'}"
        raise ValueError(f"{told}; accepted: one that makes a shape of points of the surface")
    return run


def row_of(run: studied.Run, item: Item) -> Scores:
    """What is told of one shape: V-IoUs by what they are of (None where the family refuses the cloud), and the laws."""
    random, seen = np.random.default_rng([run.config.seed, zlib.crc32(item.name.encode())]), run.config.surface.points
    places, inside = distance.volume(item.mesh, run.config.score.samples, run.config.seed)
    sample = lambda count: surface.sample(item.mesh, count, random)[0].astype(np.float32)
    every, refused = sample(max(*COUNTS, seen)), {}
    own, noise = every[:seen], random.standard_normal((seen, 3))
    values_of = lambda cloud: field_of(run, batch_of(run, cloud), places)

    def iou(cloud: Float[np.ndarray, "k 3"]) -> float | None:
        try:
            return overlap(values_of(cloud) < 0, inside)
        except ValueError as error:
            refused[str(len(cloud))] = str(error)
            return None

    found: Scores = {"name": item.name, "refused": refused}
    found["mesh"] = overlap(field_of(run, pipeline.observe(item, run.family, run.config), places) < 0, inside)
    found["counts"] = {str(count): iou(every[:count]) for count in COUNTS}
    found["noise"] = {f"{size:g}": iou(np.float32(own + size * noise)) for size in NOISES}
    found["scans"] = [iou(scan) for scan in scans(item.mesh, seen, random)]
    plain, half = values_of(own), own[: seen // 2]

    def moved_iou(cloud: Float[np.ndarray, "k 3"], asked: Float[np.ndarray, "p 3"]) -> float | None:
        values = field_of(run, batch_of(run, cloud), asked)
        return overlap((values < 0) & (np.abs(asked) <= 1).all(1), inside)  # a mesh of it ends with the cube

    found["moved"] = moved.row(own, places, moved_iou)
    found["draws"] = [overlap(plain < 0, inside), *(iou(sample(seen)) for _ in range(DRAWS - 1))]
    changed = {"permuted": random.permutation(own), "doubled": [*own, *own], "half_doubled": [*own, *half]}
    values = {name: values_of(np.float32(cloud)) for name, cloud in changed.items()}
    found["difference"] = {name: float(np.abs(each - plain).max()) for name, each in values.items()}
    return found | {"half_doubled": overlap(values["half_doubled"] < 0, inside)}


def batch_of(run: studied.Run, cloud: Float[np.ndarray, "k 3"]) -> Batch:
    """The batch of a cloud in the frame, as `fields.make` gives it of a shape of points, but with its copies, in its order."""
    return {name: jnp.asarray(cloud if name == "surface" else cloud[:0])[None] for name in run.family.sees}


def field_of(run: studied.Run, batch: Batch, places: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
    """The signed distances at places that are decoded of a batch of one shape.

    Raises:
        ValueError: where the family refuses it.
    """
    decoded = pipeline.decode(pipeline.encode(batch, run.family, run.params, run.config), run.family, run.params)
    return thin.asked(functools.partial(jax.jit(run.family.field), run.params, decoded), places)


def overlap(one: Bool[Array, "p"], other: Bool[Array, "p"]) -> float | None:
    """Intersection over union of what lies inside; None where nothing does."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else None


def scans(mesh: Mesh, count: int, random: np.random.Generator) -> list[Float[np.ndarray, "k 3"]]:
    """What each of VIEWS parallel cameras around a mesh hits first: `count` of its pixels' points, or all there are."""
    sight, found = camera.around(*camera.fibonacci(VIEWS), 1.0), []
    for axes in np.stack([sight.right, sight.up, -sight.forward], 1).astype(np.float64):
        turned = np.asarray(mesh.vertices, np.float64) @ axes.T
        low = np.append(turned[:, :2].min(0), 0)
        scale = np.append(np.full(2, (SCAN_PX - 1) / np.ptp(turned[:, :2], axis=0).max()), 1)
        seen, _ = raster.ends((turned - low) * scale, mesh.faces, SCAN_PX)
        row, column = np.nonzero(seen.face >= 0)
        hits = np.stack([column, row, seen.height[row, column]], 1) / scale + low
        found.append(np.float32(random.permutation(hits)[:count] @ axes))
    return found


def summary(told: Sequence[Scores]) -> Scores:
    """Means over shapes, of scans also of each shape's worst and of draws of their spread; and the largest differences."""
    found: Scores = {"mesh": _mean([row["mesh"] for row in told])}
    for name in ("counts", "noise"):
        found[name] = {key: _mean([row[name][key] for row in told]) for key in told[0][name]}
    both = [[[each for each in row[name] if each is not None] for row in told] for name in ("scans", "draws")]
    (scanned, drawn), over = both, lambda reduce, lists: _mean([float(reduce(each)) for each in lists if each])
    found["scans"] = {"mean": over(np.mean, scanned), "least": over(np.min, scanned)}
    found["draws"] = {"mean": over(np.mean, drawn), "deviation": over(np.std, drawn), "range": over(np.ptp, drawn)}
    found["difference"] = {name: max(row["difference"][name] for row in told) for name in told[0]["difference"]}
    found["half_doubled"] = _mean([row["half_doubled"] for row in told])
    found["moved"] = moved.summary([row["moved"] for row in told])
    return found | {"refused": dict(pair for row in told for pair in row["refused"].items())}


def clouds_table(found: Sequence[Scores]) -> str:
    """One row a run: the V-IoU by points, noise and scans, beside that of the mesh; and why clouds are refused."""
    counts, noises = ([*found[0][name]] for name in ("counts", "noise"))
    head = ("run", "family", "tokens", "shapes", "points seen", "mesh", *(f"{int(count):,}" for count in counts),
            *(f"noise {size}" for size in noises), "one side", "the worst side")  # fmt: skip
    lines = [(
        run["run"], run["family"], run["tokens"], run["shapes"], run["points"], _number(run["mesh"]),
        *("refused" if count in run["refused"] else _number(run["counts"][count]) for count in counts),
        *(_number(run["noise"][size]) for size in noises), *map(_number, run["scans"].values()),
    ) for run in found]  # fmt: skip
    told = (f"V-IoU by the sign of the field at {found[0]['samples']:,} points uniform in the cube, means over held-out "
            f"shapes; noise (standard deviation along each axis, units of the frame) and scans (of {VIEWS} directions, from "
            "one at a time) with as many points as the run sees.")  # fmt: skip
    refused = [f"{run['run']} refuses {count} points: {why}." for run in found for count, why in run["refused"].items()]
    return f"{table.markdown(head, lines)}\n{' '.join([told, *refused])}\n"


def laws_table(found: Sequence[Scores]) -> str:
    """One row a run: what another order, copies and other draws of the points change."""
    head = ("run", "shapes", f"another order (at most {SAME:g})", "every point twice", "half of them twice",
            "V-IoU, half twice", f"V-IoU of {DRAWS} draws", "deviation", "range")  # fmt: skip
    told = lambda name, value: f"{value:.1e}" + f" ({'yes' if value <= SAME else 'no'})" * (name == "permuted")
    lines = [(
        run["run"], run["shapes"], *(told(*pair) for pair in run["difference"].items()), _number(run["half_doubled"]),
        *map(_number, run["draws"].values()),
    ) for run in found]  # fmt: skip
    return table.markdown(head, lines) + (
        "\nThe largest difference of the field, units of the frame, over shapes; copies as the network sees them (of a file "
        "they are dropped and told first). Deviation and range of a shape's draws, means over shapes.\n"
    )  # fmt: skip


TABLES: page.Tables = {"table": clouds_table, "laws": laws_table, "moved": moved.moved_table}


def pictures(found: Sequence[Scores]) -> str:
    """The plots, each under what it says."""
    return "\n".join(f"![{_title(run)}]({run['picture']})\n" for run in found)


def _title(run: Scores) -> str:
    return f"{run['run']}, step {run['step']}: V-IoU of what is decoded of clouds, {run['shapes']} held-out shapes"


def draw(run: Scores, path: curve.Target) -> None:
    """Writes the V-IoU over the points of a cloud, and over the noise on them, beside that of the mesh and of scans."""
    with curve.styled():
        canvas = figure.Figure((9.6, 3.8), dpi=110, layout="constrained")
        canvas.suptitle(_title(run).replace("$", r"\$"), x=0.01, ha="left", fontsize=10)
        panels = canvas.subplots(1, 2, sharey=True)
        labels = {"counts": "points of the surface", "noise": f"noise on {run['points']:,} points, units of the frame"}
        beside = (run["mesh"], "#222222", "the mesh"), (run["scans"]["mean"], "#c8553d", "scans of one side")
        for axes, (name, label) in zip(panels, labels.items()):
            known = [(float(key), value) for key, value in run[name].items()]
            curve.line(axes, known, color="#1b4965", lw=1.8, marker="o", ms=5, label="clouds, whole")
            for value, color, told in beside:
                curve.line(axes, [(at, value) for at, _ in known], color=color, lw=1, ls="--", label=told)
            axes.set_xscale("log")
            axes.set_xticks([at for at, _ in known], [f"{at:,g}" for at, _ in known])
            axes.minorticks_off()
            axes.set_xlabel(label)
            curve.plain(axes)
        panels[0].set_ylabel("V-IoU")
        panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        canvas.savefig(path, format="png")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
