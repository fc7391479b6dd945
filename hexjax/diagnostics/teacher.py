"""A frozen teacher: PCA, then a Gaussian mixture, gives each shape soft classes t(x) that no model had a hand in.

Fitted once on the host from the training inputs; a plain pytree of float32 arrays from then on. The floor keeps every class
possible, t <- (1 - K floor) t + floor; a temperature above 1 softens. Classes, temperature and floor are chosen without the
held-out shapes, or the bounds of `diagnostics.witness` do not hold.

Source: the mixture teacher of arXiv:2605.18224, rederived; floor, common scale and regularisation are ours.
"""

import io
import pathlib
import sys
import zipfile
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hexjax.types import Array

REGULARISATION = 1e-2  # added to each covariance, in units of the mean variance of the kept components
RESTARTS = 4  # of the mixture; the likeliest is kept
MOST_ITERATIONS = 1000
FILE = "checkpoints/teacher.npz"  # in a run's folder
DAMAGE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Teacher(NamedTuple):
    """Arrays of r principal components and K classes; the factors f of the precisions are such that f f^T is a precision."""

    centre: Float[Array, "p"]
    components: Float[Array, "r p"]
    log_weights: Float[Array, "k"]
    means: Float[Array, "k r"]
    precision_factors: Float[Array, "k r r"]
    temperature: Float[Array, ""]
    floor: Float[Array, ""]


def fit_teacher(
    x: Float[np.ndarray, "n *p"], classes: int, components: int, temperature: float, floor: float, seed: int
) -> Teacher:
    """The teacher of training inputs x, the same for the same seed.

    Raises:
        ValueError: for fewer than two classes, a temperature not above 0, a floor outside [0, 1 / classes), fewer distinct
            shapes than classes, or more components than the shapes span.
    """
    from sklearn import decomposition, mixture  # where it is needed only: a run without a teacher does not load it

    x = np.asarray(x, np.float64).reshape(len(x), -1)
    _check(x, classes, components, temperature, floor)
    pca = decomposition.PCA(components, random_state=seed).fit(x)
    axes = pca.components_ / np.sqrt(pca.explained_variance_.mean())  # one scale for all, so that the shape is kept
    gaussians = mixture.GaussianMixture(
        classes, reg_covar=REGULARISATION, n_init=RESTARTS, max_iter=MOST_ITERATIONS, random_state=seed
    ).fit((x - pca.mean_) @ axes.T)
    weights, factors = np.log(gaussians.weights_), gaussians.precisions_cholesky_
    fields = pca.mean_, axes, weights, gaussians.means_, factors, temperature, floor
    return Teacher(*(np.asarray(field, np.float32) for field in fields))


def _check(x: np.ndarray, classes: int, components: int, temperature: float, floor: float) -> None:
    if classes < 2:
        raise ValueError(f"config.witness.classes is {classes}; accepted for a teacher: at least 2")
    if not temperature > 0:
        raise ValueError(f"config.witness.teacher_temperature is {temperature}; accepted: above 0")
    if not 0 <= floor < 1 / classes:
        accepted = f"at least 0, below 1 / witness.classes = {1 / classes:.6g}"
        raise ValueError(f"config.witness.floor is {floor}; accepted: {accepted}")
    distinct = len({row.tobytes() for row in x})
    if distinct < classes:
        raise ValueError(
            f"config.witness.classes is {classes}, but there are {distinct} distinct shapes to fit a teacher on; "
            "accepted: at most as many classes as shapes (of a single shape, nothing can be certified)"
        )
    most = min(len(x) - 1, x.shape[1])
    if not 1 <= components <= most:
        accepted = f"1 to {most}, with {len(x)} shapes of {x.shape[1]} numbers"
        raise ValueError(f"config.witness.components is {components}; accepted: {accepted}")


def posterior(teacher: Teacher, x: Float[Array, "n *p"]) -> Float[Array, "n k"]:
    """The teacher's class probabilities of inputs x: softmax of the log joint densities over its temperature, floored."""
    exact = jax.lax.Precision.HIGHEST
    centred = x.reshape(len(x), -1) - teacher.centre[None]
    scores = jnp.matmul(centred, teacher.components.T, precision=exact)
    offsets = scores[:, None] - teacher.means[None]
    whitened = jnp.einsum("nkr,krs->nks", offsets, teacher.precision_factors, precision=exact)
    log_determinant = jnp.log(jnp.diagonal(teacher.precision_factors, axis1=1, axis2=2)).sum(-1)
    log_joint = (teacher.log_weights + log_determinant)[None] - (whitened**2).sum(-1) / 2
    t = jax.nn.softmax(log_joint / teacher.temperature)
    return (1 - t.shape[1] * teacher.floor) * t + teacher.floor


def to_bytes(teacher: Teacher) -> bytes:
    """The teacher as an NPZ file of named arrays, each with its checksum, without pickle."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(field) for name, field in teacher._asdict().items()})
    return buffer.getvalue()


def from_arrays(arrays: dict[str, np.ndarray]) -> Teacher:
    """The teacher of stored arrays.

    Raises:
        ValueError: where the names are not a teacher's.
    """
    if set(arrays) != set(Teacher._fields):
        raise ValueError(f"the arrays are {', '.join(sorted(arrays))}; a teacher's: {', '.join(Teacher._fields)}")
    return Teacher(**{name: np.asarray(arrays[name]) for name in Teacher._fields})


def read(folder: pathlib.Path) -> Teacher | None:
    """The teacher that lies in a run's folder, or None; also where it is damaged, by its checksums, which is told."""
    if not (folder / FILE).is_file():
        return None
    try:
        with np.load(io.BytesIO((folder / FILE).read_bytes()), allow_pickle=False) as arrays:
            return from_arrays(dict(arrays))
    except DAMAGE as error:
        print(f"{folder.name}/{FILE} is damaged ({type(error).__name__}): it is not used", file=sys.stderr)
        return None
