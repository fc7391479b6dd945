"""A VAE whose loss kills its latent: the mean of squares beside a summed KL. And the way out, while it trains.

python launch.py --config=configs/vae_collapsed.py            700 solids, 3 000 steps; collapses, as its `preflight:` lines say
python launch.py --config=configs/vae_collapsed.py:small      256 solids, 800 steps: half a minute on two CPU cores

With --config.diagnostics.on_collapse=escape its latent is brought back, and a witness certifies it. Perceptrons on the
silhouettes of procedural solids, 32² pixels.
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of vae_collapsed: small")
    config = base.get_config()
    base.make_laboratory(config)
    del config.sweep
    config.name = "vae_collapsed"
    config.data.count = 700
    config.reconstruction.kind, config.reconstruction.reduction = "channels", "mean"
    config.train.steps = 3000
    config.diagnostics.every_steps = 100
    config.diagnostics.shapes = 256  # fewer would certify nothing
    config.evaluate.shapes = config.evaluate.pictures = 4
    config.extract.grid = 48
    config.score.samples = 20_000
    if variant == "small":
        config.name += "-small"
        config.data.count = 256
        config.train.steps = 800
    return config
