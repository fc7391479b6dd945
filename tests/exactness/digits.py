"""scikit-learn's 8 x 8 digits, a VAE of two layers a side on them, and its training: what the exactness tests share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn import datasets, model_selection

from hexjax.models.parts import losses, posteriors

PIXELS, HIDDEN, FLOATS, BATCH = 64, 128, 16, 128
LAYERS = (PIXELS, HIDDEN), (HIDDEN, 2 * FLOATS), (FLOATS, HIDDEN), (HIDDEN, PIXELS)


@functools.cache
def continuous():
    """Train and test images [b, 64] in [0, 1]: 1347 and 450, as every published figure splits them."""
    return _split(datasets.load_digits().data / 16)


@functools.cache
def binary():
    """The same images, 1 where they exceed 1/2 and 0 elsewhere."""
    return _split(datasets.load_digits().data / 16 > 0.5)


def _split(images):
    return tuple(model_selection.train_test_split(images.astype(np.float32), random_state=0))


def init(seed):
    """Kernels and biases of 64-128-16-128-64, as PyTorch starts them: uniform within 1 / sqrt(inputs)."""
    draw = np.random.default_rng(seed).uniform
    start = lambda inputs, shape: draw(-(inputs**-0.5), inputs**-0.5, shape).astype(np.float32)
    return tuple((start(layer[0], layer), start(layer[0], layer[1])) for layer in LAYERS)


def init_lecun(seed):
    """The same, as LeCun et al. 1998 and Flax start them: kernels of three times that variance, biases 0."""
    draw = np.random.default_rng(seed).normal
    kernel = lambda layer: draw(0, layer[0] ** -0.5, layer).astype(np.float32)
    return tuple((kernel(layer), np.zeros(layer[1], np.float32)) for layer in LAYERS)


def autoencode(params, x, key):
    """What the decoder says of each pixel, and the latent [b, 1, 16]."""
    layer = lambda number, x: x @ params[number][0] + params[number][1][None]
    statistics = layer(1, jax.nn.relu(layer(0, x)))
    latent = posteriors.gaussian(statistics[:, None], key, np.inf)
    return layer(3, jax.nn.relu(layer(2, latent.code[:, 0]))), latent


def means(params, x):
    return autoencode(params, x, None)[1].statistics["mean"][:, 0]


def bernoulli_terms(params, x, key):
    """Reconstruction and KL in nats of each image, and the latent, of one sample of the posterior."""
    logits, latent = autoencode(params, x, key)
    return losses.cross_entropy(logits, x).sum(-1), posteriors.gaussian_kl(latent, 1.0).sum((1, 2)), latent


def batches(count, steps, seed):
    """Rows of each step's batch; every epoch in a new order, without what fills no batch."""
    draw, each = np.random.default_rng(seed), count // BATCH
    order = [draw.permutation(count)[: each * BATCH] for _ in range(-(-steps // each))]
    return np.concatenate(order).reshape(-1, BATCH)[:steps]


def fit(loss, params, data, rows, key):
    """Parameters after a step of Adam for every row of `batches`.

    Args:
        loss: of the parameters, a batch of every array of `data`, and a key.
    """
    optimiser = optax.adam(1e-3)

    def step(state, drawn):
        params, memory = state
        index, key = drawn
        slope = jax.grad(loss)(params, jax.tree.map(lambda a: a[index], data), key)
        update, memory = optimiser.update(slope, memory, params)
        return (optax.apply_updates(params, update), memory), None

    drawn = rows, jax.random.split(key, len(rows))
    return jax.lax.scan(step, (params, optimiser.init(params)), drawn)[0][0]


@functools.partial(jax.jit, static_argnames="samples")
def scores(params, x, key, samples):
    """Mean nats an image: negative ELBO, KL, and importance-weighted negative log-likelihood."""

    def sample(key):
        nll, kl, latent = bernoulli_terms(params, x, key)
        log_prior = -(latent.code**2).sum((1, 2)) / 2  # but for the posterior's constant, which it shares
        return nll, kl, log_prior - nll - posteriors.gaussian_log_density(latent)

    nll, kl, log_weight = jax.lax.map(sample, jax.random.split(key, samples))
    log_likelihood = jax.nn.logsumexp(log_weight, 0) - jnp.log(samples)
    return (nll + kl).mean(), kl.mean(), -log_likelihood.mean()


def independent_nll(train, test):
    """Nats a test image by one probability a pixel, with half a success and half a failure added to the training counts."""
    chance = (train.sum(0) + 0.5) / (len(train) + 1)
    return -np.where(test > 0.5, np.log(chance)[None], np.log1p(-chance)[None]).sum(1).mean()


def mixture_nll(train, test, classes, seed=0, iterations=200):
    """Nats a test image by a mixture of Bernoulli images, fitted by expectation maximisation with the same counts added."""
    share = np.random.default_rng(seed).dirichlet(np.ones(classes), len(train))
    for _ in range(iterations):
        weight, count = share.mean(0), share.sum(0)[:, None]
        chance = (share.T @ train + 0.5) / (count + 1)
        log_joint = _log_joint(train, weight, chance)
        share = np.exp(log_joint - np.logaddexp.reduce(log_joint, 1)[:, None])
    return -np.logaddexp.reduce(_log_joint(test, weight, chance), 1).mean()


def _log_joint(x, weight, chance):
    return np.log(weight)[None] + x @ np.log(chance).T + (1 - x) @ np.log1p(-chance).T
