"""A human head made in code: an analytic signed distance function, and the mesh of its zero level.

The head is its own source, in centimetres: +y up, the face along +z, the eyes at y = 0. Every part is an ellipsoid, a
tapered capsule or a disc, joined by smooth unions; sockets, pupils, nostrils, mouth and ear hollows are cut away as
smoothly. The parts were placed by eye (ours) after common proportions. NumPy, since it runs once a head.
"""

import igl
import numpy as np
import scipy.sparse
import skimage.measure
from jaxtyping import Float

from hexjax.geometry import mesh as meshes
from hexjax.types import Array, Mesh

# Mean and standard deviation of every parameter, in centimetres unless it says otherwise.
PARAMETERS = {
    "skull_width": (7.5, 0.45),
    "skull_height": (8.6, 0.4),
    "skull_depth": (9.5, 0.5),
    "face_length": (0.0, 0.7),  # added below the eyes
    "jaw_width": (4.4, 0.5),
    "chin": (0.0, 0.5),  # forward
    "chin_width": (1.9, 0.25),
    "brow": (0.75, 0.15),  # radius
    "cheek": (0.0, 0.35),  # outward and forward
    "nose_length": (3.8, 0.35),
    "nose_width": (1.2, 0.18),
    "nose_forward": (0.0, 0.3),
    "nose_bridge": (0.0, 0.3),
    "eye_distance": (3.15, 0.15),
    "eye_radius": (1.4, 0.06),
    "mouth_width": (2.5, 0.3),
    "lips": (0.62, 0.08),
    "ear_height": (3.1, 0.4),
    "ear_angle": (0.45, 0.15),  # radians, away from the skull
    "neck_width": (4.9, 0.45),
    "asymmetry": (0.15, 0.25),  # sideways bend at the chin
}
LOW, HIGH = (-12.5, -17.7, -13.0), (12.5, 14.0, 13.0)  # a box around every head, in centimetres
GRID_STEP = 0.34  # centimetres: fine enough for lids and lips
FACES_BETWEEN = 18000  # after even decimation, which removes the slivers of marching cubes
VERTICES = 5700

Number = int | float
Shape = dict[str, float]  # a value for every name in PARAMETERS


def union(first: Float[Array, "*p"], second: Float[Array, "*p"], width: float) -> Float[Array, "*p"]:
    """The smaller of two distances, blended where they differ by less than `width`.

    Source: Quilez, "Smooth minimum", the quadratic polynomial.
    """
    blend = np.maximum(width - np.abs(first - second), 0.0)
    return np.minimum(first, second) - blend * blend / (4 * width)


def cut(first: Float[Array, "*p"], second: Float[Array, "*p"], width: float) -> Float[Array, "*p"]:
    """Distance to the first solid without the second, blended as in `union`."""
    return -union(-first, second, width)


def ellipsoid(offset: Float[Array, "*p d"], radii: tuple[Number, ...]) -> Float[Array, "*p"]:
    """Distance to an ellipsoid (or ellipse) around 0, to first order at its surface.

    Source: Quilez, "Ellipsoid SDF".
    """
    outer = np.linalg.norm(offset / np.asarray(radii), axis=-1)
    inner = np.linalg.norm(offset / np.square(radii), axis=-1)
    return outer * (outer - 1) / np.maximum(inner, 1e-9)


def capsule(
    points: Float[Array, "*p 3"], ends: tuple[tuple[Number, ...], tuple[Number, ...]], radii: tuple[Number, Number]
) -> Float[Array, "*p"]:
    """Distance to a segment, less a radius that runs linearly from one end to the other."""
    axis = np.subtract(ends[1], ends[0])
    offset = points - np.asarray(ends[0])
    along = np.clip(offset @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(offset - along[..., None] * axis, axis=-1) - radii[0] - along * (radii[1] - radii[0])


def disc(offset: Float[Array, "*p 3"], radii: tuple[float, float], thickness: float) -> Float[Array, "*p"]:
    """Distance to an elliptic disc around 0 in the plane of y and z, thickened all round."""
    return np.hypot(np.maximum(ellipsoid(offset[..., 1:], radii), 0), offset[..., 0]) - thickness


def draw(seed: int) -> Shape:
    """Parameters of one head: the means for seed 0, else normal draws cut at two standard deviations."""
    normal = np.random.default_rng(seed).standard_normal(len(PARAMETERS)).clip(-2, 2) * (seed != 0)
    return {name: mean + spread * float(z) for (name, (mean, spread)), z in zip(PARAMETERS.items(), normal)}


def signed_distance(points: Float[Array, "*p 3"], shape: Shape) -> Float[Array, "*p"]:
    """Signed distance of a head in centimetres, negative inside; to first order, and only near its surface."""
    bend = shape["asymmetry"] * np.square(np.minimum(points[..., 1] - 2, 0) / 12)
    points = points - bend[..., None] * np.array([1.0, 0, 0])
    # Paired parts are written once, for x > 0; the root is |x| made smooth at 0.
    side = np.concatenate([np.sqrt(np.square(points[..., :1]) + 0.01), points[..., 1:]], -1)
    solid = _skull(points, side, shape)
    solid = _neck(solid, points, shape)
    solid = _mouth(solid, points, side, shape)
    solid = _eyes(solid, side, shape)
    solid = union(solid, _nose(points, side, shape), 1.0)
    solid = union(solid, _ear(side, shape), 0.8)
    return cut(solid, points[..., 1] + 17.0, 2.0)


def _at(points: Array, *centre: Number) -> Array:
    return points - np.asarray(centre)


def _skull(points: Array, side: Array, shape: Shape) -> Array:
    drop, chin, cheek = shape["face_length"], shape["chin"], shape["cheek"] / 2
    solid = ellipsoid(_at(points, 0, 2.9, -1), (shape["skull_width"], shape["skull_height"], shape["skull_depth"]))
    solid = union(solid, ellipsoid(_at(points, 0, 4, 2.6), (5.6, 4.8, 5.9)), 3.0)  # forehead
    face = ellipsoid(_at(points, 0, -3.8 - drop / 2, 3), (shape["jaw_width"] + 1.6, 6.7 + drop / 2, 6.1))
    solid = union(solid, face, 2.5)
    jaw = ((shape["jaw_width"], -6 - drop / 2, 0.4), (0.8, -10 - drop, 6.9 + chin))
    solid = union(solid, capsule(side, jaw, (1.4, 1.3)), 3.0)
    solid = union(solid, ellipsoid(_at(points, 0, -10.1 - drop, 7.5 + chin), (shape["chin_width"], 1.5, 1.4)), 1.6)
    return union(solid, ellipsoid(_at(side, 4 + cheek, -2, 5.3 + cheek), (1.7, 1.2, 1.7)), 3.2)


def _neck(solid: Array, points: Array, shape: Shape) -> Array:
    width = shape["neck_width"]
    solid = union(solid, capsule(points, ((0, -4, -1.8), (0, -20, -4.6)), (width, width + 0.5)), 1.8)
    return union(solid, ellipsoid(_at(points, 0, -17, -4.2), (10, 3.6, 6)), 4.0)  # shoulders


def _mouth(solid: Array, points: Array, side: Array, shape: Shape) -> Array:
    height, width, lip = -shape["nose_length"] - 3.4 - shape["face_length"] / 2, shape["mouth_width"], shape["lips"]
    corner = 8.9 - 0.11 * width * width  # forward; follows the curve of the teeth
    solid = union(solid, ellipsoid(_at(points, 0, height + 0.3, 7), (3.5, 3, 2.3)), 1.6)
    upper = ((0.35, height + 0.48, 9.15), (width, height + 0.3, corner))
    lower = ((0, height - 0.62, 8.95), (width, height + 0.2, corner))
    between = ((0, height - 0.03, 10), (width + 0.2, height + 0.3, corner + 0.55))
    solid = union(solid, capsule(side, upper, (lip, 0.35)), 0.4)
    solid = union(solid, capsule(side, lower, (1.2 * lip, 0.35)), 0.25)
    return cut(solid, capsule(side, between, (0.3, 0.3)), 0.4)


def _eyes(solid: Array, side: Array, shape: Shape) -> Array:
    middle, radius, brow = shape["eye_distance"], shape["eye_radius"], shape["brow"]
    solid = union(solid, capsule(side, ((1.4, 2.15, 8.2), (4.6, 1.7, 6.1)), (brow, brow - 0.25)), 1.6)
    solid = cut(solid, ellipsoid(_at(side, middle + 0.1, -0.1, 9), (2.1, 1.35, 1.7)), 1.4)  # socket
    lids = ellipsoid(_at(side, middle, 0, 6.7), (radius + 0.38,) * 3)
    lids = cut(lids, ellipsoid(_at(side, middle, -0.05, 8.4), (1.7, 0.85, 2.2)), 0.35)
    solid = union(solid, lids, 0.8)
    solid = union(solid, ellipsoid(_at(side, middle, 0, 6.65), (radius,) * 3), 0.3)
    return cut(solid, ellipsoid(_at(side, middle - 0.05, 0.05, 6.65 + radius), (0.42, 0.42, 0.35)), 0.3)  # pupil


def _nose(points: Array, side: Array, shape: Shape) -> Array:
    low, wide, forward = -shape["nose_length"], shape["nose_width"], shape["nose_forward"]
    tip = (0, low, 10.3 + forward)
    solid = capsule(points, ((0, 0.6, 7.9 + shape["nose_bridge"]), tip), (0.75, 0.95))
    solid = union(solid, ellipsoid(_at(points, *tip), (1.05, 0.95, 1)), 0.6)
    solid = union(solid, ellipsoid(_at(side, wide, low - 0.4, 9 + 0.6 * forward), (0.8, 0.8, 1.1)), 0.8)
    return cut(solid, ellipsoid(_at(side, 0.65 * wide, low - 1.15, 9.7 + 0.8 * forward), (0.38, 0.5, 0.6)), 0.4)


def _ear(side: Array, shape: Shape) -> Array:
    cosine, sine, height = np.cos(shape["ear_angle"]), np.sin(shape["ear_angle"]), shape["ear_height"]
    x, y, z = np.moveaxis(_at(side, shape["skull_width"] - 0.3, -1, -1.2), -1, 0)
    turned = np.stack([cosine * x + sine * z, y + 0.15 * z, cosine * z - sine * x], -1)
    hollow = disc(_at(turned, 0.9, 0.2, -0.6), (0.6 * height - 0.3, 0.65), 0.5)
    return cut(disc(_at(turned, 0.3, 0, -0.7), (height - 0.45, 1.35), 0.45), hollow, 0.4)


def gradient(points: Float[Array, "*p 3"], shape: Shape) -> Float[Array, "*p 3"]:
    """Central differences of `signed_distance`."""
    step = 1e-3
    ends = [
        signed_distance(points + step * axis, shape) - signed_distance(points - step * axis, shape)
        for axis in np.eye(3)
    ]
    return np.stack(ends, -1) / (2 * step)


def project(points: Float[Array, "n 3"], shape: Shape) -> Float[Array, "n 3"]:
    """Points near the surface moved onto it by three Newton steps of at most 0.05 cm along the gradient."""
    for _ in range(3):
        slope = gradient(points, shape)
        length = signed_distance(points, shape) / np.maximum(np.square(slope).sum(-1), 0.25)
        points = points - np.clip(length, -0.05, 0.05)[:, None] * slope
    return points


def reduce(points: Float[Array, "n 3"], faces: Array, shape: Shape) -> tuple[Float[Array, "m 3"], Array]:
    """A closed mesh of the surface with VERTICES vertices if it has no handles, denser where it is curved."""
    points, faces = igl.decimate(points, faces, FACES_BETWEEN)[:2]
    points = np.asfortranarray(project(points, shape))
    points, faces = igl.qslim(points, np.asfortranarray(faces, np.int32), 2 * VERTICES - 4, True)[:2]
    return points, faces


def unfold(points: Float[Array, "n 3"], faces: Array, shape: Shape) -> Float[Array, "n 3"]:
    """Points moved towards their neighbours, then back to the surface, wherever a face turns away from the gradient."""
    start, end = faces.ravel(), np.roll(faces, -1, 1).ravel()  # closed: each edge runs once in either direction
    neighbours = scipy.sparse.csr_array((np.ones(len(start)), (start, end)), (len(points),) * 2)
    neighbours /= neighbours.sum(1)[:, None]
    for _ in range(3):
        corners = points[faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        slope = gradient(corners.mean(1), shape)
        agreement = (normal * slope).sum(1) / (np.linalg.norm(normal, axis=1) * np.linalg.norm(slope, axis=1) + 1e-12)
        moved = np.unique(faces[agreement < 0.5])
        points = points.copy()
        points[moved] = project((points[moved] + (neighbours @ points)[moved]) / 2, shape)
    return points


def head(seed: int = 0) -> Mesh:
    """A head in centimetres, closed, of one part without handles, with 5700 vertices; the same for the same seed."""
    shape = draw(seed)
    axes = [np.arange(low, high, GRID_STEP) for low, high in zip(LOW, HIGH)]
    values = signed_distance(np.stack(np.meshgrid(*axes, indexing="ij"), -1), shape)
    points, faces, _, _ = skimage.measure.marching_cubes(values, 0.0, spacing=(GRID_STEP,) * 3)
    part = meshes.face_components(Mesh(points, faces))
    used, faces = np.unique(faces[part == np.bincount(part).argmax()], return_inverse=True)  # bubbles are dropped
    points = np.asfortranarray(points[used] + np.asarray(LOW), np.float64)
    points, faces = reduce(points, np.asfortranarray(faces.reshape(-1, 3), np.int32), shape)
    return Mesh(unfold(points, faces, shape).astype(np.float32), np.ascontiguousarray(faces, np.int32))
