"""The contract of house and `models.family`, for every family and variant."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hexjax import rules
from hexjax.data import fields
from hexjax.models import family as families
from hexjax.types import Latent
from tests import toys

KEY = jax.random.key(0)
RATES = {
    "deepsdf": 1e-3,
    "vecset": 5e-3,
    "triplane": 5e-3,
}  # beyond the clamp a field has no gradient: large steps end there
ADAM = {name: optax.adam(RATES.get(name, 3e-2)) for name in toys.VARIANTS}
POINTS = np.random.default_rng(0).uniform(-1, 1, (11, 3)).astype(np.float32)
SIDE = 9  # nodes
NODES = np.stack(np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 3, indexing="ij"), -1).reshape(-1, 3)
pytestmark = pytest.mark.usefixtures("quick_programs")


@functools.cache
def made(name, variant):
    config = toys.config_of(name, variant)
    family, batch = toys.family_of(config), toys.batch_of(config)
    batch = {field: batch[field] for field in family.reads}
    params = family.init(batch, KEY, {})  # operation by operation: variants share most of these small programs
    return config, family, batch, params, families.knobs(config)


@functools.cache
def step_of(name, variant):
    """Loss, gradient, and parameters after a step of Adam: one program for all that is asked of them."""
    value = jax.value_and_grad(made(name, variant)[1].loss, has_aux=True)

    @jax.jit
    def step(params, memory, batch, number, knobs):
        told, gradient = value(params, batch, KEY, number, knobs)
        updates, memory = ADAM[name].update(gradient, memory)
        return told, gradient, optax.apply_updates(params, updates), memory

    return step


class Seen(NamedTuple):
    """What a variant says of a batch without its loss; the field's values are of what is decoded of the first shape."""

    mean: Latent  # without a key
    drawn: Latent
    decoded: Any
    one: Any
    values: jax.Array  # at POINTS
    slope: jax.Array
    nodes: jax.Array  # at NODES


@functools.cache
def seen_by(name, variant):
    """All of it as one program: what is compiled is the cost here."""
    family = made(name, variant)[1]

    def see(params, batch):
        mean, drawn = (family.encode(params, batch, key) for key in (None, KEY))
        decoded = family.decode(params, drawn)
        one = jax.tree.map(lambda leaf: leaf[0], decoded)
        total = lambda points: (lambda values: (values.sum(), values))(family.field(params, one, points))
        slope, values = jax.grad(total, has_aux=True)(POINTS)
        return Seen(mean, drawn, decoded, one, values, slope, family.field(params, one, NODES))

    return jax.jit(see)


@functools.cache
def seen(name, variant):
    _, _, batch, params, _ = made(name, variant)
    return seen_by(name, variant)(params, batch)


def test_every_family_file_has_variants_here():
    """Or laws of their own: of those that encode pictures, and that draw."""
    assert rules.families() == sorted([*toys.VARIANTS, "latent_dit", "view_encoder"])


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError) as error:
        families.get("vqvae")
    assert str(error.value) == f"config.model.family is 'vqvae'; families: {', '.join(rules.families())}"


def test_a_family_that_reads_what_no_data_give_is_refused_before_anything_is_made(monkeypatch):
    config = toys.config_of("hexplane_mlp", next(iter(toys.VARIANTS["hexplane_mlp"])))
    spec, make = fields.spec(config, ()), families.get(config.model.family)
    for part in ("reads", "sees", "conditions"):
        wanting = lambda *given: dataclasses.replace(make(*given), **{part: ("mask", "colour")})  # noqa: B023
        monkeypatch.setattr(families, "get", lambda name: wanting)  # noqa: B023
        with pytest.raises(ValueError) as error:
            families.make(spec, config)
        known = ", ".join(spec.fields)
        assert str(error.value) == f"the family of config.model.family reads 'colour'; these data give: {known}"


REFUSED = (
    ("sample", "sample", "draws nothing"),
    ("encode", "encode", "encodes nothing"),
    ("ceiling", "field", "has no surface"),
    ("view", "field", "has no surface"),
    ("export", "field", "has no surface"),
)


@pytest.mark.parametrize(("mode", "part", "does"), REFUSED)
def test_a_mode_that_a_family_has_no_part_for_is_refused_in_one_line(mode, part, does):
    config, family, _, _, _ = made("hexplane_ae", "surface")
    without = dataclasses.replace(family, **{"sample": print, part: None})
    for other in ("train", "evaluate", *(each for each, of, _ in REFUSED if of != part)):
        families.check_mode(without, config, other)
    with pytest.raises(ValueError) as error:
        families.check_mode(without, config, mode)
    text = (
        f"config.model.family is 'hexplane_ae', which {does} with latent.kind = deterministic; "
        f"--mode={mode} accepts a family that does"
    )
    more = "; latents with a prior: gaussian, vamp_prior, flow_prior, bernoulli, categorical, fsq"
    assert str(error.value) == text + more * (mode == "sample")


def test_parameters_of_parents_stand_under_their_own_name_and_only_where_there_are_any():
    assert families.whole({"decoder": 1}, {}) == {"decoder": 1}
    assert families.whole({"decoder": 1}, {"latents": 2}) == {"decoder": 1, "parents": {"latents": 2}}


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_encoding_needs_only_what_is_seen_and_a_perfect_decoder_gives_what_decode_does(name, variant):
    """By arithmetic: no field but those that are told, and the same structure and shapes."""
    _, family, batch, params, _ = made(name, variant)
    if family.ideal is None:
        pytest.skip("the family knows no perfect decoder: its ceiling is the mesh's own distance")
    seen = {field: batch[field] for field in family.sees}
    found = jax.eval_shape(lambda params: family.decode(params, family.encode(params, seen, None)), params)
    ideal = jax.eval_shape(family.ideal, seen)
    told = lambda tree: {
        jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    outlines = set(told(ideal)) == {".mask"}  # a hull has no depth and normals
    assert told(ideal) == {name: shape for name, shape in told(found).items() if not outlines or name == ".mask"}
    one = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), jax.eval_shape(family.ideal, seen)
    )
    values = jax.eval_shape(lambda one: family.field(None, one, POINTS), one)
    assert (values.shape, values.dtype) == ((11,), jnp.float32)


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_draws_have_the_form_of_codes(name, variant):
    config, family, _, params, _ = made(name, variant)
    assert (family.sample is None) == (config.latent.kind == "deterministic" or family.layout.kind == "cells")
    if family.sample is not None:
        drawn = jax.eval_shape(family.sample, params, KEY, {"draw": jnp.arange(3)})
        assert drawn.code.shape == (3, family.layout.tokens, family.layout.channels)
        decoded = jax.eval_shape(family.decode, params, drawn)
        assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(decoded))


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_loss_and_gradient_are_finite_and_the_same_for_the_same_key(name, variant):
    _, _, batch, params, knobs = made(name, variant)
    step = functools.partial(step_of(name, variant), params, ADAM[name].init(params), batch, 3, knobs)
    (loss, parts), gradient = step()[:2]
    assert np.isfinite(loss)
    assert all(np.isfinite(part) and np.shape(part) == () for part in parts.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(
        (np.asarray(leaf) != 0).any() for leaf in jax.tree.leaves(gradient.get("encoder", gradient.get("codes")))
    )
    (again, _), _ = step()[:2]
    assert float(again) == float(loss)


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_shapes_and_sizes_are_as_told(name, variant):
    config, family, _, _, _ = made(name, variant)
    found = seen(name, variant)
    assert found.mean.code[0].size == found.drawn.code[0].size == family.latent_floats
    size, own = family.size(None), family.size(jax.tree.map(lambda leaf: leaf[0], found.mean))
    if family.layout.kind == "cells":  # of one shape those that are there, and where
        alive, places = int(found.mean.alive[0].sum()), 8 * 2**10
        assert own.floats == alive * family.layout.channels < size.floats
        assert own.floats * config.latent.bits < own.bits < own.floats * config.latent.bits + places
        size = size._replace(bits=size.bits - config.latent.side**3)
    else:
        assert own == size
    assert size.floats == family.latent_floats
    if family.probe.codes == 0:
        assert size.bits == size.floats * config.latent.bits
    else:
        assert 0 < size.bits <= size.floats * np.log2(family.probe.codes) + 1
    assert found.mean.code.shape[1:] == (family.layout.tokens, family.layout.channels)
    if family.layout.kind == "planes":
        views, side = family.layout.sides
        assert views * side**2 == family.layout.tokens
    elif family.layout.kind in ("cells", "grid"):
        assert family.layout.sides == (config.latent.side,)
        assert family.layout.kind == "cells" or config.latent.side**3 == family.layout.tokens
    else:
        assert (family.layout.kind in ("vector", "set"), family.layout.sides) == (True, ())
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(found.decoded))
    assert (found.values.shape, found.values.dtype) == ((11,), jnp.float32)
    assert np.isfinite(found.values).all()
    assert np.isfinite(found.slope).all()


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_shapes_in_a_batch_do_not_see_each_other(name, variant):
    _, _, batch, params, _ = made(name, variant)
    both = np.asarray(seen(name, variant).mean.code)
    twice = jax.tree.map(lambda a: np.stack([np.asarray(a)[1]] * 2), batch)
    same = np.asarray(seen_by(name, variant)(params, twice).mean.code)
    np.testing.assert_allclose(same, np.stack([both[1]] * 2), atol=1e-4)
    assert np.abs(both[0] - both[1]).max() > 1e-3


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_the_grid_is_the_field_at_the_nodes(name, variant):
    _, family, _, params, _ = made(name, variant)
    if family.grid is None:
        return
    found = seen(name, variant)
    values = family.grid(params, found.one, SIDE)
    np.testing.assert_array_equal(values < 0, np.asarray(found.nodes).reshape((SIDE,) * 3) < 0)


@pytest.mark.parametrize(("name", "variant"), toys.ALL)
def test_one_shape_is_overfitted(name, variant):
    _, _, batch, params, knobs = made(name, variant)
    batch = jax.tree.map(lambda a: jnp.asarray(np.stack([np.asarray(a)[0]] * 2)), batch)
    step, memory, losses = step_of(name, variant), ADAM[name].init(params), []
    for number in range(80):
        (_, parts), _, params, memory = step(params, memory, batch, number, knobs)
        losses.append(parts["reconstruction"])
    assert float(losses[-1]) < 0.35 * float(losses[0])


@pytest.mark.slow
def test_rendered_maps_cost_the_sdf_supervision_nothing(data_folder):
    """At the rendered maps the loss through the fused field is 0, and so is its gradient."""
    from hexjax.geometry import field
    from hexjax.models.parts import losses
    from hexjax.types import Hexplane
    from tests import shapes

    def error(depth, normal, mask, pool):
        values = field.fuse(Hexplane(depth, normal, mask), pool["points"])
        judged = values, pool["sdf"], pool["slack"], pool["seen"]
        return sum(losses.signed_distance_error(*(a[None] for a in judged)))

    config = toys.config_of("hexplane_ae", "surface", **{"hexplane.resolution_px": 64, "sdf.points": 2000})
    loss = jax.jit(jax.value_and_grad(error, (0, 1, 2)))
    fuse = jax.jit(lambda found, points: field.fuse(Hexplane(*(found[name] for name in fields.MAPS)), points))
    pooled = ("points", "sdf", "slack", "seen")
    for mesh in (shapes.torus(), shapes.head(data_folder, "leeperrysmith_5500")):
        found = fields.make(toys.item_of(mesh), (*fields.MAPS, *pooled), config, 0, fuse=fields.Fuse(fuse, ""))
        depth, normal, mask = found["depth"], found["normal"], found["mask"].astype(np.float32)
        pool = {name: found[name] for name in pooled}
        value, gradient = loss(depth, normal, mask, pool)
        assert float(value) < 1e-6
        assert all(float(np.abs(part).max()) < 1e-6 for part in gradient)
        assert pool["seen"].mean() > 0.5
        assert float(loss(depth + np.float32(0.03), normal, mask, pool)[0]) > 0.05
        assert float(loss(depth, normal, 0 * mask, pool)[0]) > 0.05
