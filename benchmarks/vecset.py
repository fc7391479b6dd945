"""What a set of vectors costs beside the same network in PyTorch: forward, a training step, and a grid of one shape.

    python -m benchmarks.vecset              (vecset:small; minutes: PyTorch's compilation, and grids of 128^3 nodes)
    python -m benchmarks.vecset --toy        (a tiny network; a minute or two, nearly all of it compilation)
    python -m benchmarks.vecset --table      (vecset.md made anew from vecset.json)

Four solids made in code. Parameters are ours, a little off the initial ones, and copied: the latent, what the network says
at points and the grid must be the same, and so must loss and gradient norm; the losses of three steps are told of both. The
step has the same loss and the same given batch on both sides, Adam, or Muon where PyTorch has it; ours that draws its batch,
as training does, stands beside it. Forward is the batch's points to what the network says, with farthest points picked
within, which are timed alone as well. The grid is asked at every node, in the pipeline's chunks: how many nodes coarse to
fine would ask of a network without training says nothing. All take turns in one process; first calls are told apart.
"""

import argparse
import importlib
import json
import os
import pathlib
import tempfile
from typing import Any

from benchmarks import common, steps
from benchmarks import vecset_parts as parts

WITHIN = 1e-4  # of each other: the latent, and what the network says, in truncations
GOAL = 1.0  # PyTorch's seconds of a step, in ours
FILE = common.RESULTS / "vecset.json"
PLAIN = {
    "train.ema": 0.0, "optimiser.warmup_steps": 0, "optimiser.decay": "none", "data.source": "solids", "data.split": (),
}  # fmt: skip
ADAM = {"optimiser.kind": "adam", "optimiser.learning_rate": 3e-4}
TOY = {
    "model.width": 16, "model.heads": 2, "model.cross_heads": 2, "model.encoder_layers": 1, "latent.tokens": 8,
    "latent.channels": 4, "surface.points": 64, "surface.pool_points": 256, "sdf.points": 32, "sdf.pool_points": 256,
    "train.batch_size": 2, "inside.points": 64,
}  # fmt: skip


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="a tiny network; writes to --output or a temporary folder")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON; results/benchmarks/vecset.json by default")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.worker)))
        return
    folder = pathlib.Path(tempfile.mkdtemp()) if arguments.toy else common.RESULTS
    output = arguments.output or folder / FILE.name
    if not arguments.table:
        found = {"command": common.command("benchmarks.vecset"), "machine": common.machine(), "goal": GOAL}
        found |= {"within": WITHIN, "row": common.work("benchmarks.vecset", "toy" if arguments.toy else "small")}
        common.write(output, json.dumps(found, indent=2) + "\n")
    text = table(json.loads(output.read_text(encoding="utf-8")))
    common.write(output.with_suffix(".md"), text)
    print(text)


def load(variant: str, more: dict[str, Any]) -> Any:
    """The config of a size with the differences given, on as many solids as its batch has.

    Raises:
        ValueError: for an unknown variant.
    """
    if variant not in parts.ROUNDS:
        raise ValueError(f"variant is {variant!r}; accepted: {', '.join(parts.ROUNDS)}")
    config = importlib.import_module("configs.vecset").get_config("small")
    config.update_from_flattened_dict(PLAIN | (TOY if variant == "toy" else {}) | more)
    config.data.count = config.train.batch_size
    return config.lock()


def measure(variant: str) -> dict[str, Any]:
    """One size, in this process: what both are given, how they agree, and the seconds of each part."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch wants memory of the same device
    from hexjax import config as configuration

    configuration.set_environment()
    import jax

    from hexjax.training import step

    config, platform = load(variant, ADAM), jax.devices()[0].platform
    loaded = step.load(config, "train")
    params = steps.begin(config, loaded)[1]
    batch = jax.device_get(loaded.data.batch_at(loaded.data.cache, 0, config.seed))
    both = parts.Both(variant, platform, config, load(variant, {}), loaded, params, batch, missing(platform))
    row = {"variant": variant, "platform": platform, "device": jax.devices()[0].device_kind}
    row |= {"shapes": config.train.batch_size, "surface": config.surface.points, "points": config.sdf.points}
    row |= {"tokens": config.latent.tokens, "channels": config.latent.channels}
    row["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(params))
    adam, row["check"] = parts.by_adam(both, row["parameters"])
    found = {"step, Adam": adam, "step, Muon": parts.by_muon(both), "farthest points": parts.farthest(both)}
    found |= {"forward": parts.forward(both), f"grid of {parts.GRIDS[variant][0]}³": parts.grid(both)}
    return row | {"parts": found, "versions": steps.versions()}


def missing(platform: str) -> str:
    """Why PyTorch cannot be measured; nothing where it can."""
    try:
        import torch
    except ImportError:
        return "not importable"
    return "sees no GPU" if platform == "gpu" and not torch.cuda.is_available() else ""


def table(found: dict[str, Any]) -> str:
    """The measurements as Markdown: one line a runner of each part, and what they agree in."""
    machine, row = found["machine"], found["row"]
    lines = [
        f"Made by `{found['command']}`, solids made in code; {machine['cpu']}, {machine['cores']} cores, "
        f"{row['platform']}: {row['device']}; jax {machine['versions']['jax']}, torch "
        f"{row['versions'].get('torch', 'absent')}; load average {machine['load_average_before']} before the start.",
        "",
        f"vecset, {row['variant']}: {row['parameters']:,} parameters, {row['tokens']} tokens of {row['channels']}; "
        f"{row['shapes']} shapes of {row['surface']:,} points, asked at {row['points']:,}. Medians of steps that take turns; "
        f"ratio: of seconds, over ours, at least {found['goal']:g} wanted in the step. Difference: the largest from ours, of "
        f"the latent and of what the network says in truncations; at most {found['within']:g} wanted.",
        "",
        "| part | runner | ms (fastest–slowest) | ratio | difference | first call s |",
        "|---|---|---|---|---|---|",
    ]
    for part, measured in row["parts"].items():
        for name, told in measured["runners"].items():
            if "missing" in told:
                lines.append(f"| {part} | {name} | {told['missing']} | | | |")
                continue
            median, *ends = (f"{1e3 * told[key]:.1f}" for key in ("seconds", "fastest", "slowest"))
            apart = f"{told['difference']:.1e}" if "difference" in told else ""
            cells = [part, name, f"{median} ({'–'.join(ends)})", f"{told['ratio']:.2f}", apart]
            lines.append(f"| {' | '.join(cells)} | {told.get('compile_seconds', '')} |")
    differences = [told.get("difference", 0) for each in row["parts"].values() for told in each["runners"].values()]
    told = [f"{part}: {measured['rounds']}" for part, measured in row["parts"].items()]
    lines += ["", f"Rounds of {', '.join(told)}{steps.agreement_note(row['check'])}."]
    if worst := max(differences):
        lines.append(f"Outputs differ by {worst:.1e} at most{', MORE than is wanted' * (worst > found['within'])}.")
    for name, losses in (("Adam", row["check"].get("losses")), ("Muon", row["parts"]["step, Muon"]["losses"])):
        if losses:
            ours, theirs = (", ".join(f"{value:.5f}" for value in each) for each in losses)
            lines.append(f"Losses of the first steps by {name}: {ours}; PyTorch's {theirs}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
