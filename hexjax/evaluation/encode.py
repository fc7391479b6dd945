"""The latents of shapes as files, for generators and analysis."""

import functools
import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np

from hexjax import pipeline, progress
from hexjax.evaluation import evaluate, written
from hexjax.models import family as families
from hexjax.models.family import Family
from hexjax.training import fingerprint
from hexjax.types import Item, Params


def encode(
    family: Family,
    params: Params,
    items: Sequence[Item],
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    step: int = 0,
) -> list[pathlib.Path]:
    """The files latents/<name>.npz, written here: name, code [t, d], the posterior's statistics, the similarity.

    With them the step of the parameters, and the digest of the shape as in data.json. `written.stem` names the files. The
    code is float32, or float16 where `latent.bits` is 16. Generators read these files; nothing in them is pickled.

    Raises:
        ValueError: if there are no items.
    """
    if not items:
        raise ValueError(evaluate.NONE)
    families.check_mode(family, config, "encode")
    files, ledger, standings = [], written.Ledger(folder), fingerprint.standings(items, folder, not config.data.path)
    with progress.Line(len(items), "shapes encoded") as line:
        for item, standing in zip(items, standings):
            latent = pipeline.encode(pipeline.observe(item, family, config, standing.place), family, params, config)
            arrays = {f"statistics.{name}": np.asarray(value[0]) for name, value in latent.statistics.items()}
            arrays |= {
                name: np.asarray(value[0])
                for name in ("place", "alive")
                if (value := getattr(latent, name)) is not None
            }
            arrays |= {"step": np.array(step), "shape": np.array(fingerprint.of([item])[0][1])}
            arrays |= {f"similarity.{name}": np.asarray(value) for name, value in item.similarity._asdict().items()}
            code = np.asarray(latent.code[0], np.float16 if config.latent.bits == 16 else np.float32)
            save = functools.partial(np.savez, allow_pickle=False, name=np.array(item.name), code=code, **arrays)
            files.append(ledger.write(f"latents/{written.stem(item.name)}.npz", save))
            line.update(len(files))
    return files
