"""From pictures to shapes, in three runs that hold out the same shapes, and a judgement of the last one on them.

python launch.py --config=configs/image_to_shape.py:codes --config.data.path=SHAPES --config.data.count=0 --workdir=CODES
python launch.py --config=configs/image_to_shape.py:views --config.data.path=SHAPES --config.data.count=0 --workdir=VIEWS
python launch.py --config=configs/image_to_shape.py --config.latents.run=CODES --config.views.run=VIEWS --workdir=RUN
python -m hexjax.evaluation.pictured RUN

:codes_small, :views_small and :small are the same for two CPU cores: with 100 shapes some 15, 11 and 2 minutes. A tenth of the
shapes is never trained, and 16 of the 64 views of each shape; --config.data.held_out holds out others, by name or category.
The two runs on SHAPES hold out the same where data.names, data.split and data.held_out are the same for both. Without a
path, solids are made in code.
--mode=sample --workdir=RUN --config.sample.image=PHOTO then draws a shape from a picture.
"""

import ml_collections

from configs import deepsdf, latent_dit, view_encoder

VARIANTS = ("", "small", "codes", "codes_small", "views", "views_small")
KINDS = {"codes": deepsdf, "views": view_encoder, "": latent_dit}


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of image_to_shape: {', '.join(VARIANTS[1:])}")
    is_small, kind = variant.endswith("small"), variant.removesuffix("small").removesuffix("_")
    config = KINDS[kind].get_config("small" if is_small else "")
    config.name = f"image_to_shape-{variant}" if variant else "image_to_shape"
    config.evaluate.baselines = False  # pictured has those that count here
    if not kind:
        return config
    config.data.count = 100
    config.data.split = (0.9, 0.0, 0.1)
    if kind == "codes":
        config.evaluate.shapes = 20
        if is_small:
            config.sdf.points = 64
            config.train.batch_size = 90
            config.train.steps = 8000
    return config
