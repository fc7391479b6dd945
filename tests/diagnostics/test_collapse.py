"""Every figure against a slow loop or a closed form; and all of them compiled, and over a leading axis of runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats

from hexjax.diagnostics import collapse
from hexjax.types import Latent
from tests.diagnostics import statements


def random(*shape, seed=0, spread=1.0):
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def masks(*shape, seed=0, share=0.4):
    return np.random.default_rng(seed).uniform(size=shape) < share


def codes(*shape, seed=0, count=5):
    return np.random.default_rng(seed).integers(0, count, shape, np.int32)


# Rates and information.


def test_kl_is_summed_over_a_shapes_units_and_averaged_over_shapes():
    rates = np.array([[1, 2, 0], [3, 2, 4]], np.float32)
    found = collapse.kl_summary(rates)
    assert {name: float(value) for name, value in found.items()} == {"kl": 6, "kl_per_latent": 2, "kl_max_latent": 2}
    found = collapse.kl_summary(random(7, 9) ** 2)
    assert float(found["kl"]) == pytest.approx(9 * float(found["kl_per_latent"]), rel=1e-5)
    assert found["kl_per_latent"] < found["kl_max_latent"] < found["kl"]


def test_active_units_need_two_shapes():
    means = np.array([[[0.0, 1.0, 0.0]], [[0.0, -1.0, 0.1]]], np.float32)
    assert statements.active_units(means) == 1
    assert statements.active_units(means[:1]) is None
    assert collapse.active_unit_count(means) == 1
    assert collapse.active_unit_count(means[:1]) == 0


@pytest.mark.parametrize("offset", [0.0, 3e3, -1e5])
def test_compiled_count_of_active_units_is_that_of_double_precision_wherever_the_means_lie(offset):
    spread = np.linspace(0.02, 0.4, 400, dtype=np.float32)  # around the 0.1 of the threshold
    means = (random(64, 400) * spread[None] + np.float32(offset)).reshape(64, 20, 20)
    expected = statements.active_units(means)
    assert 200 < expected < 380
    assert jax.jit(collapse.active_unit_count)(means) == expected


def test_a_constant_mean_has_no_active_units_however_large_it_is():
    means = np.repeat(1e6 * random(1, 50), 300, 0)
    assert collapse.active_unit_count(means) == statements.active_units(means) == 0


def test_a_token_is_active_where_one_of_its_floats_is_and_not_where_all_are_the_same_for_all_shapes():
    means = np.repeat(random(1, 7, 3), 50, 0)  # tokens that differ from each other, and in no shape
    assert jax.jit(collapse.active_token_count)(means) == 0
    spread = np.zeros((7, 3), np.float32)
    spread[[1, 4], [0, 2]], spread[5] = 1.0, 0.05  # of three floats at .05 none is active, nor is their token
    changed = means + random(50, 7, 3) * spread[None]
    assert collapse.active_token_count(changed) == collapse.active_unit_count(changed) == 2
    spread[1] = 1.0
    changed = means + random(50, 7, 3) * spread[None]
    assert (collapse.active_token_count(changed), collapse.active_unit_count(changed)) == (2, 4)
    order = np.random.default_rng(0).permutation(7)
    assert collapse.active_token_count(changed[:, order]) == 2
    assert collapse.active_token_count(changed[:1]) == 0


def test_active_units_of_rotated_principal_coordinates_are_the_eigenvalues_above_the_threshold():
    eigenvalues = np.array([1, 0.2, 0.011, 0.009, 0.001, 0])
    scores = random(200, 6).astype(np.float64)
    scores = np.linalg.qr(scores - scores.mean(0))[0] * np.sqrt(200 * eigenvalues)[None]
    x = scores @ np.linalg.qr(random(6, 6, seed=1))[0]
    directions = np.linalg.svd(x - x.mean(0))[2]
    assert collapse.active_unit_count(np.float32((x - x.mean(0)) @ directions.T)) == (eigenvalues > 0.01).sum()


def gaussian_loop(samples, means, log_variances):
    deviations = np.exp(log_variances.astype(np.float64) / 2)
    rows = [[scipy.stats.norm.logpdf(z, m, s).sum() for m, s in zip(means, deviations)] for z in samples]
    return np.array(rows)


def test_gaussian_log_densities_are_those_of_a_loop():
    samples, means, log_variances = random(6, 5, seed=1), random(6, 5), random(6, 5, seed=2)
    found = collapse.gaussian_log_densities(samples, means, log_variances)
    np.testing.assert_allclose(found, gaussian_loop(samples, means, log_variances), rtol=1e-5, atol=1e-5)


def test_gaussian_log_densities_stay_usable_where_a_precision_overflows():
    means = random(4, 8)
    densities = collapse.gaussian_log_densities(means, means, np.full((4, 8), -200, np.float32))
    own = 8 * (100 - np.log(2 * np.pi) / 2)
    np.testing.assert_allclose(np.diagonal(densities), own, rtol=1e-6)
    assert (densities[~np.eye(4, dtype=bool)] == -np.inf).all()
    assert float(collapse.mutual_information(densities)) == pytest.approx(np.log(4))


def latent_of(indices, logits):
    return Latent(np.zeros((len(indices), 1, 1), np.float32), dict(indices=indices, logits=logits))


def test_bernoulli_log_densities_are_those_of_a_loop():
    bits, logits = codes(6, 3, 4, count=2), random(6, 3, 4, spread=3)
    expected = [
        [scipy.stats.bernoulli.logpmf(z, scipy.special.expit(np.float64(one))).sum() for one in logits] for z in bits
    ]
    found = collapse.discrete_log_densities(latent_of(bits, logits))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    flat = latent_of(bits.reshape(6, -1), logits.reshape(6, -1))
    np.testing.assert_array_equal(collapse.discrete_log_densities(flat._replace(code=bits.reshape(6, -1) * 1.0)), found)


def test_bernoulli_log_densities_of_certain_bits_are_zero_without_cancellation():
    bits = codes(6, 40, count=2)
    found = collapse.bernoulli_log_densities(bits, np.float32(1e6) * (2 * bits - 1).astype(np.float32))
    np.testing.assert_array_equal(np.diagonal(found), 0)


@pytest.mark.parametrize("flat", [False, True])
def test_categorical_log_densities_are_those_of_a_loop(flat):
    indices, logits = codes(6, 4), random(6, 4, 5, spread=2)
    log_q = scipy.special.log_softmax(np.float64(logits), -1)
    expected = [[sum(q[t, z[t]] for t in range(4)) for q in log_q] for z in indices]
    latent = latent_of(indices, logits.reshape(6, -1) if flat else logits)
    np.testing.assert_allclose(collapse.discrete_log_densities(latent), expected, rtol=1e-5)


def test_mutual_information_is_that_of_a_loop():
    densities = 3 * random(7, 7)
    q = np.exp(np.float64(densities))
    expected = np.mean([np.log(q[i, i] / q[i].mean()) for i in range(7)])
    assert float(collapse.mutual_information(densities)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("floats", [2, 24_576])
def test_mutual_information_of_posteriors_apart_is_log_n_and_of_equal_ones_zero(floats):
    noise, means = random(16, floats), 100 * np.arange(16, dtype=np.float32)[:, None]
    apart, equal = np.repeat(means, floats, 1), np.zeros((16, floats), np.float32)
    for mean, log_variance, expected in ((apart, 0.0, np.log(16)), (equal, 0.0, 0.0), (equal + 7, -9.0, 0.0)):
        spread = np.full((16, floats), log_variance, np.float32)
        samples = mean + np.exp(spread / 2) * noise
        found = collapse.mutual_information(collapse.gaussian_log_densities(samples, mean, spread))
        assert float(found) == pytest.approx(expected, abs=1e-6)


def test_mutual_information_is_never_above_log_n_and_does_not_see_a_change_of_measure():
    for seed in range(20):
        densities = 5 * random(9, 9, seed=seed)
        found = float(collapse.mutual_information(densities))
        assert found <= np.log(9) + 1e-6
        shift = 10 * random(9, 1, seed=seed + 100)  # log of the volume that a map of the latent gives to sample i
        assert float(collapse.mutual_information(densities + shift)) == pytest.approx(found, abs=1e-4)


def test_mutual_information_and_the_aggregated_divergence_are_the_kl():
    """Of posteriors on two points, whose aggregate is known: I = H(mean) - mean H, KL to 1/2 is log 2 - mean H."""
    p = np.array([0.9, 0.5, 0.2, 0.7])
    logits, entropy = np.log(p / (1 - p)), lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p)
    exact = 0.0
    for bit, chance in ((0, 1 - p), (1, p)):  # the expectation over z_i in full
        log_q = np.array(collapse.bernoulli_log_densities(np.full((4, 1), bit), np.float32(logits)[:, None]))
        exact += np.mean(chance * (np.diagonal(log_q) - np.log(np.exp(np.float64(log_q)).mean(1))))
    kl, aggregated = np.log(2) - entropy(p).mean(), np.log(2) - entropy(p.mean())
    assert exact == pytest.approx(kl - aggregated, abs=1e-6)


# Codes.


def test_codes_used_is_zero_of_constants_one_of_all_codes_and_else_that_of_a_loop():
    every = np.tile(np.arange(8, dtype=np.int32)[:, None], (2, 5))
    assert float(collapse.codes_used(every, 8)) == 1
    assert float(collapse.codes_used(np.full((16, 5), 3, np.int32), 8)) == 0
    assert float(collapse.codes_used(every[:4], 8)) == 1  # four shapes cannot use more than four
    indices = codes(6, 3, 4, count=4)
    used = [len(set(column)) for column in indices.reshape(6, -1).T]
    assert float(collapse.codes_used(indices, 9)) == pytest.approx((np.mean(used) - 1) / 5)
    assert np.isnan(collapse.codes_used(indices[:1], 9))


def test_bit_entropy_is_that_of_the_frequencies_at_each_position():
    indices = codes(40, 3, 4)
    counts = [np.unique(column, return_counts=True)[1] for column in indices.reshape(40, -1).T]
    expected = np.mean([scipy.stats.entropy(count, base=2) for count in counts])
    assert float(collapse.bit_entropy(indices, 5)) == pytest.approx(expected, rel=1e-5)
    uniform = np.tile(np.arange(8, dtype=np.int32)[:, None], (2, 5))
    assert float(collapse.bit_entropy(uniform, 8)) == pytest.approx(3)
    assert float(collapse.bit_entropy(uniform[:1], 8)) == 0


# Reconstructions.


def test_gaps_and_gains_are_mean_differences():
    better, worse = np.array([1, 5], np.float32), np.array([4, 6], np.float32)
    assert float(collapse.swap_gap(better, worse)) == float(collapse.gain(worse, better)) == 2


def test_distance_from_the_mean_map_is_zero_of_the_constant_one_of_the_truth_and_scales():
    truth = random(5, 3, 4)
    mean_map = truth.mean(0)
    toward = lambda share: mean_map[None] + np.float32(share) * (truth - mean_map[None])
    for share in (0, 0.25, 1, 3):
        assert float(collapse.mean_map_distance(toward(share), mean_map, truth)) == pytest.approx(share, rel=1e-5)


def iou_loop(covered, truth):
    scores = []
    for a, b in zip(covered, truth):
        a, b = set(np.flatnonzero(a)), set(np.flatnonzero(b))
        scores.append(len(a & b) / len(a | b) if a | b else 1.0)
    return np.array(scores)


def test_intersection_over_union_is_that_of_sets():
    predicted, truth = np.float32(np.random.default_rng(1).uniform(size=(9, 2, 5, 6))), masks(9, 2, 5, 6)
    truth[0], predicted[0], predicted[1] = False, 0, 0
    expected = iou_loop(predicted > 0.6, truth)
    assert expected[0] == 1
    assert expected[1] == 0
    assert float(collapse.intersection_over_union(predicted, truth, 0.6)) == pytest.approx(expected.mean(), rel=1e-6)
    np.testing.assert_allclose(collapse.iou_pairs(predicted > 0.6, truth[2]), iou_loop(predicted > 0.6, truth[[2] * 9]))


def test_intersection_over_union_of_the_truth_is_one_and_of_what_is_no_number_that_of_nothing():
    truth = masks(4, 1, 6, 6)
    assert float(collapse.intersection_over_union(truth * np.float32(1), truth, 0.5)) == 1
    assert float(collapse.intersection_over_union(np.full(truth.shape, np.nan, np.float32), truth, 0.5)) == 0
    assert float(collapse.intersection_over_union(truth * np.float32(0.5), truth, 0.5)) == 0  # above, not at


def test_threshold_sweep_is_intersection_over_union_at_each_threshold():
    predicted, truth = np.float32(np.random.default_rng(1).uniform(0, 0.8, (9, 2, 5, 6))), masks(9, 2, 5, 6)
    predicted[0] *= 0.1
    found = collapse.threshold_sweep(predicted, truth)
    np.testing.assert_allclose(collapse.THRESHOLDS, np.linspace(0.05, 0.95, 19), rtol=1e-6)
    for threshold, iou, non_empty in zip(collapse.THRESHOLDS, found["iou"], found["non_empty"]):
        covered = predicted > threshold
        assert float(iou) == pytest.approx(iou_loop(covered, truth).mean(), rel=1e-6)
        assert float(non_empty) == pytest.approx(np.mean([one.any() for one in covered]))
    assert 0 == found["non_empty"][-1] < found["non_empty"][8] < found["non_empty"][0] == 1
    some = collapse.threshold_sweep(predicted, truth, collapse.THRESHOLDS[3:5])
    np.testing.assert_array_equal(some["iou"], found["iou"][3:5])


# Gradients and numbers.


def outline_loop(mask, radius):
    """Pixels within `radius` steps of one whose 4-neighbour differs, pixel by pixel."""
    near = np.zeros(mask.shape, bool)
    height, width = mask.shape
    for i in range(height):
        for j in range(width):
            for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= i + di < height and 0 <= j + dj < width and mask[i, j] != mask[i + di, j + dj]:
                    near[i, j] = True
    found = near.copy()
    for i, j in np.argwhere(near):
        for k in range(height):
            for m in range(width):
                found[k, m] |= abs(i - k) + abs(j - m) <= radius
    return found


@pytest.mark.parametrize("radius", [0, 1, 2, 4])
def test_share_of_the_gradient_near_outlines_is_that_of_a_loop(radius):
    mask = scipy.ndimage.gaussian_filter(random(3, 2, 14, 11), (0, 0, 2, 2)) > 0.1
    mask[0, 0] = True  # no outline: the border of the image is none
    gradient = random(*mask.shape, seed=1)
    near = np.array([[outline_loop(plane, radius) for plane in shape] for shape in mask])
    share, pixels = collapse.outline_gradient_share(gradient, mask, radius)
    assert not near[0, 0].any()
    assert float(pixels) == pytest.approx(near.mean(), rel=1e-6)
    assert float(share) == pytest.approx(np.abs(gradient)[near].sum() / np.abs(gradient).sum(), rel=1e-5)


def test_a_gradient_on_the_outline_alone_is_all_near_it_and_one_far_away_is_not():
    mask = np.zeros((1, 1, 20, 20), bool)
    mask[..., 10:] = True
    at, far = (np.zeros(mask.shape, np.float32) for _ in range(2))
    at[..., 9:11], far[..., 0] = -1, 1
    assert [float(value) for value in collapse.outline_gradient_share(at, mask, 0)] == pytest.approx([1, 0.1])
    assert float(collapse.outline_gradient_share(far, mask, 3)[0]) == 0
    assert np.isnan(collapse.outline_gradient_share(0 * at, mask, 1)[0])


def test_clipping_removes_what_exceeds_the_norm():
    found = [float(collapse.clip_removed(norm, 1.0)) for norm in (0.0, 0.5, 1.0, 4.0)]
    assert found == pytest.approx([0, 0, 0, 0.75])
    assert float(collapse.clip_removed(jnp.float32(1e9), np.inf)) == 0
    assert np.isnan(collapse.clip_removed(jnp.float32(np.nan), 1.0))


def test_numbers_that_are_not_finite_are_counted_in_every_float_leaf():
    tree = {
        "a": np.array([1, np.nan, np.inf], np.float32),
        "b": (jnp.float32(-np.inf), np.arange(3)),
        "c": jax.random.key(0),
    }
    assert collapse.non_finite(tree) == 3
    assert collapse.non_finite({"b": np.arange(3), "n": None}) == 0


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (9, 9), (1, 6)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_largest_eigenvalue_is_that_of_the_covariance(shape, offset):
    x = random(*shape) * np.linspace(1, 2, shape[1], dtype=np.float32)[None] + np.float32(offset)
    centred = x.astype(np.float64) - x.astype(np.float64).mean(0)
    expected = np.linalg.eigvalsh(centred.T @ centred / len(x))[-1]
    assert float(collapse.largest_eigenvalue(x)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_two_shapes_have_a_quarter_of_their_squared_distance_as_the_largest_eigenvalue():
    x = random(2, 30)
    assert float(collapse.largest_eigenvalue(x)) == pytest.approx(((x[0] - x[1]) ** 2).sum() / 4, rel=1e-5)


def test_bootstrap_bound_is_the_normal_one_for_many_values_and_the_value_for_equal_ones():
    values = 2 + random(400)
    expected = values.mean() - 1.645 * values.std() / np.sqrt(len(values))
    assert float(collapse.bootstrap_lower(values, jax.random.key(0))) == pytest.approx(expected, abs=0.015)
    assert float(collapse.bootstrap_lower(np.full(9, 3, np.float32), jax.random.key(0))) == 3
    lower = [float(collapse.bootstrap_lower(values, jax.random.key(0), level=level)) for level in (0.5, 0.9, 0.99)]
    assert values.mean() + 0.02 > lower[0] > lower[1] > lower[2]


def test_bootstrap_bound_is_below_the_true_mean_about_as_often_as_it_says():
    draws, keys = random(400, 50, seed=3), jax.random.split(jax.random.key(1), 400)
    bounds = jax.jit(jax.vmap(functools.partial(collapse.bootstrap_lower, repeats=300)))(draws, keys)
    assert 0.90 < (bounds < 0).mean() < 0.98


def test_bootstrap_bound_is_reproducible_and_no_number_where_a_value_is_none():
    values = random(30)
    first, again = (collapse.bootstrap_lower(values, jax.random.key(5)) for _ in range(2))
    assert first == again
    assert first != collapse.bootstrap_lower(values, jax.random.key(6))
    values[3] = np.nan
    assert np.isnan(collapse.bootstrap_lower(values, jax.random.key(5)))


# All of them compile, and vmap over runs.

RUNS = 2
PURE = {
    "kl_summary": (collapse.kl_summary, random(RUNS, 6, 4) ** 2),
    "active_unit_count": (collapse.active_unit_count, 0.1 * random(RUNS, 6, 2, 9)),
    "active_token_count": (collapse.active_token_count, random(RUNS, 6, 9, 2) * np.float32([[[[0.01]]], [[[1]]]])),
    "gaussian_log_densities": (collapse.gaussian_log_densities, *(random(RUNS, 6, 4, seed=i) for i in range(3))),
    "bernoulli_log_densities": (collapse.bernoulli_log_densities, codes(RUNS, 6, 4, count=2), random(RUNS, 6, 4)),
    "categorical_log_densities": (collapse.categorical_log_densities, codes(RUNS, 6, 4), random(RUNS, 6, 4, 5)),
    "discrete_log_densities": (
        lambda indices, logits: collapse.discrete_log_densities(latent_of(indices, logits)),
        codes(RUNS, 6, 4),
        random(RUNS, 6, 4, 5),
    ),
    "mutual_information": (collapse.mutual_information, random(RUNS, 6, 6)),
    "codes_used": (functools.partial(collapse.codes_used, codes=5), codes(RUNS, 6, 4) % np.int32([[[5]], [[2]]])),
    "bit_entropy": (functools.partial(collapse.bit_entropy, codes=5), codes(RUNS, 6, 4)),
    "swap_gap": (collapse.swap_gap, random(RUNS, 6), random(RUNS, 6, seed=1)),
    "gain": (collapse.gain, random(RUNS, 6), random(RUNS, 6, seed=1)),
    "mean_map_distance": (collapse.mean_map_distance, random(RUNS, 6, 3), random(RUNS, 3), random(RUNS, 6, 3, seed=1)),
    "iou_pairs": (collapse.iou_pairs, masks(RUNS, 6, 9), masks(RUNS, 9, seed=1)),
    "intersection_over_union": (
        collapse.intersection_over_union,
        random(RUNS, 6, 9),
        masks(RUNS, 6, 9),
        np.float32([0.2, 0.6]),
    ),
    "threshold_sweep": (collapse.threshold_sweep, random(RUNS, 6, 9), masks(RUNS, 6, 9)),
    "outline_gradient_share": (
        functools.partial(collapse.outline_gradient_share, radius_px=1),
        random(RUNS, 3, 2, 7, 8),
        masks(RUNS, 3, 2, 7, 8, share=0.05),
    ),
    "clip_removed": (collapse.clip_removed, np.float32([0.5, 3]), np.float32([1, 2])),
    "non_finite": (collapse.non_finite, np.float32([[1, np.nan, 0], [np.inf, -np.inf, 1]])),
    "largest_eigenvalue": (collapse.largest_eigenvalue, random(RUNS, 6, 9)),
    "bootstrap_lower": (collapse.bootstrap_lower, random(RUNS, 9), jax.random.split(jax.random.key(0), RUNS)),
}


@pytest.mark.parametrize("name", PURE)
def test_compiled_and_over_runs_it_gives_what_it_gives_of_each_run(name):
    function, *given = PURE[name]
    found = jax.jit(jax.vmap(function))(*given)
    for run in range(RUNS):
        alone = function(*(jnp.asarray(each[run]) for each in given))
        mine = jax.tree.map(lambda leaf: leaf[run], found)  # noqa: B023
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), mine, alone)
    first, second = (np.concatenate([np.ravel(leaf[run]) for leaf in jax.tree.leaves(found)]) for run in range(RUNS))
    assert (first != second).any()


def test_no_figure_is_left_out_of_those_that_are_compiled():
    public = {
        name
        for name in vars(collapse)
        if not name.startswith("_") and getattr(vars(collapse)[name], "__module__", "") == collapse.__name__
    }
    assert public == set(PURE)
