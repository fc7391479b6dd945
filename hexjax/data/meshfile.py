"""Stage 1, load: a mesh file, or a mesh in memory, to a `Mesh`, or one line that says what is wrong with it.

Vertices stay in the source's own units and axes, as float32 (float64 where they lie far from the origin for their size).
Points without faces stay as they are, all of them. Polygons are cut to triangles, scenes flattened, equal positions
welded, doubled and collapsed faces dropped, unused vertices dropped, and the winding made consistent and outward where it
can be. What was done is told by `inspect`.
"""

import os
import pathlib
import stat
from typing import Any

import numpy as np

from hexjax import names
from hexjax.data import gltf, meshtext, ply, polygons, winding
from hexjax.data.polygons import Polygons
from hexjax.geometry import mesh as meshes
from hexjax.types import Mesh

READERS = {
    ".glb": gltf.read_glb,
    ".gltf": gltf.read_gltf,
    ".obj": meshtext.read_obj,
    ".off": meshtext.read_off,
    ".ply": ply.read,
    ".stl": meshtext.read_stl,
    ".xyz": meshtext.read_xyz,
}
WITH_FOLDER = (".glb", ".gltf")  # their buffers may be files of their own
SIDES = (1e-30, 1e30)  # of the longest side, in source units: beyond them float32 arithmetic fails
DOUBTFUL = "the winding could not be made consistent; some normals may be flipped"
NOTABLE_SHARE = 0.01  # of the faces: fewer dropped ones are not told
BULK_SHARE = 0.01  # of the longest side: 98 % of the vertices on each axis in less than that are told
WHOLE = dict.fromkeys(
    ("faces", "polygons_in_file", "unused_vertices", "welded_vertices", "collapsed_faces", "doubled_faces",
     "doubtful_polygons", "parts", "turned_share", "winding_doubtful", "doubled_points"), 0,
)  # what `inspect` finds of points  # fmt: skip
ROUNDING_LIMIT = 1e-3  # the largest step between positions, as a share of the longest side


def load(given: Any) -> Mesh:
    """The mesh of a path, or of what `polygons.of` takes: in source units, welded and wound outward.

    Raises:
        ValueError: one line with the name and what is wrong.
    """
    return inspect(given)[0]


def inspect(given: Any, name: str = "mesh") -> tuple[Mesh, dict[str, Any]]:
    """The mesh of a path, or of what `polygons.of` takes, and what was found and done on the way, by name.

    Args:
        name: of what is no file, in errors; that of a file is its own.

    Raises:
        ValueError: one line with the name and what is wrong.
    """
    path = names.expand(os.fspath(given)) if isinstance(given, str | os.PathLike) else None
    name = name if path is None else names.printable(path.name or str(path))
    try:
        with np.errstate(all="ignore"):  # positions that are not finite are refused on the way
            return clean(polygons.of(given) if path is None else _read(path))
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{name}: {' '.join(str(error).split()) or 'it does not fit into memory'}") from error
    except OSError as error:
        raise ValueError(f"{name}: {(error.strerror or type(error).__name__).lower()}") from error


def _read(path: pathlib.Path) -> Polygons:
    suffix = path.suffix.lower()
    if reason := not_a_file(path):
        raise ValueError(reason)
    if suffix not in READERS:
        raise ValueError(f"unknown format {suffix!r}; accepted: {', '.join(READERS)}")
    data = path.read_bytes()
    if not data:
        raise ValueError("is empty (0 bytes)")
    return READERS[suffix](data, path.parent) if suffix in WITH_FOLDER else READERS[suffix](data)


def not_a_file(path: pathlib.Path) -> str:
    """What a path is instead of a file: pipes and devices, for one, might be waited for without end. "": a file."""
    try:
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "is a link to nothing" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:  # no permission, a name too long; a NUL in it
        return (getattr(error, "strerror", None) or str(error)).lower()
    return "" if stat.S_ISREG(kind) else "is a folder" if stat.S_ISDIR(kind) else "is not a file"


def clean(source: Polygons) -> tuple[Mesh, dict[str, Any]]:
    """Polygons as a mesh (cut to triangles, welded, wound consistently), and what was found on the way.

    Raises:
        ValueError: if there is no face and what there is isn't points, a used vertex is not finite, the longest side is 0
            or out of float32's range, or float64 is too coarse so far from the origin.
    """
    if not len(source.sizes):
        if not (source.points and len(source.positions)):
            raise ValueError(f"has no faces ({len(source.positions)} vertices)")
        vertices, near = _rounded(source.positions, "points")
        found = dict.fromkeys(("vertices", "vertices_in_file"), len(vertices)) | {"bulk_share": _bulk_share(near)}
        found |= {"told": source.told, "doubled_points": len(near) - len(_weld(near)[0])}
        return Mesh(np.ascontiguousarray(vertices), np.zeros((0, 3), np.int32)), WHOLE | found
    used, corners = np.unique(source.corners, return_inverse=True)
    vertices, near = _rounded(source.positions[used])
    faces, concave = polygons.cut(Polygons(source.positions[used], corners, source.sizes))
    first, same = _weld(near)
    vertices, near, faces = vertices[first], near[first], same[faces]
    whole, doubled = _whole(faces)
    faces = faces[whole]
    low, high = (np.float64(bound) for bound in (near.min(axis=0), near.max(axis=0)))
    side = np.max(high - low)
    corners = np.float64(np.float32((near - (low + high) / 2) / side))[faces]  # as exact as in the frame
    if not np.any(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])):
        raise ValueError(f"no face has an area at a longest side of {side:.3g}")
    bulk = _bulk_share(near)
    kept, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    orientation = winding.orient(near[kept], faces)
    faces = np.where(orientation.turned[:, None], faces[:, ::-1], faces)
    mesh = Mesh(vertices[kept], np.ascontiguousarray(faces, np.int32), orientation.doubtful)
    return mesh, {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "vertices_in_file": len(source.positions),
        "polygons_in_file": len(source.sizes),
        "unused_vertices": len(source.positions) - len(used),
        "welded_vertices": len(used) - len(first),
        "collapsed_faces": int(np.sum(~whole)) - doubled,
        "doubled_faces": doubled,
        "doubtful_polygons": concave,
        "parts": orientation.parts,
        "turned_share": float(np.mean(orientation.turned)),
        "winding_doubtful": orientation.doubtful,
        "doubled_points": 0,
        "bulk_share": bulk,
        "told": source.told,
    }


def mended(found: dict[str, Any]) -> dict[str, str]:
    """What `inspect` found that a mesh's owner should know, in words, by the same words for many meshes; often nothing."""
    turned, doubtful = found["turned_share"], found["winding_doubtful"]
    dropped = (found["collapsed_faces"] + found["doubled_faces"]) / max(found["polygons_in_file"], 1)
    told = {words: words for words in found["told"]}
    if turned:
        told["faces turned to face outward"] = f"{turned:.1%} of the faces turned to face outward"
    if doubtful:
        told[DOUBTFUL] = DOUBTFUL
    if doubled := found["doubled_points"]:
        told["points where others are"] = f"{doubled / found['vertices']:.1%} of the points where others are"
    if dropped >= NOTABLE_SHARE:
        told["faces dropped, doubled or collapsed"] = f"{dropped:.1%} of the faces dropped, doubled or collapsed"
    if found["bulk_share"] < BULK_SHARE:
        told["a few vertices far from the rest"] = (
            f"a few vertices far from the rest, which take up {found['bulk_share']:.1g} of its longest side"
        )
    return told


def _bulk_share(near: np.ndarray) -> float:
    side = np.float64(np.max(np.ptp(near, axis=0)))
    return float(np.max(np.ptp(np.percentile(near, (1, 99), axis=0), axis=0)) / side)


def _rounded(positions: np.ndarray, what: str = "vertices used by faces") -> tuple[np.ndarray, np.ndarray]:
    """Positions as float32, twice; or where the origin is far, as they are and as float32 around their own middle.

    Raises:
        ValueError: for NaN or infinity, for a longest side of 0 or out of range, and where float64 spoils the shape.
    """
    broken = int(np.sum(~np.all(np.isfinite(positions), axis=1)))
    if broken:
        raise ValueError(f"{broken} of {len(positions)} {what} are NaN or infinite")
    low, high = positions.min(axis=0), positions.max(axis=0)
    side = float(np.max(high - low))
    if side == 0:
        raise ValueError(f"its longest side is 0: all {what} are one point")
    largest = float(np.max(np.abs(positions)))
    if not SIDES[0] <= side <= SIDES[1] or largest > SIDES[1]:
        raise ValueError(
            f"its longest side is {side:.3g} at coordinates up to {largest:.3g}; accepted: {SIDES[0]:g} to {SIDES[1]:g}"
        )
    vertices = positions.astype(np.float32)
    is_far = largest > meshes.FAR * side and not np.array_equal(vertices, positions)
    if is_far and np.spacing(largest) > ROUNDING_LIMIT * side:
        raise ValueError(
            f"float64 has steps of {np.spacing(largest):.3g} at coordinates up to {largest:.3g}, too coarse for a longest "
            f"side of {side:.3g}: move it to the origin"
        )
    near = (positions - (low + high) / 2).astype(np.float32) if is_far else vertices
    near += np.float32(0)  # -0 becomes 0, so that equal positions have equal bits
    return (positions if is_far else near), near


def _weld(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first vertex of each position, in their order, and for each given vertex which of them it is."""
    order = np.lexsort(vertices.T)
    ordered = vertices[order]
    begins = np.concatenate([[True], np.any(ordered[1:] != ordered[:-1], axis=1)])
    first = order[begins]  # the sort is stable: each group's lowest index
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    same = np.empty(len(vertices), np.int64)
    same[order] = rank[np.cumsum(begins) - 1]
    return np.sort(first), same


def _whole(faces: np.ndarray) -> tuple[np.ndarray, int]:
    """Faces [f] of three different corners that do not repeat an earlier one, and how many do.

    A face on the same corners but wound the other way stays: it may be where two solids touch.
    """
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    turn = (np.argmin(faces, axis=1)[:, None] + np.arange(3)) % 3
    lowest_first = np.take_along_axis(faces, turn, axis=1)
    order = np.lexsort(lowest_first.T)
    repeated = np.zeros(len(faces), bool)
    repeated[order[1:]] = np.all(lowest_first[order[1:]] == lowest_first[order[:-1]], axis=1)
    return whole & ~repeated, int(np.sum(whole & repeated))
