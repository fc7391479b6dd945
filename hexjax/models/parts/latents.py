"""Bottlenecks: from what the encoder says to a latent, and what that latent costs. Pure functions.

`make` gives one `Bottleneck` for every `latent.kind`; families know nothing else of latents. A rate is in nats for each
unit of a latent: one float, one token of a categorical, or the whole code where the prior is learned. Every knob has a
value that switches it off (log-variance limit infinity, prior variance 1), so that all are arrays in one program.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from hexjax import names
from hexjax.models import family
from hexjax.models.parts import losses, posteriors, priors
from hexjax.types import Array, Batch, Latent, Params, Size

KINDS, ESTIMATORS = names.LATENTS, names.ESTIMATORS
OFF = {"kl.prior_variance": 1.0, "kl.log_variance_limit": math.inf}  # what a prior reads of knobs
SPREAD = 0.1  # standard deviation of what is added to shapes to make pseudo-inputs of them

Knobs = dict[str, Array | float]


class Bottleneck(NamedTuple):
    """Pure functions and sizes of one kind of latent.

    statistics: numbers that the encoder gives for each float of the latent
    bits: of one shape's stored latent; codes: of a discrete latent's unit, 0 for others; pseudo_inputs: 0 for others
    init(key, prior_statistics | None) -> params of a learned prior; {} where there are none
    encode(statistics [b, t, s * d], key | None, knobs) -> Latent: a sample; the mean or mode where key is None
    rate(params, latent, prior_statistics | None, knobs) -> nats [b, u] of each unit: KL divergence from the prior, one
        sample's estimate of it (which may be negative), or the length of the code
    sample(params, key, count, prior_statistics | None, knobs=None) -> Latent of the prior, or None where there is none;
        without knobs the prior's variance is 1 and no log-variance is clamped
    pays_rate: whether the encoder is charged for the rate

    `prior_statistics` [k, t, s * d] is what the encoder says of the family's pseudo-inputs; others than vamp_prior give None.
    """

    kind: str
    statistics: int
    floats_per_shape: int
    bits: int
    codes: int
    pseudo_inputs: int
    init: Callable[..., Params]
    encode: Callable[..., Latent]
    rate: Callable[..., Any]
    sample: Callable[..., Latent] | None
    pays_rate: bool


def make(config: Any, tokens: int) -> Bottleneck:
    """The bottleneck of a config's section `latent`.

    Raises:
        ValueError: for an unknown kind or estimator, or a number that the kind does not accept.
    """
    _check("channels", config.channels, 1)
    if config.kind == "deterministic":
        return _deterministic(config, tokens)
    if config.kind in names.GAUSSIAN:
        return _gaussian(config, tokens)
    if config.kind == "bernoulli":
        return _bernoulli(config, tokens)
    if config.kind == "categorical":
        return _categorical(config, tokens)
    if config.kind == "fsq":
        return _fsq(config, tokens)
    raise ValueError(f"config.latent.kind is {config.kind!r}; accepted: {', '.join(KINDS)}")


def init_prior(
    bottleneck: Bottleneck, x: Float[Array, "b *x"], statistics: Callable[[Array], Array], key: Array
) -> dict[str, Params]:
    """What a family adds to its parameters: `prior`, and `pseudo_inputs` where the prior is made of the encoder's posteriors.

    Args:
        x: what the encoder sees of some shapes: pseudo-inputs start as these, in turn, with noise, so that none are alike.
        statistics: from such an x to the encoder's statistics.
    """
    noise_key, prior_key = (jax.random.fold_in(key, stream) for stream in (1, 2))
    found, inputs = {}, None
    if bottleneck.pseudo_inputs:
        which = jnp.arange(bottleneck.pseudo_inputs) % len(x)
        inputs = x[which] + SPREAD * jax.random.normal(noise_key, (len(which), *x.shape[1:]))
        found["pseudo_inputs"] = inputs
    prior = bottleneck.init(prior_key, None if inputs is None else statistics(inputs))
    return found | ({"prior": prior} if prior else {})


def around(
    bottleneck: Bottleneck,
    kl: Any,
    see: Callable[[Batch], Array],
    statistics: Callable[[Params, Array], Array],
    predict: Callable[[Params, Latent], Array],
    judged: dict[str, Any],
) -> tuple[Callable[..., Array], dict[str, Any]]:
    """The rate of a latent, (params, latent, knobs) to nats [b, u], and the fields of a Family that its bottleneck decides.

    Args:
        kl: the config's section, whose numbers stand where no knobs are given.
        see, statistics: from a batch to what the encoder sees, and from params and that to its statistics.
        predict, judged: as in `Probe`, its other fields that the values given back decide.
    """

    def pseudo(params: Params) -> Array | None:
        return statistics(params, params["pseudo_inputs"]) if "pseudo_inputs" in params else None

    def rate(params: Params, found: Latent, given: Knobs) -> Array:
        nats = bottleneck.rate(params.get("prior", {}), found, pseudo(params), given)
        there = units(found.alive, nats.shape[1])
        return nats if there is None else jnp.where(there, nats, 0)

    def encode(params: Params, batch: Batch, key: Array | None, given: Knobs | None = None) -> Latent:
        return bottleneck.encode(statistics(params, see(batch)), key, knobs(kl) if given is None else given)

    def sample(params: Params, key: Array, batch: Batch, given: Knobs | None = None) -> Latent:
        given, inputs = knobs(kl) if given is None else given, pseudo(params)
        one = lambda key: bottleneck.sample(params.get("prior", {}), key, 1, inputs, given)
        return jax.tree.map(lambda leaf: leaf[:, 0], family.drawn(one, key, batch))

    probe = family.Probe(
        predict=predict,
        rate=rate,
        pays_rate=bottleneck.pays_rate,
        codes=bottleneck.codes,
        **judged,
    )
    size = Size(bottleneck.floats_per_shape, bottleneck.bits)
    return rate, dict(
        encode=encode,
        sample=None if bottleneck.sample is None else sample,
        probe=probe,
        size=lambda latent: size,
    )


def charge(
    bottleneck: Bottleneck,
    rates: Float[Array, "b u"],
    reconstruction: Float[Array, ""],
    step: Array,
    knobs: Knobs,
    config: Any,
    alive: Bool[Array, "b t"] | None = None,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """What the latent adds to the loss, and its parts; `config` is the section `kl`.

    A kind that pays no rate adds 0; of fsq that 0 has a gradient, the cross-entropy's, which fits the prior alone.

    Args:
        alive: of a latent that has room for more tokens than there are: the others count in no sum, no mean and no free bits.

    Raises:
        ValueError: for an unknown reduction or mode.
    """
    there = units(alive, rates.shape[1])
    if bottleneck.pays_rate:
        given = config.reduction, config.cap_mode, bottleneck.floats_per_shape, there
        return losses.controlled(rates, reconstruction, step, knobs, *given)
    fit = rates.mean(where=there)
    parts = dict(code_nats=rates.sum(where=there) / len(rates)) if bottleneck.codes else {}
    return fit - jax.lax.stop_gradient(fit), parts


def units(alive: Bool[Array, "b t"] | None, count: int) -> Bool[Array, "b u"] | None:
    """Which units of a latent's rate are of tokens that are there; None where all are, or the rate is the whole code's."""
    if alive is None or count < alive.shape[1]:
        return None
    return jnp.repeat(alive, count // alive.shape[1], 1)


def knobs(config: Any) -> Knobs:
    """The numbers of a config's section `kl`, by dotted key."""
    return {f"kl.{name}": jnp.float32(value) for name, value in config.items() if not isinstance(value, str)}


# What `make` puts together


def _check(key: str, value: Any, low: int) -> None:
    if value < low:
        raise ValueError(f"config.latent.{key} is {value}; accepted: a whole number, at least {low}")


def _assembled(
    config: Any,
    tokens: int,
    encode: Callable[..., Latent],
    rate: Callable[..., Any],
    draw: Callable[..., Latent] | None,
    init: Callable[..., Params] = lambda key, given: {},
    pays_rate: bool = True,
    **sizes: int,
) -> Bottleneck:
    """A bottleneck whose draws from the prior see every knob off where none are given."""
    floats = tokens * config.channels
    sizes = dict(statistics=1, codes=0, pseudo_inputs=0) | sizes

    def sample(params: Params, key: Array, count: int, given: Array | None, knobs: Knobs | None = None) -> Latent:
        return draw(params, key, count, given, OFF if knobs is None else knobs)

    return Bottleneck(
        kind=config.kind,
        floats_per_shape=floats,
        bits=sizes.pop("bits", None) or floats * config.bits,
        init=init,
        encode=encode,
        rate=lambda params, latent, given, knobs: rate(params, latent, given, knobs).reshape(len(latent.code), -1),
        sample=None if draw is None else sample,
        pays_rate=pays_rate,
        **sizes,
    )


def _deterministic(config: Any, tokens: int) -> Bottleneck:
    encode = lambda statistics, key, knobs: Latent(statistics, dict(mean=statistics))
    rate = lambda params, latent, given, knobs: jnp.zeros(len(latent.code))
    return _assembled(config, tokens, encode, rate, None, pays_rate=False)


def _gaussian(config: Any, tokens: int) -> Bottleneck:
    """A Gaussian posterior, with N(0, variance), a mixture of posteriors, or a flow as the prior."""
    shape, more = (tokens, config.channels), {}
    limited = lambda given, knobs: posteriors.moments(given, knobs["kl.log_variance_limit"])
    if config.kind == "gaussian":
        rate = lambda params, latent, given, knobs: posteriors.gaussian_kl(latent, knobs["kl.prior_variance"])
        draw = lambda params, key, count, given, knobs: (
            jnp.sqrt(knobs["kl.prior_variance"]) * jax.random.normal(key, (count, *shape))
        )
    elif config.kind == "vamp_prior":
        _check("pseudo_inputs", config.pseudo_inputs, 1)
        more["pseudo_inputs"] = config.pseudo_inputs
        log_prior = lambda params, latent, given, knobs: priors.mixture_log_density(latent.code, *limited(given, knobs))
        draw = lambda params, key, count, given, knobs: priors.mixture_sample(*limited(given, knobs), key, count)
    else:
        _check("flow_layers", config.flow_layers, 1)
        _check("flow_width", config.flow_width, 1)
        seen, sizes = priors.flow_shape(*shape), (config.flow_layers, config.flow_width)
        more["init"] = lambda key, given: priors.flow_init(key, *seen, *sizes)
        log_prior = lambda params, latent, given, knobs: priors.flow_log_density(params, latent.code)
        draw = lambda params, key, count, given, knobs: priors.flow_from_base(
            params, jax.random.normal(key, (count, *seen))
        ).reshape(count, *shape)
    if config.kind != "gaussian":
        rate = lambda params, latent, *given: (
            posteriors.gaussian_log_density(latent) - log_prior(params, latent, *given)
        )

    def encode(statistics: Array, key: Array | None, knobs: Knobs) -> Latent:
        return posteriors.gaussian(statistics, key, knobs["kl.log_variance_limit"])

    def drawn(*given: Any) -> Latent:
        code = draw(*given)
        return Latent(code, dict(mean=code))

    return _assembled(config, tokens, encode, rate, drawn, statistics=2, **more)


def _bernoulli(config: Any, tokens: int) -> Bottleneck:
    estimator, temperature = _estimator(config)

    def draw(params: Params, key: Array, count: int, given: Array | None, knobs: Knobs) -> Latent:
        indices = jax.random.randint(key, (count, tokens, config.channels), 0, 2, jnp.int32)
        return Latent(2.0 * indices - 1, dict(mean=1.0 * indices, indices=indices))

    encode = lambda statistics, key, knobs: posteriors.bernoulli(statistics, key, estimator, temperature)
    rate = lambda params, latent, given, knobs: posteriors.bernoulli_kl(latent.statistics["logits"])
    return _assembled(config, tokens, encode, rate, draw, codes=2, bits=tokens * config.channels)


def _categorical(config: Any, tokens: int) -> Bottleneck:
    estimator, temperature = _estimator(config)
    if config.channels < 2:
        raise ValueError(
            f"config.latent.channels is {config.channels}; accepted: at least 2, the codes of latent.kind = categorical"
        )

    def draw(params: Params, key: Array, count: int, given: Array | None, knobs: Knobs) -> Latent:
        indices = jax.random.randint(key, (count, tokens), 0, config.channels, jnp.int32)
        code = jax.nn.one_hot(indices, config.channels)
        return Latent(code, dict(mean=code, indices=indices))

    encode = lambda statistics, key, knobs: posteriors.categorical(statistics, key, estimator, temperature)
    rate = lambda params, latent, given, knobs: posteriors.categorical_kl(latent.statistics["logits"])
    bits = math.ceil(tokens * math.log2(config.channels))
    return _assembled(config, tokens, encode, rate, draw, codes=config.channels, bits=bits)


def _fsq(config: Any, tokens: int) -> Bottleneck:
    """Rounded floats, with code frequencies of each float that are fitted but move no encoder."""
    _check("codes", config.codes, 2)
    codes, shape = config.codes, (tokens, config.channels)

    def draw(params: Params, key: Array, count: int, given: Array | None, knobs: Knobs) -> Latent:
        indices = jax.random.categorical(key, params["logits"][None], shape=(count, *shape)).astype(jnp.int32)
        code = 2 * indices / (codes - 1) - 1
        return Latent(code, dict(mean=code, indices=indices))

    encode = lambda statistics, key, knobs: posteriors.quantise(statistics, codes)
    rate = lambda params, latent, given, knobs: priors.code_nats(params["logits"], latent.statistics["indices"])
    init = lambda key, given: dict(logits=jnp.zeros((*shape, codes)))
    bits = math.ceil(math.prod(shape) * math.log2(codes))
    return _assembled(config, tokens, encode, rate, draw, init, pays_rate=False, codes=codes, bits=bits)


def _estimator(config: Any) -> tuple[str, float | None]:
    """The name of the gradients' estimator, and the temperature of one that relaxes."""
    if config.estimator not in ESTIMATORS:
        raise ValueError(f"config.latent.estimator is {config.estimator!r}; accepted: {', '.join(ESTIMATORS)}")
    if config.estimator == "straight_through":
        return config.estimator, None
    if not config.temperature > 0:
        raise ValueError(f"config.latent.temperature is {config.temperature}; accepted: a number, finite, above 0")
    return config.estimator, config.temperature
