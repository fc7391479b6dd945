"""Markdown tables of results, made from the run folders and written between markers; never typed.

`python -m hexjax.evaluation.table results/ --into README.md` replaces what stands between `<!-- table:NAME -->` and
`<!-- /table:NAME -->`, for NAME = runs (one row a trained run, means over its shapes), brief (the same, few columns), ceiling
(one row a shape), vae (one row a run with a KL term, stopped ones too), verdicts (one row a run whose latent was judged,
stopped ones too) or unseen (held-out shapes, their ceiling and baselines). `<!-- table:NAME RUN RUN -->` shows these runs,
whatever others lie beside them.
"""

import json
import pathlib
import re
import shlex
import statistics
import sys
from typing import Any

from hexjax.evaluation import baselines, page
from hexjax.evaluation import rows as parts
from hexjax.training import record
from hexjax.types import Scores

Results = list[tuple[str, Scores]]

FILES = ("scores.json", "metrics.jsonl", "command.txt")  # of a run folder, read here
NAMES = re.compile(r"[^,]*/(?=[^,/])")  # what stands before the name of each place of config.data.path
NAMED = ("run", "changed")  # of every table: the folder, and what its command changed of its config
FEW = 6  # names that a command's value is told with
TO_MESH = ("encode", "decode", "field", "polygonise")  # the stages from the maps to a mesh
SHOWN = ("precision_0.01", "recall_0.01", "recall_seen_0.01", "unseen_share", "f_score_0.005", "f_score_0.01",
         "f_score_0.02")  # fmt: skip
COUNTED = {"genus within 1 of the ceiling's": "genus_within_1", "components as the ceiling": "same_components"}


def runs(results: Results) -> str:
    """One row a trained run: means over its shapes, each beside the ceiling's."""
    head = (*NAMED, "shapes", "steps", "F@0.01 (ceiling)", "F@0.02 (ceiling)", "CD-L1 ×10³ (ceiling)", "V-IoU (ceiling)",
            "normals (ceiling)", *COUNTED, "failed", "latent floats", "bits a float", "parameters", "seconds to mesh",
            "device")  # fmt: skip
    rows = []
    for name, scores in results:
        if scores["mode"] != "evaluate":
            continue
        mean, count = scores["mean"], len(scores["items"])
        rows.append((
            name, scores["changed"], count, scores["step"], _beside(mean, "f_score_0.01"), _beside(mean, "f_score_0.02"),
            _beside(mean, "cd_l1", 1e3), _beside(mean, "v_iou"), _beside(mean, "normal_consistency"), *_counted(scores),
            f"{sum(item['failed'] for item in scores['items'])} of {count}", f"{scores['latent_floats']:,}",
            f"{scores['latent_bits'] / scores['latent_floats']:g}", f"{scores['parameters']:,}",
            _seconds(scores["items"]), scores["device"],
        ))  # fmt: skip
    return markdown(head, rows)


def brief(results: Results) -> str:
    """The same runs in few columns, with the verdict on their latent."""
    head = (*NAMED, "shapes", "F@0.02 (ceiling)", "CD-L1 ×10³ (ceiling)", "V-IoU (ceiling)", "latent floats", "verdict")
    rows = []
    for name, scores in results:
        if scores["mode"] == "evaluate":
            beside = [_beside(scores["mean"], *key) for key in (("f_score_0.02",), ("cd_l1", 1e3), ("v_iou",))]
            rows.append((name, scores["changed"], len(scores["items"]), *beside, f"{scores['latent_floats']:,}",
                         scores.get("verdict")))  # fmt: skip
    return markdown(head, rows)


def ceiling(results: Results) -> str:
    """One row a shape of the runs without a network: what the representation itself allows."""
    head = (*NAMED, "shape", "precision@0.01", "recall@0.01", "of the seen", "unseen", "F@0.005", "F@0.01", "F@0.02",
            "CD-L1 ×10³", "V-IoU", "normals", "watertight", "components", "Euler", "genus")  # fmt: skip
    rows = []
    for name, scores in results:
        for item in scores["items"] if scores["mode"] == "ceiling" else ():
            shown = (_number(item[key]) for key in SHOWN)
            rows.append((
                name, scores["changed"], item["name"], *shown, _number(item["cd_l1"], 1e3), _number(item["v_iou"]),
                _number(item["normal_consistency"]), "yes" if item["watertight"] else "no", item["components"],
                item["euler"], item.get("genus"),
            ))  # fmt: skip
    return markdown(head, rows)


def vae(results: Results) -> str:
    """One row a run whose loss has a KL term: what became of it, and of the mesh."""
    head = (*NAMED, "shapes", "last step written", "KL at step 0 (nats)", "largest", "last", "last, a latent float",
            "KL weight at the end", "active units", "meshes", "F@0.02 (ceiling)")  # fmt: skip
    rows = []
    for name, scores in results:
        if not (curve := scores.get("kl")):
            continue
        kl, items = [row["kl"] for row in curve], scores["items"]
        made = f"{len(items) - scores['failed']} of {len(items)}" if items else "none: stopped, not finite"
        units = scores["active_units"] if scores.get("active_units") is not None else "undefined for one shape"
        rows.append((
            name, scores["changed"], len(items) or None, curve[-1]["step"], f"{kl[0]:,.0f}", f"{max(kl):,.0f}",
            f"{kl[-1]:,.0f}", f"{curve[-1]['kl_per_float']:.1f}", f"{curve[-1]['kl_weight']:.2g}", units, made,
            _beside(scores["mean"], "f_score_0.02") if items else None,
        ))  # fmt: skip
    return markdown(head, rows)


def verdicts(results: Results) -> str:
    """One row a run whose latent was judged: the verdict, and the figures that it rests on."""
    head = (*NAMED, "shapes", "verdict", "what is to be known of it", "KL (nats)", "gain − KL (nats)", "swap gap (nats)",
            "active units", "active tokens", "I_q [ceiling]", "IoU of outlines [the mean's]", "F@0.02 (ceiling)")  # fmt: skip
    rows = []
    for name, scores in results:
        if not scores.get("verdict"):
            continue
        told, count = scores.get("diagnostics") or {}, len(scores["items"])
        kl, gain = told.get("kl"), told.get("gain")
        net = None if kl is None or gain is None else gain - kl
        rows.append((
            name, scores["changed"], count or None, scores["verdict"], ", ".join(scores["verdict_tags"]) or None,
            _whole(kl), _whole(net), _whole(told.get("swap_gap")), scores.get("active_units"),
            _whole(told.get("active_tokens")),
            _against(told, "information", "information_ceiling"), _against(told, "iou", "iou_constant"),
            _beside(scores["mean"], "f_score_0.02") if count else None,
        ))  # fmt: skip
    return markdown(head, rows)


def unseen(results: Results) -> str:
    """Some rows a run with held-out shapes: these and the trained ones, each under its ceiling, and what no learning gives."""
    head = (*NAMED, "what", "shapes", "F@0.01 [95 %]", "F@0.02 [95 %]", "CD-L1 ×10³", "V-IoU", "normals", *COUNTED)
    rows = []
    for name, scores in results:
        for part, told in scores.get("parts", {}).items() if scores["mode"] == "evaluate" else ():
            lines = {f"{part}: the model": told, f"{part}: ceiling": {"mean": told["mean"]["ceiling"]}}
            if part == parts.HELD_OUT:
                lines |= {f"{part}: {baselines.LABELS[key]}": each for key, each in scores.get("baselines", {}).items()}
            for what, each in lines.items():
                mean, bounds = each["mean"], each.get("interval", {})
                judged = (_within(mean, bounds, key) for key in ("f_score_0.01", "f_score_0.02"))
                rows.append((name, scores["changed"], what, told["shapes"], *judged, _number(mean["cd_l1"], 1e3),
                             _number(mean["v_iou"]), _number(mean["normal_consistency"]), *_counted(each)))  # fmt: skip
    return markdown(head, rows)


TABLES: page.Tables = {
    "runs": runs,
    "brief": brief,
    "ceiling": ceiling,
    "vae": vae,
    "verdicts": verdicts,
    "unseen": unseen,
}


def chosen(results: Results, asked: list[str]) -> Results:
    """The runs of these names, in the order of the results.

    Raises:
        ValueError: for a name that is none of theirs.
    """
    known = [name for name, _ in results]
    if absent := [name for name in asked if name not in known]:
        raise ValueError(f"a marker names the run {absent[0]!r}, which is not there; accepted: names of run folders")
    return [(name, scores) for name, scores in results if name in asked]


def read(folder: pathlib.Path, whole: bool = False) -> Results:
    """Name and scores of every run in a results folder, by number; a run that cannot be read is told and left out.

    Args:
        whole: none is left out.

    Raises:
        ValueError: for what is no folder, a folder without a run, or a run that is not to be left out.
    """
    files = [file for name in ("scores.json", "metrics.jsonl") for file in folder.glob(f"*/{name}")]
    if not files:
        raise ValueError(f"{folder} is no folder with runs in it; accepted: the folder that holds them, results/")
    found = []
    for run in sorted({file.parent for file in files}, key=record.order):
        try:
            found.append((run.name, _read(run)))
        except (ValueError, KeyError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            if whole:
                raise ValueError(f"{run.name} cannot be read: {reason}; no page is written without it") from error
            print(f"table: {run.name} cannot be read and is left out: {reason}", file=sys.stderr)
    return found


def _read(run: pathlib.Path) -> Scores:
    """The scores of a run, what its command changed, and its curve under `kl`; unscored: no items, the mode "stopped"."""
    scored, command = (
        (run / name).read_text(encoding="utf-8") if (run / name).is_file() else ""
        for name in ("scores.json", "command.txt")
    )
    scores = json.loads(scored or '{"mode": "stopped", "items": []}')
    if not isinstance(scores, dict) or not {"mode", "items"} <= scores.keys():
        raise ValueError("scores.json has no mode or no items")
    rows = record.read_rows(run / "metrics.jsonl")
    drawn = ("kl", "kl_per_float", "kl_weight")
    at_start = [{"step": 0} | {name: row[f"validation.{name}"] for name in drawn} for row in rows[:1]
                if "validation.kl" in row]  # fmt: skip
    curve = at_start + [row for row in rows if "kl" in row]
    return scores | {"kl": curve, "changed": _changed(command)}


def _changed(command: str) -> str | None:
    """What the first command of a command.txt changes of its config, as `key=value key=value`, places by their names."""
    words = shlex.split(command.partition("\n")[0].removeprefix("command: "))
    words = [f"{word}={after}" if "=" not in word else word for word, after in zip(words, [*words[1:], ""])]
    pairs = [word.removeprefix("--config.").partition("=") for word in words if word.startswith("--config.")]
    told = [f"{key}={NAMES.sub('', value) if key == 'data.path' else _short(value)}" for key, _, value in pairs]
    return " ".join(f"`{word}`" for word in told) or None


def _short(value: str) -> str:
    """A value as typed; of many names the first and how many there are."""
    first, *rest = value.split(", ")
    return value if len(rest) < FEW else f"{first}, ...{len(rest)} more)"


def _seconds(items: list[Scores]) -> str | None:
    """The median of seconds from the maps to a mesh, over shapes whose rows say that nothing was compiled; None for none."""
    told = [sum(row["seconds"].get(stage, 0) for stage in TO_MESH) for row in items if row.get("compiled") is False]
    return f"{statistics.median(told):.2f}" if told else None


def _beside(mean: Scores, key: str, factor: float = 1.0) -> str:
    return f"{_number(mean[key], factor)} ({_number(mean['ceiling'][key], factor)})"


def _against(figures: Scores, key: str, best: str) -> str | None:
    return None if figures.get(key) is None else f"{_number(figures[key])} [{_number(figures.get(best))}]"


def _counted(told: Scores) -> list[str | None]:
    """Of how many shapes genus and parts are the ceiling's; None each where that was not told yet."""
    found = told.get("topology")
    return [found and f"{found[key]} of {found['shapes']}" for key in COUNTED.values()]


def _within(mean: Scores, bounds: dict[str, list[float]], key: str) -> str:
    return _number(mean[key]) + (f" [{bounds[key][0]:.3f}, {bounds[key][1]:.3f}]" if key in bounds else "")


def _whole(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _number(value: float | int | None, factor: float = 1.0) -> str:
    return "–" if value is None else f"{value * factor:.3f}"


def markdown(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """The rows under their head, without columns that no row fills."""
    kept = [i for i in range(len(head)) if not rows or any(row[i] not in (None, "–") for row in rows)]
    lines = [[line[i] for i in kept] for line in (head, ["---"] * len(head), *rows)]
    cells = [["–" if cell is None else str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 for what is refused; prints the tables, or writes them into pages."""
    make = lambda folder, pages: page.publish(pages, "table", TABLES, read(folder, whole=bool(pages)), chosen)
    return page.main(arguments, "table", "Tables of results.", "folder of run folders", make)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
