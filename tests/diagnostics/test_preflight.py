"""Forecasts against closed forms, gradients and what the pilot saw; and their lines, word for word."""

import itertools
import math

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import base
from hexjax.diagnostics import preflight
from hexjax.models.parts import posteriors
from hexjax.types import Latent

PUBLISHED = dict(entries=1_572_864, latent_floats=400_000, likelihood="channels", reduction="mean")


def forecast(controls=None, **changes):
    """Of 700 shapes of 32^2 silhouettes and 32 floats at the plain ELBO with variance 1, but for changes."""
    kl = base.get_config().kl
    kl.final_weight = 1.0
    kl.update(controls or {})
    given = dict(largest_eigenvalue=54.8, entries=3072, shapes=700, latent_floats=32, pays_rate=True, likelihood="gaussian",
                 reduction="sum", variance=1.0, steps=1000)  # fmt: skip
    return preflight.preflight(**given | changes, kl=kl)


@pytest.mark.parametrize(
    ("likelihood", "reduction", "variance", "weight", "expected"),
    [
        ("channels", "mean", 1.0, 1e-6, 0.786432),  # entries / 2 millionths
        ("channels", "sum", 1.0, 1.0, 0.5),
        ("gaussian", "sum", 0.3, 2.0, 0.6),
        ("gaussian", "mean", 0.5, 1e-6, 0.786432),
        ("calibrated_gaussian", "sum", 1.0, 1.0, None),
        ("bernoulli", "mean", 1.0, 1e-6, 1.572864),
        ("continuous_bernoulli", "sum", 1.0, 0.7, 0.7),
        ("surface", "sum", 1.0, 1.0, None),
    ],
)
def test_decoder_variance_is_the_closed_form(likelihood, reduction, variance, weight, expected):
    changes = dict(likelihood=likelihood, reduction=reduction, variance=variance)
    found = forecast(dict(final_weight=weight), **PUBLISHED | changes).decoder_variance
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("likelihood", "reduction"), [*itertools.product(["channels", "gaussian"], ["mean", "sum"])])
def test_decoder_variance_makes_the_loss_the_negative_elbo_of_that_gaussian(likelihood, reduction):
    """Two losses have the same minimum in every pair of error and rate if their ratio of weights is the same."""
    entries, variance, weight = 40, 0.3, 0.7

    def loss(error, rate):
        each = error if likelihood == "channels" else error / (2 * variance)
        return (each / entries if reduction == "mean" else each) + weight * rate

    given = dict(entries=entries, variance=variance, likelihood=likelihood, reduction=reduction)
    found = forecast(dict(final_weight=weight), **given).decoder_variance
    slopes = loss(1, 0) - loss(0, 0), loss(0, 1) - loss(0, 0)
    assert slopes[0] / slopes[1] == pytest.approx(1 / (2 * found))  # of squared error / (2 variance) + rate


def test_a_kl_averaged_over_floats_weighs_so_much_less():
    summed, averaged = (
        forecast(dict(final_weight=1e-6, reduction=reduction), **PUBLISHED) for reduction in ("sum", "mean")
    )
    assert summed.decoder_variance == pytest.approx(0.79, abs=0.005)
    assert averaged.decoder_variance == pytest.approx(2e-6, rel=0.02)
    assert averaged.kl_weight == pytest.approx(summed.kl_weight / 400_000) == 2.5e-12
    assert "the KL is averaged over 400000 floats: the weight 1e-06 is 2.5e-12 on the sum" in averaged.lines
    assert not any("averaged" in line for line in summed.lines)


@pytest.mark.parametrize(("variance", "predicted"), [(54.7, "HEALTHY"), (54.8, "HEALTHY"), (54.9, "COLLAPSED")])
def test_collapse_is_foretold_where_the_eigenvalue_is_below_the_decoder_variance(variance, predicted):
    assert forecast(variance=variance).predicted == predicted
    assert forecast(dict(final_weight=variance)).predicted == predicted  # weight times variance is what counts
    assert forecast(dict(final_weight=variance), variance=0.5).predicted == "HEALTHY"


def test_the_same_mean_squared_error_foretells_collapse_for_every_input_of_the_pilot():
    for eigenvalue in (54.8, 23.4, 57.8):
        mean = forecast(likelihood="channels", reduction="mean", largest_eigenvalue=eigenvalue)
        assert mean.predicted == "COLLAPSED"
        assert mean.decoder_variance == 1536
        assert forecast(largest_eigenvalue=eigenvalue).predicted == "HEALTHY"


def test_one_shape_and_a_latent_without_a_rate_are_no_matter_of_the_spectrum():
    alone = forecast(shapes=1, largest_eigenvalue=0.0)
    assert alone.predicted == "NOT-CERTIFIABLE"
    told = "one shape: whether the latent tells shapes apart cannot be judged; that takes two (config.data.path, data.count)"
    assert alone.lines[-1] == told
    assert forecast(shapes=1, pays_rate=False, largest_eigenvalue=0.0).lines == (told,)
    free = forecast(dict(cap=0.1), pays_rate=False, largest_eigenvalue=1e-9)
    assert free == (
        1e-9,
        None,
        0.0,
        "HEALTHY",
        (
            "700 shapes of 3072 values; largest eigenvalue of their covariance 1e-09",
            "the latent pays no rate: no KL term can collapse or explode it",
            "expected: HEALTHY, as nothing here foretells a failure",
        ),
    )


@pytest.mark.parametrize(
    ("controls", "latent", "predicted"),
    [
        (dict(cap=0.1), "gaussian", "EXPLODED"),
        (dict(cap=0.1), "flow_prior", "EXPLODED"),
        (dict(cap=0.1), "bernoulli", "HEALTHY"),  # whose rate has a bound
        (dict(cap=0.1, log_variance_limit=10.0), "gaussian", "EXPLODED"),
        (dict(cap=0.1, cap_mode="scale"), "gaussian", "HEALTHY"),
        (dict(cap=0.1, cap_mode="penalty"), "gaussian", "HEALTHY"),
        (dict(cap=1.0), "gaussian", "HEALTHY"),
        (dict(final_weight=0.0), "gaussian", "EXPLODED"),
        (dict(final_weight=0.0), "categorical", "HEALTHY"),
    ],
)
def test_explosion_is_foretold_where_nothing_holds_the_rate_down(controls, latent, predicted):
    assert forecast(controls, latent=latent).predicted == predicted


def test_a_cut_gradient_overrules_the_threshold_and_free_bits_leave_it_open():
    assert forecast(dict(cap=0.1), variance=100.0).predicted == "EXPLODED"
    assert forecast(dict(free_bits=0.1), variance=100.0).predicted == "UNKNOWN"
    assert forecast(dict(free_bits=0.1)).predicted == "HEALTHY"


def test_a_warm_up_longer_than_the_run_ends_on_the_weight_that_it_reached():
    controls = dict(initial_weight=1e-6, final_weight=1e-4, warmup_steps=3000)
    found = forecast(controls, likelihood="channels", reduction="mean")
    assert found.kl_weight == pytest.approx((2 * 1e-6 + 1e-4) / 3)
    assert found.decoder_variance == pytest.approx(found.kl_weight * 3072 / 2)
    line = "the warm-up of 3000 steps outlasts the run of 1000: the KL weight ends at 3.4e-05, not at 0.0001"
    assert line in found.lines
    for steps in (3000, 3001):
        finished = forecast(controls, steps=steps)
        assert finished.kl_weight == 1e-4
        assert not any("warm-up" in line for line in finished.lines)


def test_a_fitted_variance_foretells_health_up_to_a_weight_of_one_for_the_largest_eigenvalue_is_above_the_mean_one():
    x = np.random.default_rng(0).normal(size=(20, 9))
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    assert eigenvalues[-1] > eigenvalues.mean() == pytest.approx(x.var(0).mean())  # what a constant fits
    for reduction, weight, predicted in (("sum", 1.0, "HEALTHY"), ("sum", 1.1, "UNKNOWN"), ("mean", 1.0, "UNKNOWN"),
                                         ("mean", 1 / 3072, "HEALTHY")):  # fmt: skip
        found = forecast(dict(final_weight=weight), likelihood="calibrated_gaussian", reduction=reduction)
        assert found.predicted == predicted


def test_a_likelihood_without_a_threshold_foretells_nothing_and_says_so():
    found = forecast(dict(log_variance_limit=2.0), likelihood="surface", reduction="mean")
    assert found.predicted == "UNKNOWN"
    assert found.lines == (
        "700 shapes of 3072 values; largest eigenvalue of their covariance 54.8",
        "surface has no threshold for the eigenvalue; beside summed values the KL weight is 3072",
        "expected: UNKNOWN",
    )


@pytest.mark.parametrize(("reduction", "weight", "predicted"), [("sum", 1.0, "HEALTHY"), ("sum", 55.0, "COLLAPSED"),
                                                                ("mean", 1.0, "COLLAPSED")])  # fmt: skip
def test_a_cross_entropy_is_near_the_constant_a_squared_error_of_standardised_values(reduction, weight, predicted):
    controls = dict(final_weight=weight, log_variance_limit=2.0)
    found = forecast(controls, likelihood="bernoulli", reduction=reduction)
    assert found.predicted == predicted
    assert "values, each in units of its deviation; largest eigenvalue" in found.lines[0]
    assert found.lines[1].startswith(
        "the loss is, near the constant predictor, that of a Gaussian decoder of variance "
    )


def test_lines_tell_the_published_recipe_in_numbers():
    controls = dict(final_weight=1e-6, cap=0.1, prior_variance=0.1, free_bits=0.5)
    assert forecast(controls, **PUBLISHED).lines == (
        "700 shapes of 1572864 values; largest eigenvalue of their covariance 54.8",
        "the loss is that of a Gaussian decoder of variance 0.7864, not above 54.8: the first principal direction pays "
        "for its rate",
        "where the KL term is above 10 % of the loss, its gradient is 0: nothing brings a large KL back",
        "log-variances have no limit: from 88.7 on a variance is infinite in float32",
        "under the prior's variance 0.1 a posterior N(0, 1) costs 3.349 nats a float, 1.339e+06 in all",
        "free bits: 2e+05 nats of a shape cost nothing",
        "expected: EXPLODED",
    )


def test_a_wide_limit_of_the_log_variance_tells_what_a_float_beyond_it_costs():
    said = lambda limit, prior=1.0: forecast(dict(log_variance_limit=limit, prior_variance=prior)).lines[2:-1]
    assert said(2.0) == ()
    assert said(10.0) == ("a float beyond the log-variance 10 has no gradient back, and costs 1.101e+04 nats",)
    for limit, prior in ((10.0, 1.0), (5.0, 0.1)):
        cost = float(said(limit, prior)[0].split("costs ")[1].split(" ")[0])
        latent = Latent(jnp.zeros((1, 1, 1)), dict(mean=jnp.zeros((1, 1, 1)), log_variance=jnp.full((1, 1, 1), limit)))
        assert cost == pytest.approx(float(posteriors.gaussian_kl(latent, prior).sum()), rel=1e-3)
    assert (
        said(89.0) == said(math.inf) == ("log-variances have no limit: from 88.7 on a variance is infinite in float32",)
    )


def test_an_alignment_loss_makes_a_forecast_collapse_unknown_and_nothing_else():
    lost = dict(final_weight=55.0, log_variance_limit=2.0)
    assert forecast(lost).predicted == forecast(lost, alignment=0.0).predicted == "COLLAPSED"
    found = forecast(lost, alignment=10.0)
    assert (found.predicted, found.lines[-2]) == (
        "UNKNOWN", "the alignment loss may keep a latent that the reconstruction does not pay for",
    )  # fmt: skip
    assert forecast(dict(cap=0.1), alignment=10.0).predicted == "EXPLODED"
    assert forecast(alignment=10.0).predicted == "HEALTHY"


def test_lines_tell_of_the_other_cap_modes_a_weight_of_zero_and_directions_that_do_not_pay():
    held = dict(log_variance_limit=2.0)
    said = lambda controls, **changes: forecast(held | controls, **changes).lines[1:-1]
    shown = "the loss is that of a Gaussian decoder of variance"
    above = "where the KL term is above 25 % of the loss, its gradient"
    pays = f"{shown} 1, not above 54.8: the first principal direction pays for its rate"
    assert said(dict(cap=0.25, cap_mode="scale")) == (pays, f"{above} is scaled down, not cut")
    assert said(dict(cap=0.25, cap_mode="penalty")) == (pays, f"{above} grows")
    assert said(dict(cap=0.25)) == (pays, f"{above} is 0: nothing brings a large KL back")
    assert said(dict(final_weight=0.0))[1:] == ("the KL weight is 0: nothing holds the rate down",)
    assert said({}, variance=99.0) == (f"{shown} 99, above 54.8: no direction pays for its rate",)
    free = said(dict(free_bits=0.5), variance=99.0)
    assert free[0] == f"{shown} 99, above 54.8: no direction pays for more than the free bits"
    fitted = said({}, likelihood="calibrated_gaussian")
    assert fitted == (
        "calibrated_gaussian has no threshold for the eigenvalue; beside summed values the KL weight is 1: up to 1, the "
        "first principal direction pays for its rate",
    )


def test_a_prior_as_wide_as_the_posterior_costs_nothing_and_the_cost_is_the_divergence():
    rng, variance = np.random.default_rng(0), 0.1
    z = rng.normal(size=200_000)
    log_ratio = -(z**2) / 2 + z**2 / (2 * variance) + math.log(variance) / 2
    line = next(line for line in forecast(dict(prior_variance=variance)).lines if "prior" in line)
    assert float(line.split("costs ")[1].split(" nats")[0]) == pytest.approx(log_ratio.mean(), rel=0.02)
    for latent in ("vamp_prior", "bernoulli"):  # which do not read that key
        assert not any("prior" in line for line in forecast(dict(prior_variance=variance), latent=latent).lines)
    assert not any("prior" in line for line in forecast().lines)


def test_a_plain_dict_is_as_good_as_a_config():
    kl = base.get_config().kl.to_dict()
    given = dict(largest_eigenvalue=1.0, entries=4, shapes=5, latent_floats=2, pays_rate=True, likelihood="bernoulli",
                 reduction="sum", variance=1.0, steps=10)  # fmt: skip
    assert preflight.preflight(kl=kl, **given) == preflight.preflight(kl=ml_collections.ConfigDict(kl), **given)


@pytest.mark.parametrize(
    ("controls", "changes", "text"),
    [
        (
            {},
            dict(largest_eigenvalue=math.nan),
            "the largest eigenvalue of the data is nan; accepted: data of finite values",
        ),
        ({}, dict(reduction="max"), "config.reconstruction.reduction is 'max'; accepted: sum, mean"),
        (dict(reduction="max"), {}, "config.kl.reduction is 'max'; accepted: sum, mean"),
        (dict(cap=0.1, cap_mode="soft"), {}, "config.kl.cap_mode is 'soft'; accepted: clip, scale, penalty"),
        (
            {},
            dict(likelihood="laplace"),
            "config.reconstruction.kind is 'laplace'; accepted: channels, gaussian, bernoulli, continuous_bernoulli, "
            "calibrated_gaussian, surface",
        ),
    ],
)
def test_unknown_names_and_data_that_are_not_finite_are_refused(controls, changes, text):
    with pytest.raises(ValueError) as error:
        forecast(controls, **changes)
    assert str(error.value) == text
