"""One moment of one training, measured and judged: what a run tells while it trains, and its evaluation in the end.

The shapes are those of the training, so figures of fit are optimistic; with a teacher, the witness is fitted on every
second of them and judged on the others.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hexjax.diagnostics import collapse, measure, verdict, witness
from hexjax.types import Array, Batch, Latent, Layout, Params


class Known(NamedTuple):
    """What does not change while a run trains: the constant predictor, and how many of the shapes differ."""

    constant: measure.Constant
    distinct: int


def know(probe: Any, batch: Batch) -> Known:
    """What is known of a batch of training shapes; a shape that comes twice counts once."""
    x = probe.observe(batch)
    rows = {np.asarray(row).tobytes() for row in x}
    return Known(jax.jit(functools.partial(measure.constant, probe))(x), len(rows))


def make(encode: Callable[..., Latent], probe: Any, config: Any, layout: Layout) -> Callable[..., Any]:
    """The diagnosis, compiled: of params, a batch of training shapes, what is known of it, a key, knobs, and classes.

    It gives named scalars and the verdict on them, on the host; of a set, `active_tokens` too.

    Args:
        encode, probe, layout: of a family; config: the section `witness`. known: of the batch; classes: the teacher's [n, k],
            or None.
    """
    tokens = layout.tokens if layout.kind == "set" else None

    @jax.jit
    def moment(
        params: Params, batch: Batch, key: Array, knobs: measure.Knobs, known: measure.Constant
    ) -> measure.Moment:
        found = measure.measure(encode, probe, params, batch, key, knobs, known)
        if tokens is None or len(found.mean) < 2:
            return found
        count = collapse.active_token_count(found.mean.reshape(len(found.mean), tokens, -1))
        return found._replace(scalars=found.scalars | {"active_tokens": count.astype(jnp.float32)})

    certify = jax.jit(certificate)

    def diagnose(
        params: Params, batch: Batch, known: Known, key: Array, knobs: measure.Knobs, classes: Array | None
    ) -> tuple[dict[str, Any], verdict.Verdict]:
        found = moment(params, batch, key, knobs, known.constant)
        scalars, bound, tags = jax.device_get(found.scalars), None, ()
        if classes is not None and len(found.mean) >= 4:
            bounds = certify(found.mean, found.sample, classes, config.temperature, config.floor)
            scalars |= {f"witness_{name}": value for name, value in jax.device_get(bounds)._asdict().items()}
            if scalars["witness_ceiling"] > 0:
                bound = float(scalars["witness_sample_lower"])
            else:  # no latent could be certified on so few
                tags = (f"{len(found.mean)} shapes are too few for a certificate",)
        lower = None
        if len(found.swaps) > 1:
            lower = float(collapse.bootstrap_lower(found.swaps, jax.random.fold_in(key, 1)))
        judged, _ = measure.judge(scalars, known.distinct, probe.pays_rate, lower, bound, False, tokens)
        return scalars, judged._replace(tags=(*judged.tags, *tags))

    return diagnose


def certificate(
    mean: Array, sample: Array, teacher: Array, temperature: Array | float, floor: Array | float
) -> witness.Certificate:
    """The certificate of n shapes whose witness is fitted on every second of them and judged on the others."""
    train, held_out = (slice(0, None, 2), slice(1, None, 2))
    return witness.certificate(
        mean[train],
        sample[train],
        teacher[train],
        mean[held_out],
        sample[held_out],
        teacher[held_out],
        temperature,
        floor,
    )
