"""The way out of a collapse: a table and a picture of runs that went on with one thing changed."""

from typing import Any

import numpy as np
from matplotlib import figure

from hexjax.evaluation.laboratory import drawing, measures, tables
from hexjax.evaluation.laboratory.results import NONE, Group, Groups, Results

SWEEP = "collapse_escape"
STARTS = {"near": "collapsed", "exact": "constant mean", "ignored": "mean map at a huge rate"}
LOST = (
    0.01  # of a start whose decoder ignores the latent: a swap gap below this share of the constant predictor's error
)
LINES = ("-", "--", ":")  # for as many colours each
COLOURS = ("#000000", "#0072b2", "#56b4e9", "#009e73", "#f0e442", "#e69f00", "#d55e00", "#cc79a7", "#7f7f7f", "#8c564b")


def table(results: Results) -> str:
    """One row a start, an arm and an input; below, how well the first steps' forecast tells who recovers."""
    columns: tables.Columns = {
        "start": lambda group: _how(group)[0],
        "changed": lambda group: _how(group)[1],
        "input": tables.CELL["input"],
        "verdicts": tables.verdicts,
        "certified in the end": lambda group: _count(group, _ends_certified),
        "steps until then": lambda group: measures.spread(np.array([_steps(run) for run in group.runs], np.float64)),
        "force at the start [constant mean's]": _force,
        "foretold gain of the margin, first step": tables.final("escape_predicted_once"),
        "what came / foretold, first step": lambda group: _ratio(group, "_once"),
        "what came / foretold, ten steps": lambda group: _ratio(group, ""),
        "G_z, lower bound": tables.final("witness_sample_lower"),
    }
    columns |= tables.KL | {"gain": tables.final("gain")} | tables.ACTIVE
    groups = [group for group in results.of(SWEEP) if _how(group)[0] in STARTS]
    text = tables.by_source(results, groups, lambda mine: tables.table(columns, mine))
    return tables.complete("\n".join(filter(None, (text, _told(results, groups)))), results, SWEEP)


def picture(groups: Groups) -> figure.Figure | str:
    """The witness's margin, certified, and the force on the means, over the steps since the start; one panel a start."""
    chosen = [
        group for group in groups if group.sweep == SWEEP and _how(group)[0] in STARTS
        and measures.history(group, "witness_sample_lower")[1].size
    ]  # fmt: skip
    if not chosen:
        return SWEEP
    kinds = list(dict.fromkeys((_how(group)[0], group.factors.input) for group in chosen))
    arms = list(dict.fromkeys(_how(group)[1] for group in chosen))
    best = [arm for arm in arms if (runs := _uncertified(chosen, arm)) and all(map(_ends_certified, runs))]
    title = f"Certified in the end, all runs that began without: {', '.join(best) or 'of no change'}"
    canvas = drawing.new_canvas(8.4, 6.0, title, chosen, "medians over runs; dotted: at a constant mean")
    panels = canvas.subplots(2, len(kinds), sharex="col", sharey="row", squeeze=False)
    for (upper, lower), (how, kind) in zip(panels.T, kinds):
        for group in (group for group in chosen if (_how(group)[0], group.factors.input) == (how, kind)):
            style = _style(arms.index(_how(group)[1]))
            for axes, name in ((upper, "witness_sample_lower"), (lower, "witness_force")):
                steps, values = measures.history(group, name)
                axes.plot(steps - steps[0], drawing.band(values)[0], lw=1.2, **style)
            steps, constant = measures.history(group, "witness_force_constant")
            lower.plot(steps - steps[0], np.median(constant, 0), color=drawing.GREY, ls=":", lw=1)
        upper.axhline(0, color="#bbbbbb", lw=0.8)
        upper.set_title(f"{STARTS[how]}\n{drawing.word(kind)}", loc="left", fontsize=drawing.SMALL)
        drawing.plain(upper).set_ylim(-1, None)
        drawing.plain(lower).set_xlabel("steps since the start")
    panels[0, 0].set_ylabel("margin of a witness at least (nats)")
    panels[1, 0].set_ylabel("force on the mean")
    drawing.legend(canvas, [drawing.key_line(arm, **_style(i)) for i, arm in enumerate(arms)], 5)
    return canvas


def _style(number: int) -> dict[str, str]:
    """The colour and the dash of an arm."""
    return {"color": COLOURS[number % len(COLOURS)], "ls": LINES[number // len(COLOURS) % len(LINES)]}


def _how(group: Group) -> tuple[str, str]:
    """The start and the arm of a cell."""
    start, _, arm = group.factors.control.partition(":")
    return start, arm.replace("_", " ")


def _uncertified(groups: Groups, arm: str) -> list[dict[str, Any]]:
    """The runs of an arm that began without a certificate."""
    runs = [run for group in groups if _how(group)[1] == arm for run in group.runs]
    return [run for run in runs if not _is_certified(run["history"][0])]


def _is_certified(moment: dict[str, Any]) -> bool:
    return (moment.get("witness_sample_lower") or 0) > 0


def _ends_certified(run: dict[str, Any]) -> bool:
    return _is_certified(run["final"])


def _steps(run: dict[str, Any]) -> float:
    """Steps from the start until the margin is certified for good; not a number for a run that ends without."""
    history, since = run["history"], float("nan")
    for moment in history:
        since = (moment["step"] if np.isnan(since) else since) if _is_certified(moment) else float("nan")
    return float(since - history[0]["step"])


def _count(group: Group, test: Any) -> str:
    return f"{sum(map(test, group.runs))}/{len(group.runs)}"


def _force(group: Group) -> str:
    first = [run["history"][0] for run in group.runs]
    force, constant = (np.array([moment.get(f"witness_{name}") for moment in first], np.float64)
                       for name in ("force", "force_constant"))  # fmt: skip
    return f"{measures.spread(force)} [{measures.number(measures.median(constant))}]"


def _ratio(group: Group, of: str) -> str:
    came, foretold = (measures.final(group, f"escape_{name}{of}") for name in ("measured", "predicted"))
    return measures.spread(came / foretold) if len(came) else NONE


def _told(results: Results, groups: Groups) -> str:
    """How well forecasts and forces tell, before the first step, which runs end certified that began without."""
    lines = []
    for source in results.sources():
        runs = [run for group in groups if group.source == source for run in group.runs]
        runs = [run for run in runs if "escape_predicted" in run["final"] and not _is_certified(run["history"][0])]
        if not runs:
            continue
        out, still = ([run for run in runs if _ends_certified(run) == wanted] for wanted in (True, False))
        named = {
            "the forecast of one step": lambda run: run["final"]["escape_predicted_once"],
            "the forecast of ten steps": lambda run: run["final"]["escape_predicted"],
            "the force": lambda run: run["history"][0]["witness_force"],
        }
        chance = {
            name: measures.separation(*(np.array([value(run) for run in side], np.float64) for side in (out, still)))
            for name, value in named.items()
        }
        told = "; ".join(f"{name} {measures.number(value)}" for name, value in chance.items())
        lines.append(
            f"- {source}: {len(out)} of {len(runs)} runs that began without a certificate end with one. The chance that one "
            f"of these had more at the start than one that stays: {told}.\n"
        )
    return "".join(lines)
