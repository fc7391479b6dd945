"""A grid of a learned field, asked at every node against coarse to fine: seconds, the share asked, and the meshes.

    python -m benchmarks.coarse_grid                    (ten shapes; hours on two busy cores, most of them in 256^3 nodes)
    python -m benchmarks.coarse_grid --fine=3           (256^3 nodes of three of the shapes alone)
    python -m benchmarks.coarse_grid --fitted=FILE      (what is fitted is kept there, and taken from there a second time)
    python -m benchmarks.coarse_grid --toy              (two procedural solids at toy size, in seconds; nothing in results/)
    python -m benchmarks.coarse_grid --table            (coarse_grid.md made anew from coarse_grid.json)

A throw-away table of codes is fitted to the shapes first: a code of 64 floats each beside the point, four layers of 256,
distances clamped at 0.1, much as in DeepSDF (Park et al. 2019). Each shape and grid runs in a process of its own, without
the persistent compilation cache: every node once, coarse to fine before and after it, after a call that compiles.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import tempfile
from typing import Any

from benchmarks import common

SHAPES = (
    "heads/leeperrysmith_5500.ply",
    "shapes/furniture_aws_chaira_01.npz",
    "shapes/tool_weapon_gazebo_plastic_cup_plastic_cup.npz",
    "shapes/furniture_kaykit_shelf_a_big.npz",
    "heads/suzanne.ply",
    "heads/makehuman_male_young.ply",
    "shapes/furniture_kenney_chair.npz",
    "shapes/furniture_quaternius_bookcaselarge.npz",
    "shapes/misc_drake_dishes_plate_8in.npz",
    "shapes/tool_weapon_gazebo_drc_practice_wheel_valve_valve_wheel.npz",
)
CODE, WIDTH, LAYERS, CLAMP = 64, 256, 4, 0.1
STEPS, POINTS, DRAWN = 800, 20_000, 512  # of the fit; points of each shape, and how many of them a step sees
GRIDS, RUNS, PART = (128, 256), 3, 0.01
TOY = {"steps": 40, "points": 2_000, "grids": (24, 40)}
EVERY = 2**18  # points at once where every node is asked
FILE = common.RESULTS / "coarse_grid.json"


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--toy", action="store_true", help="two procedural solids on small grids, to see that all works"
    )
    parser.add_argument("--fine", type=int, default=len(SHAPES), help="of how many shapes the finest grid is asked")
    parser.add_argument(
        "--fitted", type=pathlib.Path, help="an NPZ file where the fitted table is kept, or lies already"
    )
    parser.add_argument("--output", type=pathlib.Path, help="the JSON to write, coarse_grid.json in results/benchmarks")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, *rest = arguments.worker
        print(json.dumps({"fit": fit, "measure": measure}[kind](*rest)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.output or (pathlib.Path(folder) / FILE.name if arguments.toy else FILE)
        if not arguments.table:
            benchmark(arguments.toy, arguments.fine, arguments.fitted, file)
        text = table(json.loads(file.read_text(encoding="utf-8")))
        common.write(file.with_suffix(".md"), text)
    print(text)


def benchmark(toy: bool, fine: int, kept: pathlib.Path | None, file: pathlib.Path) -> None:
    """Nothing; fits the table, measures each case in a process of its own, and writes what there is after each."""
    found: dict[str, Any] = {"command": common.command("benchmarks.coarse_grid"), "machine": common.machine()}
    grids, steps, points = (TOY["grids"], TOY["steps"], TOY["points"]) if toy else (GRIDS, STEPS, POINTS)
    paths = [] if toy else [str(common.data_folder() / shape) for shape in SHAPES]
    with tempfile.TemporaryDirectory() as folder:
        fitted = str(kept.resolve() if kept else pathlib.Path(folder) / "fitted.npz")
        found |= {"fit": _work("fit", fitted, str(steps), str(points), *paths), "rows": []}
        for grid in grids:
            for number, name in enumerate(found["fit"]["shapes"]):
                if grid == grids[-1] and number >= fine:
                    break
                found["rows"].append({"shape": name, **_work("measure", fitted, str(number), str(grid))})
                found["medians"] = medians(found["rows"])
                common.write(file, json.dumps(found, indent=2) + "\n")


def _work(*arguments: str) -> dict[str, Any]:
    return common.work("benchmarks.coarse_grid", *arguments)


def medians(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The medians over shapes, by grid."""
    return {
        str(grid): {
            name: round(statistics.median(row[name] for row in rows if row["grid"] == grid), 4)
            for name in ("every_seconds", "coarse_seconds", "times", "asked_share")
        }
        for grid in sorted({row["grid"] for row in rows})
    }


def fit(file: str, steps: str, points: str, *paths: str) -> dict[str, Any]:
    """How well the table in the file tells the distances that it has seen; it is fitted here if it is not there yet."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from hexjax.data import sources
    from hexjax.geometry import sdf

    if pathlib.Path(file).is_file():
        with np.load(file) as arrays:
            return json.loads(str(arrays["told"]))
    items = [sources.items(path, "solids", "y", 1, 0)[0] for path in paths] or sources.items("", "solids", "y", 2, 0)
    pools = [sdf.query_pool(item.mesh, int(points), number)[:2] for number, item in enumerate(items)]
    places, distances = (jnp.asarray(np.stack(part)) for part in zip(*pools))
    keys = jax.random.split(jax.random.key(0), LAYERS + 2)
    sizes = [3 + CODE, *[WIDTH] * LAYERS, 1]
    params = {"codes": 0.1 * jax.random.normal(keys[-1], (len(items), CODE))}
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        params[f"weight_{layer}"] = jax.random.normal(keys[layer], (rows, columns)) * (2 / rows) ** 0.5
        params[f"bias_{layer}"] = jnp.zeros(columns)
    adam = optax.adam(optax.cosine_decay_schedule(2e-3, int(steps)))

    def error(params: Any, places: Any, distances: Any) -> Any:
        values = jax.vmap(lambda code, points: field(params, code, points))(params["codes"], places)
        return jnp.abs(values - jnp.clip(distances, -CLAMP, CLAMP)).mean()

    @jax.jit
    def step(params: Any, state: Any, key: Any) -> Any:
        drawn = jax.random.randint(key, (DRAWN,), 0, places.shape[1])
        loss, gradient = jax.value_and_grad(error)(params, places[:, drawn], distances[:, drawn])
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = adam.init(params), []
    for number in range(int(steps)):
        params, state, loss = step(params, state, jax.random.fold_in(keys[-2], number))
        losses.append(float(loss))
    told = {"shapes": [item.name for item in items], "steps": int(steps), "points": int(points)}
    told |= {
        "error": round(statistics.mean(losses[-20:]), 5),
        "parameters": sum(a.size for a in params.values()),
    }
    np.savez(file, told=json.dumps(told), **{name: np.asarray(value) for name, value in params.items()})
    return told


def field(params: Any, code: Any, points: Any) -> Any:
    """The signed distance at points [p, 3] of the shape with a code [64]."""
    import jax
    import jax.numpy as jnp

    values = jnp.concatenate([points, jnp.broadcast_to(code, (len(points), CODE))], -1)
    for layer in range(LAYERS):
        values = jax.nn.relu(values @ params[f"weight_{layer}"] + params[f"bias_{layer}"])
    return (values @ params[f"weight_{LAYERS}"] + params[f"bias_{LAYERS}"])[:, 0]


def measure(file: str, number: str, grid: str) -> dict[str, Any]:
    """One case: seconds of both ways, the share asked, and whether the meshes are the same to the last bit."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from hexjax import pipeline
    from hexjax.geometry import coarse, isosurface

    with np.load(file) as arrays:
        params = {name: jnp.asarray(arrays[name]) for name in arrays.files if name != "told"}
    code, ask, count = params["codes"][int(number)], jax.jit(field), int(grid)
    finely = lambda: coarse.grid(lambda points: ask(params, code, points), count, pipeline.CHUNK)
    finely()  # compiles
    jax.block_until_ready(ask(params, code, np.zeros((min(EVERY, count**3), 3), np.float32)))
    seconds = [common.timed(finely)[0]]
    elapsed, every = common.timed(lambda: every_node(lambda points: ask(params, code, points), count))
    for _ in range(RUNS - 1):
        again, (values, share) = common.timed(finely)
        seconds.append(again)
    dense, dense_report = isosurface.polygonise(every, PART)
    mesh, report = isosurface.polygonise(values, PART)
    same = np.array_equal(dense.faces, mesh.faces) and np.array_equal(dense.vertices, mesh.vertices)
    device, taken = jax.devices()[0], statistics.median(seconds)
    return {
        "grid": count,
        "device": f"{device.platform}: {device.device_kind}",
        "every_seconds": round(elapsed, 3),
        "coarse_seconds": round(taken, 3),
        "times": round(elapsed / taken, 2),
        "asked_share": round(share, 5),
        "same_mesh": same,
        "same_report": report == dense_report,
        "signs_differ": int(((every < 0) != (values < 0)).sum()),
        "faces": report["faces"],
        "components": report["components"],
        "dropped_parts": report["dropped_parts"],
    }


def every_node(ask: Any, count: int) -> Any:
    """The field at all nodes, asked in chunks of EVERY points."""
    import numpy as np

    from hexjax.geometry import frame

    nodes, found = np.asarray(frame.grid_nodes(count)), []
    points = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    for start in range(0, len(points), EVERY):
        part = points[start : start + EVERY]
        padded = np.concatenate([part, np.zeros((min(EVERY, len(points)) - len(part), 3), np.float32)])
        found.append(np.asarray(ask(padded))[: len(part)])
    return np.concatenate(found).reshape((count,) * 3)


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown: one row a case, and the medians of each grid."""
    machine, fitted, rows = found["machine"], found["fit"], found["rows"]
    lines = [
        f"Made by `{found['command']}`; {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{rows[0]['device']}; python {machine['python']}, jax {machine['versions']['jax']}; load average "
        f"{machine['load_average_before']} before the start.",
        "",
        f"The field: {fitted['parameters']:,} parameters fitted for {fitted['steps']:,} steps to {fitted['points']:,} points "
        f"of each of {len(fitted['shapes'])} shapes, mean error {fitted['error']:.2g}. Seconds of the field alone: "
        f"every node once, coarse to fine the median of {RUNS} calls about it. Same: vertices and faces to the last bit.",
        "",
        "| shape | grid | every node, s | coarse to fine, s | times as fast | share asked | same mesh | parts dropped "
        "| faces |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["shape"], f"{row['grid']}³", f"{row['every_seconds']:.2f}", f"{row['coarse_seconds']:.2f}"]
        cells += [f"{row['times']:.1f}", f"{row['asked_share']:.1%}", "yes" if row["same_mesh"] else "no"]
        lines.append("| " + " | ".join([*cells, str(row["dropped_parts"]), f"{row['faces']:,}"]) + " |")
    for grid, middle in found["medians"].items():
        same = [row["same_mesh"] for row in rows if str(row["grid"]) == grid]
        cells = ["median", f"{grid}³", f"{middle['every_seconds']:.2f}", f"{middle['coarse_seconds']:.2f}"]
        cells += [f"{middle['times']:.1f}", f"{middle['asked_share']:.1%}", f"{sum(same)} of {len(same)}", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
