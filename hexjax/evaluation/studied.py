"""A trained run with the shapes that it holds out, what a study of it begins with; and the command of a study of runs."""

import argparse
import functools
import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from hexjax import names
from hexjax.evaluation import codes, curve, page, parents, plans, rows, written
from hexjax.models.family import Family
from hexjax.training import checkpoint, record
from hexjax.types import Item, Params, Scores


class Run(NamedTuple):
    """A run at its last step, and of its held-out shapes as many as its evaluation takes."""

    family: Family
    params: Params
    config: ml_collections.ConfigDict
    step: int
    held_out: list[Item]


def read(folder: pathlib.Path) -> Run:
    """The run in a folder; its shapes lie where its config says.

    Raises:
        ValueError: for a folder that is no trained run's, shapes that do not load, and where none are held out.
        CheckpointError: for a run without a good checkpoint.
    """
    parent, params, step = parents.read(folder)
    held_out = plans.make(parents.items_of(parent), parent.config, folder, False).held_out
    if not held_out:
        raise ValueError(f"{folder.name} has no held-out shapes; accepted: runs with config.data.split")
    return Run(parent.family, jax.tree.map(jnp.asarray, params), parent.config, step, held_out)


class Study(NamedTuple):
    """What is told of a run: made once, and shown as tables of several runs.

    RUN/<name>.json holds what `make` gives; `draw` writes RUN/images/<name>.png, which `pictures` links on a page.
    """

    name: str  # of the command and of its markers
    what: str  # first line of its help
    make: Callable[[pathlib.Path], Scores]
    tables: page.Tables
    draw: Callable[[Scores, curve.Target], None] | None = None
    pictures: Callable[[Sequence[Scores]], str] | None = None

    @property
    def picture(self) -> str:
        """The place of the picture in a run's folder."""
        return f"images/{self.name}.png"


def command(arguments: Sequence[str], study: Study) -> int:
    """Exit code of a study's command: 0, or 2 for what is refused."""
    file = f"{study.name}.json"
    parser = argparse.ArgumentParser(description=study.what)
    parser.add_argument("runs", type=pathlib.Path, nargs="+", help="folders of trained runs, shown beside each other")
    parser.add_argument("--again", action="store_true", help=f"make RUN/{file} anew where it is there")
    parser.add_argument("--into", type=pathlib.Path, nargs="+", default=[], help=f"pages to fill from RUN/{file}")
    given = parser.parse_args(arguments)
    try:
        found = [{} if given.again else rows.read(run / file) for run in given.runs]
        for place, run in enumerate(given.runs):
            if not found[place]:
                found[place] = rows.plain(study.make(run))
                if study.draw is not None:
                    written.Ledger(run).write(study.picture, functools.partial(study.draw, found[place]))
                record.write_atomically(run / file, json.dumps(found[place], indent=1, allow_nan=False) + "\n")
        publish(study, given.runs, given.into, found)
    except (ValueError, OSError, checkpoint.CheckpointError) as error:
        print(f"{study.name}: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def publish(study: Study, runs: Sequence[pathlib.Path], pages: Sequence[pathlib.Path], found: Sequence[Scores]) -> None:
    """Nothing; the tables and pictures of the runs are in the pages, or the tables are printed.

    Raises:
        ValueError: as `page.publish`, and for a marker that names another run.
    """
    tables = study.tables | ({"picture": study.pictures} if study.pictures else {})
    for one in pages:
        links = [os.path.relpath((run / study.picture).resolve(), one.resolve().parent) for run in runs]
        linked = [told | {"picture": pathlib.PurePath(link).as_posix()} for told, link in zip(found, links)]
        page.publish([one], study.name, tables, linked, codes.chosen)
    if not pages:
        page.publish([], study.name, study.tables, found)
