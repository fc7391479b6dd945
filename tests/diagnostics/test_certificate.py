"""Bounds of margins from finitely many shapes, against their formulas and against a population of known margin."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.diagnostics import witness

CLASSES, FLOOR, SMOOTHING = 10, 0.01, 0.05


def population(atoms=3000, seed=0):
    """Floored classes and smoothed log q of equally likely shapes, and the margin that they truly have."""
    rng = np.random.default_rng(seed)
    logits = 1.7 * rng.normal(size=(atoms, CLASSES))
    t = np.asarray(jax.nn.softmax(logits))
    t = (1 - CLASSES * FLOOR) * t + FLOOR
    q = np.asarray(jax.nn.softmax(logits + 0.8 * rng.normal(size=logits.shape)))
    log_q = np.log((1 - SMOOTHING) * q + SMOOTHING / CLASSES)
    tbar = t.mean(0)
    return t, log_q, -(tbar * np.log(tbar)).sum() + (t * log_q).sum(1).mean()


def drawn(count, repeats, seed=1):
    """The classes and log q of `repeats` samples of `count` shapes each, and the true margin."""
    t, log_q, true = population()
    index = np.random.default_rng(seed).integers(0, len(t), (repeats, count))
    return t[index].astype(np.float32), log_q[index].astype(np.float32), true


def lower_bounds(t, log_q, repeats):
    """Plug-in, Hoeffding, Bernstein and bootstrap for each sample, [r, 4]."""

    def one(t, log_q, key):
        known = t, log_q, FLOOR, SMOOTHING
        bootstrap = witness.bootstrap_lower(t, log_q, key, repeats=repeats)
        return jnp.stack([
            witness.margin(t, log_q), witness.hoeffding_lower(*known), witness.bernstein_lower(*known), bootstrap
        ])  # fmt: skip

    keys = jax.random.split(jax.random.key(0), len(t))
    return np.asarray(jax.lax.map(lambda given: one(*given), (t, log_q, keys), batch_size=5))


def test_bounds_are_their_formulas():
    (t, *_), (log_q, *_), _ = drawn(50, 1)
    tbar, delta = t.mean(0), 0.1
    margin = -(tbar * np.log(tbar)).sum() + (t * log_q).sum(1).mean()
    reach = np.log(1 / FLOOR) + np.log(CLASSES / SMOOTHING)
    np.testing.assert_allclose(witness.value_range(CLASSES, FLOOR, SMOOTHING), reach, rtol=1e-6)
    np.testing.assert_allclose(witness.margin(t, log_q), margin, rtol=1e-5)
    hoeffding = margin - reach * np.sqrt(np.log(1 / delta) / (2 * 50))
    np.testing.assert_allclose(witness.hoeffding_lower(t, log_q, FLOOR, SMOOTHING, delta), hoeffding, rtol=1e-5)
    each = -(t * np.log(tbar)).sum(1) + (t * log_q).sum(1)
    spread = np.sqrt(2 * each.var(ddof=1) * np.log(2 / delta) / 50)
    bernstein = margin - spread - 7 * reach * np.log(2 / delta) / (3 * 49)
    np.testing.assert_allclose(witness.bernstein_lower(t, log_q, FLOOR, SMOOTHING, delta), bernstein, rtol=1e-5)


def test_the_bootstrap_is_the_quantile_of_resampled_margins():
    (t, *_), (log_q, *_), _ = drawn(80, 1)
    rng, margins = np.random.default_rng(5), []
    for _ in range(4000):
        index = rng.integers(0, 80, 80)
        tbar = t[index].mean(0)
        margins.append(-(tbar * np.log(tbar)).sum() + (t[index] * log_q[index]).sum(1).mean())
    found = witness.bootstrap_lower(t, log_q, jax.random.key(1), 0.05, 4000)
    assert abs(found - np.quantile(margins, 0.05)) < 0.15 * np.std(margins)


def test_no_value_leaves_its_range_and_the_range_is_attained():
    t, log_q, _ = population()
    each = np.asarray(witness.values(t, log_q, t.mean(0)))
    low, high = -np.log(CLASSES / SMOOTHING), np.log(1 / FLOOR)
    assert low < each.min() < each.max() < high
    one, other = np.eye(2), np.array([[0.0, 1.0], [1.0, 0.0]])
    floored, wrong = 0.98 * one + 0.01, np.log(0.95 * other + 0.05 / 2)
    reach = float(witness.value_range(2, 0.01, 0.05))
    extremes = witness.values(one, wrong, floored[1]), witness.values(one, np.log(one + 1e-9), floored[1])
    np.testing.assert_allclose(extremes[1][0] - extremes[0][1], reach, atol=0.02)


def test_without_a_floor_or_smoothing_nothing_is_bounded():
    (t, *_), (log_q, *_), _ = drawn(50, 1)
    for floor, smoothing in ((0.0, 0.05), (0.01, 0.0)):
        assert witness.hoeffding_lower(t, log_q, floor, smoothing) == -np.inf
        assert witness.bernstein_lower(t, log_q, floor, smoothing) == -np.inf


def test_the_plugged_in_mean_class_never_raises_the_margin_and_a_foreign_one_does():
    t, log_q, true = population()
    at_truth = functools.partial(witness.values, tbar=jnp.asarray(t.mean(0)))
    samples = drawn(30, 50)
    for given in zip(*samples[:2]):
        assert witness.margin(*given) <= at_truth(*given).mean() + 1e-6
    np.testing.assert_allclose(at_truth(t, log_q).mean(), true, atol=1e-5)
    foreign = t[:20].mean(0)
    excess = (t.mean(0) * np.log(t.mean(0) / foreign)).sum()
    np.testing.assert_allclose(witness.values(t, log_q, foreign).mean(), true + excess, atol=1e-5)
    assert excess > 0.001


def violations(count, repeats, resamples):
    t, log_q, true = drawn(count, repeats)
    found = lower_bounds(t, log_q, resamples)
    return (found > true).mean(0), found.mean(0), true


def test_bounds_hold_on_samples_of_a_known_margin():
    share, mean, true = violations(150, 120, 50)
    assert share[0] > 0.2  # the margin itself is no bound
    assert (share[1:3] <= 0.05).all()
    assert share[3] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)
    assert mean[1] < mean[2] < mean[3] < mean[0] < true


@pytest.mark.slow
def test_bounds_hold_and_tighten_over_400_repeats():
    last = np.full(4, -np.inf)
    for count in (200, 1000, 5000):
        share, mean, _ = violations(count, 400, 200)
        assert (share[1:3] <= 0.05).all()
        assert share[3] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
        assert mean[1] < mean[2] < mean[3] < mean[0]
        assert (mean[1:] > last[1:]).all()
        last = mean


# The certificate.


def teachers(count=300, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    t = np.asarray(jax.nn.softmax(3 * rng.normal(size=(count, classes))))
    return ((1 - classes * FLOOR) * t + FLOOR).astype(np.float32)


T = teachers()
CODE = np.asarray(witness.closed_form_code(T, 1.0))
NOISE = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)


def latents(kind):
    """Means and samples [300, 8] of a model that is healthy, collapsed, or pays for noise."""
    padded = np.concatenate([CODE[:, ::-1], np.zeros((300, 5), np.float32)], 1)
    if kind == "healthy":
        return 2 * padded, 2 * padded + 0.3 * NOISE
    if kind == "scaled":  # a mean too small for its noise
        return 1e-3 * padded, 1e-3 * padded + NOISE
    if kind == "wasted":  # large means that know nothing
        return 5 * NOISE, 5 * NOISE + 0.1 * NOISE[::-1]
    return 0 * padded, NOISE


def certified(mean, sample, t=T, level=0.0, first=150, last=300):
    split = slice(None, first), slice(first, last)
    train, held_out = ((mean[part], sample[part], t[part]) for part in split)
    return witness.certificate(*train, *held_out, 1.0, FLOOR, level, repeats=100)


def test_a_healthy_latent_is_certified_and_no_other():
    found = {kind: certified(*latents(kind)) for kind in ("healthy", "collapsed", "scaled", "wasted")}
    assert {kind: bool(one.certified) for kind, one in found.items()} == {
        "healthy": True, "collapsed": False, "scaled": False, "wasted": False
    }  # fmt: skip
    healthy = found["healthy"]
    assert 0 < healthy.sample_lower < healthy.sample_bootstrap < healthy.sample_margin
    assert healthy.sample_margin < healthy.mean_margin < healthy.information
    assert healthy.sample_lower < healthy.ceiling < healthy.information
    assert healthy.fixed_margin < found["collapsed"].fixed_margin < 0  # the axes are not the simplex's
    assert found["scaled"].mean_margin > 0.5 * healthy.mean_margin
    for kind in ("collapsed", "wasted"):
        assert found[kind].mean_margin < 0.02
        assert found[kind].sample_margin < 0.02
    tbar = T[150:].mean(0)
    excess = (tbar * np.log(tbar / T[:150].mean(0))).sum()
    np.testing.assert_allclose(found["collapsed"].anchored_margin, -excess, atol=1e-6)


def test_its_margins_are_those_of_witnesses_that_never_saw_the_held_out_shapes():
    mean, sample = latents("healthy")
    changed = T.copy()
    changed[150:] = changed[150:][::-1]
    assert certified(mean, sample).mean_margin > 0 > certified(mean, sample, changed).mean_margin


def test_of_one_shape_nothing_is_certifiable():
    t = np.repeat(T[:1], 300, 0)
    for kind in ("healthy", "collapsed"):
        found = certified(*latents(kind), t)
        assert found.ceiling < 0
        assert not found.certified
        np.testing.assert_allclose(found.information, 0, atol=1e-5)
    mean, sample = latents("healthy")
    found = certified(mean[:, :2], sample[:, :2], first=1, last=2)
    assert (found.ceiling, found.sample_lower, bool(found.certified)) == (-np.inf, -np.inf, False)


def test_the_level_is_what_the_bound_must_exceed():
    bound = float(certified(*latents("healthy")).sample_lower)
    assert bool(certified(*latents("healthy"), level=bound - 1e-3).certified)
    assert not bool(certified(*latents("healthy"), level=bound + 1e-3).certified)


def test_latents_that_are_not_finite_certify_nothing():
    mean, sample = latents("healthy")
    found = certified(mean, np.where(np.arange(300)[:, None] == 7, np.nan, sample))
    assert not found.certified
    assert np.isnan(found.sample_lower)


def test_the_simplex_margins_are_no_numbers_where_the_latent_is_too_small_for_them():
    mean, sample = latents("healthy")
    found = certified(mean[:, :2], sample[:, :2], first=1, last=2)
    assert np.isnan([found.fixed_margin, found.anchored_margin]).all()
    assert np.isfinite([found.mean_margin, found.sample_margin]).all()


def test_runs_are_certified_side_by_side():
    runs = [latents(kind) for kind in ("healthy", "collapsed")]
    mean, sample = (np.stack(values).reshape(2, 300, 2, 4) for values in zip(*runs))
    many = jax.vmap(functools.partial(witness.certificate, repeats=100), (0, 0, None, 0, 0, None, None, None))
    found = many(mean[:, :150], sample[:, :150], T[:150], mean[:, 150:], sample[:, 150:], T[150:], 1.0, FLOOR)
    for i, run in enumerate(runs):
        alone = certified(*run)
        np.testing.assert_allclose([leaf[i] for leaf in found], [*alone], atol=5e-3)


def test_a_latent_of_noise_is_not_certified_by_chance():
    for noise in np.random.default_rng(2).normal(size=(20, 300, 8)).astype(np.float32):
        found = certified(noise, noise)
        assert not found.certified
        assert found.sample_margin < 0.05
