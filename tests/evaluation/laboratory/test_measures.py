"""Statistics over runs: bounds are exact, what is not finite is told."""

import itertools

import numpy as np
import pytest
import scipy.stats

from hexjax.evaluation.laboratory import measures, results
from tests.evaluation.laboratory import toys


@pytest.mark.parametrize(
    ("successes", "trials", "lower"), [(5, 5, 0.549), (10, 10, 0.741), (0, 5, 0.0), (9, 10, 0.606)]
)
def test_the_lower_bound_on_a_rate_is_the_known_one(successes, trials, lower):
    assert measures.rate_lower(successes, trials) == pytest.approx(lower, abs=5e-4)


def test_at_the_lower_bound_so_many_successes_have_the_chance_of_doubt():
    for successes, trials in ((1, 7), (4, 9), (9, 9)):
        rate = measures.rate_lower(successes, trials, 0.1)
        chance = sum(scipy.stats.binom.pmf(count, trials, rate) for count in range(successes, trials + 1))
        assert chance == pytest.approx(0.1)


def test_separation_is_the_share_of_pairs_with_ties_counted_half():
    random = np.random.default_rng(0)
    failed, healthy = (random.integers(0, 6, count).astype(float) for count in (30, 17))
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(failed, healthy)]
    assert measures.separation(failed, healthy) == pytest.approx(np.mean(pairs))
    assert measures.separation(healthy, failed) == pytest.approx(1 - np.mean(pairs))
    assert measures.separation(healthy + 10, healthy) == 1
    assert np.isnan(measures.separation(failed, np.zeros(0)))


def test_a_spread_is_median_least_and_largest_and_tells_what_is_not_finite():
    assert measures.spread(np.array([3.0, 1.0, 2.5])) == "2.50 (1..3)"
    assert measures.spread(np.array([4.0, np.nan, 4.0])) == "4; 1 not finite"
    assert measures.spread(np.array([np.nan, np.inf])) == "2 not finite"
    assert measures.spread(np.zeros(0)) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0, "0"), (32.0, "32"), (15540.4, "15,540"), (0.0481, "0.048"), (1.2345, "1.23"), (-41.26, "-41.3"),
     (2e-5, "2e-05"), (-1.1309e38, "-1.13e38"), (6562450.0, "6.56e6"), (np.nan, "–")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert measures.number(value) == text


def test_a_prediction_that_no_threshold_made_holds_for_every_weight(tmp_path):
    unknown = {"decoder_variance": None, "predicted": "UNKNOWN"}
    toys.write_cell(
        tmp_path,
        "collapse_witness",
        "silhouettes,entropy,gaussian,many,plain",
        toys.of_weights(1.0, 99.0),
        preflight=unknown,
    )
    assert [measures.predicted(group) for group in results.read(tmp_path).groups] == ["UNKNOWN", "UNKNOWN"]


def test_many_missing_cells_are_counted(tmp_path):
    toys.name_cells(tmp_path, "collapse_cause", *(f"cell {number}" for number in range(measures.NAMED + 4)))
    assert measures.missing_text(results.read(tmp_path), "collapse_cause").endswith("; and 4 more.\n")


def test_pairs_are_alike_in_all_that_their_cells_override_but_how_each_sees_the_input(tmp_path):
    first, second = "silhouettes,entropy,gaussian,many", "silhouette_sdf,entropy,gaussian,many"
    own = ({"reconstruction.kind": "bernoulli"}, {"reconstruction.kind": "continuous_bernoulli", "sweep.seeds": "3"})
    runs = [toys.make_run(0)]
    toys.write_cell(tmp_path, "collapse_latents", first, runs, overrides=own[0])
    toys.write_cell(tmp_path, "collapse_latents", f"{first},wide", runs, overrides={"latent.channels": "8"},
                    factors={"control": ""})  # fmt: skip
    toys.write_cell(tmp_path, "collapse_latents", second, runs, overrides=own[1])
    ((left, right),) = measures.pairs(results.read(tmp_path).groups)
    assert (left.name, right.name) == (first, second)
