import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from hexjax.models.parts import blocks


@pytest.mark.parametrize("side", [1, 2, 4])
def test_space_to_depth_is_inverted_and_keeps_patches_together(side):
    images = np.random.default_rng(0).normal(size=(2, 6, 8, 8, 3)).astype(np.float32)
    cells = blocks.space_to_depth(images, side)
    assert cells.shape == (2, 6, 8 // side, 8 // side, 3 * side**2)
    np.testing.assert_array_equal(blocks.depth_to_space(cells, side), images)
    np.testing.assert_array_equal(cells[0, 0, 0, 0].reshape(side, side, 3), images[0, 0, :side, :side])


@pytest.mark.parametrize("side", [1, 2, 4])
def test_planes_give_the_same_cells_as_images_and_come_back(side):
    images = np.random.default_rng(0).normal(size=(2, 6, 8, 8, 3)).astype(np.float32)
    planes = np.moveaxis(images, -1, -3)
    cells = blocks.planes_to_cells(planes, side)
    np.testing.assert_array_equal(cells, blocks.space_to_depth(images, side))
    np.testing.assert_array_equal(blocks.cells_to_planes(cells, side), planes)


def test_attention_is_the_softmax_of_flax_in_value_and_gradient():
    query, key, value = np.random.default_rng(0).normal(size=(3, 2, 5, 3, 4)).astype(np.float32)
    for of in (
        lambda f: jax.jit(f)(query, key, value),
        lambda f: jax.jit(jax.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1, 2)))(query, key, value),
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
            of(blocks.attend),
            of(linen.dot_product_attention),
        )


def test_attention_survives_large_products():
    query = np.full((1, 2, 1, 4), 1e3, np.float32) * np.array([1, -1], np.float32)[None, :, None, None]
    gradient = jax.jit(jax.grad(lambda q: blocks.attend(q, query, query).sum()))(query)
    assert np.isfinite(gradient).all()


def test_blocks_start_as_the_identity():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype(np.float32)
    for block, value in (
        (blocks.ResidualConvolution(jnp.dtype("float32")), x),
        (blocks.Attention(2, jnp.dtype("float32")), x.reshape(2, 16, 8)),
    ):
        output, _ = jax.jit(block.init_with_output)(jax.random.key(0), value)
        np.testing.assert_allclose(output, value, atol=1e-6)


def test_the_mixer_lets_every_view_see_every_other():
    x = np.random.default_rng(0).normal(size=(1, 6, 4, 4, 8)).astype(np.float32)
    mixer = blocks.Mixer(side=2, width=16, blocks=1, heads=2, dtype=jnp.dtype("float32"))
    params, random = jax.jit(mixer.init)(jax.random.key(0), x), np.random.default_rng(1)
    params = jax.tree.map(lambda a: np.asarray(a) + 0.1 * random.normal(size=a.shape).astype(np.float32), params)
    reach = jax.jit(jax.jacobian(lambda y: mixer.apply(params, y)[0].sum((1, 2, 3))))(x)[:, 0]
    assert (np.abs(reach).sum((2, 3, 4)) > 1e-4).all()


def test_blocks_compute_in_their_dtype():
    x = jnp.ones((1, 4, 4, 8), jnp.bfloat16)
    block = blocks.ResidualConvolution(jnp.dtype("bfloat16"))
    output, params = jax.jit(block.init_with_output)(jax.random.key(0), x)
    assert output.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
