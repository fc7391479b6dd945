"""Signed distances of 200 K points to meshes of 1 K to 100 K faces: ours beside Open3D, libigl and point-cloud-utils.

    python -m benchmarks.sdf                    (all sizes, under two minutes on two cores)
    python -m benchmarks.sdf --toy              (a few seconds, to a temporary folder)
    python -m benchmarks.sdf --table            (sdf.md made anew from sdf.json)

Each mesh runs in a process of its own; all contenders take turns in it, from NumPy arrays to NumPy arrays, each building
its own tree. The points are drawn as `sdf.query_pool` draws them. The meshes are those of benchmarks.stages and one of
20 K faces; "open" is that one without its lower end. Ours is host code (libigl and NumPy on all cores), so that it costs
the same beside a GPU.
"""

import argparse
import importlib.metadata
import json
import pathlib
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import common, stages

SIZES = {"1k": (1_000, 0), "10k": (10_000, 0), "20k": (5_000, 1), "100k": (6_250, 2)}  # faces, then subdivisions
RUNS = [(size, False) for size in SIZES] + [("20k", True)]  # size, and whether the lower end is cut off
POINTS, ROUNDS = 200_000, 11
CUT = -0.6  # world units: below this height the open mesh has no faces
AWAY = 1e-5  # world units: nearer to the surface than this, rounding of the points alone decides the side
PEERS = {"open3d": "Open3D", "igl": "libigl", "point_cloud_utils": "point-cloud-utils"}
FILE = common.RESULTS / "sdf.json"


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="1 K faces and 2,000 points, twice, to a temporary folder")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON; its Markdown is written beside it")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, *rest = arguments.worker
        print(json.dumps(make(pathlib.Path(rest[0])) if kind == "make" else measure(*rest)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.output or (pathlib.Path(folder) / "sdf.json" if arguments.toy else FILE)
        if not arguments.table:
            common.write(file, json.dumps(benchmark(arguments.toy), indent=2) + "\n")
        text = table(json.loads(file.read_text(encoding="utf-8")))
        common.write(file.with_suffix(".md"), text)
    print(text)


def benchmark(toy: bool) -> dict[str, Any]:
    """All measurements, each mesh in a process of its own."""
    found: dict[str, Any] = {"command": "python -m benchmarks.sdf" + " --toy" * toy, "machine": common.machine()}
    found["peers"] = {name: _version(name) for name in PEERS}
    found |= {"points": 2_000 if toy else POINTS, "rounds": 2 if toy else ROUNDS}
    with tempfile.TemporaryDirectory() as folder:
        found |= common.work("benchmarks.sdf", "make", folder) | {"runs": []}
        for size, opened in [("1k", False), ("1k", True)] if toy else RUNS:
            file = str(pathlib.Path(folder) / f"{size}.ply")
            arguments = (file, str(int(opened)), str(found["points"]), str(found["rounds"]))
            found["runs"].append(common.work("benchmarks.sdf", "measure", *arguments))
    return found


def _version(module: str) -> str | None:
    """The version of the distribution that has the module (there are several of Open3D), if one is installed."""
    names = importlib.metadata.packages_distributions().get(module)
    return importlib.metadata.version(names[0]) if names else None


def make(folder: pathlib.Path) -> dict[str, Any]:
    """What the meshes were made from; they are written to the folder as binary PLY files."""
    return stages.make(folder, SIZES)


def measure(path: str, opened: str, points: str, rounds: str) -> dict[str, Any]:
    """One mesh's measurements, in this process; `opened` is 1 where its lower end is to be cut off."""
    import numpy as np

    from hexjax.data import meshfile
    from hexjax.geometry import mesh as meshes
    from hexjax.geometry import sdf

    mesh = meshes.normalise(meshfile.load(path))[0]
    if opened == "1":
        mesh = mesh._replace(faces=mesh.faces[mesh.vertices[mesh.faces][..., 1].min(1) > CUT])
    queries = sdf.query_pool(mesh, int(points), 0)[0]
    contenders = {"ours": lambda: sdf.signed_distance(mesh, queries)} | peers(mesh, queries)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    values: dict[str, Any] = {}
    for _ in range(int(rounds) + 1):
        for name, call in contenders.items():
            elapsed, values[name] = common.timed(call)
            seconds[name].append(elapsed)
    value, doubtful = values.pop("ours")
    row: dict[str, Any] = {"faces": len(mesh.faces), "open": opened == "1", "parity_holds": sdf.parity_holds(mesh)}
    row |= {"doubtful_share": round(float(np.mean(doubtful)), 6), "contenders": {}}
    for name, taken in seconds.items():
        told = {"first_seconds": round(taken[0], 4), "seconds": round(statistics.median(taken[1:]), 4)}
        row["contenders"][name] = told | {"fastest_seconds": round(min(taken[1:]), 4)}
    for name, other in values.items():
        row["contenders"][name] |= agreement(value, doubtful, np.asarray(other))
    return row


def peers(mesh: Any, queries: Any) -> dict[str, Callable[[], Any]]:
    """The peers that import, each as a call that gives the signed distances of the queries."""
    import numpy as np

    vertices, faces, doubles = (
        np.asarray(mesh.vertices, np.float64),
        np.asarray(mesh.faces, np.int64),
        queries.astype(np.float64),
    )
    found: dict[str, Callable[[], Any]] = {}
    try:
        import open3d
    except (ImportError, OSError):  # OSError: a shared library that is not there
        pass
    else:

        def cast() -> Any:
            scene = open3d.t.geometry.RaycastingScene()
            scene.add_triangles(mesh.vertices, mesh.faces.astype(np.uint32))
            return scene.compute_signed_distance(queries).numpy()

        found["open3d"] = cast
    import igl

    winding = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
    found["igl"] = lambda: igl.signed_distance(doubles, vertices, faces, winding)[0]
    try:
        import point_cloud_utils
    except (ImportError, OSError):  # OSError: a shared library that is not there
        pass
    else:
        found["point_cloud_utils"] = lambda: point_cloud_utils.signed_distance_to_mesh(
            queries, mesh.vertices, mesh.faces
        )[0]
    return found


def agreement(value: Any, doubtful: Any, other: Any) -> dict[str, float | int | None]:
    """How far a peer's distances are from ours, and how many signs differ, where ours is certain and where doubtful."""
    import numpy as np

    signs = (value < 0) != (other < 0)
    certain = ~doubtful & (np.abs(value) > AWAY)
    same = certain & ~signs

    def share(part: np.ndarray) -> float | None:
        return float(f"{signs[part].mean():.3g}") if part.any() else None

    return {
        "largest_difference": float(f"{np.abs(np.abs(value) - np.abs(other)).max():.2g}"),
        "largest_difference_same_sign": float(f"{np.abs(value - other)[same].max(initial=0):.2g}"),
        "signs_differ_certain": share(certain),
        "signs_differ_doubtful": share(doubtful),
    }


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown: one row a contender and mesh."""
    machine, versions = found["machine"], found["machine"]["versions"]
    told = ", ".join(f"{PEERS[name]} {version or 'not importable'}" for name, version in found["peers"].items())
    lines = [
        f"Made by `{found['command']}` from sdf.json; {found['points']:,} points, meshes made from {found['source']}.",
        f"{machine['cpu']}, {machine['cores']} cores; python {machine['python']}, numpy {versions['numpy']}; {told}; "
        f"load average {machine['load_average_before']} before the start.",
        "",
        f"Median of {found['rounds']} runs, in turns, tree included, after a first call of each. Ratio: the peer's "
        f"seconds over ours. Signs: share that differs from ours, where ours is certain and farther than {AWAY:g} from "
        "the surface, and where it is doubtful. libigl and point-cloud-utils multiply the distance by 1 - 2 |w|, w the "
        "winding number: exact only where that is whole. Ours is host code: the same beside a GPU.",
        "",
        "| faces | contender | first call, s | median, s | ratio | largest difference of the unsigned | signs, certain "
        "| signs, doubtful |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["runs"]:
        ours = row["contenders"]["ours"]
        faces = f"{row['faces']:,}" + (", open" if row["open"] else "")
        doubtful = f"{row['doubtful_share']:.3%} are doubtful"
        lines.append(f"| {faces} | hexjax | {ours['first_seconds']:.3f} | {ours['seconds']:.3f} | | | | {doubtful} |")
        for name, title in PEERS.items():
            one = row["contenders"].get(name)
            if one is None:
                lines.append(f"| {faces} | {title} | not importable | | | | | |")
                continue
            cells = [faces, title, f"{one['first_seconds']:.3f}", f"{one['seconds']:.3f}"]
            cells += [f"{one['seconds'] / ours['seconds']:.2f} ×", f"{one['largest_difference']:.1e}"]
            cells += [_share(one["signs_differ_certain"]), _share(one["signs_differ_doubtful"])]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(share: float | None) -> str:
    return "none" if share is None else f"{share:.4%}"


if __name__ == "__main__":
    main()
