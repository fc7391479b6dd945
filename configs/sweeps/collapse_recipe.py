"""Block B3: the published recipe, each of its controls left out, and each added to the plain loss.

python launch.py --mode=sweep --config=configs/sweeps/collapse_recipe.py       see collapse_cause.py for data of your own

2 048 latent floats, mean squared error, KL summed. Cells named `whole` have 4 000 steps, so that the published warm-up of
3 000 ends; the others have 1 000. The learning rate is ten times the published 1e-4, but where a cell's name says so. The
published squared error is a sum in one source and a mean in the other, of six planes: so cells with either.
"""

import ml_collections

from configs import base

VARIANTS = ("",)
KINDS = ("silhouettes", "silhouette_sdf")
CONTROLS = {
    "warm_up": "kl.initial_weight=1e-6 kl.warmup_steps=3000",
    "cap": "kl.cap=0.1",
    "clip": "optimiser.clip_norm=1",
    "prior": "kl.prior_variance=0.1",
    "capacity": "model.width_scale=1.3",
}
SIX = {"silhouettes": "binary", "silhouette_sdf": "binary_sdf"}
WHOLE = "train.steps=4000 sweep.measure_every_steps=100"
AS_PUBLISHED = {"lr_1e-4": "optimiser.learning_rate=1e-4", "sum": "reconstruction.reduction=sum"}
OTHERS = {
    "penalty": "kl.cap=0.1 kl.cap_mode=penalty",
    "clamp": "kl.log_variance_limit=10",
    "free_bits": "kl.free_bits=0.1",
    "beta_1e-6": "kl.final_weight=1e-6",
}


def get_config() -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name = "collapse_recipe"
    base.make_laboratory(config)
    config.latent.side, config.latent.channels = 16, 8
    config.reconstruction.kind, config.reconstruction.reduction = "channels", "mean"
    config.kl.final_weight = 1e-4
    config.witness.components = 16
    config.sweep.seeds = 3
    cells = []
    for shapes, count in (("many", 0), ("one", 1)):
        for kind in KINDS:
            for name, given in _recipes().items():
                words = f"model.input={kind} sweep.shapes={count} sweep.control={name} {given}"
                cells.append(f"{kind},mean_mse,gaussian,{shapes},{name}: {words}")
        if shapes == "many":
            cells += [_pair(kind, *each) for each in _pairs() for kind in KINDS]
            cells += _whole()
    config.sweep.cells = tuple(cells)
    return config


def _recipes() -> dict[str, str]:
    """The full recipe, it less one control or with another, the plain loss, and it with one control."""
    published = {name: given for name, given in CONTROLS.items() if name != "capacity"}
    join = lambda chosen: " ".join(chosen.values())
    found = {"full": join(published)}
    for name in published:
        found[f"full-{name}"] = join({key: value for key, value in published.items() if key != name})
    found["full+capacity"] = join(CONTROLS)
    found["full+clamp"] = f"{join(published)} {OTHERS['clamp']}"
    found["full+free_bits"] = f"{join(published)} {OTHERS['free_bits']}"
    found["full+penalty"] = f"{join(published)} kl.cap_mode=penalty"
    found["full+beta_1e-6"] = f"{join(published)} {OTHERS['beta_1e-6']}"
    found["plain"] = ""
    return found | {f"plain+{name}": given for name, given in (CONTROLS | OTHERS).items()}


def _whole() -> list[str]:
    """The recipe to the end of its warm-up, at the published rate and with the error as a sum, less one control each."""
    published = {name: given for name, given in CONTROLS.items() if name != "capacity"}
    cells = []
    for changed, left_out in (
        ((), ("warm_up", "cap", "clip")),
        (("lr_1e-4",), ("cap",)),
        (("sum",), ("cap", "clip")),
        (("lr_1e-4", "sum"), ("clip",)),
        (("six",), ("cap",)),
    ):
        for less in ("", *left_out):
            name = "whole" + "".join(f"+{each}" for each in changed) + f"-{less}" * bool(less)
            kept = [given for control, given in published.items() if control != less]
            given = " ".join([WHOLE, *kept, *(AS_PUBLISHED[each] for each in changed if each != "six")])
            for kind in KINDS:
                seen = SIX[kind] if "six" in changed else kind
                error = "sum" if "sum" in changed else "mean"
                words = f"model.input={seen} sweep.shapes=0 sweep.control={name} {given}"
                cells.append(f"{seen},{error}_mse,gaussian,many,{name}: {words}")
    return cells


def _pairs() -> list[tuple[str, str, str]]:
    return [(rate, cap, clamp) for rate in ("1e-3", "1e-2") for cap in ("0.1", "1") for clamp in ("inf", "10")]


def _pair(kind: str, rate: str, cap: str, clamp: str) -> str:
    """A decisive cell: the full recipe with or without the cap and the clamp, at two learning rates, ten seeds."""
    name = f"pair_lr{rate}_cap{cap}_clamp{clamp}"
    given = f"{_recipes()['full-cap']} kl.cap={cap} kl.log_variance_limit={clamp} optimiser.learning_rate={rate}"
    return f"{kind},mean_mse,gaussian,many,{name}: model.input={kind} sweep.seeds=10 sweep.control={name} {given}"
