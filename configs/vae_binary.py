"""The failing twin: silhouettes into a Gaussian latent, with the KL controls as published.

python launch.py --config=configs/vae_binary.py            37.7 M parameters, 393 216 floats, 512² maps: meant for a GPU
python launch.py --config=configs/vae_binary.py:small      2.4 M parameters, 24 576 floats, 128² maps: about 130 s on two CPU
                                                           cores; the KL explodes, the mesh comes out near the visual hull
"""

import ml_collections

from configs import base

VARIANTS = ("", "published", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of vae_binary: published, small")
    config = base.get_config()
    base.make_hexplane_ae(config)
    config.name = "vae_binary"
    config.model.input = "binary"
    config.latent.kind = "gaussian"
    config.reconstruction.kind = "channels"  # squared error
    config.kl.initial_weight = 1e-6
    config.kl.final_weight = 1e-4
    config.kl.warmup_steps = 3000
    config.kl.cap = 0.1
    config.kl.prior_variance = 0.1
    config.sdf.weight = 1.0
    config.optimiser.clip_norm = 1.0
    config.train.steps = 6000  # twice the warm-up
    if variant == "published":
        base.make_published(config)
    if variant == "small":
        base.make_small(config)
        config.kl.warmup_steps = 300
        config.optimiser.learning_rate = 1e-3  # at the 6e-3 of the autoencoder the KL overflows within a hundred steps
    return config
