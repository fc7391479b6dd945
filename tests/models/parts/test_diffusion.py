"""Noise levels and sampling: the published schedule, and what is known exactly of a denoiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.models.parts import diffusion

LEVELS = 500


def test_the_schedule_is_the_published_one():
    told = [0.9999, 0.9711, 0.8968, 0.7844, 0.6445, 0.4907, 0.3379, 0.2006, 0.0922, 0.0231]
    np.testing.assert_allclose(diffusion.signal(LEVELS)[::50], told, atol=6e-5)
    assert (np.diff(diffusion.signal(LEVELS)) < 0).all()


def test_an_error_of_the_noise_is_that_of_the_data_times_signal_over_noise():
    random = np.random.default_rng(0)
    x, noise, guess = (random.standard_normal((4, 3, 2)).astype(np.float32) for _ in range(3))
    level = jnp.array([0, 40, 250, 480])
    left = diffusion.signal(LEVELS)[np.array(level)][:, None, None]
    noisy = np.asarray(diffusion.noised(x, noise, level, LEVELS))
    guessed = (noisy - np.sqrt(left) * guess) / np.sqrt(1 - left)
    error = lambda one, other: ((one - other) ** 2).mean((1, 2))
    np.testing.assert_allclose(error(guessed, noise), error(guess, x) * (left / (1 - left))[:, 0, 0], rtol=2e-2)


@pytest.mark.parametrize("steps", [50, 10, 2])
def test_an_exact_denoiser_of_far_points_ends_on_one_of_them(steps):
    points = 4 * jax.random.normal(jax.random.key(0), (6, 1, 8))
    noise = jax.random.normal(jax.random.key(1), (40, 1, 8))
    found = np.asarray(diffusion.sample(diffusion.exact(points, LEVELS), noise, LEVELS, steps))
    apart = np.abs(found[:, None] - np.asarray(points)[None]).max((2, 3))
    assert apart.min(1).max() < 1e-2
    if steps == 50:
        assert len({*apart.argmin(1).tolist()}) > 3


def test_the_exact_denoiser_expects_the_mean_in_noise_and_the_nearest_near_the_data():
    points = jnp.array([[[0.0, 1.0]], [[4.0, -3.0]], [[-1.0, 2.0]]])
    ask = diffusion.exact(points, LEVELS)
    np.testing.assert_allclose(ask(jnp.zeros((1, 1, 2)), jnp.array([499]))[0, 0], points.mean((0, 1)), atol=1e-2)
    np.testing.assert_allclose(ask(points + 0.01, jnp.zeros(3, int)), points, atol=1e-4)
