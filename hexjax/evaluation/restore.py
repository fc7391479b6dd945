"""A trained run as plain functions, from its folder alone and on any device: for analysis and notebooks."""

import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from hexjax import api, names, pipeline
from hexjax import config as configuration
from hexjax.data import fields
from hexjax.evaluation import parents
from hexjax.models import family as families
from hexjax.training import checkpoint, portable, record
from hexjax.types import Item, Latent, Mesh, Params, Similarity, Spec

SHIPPED = pathlib.Path(__file__).parent.parent / "shipped"


class Restored(NamedTuple):
    """A run's newest good parameters, a plain tree of NumPy arrays, and what they do to meshes in any units.

    A mesh is whatever `hexjax.load` takes. One gives one; a list of meshes, or a latent with a leading b, gives b.
    """

    params: Params
    config: ml_collections.ConfigDict
    spec: Spec
    family: families.Family
    step: int
    folder: str = ""  # of a run that stands on others

    def __repr__(self) -> str:
        parameters = sum(np.size(leaf) for leaf in jax.tree.leaves(self.params))
        told = f"{parameters:,} parameters, step {self.step}, {self.family.latent_floats:,} latent floats"
        return f"Restored({self.config.model.family}, {told})"

    def __reduce__(self) -> tuple:
        """How it is pickled: without the family's functions, which are made anew of the config."""
        params = {name: value for name, value in self.params.items() if name != families.PARENTS}
        return _restored, (params, self.config.to_dict(), self.spec, self.step, self.folder)

    def normalise(self, mesh: Any) -> tuple[Mesh, Similarity]:
        """The mesh in the frame and the way there, with the run's `data.up`.

        Raises:
            ValueError: if the mesh does not load.
        """
        return api.normalise(mesh, self.config.data.up)

    def encode(self, mesh: Any) -> Latent:
        """The latent of a mesh in any units, code [t, d], as stored with `latent.bits`; of a list of meshes [b, t, d].

        Raises:
            ValueError: if a mesh does not load, or the list is empty; for points, where the family sees what needs faces.
        """
        if isinstance(mesh, list):
            return _stacked([self.encode(each) for each in mesh])
        return self._encode(*self.normalise(mesh))

    def decode(self, latent: Latent | Any) -> Any:
        """What the family decodes of a latent, six maps for a hexplane family; with a leading b where the latent has one.

        Raises:
            ValueError: for a code of another shape.
        """
        found = [pipeline.decode(each, self.family, self.params) for each in self._each(latent)]
        return _stacked(found) if np.ndim(latent.code) == 3 else found[0]

    def mesh(
        self,
        latent: Latent | Any,
        similarity: Similarity | Sequence[Similarity] | None = None,
        grid: api.Whole | None = None,
    ) -> Mesh | list[Mesh]:
        """The mesh of a latent, or a list of b; in the frame, or in the units from which a similarity leads there.

        Args:
            similarity: as `normalise` gives it: one for all, or a list of b.
            grid: nodes a side, from 8 to 2048; None: the run's `extract.grid`.

        Raises:
            ValueError: for a code of another shape, another number of similarities, another grid.
        """
        latents, ways, config = self._each(latent), similarity, self.config
        if similarity is None or isinstance(similarity, Similarity):
            ways = [similarity] * len(latents)
        if len(ways) != len(latents):
            raise ValueError(f"got {len(ways)} similarities for {len(latents)} latents; accepted: one, or one for each")
        if grid is not None:
            config = config.copy_and_resolve_references().unlock()
            config.extract.grid = api.whole("grid", grid, *api.GRID)
        found = []
        for each, way in zip(latents, ways):
            decoded = pipeline.decode(each, self.family, self.params)
            values, _, ask = pipeline.family_grid(decoded, self.family, self.params, config)
            mesh = api.surface(*pipeline.polygonise(values, config, ask=ask))
            found.append(mesh if way is None else api.to_source(mesh, way))
        return found if np.ndim(latent.code) == 3 else found[0]

    def reconstruct(self, mesh: Any, grid: api.Whole | None = None) -> Mesh | list[Mesh]:
        """The mesh that comes back through the latent, in the units and orientation of the one given; of a list a list.

        Raises:
            ValueError: if a mesh does not load; for another grid.
        """
        if isinstance(mesh, list):
            return [self.reconstruct(each, grid) for each in mesh]
        framed, similarity = self.normalise(mesh)
        return self.mesh(self._encode(framed, similarity), similarity, grid)

    def save(self, folder: str | os.PathLike) -> None:
        """Nothing; writes a new folder from which `restore` gives this model: config, spec and parameters, as float16.

        Raises:
            ValueError: for a folder that is there, or a run that stands on others.
        """
        place = names.expand(os.fspath(folder))
        if families.PARENTS in self.params:
            raise ValueError(
                f"config.model.family is {self.config.model.family!r}, which stands on other runs; accepted: one alone"
            )
        if place.exists():
            raise ValueError(f"{os.fspath(folder)!r} is there; accepted: a new folder")
        largest = max(float(np.abs(leaf).max(initial=0)) for leaf in jax.tree.leaves(self.params))
        if not largest <= float(np.finfo(np.float16).max):
            raise ValueError(f"a parameter is {largest:g} in size; accepted: what float16 holds, up to 65504")
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as held:
            whole = pathlib.Path(held) / place.name
            whole.mkdir()
            record.write_config(whole, configuration.to_json(self.config))
            record.write_spec(whole, self.spec)
            portable.write(whole, self.params, self.step, half=True)
            whole.rename(place)

    def _encode(self, framed: Mesh, similarity: Similarity) -> Latent:
        if self.family.encode is None:
            raise ValueError(f"the run's config.model.family is {self.config.model.family!r}, which encodes nothing")
        batch = pipeline.observe(Item("the shape", framed, framed, similarity), self.family, self.config)
        return jax.tree.map(lambda leaf: leaf[0], pipeline.encode(batch, self.family, self.params, self.config))

    def _each(self, latent: Latent | Any) -> list[Latent]:
        """The latents of a batch, or the only one, with a leading b of 1."""
        shape = np.shape(latent.code) if isinstance(latent, Latent) else ()
        if len(shape) not in (2, 3) or 0 in shape or shape[-2] * shape[-1] != self.family.latent_floats:
            got = f"code {shape}" if isinstance(latent, Latent) else f"a {type(latent).__name__}"
            floats = f"t x d = {self.family.latent_floats:,} floats"
            raise ValueError(
                f"latent is {got}; accepted: a Latent of code [t, d] or [b, t, d] as encode gives it, {floats}"
            )
        batch = latent if len(shape) == 3 else jax.tree.map(lambda leaf: np.asarray(leaf)[None], latent)
        return [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], batch) for i in range(len(batch.code))]


def shipped() -> list[str]:
    """The names of the trained models that come with hexjax."""
    return sorted(file.parent.name for file in SHIPPED.glob(f"*/{portable.FILE}"))


def restore(workdir: str | os.PathLike) -> Restored:
    """The model of a run folder, or one that comes with hexjax, by its name, on whatever device JAX has.

    Raises:
        ValueError: if that is neither, or config.json is damaged.
        CheckpointError: if the folder holds no good checkpoint.
    """
    folder = names.expand(os.fspath(workdir))
    if os.fspath(workdir) in shipped() and not folder.exists():
        folder = SHIPPED / folder.name
    if not (folder / "config.json").is_file():
        reason = "has no config.json" if folder.is_dir() else "is a file" if folder.exists() else "is not there"
        raise ValueError(
            f"{os.fspath(workdir)!r} {reason}; accepted: the folder of a run, as its training names it"
            + "".join(f", or {name!r}" for name in shipped())
        )
    config = configuration.load(folder)
    params, _, step = checkpoint.restore_params(folder)
    spec = record.read_spec(folder) or fields.spec(config, ())
    return _restored(params, config.to_dict(), spec, step, os.fspath(folder) if parents.named(config) else "")


def _restored(params: Params, settings: dict[str, Any], spec: Spec, step: int, folder: str) -> Restored:
    config, given = ml_collections.ConfigDict(settings), parents.NONE
    if folder:
        given = parents.load(config, pathlib.Path(folder))
    family = families.make(spec, config, given.parents)
    return Restored(families.whole(params, given.params), config, spec, family, step, folder)


def _stacked(found: list[Any]) -> Any:
    if not found:
        raise ValueError("got an empty list; accepted: a mesh or a latent, or a list of at least one")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
