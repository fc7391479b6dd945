"""Convolutions of a grid whose cells are few: gathered beside dense ones, and two ways to double the side.

    python -m benchmarks.sparse           (about two minutes on two cores)
    python -m benchmarks.sparse --toy     (a few seconds, to a temporary folder)
    python -m benchmarks.sparse --table   (sparse.md made anew from sparse.json)

A 3 x 3 x 3 layer at the cells of a ball's surface in a grid of 64 cells a side, forward and backward, whose neighbours are
known: by a gather and one product (ours), by XLA's dense convolution of the whole grid, and as the sum of 27 dense products of
the shifted grid. Then a dense grid of 16 cells a side to one of 32: a convolution to eight times the channels and a shuffle,
beside a transposed convolution of 4 x 4 x 4 taps. All run on all cores of the machine, each compiled by itself, in turns.
"""

import argparse
import functools
import json
import pathlib
import statistics
import tempfile
import time
from typing import Any

from benchmarks import common

SIDE, CELLS, CHANNELS, ROUNDS = 64, 4096, 32, 5
UP_ROUNDS = 2  # of a level up: transposed convolutions take long on CPUs
UP = (16, 64, 32, 4)  # cells a side, channels before and after, shapes
FILE = common.RESULTS / "sparse.json"
KINDS = ("seconds", "cpu_seconds")
GOAL = 30.0  # times that the sparse layer is to be faster than the dense one


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="a grid of 8 cells a side, once, to a temporary folder")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON; its Markdown is written beside it")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, toy = arguments.worker
        print(json.dumps({"layers": layers, "doubled": doubled}[kind](toy == "1")))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.output or (pathlib.Path(folder) / "sparse.json" if arguments.toy else FILE)
        if not arguments.table:
            found: dict[str, Any] = {"command": "python -m benchmarks.sparse" + " --toy" * arguments.toy}
            found |= {"machine": common.machine(), "goal": GOAL}
            for kind in ("layers", "doubled"):
                found[kind] = common.work("benchmarks.sparse", kind, str(int(arguments.toy)))
            common.write(file, json.dumps(found, indent=2) + "\n")
        text = table(json.loads(file.read_text(encoding="utf-8")))
        common.write(file.with_suffix(".md"), text)
    print(text)


def timed(contenders: dict[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each contender, in turns after a first call of each: a function and its arguments.

    cpu_seconds are those of all cores, which others on the machine hardly change.
    """
    import jax

    programs = {name: jax.jit(function) for name, (function, _) in contenders.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, (_, given) in contenders.items():
            call = functools.partial(programs[name], *given)
            before = time.process_time()
            seconds = common.timed(lambda call=call: jax.block_until_ready(call()))[0]
            taken[name].append((seconds, time.process_time() - before))
    found = {}
    for name, each in taken.items():
        seconds, busy = zip(*each[1:])
        found[name] = {"first_seconds": each[0][0], "seconds": statistics.median(seconds), "fastest": min(seconds)}
        found[name]["cpu_seconds"] = statistics.median(busy)
    return found


def layers(toy: bool) -> dict[str, Any]:
    """A layer at few cells, forward and with its gradients, and how far the contenders' values are apart."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from hexjax.models.parts import sparse

    side, cells, channels, rounds = (8, 64, 4, 1) if toy else (SIDE, CELLS, CHANNELS, ROUNDS)
    every = np.indices((side,) * 3).reshape(3, -1).T
    away = np.abs(np.linalg.norm(every + 0.5 - side / 2, axis=1) - 0.28 * side)
    places = jnp.asarray(every[np.argsort(away, kind="stable")[:cells]], jnp.int32)
    keys = sparse.ordered(places, jnp.ones(cells, bool))[0]
    tables, at = sparse.tables_of(keys[None], side), sparse.cells_of(keys)
    x, kernel = (jax.random.normal(jax.random.key(i), (*shape, channels)) for i, shape in
                 enumerate(((1, cells), (27, channels))))  # fmt: skip
    grid = jnp.zeros((1, *(side,) * 3, channels)).at[0, at[:, 0], at[:, 1], at[:, 2]].set(x[0])

    def dense(grid: Any, kernel: Any) -> Any:
        names = ("NDHWC", "DHWIO", "NDHWC")
        whole = kernel.reshape(3, 3, 3, channels, channels)
        return jax.lax.conv_general_dilated(grid, whole, (1, 1, 1), "SAME", dimension_numbers=names)

    def products(grid: Any, kernel: Any) -> Any:
        padded = jnp.pad(grid, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
        shifted = lambda i, j, k: padded[:, i : i + side, j : j + side, k : k + side]
        return sum(shifted(*tap) @ kernel[number] for number, tap in enumerate(np.ndindex(3, 3, 3)))

    gathered = lambda x, kernel: sparse.convolve(x, kernel, tables)
    ways = {"sparse": (gathered, x), "dense": (dense, grid), "27 products": (products, grid)}
    both = lambda way: jax.grad(lambda x, kernel: (way(x, kernel) ** 2).sum(), (0, 1))
    forward = timed({name: (way, (given, kernel)) for name, (way, given) in ways.items()}, rounds)
    backward = timed({name: (both(way), (given, kernel)) for name, (way, given) in ways.items()}, rounds)
    ours = gathered(x, kernel)[0]
    apart = {name: float(jnp.abs(way(grid, kernel)[0][tuple(at.T)] - ours).max() / jnp.abs(ours).max())
             for name, (way, _) in ways.items() if name != "sparse"}  # fmt: skip
    tabled = timed({"table": (lambda keys: sparse.tables_of(keys[None], side), (keys,))}, rounds)["table"]
    told = {"side": side, "cells": cells, "channels": channels, "rounds": rounds, "table": tabled}
    return told | {"forward": forward, "forward_and_backward": backward, "relative_difference": apart}


def doubled(toy: bool) -> dict[str, Any]:
    """A level up of a dense grid, forward and with its gradients."""
    import jax
    import jax.numpy as jnp

    from hexjax.models.parts import grids

    side, before, after, shapes = (2, 4, 4, 1) if toy else UP
    rounds, x = 1 if toy else UP_ROUNDS, jax.random.normal(jax.random.key(0), (shapes, side, side, side, before))
    contenders = {}
    for kind in grids.UP:
        module = grids.Up(after, kind, jnp.dtype("float32"))
        params = module.init(jax.random.key(1), x, None, None, None)
        value = lambda params, x, module=module: (module.apply(params, x, None, None, None) ** 2).sum()
        contenders[kind] = (jax.grad(value, (0, 1)), (params, x))
    told = {"side": side, "channels": [before, after], "shapes": shapes, "rounds": rounds}
    return told | {"forward_and_backward": timed(contenders, rounds)}


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown: one row a contender."""
    machine, layer, up = found["machine"], found["layers"], found["doubled"]
    lines = [
        f"Made by `{found['command']}` from sparse.json. {machine['cpu']}, {machine['cores']} cores; jax "
        f"{machine['versions']['jax']}; load average {machine['load_average_before']} before the start.",
        "",
        f"A 3³ layer, {layer['channels']} to {layer['channels']} channels, at {layer['cells']:,} cells of a grid of "
        f"{layer['side']}³; median of {layer['rounds']}, in turns. CPU: of all cores, which others on the machine hardly "
        f"change. Ratios: over ours, forward and backward; goal {found['goal']:.0f} for the dense one. The table of "
        f"neighbours, once for all layers of a level, takes {1e3 * layer['table']['cpu_seconds']:.1f} CPU ms.",
        "",
        "| layer | forward, ms | CPU ms | forward and backward, ms | CPU ms | ratio | of CPU | relative difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ours = layer["forward_and_backward"]["sparse"]
    for name, both in layer["forward_and_backward"].items():
        apart = f"{layer['relative_difference'][name]:.1e}" if name != "sparse" else ""
        cells = [f"{1e3 * each[kind]:.1f}" for each in (layer["forward"][name], both) for kind in KINDS]
        ratios = [f"{both[kind] / ours[kind]:.1f} ×" for kind in KINDS]
        lines.append(f"| {' | '.join([name, *cells, *ratios, apart])} |")
    lines += [
        "",
        f"A level up of {up['shapes']} dense grids of {up['side']}³, {up['channels'][0]} to {up['channels'][1]} channels, "
        f"forward and backward; median of {up['rounds']}. Ratio: of CPU seconds, over the shuffle's.",
        "",
        "| up | ms | CPU ms | ratio |",
        "|---|---|---|---|",
    ]
    first = up["forward_and_backward"]["shuffle"]["cpu_seconds"]
    for name, each in up["forward_and_backward"].items():
        cells = [f"{1e3 * each[kind]:.1f}" for kind in KINDS]
        lines.append(f"| {' | '.join([name, *cells, f'{each[KINDS[1]] / first:.2f} ×'])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
