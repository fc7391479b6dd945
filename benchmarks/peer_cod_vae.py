"""cod-vae, a peer, beside vecset:small: as many floats, about as many parameters, the same shapes and seconds, our scores.

    python -m benchmarks.peer_cod_vae --path=HEADS --close                (about 25 minutes on two quiet cores)
    python -m benchmarks.peer_cod_vae --path=HEADS --close --rows=weights --weights=FILE.npz
    python -m benchmarks.peer_cod_vae --toy                               (tiny networks, a few steps)
    python -m benchmarks.peer_cod_vae --table                             (peer_cod_vae.md made anew from the JSON)

HEADS is a folder of meshes or an NPZ set; without it, heads are made in code. Rows run one after another, each in a process of
its own. `ours` is launch.py with the cell vecset_0 of configs/sweeps/equal_size.py; nothing is validated on the way. `own` and
`raised` are the peer's trainer on our pools in its layout, both its stages within the seconds that ours took: `own` at its base
rate, with its augmentation, `raised` at a rate for short runs, with none, as ours. `weights` are published ones, scored alone.

Seconds and CPU seconds count from the end of the first step: preparation and compilation are left out on both sides. The peer
is no dependency: `pip install --no-deps cod-vae==1.0.0`; what it imports comes with hexjax. It is asked on every node of the
grid, as signed distance -0.1 a logit; its latent is the mean, as ours.
"""

import argparse
import contextlib
import importlib.util
import json
import pathlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from benchmarks import common, peer_cod_vae_side, peer_cod_vae_table
from hexjax import names

MODULE = "benchmarks.peer_cod_vae"
FILE = common.RESULTS / "peer_cod_vae.json"
ROWS = ("ours", "own", "raised", "weights")
CELL = (
    "--config=configs/vecset.py:small", "latent.tokens=128", "latent.channels=16", "evaluate.shapes=12",
    "extract.grid=128", "score.samples=20000", "evaluate.pictures=0", "validate.every_steps=0", "diagnostics.every_steps=0",
    "checkpoint.every_steps=1000000",
)  # fmt: skip
TOY = (
    "model.width=36", "model.heads=2", "model.cross_heads=1", "model.bands=2", "model.decoder_layers=1", "latent.tokens=8",
    "latent.channels=4", "surface.points=64", "surface.pool_points=256", "sdf.points=32", "sdf.pool_points=1024",
    "inside.points=64", "extract.grid=24", "score.samples=400", "data.count=10", "train.batch_size=2", "evaluate.shapes=1",
    "evaluate.baselines=False",
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """What the command line may hold."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--path", default="", help="a folder of meshes or an NPZ set; without it, heads made in code")
    made.add_argument("--count", type=int, help="shapes of it (data.count); 0: all")
    made.add_argument("--close", action="store_true", help="open meshes are closed first (data.close)")
    made.add_argument("--rows", help="some of ours, own, raised and weights, with commas")
    made.add_argument("--weights", type=pathlib.Path, help="a file that cod_vae saved, for the row weights")
    made.add_argument("--steps", type=int, help="of ours; those of the sweep by default")
    made.add_argument("--seconds", type=float, help="of the peer's training; those of ours by default")
    made.add_argument("--output", type=pathlib.Path, help="the JSON; its Markdown is written beside it")
    made.add_argument("--toy", action="store_true", help="tiny networks, a few steps, to a temporary folder")
    made.add_argument("--table", action="store_true", help="only make the Markdown anew from the JSON")
    made.add_argument("--worker", help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused; runs what the command line asks for."""
    given = parser().parse_args(arguments)
    if given.worker:
        print(json.dumps(work(json.loads(given.worker))), flush=True)
        return names.DONE
    try:
        with tempfile.TemporaryDirectory() as folder:
            output = given.output or (pathlib.Path(folder) / FILE.name if given.toy else FILE)
            if not given.table:
                benchmark(given, output)
            text = peer_cod_vae_table.table(json.loads(output.read_text(encoding="utf-8")))
            common.write(output.with_suffix(".md"), text)
            print(text)
    except ValueError as error:
        print(f"peer_cod_vae: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def refuse_missing() -> None:
    """Nothing, where the peer is installed.

    Raises:
        ValueError: with the command that installs it.
    """
    if importlib.util.find_spec("cod_vae") is None:
        raise ValueError("cod_vae is not installed; accepted: pip install --no-deps cod-vae==1.0.0")


def rows_of(asked: str | None, weights: pathlib.Path | None, seconds: float | None) -> list[str]:
    """The rows that a command line asks for, in their order; weights come first, as they may be refused.

    Raises:
        ValueError: for an unknown row, weights without a file, and a training without seconds.
    """
    rows = asked.split(",") if asked else [*ROWS[:3], *(["weights"] if weights else [])]
    if unknown := [row for row in rows if row not in ROWS]:
        raise ValueError(f"--rows has {unknown[0]!r}; accepted: {', '.join(ROWS)}")
    if "weights" in rows and weights is None:
        raise ValueError("--rows has weights; accepted with --weights=FILE.npz")
    if {*peer_cod_vae_side.RECIPES} & {*rows} and "ours" not in rows and seconds is None:
        raise ValueError("--rows trains the peer without ours; accepted with --seconds")
    return sorted(set(rows), key=lambda row: ("weights", *ROWS[:3]).index(row))


def benchmark(given: argparse.Namespace, output: pathlib.Path) -> None:
    """Nothing; every row is measured in a process of its own, and what there is is written after each.

    Raises:
        ValueError: for what is refused, here or in a process.
    """
    rows = rows_of(given.rows, given.weights, given.seconds)
    if rows != ["ours"]:
        refuse_missing()
    if given.weights and not given.weights.is_file():
        raise ValueError(f"--weights is {given.weights.name}, which is no file; accepted: one that cod_vae saved")
    found = {"command": common.command(MODULE), "machine": common.machine(), "rows": []}
    settings = {"arguments": arguments_of(given), "toy": given.toy, "seconds": given.seconds}
    settings |= {"weights": given.weights and str(given.weights.resolve())}
    for row in rows:
        told = common.work(MODULE, json.dumps(settings | {"row": row}))
        if "refused" in told:
            raise ValueError(told["refused"])
        found["rows"].append(told)
        if row == "ours":
            settings["seconds"] = settings["seconds"] or told["seconds"]
            settings["parameters"] = told["parameters"]
        common.write(output, json.dumps(found, indent=1) + "\n")


def arguments_of(given: argparse.Namespace) -> list[str]:
    """The arguments of launch.py for our row, but for its folder."""
    from configs.sweeps import equal_size

    steps = given.steps or (6 if given.toy else equal_size.steps("", "vecset"))
    first, *more = CELL
    more += TOY if given.toy else ()
    more += [f"train.steps={steps}", f"data.close={given.close}"]
    more += [f"data.path={given.path}"] if given.path else []
    more += [f"data.count={given.count}"] if given.count is not None else []
    return [first, *(f"--config.{each}" for each in more)]


def work(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A row, in this process, or why it is refused."""
    from hexjax import config as configuration

    with contextlib.redirect_stdout(sys.stderr):
        try:
            config = configuration.parse(settings["arguments"]).config
            configuration.set_environment()
            row = settings["row"]
            if row == "ours":
                return {"row": row} | ours(settings["arguments"])
            return {"row": row} | peer_cod_vae_side.row(row, config, settings)
        except ValueError as error:
            return {"refused": str(error)}


def ours(arguments: Sequence[str]) -> dict[str, Any]:
    """Our row: a run of launch.py, the clock of its steps, and its own scores.

    Raises:
        ValueError: where the run does not end well; it tells why itself.
    """
    from hexjax import command as launch
    from hexjax.training import record

    marks = []

    class Clocked(record.Log):
        """The log of a run, which notes the time whenever the metrics of a step have been waited for."""

        def progress(self, step: int, loss: float) -> None:
            marks.append(peer_cod_vae_side.clock())
            super().progress(step, loss)

    with tempfile.TemporaryDirectory() as place, mock.patch.object(record, "Log", Clocked):
        folder = pathlib.Path(place) / "run"
        if code := launch.main([*arguments, f"--workdir={folder}"]):
            raise ValueError(f"launch.py ended with code {code}; accepted: 0")
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    told = {"floats": scores["latent_floats"], "parameters": scores["parameters"]}
    told |= peer_cod_vae_side.elapsed(marks[0], marks[-1], len(marks)) | peer_cod_vae_side.summary(scores["items"])
    told["baselines"] = {
        name: peer_cod_vae_side.chosen(each["mean"]) for name, each in scores.get("baselines", {}).items()
    }
    told["ceiling"] = peer_cod_vae_side.chosen(scores["parts"]["test"]["mean"]["ceiling"])
    return told | {"shapes": {name: each["shapes"] for name, each in scores["parts"].items()}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
