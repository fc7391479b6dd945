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
    config.sdf.weight = 0.1
    if variant == "small":
        base.make_small(config)
    return config
