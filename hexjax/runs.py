"""A sweep whose cells are runs (sweep.form = runs): one after another, each as --mode=train makes it, in a folder of its own.

Nothing is trained here: a cell is a command, and what carries it out is given. The sweep's folder holds its config and the
cells' folders. A cell that has ended is passed over, one that was interrupted goes on.
"""

import shlex
import sys
from collections.abc import Callable
from typing import Any

import jax

from hexjax import config as configuration
from hexjax import names, workdirs
from hexjax.models import family as families
from hexjax.training import lock, record, signals

OUTCOMES = (names.NON_FINITE, names.COLLAPSED)  # a cell's own end, which is told: the others are trained all the same

# (command, stopped=) -> exit code. Where stopped() is true before it trains, it raises KeyboardInterrupt.
Train = Callable[..., int]


def run(command: Any, train: Train) -> int:
    """The exit code of a sweep, a `config.Command`: 0, that of a cell that ended otherwise, or 75 where a signal came.

    A signal between the cells, or as one is made ready, ends the sweep at once; within a training it is the training's.

    Raises:
        ValueError: for a cell whose family refuses it, before the first; for one that is refused later those before it stay,
            and those after it are not begun.
    """
    todo, folder, code = configuration.of_cells(command), command.workdir, names.DONE
    families.check_cells({cell.workdir.name: cell.config for cell in todo})
    print(f"sweep in {folder}", file=sys.stderr)
    with lock.take(folder):
        record.write_header(folder, command.line, command.json, command.config.data.path)
        with signals.Signals() as caught:
            for number, cell in enumerate(todo, 1):
                told = f"[{number}/{len(todo)}] {cell.workdir.name}"
                if workdirs.is_finished(cell.workdir, cell.config.train.steps):
                    print(f"{told}: done before", file=sys.stderr)
                    continue
                print(told, file=sys.stderr)
                ended = names.INTERRUPTED
                with caught.evaluating():
                    ended = train(cell, stopped=caught.stopped)
                if ended == names.INTERRUPTED or caught.stopped():
                    return _interrupted(caught.name, folder)
                if ended not in (names.DONE, *OUTCOMES):
                    return ended
                code = code or ended
                jax.clear_caches()  # programs of hundreds of cells would use up what a process may map
    return code


def _interrupted(name: str, folder: Any) -> int:
    program = ["python", sys.argv[0]] if sys.argv[0].endswith(".py") else [sys.argv[0]]
    line = shlex.join([*program, "--mode=sweep", f"--workdir={folder}"])
    told = f"{name}: what the cells have saved stays; " if name else ""
    print(f"{told}go on with the sweep: {line}", file=sys.stderr)
    return names.INTERRUPTED
