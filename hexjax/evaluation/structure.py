"""What a latent's tokens, or the cells of what is decoded, are of a shape: python -m hexjax.evaluation.structure RUN

Of a run whose family tells its structure, on shapes that are held out: the points of the surface that a set of tokens is
asked by, marked on the shape in the order in which they were picked; or the finest cells of a grid, before those that are
unlikely are pruned (halved, so that one sees into them), after it, and the shape's own. Writes RUN/images/structure.png.
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence

import jax
import matplotlib
import numpy as np
import scipy.spatial
from jaxtyping import Bool, Float

from hexjax import names, pipeline
from hexjax.evaluation import curve, export, shade, studied, written
from hexjax.geometry import camera, surface
from hexjax.models.family import Cells, Picks
from hexjax.training import checkpoint
from hexjax.types import Mesh

PICTURE = "images/structure.png"
MOST = 3  # shapes that are shown, unless told otherwise
ORDER, CHANCE = matplotlib.colormaps["plasma"], matplotlib.colormaps["viridis"]
BALL = 0.25  # radius of a point's mark, units of the frame, over the root of how many points there are
FACETS = 40  # vertices of a mark
MARKED, CUT = (0, 1), 1  # of shade.ANGLES: from where marks are shown, and halves of cells
EXTRA, MISSING = (
    (0.66, 0.05, 0.03),
    (0.02, 0.16, 0.52),
)  # linear: cells that are kept and not the shape's, and the reverse
CHECKER = 0.9  # of the light on every second cell, so that each is seen


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path, help="folder of a trained run")
    parser.add_argument("--shapes", type=int, default=None, help="that are shown")
    given = parser.parse_args(arguments)
    try:
        if given.shapes is not None and given.shapes < 1:
            raise ValueError(f"--shapes is {given.shapes}; accepted: at least 1")
        print(show(given.run, given.shapes))
    except (ValueError, OSError, checkpoint.CheckpointError) as error:
        print(f"structure: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def show(folder: pathlib.Path, most: int | None = None) -> pathlib.Path:
    """The picture that was written.

    Raises:
        ValueError: for a run whose family has no structure to show, or as `studied.read`.
        CheckpointError: for one without a good checkpoint.
    """
    run = studied.read(folder)
    family, config = run.family, run.config
    if family.structure is None:
        raise ValueError(
            f"{folder.name} is a run of {config.model.family}, which has no structure to show; accepted: a set that is asked "
            "by points of the surface, or cells whose children are predicted"
        )
    ask, shown = jax.jit(family.structure), {}
    for item in run.held_out[: most or MOST]:
        batch = pipeline.observe(item, family, config)
        found = ask(run.params, {name: batch[name] for name in family.sees})
        shown[item.name] = item.mesh, jax.tree.map(lambda leaf: np.asarray(leaf[0]), found)
    title = f"{folder.resolve().name}, step {run.step}"
    draw = functools.partial(draw_cells, side=config.cells.side) if isinstance(found, Cells) else draw_picks
    return written.Ledger(folder).write(PICTURE, functools.partial(draw, shown, title))


def draw_picks(shown: dict[str, tuple[Mesh, Picks]], title: str, path: curve.Target) -> None:
    """Writes shapes, a column each and a row for each angle, with the points marked that were picked, by their order."""
    marked = [mark(mesh, found.place) for mesh, found in shown.values()]
    pictures = {}
    for name, sight, (_, colours) in zip(shown, shade.look([mesh for mesh, _ in marked], export.PANEL_PX), marked):
        pictures[name] = shade.shade(sight, shade.interpolate(sight, colours))[list(MARKED)]
    count = len(next(iter(shown.values()))[1].place)
    with curve.styled():
        canvas = export.panels(pictures, f"{title}: the {count} points that stand for a surface")
        colours = linear(ORDER(np.linspace(0, 1, 320)))
        export.scale(canvas, colours, float(count), "number of the point, in the order of picking")
        canvas.savefig(path)


def mark(mesh: Mesh, places: Float[np.ndarray, "k 3"]) -> tuple[Mesh, Float[np.ndarray, "n 3"]]:
    """The mesh with a ball at each place, and the linear colours of its vertices: clay, and of balls by their order."""
    ball, count = _ball(BALL / np.sqrt(len(places))), len(mesh.vertices)
    starts = count + len(ball.vertices) * np.arange(len(places))
    vertices = np.concatenate([mesh.vertices, (places[:, None] + ball.vertices).reshape(-1, 3)])
    faces = np.concatenate([mesh.faces, (starts[:, None, None] + ball.faces).reshape(-1, 3)])
    colours = linear(ORDER(np.linspace(0, 1, len(places)))).repeat(len(ball.vertices), 0)
    return Mesh(vertices, faces), np.concatenate([np.tile(np.float32(shade.CLAY), (count, 1)), colours])


def draw_cells(shown: dict[str, tuple[Mesh, Cells]], title: str, path: curve.Target, side: int) -> None:
    """Writes a row for each shape: itself, the cells that may be there by their chance (half of them), the kept, the true.

    Args:
        side: cells a side of the cube.
    """
    columns = [_columns(mesh, found, side) for mesh, found in shown.values()]
    sights = iter(shade.look([mesh for row in columns for mesh, _, _ in row.values()], export.PANEL_PX))
    pictures = {}
    for row in columns:
        for name, (_, colours, angle) in row.items():
            sight = next(sights)
            picture = shade.shade(sight, shade.interpolate(sight, colours))[angle]
            pictures.setdefault(name, []).append(picture)
    with curve.styled():
        what = f"{title}: cells of side {side}, before and after pruning"
        canvas = export.panels({name: np.stack(each) for name, each in pictures.items()}, what)
        label = "chance of a candidate; red: kept, and not the shape's own; blue: the shape's own, and not kept"
        export.scale(canvas, linear(CHANCE(np.linspace(0, 1, 320))), 1.0, label)
        canvas.savefig(path)


def _columns(mesh: Mesh, found: Cells, side: int) -> dict[str, tuple[Mesh, Float[np.ndarray, "_ 3"], int]]:
    """Of each column the mesh, the linear colours of its vertices, and the angle from which it is seen."""
    clay = np.float32(shade.CLAY)
    candidate, kept, true = found.candidate[found.chance > 0], found.candidate[found.kept], found.true[found.alive]
    chance, half = found.chance[found.chance > 0], candidate[:, 0] < 0
    colour = lambda places, others, odd: np.where(among(places, others, side)[:, None], clay, np.float32(odd))
    cells = {
        "before: half of the candidates": (candidate[half], linear(CHANCE(chance[half])), CUT),
        "after: the kept": (kept, colour(kept, true, EXTRA), 0),
        "the shape's own": (true, colour(true, kept, MISSING), 0),
    }
    boxed = {name: (*boxes(places, colours, side), angle) for name, (places, colours, angle) in cells.items()}
    return {"the shape": (mesh, np.tile(clay, (len(mesh.vertices), 1)), 0)} | boxed


def boxes(
    places: Float[np.ndarray, "n 3"], colours: Float[np.ndarray, "n 3"], side: int
) -> tuple[Mesh, Float[np.ndarray, "k 3"]]:
    """The cells as a mesh of those of their sides that no other cell covers, and the colours of its vertices.

    Args:
        places: centres of cells of the cube's grid of so many a side, none twice.
    """
    cells = _cells(places, side)
    there = np.zeros((side + 2,) * 3, bool)
    there[tuple(cells.T + 1)] = True
    shaded = np.float32(colours * np.where(cells.sum(1) % 2, CHECKER, 1)[:, None])
    corners, owners = [], []
    for axis in range(3):
        for sign in (-1, 1):
            step = sign * np.eye(3, dtype=np.int64)[axis]
            bare = np.flatnonzero(~there[tuple((cells + 1 + step).T)])
            around = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])[::sign]  # counter-clockwise, seen from outside
            square = np.insert(
                around[::-1] if axis == 1 else around, axis, sign, axis=1
            )  # z, x, y: the other way round
            corners.append(places[bare][:, None] + square[None] / side)
            owners.append(bare.repeat(4))
    vertices = np.concatenate(corners).reshape(-1, 3).astype(np.float32)
    quads = np.arange(len(vertices), dtype=np.int32).reshape(-1, 4)
    return Mesh(vertices, quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)), shaded[np.concatenate(owners)]


def among(places: Float[np.ndarray, "n 3"], others: Float[np.ndarray, "m 3"], side: int) -> Bool[np.ndarray, "n"]:
    """Which cells are among others, of the cube's grid of so many a side."""
    one, other = (np.ravel_multi_index(_cells(each, side).T, (side,) * 3) for each in (places, others))
    return np.isin(one, other)


def linear(colours: Float[np.ndarray, "k _"]) -> Float[np.ndarray, "k 3"]:
    """Colours in sRGB, as a colour map gives them, as linear ones."""
    given = np.asarray(colours)[:, :3]
    return np.where(given > 0.04045, ((given + 0.055) / 1.055) ** 2.4, given / 12.92).astype(np.float32)


def _cells(places: np.ndarray, side: int) -> np.ndarray:
    return np.round((places + 1) * (side / 2) - 0.5).astype(np.int64)


def _ball(radius: float) -> Mesh:
    """A ball of FACETS vertices with outward winding."""
    points = -camera.around(*camera.fibonacci(FACETS), 1.0).forward
    faces = scipy.spatial.ConvexHull(points).simplices
    mesh = Mesh(radius * points, faces.astype(np.int32))
    inward = (surface.area_vectors(mesh) * points[faces[:, 0]]).sum(1) < 0
    return mesh._replace(faces=np.where(inward[:, None], mesh.faces[:, ::-1], mesh.faces))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
