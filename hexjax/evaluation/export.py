"""Pictures of a run, without GL: the maps before and after, shaded renders with the error as colour, the loss curve.

Maps are laid out as an unfolded cube: row front | left | back | right, top above front and bottom below it. Errors and
depths are in units of the frame.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib.cm
import matplotlib.patches
import numpy as np
import scipy.spatial
from jaxtyping import Float, UInt8
from matplotlib import colors, figure, ticker
from matplotlib.axes import Axes

from hexjax import cores
from hexjax.data import ply
from hexjax.evaluation import curve, shade, written
from hexjax.geometry import distance, frame
from hexjax.geometry import mesh as meshes
from hexjax.training import record
from hexjax.types import Array, Hexplane, Item, Mesh

ERROR_LIMIT = 0.02  # the distance at which the error's colours end: the wider threshold of the F-score
UNSEEN_LIMIT = 0.01  # farther than this from every hit, a surface counts as unseen
PANEL_PX = 360  # a side of each shaded picture, before it is cut to what is drawn
GAP = 12  # pixels around each
TILE_PX = 190  # a side of each picture of a gallery, before it is cut
TILE_ANGLES = (0, 2)  # of shade.ANGLES: from the front and from the back
COLUMNS = 4  # of a gallery
CAPTION, TITLE = 60, 90  # most letters under a tile, over a picture
CARD = np.array([0.973, 0.970, 0.962])  # what a tile's white becomes
UNFOLDED = {"top": (0, 0), "front": (1, 0), "left": (1, 1), "back": (1, 2), "right": (1, 3), "bottom": (2, 0)}

DEPTHS = matplotlib.colormaps["viridis_r"]
SUFFIXES = {"reconstruction": "", "ceiling": "_ceiling"}  # of the names of meshes, as `written.OURS` knows them
STYLE = curve.STYLE
UNSEEN = (0.72, 0.13, 0.07)  # linear
ERRORS = np.array(
    [shade.CLAY, (0.80, 0.52, 0.12), (0.78, 0.20, 0.04), (0.46, 0.03, 0.07), (0.13, 0.01, 0.12)]
)  # linear


def error_colours(errors: Float[np.ndarray, "*p"]) -> Float[np.ndarray, "*p 3"]:
    """Linear albedos for distances: clay at 0, dark at ERROR_LIMIT and above."""
    at = np.clip(errors / ERROR_LIMIT, 0, 1)
    return np.stack([np.interp(at, np.linspace(0, 1, len(ERRORS)), channel) for channel in ERRORS.T], -1)


def unfold(maps: Float[np.ndarray, "v h w 3"]) -> Float[np.ndarray, "h3 w4 3"]:
    """Six colour maps as one picture [3h, 4w, 3] of the unfolded cube, white between them."""
    side = maps.shape[1]
    sheet = np.ones((3 * side, 4 * side, 3))
    for name, (row, column) in UNFOLDED.items():
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = maps[frame.VIEWS.index(name)]
    return sheet


def contact_sheet(before: Hexplane, after: Hexplane | None, title: str, path: curve.Target) -> None:
    """Writes the six input maps above the six decoded ones (where there are any): depth at the left, normals right."""
    rows = {"input": before} | ({} if after is None else {"decoded": after})
    flat = not np.asarray((after or before).normal).any()  # silhouettes alone: a binary family's maps
    kinds = ("coverage",) if flat else ("depth", "normals")
    hit = np.asarray(before.depth)[np.asarray(before.mask)]
    limits = (float(hit.min()), float(hit.max()) + 1e-6) if hit.size else (0.0, frame.DEPTH_LIMIT)
    with curve.styled():
        canvas = figure.Figure((6.6 * len(kinds), 5.0 * len(rows) + 0.35), dpi=100)
        canvas.suptitle(
            _short(title, TITLE), x=0.015, y=1 - 0.1 / canvas.get_figheight(), ha="left", va="top", fontsize=11
        )
        grid = canvas.add_gridspec(
            len(rows), len(kinds), left=0.012, right=0.988, bottom=0.01, top=1 - 0.5 / canvas.get_figheight(),
            wspace=0.03, hspace=0.03)  # fmt: skip
        for row, (name, maps) in enumerate(rows.items()):
            for column, kind in enumerate(kinds):
                axes = canvas.add_subplot(grid[row, column])
                _draw_cube(axes, _coloured(maps, kind, limits), f"{name}: {kind}")
                if kind == "depth" and name == "input":
                    _depth_bar(axes, limits)
        canvas.savefig(path)


def _coloured(maps: Hexplane, kind: str, limits: tuple[float, float]) -> np.ndarray:
    """The maps as colours on white, blended by coverage."""
    coverage = np.asarray(maps.mask, np.float64)[..., None]
    if kind == "coverage":
        return np.repeat(1 - 0.82 * coverage, 3, -1)
    if kind == "normals":
        normal = np.asarray(maps.normal, np.float64)
        colour = 0.5 + 0.5 * normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    else:
        colour = DEPTHS(colors.Normalize(*limits, clip=True)(np.asarray(maps.depth, np.float64)).filled())[..., :3]
    return coverage * colour + (1 - coverage)


def _draw_cube(axes: Axes, maps: np.ndarray, title: str) -> None:
    side = maps.shape[1]
    axes.imshow(unfold(maps), extent=(0, 4, 3, 0), interpolation="antialiased" if side > 128 else "nearest")
    axes.set_axis_off()
    for name, (row, column) in UNFOLDED.items():
        axes.add_patch(
            matplotlib.patches.Rectangle((column, row), 1, 1, fill=False, lw=0.6, ec="#cccccc", clip_on=False)
        )
        camera = frame.CAMERAS[frame.VIEWS.index(name)]
        axes.text(column + 0.03, row + 0.03, f"{name} ({camera})", ha="left", va="top", fontsize=7, color="#777777")
    axes.text(1.12, 0.10, title, ha="left", va="top", fontsize=12)


def _depth_bar(axes: Axes, limits: tuple[float, float]) -> None:
    scale = matplotlib.cm.ScalarMappable(colors.Normalize(*limits), DEPTHS)
    bar = axes.figure.colorbar(scale, cax=axes.inset_axes((0.285, 0.80, 0.30, 0.018)), orientation="horizontal")
    bar.set_label("depth from the view's face of the cube, in units of the frame", fontsize=7, loc="left")
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_linewidth(0)


def renders(
    found: dict[str, Mesh],
    bare: Sequence[str],
    errors: dict[str, Float[Array, "_"]],
    title: str,
    path: curve.Target,
) -> None:
    """Writes meshes in the frame side by side, a row for each angle: first those of `bare`, then those with errors.

    Args:
        found: the meshes by name.
        bare: names of those that are shown without colours.
        errors: distances of the vertices, by name, in units of the frame: shown as colours.
    """
    sights = dict(zip(found, shade.look(list(found.values()), PANEL_PX)))
    pictures = {name: shade.shade(sights[name], np.reshape(shade.CLAY, (1, 3))) for name in bare}
    for name, distances in errors.items():
        pictures[f"{name}: error"] = with_errors(sights[name], distances)
    with curve.styled():
        canvas = panels(pictures, title)
        error_scale(canvas, "distance to the input's surface, in units of the frame")
        canvas.savefig(path)


def with_errors(sight: shade.Sight, distances: Float[Array, "n"]) -> UInt8[np.ndarray, "v h w 3"]:
    """The pictures of a mesh with the errors of its vertices as colours."""
    at_samples = shade.interpolate(sight, np.append(distances, 0.0))  # a mesh without vertices is read too
    return shade.shade(sight, error_colours(at_samples))


def error_scale(canvas: figure.Figure, label: str) -> None:
    """Nothing; below the pictures of `panels` is which colour stands for which error."""
    scale(canvas, error_colours(np.linspace(0, ERROR_LIMIT, 320)), ERROR_LIMIT, label)


def scale(canvas: figure.Figure, colours: Float[np.ndarray, "k 3"], limit: float, label: str) -> None:
    """Nothing; below the pictures of `panels` is what linear colours stand for, from 0 to a limit."""
    width, height = canvas.get_size_inches() * canvas.dpi
    bar = canvas.add_axes(((width - 320) / 2 / width, 42 / height, 320 / width, 9 / height))
    bar.imshow(shade.to_bytes(1.2 * colours)[None], extent=(0, limit, 0, 1), aspect="auto")
    bar.xaxis.set_major_locator(ticker.MultipleLocator(limit / 4))
    bar.set_xlabel(label, fontsize=8)
    bar.tick_params(labelsize=7, length=2)
    bar.set_yticks([])
    bar.spines[:].set_visible(False)


def unseen(item: Item, hits: Float[Array, "k 3"], share: float, ledger: written.Ledger) -> None:
    """Writes images/<name>_unseen.png: the input from the three angles, in red what no view sees, also inside of it.

    Args:
        hits: points in the frame that some view sees.
        share: of the surface that none sees, for the title.
    """
    faces = np.asarray(item.mesh.faces)
    centres = np.asarray(item.mesh.vertices)[faces].mean(1)
    tree = scipy.spatial.KDTree(hits)
    away = np.isinf(tree.query(centres, distance_upper_bound=UNSEEN_LIMIT, workers=cores.allowed())[0])
    sight, within = shade.look([item.mesh, item.mesh._replace(faces=faces[away])], PANEL_PX)
    points = shade.interpolate(sight, np.asarray(item.mesh.vertices, np.float32))
    hidden = 0.5 * within.mask[sight.mask]  # behind the surface: shines through
    hidden += np.isinf(tree.query(points, distance_upper_bound=UNSEEN_LIMIT, workers=cores.allowed())[0])
    mixture = np.clip(hidden, 0, 1)[:, None]
    picture = shade.shade(sight, (1 - mixture) * shade.CLAY + mixture * UNSEEN)
    with curve.styled():
        shown = {name: picture[angle : angle + 1] for angle, name in enumerate(shade.ANGLES)}
        name = _short(item.name, TITLE - 50)
        canvas = panels(shown, f"{name}: {share:.1%} of the surface is seen by none of the six views")
        legend = f"red: farther than {UNSEEN_LIMIT} from every hit, in units of the frame; paler behind the surface"
        canvas.text(0.5, 36 / canvas.bbox.height, legend, ha="center", va="center", fontsize=8)
        ledger.write(f"images/{written.stem(item.name)}_unseen.png", canvas.savefig)


def panels(pictures: dict[str, np.ndarray], title: str, notes: Sequence[Sequence[str]] = ()) -> figure.Figure:
    """A figure of columns of pictures [rows, h, w, 3], pixel for pixel, cut to the smallest common box.

    Args:
        notes: of each row what stands below its pictures.
    """
    stack = _cut(np.stack(list(pictures.values()), 1))
    rows, columns = stack.shape[:2]
    h, w = stack.shape[2:4]
    head, foot, side = 66, 70, max(GAP, (420 - columns * w) // 2)
    width, height = columns * w + 2 * side, rows * h + head + foot
    canvas = figure.Figure((width / 100, height / 100), dpi=100)
    canvas.figimage(np.concatenate(np.concatenate(stack, 1), 1), side, foot)
    canvas.text(side / width, 1 - 16 / height, _short(title, TITLE), ha="left", va="top", fontsize=12)
    for column, name in enumerate(pictures):
        centre = (side + (column + 0.5) * w) / width
        canvas.text(centre, 1 - 56 / height, name, ha="center", va="center", fontsize=10, color="#555555")
        if (pictures[name] == 255).all():
            canvas.text(centre, 0.5, "no surface", ha="center", va="center", fontsize=10, color="#aa3333")
    for row, texts in enumerate(notes):
        for column, text in enumerate(texts):
            place = (side + (column + 0.5) * w) / width, (foot + (rows - 1 - row) * h) / height
            canvas.text(*place, _short(text, CAPTION), ha="center", va="center", fontsize=7.5, color="#555555")
    return canvas


def _cut(stack: np.ndarray) -> np.ndarray:
    """Pictures [rows, columns, h, w, 3] cut to the smallest common box of what is drawn, with GAP around it."""
    drawn = (stack < 255).any((0, 1, -1))
    drawn[stack.shape[2] // 2, stack.shape[3] // 2] = True  # no surface anywhere: the box is not empty
    top, bottom = np.flatnonzero(drawn.any(1))[[0, -1]]
    left, right = np.flatnonzero(drawn.any(0))[[0, -1]]
    margins = ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP), (0, 0))
    return np.pad(stack[:, :, top : bottom + 1, left : right + 1], margins, constant_values=255)


def gallery(sections: dict[str, dict[str, Mesh]], title: str, path: curve.Target) -> None:
    """Writes a sheet of meshes in the frame, all at one scale: each from two angles over its caption, under headings.

    Args:
        sections: of each heading, the meshes by their captions; one without faces is told to have no surface.
    """
    sights = shade.look([mesh for section in sections.values() for mesh in section.values()], TILE_PX)
    clay = np.reshape(shade.CLAY, (1, 3))
    stack = _cut(np.stack([shade.shade(sight, clay)[list(TILE_ANGLES)] for sight in sights]))
    tiles = iter(np.concatenate(stack.swapaxes(0, 1), 2))  # both angles side by side
    h, w = stack.shape[2], stack.shape[3] * len(TILE_ANGLES)
    row, column, side, heading, head = h + 44, w + 14, 26, 54, 56  # pixels
    rows = sum(-(-len(section) // COLUMNS) for section in sections.values())
    width, height = COLUMNS * column - 14 + 2 * side, head + heading * len(sections) + rows * row + 6
    sheet = np.full((height, width, 3), 255, np.uint8)
    with curve.styled():
        canvas = figure.Figure((width / 100, height / 100), dpi=100)
        say = lambda x, y, text, **style: canvas.text(x / width, 1 - y / height, text, va="center", **style)
        say(side, 34, title, ha="left", fontsize=14)
        top = head
        for name, section in sections.items():
            say(side, top + heading - 22, name, ha="left", fontsize=10.5, color="#444444")
            top += heading
            for number, (caption, mesh) in enumerate(section.items()):
                x, y = side + number % COLUMNS * column, top + number // COLUMNS * row
                sheet[y : y + h, x : x + w] = next(tiles) * CARD
                say(x + 2, y + h + 13, _short(caption, CAPTION), ha="left", fontsize=8, color="#666666")
                if not len(mesh.faces):
                    say(x + w / 2, y + h / 2, "no surface", ha="center", fontsize=11, color="#aa3333")
            top += -(-len(section) // COLUMNS) * row
        canvas.figimage(sheet, zorder=-1)
        canvas.savefig(path)


def _short(text: str, most: int) -> str:
    """The text, cut where it is too long; a dollar sign in it begins no formula."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def shape(
    item: Item, before: Hexplane | None, decoded: Any, found: dict[str, Mesh], ledger: written.Ledger, pictures: bool
) -> None:
    """Writes meshes/ in source units, and where there are to be pictures, maps and renders of one shape to images/.

    Args:
        before: the maps of the shape, shown where the family sees some; decoded: what it decoded, shown if it is maps.
        found: reconstruction and ceiling in the frame, or one of them; the first is also shown without colours.
    """
    name = written.stem(item.name)
    for kind, mesh in found.items():
        place = f"meshes/{name}{SUFFIXES[kind]}.ply"
        if len(mesh.faces):
            ledger.put(place, ply.write(meshes.to_source(mesh, item.similarity)))
        else:
            ledger.delete(place)  # of an earlier evaluation
    if not pictures:
        return
    decoded = decoded if isinstance(decoded, Hexplane) else None
    if before is not None:
        ledger.write(f"images/{name}_maps.png", functools.partial(contact_sheet, before, decoded, item.name))
    errors = {kind: distance.closest(item.mesh, mesh.vertices)[0] for kind, mesh in reversed(found.items())}
    shown = {"input": item.mesh} | found, ("input", next(iter(found))), errors, item.name
    ledger.write(f"images/{name}_renders.png", functools.partial(renders, *shown))


def history(title: str, folder: pathlib.Path, ledger: written.Ledger) -> None:
    """Writes images/loss.png from the metrics.jsonl of a run's folder, if it has one, and witness.png where a witness watched;
    rows that cannot be read are left out."""
    rows = record.read_rows(folder / "metrics.jsonl")
    if any("loss" in row for row in rows):
        ledger.write("images/loss.png", functools.partial(curve.loss_curve, rows, title))
    if any(row.get(curve.FORCE) is not None for row in rows):
        ledger.write("images/witness.png", functools.partial(curve.witness_curve, rows, title))
