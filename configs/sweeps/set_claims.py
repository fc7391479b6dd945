"""What is said of sets of vectors, arm by arm: queries, errors, bits and rates, points, frequencies, and how floats are split.

python launch.py --mode=sweep --config=configs/sweeps/set_claims.py --config.data.path=HEADS --config.data.close=True
python launch.py --mode=sweep --config=configs/sweeps/set_claims.py:more --config.data.path=HEADS --config.data.close=True
python -m hexjax.evaluation.set_claims results/set_claims results/set_claims-more --into docs/representations.md

HEADS is a folder of meshes or an NPZ set; the first 120 are taken; without it, as many are made in code. A cell is a run of
vecset:small, 2 048 floats and as many steps as in equal_size, one key or two apart from the others; the first seed of every
arm comes first. The first variant is of queries (C4), of errors (C8), and of a rate on distances and on inside and outside
(C9); :more of points (C2), frequencies (C3) and splits (C6).
"""

import ml_collections

from configs import vecset
from configs.sweeps import equal_size

SEEDS = 3
RATE = "latent.kind=gaussian kl.final_weight="
ARMS = {
    "": {
        "fps": "",
        "learned": "model.queries=learned",
        "random": "model.queries=random",
        "l2": "model.error=l2",
        "bce": "model.target=occupancy",
        "distance_1e-3": f"{RATE}1e-3",
        "binary_1e-3": f"{RATE}1e-3 model.target=occupancy",
        "distance_1e-2": f"{RATE}1e-2",
        "binary_1e-2": f"{RATE}1e-2 model.target=occupancy",
    },
    "more": {
        "fps": "",
        "points_512": "surface.points=512",
        "points_4096": "surface.points=4096",
        "points_8192": "surface.points=8192",
        "salient": "model.salient=0.5",
        "raw": "model.bands=0",
        "tokens_32": "latent.tokens=32 latent.channels=64",
        "tokens_64": "latent.tokens=64 latent.channels=32",
        "tokens_256": "latent.tokens=256 latent.channels=8",
    },
}
VARIANTS = tuple(ARMS)


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of set_claims: more")
    config = vecset.get_config("small")
    config.name = f"set_claims-{variant}" if variant else "set_claims"
    config.data.count = 120
    config.train.steps = equal_size.steps("", "vecset")
    config.sdf.pool_points = config.surface.pool_points = equal_size.POOL
    config.evaluate.shapes = 12
    config.evaluate.pictures = 0
    config.evaluate.baselines = False
    config.sweep = ml_collections.ConfigDict()
    config.sweep.form = "runs"
    config.sweep.floats = 2048
    config.sweep.cells = tuple(
        f"{arm}_{seed}: seed={seed} {more}".strip() for seed in range(SEEDS) for arm, more in ARMS[variant].items()
    )
    return config
