"""Small shapes, a small config and a family that loses nothing."""

import functools
import pathlib
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
import trimesh

from configs import base
from hexjax import config as configuration
from hexjax.data import fields
from hexjax.geometry import blocks, field
from hexjax.geometry import mesh as meshes
from hexjax.models.family import Family
from hexjax.training import fingerprint, portable, record
from hexjax.types import Hexplane, Item, Latent, Layout, Mesh, Size

RESOLUTION = 32


def config() -> ml_collections.ConfigDict:
    """A config of 32-pixel maps, 33 nodes a side and 2 000 samples."""
    found = base.get_config()
    found.hexplane.resolution_px = RESOLUTION
    found.extract.grid = 33
    found.score.samples = 2000
    return found


def sphere(radius: float = 1.0, centre: tuple[float, float, float] = (0, 0, 0), subdivisions: int = 3) -> Mesh:
    """A sphere of triangles with outward winding."""
    made = trimesh.creation.icosphere(subdivisions, radius)
    return Mesh((made.vertices + np.array(centre)).astype(np.float32), made.faces.astype(np.int32))


def item(name: str = "ball", source: Mesh | None = None, up: str = "y") -> Item:
    """A shape and its way to the frame."""
    source = sphere() if source is None else source
    mesh, similarity = meshes.normalise(source, up)
    return Item(name, source, mesh, similarity)


def write_run(folder: pathlib.Path, config: ml_collections.ConfigDict, params: Any, items: list[Item]) -> pathlib.Path:
    """The folder of a run that was trained on the first of these shapes and holds out the others."""
    record.write_header(folder, "a test", configuration.to_json(config), "")
    record.write_spec(folder, fields.spec(config, items)._replace(shapes=1))
    fingerprint.keep(items, folder, ([0], [], list(range(1, len(items)))), "a split")
    portable.write(folder, params, 4)
    return folder


@functools.cache
def identity() -> Family:
    """A family whose code is the maps themselves; where its one parameter, `sign`, is 0, its field is 1 everywhere."""

    def init(batch, key, parents):
        del batch, key, parents
        return {"sign": jnp.float32(1)}

    def encode(params, batch, key):
        del params, key
        fields = [batch["depth"][..., None], batch["normal"], batch["mask"][..., None].astype(jnp.float32)]
        code = jnp.concatenate(fields, -1).reshape(1, -1, 5)
        return Latent(code, {"mean": code})

    def decode(params, latent):
        del params
        maps = latent.code.reshape(-1, 6, RESOLUTION, RESOLUTION, 5)
        return Hexplane(maps[..., 0], maps[..., 1:4], maps[..., 4])

    def grid(params, decoded, count):
        sign = 1 if params is None else np.asarray(params["sign"])
        return blocks.grid(decoded, count) * sign + (1 - sign)

    def loss(params, batch, key, step, knobs):
        raise NotImplementedError("this family is not trained")

    def values(params, decoded, points):
        return field.fuse(decoded, points)

    tokens = 6 * RESOLUTION**2
    return Family(
        reads=("depth", "normal", "mask"),
        sees=("depth", "normal", "mask"),
        layout=Layout("planes", tokens, 5, (6, RESOLUTION)),
        size=lambda latent: Size(5 * tokens, 32 * 5 * tokens),
        init=init,
        loss=loss,
        encode=encode,
        decode=decode,
        field=values,
        grid=grid,
        ideal=lambda batch: Hexplane(batch["depth"], batch["normal"], batch["mask"]),
    )
