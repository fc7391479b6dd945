"""The rules in their order, on the lines of a table that was judged by hand."""

import itertools
import math

import hypothesis
import pytest
from hypothesis import strategies

from hexjax import names
from hexjax.diagnostics import collapse, verdict

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
        (HEALTHY._replace(swap_error=5.01), ()),
        (HEALTHY._replace(swap_error=4.99), ("decoder ignores the latent",)),
        (HEALTHY._replace(sampled_margin_lower=0.0), ()),
        (
            HEALTHY._replace(swap_error=4.99, sampled_margin_lower=0.0),
            ("decoder ignores the latent", "no witness reads the latent"),
        ),
        (HEALTHY._replace(swap_error=4.99, sampled_margin_lower=None), ("no witness", "decoder ignores the latent")),
        (HEALTHY._replace(information=math.log(7.9), information_ceiling=math.log(64)), ("few kinds told apart",)),
        (HEALTHY._replace(information=math.log(8.1), information_ceiling=math.log(64)), ()),
        (HEALTHY._replace(information=math.log(2.1), information_ceiling=math.log(4)), ()),
        (HEALTHY._replace(shapes=2, information=math.log(1.9), information_ceiling=math.log(64)), ()),
        (COLLAPSED._replace(information=0.0, information_ceiling=math.log(64)), ()),
        (HEALTHY._replace(active_tokens=94, tokens=100), ("few tokens active",)),
        (HEALTHY._replace(active_tokens=95, tokens=100), ()),
        (COLLAPSED._replace(active_tokens=0, tokens=100), ("few tokens active",)),
        (HEALTHY._replace(shapes=1, active_tokens=0, tokens=100), ("decoder failed",)),
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
        (
            HEALTHY._replace(kl=None, active_tokens=3, tokens=4),
            "too little: gain less rate (not measured); 3 of 4 tokens active",
        ),
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
    assert name in names.VERDICTS
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
    assert verdict.THRESHOLDS == (collapse.ACTIVE_VARIANCE, 0.01, 5, 10, 0.10, 0.95, 0.10, 8, 0.95)


# Before the first step.
