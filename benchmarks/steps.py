"""What benchmarks of training steps share: our compiled step, PyTorch's runners and their agreement, turns, and the peak.

Both start from the same parameters, a little off the initial ones, and must agree in their number, in loss and gradient
norm, and in what is decoded: else the comparison would be of two different things. Standard library alone until a
function is called, so that a parent stays small.
"""

import contextlib
import functools
import math
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import common

GPU_FACTOR = 5  # times as many steps on a GPU
MATRIX = {"cpu": 2048, "gpu": 8192, "toy": 256}  # side of the matrices that tell the peak
WARM = 3  # rounds: the heap of several runners settles late
PAUSE = 0.02  # seconds before each step: threads of the one before may still spin, waiting for work
PEERS = ("PyTorch", "PyTorch compiled", "PyTorch bfloat16", "PyTorch bfloat16 compiled")
NUDGE = 0.02  # of the starting parameters: layers that start at 0 would hide what is behind them
TOLERANCE = 1e-3  # of the agreement, relative in loss and gradient norm; TensorFloat-32 on GPUs needs more
Step = Callable[[], Any]  # one step, waited for
Runners = dict[str, tuple[Step | None, dict[str, Any]]]  # by name, each with what is told of it


def begin(config: Any, loaded: Any, params: Any = None) -> tuple[Any, Any]:
    """A state on the device, and its parameters on the host: those given, else the initial ones nudged.

    Args:
        loaded: what training/step.py loads of the config.
    """
    import jax

    from hexjax.training import optimiser, step

    init = step.make_init(loaded.family, optimiser.make(config), loaded.data.fixed)
    state = jax.jit(init)(loaded.data.cache, config.seed)
    if params is None:
        leaves, tree = jax.tree.flatten(state.params)
        keys = jax.random.split(jax.random.key(1), len(leaves))
        nudged = [leaf + NUDGE * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys)]
        params = jax.device_get(jax.tree.unflatten(tree, nudged))
    return state._replace(params=jax.device_put(params)), params


def stepper(config: Any, loaded: Any, state: Any) -> tuple[Step, dict[str, Any]]:
    """A step of ours, and what is told of it; the state, which it consumes, stays on the device from step to step."""
    import jax

    from hexjax.models import family as families
    from hexjax.training import optimiser, step

    data, knobs = loaded.data, families.knobs(config)
    advance = step.make_step(loaded.family.loss, optimiser.make(config), data.batch_at)
    lowered = jax.jit(functools.partial(advance, seed=config.seed), donate_argnums=0).lower(state, data.cache, knobs)
    seconds, compiled = common.timed(lowered.compile)
    costs, memory = lowered.cost_analysis() or {}, compiled.memory_analysis()
    told = {"compile_seconds": round(seconds, 2), "gflop_xla": round(costs.get("flops", math.nan) / 1e9, 2)}
    told["memory_mib"] = round((memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20, 1)
    held = [state]

    def once() -> Any:
        held[0], metrics = compiled(held[0], data.cache, knobs)
        return jax.block_until_ready(metrics)

    return once, told


def torch_runners(
    config: Any,
    platform: str,
    fresh: Callable[[], Any],
    inputs: Sequence[Any],
    first: dict[str, Any],
    told: tuple[str, Callable[[Any], Any]],
) -> tuple[Runners, dict[str, Any]]:
    """PyTorch's runners, without a step where one does not run, and the agreement with ours; one row where it is not there.

    Args:
        fresh: a network with our parameters, as a function: called with the inputs it gives the loss, and what it decodes.
        first: of our first step `loss` and `gradient_norm`; `decoded`, and the number of `parameters`.
        told: the name of what is decoded, and what makes it of the network's.
    """
    try:
        import torch
    except ImportError:
        return {"PyTorch": (None, {"missing": "not importable"})}, {}
    if platform == "gpu" and not torch.cuda.is_available():
        return {"PyTorch": (None, {"missing": "sees no GPU"})}, {}
    device = "cuda" if platform == "gpu" else "cpu"
    torch.set_float32_matmul_precision("high")  # TensorFloat-32 on GPUs, as JAX takes by itself; nothing on CPUs
    given = [torch.tensor(value, device=device) for value in inputs]
    try:
        check = agreement(fresh().to(device), given, first, told)
    except (ValueError, RuntimeError) as fault:  # told in the row: ours is measured all the same
        traceback.print_exc()
        check = {"failed": " ".join(str(fault).split())[:200]}
    found: Runners = {}
    for name in PEERS if platform == "gpu" else PEERS[:2]:
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated() if device == "cuda" else 0
        model = fresh().to(device)
        network = torch.compile(model) if "compiled" in name else model
        half = torch.autocast(device, torch.bfloat16) if "bfloat16" in name else contextlib.nullcontext()
        step = torch_step(config, model, network, given, half)
        try:
            seconds, _ = common.timed(step)
        except Exception as fault:  # torch.compile raises whatever its back end does: no compiler, no Triton
            found[name] = (None, {"missing": f"does not run: {type(fault).__name__}"})
            continue
        step()
        memory = round((torch.cuda.max_memory_allocated() - held) / 2**20, 1) if device == "cuda" else None
        found[name] = (step, {"compile_seconds": round(seconds, 2), "memory_mib": memory})
    return found, check


def torch_step(config: Any, model: Any, network: Any, inputs: Sequence[Any], half: Any) -> Step:
    """One step of PyTorch: loss, gradient, clipping where there is one, and the optimisers of the config."""
    import torch

    optimisers, limit = torch_optimisers(config, model), config.optimiser.clip_norm

    def once() -> float:
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        with half:
            loss = network(*inputs)[0]
        loss.backward()
        if math.isfinite(limit):
            torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        for optimiser in optimisers:
            optimiser.step()
        return loss.item()  # waits

    return once


def torch_optimisers(config: Any, model: Any) -> list[Any]:
    """Fused Adam, its rates by group as ours; with `optimiser.kind = muon` PyTorch's Muon for the weights of layers.

    That orthogonalises in bfloat16, query, key and value of a layer as one matrix; and Adam beside it has no Nesterov.
    """
    import torch

    given, groups, weights = config.optimiser, {}, {}
    for name, parameter in model.named_parameters():
        is_weight = given.kind == "muon" and parameter.ndim == 2 and name.endswith(".weight")
        held = (weights if is_weight else groups).setdefault(given.scale.get(name.partition(".")[0], 1.0), [])
        held.append(parameter)
    rates = lambda groups: [{"params": each, "lr": given.learning_rate * share} for share, each in groups.items()]
    found = [torch.optim.Adam(rates(groups), betas=(0.9, given.beta2), eps=given.epsilon, fused=True)]
    if weights:
        found.append(torch.optim.Muon(rates(weights), weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
    return found


def agreement(model: Any, inputs: Sequence[Any], first: dict[str, Any], told: tuple[str, Any]) -> dict[str, Any]:
    """Loss, gradient norm and what is decoded of both, from the same parameters.

    Raises:
        RuntimeError: if they differ by more than TOLERANCE.
    """
    import numpy as np
    import torch

    loss, decoded = model(*inputs)
    loss.backward()
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in model.parameters()]))
    name, make = told
    difference = float(np.abs(make(decoded.detach()).cpu().numpy() - first["decoded"]).max())
    found = {
        "loss": [first["loss"], loss.item()],
        "gradient_norm": [first["gradient_norm"], norm.item()],
        f"largest_difference_of_{name}": difference,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    relative = [abs(a - b) / abs(a) for a, b in (found["loss"], found["gradient_norm"])]
    tolerance, count = TOLERANCE * (20 if inputs[0].is_cuda else 1), first["parameters"]
    if max(*relative, difference) > tolerance or found["parameters"] != count:
        raise RuntimeError(f"the twin does not compute what we do: {found}, {count} parameters of ours")
    return found | {"relative": [float(f"{value:.2g}") for value in relative]}


def in_turns(runners: dict[str, Step], count: int, warm: int = WARM) -> dict[str, dict[str, float]]:
    """Median, least and most seconds of `count` steps of every runner, in turns in each round, after `warm` rounds."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(warm + count):
        for name, step in runners.items():
            time.sleep(PAUSE)
            seconds, _ = common.timed(step)
            if number >= warm:
                times[name].append(seconds)
    return {name: spread(seconds) for name, seconds in times.items()}


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """The median, as `seconds`, and the ends."""
    named = {"seconds": statistics.median(seconds), "fastest": min(seconds), "slowest": max(seconds)}
    return {name: round(value, 5) for name, value in named.items()}


def peaks(size: str) -> dict[str, float]:
    """10⁹ operations a second of a large matrix product, the best of five: ours and PyTorch's, by dtype.

    Args:
        size: of the matrices: cpu, gpu or toy.
    """
    import jax
    import jax.numpy as jnp

    side, is_gpu = MATRIX[size], jax.devices()[0].platform == "gpu"
    rate = lambda step: round(2 * side**3 / min(common.timed(step)[0] for _ in range(6)) / 1e9, 1)
    found, multiply = {}, jax.jit(jnp.matmul)
    for name in ("float32", "bfloat16") if is_gpu else ("float32",):
        a = jnp.ones((side, side), name)
        found[name] = rate(lambda a=a: jax.block_until_ready(multiply(a, a)))
    with contextlib.suppress(ImportError):
        import torch

        device = "cuda" if is_gpu and torch.cuda.is_available() else "cpu"
        for name in list(found):
            b = torch.ones((side, side), dtype=getattr(torch, name), device=device)
            found[f"PyTorch {name}"] = rate(lambda b=b: (b @ b)[0, 0].item())
    return found


def versions() -> dict[str, str]:
    """Of PyTorch, where it is there; the machine's are told with the machine."""
    with contextlib.suppress(ImportError):
        import torch

        return {"torch": torch.__version__, "torch_threads": str(torch.get_num_threads())}
    return {}


def agreement_note(check: dict[str, Any]) -> str:
    """What a note says of how a twin in PyTorch agrees; nothing where there is none."""
    if "failed" in check:
        return f"; PyTorch's network does not agree: {check['failed']}"
    if not check:
        return ""
    loss, norm = check["relative"]
    return f"; PyTorch's loss differs by {loss:.1g}, its gradient's norm by {norm:.1g} (relative)"
