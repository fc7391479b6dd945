"""Which shapes an evaluation takes, and what each of them is to the run: trained on, held out, or new."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import ml_collections

from hexjax.evaluation import rows
from hexjax.training import fingerprint
from hexjax.types import Item, Scores


class Plan(NamedTuple):
    """The shapes that are scored, in order, and places among all shapes of those that train and that are diagnosed."""

    items: list[Item]
    places: list[int]  # of each among all shapes
    standings: list[fingerprint.Standing]
    shown: frozenset[int]  # numbers of those that get pictures
    trained: list[int]
    probed: list[int]  # of the trained ones, whatever is scored

    @property
    def held_out(self) -> list[Item]:
        """Those that are held out."""
        return [item for item, each in zip(self.items, self.standings) if each.part == rows.HELD_OUT]

    def told(self, number: int) -> Scores:
        """What the row of a shape tells of it beside its scores: its part of a split, its category."""
        part, category = self.standings[number].part, self.items[number].category
        return ({"part": part} if self.held_out else {}) | ({"category": category} if category else {})


def make(items: Sequence[Item], config: ml_collections.ConfigDict, folder: pathlib.Path, pictures: bool) -> Plan:
    """The plan for the shapes of a command and the run in a folder: the first `evaluate.shapes` of each part."""
    standings = fingerprint.standings(items, folder, not config.data.path)
    places = rows.chosen([each.part for each in standings], config.evaluate.shapes)
    chosen = [standings[i] for i in places]
    shown = rows.chosen([each.part for each in chosen], config.evaluate.pictures) if config.evaluate.pictures else ()
    trained = [i for i, each in enumerate(standings) if each.part == rows.TRAINED]
    probed = (trained or list(range(len(items))))[: config.diagnostics.shapes]
    return Plan([items[i] for i in places], places, chosen, frozenset(shown if pictures else ()), trained, probed)


def shown(
    items: Sequence[Item], config: ml_collections.ConfigDict, folder: pathlib.Path | None, most: int = 0
) -> list[Item]:
    """The shapes that a page shows, those that an evaluation takes, what is held out first; at most so many (0: all).

    Args:
        folder: of the run; None: of none.
    """
    if folder is None:
        found = list(items)[: config.evaluate.shapes or None]
    else:
        plan = make(items, config, folder, False)
        order = sorted(range(len(plan.items)), key=lambda i: plan.standings[i].part != rows.HELD_OUT)
        found = [plan.items[i] for i in order]
    return found[: most or None]
