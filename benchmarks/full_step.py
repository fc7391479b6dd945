"""What one training step costs: parameters, latent, floating-point operations, memory and seconds, by configuration.

    python -m benchmarks.full_step                     (compiled and analysed only)
    python -m benchmarks.full_step --steps=3           (and so many steps really run at batch 1; ten times more of :small)
    python -m benchmarks.full_step --steps=20 --variants=small --output=results/benchmarks/small_step.json

Each row runs in a process of its own, with the maps cached on the device and again rendered anew in every step, on
leeperrysmith_5500.ply, or the procedural head where it is not at hand. Operations are XLA's count: it knows a matrix
product or a convolution, counts the body of a loop once (the ray caster's, where maps are rendered anew), and on some
backends misses what it hands to a library; hence both counts, of the traced and of the compiled program.
"""

import argparse
import importlib
import json
import pathlib
import statistics
import time
from typing import Any

from benchmarks import common

HEAD = "heads/leeperrysmith_5500.ply"
CONFIGS = ("ae_continuous", "vae_binary")
VARIANTS = ("full", "small")
SMALL_FACTOR = 10  # times as many steps of the small variant
MEMORY = ("argument_size_in_bytes", "output_size_in_bytes", "alias_size_in_bytes", "temp_size_in_bytes")


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--steps", type=int, default=0, help="steps really run, after a first; :small takes ten times more"
    )
    parser.add_argument("--configs", default=",".join(CONFIGS), help="names of configs, with commas")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="full, small or both, with a comma")
    parser.add_argument("--output", type=pathlib.Path, default=common.RESULTS / "full_step.json")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(*arguments.worker)))
        return
    if not arguments.table:
        benchmark(arguments)
    text = table(json.loads(arguments.output.read_text()))
    common.write(arguments.output.with_suffix(".md"), text)
    print(text)


def benchmark(arguments: argparse.Namespace) -> None:
    """Nothing; measures every row in a process of its own and writes what there is after each."""
    found = {"command": f"python -m benchmarks.full_step --steps={arguments.steps}", "machine": common.machine()}
    found["rows"] = []
    for variant in arguments.variants.split(","):
        for name in arguments.configs.split(","):
            for maps in ("cached", "rendered"):
                row = common.work("benchmarks.full_step", name, variant, maps, str(arguments.steps))
                found["rows"].append(row)
                common.write(arguments.output, json.dumps(found, indent=2) + "\n")


def load(name: str, variant: str, cached: bool) -> Any:
    """The config of a benchmark's row, at batch 1, on the head if it is at hand.

    Raises:
        ValueError: for an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; accepted: {', '.join(VARIANTS)}")
    config = importlib.import_module(f"configs.{name}").get_config("" if variant == "full" else variant)
    file = common.data_folder() / HEAD
    config.data.path = str(file) if file.is_file() else ""
    config.data.cached, config.train.batch_size = cached, 1
    return config.lock()


def measure(name: str, variant: str, maps: str, steps: str) -> dict[str, Any]:
    """One row: the step is traced, compiled, analysed and run `steps` times, in this process."""
    import jax

    from hexjax.training import optimiser, step

    config = load(name, variant, maps == "cached")
    items, family, data = step.load(config, trains=True)
    adam, knobs, device = optimiser.make(config), step.knobs(config), jax.devices()[0]
    state = jax.block_until_ready(jax.jit(step.make_init(family, adam, data.fixed, config.seed))(data.cache))
    row = {
        "config": name,
        "variant": variant,
        "maps": maps,
        "shape": items[0].name,
        "faces": len(items[0].mesh.faces),
        "resolution_px": config.hexplane.resolution_px,
        "device": f"{device.platform}: {device.device_kind}",
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "latent_floats": family.latent_floats,
    }
    prepared = common.peak_mib()
    common.reset_peak()
    advance = step.make_step(family, adam, data.batch_at, config.seed)
    lowered = advance.lower(state, data.cache, knobs)
    seconds, compiled = common.timed(lowered.compile)
    row |= analyse(lowered, compiled) | {"compile_seconds": round(seconds, 2)}
    row |= {"prepare_peak_mib": prepared, "compile_peak_mib": common.peak_mib()}
    common.reset_peak()
    count = int(steps) * (SMALL_FACTOR if variant == "small" else 1)
    return row | run(compiled, state, data.cache, knobs, count, device)


def analyse(lowered: Any, compiled: Any) -> dict[str, Any]:
    """XLA's operations and memory of a step: traced, and compiled for this device."""
    memory = compiled.memory_analysis()
    found = {"gflop_traced": _gflop(lowered), "gflop_compiled": _gflop(compiled)}
    return found | {name.replace("size_in_bytes", "mib"): round(getattr(memory, name) / 2**20, 1) for name in MEMORY}


def _gflop(program: Any) -> float | None:
    costs = program.cost_analysis() or {}
    return round(costs["flops"] / 1e9, 2) if "flops" in costs else None


def run(compiled: Any, state: Any, cache: Any, knobs: Any, steps: int, device: Any) -> dict[str, Any]:
    """Seconds and peak memory of steps really run; empty without steps. The state given is consumed.

    A device's own peak counts from the start of the process, so it covers the preparation too.
    """
    import jax

    if not steps:
        return {}
    seconds, losses, busy = [], [], time.process_time()
    for _ in range(steps + 1):
        elapsed, (state, metrics) = common.timed(
            lambda given=state: jax.block_until_ready(compiled(given, cache, knobs))
        )
        seconds.append(elapsed)
        losses.append(float(metrics["loss"]))
    found = {"steps": steps, "seconds_a_step": round(statistics.median(seconds[1:]), 4)}
    found |= {"fastest_seconds": round(min(seconds[1:]), 4), "slowest_seconds": round(max(seconds[1:]), 4)}
    found |= {"processor_seconds_a_step": round((time.process_time() - busy) / (steps + 1), 4)}
    found |= {"first_loss": round(losses[0], 5), "last_loss": round(losses[-1], 5)}
    stats = device.memory_stats() if device.platform != "cpu" else None
    peak = round(stats["peak_bytes_in_use"] / 2**20, 1) if stats else None
    return found | {"run_peak_mib": common.peak_mib(), "device_peak_mib": peak}


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown; peak is that of the device where it tells one, else of the process while it steps.

    Processor seconds are summed over cores: they tell a step's work also where other programs share the machine.
    """
    machine = found["machine"]
    lines = [
        f"Made by `{found['command']}`, batch 1, on {found['rows'][0]['shape']}; {machine['cpu']}, {machine['cores']} "
        f"cores, {found['rows'][0]['device']}, jax {machine['versions']['jax']}; load average "
        f"{machine['load_average_before']} before the start.",
        "",
        "| config | maps | parameters | latent floats | GFLOP a step, traced / compiled | temporary MiB "
        "| seconds a step (fastest–slowest) | processor seconds a step | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        name = row["config"] + (":small" if row["variant"] == "small" else "")
        seconds = "{seconds_a_step:.3f} ({fastest_seconds:.3f}–{slowest_seconds:.3f}) | {processor_seconds_a_step:.3f}"
        peak = row.get("device_peak_mib") or row.get("run_peak_mib") or row["compile_peak_mib"]
        cells = [name, row["maps"], f"{row['parameters']:,}", f"{row['latent_floats']:,}"]
        cells += [
            f"{row['gflop_traced']} / {row['gflop_compiled']}",
            f"{row['temp_mib']:.0f}",
            seconds.format(**row) if "steps" in row else " | ",
        ]
        lines.append(f"| {' | '.join([*cells, f'{peak:.0f}'])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
