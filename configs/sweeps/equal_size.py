"""Representations at equal size: every family with as many floats of latent and as many seconds, on shapes not seen.

python launch.py --mode=sweep --config=configs/sweeps/equal_size.py --config.data.path=HEADS          2 K floats
python launch.py --mode=sweep --config=configs/sweeps/equal_size.py:floats_16k --config.data.path=HEADS
python -m hexjax.evaluation.equal_size results/equal_size --into docs/representations.md

HEADS is a folder of meshes or an NPZ set; without it, 200 heads are made in code. A cell is a run of a family's `:small`
with another latent; the first seed of every family comes first, and what is finished is not done again. Each trains as
long as the others: STEPS of the hexplane, and of a family as many as take that time by the medians of a step, all measured
side by side in one run on two CPU cores (python -m benchmarks.equal_size --path=HEADS). Floats are within 5 % of each
other: of sparse voxels in the mean of the training heads, where 140 of 8^3 and 594 of 16^3 cells hold some that are
active of 32^3.
"""

import ml_collections

from configs import ae_heads, base, deepsdf, sparse_voxels, triplane, vecset

STEPS = 500  # of the hexplane: a minute and a half on two quiet cores, four on busy ones
SEEDS = 3
POOL = 32_768  # points of a shape with their distances, and as many of its surface: the same for all families, so made once
BASES = {
    "hexplane": ae_heads, "vecset": vecset, "sparse": sparse_voxels, "dense": sparse_voxels, "triplane": triplane,
    "autodecoder": deepsdf,
}  # fmt: skip
SIZES = {  # floats, and what makes them of each family
    "": (2048, {
        "hexplane": "latent.side=4 latent.channels=21 model.components=768 model.width=256",
        "vecset": "latent.tokens=128 latent.channels=16",
        "sparse": "latent.side=8 latent.channels=15 model.widths=(16,32,64) cells.coarse=(1024,256)",
        "dense": "model.storage=dense latent.side=8 latent.channels=4 model.widths=(8,16,32) distance_grid.side=32",
        "triplane": "latent.side=8 latent.channels=10",
        "autodecoder": "latent.channels=2048",
    }),
    "floats_16k": (16384, {
        "hexplane": "latent.side=8 latent.channels=43 model.components=384 model.width=128",
        "vecset": "latent.tokens=512 latent.channels=32",
        "sparse": "latent.side=16 latent.channels=28",
        "dense": "model.storage=dense latent.side=8 latent.channels=32 model.widths=(8,16,32) distance_grid.side=32",
        "triplane": "latent.side=16 latent.channels=21",
    }),
}  # fmt: skip
# Median seconds of a step, of all families in one run: results/benchmarks/equal_size.json.
STEP_SECONDS = {
    "": {
        "hexplane": 0.45976, "vecset": 0.20513, "sparse": 0.28002, "dense": 1.10325, "triplane": 0.59045,
        "autodecoder": 0.07207,
    },
    "floats_16k": {"hexplane": 0.42086, "vecset": 0.44075, "sparse": 0.29561, "dense": 1.0993, "triplane": 0.91884},
}  # fmt: skip
VARIANTS = tuple(SIZES)


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of equal_size: floats_16k")
    config = base.get_config()
    config.name = f"equal_size-{variant}" if variant else "equal_size"
    config.data.count = 200
    config.data.split = (0.8, 0.1, 0.1)
    config.evaluate.shapes = 12
    config.evaluate.pictures = 2
    config.extract.grid = 128
    config.score.samples = 20_000
    floats, families = SIZES[variant]
    config.sweep = sweep = ml_collections.ConfigDict()
    sweep.form = "runs"
    sweep.floats = floats  # of a latent, within 5 %
    sweep.bases = ml_collections.ConfigDict({name: BASES[name].get_config("small") for name in families})
    for one in sweep.bases.values():
        one.sdf.pool_points = one.surface.pool_points = POOL
    sweep.cells = tuple(
        f"{name}_{seed}: base={name} seed={seed} train.steps={steps(variant, name)} {more}"
        for seed in range(SEEDS)
        for name, more in families.items()
    )
    return config


def steps(variant: str, family: str) -> int:
    """How many take as long as STEPS of the hexplane, in whole fifties."""
    seconds = STEP_SECONDS[variant]
    return max(50, round(STEPS * seconds["hexplane"] / seconds[family] / 50) * 50)
