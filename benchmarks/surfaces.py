"""What the representation itself keeps of a surface, no network: mesh, six maps, fused field, mesh.

    python -m benchmarks.surfaces plates                 (closed thin boxes: 80 cells of the law, and 32 more)
    python -m benchmarks.surfaces normals                (five heads: normals where the maps saw the surface)
    python -m benchmarks.surfaces heads                  (ten heads: what the scores' ceilings are)
    python -m benchmarks.surfaces shapes --every 5       (a fifth of the set of real shapes; --bound: what views allow)
    python -m benchmarks.surfaces pictures bowl cup wheel mug --out PNG
    python -m benchmarks.surfaces table                  (surfaces.md made anew from surfaces.json)

A leg replaces its own block of surfaces.json (`--out` names another) and makes the Markdown beside it. Distances are in
units of the frame, resolutions in pixels, grids in nodes a side. All goes by the public `hexjax.render` and `hexjax.extract`.
"""

import argparse
import itertools
import json
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.spatial
from matplotlib import figure

import hexjax
from benchmarks import bounds, common, thin
from hexjax import api, cores, progress
from hexjax.data import sources
from hexjax.evaluation import shade
from hexjax.geometry import distance, frame, surface
from hexjax.geometry import mesh as meshes
from hexjax.types import Hexplane, Item, Mesh

FILE = common.RESULTS / "surfaces.json"
SCORES = tuple(f"f_score_{limit}" for limit in distance.THRESHOLDS)
SCORES += ("precision_0.01", "recall_0.01", "cd_l1", "normal_consistency", "flipped_normals", "v_iou", "failed")
SCORES += tuple(of + name for of in ("", "reference_") for name in ("faces", "components", "euler", "watertight"))
SAMPLES, FEWER = 100_000, 20_000  # of a head; of a plate and of a shape of the set

THICKNESSES, GRIDS = (0.001, 0.003, 0.01, 0.03), (64, 96, 128, 192, 256)
OTHER_GRID = 128  # of plates that are thin along x and z
LAWFUL = 0.99  # F@0.02

SEEN_HEADS = ("demosthenes", "goathead", "leeperrysmith", "leeperrysmith_5500", "suzanne")
NEAR = 0.01  # a sample nearer than this to a pixel's hit was seen
FINE_PX = 1024  # of the maps that tell what can be known at all: the greatest recall, and F@0.01's bound
SMALL, LARGE = (128, 192), (512, 256)  # resolution and grid

PICTURE_PX, TITLE_PX, TILT = 300, 30, 30  # a side, a row's title; degrees about x: what is open above shows its inside
WORST = 20


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    legs = parser.add_subparsers(dest="leg", required=True)
    for name in (*LEGS, "pictures", "table"):
        leg = legs.add_parser(name)
        leg.add_argument("--out", type=pathlib.Path, default=None if name == "pictures" else FILE)
        if name == "shapes":
            leg.add_argument("--every", type=int, default=1, help="take every so many-th shape by name")
            leg.add_argument("--bound", action="store_true", help="tell too what F@0.01 the views allow; twice as slow")
        if name == "pictures":
            leg.add_argument("names", nargs="+", help=f"{', '.join(thin.MADE)}, a file, or a name in shapes/ or heads/")
    arguments = parser.parse_args()
    if arguments.leg == "pictures":
        return pictures(arguments.names, arguments.out or pathlib.Path("surfaces.png"))
    if arguments.leg != "table":
        options = {"every": arguments.every, "bound": arguments.bound} if arguments.leg == "shapes" else {}
        machine = common.machine()
        seconds, rows = common.timed(lambda: LEGS[arguments.leg](**options))
        told = {"command": common.command("benchmarks.surfaces"), "machine": machine, "seconds": round(seconds, 1)}
        found = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
        found |= {arguments.leg: told | {"rows": rows}}
        common.write(arguments.out, json.dumps(found, indent=1) + "\n")
    found = json.loads(arguments.out.read_text(encoding="utf-8"))
    common.write(
        arguments.out.with_suffix(".md"), "\n".join(table(name, found[name]) for name in LEGS if name in found)
    )
    print("\n".join(table(name, found[name]) for name in found if arguments.leg in ("table", name)))


def mesh_of(maps: Hexplane, grid: int) -> tuple[Mesh, str]:
    """The mesh in the frame that the maps give, and what was told of it: the one way here from maps to a mesh."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        mesh = hexjax.extract(maps, grid=grid)
    return mesh, "; ".join(str(each.message) for each in told)


def ceiling(mesh: Mesh, resolution: int, grid: int, samples: int, score: Any = None) -> tuple[Any, Mesh, Hexplane]:
    """The row of a mesh in the frame, what comes back of it, and its maps; scored by `distance.score` or as asked."""
    maps = hexjax.render(api.own(mesh), resolution)
    seconds, (back, told) = common.timed(lambda: mesh_of(maps, grid))
    scores = (score or distance.score)(back, mesh, samples)
    kept = {name: scores[name] for name in SCORES if name in scores}
    sizes = {"resolution_px": resolution, "grid": grid, "seconds": round(seconds, 3), "told": told}
    return sizes | {name: _rounded(value) for name, value in kept.items()}, back, maps


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _each(work: Sequence[Any], what: str) -> Iterator[Any]:
    """The pieces of the work, with a line of progress."""
    with progress.Line(len(work), what) as line:
        for done, piece in enumerate(work):
            line.update(done)
            yield piece


def plates() -> list[dict[str, Any]]:
    """A row of every plate, resolution and grid, and whether it keeps the law: one closed part, a sphere's, in its place."""
    kinds = [*itertools.product("y", THICKNESSES, (False, True), (128, 512), GRIDS)]
    kinds += itertools.product("xz", THICKNESSES, (False, True), (128, 512), (OTHER_GRID,))
    rows = []
    for axis, thickness, turned, resolution, grid in _each(kinds, "plates"):
        row, back, _ = ceiling(thin.plate(axis, thickness, turned), resolution, grid, FEWER)
        lawful = row["components"] == 1 and row["euler"] == 2 and row["watertight"] and row["f_score_0.02"] >= LAWFUL
        mean = np.linalg.det(surface.corners(back)).sum() / 6 / (thin.LONG * thin.SHORT)
        rows.append({"thin": axis, "thickness": thickness, "turned": turned, "lawful": lawful})
        rows[-1] |= {"mean_thickness": _rounded(float(mean))} | row
    return rows


def normals() -> list[dict[str, Any]]:
    """A row of every head: the error of the normals of samples, of either surface, that lie beside a pixel's hit."""
    rows = []
    heads = [sources.items(str(common.data_folder() / f"heads/{name}.ply"), "", "y", 1, 0)[0] for name in SEEN_HEADS]
    for item, resolution in _each([*itertools.product(heads, (128, 512))], "normals"):
        row, back, maps = ceiling(item.mesh, resolution, LARGE[1], FEWER)
        rows.append({"name": item.name} | normal_error(back, item.mesh, maps) | row)
    return rows


def normal_error(mesh: Mesh, reference: Mesh, maps: Hexplane) -> dict[str, float | None]:
    """1 - mean |cos| with the closest point's normal over seen samples of both, and what share of each was seen."""
    tree = scipy.spatial.KDTree(np.asarray(frame.hit_points(maps.depth))[np.asarray(maps.mask)])
    found, shares = [], {"mesh_seen": None, "reference_seen": None}
    for name, (points, _, cosines) in zip(shares, sides(mesh, reference, SAMPLES) if len(mesh.faces) else ()):
        seen = np.isfinite(tree.query(points, distance_upper_bound=NEAR, workers=cores.allowed())[0])
        found.append(1 - cosines[seen])
        shares[name] = _rounded(float(seen.mean()))
    return {"normal_error": _rounded(float(np.concatenate(found).mean())) if found else None} | shares


def sides(mesh: Mesh, reference: Mesh, samples: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of the mesh, then of the reference: samples as `distance.score` draws them, distances to the other, |cos| there."""
    pair = [each._replace(faces=np.asarray(each.faces)[meshes.face_areas(each) > 0]) for each in (mesh, reference)]
    vectors = [surface.area_vectors(each) for each in pair]
    normal = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in vectors]
    for one, other in ((0, 1), (1, 0)):
        points, face = surface.sample(pair[one], samples, np.random.default_rng([0, one]))
        away, _, nearest = surface.closest(pair[other], points)
        yield points, away, np.abs(np.sum(normal[one][face] * normal[other][nearest], 1))


def surface_scores(mesh: Mesh, reference: Mesh, samples: int) -> dict[str, Any]:
    """Those of `distance.score` that want samples of the surfaces alone, a fifth of its time: no volumes, no pictures."""
    if not len(mesh.faces):
        return distance.score(mesh, reference, samples)
    (_, forward, one), (_, backward, other) = sides(mesh, reference, samples)
    consistency, apart = float(np.concatenate([one, other]).mean()), float(forward.mean() + backward.mean())
    scores = {"cd_l1": apart, "normal_consistency": consistency, "failed": False}
    for limit in distance.THRESHOLDS:
        precision, recall = float((forward <= limit).mean()), float((backward <= limit).mean())
        scores[f"f_score_{limit}"] = 2 * precision * recall / max(precision + recall, 1e-30)
        scores |= {f"precision_{limit}": precision, f"recall_{limit}": recall}
    told = {f"reference_{name}": value for name, value in meshes.topology(reference).items()}
    return scores | meshes.topology(mesh) | told


def heads() -> list[dict[str, Any]]:
    """A row of every head at both sizes."""
    items = sources.items(str(common.data_folder() / "heads"), "", "y", 0, 0)
    work = [*itertools.product(items, (LARGE, SMALL))]
    return [{"name": item.name} | ceiling(item.mesh, *sizes, SAMPLES)[0] for item, sizes in _each(work, "heads")]


def shapes(every: int, bound: bool) -> list[dict[str, Any]]:
    """A row of every so many-th shape of the set, by name; if asked, with what recall and F@0.01 views allow at most."""
    entries, rows = sources.listing(str(common.data_folder() / "shapes"), "", 0, 0)[::every], []
    for item in _each(sources.load(entries, "y", 0), "shapes"):
        rows.append({"name": item.name, "category": item.category, "doubtful": bool(item.mesh.winding_doubtful)})
        rows[-1] |= ceiling(item.mesh, *SMALL, FEWER, surface_scores)[0]
        if bound:  # of a mesh with all that some view tells and nothing else
            _, (points, *_) = sides(item.mesh, item.mesh, FEWER)
            seen = float(bounds.known(hexjax.render(api.own(item.mesh), FINE_PX), points).mean())
            rows[-1] |= {"seen": seen, "bound": _rounded(2 * seen / (1 + seen))}
    return rows


LEGS: dict[str, Callable] = {"plates": plates, "normals": normals, "heads": heads, "shapes": shapes}


def _item(name: str) -> Item:
    """A shape made here, of a file, or of the data folder."""
    if name in thin.MADE:
        mesh = hexjax.load(thin.MADE[name]())
        return Item(name, mesh, *hexjax.normalise(mesh))
    folder = common.data_folder()
    places = (pathlib.Path(name), folder / name, folder / f"shapes/{name}.npz", folder / f"heads/{name}.ply")
    place = next((place for place in places if place.is_file()), None)
    if place is None:
        raise FileNotFoundError(f"no shape {name}; there are {', '.join(thin.MADE)}, files, and the data folder's")
    return sources.items(str(place), "", "y", 1, 0)[0]


def pictures(wanted: Sequence[str], file: pathlib.Path) -> None:
    """Nothing; writes a picture with a row of every shape, the reference and what comes back, leaning to the front."""
    rows, titles = [], []
    for item in map(_item, wanted):
        row, back, _ = ceiling(item.mesh, *SMALL, FEWER, surface_scores)
        pair = [thin.placed(each, "x", (TILT,)) for each in (item.mesh, back)]
        views = [shade.shade(sight, np.reshape(shade.CLAY, (1, 3))) for sight in shade.look(pair, PICTURE_PX)]
        strip = np.concatenate([view for views_of in views for view in views_of], 1)
        rows.append(np.pad(strip, ((TITLE_PX, 0), (0, 0), (0, 0)), constant_values=255))
        titles.append(f"{item.name}: {_brief(row, 'reference_')} | {_brief(row)}, F@0.01 {row['f_score_0.01']:.3f}")
    sheet = np.concatenate(rows)
    h, w = sheet.shape[:2]
    canvas = figure.Figure((w / 100, h / 100), dpi=100)
    canvas.figimage(sheet)
    for number, title in enumerate(titles):
        canvas.text(12 / w, 1 - (number * len(sheet) / len(rows) + 8) / h, title, va="top", fontsize=11)
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(file)
    print("\n".join(titles))


def _brief(row: dict[str, Any], of: str = "") -> str:
    parts, shut = row[f"{of}components"], "" if row[f"{of}watertight"] else ", not watertight"
    return f"{parts} part{'s' * (parts != 1)}, Euler {row[f'{of}euler']}{shut}"


def table(leg: str, block: dict[str, Any]) -> str:
    """A leg's figures as Markdown."""
    rows, head = block["rows"], f"## {leg}\n\nMade by `{block['command']}` in {block['seconds']:.0f} s.\n\n"
    return head + {"plates": _plates, "normals": _normals, "heads": _heads, "shapes": _shapes}[leg](rows)


def _lines(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _plates(rows: list[dict[str, Any]]) -> str:
    law = f"Law: one part, Euler 2, watertight, F@0.02 ≥ {LAWFUL}. Cells: parts, Euler, F@0.02 / F@0.01, mean thickness.\n\n"
    cell = lambda row: (
        f"{'**holds**' if row['lawful'] else 'fails'}: {_brief(row)}, {row['f_score_0.02']:.3f} / "
        f"{row['f_score_0.01']:.3f}, {row['mean_thickness']:.4f}"
    )
    told = []
    for axes, grids in (("y", GRIDS), ("xz", (OTHER_GRID,))):
        own = [row for row in rows if row["thin"] in axes]
        of = lambda row: (row["thin"], row["thickness"], "turned" if row["turned"] else "axes", row["resolution_px"])
        kinds = [[*kind, *map(cell, group)] for kind, group in itertools.groupby(own, of)]
        told.append(f"{sum(row['lawful'] for row in own)} of {len(own)} cells hold the law, thin along {axes}.\n\n")
        told[-1] += _lines(["thin", "thickness", "pose", "maps", *(f"{grid}³" for grid in grids)], kinds)
    return law + "\n".join(told)


def _normals(rows: list[dict[str, Any]]) -> str:
    names = ["head", "maps", "grid", "1 − NC, seen", "mesh seen", "reference seen", "F@0.01", "parts", "Euler"]
    keys = ["name", "resolution_px", "grid", "normal_error", "mesh_seen", "reference_seen", "f_score_0.01"]
    return _lines(names, [[row[key] for key in (*keys, "components", "euler")] for row in rows])


def _heads(rows: list[dict[str, Any]]) -> str:
    names = ["head", "maps", "grid", "F@0.005", "F@0.01", "NC", "flipped", "parts", "Euler", "watertight"]
    keys = ["name", "resolution_px", "grid", *SCORES[:2], "normal_consistency", "flipped_normals", "components"]
    return _lines(names, [[row[key] for key in (*keys, "euler", "watertight")] for row in rows])


def _shapes(rows: list[dict[str, Any]]) -> str:
    genus = lambda row: {"parts": row["components"], "genus": row["components"] - row["euler"] / 2}
    rows = [row | genus(row) | {"gap": row.get("bound", 0) - row["f_score_0.01"]} for row in rows]
    limits = ("seen", "bound", "gap") if "bound" in rows[0] else ()
    summary = []
    for name in (*SCORES[:3], "normal_consistency", "cd_l1", *limits, "parts", "genus"):
        values = [row[name] for row in rows]
        summary.append([name, *(f"{value:.4f}" for value in (*np.percentile(values, (50, 10, 90)), np.mean(values)))])
    single = [row for row in rows if row["reference_components"] == 1 and row["reference_watertight"]]
    same = sum(row["components"] == 1 and row["euler"] == row["reference_euler"] for row in single)
    told = f"{len(rows)} shapes, {sum(row['failed'] for row in rows)} failed, {sum(row['watertight'] for row in rows)} "
    told += f"watertight; of {len(single)} that are one closed part {same} keep part and Euler number.\n\n"
    worst, names = sorted(rows, key=lambda row: row["f_score_0.01"])[:WORST], (*SCORES[1:3], *limits)
    told += _lines(["", "median", "10 %", "90 %", "mean"], summary) + f"\nThe {len(worst)} worst:\n\n"
    listed = [[row["name"], *(f"{row[name]:.3f}" for name in names), _brief(row)] for row in worst]
    return told + _lines(["shape", *names, "what comes back"], listed)


if __name__ == "__main__":
    main()
