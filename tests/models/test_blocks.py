import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from hexjax.models import blocks


@pytest.mark.parametrize("side", [1, 2, 4])
def test_space_to_depth_is_inverted_and_keeps_patches_together(side):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8, 8, 3)), jnp.float32)
    cells = blocks.space_to_depth(images, side)
    assert cells.shape == (2, 6, 8 // side, 8 // side, 3 * side**2)
    np.testing.assert_array_equal(blocks.depth_to_space(cells, side), images)
    np.testing.assert_array_equal(cells[0, 0, 0, 0].reshape(side, side, 3), images[0, 0, :side, :side])


@pytest.mark.parametrize("side", [1, 2, 4])
def test_planes_give_the_same_cells_as_images_and_come_back(side):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8, 8, 3)), jnp.float32)
    planes = jnp.moveaxis(images, -1, -3)
    cells = blocks.planes_to_cells(planes, side)
    np.testing.assert_array_equal(cells, blocks.space_to_depth(images, side))
    np.testing.assert_array_equal(blocks.cells_to_planes(cells, side), planes)


def test_attention_is_the_softmax_of_flax_in_value_and_gradient():
    query, key, value = (jax.random.normal(jax.random.key(i), (2, 5, 3, 4)) for i in range(3))
    for of in (
        lambda f: f(query, key, value),
        lambda f: jax.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1, 2))(query, key, value),
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
            of(blocks.attend),
            of(linen.dot_product_attention),
        )


def test_attention_survives_large_products():
    query = jnp.full((1, 2, 1, 4), 1e3) * jnp.array([1.0, -1.0])[None, :, None, None]
    gradient = jax.grad(lambda q: blocks.attend(q, query, query).sum())(query)
    assert np.isfinite(gradient).all()


def test_blocks_start_as_the_identity():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 8)), jnp.float32)
    for block, value in (
        (blocks.ResidualConvolution(jnp.dtype("float32")), x),
        (blocks.Attention(2, jnp.dtype("float32")), x.reshape(2, 16, 8)),
    ):
        params = block.init(jax.random.key(0), value)
        np.testing.assert_allclose(block.apply(params, value), value, atol=1e-6)


def test_the_mixer_lets_every_view_see_every_other():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 4, 4, 8)), jnp.float32)
    mixer = blocks.Mixer(side=2, width=16, blocks=1, heads=2, dtype=jnp.dtype("float32"))
    params = mixer.init(jax.random.key(0), x)
    params = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(1), a.shape), params)
    reach = jax.jacobian(lambda y: mixer.apply(params, y)[0].sum((1, 2, 3)))(x)[:, 0]
    assert (np.abs(reach).sum((2, 3, 4)) > 1e-4).all()


def test_blocks_compute_in_their_dtype():
    x = jnp.ones((1, 4, 4, 8), jnp.bfloat16)
    block = blocks.ResidualConvolution(jnp.dtype("bfloat16"))
    params = block.init(jax.random.key(0), x)
    assert block.apply(params, x).dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
