"""Markdown tables of results, made from the run folders and written between markers; never typed.

`python -m hexjax.evaluation.table results/ --into README.md` replaces what stands between `<!-- table:NAME -->` and
`<!-- /table:NAME -->`, for NAME = runs (one row a trained run, means over its shapes), ceiling (one row a shape), vae
(one row a run with a KL term, stopped ones too) or verdicts (one row a run whose latent was judged, stopped ones too).
"""

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

from hexjax.types import Scores

MARKED = re.compile(r"(<!-- table:([\w-]+) -->\n).*?(<!-- /table:\2 -->)", re.DOTALL)
TO_MESH = ("encode", "decode", "field", "polygonise")  # the stages from the maps to a mesh
SHOWN = ("precision_0.01", "recall_0.01", "recall_seen_0.01", "unseen_share", "f_score_0.005", "f_score_0.01",
         "f_score_0.02")  # fmt: skip


def runs(results: list[tuple[str, Scores]]) -> str:
    """One row a trained run: means over its shapes, each beside the ceiling's."""
    head = ("run", "shapes", "steps", "F@0.01 (ceiling)", "F@0.02 (ceiling)", "CD-L1 ×10³ (ceiling)", "V-IoU (ceiling)",
            "normals (ceiling)", "failed", "latent floats", "bits a float", "parameters", "seconds to mesh",
            "device")  # fmt: skip
    rows = []
    for name, scores in results:
        if scores["mode"] != "evaluate":
            continue
        mean, count = scores["mean"], len(scores["items"])
        rows.append((
            name, count, scores["step"], _beside(mean, "f_score_0.01"), _beside(mean, "f_score_0.02"),
            _beside(mean, "cd_l1", 1e3), _beside(mean, "v_iou"), _beside(mean, "normal_consistency"),
            f"{sum(item['failed'] for item in scores['items'])} of {count}", f"{scores['latent_floats']:,}",
            f"{scores['latent_bits'] / scores['latent_floats']:g}", f"{scores['parameters']:,}",
            f"{sum(scores['seconds'].get(stage, 0) for stage in TO_MESH) / count:.2f}", scores["device"],
        ))  # fmt: skip
    return _table(head, rows)


def ceiling(results: list[tuple[str, Scores]]) -> str:
    """One row a shape of the runs without a network: what the representation itself allows."""
    head = ("run", "shape", "precision@0.01", "recall@0.01", "of the seen", "unseen", "F@0.005", "F@0.01", "F@0.02",
            "CD-L1 ×10³", "V-IoU", "normals", "watertight", "components", "Euler")  # fmt: skip
    rows = []
    for name, scores in results:
        for item in scores["items"] if scores["mode"] == "ceiling" else ():
            shown = (_number(item[key]) for key in SHOWN)
            rows.append((
                name, item["name"], *shown, _number(item["cd_l1"], 1e3), _number(item["v_iou"]),
                _number(item["normal_consistency"]), "yes" if item["watertight"] else "no", item["components"],
                item["euler"],
            ))  # fmt: skip
    return _table(head, rows)


def vae(results: list[tuple[str, Scores]]) -> str:
    """One row a run whose loss has a KL term: what became of it, and of the mesh."""
    head = ("run", "shapes", "last step written", "KL at step 0 (nats)", "largest", "last", "last, a latent float",
            "KL weight at the end", "active units", "meshes", "F@0.02 (ceiling)")  # fmt: skip
    rows = []
    for name, scores in results:
        if not (curve := scores.get("kl")):
            continue
        kl, items = [row["kl"] for row in curve], scores["items"]
        made = f"{len(items) - scores['failed']} of {len(items)}" if items else "none: stopped, not finite"
        units = scores["active_units"] if scores.get("active_units") is not None else "undefined for one shape"
        rows.append((
            name, len(items) or None, curve[-1]["step"], f"{kl[0]:,.0f}", f"{max(kl):,.0f}", f"{kl[-1]:,.0f}",
            f"{curve[-1]['kl_per_float']:.1f}", f"{curve[-1]['kl_weight']:.2g}", units, made,
            _beside(scores["mean"], "f_score_0.02") if items else None,
        ))  # fmt: skip
    return _table(head, rows)


def verdicts(results: list[tuple[str, Scores]]) -> str:
    """One row a run whose latent was judged: the verdict, and the figures that it rests on."""
    head = ("run", "shapes", "verdict", "what is to be known of it", "KL (nats)", "gain − KL (nats)", "swap gap (nats)",
            "active units", "I_q [ceiling]", "IoU of outlines [the mean's]", "F@0.02 (ceiling)")  # fmt: skip
    rows = []
    for name, scores in results:
        if not scores.get("verdict"):
            continue
        told, count = scores.get("diagnostics") or {}, len(scores["items"])
        kl, gain = told.get("kl"), told.get("gain")
        net = None if kl is None or gain is None else gain - kl
        rows.append((
            name, count or None, scores["verdict"], ", ".join(scores["verdict_tags"]) or None, _whole(kl), _whole(net),
            _whole(told.get("swap_gap")), scores.get("active_units"), _against(told, "information", "information_ceiling"),
            _against(told, "iou", "iou_constant"), _beside(scores["mean"], "f_score_0.02") if count else None,
        ))  # fmt: skip
    return _table(head, rows)


TABLES: dict[str, Callable[[list[tuple[str, Scores]]], str]] = {
    "runs": runs, "ceiling": ceiling, "vae": vae, "verdicts": verdicts
}  # fmt: skip


def fill(text: str, results: list[tuple[str, Scores]]) -> str:
    """The text with what stands between each pair of markers replaced by the table of that name.

    Raises:
        ValueError: for a table of an unknown name.
    """

    def replaced(match: re.Match) -> str:
        if match[2] not in TABLES:
            raise ValueError(f"a marker names the table {match[2]!r}; tables: {', '.join(TABLES)}")
        return match[1] + TABLES[match[2]](results) + match[3]

    return MARKED.sub(replaced, text)


def read(folder: pathlib.Path) -> list[tuple[str, Scores]]:
    """Name and scores of every run in a results folder, by name, with its KL curve under `kl`.

    A run that stopped before it was scored has no items and the mode "stopped".
    """
    found = []
    for run in sorted({file.parent for name in ("scores.json", "metrics.jsonl") for file in folder.glob(f"*/{name}")}):
        scores, curve = {"mode": "stopped", "items": []}, []
        if (run / "scores.json").exists():
            scores = json.loads((run / "scores.json").read_text())
        if (run / "metrics.jsonl").exists():
            rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            names = ("kl", "kl_per_float", "kl_weight")
            at_start = [{"step": 0} | {name: row[f"validation.{name}"] for name in names} for row in rows[:1]
                        if "validation.kl" in row]  # fmt: skip
            curve = at_start + [row for row in rows if "kl" in row]
        found.append((run.name, scores | {"kl": curve}))
    return found


def _beside(mean: Scores, key: str, factor: float = 1.0) -> str:
    return f"{_number(mean[key], factor)} ({_number(mean['ceiling'][key], factor)})"


def _against(figures: Scores, key: str, best: str) -> str | None:
    return None if figures.get(key) is None else f"{_number(figures[key])} [{_number(figures.get(best))}]"


def _whole(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _number(value: float | int | None, factor: float = 1.0) -> str:
    return "–" if value is None else f"{value * factor:.3f}"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join("–" if cell is None else str(cell) for cell in line) + " |\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Exit code 0; prints the tables, or writes them into a file."""
    parser = argparse.ArgumentParser(description="Tables of results.")
    parser.add_argument("results", type=pathlib.Path, help="folder of run folders")
    parser.add_argument("--into", type=pathlib.Path, help="file whose marked tables are replaced")
    given = parser.parse_args(arguments)
    results = read(given.results)
    if given.into is None:
        print("\n".join(f"{name}\n\n{make(results)}" for name, make in TABLES.items()))
    else:
        given.into.write_text(fill(given.into.read_text(), results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
