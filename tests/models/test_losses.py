import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.models import losses


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
