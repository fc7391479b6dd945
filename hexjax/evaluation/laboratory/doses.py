"""Pictures of doses: information against the number of shapes, activity against the KL weight, quality against bits.

As in `plots`: from groups to a figure, or to the word of what is missing.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import figure, lines, ticker
from matplotlib.axes import Axes

from hexjax.evaluation.laboratory import drawing, measures
from hexjax.evaluation.laboratory.measures import Values
from hexjax.evaluation.laboratory.results import Group, Groups

LATENT_MARKS = {"deterministic": ("#000000", "s"), "gaussian": ("#0072b2", "o"), "vamp_prior": ("#56b4e9", "^"),
                "flow_prior": ("#cc79a7", "v"), "bernoulli": ("#d55e00", "D"), "categorical": ("#e69f00", "P"),
                "fsq": ("#009e73", "X")}  # fmt: skip
FILLED = "entropy"  # the likelihood of filled marks; those of others are hollow


def shapes(groups: Groups) -> figure.Figure | str:
    """Information and KL against the number of training shapes, beside log N."""
    chosen = drawing.select(groups, "collapse_dose", control="shapes")
    if not chosen:
        return "the cells shapes of collapse_dose"
    known = all(len(measures.final(group, "information_train")) for group in chosen)
    names, told = (
        (("information_train", "train_kl"), "training shapes") if known else (("information", "kl"), "held-out shapes")
    )
    title = "Information and KL against the number of shapes"
    if known:
        gaps = [abs(measures.median(measures.final(group, names[0])) - np.log(_count(group))) for group in chosen]
        most = f"{max(_count(group) for group in chosen):,.0f}"
        title = (
            f"The medians of I_q are log N to within {measures.number(max(gaps))} nats, up to {most} training shapes"
        )
    canvas = drawing.new_canvas(8.4, 3.9, title, chosen, f"{told}; {drawing.POINT_NOTE}")
    counts = np.array(sorted({_count(group) for group in chosen}), np.float64)
    for axes, name, label in zip(canvas.subplots(1, 2), names, ("I_q (nats)", "KL (nats)")):
        for kind in drawing.INPUT_COLOURS:
            mine = sorted((group for group in chosen if group.factors.input == kind), key=_count)
            _draw_groups(axes, [_count(group) for group in mine], mine, name, kind)
        axes.plot(counts, np.log(counts), color="black", ls=":", lw=1.2)
        drawing.plain(axes).set_xscale("log", base=2)
        axes.set_xticks(counts, [f"{count:.0f}" for count in counts])
        axes.set(xlabel="training shapes N", ylabel=label)
    drawing.legend(canvas, [*drawing.inputs(chosen, True), drawing.key_line("log N", color="black", ls=":")], 4)
    return canvas


def _count(group: Group) -> float:
    return float(group.cell["data"]["train"])


def _draw_groups(axes: Axes, x: Sequence[float], groups: Groups, name: str, kind: str, scale: float = 1.0) -> None:
    """A point a group, with the range of its runs; groups whose runs are all not finite leave a gap."""
    if not groups:
        return
    bands = [drawing.band(measures.final(group, name)[:, None] * scale) for group in groups]
    middle, low, high = np.concatenate(bands, 1)
    colour = drawing.INPUT_COLOURS[kind]
    axes.plot(x, middle, color=colour, lw=1.4, marker=drawing.INPUT_MARKS[kind], ms=5, mfc="none", mew=1.3)
    axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)


def weights(groups: Groups) -> figure.Figure | str:
    """Active units and KL against the KL weight, in units of the threshold that the data's spectrum predicts."""
    chosen = drawing.select(groups, "collapse_dose", control="weight")
    chosen = [group for group in chosen if np.isfinite(measures.threshold(group))]
    if not chosen:
        return "the cells weight of collapse_dose"
    above = measures.final([group for group in chosen if measures.threshold(group) > 1], "active_units")
    below = measures.final([group for group in chosen if measures.threshold(group) <= 1], "active_units")
    told = [f"{(values == 0).sum()} of {len(values)} runs" for values in (above, below)]
    title = f"No unit is active in {told[0]} above the predicted threshold, and in {told[1]} below it"
    canvas = drawing.new_canvas(8.4, 3.9, title, chosen, f"squared error; {drawing.POINT_NOTE}")
    panels = canvas.subplots(1, 2)
    for kind in drawing.INPUT_COLOURS:
        mine = sorted((group for group in chosen if group.factors.input == kind), key=measures.threshold)
        x, floats = (
            [measures.threshold(group) for group in mine],
            [group.cell["settings"]["latent_floats"] for group in mine],
        )
        _draw_groups(panels[0], x, mine, "active_units", kind, 1 / floats[0] if floats else 1.0)
        _draw_groups(panels[1], x, mine, "kl", kind)
    for axes, label in zip(panels, ("share of units that are active", "KL (nats)")):
        axes.axvline(1, color="black", ls=":", lw=1.2)
        drawing.plain(axes).set_xscale("log")
        axes.set(xlabel="β σ² / λ_max", ylabel=label)
    panels[1].set_yscale("symlog", linthresh=0.1)
    panels[1].set_ylim(bottom=-0.02)
    drawing.legend(canvas, [*drawing.inputs(chosen, True), drawing.key_line("threshold", color="black", ls=":")], 4)
    return canvas


def rates(groups: Groups) -> figure.Figure | str:
    """What every kind of latent gives back for its bits: overlap and squared error of held-out shapes."""
    found = drawing.select(groups, "collapse_latents")
    chosen = [
        group
        for group in found
        if group.factors.latent in LATENT_MARKS and drawing.band(bits(group)[:, None])[0, 0] > 0
    ]
    if not chosen:
        return "collapse_latents"
    kinds = list(dict.fromkeys(group.factors.input for group in chosen))
    told = []
    for kind in kinds:
        scores = np.array(
            [measures.median(measures.final(group, "iou")) for group in chosen if group.factors.input == kind]
        )
        low, high = drawing.band(scores[:, None])[1:, 0]
        told.append(f"{measures.number(low)} to {measures.number(high)} on {drawing.word(kind)}")
    title = (
        f"Held-out IoU of {len({group.factors.latent for group in chosen})} kinds of latent, medians: {', '.join(told)}"
    )
    lost = f"; {len(found) - len(chosen)} cells without a positive rate left out" if len(found) > len(chosen) else ""
    canvas = drawing.new_canvas(8.4, 6.4, title, chosen, f"point: median, bars: least..largest{lost}")
    panels = canvas.subplots(2, len(kinds), sharex=True, sharey="row", squeeze=False)
    for group in chosen:
        for axes, name in zip(panels[:, kinds.index(group.factors.input)], ("iou", "squared_error")):
            _draw_point(axes, group, name)
    for latent, (colour, _) in LATENT_MARKS.items():
        row = [group for group in chosen if group.factors.latent == latent and group.factors.likelihood == FILLED]
        for column, kind in zip(panels.T, kinds):
            mine = [group for group in row if group.factors.input == kind and group.factors.control != "gumbel"]
            mine.sort(key=lambda group: measures.median(bits(group)))
            for axes, name in zip(column, ("iou", "squared_error")):
                middle = [measures.median(measures.final(group, name)) for group in mine]
                axes.plot([measures.median(bits(group)) for group in mine], middle, color=colour, lw=0.8, alpha=0.6)
    for axes in panels.flat:
        drawing.plain(axes).set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    for (upper, lower), kind in zip(panels.T, kinds):
        upper.set_title(drawing.word(kind), loc="left", fontsize=9)
        lower.set_xlabel("bits a shape: rate, or stored where there is none")
    panels[0, 0].set_ylabel("IoU at 0.5 (higher is better)")
    panels[1, 0].set_ylabel("squared error a value (lower is better)")
    drawing.legend(canvas, _keys(chosen), 5)
    return canvas


def bits(group: Group) -> Values:
    """Bits a shape of each run: the rate where there is one, else what is stored."""
    if group.factors.latent == "deterministic":
        return np.full(len(group.runs), float(group.cell["settings"]["latent_bits"]))
    return measures.final(group, "kl") / np.log(2)


def _draw_point(axes: Axes, group: Group, name: str) -> None:
    colour, mark = LATENT_MARKS[group.factors.latent]
    x, y = (drawing.band(values[:, None]) for values in (bits(group), measures.final(group, name)))
    spread = lambda each: np.stack([each[0] - each[1], each[2] - each[0]])
    fill, edge = (
        colour if group.factors.likelihood == FILLED else "white",
        "black" if group.factors.control == "gumbel" else colour,
    )
    axes.errorbar(
        x[0], y[0], spread(y), spread(x), color=colour, lw=0.8, marker=mark, ms=6.5, mew=1.2, mfc=fill, mec=edge
    )


def _keys(groups: Groups) -> list[lines.Line2D]:
    """The legend's entries of the latents that are there, the likelihoods, and the other estimator of gradients."""
    found, grey = {group.factors.latent for group in groups}, {"color": drawing.GREY, "marker": "o", "ls": ""}
    keys = [drawing.key_line(name.replace("_", " "), color=colour, marker=mark, ls="")
            for name, (colour, mark) in LATENT_MARKS.items() if name in found]  # fmt: skip
    keys += [
        drawing.key_line(drawing.word(FILLED), **grey),
        drawing.key_line("calibrated Gaussian", mfc="white", **grey),
    ]
    is_other = any(group.factors.control == "gumbel" for group in groups)
    return keys + [drawing.key_line("estimator: gumbel", mec="black", **grey)] * is_other
