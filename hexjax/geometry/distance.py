"""Stage 8, score: a mesh against a reference, both in the frame [-1, 1]^3, and the part of the reference that was seen.

Every distance is from a sample to the other surface, exactly, never to its samples; world units, unscaled. Host code.
Forward is from the mesh to the reference (precision, accuracy), backward from the reference to the mesh (recall).
"""

import functools
from collections.abc import Callable
from concurrent import futures
from typing import NamedTuple

import numpy as np
import scipy.ndimage
import scipy.spatial
import skimage.feature
import skimage.morphology
from jaxtyping import Bool, Float, Int

from hexjax import cores
from hexjax.geometry import frame, raster, sdf, surface
from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Mesh, Scores

Ask = Callable[[Float[np.ndarray, "p 3"]], Array]  # a field, as `thin` asks it
THRESHOLDS = (0.005, 0.01, 0.02)  # world units
FINEST = 0.005  # the threshold that a grid may be too coarse for
SHELLS = {"s_iou": 0.02, "s_iou_0.05": 0.05}  # world units: how far the points of an S-IoU are moved off the reference
FARTHEST = 2 * 3**0.5  # the cube's diagonal: a failed extraction's distance

VIEWS = 22  # of the sharp normal error: both ends of 11 axes
RENDER_PX = 256
RENDER_HALF_SIDE = 3**0.5  # world units: the cube fits, however it is turned
CANNY = {"sigma": 1.0, "low_threshold": 0.25, "high_threshold": 0.5}  # px; a bend of 25 to 40 degrees starts an edge
EDGE_RADIUS_PX = 2  # dilation
LARGEST_NORMAL_ERROR = 4 / 3  # of opposite unit normals, as a mean over three channels: a failed extraction's


class Asked(NamedTuple):
    """What is asked of a reference, whatever is scored against it: samples of its surface, and points in the cube.

    `inside` is of points uniform in the cube, and after them of as many beside the reference for each of `SHELLS`.
    """

    surface: Float[np.ndarray, "p 3"]
    face: Int[np.ndarray, "p"]
    points: Float[np.ndarray, "3p 3"]
    inside: Bool[np.ndarray, "3p"]


def score(mesh: Mesh, reference: Mesh, samples: int = 100_000, seed: int = 0, spacing: float | None = None) -> Scores:
    """The protocol's scores of a mesh against its reference, both in the frame, as plain numbers, bools and None.

    Args:
        samples: points a side, of each volume score too.
        spacing: side of the grid cells that the mesh was extracted with; scores at 0.005 are None below it.

    A mesh without a surface has F, IoU and normal consistency 0, the distance 2 sqrt(3) both ways, the largest sharp
    normal error and `failed` true. `flipped_normals` is None unless both meshes are consistently wound. An IoU is None
    where neither mesh has an inside (two open sheets), and 0 where one has. `sharp_normal_error` is None where the
    reference shows no edge. The mesh may leave the cube, the reference may not.

    Raises:
        ValueError: for a reference without a surface, or fewer than one sample.
    """
    if samples < 1:
        raise ValueError(f"config.score.samples is {samples}; accepted: at least 1")
    if not _has_surface(reference):
        raise ValueError(f"the reference has {len(reference.faces)} faces and no finite area; a score needs a surface")
    failed = not _has_surface(mesh)
    scores = _failure() if failed else _comparison(_with_area(mesh), _with_area(reference), samples, seed)
    if spacing is not None and spacing > FINEST:
        scores |= {f"{name}_{FINEST}": None for name in ("f_score", "precision", "recall")}
    scores |= meshes.topology(mesh)
    scores |= {f"reference_{name}": value for name, value in meshes.topology(reference).items()}
    return scores | {"failed": failed}


def seen_recall(
    mesh: Mesh,
    reference: Mesh,
    hits: Float[Array, "k 3"],
    threshold: float = 0.01,
    samples: int = 100_000,
    seed: int = 0,
) -> Scores:
    """Recall of the reference's seen surface, at each threshold, and the share of its surface that no view saw.

    Seen is what lies within `threshold` of a hit (world points of the rendered maps). The samples are those of `score`.
    The recall is None where nothing is seen, and 0 for a mesh without a surface.

    Raises:
        ValueError: for a reference without a surface.
    """
    if not _has_surface(reference):
        raise ValueError(f"the reference has {len(reference.faces)} faces and no finite area; a score needs a surface")
    points = surface.sample(_with_area(reference), samples, _random(seed, "reference"))[0]
    seen = np.zeros(samples, bool)
    if len(hits):
        tree = scipy.spatial.KDTree(np.asarray(hits, np.float64))
        seen = np.isfinite(tree.query(points, distance_upper_bound=threshold, workers=cores.allowed())[0])
    found = {f"recall_seen_{limit}": None for limit in THRESHOLDS}
    if seen.any():
        distance = surface.closest(mesh, points[seen])[0] if _has_surface(mesh) else np.full(seen.sum(), FARTHEST)
        found = {f"recall_seen_{limit}": float((distance <= limit).mean()) for limit in THRESHOLDS}
    return found | {"unseen_share": float(1 - seen.mean())}


def field(ask: Ask, reference: Mesh, samples: int = 100_000, seed: int = 0) -> Scores:
    """How far a field is from the signed distance to a reference, at `samples` points, half near it, half in the whole cube.

    `sdf_l1` is the mean difference of both, clamped to 0.1 world units each, `sdf_near_l1` that of the near half;
    `sdf_sign` and `sdf_near_sign` are shares of right signs among the points of sure sign. The near half is within 0.05
    of the surface (the law `uniform` of `sdf.near`); with `normal_` in the name it is of the law `normal`, within some
    thousandths, where a field that is 0 adds a tenth as much. What is not finite is as wrong as can be.

    Args:
        ask: from points [p, 3] in the frame to the field.

    Raises:
        ValueError: for a reference without a surface, or fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"config.score.samples is {samples}; accepted with a field to score: at least 2")
    random, found = _random(seed, "field"), {}
    away = random.uniform(-1, 1, (samples - samples // 2, 3)).astype(np.float32)
    for law, name in (("uniform", "sdf_"), ("normal", "sdf_normal_")):
        points = np.concatenate([sdf.near(reference, samples // 2, law, random).astype(np.float32), away])
        true, doubtful = sdf.signed_distance(reference, points)
        values = np.asarray(ask(points), np.float64)
        is_finite = np.isfinite(values)
        error = np.abs(np.clip(values, -frame.CLAMP, frame.CLAMP) - np.clip(true, -frame.CLAMP, frame.CLAMP))
        error, right = np.where(is_finite, error, 2 * frame.CLAMP), is_finite & ((values < 0) == (true < 0))
        for part, kept in (("", slice(None)), ("near_", slice(samples // 2))):
            sure = ~doubtful[kept]
            found[f"{name}{part}l1"] = float(error[kept].mean())
            found[f"{name}{part}sign"] = float(right[kept][sure].mean()) if sure.any() else None
    return found


def volume(
    reference: Mesh, samples: int = 100_000, seed: int = 0
) -> tuple[Float[np.ndarray, "p 3"], Bool[np.ndarray, "p"]]:
    """The points uniform in the cube at which `score` asks the V-IoU, and which of them the reference encloses.

    Raises:
        ValueError: for a reference without a surface.
    """
    if not _has_surface(reference):
        raise ValueError(f"the reference has {len(reference.faces)} faces and no finite area; a score needs a surface")
    asked = _asked(*_arrays(_with_area(reference)), samples, seed)
    return asked.points[:samples], asked.inside[:samples]


def closest(mesh: Mesh, points: Float[Array, "p 3"]) -> tuple[Float[Array, "p"], Float[Array, "p 3"], Int[Array, "p"]]:
    """Exact distance from points to the mesh's surface, the nearest point on it, and that point's face.

    Raises:
        ValueError: for a mesh without faces.
    """
    distance, point, face = surface.closest(mesh, points)
    return distance.astype(np.float32), point.astype(np.float32), face.astype(np.int32)


def _comparison(mesh: Mesh, reference: Mesh, samples: int, seed: int) -> Scores:
    points, face = surface.sample(mesh, samples, _random(seed, "mesh"))
    asked = _asked(*_arrays(reference), samples, seed)
    normals, reference_normals = _normals(mesh), _normals(reference)

    forward, _, nearest = surface.closest(reference, points)
    cosines = np.sum(normals[face] * reference_normals[nearest], axis=1)
    backward, _, nearest = surface.closest(mesh, asked.surface)
    cosines = np.concatenate([cosines, np.sum(reference_normals[asked.face] * normals[nearest], axis=1)])

    scores = {}
    for limit in THRESHOLDS:
        precision, recall = float((forward <= limit).mean()), float((backward <= limit).mean())
        scores[f"f_score_{limit}"] = 2 * precision * recall / max(precision + recall, 1e-30)
        scores[f"precision_{limit}"], scores[f"recall_{limit}"] = precision, recall
    scores["cd_l1"] = float(forward.mean() + backward.mean())
    scores["cd_l2"] = float((forward**2).mean() + (backward**2).mean())
    scores["normal_consistency"] = float(np.abs(cosines).mean())
    wound = _wound(mesh) and _wound(reference)
    scores["flipped_normals"] = float((cosines < 0).mean()) if wound else None
    scores |= dict(zip(("v_iou", *SHELLS), _volume_overlaps(mesh, asked, seed)))
    scores["sharp_normal_error"] = sharp_normal_error(mesh, reference)
    return scores


def _failure() -> Scores:
    scores = {f"{name}_{limit}": 0.0 for limit in THRESHOLDS for name in ("f_score", "precision", "recall")}
    scores |= {"cd_l1": 2 * FARTHEST, "cd_l2": 2 * FARTHEST**2, "normal_consistency": 0.0, "flipped_normals": None}
    return scores | dict.fromkeys(("v_iou", *SHELLS), 0.0) | {"sharp_normal_error": LARGEST_NORMAL_ERROR}


@functools.lru_cache(maxsize=1)  # a mesh and the ceiling are scored against one reference, one after the other
def _asked(vertices: tuple[bytes, str], faces: tuple[bytes, str], samples: int, seed: int) -> Asked:
    reference = _mesh(vertices, faces)
    points, face = surface.sample(reference, samples, _random(seed, "reference"))
    uniform = _random(seed, "volume").uniform(-1, 1, (samples, 3))
    streams = zip(("shell", "wide shell"), SHELLS.values())
    beside = [points + surface.offsets(samples, reach, _random(seed, stream)) for stream, reach in streams]
    both = np.concatenate([uniform, *beside])
    return Asked(points, face, both, sdf.inside(reference, both)[0])


def _volume_overlaps(mesh: Mesh, asked: Asked, seed: int) -> tuple[float | None, ...]:
    """V-IoU on the points uniform in the cube, and the S-IoU of each of `SHELLS` on those beside the reference.

    What the mesh encloses outside the cube, which holds the reference, is found by as many points in its box.
    """
    count, inside = len(asked.surface), sdf.inside(mesh, asked.points)[0]
    both, either = (
        [int(np.sum(part)) for part in np.split(found, 1 + len(SHELLS))]
        for found in (inside & asked.inside, inside | asked.inside)
    )
    either[0] += _outside(mesh, count, seed)
    return tuple(float(part / whole) if whole else None for part, whole in zip(both, either))


def _outside(mesh: Mesh, count: int, seed: int) -> float | int:
    """The volume that a mesh encloses outside the cube, as a number of points, of which the cube has `count`."""
    used = np.asarray(mesh.vertices, np.float64)[np.unique(mesh.faces)]
    low, high = np.minimum(used.min(0), -1), np.maximum(used.max(0), 1)
    if (high - low <= 2).all():
        return 0
    points = _random(seed, "outside").uniform(low, high, (count, 3))
    points = points[(np.abs(points) > 1).any(1)]
    return int(np.sum(sdf.inside(mesh, points)[0])) * float(np.prod((high - low) / 2))


def sharp_normal_error(mesh: Mesh, reference: Mesh) -> float | None:
    """Mean squared error of normal renders from 22 fixed views, inside the dilated Canny edges of the reference's.

    Over pixels and channels, in [0, 4/3]; normals are turned towards the camera, and 0 where nothing is hit, so that
    outlines are edges too. None where the reference shows no edge.

    Source: after the sharp normal error of Dora-bench (Chen et al. 2024).
    """
    mesh, reference = _with_area(mesh), _with_area(reference)
    expected = _expected(*_arrays(reference), RENDER_PX)
    normals, total, pixels = _normals(mesh), 0.0, 0

    def errors(pair: tuple) -> list[tuple[float, int]]:
        basis, views = pair
        images = zip(_normal_renders(mesh, normals, basis), views)
        return [
            (float(((image[mask] - image_there) ** 2).sum()), len(image_there)) for image, (mask, image_there) in images
        ]

    with futures.ThreadPoolExecutor(cores.allowed()) as pool:
        found = list(pool.map(errors, zip(_bases(), expected)))
    for error, count in (view for views in found for view in views):  # summed in the order of the views: same bits
        total, pixels = total + error, pixels + count
    return total / (3 * pixels) if pixels else None


@functools.lru_cache(maxsize=1)  # as `_asked`
def _expected(vertices: tuple[bytes, str], faces: tuple[bytes, str], side: int) -> list[list[tuple]]:
    """Of a reference's two views along each axis, where its edges are near, and the normals there; `side` is RENDER_PX."""
    del side  # of the images: another one is another call
    mesh = _mesh(vertices, faces)
    normals = _normals(mesh)

    def views(basis: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        images = _normal_renders(mesh, normals, basis)
        return [(mask, image[mask]) for image, mask in zip(images, map(_near_edges, images))]

    with futures.ThreadPoolExecutor(cores.allowed()) as pool:
        return list(pool.map(views, _bases()))


def _arrays(mesh: Mesh) -> list[tuple[bytes, str]]:
    """Vertices and faces as a cache can compare them; `_mesh` has the mesh back."""
    return [(array.tobytes(), array.dtype.str) for array in map(np.asarray, (mesh.vertices, mesh.faces))]


def _mesh(vertices: tuple[bytes, str], faces: tuple[bytes, str]) -> Mesh:
    return Mesh(*(np.frombuffer(*array).reshape(-1, 3) for array in (vertices, faces)))


def _near_edges(image: np.ndarray) -> np.ndarray:
    """The dilated Canny edges of a normal map."""
    edges = [skimage.feature.canny(image[..., channel] / 2 + 0.5, **CANNY) for channel in range(3)]
    return scipy.ndimage.binary_dilation(np.any(edges, axis=0), skimage.morphology.disk(EDGE_RADIUS_PX))


def _bases() -> np.ndarray:
    """Right, up and axis of the 11 pairs of opposite views [11, 3, 3]: axes spread over half a sphere as a spiral."""
    index = np.arange(VIEWS // 2)
    height = (index + 0.5) / len(index)
    angle = 1.7 + index * np.pi * (3 - 5**0.5)  # 1.7: no view looks along a face of the cube
    ring = np.sqrt(1 - height**2)
    axis = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    right = np.cross([0, 0, 1], axis) / ring[:, None]
    return np.stack([right, np.cross(axis, right), axis], axis=1)


def _normal_renders(mesh: Mesh, normals: np.ndarray, basis: np.ndarray) -> list[np.ndarray]:
    """Normal maps [px, px, 3] on one pixel grid, seen against and along the basis's axis; normals face the camera."""
    turned = np.asarray(mesh.vertices, np.float64) @ basis.T
    turned[:, :2] = (turned[:, :2] / RENDER_HALF_SIDE + 1) * (RENDER_PX / 2) - 0.5
    renders = []
    for seen, towards in zip(raster.ends(turned, mesh.faces, RENDER_PX), (1, -1)):
        hit = seen.face >= 0
        normal = normals[seen.face[hit]]
        image = np.zeros((RENDER_PX, RENDER_PX, 3), np.float32)
        image[hit] = np.where((normal @ basis[2] * towards < 0)[:, None], -normal, normal)
        renders.append(image)
    return renders


def _has_surface(mesh: Mesh) -> bool:
    area = meshes.face_areas(mesh).sum()
    return bool(np.isfinite(area) and area > 0)


def _with_area(mesh: Mesh) -> Mesh:
    """The mesh without degenerate faces: they have no samples and no normal."""
    return mesh._replace(faces=np.asarray(mesh.faces)[meshes.face_areas(mesh) > 0])


def _normals(mesh: Mesh) -> np.ndarray:
    vectors = surface.area_vectors(mesh)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _wound(mesh: Mesh) -> bool:
    return not mesh.winding_doubtful and surface.consistently_wound(mesh.faces)


def _random(seed: int, stream: str) -> np.random.Generator:
    return np.random.default_rng(
        [seed, ("mesh", "reference", "volume", "shell", "outside", "field", "wide shell").index(stream)]
    )
