"""How many pictures of meshes are made in a second: the 64 cameras of the config around each of twelve meshes.

    python -m benchmarks.views                  (shapes/ of the data folder; solids made in code where it is not at hand)
    python -m benchmarks.views FOLDER           (meshes of that folder)
    python -m benchmarks.views --toy            (two solids at 28², to a temporary folder)
    python -m benchmarks.views --table          (views.md made anew from views.json)

Of a folder the meshes are those whose numbers of faces lie nearest to an even spread between the least and the most, as
powers go. Each resolution and shading is measured in a process of its own without the persistent compilation cache and
without the cache of fields: all meshes one after the other from their arrays to bytes on the host, what is compiled
counted in and told apart, then again and again.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import common, steps

MESHES, RUNS = 12, 3  # runs after the first
CASES = ((224, "lambert"), (224, "rough"), (112, "lambert"), (112, "rough"))  # pixels a side, shading; all shaded
GOAL, PUBLISHED = 50.0, 1.1  # views a second at 224² on two CPU cores: to be reached, and of a published study
TOY = ((28, "rough"),)
FILE = common.RESULTS / "views.json"


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="", help="of meshes; shapes/ of the data folder by default")
    parser.add_argument(
        "--toy", action="store_true", help="two solids at 28²; writes to --output or a temporary folder"
    )
    parser.add_argument("--output", type=pathlib.Path, help="the JSON; results/benchmarks/views.json by default")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, *rest = arguments.worker
        print(json.dumps(picked(*rest) if kind == "pick" else measure(*rest)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.output or (pathlib.Path(folder) / FILE.name if arguments.toy else FILE)
        if not arguments.table:
            benchmark(arguments.folder, arguments.toy, file)
        text = table(json.loads(file.read_text(encoding="utf-8")))
        common.write(file.with_suffix(".md"), text)
        print(text)


def benchmark(folder: str, toy: bool, file: pathlib.Path) -> None:
    """Nothing; measures each case in a process of its own and writes what there is after each."""
    place = pathlib.Path(folder).resolve() if folder else common.data_folder() / "shapes"
    path = str(place) if place.exists() or folder else ""
    found: dict[str, Any] = {"command": common.command("benchmarks.views"), "machine": common.machine()}
    found |= {"goal_views_per_second": GOAL, "published_views_per_second": PUBLISHED}
    path, count = ("", 2) if toy else (path, MESHES)
    names = common.work("benchmarks.views", "pick", path, str(count)) if path else []
    found |= {"source": place.name if path else "solids made in code", "rows": []}
    for resolution, shading in TOY if toy else CASES:
        asked = (path, json.dumps(names), str(count), str(resolution), shading, str(1 if toy else RUNS))
        found["rows"].append(common.work("benchmarks.views", "measure", *asked))
        common.write(file, json.dumps(found, indent=2) + "\n")


def picked(path: str, count: str) -> list[str]:
    """Names of so many meshes of a path, of few faces first."""
    from hexjax.data import sources

    items = [item for item in sources.items(path, "solids", "y", 0, 0) if len(item.mesh.faces)]
    return [items[place].name for place in spread([len(item.mesh.faces) for item in items], int(count))]


def spread(sizes: Sequence[int], count: int) -> list[int]:
    """Places of so many different sizes, ascending: each the nearest left to even steps of their logarithm; all if fewer."""
    import numpy as np

    logarithms, left = np.log(np.asarray(sizes, np.float64)), set(range(len(sizes)))
    chosen = []
    for asked in np.linspace(logarithms.min(), logarithms.max(), min(count, len(sizes))):
        chosen.append(min(sorted(left), key=lambda place: abs(logarithms[place] - asked)))
        left.remove(chosen[-1])
    return sorted(chosen, key=lambda place: (sizes[place], place))


def measure(path: str, names: str, count: str, resolution: str, shading: str, runs: str) -> dict[str, Any]:
    """One case, in this process.

    Args:
        names: of the meshes of the path, as JSON; without a path so many solids are made.
    """
    import jax

    from configs import base
    from hexjax.data import sources, views

    compiled = common.compilations()
    settings = base.get_config().views
    settings.resolution_px, settings.shading = int(resolution), shading
    asked = json.loads(names)
    items = sources.items(path, "solids", "y", len(asked) or int(count), 0, asked)
    jax.block_until_ready(jax.numpy.zeros(1))
    views.angles(settings.count)
    compiled.clear()
    each = lambda: [common.timed(lambda item=item: views.make(item.mesh, settings))[0] for item in items]
    first = each()
    programs, seconds = len(compiled), sum(compiled)
    later = [each() for _ in range(int(runs))]
    pictures, device = settings.count * len(items), jax.devices()[0]
    took, again = sum(first), steps.spread([sum(run) for run in later])
    rate = lambda seconds: round(pictures / seconds, 2)
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "resolution_px": settings.resolution_px,
        "channels": settings.channels,
        "shading": shading,
        "cameras": settings.count,
        "meshes": [
            {"name": item.name, "faces": len(item.mesh.faces), "first_seconds": round(once, 3)}
            | {"seconds": round(statistics.median(run[place] for run in later), 4)}
            for place, (item, once) in enumerate(zip(items, first))
        ],
        "compilations": programs,
        "compile_seconds": round(seconds, 2),
        "first": {"seconds": round(took, 3), "views_per_second": rate(took)},
        "first_without_compiling": {"seconds": round(took - seconds, 3), "views_per_second": rate(took - seconds)},
        "later": again | {"views_per_second": rate(again["seconds"])},
        "later_compilations": len(compiled) - programs,
    }


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown, one line a case, then the meshes of the first case."""
    machine, rows = found["machine"], found["rows"]
    faces = [mesh["faces"] for mesh in rows[0]["meshes"]]
    goal, published = found["goal_views_per_second"], found["published_views_per_second"]
    lines = [
        f"Made by `{found['command']}`, {len(faces)} meshes ({found['source']}) of {min(faces):,} to {max(faces):,} faces, "
        f"{rows[0]['cameras']} views each; {machine['cpu']}, {machine['cores']} cores, {rows[0]['device']}; jax "
        f"{machine['versions']['jax']}; load average {machine['load_average_before']} before the start. Aimed at: {goal:.0f} "
        f"views a second at 224² on two cores; a published study tells {published}.",
        "",
        "| pictures | views/s, compilations counted in | compilations (s) | views/s without | later runs, views/s | times "
        "the published |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        rate, first, bare = (row[key]["views_per_second"] for key in ("later", "first", "first_without_compiling"))
        times = f"{rate / published:.0f}" if row["resolution_px"] == 224 else ""
        cells = [f"{row['resolution_px']}², {row['channels']}, {row['shading']}", f"{first:.1f}"]
        cells += [f"{row['compilations']} ({row['compile_seconds']:.1f})", f"{bare:.1f}", f"{rate:.1f}", times]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| mesh | faces |" + "".join(f" {_case(row)}, views/s |" for row in rows),
        "|---|---|" + "---|" * len(rows),
    ]
    for place, mesh in enumerate(rows[0]["meshes"]):
        times = [f"{row['cameras'] / max(row['meshes'][place]['seconds'], 1e-4):.0f}" for row in rows]
        lines.append(f"| {mesh['name']} | {mesh['faces']:,} | {' | '.join(times)} |")
    return "\n".join(lines) + "\n"


def _case(row: dict[str, Any]) -> str:
    return f"{row['resolution_px']}² {row['shading']}"


if __name__ == "__main__":
    main()
