"""The autoencoder on depth and normals with a discrete latent: finite scalar quantisation, no KL term.

python launch.py --config=configs/fsq_continuous.py         37.6 M parameters, 393 216 codes of 8 levels: meant for a GPU
python launch.py --config=configs/fsq_continuous.py:small   2.4 M parameters, 24 576 codes of 3 bits, 128² maps
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of fsq_continuous: small")
    config = base.get_config()
    base.make_hexplane_ae(config)
    config.name = "fsq_continuous"
    config.latent.kind = "fsq"
    config.latent.codes = 8
    config.sdf.weight = 0.1
    if variant == "small":
        base.make_small(config)
        config.optimiser.learning_rate = (
            1.5e-3  # at the 6e-3 of the autoencoder the floats saturate: all codes become one
        )
    return config
