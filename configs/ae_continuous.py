"""The autoencoder on depth and normals, deterministic, with signed-distance supervision.

python launch.py --config=configs/ae_continuous.py         37.6 M parameters, 393 216 floats, 512² maps; a step takes 183 GFLOP,
                                                           about 1 s and 2.6 GiB on two CPU cores: meant for a GPU
python launch.py --config=configs/ae_continuous.py:small   2.4 M parameters, 24 576 floats, 128² maps: about 110 s on two
                                                           CPU cores; F@0.02 within 0.5 % of the ceiling, on one head
"""

import ml_collections

from configs import base

VARIANTS = ("", "published", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of ae_continuous: published, small")
    config = base.get_config()
    base.make_hexplane_ae(config)
    config.name = "ae_continuous"
    config.sdf.weight = 0.1
    if variant == "published":
        base.make_published(config)
    if variant == "small":
        base.make_small(config)
    return config
