"""An auto-decoder: a code for each training shape, learnt beside the one network that decodes all; others are searched for.

The decoder says the signed distance at a point from the point and the code. The code's part of its layers is computed once
a shape: it is what `decode` gives. A shape without a code of its own gets one by descent on distances to it (`search`).

Source: Park et al. 2019 (arXiv:1901.05103), with layers of one width and the places as sines and cosines; SIREN: Sitzmann
et al. 2020 (arXiv:2006.09661).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen
from jaxtyping import Float

from hexjax import rules
from hexjax.geometry import frame
from hexjax.models import family as families
from hexjax.models.family import Family, Parents
from hexjax.models.parts import fourier, latents, losses
from hexjax.types import Array, Batch, Latent, Layout, Params, Spec

CLAMP = frame.CLAMP
SPREAD = 0.01  # standard deviation of each float of a code at its start, and a Gaussian one's own
OMEGA = 30.0  # of SIREN
SOFTNESS = 0.01  # world units: a signed distance over it is the logit of being outside, for diagnostics alone
HELD = 5  # one in so many points of a search is not fitted, where several starts are compared
KINDS = ("deterministic", "gaussian")
KEYS = {
    "model.width": rules.whole(1),
    "model.depth": rules.whole(2),
    "model.bands": rules.whole(0, 16),
    "model.activation": rules.choice("relu_pe", "siren"),
    "code.weight": rules.NOT_NEGATIVE,
    "code.norm": rules.choice("squared", "plain"),
    "code.between_weight": rules.NOT_NEGATIVE,
    "search.steps": rules.whole(1),
    "search.points": rules.whole(1),
    "search.starts": rules.whole(1),
    "search.learning_rate": rules.POSITIVE,
    "search.weight": rules.NOT_NEGATIVE,
}


def check(config: Any) -> None:
    """Nothing; the family's keys are there, each as its rule accepts it, and the latent is one that a table can hold.

    Raises:
        ValueError: for the first that is not, in one line.
    """
    families.check_keys(config, KEYS)
    if config.latent.kind not in KINDS:
        raise ValueError(
            f"config.latent.kind is {config.latent.kind!r}; accepted with model.family = {config.model.family}: "
            f"{' | '.join(KINDS)}"
        )


class Decoder(linen.Module):
    """Layers of one width, of which the first and the middle one take the input: the place's features and the code.

    Its weights start as PyTorch's linear layers do, within 1 / sqrt(inputs), or as SIREN's.
    """

    width: int
    depth: int
    bands: int
    siren: bool
    channels: int
    dtype: jnp.dtype

    def setup(self) -> None:
        inputs = self.channels + (3 if self.siren else 3 + 6 * self.bands)
        self.again = self.depth // 2  # from 0: layer 5 of 8, 3 of 4
        fans = [inputs] + [self.width + inputs * (i == self.again) for i in range(1, self.depth)]
        dense = lambda outputs, limit, **more: linen.Dense(
            outputs, kernel_init=_within(limit), bias_init=_within(limit), dtype=self.dtype, **more
        )
        limits = [self._limit(fan, i == 0) for i, fan in enumerate(fans)]
        self.layers = [dense(self.width, limit) for limit in limits]
        self.codes = [dense(self.width, limits[i], use_bias=False) for i in (0, self.again)]
        self.out = dense(1, self._limit(self.width, False))

    def given(self, code: Float[Array, "*b d"]) -> tuple[Float[Array, "*b w"], Float[Array, "*b w"]]:
        """What the code adds in the two layers that see it."""
        return tuple(layer(code) for layer in self.codes)

    def __call__(self, points: Float[Array, "*b p 3"], given: tuple[Float[Array, "*b w"], ...]) -> Float[Array, "*b p"]:
        x = points if self.siren else fourier.features(points, self.bands)
        act = (lambda y: jnp.sin(OMEGA * y)) if self.siren else jax.nn.relu
        h = act(self.layers[0](x) + given[0][..., None, :])
        for i, layer in enumerate(self.layers[1:], 1):
            if i == self.again:
                h = act(layer(jnp.concatenate([h, x.astype(h.dtype)], -1)) + given[1][..., None, :])
            else:
                h = act(layer(h))
        return self.out(h)[..., 0].astype(jnp.float32)

    def start(self, code: Float[Array, "*b d"], points: Float[Array, "*b p 3"]) -> Float[Array, "*b p"]:
        """Both in one, so that all parameters are made."""
        return self(points, self.given(code))

    def _limit(self, fan: int, is_first: bool) -> float:
        if not self.siren:
            return 1 / math.sqrt(fan)
        return 1 / fan if is_first else math.sqrt(6 / fan) / OMEGA


def _within(limit: float) -> Any:
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -limit, limit)


def make(spec: Spec, config: Any, parents: Parents) -> Family:
    """The family for one configuration; the table has as many codes as shapes that are trained on."""
    model, channels, kl = config.model, config.latent.channels, config.kl
    bottleneck, search = latents.make(config.latent, 1), config.search
    norm = _length if config.code.norm == "plain" else lambda code: jnp.square(code).sum(-1)
    siren = model.activation == "siren"
    decoder = Decoder(model.width, model.depth, model.bands, siren, channels, jnp.dtype(model.dtype))
    places = jnp.asarray(frame.shared_points(spec.fields["inside"].shape[0]))

    def init(batch: Batch, key: Array, parents: Params) -> Params:
        table_key, decoder_key = jax.random.split(key)
        table = SPREAD * jax.random.normal(table_key, (spec.shapes, channels))
        if bottleneck.statistics == 2:
            table = jnp.concatenate([table, jnp.full_like(table, 2 * math.log(SPREAD))], -1)
        network = decoder.init(decoder_key, table[:1, :channels], jnp.zeros((1, 1, 3)), method="start")
        return {"codes": table, "decoder": network}

    def given(params: Params, code: Array) -> tuple[Array, Array]:
        return decoder.apply(params["decoder"], code, method="given")

    def field(params: Params, decoded: tuple[Array, Array], points: Array) -> Array:
        return decoder.apply(params["decoder"], points, decoded)

    def error(params: Params, code: Array, points: Array, distance: Array) -> Array:
        """Of each shape [b], from code [b, d] and points [b, p, 3]."""
        return _clamped(field(params, given(params, code), points), distance).mean(-1)

    def searched(params: Params, batch: Batch, key: Array | None) -> Array:
        """Codes [b, d] of least error, in `search.steps` steps of Adam, the rate a tenth in the second half of them."""
        points, distance = batch["points"], batch["sdf"]
        count, kept = len(points), points.shape[1]
        fitted = kept - kept // HELD if search.starts > 1 and kept >= HELD else kept
        root = jax.random.key(0) if key is None else key
        rate = lambda step: search.learning_rate * jnp.where(2 * step < search.steps, 1.0, 0.1)
        adam = optax.adam(rate)

        def value(code: Array, points: Array, distance: Array) -> Array:
            return (error(params, code, points, distance) + search.weight * jnp.square(code).mean(-1)).sum()

        def descend(start_key: Array) -> tuple[Array, Array]:
            def step(carry: tuple[Array, Any], number: Array) -> tuple[tuple[Array, Any], None]:
                code, memory = carry
                take = jax.random.randint(jax.random.fold_in(start_key, number), (search.points,), 0, fitted)
                slope = jax.grad(value)(code, points[:, take], distance[:, take])
                update, memory = adam.update(slope, memory)
                return (optax.apply_updates(code, update), memory), None

            one = jax.random.normal(jax.random.fold_in(start_key, search.steps), (1, channels))
            code = SPREAD * jnp.broadcast_to(one, (count, channels))  # a shape's code is the same in any batch
            (code, _), _ = jax.lax.scan(step, (code, adam.init(code)), jnp.arange(search.steps))
            judged = slice(fitted, None) if fitted < kept else slice(None)
            return code, error(params, code, points[:, judged], distance[:, judged])

        if search.starts == 1:
            return descend(root)[0]
        found, errors = jax.lax.map(descend, jax.random.split(root, search.starts))
        return jnp.take_along_axis(found, errors.argmin(0)[None, :, None], 0)[0]

    def statistics(params: Params, batch: Batch) -> Array:
        if "item" in batch:
            return params["codes"][batch["item"]][:, None]
        code = searched(params, batch, None)
        if bottleneck.statistics == 2:  # as sure of it as of the codes that were learnt, in the mean
            sure = params["codes"][:, channels:].mean(0, keepdims=True)
            code = jnp.concatenate([code, jnp.broadcast_to(sure, code.shape)], -1)
        return code[:, None]

    def predict(params: Params, found: Latent) -> Array:
        """Logits [b, q] of being inside at the places that all shapes share."""
        decoded = given(params, found.code[:, 0])
        return -jax.lax.map(lambda one: field(params, one, places), decoded) / SOFTNESS

    judged = dict(observe=lambda batch: batch["inside"], coverage=lambda x: x, **losses.probe("bernoulli"))
    rate, fields = latents.around(bottleneck, kl, lambda batch: batch, statistics, predict, judged)

    def loss(params: Params, batch: Batch, key: Array, step: Array, knobs: dict[str, Array]) -> tuple[Array, dict]:
        found = bottleneck.encode(statistics(params, batch), key, knobs)
        code, points, distance = found.code[:, 0], batch["points"], batch["sdf"]
        values = field(params, given(params, code), points)
        fit = _clamped(values, distance).mean()
        penalty = config.code.weight * norm(found.statistics["mean"][:, 0]).mean()
        parts = {"reconstruction": fit, "penalty": penalty, "sign": ((values < 0) == (distance < 0)).mean()}
        if config.code.between_weight:
            middle = given(params, (code + jnp.roll(code, 1, 0)) / 2)
            slope = jax.grad(lambda points: field(params, middle, points).sum())(points)
            parts["between"] = config.code.between_weight * jnp.square(_length(slope) - 1).mean()
        term, told = latents.charge(bottleneck, rate(params, found, knobs), fit, step, knobs, kl)
        return fit + penalty + parts.get("between", 0.0) + term, parts | told

    return Family(
        reads=("item", "points", "sdf", "inside"),
        sees=("points", "sdf"),
        layout=Layout("vector", 1, channels),
        init=init,
        loss=loss,
        decode=lambda params, latent: given(params, latent.code[:, 0]),
        field=field,
        **fields,
    )


def _clamped(found: Float[Array, "*p"], distance: Float[Array, "*p"]) -> Float[Array, "*p"]:
    """The absolute difference of both, each clamped."""
    return jnp.abs(jnp.clip(found, -CLAMP, CLAMP) - jnp.clip(distance, -CLAMP, CLAMP))


def _length(vector: Float[Array, "*b d"]) -> Float[Array, "*b"]:
    """The norm, whose gradient at 0 is 0."""
    squared = jnp.square(vector).sum(-1)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
