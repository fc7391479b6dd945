"""Checkpoints that notice damage: Orbax writes them, and a SHA-256 of every leaf lies beside them in the same step.

A step is committed by one rename, digests included. Orbax itself does not notice a flipped bit, and reports a damaged
step as the latest; so each step is verified as it is read, from the newest to the oldest.
"""

import errno
import hashlib
import json
import logging
import os
import pathlib
import re
import sys
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from hexjax.training import portable
from hexjax.types import Params, TrainState

FAULTS = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # of the machine: no file is damaged


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or some exist and none is good."""


class Quiet(logging.Filter):
    """Drops what Orbax logs of a failure, hundreds of lines of tracebacks: the failure itself is raised and told here."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is another's."""
        trace, files = record.exc_info[2] if record.exc_info else None, [record.pathname]
        while trace is not None:
            files.append(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        return not any("/orbax/" in file for file in files) and ".orbax-checkpoint-tmp" not in record.getMessage()


QUIET = Quiet()


def _be_quiet() -> None:
    """Nothing; what Orbax's failed work logs, and its callbacks that find their event loop closed, are not told from here."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(QUIET)
    before = sys.unraisablehook

    def quiet(raised: Any) -> None:
        if not (isinstance(raised.exc_value, RuntimeError) and str(raised.exc_value) == "Event loop is closed"):
            before(raised)

    if getattr(before, "__name__", "") != quiet.__name__:
        sys.unraisablehook = quiet


class Store:
    """The checkpoints of one run, in one folder."""

    def __init__(self, folder: pathlib.Path, keep: int, writes: bool = True, keep_every: int = 0):
        self.folder = folder.resolve()
        self.config: dict[str, Any] = {}  # of the run when it saved what is restored
        _be_quiet()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep if writes else None,
            keep_period=keep_every or None,  # steps that are multiples of it stay for good
            create=writes,
            cleanup_tmp_directories=writes,
            # else a folder that cannot be made is waited for, five minutes long
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        handlers = {
            "params": ocp.StandardCheckpointHandler(),
            "rest": ocp.StandardCheckpointHandler(),
            "average": ocp.StandardCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
            "digests": ocp.JsonCheckpointHandler(),
        }
        self.manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            self.manager.close()
        except (OSError, ValueError) as error:
            if kind is None:
                raise self._unwritten("the last checkpoint", error) from error

    def newest(self) -> int | None:
        """The newest step, good or not."""
        return self.manager.latest_step()

    def save(self, state: TrainState, config: dict[str, Any]) -> None:
        """Nothing; the state is copied to the host before this returns, and written behind it: `wait` for that.

        Raises:
            CheckpointError: if this or the write before it failed.
        """
        trees = jax.device_get(_trees(state))
        digests = _digests(trees | {"config": config})
        arguments = ocp.args.Composite(
            **{name: ocp.args.StandardSave(tree) for name, tree in trees.items()},
            config=ocp.args.JsonSave(config),
            digests=ocp.args.JsonSave(digests),
        )
        step = int(trees["rest"]["step"])
        try:
            is_saved = self.manager.save(step, args=arguments, force=True)
        except (OSError, ValueError) as error:
            raise self._unwritten(f"checkpoint {step} or the one before it", error) from error
        if not is_saved:
            raise CheckpointError(f"checkpoint {step} was not written: the folder holds newer ones")

    def wait(self) -> None:
        """Nothing; returns when all saves lie on the disk.

        Raises:
            CheckpointError: if one failed.
        """
        try:
            self.manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._unwritten("the last checkpoint", error) from error

    def _unwritten(self, name: str, error: BaseException) -> CheckpointError:
        return CheckpointError(f"{name} was not written: {_reason(error)}; {kept(self.folder)}")

    def restore(self, target: TrainState) -> TrainState | None:
        """The newest good state, as NumPy arrays in the target's structure; None where there are no checkpoints.

        Newer steps that are damaged are set aside, so that training can write them again.

        Raises:
            CheckpointError: if there are checkpoints and none is good.
            MemoryError, OSError: if the machine is at fault, as where a file may not be read; nothing is set aside then.
        """
        step, items, damaged = self._newest_good(_trees(target))
        for bad in damaged:
            (self.folder / str(bad)).rename(self.folder / f"damaged-{bad}-{len(list(self.folder.glob('damaged-*')))}")
        if damaged:
            self.manager.reload()
        if step is None:
            return None
        self.config = items["config"]
        return TrainState(items["rest"]["step"], items["params"], items["rest"]["optimiser"], items.get("average"))

    def _newest_good(
        self, target: dict[str, Any] | None, only: int | None = None
    ) -> tuple[int | None, dict[str, Any], list[int]]:
        damaged = []
        for step in sorted(self.manager.all_steps() if only is None else [only], reverse=True):
            try:
                return step, self._read(step, target), damaged
            except MemoryError:
                raise
            except Exception as error:  # orbax raises ten kinds for damage, and one of them is Exception itself
                if (number := _number(error)) in FAULTS:
                    place = getattr(error, "filename", None) or str(self.folder / str(step))
                    raise OSError(number, os.strerror(number), place) from error
                if only is not None:
                    raise CheckpointError(f"checkpoint {step} cannot be restored: {_reason(error)}") from error
                print(f"checkpoint {step} cannot be restored: {_reason(error)}; trying an older one", file=sys.stderr)
                damaged.append(step)
        if damaged:
            raise CheckpointError(f"none of the checkpoints {sorted(damaged)} in {self.folder.parent.name} is good")
        return None, {}, damaged

    def _read(self, step: int, target: dict[str, Any] | None) -> dict[str, Any]:
        """The items of a step, verified; where there is no target, only its averaged parameters, or else its parameters."""
        metadata = self.manager.item_metadata(step)
        evaluated = "params" if metadata.get("average") is None else "average"
        restores = {}
        for name in (evaluated,) if target is None else target:
            if metadata.get(name) is None:
                raise ValueError(f"it holds no {name}")
            found = jax.tree.map(_empty_like, metadata[name].tree)
            wanted = found if target is None else jax.tree.map(_empty_like, target[name])
            if _layout(found) != _layout(wanted):
                raise ValueError(f"its {name} have other names, shapes or dtypes than the model's")
            restores[name] = ocp.args.StandardRestore(wanted)
        restores |= {name: ocp.args.JsonRestore() for name in ("config", "digests")}
        items = dict(self.manager.restore(step, args=ocp.args.Composite(**restores)).items())
        recorded = items.pop("digests")
        if target is None and evaluated == "params" and any(key.startswith("['average']") for key in recorded):
            raise ValueError("its average is missing")
        for key, value in _digests(items).items():
            if recorded.get(key) != value:
                raise ValueError(f"{key} differs from its digest")
        return items


def restore_params(folder: pathlib.Path, step: int | None = None) -> tuple[Params, dict[str, Any], int]:
    """Parameters as a plain tree of NumPy arrays, the run's config, and the step: from the run's folder alone.

    They are those of the newest good step, or of the one that is asked for.

    They are the averaged ones where the run keeps an average (`train.ema`): those that its evaluation scores. A folder of
    parameters alone (`portable`) has no config beside them.

    Raises:
        CheckpointError: if the folder holds no good checkpoint.
    """
    if not _steps(folder / "checkpoints") and (folder / portable.FILE).is_file():
        params, found = portable.read(folder)
        if step not in (None, found):
            raise CheckpointError(f"{folder.name} holds the parameters of step {found}, not of {step}")
        return params, {}, found
    if not (folder / "checkpoints").is_dir():
        raise CheckpointError(f"{folder.name} holds no checkpoints")
    before = None
    while True:
        with Store(folder / "checkpoints", keep=1, writes=False) as store:
            try:
                found, items, _ = store._newest_good(None, step)
                break
            except CheckpointError:
                if step is not None:
                    raise
                newest = max(_steps(store.folder), default=None)
                if newest in (before, store.newest()):
                    raise
                before = newest  # a training went on, and put newer ones in their place
    if found is None:
        raise CheckpointError(f"{folder.name} holds no checkpoints")
    return items["average"] if "average" in items else items["params"], items["config"], found


def steps(folder: pathlib.Path) -> list[int]:
    """The steps whose parameters a run's folder holds, good or not, in order."""
    kept = sorted(_steps(folder / "checkpoints"))
    return kept or ([portable.read(folder)[1]] if (folder / portable.FILE).is_file() else [])


def kept(folder: pathlib.Path) -> str:
    """What a folder of checkpoints leaves to a run that stops, in words."""
    steps = _steps(folder)
    return f"the checkpoint of step {max(steps)} is kept" if steps else "there is no checkpoint yet"


def _steps(folder: pathlib.Path) -> list[int]:
    return [int(place.name) for place in folder.glob("[0-9]*") if place.name.isdigit()]


def digest(tree: Any) -> dict[str, str]:
    """SHA-256 of every leaf's dtype, shape and bytes, by the leaf's path."""
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.asarray(leaf)
        head = f"{array.dtype.name} {array.shape} ".encode()
        found[jax.tree_util.keystr(path)] = hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
    return found


def _digests(items: dict[str, Any]) -> dict[str, str]:
    return digest(items | {"config": json.dumps(items["config"], sort_keys=True)})


def _trees(state: TrainState) -> dict[str, Any]:
    """The items that a state is stored as; of one without an average there is none."""
    average = {} if state.average is None else {"average": state.average}
    return {"params": state.params, "rest": {"step": state.step, "optimiser": state.optimiser}, **average}


def _empty_like(leaf: Any) -> np.ndarray:
    return np.zeros(leaf.shape, leaf.dtype)


def _layout(tree: Any) -> list[tuple[tuple[int, ...], str]]:
    return [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(tree)]


def _number(error: BaseException) -> int | None:
    """The system's number of a fault, which what Orbax stores with has in its text."""
    if told := re.search(r"os_error_code='(\d+)'", str(error)):
        return int(told[1])
    return error.errno if isinstance(error, OSError) else None


def _reason(error: BaseException) -> str:
    if (number := _number(error)) is not None:
        return os.strerror(number)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
