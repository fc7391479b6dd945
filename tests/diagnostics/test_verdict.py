"""The rules in their order, on the lines of a table that was judged by hand; and forecasts against closed forms."""

import itertools
import math

import hypothesis
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from hypothesis import strategies

from configs import base
from hexjax.diagnostics import collapse, verdict
from hexjax.models import latents
from hexjax.types import Latent

HEALTHY = verdict.Evidence(
    shapes=700,
    non_finite=0,
    kl=50.0,
    gain=400.0,
    active_units=32,
    swap_gap=300.0,
    swap_error=300.0,
    constant_error=500.0,
    swap_lower=250.0,
    sampled_margin_lower=0.9,
    iou=0.90,
    iou_constant=0.54,
    codes_used=None,
    pays_rate=True,
)
COLLAPSED = HEALTHY._replace(
    kl=0.0,
    gain=-0.5,
    active_units=0,
    swap_gap=0.0,
    swap_error=0.0,
    swap_lower=-0.1,
    sampled_margin_lower=-0.1,
    iou=0.54,
)
NAN = math.nan


def name_of(**changes):
    return verdict.verdict(HEALTHY._replace(**changes)).name


# The table of pilot runs. KL, active units, witness, IoU and IoU of the constant are its own; where it gives no gain, no
# bound or no swap gap, those of HEALTHY or COLLAPSED stand in, and the gain is what its reading says of it ("KL > gain").
PILOT = {
    "silhouettes, entropy": (HEALTHY._replace(kl=51.5, sampled_margin_lower=1.05), "HEALTHY"),
    "silhouettes, squared error of variance 1": (
        HEALTHY._replace(kl=18.4, iou=0.87, sampled_margin_lower=0.99),
        "HEALTHY",
    ),
    "distances, squared error of variance 1": (  # "more collapsed than binary": fewer active units, and no failure
        HEALTHY._replace(kl=5.4, active_units=16, iou=0.77, iou_constant=0.53, sampled_margin_lower=0.85),
        "HEALTHY",
    ),
    "silhouettes, mean squared error": (COLLAPSED, "COLLAPSED"),
    "distances, mean squared error": (COLLAPSED._replace(iou=0.53, iou_constant=0.53), "COLLAPSED"),
    "depth, mean squared error": (COLLAPSED._replace(iou=0.50, iou_constant=0.50), "COLLAPSED"),
    "silhouettes, calibrated": (HEALTHY._replace(kl=267.0, sampled_margin_lower=1.06), "HEALTHY"),
    "distances, calibrated": (HEALTHY._replace(kl=128.0, iou_constant=0.53), "HEALTHY"),
    "depth, calibrated": (HEALTHY._replace(kl=172.0, iou=0.88, iou_constant=0.50), "HEALTHY"),
    "deterministic": (HEALTHY._replace(kl=None, pays_rate=False), "HEALTHY"),
    "bernoulli": (HEALTHY._replace(kl=15.7, iou=0.83), "HEALTHY"),
    "fsq": (HEALTHY._replace(kl=None, pays_rate=False, active_units=29, iou=0.88, codes_used=0.6), "HEALTHY"),
    "vamp prior": (HEALTHY._replace(kl=42.0, iou=0.89), "HEALTHY"),
    "published recipe, silhouettes": (HEALTHY._replace(kl=8534.0, gain=2400.0, sampled_margin_lower=None), "EXPLODED"),
    "published recipe, distances": (HEALTHY._replace(kl=6681.0, gain=2400.0, sampled_margin_lower=None), "EXPLODED"),
    "published recipe, depth": (HEALTHY._replace(kl=6287.0, gain=2400.0, sampled_margin_lower=None), "EXPLODED"),
    "published recipe, no cap": (HEALTHY._replace(kl=1150.0, gain=2400.0, sampled_margin_lower=0.69), "HEALTHY"),
    "published recipe, tight prior": (HEALTHY._replace(kl=26900.0, gain=2400.0, sampled_margin_lower=None), "EXPLODED"),
    "weight 1e-3, cap": (HEALTHY._replace(kl=9171.0, gain=2400.0), "EXPLODED"),
    "weight 1e-3, no cap": (HEALTHY._replace(kl=12.3, iou=0.78), "HEALTHY"),
    "fast, silhouettes": (COLLAPSED._replace(non_finite=7, kl=NAN, gain=NAN, swap_gap=NAN, iou=0.0), "EXPLODED"),
    "fast, depth": (COLLAPSED._replace(kl=76.0, sampled_margin_lower=None), "COLLAPSED"),
    "fast, no cap": (HEALTHY._replace(kl=853.0, iou=0.64), "EXPLODED"),
    "fast, clamped": (HEALTHY._replace(kl=575.0, iou=0.67), "EXPLODED"),
    "published recipe, one mesh": (
        COLLAPSED._replace(shapes=1, kl=15540.0, iou=1.0, swap_lower=None, sampled_margin_lower=None),
        "NOT-CERTIFIABLE",
    ),
}


@pytest.mark.parametrize("line", PILOT)
def test_rules_read_the_pilot_as_it_was_read_by_hand(line):
    evidence, expected = PILOT[line]
    assert verdict.verdict(evidence).name == expected


# Each rule at its threshold, and the order.


@pytest.mark.parametrize(
    ("changes", "below", "above"),
    [
        (dict(kl=(409.99, 410.01)), "WEAK", "EXPLODED"),
        (dict(kl=(399.99, 400.01)), "HEALTHY", "WEAK"),
        (dict(gain=(389.99, 390.01), kl=(400.0, 400.0)), "EXPLODED", "WEAK"),
        (dict(swap_lower=(0.0, 0.01)), "WEAK", "HEALTHY"),
        (dict(sampled_margin_lower=(0.0, 0.01)), "WEAK", "HEALTHY"),
        (dict(iou=(0.639, 0.641)), "WEAK", "HEALTHY"),
        (dict(shapes=(1, 2)), "NOT-CERTIFIABLE", "HEALTHY"),
        (dict(non_finite=(0, 1)), "HEALTHY", "EXPLODED"),
        (dict(kl=(1e9, 1e9), pays_rate=(False, True)), "HEALTHY", "EXPLODED"),
        (dict(gain=(0.0, 0.01), kl=(9.0, 9.0), pays_rate=(False, False)), "WEAK", "HEALTHY"),
    ],
)
def test_a_healthy_model_changes_its_verdict_at_each_threshold(changes, below, above):
    found = [name_of(**{name: values[side] for name, values in changes.items()}) for side in (0, 1)]
    assert found == [below, above]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (dict(swap_error=4.99), "COLLAPSED"),
        (dict(swap_error=5.01), "WEAK"),
        (dict(swap_error=-3.0), "COLLAPSED"),
        (dict(active_units=1), "WEAK"),
        (dict(sampled_margin_lower=0.01), "WEAK"),
        (dict(sampled_margin_lower=0.0), "COLLAPSED"),
        (dict(sampled_margin_lower=-math.inf), "COLLAPSED"),
        (dict(sampled_margin_lower=NAN), "COLLAPSED"),
        (dict(sampled_margin_lower=None), "COLLAPSED"),
        (dict(active_units=None), "WEAK"),
        (dict(swap_error=None), "WEAK"),
        (dict(pays_rate=False), "COLLAPSED"),
    ],
)
def test_a_collapsed_model_is_one_by_all_three_signs_only(changes, name):
    assert verdict.verdict(COLLAPSED._replace(**changes)).name == name


def test_earlier_rules_win():
    everything = COLLAPSED._replace(non_finite=1, shapes=1, kl=1e4)
    found = [
        verdict.verdict(everything).name,
        verdict.verdict(everything._replace(non_finite=0)).name,
        verdict.verdict(everything._replace(non_finite=0, shapes=2)).name,
        verdict.verdict(everything._replace(non_finite=0, shapes=2, active_units=1)).name,
    ]
    assert found == ["EXPLODED", "NOT-CERTIFIABLE", "COLLAPSED", "EXPLODED"]


@pytest.mark.parametrize(
    ("evidence", "tags"),
    [
        (HEALTHY, ()),
        (HEALTHY._replace(sampled_margin_lower=None), ("no witness",)),
        (HEALTHY._replace(held_out=False), ("training shapes",)),
        (HEALTHY._replace(codes_used=0.09), ("codebook collapsed",)),
        (HEALTHY._replace(codes_used=0.10), ()),
        (HEALTHY._replace(codes_used=NAN), ()),
        (HEALTHY._replace(kl=1e4), ("rate above gain",)),
        (HEALTHY._replace(non_finite=3, sampled_margin_lower=None), ("non-finite",)),
        (COLLAPSED._replace(kl=5.0), ()),
        (COLLAPSED._replace(kl=5.1), ("wasted rate",)),
        (COLLAPSED._replace(kl=5.1, pays_rate=False), ()),
        (HEALTHY._replace(shapes=1, iou=0.95, codes_used=0.0), ("decoder ok",)),
        (HEALTHY._replace(shapes=1, iou=0.94, held_out=False), ("training shapes", "decoder failed")),
        (HEALTHY._replace(shapes=1, iou=None), ()),
    ],
)
def test_tags_tell_what_the_name_does_not(evidence, tags):
    assert verdict.verdict(evidence).tags == tags


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (
            HEALTHY,
            "gain less rate 350 nats; swap gap at least 250 nats; IoU 0.9, asked 0.64; margin of a witness at least 0.9 nats",
        ),
        (
            HEALTHY._replace(iou=0.6, swap_lower=None),
            "too little: swap gap at least (not measured); IoU 0.6, asked 0.64",
        ),
        (HEALTHY._replace(gain=-1.0, pays_rate=False), "too little: gain -1 nats"),
        (HEALTHY._replace(kl=None), "too little: gain less rate (not measured)"),
        (HEALTHY._replace(kl=1e4), "the rate 1e+04 nats is more than 10 above the gain 400 nats"),
        (HEALTHY._replace(non_finite=3), "3 numbers among loss, parameters and latents are not finite"),
        (HEALTHY._replace(kl=math.inf), "kl is inf"),
        (
            COLLAPSED,
            "no unit's variance is above 0.01; another shape's latent costs 0, below 1 % of the constant predictor's 500; "
            "margin of a witness at least -0.1 nats; KL 0 nats",
        ),
        (
            COLLAPSED._replace(sampled_margin_lower=None, pays_rate=False, kl=None),
            "no unit's variance is above 0.01; another shape's latent costs 0, below 1 % of the constant predictor's 500",
        ),
        (
            HEALTHY._replace(shapes=1, kl=15540.0, iou=1.0),
            "1 distinct shape, of which a latent can tell nothing; IoU 1, asked 0.95; KL 1.554e+04 nats",
        ),
    ],
)
def test_the_reason_tells_the_numbers_that_decided(evidence, reason):
    assert verdict.verdict(evidence).reason == reason


FIGURES = (
    "kl",
    "gain",
    "swap_gap",
    "swap_error",
    "constant_error",
    "swap_lower",
    "sampled_margin_lower",
    "iou",
    "iou_constant",
)


@pytest.mark.parametrize(("figure", "value"), [*itertools.product(FIGURES, (NAN, math.inf, -math.inf))])
def test_no_figure_that_is_not_finite_makes_or_keeps_a_model_healthy(figure, value):
    is_bound = figure in ("swap_lower", "sampled_margin_lower")
    assert name_of(**{figure: value}) == ("WEAK" if is_bound else "EXPLODED")


def test_a_rate_that_nothing_charges_may_be_anything():
    assert name_of(kl=NAN, pays_rate=False) == name_of(kl=None, pays_rate=False) == "HEALTHY"


@pytest.mark.parametrize("figure", ["gain", "kl", "swap_lower", "iou", "iou_constant"])
def test_what_was_not_measured_is_not_healthy(figure):
    assert name_of(**{figure: None}) == "WEAK"
    assert name_of(sampled_margin_lower=None) == "HEALTHY"


numbers = strategies.none() | strategies.floats(-1e3, 1e3) | strategies.sampled_from([NAN, math.inf, -math.inf, 0.0])
evidences = strategies.builds(
    verdict.Evidence,
    shapes=strategies.integers(0, 3),
    non_finite=strategies.integers(0, 1),
    active_units=strategies.none() | strategies.integers(0, 2),
    codes_used=numbers,
    pays_rate=strategies.booleans(),
    held_out=strategies.booleans(),
    **dict.fromkeys(FIGURES, numbers),
)


def holds(*pairs):
    return all(a is not None and b is not None and a > b for a, b in pairs)


@hypothesis.settings(max_examples=1000, deadline=None)
@hypothesis.given(
    evidences | strategies.builds(HEALTHY._replace, **dict.fromkeys(("kl", "gain", "swap_lower"), numbers))
)
def test_every_evidence_gets_one_verdict_in_one_line_and_healthy_has_all_its_conditions(evidence):
    name, reason, tags = verdict.verdict(evidence)
    assert name in verdict.NAMES
    assert reason
    assert "\n" not in reason
    assert len(set(tags)) == len(tags)
    if name == "HEALTHY":
        assert evidence.shapes >= 2
        assert evidence.non_finite == 0
        assert holds((evidence.gain, evidence.kl if evidence.pays_rate else 0), (evidence.swap_lower, 0))
        assert holds((evidence.iou, evidence.iou_constant))
        assert evidence.sampled_margin_lower is None or evidence.sampled_margin_lower > 0
    if name == "COLLAPSED":
        assert evidence.active_units == 0
        assert evidence.swap_error < evidence.constant_error / 100


@pytest.mark.parametrize(("constant", "least"), [(0.4, 0.5), (0.8, 0.9), (0.95, 0.975)])
def test_shapes_that_are_much_alike_are_asked_for_half_of_what_is_missing(constant, least):
    judged = lambda iou: verdict.verdict(HEALTHY._replace(iou=iou, iou_constant=constant)).name
    assert (judged(least + 1e-6), judged(least - 1e-6)) == ("HEALTHY", "WEAK")


def test_thresholds_are_those_of_the_rules():
    assert verdict.THRESHOLDS == (collapse.ACTIVE_VARIANCE, 0.01, 5, 10, 0.10, 0.95, 0.10)


# Before the first step.

PUBLISHED = dict(entries=1_572_864, latent_floats=400_000, likelihood="channels", reduction="mean")


def forecast(controls=None, **changes):
    """Of 700 shapes of 32^2 silhouettes and 32 floats at the plain ELBO with variance 1, but for changes."""
    kl = base.get_config().kl
    kl.final_weight = 1.0
    kl.update(controls or {})
    given = dict(largest_eigenvalue=54.8, entries=3072, shapes=700, latent_floats=32, pays_rate=True, likelihood="gaussian",
                 reduction="sum", variance=1.0, steps=1000)  # fmt: skip
    return verdict.preflight(**given | changes, kl=kl)


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
    assert alone.lines[-2:] == ("1 shape: a latent can tell nothing of it", "expected: NOT-CERTIFIABLE")
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
        assert cost == pytest.approx(float(latents.gaussian_kl(latent, prior).sum()), rel=1e-3)
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
    assert verdict.preflight(kl=kl, **given) == verdict.preflight(kl=ml_collections.ConfigDict(kl), **given)


@pytest.mark.parametrize(
    ("controls", "changes", "text"),
    [
        (
            {},
            dict(largest_eigenvalue=NAN),
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
