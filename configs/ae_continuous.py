"""The autoencoder on depth and normals.

python launch.py --config=configs/ae_continuous.py            (hardware, time and score: to be measured)
python launch.py --config=configs/ae_continuous.py:small      (hardware, time and score: to be measured)
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of ae_continuous: small")
    config = base.get_config()
    config.name = "ae_continuous"
    config.sdf.weight = 1.0
    if variant == "small":
        config.name = "ae_continuous-small"
        config.hexplane.resolution_px = 128
        config.model.stem_px = 4
        config.model.widths = (32, 64, 128)
        config.model.mixer_width = 128
        config.model.mixer_blocks = 2
        config.latent.side = 8
        config.latent.channels = 64
        config.extract.grid = 128
        config.optimiser.learning_rate = 1e-3
        config.optimiser.decay = "cosine"
        config.train.steps = 600
    return config
