"""What one training step costs, beside the same network, loss and Adam in PyTorch, in turns in one process.

    python -m benchmarks.train_step                      (:small at batch 1 and 8, full at 1, on a GPU at 1 and 8)
    python -m benchmarks.train_step --toy                (a tiny network, a few seconds)

Made heads, as they come without data. Ours: with cached maps, with maps rendered anew in every step, with the term of
signed distances, in bfloat16. PyTorch: as it is and compiled, channels last, with bfloat16 by autocast on a GPU; it has
no term of signed distances and is given one fixed batch, so it is compared with our plain step. Both start from the same
parameters, a little off the initial ones, and must agree in parameters, loss, gradient norm and decoded depth.

Operations: XLA's count, and ours by hand (products with weights and in attention, three times the forward pass). Share
of the peak: the latter a second over that of a large matrix product in the same process.
"""

import argparse
import importlib
import json
import os
import pathlib
import tempfile
from typing import Any

from benchmarks import common, steps

BATCHES = {"small": {"cpu": (1, 8), "gpu": (1, 8)}, "full": {"cpu": (1,), "gpu": (1, 8)}, "toy": {"cpu": (1,)}}
STEPS = {"small": 20, "full": 10, "toy": 3}  # of each runner, after WARM rounds; CPU
POOL = 4096  # query points a shape: enough to draw from, soon made
TOY = {
    "hexplane.resolution_px": 32, "model.stem_px": 4, "model.widths": (8, 16), "model.mixer_width": 16,
    "latent.side": 4, "model.mixer_side": 2, "latent.channels": 8, "sdf.points": 64,
}  # fmt: skip
OURS = {  # runner -> differences of its config
    "ours": {},
    "ours, rendered anew": {"data.cached": False},
    "ours, with signed distances": {"sdf.weight": 0.1},
    "ours, bfloat16": {"model.dtype": "bfloat16"},
}


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", default="small,full", help="small, full or both, with a comma")
    parser.add_argument("--toy", action="store_true", help="a tiny network; writes to --output or a temporary folder")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.worker[0], int(arguments.worker[1]))))
        return
    folder = pathlib.Path(tempfile.mkdtemp()) if arguments.toy else common.RESULTS
    output = arguments.output or folder / "train_step.json"
    if not arguments.table:
        benchmark(["toy"] if arguments.toy else arguments.variants.split(","), output)
    text = table(json.loads(output.read_text(encoding="utf-8")))
    common.write(output.with_suffix(".md"), text)
    print(text)


def benchmark(variants: list[str], output: pathlib.Path) -> None:
    """Nothing; measures every row in a process of its own and writes what there is after each."""
    found: dict[str, Any] = {
        "command": common.command("benchmarks.train_step"),
        "machine": common.machine(),
        "rows": [],
    }
    for variant in variants:
        batches, number = (1,), 0
        while number < len(batches):
            row = common.work("benchmarks.train_step", variant, str(batches[number]))
            batches, number = BATCHES[variant].get(row["platform"], batches), number + 1
            found["rows"].append(row)
            common.write(output, json.dumps(found, indent=2) + "\n")


def measure(variant: str, batch: int) -> dict[str, Any]:
    """One row: all runners are made, compared, and timed in turns, in this process."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch wants memory of the same device
    from hexjax import config as configuration

    configuration.set_environment()
    import jax

    platform = jax.devices()[0].platform
    runners, told = {}, {}
    params = batch_of = None
    for name, overrides in OURS.items():
        if name == "ours, bfloat16" and platform == "cpu" and variant == "full":
            continue  # emulated there: minutes
        config = load(variant, batch, overrides)
        runners[name], told[name], *started = ours(config, params)
        if params is None:
            params, batch_of, faces, first = started
    plain = load(variant, batch, {})

    def twin() -> Any:
        from benchmarks import torch_twin

        model = torch_twin.make(plain)
        torch_twin.copy(model, params)
        return model

    maps = [batch_of[name] for name in ("depth", "normal", "mask")]
    depth = lambda raw: (raw[..., 1] + 1).clamp(0, 2)
    peers, check = steps.torch_runners(plain, platform, twin, maps, first, ("depth", depth))
    row = {
        "variant": variant,
        "batch": batch,
        "platform": platform,
        "device": jax.devices()[0].device_kind,
        "faces": faces,
        "resolution_px": plain.hexplane.resolution_px,
        "parameters": first["parameters"],
        "gflop_by_hand": round(gflop(plain), 2),
        "check": check,
    }
    for name, (step, facts) in peers.items():
        told[name] = facts
        if step is not None:
            runners[name] = step
    count = STEPS[variant] * (steps.GPU_FACTOR if platform == "gpu" else 1)
    for name, seconds in steps.in_turns(runners, count).items():
        told[name] |= seconds
    peaks = steps.peaks("toy" if variant == "toy" else platform)
    return row | {"steps": count, "peak_gflops": peaks, "runners": told, "versions": steps.versions()}


def load(variant: str, batch: int, overrides: dict[str, Any]) -> Any:
    """The config of a row, on as many made heads as its batch has, without the term of signed distances.

    Raises:
        ValueError: for an unknown variant.
    """
    if variant not in STEPS:
        raise ValueError(f"variant is {variant!r}; accepted: {', '.join(STEPS)}")
    config = importlib.import_module("configs.ae_continuous").get_config("" if variant == "full" else "small")
    config.update_from_flattened_dict(TOY if variant == "toy" else {})
    config.update_from_flattened_dict({"sdf.weight": 0.0, "sdf.pool_points": POOL, "train.batch_size": batch})
    config.update_from_flattened_dict({"data.count": batch} | overrides)
    return config.lock()


def ours(config: Any, params: Any) -> tuple[steps.Step, dict[str, Any], Any, Any, int, dict[str, Any]]:
    """A step of ours, what is told of it, its starting parameters, batch and first shape's faces, and what it first gave.

    The first call's compilation is told apart.
    """
    import jax

    from hexjax.training import step

    loaded = step.load(config, "train")
    family, data = loaded.family, loaded.data
    state, params = steps.begin(config, loaded, params)
    batch = jax.device_get(data.batch_at(data.cache, 0, config.seed))
    latent = jax.jit(lambda params: family.decode(params, family.encode(params, batch, None)))(state.params)
    known = {"decoded": jax.device_get(latent.depth), "parameters": sum(leaf.size for leaf in jax.tree.leaves(params))}
    once, told = steps.stepper(config, loaded, state)
    del state
    first = once()
    known |= {"loss": float(first["loss"]), "gradient_norm": float(first["gradient_norm"])}
    return once, told, params, batch, len(loaded.items[0].mesh.faces), known


def gflop(config: Any) -> float:
    """Floating-point operations of a step in products with weights and in attention, 10⁹: three forward passes.

    The first layer has no gradient for its input, so one of its three is left out.
    """
    model, latent = config.model, config.latent
    scaled = lambda width: max(round(width * model.width_scale / model.mixer_heads), 1) * model.mixer_heads
    widths, stem, wide = [scaled(width) for width in model.widths], model.stem_px**2, scaled(model.mixer_width)
    cells = [6 * (config.hexplane.resolution_px // model.stem_px // 2**level) ** 2 for level in range(len(widths))]
    convolutions = sum(n * model.blocks * 2 * 9 * w**2 for n, w in zip(cells, widths))
    between = sum(n * 4 * a * b for n, a, b in zip(cells[1:], widths, widths[1:]))
    tokens, patch = 6 * model.mixer_side**2, (latent.side // model.mixer_side) ** 2
    mixer = tokens * (2 * patch * widths[-1] * wide + model.mixer_blocks * (12 * wide**2 + 2 * tokens * wide))
    first, last = cells[0] * stem * 4 * widths[0], cells[0] * stem * 5 * widths[0]
    products = 2 * (convolutions + between + mixer + cells[-1] * widths[-1] * latent.channels) + first + last
    return config.train.batch_size * 2 * (3 * products - first) / 1e9


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown, one line a runner; what a step of ours costs more than the plain one is told as a share."""
    machine, rows = found["machine"], found["rows"]
    lines = [
        f"Made by `{found['command']}`, made heads; {machine['cpu']}, {machine['cores']} cores, {rows[0]['platform']}: "
        f"{rows[0]['device']}; jax {machine['versions']['jax']}, torch {rows[0]['versions'].get('torch', 'absent')}; "
        f"load average {machine['load_average_before']} before the start.",
        "",
        "| model | batch | runner | ms a step (fastest–slowest) | times the fastest peer's speed | share of the peak "
        "| first call s | memory MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peers = [told["seconds"] for name, told in row["runners"].items() if name in steps.PEERS and "seconds" in told]
        for name, told in row["runners"].items():
            cells = [row["variant"], str(row["batch"]), name]
            if "missing" in told:
                lines.append(f"| {' | '.join([*cells, told['missing'], '', '', '', ''])} |")
                continue
            milliseconds = [f"{1e3 * told[key]:.1f}" for key in ("seconds", "fastest", "slowest")]
            peak = row["peak_gflops"]["bfloat16" if "bfloat16" in name and row["platform"] == "gpu" else "float32"]
            cells += [f"{milliseconds[0]} ({milliseconds[1]}–{milliseconds[2]})"]
            cells += [f"{min(peers) / told['seconds']:.2f}" if peers else ""]
            cells += [f"{row['gflop_by_hand'] / told['seconds'] / peak:.0%}", f"{told['compile_seconds']:.1f}"]
            lines.append(f"| {' | '.join([*cells, '' if told['memory_mib'] is None else str(told['memory_mib'])])} |")
    lines += ["", *(_note(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _note(row: dict[str, Any]) -> str:
    """What a row's lines share: size, operations, the measured peaks, what rendering costs, and the agreement."""
    runners = row["runners"]
    plain, anew = runners["ours"]["seconds"], runners["ours, rendered anew"]["seconds"]
    peak = ", ".join(f"{name} {value:,.0f}" for name, value in row["peak_gflops"].items())
    text = (
        f"- {row['variant']}, batch {row['batch']}: {row['parameters']:,} parameters, {row['resolution_px']}² maps of "
        f"{row['faces']:,} faces, {row['gflop_by_hand']} GFLOP a step by hand, {runners['ours']['gflop_xla']} by XLA; "
        f"peak GFLOP/s: {peak}; rendering anew costs {anew / plain - 1:+.0%} of a step"
    )
    return f"{text}{steps.agreement_note(row['check'])}."


if __name__ == "__main__":
    main()
