"""Pictures of the collapse laboratory: each from one source's groups of runs, titled with what these runs say.

A picture is a function from groups to a figure, or to the word of what is missing. Lines are medians over seeds, bands
least..largest; titles are counted from the runs, never typed. Pictures of doses and rates are in `doses`.
"""

import itertools
import pathlib
import re
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes

from hexjax.evaluation import export
from hexjax.evaluation.laboratory import doses, drawing, escape, measures
from hexjax.evaluation.laboratory.results import Group, Groups, Results

DECISIVE = {"rate": "optimiser.learning_rate", "cap": "kl.cap", "clamp": "kl.log_variance_limit"}  # all in one cell
OFF = {"cap": "1", "clamp": "inf"}  # values that switch a control off

Picture = Callable[[Groups], figure.Figure | str]


def curves(groups: Groups) -> figure.Figure | str:
    """KL and gain over the steps of the published recipe, with the cap and without; one shape has nothing to gain."""
    controls = {"full": "the published recipe", "full-cap": "the same without the cap"}
    chosen = [group for name in controls for group in drawing.select(groups, "collapse_recipe", control=name)]
    if not chosen:
        return "the cells full and full-cap of collapse_recipe"
    told = []
    for name, words in (("full", "with the cap"), ("full-cap", "without")):
        several = drawing.select(chosen, "collapse_recipe", control=name, shapes="many")
        runs = [run for group in several for run in group.runs]
        told.append(f"{sum(_overpays(run) for run in runs)} of {len(runs)} {words}")
    title = f"Runs of many shapes whose KL ends above what it gains, or is not finite: {', '.join(told)}"
    canvas = drawing.new_canvas(8.4, 6.2, title, chosen, drawing.BAND_NOTE)
    panels = canvas.subplots(2, 2, sharex=True, sharey="row")
    for axes, (count, control) in zip(panels.flat, itertools.product(("many", "one"), controls)):
        mine = drawing.select(chosen, "collapse_recipe", control=control, shapes=count)
        _draw_curves(axes, mine)
        runs = [run for group in mine for run in group.runs]
        lost = f"{measures.not_finite(runs)} of {len(runs)} not finite" if runs else "not run"
        axes.set_title(f"{count} shape{'s' * (count == 'many')}, {controls[control]}: {lost}", loc="left", fontsize=9)
    for axes in panels[:, 0]:
        axes.set_ylabel("nats a shape")
    for axes in panels[-1]:
        axes.set_xlabel("step")
    grey = {"color": drawing.GREY, "lw": 2}
    keys = [drawing.key_line("KL", **grey), drawing.key_line("gain over the constant predictor", ls="--", **grey)]
    drawing.legend(canvas, drawing.inputs(chosen) + keys, 4)
    return canvas


def _draw_curves(axes: Axes, groups: Groups) -> None:
    for group, (name, dash) in itertools.product(groups, (("kl", "-"), ("gain", "--"))):
        if name == "gain" and group.factors.shapes == "one":
            continue
        steps, values = measures.history(group, name)
        drawing.draw_band(axes, steps, values, color=drawing.INPUT_COLOURS[group.factors.input], ls=dash)
    drawing.plain(axes).set_yscale("symlog", linthresh=10)


def _overpays(run: dict[str, Any]) -> bool:
    kl, gain = (run["final"][name] for name in ("kl", "gain"))
    return None in (kl, gain) or kl > gain or bool(measures.not_finite([run]))


def verdicts_cause(groups: Groups) -> figure.Figure | str:
    """The map of verdicts by input, likelihood, latent and number of shapes."""
    chosen = drawing.select(groups, "collapse_cause")
    row = lambda group: ", ".join(filter(None, (drawing.word(group.factors.likelihood), *group.factors[2:])))
    column = lambda group: drawing.word(group.factors.input)
    return drawing.verdict_map(chosen, row, column) if chosen else "collapse_cause"


def verdicts_latents(groups: Groups) -> figure.Figure | str:
    """The map of verdicts by latent, input and likelihood."""
    chosen = drawing.select(groups, "collapse_latents")
    row = lambda group: " ".join(filter(None, (group.factors.latent.replace("_", " "), group.factors.control)))
    column = lambda group: f"{drawing.word(group.factors.input)}\n{drawing.word(group.factors.likelihood)}"
    return drawing.verdict_map(chosen, row, column) if chosen else "collapse_latents"


def verdicts_recipe(groups: Groups) -> figure.Figure | str:
    """The map of verdicts by control, input and number of shapes; the decisive cells have a picture of their own."""
    chosen = [g for g in drawing.select(groups, "collapse_recipe") if not _is_decisive(g)]
    row = lambda group: re.sub("([-+])", r" \1 ", group.factors.control, count=1).replace("-", "−", 1).replace("_", " ")
    column = lambda group: f"{drawing.word(measures.three(group))}\n{group.factors.shapes}"
    return drawing.verdict_map(chosen, row, column) if chosen else "the cells full* and plain* of collapse_recipe"


def outline(groups: Groups) -> figure.Figure | str:
    """The share of the reconstruction's gradient within a pixel of the outline, over the steps."""
    name = "outline_gradient"
    chosen = [
        group for group in drawing.select(groups, "collapse_cause", latent="gaussian", shapes="many")
        if group.factors.input in drawing.INPUT_COLOURS and measures.history(group, name)[1].size
    ]  # fmt: skip
    if not chosen:
        return "outline_gradient in the histories of collapse_cause"
    told = []
    for kind in dict.fromkeys(group.factors.input for group in chosen):
        ends = measures.final([group for group in chosen if group.factors.input == kind], name)
        told.append(f"{drawing.word(kind)} {measures.number(measures.median(ends))}")
    title = f"Share of the gradient beside the outline in the end, medians: {', '.join(told)}"
    canvas = drawing.new_canvas(8.4, 6.0, title, chosen, f"{drawing.BAND_NOTE}; dotted: the share of pixels there")
    likelihoods = list(dict.fromkeys(group.factors.likelihood for group in chosen))
    panels = canvas.subplots(-(-len(likelihoods) // 2), 2, sharex=True, sharey=True, squeeze=False)
    for axes, likelihood in itertools.zip_longest(panels.flat, likelihoods):
        if likelihood is None:
            axes.set_axis_off()
            continue
        for group in (group for group in chosen if group.factors.likelihood == likelihood):
            colour = drawing.INPUT_COLOURS[group.factors.input]
            drawing.draw_band(axes, *measures.history(group, name), color=colour)
            axes.axhline(measures.median(measures.final(group, "outline_pixels")), color=colour, ls=":", lw=1)
        axes.set_title(drawing.word(likelihood), loc="left", fontsize=9)
        drawing.plain(axes).set_ylim(0, 1)
    canvas.supylabel("share of the gradient", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    drawing.legend(canvas, drawing.inputs(chosen), 4)
    return canvas


def decisive(groups: Groups) -> figure.Figure | str:
    """The KL in the end of the decisive cells: learning rate, cap and clamp, each with and without, by verdict."""
    chosen = [group for group in drawing.select(groups, "collapse_recipe") if _is_decisive(group)]
    if not chosen:
        return "the cells pair_* of collapse_recipe"
    order = sorted(chosen, key=lambda group: (*_decisive(group).values(), group.factors.input != "silhouettes"))
    note = "a dot: a run; bar: median gain, at 0 where it is negative; cross: not finite"
    canvas = drawing.new_canvas(8.4, 1.6 + 0.3 * len(order), _exploded(chosen), chosen, note)
    axes, labels = canvas.subplots(), []
    known = measures.final(order, "kl")
    edge = 4 * max(known[np.isfinite(known)], default=1.0)
    for y, group in enumerate(order):
        _draw_runs(axes, y, group, edge)
        words = [
            f"rate {_decisive(group)['rate']}",
            *(_switch(*each) for each in _decisive(group).items() if each[0] in OFF),
        ]
        labels.append(f"{', '.join(words)}: {drawing.word(group.factors.input)}")
        if y and _decisive(order[y - 1]) != _decisive(group):
            axes.axhline(y - 0.5, color="#bbbbbb", lw=0.8)
    axes.set_yticks(range(len(order)), labels, fontsize=drawing.SMALL)
    drawing.plain(axes).set_xscale("symlog", linthresh=1)
    axes.set(xlim=(-0.3, 2 * edge), ylim=(len(order) - 0.4, -0.6), xlabel="KL in the end (nats a shape)")
    found = measures.verdicts([run for group in chosen for run in group.runs])
    keys = [drawing.key_line(name, color=drawing.colour_of(name), marker="o", ls="") for name in found]
    keys += [
        drawing.key_line(name, color="black", marker=mark, ls="") for name, mark in (("gain", "|"), ("not finite", "x"))
    ]
    drawing.legend(canvas, keys, 6)
    return canvas


def _is_decisive(group: Group) -> bool:
    return {*DECISIVE.values()} <= group.cell["overrides"].keys()


def _decisive(group: Group) -> dict[str, str]:
    """The values of a decisive cell's factors, as its config has them."""
    return {name: group.cell["overrides"][key] for name, key in DECISIVE.items()}


def _switch(name: str, value: str) -> str:
    return f"no {name}" if value == OFF[name] else f"{name} {value}"


def _exploded(groups: Groups) -> str:
    """A title that counts the exploded runs at each value of each factor."""
    told = []
    for name in DECISIVE:
        for value in sorted({_decisive(group)[name] for group in groups}):
            runs = [run for group in groups if _decisive(group)[name] == value for run in group.runs]
            word = _switch(name, value) if name in OFF else f"{name} {value}"
            told.append(
                f"{word}: {sum(run['verdict'] == 'EXPLODED' for run in runs)}/{len(runs)}".replace(
                    " ", "\N{NO-BREAK SPACE}"
                )
            )
    return f"Exploded runs by learning rate, cap and clamp: {', '.join(told)}"


def _draw_runs(axes: Axes, y: int, group: Group, edge: float) -> None:
    """The runs of a cell on one line, moved apart so that all are seen."""
    for run, shift in zip(group.runs, np.linspace(-0.28, 0.28, len(group.runs))):
        kl, colour = run["final"]["kl"], drawing.colour_of(run["verdict"])
        if kl is None:
            axes.plot(edge, y + shift, "x", color="black", ms=4, mew=1)
        else:
            axes.plot(kl, y + shift, "o", color=colour, ms=4.5, mec="#333333", mew=0.3)
    gain = np.maximum(0, measures.median(measures.final(group, "gain")))
    axes.plot([gain, gain], [y - 0.4, y + 0.4], color="black", lw=1.4)


PICTURES: dict[str, Picture] = {
    "curves": curves,
    "verdicts_cause": verdicts_cause,
    "verdicts_latents": verdicts_latents,
    "verdicts_recipe": verdicts_recipe,
    "decisive": decisive,
    "outline": outline,
    "shapes": doses.shapes,
    "weights": doses.weights,
    "rates": doses.rates,
    "escape": escape.picture,
}


def draw(results: Results, folder: pathlib.Path) -> list[str]:
    """What could not be drawn, a line each; all else is written to folder/<picture>_<source>.png."""
    lacking = []
    for source, (name, make) in itertools.product(results.sources(), PICTURES.items()):
        groups = [group for group in results.groups if group.source == source]
        file = folder / f"{name}_{source}.png"
        with matplotlib.rc_context(export.STYLE):
            made = make(groups)
            if isinstance(made, str):
                lacking.append(f"{file.name} is not drawn: {made} on {source} is missing")
                file.unlink(missing_ok=True)  # of earlier results
                continue
            folder.mkdir(parents=True, exist_ok=True)
            made.savefig(file)
    return lacking
