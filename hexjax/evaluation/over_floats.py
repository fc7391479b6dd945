"""The picture of quality over floats: one curve a family with its ceiling, beside what learns nothing."""

import io
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import figure
from matplotlib.axes import Axes

from hexjax.evaluation import curve

COLOURS = ("#1b4965", "#c8553d", "#588157", "#c49b3b", "#8d6a9f", "#3aa6a6", "#d17ba0", "#6b705c")
BESIDE = ("#222222", "#8a8a8a")  # of what learns nothing
DASH = 2.2  # of a ceiling's line, in its widths: dashes of families at one ceiling lie beside each other


class Course(NamedTuple):
    """One family from the fewest floats on: floats of its latents, and of each size the scores of its runs and the ceiling."""

    floats: list[float]
    values: list[list[float]]
    ceilings: list[float | None]


class Panel(NamedTuple):
    """One score: its name, the families' courses, and of what learns nothing the score at each size of latent."""

    score: str
    sizes: list[int]  # floats that are asked, for the axis
    families: dict[str, Course]
    beside: dict[str, list[tuple[float, float]]]


def draw(panels: Sequence[Panel], title: str) -> bytes:
    """The plot as a PNG, a panel a score, over floats on a logarithmic axis.

    Curves run through means over runs, whose least and most stand as bars.
    """
    with curve.styled():
        canvas = figure.Figure((4.6 * len(panels) + 2.2, 4.8), dpi=110, layout="constrained")
        canvas.suptitle(title, x=0.01, ha="left", fontsize=11)
        for axes, panel in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels):
            _fill(axes, panel)
        handles, labels = axes.get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside right center", fontsize=8)
        made = io.BytesIO()
        canvas.savefig(made, format="png")
    return made.getvalue()


def _fill(axes: Axes, panel: Panel) -> None:
    count = len(panel.families)
    for place, (name, course) in enumerate(panel.families.items()):
        color = COLOURS[place % len(COLOURS)]
        means = [sum(each) / len(each) for each in course.values]
        ends = [[mean - min(each) for mean, each in zip(means, course.values)],
                [max(each) - mean for mean, each in zip(means, course.values)]]  # fmt: skip
        axes.errorbar(course.floats, means, ends, color=color, lw=1.8, marker="o", ms=5, capsize=3, label=name)
        known = [(floats, best) for floats, best in zip(course.floats, course.ceilings) if best is not None]
        dashes = (DASH * place, (DASH, DASH * max(1, count - 1)))
        alone = {"marker": "_", "ms": 13} if len(known) == 1 else {}
        curve.line(axes, known, color=color, lw=1.6, ls=dashes, dash_capstyle="butt", **alone)
    axes.plot([], [], color="#777777", lw=1.6, ls=":", label="ceiling, in the family's colour")
    for color, (label, known) in zip(BESIDE, panel.beside.items()):
        curve.line(axes, known, color=color, lw=1, ls="--", label=label)
    axes.set_xscale("log")
    axes.set_xticks(panel.sizes, [f"{size:,}" for size in panel.sizes])
    axes.minorticks_off()
    axes.margins(x=0.12)
    axes.set_xlabel("floats of the latent")
    axes.set_title(panel.score, loc="left")
    curve.plain(axes)
