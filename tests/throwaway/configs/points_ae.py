"""Surface points to a code, at toy size."""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name, config.model.family, config.latent.channels = "points_ae", "points_ae", 8
    config.points = ml_collections.ConfigDict({"width": 16})  # of the perceptrons; at least 1
    return shrink(config)


def shrink(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The same at toy size: two heads, few points."""
    toy = {
        "data.count": 2, "sdf.points": 64, "sdf.pool_points": 512, "surface.points": 64, "surface.pool_points": 256,
        "salient.points": 16, "salient.pool_points": 64,
        "extract.grid": 12, "score.samples": 200, "evaluate.pictures": 0, "train.steps": 4, "train.batch_size": 2,
        "optimiser.learning_rate": 1e-3, "checkpoint.every_steps": 2, "sample.count": 2, "hexplane.resolution_px": 16,
    }  # fmt: skip
    config.update_from_flattened_dict(toy)
    return config
