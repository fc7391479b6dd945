"""The statements of the witness, each as a test, in float64; and what a margin does not say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.diagnostics import fitted, witness
from tests.diagnostics import statements

SETTINGS = pytest.mark.parametrize(("classes", "temperature"), [(2, 1.0), (3, 4.0), (10, 0.5)])


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


def soft_classes(classes, count=400, seed=0, spread=1.5, floor=0.01):
    """Posteriors [n, k] of unequal mean, floored."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(count, classes)) + 0.5 * rng.normal(size=classes)
    t = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return (1 - classes * floor) * t + floor


def divergence(p, q):
    """KL(p || q) by its definition, over the last axis."""
    return (p * (np.log(p) - np.log(q))).sum(-1)


def uniform(classes):
    return np.full(classes, 1 / classes)


def renyi(a, p, q):
    return np.log((p**a * q ** (1 - a)).sum(-1)) / (a - 1)


def encoders(t, temperature, count, seed=1):
    """Means between nothing and the closed-form code, rotated, shrunk and disturbed at random."""
    rng = np.random.default_rng(seed)
    code = np.asarray(code_of(t, temperature))
    for _ in range(count):
        mixed = np.eye(code.shape[1]) + rng.uniform(0, 0.5) * rng.normal(size=(code.shape[1],) * 2)
        noise = rng.uniform(0, 0.5) * code.std() * rng.normal(size=code.shape)
        yield rng.uniform(0, 1.2) * code @ mixed + noise


log_q_of = jax.jit(witness.witness_log_q, static_argnums=1)
code_of = jax.jit(witness.closed_form_code)
force_of = jax.jit(witness.escape_force)
information_of = jax.jit(witness.information)
path_of = jax.jit(statements.margin_path)
loss_of = jax.jit(witness.alignment)
score_of = jax.jit(witness.margin)


@jax.jit
def margin_of(t, mean, temperature, log_prior):
    return witness.margin(t, witness.witness_log_q(mean, t.shape[1], temperature, log_prior))


def fixed_margin(t, mean, temperature, log_prior=None):
    return float(margin_of(t, mean, temperature, log_prior))


@pytest.mark.parametrize("classes", [2, 3, 5, 10])
def test_simplex_vertices_are_unit_equidistant_and_sum_to_zero(classes):
    s = witness.simplex(classes)
    gram = np.full((classes, classes), -1 / (classes - 1))
    np.fill_diagonal(gram, 1)
    assert s.shape == (classes - 1, classes)
    np.testing.assert_allclose(s.T @ s, gram, atol=1e-14)
    np.testing.assert_allclose(s.sum(1), 0, atol=1e-14)
    np.testing.assert_allclose(s @ s.T, classes / (classes - 1) * np.eye(classes - 1), atol=1e-14)


@SETTINGS
def test_statement_1_the_best_constant_predictor_is_the_mean_class_and_costs_the_information(classes, temperature):
    t = soft_classes(classes)
    tbar, found = t.mean(0), float(information_of(t))
    np.testing.assert_allclose(divergence(t, tbar[None]).mean(), found, rtol=1e-12)
    for c in soft_classes(classes, 50, seed=1):
        np.testing.assert_allclose(divergence(t, c[None]).mean(), found + divergence(tbar, c), rtol=1e-12)
        assert divergence(t, c[None]).mean() > found


@jax.jit
def held_out_margin(t, mean):
    """Of a witness that is fitted on the first 300 shapes and scored on the others."""
    known = fitted.fit_witness(mean[:300], t[:300])
    return witness.margin(t[300:], fitted.apply_witness(known, mean[300:]))


@SETTINGS
def test_statement_2_no_witness_of_a_constant_mean_has_a_positive_margin(classes, temperature):
    t, rng = soft_classes(classes), np.random.default_rng(1)
    for constant in 3 * rng.normal(size=(10, 1, classes + 2)):
        mean = np.repeat(constant, len(t), 0)
        network = np.tanh(mean @ rng.normal(size=(classes + 2, 16))) @ rng.normal(size=(16, classes))
        said = np.exp(network) / np.exp(network).sum(1, keepdims=True)
        for log_q in (log_q_of(mean, classes, temperature), np.log(said)):
            found = float(score_of(t, log_q))
            np.testing.assert_allclose(found, -divergence(t.mean(0), np.exp(log_q[0])), atol=1e-12)
            assert found <= 1e-12


@SETTINGS
def test_statement_3_the_force_is_the_gradient_and_at_the_mean_class_it_has_the_stated_second_moment(
    classes, temperature
):
    t, beta = soft_classes(classes), temperature
    for mean in encoders(t, beta, 3):
        slope = jax.jit(jax.grad(lambda mean: len(t) * witness.alignment(mean, t, beta)))(mean)
        q = np.exp(log_q_of(mean, classes, beta))
        np.testing.assert_allclose(force_of(t, q, beta), -slope, atol=1e-12)
    tbar = t.mean(0)
    force = np.asarray(force_of(t, np.repeat(tbar[None], len(t), 0), beta))
    variance = ((t - tbar) ** 2).sum(1).mean()
    np.testing.assert_allclose(force.mean(0), 0, atol=1e-13)
    np.testing.assert_allclose((force**2).sum(1).mean(), beta**2 * classes / (classes - 1) * variance, rtol=1e-12)


@SETTINGS
def test_statement_3_the_loss_is_convex_in_the_mean(classes, temperature):
    t, s = soft_classes(classes, 40), witness.simplex(classes)
    loss = lambda m, t: witness.alignment(m[None], t[None], temperature)
    for mean in encoders(t, temperature, 1):
        found = jax.jit(jax.vmap(jax.hessian(loss)))(mean, t)
        q = np.exp(log_q_of(mean, classes, temperature))
        middle = np.stack([np.diag(row) - np.outer(row, row) for row in q])
        np.testing.assert_allclose(found, temperature**2 * s @ middle @ s.T, atol=1e-12)
        assert np.linalg.eigvalsh(found).min() > -1e-14


@SETTINGS
def test_statement_4_the_closed_form_code_makes_the_witness_say_exactly_the_teachers_classes(classes, temperature):
    t = soft_classes(classes)
    for log_prior in (None, np.log(t.mean(0))):
        code = code_of(t, temperature, log_prior)
        log_q = np.asarray(log_q_of(code, classes, temperature, log_prior))
        assert code.shape == (400, classes - 1)
        assert np.abs(divergence(t, np.exp(log_q))).max() < 1e-14
        np.testing.assert_allclose(np.exp(log_q), t, rtol=1e-12)
        np.testing.assert_allclose(loss_of(code, t, temperature, log_prior), 0, atol=1e-14)


@SETTINGS
def test_statement_5_the_energy_is_the_codes_and_the_sum_of_squared_log_ratios(classes, temperature):
    t = soft_classes(classes)
    code = np.asarray(code_of(t, temperature))
    ratios = np.log(t[:, :, None] / t[:, None, :])
    pairs = (ratios**2).sum((1, 2)).mean() / (2 * classes)
    found = float(statements.energy(t, temperature))
    np.testing.assert_allclose(found, (code**2).sum(1).mean() / 2, rtol=1e-12)
    np.testing.assert_allclose(found, (classes - 1) / (2 * classes * temperature**2) * pairs, rtol=1e-12)


@SETTINGS
def test_statement_6_along_the_path_the_margin_has_its_renyi_form(classes, temperature):
    t = soft_classes(classes)
    tbar, alphas = t.mean(0), np.linspace(0, 1, 21)
    information = divergence(t, tbar[None]).mean()
    path = path_of(t, temperature, alphas)
    stated = [a * information + (1 - a) * renyi(a, t, tbar).mean() for a in alphas[:-1]]
    np.testing.assert_allclose(path.margin[:-1], stated, atol=1e-12)
    np.testing.assert_allclose(path.margin[jnp.array([0, -1])], [0, information], atol=1e-12)
    assert (np.diff(path.margin) > 0).all()
    assert (np.diff(path.margin, 2) < 0).all()
    slope_at = jax.jit(jax.grad(lambda a: path_of(t, temperature, a[None]).margin[0]))
    slope = information + divergence(tbar[None], t).mean()
    np.testing.assert_allclose(slope_at(jnp.float64(0)), slope, rtol=1e-10)
    np.testing.assert_allclose(slope_at(jnp.float64(1)), 0, atol=1e-10)


@SETTINGS
def test_statement_6_the_energy_above_the_anchor_grows_as_the_square(classes, temperature):
    t, alphas = soft_classes(classes), np.linspace(0, 1, 5)
    anchored = np.asarray(code_of(t, temperature, np.log(t.mean(0))))
    energy = path_of(t, temperature, alphas).energy
    np.testing.assert_allclose(energy, alphas**2 * (anchored**2).sum(1).mean() / 2, rtol=1e-12)


@SETTINGS
def test_statement_6_anchored_at_zero_the_path_starts_below_zero(classes, temperature):
    t = soft_classes(classes)
    code, entropy = np.asarray(code_of(t, temperature)), -(t * np.log(t)).sum(1)
    information = float(information_of(t))
    np.testing.assert_allclose(entropy, witness.entropy(t), rtol=1e-12)
    for a in (0.0, 0.3, 0.9):
        renyi_entropy = np.log((t**a).sum(1)) / (1 - a)
        stated = information - (1 - a) * (renyi_entropy - entropy).mean()
        np.testing.assert_allclose(fixed_margin(t, a * code, temperature), stated, atol=1e-12)
    start = fixed_margin(t, 0 * code, temperature)
    np.testing.assert_allclose(start, -divergence(t.mean(0), uniform(classes)), atol=1e-12)


@SETTINGS
def test_statement_7_a_margin_takes_variance(classes, temperature):
    t, positive = soft_classes(classes), 0
    for mean in encoders(t, temperature, 100):
        margin = fixed_margin(t, mean, temperature)
        positive += margin > 0
        assert np.trace(np.cov(mean.T, ddof=0).reshape((classes - 1,) * 2)) >= statements.minimal_variance(
            t, margin, temperature
        )
    assert positive > 20


@SETTINGS
def test_statement_7_is_tight_for_small_steps_along_the_force(classes, temperature):
    t = soft_classes(classes)
    tbar = np.repeat(t.mean(0)[None], len(t), 0)
    anchor, force = code_of(tbar, temperature), force_of(t, tbar, temperature)
    ratios = []
    for step in (1e-2, 1e-3, 1e-4):
        mean = np.asarray(anchor + step / temperature**2 * force)
        least = statements.minimal_variance(t, fixed_margin(t, mean, temperature), temperature)
        ratios.append(float(mean.var(0).sum() / least))
    assert ratios[0] > ratios[1] > ratios[2] >= 1
    assert ratios[2] == pytest.approx(1, abs=1e-3)


def test_statement_7_asks_nothing_of_a_margin_that_is_not_positive_or_of_one_class():
    t = soft_classes(3)
    assert statements.minimal_variance(t, -0.1, 1.0) == 0
    assert statements.minimal_variance(np.repeat(t[:1], 4, 0), 0.0, 1.0) == 0


def few_codes(classes, seed=0):
    """Shapes of which several share a mean: their classes [n, k], means [n, j], and which mean each has [n]."""
    rng = np.random.default_rng(seed)
    t, which = soft_classes(classes, seed=seed), np.arange(400) % 7
    return t, rng.normal(size=(7, classes - 1))[which], which


def exact_information(t, which):
    """I(code; T) of uniform shapes by enumerating the joint table."""
    joint = np.stack([t[which == code].sum(0) for code in range(which.max() + 1)]) / len(t)
    assert joint.sum() == pytest.approx(1)
    return (joint * np.log(joint / (joint.sum(0) * joint.sum(1)[:, None]))).sum()


@SETTINGS
def test_statement_8_the_margin_is_below_the_mutual_information_of_mean_and_class(classes, temperature):
    for seed in range(20):
        t, mean, which = few_codes(classes, seed)
        assert fixed_margin(t, mean, temperature) < exact_information(t, which)


@SETTINGS
def test_statement_8_the_margin_of_the_true_conditional_is_the_mutual_information(classes, temperature):
    t, _, which = few_codes(classes)
    conditional = np.stack([t[which == code].mean(0) for code in which])
    found = float(score_of(t, np.log(conditional)))
    np.testing.assert_allclose(found, exact_information(t, which), rtol=1e-12)
    assert found < information_of(t)


@SETTINGS
def test_statement_8_the_margin_is_the_barber_agakov_bound_of_drawn_classes(classes, temperature):
    """E log q(T | mean) + H(T) with T drawn from the teacher, as libraries of such bounds have it."""
    t, mean, _ = few_codes(classes)
    rng, draws = np.random.default_rng(2), 600
    log_q = np.asarray(log_q_of(mean, classes, temperature))
    drawn = np.stack([rng.choice(classes, draws, p=row) for row in t])
    scores = np.take_along_axis(log_q, drawn, 1)
    frequency = np.bincount(drawn.reshape(-1), minlength=classes) / drawn.size
    bound = scores.mean() - (frequency * np.log(frequency)).sum()
    doubt = (scores - np.log(frequency)[drawn]).std() / np.sqrt(drawn.size)
    assert abs(bound - fixed_margin(t, mean, temperature)) < 4 * doubt
    assert doubt < 0.01


@SETTINGS
def test_statement_9_sampling_lowers_the_margin_of_a_linear_softmax_witness(classes, temperature):
    t, rng = soft_classes(classes), np.random.default_rng(3)
    for mean in encoders(t, temperature, 5):
        for deviation in (0.1, 1.0):
            noise = deviation * rng.normal(size=mean.shape)  # and its opposite: of mean exactly `mean`
            sampled = np.mean([fixed_margin(t, mean + sign * noise, temperature) for sign in (-1, 1)])
            assert sampled < fixed_margin(t, mean, temperature)


def test_statement_9_a_sharp_witness_of_the_exact_code_loses_all_margin_to_unit_noise():
    rng = np.random.default_rng(4)
    t, found = soft_classes(3), {}
    for temperature in (0.25, 4.0):
        code = np.asarray(code_of(t, temperature))
        np.testing.assert_allclose(fixed_margin(t, code, temperature), information_of(t), atol=1e-12)
        found[temperature] = fixed_margin(t, code + rng.normal(size=code.shape), temperature)
    assert found[4.0] < 0 < found[0.25]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_statement_9_sampled_margin_class_information_and_shape_information_are_in_order(temperature):
    """By quadrature over the one float of two classes: G_z <= I(T; z) <= I(x; z), and G_z = G_mu without noise."""
    t = soft_classes(2, 12)
    mean = np.asarray(code_of(t, temperature))
    z = np.linspace(mean.min() - 9, mean.max() + 9, 4001)
    step = z[1] - z[0]
    density = np.exp(-((z[None] - mean) ** 2) / 2) / np.sqrt(2 * np.pi)  # [shape, z]
    np.testing.assert_allclose(density.sum(1) * step, 1, rtol=1e-10)
    marginal = density.mean(0)
    shapes = (density * np.log(density / marginal)).sum() * step / len(t)
    joint = t.T @ density / len(t)  # [class, z]
    classes = (joint * np.log(joint / (marginal * t.mean(0)[:, None]))).sum() * step
    log_q = np.asarray(log_q_of(z[:, None], 2, temperature))
    sampled = -(t.mean(0) * np.log(t.mean(0))).sum() + (joint * log_q.T).sum() * step
    assert sampled < fixed_margin(t, mean, temperature)
    assert sampled < classes < shapes < np.log(len(t))


@SETTINGS
def test_statement_10_a_margin_on_another_view_transfers_up_to_a_computable_amount(classes, temperature):
    t = soft_classes(classes)
    other = 0.9 * t + 0.1 * soft_classes(classes, seed=7)
    for mean in encoders(t, temperature, 5):
        log_q = np.asarray(log_q_of(mean, classes, temperature))
        found = statements.view_gap(t, other, log_q)
        q = np.exp(log_q)
        np.testing.assert_allclose(found.gap, (divergence(other, q) - divergence(t, q)).mean(), atol=1e-12)
        np.testing.assert_allclose(found.gap, found.entropy + found.cross, atol=1e-12)
        assert abs(found.cross) <= found.bound
        entropies = witness.entropy(t.mean(0)) - witness.entropy(other.mean(0))
        moved = score_of(t, log_q) - score_of(other, log_q) - entropies
        assert abs(moved) <= found.bound


def test_statement_10_its_bound_is_attained_by_opposed_views():
    log_q = np.log([[0.9, 0.1], [0.2, 0.8]])
    t, other = np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([[0.5, 0.5], [0.5, 0.5]])
    found = statements.view_gap(t, other, log_q)
    np.testing.assert_allclose(found.cross, found.bound, rtol=1e-12)
    np.testing.assert_allclose(statements.view_gap(t, t, log_q), [0, 0, 0, 0])


def aligned_means(t, temperature, weight, kl_weight, log_prior):
    """The minimisers of weight KL(t||q) + kl_weight |mean|^2 / 2, by Newton's method."""
    classes, s = t.shape[1], witness.simplex(t.shape[1])
    mean = np.zeros((len(t), classes - 1))
    for _ in range(12):
        q = np.exp(log_q_of(mean, classes, temperature, log_prior))
        slope = kl_weight * mean - weight * np.asarray(force_of(t, q, temperature))
        middle = np.stack([np.diag(row) - np.outer(row, row) for row in q])
        curvature = weight * temperature**2 * s @ middle @ s.T + kl_weight * np.eye(classes - 1)
        mean = mean - np.linalg.solve(curvature, slope[..., None])[..., 0]
    assert np.abs(slope).max() < 1e-9
    return mean


@SETTINGS
def test_statement_11_alignment_escapes_collapse_under_every_kl_weight_by_first_order(classes, temperature):
    t, weight = soft_classes(classes), 10.0
    for prior in (uniform(classes), t.mean(0)):
        force = np.asarray(force_of(t, np.repeat(prior[None], len(t), 0), temperature))
        errors = []
        for kl_weight in (64.0, 1e3, 1e4, 1e5):
            mean = aligned_means(t, temperature, weight, kl_weight, np.log(prior))
            predicted = (weight / kl_weight) ** 2 * (force**2).sum(1).mean() / 2
            errors.append(abs((mean**2).sum(1).mean() / 2 / predicted - 1))
            assert fixed_margin(t, mean, temperature, np.log(prior)) > fixed_margin(
                t, 0 * mean, temperature, np.log(prior)
            )
            assert mean.var(0).sum() > 0
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.01


# What a margin does not say.


def test_the_fixed_witness_ranks_a_healthy_code_below_a_collapsed_one_and_a_fitted_one_does_not():
    t = soft_classes(5)
    healthy = -np.asarray(code_of(t, 1.0))  # every bit of the exact code, in other axes
    collapsed = np.zeros_like(healthy)
    of_healthy, of_collapsed = fixed_margin(t, healthy, 1.0), fixed_margin(t, collapsed, 1.0)
    assert of_healthy < of_collapsed < 0
    np.testing.assert_allclose(of_collapsed, -divergence(t.mean(0), uniform(5)), atol=1e-12)
    assert held_out_margin(t, collapsed) <= 0
    assert held_out_margin(t, healthy) > 0.8 * information_of(t)


def test_tiny_means_have_a_margin_that_their_samples_do_not():
    t, rng = soft_classes(5), np.random.default_rng(5)
    mean = 1e-3 * np.asarray(code_of(t, 1.0))
    assert (mean**2).sum(1).mean() / 2 < 1e-5  # nats
    sample = mean + rng.normal(size=mean.shape)
    assert held_out_margin(t, sample) <= 0
    assert held_out_margin(t, mean) > 0.8 * information_of(t)


@SETTINGS
def test_the_anchored_witness_scores_a_collapsed_mean_at_zero(classes, temperature):
    t = soft_classes(classes)
    collapsed = np.zeros((len(t), classes + 3))
    np.testing.assert_allclose(fixed_margin(t, collapsed, temperature, np.log(t.mean(0))), 0, atol=1e-14)
    assert fixed_margin(t, collapsed, temperature) < 0


@SETTINGS
def test_of_one_shape_there_is_nothing_to_tell(classes, temperature):
    t, rng = np.repeat(soft_classes(classes, 1), 400, 0), np.random.default_rng(6)
    np.testing.assert_allclose(information_of(t), 0, atol=1e-14)
    for mean in rng.normal(size=(10, 400, classes - 1)):
        assert fixed_margin(t, mean, temperature) < 0


# Edges.


def test_only_the_first_floats_of_a_flattened_mean_count():
    mean = np.random.default_rng(0).normal(size=(6, 2, 4))
    found = log_q_of(mean, 5, 2.0)
    changed = mean.copy()
    changed[:, 1] = 0
    np.testing.assert_array_equal(found, log_q_of(changed, 5, 2.0))
    changed[:, 0, 3] = 0
    assert (found != log_q_of(changed, 5, 2.0)).any()


def test_float32_stays_float32():
    def everything(t, mean, alphas):
        log_q = witness.witness_log_q(mean, 4, 1.0)
        certificate = witness.certificate(mean, mean, t, mean, mean, t, 1.0, 0.01)
        return [
            witness.alignment(mean, t, 1.0),
            witness.escape_force(t, jnp.exp(log_q), 1.0),
            witness.closed_form_code(t, 1.0),
            statements.energy(t, 1.0),
            statements.margin_path(t, 1.0, alphas),
            statements.minimal_variance(t, 0.1, 1.0),
            statements.view_gap(t, t, log_q),
            fitted.fit_witness(mean, t),
            certificate._replace(certified=log_q),
        ]

    shapes = (jax.ShapeDtypeStruct(shape, np.float32) for shape in ((30, 4), (30, 3), (3,)))
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(everything, *shapes))} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: witness.simplex(1), "config.witness.classes is 1; accepted for a witness: at least 2"),
        (
            lambda: witness.witness_log_q(np.zeros((3, 1, 4)), 10, 1.0),
            "config.witness.classes is 10, but the latent has 4 floats; accepted: at least 9 floats "
            "(config.latent.channels), one fewer than classes",
        ),
        (
            lambda: witness.alignment(np.zeros((3, 1)), soft_classes(3, 3), 1.0),
            "config.witness.classes is 3, but the latent has 1 floats; accepted: at least 2 floats "
            "(config.latent.channels), one fewer than classes",
        ),
    ],
)
def test_too_few_classes_or_floats_are_refused(call, text):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == text
