"""Of what kind a shape is: the known shapes that it is most like, by what a run that reads pictures says of its views, and by
the distance of its surface; how long it is for its width."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.spatial
from jaxtyping import Float

from hexjax.evaluation import nearness
from hexjax.geometry import surface
from hexjax.types import Array, Item, Mesh, Scores

SAMPLES = 4096  # of a surface, by which its axes are told


class Gallery(NamedTuple):
    """Known shapes, the features of their views as unit vectors, and points of their surfaces."""

    items: Sequence[Item]
    bank: Float[np.ndarray, "g v c"]
    trees: Sequence[scipy.spatial.KDTree]


def gallery(items: Sequence[Item], features: Float[Array, "g v c"], seed: int) -> Gallery:
    """The gallery of some shapes and the features of their views."""
    return Gallery(items, unit(features), [nearness.tree(item.mesh, seed) for item in items])


def unit(vectors: Float[Array, "*b c"]) -> Float[np.ndarray, "*b c"]:
    """The vectors, of length 1."""
    vectors = np.asarray(vectors)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def alike(query: Float[Array, "k c"], bank: Float[Array, "g v c"]) -> Float[np.ndarray, "g"]:
    """How like each shape is to one of which k views are seen: the cosine with its likest view, mean over the k."""
    return np.einsum("kc,gvc->gkv", unit(query), bank).max(2).mean(1)


def nearest(mesh: Mesh, query: Float[Array, "k c"], known: Gallery, but: str, seed: int) -> dict[str, int]:
    """The places in the gallery of the shape that a mesh is most like, `by_features` and `by_surface`.

    Args:
        query: the features of the mesh's views; but: the name of a shape of the gallery that does not count.
    """
    counted = np.array([item.name != but for item in known.items])
    own, trees = nearness.tree(mesh, seed), [tree for tree, counts in zip(known.trees, counted) if counts]
    return {
        "by_features": int(np.where(counted, alike(query, known.bank), -np.inf).argmax()),
        "by_surface": int(np.flatnonzero(counted)[nearness.nearest(own, trees)]),
    }


def elongation(mesh: Mesh, seed: int) -> float:
    """The deviation of a surface's points along their principal axis over that along the next: 1 or more.

    Raises:
        ValueError: for a mesh without area.
    """
    points = surface.sample(mesh, SAMPLES, np.random.default_rng(seed))[0]
    variance = np.linalg.eigvalsh(np.cov(points.T))
    return float(np.sqrt(variance[2] / max(variance[1], 1e-12)))


def chance(items: Sequence[Item], name: str, category: str) -> float:
    """The share of a category among all shapes but one of the given name."""
    rest = [item.category for item in items if item.name != name]
    return rest.count(category) / len(rest)


def shares(rows: Sequence[Scores]) -> Scores:
    """How often what was asked is most like a shape of its own category, by each measure; of empty meshes: never."""
    return {key: float(np.mean([row[key] == row["category"] for row in rows])) for key in ("by_features", "by_surface")}
