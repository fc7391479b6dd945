"""Quality over the latent's size: the autoencoder of many heads at four sizes, judged on heads that it has not seen.

python launch.py --mode=sweep --config=configs/sweeps/size_heads.py --config.data.path=HEADS     results/size_heads/<cell>/
python -m hexjax.evaluation.size_curve results/size_heads --into docs/representations.md

Each cell is a run of configs/ae_heads.py:small with another latent and 1000 steps; the sweep takes half an hour on two
CPU cores, and what is finished is not done again. HEADS is a folder of meshes or an NPZ set; without it, 200 heads are
made in code. The first three have 43 channels, and sides of 16, 8 and 4: each a quarter of the one before; the last has
half the channels. The exact sizes are in the cells' names.
"""

import ml_collections

from configs import ae_heads

VARIANTS = ("",)
# latent.side, latent.channels, model.components and model.width. Floats = 6 views x side^2 x channels, within 1.6 % of 65 536,
# 16 384, 4 096 and 2 048. Patches of 8, 16 and 32 pixels: the larger, the more components and channels, of fewer patches.
SIZES = {
    "floats_66048": (16, 43, 256, 64),
    "floats_16512": (8, 43, 384, 128),
    "floats_4128": (4, 43, 768, 256),
    "floats_2016": (4, 21, 768, 256),
}


def get_config() -> ml_collections.ConfigDict:
    config = ae_heads.get_config("small")
    config.name = "size_heads"
    config.train.steps = 1000
    config.sweep = ml_collections.ConfigDict()
    config.sweep.form = "runs"
    config.sweep.cells = tuple(
        f"{name}: latent.side={side} latent.channels={channels} model.components={components} model.width={width}"
        for name, (side, channels, components, width) in SIZES.items()
    )
    return config
