"""Ranking, shrinkage, spread and what no generator gives: on latents whose answer is known."""

import numpy as np
import pytest

from hexjax.diagnostics import generation

RANDOM = np.random.default_rng(0)
KNOWN = RANDOM.standard_normal((40, 16)) + 6.0  # what all share is larger than what tells them apart
MEAN = KNOWN.mean(0)


def predicted(share, noise=0.0):
    return MEAN + share * (KNOWN - MEAN) + noise * RANDOM.standard_normal(KNOWN.shape)


def test_the_truth_is_found_raw_and_centred():
    for centred in (False, True):
        found = generation.ranking(KNOWN, KNOWN, np.arange(40), centred)
        assert (found["top1"], found["top5"], found["distinct"], found["hub"]) == (1, 1, 1, 1 / 40)
        np.testing.assert_allclose([found["cosine"], found["least"]], 1)
        assert found["margin"] > 0


def test_a_right_but_shrunken_answer_looks_like_an_attractor_until_it_is_centred():
    found = [generation.ranking(predicted(0.1, 0.02), KNOWN, np.arange(40), centred) for centred in (False, True)]
    assert found[0]["top1"] < 0.4
    assert found[0]["hub"] > 0.3
    assert found[0]["cosine"] > 0.97
    assert found[1]["top1"] == 1
    assert found[1]["distinct"] == 1


def test_ranks_are_those_of_the_rows_that_are_asked_for():
    own = RANDOM.permutation(40)
    found = generation.ranking(KNOWN[own], KNOWN, own, True)
    assert found["top1"] == 1
    wrong = generation.ranking(KNOWN[own], KNOWN, np.roll(own, 1), True)
    assert wrong["top1"] == 0
    assert wrong["margin"] < 0


def test_shrinkage_tells_how_much_of_the_deviation_is_there_and_what_is_beside():
    found = generation.shrinkage(predicted(0.3), KNOWN, KNOWN)
    np.testing.assert_allclose([found["kept"], found["beside"]], [0.3, 0], atol=1e-9)
    other = generation.shrinkage(predicted(0.3, 0.5), KNOWN, KNOWN)
    assert abs(other["kept"] - 0.3) < 0.1
    assert 0.3 < other["beside"] < 0.7


def test_the_nearest_known_latent_is_a_copy_of_a_copy():
    np.testing.assert_allclose(generation.nearest(KNOWN[:5], KNOWN), 0, atol=1e-6)
    away = KNOWN[:5] + np.eye(16)[:5] * 1e-3
    np.testing.assert_allclose(generation.nearest(away, KNOWN), 1e-3, rtol=1e-3)


def test_pairs_are_better_only_where_the_interval_is_off_zero():
    base, noise = RANDOM.standard_normal(60), RANDOM.standard_normal(60)
    same, large = base + 0.01 * (noise - np.median(noise)), base + 1 + 0.1 * noise
    middle, low, high = generation.paired(large, base, 0)
    assert low < middle < high
    assert 0.9 < low < high < 1.1
    assert generation.is_better(large, base, True, 0)
    assert generation.is_better(base, large, False, 0)
    assert not generation.is_better(base, large, True, 0)
    assert not any(generation.is_better(same, base, higher, 0) for higher in (True, False))


def test_ridge_is_least_squares_without_a_penalty_and_the_mean_with_a_large_one():
    x = RANDOM.standard_normal((50, 4))
    weights = RANDOM.standard_normal((4, 3))
    y = x @ weights + 2.0
    asked = RANDOM.standard_normal((7, 4))
    np.testing.assert_allclose(generation.ridge(x, y, asked, 1e-9), asked @ weights + 2, atol=1e-6)
    np.testing.assert_allclose(generation.ridge(x, y, asked, 1e12), np.broadcast_to(y.mean(0), (7, 3)), atol=1e-6)
    wide = RANDOM.standard_normal((20, 60))
    direct = np.linalg.solve(np.cov(wide.T, bias=True) / np.outer(wide.std(0), wide.std(0)) * 20 + 5 * np.eye(60),
                             ((wide - wide.mean(0)) / wide.std(0)).T @ (y[:20] - y[:20].mean(0)))  # fmt: skip
    expected = (wide[:3] - wide.mean(0)) / wide.std(0) @ direct + y[:20].mean(0)
    np.testing.assert_allclose(generation.ridge(wide, y[:20], wide[:3], 5.0), expected, rtol=1e-6)


def test_the_penalty_is_chosen_that_predicts_best():
    x = RANDOM.standard_normal((60, 30))
    clean = x @ RANDOM.standard_normal((30, 2))
    assert generation.chosen_ridge(x, clean) == 1.0
    assert generation.chosen_ridge(x, RANDOM.standard_normal((60, 2))) > 100


def test_pairs_of_a_centred_set_of_equal_lengths_have_a_mean_cosine_of_minus_one_over_one_less():
    simplex = np.eye(7) - 1 / 7
    others = np.broadcast_to(RANDOM.standard_normal(9), (3, 9))
    turned = np.stack([np.cos(np.arange(5) * 2 * np.pi / 5), np.sin(np.arange(5) * 2 * np.pi / 5)], 1)
    for centred in (simplex, turned, 3 * turned):
        found = generation.spread(centred)
        assert found["cosine_expected"] == -1 / (len(centred) - 1)
        np.testing.assert_allclose([found["cosine"], found["cosine_centred"]], -1 / (len(centred) - 1), atol=1e-12)
    assert generation.spread(others)["cosine_centred"] is None
    assert generation.spread(others)["half"] is None


def test_of_any_centred_set_it_is_the_mean_inner_product_over_the_mean_square():
    centred = (KNOWN - MEAN) * np.linspace(0.1, 5, 40)[:, None]
    centred -= centred.mean(0)
    products = (centred @ centred.T)[np.triu_indices(40, 1)]
    expected = generation.spread(KNOWN)["cosine_expected"]
    np.testing.assert_allclose(products.mean() / np.square(centred).sum(1).mean(), expected)


def test_what_all_share_is_in_raw_cosines_and_not_in_centred_ones():
    found = generation.spread(KNOWN)
    assert found["cosine"] > 0.95
    assert abs(found["cosine_centred"] - found["cosine_expected"]) < 0.01
    assert found["norm_least"] < found["norm"] < found["norm_largest"]
    copies = generation.spread(np.concatenate([KNOWN, KNOWN[:1] + 1e-3]))
    assert found["cosine_largest"] < 0.8 < 0.99 < copies["cosine_largest"]


def test_components_are_counted_that_hold_half_and_nine_tenths():
    deviations = np.sqrt([5.5, 3, 1, 0.25, 0.25])
    signs = np.array([[1 if row >> bit & 1 else -1 for bit in range(5)] for row in range(32)])  # uncorrelated columns
    places, variances = generation.principal(signs * deviations + 2, 2)
    found = generation.spread(signs * deviations + 2)
    np.testing.assert_allclose(variances[:6], [5.5, 3, 1, 0.25, 0.25, 0], atol=1e-9)
    np.testing.assert_allclose(np.abs(places), np.broadcast_to(deviations[:2], (32, 2)), atol=1e-6)
    assert (found["half"], found["ninety"]) == (1, 3)
    np.testing.assert_allclose(found["participation"], 10**2 / (5.5**2 + 9 + 1 + 2 * 0.25**2))


def test_one_latent_alone_is_refused():
    with pytest.raises(ValueError, match=r"^got 1 latents; accepted: at least 2$"):
        generation.spread(KNOWN[:1])
