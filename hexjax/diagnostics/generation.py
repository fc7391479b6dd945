"""What latents are: how they lie about, and generated ones beside those learnt from: found again, shrunken, or copied. Pure.

Latents are rows [n, d], flattened and standardised alike. A cosine between raw latents is dominated by what all share; centred
ones are less the mean of the known.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from hexjax.types import Array

TOP = 5
REPEATS = 2000  # of a bootstrap
FOLDS, PENALTIES = 5, (1.0, 10.0, 100.0, 1e3, 1e4)  # of ridge regression


def ranking(
    found: Float[Array, "n d"], known: Float[Array, "m d"], own: Int[Array, "n"], centred: bool
) -> dict[str, float]:
    """How predictions rank among known latents, by cosine, one's own among them.

    `top1` and `top5` are the shares whose own latent is the nearest, or among five; `cosine` is with one's own, and `least`
    the smallest; `margin` is that cosine less the largest with another; `distinct` is the number of different nearest ones
    over that of predictions, and `hub` the share of predictions that have the commonest nearest.

    Args:
        own: the row of `known` that each prediction should be.
    """
    middle = np.mean(known, axis=0, dtype=np.float64) if centred else 0.0
    one, other = (_unit(np.asarray(a, np.float64) - middle) for a in (found, known))
    cosine = one @ other.T
    rows, own = np.arange(len(cosine)), np.asarray(own)
    right, best = cosine[rows, own], cosine.argmax(1)
    others = cosine.copy()
    others[rows, own] = -np.inf
    place = (others > right[:, None]).sum(1)
    counts = np.bincount(best, minlength=len(known))
    return {
        "top1": float((place == 0).mean()),
        "top5": float((place < TOP).mean()),
        "cosine": float(right.mean()),
        "least": float(right.min()),
        "margin": float((right - others.max(1)).mean()),
        "distinct": float((counts > 0).sum() / len(cosine)),
        "hub": float(counts.max() / len(cosine)),
    }


def shrinkage(found: Float[Array, "n d"], truth: Float[Array, "n d"], known: Float[Array, "m d"]) -> dict[str, float]:
    """How much of the true deviation from the mean of the known a prediction has, by least squares, and what else it has.

    `kept` is 1 where all of it is there, 0 for the mean alone; `beside` is the length of what is not along it, over the true
    deviation's.
    """
    middle = np.mean(known, axis=0, dtype=np.float64)
    one, other = np.asarray(found, np.float64) - middle, np.asarray(truth, np.float64) - middle
    squares = np.maximum(np.square(other).sum(1), 1e-30)
    kept = (one * other).sum(1) / squares
    beside = np.linalg.norm(one - kept[:, None] * other, axis=1) / np.sqrt(squares)
    return {"kept": float(np.median(kept)), "beside": float(np.median(beside))}


def nearest(found: Float[Array, "n d"], known: Float[Array, "m d"]) -> Float[np.ndarray, "n"]:
    """The distance of each latent to the nearest known one."""
    one, other = np.asarray(found, np.float64), np.asarray(known, np.float64)
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0).min(1))


def principal(codes: Float[Array, "n d"], count: int) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n"]]:
    """Where latents lie along their first principal components, by the smaller Gram matrix, and the variance along each.

    Variances are divided by n, the largest first; there are n of them, of which at most n - 1 are not 0.
    """
    centred = np.asarray(codes, np.float64)
    centred = centred - centred.mean(0)
    squares, sides = np.linalg.eigh(centred @ centred.T)
    squares, sides = np.maximum(squares[::-1], 0), sides[:, ::-1]
    return sides[:, :count] * np.sqrt(squares[:count]), squares / len(centred)


def spread(codes: Float[Array, "n d"]) -> dict[str, float | int | None]:
    """How n latents lie about: lengths, cosines of pairs, and how many directions they take.

    `cosine` is the mean over pairs of the latents as they are, `cosine_centred` that of the same less their mean, and
    `cosine_expected` is -1 / (n - 1): the mean inner product of the pairs of any centred set over its mean square. So a
    centred mean differs from it only as lengths do, and tells nothing of alignment; `cosine_largest`, of the most alike
    pair, does. `half` and `ninety` are the fewest principal components with so much of the variance, and `participation` is
    the square of the sum of the variances over the sum of their squares. None where all latents are one.

    Raises:
        ValueError: for fewer than two latents.
    """
    rows = np.asarray(codes, np.float64)
    if len(rows) < 2:
        raise ValueError(f"got {len(rows)} latents; accepted: at least 2")
    centred, pairs = rows - rows.mean(0), np.triu_indices(len(rows), 1)
    lengths, variances = np.linalg.norm(rows, axis=1), principal(rows, 0)[1]
    raw, apart = ((unit @ unit.T)[pairs] for unit in map(_unit, (rows, centred)))
    found = {"norm": lengths.mean(), "norm_least": lengths.min(), "norm_largest": lengths.max(), "cosine": raw.mean()}
    found = {name: float(value) for name, value in found.items()} | {"cosine_expected": -1 / (len(rows) - 1)}
    same = not variances.sum() > 1e-24 * np.square(lengths).sum()  # what rounding leaves
    most = np.cumsum(variances) / max(variances.sum(), 1e-300)
    return found | {
        "cosine_centred": None if same else float(apart.mean()),
        "cosine_largest": None if same else float(apart.max()),
        "half": None if same else int(np.searchsorted(most, 0.5)) + 1,
        "ninety": None if same else int(np.searchsorted(most, 0.9)) + 1,
        "participation": None if same else float(variances.sum() ** 2 / np.square(variances).sum()),
    }


def paired(
    one: Float[Array, "n"],
    other: Float[Array, "n"],
    seed: int,
    middle: Callable[..., np.ndarray] = np.median,
) -> tuple[float, float, float]:
    """The middle of the differences of pairs, and the ends of its 95 % interval by bootstrap over pairs."""
    difference = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    draws = np.random.default_rng(seed).integers(0, len(difference), (REPEATS, len(difference)))
    low, high = np.quantile(middle(difference[draws], axis=1), (0.025, 0.975))
    return float(middle(difference)), float(low), float(high)


def is_better(one: Float[Array, "n"], other: Float[Array, "n"], higher_is_better: bool, seed: int) -> bool:
    """Whether `one` is better than `other` on the same shapes, its median difference's interval off 0."""
    _, low, high = paired(one, other, seed)
    return low > 0 if higher_is_better else high < 0


def ridge(
    x: Float[Array, "n e"], y: Float[Array, "n d"], asked: Float[Array, "q e"], weight: float
) -> Float[np.ndarray, "q d"]:
    """What ridge regression of y on x says at `asked`; both are centred, and the penalty is of unit columns of x."""
    x, y, asked = (np.asarray(a, np.float64) for a in (x, y, asked))
    middle, scale, mean = x.mean(0), np.maximum(x.std(0), 1e-6), y.mean(0)
    x, asked = (x - middle) / scale, (asked - middle) / scale
    if x.shape[1] > len(x):  # the smaller of the two systems
        weights = x.T @ np.linalg.solve(x @ x.T + weight * np.eye(len(x)), y - mean)
    else:
        weights = np.linalg.solve(x.T @ x + weight * np.eye(x.shape[1]), x.T @ (y - mean))
    return asked @ weights + mean


def chosen_ridge(
    x: Float[Array, "n e"], y: Float[Array, "n d"], block: int = 1, weights: Sequence[float] = PENALTIES
) -> float:
    """The penalty of least squared error by cross-validation in FOLDS parts.

    Args:
        block: so many rows that follow each other are of one thing, and stay in one part.
    """
    part = np.arange(len(x)) // block % FOLDS

    def error(weight: float) -> float:
        parts = [(part != i, part == i) for i in range(FOLDS)]
        return sum(float(np.square(ridge(x[a], y[a], x[b], weight) - y[b]).sum()) for a, b in parts)

    return min(weights, key=error)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
