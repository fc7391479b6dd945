"""Three feature planes and a global code: the surface's points are gathered on them, and any point is asked through them.

python launch.py --config=configs/triplane.py --config.data.path=HEADS         16 K floats, width 256: meant for a GPU
python launch.py --config=configs/triplane.py:small --config.data.path=HEADS   2 K floats, width 128

HEADS is a folder of meshes or an NPZ set; without it, 200 heads are made in code. A step of `:small` takes .22 s on two
cores, so 9 minutes in all; no run has been scored yet.
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of triplane: small")
    config = base.get_config()
    config.name = f"triplane-{variant}" if variant else "triplane"
    config.model.family = "triplane"
    config.model.width = 256  # channels of the planes' cells; a multiple of the heads
    config.model.heads = 8  # at least 1
    config.model.mixer_blocks = (
        4  # in which the cells of all planes see each other, on each side of the latent; at least 0
    )
    config.model.bands = 6  # octaves of sines and cosines of a surface's point, 0 to 16
    config.model.plane_side = 64  # cells a side of the planes that points are gathered on and asked through
    config.model.features = 32  # that a plane says of a point, and width of the perceptron behind; at least 1
    config.model.layers = 2  # of that perceptron, before its last; at least 1
    config.model.target = "truncated"  # signed distance, cut | occupancy: cross-entropy of being inside
    config.model.error = "l1"  # of distances: l1, their absolute | l2, squared errors, in truncations
    config.model.truncation = 0.1  # world units: targets are cut at plus and minus this; of occupancy, a logit of -1
    config.model.eikonal_weight = 0.0  # of the slope's squared distance from 1 near the surface; 0: not asked
    config.latent.side = 16  # cells a side of each of the three planes; model.plane_side is it times a power of two
    config.latent.channels = 21
    config.latent.global_floats = (
        64  # of the global code, at least 1; it fills whole tokens, so that 64 are 84 at 21 channels
    )
    config.surface.points = 4096
    config.sdf.points = 4096
    config.data.count = 200
    config.data.split = (0.8, 0.1, 0.1)
    config.optimiser.learning_rate = 3e-4
    config.optimiser.warmup_steps = 500
    config.optimiser.decay = "cosine"
    config.optimiser.clip_norm = 1.0
    config.train.batch_size = 16
    config.train.steps = 20_000
    config.train.ema = 0.999
    config.evaluate.shapes = 20
    config.evaluate.pictures = 2
    config.diagnostics.every_steps = 1000
    config.validate.every_steps = 1000
    config.checkpoint.every_steps = 2000
    if variant == "small":
        config.model.width, config.model.heads, config.model.mixer_blocks = 128, 4, 1
        config.model.plane_side = 32
        config.latent.side, config.latent.channels = 8, 10
        config.surface.points, config.surface.pool_points = 1024, 32768
        config.sdf.points = 1024
        config.optimiser.learning_rate = 2e-3
        config.optimiser.beta2 = 0.99
        config.optimiser.warmup_steps = 100
        config.train.batch_size = 4
        config.train.steps = 2400
        config.train.ema = 0.99
        config.diagnostics.every_steps = 600
        config.validate.every_steps = 300
        config.extract.grid = 128
        config.score.samples = 20_000
    return config
