"""What the auto-decoder costs: a training step beside the same in PyTorch, the search of codes, and its field alone.

    python -m benchmarks.auto_decoder                    (256 x 4 of :small, and 512 x 8; on a GPU with its 8192 points)
    python -m benchmarks.auto_decoder --points=1024      (so many points a shape in a step of 512 x 8, for a CPU)
    python -m benchmarks.auto_decoder --toy              (a tiny network, in seconds but for PyTorch's compilation)
    python -m benchmarks.auto_decoder --table            (auto_decoder.md made anew from auto_decoder.json)

Twenty solids made in code. The step is that of configs/deepsdf.py without the average of the parameters; ours draws its
batch in it, PyTorch is given one. Both start from the same parameters and must agree in loss, gradient norm and
distances. They take turns in one process; compilations are told apart. A search is of so few steps that its rate shows,
from one start, of one shape and of several in one program. The field is asked points in chunks.

Operations by hand: products with weights for each point, without the code's part, which is computed once a shape. Share
of the peak: of a large matrix product in the same process.
"""

import argparse
import functools
import importlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import common, steps

VARIANTS = {"small": "small", "full": "", "toy": "small"}  # and the config's variant
STEPS = {"small": 20, "full": 6, "toy": 2}  # of each runner, after steps.WARM rounds; CPU
POOL = 8192  # query points a shape: enough to draw from, soon made
TOY = {
    "model.width": 16, "model.depth": 4, "latent.channels": 4, "data.count": 3, "train.batch_size": 2,
    "sdf.points": 32, "search.points": 32, "sdf.seen_points": 64,
}  # fmt: skip
SEARCH = {"cpu": 10, "gpu": 200, "toy": 4}  # steps
TOGETHER = 8  # shapes of a search
FIELD = {"cpu": (2**14, 2**16), "gpu": (2**14, 2**20), "toy": (64, 128)}  # points asked at once; extraction asks 2^14
CALLS = {"cpu": 3, "gpu": 10, "toy": 2}  # of a search and a field, after the first


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", default="small,full", help="small, full or both, with a comma")
    parser.add_argument("--points", type=int, default=0, help="a shape, in a step of full; 0: as the config says")
    parser.add_argument("--toy", action="store_true", help="a tiny network; writes to --output or a temporary folder")
    parser.add_argument("--output", type=pathlib.Path, help="the JSON; results/benchmarks/auto_decoder.json by default")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.worker[0], int(arguments.worker[1]))))
        return
    folder = pathlib.Path(tempfile.mkdtemp()) if arguments.toy else common.RESULTS
    output = arguments.output or folder / "auto_decoder.json"
    if not arguments.table:
        benchmark(["toy"] if arguments.toy else arguments.variants.split(","), arguments.points, output)
    text = table(json.loads(output.read_text(encoding="utf-8")))
    common.write(output.with_suffix(".md"), text)
    print(text)


def benchmark(variants: list[str], points: int, output: pathlib.Path) -> None:
    """Nothing; measures every size in a process of its own and writes what there is after each."""
    found: dict[str, Any] = {"command": common.command("benchmarks.auto_decoder"), "machine": common.machine()}
    found["rows"] = []
    for variant in variants:
        asked = points if variant == "full" else 0
        found["rows"].append(common.work("benchmarks.auto_decoder", variant, str(asked)))
        common.write(output, json.dumps(found, indent=2) + "\n")


def measure(variant: str, points: int) -> dict[str, Any]:
    """One size, in this process: the runners of a step in turns, the searches, and the field."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch wants memory of the same device
    from hexjax import config as configuration

    configuration.set_environment()
    import jax

    from hexjax.training import step

    platform, config = jax.devices()[0].platform, load(variant, points)
    size = "toy" if variant == "toy" else platform
    loaded = step.load(config, "train")
    runners, told, params = runners_of(config, loaded, platform)
    check, count = told.pop("check"), STEPS[variant] * (steps.GPU_FACTOR if platform == "gpu" else 1)
    times = steps.in_turns(runners, count)
    peaks, work = steps.peaks(size), gflop(config)
    shapes, each = config.train.batch_size, config.sdf.points
    row = {
        "variant": variant,
        "platform": platform,
        "device": jax.devices()[0].device_kind,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params["decoder"])),
        "shapes": shapes,
        "points": each,
        "gflop_by_hand": round(shapes * each * work["step"], 3),
        "check": check,
        "steps": count,
        "peak_gflops": peaks,
    }
    for name, seconds in times.items():
        half = "bfloat16" if "bfloat16" in name and platform == "gpu" else "float32"
        told[name] |= seconds | rates(shapes * each, work["step"], seconds["seconds"], peaks[half])
    rate = functools.partial(rates, peak=peaks["float32"])
    row |= {"runners": told, "search": searches(config, loaded.spec, params, size, work["search"], rate)}
    return row | {"field": fields(loaded.family, params, size, work["field"], rate), "versions": steps.versions()}


def load(variant: str, points: int) -> Any:
    """The config of a size, on solids made in code, with pools that are soon made.

    Args:
        points: of each shape in a step; 0: as the config says.

    Raises:
        ValueError: for an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; accepted: {', '.join(VARIANTS)}")
    config = importlib.import_module("configs.deepsdf").get_config(VARIANTS[variant])
    config.update_from_flattened_dict({"train.ema": 0.0, "sdf.pool_points": POOL, "search.starts": 1})
    config.update_from_flattened_dict(TOY | {"sdf.pool_points": 64} if variant == "toy" else {})
    config.sdf.points = points or config.sdf.points
    return config.lock()


def runners_of(config: Any, loaded: Any, platform: str) -> tuple[dict[str, steps.Step], dict[str, Any], Any]:
    """Steps by name, what is told of each, the agreement as `check`, and the parameters they start from, on the host."""
    import jax

    from hexjax.models import family as families

    runners, told, params = {}, {}, None
    for name in ("ours", "ours, bfloat16") if platform == "gpu" else ("ours",):
        own = config.copy_and_resolve_references().unlock()
        own.model.dtype = "bfloat16" if "bfloat16" in name else "float32"
        other = loaded._replace(family=families.make(loaded.spec, own))
        state, params = steps.begin(own, other, params)
        runners[name], told[name] = steps.stepper(own, other, state)
    batch = jax.device_get(loaded.data.batch_at(loaded.data.cache, 0, config.seed))
    first = ours_first(loaded.family, params, batch) | {"loss": float((metrics := runners["ours"]())["loss"])}
    first |= {"gradient_norm": float(metrics["gradient_norm"])}
    first["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(params))

    def twin() -> Any:
        from benchmarks import torch_decoder

        model = torch_decoder.make(config, loaded.data.cache.count)
        torch_decoder.copy(model, params)
        return model

    inputs = [batch[name] for name in ("item", "points", "sdf")]
    peers, check = steps.torch_runners(config, platform, twin, inputs, first, ("distance", lambda found: found))
    for name, (step, facts) in peers.items():
        told[name] = facts
        if step is not None:
            runners[name] = step
    return runners, told | {"check": check}, params


def ours_first(family: Any, params: Any, batch: Any) -> dict[str, Any]:
    """The distances that the parameters give at the batch's points."""
    import jax

    @jax.jit
    def ask(params: Any, item: Any, points: Any) -> Any:
        decoded = family.decode(params, family.encode(params, {"item": item}, None))
        return jax.vmap(lambda each, points: family.field(params, each, points))(decoded, points)

    return {"decoded": jax.device_get(ask(params, batch["item"], batch["points"]))}


def searches(config: Any, spec: Any, params: Any, size: str, work: float, rate: Callable) -> dict[str, Any]:
    """Of codes for one shape and for several together: seconds, points a second, and how many times as many together.

    Args:
        spec: of which the family is made anew, with few steps of a search.
    """
    import jax
    import numpy as np

    from hexjax.models import family as families

    few = config.copy_and_resolve_references().unlock()
    few.search.steps = SEARCH[size]
    encode, params = jax.jit(families.make(spec, few).encode), jax.device_put(params)
    places = np.random.default_rng(0).uniform(-1, 1, (TOGETHER, config.sdf.seen_points, 3)).astype(np.float32)
    radii, rows = np.linspace(0.4, 0.9, TOGETHER, dtype=np.float32), []
    distance = np.linalg.norm(places, axis=-1) - radii[:, None]
    for count in (1, TOGETHER):
        batch = jax.device_put({"points": places[:count], "sdf": distance[:count]})
        asked = called(lambda batch=batch: encode(params, batch, None), CALLS[size])
        points = count * few.search.steps * few.search.points
        rows.append({"shapes": count} | asked | rate(points, work, asked["seconds"]))
    gain = round(rows[1]["points_per_second"] / rows[0]["points_per_second"], 2)
    told = {"steps": few.search.steps, "points": few.search.points, "starts": few.search.starts}
    return told | {"rows": rows, "together_times": gain}


def fields(family: Any, params: Any, size: str, work: float, rate: Callable) -> list[dict[str, Any]]:
    """Forward alone, of one shape: seconds and points a second, by the points that are asked at once."""
    import jax
    import numpy as np

    params = jax.device_put(params)
    latent = jax.jit(family.encode)(params, {"item": np.zeros(1, np.int32)}, None)
    decoded = jax.tree.map(lambda leaf: leaf[0], jax.jit(family.decode)(params, latent))
    ask, rows = jax.jit(family.field), []
    for count in FIELD[size]:
        points = np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)
        points = jax.device_put(points)
        asked = called(lambda points=points: ask(params, decoded, points), CALLS[size])
        rows.append({"points": count} | asked | rate(count, work, asked["seconds"]))
    return rows


def called(function: Callable[[], Any], count: int) -> dict[str, float]:
    """Seconds of the first call, which compiles, and of so many later ones."""
    import jax

    wait = lambda: jax.block_until_ready(function())
    first, _ = common.timed(wait)
    return {"first_seconds": round(first, 3)} | steps.spread([common.timed(wait)[0] for _ in range(count)])


def rates(points: int, work: float, seconds: float, peak: float) -> dict[str, float]:
    """Points a second, and the share of a peak of 10⁹ operations a second that their work takes.

    Args:
        work: 10⁹ operations a point.
    """
    seconds = max(seconds, 1e-5)  # what is told of the clock
    return {"points_per_second": round(points / seconds), "share_of_peak": round(points * work / seconds / peak, 4)}


def gflop(config: Any) -> dict[str, float]:
    """10⁹ floating-point operations for each point: of the field, of a step, and of a step of a search.

    A step has the forward pass, the gradient of the weights, and that of what comes into a layer, which the places need
    not have; a search has no gradient of weights.
    """
    model = config.model
    places = 3 if model.activation == "siren" else 3 + 6 * model.bands
    seen = 2 * places * model.width  # the first layer and the middle one
    inner = (model.depth - 1) * model.width**2 + model.width
    terms = {"field": seen + inner, "step": 2 * seen + 3 * inner, "search": seen + 2 * inner}
    return {name: 2 * value / 1e9 for name, value in terms.items()}


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown: steps, one line a runner; searches; fields."""
    machine, rows = found["machine"], found["rows"]
    lines = [
        f"Made by `{found['command']}`, solids made in code; {machine['cpu']}, {machine['cores']} cores, "
        f"{rows[0]['platform']}: {rows[0]['device']}; jax {machine['versions']['jax']}, torch "
        f"{rows[0]['versions'].get('torch', 'absent')}; load average {machine['load_average_before']} before the start.",
        "",
        "| training step | shapes x points | runner | ms a step (fastest–slowest) | points/s | times the fastest peer's "
        "speed | share of the peak | first call s | memory MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peers = [told["seconds"] for name, told in row["runners"].items() if name in steps.PEERS and "seconds" in told]
        for name, told in row["runners"].items():
            cells = [named(row), f"{row['shapes']} x {row['points']}", name]
            if "missing" in told:
                lines.append(f"| {' | '.join([*cells, told['missing'], *[''] * 5])} |")
                continue
            milliseconds = [f"{1e3 * told[key]:.1f}" for key in ("seconds", "fastest", "slowest")]
            cells += [f"{milliseconds[0]} ({milliseconds[1]}–{milliseconds[2]})", f"{told['points_per_second']:,}"]
            cells += [f"{min(peers) / told['seconds']:.2f}" if peers else "", f"{told['share_of_peak']:.0%}"]
            cells += [f"{told['compile_seconds']:.1f}", "" if told["memory_mib"] is None else str(told["memory_mib"])]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| search of codes | shapes together | steps x points | s | points/s | share of the peak |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        asked = f"{row['search']['steps']} x {row['search']['points']}"
        lines += [f"| {named(row)} | {each['shapes']} | {asked} | {_rate(each)} |" for each in row["search"]["rows"]]
    lines += ["", "| field alone | points at once | s | points/s | share of the peak |", "|---|---|---|---|---|"]
    for row in rows:
        lines += [f"| {named(row)} | {each['points']:,} | {_rate(each)} |" for each in row["field"]]
    lines += ["", *(_note(row) for row in rows)]
    return "\n".join(lines) + "\n"


def named(row: dict[str, Any]) -> str:
    """A row's network, as tables name it."""
    return f"{row['variant']}, {row['parameters'] / 1e6:.2g} M"


def _rate(each: dict[str, Any]) -> str:
    return f"{each['seconds']:.3g} | {each['points_per_second']:,} | {each['share_of_peak']:.0%}"


def _note(row: dict[str, Any]) -> str:
    """A row's operations, the measured peaks, what searching together gains, and the agreement."""
    peak = ", ".join(f"{name} {value:,.0f}" for name, value in row["peak_gflops"].items())
    text = (
        f"- {named(row)}: {row['gflop_by_hand']:.3g} GFLOP a step by hand, {row['runners']['ours']['gflop_xla']} by XLA; "
        f"peak GFLOP/s: {peak}; {row['search']['rows'][1]['shapes']} shapes searched for together: "
        f"{row['search']['together_times']} times the points of one in the same time"
    )
    return f"{text}{steps.agreement_note(row['check'])}."


if __name__ == "__main__":
    main()
