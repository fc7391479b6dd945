"""The contract of a model family, and how a name becomes one.

A family is `models/<name>.py` with `make(spec, config) -> Family`; it is found by its file, there is no registry. The
loop, the evaluation and the tables know nothing else of a model. All functions are pure; `init`, `loss`, `encode` and
`decode` take a leading b, `field` takes one shape.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable
from typing import Any

NOT_FAMILIES = ("__init__", "family", "blocks", "losses", "latents")


@dataclasses.dataclass(frozen=True)
class Family:
    """Pure functions of one model.

    init(batch, key) -> params
    loss(params, batch, key, step, knobs) -> (scalar, parts): parts are named scalars; `knobs` as from `knobs(config)`
    encode(params, batch, key) -> Latent: a sample of the posterior; its mean where key is None
    decode(params, latent) -> decoded, any pytree with a leading b on every leaf, computed once a shape
    field(params, decoded, points [p, 3]) -> signed distance [p], negative inside; one shape
    grid(params, decoded, count) -> field on the whole grid [n, n, n], or None: `field` is evaluated in chunks
    sample(params, key, count) -> Latent, or None where the family has no prior
    """

    inputs: tuple[str, ...]
    init: Callable[..., Any]
    loss: Callable[..., Any]
    encode: Callable[..., Any]
    decode: Callable[..., Any]
    field: Callable[..., Any]
    grid: Callable[..., Any] | None
    sample: Callable[..., Any] | None
    latent_floats: int
    latent_bits: int


def names() -> list[str]:
    """The families that exist, by file name, without importing any."""
    folder = pathlib.Path(__file__).parent
    return sorted(file.stem for file in folder.glob("*.py") if file.stem not in NOT_FAMILIES)


def get(name: str) -> Callable[..., Family]:
    """The `make` of the named family.

    Raises:
        ValueError: if there is no such family; it lists those that exist.
    """
    if name not in names():
        raise ValueError(f"config.model.family is {name!r}; families: {', '.join(names())}")
    return importlib.import_module(f"hexjax.models.{name}").make
