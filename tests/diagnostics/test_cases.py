"""The verdict on latents that were built to be one thing: nothing is trained, so that what each is needs no measuring.

Shapes come in random order, as a swap takes the next one's latent. The witness is fitted on every second shape.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.diagnostics import collapse, diagnosis, measure
from hexjax.models.family import Probe
from hexjax.models.parts import losses, posteriors
from hexjax.types import Latent

pytestmark = pytest.mark.usefixtures("quick_programs")

SHAPES, SIDE, FLOATS, KINDS, FLOOR = 1024, 8, 8, 2, 0.01
KEY = jax.random.key(0)
KNOBS = {"reconstruction.sigma_floor": jnp.float32(0.01)}
SURE = 6.0  # logits of a decoder that is sure of a pixel
RANDOM = np.random.default_rng(0)
LARGE = RANDOM.permutation(np.arange(SHAPES) % KINDS == 1)


def discs(radius: Any, offset: Any) -> Any:
    """Discs [n, 1, 1, h, w] of a radius, moved from the middle by an offset, in pixels."""
    row, column = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    away = np.square(row - offset[:, 0, None, None]) + np.square(column - offset[:, 1, None, None])
    return jnp.asarray(away[:, None, None] < np.square(radius)[:, None, None, None, None], jnp.float32)


RADIUS = np.where(LARGE, 2.8, 1.6) + RANDOM.uniform(-0.2, 0.2, SHAPES)
OFFSET = RANDOM.uniform(-2, 2, (SHAPES, 2))
VARIED = discs(RADIUS, OFFSET)
CLUSTERS = discs(np.where(LARGE, 3.2, 1.6), np.zeros((SHAPES, 2)))
NOISE = jnp.asarray(RANDOM.normal(size=(SHAPES, 1, FLOATS)), jnp.float32)  # no function of the shape
MEANS = jnp.stack([VARIED[~LARGE].mean(0), VARIED[LARGE].mean(0)]).reshape(KINDS, -1)


class Case(NamedTuple):
    """A latent of given means and log-variance, and a decoder of it to logits; distinct: of the shapes."""

    mean: Any
    log_variance: float
    decode: Any
    x: Any = VARIED
    pays_rate: bool = True
    distinct: int = SHAPES


def blind(x: Any) -> Any:
    """The decoder that gives the constant predictor, whatever the latent."""
    chance = jnp.clip(x.mean(0), 1e-4, 1 - 1e-4)
    logits = jnp.log(chance / (1 - chance))
    return lambda code: jnp.broadcast_to(logits[None], (len(code), *logits.shape))


def copied(scale: float = 1.0) -> Any:
    """The decoder of a code that is the picture itself, in {-1, 1} times a scale."""
    return lambda code: jnp.clip(SURE * code / scale, -SURE, SURE).reshape(-1, 1, 1, SIDE, SIDE)


def of_kinds(code: Any) -> Any:
    """The mean picture of the kind that the sign of the first float says."""
    chance = jnp.clip(jnp.where(code[:, 0, :1] > 0, MEANS[1][None], MEANS[0][None]), 0.01, 0.99)
    return jnp.log(chance / (1 - chance)).reshape(-1, 1, 1, SIDE, SIDE)


def exactly(code: Any) -> Any:
    """One of the two discs, by the sign of the first float."""
    discs = jnp.stack([CLUSTERS[~LARGE][0], CLUSTERS[LARGE][0]])
    return SURE * (2 * discs[(code[:, 0, 0] > 0).astype(int)] - 1)


def painted(code: Any) -> Any:
    """Pictures whose pixels the code moves at random."""
    mixing = jnp.asarray(np.random.default_rng(1).normal(size=(FLOATS, SIDE**2)), jnp.float32)
    return (code[:, 0] @ mixing).reshape(-1, 1, 1, SIDE, SIDE)


def drawn(code: Any) -> Any:
    """Discs of the radius and offset that the code says, with soft outlines."""
    row, column = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    offset, radius = code[:, 0, :2], 2.2 + 0.7 * code[:, 0, 2]
    away = jnp.hypot(row[None] - offset[:, :1, None], column[None] - offset[:, 1:, None])
    return jnp.clip(SURE * (radius[:, None, None] - away), -SURE, SURE)[:, None, None]


def constant_mean(value: float) -> Any:
    return jnp.full((SHAPES, 1, FLOATS), value)


def picture(scale: float = 1.0) -> Any:
    return scale * (2 * VARIED - 1).reshape(SHAPES, 1, -1)


def numbers() -> Any:
    """What a disc was made of: two offsets and a radius, each of a variance near 1."""
    return jnp.asarray(np.column_stack([OFFSET, (RADIUS - 2.2) / 0.7])[:, None], jnp.float32)


def bit(size: float = 3.0) -> Any:
    return jnp.asarray(np.where(LARGE, size, -size)[:, None, None], jnp.float32)


def judged(case: Case) -> tuple[Any, dict[str, float]]:
    """The verdict on a case, by the program alone; and what it was given."""

    def encode(params, batch, key, knobs):
        if not case.pays_rate:
            return Latent(case.mean, dict(mean=case.mean))
        spread = jnp.full_like(case.mean, case.log_variance)
        return posteriors.gaussian(jnp.concatenate([case.mean, spread], -1), key, np.inf)

    def rate(params, latent, knobs):
        return posteriors.gaussian_kl(latent, 1.0)[:, 0] if case.pays_rate else jnp.zeros((SHAPES, 1))

    probe = Probe(
        observe=lambda batch: batch["x"],
        predict=lambda params, latent: case.decode(latent.code),
        **losses.probe("bernoulli"),
        coverage=lambda x: x[:, :, 0],
        rate=rate,
        pays_rate=case.pays_rate,
        codes=0,
    )
    take = lambda x: measure.measure(encode, probe, {}, {"x": x}, KEY, KNOBS, measure.constant(probe, x))
    found = jax.jit(take)(case.x)
    teacher = jnp.where(LARGE[:, None] == jnp.arange(KINDS)[None], 1 - FLOOR, FLOOR)
    bounds = diagnosis.certificate(found.mean, found.sample, teacher, 1.0, FLOOR)
    assert bounds.ceiling > 0.4  # of log 2, nats: a latent could be certified
    lower, margin = float(collapse.bootstrap_lower(found.swaps, KEY)), float(bounds.sample_lower)
    return measure.judge(found.scalars, case.distinct, case.pays_rate, lower, margin)


IGNORED, UNREAD, FEW = "decoder ignores the latent", "no witness reads the latent", "few kinds told apart"
WASTED, ABOVE = "wasted rate", "rate above gain"

CASES = {
    # A constant mean: all samples vary, by as much as the posterior's variance, and none tells anything.
    "constant mean, variance of the prior": (Case(constant_mean(0.0), 0.0, blind(VARIED)), "COLLAPSED", ()),
    "constant mean, high variance": (Case(constant_mean(0.0), 4.0, blind(VARIED)), "COLLAPSED", (WASTED,)),
    "constant mean, high variance, painted": (Case(constant_mean(0.0), 4.0, painted), "COLLAPSED", (WASTED,)),
    "constant mean, low variance": (Case(constant_mean(0.0), -6.0, blind(VARIED)), "COLLAPSED", (WASTED,)),
    "constant mean far from the prior's": (Case(constant_mean(9.0), 0.0, blind(VARIED)), "COLLAPSED", (WASTED,)),
    # Means that vary and tell nothing: units are active, so it is no collapse, and the rate decides.
    "noise": (Case(NOISE, -4.0, blind(VARIED)), "EXPLODED", (ABOVE, IGNORED, UNREAD)),
    "noise at a low rate": (Case(0.5 * NOISE, -0.2, blind(VARIED)), "WEAK", (IGNORED, UNREAD, FEW)),
    "noise, painted": (Case(NOISE, -4.0, painted), "EXPLODED", (ABOVE, IGNORED, UNREAD)),
    "noise without a rate": (Case(NOISE, 0.0, blind(VARIED), pays_rate=False), "WEAK", (IGNORED, UNREAD)),
    # A code that holds the shape, and a decoder that does not look.
    "rich code, blind decoder": (Case(picture(), -4.0, blind(VARIED)), "EXPLODED", (ABOVE, IGNORED)),
    "rich code at a low rate, blind decoder": (Case(picture(0.5), 0.0, blind(VARIED)), "WEAK", (IGNORED,)),
    "rich code without a rate, blind decoder": (
        Case(picture(), 0.0, blind(VARIED), pays_rate=False),
        "WEAK",
        (IGNORED,),
    ),
    # One bit: too little of shapes that vary, all of shapes that do not.
    "one bit of shapes that vary": (Case(bit(), -2.0, of_kinds), "WEAK", (FEW,)),
    "two clusters without variance inside": (Case(bit(), -2.0, exactly, CLUSTERS, distinct=2), "HEALTHY", ()),
    "two clusters, their code lost": (
        Case(constant_mean(0.0), 0.0, blind(CLUSTERS), CLUSTERS, distinct=2),
        "COLLAPSED",
        (),
    ),
    # The shape itself, at whatever scale: activity has one threshold, and a code below it may be read.
    "identity": (Case(numbers(), -4.0, drawn), "HEALTHY", ()),
    "identity, pixel by pixel, at a price": (Case(picture(), -4.0, copied()), "EXPLODED", (ABOVE,)),
    "identity without a rate": (Case(picture(), 0.0, copied(), pays_rate=False), "HEALTHY", ()),
    "identity below the threshold of activity": (
        Case(picture(0.02), 0.0, copied(0.02), pays_rate=False),
        "HEALTHY",
        (),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_built_latent_is_judged_as_what_it_is(name):
    case, expected, tags = CASES[name]
    verdict, evidence = judged(case)
    assert (verdict.name, set(verdict.tags)) == (expected, set(tags)), (verdict, evidence)
