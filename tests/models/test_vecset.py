"""The set of tokens: what it sees of a shape, what its loss asks, its field, and shapes of points without faces."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from configs import vecset as experiment
from hexjax.data import fields
from hexjax.diagnostics import diagnosis
from hexjax.evaluation import restore
from hexjax.geometry import frame
from hexjax.models import family as families
from hexjax.models import vecset
from hexjax.models.parts import targets
from hexjax.types import Latent
from tests import toys

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("quick_programs")


@functools.cache
def made(variant="truncated", **more):
    config = toys.config_of("vecset", variant, **{name.replace("__", "."): value for name, value in more.items()})
    family, batch = toys.family_of(config), toys.points_of(config)
    batch = {name: jnp.asarray(batch[name]) for name in family.reads}
    random = np.random.default_rng(2)
    params = jax.tree.map(  # layers start as the identity
        lambda leaf: leaf + 0.1 * random.standard_normal(leaf.shape).astype(np.float32),
        jax.jit(family.init)(batch, KEY, {}),
    )
    return config, family, batch, params


@functools.cache
def tell(variant="truncated", **more):
    """The code, the field at the batch's points, and the loss with its parts: one program for all that is asked."""
    config, family, _, _ = made(variant, **more)

    @jax.jit
    def told(params, batch):
        found = family.encode(params, batch, KEY)
        decoded = family.decode(params, found)
        values = jax.vmap(lambda one, points: family.field(params, one, points))(decoded, batch["points"])
        return found.code, values, family.loss(params, batch, KEY, jnp.int32(0), families.knobs(config))

    return told


@pytest.mark.parametrize(("variant", "parameters"), [("small", 477_329), ("full", 63_148_097)])
def test_a_variant_has_so_many_parameters(variant, parameters):
    config = experiment.get_config(variant)
    batch = {"surface": jax.ShapeDtypeStruct((2, config.surface.points, 3), np.float32)}
    params = jax.eval_shape(toys.family_of(config).init, batch, KEY, {})
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters


@pytest.mark.parametrize("variant", ["truncated", "occupancy, gaussian"])
def test_the_order_of_the_points_does_not_change_the_tokens(variant):
    _, _, batch, params = made(variant)
    order = np.random.default_rng(3).permutation(batch["surface"].shape[1])
    code, turned, other = (
        np.asarray(tell(variant)(params, dict(batch, surface=surface))[0])
        for surface in (batch["surface"], batch["surface"][:, order], batch["surface"] * np.float32(1.05))
    )
    np.testing.assert_allclose(turned, code, atol=1e-5)
    assert np.abs(other - code).max() > 1e-3


def test_a_share_of_the_points_lies_on_edges():
    variant = "salient, eikonal"
    _, family, batch, params = made(variant)
    surface, salient = batch["surface"], batch["salient"]
    code = tell(variant)(params, batch)[0]
    same = dict(batch, surface=surface.at[:, 12:].set(0), salient=salient.at[:, 12:].set(0))
    np.testing.assert_array_equal(tell(variant)(params, same)[0], code)
    for name in family.sees:
        other = dict(batch) | {name: batch[name].at[:, :12].add(0.1)}
        assert np.abs(np.asarray(tell(variant)(params, other)[0] - code)).max() > 1e-3


def test_the_loss_is_of_cut_targets_and_knows_no_doubtful_sign():
    _, _, batch, params = made()
    batch = dict(batch, sure=batch["sure"].at[:, ::3].set(0.0))
    _, values, (total, parts) = tell()(params, batch)
    cut, kept, values = np.clip(batch["sdf"], -0.1, 0.1), np.asarray(batch["sure"]) > 0, np.asarray(values)
    np.testing.assert_allclose(parts["reconstruction"], np.abs(values - cut)[kept].mean() / 0.1, rtol=1e-4)
    np.testing.assert_allclose(parts["sign"], ((values < 0) == (cut < 0))[kept].mean(), rtol=1e-5)
    wrong = dict(batch, sdf=jnp.where(kept, batch["sdf"], -batch["sdf"]))
    assert float(tell()(params, wrong)[2][0]) == float(total)


def test_a_value_far_beyond_the_cut_still_costs_what_it_is_off():
    _, _, batch, params = made()
    far = dict(params, decoder=jax.tree.map(lambda leaf: leaf, params["decoder"]))
    losses = []
    for bias in (50.0, 51.0):
        far["decoder"]["params"]["out"]["bias"] = jnp.float32([bias])
        losses.append(float(tell()(far, batch)[2][0]))
    assert losses[1] - losses[0] == pytest.approx(1, abs=1e-3)


def test_occupancy_is_the_cross_entropy_of_logits_that_the_field_is_a_multiple_of():
    _, _, batch, params = made("occupancy, gaussian")
    _, values, (_, parts) = tell("occupancy, gaussian")(params, batch)
    logits, inside = -np.float64(values) / 0.1, np.asarray(batch["sdf"]) < 0
    nats = np.log1p(np.exp(-np.where(inside, logits, -logits)))
    np.testing.assert_allclose(parts["reconstruction"], nats.mean(), rtol=1e-4)


def test_the_slope_near_the_surface_costs_its_squared_distance_from_one():
    _, family, batch, params = made("salient, eikonal")

    @jax.jit
    def slopes(params, batch):
        decoded = family.decode(params, family.encode(params, batch, None))
        total = lambda points: jax.vmap(lambda one, points: family.field(params, one, points))(decoded, points).sum()
        return jax.grad(total)(batch["points"])

    lengths = np.linalg.norm(slopes(params, batch), axis=-1)
    near = np.abs(np.asarray(batch["sdf"])) < 0.1
    parts = tell("salient, eikonal")(params, batch)[2][1]
    np.testing.assert_allclose(parts["eikonal"], 0.01 * (((lengths - 1) ** 2) * near).mean(), rtol=1e-3)


def test_points_are_asked_on_their_own_and_those_that_diagnostics_ask_too():
    config, family, batch, params = made()
    places = jnp.asarray(frame.shared_points(config.inside.points))

    @jax.jit
    def ask(params, batch):
        found = family.encode(params, batch, None)
        decoded = jax.tree.map(lambda leaf: leaf[1], family.decode(params, found))
        parts = [family.field(params, decoded, part) for part in jnp.split(places, 4)]
        return family.field(params, decoded, places), jnp.concatenate(parts), family.probe.predict(params, found)[1]

    values, parts, logits = ask(params, batch)
    np.testing.assert_allclose(parts, values, atol=1e-5)
    np.testing.assert_allclose(logits, -values / targets.SOFTNESS, rtol=1e-4, atol=1e-3)


def test_half_precision_says_much_the_same():
    _, _, batch, params = made()
    plain = tell()(params, batch)[2][0]
    np.testing.assert_allclose(tell(model__dtype="bfloat16")(params, batch)[2][0], plain, rtol=0.05)


def test_the_points_that_stand_for_a_surface_are_its_own_far_apart_and_none_is_picked_twice():
    _, family, batch, params = made()
    picks, surface = np.asarray(family.structure(params, batch).place), np.asarray(batch["surface"])
    assert picks.shape == (2, 6, 3)
    for mine, points in zip(picks, surface):
        away = np.linalg.norm(mine[:, None] - points[None], axis=-1)
        assert (away.min(1) == 0).all()
        assert len(np.unique(away.argmin(1))) == 6
        reach = [np.linalg.norm(mine[:k, None] - points[None], axis=-1).min(0).max() for k in range(1, 7)]
        chosen = [np.linalg.norm(mine[:k] - mine[k], axis=-1).min() for k in range(1, 6)]
        np.testing.assert_allclose(chosen, reach[:-1], rtol=1e-5)  # each is the farthest from those before it
    assert made("occupancy, gaussian")[1].structure is None


def test_a_diagnosis_counts_the_tokens_that_vary_over_shapes_and_the_verdict_tells_them():
    config, family, batch, params = made()

    def encode(params, batch, key, knobs=None):
        code = family.encode(params, batch, None).code
        code = jnp.where(jnp.arange(6)[None, :, None] < 2, 0.5, code + jnp.arange(2)[:, None, None])
        return Latent(code, {"mean": code})

    diagnose = diagnosis.make(encode, family.probe, config.witness, family.layout)
    knobs = families.knobs(config, families.LIKELIHOOD)
    scalars, judged = diagnose(params, batch, diagnosis.know(family.probe, batch), KEY, knobs, None)
    assert scalars["active_tokens"] == 4
    assert judged.reason.endswith("; 4 of 6 tokens active")
    assert "few tokens active" in judged.tags


REFUSED = [
    ({"model.queries": "grid"}, "config.model.queries is 'grid'; accepted: fps | learned | random"),
    ({"model.target": "sdf"}, "config.model.target is 'sdf'; accepted: truncated | occupancy"),
    ({"model.salient": 1.0}, "config.model.salient is 1.0; accepted: a number from 0, below 1"),
    ({"model.truncation": 0.0}, "config.model.truncation is 0.0; accepted: a number, finite, above 0"),
    ({"latent.tokens": 0}, "config.latent.tokens is 0; accepted: a whole number, at least 1"),
    ({"model.heads": 3}, "config.model.width is 16; accepted: multiples of model.heads = 3"),
    ({"model.cross_heads": 5}, "config.model.width is 16; accepted: multiples of model.cross_heads = 5"),
    ({"latent.tokens": 25}, "config.surface.points is 24; accepted with latent.tokens = 25: at least 25"),
    ({"model.salient": 0.5, "salient.points": 11},
     "config.salient.points is 11; accepted with model.salient = 0.5 and surface.points = 24: at least 12"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "text"), REFUSED)
def test_what_the_family_cannot_do_is_refused_in_a_line(more, text):
    with pytest.raises(ValueError) as refused:
        vecset.check(toys.config_of("vecset", "truncated", **more))
    assert str(refused.value) == text


# Shapes of points


@functools.cache
def run(variant="truncated"):
    config, family, _, params = made(variant)
    return restore.Restored(params, config, fields.spec(config, ()), family, 0)


CLOUD = np.random.default_rng(4).uniform(-3, 5, (60, 3)).astype(np.float32)


@pytest.mark.parametrize("variant", ["truncated", "salient, eikonal"])
def test_points_without_faces_are_encoded_whatever_their_order_and_file(variant, tmp_path):
    whole = run(variant)
    code = np.asarray(whole.encode(CLOUD).code)
    assert code.shape == (6, 4)
    order = np.random.default_rng(5).permutation(60)
    np.testing.assert_allclose(whole.encode(trimesh.PointCloud(CLOUD[order])).code, code, atol=1e-5)
    trimesh.PointCloud(CLOUD[order]).export(tmp_path / "cloud.ply")
    np.savetxt(tmp_path / "cloud.xyz", CLOUD, "%.9g")
    np.savez(tmp_path / "cloud.npz", points=CLOUD[::-1])
    for file in tmp_path.iterdir():
        np.testing.assert_allclose(whole.encode(file).code, code, atol=1e-5, err_msg=file.name)
    assert np.abs(np.asarray(whole.encode(CLOUD[:20]).code) - code).max() > 1e-3  # fewer than a batch takes


def test_a_cloud_comes_back_as_a_mesh_in_its_own_units(tmp_path):
    config, family, _, params = made()
    ball = lambda params, decoded, points: jnp.linalg.norm(points, axis=-1) - 0.95 + 0 * decoded[0].sum()
    known = restore.Restored(params, config, fields.spec(config, ()), family.__class__(
        **{**vars(family), "field": ball}), 0)  # fmt: skip
    np.savez(tmp_path / "cloud.npz", vertices=CLOUD)
    found = known.reconstruct(tmp_path / "cloud.npz", grid=16)
    middle, side = (CLOUD.max(0) + CLOUD.min(0)) / 2, np.ptp(CLOUD, axis=0).max()
    np.testing.assert_allclose(np.linalg.norm(found.vertices - middle, axis=1), side / 2, rtol=0.03)


def test_doubled_points_are_told_and_change_nothing():
    whole = run()
    with pytest.warns(UserWarning, match=r"^mesh: 25\.0% of the points where others are$"):
        code = whole.encode(np.concatenate([CLOUD, CLOUD[:20]])).code
    np.testing.assert_allclose(code, whole.encode(CLOUD).code, atol=1e-5)


def test_clouds_that_say_too_little_are_refused_in_a_line(tmp_path):
    broken = CLOUD.copy()
    broken[[3, 5], 1] = np.nan
    np.savez(tmp_path / "two.npz", mean=CLOUD, faces=[[0, 1, 2]], scale=1.0, delta=np.zeros((2, 60, 3)))
    for given, text in (
        (CLOUD[:5], "a shape's distinct points are 5; accepted with latent.tokens = 6: at least 6"),
        (broken, "mesh: 2 of 60 points are NaN or infinite"),
        (tmp_path / "two.npz", "two.npz: has 2 shapes; accepted: an archive of one"),
    ):
        with pytest.raises(ValueError) as refused:
            run().encode(given)
        assert str(refused.value) == text
