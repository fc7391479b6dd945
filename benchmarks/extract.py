"""From six maps to a mesh: dense against coarse to fine, seconds of every part, and peak memory.

    python -m benchmarks.extract                    (two shapes, grids of 128, 256 and 512, about five minutes on two cores)
    python -m benchmarks.extract --toy              (a procedural head at toy size, in seconds; nothing in results/)
    python -m benchmarks.extract --table            (extract.md made anew from extract.json)

Each case runs in a process of its own without the persistent compilation cache, on maps that another process rendered.
Both ways polygonise alike, so that they are told apart in the field alone; beside them stands what scikit-image takes for
the same grid when it looks at every cell. The meshes of both ways are compared.
"""

import argparse
import contextlib
import functools
import json
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import common

SHAPES = ("heads/leeperrysmith.ply", "shapes/furniture_aws_chaira_01.npz")
WAYS = ("dense", "coarse_to_fine")
RESOLUTION, GRIDS, PART = 512, (128, 256, 512), 0.01
TOY_RESOLUTION, TOY_GRIDS = 64, (24, 40)
RUNS, FEWER, LONG = 10, 3, 3.0  # runs after the first; fewer where one takes longer than so many seconds
PARTS = {  # name -> how it is told
    "proofs": "proofs",
    "evaluation": "evaluation",
    "assembling": "assembling",
    "thin": "thin parts",
    "closing": "closing, crop",
    "marching": "scikit-image",
    "cleaning": "small parts, topology",
}
FILE = common.RESULTS / "extract.json"


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="a procedural head on small grids, to see that all works")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON to write, extract.json in results/benchmarks")
    parser.add_argument("--grids", default=",".join(map(str, GRIDS)), help="nodes a side, with commas")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, *rest = arguments.worker
        print(json.dumps({"make": make, "measure": measure, "compare": compare}[kind](*rest)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.output or (pathlib.Path(folder) / FILE.name if arguments.toy else FILE)
        if not arguments.table:
            benchmark(arguments.toy, [int(grid) for grid in arguments.grids.split(",")], file)
        text = table(json.loads(file.read_text(encoding="utf-8")))
        common.write(file.with_suffix(".md"), text)
    print(text)


def benchmark(toy: bool, grids: list[int], file: pathlib.Path) -> None:
    """Nothing; measures each case in a process of its own and writes what there is after each pair."""
    found = {"command": common.command("benchmarks.extract"), "machine": common.machine()}
    found |= {"resolution_px": TOY_RESOLUTION if toy else RESOLUTION, "rows": []}
    at_hand = [str(common.data_folder() / shape) for shape in SHAPES if (common.data_folder() / shape).is_file()]
    with tempfile.TemporaryDirectory() as folder:
        for source in ["procedural"] if toy or not at_hand else at_hand:
            maps, name = str(pathlib.Path(folder) / "maps.npz"), pathlib.Path(source).stem
            shape = {"shape": name, **_work("make", source, maps, str(found["resolution_px"]))}
            for grid in TOY_GRIDS if toy else grids:
                meshes = [str(pathlib.Path(folder) / f"{way}.npz") for way in WAYS]
                rows = [shape | _work("measure", maps, str(grid), *pair) for pair in zip(WAYS, meshes)]
                found["rows"] += [row | _work("compare", *meshes) for row in rows]
                common.write(file, json.dumps(found, indent=2) + "\n")


def _work(*arguments: str) -> dict[str, Any]:
    return common.work("benchmarks.extract", *arguments)


def make(source: str, file: str, resolution: str) -> dict[str, Any]:
    """How many faces the shape has whose maps are written to the file."""
    import numpy as np

    from hexjax.data import sources
    from hexjax.geometry import hexplane

    item = sources.items("" if source == "procedural" else source, "procedural", "y", 1, 0)[0]
    maps = hexplane.render(item.mesh, int(resolution))
    np.savez(file, **{name: np.asarray(value) for name, value in maps._asdict().items()})
    return {"faces_in": len(item.mesh.faces)}


def measure(file: str, grid: str, way: str, output: str) -> dict[str, Any]:
    """One case: the first call, the median of later ones, its parts, and the peak of memory; the mesh is written."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from skimage import measure as scikit

    from hexjax.geometry import blocks, field, isosurface
    from hexjax.types import Hexplane

    with np.load(file) as arrays:
        maps = jax.block_until_ready(Hexplane(*(jnp.asarray(arrays[name]) for name in Hexplane._fields)))
    count, dense, device = int(grid), way == "dense", jax.devices()[0]
    held, resets = common.peak_mib(), common.reset_peak()
    ask = functools.partial(jax.jit(field.fuse), maps)
    extract = lambda: isosurface.polygonise(blocks.grid(maps, count, dense), PART, ask)
    first, (mesh, report) = common.timed(extract)
    runs = RUNS if first < LONG else FEWER
    seconds = [common.timed(extract)[0] for _ in range(runs)]
    peak = common.peak_mib()
    told = [_parts(maps, count, dense, ask) for _ in range(runs)]
    parts = {name: round(statistics.median(one[name] for one in told), 4) for name in told[0]}
    np.savez(output, vertices=mesh.vertices, faces=mesh.faces)
    values = blocks.grid(maps, count, dense)
    every_cell = [common.timed(lambda: scikit.marching_cubes(values, 0.0))[0] for _ in range(FEWER)]
    return {
        "grid": count,
        "way": way,
        "device": f"{device.platform}: {device.device_kind}",
        "runs": runs,
        "first_seconds": round(first, 4),
        "seconds": round(statistics.median(seconds), 4),
        "parts": parts,
        "every_cell_seconds": round(statistics.median(every_cell), 4),
        "held_before_mib": held,
        "peak_mib": peak,
        "peak_is_of_the_extraction": resets,
        "vertices_out": report["vertices"],
        "faces_out": report["faces"],
        "watertight": report["watertight"],
    }


def _parts(maps: Any, count: int, dense: bool, ask: Callable) -> dict[str, float]:
    """Seconds of each part of one extraction; waiting for each adds a little to the whole."""
    from hexjax.geometry import blocks, field, isosurface, thin
    from hexjax.geometry import mesh as meshes

    spent: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        for owner, name in ((field, "pixels"), (blocks, "_proofs"), (blocks, "_columns"), (blocks, "_nodes")):
            stack.enter_context(_watched(owner, name, spent))
        for owner, name in ((isosurface.measure, "marching_cubes"), (isosurface, "drop_small_parts")):
            stack.enter_context(_watched(owner, name, spent))
        for owner, name in ((thin, "move"), (thin, "settle"), (meshes, "topology")):
            stack.enter_context(_watched(owner, name, spent))
        fused, values = common.timed(lambda: blocks.grid(maps, count, dense))
        polygonised, _ = common.timed(lambda: isosurface.polygonise(values, PART, ask))
    proofs, evaluation = spent["pixels"] + spent["_proofs"], spent["_columns"] + spent["_nodes"]
    marching, cleaning = spent["marching_cubes"], spent["drop_small_parts"] + spent["topology"]
    thinner = spent["move"] + spent.get("settle", 0.0)
    return {
        "field": fused,
        "polygonise": polygonised,
        "proofs": proofs,
        "evaluation": evaluation,
        "assembling": fused - proofs - evaluation,
        "thin": thinner,
        "closing": polygonised - thinner - marching - cleaning,
        "marching": marching,
        "cleaning": cleaning,
    }


@contextlib.contextmanager
def _watched(owner: Any, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Within it, a module's function adds the seconds of its calls to what was spent."""
    import jax

    function = getattr(owner, name)

    def watched(*arguments: Any, **named: Any) -> Any:
        elapsed, value = common.timed(lambda: jax.block_until_ready(function(*arguments, **named)))
        spent[name] = spent.get(name, 0.0) + elapsed
        return value

    setattr(owner, name, watched)
    try:
        yield
    finally:
        setattr(owner, name, function)


def compare(one: str, other: str) -> dict[str, Any]:
    """Whether two meshes have the same faces, and their vertices' largest distance along an axis where they do."""
    import numpy as np

    with np.load(one) as first, np.load(other) as second:
        same = bool(np.array_equal(first["faces"], second["faces"]))
        apart = float(np.abs(first["vertices"] - second["vertices"]).max(initial=0)) if same else None
    return {"same_faces": same, "vertices_apart": apart}


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown: one row a case."""
    machine, rows = found["machine"], found["rows"]
    shown = [name for name in PARTS if name in rows[0]["parts"]]  # older files tell of no thin parts
    lines = [
        f"Made by `{found['command']}` from maps of {found['resolution_px']}²; {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {rows[0]['device']}; python {machine['python']}, jax {machine['versions']['jax']}, "
        f"scikit-image {machine['versions']['scikit-image']}; load average {machine['load_average_before']} before the start.",
        "",
        "Seconds: median of later calls (of the first one, with compilation). Peak: resident MiB while extracting, with what "
        "the process held before. All cells: scikit-image alone on the whole grid.",
        "",
        "| shape | grid | way | seconds (first) | "
        + " | ".join(PARTS[name] for name in shown)
        + " | share of scikit-image | all cells "
        "| dense / this, whole | field | peak MiB | faces out | same as dense |",
        "|---" * (len(shown) + 11) + "|",
    ]
    slow = {(row["shape"], row["grid"]): row for row in rows if row["way"] == "dense"}
    for row in rows:
        reference, parts = slow[row["shape"], row["grid"]], row["parts"]
        cells = [row["shape"], f"{row['grid']}³", row["way"].replace("_", " ")]
        cells += [f"{row['seconds']:.3f} ({row['first_seconds']:.2f})", *(f"{parts[name]:.3f}" for name in shown)]
        cells += [
            f"{parts['marching'] / (parts['field'] + parts['polygonise']):.0%}",
            f"{row['every_cell_seconds']:.3f}",
        ]
        cells += [f"{reference['seconds'] / row['seconds']:.1f}", f"{reference['parts']['field'] / parts['field']:.1f}"]
        same = f"yes, within {row['vertices_apart']:.0e}" if row["same_faces"] else "no"
        lines.append("| " + " | ".join([*cells, f"{row['peak_mib']:.0f}", f"{row['faces_out']:,}", same]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
