"""Decoders and priors of one small VAE on scikit-learn's digits, in the order in which published tables have them.

The network, its start, its split and its updates are those of tests/exactness/digits.py. Decoders: grey digits in [0, 1].
What is compared is the bound in nats a test image, each decoder with the one variance that fits its errors on training
images, so that no method loses by its variance alone; and with the variance that it was trained with, where it has one.
Priors: digits of two values, a Bernoulli decoder, negative log-likelihood by importance sampling.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import scipy.linalg

from hexjax.diagnostics import collapse
from hexjax.models.parts import latents, losses, posteriors
from tests.exactness import digits

SEEDS, UPDATES, SAMPLES, DRAWS, IMPORTANCE = 3, 3003, 50, 10_000, 200
BETAS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
SIGMA_FLOOR = 0.01
DECODERS = {  # likelihood, weight of the KL beside summed nats; the first is a mean over pixels beside a summed KL
    "mean of squares": ("channels", 1.0),
    "Gaussian, variance 1": ("gaussian", 1.0),
    **{f"Gaussian, variance 1, beta {beta:g}": ("gaussian", beta) for beta in BETAS},
    "Gaussian, shared variance learned": ("learned", 1.0),
    "Gaussian, optimal variance": ("calibrated_gaussian", 1.0),
    "Bernoulli": ("bernoulli", 1.0),
    "continuous Bernoulli": ("continuous_bernoulli", 1.0),
}
PRIORS = {"standard Gaussian": "gaussian", "VampPrior": "vamp_prior", "flow": "flow_prior"}
PSEUDO_INPUTS, FLOW_LAYERS, FLOW_WIDTH = 100, 4, 64


def kl(latent: Any) -> Any:
    return posteriors.gaussian_kl(latent, 1.0).sum((1, 2))


def expected(logits: Any, kind: str) -> Any:
    return losses.expectation(logits, "gaussian" if kind == "learned" else kind)


def decoder_loss(kind: str, weight: float) -> Any:
    """The loss of (layers, log sigma), a batch and a key; only `learned` reads the second."""

    def loss(params: Any, x: Any, key: Any) -> Any:
        layers, log_sigma = params
        logits, latent = digits.autoencode(layers, x, key)
        if kind == "channels":
            return losses.reduced(losses.nll(logits, x, kind, 1.0, 0.0), "mean") + kl(latent).mean()
        variance = jnp.exp(2 * log_sigma) if kind == "learned" else 1.0
        nll = losses.nll(logits, x, "gaussian" if kind == "learned" else kind, variance, SIGMA_FLOOR)
        return losses.reduced(nll, "sum") + weight * kl(latent).mean()

    return loss


@functools.cache
def starts() -> tuple[Any, Any, Any]:
    """Parameters, rows and keys of all seeds."""
    count = len(digits.continuous()[0])
    stacked = lambda of_seed: jax.tree.map(lambda *each: np.stack(each), *map(of_seed, range(SEEDS)))
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return stacked(digits.init), stacked(lambda seed: digits.batches(count, UPDATES, seed)), keys


def decoder(name: str) -> list[dict[str, float]]:
    """Figures of every seed of one decoder."""
    kind, weight = DECODERS[name]
    train, test = map(jnp.asarray, digits.continuous())
    loss = decoder_loss(kind, weight)

    def drawn(layers: Any, x: Any, key: Any) -> tuple[Any, Any]:
        logits, latent = digits.autoencode(layers, x, key)
        return logits, kl(latent).mean()

    def one(layers: Any, rows: Any, key: Any) -> dict[str, Any]:
        keys = jax.random.split(key, 4)
        layers, log_sigma = digits.fit(loss, (layers, jnp.float32(0)), train, rows, keys[0])
        error = jnp.mean((expected(drawn(layers, train, keys[1])[0], kind) - train) ** 2)
        own = {"channels": digits.PIXELS / 2, "gaussian": weight, "learned": jnp.exp(2 * log_sigma)}.get(kind, error)

        def bounds(key: Any) -> Any:
            logits, rate = drawn(layers, test, key)
            mean = expected(logits, kind)
            nats = [losses.gaussian_nll(mean, test, variance).sum(1).mean() + rate for variance in (error, own)]
            if kind == "continuous_bernoulli":
                nats[1] = losses.continuous_bernoulli_nll(logits, test).sum(1).mean() + rate
            return jnp.stack([*nats, rate, jnp.mean((mean - test) ** 2)])

        found = jax.lax.map(bounds, jax.random.split(keys[2], SAMPLES)).mean(0)
        code = jax.random.normal(keys[3], (DRAWS, digits.FLOATS))
        layer = lambda number, x: x @ layers[number][0] + layers[number][1][None]
        samples = expected(layer(3, jax.nn.relu(layer(2, code))), kind)
        units = collapse.active_unit_count(digits.means(layers, test))
        names = ("bound", "own_bound", "kl", "squared_error")
        return dict(zip(names, found)) | {
            "variance": own,
            "fitted_variance": error,
            "active_units": units,
            "samples": samples,
        }

    found = jax.device_get(jax.jit(jax.vmap(one))(*starts()))
    samples = found.pop("samples")
    if kind == "bernoulli":  # no density of grey values
        del found["own_bound"], found["variance"]
    distances = [frechet(each, np.asarray(test)) for each in samples]
    return [
        {key: float(values[seed]) for key, values in found.items()} | {"frechet": distances[seed]}
        for seed in range(SEEDS)
    ]


def frechet(a: Any, b: Any) -> float:
    """Squared Frechet distance of two sets of images as Gaussians of their pixels."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(scipy.linalg.sqrtm(first) @ second @ scipy.linalg.sqrtm(first)).real
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root))


def prior(name: str) -> list[dict[str, float]]:
    """Figures of every seed of one prior."""
    config = ml_collections.ConfigDict(
        dict(kind=PRIORS[name], channels=digits.FLOATS, bits=32, pseudo_inputs=PSEUDO_INPUTS, flow_layers=FLOW_LAYERS,
             flow_width=FLOW_WIDTH)
    )  # fmt: skip
    bottleneck, knobs = latents.make(config, 1), latents.OFF
    train, test = map(jnp.asarray, digits.binary())

    def statistics(layers: Any, x: Any) -> Any:
        layer = lambda number, x: x @ layers[number][0] + layers[number][1][None]
        return layer(1, jax.nn.relu(layer(0, x)))[:, None]

    def terms(params: Any, x: Any, key: Any) -> tuple[Any, Any, Any]:
        layers, extra = params
        layer = lambda number, x: x @ layers[number][0] + layers[number][1][None]
        latent = bottleneck.encode(statistics(layers, x), key, knobs)
        pseudo = statistics(layers, extra["pseudo_inputs"]) if "pseudo_inputs" in extra else None
        rate = bottleneck.rate(extra.get("prior", {}), latent, pseudo, knobs).sum(1)
        logits = layer(3, jax.nn.relu(layer(2, latent.code[:, 0])))
        return losses.cross_entropy(logits, x).sum(1), rate, latent

    def loss(params: Any, x: Any, key: Any) -> Any:
        nll, rate, _ = terms(params, x, key)
        return nll.mean() + rate.mean()

    def one(layers: Any, rows: Any, key: Any) -> dict[str, Any]:
        keys = jax.random.split(key, 3)
        extra = latents.init_prior(bottleneck, train, functools.partial(statistics, layers), keys[0])
        params = digits.fit(loss, (layers, extra), train, rows, keys[1])

        def sampled(key: Any) -> tuple[Any, Any, Any]:
            nll, rate, latent = terms(params, test, key)
            known = posteriors.gaussian_log_density(latent) + (latent.code**2).sum((1, 2)) / 2
            return nll, rate, -nll - (known if config.kind == "gaussian" else rate)  # the Gaussian's own is no sample

        nll, rate, weights = jax.lax.map(sampled, jax.random.split(keys[2], IMPORTANCE))
        likelihood = jax.nn.logsumexp(weights, 0) - math.log(IMPORTANCE)
        units = collapse.active_unit_count(digits.means(params[0], test))
        return {"bound": (nll + rate).mean(), "kl": rate.mean(), "nll": -likelihood.mean(), "active_units": units}

    found = jax.device_get(jax.jit(jax.vmap(one))(*starts()))
    return [{key: float(values[seed]) for key, values in found.items()} for seed in range(SEEDS)]
