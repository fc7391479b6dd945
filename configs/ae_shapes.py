"""The autoencoder of shapes of many kinds, judged on shapes that it has not seen, beside their ceiling.

python launch.py --config=configs/ae_shapes.py:small --config.data.path=SHAPES --config.data.count=0

On 128² maps, 15 minutes on two CPU cores; of 594 shapes, on 20 not seen F@0.01 .835, of a ceiling of .935. Without :small,
16.7 M parameters and 512² maps, meant for a GPU.
SHAPES is a folder of meshes, whose subfolders (or index.csv) name their categories; without it, solids are made in code.
"""

import ml_collections

from configs import ae_heads

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of ae_shapes: small")
    config = ae_heads.get_config(variant)
    config.name = "ae_shapes-small" if variant else "ae_shapes"
    config.data.source = "solids"
    config.data.count = 600
    config.data.augment = "cube"
    return config
