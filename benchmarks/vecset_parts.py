"""The parts that benchmarks/vecset.py times: on both sides the same parameters and batch, runners that take turns."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import common, steps

ROUNDS = {"small": 20, "toy": 2}  # of each runner, after steps.WARM
GRIDS = {"small": (128, 3), "toy": (16, 1)}  # nodes a side, and rounds after one
FOLLOWED = 3  # steps whose losses are told of both
INPUTS = ("surface", "points", "sdf", "sure")  # of the batch, as the network in PyTorch takes them
OURS, DRAWN, PEER, COMPILED = "ours", "ours, batch drawn", *steps.PEERS[:2]
Calls = dict[str, Callable[[], Any]]  # by name of the runner


class Given(NamedTuple):
    """What a step that is given its batch has in place of a cache."""

    batch: Any
    parents: Any


class Both(NamedTuple):
    """What both sides are measured on."""

    variant: str
    platform: str
    config: Any  # of steps by Adam
    muon: Any  # the same with Muon
    loaded: Any  # of training/step.py
    params: Any  # of ours, on the host
    batch: Any  # the first one, on the host
    missing: str  # why PyTorch is not there; empty: it is

    @property
    def device(self) -> str:
        """As PyTorch calls it."""
        return "cuda" if self.platform == "gpu" else "cpu"

    def tensors(self, *names: str) -> list[Any]:
        """Fields of the batch for PyTorch."""
        import torch

        return [torch.tensor(self.batch[name], device=self.device) for name in names]

    def twin(self) -> Any:
        """The network in PyTorch, with our parameters."""
        from benchmarks import torch_vecset

        model = torch_vecset.make(self.config)
        torch_vecset.copy(model, self.params)
        return model.to(self.device)


def by_adam(both: Both, parameters: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Steps by Adam, and the agreement: loss, gradient norm, distances, and the losses of the first steps."""
    runners, told = {}, {}
    runners[OURS], told[OURS], metrics = ours_step(both, both.config)
    runners[DRAWN], told[DRAWN] = steps.stepper(both.config, both.loaded, begun(both, both.config))
    first = {name: float(metrics[0][name]) for name in ("loss", "gradient_norm")} | {"parameters": parameters}
    first["decoded"] = both.config.model.truncation * asked(both)()[1]
    same = ("distance", lambda found: found)
    inputs = [both.batch[name] for name in INPUTS]
    peers, check = steps.torch_runners(both.config, both.platform, both.twin, inputs, first, same)
    runners |= {name: step for name, (step, _) in peers.items() if step is not None}
    told |= {name: facts for name, (_, facts) in peers.items()}
    if not both.missing:
        check["losses"] = followed(metrics, torch_step(both, both.config))
    return timed(runners, told, ROUNDS[both.variant]), check


def by_muon(both: Both) -> dict[str, Any]:
    """Steps by Muon, where PyTorch has it, and the losses of the first ones: not the same, see `steps.torch_optimisers`."""
    runners, told, losses = {}, {}, None
    runners[OURS], told[OURS], metrics = ours_step(both, both.muon)
    told[PEER] = {"missing": both.missing}
    if not both.missing:
        import torch

        if hasattr(torch.optim, "Muon"):
            runners[PEER], told[PEER] = torch_step(both, both.muon), {}
            losses = followed(metrics, runners[PEER])
        else:
            told[PEER] = {"missing": f"no Muon in PyTorch {torch.__version__}"}
    return timed(runners, told, ROUNDS[both.variant]) | {"losses": losses}


def begun(both: Both, config: Any) -> Any:
    """A state of ours that starts from the shared parameters."""
    import jax
    import jax.numpy as jnp

    from hexjax import types
    from hexjax.training import optimiser

    params = jax.device_put(both.params)
    return types.TrainState(jnp.int32(0), params, optimiser.make(config).direction.init(params), None)


def ours_step(both: Both, config: Any) -> tuple[steps.Step, dict[str, Any], list[Any]]:
    """A step of ours that is given its batch, what is told of it, and the metrics of its first steps."""
    import jax

    cache = Given(jax.device_put(both.batch), both.loaded.data.cache.parents)
    data = both.loaded.data._replace(cache=cache, batch_at=lambda cache, step, seed: cache.batch)
    once, told = steps.stepper(config, both.loaded._replace(data=data), begun(both, config))
    return once, told, [once() for _ in range(FOLLOWED)]


def torch_step(both: Both, config: Any) -> steps.Step:
    """A step of PyTorch, uncompiled."""
    model = both.twin()
    return steps.torch_step(config, model, model, both.tensors(*INPUTS), contextlib.nullcontext())


def followed(metrics: list[Any], theirs: steps.Step) -> list[list[float]]:
    """The losses of the first steps, ours and PyTorch's."""
    return [[float(each["loss"]) for each in metrics], [theirs() for _ in metrics]]


def timed(runners: Calls, told: dict[str, Any], count: int, warm: int = steps.WARM) -> dict[str, Any]:
    """A part: what is told of each runner, with its times in turns."""
    for name, seconds in steps.in_turns(runners, count, warm).items():
        told[name] |= seconds
    compare(told)
    return {"rounds": count, "runners": told}


def compare(told: dict[str, Any]) -> None:
    """Nothing; each runner that was timed is told in our seconds."""
    for each in told.values():
        if "seconds" in each:
            each["ratio"] = round(each["seconds"] / max(told[OURS]["seconds"], 1e-5), 3)


def race(both: Both, runners: Calls, count: int, warm: int = steps.WARM) -> dict[str, Any]:
    """A part of runners that give arrays: first calls are told, and how far what they give is from ours."""
    import numpy as np

    told, first = {}, {}
    for name in list(runners):
        try:
            seconds, first[name] = common.timed(runners[name])
        except Exception as fault:
            if name == OURS:
                raise
            told[name] = {"missing": f"does not run: {type(fault).__name__}"}  # as torch_runners tells it
            del runners[name]
            continue
        told[name] = {"compile_seconds": round(seconds, 2)}
        if name != OURS:
            apart = [np.abs(a - b).max(initial=0) for a, b in zip(first[OURS], first[name], strict=True)]
            told[name]["difference"] = float(f"{max(apart):.2g}")
    if both.missing:
        told[PEER] = {"missing": both.missing}
    return timed(runners, told, count, warm)


def asked(both: Both) -> Callable[[], Any]:
    """Ours, forward: the latent, and what the network says at the batch's points, in truncations."""
    import jax

    family = both.loaded.family

    @jax.jit
    def ask(params: Any, batch: Any) -> tuple[Any, Any]:
        latent = family.encode(params, batch, None)
        say = jax.vmap(lambda one, points: family.field(params, one, points))
        found = say(family.decode(params, latent), batch["points"])
        return latent.code, found / both.config.model.truncation

    given = jax.device_put((both.params, {name: both.batch[name] for name in ("surface", "points")}))
    return lambda: jax.device_get(ask(*given))


def forward(both: Both) -> dict[str, Any]:
    """The batch's points to the latent and to what the network says at points."""
    runners = {OURS: asked(both)}
    if not both.missing:
        import torch

        outputs, given = both.twin().outputs, both.tensors("surface", "points")
        for name, way in ((PEER, outputs), (COMPILED, torch.compile(outputs))):
            runners[name] = lambda way=way: without_gradient(lambda: way(*given))
    return race(both, runners, ROUNDS[both.variant])


def farthest(both: Both) -> dict[str, Any]:
    """The points that look at all of the batch's: a difference of 0 where both pick the same."""
    import jax

    from hexjax.models import vecset

    tokens, surface = both.config.latent.tokens, jax.device_put(both.batch["surface"])
    pick = jax.jit(lambda points: vecset.picks(points, tokens, "fps"))
    runners = {OURS: lambda: [jax.device_get(pick(surface))]}
    if not both.missing:
        import torch

        from benchmarks import torch_vecset

        (points,) = both.tensors("surface")
        rows = torch.arange(len(points), device=both.device)[:, None]
        runners[PEER] = lambda: without_gradient(lambda: [points[rows, torch_vecset.farthest(points, tokens)]])
    return race(both, runners, ROUNDS[both.variant])


def grid(both: Both) -> dict[str, Any]:
    """What the network says at every node of the cube, of the batch's first shape, from its latent: in truncations."""
    import jax
    import numpy as np

    from hexjax import pipeline, types

    family, (count, rounds) = both.loaded.family, GRIDS[both.variant]
    code, axis = asked(both)()[0][:1], np.linspace(-1, 1, count, dtype=np.float32)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    chunks = np.split(nodes, range(pipeline.CHUNK, len(nodes), pipeline.CHUNK))
    params, latent, ours = jax.device_put((both.params, types.Latent(code, {}), chunks))
    decode, field = jax.jit(family.decode), jax.jit(family.field)

    def every() -> list[Any]:
        one = jax.tree.map(lambda leaf: leaf[0], decode(params, latent))
        found = jax.device_get([field(params, one, chunk) for chunk in ours])
        return [np.concatenate(found) / both.config.model.truncation]

    runners = {OURS: every}
    if not both.missing:
        import torch

        decoder = both.twin().decoder
        given, *theirs = (torch.tensor(each, device=both.device) for each in (code, *(chunk[None] for chunk in chunks)))

        def told(ask: Any) -> list[Any]:
            keys = decoder.keys(given)
            return [torch.cat([ask(chunk, keys)[0] for chunk in theirs])]

        for name, way in ((PEER, decoder), (COMPILED, torch.compile(decoder))):
            runners[name] = lambda way=way: without_gradient(lambda: told(way))
    return race(both, runners, rounds, 1)


def without_gradient(call: Callable[[], Any]) -> list[Any]:
    """The tensors that a call gives, on the host."""
    import torch

    with torch.inference_mode():
        return [tensor.cpu().numpy() for tensor in call()]
