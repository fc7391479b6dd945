"""The maps of a set of real meshes of very different sizes, one after the other: programs compiled, and what they cost.

    python -m benchmarks.render_set             (120 meshes at 128², half a minute on two cores)
    python -m benchmarks.render_set --toy       (12 meshes at 16², to a temporary folder)

The meshes are spread evenly over shapes/ of the data folder. Two fresh processes without the persistent compilation cache
and without the cache of fields: one renders the set, one some of its meshes padded otherwise (to powers of two from 2048
up), and their maps are compared bit for bit. Each renders twice; the second time nothing is compiled. CPU seconds are
those of all threads.
"""

import argparse
import hashlib
import json
import pathlib
import resource
import tempfile
import time
from typing import Any

from benchmarks import common

MESHES, RESOLUTION = 120, 128
OTHERWISE = 6  # meshes that are also padded otherwise
FILE = common.RESULTS / "render_set.json"


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="12 meshes at 16², to a temporary folder")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON; results/benchmarks/render_set.json by default")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(*map(int, arguments.worker))))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.output or (pathlib.Path(folder) / "render_set.json" if arguments.toy else FILE)
        text = json.dumps(benchmark(arguments.toy), indent=2) + "\n"
        common.write(file, text)
        print(text, end="")


def benchmark(toy: bool) -> dict[str, Any]:
    """All measurements, and whether the maps are the same bits."""
    told = {"command": common.command("benchmarks.render_set"), "machine": common.machine()}
    meshes, resolution, few = (12, 16, 2) if toy else (MESHES, RESOLUTION, OTHERWISE)
    runs = [common.work("benchmarks.render_set", *map(str, (meshes, resolution, each))) for each in (0, few)]
    together, apart = (run.pop("digests") for run in runs)
    same = all(together[name] == digest for name, digest in apart.items())
    return told | {"resolution_px": resolution, "set": runs[0], "padded_otherwise": runs[1], "same_bits": same}


def measure(meshes: int, resolution: int, few: int) -> dict[str, Any]:
    """The set rendered in this process; `few`: only so many of its meshes, if any, padded otherwise."""
    import jax
    import numpy as np

    from hexjax.geometry import hexplane
    from hexjax.geometry import mesh as geometry
    from hexjax.types import Mesh

    compiled = common.compilations()
    files = sorted((common.data_folder() / "shapes").glob("*.npz"))
    if not files:
        raise FileNotFoundError("no shapes/*.npz in the data folder: set HEXJAX_DATA")
    picked = [files[place] for place in np.linspace(0, len(files) - 1, meshes).astype(int)]
    if few:
        picked = picked[:: meshes // few][:few]
        hexplane.SIZES = (2048,)
    loaded = {}
    for file in picked:
        with np.load(file, allow_pickle=False) as arrays:
            loaded[file.stem] = geometry.normalise(Mesh(arrays["vertices"], arrays["faces"]))[0]
    render = lambda mesh: jax.device_get(hexplane.render(mesh, resolution))
    jax.block_until_ready(jax.numpy.zeros(1))
    compiled.clear()
    first, maps = _spent(lambda: [render(mesh) for mesh in loaded.values()])
    count, seconds = len(compiled), sum(compiled)
    later, _ = _spent(lambda: [render(mesh) for mesh in loaded.values()])
    faces = [len(mesh.faces) for mesh in loaded.values()]
    device = jax.devices()[0]
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "meshes": len(faces),
        "faces": {"least": min(faces), "median": float(np.median(faces)), "most": max(faces)},
        "compilations": count,
        "compile_seconds": seconds,
        "first": first,
        "later": later,
        "later_compilations": len(compiled) - count,
        "digests": {name: _digest(each) for name, each in zip(loaded, maps)},
    }


def _spent(work: Any) -> tuple[dict[str, float], Any]:
    """Wall and CPU seconds of a call, and what it gave."""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    wall, cpu = time.perf_counter(), used()
    value = work()
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": used() - cpu}, value


def _digest(maps: Any) -> str:
    found = hashlib.sha256()
    for array in maps:
        found.update(array.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    main()
