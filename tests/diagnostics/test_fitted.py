import jax
import numpy as np
import pytest
from sklearn import linear_model

from hexjax.diagnostics import fitted, witness


def problem(count=200, width=6, classes=3, seed=0):
    """Features [n, d] float32, and soft classes [n, k] that depend on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, width)) * np.geomspace(0.3, 3, width) + 2
    logits = 2 * (x - 2) @ rng.normal(size=(width, classes)) + 0.5 * rng.normal(size=(count, classes))
    t = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return x.astype(np.float32), (0.97 * t + 0.01).astype(np.float32)


apply_to = jax.jit(fitted.apply_witness)
score_of = jax.jit(witness.margin)


def log_q(known, x):
    return np.asarray(apply_to(known, x, 0.0))


def held_out_margin(x, t, guide=None, train=150, **settings):
    """Fitted on the first shapes, scored on the others."""
    known = fitted.fit_witness(x[:train], t[:train], None if guide is None else guide[:train], **settings)
    return float(score_of(t[train:], apply_to(known, x[train:])))


def test_a_fit_is_the_penalised_logistic_regression_of_scikit_learn(monkeypatch):
    x, t = problem()
    variance = 3.0
    with jax.enable_x64(True), monkeypatch.context() as patch:
        patch.setattr(fitted, "ITERATIONS", 1000)
        exact = log_q(fitted.fit_witness(x.astype(np.float64), t.astype(np.float64), variances=(variance,)), x)
    centred = x - x.mean(0, dtype=np.float64)
    scaled = centred / np.sqrt((centred**2).sum(1).mean())
    hard = np.repeat(np.arange(3), len(x))
    reference = linear_model.LogisticRegression(C=variance, tol=1e-12, max_iter=100000)
    reference.fit(np.tile(scaled, (3, 1)), hard, sample_weight=t.T.reshape(-1).astype(np.float64))
    np.testing.assert_allclose(exact, reference.predict_log_proba(scaled), atol=1e-5)
    usual = log_q(fitted.fit_witness(x, t, variances=(variance,)), x)
    np.testing.assert_allclose(usual, exact, atol=0.05)
    assert abs(((usual - exact) * t).sum(1).mean()) < 1e-3  # nats of margin


def test_rotation_shift_and_scale_of_the_features_change_nothing():
    x, t = problem(150)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0].astype(np.float32)
    plain = log_q(fitted.fit_witness(x, t), x)
    for other in (x @ rotation, x + 10, 1e-3 * x, x.reshape(150, 2, 3)):
        np.testing.assert_allclose(log_q(fitted.fit_witness(other, t), other), plain, atol=5e-3)


@pytest.mark.parametrize("width", [6, 300])
@pytest.mark.parametrize("value", [np.float32(0), np.float32(0.3)])
def test_constant_features_give_the_mean_class(value, width):
    t = problem()[1]
    for jitter in (0, 1e-7):  # below the rounding
        x = value * (1 + jitter * np.random.default_rng(0).normal(size=(200, width))).astype(np.float32)
        known = fitted.fit_witness(x[:150], t[:150])
        np.testing.assert_allclose(np.exp(log_q(known, x)), np.repeat(t[:150].mean(0)[None], 200, 0), atol=1e-5)
        assert held_out_margin(x, t) <= 0


def test_smoothing_mixes_in_the_uniform_distribution():
    x, t = problem(150)
    known = fitted.fit_witness(x, t)
    q = np.exp(fitted.apply_witness(known, 100 * x, 0.05))
    np.testing.assert_allclose(q, 0.95 * np.exp(log_q(known, 100 * x)) + 0.05 / 3, atol=1e-6)
    assert q.min() == pytest.approx(0.05 / 3, rel=1e-5)


def test_runs_are_fitted_side_by_side_and_alike_every_time():
    runs = [problem(150, seed=seed)[0] for seed in range(3)]
    t = problem(150)[1]
    together = jax.vmap(lambda x: fitted.fit_witness(x, t))(np.stack(runs))
    for x, *one in zip(runs, *together):
        alone, again = (fitted.fit_witness(x, t) for _ in range(2))
        np.testing.assert_allclose(log_q(alone, x), log_q(fitted.Witness(*one), x), atol=5e-3)
        assert all(np.array_equal(a, b) for a, b in zip(alone, again))


def wide(dead, count=200, width=1000, seed=0):
    """Six informative floats among many of deviation `dead` that know nothing."""
    x, t = problem(count, seed=seed)
    floats = dead * np.random.default_rng(seed).normal(size=(count, width))
    floats[:, 100:106] = x
    return floats.astype(np.float32), t


def test_of_more_floats_than_shapes_the_live_ones_are_found():
    x, t = wide(0.01)
    alone = held_out_margin(x[:, 100:106], t)
    assert held_out_margin(x, t, cap=20) > 0.9 * alone > 0.4


def test_samples_in_many_floats_are_read_along_the_directions_of_their_means():
    mean, t = wide(0.01)
    sample = mean + 0.5 * np.random.default_rng(1).normal(size=mean.shape).astype(np.float32)
    alone = held_out_margin(sample[:, 100:106], t)
    guided, unguided = (held_out_margin(sample, t, guide) for guide in (mean, None))
    assert guided > 0.9 * alone > 0.3
    assert guided > unguided + 0.05


def test_a_guide_may_lie_elsewhere():
    mean, t = problem(150)
    sample = mean + 0.3 * np.random.default_rng(1).normal(size=mean.shape).astype(np.float32)
    near, far = (fitted.fit_witness(sample, t, mean + shift) for shift in (np.float32(0), np.float32(20)))
    np.testing.assert_allclose(log_q(far, sample), log_q(near, sample), atol=5e-3)


def test_features_that_know_nothing_have_no_margin():
    x = wide(0.01)[0]
    assert max(held_out_margin(x, problem(seed=seed)[1]) for seed in (7, 8, 9)) < 0.02


def test_features_that_are_not_finite_give_no_number():
    x, t = problem()
    x[3, 2] = np.nan
    assert np.isnan(held_out_margin(x, t))


@pytest.mark.parametrize("count", [1, 3])
def test_very_few_shapes_are_fitted_without_a_failure(count):
    x, t = problem()
    assert np.isfinite(log_q(fitted.fit_witness(x[:count], t[:count]), x)).all()
