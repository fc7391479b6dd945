"""Quality over the latent's size: the autoencoder of many heads at four sizes, judged on heads that it has not seen.

python launch.py --mode=sweep --config=configs/sweeps/size_heads.py --config.data.path=HEADS     results/size_heads/<cell>/
python -m hexjax.evaluation.size_curve results/size_heads --into docs/representations.md

Each cell is a run of configs/ae_heads.py:small with another latent and 1000 steps, meant for 15 minutes on two quiet CPU cores
(not timed there yet); what is finished is not done again. HEADS is a folder of meshes or an NPZ set; without it, 200 heads
are made in code. The first three have 43 channels, and sides of 16, 8 and 4: each a quarter of the one before; the last has
half the channels. The exact sizes are in the cells' names.
"""

import ml_collections

from configs import ae_heads

VARIANTS = ("",)
# Floats = 6 views x latent.side^2 x latent.channels, within 1.6 % of 65 536, 16 384, 4 096 and 2 048. Each level of
# model.widths halves the side, from 16 cells of 8 pixels down to the latent's. No cell has more floats than the last width.
SIZES = {
    "floats_66048": (16, 43, (128,), 8),
    "floats_16512": (8, 43, (96, 160), 8),
    "floats_4128": (4, 43, (96, 160, 192), 4),
    "floats_2016": (4, 21, (96, 160, 192), 4),
}


def get_config() -> ml_collections.ConfigDict:
    config = ae_heads.get_config("small")
    config.name = "size_heads"
    config.train.steps = 1000
    config.sweep = ml_collections.ConfigDict()
    config.sweep.form = "runs"
    config.sweep.cells = tuple(
        f"{name}: latent.side={side} latent.channels={channels} "
        f"model.widths=({','.join(map(str, widths))},) model.mixer_side={mixer}"
        for name, (side, channels, widths, mixer) in SIZES.items()
    )
    return config
