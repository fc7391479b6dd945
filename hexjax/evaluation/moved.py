"""What a run makes of whole clouds that are turned or shifted: a part of `clouds`.

A family that is invariant would give the same shape back, moved as its cloud was. So its field is asked where the points of
the cube went, and what lies outside of the cube counts as outside of the shape.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from hexjax.diagnostics import generation
from hexjax.evaluation import table
from hexjax.types import Scores

TURNS, SHIFTS = (10, 45, 90), (0.05, 0.1)  # degrees about +y, and units of the frame along +x
AS_WAS = "as they were"


def row(
    cloud: Float[np.ndarray, "k 3"],
    places: Float[np.ndarray, "p 3"],
    iou: Callable[[Float[np.ndarray, "k 3"], Float[np.ndarray, "p 3"]], float | None],
) -> dict[str, float | None]:
    """Of one shape the V-IoU of its cloud as it was, and after each move, by name.

    Args:
        places: where the shape's inside is known.
        iou: from a moved cloud and the moved places to the V-IoU.
    """
    found = {AS_WAS: iou(cloud, places)}
    for name, (turn, shift) in moves().items():
        found[name] = iou(*(np.float32(points @ turn.T + shift) for points in (cloud, places)))
    return found


def moves() -> dict[str, tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]]:
    """What is done to whole clouds, by name: a turn, and then a shift."""
    found = {}
    for degrees in TURNS:
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        found[f"turned by {degrees}°"] = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]), np.zeros(3)
    return found | {f"shifted by {size:g}": (np.eye(3), np.array([size, 0, 0])) for size in SHIFTS}


def summary(told: Sequence[Mapping[str, float | None]]) -> dict[str, Scores]:
    """Over shapes, by the name of the move."""
    return {name: _change(told, name) for name in told[0]}


def _change(told: Sequence[Mapping[str, float | None]], name: str) -> Scores:
    """The mean over shapes, and the median of what is lost against clouds as they were, with its 95 % interval."""
    pairs = [(row[name], row[AS_WAS]) for row in told if None not in (row[name], row[AS_WAS])]
    change = generation.paired(*np.array(pairs, np.float64).reshape(-1, 2).T, 0) if pairs else (None,) * 3
    return {
        "mean": float(np.mean([one for one, _ in pairs])) if pairs else None,
        "change": change[0],
        "interval": list(change[1:]),
    }


def moved_table(found: Sequence[Scores]) -> str:
    """One row a run: the V-IoU of clouds that were turned and shifted, turned back, beside those as they were."""
    head, lines = ("run", "shapes", "as they were", *moves(), "invariant"), []
    for run in found:
        told, cells = run.get("moved"), [None] * (2 + len(moves()))  # runs that were told before are without
        if told:
            changes = [f"{_number(told[name]['mean'])} ({_interval(told[name])})" for name in moves()]
            is_lost = any((told[name]["interval"][1] or 0) < 0 for name in moves())
            cells = [_number(told[AS_WAS]["mean"]), *changes, "no" if is_lost else "not refuted"]
        lines.append((run["run"], run["shapes"], *cells))
    return table.markdown(head, lines) + (
        "\nV-IoU of what is decoded of whole clouds that were turned about the vertical axis or shifted sideways, asked where "
        "the points of the cube went (what leaves the cube is outside): means over held-out shapes; in brackets the median "
        "change against the same cloud as it was, and its 95 % interval by bootstrap over shapes. Not invariant: an interval "
        "lies below 0.\n"
    )


def _interval(told: Scores) -> str:
    if told["change"] is None:
        return "–"
    return f"{told['change']:+.3f}, {told['interval'][0]:+.3f} to {told['interval'][1]:+.3f}"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
