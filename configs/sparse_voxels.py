"""Voxels of signed distance as an autoencoder, judged on heads that it has not seen: cells at the surface, or a whole grid.

python launch.py --config=configs/sparse_voxels.py --config.data.path=HEADS         cells of side 64: meant for a GPU
python launch.py --config=configs/sparse_voxels.py:small --config.data.path=HEADS   side 32, 16 K floats, 0.7 M parameters: a
                                                                                    quarter of a CPU second a step; on heads not
                                                                                    seen, after 700 steps, F@0.02 .875, of a
                                                                                    ceiling of .877, structure IoU 1.000

HEADS is a folder of meshes or an NPZ set; without it, 200 heads are made in code.
"""

import ml_collections

from configs import base

VARIANTS = ("", "small")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"config variant is {variant!r}; variants of sparse_voxels: small")
    config = base.get_config()
    config.name = f"sparse_voxels-{variant}" if variant else "sparse_voxels"
    config.data.count = 200
    config.data.split = (0.8, 0.1, 0.1)
    config.model.family = "sparse_voxels"
    config.model.storage = "sparse"  # sparse: cells that the surface may cross | dense: the nodes of distance_grid
    config.model.widths = (32, 128, 512)  # channels of the levels, finest first; each but the first halves the side
    config.model.blocks = 2  # residual blocks a level, at least 0
    config.model.down = "conv"  # eight cells to one: conv: by a layer of them all | pool: of their mean
    config.model.up = "shuffle"  # one cell to eight: shuffle | nearest | transposed
    # what a cell carries of the surface: distances at its corners | views: what views.channels show of it, in the mean over
    # the views that see it | both; sparse
    config.model.features = "distances"
    config.model.views_weight = 0.0  # of that mean as the decoder's target, beside the distances' error; 0: it is none
    config.cells.side = 64  # latent.side, doubled for each level but the first; sparse. So is distance_grid.side; dense
    config.cells.capacity = 16384
    config.cells.coarse = (4096, 1024)  # cells that a shape has room for at the coarser levels, finest first
    config.structure = structure = ml_collections.ConfigDict()  # of the prediction of a cell's eight children
    structure.loss = "bce"  # bce | dice
    structure.weight = 1.0  # beside the distances' error in cells
    config.latent.side = 16
    config.latent.channels = 96
    config.optimiser.learning_rate = 1e-3
    config.optimiser.warmup_steps = 100
    config.optimiser.decay = "cosine"
    config.train.batch_size = 8
    config.train.steps = 20_000
    config.train.ema = 0.999
    config.evaluate.shapes = 20
    config.evaluate.pictures = 2
    if variant == "small":
        config.model.widths, config.model.blocks = (16, 64), 1
        config.cells.side, config.cells.capacity, config.cells.coarse = 32, 4096, (1024,)
        config.latent.channels = 28
        config.optimiser.learning_rate = 2e-3
        config.train.steps = 1500
        config.optimiser.warmup_steps = 20
        config.train.batch_size = 2
        config.train.ema = 0.98
        config.extract.grid = 128
        config.score.samples = 20_000
    return config
