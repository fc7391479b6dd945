"""What held-out shapes score without any learned model: what a model has to beat, once for all families.

`mean_shape` is the surface of the mean signed distance of the training shapes on a grid, the same for every shape. `nearest`
is the training shape nearest to the held-out one, whose shape an oracle tells. `pca` is the held-out shape's signed
distance projected onto as many principal components of the training shapes' as a latent has floats, where there are so
many. Meshes in the frame; host code. Distances are clamped, and kept on disk with the fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hexjax import pipeline, progress
from hexjax.data import cache
from hexjax.evaluation import nearness, rows
from hexjax.geometry import mesh as meshes
from hexjax.geometry import sdf
from hexjax.types import Item, Mesh, Scores

NODES = 64  # a side of the grid
# World units. PCA of heads: F@0.02 is 0.005 above that without a clamp, F@0.01 0.009 below, in a third of the time.
CLAMP = 0.1
MOST = 1024  # training shapes of the mean and of the components, spread evenly over all
RANK = 1e-8  # of the largest variance: components below it are rounding
PART = 2**14  # nodes that are multiplied at once in float64
F_SCORE = "f_score_0.02"  # by which a model is compared with the oracle
LABELS = {"mean_shape": "mean shape", "nearest": "nearest training shape, told by an oracle", "pca": "PCA"}


def scores(
    train: Sequence[Item], held: Sequence[Item], config: Any, floats: int, nodes: int = NODES, clamp: float = CLAMP
) -> Scores:
    """Of each baseline the rows of the held-out shapes by name, their mean and median, and how many failed.

    A row holds what an evaluation tells of a mesh; `nearest` has the training shape's name in it. `pca` tells the
    `components`; it and `mean_shape` tell how many training `shapes` they are made of.

    Args:
        floats: how many a model's latent of one shape has.

    Raises:
        ValueError: for no shapes on a side, or a shape of points.
    """
    check(train, held)
    some = [item.mesh for item in train[:: -(-len(train) // MOST)]]
    known, asked = (fields(meshes, nodes, clamp) for meshes in (some, [item.mesh for item in held]))
    weights, components = project(known, asked, floats)
    best = nearest(train, held, config.seed)
    mean, report = _surface(known.mean(0, dtype=np.float64), nodes, config)
    found = {name: {} for name in LABELS}
    with progress.Line(len(held), "shapes scored by baselines") as line:
        for number, item in enumerate(held):
            found["mean_shape"][item.name] = _row(mean, report, item, config)
            found["nearest"][item.name] = {"nearest": best[number].name} | _row(best[number].mesh, {}, item, config)
            given = _surface(weights[number].astype(np.float32) @ known, nodes, config)
            found["pca"][item.name] = _row(*given, item, config)
            line.update(number + 1)
    told = {"mean_shape": {"shapes": len(some)}, "nearest": {}, "pca": {"shapes": len(some), "components": components}}
    return {name: _summary(each) | told[name] for name, each in found.items()}


def check(train: Sequence[Item], held: Sequence[Item]) -> None:
    """Nothing; there are shapes on both sides, all with faces.

    Raises:
        ValueError: in one line, for none on a side, or a shape of points.
    """
    for items, side in ((train, "training"), (held, "held-out")):
        if not items:
            raise ValueError(f"there are no {side} shapes; baselines need at least one (config.data.split)")
        for item in items:
            meshes.refuse_points(item.name, item.mesh, "baselines")


def nearest(train: Sequence[Item], held: Sequence[Item], seed: int) -> list[Item]:
    """For each held-out shape the training shape nearest to it, by `nearness`."""
    trees = [nearness.tree(item.mesh, seed) for item in train]
    return [train[nearness.nearest(nearness.tree(item.mesh, seed), trees)] for item in held]


def fields(meshes: Sequence[Mesh], nodes: int, clamp: float) -> Float[np.ndarray, "s m"]:
    """The clamped signed distances of meshes on the cube's nodes^3 nodes, x first; each mesh's is kept on disk."""
    found = np.empty((len(meshes), nodes**3), np.float32)
    with progress.Line(len(meshes), "signed distances for baselines") as line:
        for number, mesh in enumerate(meshes):
            make = lambda mesh=mesh: {"distance": distance(mesh, nodes, clamp)}
            kept = cache.kept(cache.digest(mesh), {"baseline": nodes, "clamp": clamp}, make, packed=True)
            found[number] = kept["distance"].ravel()
            line.update(number + 1)
    return found


def distance(mesh: Mesh, nodes: int, clamp: float) -> Float[np.ndarray, "n n n"]:
    """Signed distance to a mesh on the cube's nodes, clamped to plus and minus `clamp` world units."""
    return np.clip(sdf.grid(mesh, nodes), -clamp, clamp)


def project(
    known: Float[np.ndarray, "s m"], asked: Float[np.ndarray, "h m"], floats: int
) -> tuple[Float[np.ndarray, "h s"], int]:
    """Weights of the known fields whose sums are the asked ones' projections, and the number of components.

    Those are the principal components about the known fields' mean: min(floats, s - 1) of them, or fewer where the known
    fields vary in fewer directions. Weights of a row add up to 1; with no component they are those of the mean.
    """
    count = len(known)
    inner, outer = _products(known, known), _products(known, asked)
    centre = np.eye(count) - 1 / count
    variances, directions = np.linalg.eigh(centre @ inner @ centre)
    used = np.arange(count) >= count - min(floats, count - 1)
    used &= variances > max(RANK * variances[-1], np.finfo(np.float64).tiny)
    variances, directions = variances[used], directions[:, used]
    shares = directions.T @ (outer - inner.mean(1, keepdims=True)) / variances[:, None]
    return (1 / count + directions @ shares).T, int(used.sum())


def beats(model: Sequence[Scores], found: Mapping[str, Scores]) -> tuple[bool, str]:
    """Whether a model's mean F-score at 0.02 is above the oracle's on the same shapes, and the line that tells it.

    Args:
        model: the model's rows of the held-out shapes, each with its `name`.
        found: what `scores` gave for them.

    Raises:
        ValueError: where the rows are of other shapes than the baselines'.
    """
    there, asked = sorted(found["nearest"]["rows"]), sorted(row["name"] for row in model)
    if there != asked:
        raise ValueError(f"the model's {len(asked)} rows and the baselines' {len(there)} are not of the same shapes")
    means = {name: each["mean"][F_SCORE] for name, each in found.items()}
    mean = float(np.mean([row[F_SCORE] for row in model]))
    is_above = mean > means["nearest"]
    verdict = "beats" if is_above else "does not beat"
    others = f"mean shape {means['mean_shape']:.4f}, PCA of {found['pca']['components']} components {means['pca']:.4f}"
    told = f"the model {verdict} the {LABELS['nearest']}: F@0.02 {mean:.4f} against {means['nearest']:.4f}"
    return is_above, f"{told} on {len(asked)} held-out shapes; {others}"


def _products(one: Float[np.ndarray, "s m"], other: Float[np.ndarray, "h m"]) -> Float[np.ndarray, "s h"]:
    """Inner products of rows, in float64."""
    total = np.zeros((len(one), len(other)))
    for start in range(0, one.shape[1], PART):
        part = slice(start, start + PART)
        total += one[:, part].astype(np.float64) @ other[:, part].astype(np.float64).T
    return total


def _surface(values: Float[np.ndarray, "m"], nodes: int, config: Any) -> tuple[Mesh, Scores]:
    return pipeline.polygonise(values.astype(np.float32).reshape((nodes,) * 3), config)


def _row(mesh: Mesh, report: Scores, item: Item, config: Any) -> Scores:
    return pipeline.score(mesh, item.mesh, config) | {"dropped_parts": report.get("dropped_parts", 0)}


def _summary(found: Mapping[str, Scores]) -> Scores:
    each = list(found.values())
    means = {"mean": rows.summary(each, np.mean), "median": rows.summary(each, np.median)}
    return rows.plain({"rows": dict(found), "failed": sum(row["failed"] for row in each)} | means)
