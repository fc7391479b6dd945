"""A diffusion transformer on the latents of another run, told by views of the shape where a run that reads pictures is given.

python launch.py --config=configs/latent_dit.py:small --config.latents.run=RUN --config.views.run=RUN2

RUN is a trained run of any family with latents, whose shapes these are; RUN2 one of view_encoder, or none: then shapes are
drawn without being told what. Without :small 15.7 M parameters.
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of latent_dit: small")
    config = base.get_config()
    config.name = "latent_dit-small" if variant else "latent_dit"
    config.data.source = "latents"
    config.data.count = 0
    config.model.family = "latent_dit"
    config.model.width = 384  # of the transformer; a multiple of twice the heads
    config.model.blocks = 4  # at least 1
    config.model.heads = 6
    config.latents = ml_collections.ConfigDict({"run": ""})  # the run whose latents are learnt and drawn
    config.views.run = ""  # the run that reads pictures; "": shapes are drawn without any
    config.views.drawn = 8  # the most that a draw is told by; in each step a number from 1 to it
    config.diffusion = ml_collections.ConfigDict()
    config.diffusion.levels = 500  # of noise; at least 2
    config.diffusion.steps = 50  # of a draw; 2 to levels
    config.optimiser.learning_rate = 3e-4
    config.optimiser.decay = "cosine"
    config.optimiser.warmup_steps = 100
    config.optimiser.scale.scaling = 0.0  # mean and deviation of the latents stay
    config.train.steps = 15_000
    config.train.batch_size = 32
    config.evaluate.shapes = 20
    config.evaluate.pictures = 4
    if variant == "small":
        config.model.width, config.model.heads = 128, 4
        config.optimiser.learning_rate = 9e-4
        config.train.steps = 3000
        config.extract.grid = 128
        config.score.samples = 20_000
    return config
