"""Seconds of a training step of each family of configs/sweeps/equal_size.py, all in turns: python -m benchmarks.equal_size

With --path=HEADS as the sweep is run. Writes results/benchmarks/equal_size.json: medians from which the sweep's steps
are taken, and the memory of each program.
"""

import argparse
import json

from benchmarks import common, steps

ROUNDS = 9  # steps of each family, in turns, after `steps.WARM`
SHAPES = 24  # of the data: enough for every batch


def main() -> None:
    """Nothing; measures all variants and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--path", default="", help="a folder of meshes or an NPZ set; without it, heads are made in code"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    found = {"command": common.command("benchmarks.equal_size"), "machine": common.machine(), "variants": {}}
    from configs.sweeps import equal_size

    for variant in equal_size.VARIANTS:
        found["variants"][variant or "floats_2k"] = measure(variant, arguments.path, arguments.rounds)
    common.write(common.RESULTS / "equal_size.json", json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["variants"], indent=1))


def measure(variant: str, path: str, rounds: int) -> dict[str, dict[str, float]]:
    """Median, fastest and slowest seconds of a step of each family, and what is told of its program."""
    from configs.sweeps import equal_size
    from hexjax import cells
    from hexjax.training import step

    runners, told = {}, {}
    for cell in cells.read(equal_size.get_config(variant)):
        family, _, seed = cell.name.rpartition("_")
        if seed != "0":
            continue
        config = cell.config
        config.data.path, config.data.count, config.data.split = path, SHAPES, ()
        loaded = step.load(config, "train")
        runners[family], told[family] = steps.stepper(config, loaded, steps.begin(config, loaded)[0])
    return {family: seconds | told[family] for family, seconds in steps.in_turns(runners, rounds).items()}


if __name__ == "__main__":
    main()
