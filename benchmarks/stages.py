"""Peak memory and seconds of every stage for meshes of about 1 K, 10 K, 100 K and 1 M faces.

    python -m benchmarks.stages                 (all sizes, about five minutes on two cores)
    python -m benchmarks.stages --table         (stages.md made anew from stages.json)

Each size runs in a process of its own without the persistent compilation cache. The meshes are made from
leeperrysmith.ply (quadric decimation, then Loop subdivision), or from a displaced sphere where it is not at hand.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import common

HEAD = "heads/leeperrysmith.ply"
SIZES = {"1k": (1_000, 0), "10k": (10_000, 0), "100k": (6_250, 2), "1m": (15_625, 3)}  # faces, then subdivisions
RUNS = [(size, 512, True) for size in SIZES] + [("1m", 1024, False)]  # size, pixels a side, every stage or to render
GRID, SAMPLES, POOL, PART = 256, 100_000, 131_072, 0.01
STAGES = {  # name -> how it is told
    "load": "load (PLY)",
    "normalise": "normalise",
    "render": "render",
    "field": f"field grid {GRID}³",
    "polygonise": "polygonise",
    "score": f"score ({SAMPLES:,} samples)",
    "ceiling": "ceiling, render to score",
    "sdf_pool": f"sdf pool ({POOL:,})",
}
CEILING = ("render", "field", "polygonise", "score")
FILE = common.RESULTS / "stages.json"


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="only make stages.md from stages.json")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, *rest = arguments.worker
        print(json.dumps(make(pathlib.Path(rest[0])) if kind == "make" else measure(*rest)))
        return
    if not arguments.table:
        common.write(FILE, json.dumps(benchmark(), indent=2) + "\n")
    text = table(json.loads(FILE.read_text(encoding="utf-8")))
    common.write(FILE.with_suffix(".md"), text)
    print(text)


def benchmark() -> dict[str, Any]:
    """All measurements, each size in a process of its own."""
    told = common.machine()
    with tempfile.TemporaryDirectory() as folder:
        made = common.work("benchmarks.stages", "make", folder)
        rows = []
        for size, resolution, whole in RUNS:
            file = pathlib.Path(folder) / f"{size}.ply"
            rows.append(common.work("benchmarks.stages", "measure", str(file), str(resolution), str(int(whole))))
    sizes = {"grid": GRID, "samples": SAMPLES, "pool_points": POOL}
    return (
        {"command": "python -m benchmarks.stages", "machine": told, "source": made["source"]} | sizes | {"runs": rows}
    )


def make(folder: pathlib.Path, sizes: Mapping[str, tuple[int, int]] = SIZES) -> dict[str, Any]:
    """What the meshes were made from; they are written to the folder as binary PLY files.

    Args:
        sizes: name -> faces, then subdivisions, each of which makes four of one.
    """
    import igl
    import numpy as np
    import trimesh

    vertices, faces, source = _source()
    for name, (count, subdivisions) in sizes.items():
        points, triangles = igl.qslim(vertices, faces, count)[:2]
        if subdivisions:
            points, triangles = igl.loop(points, triangles, subdivisions)
        mesh = trimesh.Trimesh(np.asarray(points, np.float32), triangles, process=False)
        (folder / f"{name}.ply").write_bytes(mesh.export(file_type="ply"))
    return {"source": source}


def _source() -> tuple[Any, Any, str]:
    """Vertices and faces of the head if it is at hand, else of a displaced sphere, and which of them it is."""
    import numpy as np
    import trimesh

    from hexjax.data import meshfile

    file = common.data_folder() / HEAD
    if file.is_file():
        mesh = meshfile.load(file)
        return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64), file.name
    sphere = trimesh.creation.icosphere(5)
    x, y, z = sphere.vertices.T
    height = 1 + 0.08 * np.sin(7 * x + 1) * np.sin(6 * y + 2) * np.sin(5 * z + 3)
    return sphere.vertices * height[:, None], np.asarray(sphere.faces, np.int64), "displaced icosphere"


class Meter:
    """Stages as measured: seconds of the first call, median of later ones, and peak resident memory."""

    def __init__(self):
        self.stages: dict[str, dict[str, float | None]] = {}

    def run(self, name: str, function: Callable[[], Any], later: int = 0) -> Any:
        """What the function gives; it is called once, and `later` times more."""
        common.reset_peak()
        first, value = common.timed(function)
        again = [common.timed(function)[0] for _ in range(later)]
        median = round(statistics.median(again), 4) if again else None
        self.stages[name] = {"first_seconds": round(first, 4), "later_seconds": median, "peak_mib": common.peak_mib()}
        return value


def measure(path: str, resolution: str, whole: str) -> dict[str, Any]:
    """One size's measurements, in this process; `whole` is 0 where they end with the render."""
    import jax

    from hexjax.data import meshfile
    from hexjax.geometry import blocks, distance, hexplane, isosurface, sdf
    from hexjax.geometry import mesh as meshes

    device = jax.devices()[0]
    imported, side, meter = common.peak_mib(), int(resolution), Meter()
    source = meter.run("load", lambda: meshfile.load(path))
    mesh = meter.run("normalise", lambda: meshes.normalise(source)[0], later=2)
    maps = meter.run("render", lambda: jax.block_until_ready(hexplane.render(mesh, side)), later=5)
    if whole == "1":
        values = meter.run("field", lambda: blocks.grid(maps, GRID), later=2)
        surface = meter.run("polygonise", lambda: isosurface.polygonise(values, PART)[0], later=2)
        spacing = 2 / (GRID - 1)
        scores = meter.run("score", lambda: distance.score(surface, mesh, SAMPLES, 0, spacing))
        meter.stages["ceiling"] = _sum([meter.stages[name] for name in CEILING])
        meter.run("sdf_pool", lambda: sdf.query_pool(mesh, POOL, 0))
    row = {
        "faces": len(mesh.faces),
        "vertices": len(mesh.vertices),
        "resolution_px": side,
        "device": f"{device.platform}: {device.device_kind}",
        "peak_is_of_each_stage": common.reset_peak(),
        "imported_mib": imported,
        "peak_mib": max([imported] + [stage["peak_mib"] for stage in meter.stages.values()]),
        "stages": meter.stages,
    }
    return row | ({"f_score_0.01": scores["f_score_0.01"], "faces_out": scores["faces"]} if whole == "1" else {})


def _sum(stages: list[dict[str, float | None]]) -> dict[str, float]:
    """A chain of stages: the sum of their seconds (of the first call where there is no later one), the largest peak."""
    first = sum(stage["first_seconds"] for stage in stages)
    later = sum(stage["later_seconds"] or stage["first_seconds"] for stage in stages)
    peak = max(stage["peak_mib"] for stage in stages)
    return {"first_seconds": round(first, 4), "later_seconds": round(later, 4), "peak_mib": peak}


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown: one row a stage, one column a size."""
    machine, rows = found["machine"], found["runs"]
    load = machine["load_average_before"]
    lines = [
        f"Made by `{found['command']}` from stages.json; meshes made from {found['source']}.",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {rows[0]['device']}; python "
        f"{machine['python']}, jax {machine['versions']['jax']}; load average {load} before the start.",
        "",
        "Seconds of the first call (with compilation) / median of later calls · peak resident memory during the stage, "
        "MiB (what the process held before it is included).",
        "",
        "| faces | " + " | ".join(f"{row['faces']:,}" for row in rows) + " |",
        "|---|" + "---|" * len(rows),
        "| after import | " + " | ".join(f"{row['imported_mib']:.0f} MiB" for row in rows) + " |",
    ]
    for name, title in STAGES.items():
        lines.append(f"| {title} | " + " | ".join(_cell(row, name) for row in rows) + " |")
    lines.append("| peak of all | " + " | ".join(f"{row['peak_mib']:.0f} MiB" for row in rows) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], name: str) -> str:
    stage = row["stages"].get(name)
    if stage is None:
        return ""
    later = "" if stage["later_seconds"] is None else f" / {_seconds(stage['later_seconds'])}"
    side = f"{row['resolution_px']}²: " if name == "render" else ""
    return f"{side}{_seconds(stage['first_seconds'])}{later} s · {stage['peak_mib']:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


if __name__ == "__main__":
    main()
