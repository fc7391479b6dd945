"""The tables and pictures of `pictured`: of each run's pictured.json, and of what it drew."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import figure

from hexjax.evaluation import curve, likeness, page, shade
from hexjax.types import Array, Mesh, Scores

LABELS = {"cd_l1": "CD-L1", "f_score_0.02": "F@0.02", "v_iou": "V-IoU", "sdf_sign": "sign"}
WORST = 10  # shapes of the sheet
SIDE_PX = 130  # of each of its pictures


def publish(pages: Sequence[pathlib.Path], found: Mapping[str, Scores]) -> None:
    """Nothing; the tables are in the pages, or printed. A marker's word chooses a run by its folder, else it is the first.

    Raises:
        ValueError: as `page.publish`, and for a word that names none of the runs.
    """
    first = next(iter(found.values()))

    def choose(_: Scores, words: list[str]) -> Scores:
        if len(words) != 1 or words[0] not in found:
            raise ValueError(f"a marker names the run {' '.join(words)!r}; runs: {', '.join(found)}")
        return found[words[0]]

    page.publish(pages, "pictured", TABLES, first, choose)


def recall_table(found: Scores) -> str:
    """How trained shapes are found again, by views."""
    heads = ("views", "how many", "top-1, raw", "top-1, centred", "top-5, centred", "cosine, centred", "least",
             "different nearest, raw", "kept of the deviation")  # fmt: skip
    lines = []
    for row in found["recall"]:
        raw, centred = row["raw"], row["centred"]
        cells = [f"{raw['top1']:.0%}", f"{centred['top1']:.0%}", f"{centred['top5']:.0%}", f"{centred['cosine']:.4f}",
                 f"{centred['least']:.3f}", f"{raw['distinct']:.0%}", f"{row['kept']:.2f}"]  # fmt: skip
        lines.append([row["views"], str(row["count"]), *cells])
    told = f"{found['trained']} trained shapes; step {found['step']}."
    return _rows(heads, lines) + f"\n\n{told}"


def unseen_table(found: Scores) -> str:
    """What shapes that were never trained score, by what they are made of, and the verdicts."""
    lines = [[name, *("–" if row[key] is None else f"{row[key]:.3f}" for key in LABELS)]
             for name, row in found["unseen"].items()]  # fmt: skip
    first = f"{found['held']} shapes never trained; medians over shapes, of {found['draws']} draws of each the median"
    second = f"meshes on {found['grid']}³ nodes, {found['samples']:,} samples a side"
    told = [f"{first}; {second}. The number is of views, none of which was trained with.", ""]
    for count, each in found["verdicts"].items():
        near = [
            each["differences"][f"drawn, {count} against {other}, {count}"]["v_iou"] for other in ("nearest", "ridge")
        ]
        beside = ", ".join(
            f"IoU {middle:+.3f} ({low:+.3f} to {high:+.3f}) against {other}"
            for (middle, low, high), other in zip(near, ("the nearest", "ridge"))
        )
        told.append(f"- {count} views: **{each['verdict']}**: {each['reason']}; {beside}.")
    told.append("- Distance to the nearest training latent, median: " + ", ".join(
        f"{name} {value:.2f}" for name, value in found["to_nearest"].items()) + ".")  # fmt: skip
    control = found["search"]
    told.append(f"- Search, of {control['shapes']} trained shapes: V-IoU {control['own']:.3f} by their own latents, "
                f"{control['searched']:.3f} by searched ones.")  # fmt: skip
    return _rows(("what", *LABELS.values()), lines) + "\n\n" + "\n".join(told)


def levels_table(found: Scores) -> str:
    """The loss by noise level."""
    lines = [[str(row["level"]), f"{row['loss']:.4f}", f"{row['exact']:.4f}"] for row in found["levels"]]
    return _rows(("level", "loss, told by eight views", "exact denoiser of the trained latents, told nothing"), lines)


def category_table(found: Scores) -> str:
    """The V-IoU of shapes that were never trained, by category and by what they are made of."""
    names = [name for name in found["rows"] if name in CATEGORY_COLUMNS]
    lines = []
    for category in dict.fromkeys(
        row["category"] for row in sorted(found["rows"]["mean"], key=lambda row: row["category"])
    ):
        of = [[row["v_iou"] for row in found["rows"][name] if row["category"] == category] for name in names]
        lines.append(
            [category, str(len(of[0])), *(_number(np.median(each) if None not in each else None) for each in of)]
        )
    return _rows(("category", "shapes", *names), lines)


def kinds_table(found: Scores) -> str:
    """How often outputs are most like a shape of their own category, by category and in all."""
    rows = found["likeness"]
    sources = list(dict.fromkeys(row["source"] for row in rows))
    groups = {"all": rows} | {name: [row for row in rows if row["category"] == name]
                              for name in dict.fromkeys(sorted(row["category"] for row in rows))}  # fmt: skip
    lines = []
    for name, some in groups.items():
        shapes = {row["name"]: row["chance"] for row in some}
        if name != "all" and not max(shapes.values()):
            continue  # the only one of its category: nothing can be like it
        cells = []
        for source in sources:
            told = likeness.shares([row for row in some if row["source"] == source])
            cells.append(f"{told['by_features']:.0%} / {told['by_surface']:.0%}")
        lines.append([name, str(len(shapes)), f"{np.mean(list(shapes.values())):.0%}", *cells])
    told = (
        "Of each output the likest shape among all others of the run: by features of its views / by Chamfer distance."
    )
    return _rows(("category", "shapes", "chance", *sources), lines) + f"\n\n{told}"


def each_table(found: Scores) -> str:
    """Of each shape that was never trained what its first draw is most like, how elongated it is, and its Euler number."""
    drawn = [name for name in found["rows"] if name.startswith("drawn")][-1]
    lines = []
    for truth in (row for row in found["likeness"] if row["source"] == "truth"):
        rows = {source: next(row for row in found["likeness"] if (row["name"], row["source"]) == (truth["name"], source))
                for source in (drawn, drawn.replace("drawn", "nearest"))}  # fmt: skip
        one, other = rows.values()
        three = truth, one, other
        lines.append([truth["name"], truth["category"], str(one["likest"]), str(one["nearest"]),
                      "{} → {} ({})".format(*(_number(row["elongation"]) for row in three)),
                      "{} → {} ({})".format(*(row["euler"] for row in three))])  # fmt: skip
    heads = ("shape", "category", "likest of its draw, by features", "by surface", "elongation → drawn (retrieved)",
             "Euler number → drawn (retrieved)")  # fmt: skip
    return _rows(heads, lines)


def noise_table(found: Scores) -> str:
    """The V-IoU of trained shapes by noise on their latents."""
    lines = [[f"{row['noise']:g}", _number(row["v_iou"])] for row in found["noise"]]
    return _rows(("noise on the latent, in deviations", "V-IoU, median"), lines)


CATEGORY_COLUMNS = ("drawn, 8", "nearest, 8", "ridge, 8", "mean", "oracle", "searched", "ceiling")
TABLES: page.Tables = {
    "recall": recall_table, "unseen": unseen_table, "categories": category_table, "kinds": kinds_table,
    "each": each_table, "noise": noise_table, "levels": levels_table,
}  # fmt: skip


def draw_levels(found: Scores, path: curve.Target) -> None:
    """Writes the loss by level of noise, beside that of the mean and of the exact denoiser that is told nothing."""
    with curve.axes_of("Loss of x₀ by noise level, of standardised latents", "level", path) as axes:
        levels = [row["level"] for row in found["levels"]]
        for key, label, colour in (
            ("loss", "told by eight views", "#1b4965"),
            ("exact", "exact, told nothing", "#c8553d"),
        ):
            axes.plot(
                levels, [max(row[key], 1e-9) for row in found["levels"]], label=label, color=colour, marker="o", ms=3
            )
        axes.axhline(1, color="#999999", lw=0.8, ls=":", label="the mean")
        axes.set_yscale("log")
        axes.set_ylim(bottom=1e-5)


def draw_ranking(maps: Mapping[str, Float[Array, "n n"]], path: curve.Target) -> None:
    """Writes cosines of draws (rows) with the training latents (columns), centred, ordered by category: a map each."""
    with curve.styled():
        canvas = figure.Figure((4.6 * len(maps), 4.7), dpi=90, layout="constrained")
        for axes, (name, cosine) in zip(np.atleast_1d(canvas.subplots(1, len(maps))), maps.items()):
            shown = axes.imshow(cosine, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
            axes.set_title(f"drawn by {name}", loc="left")
            axes.set_xlabel("training latent, by category")
        canvas.colorbar(shown, ax=canvas.axes, shrink=0.7, label="cosine, centred")
        canvas.savefig(path, format="png")


def draw_sheet(lines: Sequence[tuple[str, UInt8[Array, "k h w c"], Mapping[str, Mesh]]], path: curve.Target) -> None:
    """Writes a sheet: a line a shape, with its caption, two of the views that tell it, and meshes from one angle."""
    clay, names = np.reshape(shade.CLAY, (1, 3)), list(lines[0][2])
    meshes = [mesh for _, _, columns in lines for mesh in columns.values()]
    pictures = iter([shade.shade(sight, clay)[0] for sight in shade.look(meshes, SIDE_PX)])
    with curve.styled():
        width, row, head, gap = len(names) + 2, SIDE_PX + 18, 26, 4
        size = (width * (SIDE_PX + gap), len(lines) * row + head)
        sheet, canvas = (
            np.full((size[1], size[0], 3), 255, np.uint8),
            figure.Figure((size[0] / 100, size[1] / 100), dpi=100),
        )
        say = lambda x, y, text, **style: canvas.text(x / size[0], 1 - y / size[1], text, va="center", **style)
        for column, name in enumerate(("views", "", *names)):
            say(column * (SIDE_PX + gap) + 3, head / 2, name, fontsize=9, color="#444444")
        for number, (caption, shown, columns) in enumerate(lines):
            top = head + number * row
            tiles = [_scaled(picture) for picture in shown[:2]] + [next(pictures) for _ in columns]
            for column, tile in enumerate(tiles):
                left = column * (SIDE_PX + gap)
                sheet[top : top + SIDE_PX, left : left + SIDE_PX] = tile
            say(3, top + SIDE_PX + 8, caption, fontsize=8, color="#666666")
        canvas.figimage(sheet, zorder=-1)
        canvas.savefig(path, format="png")


def _scaled(picture: UInt8[Array, "h w c"]) -> UInt8[np.ndarray, "s s 3"]:
    """The first colours of a picture, or its one, with the nearest of its pixels at each place."""
    at = (np.arange(SIDE_PX) * len(picture) / SIDE_PX).astype(int)
    return np.broadcast_to(picture[at][:, at, : 3 if picture.shape[-1] > 2 else 1], (SIDE_PX, SIDE_PX, 3))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rows(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *lines))
