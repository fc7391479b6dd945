"""Block B5: the published recipe with and without its cap at full size, on silhouettes and their signed distance.

python launch.py --mode=sweep --config=configs/sweeps/collapse_scale.py        37 M parameters, 512² maps: meant for a GPU
python launch.py --mode=sweep --config=configs/sweeps/collapse_scale.py:small  2.4 M parameters, 128² maps, 20 min on two cores
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of collapse_scale: small")
    config = base.get_config()
    config.name = "collapse_scale"
    base.make_hexplane_ae(config)
    full = {name: config[name].to_dict() for name in ("model", "latent", "hexplane")}
    base.make_laboratory(config)
    for name, values in full.items():  # the network of the other experiments
        config[name].update(values)
    config.latent.kind = "gaussian"
    config.latent.channels *= 2  # three views instead of six: as many floats as published
    config.model.input = "silhouettes"
    config.reconstruction.kind, config.reconstruction.reduction = "channels", "mean"
    config.kl.initial_weight, config.kl.final_weight, config.kl.warmup_steps = 1e-6, 1e-4, 3000
    config.kl.prior_variance = 0.1
    config.optimiser.clip_norm = 1.0
    config.optimiser.learning_rate = 1e-4
    config.train.steps, config.train.batch_size = 2000, 8
    config.sweep.measure_every_steps = 200
    config.sweep.seeds = 1
    config.sweep.together = "map"
    if variant == "small":
        base.make_small(config)
        config.optimiser.learning_rate, config.optimiser.decay = 1e-3, "none"
        config.optimiser.beta2, config.optimiser.warmup_steps = 0.999, 0
        config.train.steps = 600
    cells = []
    for kind in ("silhouettes", "silhouette_sdf"):
        for name, cap in (("cap", 0.1), ("no_cap", 1)):
            words = f"model.input={kind} kl.cap={cap} sweep.control={name}"
            cells.append(f"{kind},mean_mse,gaussian,many,{name}: {words}")
    config.sweep.cells = tuple(cells)
    return config
