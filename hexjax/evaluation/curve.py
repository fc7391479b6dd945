"""The curve of a run's losses, and the style of all pictures of a run."""

import contextlib
import io
import itertools
import pathlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib
from matplotlib import figure
from matplotlib.axes import Axes
from PIL import Image

from hexjax.types import Scores

Target = pathlib.Path | io.BytesIO  # what a picture is written to
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titlepad": 7, "axes.linewidth": 0.6,
    "text.color": "#222222", "axes.labelcolor": "#222222", "xtick.color": "#555555", "ytick.color": "#555555",
    "axes.edgecolor": "#999999", "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False,
}  # fmt: skip
NOT_LOSSES = ("step", "loss", "gradient_norm", "gradient_clipped", "parameter_norm", "learning_rate", "kl_weight",
              "kl_gradient_removed")  # fmt: skip
FORCE = "diagnostics.witness_force"
WITNESS = {  # margins in nats, and forces: what the legend calls them, and how they are drawn
    "diagnostics.witness_information": ("the most there is, I_T", {"color": "#222222", "lw": 0.8, "ls": ":"}),
    "diagnostics.witness_sample_lower": ("margin on samples, at least", {"color": "#1b4965", "lw": 1.8}),
    "diagnostics.witness_mean_margin": ("margin on means", {"color": "#5f8ea0", "lw": 1}),
    "diagnostics.witness_fixed_margin": ("margin of the simplex", {"color": "#588157", "lw": 1}),
    FORCE: ("force on the means", {"color": "#c8553d", "lw": 1.4, "ls": "--"}),
    "diagnostics.witness_force_constant": ("force on a constant mean", {"color": "#c8553d", "lw": 0.8, "ls": ":"}),
}
COLOURS = 64  # of a small picture's palette; shaded ones want 256
LINES = ("#c8553d", "#588157", "#8d6a9f", "#c49b3b", "#5f8ea0", "#9a8c98", "#6b705c")


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Within it figures have our style; letters that the font lacks are drawn as boxes, without a word."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


@contextlib.contextmanager
def axes_of(title: str, xlabel: str, path: Target, size: int = 12) -> Iterator[Axes]:
    """The axes of a plot, whose legend stands beside it; at the end it is written as a PNG."""
    with styled():
        canvas = figure.Figure((8.4, 4.6), dpi=110, layout="constrained")
        axes = canvas.add_subplot()
        yield axes
        axes.set_xlabel(xlabel)
        axes.set_title(title, loc="left", fontsize=size)
        plain(axes)
        if axes.lines:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        canvas.savefig(path, format="png")


def save_small(canvas: figure.Figure, path: Target, colours: int = COLOURS) -> None:
    """Nothing; writes a picture as a PNG with a palette, which takes a third of the room."""
    canvas.savefig(made := io.BytesIO(), format="png")
    picture = Image.open(made).convert("RGB")
    picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def plain(axes: Axes) -> None:
    """Nothing; the axes have a pale grid and no frame above and at the right."""
    axes.grid(True, which="major", color="#e6e6e6", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def line(axes: Axes, points: Iterable[tuple[float | int, float | int | None]], **style: Any) -> None:
    """Nothing; draws the points that have a value, where there are some."""
    if known := [point for point in points if point[1] is not None]:
        axes.plot(*zip(*known), **style)


def loss_curve(rows: list[Scores], title: str, path: Target) -> None:
    """Writes the loss over the steps on a logarithmic axis, its parts as thin lines; rows as in metrics.jsonl."""
    parts = dict.fromkeys(name for row in rows if "loss" in row for name in row if name not in NOT_LOSSES)
    styles = dict(zip(parts, ({"color": color, "lw": 0.8} for color in itertools.cycle(LINES))))
    styles |= {"validation.loss": {"color": "#222222", "lw": 1.2, "ls": ":"}, "loss": {"color": "#1b4965", "lw": 1.8}}
    with axes_of(title, "step", path) as axes:
        for name, style in styles.items():
            line(axes, [(row["step"], row[name]) for row in rows if (row.get(name) or 0) > 0], label=name, **style)
        axes.set_yscale("log")
        axes.margins(x=0.01)


def witness_curve(rows: list[Scores], title: str, path: Target) -> None:
    """Writes the witness's margins over the steps, in nats, and the forces beside them; rows as in metrics.jsonl."""
    with axes_of(title, "step", path) as axes:
        axes.axhline(0, color="#999999", lw=0.6)
        for name, (label, style) in WITNESS.items():
            line(
                axes, [(row["step"], row[name]) for row in rows if name in row], label=label, marker="o", ms=2, **style
            )
        axes.set_ylabel("nats, or length of the force")
        axes.set_ylim(bottom=max(-2, axes.get_ylim()[0]))
        axes.margins(x=0.01)
