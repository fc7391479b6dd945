"""Linear VAEs on Gaussian data of made spectra: what theory says before the run, and what the house's measures say after.

Trained as users train: by Adam on the reparameterised ELBO of mini-batches, from small random weights, the noise fixed at
sigma^2. The optimum is known: a unit is active for each eigenvalue above sigma^2, as far as the floats reach, largest first.
Right, as it was written down before: COLLAPSED exactly where no unit is active; HEALTHY where the latent's gain exceeds its
rate and the signs come back (more than half of the variance is explained: then the IoU of what is above the mean is .6, a
tenth above the constant predictor's 1/2); else WEAK. Never EXPLODED, at these sizes: of 400 equal eigenvalues twice the
noise, and half as many floats, the optimum itself pays over 10 nats more than the gain.
Source: Lucas et al. 2019 (arXiv:1911.02469); Tipping and Bishop 1999 for the optimum; gain, share and IoU: ours.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import base
from hexjax.diagnostics import collapse, measure, preflight, verdict, witness
from hexjax.models import family
from hexjax.models.parts import losses, posteriors

TRAIN, HELD_OUT, BATCH, STEPS, RATE = 8192, 4096, 256, 8000, 3e-2
START = 0.01  # deviation of the weights
FLOOR, SHARPNESS, TEMPERATURE = 0.01, 4.0, 1.0  # of the teacher, and of the simplex witness
SURE = 0.05  # of a share of variance that is to be told from 1/2


class Spectrum(NamedTuple):
    """Eigenvalues of the data, largest first, floats of the latent, noise sigma^2, and the verdict that is right."""

    eigenvalues: tuple[float, ...]
    floats: int
    variance: float
    expected: str


GEOMETRIC = tuple(64 * 0.7**i for i in range(32))
SPECTRA = {
    "flat, below the noise": Spectrum((0.5,) * 32, 16, 1.0, "COLLAPSED"),
    "one just below": Spectrum((0.9, *(0.25,) * 31), 16, 1.0, "COLLAPSED"),
    "one just above": Spectrum((1.1, *(0.25,) * 31), 16, 1.0, "WEAK"),  # the case without a clear margin
    "flat, above the noise": Spectrum((2.0,) * 32, 16, 1.0, "WEAK"),
    "geometric": Spectrum(GEOMETRIC, 16, 1.0, "HEALTHY"),
    "geometric, noise above all": Spectrum(GEOMETRIC, 16, 100.0, "COLLAPSED"),
    "two levels": Spectrum((16.0,) * 4 + (0.25,) * 28, 16, 1.0, "HEALTHY"),
    "repeated, twice": Spectrum((9.0,) * 8 + (4.0,) * 8 + (0.25,) * 16, 24, 1.0, "HEALTHY"),
    "more than floats": Spectrum((6.0,) * 24 + (0.25,) * 8, 8, 1.0, "WEAK"),
    "many dimensions": Spectrum((3.6,) * 8 + (0.01,) * 248, 32, 0.1, "HEALTHY"),
}


class Linear(NamedTuple):
    """x -> N(x encoder, exp(log_variance)) -> N(z decoder, sigma^2); no biases, as the data are centred."""

    encoder: Any
    log_variance: Any
    decoder: Any


def theory(spectrum: Spectrum) -> dict[str, float]:
    """Figures of the optimum: active units, nats of rate and gain, the share of the variance that is explained, and the IoU.

    The gain is that over the constant predictor, both with the variance that fits their errors, as `measure` has it. An
    eigenvalue counts where its unit's mean varies by more than `collapse.ACTIVE_VARIANCE`: 1 - sigma^2 / eigenvalue.
    """
    values, noise = np.array(spectrum.eigenvalues), spectrum.variance
    kept = np.maximum(values - noise, 0) * (np.arange(len(values)) < spectrum.floats)
    error = np.where(kept > 0, noise, values).mean()
    share = kept.sum() / values.sum()
    angle = math.asin(math.sqrt(share)) / (2 * math.pi)  # of signs that agree, above 1/2, by half
    return {
        "active_units": int((kept > collapse.ACTIVE_VARIANCE * values).sum()),
        "kl": float(np.log1p(kept / noise).sum() / 2),
        "gain": float(len(values) * np.log(values.mean() / error) / 2),
        "share": float(share),
        "iou": (0.25 + angle) / (0.75 - angle),
        "negative_elbo": float(
            (len(values) * math.log(2 * math.pi * noise) + np.log1p(kept / noise).sum() + len(values) * error / noise)
            / 2
        ),
    }


def right(foretold: dict[str, float]) -> str:
    """The verdict that theory's figures ask for.

    Raises:
        ValueError: where the share is too near 1/2 to say.
    """
    if foretold["active_units"] == 0:
        return "COLLAPSED"
    if abs(foretold["share"] - 0.5) < SURE:
        raise ValueError(f"the share of the variance is {foretold['share']:.4g}; accepted: not within {SURE} of 1/2")
    return "HEALTHY" if foretold["gain"] > foretold["kl"] and foretold["share"] > 0.5 else "WEAK"


def data(spectrum: Spectrum, seed: int) -> tuple[Any, Any, Any]:
    """Training and held-out rows [n, d] in a random orthonormal basis, and its first direction [d]; training is centred."""
    draw = np.random.default_rng(seed)
    size = len(spectrum.eigenvalues)
    basis = np.linalg.qr(draw.normal(size=(size, size)))[0]
    rows = draw.normal(size=(TRAIN + HELD_OUT, size)) * np.sqrt(spectrum.eigenvalues)[None] @ basis.T
    rows = (rows - rows[:TRAIN].mean(0)[None]).astype(np.float32)
    return rows[:TRAIN], rows[TRAIN:], basis[:, 0].astype(np.float32)


def encode(params: Linear, batch: dict[str, Any], key: Any, knobs: Any = None) -> Any:
    mean = batch["x"] @ params.encoder
    spread = jnp.broadcast_to(params.log_variance[None], mean.shape)
    return posteriors.gaussian(jnp.concatenate([mean, spread], -1)[:, None], key, jnp.inf)


PROBE = family.Probe(
    observe=lambda batch: batch["x"],
    predict=lambda params, latent: latent.code[:, 0] @ params.decoder,
    **losses.probe(None),
    coverage=lambda x: (x > 0).astype(jnp.float32),  # above the mean: the sign is what is to come back
    rate=lambda params, latent, knobs: posteriors.gaussian_kl(latent, 1.0)[:, 0],
    pays_rate=True,
    codes=0,
)


@functools.partial(jax.jit, static_argnames=("floats", "steps"))
def fit(x: Any, floats: int, variance: Any, key: Any, steps: int = STEPS) -> Linear:
    """The VAE after steps of Adam on the sampled ELBO of mini-batches, its rate falling to 0 as a cosine."""
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, steps))
    first, second, key = jax.random.split(key, 3)
    weights = lambda key, *shape: START * jax.random.normal(key, shape)
    params = Linear(weights(first, x.shape[1], floats), jnp.zeros(floats), weights(second, floats, x.shape[1]))

    def loss(params: Linear, rows: Any, key: Any) -> Any:
        batch = {"x": rows}
        latent = encode(params, batch, key)
        nll = losses.gaussian_nll(PROBE.predict(params, latent), rows, variance).sum(1)
        return (nll + PROBE.rate(params, latent, None).sum(1)).mean()

    def step(state: tuple, key: Any) -> tuple[tuple, None]:
        params, memory = state
        chosen, noise = jax.random.split(key)
        rows = x[jax.random.randint(chosen, (BATCH,), 0, len(x))]
        update, memory = optimiser.update(jax.grad(loss)(params, rows, noise), memory, params)
        return (optax.apply_updates(params, update), memory), None

    return jax.lax.scan(step, (params, optimiser.init(params)), jax.random.split(key, steps))[0][0]


@jax.jit
def measured(params: Linear, train: Any, held_out: Any, direction: Any, key: Any) -> tuple[dict[str, Any], Any]:
    """The scalars of the house on held-out rows, with the witness's, and what swaps cost.

    The teacher says on which side of the mean a row lies along the first principal direction.
    """
    known = measure.constant(PROBE, train)
    keys, knobs = jax.random.split(key), {"reconstruction.sigma_floor": jnp.float32(0)}
    seen = measure.measure(encode, PROBE, params, {"x": train}, keys[0], knobs, known)
    variance = seen.scalars["squared_error"]
    found = measure.measure(encode, PROBE, params, {"x": held_out}, keys[1], knobs, known, variance)
    deviation = (train @ direction).std()

    def teacher(x: Any) -> Any:
        side = jax.nn.sigmoid(SHARPNESS * (x @ direction) / deviation)
        return (1 - 2 * FLOOR) * jnp.stack([1 - side, side], 1) + FLOOR

    few = slice(0, len(held_out))  # as many for the witness's fit
    bounds = witness.certificate(
        seen.mean[few], seen.sample[few], teacher(train[few]), found.mean, found.sample, teacher(held_out), TEMPERATURE, FLOOR
    )  # fmt: skip
    return found.scalars | {f"witness_{name}": value for name, value in bounds._asdict().items()}, found.swaps


def judged(scalars: dict[str, Any], swaps: Any) -> verdict.Verdict:
    lower = float(collapse.bootstrap_lower(swaps, jax.random.key(0)))
    return measure.judge(scalars, TRAIN, True, lower, float(scalars["witness_sample_lower"]))[0]


def forecast(spectrum: Spectrum, train: Any) -> str:
    """What the preflight says of the training rows and these settings."""
    kl = base.get_config().kl
    kl.final_weight = 1.0
    largest = float(collapse.largest_eigenvalue(train))
    return preflight.preflight(
        largest_eigenvalue=largest, entries=train.shape[1], shapes=len(train), latent_floats=spectrum.floats,
        pays_rate=True, likelihood="gaussian", reduction="sum", variance=spectrum.variance, kl=kl, steps=STEPS,
    ).predicted  # fmt: skip


def run(name: str, seed: int = 0, steps: int = STEPS, rows: int = HELD_OUT) -> dict[str, Any]:
    """One spectrum from theory to verdict, measured on so many held-out rows."""
    spectrum = SPECTRA[name]
    train, held_out, direction = data(spectrum, seed)
    params = fit(train, spectrum.floats, spectrum.variance, jax.random.key(seed), steps)
    scalars, swaps = jax.device_get(measured(params, train, held_out[:rows], direction, jax.random.key(seed + 1)))
    found, foretold, size = judged(scalars, swaps), theory(spectrum), train.shape[1]
    bound = size * (scalars["squared_error"] / spectrum.variance + math.log(2 * math.pi * spectrum.variance)) / 2
    names = ("active_units", "kl", "gain", "iou", "iou_constant", "witness_sample_lower", "witness_ceiling")
    return {
        "spectrum": name, "seed": seed, "dimensions": size, "floats": spectrum.floats, "variance": spectrum.variance,
        "theory": foretold, "expected": spectrum.expected, "preflight": forecast(spectrum, train),
        "measured": {key: float(scalars[key]) for key in names} | {"negative_elbo": float(bound + scalars["kl"])},
        "verdict": found.name, "tags": list(found.tags), "reason": found.reason,
    }  # fmt: skip
