"""The contract of a model family, and how a name becomes one.

A family is `models/<name>.py` with `make(spec, config) -> Family`; it is found by its file, there is no registry. The
loop, the evaluation and the tables know nothing else of a model. All functions are pure; `init`, `loss`, `encode` and
`decode` take a leading b, `field` takes one shape.
"""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_collections
from jaxtyping import Float

from hexjax import rules
from hexjax.types import Array

Knobs = dict[str, Float[Array, "*sweep"]]
LIKELIHOOD = rules.LIKELIHOOD  # the knobs that measuring reads beside those of kl


class Probe(NamedTuple):
    """What diagnostics ask of a family with a latent: its likelihood in pieces, and what its latent costs.

    observe(batch) -> x [b, v, c, h, w], the values that are to be given back, in [0, 1]
    predict(params, latent) -> the decoder's output of the same shape, before `expectation`
    expectation(predicted) -> the mean of x that it stands for
    nll(predicted, x, variance) -> nats of each value; a likelihood without a variance does not read it
    error(predicted, x) -> never negative and without a variance: nats of a probability, or the squared error
    coverage(x) -> [b, k, h, w], in [0, 1]: how surely each pixel is hit, 1/2 the threshold
    rate(params, latent, knobs) -> nats [b, u] of each unit of the latent
    pays_rate: whether the loss charges the encoder for the rate; codes: of a discrete latent's unit, 0 for others
    scale: how much larger the loss sees a difference of x, where its values have other units
    """

    observe: Callable[..., Any]
    predict: Callable[..., Any]
    expectation: Callable[..., Any]
    nll: Callable[..., Any]
    error: Callable[..., Any]
    coverage: Callable[..., Any]
    rate: Callable[..., Any]
    pays_rate: bool
    codes: int
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Family:
    """Pure functions of one model.

    init(batch, key) -> params
    loss(params, batch, key, step, knobs) -> (scalar, parts): parts are named scalars; `knobs` as from `knobs(config)`
    encode(params, batch, key, knobs=None) -> Latent: a sample of the posterior; its mean where key is None; `knobs` of a
        sweep stand for the config's numbers
    decode(params, latent) -> decoded, any pytree with a leading b on every leaf, computed once a shape
    field(params, decoded, points [p, 3]) -> signed distance [p], negative inside; one shape
    grid(params, decoded, count) -> field on the whole grid [n, n, n], or None: `field` is asked coarse to fine
    sample(params, key, count, knobs=None) -> Latent, or None where the family has no prior
    probe: for diagnostics, or None where there is no latent to judge
    """

    inputs: tuple[str, ...]
    init: Callable[..., Any]
    loss: Callable[..., Any]
    encode: Callable[..., Any]
    decode: Callable[..., Any]
    field: Callable[..., Any]
    grid: Callable[..., Any] | None
    sample: Callable[..., Any] | None
    probe: Probe | None
    latent_floats: int
    latent_bits: int


def knobs(config: ml_collections.ConfigDict, names: Sequence[str] = rules.KNOBS) -> Knobs:
    """Scalars that may vary without a new program: every number of kl, and those of `names`."""
    values = {f"kl.{name}": value for name, value in config.kl.items() if not isinstance(value, str)}
    for key in names:
        section, name = key.split(".")
        values[key] = config[section][name]
    return {name: jnp.float32(value) for name, value in values.items()}


def get(name: str) -> Callable[..., Family]:
    """The `make` of the named family.

    Raises:
        ValueError: if there is no such family; it lists those that exist.
    """
    if name not in rules.families():
        raise ValueError(f"config.model.family is {name!r}; families: {', '.join(rules.families())}")
    return importlib.import_module(f"hexjax.models.{name}").make
