import functools
import itertools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from hexjax.models.parts import latents, losses, posteriors, priors

KEY = jax.random.key(0)
TOKENS, CHANNELS = 5, 4
CONTROLS = {"kl.initial_weight": 1e-3, "kl.final_weight": 0.5, "kl.warmup_steps": 10.0, "kl.cap": 1.0,
            "kl.prior_variance": 1.0, "kl.free_bits": 0.0, "kl.log_variance_limit": np.inf}  # fmt: skip
KL = ml_collections.ConfigDict(dict(reduction="sum", cap_mode="clip"))
KINDS = [(kind, "straight_through") for kind in latents.KINDS] + [("bernoulli", "gumbel"), ("categorical", "gumbel")]


def knobs(**values):
    return {
        name: jnp.float32(value) for name, value in (CONTROLS | {f"kl.{key}": v for key, v in values.items()}).items()
    }


def config(kind, **values):
    given = dict(
        kind=kind, channels=CHANNELS, bits=32, codes=5, estimator="straight_through", temperature=0.5, pseudo_inputs=3,
        flow_layers=3, flow_width=8,
    )  # fmt: skip
    return ml_collections.ConfigDict(given | values)


def made(kind, estimator="straight_through", tokens=TOKENS, **values):
    bottleneck = latents.make(config(kind, estimator=estimator, **values), tokens)
    sample = bottleneck.sample and jax.jit(bottleneck.sample, static_argnums=2)
    return bottleneck._replace(encode=jax.jit(bottleneck.encode), rate=jax.jit(bottleneck.rate), sample=sample)


def statistics(seed=0, spread=1.0, batch=3, floats=2 * CHANNELS):
    return jnp.asarray(np.random.default_rng(seed).normal(0, spread, (batch, TOKENS, floats)).astype(np.float32))


@functools.cache
def case(kind, estimator="straight_through"):
    """A bottleneck, its parameters, what an encoder says of a batch, and what it says of pseudo-inputs."""
    bottleneck = made(kind, estimator)
    said = statistics(floats=bottleneck.statistics * CHANNELS)
    given = statistics(7) if kind == "vamp_prior" else None
    return bottleneck, noisy(bottleneck.init(KEY, given), 0.1), said, given


def noisy(params, spread):
    random = np.random.default_rng(3)
    return jax.tree.map(lambda x: x + np.float32(random.normal(0, spread, x.shape)), params)


# Every kind


@pytest.mark.parametrize(("kind", "estimator"), KINDS)
def test_shapes_and_statistics_of_every_kind(kind, estimator):
    bottleneck, params, said, given = case(kind, estimator)

    def both(params, key):
        latent = bottleneck.encode(said, key, knobs())
        return latent, bottleneck.rate(params, latent, given, knobs())

    check_shapes(bottleneck, *jax.eval_shape(both, params, None))
    check_shapes(bottleneck, *jax.eval_shape(both, params, KEY))


def check_shapes(bottleneck, latent, rates):
    assert latent.code.shape == latent.statistics["mean"].shape == (3, TOKENS, CHANNELS)
    assert latent.code.dtype == latent.statistics["mean"].dtype == jnp.float32
    assert all(len(value) == 3 for value in latent.statistics.values())
    assert ("indices" in latent.statistics) == (bottleneck.codes > 0)
    units = {"gaussian": 20, "bernoulli": 20, "fsq": 20, "categorical": TOKENS}.get(bottleneck.kind, 1)
    assert rates.shape == (3, units)
    assert rates.dtype == jnp.float32


def drawing(kind):
    """`sample` as a family has it, compiled, and parameters."""
    bottleneck, prior, _, given = case(kind)
    unasked = lambda *given: pytest.fail("asked")
    judged = dict(observe=None, coverage=None) | losses.probe("bernoulli")
    kl = ml_collections.ConfigDict({name.removeprefix("kl."): value for name, value in CONTROLS.items()})
    _, parts = latents.around(bottleneck, kl, unasked, lambda params, x: x, unasked, judged)
    params = {"prior": prior} | ({} if given is None else {"pseudo_inputs": given})
    return parts["sample"] and jax.jit(parts["sample"]), params


@pytest.mark.parametrize("kind", latents.KINDS)
def test_a_draw_is_a_function_of_the_key_and_its_number_in_whatever_batch(kind):
    sample, params = drawing(kind)
    assert (sample is None) == (kind == "deterministic")
    if sample is None:
        return
    draw = lambda *numbers: sample(params, KEY, {"draw": jnp.int32(numbers)})
    many = draw(7, 0, 3, 2**31 - 1)
    assert many.code.shape == many.statistics["mean"].shape == (4, TOKENS, CHANNELS)
    assert len({code.tobytes() for code in np.asarray(many.code)}) == 4
    for place, one in ((2, draw(3)), (0, draw(7))):
        same = jax.tree.map(lambda leaf: leaf[place : place + 1], many)  # noqa: B023
        jax.tree.map(lambda *both: np.testing.assert_allclose(*both, atol=1e-6), one, same)
    other = sample(params, jax.random.key(1), {"draw": jnp.int32([3])})
    assert (np.asarray(other.code) != np.asarray(many.code[2:3])).any()


def test_draws_take_the_knobs_of_a_sweep_for_the_config_s_numbers():
    sample, params = drawing("gaussian")
    batch = {"draw": jnp.arange(3)}
    plain, wide = sample(params, KEY, batch), sample(params, KEY, batch, knobs(prior_variance=4.0))
    np.testing.assert_allclose(wide.code, 2 * plain.code, rtol=1e-6)


@pytest.mark.parametrize("kind", latents.KINDS)
def test_samples_look_like_codes(kind):
    bottleneck, params, said, given = case(kind)
    assert (bottleneck.sample is None) == (kind == "deterministic")
    if bottleneck.sample is None:
        return
    drawn = bottleneck.sample(params, KEY, 200, given)
    assert drawn.code.shape == drawn.statistics["mean"].shape == (200, TOKENS, CHANNELS)
    assert np.isfinite(drawn.code).all()
    assert drawn.code.std() > 0.1
    if bottleneck.codes:
        known = bottleneck.encode(said, KEY, knobs())
        index = drawn.statistics["indices"]
        assert (index.dtype, index.shape[1:]) == (jnp.int32, known.statistics["indices"].shape[1:])
        assert (index.min(), index.max()) == (0, bottleneck.codes - 1)
        assert set(np.unique(known.code)) <= set(np.unique(drawn.code))


@pytest.mark.parametrize(("kind", "estimator"), KINDS)
def test_without_a_key_nothing_is_drawn(kind, estimator):
    bottleneck, _, said, _ = case(kind, estimator)
    first, again = (bottleneck.encode(said, None, knobs()).code for _ in range(2))
    np.testing.assert_array_equal(first, again)
    drawn = bottleneck.encode(said, KEY, knobs()).code
    assert (drawn != first).any() == (kind not in ("deterministic", "fsq"))


@pytest.mark.parametrize(("kind", "estimator"), KINDS)
def test_runs_of_a_sweep_are_vmapped_over_every_knob(kind, estimator):
    bottleneck, params, said, given = case(kind, estimator)
    control = ml_collections.ConfigDict(dict(reduction="mean", cap_mode="scale"))

    def loss(said, params, given, knobs):
        latent = bottleneck.encode(said, KEY, knobs)
        rates = bottleneck.rate(params, latent, given, knobs)
        return latents.charge(bottleneck, rates, (latent.code**2).mean(), jnp.int32(5), knobs, control)

    settings = [
        knobs(),
        knobs(cap=0.01),
        knobs(free_bits=0.3, prior_variance=0.1),
        knobs(log_variance_limit=0.5, warmup_steps=0),
        knobs(initial_weight=0, final_weight=0),
    ]
    together = {name: np.stack([each[name] for each in settings]) for name in CONTROLS}
    run = jax.value_and_grad(loss, (0, 1), has_aux=True)
    found = jax.jit(jax.vmap(run, (None, None, None, 0)))(said, params, given, together)
    one = jax.jit(run)
    expected = jax.tree.map(lambda *each: np.stack(each), *(one(said, params, given, each) for each in settings))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli", "categorical"])
def test_analytic_rates_are_nonnegative_and_zero_at_the_prior(kind):
    bottleneck, params, said, _ = case(kind)
    said, none = np.asarray(said), np.zeros(said.shape, np.float32)
    rate = jax.jit(lambda said: bottleneck.rate(params, bottleneck.encode(said, None, knobs()), None, knobs()))
    np.testing.assert_allclose(rate(none), 0, atol=1e-6)
    assert (np.asarray(rate(3 * said)) > 0).all()
    np.testing.assert_allclose(jax.jit(jax.grad(lambda said: rate(said).sum()))(none), 0, atol=1e-6)


@functools.cache
def analytic(kind):
    """The whole rate of what an encoder says, and its slope."""
    bottleneck, params, _, _ = case(kind)
    rate = lambda said: bottleneck.rate(params, bottleneck.encode(said, None, knobs()), None, knobs()).sum()
    return jax.jit(rate), jax.jit(jax.grad(rate))


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli", "categorical"])
@pytest.mark.parametrize("size", [0.3, 30.0, 2e6])
def test_analytic_rates_have_the_slope_of_finite_differences_and_are_finite_when_huge(kind, size):
    said = case(kind)[2]
    said = np.float32(size) * np.asarray(said)
    if kind == "gaussian":
        said[..., CHANNELS:] *= np.float32(min(1, 3 / size))
    rate, slope_of = analytic(kind)
    slope = slope_of(said)
    assert np.isfinite(rate(said))
    assert np.isfinite(slope).all()
    if size < 1:
        step = np.zeros_like(said)
        step[0, 1, 2] = 1e-2
        found = (rate(said + step) - rate(said - step)) / 2e-2
        assert float(found) == pytest.approx(float(np.asarray(slope)[0, 1, 2]), abs=2e-3)


@pytest.mark.parametrize("kind", ["vamp_prior", "flow_prior"])
def test_rates_of_learned_priors_survive_a_million_nats(kind):
    bottleneck, params, said, given = case(kind)

    @jax.jit
    def rate(said):
        return bottleneck.rate(params, bottleneck.encode(said, KEY, knobs()), given, knobs()).sum()

    said = said * np.where(np.arange(said.shape[-1]) < CHANNELS, 2000, 1).astype(np.float32)[None, None]
    assert rate(said) > 1e6
    assert np.isfinite(jax.jit(jax.grad(rate))(said)).all()


def test_a_wild_log_variance_overflows_unless_it_is_clamped():
    said = jnp.concatenate([jnp.zeros((1, TOKENS, CHANNELS)), jnp.full((1, TOKENS, CHANNELS), 200.0)], -1)
    bottleneck = made("gaussian")
    rate = lambda knobs: bottleneck.rate({}, bottleneck.encode(said, KEY, knobs), None, knobs)
    assert np.isinf(rate(knobs())).all()
    assert np.isfinite(rate(knobs(log_variance_limit=10))).all()


def test_bits_are_those_of_the_stored_latent():
    assert made("gaussian", bits=16).bits == made("deterministic", bits=16).bits == TOKENS * CHANNELS * 16
    assert made("bernoulli").bits == TOKENS * CHANNELS
    assert made("categorical", channels=6).bits == 13  # 6^5 = 7776 codes
    assert made("fsq", codes=8).bits == TOKENS * CHANNELS * 3
    assert made("fsq", codes=3).bits == (3 ** (TOKENS * CHANNELS) - 1).bit_length()
    assert [made(kind).codes for kind in latents.KINDS] == [0, 0, 0, 0, 2, CHANNELS, 5]
    assert [made(kind).statistics for kind in latents.KINDS] == [1, 2, 2, 2, 1, 1, 1]
    assert {kind for kind in latents.KINDS if not made(kind).pays_rate} == {"deterministic", "fsq"}


def test_knobs_are_the_numbers_of_kl():
    found = latents.knobs(ml_collections.ConfigDict(dict(cap=0.1, cap_mode="clip", warmup_steps=3)))
    assert {name: float(value) for name, value in found.items()} == {
        "kl.cap": np.float32(0.1),
        "kl.warmup_steps": 3.0,
    }


# Gaussian posteriors


def test_draws_from_the_gaussian_prior_have_its_variance():
    bottleneck = made("gaussian")
    for given, variance in ((None, 1), (knobs(prior_variance=0.1), 0.1)):
        drawn = bottleneck.sample({}, KEY, 2000, None, given)
        assert float(drawn.code.var()) == pytest.approx(variance, rel=0.02)


# Learned priors


def mean_rate(bottleneck, params, said, given, count=4000):
    """The mean of many one-sample rates [b]."""
    said = jnp.repeat(said, count, 0)

    @jax.jit
    def rate(params, said, given):
        return bottleneck.rate(params, bottleneck.encode(said, KEY, knobs()), given, knobs())

    return rate(params, said, given).reshape(-1, count).mean(1)


def test_an_untrained_flow_costs_what_the_standard_normal_does():
    bottleneck, _, said, _ = case("flow_prior")
    analytic = posteriors.gaussian_kl(posteriors.gaussian(said, None, np.inf), 1.0).sum((1, 2))
    np.testing.assert_allclose(mean_rate(bottleneck, bottleneck.init(KEY, None), said, None), analytic, rtol=0.02)


def test_a_flow_in_tokens_samples_what_it_has_learned_the_density_of(monkeypatch):
    monkeypatch.setattr(priors, "WHOLE", 8)
    bottleneck = made("flow_prior")
    params = noisy(bottleneck.init(KEY, None), 0.3)
    assert params["layer_0"]["embedding"].shape[0] == TOKENS
    code = bottleneck.sample(params, KEY, 3, None).code
    base, _ = priors.flow_to_base(params, code)
    np.testing.assert_allclose(base, jax.random.normal(KEY, (3, TOKENS, CHANNELS)), atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_a_mixture_of_one_posterior_costs_that_posterior_nothing(scale):
    bottleneck = made("vamp_prior", pseudo_inputs=1)
    said = statistics(batch=1).at[..., :CHANNELS].multiply(scale)
    np.testing.assert_allclose(mean_rate(bottleneck, {}, said, said), 0, atol=0.05 if scale == 1 else 0.2)


def test_a_mixture_of_far_posteriors_costs_the_log_of_their_number():
    bottleneck = made("vamp_prior")
    said = statistics(spread=0.3).at[..., :CHANNELS].add(10 * jnp.arange(3.0)[:, None, None])
    np.testing.assert_allclose(mean_rate(bottleneck, {}, said, said), np.log(3), atol=0.1)


@pytest.mark.parametrize("kind", ["vamp_prior", "flow_prior"])
def test_one_sample_rates_have_the_slope_of_finite_differences(kind):
    bottleneck, params, said, given = case(kind)

    def rate(said, given, params):
        return bottleneck.rate(params, bottleneck.encode(said, KEY, knobs()), given, knobs()).sum()

    rate = jax.jit(rate)
    slopes = jax.jit(jax.grad(rate, (0,) if given is None else (0, 1)))(said, given, params)
    for argument, slope in enumerate(slopes):
        for place in ((0, 1, 2), (2, 3, CHANNELS + 1)):  # a mean and a log-variance
            moved = lambda by: [
                x.at[place].add(by) if i == argument else x  # noqa: B023
                for i, x in enumerate((said, given))
            ]
            found = (rate(*moved(1e-2), params) - rate(*moved(-1e-2), params)) / 2e-2
            assert float(found) == pytest.approx(float(slope[place]), rel=0.02, abs=5e-3)


def test_a_learned_prior_learns_what_the_posteriors_are():
    bottleneck = made("flow_prior", flow_layers=2)
    said = jnp.concatenate([jnp.full((64, TOKENS, CHANNELS), 2.0), jnp.full((64, TOKENS, CHANNELS), -1.0)], -1)
    adam, params = optax.adam(2e-2), bottleneck.init(KEY, None)
    before = float(mean_rate(bottleneck, params, said[:1], None)[0])

    def step(state, key):
        params, memory = state
        rate = lambda params: bottleneck.rate(params, bottleneck.encode(said, key, knobs()), None, knobs()).mean()
        update, memory = adam.update(jax.grad(rate)(params), memory)
        return (optax.apply_updates(params, update), memory), None

    params = jax.jit(lambda state: jax.lax.scan(step, state, jax.random.split(KEY, 300))[0])(
        (params, adam.init(params))
    )
    after = float(mean_rate(bottleneck, params[0], said[:1], None)[0])
    assert before > 40
    assert after < 2
    assert float(bottleneck.sample(params[0], KEY, 500, None).code.mean()) == pytest.approx(2, abs=0.2)


def test_pseudo_inputs_start_as_shapes_and_none_are_alike():
    x = jnp.arange(2.0)[:, None, None] * jnp.ones((2, 3, 4))
    bottleneck = made("vamp_prior", pseudo_inputs=5)
    found = latents.init_prior(bottleneck, x, lambda inputs: statistics(batch=len(inputs)), KEY)
    assert set(found) == {"pseudo_inputs"}
    np.testing.assert_allclose(found["pseudo_inputs"].mean((1, 2)), [0, 1, 0, 1, 0], atol=0.1)
    apart = [float(jnp.abs(a - b).max()) for a, b in itertools.combinations(found["pseudo_inputs"], 2)]
    assert min(apart) > 0.05


@pytest.mark.parametrize("kind", latents.KINDS)
def test_only_what_is_learned_becomes_a_parameter(kind):
    found = latents.init_prior(made(kind), jnp.ones((2, 3)), lambda inputs: statistics(batch=len(inputs)), KEY)
    expected = {"vamp_prior": {"pseudo_inputs"}, "flow_prior": {"prior"}, "fsq": {"prior"}}
    assert set(found) == expected.get(kind, set())


# Discrete codes


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_discrete_rates_are_the_mean_log_ratio_of_samples(kind):
    logits = 2 * statistics(floats=CHANNELS)
    bottleneck = made(kind)
    found = bottleneck.rate({}, bottleneck.encode(logits, None, knobs()), None, knobs())
    if kind == "bernoulli":
        chance = np.asarray(jax.nn.sigmoid(logits), np.float64)
        expected = chance * np.log(2 * chance) + (1 - chance) * np.log(2 * (1 - chance))
    else:
        chance = np.asarray(jax.nn.softmax(logits), np.float64)
        expected = (chance * np.log(CHANNELS * chance)).sum(-1)
    np.testing.assert_allclose(found, expected.reshape(3, -1), rtol=1e-4, atol=1e-6)
    most = np.log(2 if kind == "bernoulli" else CHANNELS)
    sure = bottleneck.rate({}, bottleneck.encode(1e6 * logits, None, knobs()), None, knobs())
    np.testing.assert_allclose(sure, most, rtol=1e-6)


def test_code_frequencies_are_fitted_and_move_no_encoder():
    bottleneck = made("fsq")
    said = 0.3 + statistics(batch=256, floats=CHANNELS)

    def loss(params, said):
        latent = bottleneck.encode(said, None, knobs())
        rates = bottleneck.rate(params, latent, None, knobs())
        term, parts = latents.charge(bottleneck, rates, jnp.float32(1), jnp.int32(0), knobs(), KL)
        return term, parts

    adam, params = optax.adam(0.1), bottleneck.init(KEY, None)
    assert float(loss(params, said)[1]["code_nats"]) == pytest.approx(TOKENS * CHANNELS * np.log(5), rel=1e-5)
    memory, slope = adam.init(params), jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    np.testing.assert_array_equal(slope(params, said)[0][1], 0)

    def step(state, _):
        update, memory = adam.update(slope(state[0], said)[0][0], state[1])
        return (optax.apply_updates(state[0], update), memory), None

    params = jax.jit(lambda state: jax.lax.scan(step, state, None, 200)[0])((params, memory))[0]
    term, parts = loss(params, said)
    assert float(term) == 0
    index = np.asarray(bottleneck.encode(said, None, knobs()).statistics["indices"])
    share = np.stack([(index == code).mean(0) for code in range(5)], -1)
    entropy = -(share * np.log(np.maximum(share, 1e-9))).sum()
    assert float(parts["code_nats"]) == pytest.approx(entropy, rel=0.01)
    drawn = bottleneck.sample(params, KEY, 4000, None).statistics["indices"]
    found = np.stack([(drawn == code).mean(0) for code in range(5)], -1)
    np.testing.assert_allclose(found, share, atol=0.05)


# What the loss is charged


def test_a_deterministic_latent_costs_nothing_and_tells_nothing():
    bottleneck, params, said, _ = case("deterministic")
    latent = bottleneck.encode(said, KEY, knobs())
    np.testing.assert_array_equal(latent.code, said)
    rates = bottleneck.rate(params, latent, None, knobs())
    term, parts = latents.charge(bottleneck, rates, jnp.float32(1), jnp.int32(0), knobs(), KL)
    assert (float(term), parts) == (0, {})


@pytest.mark.parametrize("kind", ["gaussian", "categorical", "fsq"])
def test_tokens_that_are_not_there_cost_nothing_whatever_is_said_of_them(kind):
    bottleneck, params, said, given = case(kind)
    alive = np.arange(said.shape[1])[None] < np.array([2, 3, 1])[:, None]
    config = ml_collections.ConfigDict(dict(reduction="mean", cap_mode="clip"))

    def charge(said):
        rates = bottleneck.rate(params, bottleneck.encode(said, None, knobs()), given, knobs())
        values = knobs(final_weight=1, free_bits=0.01)
        return latents.charge(bottleneck, rates, jnp.float32(1), jnp.int32(99), values, config, jnp.asarray(alive))

    one, other = charge(said), charge(jnp.where(alive[..., None], said, 9.0))
    jax.tree.map(lambda here, there: np.testing.assert_allclose(here, there, rtol=1e-6), one, other)
    assert float(one[1]["code_nats" if kind == "fsq" else "kl"]) > 0


@pytest.mark.parametrize("kind", ["gaussian", "vamp_prior", "categorical"])
def test_the_mean_and_the_free_bits_are_of_floats_for_every_unit(kind):
    bottleneck, params, said, given = case(kind)
    rates = bottleneck.rate(params, bottleneck.encode(said, KEY, knobs()), given, knobs())
    config = ml_collections.ConfigDict(dict(reduction="mean", cap_mode="clip"))
    charged = jax.jit(
        lambda rates, knobs: latents.charge(bottleneck, rates, jnp.float32(1), jnp.int32(99), knobs, config)
    )
    charge = lambda **values: charged(rates, knobs(final_weight=1, **values))
    term, parts = charge()
    assert float(term) == pytest.approx(float(np.asarray(rates).sum()) / 3 / 20, rel=1e-5)
    assert float(parts["kl_per_float"]) == pytest.approx(float(parts["kl"]) / 20, rel=1e-5)
    assert float(charge(free_bits=100)[0]) == pytest.approx(100, rel=1e-5)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (dict(kind="vq"), "config.latent.kind is 'vq'; accepted: deterministic, gaussian, vamp_prior, flow_prior, "
                          "bernoulli, categorical, fsq"),
        (dict(kind="bernoulli", estimator="reinforce"),
         "config.latent.estimator is 'reinforce'; accepted: straight_through, gumbel"),
        (dict(kind="categorical", estimator="gumbel", temperature=0.0),
         "config.latent.temperature is 0.0; accepted: a number, finite, above 0"),
        (dict(kind="categorical", channels=1),
         "config.latent.channels is 1; accepted: at least 2, the codes of latent.kind = categorical"),
        (dict(kind="gaussian", channels=0), "config.latent.channels is 0; accepted: a whole number, at least 1"),
        (dict(kind="fsq", codes=1), "config.latent.codes is 1; accepted: a whole number, at least 2"),
        (dict(kind="vamp_prior", pseudo_inputs=0),
         "config.latent.pseudo_inputs is 0; accepted: a whole number, at least 1"),
        (dict(kind="flow_prior", flow_layers=0),
         "config.latent.flow_layers is 0; accepted: a whole number, at least 1"),
        (dict(kind="flow_prior", flow_width=0), "config.latent.flow_width is 0; accepted: a whole number, at least 1"),
    ],
)  # fmt: skip
def test_what_no_bottleneck_can_be_made_of_is_refused(values, text):
    with pytest.raises(ValueError) as error:
        latents.make(config(**values), TOKENS)
    assert str(error.value) == text
