"""Maps of small shapes, and fields of them at points: one program for all shapes and numbers of points."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import thin
from hexjax.geometry import field, hexplane, hulls
from hexjax.types import Hexplane
from tests import shapes

AT_ONCE = 2**14  # points of one program


def render(mesh, resolution=64):
    return hexplane.render(hexplane.pad(mesh, 8192, 16384), resolution)


@functools.cache
def of(name, resolution=64):
    made = dict(
        cube=shapes.cube,
        sphere=lambda: shapes.sphere(0.7, 4),
        torus=shapes.torus,
        soup=lambda: shapes.soup(5),
        plate=lambda: thin.plate("y", 0.01, True),
    )
    return render(made[name](), resolution)


fuse_program, hull_program = jax.jit(field.fuse), jax.jit(hulls.fuse, static_argnums=2)


def soft(maps):
    return maps._replace(mask=jnp.asarray(maps.mask, jnp.float32))


def ask(maps):
    """Their field at points, as polygonising asks it."""
    return functools.partial(fuse_program, soft(maps))


def at_points(program, maps, points, *more):
    padded = np.concatenate([points, np.zeros((-len(points) % AT_ONCE, 3), np.float32)]).reshape(-1, AT_ONCE, 3)
    return np.concatenate([np.asarray(program(soft(maps), part, *more)) for part in padded])[: len(points)]


def fuse(maps, points):
    return at_points(fuse_program, maps, points)


def fuse_silhouettes(maps, points, threshold=0.5):
    return at_points(hull_program, maps, points, threshold)


def random_points(count, seed=0, reach=1.0):
    return np.random.default_rng(seed).uniform(-reach, reach, (count, 3)).astype(np.float32)


def random_maps(side=16):
    """Depths, normals and coverages that belong to no shape."""
    random, shape = np.random.default_rng(0), (6, side, side)
    normal = random.normal(size=(*shape, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    parts = random.uniform(0, 2, shape), normal, random.uniform(size=shape)
    return Hexplane(*(jnp.asarray(part, jnp.float32) for part in parts))


def finite_however_compiled(fuse):
    """Whether a field's gradients are finite: programs compute a value twice and may round it otherwise."""
    gradient = jax.grad(lambda maps, points: fuse(maps, points).sum(), (0, 1))
    compiled = [jax.jit(gradient, compiler_options={"xla_backend_optimization_level": level}) for level in ("0", "3")]
    found = [program(random_maps(), random_points(200)) for program in compiled]
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
