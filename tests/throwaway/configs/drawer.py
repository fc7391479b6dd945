"""Draws from a parent's latents, at toy size."""

import ml_collections

from configs import base
from tests.throwaway.configs.points_ae import shrink


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base.get_config()
    config.name, config.model.family, config.data.source = "drawer", "drawer", "latents"
    config.latents = ml_collections.ConfigDict({"run": ""})  # the run whose latents are drawn
    return shrink(config)
