"""What a witness says of VAEs known to be healthy or collapsed, on binary digits: the collapse laboratory's own controls.

Four runs of one network: KL weight 1 or 64, alignment with the simplex witness of weight 0 or 10 (beta_w 1). The teacher is
chosen for an information near 1 nat. Source: arXiv:2605.18224, rederived; the counterexamples are ours.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.diagnostics import collapse, fitted, teacher, witness
from tests.exactness import digits

CLASSES, COMPONENTS, TEMPERATURE, FLOOR = 10, 8, 6.0, 0.01
ALIGNMENT, STRESS = 10.0, 64.0
KL_WEIGHT = {"healthy": 1.0, "collapsed": STRESS, "aligned": 1.0, "stressed": STRESS}
ALIGNMENT_WEIGHT = {"healthy": 0.0, "collapsed": 0.0, "aligned": ALIGNMENT, "stressed": ALIGNMENT}
STEPS = 600


class Cell(NamedTuple):
    """Test scores of one run; `fixed` is the simplex witness's margin, of the means, as is `energy`, on training images."""

    negative_elbo: Any
    kl: Any
    active_units: Any
    energy: Any
    fixed: Any
    fitted_mean: Any
    fitted_sample: Any


@functools.cache
def classes():
    """The teacher's classes of train and test images."""
    train, test = digits.binary()
    known = teacher.fit_teacher(train, CLASSES, COMPONENTS, TEMPERATURE, FLOOR, 0)
    return teacher.posterior(known, train), teacher.posterior(known, test)


@functools.cache
def cells():
    (train, test), (t, t_test) = map(jnp.asarray, digits.binary()), classes()
    rows = digits.batches(len(train), STEPS, seed=0)

    def run(kl_weight, alignment_weight):
        def loss(params, batch, key):
            nll, kl, latent = digits.bernoulli_terms(params, batch[0], key)
            alignment = witness.alignment(latent.statistics["mean"], batch[1], 1.0)
            return nll.mean() + kl_weight * kl.mean() + alignment_weight * alignment

        params = digits.fit(loss, digits.init(0), (train, t), rows, jax.random.key(1))
        negative_elbo, kl, _ = digits.scores(params, test, jax.random.key(2), 10)
        mean, seen = digits.means(params, train), digits.means(params, test)
        draw = lambda x, key: digits.bernoulli_terms(params, x, key)[2].code[:, 0]
        keys = jax.random.split(jax.random.key(3))
        by_mean = fitted.fit_witness(mean, t)
        by_sample = fitted.fit_witness(draw(train, keys[0]), t)
        return Cell(
            negative_elbo,
            kl,
            collapse.active_unit_count(seen),
            (mean**2).sum(1).mean() / 2,
            witness.margin(t_test, witness.witness_log_q(seen, CLASSES, 1.0)),
            witness.margin(t_test, fitted.apply_witness(by_mean, seen)),
            witness.margin(t_test, fitted.apply_witness(by_sample, draw(test, keys[1]))),
        )

    weights = (jnp.array([of[name] for name in KL_WEIGHT]) for of in (KL_WEIGHT, ALIGNMENT_WEIGHT))
    found = jax.jit(jax.vmap(run))(*weights)
    return dict(zip(KL_WEIGHT, (Cell(*map(float, row)) for row in zip(*found))))


def test_a_collapsed_vae_scores_as_independent_pixels_do_and_a_healthy_one_better():
    expected = digits.independent_nll(*digits.binary())
    assert (cells()["healthy"].active_units, cells()["collapsed"].active_units) == (digits.FLOATS, 0)
    assert cells()["collapsed"].kl < 0.01
    assert cells()["collapsed"].negative_elbo == pytest.approx(expected, abs=0.2)
    assert cells()["healthy"].negative_elbo < expected - 3


def test_the_fixed_witness_ranks_a_healthy_vae_below_a_collapsed_one():
    mean_class = classes()[1].mean(0)
    collapsed = witness.entropy(mean_class) - np.log(CLASSES)  # -KL(tbar || uniform)
    assert cells()["collapsed"].fixed == pytest.approx(float(collapsed), abs=0.01)
    assert cells()["healthy"].fixed < cells()["collapsed"].fixed - 0.1 < 0


def test_a_witness_fitted_on_samples_ranks_them_rightly():
    information = float(witness.information(classes()[1]))
    assert cells()["healthy"].fitted_sample > information / 2
    assert abs(cells()["collapsed"].fitted_sample) < 0.05 * information


def test_alignment_makes_the_fixed_witness_pass_and_leaves_the_vae_healthy():
    assert cells()["aligned"].fixed > 0.5 > 0 > cells()["healthy"].fixed
    assert cells()["aligned"].active_units == digits.FLOATS


def test_alignment_escapes_any_kl_weight_with_the_energy_of_the_first_order():
    t = classes()[0]
    force = witness.escape_force(t, jnp.full_like(t, 1 / CLASSES), 1.0)
    expected = (ALIGNMENT / STRESS) ** 2 * float((force**2).sum(1).mean()) / 2
    assert cells()["stressed"].energy == pytest.approx(expected, rel=0.1)
    assert cells()["collapsed"].energy < 0.05 * expected
    assert cells()["stressed"].fixed > cells()["collapsed"].fixed + 0.02


def test_a_witness_of_the_means_is_fooled_by_scale_where_one_of_samples_is_not():
    stressed, information = cells()["stressed"], float(witness.information(classes()[1]))
    assert (stressed.active_units, stressed.kl < 0.02) == (0, True)
    assert stressed.fitted_mean > information / 2
    assert stressed.fitted_sample < 0.05 * information
