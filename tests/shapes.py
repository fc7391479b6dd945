"""Small meshes in the frame that several tests share."""

import numpy as np
import trimesh

from hexjax.types import Mesh


def of(mesh: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32))


def cube(half: float = 0.5) -> Mesh:
    return of(trimesh.creation.box((2 * half,) * 3))


def box(*sides: float) -> Mesh:
    return of(trimesh.creation.box(sides))


def sphere(radius: float = 0.7, subdivisions: int = 3) -> Mesh:
    return of(trimesh.creation.icosphere(subdivisions, radius))


def torus(major: float = 0.6, minor: float = 0.25, sections: int = 32) -> Mesh:
    return of(trimesh.creation.torus(major, minor, major_sections=sections, minor_sections=sections))


def soup(seed: int, count: int = 60, size: float = 0.4) -> Mesh:
    """Random triangles in the cube: no shared edges, both windings, overlaps."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-0.6, 0.6, (count, 1, 3))
    vertices = np.clip(centres + random.normal(0, size, (count, 3, 3)), -0.95, 0.95).reshape(-1, 3)
    return Mesh(vertices.astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))


def turned(mesh: Mesh, matrix: np.ndarray) -> Mesh:
    return mesh._replace(vertices=(np.asarray(mesh.vertices) @ matrix.T).astype(np.float32))


def head(folder, name: str) -> Mesh:
    """A real head in the frame."""
    from hexjax.geometry import mesh as meshes

    loaded = trimesh.load(folder / "heads" / f"{name}.ply", process=False)
    return meshes.normalise(of(loaded))[0]


def shape(folder, name: str) -> Mesh:
    """A real shape in the frame."""
    from hexjax.geometry import mesh as meshes

    with np.load(folder / "shapes" / f"{name}.npz", allow_pickle=False) as file:
        return meshes.normalise(Mesh(file["vertices"], file["faces"]))[0]
