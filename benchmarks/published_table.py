"""What runs of the published experiment's size came to, from their folders, and the published statements beside it.

Standard library alone. Where the published note gives no figure, its cell says so.
"""

import json
import math
import pathlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any

SCORES = ("f_score_0.01", "f_score_0.02", "cd_l1", "v_iou", "vertices", "faces", "euler", "components",
          "reference_euler", "reference_components")  # fmt: skip
SIZE = ("step", "parameters", "latent_floats", "latent_bits", "compression", "verdict", "verdict_tags", "device")
CHANNELS = {"continuous": 4, "binary": 1}  # numbers a pixel of the input
FLAT = 0.02  # a smoothed curve is flat where it gains less than this share over the last quarter of its steps
CURVE = 12  # points of the reconstruction's curve that are told
NOT_GIVEN = "not given"
PUBLISHED = {  # row -> of the Gaussian VAE on silhouettes, of the autoencoder on depth and normals
    "KL": ("explodes over the first ~50 epochs; figure not given", "no KL term"),
    "reconstruction": ("falls; figure not given", NOT_GIVEN),
    "vertices at .5": (
        'at .5 none; "no iso-surface above any reasonable threshold"',
        "5 719, and 10 584 faces; the input's topology",
    ),
    "compression": (NOT_GIVEN, "30 times, with negligible error; 6·4·512² numbers to 6·16·16·256 are 16 times"),
    "sampling": (NOT_GIVEN, "none"),
    "stability": ("the KL explodes in 5 of 5 runs", "stable in all runs, about 100 epochs; how many runs: not given"),
}
PEAK = "about 12 GB; of which network: not given"

Row = dict[str, Any]


def is_flat(values: Sequence[float], least: int) -> bool:
    """Whether a curve of evenly spaced values is flat: its last tenth is on average less than 2 % below the tenth that
    ends where the last quarter begins.

    Args:
        least: values before which no curve is.
    """
    if len(values) < max(least, 20):
        return False
    tenth, turn = len(values) // 10, 3 * len(values) // 4
    before, now = statistics.fmean(values[turn - tenth : turn]), statistics.fmean(values[-tenth:])
    return before - now < FLAT * abs(before)


def rows_of(folder: pathlib.Path) -> list[Row]:
    """The whole rows of a run's metrics.jsonl, in order, also while it is written."""
    file, found = folder / "metrics.jsonl", []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:  # torn
            continue
    return found


def curve(rows: Sequence[Row], name: str) -> list[tuple[int, float]]:
    """Step and value of what each logged training step tells under a name."""
    return [(row["step"], row[name]) for row in rows if "loss" in row and name in row]


def figures(folder: pathlib.Path) -> Row:
    """What a run's config.json, metrics.jsonl and scores.json tell, as far as they are there."""
    config, scores = (_read(folder / f"{name}.json") for name in ("config", "scores"))
    rows, items = rows_of(folder), scores.get("items", [])
    fits, rates = curve(rows, "reconstruction"), curve(rows, "kl")
    start = next((row for row in rows if "validation.reconstruction" in row), {})
    found = {"steps": fits[-1][0] if fits else 0, "reconstruction": None, "kl": None}
    if fits:
        last = len(fits) - 1
        told = [fits[i] for i in sorted({last * part // (CURVE - 1) for part in range(CURVE)})]
        found["reconstruction"] = {"start": start.get("validation.reconstruction"), "curve": told, "end": fits[-1][1]}
    if rates:
        until = config["kl"]["warmup_steps"]
        greatest = max(
            [*rates, *((0, start[name]) for name in ("validation.kl",) if name in start)], key=lambda x: x[1]
        )
        found["kl"] = {"start": start.get("validation.kl"), "greatest": greatest, "end": rates[-1][1]}
        ended = [value for step, value in rates if step <= until]
        found["kl"] |= {"warmup_steps": until, "at_warmup_end": ended[-1] if ended and rates[-1][0] >= until else None}
    found |= {name: scores.get(name) for name in SIZE}
    if items:
        found["scores"] = {name: items[0].get(name) for name in SCORES}
        found["scores"]["ceiling"] = {name: items[0]["ceiling"].get(name) for name in SCORES}
        found["grid"] = scores["settings"]["grid"]
    if config:
        floats = 6 * CHANNELS[config["model"]["input"]] * config["hexplane"]["resolution_px"] ** 2
        found |= {"input_floats": floats, "resolution_px": config["hexplane"]["resolution_px"]}
    return found


def table(found: Row) -> str:
    """The runs as Markdown: the six rows, published beside ours, then memory, topology and the mesh of about 5 700 vertices."""
    vaes = [run for run in found["runs"] if run["kind"] == "vae" and run["whole"]]
    ae = next((run for run in found["runs"] if run["kind"] == "ae" and run["measured"]), None)
    machine, devices = found["machine"], {run["figures"].get("device") for run in found["runs"]} - {None}
    sides = {run["figures"]["resolution_px"] for run in found["runs"] if "resolution_px" in run["figures"]}
    lines = [
        f"Made by `{found['command']}`; commit {found['commit']}; {found['size']} size, maps of "
        f"{', '.join(f'{side}²' for side in sorted(sides))}, on {', '.join(sorted(devices)) or 'no device'}; {machine['cpu']}, "
        f"{machine['cores']} cores; jax {machine['versions']['jax']}.",
        *([found["told"]] if found["told"] else []),
        f"The VAE: {len(vaes)} whole of {found['seeds']} seeds asked for"
        + "".join(f"; {line}" for line in found["unfinished"])
        + ". Ranges are over seeds, from least to greatest.",
        "",
        "| | published, Gaussian VAE on silhouettes | ours | published, autoencoder on depth and normals | ours |",
        "|---|---|---|---|---|",
    ]
    for name, (of_vae, of_ae) in PUBLISHED.items():
        own, other = OURS[name]
        cells = (of_vae, own(vaes) if vaes else "no whole run", of_ae, other(ae) if ae else "no run")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"Peak memory. Published: {PEAK}. Ours: {_peaks(found['runs'])}."]
    if ae:
        lines += ["", *_topology(ae), "", *_meshes(ae)]
    lines += ["", "Commands:", "", "```sh", *(run["figures"]["command"] for run in found["runs"]), "```"]
    return "\n".join(lines) + "\n"


def _kl(runs: Sequence[Row]) -> str:
    of = lambda name: _span([run["figures"]["kl"][name] for run in runs], _number)
    steps = _span([run["figures"]["kl"]["greatest"][0] for run in runs], _whole)
    most = _span([run["figures"]["kl"]["greatest"][1] for run in runs], _number)
    until = runs[0]["figures"]["kl"]["warmup_steps"]
    return (
        f"{of('start')} nats before the first step, at most {most} (step {steps}), {of('at_warmup_end')} when the "
        f"warm-up ends (step {until:,}), {of('end')} at the end"
    )


def _reconstruction(runs: Sequence[Row]) -> str:
    of = lambda name: _span([run["figures"]["reconstruction"][name] for run in runs], _number)
    steps = _span([run["figures"]["steps"] for run in runs], _whole)
    return f"{of('start')} before the first step, {of('end')} at step {steps}"


def _vertices(runs: Sequence[Row]) -> str:
    swept = [run["measured"]["thresholds"] for run in runs if run["measured"]]
    at_half = [row["vertices"] for rows in swept for row in rows if abs(row["threshold"] - 0.5) < 1e-6]
    every = [row for rows in swept for row in rows]
    if not every:
        return "no state to decode"
    empty = sum(row["vertices"] == 0 for row in every)
    grid = runs[0]["figures"].get("grid")
    where = _span([row["vertices"] for row in every], _whole)
    return f"{_span(at_half, _whole)} on a grid of {grid}³; at thresholds .05 to .95 {where}, none at {empty} of {len(every)}"


def _fidelity(runs: Sequence[Row]) -> str:
    scored = [run["figures"]["scores"] for run in runs if "scores" in run["figures"]]
    if not scored:
        return "not scored"
    pairs = (("F@0.01", "f_score_0.01"), ("F@0.02", "f_score_0.02"), ("CD-L1", "cd_l1"))
    both = lambda key: (
        _span([row[key] for row in scored], _three),
        _span([row["ceiling"][key] for row in scored], _three),
    )
    return ", ".join("{} {} [{}]".format(label, *both(key)) for label, key in pairs) + "; in brackets the ceiling's"


def _compression(runs: Sequence[Row]) -> str:
    first = runs[0]["figures"]
    if not first["latent_floats"]:
        return "not scored"
    share = first["input_floats"] / first["latent_floats"]
    return (
        f"{first['input_floats']:,} numbers to {first['latent_floats']:,}, {share:.3g} times; by bits "
        f"{first['compression']:.3g} times; {_fidelity(runs)}"
    )


def _sampling(runs: Sequence[Row]) -> str:
    drawn = [row for run in runs if run["measured"] for row in run["measured"]["draws"]]
    if not drawn:
        return "no state to draw from"
    of = lambda name, show: _span([row[name] for row in drawn if row["vertices"]], show)
    empty = sum(row["vertices"] == 0 for row in drawn)
    return (
        f"{len(drawn)} draws, {empty} of them empty; of the others {of('vertices', _whole)} vertices, with the training shape "
        f"IoU {of('iou', _three)} and F@0.02 {of('f_score_0.02', _three)}"
    )


def _stability(runs: Sequence[Row]) -> str:
    verdicts = [" ".join(filter(None, _verdict(run["figures"]))) for run in runs]
    told = ", ".join(f"{verdicts.count(name)} {name}" for name in sorted(set(verdicts)))
    return f"{sum(run['code'] == 0 for run in runs)} of {len(runs)} ended finite; {told}"


def _verdict(told: Row) -> tuple[str, str]:
    tags = [tag for tag in told["verdict_tags"] or () if tag != "training shapes"]
    return told["verdict"] or "no verdict", f"({', '.join(tags)})" if tags else ""


def _end(run: Row) -> str:
    how = {"flat": "flat by our rule", "limit": "the limit of steps, not flat", "time": "the limit of time, not flat"}
    finite = "a number was not finite" if run["ended"] == "not finite" else how[run["ended"]]
    return f"1 run, {run['figures']['steps']:,} steps: {finite}"


OURS: dict[str, tuple[Callable[[Sequence[Row]], str], Callable[[Row], str]]] = {
    "KL": (_kl, lambda run: "no KL term"),
    "reconstruction": (_reconstruction, lambda run: _reconstruction([run])),
    "vertices at .5": (
        _vertices,
        lambda run: "{vertices:,}, and {faces:,} faces, on a grid of {grid}³".format(**_own(run)),
    ),
    "compression": (_compression, lambda run: _compression([run])),
    "sampling": (_sampling, lambda run: "none: it has no prior"),
    "stability": (_stability, _end),
}


def _own(ae: Row) -> Row:
    return {"grid": ae["figures"]["grid"]} | ae["figures"]["scores"]


def _peaks(runs: Sequence[Row]) -> str:
    told = []
    for kind, name in (("vae", "VAE"), ("ae", "autoencoder")):
        peaks = [run["peak"] for run in runs if run["kind"] == kind and run["peak"]]
        if peaks:
            most = max(peaks, key=lambda peak: peak["mib"])
            told.append(f"{name} {most['mib'] / 1024:.3g} GiB ({most['of']})")
    return "; ".join(told) or "no run ended"


def _topology(ae: Row) -> list[str]:
    own = _own(ae)
    pair = lambda of, more="": f"{of} Euler number {own[f'{more}euler']}, parts {own[f'{more}components']}"
    return [f"Topology: {pair('input', 'reference_')}; {pair('decoded')}. Published: that of the input."]


def _meshes(ae: Row) -> list[str]:
    lines = [
        "| grid | vertices | faces | F@0.01 | F@0.02 | CD-L1 | Euler | parts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (_own(ae), ae["measured"]["matched"]):
        for label, each in (("", row), (" ceiling", row["ceiling"])):
            scores = " | ".join(_three(each[key]) for key in ("f_score_0.01", "f_score_0.02", "cd_l1"))
            counts = f"{each['vertices']:,} | {each['faces']:,}"
            lines.append(f"| {row['grid']}³{label} | {counts} | {scores} | {each['euler']} | {each['components']} |")
    return [*lines, f"| published | 5,719 | 10,584 |{f' {NOT_GIVEN} |' * 5}"]


def _span(values: Sequence[float | None], show: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = show(min(known)), show(max(known))
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _three(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _read(file: pathlib.Path) -> Row:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
