"""The command: from a command line to its exit code, for launch.py and for the `hexjax` of an installed package.

Nothing that is slow to import is imported before the command line is checked; faults of the machine are told in one line.
"""

import contextlib
import functools
import linecache
import os
import pathlib
import sys
import time
import traceback
from collections.abc import Callable

from hexjax import names, shell

BEGAN = time.monotonic()
HELP = """\
python launch.py --config=FILE.py[:variant] [--config.KEY=VALUE ...] [--workdir=DIR] [--mode=MODE]

Flags
  --config=FILE.py[:variant]  an experiment: a file, or the name of one that comes with hexjax; :small fits a CPU
  --config.KEY=VALUE          one of its values; configs/base.py lists every key with its unit
  --workdir=DIR               a run to go on with or to read, or an empty or new folder for a new one;
                              without it a new folder results/NNN-NAME is made and named in the first line
  --mode=MODE                 one of those below; train if left out
  --out=FILE.html             what --mode=export writes
  --address=HOST:PORT         where --mode=view is served; 127.0.0.1:8000 if left out, for this machine alone
  -h, --help                  this text

Modes
  train     train, then score, mesh and draw; with a run in --workdir go on where it stopped
  evaluate  score a run again, say with --config.extract.grid=384
  encode    write the latent of every shape to RUN/latents/*.npz
  sample    draw new shapes from a run whose latent has a prior
  ceiling   the best that the representation allows, without a network
  sweep     the many trainings of configs/sweeps/*.py; goes on where it stopped
            (its folder, where a cell is a run: results/SWEEP, or --workdir, and in it one of each cell)
  view      a page in the browser: shapes, their maps, what a run or several (--workdir=RUN,RUN) made of them,
            and what any mesh that is dropped on it becomes; without a run, maps and their ceiling
  export    the same page as one file, --out=FILE.html, which needs no network and no hexjax

Examples
  python launch.py --config=ae_continuous.py:small                                 a head made in code, two CPU cores
  python launch.py --config=ae_continuous.py:small --config.data.path=head.obj     your own mesh, or a folder of them
  python launch.py --config=vae_continuous.py:small --config.data.path=heads --config.data.count=0
  python launch.py --workdir=results/001-NAME --config.train.steps=5000            go on, for more steps
  python launch.py --workdir=results/001-NAME --mode=encode
  python launch.py --workdir=results/001-NAME --mode=view

Exit codes
  0 done, 2 refused, 3 a number was not finite, 4 stopped for a collapsed latent, 75 interrupted (a training is saved
  and goes on with --workdir), 1 anything else

Environment
  JAX_PLATFORMS              the device: cpu or cuda; left out, JAX takes the best there is
  CUDA_VISIBLE_DEVICES       which GPU; one is used
  XLA_FLAGS                  options of the compiler
  JAX_COMPILATION_CACHE_DIR  where compiled programs are kept; else hexjax/xla in XDG_CACHE_HOME or ~/.cache
  HEXJAX_DATA                the folder of real meshes, for the tests alone
"""


def start() -> int:
    """The exit code of the command that this process was started with."""
    shell.prepare()
    return main(sys.argv[1:])


def main(arguments: list[str]) -> int:
    """The exit code of a command line; a refused one makes no folder, and loads no JAX unless a family refuses it."""
    if not {"-h", "-help", "--help"}.isdisjoint(arguments):
        print(HELP if shell.program() != "hexjax" else HELP.replace("python launch.py", "hexjax"), end="")
        return names.DONE
    from hexjax import config as configuration

    try:
        command = configuration.parse(arguments)
        for line in (*command.warnings, *configuration.set_environment()):
            say(f"warning: {line}")
        find_device()
        if command.mode in configuration.PAGES:
            return show(command)
        if command.mode != "sweep" or command.config.sweep.form == names.VMAPPED:
            return carry_out(command, BEGAN)
        from hexjax import runs

        shapes = {}  # the last that were loaded: cells that ask for the same share them
        return runs.run(command, lambda cell, stopped: carry_out(cell, time.monotonic(), stopped, shapes))
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        return failed(error)


def carry_out(command, began: float, stopped: Callable[[], bool] = lambda: False, shapes: dict | None = None) -> int:
    """The exit code of a `config.Command` that began then (time.monotonic()): what it works on is loaded, and it runs.

    Args:
        shapes: as `step.load` takes them.

    Raises:
        ValueError, OSError, MemoryError, RuntimeError: as `failed` tells them.
        KeyboardInterrupt: where stopped() is true once all is loaded.
    """
    from hexjax import cells, memory
    from hexjax.evaluation import evaluate, parents
    from hexjax.models import family as families
    from hexjax.training import record, step

    if command.mode == "sweep":
        families.check_cells({cell.name: cell.config for cell in cells.read(command.config)})
    if command.mode not in ("encode", "sweep"):
        memory.check(command.config)
    loads = time.monotonic()
    reads = command.workdir if command.mode not in ("ceiling", "sweep") else None
    known, given = reads and record.read_spec(reads), parents.load(command.config, reads, command.mode == "train")
    loaded = step.load(command.config, command.mode, known, given.parents, given.params, shapes)
    if command.mode in ("train", "evaluate", "ceiling"):
        evaluate.check(loaded.items)
    if stopped():
        raise KeyboardInterrupt
    return run(command, loaded, given, time.monotonic() - loads, began)


def show(command) -> int:
    """The exit code of --mode=view, when a signal ends it, or --mode=export; nothing is written in a run's folder.

    Raises:
        ValueError, OSError, RuntimeError: as `failed` tells them.
    """
    from hexjax.evaluation import parents, plans
    from hexjax.training import record, step
    from hexjax.viewer import contents, export, server

    config, folder = command.config, command.workdir
    known, given = folder and record.read_spec(folder), parents.load(config, folder)
    if command.mode == "view":
        server.check(command.address)
    loaded = step.load(config, command.mode, known, given.parents, given.params)
    items = plans.shown(loaded.items, config, folder, config.export.shapes if command.mode == "export" else 0)
    runs = [contents.open_run(each.workdir, each.config, items, loaded.items) for each in (command, *command.others)]
    if command.mode == "view":
        return server.serve(contents.Contents(runs, items), command.address, config.data.up)
    export.export(contents.Contents(runs, items, export.COARSE), command.out, int(1e6 * config.export.megabytes))
    return names.DONE


def run(command, loaded, given=None, seconds: float | None = None, began: float = BEGAN) -> int:
    """The exit code of a `config.Command` whose `step.Loaded` and `parents.Given` are there, after so many seconds."""
    from hexjax.evaluation import parents
    from hexjax.training import fingerprint, lock, record, sweep

    given = parents.NONE if given is None else given
    config, mode = command.config, command.mode
    folder = command.workdir or (
        sweep.folder(config) if mode == "sweep" else record.new_folder(pathlib.Path("results"), command.name)
    )
    print(f"{mode} in {folder}", file=sys.stderr)
    with contextlib.nullcontext() if command.json is None else lock.take(folder):
        if mode not in ("ceiling", "sweep"):
            parts = loaded.split[:3] if loaded.split.validation or loaded.split.test else ()
            digest = loaded.split.digest if parts else ""
            fingerprint.check(loaded.items, folder, mode == "train", not config.data.path, digest)
        record.write_header(folder, command.line, command.json, config.data.path)
        if mode == "train":
            fingerprint.keep(loaded.items, folder, parts, digest)
            record.write_spec(folder, loaded.spec)
            parents.keep(given, folder)
        return _do(command, loaded, given, folder, {"loaded": seconds, "began": began})


def _do(command, loaded, given, folder: pathlib.Path, times: dict) -> int:
    """The exit code of a mode, whose folder is there."""
    from hexjax import cells
    from hexjax import config as configuration
    from hexjax.evaluation import encode, evaluate, formless, sample
    from hexjax.models import family as families
    from hexjax.training import checkpoint, loop, sweep

    config, mode, (items, _, _, family, data) = command.config, command.mode, loaded
    score = functools.partial(
        evaluate.evaluate, family, items=items, config=config, folder=folder, ceilings={}, **times
    )
    if family is not None and family.decode is None:
        score = functools.partial(formless.evaluate, family, items=items, config=config, folder=folder)
    elif family is not None and family.encode is None and not family.conditions:  # draws are scored as a set
        score = lambda params, step, **more: sample.as_set(family, params, config, folder, items, step)
    if mode == "train":
        own = lambda params, **more: score(families.whole(params, given.params), **more)
        return loop.train(family, config, data, folder, own)
    if mode == "sweep":
        sweep.run(config, cells.read(config), items, folder)
    elif mode == "ceiling":
        evaluate.ceiling(family, items, config, folder, **times)
    else:
        params, _, step = checkpoint.restore_params(folder)
        params = families.whole(params, given.params)
        if mode == "evaluate":
            score(params, step=step, own=configuration.load(folder))
        elif mode == "sample":
            sample.sample(family, params, config, folder, items, step)
        else:
            encode.encode(family, params, items, config, folder, step)
    return names.DONE


def find_device() -> None:
    """Nothing; JAX has found its device, and where it sees several, a line says that one is used.

    Raises:
        ValueError: for a platform that is not there.
    """
    import jax

    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter for a CUDA that is not installed
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise ValueError(
            f"JAX_PLATFORMS is {asked!r}, and JAX finds no such device here; accepted: cpu, cuda where jax[cuda12] or "
            "jax[cuda13] is installed and a GPU is there, or nothing, for the best there is"
        ) from error
    if len(devices) > 1:
        say(f"{len(devices)} devices are visible, and one is used: {devices[0].platform}:{devices[0].id}")


def failed(error: Exception) -> int:
    """The exit code 2 of a refusal or 1 of a fault of the machine or a run's checkpoints, told in a line; others are raised."""
    text = str(error)
    if isinstance(error, ValueError) and _is_own(error):
        say(text)
        return names.REFUSED
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        reason = text.removeprefix("RESOURCE_EXHAUSTED:").strip().split("\n")[0] or "no reason is given"
        smaller = "smaller: train.batch_size, hexplane.resolution_px, extract.grid, data.count"
        say(reason if "config." in reason else f"out of memory: {reason}; {smaller}")
    elif isinstance(error, OSError):
        place = "" if error.filename is None else f": {names.shown(os.fspath(error.filename))}"
        say(f"{error.strerror or text or type(error).__name__}{place}; what was written before stays")
    elif type(error).__name__ == "CheckpointError":  # of training.checkpoint, which loads JAX
        say(text)
    else:
        raise error
    return names.FAILED


def _is_own(error: Exception) -> bool:
    """Whether hexjax itself raised it: a refusal, and no fault of its code or of a user's family that a library met."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    raised = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
    return raised and frame.f_globals.get("__name__", "").partition(".")[0] == "hexjax"


def say(text: str) -> None:
    """Nothing; tells one line, in which no word is longer than a path may be."""
    print(f"{shell.program()}: {names.one_line(text, 4 * names.LINE)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(start())
