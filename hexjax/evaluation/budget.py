"""Where a set of vectors loses what it loses, at one shape: python -m hexjax.evaluation.budget RUN [RUN ...] [--into PAGE ...]

Of the first held-out shape of a run whose family sees points of the surface: the scores of its own signed distance on the
run's grid, and on one twice as fine; of what the run makes of it, on both; of MORE times as many points; and of a code that
is searched by descent through the decoder, from the encoder's on. So what is lost is split: by the grid, by the network (what
no code that was found makes good), by encoding and by sampling, which add up to the whole; a loss below 0 is a gain. Tokens
and steps are other runs, beside each other in the tables. A searched code is not bound to the values of a discrete latent.

Writes RUN/budget.json, once without --again. Prints tables, or fills them into pages, between `<!-- budget:NAME -->` and
`<!-- /budget:NAME -->` for NAME = losses or scores; `<!-- budget:NAME RUN RUN -->` shows these alone.
"""

import dataclasses
import functools
import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from hexjax import pipeline, progress
from hexjax.data import fields
from hexjax.evaluation import clouds, equal_size, page, studied, table
from hexjax.geometry import frame, surface
from hexjax.types import Array, Item, Latent, Mesh, Params, Scores

MORE = 8  # times the points that the run sees
STEPS, POINTS, RATE = 400, 2048, 0.01  # of a search, of each step of it, and of the code's own size
PERFECT = {"v_iou": 1.0, "f_score_0.01": 1.0, "sharp_normal_error": 0.0}  # scores whose losses are told
CHAIN = ("truth", "searched", "more", "as_is")  # each against the one before it: grid, network, encoding, sampling
LOSSES = ("grid", "network", "encoding", "sampling")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    what = "Where a set of vectors loses what it loses."
    return studied.command(arguments, studied.Study("budget", what, study, TABLES))


def study(folder: pathlib.Path) -> Scores:
    """What is written to budget.json.

    Raises:
        ValueError: for a run that does not see points, has no surface or no held-out shapes, or whose shapes do not load.
        CheckpointError: for one without a good checkpoint.
    """
    run = clouds.read(folder)
    config, layout = run.config, run.family.layout
    fine = config.copy_and_resolve_references().unlock()
    fine.extract.grid = 2 * config.extract.grid - 1
    item, scored = run.held_out[0], {}
    for name, settings, mesh in meshes(run, item, fine):
        told = pipeline.score(mesh, item.mesh, settings)
        scored[name] = {key: told[key] for key in equal_size.SCORED}
        progress.tell(f"{folder.name}, {item.name}, {name}: V-IoU {told['v_iou']:.3f}")
    found = {"mode": "budget", "run": folder.resolve().name, "family": config.model.family, "step": run.step}
    found |= {"shape": item.name, "points": config.surface.points, "grid": config.extract.grid, "seed": config.seed}
    return found | {"tokens": layout.tokens, "channels": layout.channels, "scores": scored, "losses": losses(scored)}


def meshes(
    run: studied.Run, item: Item, fine: ml_collections.ConfigDict
) -> Iterator[tuple[str, ml_collections.ConfigDict, Mesh]]:
    """Yields name, settings and mesh in the frame of every stage."""
    family, config, params = run.family, run.config, run.params
    own = dataclasses.replace(family, ideal=None)  # the ceiling is the shape's own distance
    batch = pipeline.observe(item, family, config)
    for name, settings in (("truth_fine", fine), ("truth", config)):
        yield name, settings, pipeline.ceiling(item, batch, own, settings)[0]
    random = np.random.default_rng(config.seed)
    cloud = surface.sample(item.mesh, MORE * config.surface.points, random)[0].astype(np.float32)
    told, more = (pipeline.encode(each, family, params, config) for each in (batch, clouds.batch_of(run, cloud)))
    for name, settings, latent in (
        ("searched", config, search(run, item, more)), ("more", config, more), ("as_is", config, told),
        ("as_is_fine", fine, told),
    ):  # fmt: skip
        yield name, settings, mesh_of(run, latent, settings)


def mesh_of(run: studied.Run, latent: Latent, config: ml_collections.ConfigDict) -> Mesh:
    """What a run makes of a latent, on a config's grid."""
    decoded = pipeline.decode(latent, run.family, run.params)
    values, _, ask = pipeline.family_grid(decoded, run.family, run.params, config)
    return pipeline.polygonise(values, config, ask=ask)[0]


def search(run: studied.Run, item: Item, start: Latent) -> Latent:
    """The latent of which the decoder's field is nearest to a shape's signed distance, by descent from another latent.

    STEPS of Adam, the rate a tenth in the second half, on the mean difference of both, clamped, at places of sure sign.
    """
    family, config = run.family, run.config
    pool = fields.make(item, ["points", "sdf", "sure"], config, config.seed, whole=True)
    points, distance, sure = (jnp.asarray(pool[name]) for name in ("points", "sdf", "sure"))
    size, clamp = (
        jnp.sqrt(jnp.square(start.code).mean()),
        functools.partial(jnp.clip, min=-frame.CLAMP, max=frame.CLAMP),
    )
    adam = optax.adam(lambda step: RATE * size * jnp.where(2 * step < STEPS, 1.0, 0.1))

    def error(code: Array, params: Params, take: Array) -> Array:
        decoded = jax.tree.map(lambda leaf: leaf[0], family.decode(params, start._replace(code=code)))
        away = clamp(family.field(params, decoded, points[take])) - clamp(distance[take])
        return (sure[take] * jnp.abs(away)).mean()

    @jax.jit
    def descend(code: Array, params: Params) -> Array:
        def step(carry: tuple[Array, Any], number: Array) -> tuple[tuple[Array, Any], None]:
            code, memory = carry
            key = jax.random.fold_in(jax.random.key(config.seed), number)
            slope = jax.grad(error)(code, params, jax.random.randint(key, (POINTS,), 0, len(points)))
            update, memory = adam.update(slope, memory)
            return (optax.apply_updates(code, update), memory), None

        return jax.lax.scan(step, (code, adam.init(code)), jnp.arange(STEPS))[0][0]

    return start._replace(code=descend(start.code, run.params))


def losses(scored: dict[str, Scores]) -> dict[str, Scores]:
    """Of each score of PERFECT what grid, network, encoding and sampling lose of it: what adds up to the whole."""
    found = {}
    for key, best in PERFECT.items():
        values, sign = [best, *(scored[name][key] for name in CHAIN)], 1 if best else -1
        steps = itertools.pairwise(values)
        found[key] = {loss: None if None in pair else sign * (pair[0] - pair[1]) for loss, pair in zip(LOSSES, steps)}
    return found


def stages(run: Scores) -> dict[str, str]:
    """What each stage is, in words."""
    grid, fine = (f"on {nodes}³" for nodes in (run["grid"], 2 * run["grid"] - 1))
    return {
        "truth_fine": f"its own distance {fine}",
        "truth": f"its own distance {grid}",
        "searched": f"a searched code {grid}",
        "more": f"{MORE * run['points']:,} points {grid}",
        "as_is": f"as it is: {run['points']:,} points {grid}",
        "as_is_fine": f"as it is {fine}",
    }


def losses_table(found: Sequence[Scores]) -> str:
    """A row a run and score: as it is, and what each stage loses."""
    head = ("run", "shape", "tokens", "points", "steps", "score", "as it is", *(f"lost by {name}" for name in LOSSES))
    lines = []
    for run in found:
        common = (
            run["run"],
            run["shape"],
            f"{run['tokens']} × {run['channels']}",
            f"{run['points']:,}",
            f"{run['step']:,}",
        )
        for key, lost in run["losses"].items():
            lines.append(
                (*common, equal_size.SCORED[key], _told(run["scores"]["as_is"][key]), *map(_told, lost.values()))
            )
    return table.markdown(head, lines) + (
        "\nLosses add up to what the score lacks of a perfect one (1, of sharp normals 0). Grid: the shape's own distance on "
        "the run's grid. Network: beyond it, of the best code that was found by descent through the decoder. Encoding: of the "
        f"encoder's code of {MORE} times the points against that. Sampling: of the points that the run sees against those.\n"
    )


def scores_table(found: Sequence[Scores]) -> str:
    """A row a run and stage, with all scores."""
    head = ("run", "shape", "of what", *equal_size.SCORED.values())
    lines = [
        (run["run"], run["shape"], stages(run)[name], *map(_told, told.values()))
        for run in found
        for name, told in run["scores"].items()
    ]
    return table.markdown(head, lines)


TABLES: page.Tables = {"losses": losses_table, "scores": scores_table}


def _told(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
