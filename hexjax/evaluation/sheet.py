"""What families make of the same unseen shapes, side by side: python -m hexjax.evaluation.sheet FOLDER [FOLDER ...]

FOLDER is that of a sweep over families (`equal_size`); of several, a size of latent each, all families of all sizes stand
beside each other. Of each family the first run is shown by shapes that no run was trained on, as the evaluation meshed them,
or made anew: a row each, the shape first, then the reconstructions with their error as colour (FOLDER/sheet.png of the first
folder); and from nearby where most bends of the shape itself are seen, bare and with the error (FOLDER/edges.png).
"""

import argparse
import functools
import io
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, UInt8

from hexjax import names, pipeline, progress
from hexjax.data import meshfile
from hexjax.evaluation import curve, equal_size, export, parents, plans, rows, shade, size_curve, written
from hexjax.geometry import distance
from hexjax.geometry import mesh as geometry
from hexjax.training import checkpoint, record
from hexjax.types import Item, Mesh, Scores

SHEET, EDGES = "sheet.png", "edges.png"
SHAPES, CLOSE = 6, 2  # that are shown; of them those that are shown from nearby too
MOST_BYTES = 250_000  # of a picture
TILE_PX, LEAST_PX = 200, 80  # a side of a tile before it is cut: as drawn first, and at which it is not made smaller
COLOURS = 256  # of a palette
ANGLE = 0  # of shade.ANGLES: from where the sheet's shapes are seen
REACH = 0.2  # half the side of what is seen from nearby, in units of the frame
WHOLE, SOUGHT_PX = 3**0.5, 256  # the same of what is searched for bends: the cube, however it is turned; and pixels
JUMP = 4  # spacings of samples: neighbours that are farther apart are of parts of which one hides the other


class Column(NamedTuple):
    """A family's run: the head of its column, and of each shape by name the mesh in the frame, its errors and its V-IoU."""

    head: str
    meshes: dict[str, Mesh]
    errors: dict[str, Float[np.ndarray, "n"]]  # of the vertices: distances to the shape's surface
    told: dict[str, float | None]


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folders", type=pathlib.Path, nargs="+", help="folders of sweeps over families, one of each size"
    )
    parser.add_argument("--shapes", type=int, default=SHAPES, help="that are shown")
    parser.add_argument("--grid", type=int, default=None, help="nodes a side; else as the runs say")
    given = parser.parse_args(arguments)
    try:
        for name, least in (("shapes", 1), ("grid", 8)):
            if (value := getattr(given, name)) is not None and value < least:
                raise ValueError(f"--{name} is {value}; accepted: at least {least}")
        show(given.folders, given.shapes, given.grid)
    except (ValueError, OSError, checkpoint.CheckpointError) as error:
        print(f"sheet: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def show(folders: Sequence[pathlib.Path], shapes: int = SHAPES, grid: int | None = None) -> None:
    """Nothing; both pictures are in the first folder, and where they are is told.

    Raises:
        ValueError: as `equal_size.read_sizes`, and for runs whose shapes do not load.
        CheckpointError: for a run without a good checkpoint.
    """
    runs = first_runs(folders)
    items = held_out(next(iter(runs))[0])[:shapes]
    columns = []
    with progress.Line(len(runs) * len(items), "shapes meshed") as line:
        for run, head, scores in runs:
            tick = lambda done, before=len(columns) * len(items): line.update(before + done)
            found = meshes(run, items, grid, tick)
            errors = {item.name: distance.closest(item.mesh, found[item.name].vertices)[0] for item in items}
            told = {} if grid else {row["name"]: row["v_iou"] for row in scores["items"]}  # of the run's own grid
            columns.append(Column(head, found, errors, told))
    size = f" at {equal_size.read(folders[0]).floats:,} floats" if len(folders) == 1 else ""
    for name, draw, shown in ((SHEET, sheet, items), (EDGES, edges, items[:CLOSE])):
        draw = functools.partial(draw, shown, columns, size)
        record.write_atomically(folders[0] / name, fitting(draw))
        print(folders[0] / name)


def first_runs(folders: Sequence[pathlib.Path]) -> list[tuple[pathlib.Path, str, Scores]]:
    """Of each family and size the first run that has ended: its folder, the head of its column, and its scores.

    Families stand in the order of the first size's table, sizes of one beside each other.

    Raises:
        ValueError: as `equal_size.read_sizes`.
    """
    sizes = equal_size.read_sizes(folders)
    order, found = list(dict.fromkeys(name for results in sizes for name in results.families)), {}
    for folder in folders:
        for name, scores in sorted(size_curve.read(folder).runs):
            family, floats = name.rpartition("_")[0], scores["parts"][rows.HELD_OUT]["mean"]["latent_floats"]
            head = f"{family}, {floats:,.0f}" if len(folders) > 1 else family
            found.setdefault((family, folder), (order.index(family), floats, (folder / name, head, scores)))
    return [run for _, _, run in sorted(found.values(), key=lambda one: one[:2])]


def held_out(folder: pathlib.Path) -> list[Item]:
    """The shapes that a run's evaluation held out."""
    parent, _, _ = parents.read(folder)
    return plans.make(parents.items_of(parent), parent.config, folder, False).held_out


def meshes(
    folder: pathlib.Path, items: Sequence[Item], grid: int | None, tick: Callable[[int], None]
) -> dict[str, Mesh]:
    """What a run makes of shapes, in the frame, by their names: what its evaluation wrote, or else made here.

    Args:
        grid: nodes a side, with which all are made here; None: as the run's config says.
    """
    ledger, found = written.Ledger(folder), {}
    make = functools.cache(lambda: maker(folder, grid))
    for done, item in enumerate(items, 1):
        place = f"meshes/{written.stem(item.name)}.ply"
        if grid is None and ledger.owns(place):
            found[item.name] = geometry.to_frame(meshfile.load(folder / place), item.similarity)
        else:
            found[item.name] = make()(item)
        tick(done)
    return found


def maker(folder: pathlib.Path, grid: int | None) -> Callable[[Item], Mesh]:
    """How a run makes a mesh in the frame of a shape."""
    parent, params, _ = parents.read(folder)
    params, config = jax.tree.map(jnp.asarray, params), parent.config.copy_and_resolve_references().unlock()
    config.extract.grid = grid or config.extract.grid

    def make(item: Item) -> Mesh:
        batch = pipeline.observe(item, parent.family, config)
        mesh, report, _, _ = pipeline.reconstruct(batch, parent.family, params, config)
        pipeline.tell(f"{folder.name}, {item.name}", report)
        return mesh

    return make


def fitting(draw: Callable[[int], bytes]) -> bytes:
    """The picture of tiles of TILE_PX, or of smaller ones, with which it has no more than MOST_BYTES."""
    side, made = TILE_PX, draw(TILE_PX)
    while len(made) > MOST_BYTES and side > LEAST_PX:
        side = max(LEAST_PX, int(0.98 * side * (MOST_BYTES / len(made)) ** 0.5))
        made = draw(side)
    return made


def sheet(items: Sequence[Item], columns: Sequence[Column], size: str, side: int) -> bytes:
    """A row a shape: itself, and of each column its mesh with the distance to the shape's surface as colour."""
    rows_of, notes = [], []
    for item in items:
        found = [item.mesh, *(column.meshes[item.name] for column in columns)]
        rows_of.append([picture[ANGLE] for picture in coloured(item, columns, shade.look(found, side))])
        told = [column.told.get(item.name) for column in columns]
        notes.append([item.name, *("" if value is None else f"V-IoU {value:.3f}" for value in told)])
    return compose(rows_of, notes, columns, f"{len(items)} shapes that no run was trained on{size}")


def edges(items: Sequence[Item], columns: Sequence[Column], size: str, side: int) -> bytes:
    """Two rows a shape, seen from nearby where most of its own bends are: bare, and with the error as colour."""
    rows_of, notes = [], []
    for item in items:
        camera, centre = sharpest(item.mesh)
        found = [item.mesh, *(column.meshes[item.name] for column in columns)]
        sights = shade.close_up(found, side, camera, centre, REACH)
        bare = [shade.shade(sight, np.reshape(shade.CLAY, (1, 3))) for sight in sights]
        rows_of += [[picture[0] for picture in kind] for kind in (bare, coloured(item, columns, sights))]
        notes += [[item.name, *[""] * len(columns)], [""] * (1 + len(columns))]
    return compose(
        rows_of, notes, columns, f"Where a shape has most edges{size}: {2 * REACH:g} units of the frame a side"
    )


def compose(rows_of: Sequence, notes: Sequence[Sequence[str]], columns: Sequence[Column], title: str) -> bytes:
    """Rows of tiles [h, w, 3] as one PNG, under the heads of the columns and over the scale of the colours."""
    stack = np.swapaxes(np.array(rows_of), 0, 1)
    pictures = dict(zip(("the shape", *(column.head for column in columns)), stack))
    with curve.styled():
        canvas = export.panels(pictures, title, notes)
        export.error_scale(
            canvas,
            f"distance to the shape's surface, in units of the frame; the last colour: {export.ERROR_LIMIT} or more",
        )
        curve.save_small(canvas, made := io.BytesIO(), COLOURS)
    return made.getvalue()


def coloured(
    item: Item, columns: Sequence[Column], sights: Sequence[shade.Sight]
) -> list[UInt8[np.ndarray, "v h w 3"]]:
    """Pictures of a shape and of the columns' meshes of it, with their errors as colours."""
    errors = [np.zeros(len(item.mesh.vertices)), *(column.errors[item.name] for column in columns)]
    return [export.with_errors(sight, values) for sight, values in zip(sights, errors)]


def sharpest(mesh: Mesh) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """The camera, of those of `shade`, that sees most bends within REACH of a place of the surface, and that place."""
    best, spacing = (-1.0, None, None), 2 * WHOLE / (SOUGHT_PX * shade.OVERSAMPLING)
    for camera in shade.cameras():
        sight = shade.close_up([mesh], SOUGHT_PX, camera, np.zeros(3), WHOLE)[0]
        mask = sight.mask[0]
        normals, places = np.zeros((2, *mask.shape, 3), np.float32)
        normals[mask], places[mask] = sight.normal, shade.interpolate(sight, np.asarray(mesh.vertices, np.float32))
        around = scipy.ndimage.uniform_filter(bends(normals, places, mask, spacing), 2 * round(REACH / spacing) + 1)
        place = np.unravel_index(np.argmax(np.where(mask, around, -1)), mask.shape)
        if around[place] > best[0]:
            best = around[place], camera, places[place]
    return best[1:]


def bends(
    normals: Float[np.ndarray, "h w 3"],
    places: Float[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    spacing: float,
) -> Float[np.ndarray, "h w"]:
    """How much a surface bends between each sample and its neighbours above and at the left: 1 - cos of their normals.

    Less the more it is turned away, and 0 where one hides the other.
    """
    found = np.zeros(mask.shape)
    for axis in (0, 1):
        one, two = (
            (slice(1, None), slice(None, -1))
            if axis == 0
            else ((slice(None), slice(1, None)), (slice(None), slice(-1)))
        )
        beside = mask[one] & mask[two] & (np.linalg.norm(places[one] - places[two], axis=-1) < JUMP * spacing)
        bent = (1 - (normals[one] * normals[two]).sum(-1)) * np.minimum(normals[one], normals[two])[..., 2]
        found[one] += np.where(beside, bent, 0)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
