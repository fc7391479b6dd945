"""A linear VAE is probabilistic PCA: its optimum, its rate and its collapse are known in closed form. On continuous digits.

The ELBO is analytic, not sampled: a linear decoder turns the posterior's variance into a variance of each pixel, so
E_q[nll] = nll(decoded mean) + that variance / (2 sigma^2). One test holds it against samples. Double precision, L-BFGS.
Source: Tipping and Bishop 1999; Lucas et al. 2019.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize
from sklearn import decomposition

from hexjax.diagnostics import collapse
from hexjax.models.parts import losses, posteriors
from tests.diagnostics import statements
from tests.exactness import digits

MANY = 24  # floats of the latent: more than ever become active here
MOST_ITERATIONS = 2500
START = 0.1  # of sigma^2, and the deviation of the weights


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


class Linear(NamedTuple):
    """x -> N(x encoder, exp(log_variance)) -> N(z decoder, sigma^2); no biases, as the images are centred."""

    encoder: Any
    log_variance: Any
    decoder: Any


@functools.cache
def centred():
    train, test = (x.astype(np.float64) for x in digits.continuous())
    return train - train.mean(0)[None], test - train.mean(0)[None]


@functools.cache
def eigenvalues():
    """Of the covariance of the training images, largest first."""
    train = centred()[0]
    return np.linalg.eigvalsh(train.T @ train / len(train))[::-1]


@jax.jit
def encode(model, x, key=None):
    mean = x @ model.encoder
    statistics = jnp.concatenate([mean, jnp.broadcast_to(model.log_variance[None], mean.shape)], -1)
    return posteriors.gaussian(statistics[:, None], key, np.inf)


def means(model, x):
    return np.asarray(encode(model, x).statistics["mean"])[:, 0]


@jax.jit
def sampled_terms(model, variance, x, key):
    """Reconstruction and KL in nats of each image."""
    latent = encode(model, x, key)
    nll = losses.gaussian_nll(latent.code[:, 0] @ model.decoder, x, variance)
    return nll.sum(-1), posteriors.gaussian_kl(latent, 1.0).sum((1, 2))


@jax.jit
def analytic_terms(model, variance, x):
    """The same, reconstruction as its exact mean over the posterior."""
    nll, kl = sampled_terms(model, variance, x, None)
    spread = jnp.exp(model.log_variance) @ (model.decoder**2).sum(1)
    return nll + spread / (2 * variance), kl


@jax.jit
def elbo(model, variance, x):
    nll, kl = analytic_terms(model, variance, x)
    return -nll.mean() - kl.mean()


@jax.jit
def kl(model, variance, x):
    return analytic_terms(model, variance, x)[1].mean()


@functools.cache
def problem(floats):
    """The start, how to unravel it, and the negative ELBO with its slope, given sigma^2 and whether that is learned.

    Of the images only second moments enter a model without biases: 64 rows with the same ones stand for them here.
    """
    train = centred()[0]
    _, scales, directions = np.linalg.svd(train, full_matrices=False)
    rows = scales[:, None] * directions * np.sqrt(len(directions) / len(train))
    draw = np.random.default_rng(0).normal
    model = Linear(draw(0, START, (64, floats)), np.zeros(floats), draw(0, START, (floats, 64)))
    flat, unravel = jax.flatten_util.ravel_pytree((model, np.log(START)))

    def loss(flat, variance, is_learned):
        model, log_variance = unravel(flat)
        return -elbo(model, jnp.where(is_learned, jnp.exp(log_variance), variance), rows)

    return flat, unravel, jax.jit(jax.value_and_grad(loss))


@functools.cache
def fit(floats, variance=None):
    """The model after full-batch L-BFGS, and its sigma^2, which is learned where none is given."""
    flat, unravel, value_and_slope = problem(floats)
    known = (START, True) if variance is None else (variance, False)
    on_host = lambda flat: tuple(map(np.asarray, value_and_slope(flat, *known)))
    options = dict(maxiter=MOST_ITERATIONS, maxfun=2 * MOST_ITERATIONS, ftol=0, gtol=2e-5, maxcor=20)
    found = optimize.minimize(on_host, flat, jac=True, method="L-BFGS-B", options=options)
    model, log_variance = jax.tree.map(np.asarray, unravel(jnp.asarray(found.x)))
    return model, np.exp(log_variance) if variance is None else variance


def log_likelihood(model, variance, x):
    """Of N(0, W^T W + sigma^2 I), which the linear decoder defines: the mean over images in nats."""
    covariance = model.decoder.T @ model.decoder + variance * np.eye(64)
    distance = (x @ np.linalg.inv(covariance) * x).sum(1)
    return -(distance.mean() + np.linalg.slogdet(2 * np.pi * covariance)[1]) / 2


@pytest.mark.parametrize("floats", [4, 8, 16])
def test_linear_vae_reaches_the_likelihood_of_probabilistic_pca(floats):
    train, test = centred()
    model, variance = fit(floats)
    pca = decomposition.PCA(floats, svd_solver="full").fit(train)
    assert elbo(model, variance, train) == pytest.approx(pca.score(train), abs=1e-4)
    assert elbo(model, variance, test) == pytest.approx(pca.score(test), abs=5e-3)  # scikit-learn divides by n - 1
    assert variance == pytest.approx(eigenvalues()[floats:].mean(), rel=1e-3)


def test_elbo_of_the_linear_vae_is_tight_at_its_optimum_on_images_never_seen_too():
    for floats in (4, 16):
        model, variance = fit(floats)
        for x in centred():
            assert log_likelihood(model, variance, x) - elbo(model, variance, x) == pytest.approx(0, abs=1e-4)


def test_elbo_of_a_wrong_posterior_is_below_the_likelihood_by_its_divergence():
    (model, variance), test = fit(4), centred()[1]
    wider = model._replace(log_variance=model.log_variance + 1)
    gap = log_likelihood(model, variance, test) - elbo(wider, variance, test)
    assert gap == pytest.approx(4 * (np.e - 2) / 2, abs=1e-3)  # of each float: (ratio - 1 - log ratio) / 2


def test_sampled_elbo_has_the_analytic_one_as_its_mean():
    (model, variance), test = fit(8), jnp.asarray(centred()[1])
    draw = lambda key: sampled_terms(model, variance, test, key)[0].mean()
    drawn = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 100)))
    error = drawn.std(ddof=1) / np.sqrt(len(drawn))
    assert abs(drawn.mean() - analytic_terms(model, variance, test)[0].mean()) < 4 * error < 0.1


@pytest.mark.parametrize("variance", [1.0, 0.5, 0.1, 0.05])
def test_active_units_are_the_eigenvalues_above_the_decoder_variance(variance):
    (model, _), train = fit(MANY, variance), centred()[0]
    ratio = np.maximum(eigenvalues() / variance, 1)
    assert statements.active_units(means(model, train)) == (ratio > 1).sum()
    assert kl(model, variance, train) == pytest.approx(np.log(ratio).sum() / 2, abs=1e-3)
    spread = np.sort(means(model, train).var(0))[::-1]
    np.testing.assert_allclose(spread, 1 - 1 / ratio[:MANY], atol=1e-3)


@pytest.mark.parametrize("share", [1.02, 0.98])
def test_collapse_is_total_exactly_where_the_decoder_variance_exceeds_the_largest_eigenvalue(share):
    train = centred()[0]
    variance = share * float(collapse.largest_eigenvalue(train))
    model, _ = fit(MANY, variance)
    assert statements.active_units(means(model, train)) == (0 if share > 1 else 1)
    assert kl(model, variance, train) == pytest.approx(max(-np.log(share) / 2, 0), abs=1e-4)


def test_unit_variance_exceeds_the_largest_eigenvalue_of_continuous_digits():
    assert collapse.largest_eigenvalue(centred()[0]) == pytest.approx(eigenvalues()[0], rel=1e-9)
    assert eigenvalues()[0] < 1
