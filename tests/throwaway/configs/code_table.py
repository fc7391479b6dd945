"""A table of codes, at toy size."""

import ml_collections

from configs import base
from tests.throwaway.configs.points_ae import shrink


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name, config.model.family, config.latent.channels = "code_table", "code_table", 8
    table = {"width": 16, "regular": 1e-4, "search_steps": 3, "search_rate": 0.1}
    config.table = ml_collections.ConfigDict(table)
    return shrink(config)
