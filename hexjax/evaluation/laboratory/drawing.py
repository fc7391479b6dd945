"""What the pictures of the collapse laboratory are drawn with: colours, words, bands, legends, maps of verdicts.

Colours are those of Okabe and Ito 2008, which colour-blind readers tell apart. Legends stand below the panels.
"""

import itertools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import figure, lines, patches
from matplotlib.axes import Axes

from hexjax.evaluation.laboratory import measures
from hexjax.evaluation.laboratory.measures import Values
from hexjax.evaluation.laboratory.results import NONE, Group, Groups

VERDICT_COLOURS = {"HEALTHY": "#009e73", "WEAK": "#f0e442", "COLLAPSED": "#56b4e9", "EXPLODED": "#d55e00",
                   "NOT-CERTIFIABLE": "#cccccc"}  # fmt: skip
OTHER = "#ffffff"  # a verdict that is not known here
INPUT_COLOURS = {"silhouettes": "#0072b2", "silhouette_sdf": "#d55e00", "depth": "#009e73"}
WORDS = {
    "silhouettes": "silhouettes (binary)", "silhouette_sdf": "their signed distance", "depth": "depth",
    "binary": "six silhouettes", "binary_sdf": "their signed distance (six)", "sum_squares": "sum of squares",
    "continuous": "depth and normals", "voxels": "voxels", "mean_mse": "mean squared error",
    "sum_mse": "squared error, σ² = 1", "entropy": "cross-entropy", "calibrated": "calibrated Gaussian",
}  # fmt: skip
INPUT_MARKS = {"silhouettes": "o", "silhouette_sdf": "s", "depth": "^"}
SMALL, GREY = 8, "#666666"
BAND_NOTE = "line: median, band: least..largest"
POINT_NOTE = "point: median, band: least..largest"
MAP_NOTE = "parts and numbers: runs of each verdict; ok: the one shape is given back"
TITLE = 11.8  # letters an inch


def select(groups: Groups, sweep: str, **wanted: str) -> list[Group]:
    """The groups of a sweep whose input, likelihood, latent, shapes or control are the wanted ones."""
    return [group for group in groups if group.sweep == sweep and wanted.items() <= group.factors._asdict().items()]


def band(values: Float[np.ndarray, "r s"]) -> Float[np.ndarray, "3 s"]:
    """Median, least and largest of the finite values of each column; not a number where there are none."""
    columns = [column[np.isfinite(column)] for column in values.T]
    three = lambda column: (np.median(column), column.min(), column.max()) if len(column) else (np.nan,) * 3
    return np.array([three(column) for column in columns]).reshape(-1, 3).T


def new_canvas(width: float, height: float, title: str, groups: Groups, more: str = "") -> figure.Figure:
    """A figure with what it says on top, and under it where that comes from; sizes in inches."""
    canvas = figure.Figure((width, height), dpi=110, layout="constrained")
    title = textwrap.fill(title, round(TITLE * width))
    canvas.suptitle(f"{title}\n", x=0.1 / width, ha="left", fontsize=11)
    runs, below = sum(len(group.runs) for group in groups), 0.12 + 0.19 * (1 + title.count("\n"))
    note = f"{groups[0].source}, {runs:,} runs{'; ' + more if more else ''}"
    canvas.text(0.1 / width, 1 - below / height, note, ha="left", va="top", fontsize=SMALL, color=GREY)
    return canvas


def plain(axes: Axes) -> Axes:
    """The axes, with a pale grid behind and no frame above."""
    axes.grid(True, which="major", color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def draw_band(axes: Axes, x: Values, values: Float[np.ndarray, "r s"], **style: Any) -> None:
    """Nothing; the median of the runs as a line, least..largest as a band around it."""
    if values.size:
        middle, low, high = band(values)
        axes.plot(x, middle, lw=1.6, **style)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, lw=0)


def legend(canvas: figure.Figure, handles: list[Any], columns: int) -> None:
    """Below the panels, where it covers nothing."""
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=SMALL)


def key_line(label: str, **style: Any) -> lines.Line2D:
    """A legend's entry."""
    return lines.Line2D([], [], label=label, **style)


def colour_of(verdict: str) -> str:
    """The colour of a verdict; white for one that is not known here."""
    return VERDICT_COLOURS.get(verdict, OTHER)


def word(name: str) -> str:
    """The name of an input or likelihood as a reader knows it."""
    return WORDS.get(name, name)


def inputs(groups: Groups, marked: bool = False) -> list[lines.Line2D]:
    """The legend's entries of the inputs that are there."""
    found = dict.fromkeys(group.factors.input for group in groups)
    style = lambda name: {
        "color": INPUT_COLOURS[name],
        "marker": INPUT_MARKS[name] if marked else None,
        "ms": 5,
        "lw": 2,
    }
    return [key_line(WORDS[name], **style(name)) for name in INPUT_COLOURS if name in found]


def verdict_map(groups: Groups, row: Callable[[Group], str], column: Callable[[Group], str]) -> figure.Figure:
    """A grid whose cells are split by the shares of verdicts, with counts."""
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        found.setdefault((row(group), column(group)), []).append(group)
    rows, columns = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))
    twins = measures.pairs([group for group in groups if measures.is_certifiable(group)])
    alike = sum(measures.commonest(first.runs) == measures.commonest(second.runs) for first, second in twins)
    agree = f"the same commonest verdict in {alike} of {len(twins)} pairs"
    title = f"Silhouettes and their signed distance, several shapes: {agree}"
    canvas = new_canvas(8.4, 1.6 + 0.27 * len(rows), title, groups, MAP_NOTE)
    axes = canvas.subplots()
    for y, x in itertools.product(range(len(rows)), range(len(columns))):
        runs = [run for group in found.get((rows[y], columns[x]), []) for run in group.runs]
        _split(axes, x, y, runs)
    axes.set(xlim=(-0.02, len(columns)), ylim=(len(rows), -0.02))
    letters = 108 // len(columns)  # that fit over a column
    labels = ["\n".join(textwrap.fill(line, letters) for line in name.splitlines()) for name in columns]
    axes.set_xticks(np.arange(len(columns)) + 0.48, labels, fontsize=SMALL)
    axes.set_yticks(np.arange(len(rows)) + 0.45, rows, fontsize=SMALL)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    names = measures.verdicts([run for group in groups for run in group.runs])
    colours = {name: colour_of(name) for name in names}
    legend(canvas, [patches.Patch(fc=colour, ec="#999999", lw=0.5, label=name) for name, colour in colours.items()], 5)
    return canvas


def _split(axes: Axes, x: int, y: int, runs: Sequence[dict[str, Any]]) -> None:
    if not runs:
        axes.text(x + 0.48, y + 0.45, NONE, ha="center", va="center", fontsize=SMALL, color="#999999")
    start = 0
    for name, count in measures.verdicts(runs).items():
        width = 0.96 * count / len(runs)
        colour = colour_of(name)
        left = x + 0.96 * start / len(runs)
        axes.add_patch(patches.Rectangle((left, y), width, 0.9, fc=colour, ec="white", lw=0.8))
        decoded = sum("decoder ok" in run["tags"] for run in runs if run["verdict"] == name)
        text = f"{count}/{len(runs)}" if count == len(runs) else str(count)
        text += f", {decoded} ok" if name == "NOT-CERTIFIABLE" else ""
        axes.text(left + width / 2, y + 0.45, text, ha="center", va="center", fontsize=SMALL)
        start += count
