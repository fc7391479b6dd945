"""Quality over the latent's size: a table and a plot of the runs of a sweep, made from their scores; never typed.

`python -m hexjax.evaluation.size_curve results/size_heads --into docs/representations.md` replaces what stands between
`<!-- curve:NAME -->` and `<!-- /curve:NAME -->` for NAME = table or picture, and draws results/size_heads/curve.png. All
figures are means over the same held-out shapes, beside their ceiling and what no learning gives them.
"""

import io
import json
import os
import pathlib
import sys
from typing import NamedTuple

from hexjax.evaluation import baselines, curve, page, rows, table
from hexjax.training import record
from hexjax.types import Scores

FILE = "curve.png"
SCORED = ("f_score_0.01", "f_score_0.02")
DRAWN = "f_score_0.02"
WRITTEN = {"f_score_0.01": "F@0.01", "f_score_0.02": "F@0.02"}
OWN, TRAINED = "#1b4965", "#8fb3c9"  # colours of the model's lines; others are of `curve.LINES`
PROTOCOL = ("data", "grid", "samples", "digest")  # settings of an evaluation that all runs of a curve share


class Results(NamedTuple):
    """Runs by the floats of their latent, the fewest first, and what the sweep names beside them."""

    runs: tuple[tuple[str, Scores], ...]
    missing: tuple[str, ...]  # cells without a finished run
    picture: str  # where the plot lies, as a page links it


def read(folder: pathlib.Path) -> Results:
    """The finished runs in the folder of a sweep.

    Raises:
        ValueError: for a folder without one, a run that cannot be read or has no held-out shapes, or runs that were scored on
            other shapes or in another way than the first.
    """
    known = _cells(folder)
    found = {file.parent.name: _read(file.parent) for file in sorted(folder.glob("*/scores.json"))}
    runs = {name: scores for name, scores in found.items() if scores is not None}
    if not runs:
        raise ValueError(
            f"{folder} holds no run that has ended; accepted: the folder of a sweep of sizes, results/size_heads"
        )
    first = next(iter(runs))
    for name, scores in runs.items():
        if told := differing(runs[first], scores):
            raise ValueError(
                f"{folder.name}: {name} and {first} are scored on other {told}; accepted: runs of one sweep, which "
                "share them"
            )
    missing = tuple(name for name in dict.fromkeys((*known, *found)) if name not in runs)
    return Results(tuple(sorted(runs.items(), key=lambda run: run[1]["latent_floats"])), missing, FILE)


def _cells(folder: pathlib.Path) -> list[str]:
    """The names of the cells of the sweep in a folder; none where there is no sweep."""
    try:
        lines = json.loads((folder / "config.json").read_text("utf-8"))["sweep"]["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [line.partition(":")[0].strip() for line in lines]


def _read(run: pathlib.Path) -> Scores | None:
    """The scores of a run; None where they are not of its last step."""
    try:
        scores = json.loads((run / "scores.json").read_text("utf-8"))
        steps = json.loads((run / "config.json").read_text("utf-8"))["train"]["steps"]
        if scores["mode"] != "evaluate" or scores["step"] != steps:
            return None
        part = scores.get("parts", {}).get(rows.HELD_OUT)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{run.name} cannot be read: {reason}") from error
    if part is None:
        raise ValueError(f"{run.name} has no held-out shapes; accepted: runs with config.data.split")
    return scores


def differing(one: Scores, other: Scores) -> str:
    """What two evaluations do not share; nothing where a curve may show both."""
    if _held_out(one) != _held_out(other):
        return "held-out shapes"
    return ", ".join(name for name in PROTOCOL if one["settings"][name] != other["settings"][name])


def _held_out(scores: Scores) -> list[str]:
    return [row["name"] for row in scores["items"] if row.get("part") == rows.HELD_OUT]


def rows_of(results: Results) -> str:
    """One row a run: its held-out shapes, and beside them their ceiling and what no learning gives."""
    both = " / ".join(WRITTEN.values())
    head = ("run", "floats", "steps", *(f"held-out {WRITTEN[name]} [95 %]" for name in SCORED), "failed",
            f"trained {WRITTEN[DRAWN]}", f"ceiling {both}", *(f"{label} {both}" for label in baselines.LABELS.values()),
            "components of PCA")  # fmt: skip
    lines = []
    for name, scores in results.runs:
        held, beside = scores["parts"][rows.HELD_OUT], scores.get("baselines", {})
        failed = sum(row["failed"] for row in scores["items"] if row.get("part") == rows.HELD_OUT)
        lines.append((
            name, f"{scores['latent_floats']:,.0f}", scores["step"], *(_interval(held, each) for each in SCORED),
            f"{failed} of {held['shapes']}", _trained(scores), _both(held["mean"]["ceiling"]),
            *(_both(beside.get(key, {}).get("mean")) for key in baselines.LABELS),
            beside.get("pca", {}).get("components"),
        ))  # fmt: skip
    text = table.markdown(head, lines)
    return text + (f"\nNot run to the end yet: {', '.join(results.missing)}.\n" if results.missing else "")


def picture(results: Results) -> str:
    """The plot, under what it says."""
    return f"![{title(results)}]({results.picture})\n"


TABLES: page.Tables = {"table": rows_of, "picture": picture}


def title(results: Results) -> str:
    """What the runs say, counted from them."""
    (_, least), (_, most) = results.runs[0], results.runs[-1]
    told = [f"{_value(scores):.3f} at {scores['latent_floats']:,.0f} floats" for scores in (least, most)]
    text = f"Held-out {WRITTEN[DRAWN]} {' and '.join(dict.fromkeys(told))}"
    judged = [scores["beats_nearest"] for _, scores in results.runs if scores.get("beats_nearest") is not None]
    return text + (f"; above the {baselines.LABELS['nearest']}, in {sum(judged)} of {len(judged)}" if judged else "")


def draw(results: Results) -> bytes:
    """The plot as a PNG: scores over the latent's floats, which stand on a logarithmic axis."""
    floats = [scores["latent_floats"] for _, scores in results.runs]
    held = [scores["parts"][rows.HELD_OUT] for _, scores in results.runs]
    own = [part["mean"][DRAWN] for part in held]
    spread = [[abs(part["interval"][DRAWN][side] - part["mean"][DRAWN]) for part in held] for side in (0, 1)]
    trained = [scores["parts"].get(rows.TRAINED, {}).get("mean", {}).get(DRAWN) for _, scores in results.runs]
    others = {"ceiling": [part["mean"]["ceiling"][DRAWN] for part in held]} | {
        label: [scores.get("baselines", {}).get(key, {}).get("mean", {}).get(DRAWN) for _, scores in results.runs]
        for key, label in baselines.LABELS.items()
    }
    made, over = io.BytesIO(), lambda values: zip(floats, values)
    with curve.axes_of(title(results).replace("; ", ";\n"), "floats of the latent", made, 10) as axes:
        axes.errorbar(
            floats, own, spread, label="held-out shapes, 95 %", color=OWN, lw=1.8, marker="o", ms=5, capsize=3
        )
        curve.line(axes, over(trained), label="trained shapes", color=TRAINED, lw=1.2, marker="o", ms=4)
        for (label, values), color in zip(others.items(), ("#222222", *curve.LINES)):
            dash = ":" if label == "ceiling" else "--"
            curve.line(axes, over(values), label=label, color=color, lw=1.2, ls=dash, marker=".")
        axes.set_xscale("log")
        axes.set_xticks(floats, [f"{count:,.0f}" for count in floats])
        axes.minorticks_off()
        axes.set_ylabel(WRITTEN[DRAWN])
    return made.getvalue()


def _value(scores: Scores) -> float:
    return scores["parts"][rows.HELD_OUT]["mean"][DRAWN]


def _interval(part: Scores, name: str) -> str:
    low, high = part["interval"][name]
    return f"{part['mean'][name]:.3f} [{low:.3f}, {high:.3f}]"


def _trained(scores: Scores) -> str | None:
    part = scores["parts"].get(rows.TRAINED)
    return None if part is None else f"{part['mean'][DRAWN]:.3f}"


def _both(mean: Scores | None) -> str | None:
    return None if mean is None else " / ".join(f"{mean[name]:.3f}" for name in SCORED)


def make(folder: pathlib.Path, pages: list[pathlib.Path]) -> None:
    """Nothing; the table is printed, or in the pages, and then the plot is drawn.

    Raises:
        ValueError: for a folder without a curve, or a page that cannot be filled.
    """
    found, file = read(folder), folder / FILE
    for one in pages:
        link = os.path.relpath(file.resolve(), one.resolve().parent)
        page.publish([one], "curve", TABLES, found._replace(picture=pathlib.PurePath(link).as_posix()))
    if not pages:
        return page.publish([], "curve", TABLES, found)
    record.write_atomically(file, draw(found))


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    what = "Quality over the latent's size."
    return page.main(arguments, "size_curve", what, "folder of a sweep's runs: results/size_heads", make)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
