"""The trained runs that a run stands on: each key `NAME.run` of a config names one.

One copy of each lies in RUN/parents/NAME, its parameters in one file, so that a run's folder works alone; another digest
of the run that was named is refused. What a parent encoded of its training shapes is read from its latents/, and made first
where it is missing, or of another step or shape.
"""

import fnmatch
import hashlib
import io
import json
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from hexjax import config as configuration
from hexjax import names, rules
from hexjax.data import fields, npz, sets, sources
from hexjax.evaluation import encode, written
from hexjax.models import family as families
from hexjax.training import checkpoint, fingerprint, portable, record
from hexjax.types import Item, Layout, Params

KEPT = ("config.json", "config.sha256", "spec.json", "data.json", "checkpoints/data_path.txt")
LATENTS = "latents"  # the parent whose training shapes' codes are the field `latent`
CODES = {
    "code": "latent",
    "place": "place",
    "alive": "alive",
    "statistics.mean": "mean",
    "statistics.deviation": "deviation",
}


class Given(NamedTuple):
    """The parents of a run: what families are given of them, their parameters, and the folders they were read from."""

    parents: dict[str, families.Parent]
    params: dict[str, Params]
    folders: dict[str, pathlib.Path]


NONE = Given({}, {}, {})


def named(config: ml_collections.ConfigDict) -> dict[str, str]:
    """The runs that a config names, by the name before `.run`."""
    leaves = rules.flatten(config)
    return {key.removesuffix(".run"): value for key, value in leaves.items() if key.endswith(".run") and value}


def load(config: ml_collections.ConfigDict, workdir: pathlib.Path | None, trains: bool = False) -> Given:
    """The parents of a run, from the copies in its folder, or where there are none yet from the runs that are named.

    A run that goes on does so with the copies, and a run that is named and was trained on since then is refused.

    Raises:
        ValueError: for a name without a run, and where the run that is named is no longer the one that was copied.
        CheckpointError: for a run without a good checkpoint.
    """
    found = Given({}, {}, {})
    for name, path in named(config).items():
        copy, source = workdir and workdir / "parents" / name, names.expand(path)
        is_copied = copy is not None and (copy / portable.FILE).is_file()
        if not is_copied and not (source / "config.json").is_file():
            raise ValueError(f"config.{name}.run is {names.shown(path)}; accepted: the folder of a trained run")
        folder = copy if is_copied else source
        parent, params, step = read(folder)
        if (
            trains
            and is_copied
            and (source / "config.json").is_file()
            and (now := read(source)[0].digest) != parent.digest
        ):
            raise ValueError(
                f"config.{name}.run is {names.shown(path)}, whose digest is {now[:8]}, and this run stands on "
                f"{parent.digest[:8]}; accepted: the run as it was, or a new --workdir"
            )
        if name == LATENTS:
            parent = parent._replace(latents=latents(parent, params, folder, step))
        found.parents[name], found.params[name], found.folders[name] = parent, params, folder
    return found


def read(folder: pathlib.Path) -> tuple[families.Parent, Params, int]:
    """A run as a parent, without its latents, its parameters, those of its own parents among them, and their step.

    Raises:
        ValueError, CheckpointError: for a folder that is no trained run's.
    """
    config = configuration.load(folder)
    params, _, step = checkpoint.restore_params(folder)
    own = load(config, folder)
    spec = record.read_spec(folder) or fields.spec(config, ())
    family = families.make(spec, config, own.parents)
    told = {
        name: value
        for name, value in rules.flatten(config).items()
        if name != "data.path"
        and not any(fnmatch.fnmatch(name, one) for one in (*configuration.FREE_TO_RESUME, "*.run"))
    }
    shapes = fingerprint.trained(folder)
    text = json.dumps([checkpoint.digest(params), {name: repr(value) for name, value in told.items()}, shapes,
                       {name: parent.digest for name, parent in own.parents.items()}], sort_keys=True)  # fmt: skip
    digest = hashlib.sha256(text.encode()).hexdigest()
    return families.Parent(family, spec, config, digest), families.whole(params, own.params), step


def keep(given: Given, folder: pathlib.Path) -> None:
    """Nothing; a copy of each parent lies in RUN/parents, with its latents and its own parents."""
    for name, source in given.folders.items():
        copy = folder / "parents" / name
        if source == copy:
            continue
        (copy / "checkpoints").mkdir(parents=True, exist_ok=True)
        for file in KEPT:
            if (source / file).is_file():
                shutil.copyfile(source / file, copy / file)
        for below in ("parents", "latents") if name == LATENTS else ("parents",):
            if (source / below).is_dir():
                shutil.copytree(source / below, copy / below, dirs_exist_ok=True)
        params, _, step = checkpoint.restore_params(source)
        portable.write(copy, params, step)  # the last, by which a copy is known to be whole


def items_of(parent: families.Parent) -> list[Item]:
    """The shapes that a parent was trained on.

    Raises:
        ValueError: where they do not load.
    """
    data = parent.config.data
    items = sources.items(data.path, data.source, data.up, data.count, parent.config.seed, data.names)
    return sets.closed(items) if data.close else items


def latents(parent: families.Parent, params: Params, folder: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """What a run encoded of its training shapes, stacked in their order; made first where it is missing.

    Raises:
        ValueError: for a run that encodes nothing, or whose shapes are not known; for a code that is not the family's.
    """
    shapes = fingerprint.trained(folder)
    if not shapes:
        raise ValueError(f"{folder.name} has no record of its shapes (data.json); accepted: a run that has")
    files = [folder / "latents" / f"{written.stem(name)}.npz" for name, _ in shapes]
    known = dict(shapes) if parent.config.data.path else {}  # last bits of shapes made in code differ between machines
    if not all(_is_of(file, step, known.get(name)) for file, (name, _) in zip(files, shapes)):
        told = "is not there, not whole, or of another step or shapes: it is made first"
        print(f"{folder.name}/latents {told}", file=sys.stderr)
        families.check_mode(parent.family, parent.config, "encode")
        items = [item for item in items_of(parent) if item.name in dict(shapes)]  # without those held or left out
        told = fingerprint.differences(shapes, fingerprint.of(items))
        if told and parent.config.data.path:
            accepted = "accepted: the data as they were, or a new --workdir"
            raise ValueError(f"{folder} is trained on other data than config.data gives now: {told}; {accepted}")
        made = encode.encode(parent.family, params, items, parent.config, folder, step)
        places = {item.name: file for item, file in zip(items, made)}
        files = [places[name] for name, _ in shapes]
    refuse_unfit(files, parent.family.layout)
    return stacked(files)


def _is_of(file: pathlib.Path, step: int, shape: str | None) -> bool:
    """Whether a latent file is there and whole, and of a step's parameters and a shape, where its digest is given."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            found = dict(arrays)
        return bool(found["step"] == step) and (shape is None or str(found["shape"]) == shape)
    except npz.BROKEN_ARCHIVE:  # a missing file and a missing array as well
        return False


def refuse_unfit(files: Sequence[pathlib.Path], layout: Layout) -> None:
    """Nothing; every latent file has a code of the layout, of numbers that are finite.

    Raises:
        ValueError: for the first that has not, in one line.
    """
    shape, cure = (layout.tokens, layout.channels), "without the file it is made again"
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            code = arrays["code"] if "code" in arrays.files else np.zeros(())
        if code.shape != shape:
            raise ValueError(
                f"latents/{file.name} has a code of shape {code.shape}; accepted from this family: {shape}; {cure}"
            )
        if bad := code.size - np.count_nonzero(np.isfinite(code)):
            raise ValueError(
                f"latents/{file.name}: {bad} of {code.size} numbers of the code are not finite; accepted: finite ones; {cure}"
            )


def stacked(files: Sequence[pathlib.Path]) -> dict[str, np.ndarray]:
    """The arrays of latent files, by the names of the fields of a batch, i first; codes as float32."""
    found = []
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            one = {name: arrays[key] for key, name in CODES.items() if key in arrays.files}
            if "statistics.log_variance" in arrays.files:
                one["deviation"] = np.exp(arrays["statistics.log_variance"] / 2)
        found.append({name: value.astype(np.float32) if name != "alive" else value for name, value in one.items()})
    return jax.tree.map(lambda *parts: np.stack(parts), *found)
