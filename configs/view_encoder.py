"""Features of pictures of shapes: learnt without labels, so that two views of one shape find each other among all others'.

python launch.py --config=configs/view_encoder.py --config.data.path=SHAPES --config.data.count=0         224², for a GPU
python launch.py --config=configs/view_encoder.py:small --config.data.path=SHAPES --config.data.count=0   112², 9 minutes
python launch.py --config=configs/view_encoder.py:pca ...      nothing is learnt but principal components, the floor
python launch.py --config=configs/view_encoder.py:dinov2 --config.views.weights=FILE.safetensors ...  DINOv2, for a GPU

The minutes are of two CPU cores. SHAPES is a folder of meshes; without it, solids are made in code. A generator reads the
features of a shape's views from here (`--config.views.run=RUN`). FILE has the weights of ViT-B/14, which are not part of
hexjax, named as in the original or by Hugging Face; the package safetensors reads it (pip install 'hexjax[dinov2]').
"""

import ml_collections

from configs import base

VARIANTS = ("", "dinov2", "pca", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of view_encoder: {', '.join(VARIANTS[1:])}")
    config = base.get_config()
    config.name = f"view_encoder-{variant}" if variant else "view_encoder"
    config.data.source = "solids"
    config.data.count = 300
    config.data.split = (0.8, 0.1, 0.1)
    config.model.family = "view_encoder"
    config.model.width = 256  # of the transformer; at least 1
    config.model.blocks = 6  # at least 1
    config.model.heads = 4  # a divisor of the width
    config.model.temperature = 0.1  # of the softmax over cosines; above 0; own
    config.latent.channels = 64  # floats of a feature; dinov2: the width
    config.views.resolution_px = 224
    # own: trained here | dinov2: a transformer that others trained | pca: principal components of pictures
    config.views.encoder = "own"
    config.views.weights = ""  # a safetensors file, read as a run begins, which then keeps all of it; dinov2
    config.views.tokens = "cls"  # cls: a feature for each picture | patches: one for each of its patches; pca: cls
    config.evaluate.shapes = 100  # of each part, among which one is to be found
    if variant in ("dinov2", "pca"):
        config.views.encoder = variant
        config.train.steps = 0
        if variant == "pca":
            config.views.resolution_px = 112
            config.views.drawn = 48  # of each of 128 training shapes, whose components are taken: all that are not held
        else:
            config.model.width, config.model.blocks, config.model.heads = 768, 12, 12
            config.latent.channels = 768
        return config
    config.optimiser.learning_rate = 5e-4
    config.optimiser.beta2 = 0.99  # gradients are ten times as large in the first steps as later
    config.optimiser.warmup_steps = 100
    config.optimiser.decay = "cosine"
    config.optimiser.clip_norm = 1.0
    config.train.steps = 20_000
    config.train.batch_size = 64
    config.validate.every_steps = 100
    if variant == "small":
        config.model.width = 128
        config.views.resolution_px = 112
        config.train.steps = 1500
        config.train.batch_size = 32
    return config
