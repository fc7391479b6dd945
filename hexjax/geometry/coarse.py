"""Stage 6, field, where a family tells it at points alone: its values on a grid's nodes, asked coarse to fine (host code).

Blocks of cells that may hold the zero level are halved and asked at their nodes, down to single cells; the nodes of the
others are filled in between their corners. A learned field is no distance: how steep it is, is measured from what was asked.
In the end every cell that the zero level crosses is asked at all its corners, and so on along it, so that a surface once met
is followed to its end and meshed as on the dense grid. What can be lost is a part that lies within blocks whose corners are
all too far from it, by the steepness measured there. Source: ours.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from hexjax.geometry import frame, isosurface
from hexjax.types import Array

LARGEST, FEWEST = 8, 12  # cells a side of the first blocks at the most, and blocks a side at the least
REACH = (3 + 3 * 2**0.5 + 3**0.5) / 8  # the most that a point of the unit cube is away from its corners, in the mean
SAFETY = 1.25  # times the steepness measured
STEEP = 0.5  # such a share of the first blocks is no steeper than every block is taken to be at the least
PULLED = 4  # cells a side of the blocks in which cells that were left out are asked
CORNERS = np.indices((2, 2, 2)).reshape(3, 8).T

Ask = Callable[[Float[np.ndarray, "p 3"]], Array]


class _Nodes:
    """The values of a grid's nodes, by their numbers with x first; which were asked, and whether all of those are finite."""

    def __init__(self, ask: Ask, count: int, chunk: int):
        self.ask, self.count, self.chunk, self.finite = ask, count, min(chunk, count**3), True
        self.side = np.asarray(frame.grid_nodes(count))
        self.values, self.asked = np.zeros(count**3, np.float32), np.zeros(count**3, bool)

    def grid(self) -> Float[np.ndarray, "n n n"]:
        """The values over xyz, as a view."""
        return self.values.reshape((self.count,) * 3)

    def of(self, starts: Int[np.ndarray, "m 3"], steps: Int[np.ndarray, "a"]) -> Int[np.ndarray, "m a a a"]:
        """The nodes at some steps from the first node of each block, those beyond the grid moved onto its end."""
        at = [np.minimum(starts[:, axis, None] + steps, self.count - 1) * self.count ** (2 - axis) for axis in range(3)]
        return at[0][:, :, None, None] + at[1][:, None, :, None] + at[2][:, None, None]

    def find(self, wanted: Int[np.ndarray, "m a a a"] | slice) -> None:
        """Nothing; those of the wanted nodes that were not asked yet are asked."""
        new = np.zeros_like(self.asked)
        new[wanted] = True
        new = np.flatnonzero(new & ~self.asked)
        for start in range(0, len(new), self.chunk):  # one at a time: several under way would each hold their memory
            part = new[start : start + self.chunk]
            points = np.stack([self.side[at] for at in np.unravel_index(part, (self.count,) * 3)], -1)
            padded = np.concatenate([points, np.zeros((self.chunk - len(part), 3), np.float32)])
            self.values[part] = np.asarray(self.ask(padded))[: len(part)]
        self.asked[new] = True
        self.finite = self.finite and bool(np.isfinite(self.values[new]).all())


def grid(ask: Ask, count: int, chunk: int) -> tuple[Float[np.ndarray, "n n n"], float]:
    """The field on count^3 nodes over xyz, for polygonising, and the share of the nodes that was asked.

    A field that is not finite at a node that was asked is asked at all of them, so that every such node is told.

    Args:
        ask: the field, negative inside, at points in the frame: at `chunk` of them, or count^3 if that is less, in every
            call; the last one of a level is padded.
    """
    nodes, stride = _Nodes(ask, count, chunk), first_stride(count)
    lines = np.arange(0, count - 1, stride)
    starts = np.stack(np.meshgrid(lines, lines, lines, indexing="ij"), -1).reshape(-1, 3)
    nodes.find(nodes.of(starts, np.array([0, stride])))
    if nodes.finite and stride > 1:
        _spread(nodes.grid(), np.append(lines, count - 1))
        _descend(nodes, starts, stride)
    while nodes.finite and len(left := _left_out(nodes)):
        nodes.find(nodes.of(left, np.arange(PULLED + 1)))
    if not nodes.finite:
        nodes.find(slice(None))
    return nodes.grid(), float(nodes.asked.mean())


def first_stride(count: int) -> int:
    """Cells a side of the first blocks, of which there are enough to see a shape by: 1 on small grids."""
    stride = LARGEST
    while stride > 1 and -(-(count - 1) // stride) < FEWEST:
        stride //= 2
    return stride


def _descend(nodes: _Nodes, starts: Int[np.ndarray, "m 3"], stride: int) -> None:
    """Nothing; blocks that may hold the zero level are halved and asked down to single cells, the others filled in.

    A point of the zero level is no nearer to a corner than the corner's value over the steepness, and to all corners of its
    block not farther than REACH in the mean. A block with corners on both sides is always one that may hold it.
    """
    least = None
    while stride > 1 and nodes.finite:
        corners = nodes.values[nodes.of(starts, np.array([0, stride]))]
        steep = _rise(corners) / stride
        steep = np.maximum(steep, _about(steep) if least is None else least)
        near = np.abs(corners).mean((1, 2, 3), np.float64) < SAFETY * REACH * stride * steep
        if least is not None:  # the first ones are filled in already
            nodes.values[nodes.of(starts[~near], np.arange(stride + 1))] = _between(corners[~near], stride)
        stride //= 2
        nodes.find(nodes.of(starts[near], np.arange(3) * stride))
        starts = (starts[near][:, None] + stride * CORNERS).reshape(-1, 3)
        held = (starts < nodes.count - 1).all(1)  # the grid may end within a block
        starts, least = starts[held], np.repeat(steep[near], 8)[held]


def _rise(corners: Float[np.ndarray, "m 2 2 2"]) -> Float[np.ndarray, "m"]:
    """How much the field changes over each block: the length of its largest differences along the three axes."""
    exact = corners.astype(np.float64)
    return np.sqrt(sum(np.square(np.diff(exact, axis=axis)).max((1, 2, 3)) for axis in (1, 2, 3)))


def _about(steep: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """The largest steepness of each first block and those around it, no less than that of many."""
    side = round(len(steep) ** (1 / 3))
    around = ndimage.maximum_filter(steep.reshape((side,) * 3), 3, mode="nearest")
    return np.maximum(around.ravel(), np.quantile(steep, STEEP))


def _weights(at: Int[np.ndarray, "a"], lines: Int[np.ndarray, "k"]) -> Float[np.ndarray, "a k"]:
    """How much values on some lines count at places between them, linearly; on a line it alone does."""
    return np.stack([np.interp(at, lines, one) for one in np.eye(len(lines))], -1).astype(np.float32)


def _spread(values: Float[np.ndarray, "n n n"], lines: Int[np.ndarray, "k"]) -> None:
    """Nothing; all values are filled in between those at the crossings of lines."""
    weights = _weights(np.arange(len(values)), lines)
    known = weights @ np.tensordot(weights, values[np.ix_(lines, lines, lines)], 1)  # all x and y, z on the lines
    np.matmul(known.reshape(-1, len(lines)), weights.T, out=values.reshape(-1, len(values)))


def _between(corners: Float[np.ndarray, "m 2 2 2"], stride: int) -> Float[np.ndarray, "m a a a"]:
    """The values of all nodes of blocks between their corners, which stay as they are."""
    one = _weights(np.arange(stride + 1), np.array([0, stride]))
    weights = np.einsum("xi,yj,zk->ijkxyz", one, one, one).reshape(8, -1)
    return (corners.reshape(-1, 8) @ weights).reshape(-1, *(stride + 1,) * 3)


def _left_out(nodes: _Nodes) -> Int[np.ndarray, "m 3"]:
    """The first nodes of the blocks that hold a cell which the surface crosses, not all of whose corners were asked."""
    inside = np.zeros((nodes.count,) * 3, bool)
    inner = (slice(1, -1),) * 3  # the outermost layer counts as outside
    inside[inner] = nodes.grid()[inner] < 0
    steps = CORNERS @ [nodes.count**2, nodes.count, 1]
    cells = np.flatnonzero(isosurface.crossed(inside)) - steps[-1]
    cells = cells[~nodes.asked[cells[:, None] + steps].all(1)]
    blocks = np.stack(np.unravel_index(cells, inside.shape), -1) // PULLED
    return PULLED * np.unique(blocks, axis=0)
