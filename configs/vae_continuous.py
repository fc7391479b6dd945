"""A VAE on depth and normals whose prior is learned: a flow over the code, from which --mode=sample draws shapes.

python launch.py --config=configs/vae_continuous.py --config.data.count=64 --config.train.batch_size=8         for a GPU
python launch.py --config=configs/vae_continuous.py:small --config.data.count=64 --config.train.batch_size=8   on two cores
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of vae_continuous: small")
    config = base.get_config()
    base.make_hexplane_ae(config)
    config.name = "vae_continuous"
    config.latent.kind = "flow_prior"
    config.kl.final_weight = 1e-6
    config.kl.log_variance_limit = 10.0
    config.sdf.weight = 0.1
    if variant == "small":
        base.make_small(config)
        config.kl.final_weight = 1e-5
    return config
