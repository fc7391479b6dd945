"""Stage 7, thin parts: nodes of a grid are moved into parts that lie between them, so that marching cubes sees those (host).

A part is missed where an edge of the grid enters and leaves it, or where it passes between all edges. Such places are known
by the field's values around them; there the field is asked along its gradient. The node nearest to the part is moved into its
middle, and on the edges of such nodes the zero level is looked for along the line between their ends: the grid is warped, the
sign at every node is the field's own, and no part is made thicker. Source: ours; warping a lattice onto a surface follows
isosurface stuffing (Labelle and Shewchuk 2007).
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree

from hexjax.types import Array

Ask = Callable[[Float[np.ndarray, "p 3"]], Array]
CHUNK = 2**14  # points asked at once
FAR = 3**0.5 / 2  # cells: no point is farther from all nodes
THICK = 2.0  # cells along the gradient: what is thicker is seen by its own nodes
DEPTHS = np.array([0, 2.0**-8, 2.0**-7, 2.0**-6, 2.0**-5, 0.0625, 0.125, 0.25, 0.5, 0.75, 1, 1.5, THICK])  # cells
CLOSE = 0.75  # cells: a part that has a node as near is known
LEAST = 24  # nodes of a thin part
FILLS = 8  # rounds of joining at most
ROUNDS = 10  # of looking for the zero level on an edge


class Moved(NamedTuple):
    """Nodes that were moved, by number with x first, and where to, in the frame."""

    nodes: Int[np.ndarray, "k"]
    places: Float[np.ndarray, "k 3"]


def asked(ask: Ask, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
    """The field at points, asked CHUNK at a time."""
    found = np.empty(len(points), np.float32)
    for start in range(0, len(points), CHUNK):
        part = np.asarray(points[start : start + CHUNK], np.float32)
        padded = np.concatenate([part, np.zeros((CHUNK - len(part), 3), np.float32)])
        found[start : start + CHUNK] = np.asarray(ask(padded))[: len(part)]
    return found


def _asked(ask: Ask, points: Float[np.ndarray, "p q 3"]) -> Float[np.ndarray, "p q"]:
    return asked(ask, points.reshape(-1, 3)).reshape(points.shape[:2])


def move(values: Float[np.ndarray, "n n n"], ask: Ask) -> Moved:
    """The nodes that are moved into parts which the grid would miss."""
    count = len(values)
    spacing = 2 / (count - 1)
    nodes = _candidates(values, ask, spacing)
    places = np.stack(np.unravel_index(nodes, values.shape), -1) * spacing - 1
    start, normal, thickness = _measure(ask, places, values.ravel()[nodes], spacing)
    thin = (thickness > 0) & (thickness < THICK * spacing)
    nodes, places, start, normal, thickness = (a[thin] for a in (nodes, places, start, normal, thickness))
    into = start - normal * np.minimum(thickness / 2, 0.25 * spacing)[:, None]
    distance = ((places - start) * normal).sum(1)
    chosen = _crossing(values < 0, nodes, normal, distance, spacing)
    inside = np.flatnonzero(_dilated(_at(nodes[chosen], values.shape)) & (values < 0))
    known = np.concatenate([into[chosen], np.stack(np.unravel_index(inside, values.shape), -1) * spacing - 1])
    for least, most in ((0, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, FAR)):
        new = ~chosen & (distance > least * spacing) & (distance <= most * spacing)
        if len(known) and new.any():
            new[new] = cKDTree(known).query(into[new])[0] > CLOSE * spacing
        chosen |= new
        known = np.concatenate([known, into[new]])
    return _joined(values, Moved(nodes[chosen], into[chosen]))


def _joined(values: Float[np.ndarray, "n n n"], moved: Moved) -> Moved:
    """Those that belong to thin parts of LEAST nodes at least, and what joins these: no face has only opposite corners inside.

    At creases smaller parts are the field's own noise. What marching cubes makes of such a face is a matter of values; so the
    outer corner that the field puts nearer to the part is moved as well, to where its inner neighbour is.
    """
    deep = values < -0.9 * 2 / (len(values) - 1)
    part, _ = ndimage.label(_at(moved.nodes, values.shape) | ((values < 0) & ~_dilated(deep)), np.ones((3, 3, 3)))
    kept = np.flatnonzero(np.bincount(part.ravel())[part.ravel()[moved.nodes]] >= LEAST)
    nodes, places = moved.nodes[kept], moved.places[kept]
    if not len(nodes):
        return Moved(nodes, places)
    held = np.isin(part, np.unique(part.ravel()[nodes]))
    inside, place = (values < 0) | _at(nodes, values.shape), dict(zip(nodes.tolist(), places))
    for _ in range(FILLS):
        found = _opposite(inside, held, values)
        if not len(found):
            break
        for node, beside in found.tolist():
            x = place.get(beside)
            place[node] = (
                np.array(np.unravel_index(beside, values.shape)) * 2 / (len(values) - 1) - 1 if x is None else x
            )
        inside.ravel()[found[:, 0]] = held.ravel()[found[:, 0]] = True
    return Moved(np.array(list(place), np.int64), np.array(list(place.values())))


def _opposite(inside: Array, held: Array, values: Array) -> Int[np.ndarray, "k 2"]:
    """Outer nodes to be moved, each with an inner one of a held part beside it.

    They are those of lesser value of faces with two opposite corners inside, and of cells in which only two opposite corners
    are inside, or all but two; and of holes: with four inner ones beside them.
    """
    strides, found = np.array([values.shape[1] * values.shape[2], values.shape[2], 1]), []
    inner = np.zeros_like(held)
    inner[2:-2, 2:-2, 2:-2] = held[2:-2, 2:-2, 2:-2]
    numbers = np.flatnonzero(inner)
    flat, values = inside.ravel(), values.ravel()

    def add(at: Array, *outer: Array) -> None:
        best = np.argmin([values[node] for node in outer], 0)
        found.append(np.stack([np.choose(best, outer), at], 1))

    for signs in itertools.product((1, -1), repeat=3):
        u, v, w = steps = strides * signs
        for one, other in ((u, v), (u, w), (v, w)):
            opposite = flat[numbers + one + other] & ~flat[numbers + one] & ~flat[numbers + other]
            at = numbers[opposite]
            add(at, at + one, at + other)
        cell = [flat[numbers + step] for step in (*steps, *(u + v + w - steps))]
        across = flat[numbers + u + v + w]
        at = numbers[across & ~np.any(cell, 0)]
        add(at, *(at + step for step in steps))
        for axis in range(3):
            others = np.all([part for place, part in enumerate(cell) if place not in (axis, axis + 3)], 0)
            at = numbers[across & others & ~cell[axis] & ~cell[axis + 3]]
            add(at, at + steps[axis])
    for step in (*strides, *-strides):
        at = numbers[~flat[numbers + step]]
        beside = sum(flat[at + step + other].astype(np.int8) for other in (*strides, *-strides))
        add(at[beside >= 4], (at + step)[beside >= 4])
    found = np.concatenate(found)
    return found[np.unique(found[:, 0], return_index=True)[1]]


def _at(nodes: Int[np.ndarray, "k"], shape: tuple[int, ...]) -> Bool[np.ndarray, "n n n"]:
    found = np.zeros(shape, bool)
    found.ravel()[nodes] = True
    return found


def _dilated(some: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Nodes that are among some, or next to one of them, across corners too."""
    for axis in range(3):
        wider = some.copy()
        before, after = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        wider[before] |= some[after]
        wider[after] |= some[before]
        some = wider
    return some


def _candidates(values: Float[np.ndarray, "n n n"], ask: Ask, spacing: float) -> Int[np.ndarray, "k"]:
    """Nodes outside of which a part may lie within a cell that the grid would miss.

    They have no inner node beside them, or the field falls towards a node outside as if it met the surface before.
    """
    count, flat = len(values), values.ravel()
    nodes = np.flatnonzero((flat >= 0) & (flat < spacing))
    places = np.stack(np.unravel_index(nodes, values.shape))
    nodes = nodes[((places > 0) & (places < count - 1)).all(0)]
    strides = np.array([count**2, count, 1])
    around = (np.indices((3, 3, 3)).reshape(3, -1).T - 1) @ strides
    alone = flat[nodes] < FAR * spacing
    for step in around:
        alone[alone] = flat[nodes[alone] + step] >= 0
    found = [nodes[alone]]
    for step in (*strides, *-strides):
        ahead, behind = flat[nodes + step], flat[nodes - step]
        unknown = behind > 0.999 * spacing  # clipped, or filled in
        bent = (ahead >= 0) & _bent(flat[nodes], ahead, np.where(unknown, np.inf, behind), spacing)
        unknown &= bent
        if unknown.any():
            known = asked(ask, np.stack(np.unravel_index(nodes[unknown] - step, values.shape), -1) * spacing - 1)
            bent[unknown] = _bent(flat[nodes[unknown]], ahead[unknown], known, spacing)
        found.append(nodes[bent])
    return np.unique(np.concatenate(found))


def _bent(values: Array, ahead: Array, behind: Array, spacing: float) -> Bool[np.ndarray, "k"]:
    """Whether the field, where it goes on as before, would be inside ahead, or nearly so, and is not."""
    slope = np.minimum(behind - values, spacing)
    ends = values - slope
    return (ends < 0.1 * slope) & (ahead - ends > 0.6 * slope)


def _measure(ask: Ask, places: Array, values: Array, spacing: float) -> tuple[Array, Array, Array]:
    """Where the field's gradient leads from places to the surface, its direction, and how thick the part is along it.

    0 where there is none, infinite where it is thicker than THICK.
    """
    step = np.clip(values / 2, 1e-4, spacing / 8)[:, None, None]
    ends = _asked(ask, places[:, None] + step * np.concatenate([np.eye(3), -np.eye(3)]))
    gradient = (ends[:, :3] - ends[:, 3:]) / (2 * step[:, 0])
    steep = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)
    normal = gradient / steep
    start = places - normal * (values[:, None] / steep)
    again = asked(ask, start)
    again = np.where(np.abs(again) < values / 2, again, 0)
    start = start - normal * (again[:, None] / steep)
    along = _asked(ask, start[:, None] - normal[:, None] * DEPTHS[:, None] * spacing)
    rows = np.arange(len(places))
    within = along < 0
    first = within.argmax(1)
    after = np.arange(len(DEPTHS)) > first[:, None]
    leaves = (after & ~within).argmax(1)
    found, leaves_at_all = within.any(1), (after & ~within).any(1)
    low, high = along[rows, leaves - 1], along[rows, leaves]
    share = low / np.where(high == low, 1, low - high)
    thickness = (DEPTHS[leaves - 1] + share * (DEPTHS[leaves] - DEPTHS[leaves - 1])) * spacing
    thickness = np.where(found, np.where(leaves_at_all, thickness, np.inf), 0)
    return start, normal, thickness


def _crossing(inside: Array, nodes: Array, normal: Array, distance: Array, spacing: float) -> Bool[np.ndarray, "k"]:
    """Which nodes are the nearer end of an edge that enters and leaves a part."""
    chosen = np.zeros(len(nodes), bool)
    strides = np.array([inside.shape[1] * inside.shape[2], inside.shape[2], 1])
    keys, far, who = [], [], []
    for axis in range(3):
        toward = np.where(normal[:, axis] > 0, -strides[axis], strides[axis])
        enters = distance / np.maximum(np.abs(normal[:, axis]), 1e-6)
        doubly = (enters < spacing) & ~inside.ravel()[nodes + toward]
        keys.append(3 * np.minimum(nodes, nodes + toward)[doubly] + axis)
        far.append(enters[doubly])
        who.append(np.flatnonzero(doubly))
    keys, far, who = (np.concatenate(a) for a in (keys, far, who))
    order = np.lexsort((far, keys))
    first = np.diff(keys[order], prepend=-1) != 0
    chosen[who[order][first]] = True
    return chosen


def settle(
    vertices: Float[np.ndarray, "m 3"],
    values: Float[np.ndarray, "x y z"],
    strong: Bool[np.ndarray, "x y z"],
    places: Float[np.ndarray, "x y z 3"],
    ask: Ask,
) -> Float[np.ndarray, "m 3"]:
    """Vertices that marching cubes laid on edges of a grid, in cells, brought into the frame, where nodes were moved.

    Args:
        strong: moved nodes; on their edges the zero level is looked for.
        places: of all nodes, in the frame.
    """
    low, high = np.floor(vertices).astype(int), np.ceil(vertices).astype(int)
    one, other = tuple(low.T), tuple(high.T)
    share = (vertices - low).max(1)[:, None]
    found = places[one] * (1 - share) + places[other] * share
    on_edge = (low != high).sum(1) == 1
    for at in np.flatnonzero(~on_edge):
        corners = [
            (x, y, z)
            for x in {low[at][0], high[at][0]}
            for y in {low[at][1], high[at][1]}
            for z in {low[at][2], high[at][2]}
        ]
        found[at] = np.mean([places[c] for c in corners], 0)
    sought = on_edge & (strong[one] | strong[other])
    one, other = tuple(a[sought] for a in one), tuple(a[sought] for a in other)
    first_in = (values[one] < 0)[:, None]
    inner, outer = np.where(first_in, places[one], places[other]), np.where(first_in, places[other], places[one])
    found[sought] = _zero(ask, inner, outer)
    return found


def _zero(ask: Ask, inner: Array, outer: Array) -> Float[np.ndarray, "k 3"]:
    """Points of the zero level between points inside and outside, by the Illinois method."""
    low, high = asked(ask, inner).astype(np.float64), asked(ask, outer).astype(np.float64)
    high = np.maximum(high, 1e-9)
    low = np.minimum(low, -1e-9)
    a, b = np.zeros(len(inner)), np.ones(len(inner))
    last = np.zeros(len(inner), int)
    at = a
    for round in range(ROUNDS):
        at = (
            np.clip((a * high - b * low) / (high - low), a + 0.02 * (b - a), b - 0.02 * (b - a))
            if round % 3 != 2
            else (a + b) / 2
        )
        value = asked(ask, inner + (outer - inner) * at[:, None])
        within = value < 0
        high = np.where(within & (last == -1), high / 2, high)
        low = np.where(~within & (last == 1), low / 2, low)
        a, low = np.where(within, at, a), np.where(within, value, low)
        b, high = np.where(within, b, at), np.where(within, high, np.maximum(value, 1e-12))
        last = np.where(within, -1, 1)
    at = (a * high - b * low) / (high - low)
    return inner + (outer - inner) * at[:, None]
