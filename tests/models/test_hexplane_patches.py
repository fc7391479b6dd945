import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.models import hexplane_patches
from hexjax.models.parts import blocks, hexplanes
from hexjax.types import Latent
from tests import toys

pytestmark = pytest.mark.usefixtures("quick_programs")


def _start(**overrides):
    config = toys.config_of("hexplane_patches", "surface", **overrides)
    family, batch = toys.family_of(config), toys.batch_of(config)
    return family, batch, family.init(batch, jax.random.key(0), {})


def test_with_all_components_the_first_step_starts_at_the_truth():
    family, batch, params = _start(**{"model.components": 320, "latent.channels": 320})
    decoded = family.decode(params, family.encode(params, batch, None))
    mask = np.asarray(batch["mask"])
    np.testing.assert_array_equal(np.asarray(decoded.mask) > 0.5, mask)
    np.testing.assert_allclose(np.asarray(decoded.depth)[mask], np.asarray(batch["depth"])[mask], atol=1e-3)
    np.testing.assert_allclose(np.asarray(decoded.normal)[mask], np.asarray(batch["normal"])[mask], atol=2e-2)


def test_the_code_starts_as_the_first_components_of_unit_variance():
    family, batch, params = _start(**{"latent.side": 8, "latent.channels": 3, "model.components": 8})
    found = hexplane_patches.patches(hexplanes.network_input(batch, "continuous"), 2)
    flat = np.asarray(found, np.float64).reshape(-1, 20)
    weights, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    code = np.asarray(family.encode(params, batch, None).code).reshape(-1, 3)
    np.testing.assert_allclose(code.std(0), 1, rtol=1e-3)
    expected = (flat - flat.mean(0)) @ vectors[:, ::-1][:, :3] / np.sqrt(weights[::-1][:3])
    signs = np.sign((code * expected).sum(0))
    np.testing.assert_allclose(code * signs, expected, atol=2e-3)


def test_basis_is_orthonormal_even_of_fewer_patches_than_components():
    found = jnp.asarray(np.random.default_rng(0).normal(size=(5, 40)), jnp.float32)
    basis = hexplane_patches.principal(found, 12)
    np.testing.assert_allclose(basis["components"].T @ basis["components"], np.eye(12), atol=1e-5)
    assert float(basis["deviation"].min()) >= 0.99 * hexplane_patches.LEAST * float(basis["deviation"].max())


def test_patches_are_cut_as_blocks_cut_them_and_hold_the_outline():
    config = toys.config_of("hexplane_patches", "surface")
    batch = toys.batch_of(config)
    found = hexplane_patches.patches(hexplanes.network_input(batch, "continuous"), 8)
    values = np.asarray(blocks.cells_to_planes(found, 8)) / hexplane_patches.WEIGHTS
    np.testing.assert_array_equal(values[:, :, 0] > 0, np.asarray(batch["mask"]))
    assert np.abs(values[:, :, 1]).max() <= 1  # filled: no depth is that of the background


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            {"model.components": 3},
            "config.model.components is 3; accepted: from latent.channels 4 to 320, the numbers of a patch",
        ),
        (
            {"hexplane.resolution_px": 64, "latent.side": 1},
            "config.latent.side is 1: a patch of hexplane.resolution_px 64 has 20480 numbers; accepted: sides that leave at "
            "most 8192",
        ),
        ({"latent.side": 3}, "config.latent.side is 3; accepted: divisors of hexplane.resolution_px 16"),
        (
            {"model.input": "binary"},
            "config.model.input is 'binary'; accepted with model.family = hexplane_patches: continuous",
        ),
        (
            {"reconstruction.kind": "channels"},
            "config.reconstruction.kind is 'channels'; accepted with model.family = hexplane_patches: surface",
        ),
    ],
)
def test_what_does_not_fit_is_refused(overrides, text):
    with pytest.raises(ValueError) as error:
        toys.family_of(toys.config_of("hexplane_patches", "surface", **overrides))
    assert str(error.value) == text


def test_a_code_is_read_where_it_lies():
    """A change of one patch's code changes its own view alone, as the networks look at one view each."""
    family, _, params = _start(**{"latent.side": 4})
    params["decoder"] = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params["decoder"]
    )
    code = jnp.zeros((1, 96, 4))
    there = family.decode(params, Latent(code, {}))
    here = family.decode(params, Latent(code.at[0, 5].set(1.0), {}))
    changed = np.abs(np.asarray(there.depth - here.depth))[0].max((1, 2)) > 1e-6
    assert changed.tolist() == [True, False, False, False, False, False]
