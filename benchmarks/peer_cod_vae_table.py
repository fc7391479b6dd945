"""The table of peer_cod_vae, made from its JSON alone."""

from collections.abc import Mapping
from typing import Any

SCORES = {
    "v_iou": "V-IoU", "s_iou": "S-IoU ±.02", "s_iou_0.05": "S-IoU ±.05", "f_score_0.01": "F@0.01", "f_score_0.02": "F@0.02",
    "cd_l1": "CD-L1", "normal_consistency": "NC", "sharp_normal_error": "sharp normals", "sdf_sign": "signs",
    "sdf_near_sign": "signs near",
}  # fmt: skip


def table(found: Mapping[str, Any]) -> str:
    """The rows as Markdown: what was trained, then means over the held-out and the trained shapes."""
    machine, rows = found["machine"], {row["row"]: row for row in found["rows"]}
    labels = {name: _label(row) for name, row in rows.items()}
    lines = [
        f"Made by `{found['command']}`. {machine['cpu']}, {machine['cores']} cores; jax {machine['versions']['jax']}; load "
        f"average {machine['load_average_before']} before the start. Seconds and CPU seconds are of all steps after the first "
        "one, without preparation, compilation and scores.",
        "",
        "| row | floats | parameters | steps | s | CPU s | rate | batch | encode s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        steps = " + ".join(f"{each['steps']:,}" for each in row.get("stages", [row] if "steps" in row else ()))
        cells = [labels[name], f"{row['floats']:,}", f"{row['parameters']:,}", steps]
        cells += [f"{row[key]:.0f}" if key in row else "" for key in ("seconds", "cpu_seconds")]
        cells += [
            f"{row['rate']:.2g}" if "rate" in row else "",
            str(row.get("batch", "")),
            f"{row['encode_seconds']:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    head = f"| {' | '.join(SCORES.values())} | failed |"
    lines += ["", f"| held-out shapes {head}", f"|---{'|---' * (len(SCORES) + 1)}|"]
    lines += [
        _scores(labels[name], row["test"], f"{row['failed']} of {len(row['v_iou'])}") for name, row in rows.items()
    ]
    for label, mean in _beside(rows.get("ours", {})):
        lines.append(_scores(f"*{label}*", mean, ""))
    trained = [_scores(labels[name], row["train"], "") for name, row in rows.items() if {"steps", "train"} <= {*row}]
    if trained:
        lines += ["", f"| trained shapes {head}", f"|---{'|---' * (len(SCORES) + 1)}|", *trained]
    return "\n".join(lines) + "\n"


def _label(row: Mapping[str, Any]) -> str:
    if row["row"] == "ours":
        return "vecset:small"
    told = {"own": "its rate and augmentation", "raised": "a raised rate, none", "weights": row.get("file")}[row["row"]]
    return f"cod-vae {row['cod_vae']}, {told}"


def _beside(ours: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What stands beside our row: the ceiling of the grid, and what learns nothing."""
    ceiling = [("the shape's own distance on the grid", ours["ceiling"])] if "ceiling" in ours else []
    return ceiling + [(name.replace("_", " "), mean) for name, mean in ours.get("baselines", {}).items()]


def _scores(label: str, mean: Mapping[str, Any], last: str) -> str:
    cells = [f"{mean[name]:.3f}" if mean.get(name) is not None else "" for name in SCORES]
    return f"| {' | '.join([label, *cells, last])} |"
