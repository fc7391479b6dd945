"""Block B3 with the published signed-distance term: the recipe and its cap on the networks of the other experiments.

python launch.py --mode=sweep --config=configs/sweeps/collapse_sdf.py     2.4 M parameters, 128² maps; 40 min on two CPU cores

The networks of configs/vae_binary.py:small on 64 procedural solids, three planes, the warm-up at the published share of the
run; the published 2 048 points a shape and step are supervised through the fused hull. See collapse_recipe.py for the rest.
"""

import ml_collections

from configs.sweeps import collapse_scale

VARIANTS = ("",)


def get_config() -> ml_collections.ConfigDict:
    config = collapse_scale.get_config("small")
    config.name = "collapse_sdf"
    config.data.count = 64
    config.sdf.weight, config.sdf.pool_points = 1.0, 16384
    config.train.steps, config.train.batch_size = 800, 4
    config.kl.warmup_steps = 600
    config.witness.classes, config.witness.components = 4, 8
    config.sweep.seeds = 2
    config.sweep.measure_every_steps = 100
    cells = []
    for kind in ("silhouettes", "silhouette_sdf"):
        for name, given in (("sdf", "kl.cap=0.1"), ("sdf-cap", "kl.cap=1"), ("sdf-term", "kl.cap=0.1 sdf.weight=0")):
            cells.append(f"{kind},mean_mse,gaussian,many,{name}: model.input={kind} sweep.control={name} {given}")
    config.sweep.cells = tuple(cells)
    return config
