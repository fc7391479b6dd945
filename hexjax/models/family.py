"""The contract of a model family, and how a name becomes one.

A family is `models/<name>.py` with `make(spec, config, parents) -> Family`; it is found by its file, there is no registry.
The loop, the evaluation and the tables know nothing else of a model. All functions are pure; `init`, `loss`, `encode`,
`decode`, `sample` and `judge` take a leading b, `field` and `grid` take one shape.
"""

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Bool, Float

from hexjax import names, rules
from hexjax.types import Array, Layout, Params, Size, Spec

Knobs = dict[str, Float[Array, "*sweep"]]
LIKELIHOOD = rules.LIKELIHOOD  # the knobs that measuring reads beside those of kl
PARENTS = "parents"  # in params: the parameters of the parents, by name


class Probe(NamedTuple):
    """What diagnostics ask of a family with a latent: its likelihood in pieces, and what its latent costs.

    observe(batch) -> x [b, *q], the values that are to be given back, in [0, 1]: pixels, or `inside` at fixed points
    predict(params, latent) -> the decoder's output of the same shape, before `expectation`
    expectation(predicted) -> the mean of x that it stands for
    nll(predicted, x, variance) -> nats of each value; a likelihood without a variance does not read it
    error(predicted, x) -> never negative and without a variance: nats of a probability, or the squared error
    coverage(x) -> [b, k, h, w] of images, else [b, q], in [0, 1]: how surely each is hit, 1/2 the threshold
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


class Picks(NamedTuple):
    """The points of a surface that stand for all, in the frame, in the order in which they were picked."""

    place: Float[Array, "b k 3"]


class Cells(NamedTuple):
    """The finest cells of a grid, by their centres in the frame: those that may be there, and those of the shape.

    `chance` is what a decoder says of each candidate, 0 where there is none, and `kept` tells those that are decoded.
    """

    candidate: Float[Array, "b n 3"]
    chance: Float[Array, "b n"]
    kept: Bool[Array, "b n"]
    true: Float[Array, "b m 3"]
    alive: Bool[Array, "b m"]


class Parent(NamedTuple):
    """A trained run that a family stands on; its parameters come as `params["parents"][name]`."""

    family: "Family"
    spec: Spec
    config: ml_collections.ConfigDict
    digest: str  # of the parameters, the config and the shapes
    latents: dict[str, Array] | None = None  # code [i, t, d] and more of its training shapes, on the host


Parents = Mapping[str, Parent]  # by the name before `.run` in the config


@dataclasses.dataclass(frozen=True)
class Family:
    """Pure functions of one model. A plain autoencoder states the first nine, and the rest is left out.

    reads: the fields of a batch that `loss` takes; sees: those that `encode` takes, all that is made of a new mesh
    layout, size: of one shape's latent. size(latent | None) -> Size: None where it is the same for all
    init(batch, key, parents) -> params, a dict whose names are the groups of `optimiser.scale`; parents: their parameters
    loss(params, batch, key, step, knobs) -> (scalar, parts): parts are named scalars; `knobs` as from `knobs(config)`.
        None: nothing is trained, a run is what `init` gives, and `rules.UNTRAINED` names the key that says so
    encode(params, batch, key, knobs=None) -> Latent: a sample of the posterior; the same each time where key is None;
        `knobs` of a sweep stand for the config's numbers. `item` is in the batch for shapes of the training alone.
        None: there is nothing that encodes
    decode(params, latent) -> decoded, any pytree with a leading b on every leaf, computed once a shape
    field(params, decoded, points [p, 3]) -> signed distance [p], negative inside; one shape. Both None: no shape
    grid(params, decoded, count) -> field on the whole grid [n, n, n], or None: `field` is asked coarse to fine
    ideal(batch of sees) -> what a perfect network would decode, or None: the ceiling is the mesh's own distance;
        `field` and `grid` take it with params None
    sample(params, key, batch, knobs=None) -> Latent, or None where nothing is drawn: a draw for each of `draw` [b], which
        number the draws, in a batch of `conditions` beside
    judge(params, batch, key) -> named numbers [b], or None: what the protocol cannot know
    structure(params, batch of sees) -> Picks or Cells, for pictures, or None: what a latent's tokens, or the cells of what is
        decoded, are of a shape
    probe: for diagnostics, or None where there is no latent to judge
    starts: the most shapes that a training gives to `init`, where there are so many; not fewer than a batch
    """

    reads: tuple[str, ...]
    sees: tuple[str, ...]
    layout: Layout
    size: Callable[..., Size]
    init: Callable[..., Any]
    loss: Callable[..., Any] | None
    encode: Callable[..., Any] | None
    decode: Callable[..., Any] | None
    field: Callable[..., Any] | None
    grid: Callable[..., Any] | None = None
    ideal: Callable[..., Any] | None = None
    sample: Callable[..., Any] | None = None
    conditions: tuple[str, ...] = ()
    judge: Callable[..., Any] | None = None
    structure: Callable[..., Picks | Cells] | None = None
    probe: Probe | None = None
    starts: int = 16

    @property
    def latent_floats(self) -> int:
        """Floats of one shape's latent, all tokens alive."""
        return self.layout.tokens * self.layout.channels


def knobs(config: ml_collections.ConfigDict, names: Sequence[str] = rules.KNOBS) -> Knobs:
    """Scalars that may vary without a new program: every number of kl, and those of `names`."""
    values = {f"kl.{name}": value for name, value in config.kl.items() if not isinstance(value, str)}
    for key in names:
        section, name = key.split(".")
        values[key] = config[section][name]
    return {name: jnp.float32(value) for name, value in values.items()}


def drawn(draw: Callable[[Array], Any], key: Array, batch: Mapping[str, Array]) -> Any:
    """What draw(key) gives for each number in `draw` [b] of a batch: the same for a number in whatever batch."""
    return jax.vmap(lambda number: draw(jax.random.fold_in(key, number)))(batch["draw"])


class Given(dict[str, jax.ShapeDtypeStruct]):
    """The fields that data give; to ask for another one is refused, and it is told what keeps them from giving it."""

    why = ""

    def __missing__(self, name: str) -> None:
        """Nothing; raises a ValueError of one line."""
        raise ValueError(
            f"the family of config.model.family reads {name!r}; these data give: {', '.join(self)}{self.why}"
        )


def make(spec: Spec, config: ml_collections.ConfigDict, parents: Parents | None = None, why: str = "") -> Family:
    """The family of a config, for what the data can give.

    Args:
        why: what keeps the data from giving more, told where a field is missing.

    Raises:
        ValueError: if there is no such family, it lists those that exist; for a config that the family refuses, and a
            field that nothing gives.
    """
    check(config)
    given = Given(spec.fields)
    given.why = f", as {why}" if why else ""
    family = get(config.model.family)(spec._replace(fields=given), config, parents or {})
    for name in (*family.reads, *family.sees, *family.conditions):
        given[name]
    return family


def check(config: ml_collections.ConfigDict) -> None:
    """Nothing; what the family's file says of its keys (its `check(config)`, where it has one), before data are loaded.

    Raises:
        ValueError: if there is no such family; for keys that it refuses.
    """
    own = getattr(sys.modules[get(config.model.family).__module__], "check", None)
    if own is not None:
        own(config)


def check_cells(configs: Mapping[str, ml_collections.ConfigDict]) -> None:
    """Nothing; `check` of the cells of a sweep, by name.

    Raises:
        ValueError: for the first that is refused, with its name.
    """
    for name, config in configs.items():
        try:
            check(config)
        except ValueError as error:
            raise ValueError(f"config.sweep.cells, {name}: {error}") from error


def check_keys(config: ml_collections.ConfigDict, accepted: Mapping[str, rules.Rule]) -> None:
    """Nothing; a family's own keys are there, each as its rule accepts it.

    Raises:
        ValueError: for the first that is not, in one line.
    """
    leaves = rules.flatten(config)
    for key, rule in accepted.items():
        if key not in leaves:
            raise ValueError(
                f"config.{key} is missing; accepted with model.family = {config.model.family}: {rule.accepted}"
            )
        rules.check_value(key, leaves[key], rule)


def check_mode(family: Family, config: ml_collections.ConfigDict, mode: str) -> None:
    """Nothing; the family can do what a mode asks of it.

    Raises:
        ValueError: for draws, latents or meshes of a family that has none, in one line.
    """
    lacks = {"sample": family.sample is None, "encode": family.encode is None}
    lacks |= dict.fromkeys(("ceiling", "view", "export"), family.field is None)
    if lacks.get(mode):
        does = {"sample": "draws nothing", "encode": "encodes nothing"}.get(mode, "has no surface")
        raise ValueError(
            f"config.model.family is {config.model.family!r}, which {does} with latent.kind = {config.latent.kind}; "
            f"--mode={mode} accepts a family that does"
            + f"; latents with a prior: {', '.join(names.PRIORS)}"
            * (mode == "sample")
        )


def get(name: str) -> Callable[..., Family]:
    """The `make` of the named family.

    Raises:
        ValueError: if there is no such family; it lists those that exist.
    """
    if name not in rules.families():
        raise ValueError(f"config.model.family is {name!r}; families: {', '.join(rules.families())}")
    return importlib.import_module(f"hexjax.models.{name}").make


def whole(params: Params, parents: Mapping[str, Params]) -> Params:
    """The parameters with those of the parents among them, as a family's functions take them."""
    return params | {PARENTS: parents} if parents else params
