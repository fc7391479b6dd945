import jax
import numpy as np
import pytest
import scipy.stats
from sklearn import mixture

from hexjax.diagnostics import teacher, witness

CENTRES = np.array([[0, 0, 0, 0], [6, 0, 0, 1], [0, 6, 0, -1]], np.float32)


def clusters(count=120, seed=0):
    """Shapes [n, 2, 2] around three centres, and which centre each has."""
    rng = np.random.default_rng(seed)
    which = np.arange(count) % 3
    return (CENTRES[which] + rng.normal(size=(count, 4))).astype(np.float32).reshape(-1, 2, 2), which


def fitted(temperature=1.0, floor=0.0, classes=3, seed=0):
    return teacher.fit_teacher(clusters()[0], classes, 2, temperature, floor, seed)


def in_float64(known):
    return teacher.Teacher(*(np.asarray(field, np.float64) for field in known))


def scores(known, x):
    return (x.reshape(len(x), -1) - known.centre) @ known.components.T


def test_posterior_is_that_of_scikit_learn():
    x = clusters()[0]
    known = in_float64(fitted())
    reference = mixture.GaussianMixture(3)
    reference.weights_, reference.means_ = np.exp(known.log_weights), known.means
    reference.precisions_cholesky_ = known.precision_factors
    with jax.enable_x64(True):
        found = teacher.posterior(known, x.astype(np.float64))
    np.testing.assert_allclose(found, reference.predict_proba(scores(known, x)), atol=1e-9)
    np.testing.assert_allclose(teacher.posterior(fitted(), x), found, atol=1e-4)


def test_posterior_is_the_share_of_each_classes_density():
    x = clusters()[0]
    known = in_float64(fitted())
    covariances = [np.linalg.inv(factor @ factor.T) for factor in known.precision_factors]
    density = [
        np.exp(weight) * scipy.stats.multivariate_normal.pdf(scores(known, x), mean, covariance)
        for weight, mean, covariance in zip(known.log_weights, known.means, covariances)
    ]
    with jax.enable_x64(True):
        found = teacher.posterior(known, x.astype(np.float64))
    np.testing.assert_allclose(found, (density / np.sum(density, 0)).T, atol=1e-9)


def test_temperature_divides_the_log_odds_and_the_floor_lifts_every_class_evenly():
    x = clusters()[0]
    plain, soft = (np.asarray(teacher.posterior(fitted(temperature), x)) for temperature in (1.0, 20.0))
    odds = lambda t: np.log(t[:, 0] / t[:, 1])
    sound = plain.min(1) > 1e-25
    assert sound.sum() > 50
    np.testing.assert_allclose(odds(soft)[sound], odds(plain)[sound] / 20, rtol=1e-3, atol=1e-3)
    floored = np.asarray(teacher.posterior(fitted(floor=0.02), x))
    np.testing.assert_allclose(floored, 0.94 * plain + 0.02, atol=1e-6)
    np.testing.assert_allclose(floored.sum(1), 1, atol=1e-6)
    assert floored.min() >= np.float32(0.02)


def test_distant_clusters_are_told_apart_and_carry_the_information_of_their_number():
    x, which = clusters(seed=1)
    t = np.asarray(teacher.posterior(fitted(), x))
    table = np.array([[(t[which == i].argmax(1) == j).sum() for j in range(3)] for i in range(3)])
    assert (np.sort(table, 1)[:, :2] == 0).all()
    assert len(set(table.argmax(1))) == 3
    assert witness.information(t) == pytest.approx(np.log(3), abs=0.02)


def test_the_same_seed_gives_the_same_teacher_in_float32():
    first, second = fitted(seed=3), fitted(seed=3)
    assert all(np.array_equal(a, b) and a.dtype == np.float32 for a, b in zip(first, second))


def test_posterior_compiles_with_the_teacher_as_a_pytree():
    x, known = clusters()[0], fitted(floor=0.01)
    found = jax.jit(teacher.posterior)(known, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, teacher.posterior(known, x), atol=1e-5)


def test_a_teacher_comes_back_from_a_file_without_pickle(tmp_path):
    known = fitted(2.0, 0.01)
    (tmp_path / "teacher.npz").write_bytes(teacher.to_bytes(known))
    with np.load(tmp_path / "teacher.npz", allow_pickle=False) as file:
        back = teacher.from_arrays(dict(file))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(known, back))


X = np.zeros((8, 5), np.float32) + np.arange(8)[:, None]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: teacher.fit_teacher(X, 1, 2, 1.0, 0.0, 0),
            "config.witness.classes is 1; accepted for a teacher: at least 2",
        ),
        (
            lambda: teacher.fit_teacher(X, 2, 2, 0.0, 0.0, 0),
            "config.witness.teacher_temperature is 0.0; accepted: above 0",
        ),
        (
            lambda: teacher.fit_teacher(X, 4, 2, 1.0, 0.25, 0),
            "config.witness.floor is 0.25; accepted: at least 0, below 1 / witness.classes = 0.25",
        ),
        (
            lambda: teacher.fit_teacher(X, 3, 2, 1.0, -0.1, 0),
            "config.witness.floor is -0.1; accepted: at least 0, below 1 / witness.classes = 0.333333",
        ),
        (
            lambda: teacher.fit_teacher(np.repeat(X[:2], 4, 0), 3, 2, 1.0, 0.0, 0),
            "config.witness.classes is 3, but there are 2 distinct shapes to fit a teacher on; accepted: at most as many "
            "classes as shapes (of a single shape, nothing can be certified)",
        ),
        (
            lambda: teacher.fit_teacher(X, 3, 6, 1.0, 0.0, 0),
            "config.witness.components is 6; accepted: 1 to 5, with 8 shapes of 5 numbers",
        ),
        (
            lambda: teacher.fit_teacher(X[:4], 3, 0, 1.0, 0.0, 0),
            "config.witness.components is 0; accepted: 1 to 3, with 4 shapes of 5 numbers",
        ),
        (
            lambda: teacher.from_arrays({"means": X, "floor": X}),
            "the arrays are floor, means; a teacher's: centre, components, log_weights, means, precision_factors, "
            "temperature, floor",
        ),
    ],
)
def test_what_makes_no_teacher_is_refused(call, text):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == text
