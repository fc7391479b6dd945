"""Markdown tables of the laboratory's blocks: one row a cell or setting, one table a source of shapes.

Figures are medians over seeds with (least..largest); [in brackets] stands the median of what a figure is to be read
against. Verdicts are counted, values that are not finite too, and cells that are missing are named below.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hexjax import names
from hexjax.evaluation.laboratory import measures
from hexjax.evaluation.laboratory.results import NONE, Group, Groups, Results

Columns = dict[str, Callable[[Group], Any]]
INPUTS = {"S": "silhouettes", "SDF": "silhouette_sdf"}  # the same information, binary and not


def final(name: str) -> Callable[[Group], str]:
    """A column: the spread of a scalar over the group's runs."""
    return lambda group: measures.spread(measures.final(group, name))


def factor(name: str) -> Callable[[Group], str]:
    """A column: one of the cell's factors."""
    return lambda group: getattr(group.factors, name)


def less(name: str, other: str) -> Callable[[Group], str]:
    """A column: the spread over runs of one scalar less another."""
    return lambda group: measures.spread(measures.difference(group, name, other))


def beside(name: str, known: str) -> Callable[[Group], str]:
    """A column: the spread of a scalar, and in brackets the median of what it is to be compared with."""

    def column(group: Group) -> str:
        text = measures.spread(measures.final(group, name))
        return text if text == NONE else f"{text} [{measures.number(measures.median(measures.final(group, known)))}]"

    return column


def rate(column: Callable[[Group], str]) -> Callable[[Group], str]:
    """The column, left empty for a deterministic latent, which has no rate."""
    return lambda group: NONE if group.factors.latent == "deterministic" else column(group)


def of_several(column: Callable[[Group], str]) -> Callable[[Group], str]:
    """The column, left empty for one shape, against which a constant predictor loses nothing."""
    return lambda group: column(group) if measures.is_certifiable(group) else NONE


def verdicts(group: Group) -> str:
    """A column: counts of verdicts and tags."""
    return measures.counted(group.runs)


def commonest_rate(group: Group) -> str:
    """A column: what the true rate of the commonest verdict is at least, at 95 %."""
    return f"{measures.rate_lower(max(measures.verdicts(group.runs).values()), len(group.runs)):.3f}"


def predicted(group: Group) -> str:
    """A column: the preflight's word, and of how many runs it is true."""
    word = measures.predicted(group)
    known = f": {measures.verdicts(group.runs).get(word, 0)}/{len(group.runs)}"
    return word + (known if word in names.VERDICTS else "")


def not_finite(group: Group) -> str:
    """A column: how many runs had a value that is not finite."""
    return f"{measures.not_finite(group.runs)}/{len(group.runs)}"


def empty(group: Group) -> str:
    """A column: in how many runs no threshold leaves anything of any shape."""
    return f"{measures.empty(group.runs)}/{len(group.runs)}"


CELL: Columns = {name: factor(name) for name in ("input", "likelihood", "latent", "shapes")}
CHANGED: Columns = {"changed": lambda group: group.factors.control or NONE}
KL: Columns = {"KL (nats)": rate(final("kl"))}
RATE: Columns = KL | {
    "KL a latent unit": rate(final("kl_per_latent")),
    "gain − KL": of_several(rate(less("gain", "kl"))),
}
ACTIVE: Columns = {"active units": final("active_units")}
LATENT: Columns = ACTIVE | {
    "I_q [ceiling]": beside("information", "information_ceiling"),
    "G_z, lower bound": final("witness_sample_lower"),
}
OVERLAP: Columns = {"IoU [constant's]": beside("iou", "iou_constant")}


def lines(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; empty without rows."""
    cells = [head, ["---"] * len(head), *rows] if rows else []
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in cells)


def table(columns: Columns, groups: Groups) -> str:
    """A Markdown table of one row a group."""
    return lines(tuple(columns), [tuple(make(group) for make in columns.values()) for group in groups])


def by_source(results: Results, groups: Groups, make: Callable[[list[Group]], str], title: str = "") -> str:
    """A table for each source that has groups, under its name and numbers of shapes and runs."""
    texts = []
    for source in results.sources():
        mine = [group for group in groups if group.source == source]
        if not mine:
            continue
        train, held_out = (max(group.cell["data"][name] for group in mine) for name in ("train", "held_out"))
        runs = sum(len(group.runs) for group in mine)
        shapes = f"at most {train:,} training shapes and {held_out:,} held out"
        texts.append(f"**{title and title + ', '}{source}: {shapes}; {runs:,} runs**\n\n{make(mine)}")
    return "\n".join(texts)


def complete(text: str, results: Results, *sweeps: str) -> str:
    """The text and, below it, what is missing of the sweeps that it was made from."""
    return "\n".join(filter(None, (text, measures.missing_text(results, *sweeps))))


def _block(results: Results, sweep: str, columns: Columns) -> str:
    return complete(by_source(results, results.of(sweep), lambda groups: table(columns, groups)), results, sweep)


def cause(results: Results, sweep: str = "collapse_cause") -> str:
    """One row a cell: does the input, the likelihood or the number of shapes decide?"""
    columns = CELL | CHANGED | {"verdicts": verdicts, "true rate of the commonest ≥": commonest_rate}
    columns |= RATE | LATENT | OVERLAP
    return _block(results, sweep, columns | {"preflight: true of": predicted})


def latents(results: Results) -> str:
    """One row a kind of latent, input and likelihood."""
    columns = {name: CELL[name] for name in ("input", "likelihood", "latent")}
    columns |= {"changed": _changed, "verdicts": verdicts}
    columns |= {"stored bits": lambda group: f"{group.cell['settings']['latent_bits']:,}"}
    columns |= {"rate (nats)": KL["KL (nats)"], "rate (bits)": rate(_bits), "squared error": final("squared_error")}
    columns |= OVERLAP | LATENT
    columns |= {"share of codes used": final("codes_used"), "bits of entropy a code": final("bit_entropy")}
    columns |= {"prior's IoU": final("prior_iou"), "prior non-empty": final("prior_non_empty")}
    return _block(results, "collapse_latents", columns)


def _changed(group: Group) -> str:
    """A column: the estimator, size or weight that is not the table's own."""
    weight = f" β {measures.weight(group):g}" if group.setting else ""
    return f"{group.factors.control}{weight}".replace("weights ", "") or NONE


def _bits(group: Group) -> str:
    return measures.spread(measures.final(group, "kl") / np.log(2))


def recipe(results: Results, sweep: str = "collapse_recipe") -> str:
    """One row a control and number of shapes, silhouettes beside their signed distance."""
    columns = {
        "verdicts": verdicts, "KL": final("kl"), "gain": of_several(final("gain")),
        "KL gradient removed": _meaned("kl_gradient_removed"), "gradient clipped": _meaned("gradient_clipped"),
        "not finite": not_finite, "surface": final("mesh_non_empty"), "empty at every threshold": empty,
    }  # fmt: skip
    head = ("control", "shapes", *(f"{short}: {name}" for short in INPUTS for name in columns))

    def make(groups: list[Group]) -> str:
        found = {(group.factors.control, group.factors.shapes, measures.three(group)): group for group in groups}
        rows = []
        for control, shapes in dict.fromkeys(key[:2] for key in found):
            sides = [found.get((control, shapes, name)) for name in INPUTS.values()]
            cells = [NONE if side is None else column(side) for side in sides for column in columns.values()]
            rows.append((control, shapes, *cells))
        return lines(head, rows)

    return complete(by_source(results, results.of(sweep), make), results, sweep)


def _meaned(name: str) -> Callable[[Group], str]:
    """A column: a scalar meaned over the steps of a run."""
    return lambda group: measures.spread(measures.history(group, name)[1].mean(1))


def dose(results: Results) -> str:
    """Three tables: by number of shapes, by weight of the KL term, by number of latent floats."""
    kinds: dict[str, tuple[str, Columns]] = {
        "Number of shapes": ("shapes", _of_shapes()),
        "Weight of the KL term": ("weight", _of_weight()),
        "Latent floats": ("floats", _of_floats()),
    }
    texts = []
    for title, (word, columns) in kinds.items():
        groups = [group for group in results.of("collapse_dose") if group.factors.control.startswith(word)]
        texts.append(by_source(results, groups, lambda mine, columns=columns: table(columns, mine), title))
    return complete("\n".join(filter(None, texts)), results, "collapse_dose")


def _of_shapes() -> Columns:
    columns: Columns = {"input": CELL["input"], "training shapes N": _count, "log N": _log_count, "verdicts": verdicts}
    columns |= {"KL, training": final("train_kl"), "I_q, training": final("information_train")}
    columns |= {"KL − I_q, training": less("train_kl", "information_train"), "KL, held out": final("kl")}
    columns |= {"I_q, held out [ceiling]": LATENT["I_q [ceiling]"], "IoU, training": final("train_iou")}
    return columns | {"IoU, held out [constant's]": OVERLAP["IoU [constant's]"]}


def _count(group: Group) -> str:
    return str(group.cell["data"]["train"])


def _log_count(group: Group) -> str:
    return measures.number(float(np.log(group.cell["data"]["train"])))


def _of_weight() -> Columns:
    columns: Columns = {"input": CELL["input"], "β": lambda group: f"{measures.weight(group):g}"}
    columns |= {"β σ² / λ_max": lambda group: measures.number(measures.threshold(group))}
    return columns | {"preflight: true of": predicted, "verdicts": verdicts} | RATE | LATENT | OVERLAP


def _of_floats() -> Columns:
    columns: Columns = {"latent floats": lambda group: f"{group.cell['settings']['latent_floats']:,}"}
    columns |= {"likelihood": CELL["likelihood"], "control": factor("control"), "verdicts": verdicts}
    return columns | RATE | LATENT | OVERLAP | {"not finite": not_finite}


def front(results: Results) -> str:
    """Rate and distortion for each weight of the KL term: which weights no other one beats in both, and do runs settle?"""
    columns: Columns = {"input": CELL["input"], "β": lambda group: f"{measures.weight(group):g}", "verdicts": verdicts}
    columns |= KL | {"squared error": final("squared_error")} | OVERLAP
    columns |= {
        "KL's change over the last fifth": lambda group: measures.spread(measures.late_change(group, "kl")),
        "squared error's": lambda group: measures.spread(measures.late_change(group, "variance")),
    }
    groups = [group for group in results.of("collapse_dose") if group.factors.control == "weight"]
    told = []
    for source, kind in dict.fromkeys((group.source, group.factors.input) for group in groups):
        mine = [group for group in groups if (group.source, group.factors.input) == (source, kind)]
        points = [[measures.median(measures.final(group, name)) for name in ("kl", "squared_error")] for group in mine]
        open_ = [
            point for group, point in zip(mine, points) if measures.threshold(group) <= 1 and np.isfinite(point).all()
        ]
        best = sum(not any(a <= c and b <= d and (a, b) != (c, d) for a, b in points) for c, d in open_)
        told.append(
            f"- {kind} of {source}: {best} of {len(open_)} weights up to the threshold are beaten by no other in rate and "
            "error both.\n"
        )
    text = by_source(results, groups, lambda mine: table(columns, mine))
    return complete("\n".join(filter(None, (text, "".join(told)))), results, "collapse_dose")


def witness(results: Results) -> str:
    """One row a cell and setting: the fixed witness beside the fitted one, plain and aligned."""
    margins = {"largest (I_T)": "information", "fixed": "fixed_margin", "anchored": "anchored_margin", "G_μ": "mean_margin",
               "G_μ ≥": "mean_lower", "G_z": "sample_margin", "G_z ≥": "sample_lower",
               "largest bound that so many shapes allow": "ceiling"}  # fmt: skip
    columns: Columns = {
        "training": factor("control"),
        "likelihood": CELL["likelihood"],
        "β": lambda group: f"{measures.weight(group):g}",
    }
    columns |= {"witness weight": _knob("witness.weight"), "prefit steps": _knob("witness.prefit_steps")}
    columns |= {"verdicts": verdicts} | {title: final(f"witness_{name}") for title, name in margins.items()}
    return _block(results, "collapse_witness", columns | {"certified": _certified} | ACTIVE | KL)


def _knob(name: str) -> Callable[[Group], str]:
    """A column: a knob's value in the setting, else in the cell, else 0."""
    return lambda group: f"{float((group.cell['overrides'] | group.setting).get(name, 0)):g}"


def _certified(group: Group) -> str:
    values = measures.final(group, "witness_certified")
    return f"{int((values == 1).sum())}/{len(values)}"


def priors(results: Results) -> str:
    """One row a cell whose latent has a prior: what it draws, beside the training shapes."""
    sweeps = ("collapse_cause", "collapse_latents")
    columns = {"sweep": lambda group: group.sweep} | CELL | {"verdicts": verdicts, "prior's IoU": final("prior_iou")}
    columns |= {
        "non-empty": final("prior_non_empty"),
        "occupancy [data's]": beside("prior_occupancy", "data_occupancy"),
    }
    groups = [group for group in results.of(*sweeps) if len(measures.final(group, "prior_iou"))]
    return complete(by_source(results, groups, lambda mine: table(columns, mine)), results, *sweeps)
