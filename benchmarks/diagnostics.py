"""What the diagnostics of the latent cost: seconds of one diagnosis against those of the steps between two of them.

    python -m benchmarks.diagnostics            (two minutes: small configurations with one shape and with eight)

Both run in one process, in turns, each called once before. The share is that of `diagnostics.every_steps` as the
configuration has it, writing and judging included.
"""

import functools
import importlib
import json
import statistics
import sys
import time
from typing import Any

from benchmarks import common

CASES = (("ae_continuous", 1), ("vae_binary", 1), ("vae_binary", 8), ("vae_continuous", 8))
ROUNDS = 5
STEPS = 10


def worker(name: str, count: str) -> dict[str, Any]:
    """The measured row of one configuration and number of shapes."""
    import jax

    from hexjax.models import family as families
    from hexjax.training import monitor, optimiser, step

    config = importlib.import_module(f"configs.{name}").get_config("small")
    config.data.count = config.train.batch_size = int(count)
    loaded = step.load(config, "train")
    family, data = loaded.family, loaded.data
    adam, knobs = optimiser.make(config), families.knobs(config)
    state = jax.jit(step.make_init(family, adam, data.fixed))(data.cache, 0)
    advance = jax.jit(functools.partial(step.make_step(family.loss, adam, data.batch_at), seed=0), donate_argnums=0)
    diagnose = monitor.make(family, config, data)
    diagnose(state, data.cache, knobs)
    state, _ = jax.block_until_ready(advance(state, data.cache, knobs))
    steps, diagnoses = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(STEPS):
            state, _ = advance(state, data.cache, knobs)
        jax.block_until_ready(state)
        steps.append((time.perf_counter() - began) / STEPS)
        began = time.perf_counter()
        diagnose(state, data.cache, knobs)
        diagnoses.append(time.perf_counter() - began)
    seconds, diagnosis, every = statistics.median(steps), statistics.median(diagnoses), config.diagnostics.every_steps
    return {
        "config": f"{name}:small", "shapes": int(count), "step_seconds": round(seconds, 4),
        "diagnosis_seconds": round(diagnosis, 4), "every_steps": every,
        "share": round(diagnosis / (every * seconds + diagnosis), 4),
    }  # fmt: skip


def main() -> int:
    """The exit code; writes results/benchmarks/diagnostics.json."""
    if "--worker" in sys.argv:
        print(json.dumps(worker(*sys.argv[sys.argv.index("--worker") + 1 :])))
        return 0
    rows = [common.work("benchmarks.diagnostics", name, str(count)) for name, count in CASES]
    told = {"command": "python -m benchmarks.diagnostics", "rows": rows}
    (common.RESULTS / "diagnostics.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
