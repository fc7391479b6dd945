"""A family of a few parameters and a cache of a few numbers, for tests of the loop alone."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import ml_collections

from configs import base
from hexjax.data import batches
from hexjax.models import family
from hexjax.training import checkpoint, loop, optimiser, step
from hexjax.types import Latent, Layout, Size

POINTS = 16


def make_family(blow_up_at: int = -1) -> family.Family:
    """A two-layer fit of noisy targets; its loss is NaN at step `blow_up_at`."""

    def init(batch, key, parents):
        first, second = jax.random.split(key)
        return {"first": jax.random.normal(first, (4, 8)), "second": {"kernel": jax.random.normal(second, (8, 1))}}

    def loss(params, batch, key, step, knobs):
        hidden = jnp.tanh(batch["points"] @ params["first"])
        noise = 0.1 * jax.random.normal(key, batch["sdf"].shape)
        error = jnp.mean(jnp.square((hidden @ params["second"]["kernel"])[..., 0] - batch["sdf"] - noise))
        total = error + knobs["kl.final_weight"] * jnp.sum(jnp.square(params["first"]))
        return jnp.where(step == blow_up_at, jnp.nan, total), {"reconstruction": error}

    return family.Family(
        reads=("points", "sdf"),
        sees=(),
        layout=Layout("vector", 1, 1),
        size=lambda latent: Size(1, 32),
        init=init,
        loss=loss,
        encode=lambda params, batch, key, knobs=None: Latent(jnp.zeros((1, 1, 1)), {}),
        decode=lambda params, latent: latent.code,
        field=lambda params, decoded, points: points[:, 0],
    )


def make_cache() -> batches.Cache:
    """What `batch_at` draws from."""
    rows = jax.random.normal(jax.random.key(7), (64, 5))
    return batches.Cache({"rows": rows}, None, {}, ("rows",), 64, (), 8)


def batch_at(cache, step, seed=0):
    """A batch that is a function of the step alone."""
    rows = cache.fields["rows"][jax.random.randint(jax.random.fold_in(jax.random.key(1), step), (POINTS,), 0, 64)]
    return {"points": rows[None, :, :4], "sdf": rows[None, :, 4]}


def fixed(cache):
    """The batch for validation."""
    return batch_at(cache, 0)


def make_config(steps: int = 4, save_every_steps: int = 2) -> ml_collections.ConfigDict:
    """Toy intervals, all of them due within a few steps."""
    config = base.get_config()
    config.train.steps = steps
    config.checkpoint.every_steps = save_every_steps
    config.log.every_steps = 1
    config.validate.every_steps = 2
    config.evaluate.every_steps = 3
    config.optimiser.learning_rate = 1e-2
    config.optimiser.warmup_steps = 3
    config.kl.final_weight = 0.01
    return config


def evaluate(params, step: int, stopped=None) -> dict[str, dict]:
    """A score of the parameters."""
    return {"mean": {"first": float(jnp.sum(params["first"])), "watertight": None}}


def train(
    folder: pathlib.Path, steps: int = 4, blow_up_at: int = -1, score=evaluate, changes=None, **intervals: int
) -> int:
    """The exit code of a toy run in a folder."""
    config = make_config(steps, **intervals)
    config.update_from_flattened_dict(changes or {})
    return loop.train(make_family(blow_up_at), config, step.Data(make_cache(), batch_at, fixed, fixed), folder, score)


def target():
    """The structure of the toy's state."""
    init = step.make_init(make_family(), optimiser.make(make_config()), fixed)
    return jax.eval_shape(init, make_cache(), 0)


def restore(folder: pathlib.Path):
    """The newest good state of a toy run."""
    with checkpoint.Store(folder / "checkpoints", keep=9) as store:
        return store.restore(target())


def outcome(folder: pathlib.Path) -> tuple[dict[str, str], str]:
    """All that a run leaves that must not depend on interruptions: the state's digests, and the metrics."""
    return checkpoint.digest(restore(folder)), (folder / "metrics.jsonl").read_text()


if __name__ == "__main__":
    sys.exit(train(pathlib.Path(sys.argv[1]), steps=int(sys.argv[2]), save_every_steps=10))
