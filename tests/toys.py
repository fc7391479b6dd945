"""Toy-sized configurations and batches of every family and variant, for tests."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from hexjax.data import fields
from hexjax.geometry import frame, symmetry
from hexjax.models import family as families
from hexjax.types import Item, Similarity
from tests import shapes

TWO_LEVELS = {"model.stem_px": 4, "model.widths": (8, 16)}  # others have one, which is compiled in half the time
# family: (config module, overrides) of each variant that must satisfy the contract
VARIANTS = {
    "deepsdf": {
        "codes": ("deepsdf", {}),
        "gaussian, plain": (
            "deepsdf",
            {"latent.kind": "gaussian", "kl.final_weight": 1e-4, "code.norm": "plain", "code.between_weight": 1e-3},
        ),
        "siren": ("deepsdf", {"model.activation": "siren"}),
    },
    "hexplane_ae": {
        "surface": ("ae_continuous", TWO_LEVELS),
        "surface+sdf": (
            "ae_continuous",
            {"sdf.weight": 1.0, "latent.side": 4, "model.stem_px": 2, "model.widths": (8, 16)},
        ),
        "binary gaussian": ("vae_binary", {}),
        "fsq": ("fsq_continuous", {"reconstruction.kind": "channels"}),
        "flow prior": ("vae_continuous", {}),
        "silhouettes": ("vae_binary", {"model.input": "silhouettes", "sdf.weight": 1.0}),
        "silhouette_sdf": (
            "vae_binary", {"model.input": "silhouette_sdf", "reconstruction.kind": "calibrated_gaussian"}
        ),
        "depth": ("vae_binary", {"model.input": "depth", "reconstruction.kind": "continuous_bernoulli"}),
    },
    "hexplane_patches": {
        "surface": ("ae_heads", {"model.components": 16}),
        "gaussian": ("ae_heads", {"model.components": 16, "latent.kind": "gaussian", "kl.final_weight": 1e-3}),
    },
    "hexplane_mlp": {
        f"{kind}, {latent}, {likelihood}": (
            "sweeps.collapse_cause",
            {"model.input": kind, "latent.kind": latent, "reconstruction.kind": likelihood, "model.widths": (8, 16)},
        )
        for kind, latent, likelihood in (
            ("silhouettes", "gaussian", "bernoulli"),
            ("silhouette_sdf", "deterministic", "calibrated_gaussian"),
            ("depth", "bernoulli", "continuous_bernoulli"),
            ("continuous", "vamp_prior", "channels"),
            ("binary", "categorical", "channels"),
            ("voxels", "flow_prior", "bernoulli"),
        )
    },
    "sparse_voxels": {
        "sparse": ("sparse_voxels", {}),
        "dense gaussian": (
            "sparse_voxels",
            {"model.storage": "dense", "model.down": "pool", "model.up": "transposed", "latent.kind": "gaussian",
             "kl.final_weight": 1e-4},
        ),
    },
    "triplane": {
        "truncated": ("triplane", {}),
        "occupancy, gaussian": (
            "triplane",
            {
                "model.target": "occupancy", "latent.kind": "gaussian", "kl.final_weight": 1e-4,
                "model.eikonal_weight": 0.01,
            },
        ),
    },
    "vecset": {
        "truncated": ("vecset", {}),
        "occupancy, gaussian": (
            "vecset",
            {
                "model.target": "occupancy", "model.queries": "learned", "latent.kind": "gaussian",
                "kl.final_weight": 1e-4, "model.remat": True, "model.encoder_layers": 1,
            },
        ),
        "salient, eikonal": (
            "vecset",
            {"model.salient": 0.5, "model.queries": "random", "model.eikonal_weight": 0.01, "model.error": "l2"},
        ),
    },
}  # fmt: skip
# Whose programs say little that those of other variants do not, and take as long to compile: slow tests alone.
LIKE_OTHERS = (
    "siren", "fsq", "silhouettes", "silhouette_sdf", "depth", "silhouette_sdf, deterministic, calibrated_gaussian",
    "depth, bernoulli, continuous_bernoulli", "voxels, flow_prior, bernoulli", "salient, eikonal",
)  # fmt: skip
ALL = [
    pytest.param(name, variant, marks=pytest.mark.slow if variant in LIKE_OTHERS else ())
    for name in VARIANTS
    for variant in VARIANTS[name]
]
RESOLUTION = 16


def config_of(name, variant, **more):
    module, overrides = VARIANTS[name][variant]
    module = importlib.import_module(f"configs.{module}")
    config = module.get_config("small") if "small" in module.VARIANTS else module.get_config()
    toy = {
        "hexplane.resolution_px": RESOLUTION, "model.stem_px": 8, "model.widths": (16,), "model.mixer_side": 2,
        "model.mixer_width": 16, "model.mixer_blocks": 1, "model.mixer_heads": 2, "latent.side": 2,
        "latent.channels": 4, "latent.flow_layers": 2, "latent.flow_width": 16, "sdf.weight": 0.0,
        "sdf.points": 32, "extract.grid": 24, "score.samples": 500,
    }  # fmt: skip
    if name == "hexplane_patches":
        toy |= {"model.width": 16, "model.blocks": 1}
    if name == "deepsdf":
        toy |= {"model.width": 32, "model.depth": 4, "search.steps": 20, "search.points": 64, "inside.points": 64}
    if name == "sparse_voxels":
        toy |= {
            "model.widths": (8, 16),
            "latent.side": 4,
            "cells.side": 8,
            "cells.capacity": 256,
            "cells.coarse": (64,),
        }
        toy |= {"distance_grid.side": 8, "inside.points": 64}
    if name == "triplane":
        toy |= {"model.width": 16, "model.heads": 2, "model.bands": 4, "model.plane_side": 4, "model.features": 8}
        toy |= {"model.layers": 1, "latent.global_floats": 6, "surface.points": 24, "inside.points": 64}
    if name == "vecset":
        toy |= {"model.width": 16, "model.heads": 2, "model.cross_heads": 1, "model.bands": 4}
        toy |= {"model.decoder_layers": 1, "latent.tokens": 6, "surface.points": 24, "inside.points": 64}
    config.update_from_flattened_dict(toy | overrides | more)
    return config


def family_of(config):
    return families.make(fields.spec(config, ())._replace(shapes=2), config)


def item_of(mesh, name="a shape", **more):
    return Item(name, mesh, mesh, Similarity(1.0, np.eye(3), np.zeros(3)), **more)


@functools.cache
def fields_of(resolution):
    """Every field that is made of the maps of a torus and a sphere."""
    names, config = (*fields.MAPS, *fields.DERIVED), base.get_config()
    config.hexplane.resolution_px = resolution
    made = [fields.make(item_of(mesh), names, config, 0) for mesh in (shapes.torus(), shapes.sphere(0.7, 2))]
    return {name: np.stack([each[name] for each in made]) for name in names}


@functools.cache
def cells_of(side, capacity, nodes):
    """The active cells of two balls, and the distances at a grid's nodes."""
    made, axis = [], np.linspace(-1, 1, nodes, dtype=np.float32)
    at = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    for radius in (0.7, 0.6):
        every = np.indices((side,) * 3).reshape(3, -1).T
        cells = every[np.abs(np.linalg.norm((every + 0.5) * 2 / side - 1, axis=1) - radius) <= 3**0.5 / side]
        corners = (cells[:, None] + symmetry.CORNERS) * 2 / side - 1
        found = {"cells": cells, "corner_distance": np.float32(np.linalg.norm(corners, axis=-1) - radius)}
        found = fields.padded("a ball", found, side, capacity)
        made.append(found | {"distance_grid": np.linalg.norm(at, axis=-1) - np.float32(radius)})
    return {name: np.stack([each[name] for each in made]) for name in made[0]}


def batch_of(config):
    """Maps of a torus and a sphere, and points with the distances to spheres, which matter to few tests."""
    return jax.tree.map(jnp.asarray, fields_of(config.hexplane.resolution_px) | points_of(config))


def points_of(config):
    """Points in the cube with their distances to two spheres, and points on those."""
    random = np.random.default_rng(1)
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (2, config.sdf.points, 3)).astype(np.float32)
    radii = np.float32([[0.7], [0.6]])
    distance, ones = np.linalg.norm(points, axis=-1) - radii, np.ones(points.shape[:2], np.float32)
    inside = np.linalg.norm(frame.shared_points(config.inside.points), axis=-1)[None] < radii
    batch = dict(points=points, sdf=distance, slack=0 * ones, seen=ones, sure=ones, inside=np.float32(inside))
    for name in ("surface", "salient"):
        ways = random.standard_normal((2, config[name].points, 3))
        batch[name] = np.float32(ways / np.linalg.norm(ways, axis=-1, keepdims=True) * radii[..., None])
    if config.model.family == "sparse_voxels":
        batch |= cells_of(config.cells.side, config.cells.capacity, config.distance_grid.side)
    return batch | {"item": np.arange(2, dtype=np.int32)}
