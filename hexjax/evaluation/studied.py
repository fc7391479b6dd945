"""A trained run with the shapes that it holds out: what a study of it begins with."""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from hexjax.evaluation import parents, plans
from hexjax.models.family import Family
from hexjax.types import Item, Params


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
