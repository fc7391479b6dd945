"""The autoencoder of many heads, judged on heads that it has not seen, beside their ceiling and what no learning gives.

python launch.py --config=configs/ae_heads.py --config.data.path=HEADS         16.7 M parameters, 512² maps: meant for a GPU
python launch.py --config=configs/ae_heads.py:small --config.data.path=HEADS   0.5 M, 128² maps: 9 minutes on two CPU cores; on
                                                                               heads not seen F@0.01 .885, of a ceiling of .895

HEADS is a folder of meshes or an NPZ set; without it, 200 heads are made in code.
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of ae_heads: small")
    config = base.get_config()
    if variant == "small":
        base.make_small(config)
    config.name = "ae_heads-small" if variant else "ae_heads"
    config.model.family = "hexplane_patches"
    config.model.components = 512  # principal components of a patch that the decoder says
    config.model.width = 256  # channels of both networks
    config.model.blocks = 4  # residual blocks in each of them
    config.optimiser.scale.basis = 0.0  # the components stay as they were found in the first shapes
    config.reconstruction.depth_weight = 40.0
    config.reconstruction.depth_knee = 0.005
    config.reconstruction.depth_quantile = 0.1
    config.sdf.weight = 0.0
    config.data.count = 200
    config.data.split = (0.8, 0.1, 0.1)
    config.data.augment = "mirror"
    config.train.batch_size = 8
    config.train.steps = 20_000
    config.train.ema = 0.99
    config.evaluate.shapes = 20
    config.evaluate.pictures = 2
    if variant == "small":
        config.model.components, config.model.width, config.model.blocks = 128, 64, 2
        config.latent.side, config.latent.channels = 16, 16
        config.train.steps = 1600
        config.train.batch_size = 4
        config.extract.grid = 128
        config.score.samples = 20_000
    return config
