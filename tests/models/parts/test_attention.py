"""Blocks of a Perceiver: a softmax in NumPy, the order and padding of a set, queries on their own, memory for time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from hexjax.models.parts import attention, blocks

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
QUERIES, GIVEN = (RANDOM.normal(size=size).astype(np.float32) for size in ((2, 5, 8), (2, 7, 6)))
pytestmark = pytest.mark.usefixtures("quick_programs")


@functools.cache
def block(dtype="float32"):
    module = attention.Cross(8, 2, 2, jnp.dtype(dtype))
    return jax.jit(module.apply), jax.jit(module.init)(KEY, QUERIES, GIVEN)


def moved(params):
    random = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + 0.3 * random.standard_normal(leaf.shape).astype(np.float32), params)


def test_a_block_is_what_layers_and_a_softmax_in_numpy_say():
    apply, params = block()
    params = moved(params)
    layers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    dense = lambda name, x: x @ layers[name]["kernel"] + layers[name].get("bias", 0)
    norm = lambda name, x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * layers[name]["scale"]
    split = lambda x: np.moveaxis(x.reshape(*x.shape[:-1], 2, 4), 1, 2)
    queries, given = np.float64(QUERIES), np.float64(GIVEN)
    query = split(dense("query", norm("query_norm", queries)))
    key, value = (split(part) for part in np.split(dense("pair", norm("set_norm", given)), 2, -1))
    weights = np.exp(query @ np.swapaxes(key, -1, -2) / 2)
    found = weights / weights.sum(-1, keepdims=True) @ value
    queries = queries + dense("out", np.moveaxis(found, 1, 2).reshape(2, 5, 8))
    hidden = dense("hidden", norm("hidden_norm", queries))
    gelu = hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3))) / 2
    np.testing.assert_allclose(apply(params, QUERIES, GIVEN), queries + dense("back", gelu), atol=2e-5)


def test_a_set_has_no_order_and_padding_no_part_in_it():
    apply, params = block()
    params = moved(params)
    whole = apply(params, QUERIES, GIVEN)
    np.testing.assert_allclose(apply(params, QUERIES, GIVEN[:, ::-1]), whole, atol=1e-5)
    padded = np.concatenate([GIVEN, 100 * np.ones((2, 3, 6), np.float32)], 1)
    mask = np.broadcast_to(np.arange(10) < 7, (2, 10))
    np.testing.assert_allclose(apply(params, QUERIES, padded, mask), whole, atol=1e-5)
    assert np.abs(np.asarray(apply(params, QUERIES, padded, mask | True) - whole)).max() > 1e-2


def test_queries_do_not_see_each_other_so_that_chunks_of_them_are_the_whole():
    apply, params = block()
    params = moved(params)
    whole = np.asarray(apply(params, QUERIES, GIVEN))
    np.testing.assert_allclose(apply(params, QUERIES[:, ::-1], GIVEN), whole[:, ::-1], atol=1e-5)
    chunks = [apply(params, QUERIES[:, part], GIVEN) for part in (slice(0, 2), slice(2, 5))]
    np.testing.assert_allclose(np.concatenate(chunks, 1), whole, atol=1e-5)


def test_half_precision_is_that_of_the_arithmetic_alone():
    apply, params = block("bfloat16")
    found = apply(params, jnp.asarray(QUERIES, jnp.bfloat16), GIVEN)
    assert found.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(np.float32(found), block()[0](params, QUERIES, GIVEN), atol=0.1)
    ones = jnp.ones((1, 1000, 1, 1), jnp.bfloat16)
    weighed = blocks.attend(ones, ones, ones)  # 1000 weights summed in bfloat16 would end at 256
    np.testing.assert_array_equal(np.float32(weighed), 1)


class Trunk(linen.Module):
    remat: bool

    def setup(self):
        self.layers = attention.layers(2, 2, jnp.dtype("float32"), self.remat)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_layers_that_are_computed_again_have_the_same_parameters_and_gradients():
    params = jax.jit(Trunk(False).init)(KEY, QUERIES)
    assert jax.tree.structure(jax.eval_shape(Trunk(True).init, KEY, QUERIES)) == jax.tree.structure(params)
    params, gradients = moved(params), []
    for remat in (False, True):
        value = lambda params, trunk=Trunk(remat): jnp.square(trunk.apply(params, QUERIES)).mean()
        assert ("remat" in str(jax.make_jaxpr(jax.grad(value))(params))) == remat
        gradients.append(jax.jit(jax.grad(value))(params))
    for plain, again in zip(*map(jax.tree.leaves, gradients)):
        np.testing.assert_allclose(again, plain, atol=1e-6)
