"""A trained run as plain functions, from its folder alone and on any device: for analysis and notebooks."""

import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from hexjax import config as configuration
from hexjax import pipeline
from hexjax.geometry import frame
from hexjax.geometry import mesh as meshes
from hexjax.models import family as families
from hexjax.training import checkpoint
from hexjax.types import Latent, Mesh, Params


class Restored(NamedTuple):
    """A run's newest good parameters, a plain tree of NumPy arrays, and what they do to meshes in any units."""

    params: Params
    config: ml_collections.ConfigDict
    family: families.Family
    step: int

    def encode(self, mesh: Mesh) -> Latent:
        """The latent of a mesh in any units, with a leading b of 1, as stored with `latent.bits`.

        Raises:
            ValueError: if the mesh cannot be normalised.
        """
        framed, _ = meshes.normalise(mesh, self.config.data.up)
        return pipeline.encode(pipeline.render(framed, self.config), self.family, self.params, self.config)

    def decode(self, latent: Latent) -> Any:
        """What the family decodes of one latent, without the leading b: six maps, for a hexplane family."""
        return pipeline.decode(latent, self.family, self.params)

    def reconstruct(self, mesh: Mesh) -> Mesh:
        """The mesh that comes back through the latent, in the units and orientation of the one given.

        Raises:
            ValueError: if the mesh cannot be normalised.
        """
        framed, similarity = meshes.normalise(mesh, self.config.data.up)
        maps = pipeline.render(framed, self.config)
        found, *_ = pipeline.reconstruct(maps, self.family, self.params, self.config)
        return meshes.to_source(found, similarity)


def restore(workdir: str | os.PathLike) -> Restored:
    """The model of a run folder, on whatever device JAX has.

    Raises:
        ValueError: if config.json is missing or damaged.
        CheckpointError: if the folder holds no good checkpoint.
    """
    folder = pathlib.Path(workdir)
    config = configuration.load(folder)
    params, _, step = checkpoint.restore_params(folder)
    family = families.get(config.model.family)(maps_spec(config), config)
    return Restored(params, config, family, step)


def maps_spec(config: ml_collections.ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the maps of one shape, as `make` of a family takes them."""
    shape = (len(frame.VIEWS), *(config.hexplane.resolution_px,) * 2)
    return {
        "depth": jax.ShapeDtypeStruct(shape, jnp.float32),
        "normal": jax.ShapeDtypeStruct((*shape, 3), jnp.float32),
        "mask": jax.ShapeDtypeStruct(shape, jnp.bool_),
    }
