"""What the latent provably tells: margins of a witness q(k | mean) against a teacher's classes t, and bounds on them.

G = H(tbar) - E CE(t, q) <= I(mean; T) for every q, and G <= 0 for every constant mean: so G > 0 certifies, in nats, that the
mean is not constant, and on samples z that the latent carries information. A margin <= 0 says nothing: the fixed simplex
witness scores healthy models below collapsed ones. So judge by a fitted one, and on samples, as the mean's scale is free.
`temperature` is beta_w, which multiplies logits: more is sharper. Rows are independent shapes. Pure; float32 stays float32.

Source: arXiv:2605.18224, rederived, for the simplex witness; Barber and Agakov 2003 for the bound; the rest where it stands.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from hexjax.diagnostics import fitted
from hexjax.types import Array

Scalar = Float[Array, ""] | float

DELTA = 0.05  # probability with which a lower bound may fail
REPEATS = 1000  # of the bootstrap
BATCH = 100  # of its repeats that are held at once


class Certificate(NamedTuple):
    """Margins in nats on held-out shapes, lower bounds on their true values, and the verdict; all scalars.

    `information` is I_T, the largest margin; where `ceiling` is not above the level asked for, no model could be certified.
    `lower` is the empirical Bernstein bound. fixed, anchored: the simplex witness on the mean; not a number where the
    latent has fewer than K - 1 floats. force, force_constant: root mean square of `escape_force` over the shapes, at their
    means and at the constant mean of which the simplex witness says tbar.
    """

    information: Float[Array, ""]
    ceiling: Float[Array, ""]
    mean_margin: Float[Array, ""]
    mean_lower: Float[Array, ""]
    mean_hoeffding: Float[Array, ""]
    mean_bootstrap: Float[Array, ""]
    sample_margin: Float[Array, ""]
    sample_lower: Float[Array, ""]
    sample_hoeffding: Float[Array, ""]
    sample_bootstrap: Float[Array, ""]
    fixed_margin: Float[Array, ""]
    anchored_margin: Float[Array, ""]
    force: Float[Array, ""]
    force_constant: Float[Array, ""]
    certified: Bool[Array, ""]


def simplex(classes: int) -> Float[np.ndarray, "j k"]:
    """The vertices of the regular simplex around 0 as K unit columns of K - 1 coordinates; S S^T = K / (K - 1) I.

    Raises:
        ValueError: for fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"config.witness.classes is {classes}; accepted for a witness: at least 2")
    return np.sqrt(classes / (classes - 1)) * scipy.linalg.helmert(classes)


def _multiply(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def entropy(t: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """The entropy of each distribution, in nats."""
    return jax.scipy.special.entr(t).sum(-1)


def information(t: Float[Array, "n k"]) -> Float[Array, ""]:
    """I_T = E KL(t || tbar): what the teacher's class tells of the shape, in nats, and the largest margin there is."""
    return entropy(t.mean(0)) - entropy(t).mean()


def cross_entropy(t: Float[Array, "n k"], log_q: Float[Array, "n k"]) -> Float[Array, "n"]:
    """-<t, log q> of each shape."""
    return -(t * log_q).sum(-1)


def values(t: Float[Array, "n k"], log_q: Float[Array, "n k"], tbar: Float[Array, "k"]) -> Float[Array, "n"]:
    """Each shape's share v = <t, log q - log tbar> of the margin: of mean G at the true tbar, at least G_n at any other."""
    return (t * (log_q - jnp.log(tbar)[None])).sum(-1)


def margin(t: Float[Array, "n k"], log_q: Float[Array, "n k"]) -> Float[Array, ""]:
    """G_n = H(tbar_n) - mean CE, with the shapes' own mean tbar_n: biased down, never up."""
    return entropy(t.mean(0)) - cross_entropy(t, log_q).mean()


# The fixed simplex witness.


def witness_log_q(
    mean: Float[Array, "n *d"], classes: int, temperature: Scalar, log_prior: Float[Array, "k"] | None = None
) -> Float[Array, "n k"]:
    """log q of the simplex witness on the first K - 1 floats of each mean; with log tbar as the prior, a mean of 0 gives tbar.

    Raises:
        ValueError: where the latent has fewer than K - 1 floats.
    """
    flat = mean.reshape(len(mean), -1)
    if flat.shape[1] < classes - 1:
        raise ValueError(
            f"config.witness.classes is {classes}, but the latent has {flat.shape[1]} floats; "
            f"accepted: at least {classes - 1} floats (config.latent.channels), one fewer than classes"
        )
    vertices = jnp.asarray(simplex(classes), flat.dtype)
    logits = temperature * _multiply(flat[:, : classes - 1], vertices)
    return jax.nn.log_softmax(logits if log_prior is None else logits + log_prior[None])


def alignment(
    mean: Float[Array, "b *d"],
    t: Float[Array, "b k"],
    temperature: Scalar,
    log_prior: Float[Array, "k"] | None = None,
) -> Float[Array, ""]:
    """The training loss E KL(t || q) of the simplex witness, in nats; convex in the mean.

    Raises:
        ValueError: as `witness_log_q`.
    """
    log_q = witness_log_q(mean, t.shape[1], temperature, log_prior)
    return (cross_entropy(t, log_q) - entropy(t)).mean()


def closed_form_code(
    t: Float[Array, "n k"], temperature: Scalar, log_prior: Float[Array, "k"] | None = None
) -> Float[Array, "n j"]:
    """The K - 1 floats at which the simplex witness says exactly t: what a prefit regresses to. Needs t > 0."""
    log_t = jnp.log(t) if log_prior is None else jnp.log(t) - log_prior[None]
    classes = t.shape[1]
    vertices = jnp.asarray(simplex(classes), t.dtype)
    return (classes - 1) / classes / temperature * _multiply(log_t, vertices.T)


def escape_force(t: Float[Array, "n k"], q: Float[Array, "n k"], temperature: Scalar) -> Float[Array, "n j"]:
    """Minus the gradient of each shape's KL(t || q) by its K - 1 floats, for the simplex witness: where alignment pulls it.

    At a constant mean it is 0 only for a shape whose classes are the constant's, so that no constant mean is a stationary
    point of alignment alone.
    """
    return temperature * _multiply(t - q, jnp.asarray(simplex(t.shape[1]), t.dtype).T)


# Bounds from n independent shapes, for a teacher, a witness and a model that were fixed without them.


def value_range(classes: int, floor: Scalar, smoothing: Scalar) -> Float[Array, ""]:
    """R: how far the `values` of floored classes and smoothed witnesses can lie apart; infinite without either."""
    return jnp.log(1 / jnp.asarray(floor)) + jnp.log(classes / jnp.asarray(smoothing))


def hoeffding_lower(
    t: Float[Array, "n k"], log_q: Float[Array, "n k"], floor: Scalar, smoothing: Scalar, delta: Scalar = DELTA
) -> Float[Array, ""]:
    """A number that the true margin falls below with probability delta at most. Rigorous.

    Source: Hoeffding 1963, theorem 2, on `values` at the true tbar.
    """
    reach = value_range(t.shape[1], floor, smoothing)
    return margin(t, log_q) - reach * jnp.sqrt(jnp.log(1 / delta) / (2 * len(t)))


def bernstein_lower(
    t: Float[Array, "n k"], log_q: Float[Array, "n k"], floor: Scalar, smoothing: Scalar, delta: Scalar = DELTA
) -> Float[Array, ""]:
    """As `hoeffding_lower`, tighter where values vary little; their variance is taken at tbar_n instead of the true tbar.

    Source: Maurer and Pontil 2009, theorem 4; the plug-in of tbar_n is ours, checked by simulation and not proved.
    """
    each = values(t, log_q, t.mean(0))
    variance = ((each - each.mean()) ** 2).sum() / max(len(t) - 1, 1)
    doubt = jnp.sqrt(2 * variance * jnp.log(2 / delta) / len(t))
    return each.mean() - doubt - _surcharge(t, floor, smoothing, delta)


def ceiling(
    t: Float[Array, "n k"], floor: Scalar, smoothing: Scalar = fitted.SMOOTHING, delta: Scalar = DELTA
) -> Float[Array, ""]:
    """The largest `bernstein_lower` that any model of these shapes could have."""
    return information(t) - _surcharge(t, floor, smoothing, delta)


def _surcharge(t: Array, floor: Scalar, smoothing: Scalar, delta: Scalar) -> Array:
    """The part of the empirical Bernstein bound that no model escapes."""
    if len(t) < 2:
        return jnp.asarray(jnp.inf, t.dtype)
    return 7 * value_range(t.shape[1], floor, smoothing) * jnp.log(2 / delta) / (3 * (len(t) - 1))


def bootstrap_lower(
    t: Float[Array, "n k"], log_q: Float[Array, "n k"], key: Array, delta: Scalar = DELTA, repeats: int = REPEATS
) -> Float[Array, ""]:
    """The delta quantile of the margin over resampled shapes: much tighter, right only for many shapes.

    Source: Efron 1979, percentile interval.
    """
    t, cross = jnp.asarray(t), jnp.asarray(cross_entropy(t, log_q))
    resampled = lambda index: entropy(t[index].mean(0)) - cross[index].mean()
    indices = jax.random.randint(key, (repeats, len(t)), 0, len(t))
    return jnp.quantile(jax.lax.map(resampled, indices, batch_size=BATCH), delta)


@functools.partial(jax.jit, static_argnames=("cap", "repeats"))
def certificate(
    mean: Float[Array, "n *d"],
    sample: Float[Array, "n *d"],
    t: Float[Array, "n k"],
    held_mean: Float[Array, "m *d"],
    held_sample: Float[Array, "m *d"],
    held_t: Float[Array, "m k"],
    temperature: Scalar,
    floor: Scalar,
    level: Scalar = 0.0,
    key: Array | None = None,
    smoothing: Scalar = fitted.SMOOTHING,
    delta: Scalar = DELTA,
    cap: int = fitted.CAP,
    repeats: int = REPEATS,
) -> Certificate:
    """Margins of witnesses that are fitted on training shapes and scored on held-out ones; vmaps over runs.

    Of each shape: the posterior's mean, one sample of it, and the teacher's classes. `temperature` is that of the simplex
    witness, `floor` the teacher's, `key` draws the bootstrap (None: always the same draw). certified: the samples' margin has
    a lower bound above `level` nats. Latents that are not finite certify nothing.
    """
    key = jax.random.key(0) if key is None else key

    def scored(witness: fitted.Witness, features: Array) -> tuple[Array, ...]:
        log_q = fitted.apply_witness(witness, features, smoothing)
        bounds = (bound(held_t, log_q, floor, smoothing, delta) for bound in (bernstein_lower, hoeffding_lower))
        return margin(held_t, log_q), *bounds, bootstrap_lower(held_t, log_q, key, delta, repeats)

    for_mean = scored(fitted.fit_witness(mean, t, cap=cap), held_mean)
    for_sample = scored(fitted.fit_witness(sample, t, guide=mean, cap=cap), held_sample)
    most = ceiling(held_t, floor, smoothing, delta)
    by_simplex = _by_simplex(held_mean, held_t, temperature, jnp.log(t.mean(0)))
    return Certificate(information(held_t), most, *for_mean, *for_sample, *by_simplex, for_sample[1] > level)


def _by_simplex(mean: Array, t: Array, temperature: Scalar, log_prior: Array) -> tuple[Array, ...]:
    """Margins of the simplex witness, without and with a prior, and its force at the means and at the constant one."""
    norm = lambda q: jnp.sqrt(jnp.square(escape_force(t, q, temperature)).sum(1).mean())
    constant = norm(jnp.broadcast_to(t.mean(0)[None], t.shape))
    if np.prod(mean.shape[1:]) < t.shape[1] - 1:
        return (*(jnp.asarray(jnp.nan, t.dtype),) * 3, constant)
    fixed, anchored = (witness_log_q(mean, t.shape[1], temperature, prior) for prior in (None, log_prior))
    return margin(t, fixed), margin(t, anchored), norm(jnp.exp(fixed)), constant
