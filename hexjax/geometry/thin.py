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
from scipy.optimize import elementwise
from scipy.sparse import coo_array, csgraph
from scipy.spatial import cKDTree

from hexjax.types import Array

Ask = Callable[[Float[np.ndarray, "p 3"]], Array]
CHUNK = 2**12  # points asked at once
FAR = 3**0.5 / 2  # cells: no point is farther from all nodes
THICK = 2.0  # cells along the gradient: what is thicker is seen by its own nodes
DEPTHS = np.array([0, 2.0**-8, 2.0**-7, 2.0**-6, 2.0**-5, 0.0625, 0.125, 0.25, 0.5, 0.75, 1, 1.5, THICK])  # cells
CLOSE = 0.75  # cells: a part that has a node as near is known
LEAST = 24  # nodes of a thin part
FILLS = 8  # rounds of joining at most
ROUNDS, TOLERANCE = 16, 1e-4  # of looking for the zero level on an edge, at the most, and of its length


class Moved(NamedTuple):
    """Nodes that were moved, by number with x first, and where to, in the frame; and all those inside of the same parts."""

    nodes: Int[np.ndarray, "k"]
    places: Float[np.ndarray, "k 3"]
    held: Int[np.ndarray, "q"]


NONE = Moved(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0, np.int64))


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
    values, spacing = np.ascontiguousarray(values), 2 / (len(values) - 1)
    nodes = _candidates(values, spacing)
    if not len(nodes):
        return NONE
    places = _places(nodes, values.shape)
    start, normal, thickness = _measure(ask, places, values.ravel()[nodes], spacing)
    thin = (thickness > 0) & (thickness < THICK * spacing)
    nodes, places, start, normal, thickness = (a[thin] for a in (nodes, places, start, normal, thickness))
    into = start - normal * np.minimum(thickness / 2, 0.25 * spacing)[:, None]
    distance = ((places - start) * normal).sum(1)
    chosen = _crossing(values < 0, nodes, normal, distance, spacing)
    beside = np.unique(nodes[chosen][:, None] + _around(values.shape))
    known = np.concatenate([into[chosen], _places(beside[values.ravel()[beside] < 0], values.shape)])
    for least, most in ((0, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, FAR)):
        new = ~chosen & (distance > least * spacing) & (distance <= most * spacing)
        if len(known) and new.any():
            new[new] = cKDTree(known).query(into[new])[0] > CLOSE * spacing
        chosen |= new
        known = np.concatenate([known, into[new]])
    return _joined(values, nodes[chosen], into[chosen])


def _places(nodes: Int[np.ndarray, "k"], shape: tuple[int, ...]) -> Float[np.ndarray, "k 3"]:
    """Where nodes lie in the frame."""
    return np.stack(np.unravel_index(nodes, shape), -1) * (2 / (shape[0] - 1)) - 1


def _around(shape: tuple[int, ...]) -> Int[np.ndarray, "27"]:
    """Steps from a node's number to those of the nodes beside it, across corners too, and to its own."""
    return (np.indices((3, 3, 3)).reshape(3, -1).T - 1) @ [shape[1] * shape[2], shape[2], 1]


def _joined(values: Float[np.ndarray, "n n n"], nodes: Int[np.ndarray, "k"], places: Float[np.ndarray, "k 3"]) -> Moved:
    """Those that belong to thin parts of LEAST nodes at least, and what joins these: no face has only opposite corners inside.

    At creases smaller parts are the field's own noise. What marching cubes makes of such a face is a matter of values; so the
    outer corner that the field puts nearer to the part is moved as well, to where its inner neighbour is.
    """
    if not len(nodes):
        return NONE
    part, numbers = _parts(values, nodes)
    kept = np.bincount(part)[part[np.searchsorted(numbers, nodes)]] >= LEAST
    nodes, places = nodes[kept], places[kept]
    if not len(nodes):
        return NONE
    inside = values.ravel() < 0
    inside[nodes] = True
    held, place = numbers[np.isin(part, part[np.searchsorted(numbers, nodes)])], dict(zip(nodes.tolist(), places))
    for _ in range(FILLS):
        found = _opposite(inside, held, values)
        if not len(found):
            break
        beside = _places(found[:, 1], values.shape)
        for (node, other), own in zip(found.tolist(), beside):
            place[node] = place.get(other, own)
        inside[found[:, 0]] = True
        held = np.concatenate([held, found[:, 0]])
    return Moved(np.array(list(place), np.int64), np.array(list(place.values())), held)


def _parts(values: Float[np.ndarray, "n n n"], moved: Int[np.ndarray, "k"]) -> tuple[np.ndarray, np.ndarray]:
    """The thin part that each thin node belongs to, and its number: moved ones, and inner ones with no deep one beside them."""
    flat, around, depth = values.ravel(), _around(values.shape), 0.9 * 2 / (len(values) - 1)
    inner = np.flatnonzero((flat < 0) & (flat >= -depth))
    inner = inner[_within(inner, len(values), 1)]
    for step in around:
        inner = inner[flat[inner + step] >= -depth]
    numbers = np.union1d(inner, moved)
    links = []
    for step in around[around > 0]:
        at = np.minimum(np.searchsorted(numbers, numbers + step), len(numbers) - 1)
        links.append(np.stack([np.flatnonzero(numbers[at] == numbers + step), at[numbers[at] == numbers + step]]))
    one, other = np.concatenate(links, 1)
    graph = coo_array((np.ones(len(one), bool), (one, other)), (len(numbers),) * 2)
    return csgraph.connected_components(graph, directed=False)[1], numbers


def _within(nodes: Int[np.ndarray, "k"], count: int, margin: int) -> Bool[np.ndarray, "k"]:
    """Which nodes lie so many from the grid's outermost layer."""
    places = np.stack(np.unravel_index(nodes, (count,) * 3))
    return ((places >= margin) & (places < count - margin)).all(0)


def _opposite(inside: Array, held: Array, values: Array) -> Int[np.ndarray, "k 2"]:
    """Outer nodes to be moved, each with an inner one of a held part beside it.

    They are those of lesser value of faces with two opposite corners inside, and of cells in which only two opposite corners
    are inside, or all but two; and of holes: with four inner ones beside them.
    """
    strides, found = np.array([values.shape[1] * values.shape[2], values.shape[2], 1]), []
    numbers, values = held[_within(held, len(values), 2)], values.ravel()

    def add(at: Array, *outer: Array) -> None:
        best = np.argmin([values[node] for node in outer], 0)
        found.append(np.stack([np.choose(best, outer), at], 1))

    for signs in itertools.product((1, -1), repeat=3):
        u, v, w = steps = strides * signs
        for one, other in ((u, v), (u, w), (v, w)):
            at = numbers[inside[numbers + one + other] & ~inside[numbers + one] & ~inside[numbers + other]]
            add(at, at + one, at + other)
        cell = [inside[numbers + step] for step in (*steps, *(u + v + w - steps))]
        across = inside[numbers + u + v + w]
        at = numbers[across & ~np.any(cell, 0)]
        add(at, *(at + step for step in steps))
        for axis in range(3):
            others = np.all([part for place, part in enumerate(cell) if place not in (axis, axis + 3)], 0)
            at = numbers[across & others & ~cell[axis] & ~cell[axis + 3]]
            add(at, at + steps[axis])
    for step in (*strides, *-strides):
        at = numbers[~inside[numbers + step]]
        beside = sum(inside[at + step + other].astype(np.int8) for other in (*strides, *-strides))
        add(at[beside >= 4], (at + step)[beside >= 4])
    found = np.concatenate(found)
    return found[np.unique(found[:, 0], return_index=True)[1]]


def _candidates(values: Float[np.ndarray, "n n n"], spacing: float) -> Int[np.ndarray, "k"]:
    """Nodes outside of which a part may lie within a cell that the grid would miss, LEAST of them or thin nodes together.

    They have no inner node beside them, or the field falls towards a node outside as if it met the surface before, or it lies
    a spacing higher on either side.
    """
    flat = values.ravel()
    nodes = np.flatnonzero((flat >= 0) & (flat < spacing))
    nodes = nodes[_within(nodes, len(values), 1)]
    here, alone = flat[nodes], flat[nodes] < FAR * spacing
    for step in _around(values.shape):
        alone[alone] = flat[nodes[alone] + step] >= 0
    found = alone
    for stride in (len(values) ** 2, len(values), 1):
        below, above = (np.minimum(flat[nodes + step], spacing) for step in (-stride, stride))
        found |= (np.minimum(below, above) > 0.999 * spacing) | _bent(here, below, above) | _bent(here, above, below)
    nodes = nodes[found]
    if not len(nodes):
        return nodes
    part, numbers = _parts(values, nodes)
    return nodes[np.bincount(part)[part[np.searchsorted(numbers, nodes)]] >= LEAST]


def _bent(values: Array, ahead: Array, behind: Array) -> Bool[np.ndarray, "k"]:
    """Whether the field, where it goes on as before, would be inside ahead, or nearly so, and is outside."""
    slope = behind - values
    ends = values - slope
    return (ahead >= 0) & (ends < 0.1 * slope) & (ahead - ends > 0.6 * slope)


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


def settle(vertices: Float[np.ndarray, "m 3"], inside: Bool[np.ndarray, "n n n"], moved: Moved, ask: Ask) -> Array:
    """Vertices [m, 3] that marching cubes laid on edges of a grid, in cells, brought into the frame.

    On the edges of moved nodes, and of those inside the same parts, the zero level is looked for.

    Args:
        inside: the nodes that are, or were moved there.
    """
    shape, spacing = inside.shape, 2 / (len(inside) - 1)
    found = vertices * spacing - 1
    known = np.zeros(inside.size, bool)
    known[moved.nodes] = known[moved.held] = True
    ends = [np.ravel_multi_index(tuple(end(vertices).astype(int).T), shape) for end in (np.floor, np.ceil)]
    on_edge = (vertices != np.floor(vertices)).sum(1) == 1
    sought = np.flatnonzero(on_edge & (known[ends[0]] | known[ends[1]]))
    order = np.argsort(moved.nodes)
    low, high = (_moved_places(end[sought], shape, moved, order) for end in ends)
    within = inside.ravel()[ends[0][sought]][:, None]
    found[sought] = _zero(ask, np.where(within, low, high), np.where(within, high, low))
    return found


def _moved_places(nodes: Int[np.ndarray, "k"], shape: tuple[int, ...], moved: Moved, order: Array) -> Array:
    """Where nodes lie in the frame after some were moved; `order` sorts those."""
    at = order[np.minimum(np.searchsorted(moved.nodes[order], nodes), len(order) - 1)]
    return np.where((moved.nodes[at] == nodes)[:, None], moved.places[at], _places(nodes, shape))


def _zero(ask: Ask, inner: Float[np.ndarray, "k 3"], outer: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "k 3"]:
    """Points of the zero level between points inside and outside: Chandrupatla 1997, as in SciPy."""
    values = lambda share, at: asked(ask, inner[at] + (outer - inner)[at] * share[:, None]).astype(np.float64)
    ends = np.zeros(len(inner)), np.ones(len(inner))
    found = elementwise.find_root(
        values, ends, args=(np.arange(len(inner)),), tolerances=dict(xatol=TOLERANCE), maxiter=ROUNDS
    )
    share = np.where(np.isfinite(found.x), found.x, 0.5)[:, None]
    return inner + (outer - inner) * share
