"""Representations at equal size: a table and a plot of the runs of a sweep over families, made from their scores; never typed.

`python -m hexjax.evaluation.equal_size results/equal_size --into docs/representations.md` replaces what stands between
`<!-- equal:NAME -->` and `<!-- /equal:NAME -->` for NAME = table or picture, and draws results/equal_size/equal.png. A cell
is FAMILY_SEED; figures are means over the same held-out shapes, and over seeds with half their range. Of several folders, a
size of latent each, it draws quality over floats into the first, FOLDER/over_floats.png: `<!-- floats:picture -->`.
"""

import io
import json
import os
import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

from hexjax.evaluation import baselines, curve, over_floats, page, rows, size_curve, table
from hexjax.training import record
from hexjax.types import Scores

FILE = "equal.png"
TOLERANCE = 0.05  # of the floats that the sweep asks
SCORED = {
    "v_iou": "V-IoU", "s_iou": "S-IoU ±.02", "s_iou_0.05": "S-IoU ±.05", "f_score_0.01": "F@0.01", "f_score_0.02": "F@0.02",
    "cd_l1": "CD-L1", "normal_consistency": "NC", "sharp_normal_error": "sharp normals",
}  # fmt: skip
DRAWN = "v_iou"
OVER, OVER_FLOATS = "over_floats.png", ("v_iou", "f_score_0.01")
BESIDE = [baselines.LABELS[kind] for kind in ("nearest", "pca")]  # what learns nothing, drawn over floats


class Results(NamedTuple):
    """Runs of each family by seed, the floats that are asked of a latent, and what the sweep names beside."""

    families: dict[str, list[Scores]]
    floats: int
    missing: tuple[str, ...]  # cells without a finished run
    picture: str  # where the plot lies, as a page links it


def read(folder: pathlib.Path) -> Results:
    """The finished runs in the folder of a sweep over families.

    Raises:
        ValueError: as `size_curve.read`; for a folder of another sweep, and a run whose latent has other floats than asked.
    """
    found = size_curve.read(folder)
    try:
        floats = json.loads((folder / "config.json").read_text("utf-8"))["sweep"]["floats"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder.name} is no sweep over families; accepted: results/equal_size") from error
    families: dict[str, list[Scores]] = {}
    for name, scores in sorted(found.runs):
        mine = scores["parts"][rows.HELD_OUT]["mean"]["latent_floats"]
        if abs(mine / floats - 1) > TOLERANCE:
            raise ValueError(
                f"{folder.name}: {name} has {mine:,.0f} floats; accepted: within {TOLERANCE:.0%} of {floats:,.0f}"
            )
        families.setdefault(name.rpartition("_")[0], []).append(scores)
    order = {family: -(_mean(values(runs, DRAWN)) or 0) for family, runs in families.items()}
    return Results(dict(sorted(families.items(), key=lambda each: order[each[0]])), floats, found.missing, FILE)


def rows_of(results: Results) -> str:
    """One row a family, the best volume first, then what learns nothing; and which cells are missing."""
    head = ("family", "runs", "floats", "parameters", "steps", *SCORED.values(), "ceiling V-IoU",
            "of it", "ceiling F@0.02", "of it", "trained V-IoU", "watertight", "parts", "failed", "kB stored", "encode s",
            "mesh s")  # fmt: skip
    lines = [_row(name, runs) for name, runs in results.families.items()]
    for label, mean in _beside(results):
        scored = [_number(mean[name]) for name in SCORED]
        lines.append((f"*{label}*", *[None] * 4, *scored, *[None] * (len(head) - 5 - len(scored))))
    return table.markdown(head, lines) + lacking(results.missing)


def lacking(cells: Sequence[str]) -> str:
    """The line under a table that names the cells without a finished run."""
    return f"\nNot run to the end yet: {', '.join(cells)}.\n" if cells else ""


def _row(name: str, runs: list[Scores]) -> tuple[str | int | None, ...]:
    held = [row for scores in runs for row in scores["items"] if row.get("part") == rows.HELD_OUT]
    seconds = {key: statistics.median(row["seconds"][key] for row in held) for key in ("encode", "field", "polygonise")}
    ceilings = [_both(runs, key) for key in (DRAWN, "f_score_0.02")]
    trained = [each["parts"][rows.TRAINED]["mean"][DRAWN] for each in runs if rows.TRAINED in each["parts"]]
    bits = statistics.mean(row["latent_bits"] for row in held)
    return (
        name, len(runs), f"{statistics.mean(row['latent_floats'] for row in held):,.0f}", f"{runs[0]['parameters']:,}",
        f"{statistics.median(each['step'] for each in runs):,.0f}", *(spread(values(runs, key)) for key in SCORED),
        *(cell for pair in ceilings for cell in pair), spread(trained) if trained else None,
        f"{statistics.mean(row['watertight'] for row in held):.0%}",
        _count([row["components"] for row in held if not row["failed"]]),
        f"{sum(row['failed'] for row in held)} of {len(held)}", f"{bits / 8000:.1f}", f"{seconds['encode']:.2f}",
        f"{seconds['field'] + seconds['polygonise']:.2f}",
    )  # fmt: skip


def _beside(results: Results) -> list[tuple[str, Scores]]:
    """What learns nothing, as the first run tells it: labels and means over the held-out shapes, which all runs share."""
    found = next(iter(results.families.values()))[0].get("baselines", {})
    return [(label, found[key]["mean"]) for key, label in baselines.LABELS.items() if key in found]


def values(runs: list[Scores], key: str) -> list[float]:
    """Of each run the mean over its held-out shapes, where it has one."""
    found = [scores["parts"][rows.HELD_OUT]["mean"][key] for scores in runs]
    return [value for value in found if value is not None]


def _ceiling(runs: list[Scores], key: str) -> float | None:
    return _mean([scores["parts"][rows.HELD_OUT]["mean"]["ceiling"][key] for scores in runs])


def _both(runs: list[Scores], key: str) -> tuple[str | None, str | None]:
    """The ceiling of a score, and the share of it that is reached."""
    ceiling, mean = _ceiling(runs, key), _mean(values(runs, key))
    return _number(ceiling), f"{mean / ceiling:.0%}" if ceiling and mean is not None else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def _count(values: list[int]) -> str | None:
    return f"{statistics.mean(values):.1f}" if values else None


def spread(values: list[float]) -> str | None:
    """The mean, and of several half their range."""
    told = _number(_mean(values))
    return f"{told} ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else told


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def picture(results: Results) -> str:
    """The plot, under what it says."""
    return f"![{title(results)}]({results.picture})\n"


TABLES: page.Tables = {"table": rows_of, "picture": picture}


def title(results: Results) -> str:
    """What the runs say, counted from them."""
    (best, runs), *_ = results.families.items()
    told, count = f"{best} {_number(_mean(values(runs, DRAWN)))}", len(results.families)
    told += f", first of {count}" if count > 1 else ", and no other family yet"
    return f"Held-out {SCORED[DRAWN]} at {results.floats:,} floats and equal seconds: {told}"


def draw(results: Results) -> bytes:
    """The plot as a PNG: of each family its runs, their ceiling and the trained shapes, and lines of what learns nothing."""
    made = io.BytesIO()
    with curve.axes_of(title(results), "", made, 10) as axes:
        for place, runs in enumerate(results.families.values()):
            own = values(runs, DRAWN)
            trained = [each["parts"][rows.TRAINED]["mean"][DRAWN] for each in runs if rows.TRAINED in each["parts"]]
            labels = ("held-out shapes", "trained shapes", "ceiling") if place == 0 else (None,) * 3
            axes.plot([place] * len(own), own, "o", color=size_curve.OWN, ms=6, label=labels[0])
            axes.plot([place] * len(trained), trained, "o", color=size_curve.TRAINED, ms=4, label=labels[1])
            axes.plot([place], [_ceiling(runs, DRAWN)], "_", color="#222222", ms=18, label=labels[2])
        for color, (label, mean) in zip(curve.LINES, _beside(results)):
            axes.axhline(mean[DRAWN], color=color, lw=1, ls="--", label=label)
        axes.set_xticks(range(len(results.families)), list(results.families))
        axes.set_ylabel(SCORED[DRAWN])
    return made.getvalue()


def read_sizes(folders: Sequence[pathlib.Path]) -> list[Results]:
    """The finished runs of several sweeps, one of each size, the fewest floats first.

    Raises:
        ValueError: as `read`, and for two of one size, and a sweep that is scored on other shapes or otherwise than the first.
    """
    found = [read(folder) for folder in folders]
    first, *others = [next(iter(results.families.values()))[0] for results in found]
    for folder, scores in zip(folders[1:], others):
        if differing := size_curve.differing(first, scores):
            raise ValueError(
                f"{folder.name} is scored on other {differing} than {folders[0].name}; accepted: sweeps that share them"
            )
    sizes = [results.floats for results in found]
    if twice := [size for size in sizes if sizes.count(size) > 1]:
        raise ValueError(f"{len(twice)} folders have {twice[0]:,} floats; accepted: one of each size")
    return sorted(found, key=lambda results: results.floats)


def panels(found: Sequence[Results]) -> list[over_floats.Panel]:
    """What is drawn of several sizes: a panel a score."""
    families, made = dict.fromkeys(name for results in reversed(found) for name in results.families), []
    for key in OVER_FLOATS:
        courses = {}
        for name in families:
            runs = [results.families[name] for results in found if name in results.families]
            floats = [statistics.mean(values(each, "latent_floats")) for each in runs]
            scored, best = ([values(each, key) for each in runs], [_ceiling(each, key) for each in runs])
            courses[name] = over_floats.Course(floats, scored, best)
        learnt_nothing = [(results.floats, dict(_beside(results))) for results in found]
        beside = {
            label: [(floats, told[label][key]) for floats, told in learnt_nothing if label in told] for label in BESIDE
        }
        made.append(
            over_floats.Panel(f"held-out {SCORED[key]}", [results.floats for results in found], courses, beside)
        )
    return made


def title_over(found: Sequence[Results]) -> str:
    """What the runs of several sizes say, counted from them: the best family of each."""
    told = []
    for results in found:
        name, runs = next(iter(results.families.items()))
        told.append(f"{name} {_number(_mean(values(runs, DRAWN)))} at {results.floats:,} floats")
    return f"Held-out {SCORED[DRAWN]} over floats, the best of each size: {', '.join(told)}"


def make(folders: Sequence[pathlib.Path], pages: Sequence[pathlib.Path]) -> None:
    """Nothing; the table is printed, or in the pages, and then the plot is drawn; of several folders the plot alone.

    Raises:
        ValueError: for a folder that is no such sweep, or a page that cannot be filled.
    """
    if len(folders) == 1:
        found, kind, tables, file = read(folders[0]), "equal", TABLES, folders[0] / FILE
        linked, made = lambda link: found._replace(picture=link), draw(found)
    else:
        sizes, kind, file = read_sizes(folders), "floats", folders[0] / OVER
        told = title_over(sizes)
        tables = {"picture": lambda link: f"![{told}]({link})\n"}
        linked, made = str, over_floats.draw(panels(sizes), told)
    for one in pages:
        link = os.path.relpath(file.resolve(), one.resolve().parent)
        page.publish([one], kind, tables, linked(pathlib.PurePath(link).as_posix()))
    if not pages:
        page.publish([], kind, tables, linked(file.name))
    record.write_atomically(file, made)


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    folders = "folder of a sweep's runs, results/equal_size; or several, one of each size"
    return page.main(arguments, "equal_size", "Representations at equal size.", folders, make, several=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
