"""The published experiment: a Gaussian VAE on the silhouettes of one head, and an autoencoder on its depth and normals.

    python -m benchmarks.published --size=full --seeds=5 --minutes=30                  512² maps, 38 M parameters: wants a GPU
    python -m benchmarks.published --size=small --seeds=3 --minutes=50 --workdir=DIR   128² maps, on two CPU cores
    python -m benchmarks.published --toy                                               a tiny network, a few steps

Runs of launch.py, one after another: the VAE's first seed; the autoencoder until its reconstruction is flat
(`published_table.is_flat`); both stopped once a share of the time is over; then the other seeds, each begun only if the time
left is that of the first. A run ends whole, with a number that is not finite, or is not counted: it is
saved, and goes on when called again with the same --workdir, where whole ones are not trained again. The JSON and its table
are written after every run.
"""

import argparse
import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks import command, common, published_table
from hexjax import names

HEAD = "heads/leeperrysmith_5500.ply"
CONFIGS = {"vae": "vae_binary", "ae": "ae_continuous"}
SHARES = {"vae": 0.45, "ae": 0.7}  # of the time, by which the first run of a kind is stopped
AIM = 5700  # vertices
GRIDS = (8, 512)
TRIES, CLOSE = 6, 0.02  # grids, and the share of AIM within which one is taken
POLL_SECONDS, GRACE_SECONDS = 2.0, 60.0
ADAM = ("optimiser.learning_rate=1e-4", "optimiser.beta2=0.999", "optimiser.warmup_steps=0", "optimiser.decay=none")


class Size(NamedTuple):
    """What is run: a variant of the configs and what it changes, and the sizes of what is measured."""

    variant: str
    steps: int  # of the VAE
    limit: int  # of the autoencoder's steps
    least: int  # logged steps before which no curve is flat
    draws: int  # from the prior
    both: tuple[str, ...]
    vae: tuple[str, ...]
    ae: tuple[str, ...]


COARSE = ("extract.grid=128", "score.samples=20000")  # a hull's faces are many and its score is not in doubt
SIZES = {
    "full": Size("published", 6000, 20000, 100, 8, (), COARSE, ()),
    "small": Size("small", 6000, 10000, 100, 8, ADAM, ("kl.warmup_steps=3000", *COARSE), ("optimiser.clip_norm=inf",)),
}
TOY = Size("small", 12, 30, 20, 2, (*command.TOY[:-1], *ADAM[:1], "log.every_steps=1"), ("kl.warmup_steps=6",), ())


class Run(NamedTuple):
    """One training: its name, kind and seed, and what it changes of its config."""

    name: str
    kind: str
    seed: int
    arguments: tuple[str, ...]  # of launch.py, but for its folder


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused; runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="full", help="full or small")
    parser.add_argument("--seeds", type=int, default=5, help="of the VAE")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workdir", type=pathlib.Path, help="where the runs stay; a temporary folder if not given")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--toy", action="store_true", help="a tiny network, a few steps")
    parser.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        print(json.dumps(work(*given.worker)), flush=True)
        return names.DONE
    try:
        with tempfile.TemporaryDirectory() as folder:
            default = pathlib.Path(folder) if given.toy else common.RESULTS
            output = given.output or default / f"published_{'gpu' if given.size == 'full' else given.size}.json"
            if not given.table:
                benchmark(given, output, given.workdir or pathlib.Path(folder))
            text = published_table.table(json.loads(output.read_text(encoding="utf-8")))
            common.write(output.with_suffix(".md"), text)
            print(text)
    except ValueError as error:
        print(f"published: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def size_of(name: str) -> Size:
    """The size of a name.

    Raises:
        ValueError: for another one.
    """
    if name not in SIZES:
        raise ValueError(f"--size is {name!r}; accepted: {', '.join(SIZES)}")
    return SIZES[name]


def plan(size: Size, seeds: int, head: pathlib.Path) -> list[Run]:
    """The runs, in the order in which they are taken.

    Raises:
        ValueError: for no seeds.
    """
    if seeds < 1:
        raise ValueError(f"--seeds is {seeds}; accepted: at least 1")

    def run(kind: str, seed: int) -> Run:
        steps = {"vae": size.steps, "ae": size.limit}[kind]
        changed = (f"data.path={head}", f"seed={seed}", f"train.steps={steps}", "checkpoint.every_steps=2000",
                   "checkpoint.keep=1", "evaluate.pictures=0", *size.both, *getattr(size, kind))  # fmt: skip
        config = f"--config=configs/{CONFIGS[kind]}.py:{size.variant}"
        return Run(f"{kind}-{seed}", kind, seed, (config, *(f"--config.{each}" for each in changed)))

    return [run("vae", 0), run("ae", 0), *(run("vae", seed) for seed in range(1, seeds))]


def benchmark(given: argparse.Namespace, output: pathlib.Path, folder: pathlib.Path) -> None:
    """Nothing; the runs are made in the folder, and what they came to is written after each.

    Raises:
        ValueError: for an unknown size, no seeds, no head, or a folder of other settings.
    """
    size, head = TOY if given.toy else size_of(given.size), common.data_folder() / HEAD
    todo = plan(size, given.seeds, head)
    if not head.is_file():
        raise ValueError(f"no {HEAD}; set HEXJAX_DATA to the folder that holds heads/")
    began, total = time.monotonic(), 60 * given.minutes
    kept = {run.name: earlier(folder, run) for run in todo}
    found = {
        "command": common.command("benchmarks.published"),
        "machine": common.machine(),
        "size": "toy" if given.toy else given.size,
        "seeds": given.seeds,
        "minutes": given.minutes,
        "commit": "unknown",
        "told": "" if given.size == "full" and not given.toy else "Not the published size.",
        "unfinished": [],
        "runs": [],
    }
    for number, run in enumerate(todo):
        row, first, left = kept[run.name], kept["vae-0"], total - (time.monotonic() - began)
        if not row.get("whole"):
            if number > 1 and not (first.get("whole") and left > 1.1 * first["seconds"]):
                found["unfinished"].append(f"{run.name} was not begun for want of time")
                continue
            until = began + total * (SHARES[run.kind] if number < 2 else 1)
            row = take(run, folder, until, size, row.get("seconds", 0.0))
            common.write(folder / f"{run.name}.json", json.dumps(row, indent=2) + "\n")
        kept[run.name] = row
        if not row["whole"]:
            found["unfinished"].append(f"{run.name} stopped at step {row['figures']['steps']:,}")
        found["commit"] = row["figures"].get("commit", found["commit"])
        found["runs"].append(row)
        common.write(output, json.dumps(found, indent=2) + "\n")
        common.write(output.with_suffix(".md"), published_table.table(found))


def take(run: Run, folder: pathlib.Path, until: float, size: Size, spent: float) -> dict[str, Any]:
    """What a run came to: trained until a time (time.monotonic()) at most, then measured where it may be counted.

    Args:
        spent: seconds of earlier calls.
    """
    place, began = folder / run.name, time.monotonic()
    curve = lambda: [value for _, value in published_table.curve(published_table.rows_of(place), "reconstruction")]
    flat = (lambda: published_table.is_flat(curve(), size.least)) if run.kind == "ae" else (lambda: False)
    told = _train([*run.arguments, f"--workdir={place}"], until, flat)
    code = told["code"]
    if code not in (names.DONE, names.NON_FINITE, names.INTERRUPTED):
        raise RuntimeError(f"{run.name} ended with code {code}")
    ends = {names.DONE: "limit", names.NON_FINITE: "not finite", names.INTERRUPTED: "time"}
    ended = "flat" if run.kind == "ae" and code != names.NON_FINITE and flat() else ends[code]
    whole, measured = ended != "time", None
    if (whole or run.kind == "ae") and any((place / "checkpoints").glob("[0-9]*")):
        measured = _start(["measure", run.kind, str(place), str(size.draws)]).wait_for()
    row = {
        "run": run.name,
        "kind": run.kind,
        "seed": run.seed,
        "arguments": _settings(run),
    }
    row |= {"code": code, "ended": ended, "whole": whole, "peak": told.get("peak")}
    row |= {"seconds": round(spent + time.monotonic() - began, 1), "measured": measured}
    return row | {"figures": published_table.figures(place) | _header(place)}


def _settings(run: Run) -> list[str]:
    """What must be the same where a run goes on: not where the data lie on this machine."""
    return [word for word in run.arguments if not word.startswith("--config.data.path=")]


def earlier(folder: pathlib.Path, run: Run) -> dict[str, Any]:
    """What was written of a run in a folder, nothing if it is not there.

    Raises:
        ValueError: if it is of other settings.
    """
    file = folder / f"{run.name}.json"
    row = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if row and row["arguments"] != _settings(run):
        raise ValueError(f"--workdir holds a {run.name} of other settings; accepted: the same command, or a new folder")
    return row


def _header(place: pathlib.Path) -> dict[str, str]:
    """The first command of a run's command.txt, and the last commit."""
    file = place / "command.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    told = [line.partition(": ") for line in lines]
    commands = [after for name, _, after in told if name == "command"]
    commits = [after for name, _, after in told if name == "commit"]
    return {"command": commands[0] if commands else "", "commit": commits[-1] if commits else "unknown"}


class Worker(subprocess.Popen):
    """A process of this file, whose last line on standard output is JSON."""

    def wait_for(self) -> dict[str, Any]:
        """What it told.

        Raises:
            RuntimeError: if it fails; its standard error is already on ours.
        """
        text = self.communicate()[0]
        if self.returncode:
            raise RuntimeError(f"{' '.join(self.args[4:6])} ended with code {self.returncode}")
        return json.loads(text.splitlines()[-1])


def _start(words: Sequence[str]) -> Worker:
    places = os.pathsep.join(filter(None, [str(common.ROOT), os.environ.get("PYTHONPATH")]))
    line = [sys.executable, "-m", "benchmarks.published", "--worker", *words]
    return Worker(line, cwd=common.ROOT, env=dict(os.environ, PYTHONPATH=places), stdout=subprocess.PIPE, text=True)


def _train(words: Sequence[str], until: float, flat: Callable[[], bool]) -> dict[str, Any]:
    """Exit code and peak memory of a training, which is asked to stop and save itself at a time, or once it is flat."""
    worker, asked = _start(["train", *words]), None
    while worker.poll() is None:
        now = time.monotonic()
        if asked is None and (now > until or flat()):
            worker.terminate()
            asked = now
        if asked is not None and now > asked + GRACE_SECONDS:
            worker.kill()
        time.sleep(POLL_SECONDS)
    text = worker.communicate()[0].splitlines()
    if worker.returncode or not text:  # ended before it could save, or by a fault
        return {"code": names.INTERRUPTED if asked is not None else worker.returncode}
    return json.loads(text[-1])


def work(task: str, *words: str) -> dict[str, Any]:
    """What a worker does, in its own process: train as launch.py, or measure a run."""
    return train(words) if task == "train" else measure(words[0], pathlib.Path(words[1]), int(words[2]))


def train(words: Sequence[str]) -> dict[str, Any]:
    """Exit code of launch.py with these arguments, and the peak memory of training and evaluation."""
    from hexjax import command as launch

    sys.argv[:] = ["launch.py", *words]
    code = launch.start()
    import jax

    device = jax.devices()[0]
    most = (device.memory_stats() or {}).get("peak_bytes_in_use")
    peak = {"of": "the process's resident memory, ru_maxrss", "mib": common.peak_mib()}
    if most is not None and device.platform != "cpu":
        peak = {"of": f"memory of the device, {device.device_kind}: peak_bytes_in_use", "mib": round(most / 2**20, 1)}
    return {"code": code, "peak": peak}


def measure(kind: str, folder: pathlib.Path, draws: int) -> dict[str, Any]:
    """What scores.json does not tell of a run: a VAE's mesh at every threshold and draws, an autoencoder's mesh by grid."""
    from hexjax import command as launch
    from hexjax.evaluation import restore

    if kind == "ae" and launch.main(["--mode=evaluate", f"--workdir={folder}"]):  # it may have been stopped before
        raise RuntimeError("the run could not be scored")
    warnings.simplefilter("ignore")  # of parts dropped: scores.json tells them
    model, source = restore.restore(folder), common.data_folder() / HEAD
    return _of_vae(model, source, draws) if kind == "vae" else _of_autoencoder(model, source)


def _of_vae(model: Any, source: pathlib.Path, draws: int) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from hexjax import pipeline
    from hexjax.data import batches, duplicates
    from hexjax.diagnostics import collapse
    from hexjax.evaluation import sample
    from hexjax.geometry import hulls
    from hexjax.types import Item

    framed, similarity = model.normalise(source)
    item, config = Item("the head", framed, framed, similarity), model.config
    maps, swept, drawn = model.decode(model.encode(source)), [], []
    ask = jax.jit(lambda points, threshold: hulls.fuse(maps, points, threshold))
    for threshold in map(float, collapse.THRESHOLDS):
        values = hulls.grid(maps, config.extract.grid, threshold)
        mesh, report = pipeline.polygonise(values, config, ask=functools.partial(ask, threshold=threshold))
        counts = {name: report[name] for name in ("components", "euler")}
        swept.append(
            {"threshold": round(threshold, 2), "vertices": len(mesh.vertices), "faces": len(mesh.faces)} | counts
        )
    numbers = {"draw": jnp.arange(draws, dtype=jnp.int32)}
    latents = jax.jit(model.family.sample)(model.params, batches.stream_key(config.sample.seed, "sample", 0), numbers)
    for number in range(draws):
        mesh = model.mesh(jax.tree.map(lambda leaf, i=number: leaf[i], latents))
        row = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
        if row["faces"]:
            held = [np.asarray(duplicates.occupied(each))[None] for each in (mesh, framed)]
            near = sample.nearest([mesh], [item], config.seed)[0]
            row |= {"iou": float(duplicates.overlap(*held)[0, 0])} | {
                key: near[key] for key in ("cd_l1", "f_score_0.02")
            }
        drawn.append(row)
    return {"step": model.step, "thresholds": swept, "draws": drawn}


def _of_autoencoder(model: Any, source: pathlib.Path) -> dict[str, Any]:
    from hexjax import pipeline
    from hexjax.types import Item

    framed, similarity = model.normalise(source)
    item, latent = Item("the head", framed, framed, similarity), model.encode(source)
    grid = match(lambda each: len(model.mesh(latent, grid=each).vertices))
    config = model.config.copy_and_resolve_references().unlock()
    config.extract.grid = grid
    batch = pipeline.observe(item, model.family, config)
    meshes = model.mesh(latent, grid=grid), pipeline.ceiling(item, batch, model.family, config)[0]
    scores = [pipeline.score(mesh, framed, config) for mesh in meshes]
    own, best = ({name: each[name] for name in published_table.SCORES} for each in scores)
    return {"step": model.step, "matched": {"grid": grid} | own | {"ceiling": best}}


def match(count: Callable[[int], int], aim: int = AIM, grid: int = 64) -> int:
    """Of a few grids that are tried the first that is near `aim` vertices, else the nearest; they grow with a grid's square.

    Args:
        count: vertices on a grid of so many nodes a side.
        grid: the first that is tried.
    """
    tried: dict[int, int] = {}
    while grid not in tried and len(tried) < TRIES:
        tried[grid] = count(grid)
        best = min(tried, key=lambda each: abs(tried[each] - aim))
        if abs(tried[best] - aim) <= CLOSE * aim:
            break
        grid = min(max(round(best * math.sqrt(aim / max(tried[best], 1))), GRIDS[0]), GRIDS[1])
    return best


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
