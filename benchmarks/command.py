"""Where the time of the whole command goes, from `python launch.py` to the scores; what it compiles; what imports cost.

    python -m benchmarks.command                (a few minutes: the small configuration twice, and the imports)
    python -m benchmarks.command --toy          (a few steps of a tiny one)

The command runs in a process of its own and in a temporary folder, first with an empty compilation cache (cold), then
again with what that run left there (warm). Its parts are told apart by wrapping the functions named in PARTS; the time
of a part is without that of the parts within it. Tracing, lowering and compilation (by XLA, or read from the cache) are
what JAX itself reports. Imports are measured in processes of their own, in turns.
"""

import argparse
import collections
import contextlib
import functools
import importlib
import json
import logging
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import common

CONFIG = "configs/ae_continuous.py:small"
TOY = (
    "hexplane.resolution_px=32",
    "model.stem_px=4",
    "model.widths=(8,16)",
    "model.mixer_width=16",
    "latent.side=4",
    "model.mixer_side=4",
    "sdf.pool_points=2048",
    "extract.grid=32",
    "score.samples=1000",
    "train.steps=3",
)
# Where the parts begin, in the order in which they are told; several functions may belong to one.
PARTS = {
    "import": (),
    "command line": ("hexjax.config:parse",),
    "load": ("hexjax.data.sources:listing", "hexjax.data.sources:load"),
    "render": ("hexjax.geometry.hexplane:render",),
    "query pool": ("hexjax.data.fields:build",),
    "trace and lower": (),
    "compile": (),
    "record": ("hexjax.training.record:write_header", "hexjax.training.record:Log.__init__"),
    "train": ("hexjax.training.loop:train",),
    "checkpoints": tuple(
        f"hexjax.training.checkpoint:Store.{name}" for name in ("__init__", "restore", "save", "wait")
    ),
    "evaluate: network": ("hexjax.pipeline:encode", "hexjax.pipeline:decode"),
    "evaluate: field": ("hexjax.pipeline:family_grid",),
    "evaluate: polygonise": ("hexjax.geometry.isosurface:polygonise",),
    "evaluate: score": ("hexjax.geometry.distance:score",),
    "evaluate: pictures and meshes": ("hexjax.evaluation.export:shape", "hexjax.evaluation.export:history"),
    "evaluate: the rest": ("hexjax.evaluation.evaluate:evaluate",),
    "start and end of the process, the rest": (),
}
MODULES = ("hexjax.training.step", "hexjax.evaluation.evaluate", "hexjax.training.loop")  # what launch.py imports
IMPORTS = {
    "jax, flax": "import jax, flax",
    "hexjax": "import hexjax",
    "hexjax, and all of its public names": "import hexjax; [getattr(hexjax, name) for name in hexjax.__all__]",
    "all that training and evaluation import": f"import {', '.join(MODULES)}",
    "a refused command line": None,
}
LOGGER = "jax._src.interpreters.pxla"


def main() -> None:
    """Nothing; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=11, help="processes of each import")
    parser.add_argument("--steps", type=int, help="train.steps; the configuration's own if not given")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, a few seconds")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*arguments.worker)))
        return
    with tempfile.TemporaryDirectory() as folder:
        default = pathlib.Path(folder) if arguments.toy else common.RESULTS
        output = arguments.output or default / "command.json"
        if not arguments.table:
            common.write(output, json.dumps(benchmark(arguments, pathlib.Path(folder)), indent=2) + "\n")
        text = table(json.loads(output.read_text(encoding="utf-8")))
        common.write(output.with_suffix(".md"), text)
    print(text)


def benchmark(arguments: argparse.Namespace, folder: pathlib.Path) -> dict[str, Any]:
    """What is written as JSON: the machine, the imports, and the command on a cold and on a warm cache."""
    overrides = list(TOY) if arguments.toy else []
    overrides += [f"train.steps={arguments.steps}"] if arguments.steps else []
    found = {"machine": common.machine(), "config": CONFIG, "overrides": overrides}
    found["imports"] = imports(2 if arguments.toy else arguments.runs)
    for cache in ("cold", "warm"):
        found[cache] = command(folder, cache, [f"--config.{override}" for override in overrides])
    return found


def imports(runs: int) -> dict[str, float]:
    """Median seconds of processes that import, less those of one that does nothing; after one run of each unmeasured."""
    programs = {name: ["-c", text] if text else ["launch.py", "--mode=none"] for name, text in IMPORTS.items()}
    programs["nothing"] = ["-c", "pass"]
    seconds = collections.defaultdict(list)
    for _ in range(runs + 1):
        for name, program in programs.items():
            call = functools.partial(
                subprocess.run, [sys.executable, *program], cwd=common.ROOT, stderr=subprocess.PIPE
            )
            elapsed, done = common.timed(call)
            if done.returncode != (2 if program[0] == "launch.py" else 0):
                raise RuntimeError(f"{' '.join(program)} ended with code {done.returncode}: {done.stderr.decode()}")
            seconds[name].append(elapsed)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return {name: round(value - medians["nothing"] * (name != "nothing"), 4) for name, value in medians.items()}


def command(folder: pathlib.Path, cache: str, overrides: list[str]) -> dict[str, Any]:
    """One run of the command: seconds of all, by part, and what was compiled; the compilation cache is `folder`/cache."""
    places = os.pathsep.join(filter(None, [str(common.ROOT), os.environ.get("PYTHONPATH")]))
    environment = dict(os.environ, PYTHONPATH=places, JAX_COMPILATION_CACHE_DIR=str(folder / "cache"))
    line = [f"--config={CONFIG}", *overrides, f"--workdir={folder / cache}"]
    process = [sys.executable, "-m", "benchmarks.command", "--worker", *line]
    print(f"{cache}: {' '.join(line[:-1])}", file=sys.stderr)
    began = time.time()
    done = subprocess.run(process, cwd=common.ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.time() - began
    if done.returncode:
        raise RuntimeError(f"launch.py {' '.join(line)} ended with code {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    found["parts"]["start and end of the process, the rest"] = seconds - sum(found["parts"].values())
    found["parts"] = {name: round(found["parts"].get(name, 0), 3) for name in PARTS}
    scores = json.loads((folder / cache / "scores.json").read_text(encoding="utf-8"))
    rows = (folder / cache / "timing.jsonl").read_text(encoding="utf-8").splitlines()
    found["rate"] = json.loads(rows[-1])["rate"] if rows else None
    return {"seconds": round(seconds, 2), "told": scores["seconds"]} | found


def work(*arguments: str) -> dict[str, Any]:
    """Runs the command here: seconds by part, each without the parts within it, and the programs compiled."""
    spans, programs, seconds = [], collections.Counter(), collections.Counter()
    began = time.time()
    from hexjax import config

    config.set_environment()
    import jax

    for name in MODULES:
        importlib.import_module(name)
    from hexjax import command

    spans.append(("import", began, time.time()))

    def compiled(event: str, begin: float, end: float, fun_name: str = "", **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            in_xla = event.endswith("backend_compile_duration")
            spans.append(("compile" if in_xla else "trace and lower", begin, end))
            seconds[fun_name] += (end - begin) * in_xla

    jax.monitoring.register_event_time_span_listener(compiled)
    log = logging.Handler()
    log.emit = lambda record: programs.update([record.args[:2]] if record.msg.startswith("Compiling %s with") else [])
    jax.config.update("jax_log_compiles", True)
    logging.getLogger(LOGGER).addHandler(log)
    logging.getLogger("jax._src").setLevel(logging.ERROR)
    logging.getLogger(LOGGER).setLevel(logging.WARNING)
    logging.getLogger(LOGGER).propagate = False
    for part, functions in PARTS.items():
        for function in functions:
            _wrap(function, functools.partial(_span, spans, part))
    code = command.main(list(arguments))
    if code:
        sys.exit(code)
    functions = collections.defaultdict(lambda: {"programs": 0, "repeated": 0})
    for (name, _), times in programs.items():
        functions[str(name)]["programs"] += 1
        functions[str(name)]["repeated"] += times - 1
    for name, found in functions.items():
        found["seconds"] = round(seconds[name], 3)
    ordered = sorted(functions.items(), key=lambda pair: -pair[1]["seconds"])
    return {"parts": exclusive(spans), "compiled": dict(ordered)}


def _wrap(place: str, span: Any) -> None:
    """Puts a function, named as module:name or module:class.name, into the span of its part."""
    module, _, names = place.partition(":")
    *owners, name = names.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*arguments: Any, **named: Any) -> Any:
        with span():
            return inner(*arguments, **named)

    setattr(owner, name, outer)


@contextlib.contextmanager
def _span(spans: list[tuple[str, float, float]], name: str) -> Iterator[None]:
    began = time.time()
    try:
        yield
    finally:
        spans.append((name, began, time.time()))


def exclusive(spans: list[tuple[str, float, float]]) -> dict[str, float]:
    """Seconds by name of nested spans, each without the spans within it."""
    totals, within = collections.Counter(), []
    for name, begin, end in sorted(spans, key=lambda span: (span[1], -span[2])):
        while within and within[-1][1] <= begin:
            within.pop()
        totals[name] += end - begin
        if within:
            totals[within[-1][0]] -= end - begin
        within.append((name, end))
    return dict(totals)


def table(found: dict[str, Any]) -> str:
    """The parts, the programs and the imports as Markdown."""
    machine, runs = found["machine"], {name: found[name] for name in ("cold", "warm")}
    what = f"`python launch.py --config={found['config']}`" + "".join(f" `{text}`" for text in found["overrides"])
    lines = [
        f"{what} on {machine['cpu']}, {machine['cores']} cores, jax {machine['versions']['jax']}; load average "
        f"{machine['load_average_before']} before the start. Seconds.",
        "",
        "| part | cold cache | warm cache |",
        "|---|---|---|",
    ]
    for part in PARTS:
        lines.append(f"| {part} | " + " | ".join(f"{run['parts'][part]:.2f}" for run in runs.values()) + " |")
    lines += ["| **all** | " + " | ".join(f"**{run['seconds']:.1f}**" for run in runs.values()) + " |", ""]
    for name, run in runs.items():
        compiled = run["compiled"]
        repeated = [f"{function} {each['repeated']}" for function, each in compiled.items() if each["repeated"]]
        count = sum(each["programs"] for each in compiled.values())
        slowest = ", ".join(f"{function} {each['seconds']:.2f} s" for function, each in list(compiled.items())[:6])
        lines += [
            f"{name.capitalize()}: {count} programs of {len(compiled)} functions, in XLA or read from the cache: {slowest}; "
            f"compiled again for the same shapes: {', '.join(repeated) or 'none'}.",
            "",
        ]
    peer = found["imports"]["jax, flax"]
    lines += [
        "| process (median, less the interpreter's own start) | seconds | ratio to `import jax, flax` |",
        "|---|---|---|",
    ]
    for name, seconds in found["imports"].items():
        lines.append(f"| {name} | {seconds:.3f} | {seconds / peer:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
