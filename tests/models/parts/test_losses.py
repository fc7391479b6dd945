import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from hexjax.models.parts import losses

LOGITS = (-1e3, -30.0, -5.0, -1.0, -0.51, -0.49, -0.1, -1e-3, 0.0, 1e-6, 0.02, 0.499, 0.501, 2.0, 30.0, 1e3)


def test_reductions_differ_by_the_size_of_a_shape():
    values = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5)), jnp.float32)
    np.testing.assert_allclose(losses.reduced(values, "sum"), 20 * losses.reduced(values, "mean"), rtol=1e-5)
    with pytest.raises(ValueError) as error:
        losses.reduced(values, "median")
    text = "the reduction is 'median'; accepted: mean, sum (config.reconstruction.reduction, config.kl.reduction)"
    assert str(error.value) == text


def test_cross_entropy_is_the_negative_log_likelihood():
    logits, mask = jnp.array([-2.0, 0.5, 80.0]), jnp.array([0.0, 1.0, 1.0])
    chance = jax.nn.sigmoid(logits)
    np.testing.assert_allclose(
        losses.cross_entropy(logits, mask), [-np.log1p(-chance[0]), -np.log(chance[1]), 0], atol=1e-6
    )


def test_errors_count_surface_only_and_are_means_over_it():
    mask = jnp.array([True, True, False, False])
    depth = losses.depth_error(jnp.array([1.0, 1.2, 9.0, 9.0]), jnp.ones(4), mask)
    assert float(depth.mean()) == pytest.approx(0.1)
    planes = jnp.eye(3, 4)[:, None]
    normal = losses.normal_error(planes, planes[..., ::-1], mask[None])
    assert float(normal[0, 2]) == 0
    one = jnp.ones((3, 1, 1)) / 3**0.5
    assert float(losses.normal_error(one, -one, jnp.array([[True]]))[0, 0]) == pytest.approx(2)


def test_depth_errors_below_the_knee_are_squared_and_meet_the_others_without_a_step():
    knee, mask = 0.05, jnp.ones(1, bool)
    error = lambda distance, knee: float(losses.depth_error(jnp.array([distance]), jnp.zeros(1), mask, knee)[0])
    assert error(0.02, knee) == pytest.approx(0.02**2 / 0.1)
    assert error(0.3, knee) == pytest.approx(0.275)
    assert error(knee - 1e-5, knee) == pytest.approx(error(knee + 1e-5, knee), abs=2.1e-5)
    assert error(0.3, 0.0) == pytest.approx(0.3)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
def test_the_depth_that_costs_least_is_the_quantile_of_the_possible_ones(quantile):
    possible = jnp.asarray(np.random.default_rng(0).gamma(2.0, 0.3, 2001), jnp.float32)
    tried = jnp.linspace(0, 2, 401)
    cost = lambda depth: losses.depth_error(
        jnp.full(2001, depth), possible, jnp.ones(2001, bool), 1e-4, quantile
    ).mean()
    best = float(tried[jnp.argmin(jax.lax.map(cost, tried))])
    assert best == pytest.approx(float(jnp.quantile(possible, quantile)), abs=0.01)
    assert float(losses.depth_error(jnp.ones(1), jnp.zeros(1), jnp.ones(1, bool))[0]) == 1


def test_depth_errors_cost_by_their_side_as_far_as_they_exceed_what_is_given():
    error = lambda distance: float(
        losses.depth_error(jnp.array([1 + distance]), jnp.ones(1), jnp.ones(1, bool), 0.0, 0.1, 0.02)[0]
    )
    assert error(0.02) == pytest.approx(error(-0.02)) == pytest.approx(0.02)
    assert error(0.12) == pytest.approx(0.02 + 1.8 * 0.1)
    assert error(-0.12) == pytest.approx(0.02 + 0.2 * 0.1)


@pytest.mark.parametrize("knee", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
def test_a_larger_depth_error_never_costs_less(quantile, knee):
    away = jnp.linspace(0, 0.2, 401)
    for side in (1, -1):
        cost = losses.depth_error(1 + side * away, jnp.ones(401), jnp.ones(401, bool), knee, quantile, 0.004)
        assert (jnp.diff(cost) > -1e-7).all()
        assert cost[0] == 0


def test_signed_distance_error_forgives_the_slack_and_clamps():
    truth = jnp.array([[0.01, -0.02, 0.9, -0.03]])
    zero, one = jnp.zeros((1, 4)), jnp.ones((1, 4))
    value, sign = losses.signed_distance_error(truth, truth, zero, one)
    assert (float(value), float(sign)) == (0, 0)
    far = losses.signed_distance_error(jnp.array([[0.01, -0.02, 5.0, -0.03]]), truth, zero, one)
    assert (float(far[0]), float(far[1])) == (0, 0)
    wrong = losses.signed_distance_error(-truth, truth, zero, one)
    assert float(wrong[0]) > float(wrong[1]) > 0
    forgiven = losses.signed_distance_error(-truth, truth, jnp.full((1, 4), 0.2), one)
    assert (float(forgiven[0]), float(forgiven[1])) == (0, 0)
    weightless = losses.signed_distance_error(-truth, truth, zero, zero)
    assert (float(weightless[0]), float(weightless[1])) == (0, 0)


def test_the_side_error_reaches_every_coverage_and_leaves_out_what_the_maps_cannot_know():
    truth, zero, one = jnp.full((1, 1), 0.04), jnp.zeros((1, 1)), jnp.ones((1, 1))
    slope = jax.grad(lambda x: losses.side_error(x, truth, zero, one))
    for wrong in (-0.5, -0.01):
        assert float(slope(jnp.full((1, 1), wrong))[0, 0]) == -1
    assert float(losses.side_error(0.3 * one, truth, zero, one)) == 0
    assert float(losses.side_error(-0.3 * one, truth, 0.09 * one, one)) == 0


# Likelihoods


def values(seed=0, count=40):
    random = np.random.default_rng(seed)
    return jnp.asarray(random.normal(0, 2, count), jnp.float32), jnp.asarray(random.uniform(0, 1, count), jnp.float32)


@jax.jit
def log_constant(logits):
    """Of the continuous Bernoulli, which is all that remains of its nats without the cross-entropy."""
    return losses.cross_entropy(logits, 0 * logits) - losses.continuous_bernoulli_nll(logits, 0 * logits)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_continuous_bernoulli_has_mass_one_and_its_mean(logit):
    density = lambda x: np.exp(logit * (x - (logit > 0)))  # over its largest value, in float64
    width = 1 / max(abs(logit), 1)
    ends = (1 - width, 1) if logit > 0 else (0, width)
    both = [sum(integrate.quad(lambda x: density(x) * x**power, *part, epsabs=1e-13, epsrel=1e-12)[0]  # noqa: B023
                for part in ((0, ends[0]), ends, (ends[1], 1))) for power in (0, 1)]  # fmt: skip
    x = jnp.array([0.0, 0.3, 1.0])
    expected = logit * ((logit > 0) - np.array([0.0, 0.3, 1.0])) + np.log(both[0])
    found = losses.continuous_bernoulli_nll(jnp.full(3, logit), x)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
    mean = losses.continuous_bernoulli_mean(jnp.float32(logit))
    assert float(mean) == pytest.approx(both[1] / both[0], rel=2e-5, abs=2e-7)


def test_the_log_constant_is_smooth_even_and_least_at_half():
    logits = jnp.linspace(-1, 1, 2001)
    found = log_constant(logits)
    np.testing.assert_allclose(found, found[::-1], atol=1e-6)
    assert float(found.min()) == pytest.approx(np.log(2), abs=2e-7)
    slope = np.asarray(jax.jit(jax.grad(lambda logits: log_constant(logits).sum()))(logits), np.float64)
    np.testing.assert_allclose(np.diff(slope), 1e-3 / 6, rtol=0.3)  # no step where the series ends


@pytest.mark.parametrize("kind", ["bernoulli", "continuous_bernoulli"])
def test_the_slope_of_the_nats_is_the_mean_minus_x(kind):
    logits, x = jnp.array(LOGITS), jnp.linspace(0, 1, len(LOGITS))
    slope = jax.jit(jax.grad(lambda logits: losses.nll(logits, x, kind, 1.0, 0.1).sum()))(logits)
    np.testing.assert_allclose(slope, jax.jit(losses.expectation, static_argnums=1)(logits, kind) - x, atol=2e-6)


@pytest.mark.parametrize("kind", losses.LIKELIHOODS)
def test_slopes_are_those_of_finite_differences(kind):
    logits, x = values()
    loss = jax.jit(lambda logits: losses.reduced(losses.nll(logits[None], x[None], kind, 0.3, 0.01), "sum"))
    slope, step = jax.jit(jax.grad(loss))(logits), 1e-2
    for place in range(0, 40, 8):
        moved = jnp.zeros(40).at[place].set(step)
        found = (loss(logits + moved) - loss(logits - moved)) / (2 * step)
        assert float(found) == pytest.approx(float(slope[place]), rel=1e-2, abs=3e-3)


def test_the_slope_of_the_continuous_mean_is_that_of_its_closed_form():
    logits = jnp.array(LOGITS, jnp.float32)
    slope = jax.vmap(jax.grad(losses.continuous_bernoulli_mean))(logits)
    far = np.where(np.abs(LOGITS) < 1e-2, 1.0, LOGITS)
    exact = 1 / far**2 - 1 / (4 * np.sinh(np.clip(far, -500, 500) / 2) ** 2)
    np.testing.assert_allclose(slope, np.where(np.abs(LOGITS) < 1e-2, 1 / 12, exact), rtol=1e-4, atol=2e-6)


def test_gaussian_nats_are_scipy_s():
    mean, x = values()
    expected = -stats.norm.logpdf(x, mean, np.sqrt(0.3))
    np.testing.assert_allclose(losses.gaussian_nll(mean, x, 0.3), expected, rtol=1e-5)


def test_the_calibrated_variance_is_where_the_nats_are_least():
    logits, x = values()
    mean = jax.nn.sigmoid(logits)
    variance = losses.calibrated_variance(mean, x, 0.01)
    total = lambda variance: losses.gaussian_nll(mean, x, variance).sum()
    assert float(jax.grad(total)(variance)) == pytest.approx(0, abs=1e-3)
    assert total(variance) < min(total(1.05 * variance), total(variance / 1.05))
    assert float(losses.calibrated_variance(x, x, 0.05)) == pytest.approx(0.0025)


@pytest.mark.parametrize("floor", [1e-3, 0.9])
def test_a_stopped_calibrated_variance_has_the_slope_of_one_that_is_not(floor):
    logits, x = values()

    def free(logits):
        mean = jax.nn.sigmoid(logits)
        return losses.gaussian_nll(mean, x, losses.calibrated_variance(mean, x, floor)).sum()

    stopped = lambda logits: losses.nll(logits, x, "calibrated_gaussian", 1.0, floor).sum()
    assert float(free(logits)) == pytest.approx(float(stopped(logits)), rel=1e-6)
    np.testing.assert_allclose(jax.grad(stopped)(logits), jax.grad(free)(logits), rtol=1e-4, atol=1e-5)
    assert np.abs(jax.grad(stopped)(logits)).max() > 1e-2


def test_channels_are_the_squared_error_as_published():
    logits, x = values()
    np.testing.assert_allclose(
        losses.nll(logits, x, "channels", 1.0, 0.1), (1 / (1 + np.exp(-logits)) - x) ** 2, rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("kind", [None, *losses.LIKELIHOODS])
def test_a_probe_has_the_nats_and_the_error_of_its_likelihood(kind):
    logits, x = values()
    probe = losses.probe(kind)
    mean, nats, error = probe["expectation"](logits), probe["nll"](logits, x, 0.3), probe["error"](logits, x)
    if kind in ("bernoulli", "continuous_bernoulli"):
        np.testing.assert_array_equal(nats, losses.nll(logits, x, kind, 0.3, 0.1))
        expected = nats if kind == "bernoulli" else (mean - x) ** 2  # nats of a density may be below 0
        np.testing.assert_array_equal(error, expected)
    else:
        np.testing.assert_array_equal(nats, losses.gaussian_nll(mean, x, 0.3))
        np.testing.assert_array_equal(error, (mean - x) ** 2)
    np.testing.assert_array_equal(mean, logits if kind is None else losses.expectation(logits, kind))


@pytest.mark.parametrize("call", [losses.check_likelihood, losses.probe, lambda kind: losses.expectation(jnp.ones(2), kind),
                                  lambda kind: losses.nll(jnp.ones(2), jnp.ones(2), kind, 1.0, 1.0)])  # fmt: skip
def test_an_unknown_likelihood_is_refused(call):
    with pytest.raises(ValueError) as error:
        call("laplace")
    text = ("config.reconstruction.kind is 'laplace'; accepted: channels, gaussian, calibrated_gaussian, bernoulli, "
            "continuous_bernoulli")  # fmt: skip
    assert str(error.value) == text


# The KL term


def knobs(**given):
    off = dict(initial_weight=1.0, final_weight=1.0, warmup_steps=0, cap=1.0, free_bits=0.0)
    return {f"kl.{name}": jnp.float32(value) for name, value in (off | given).items()}


def controlled(rates, reduction="sum", mode="clip", reconstruction=1.0, floats=None, alive=None, **given):
    return losses.controlled(
        jnp.asarray(rates, jnp.float32),
        jnp.float32(reconstruction),
        jnp.int32(7),
        knobs(**given),
        reduction,
        mode,
        floats,
        alive,
    )


def test_the_weight_warms_up_linearly():
    warm = knobs(initial_weight=1e-6, final_weight=1e-4, warmup_steps=100.0)
    found = [float(losses.kl_weight(jnp.int32(step), warm)) for step in (0, 50, 100, 1000)]
    np.testing.assert_allclose(found, [1e-6, (1e-6 + 1e-4) / 2, 1e-4, 1e-4], rtol=1e-5)
    assert float(losses.kl_weight(jnp.int32(0), warm | {"kl.warmup_steps": jnp.float32(0)})) == np.float32(1e-4)


def capped(term, cap, mode, reconstruction=1.0):
    function = lambda x: losses.capped(x, jnp.float32(reconstruction), jnp.float32(cap), mode)
    value, slope = jax.value_and_grad(function)(jnp.float32(term))
    return float(value), float(slope)


@pytest.mark.parametrize("mode", losses.CAP_MODES)
@pytest.mark.parametrize("reconstruction", [1.0, 0.0, -70.0])
@pytest.mark.parametrize("term", [-0.2, 1e-4, 0.3, 1e6])
def test_a_cap_of_one_changes_nothing_whatever_the_total(mode, reconstruction, term):
    np.testing.assert_allclose(capped(term, 1.0, mode, reconstruction), (term, 1.0), rtol=1e-7)


@pytest.mark.parametrize("mode", losses.CAP_MODES)
def test_below_the_cap_nothing_changes(mode):
    np.testing.assert_allclose(capped(0.05, 0.1, mode), (0.05, 1.0), rtol=1e-5)


def test_above_the_cap_clip_has_no_gradient_scale_a_smaller_one_and_penalty_a_larger():
    value, slope = capped(9.0, 0.1, "clip")
    assert (value, slope) == (pytest.approx(1.0), 0.0)
    value, slope = capped(9.0, 0.1, "scale")
    assert (value, slope) == (pytest.approx(1.0), pytest.approx(1 / 9))
    value, slope = capped(9.0, 0.1, "penalty")
    assert value == pytest.approx(81.0)
    assert slope > 1


def test_where_the_total_is_negative_a_cap_leaves_nothing():
    assert capped(1.0, 0.1, "clip", -70.0) == (0, 0)
    assert capped(1.0, 0.1, "scale", -70.0) == (0, 0)


def test_an_unknown_cap_mode_is_refused():
    with pytest.raises(ValueError) as error:
        capped(1.0, 0.1, "soft")
    assert str(error.value) == "config.kl.cap_mode is 'soft'; accepted: clip, scale, penalty"


RATES = np.random.default_rng(0).gamma(1.0, 2.0, (4, 6))


def test_parts_tell_the_rate_before_any_control():
    term, parts = controlled(RATES, final_weight=0.5, initial_weight=0.5)
    assert float(term) == pytest.approx(RATES.sum() / 8, rel=1e-5)
    assert float(parts["kl"]) == pytest.approx(RATES.sum() / 4, rel=1e-5)
    assert float(parts["kl_per_float"]) == pytest.approx(RATES.mean(), rel=1e-5)
    assert (float(parts["kl_weight"]), float(parts["kl_term"])) == (0.5, float(term))
    assert float(controlled(RATES, "mean")[0]) == pytest.approx(RATES.mean(), rel=1e-5)
    assert float(controlled(RATES, "mean", floats=60)[0]) == pytest.approx(RATES.mean() / 10, rel=1e-5)
    freed, same = controlled(RATES, free_bits=1.0)
    assert float(freed) == pytest.approx(np.maximum(RATES, 1).sum() / 4, rel=1e-5)
    assert float(same["kl"]) == float(parts["kl"])


def test_free_bits_of_zero_do_not_touch_negative_rates():
    assert float(controlled(-RATES)[0]) == pytest.approx(-RATES.sum() / 4, rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_what_takes_the_gradient_away_is_told(reduction, size):
    removed = lambda **given: float(controlled(size * RATES, reduction, **given)[1]["kl_gradient_removed"])
    assert removed() == pytest.approx(0, abs=1e-6)
    assert removed(cap=1e-3) == 1
    assert removed(cap=1e-3, mode="penalty") == 0
    assert removed(free_bits=1e9) == 1
    assert removed(initial_weight=0, final_weight=0, cap=1e-3) == 0
    term = float(controlled(size * RATES, reduction)[0])
    assert removed(cap=1e-3, mode="scale") == pytest.approx(1 - 1e-3 * (1 + term) / term, abs=1e-6)
    assert removed(cap=1e-3, initial_weight=1e-12, final_weight=1e-12) == pytest.approx(0, abs=1e-6)
    limit = float(np.median(RATES)) * size
    assert removed(free_bits=limit) == pytest.approx(1 - np.sqrt(np.mean(size * RATES > limit)), abs=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("given", [{}, {"free_bits": 1.0}, {"cap": 0.2, "mode": "scale"}])
def test_room_for_units_that_are_not_there_changes_nothing(reduction, given):
    there = np.arange(6)[None] < np.array([6, 2, 4, 1])[:, None]
    term, parts = controlled(RATES, reduction, floats=12, alive=there, **given)
    room = np.pad(there, ((0, 0), (0, 3)))
    rates = np.where(room, np.pad(RATES, ((0, 0), (0, 3))), 7)
    more, same = controlled(rates, reduction, floats=18, alive=room, **given)
    assert float(more) == pytest.approx(float(term), rel=1e-6)
    assert {name: float(value) for name, value in same.items()} == pytest.approx(
        {name: float(value) for name, value in parts.items()}, rel=1e-6
    )
    own = [row[kept] for row, kept in zip(RATES, there)]
    assert float(parts["kl"]) == pytest.approx(np.mean([row.sum() for row in own]), rel=1e-5)
    assert float(parts["kl_per_float"]) == pytest.approx(np.mean([row.mean() / 2 for row in own]), rel=1e-5)
    if given == {}:
        told = np.mean([row.sum() if reduction == "sum" else row.mean() / 2 for row in own])
        assert float(term) == pytest.approx(told, rel=1e-5)
    slope = jax.grad(lambda rates: controlled(rates, reduction, floats=18, alive=room, **given)[0])(jnp.float32(rates))
    assert not np.asarray(slope)[~room].any()
    whole, plain = controlled(RATES, reduction, alive=there | True, **given), controlled(RATES, reduction, **given)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6), whole, plain)


@pytest.mark.parametrize("mode", losses.CAP_MODES)
def test_the_term_s_slope_is_not_changed_by_telling_it(mode):
    def whole(rates):
        return controlled(rates, mode=mode, cap=0.2, free_bits=0.5)[0]

    def told(rates):
        term, parts = controlled(rates, mode=mode, cap=0.2, free_bits=0.5)
        return term + parts["kl_gradient_removed"]

    rates = jnp.asarray(RATES, jnp.float32)
    np.testing.assert_array_equal(jax.grad(whole)(rates), jax.grad(told)(rates))


@pytest.mark.parametrize("mode", losses.CAP_MODES)
def test_settings_of_a_sweep_are_vmapped(mode):
    settings = [knobs(), knobs(cap=0.05), knobs(free_bits=1.0), knobs(final_weight=0, initial_weight=0),
                knobs(warmup_steps=14, initial_weight=0)]  # fmt: skip
    run = lambda knobs: losses.controlled(jnp.float32(RATES), jnp.float32(1), jnp.int32(7), knobs, "sum", mode)
    found = jax.vmap(run)(jax.tree.map(lambda *each: jnp.stack(each), *settings))
    for i, each in enumerate(settings):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, rtol=1e-6), found, run(each))  # noqa: B023
