"""Checkpoints: what is saved comes back, also from the folder alone, and what does not fit is told."""

import errno
import logging
import os
import shutil
import subprocess
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.training import checkpoint
from hexjax.types import TrainState

CONFIG = {"seed": 3, "kl": {"limit": float("inf")}, "widths": (1, 2)}


def make_state(step: int) -> TrainState:
    """A state with some structure."""
    params = {"layer": {"kernel": jnp.arange(6.0).reshape(2, 3) + step}, "bias": jnp.full(4, float(step))}
    return TrainState(jnp.int32(step), params, (jnp.int32(step), {"mean": jnp.ones((2, 2))}))


@pytest.fixture
def folder(tmp_path):
    """A run's folder with checkpoints of steps 2, 4 and 6, of which two are kept."""
    with checkpoint.Store(tmp_path / "checkpoints", keep=2) as store:
        for step in (2, 4, 6):
            store.save(make_state(step), CONFIG)
        store.wait()
    return tmp_path


def test_newest_state_comes_back_bit_for_bit_and_old_ones_go(folder):
    with checkpoint.Store(folder / "checkpoints", keep=2) as store:
        state = store.restore(make_state(0))
        assert store.newest() == 6
    assert checkpoint.digest(state) == checkpoint.digest(make_state(6))
    assert type(state) is TrainState
    assert {item.name for item in (folder / "checkpoints").iterdir()} == {"4", "6"}


def test_multiples_are_kept_for_good_and_every_step_that_is_there_can_be_asked_for(tmp_path):
    with checkpoint.Store(tmp_path / "checkpoints", keep=1, keep_every=4) as store:
        for step in (2, 4, 6, 8, 10):
            store.save(make_state(step), CONFIG)
        store.wait()
    assert checkpoint.steps(tmp_path) == [4, 8, 10]
    params, _, step = checkpoint.restore_params(tmp_path, 4)
    assert (checkpoint.digest(params), step) == (checkpoint.digest(make_state(4).params), 4)
    with pytest.raises(checkpoint.CheckpointError, match=r"^checkpoint 6 cannot be restored: "):
        checkpoint.restore_params(tmp_path, 6)


def test_empty_folder_restores_nothing(tmp_path):
    with checkpoint.Store(tmp_path / "checkpoints", keep=2) as store:
        assert store.restore(make_state(0)) is None


def test_parameters_come_back_from_a_moved_folder_alone(folder, tmp_path_factory):
    moved = folder.rename(tmp_path_factory.mktemp("elsewhere") / "run")
    params, config, step = checkpoint.restore_params(moved)
    assert checkpoint.digest(params) == checkpoint.digest(make_state(6).params)
    assert type(params["layer"]["kernel"]) is np.ndarray
    assert (config["seed"], config["kl"]["limit"], step) == (3, float("inf"), 6)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # callbacks left by a read that failed
def test_averaged_parameters_come_back_before_others_and_are_missed_where_they_are_gone(tmp_path, capsys):
    states = {step: make_state(step)._replace(average=make_state(step + 1).params) for step in (2, 4)}
    with checkpoint.Store(tmp_path / "checkpoints", keep=2) as store:
        for state in states.values():
            store.save(state, CONFIG)
        store.wait()
        assert checkpoint.digest(store.restore(states[2])) == checkpoint.digest(states[4])
    params, _, step = checkpoint.restore_params(tmp_path)
    assert (checkpoint.digest(params), step) == (checkpoint.digest(states[4].average), 4)
    shutil.rmtree(tmp_path / "checkpoints" / "4" / "average")
    assert checkpoint.restore_params(tmp_path)[2] == 2
    with checkpoint.Store(tmp_path / "checkpoints", keep=2) as store:
        assert int(store.restore(states[2]).step) == 2
    told = "checkpoint 4 cannot be restored: ValueError: {}; trying an older one\n"
    assert capsys.readouterr().err == told.format("its average is missing") + told.format("it holds no average")


def test_parameters_come_back_on_another_number_of_devices(folder):
    program = (
        "import sys, pathlib, jax; assert jax.device_count() == 3; from hexjax.training import checkpoint; "
        "params, _, step = checkpoint.restore_params(pathlib.Path(sys.argv[1])); print(step, params['bias'].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=3"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "6 [6.0, 6.0, 6.0, 6.0]\n", done.stderr


def test_reading_changes_no_file(folder):
    def files():
        return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    (folder / "checkpoints" / "8.orbax-checkpoint-tmp").mkdir()
    before = files()
    checkpoint.restore_params(folder)
    assert files() == before
    assert (folder / "checkpoints" / "8.orbax-checkpoint-tmp").is_dir()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # callbacks left by a read that failed
@pytest.mark.parametrize("change", ["dtype", "shape", "name"])
def test_state_of_another_model_is_never_cast_into_this_one(folder, change, capsys):
    params = make_state(0).params
    if change == "dtype":
        params["bias"] = params["bias"].astype(jnp.int32)
    elif change == "shape":
        params["bias"] = jnp.zeros(5)
    else:
        params["offset"] = params.pop("bias")
    with checkpoint.Store(folder / "checkpoints", keep=2) as store:
        text = rf"^none of the checkpoints \[4, 6\] in {folder.name} is good$"
        with pytest.raises(checkpoint.CheckpointError, match=text):
            store.restore(make_state(0)._replace(params=params))
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        "checkpoint 6 cannot be restored: ValueError: its params have other names, shapes or dtypes than the model's; "
        "trying an older one"
    )
    assert (folder / "checkpoints" / "6").is_dir()


def test_damaged_step_is_set_aside_and_can_be_written_again(folder, capsys):
    (folder / "checkpoints" / "6" / "digests" / "metadata").write_text("{}")
    with checkpoint.Store(folder / "checkpoints", keep=2) as store:
        assert int(store.restore(make_state(0)).step) == 4
        store.save(make_state(6), CONFIG)
        store.wait()
        assert int(store.restore(make_state(0)).step) == 6
    assert (folder / "checkpoints" / "damaged-6-0").is_dir()
    assert capsys.readouterr().err == (
        "checkpoint 6 cannot be restored: ValueError: ['config'] differs from its digest; trying an older one\n"
    )


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (MemoryError("Unable to allocate"), r"Unable to allocate"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), r"\[Errno 13\] Permission denied: 'a'"),
        (OSError(errno.EMFILE, "Too many open files"), r"\[Errno 24\] Too many open files: '.*/checkpoints/6'"),
        (ValueError("NOT_FOUND: a [os_error_code='13']"), r"\[Errno 13\] Permission denied: '.*/checkpoints/6'"),
    ],
)
def test_a_fault_of_the_machine_is_no_damage(folder, monkeypatch, capsys, fault, told):
    def read(*_):
        raise fault

    monkeypatch.setattr(checkpoint.Store, "_read", read)
    kind = OSError if isinstance(fault, ValueError) else type(fault)
    with checkpoint.Store(folder / "checkpoints", keep=2) as store, pytest.raises(kind, match=f"^{told}$"):
        store.restore(make_state(0))
    with pytest.raises(kind, match=f"^{told}$"):
        checkpoint.restore_params(folder)
    assert capsys.readouterr().err == ""
    assert {item.name for item in (folder / "checkpoints").iterdir()} == {"4", "6"}


def test_step_below_the_newest_is_not_dropped_silently(folder):
    text = r"^checkpoint 6 .* not written: "
    with (
        checkpoint.Store(folder / "checkpoints", keep=2) as store,
        pytest.raises(checkpoint.CheckpointError, match=text),
    ):
        store.save(make_state(6), CONFIG)


def test_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match=rf"^{tmp_path.name} holds no checkpoints$"):
        checkpoint.restore_params(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(checkpoint.CheckpointError, match=rf"^{tmp_path.name} holds no checkpoints$"):
        checkpoint.restore_params(tmp_path)


def test_reading_needs_no_right_to_write(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("read_only")
    if os.geteuid() or subprocess.run(["mount", "--bind", folder, place], check=False).returncode:
        pytest.skip("no folder can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            (place / "new").touch()
        assert checkpoint.restore_params(place)[2] == 6
    finally:
        subprocess.run(["umount", place], check=True)


def test_steps_that_a_training_replaces_while_they_are_read_are_not_called_damaged(folder, monkeypatch, capsys):
    find = checkpoint.Store._newest_good

    def replaced(store, target, only=None):
        if store.newest() == 6:  # the run goes on: step 8 comes, and those that were found go
            with checkpoint.Store(folder / "checkpoints", keep=1) as other:
                other.save(make_state(8), CONFIG)
                other.wait()
        return find(store, target, only)

    monkeypatch.setattr(checkpoint.Store, "_newest_good", replaced)
    assert checkpoint.restore_params(folder)[2] == 8


def test_noise_of_orbax_is_dropped_and_that_of_others_is_not(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    hooks = set()
    for _ in range(3):
        checkpoint.Store(tmp_path / "checkpoints", keep=1).manager.close()
        hooks.add(sys.unraisablehook)
    assert len(hooks) == 1
    for error in (RuntimeError("Event loop is closed"), RuntimeError("mine"), ValueError("Event loop is closed")):
        sys.unraisablehook(types.SimpleNamespace(exc_value=error))
    assert [repr(each.exc_value) for each in heard] == ["RuntimeError('mine')", "ValueError('Event loop is closed')"]
    for file, said in (("/x/orbax/checkpoint/a.py", False), ("/x/hexjax/a.py", True)):
        record = logging.LogRecord("absl", logging.ERROR, file, 1, "text", (), None)
        assert bool(logging.getLogger("absl").filter(record)) is said
    try:
        exec(compile("1 / 0", "/x/orbax/b.py", "exec"))  # an error of Orbax that asyncio tells
    except ZeroDivisionError:
        record = logging.LogRecord("asyncio", logging.ERROR, "/x/asyncio/a.py", 1, "text", (), sys.exc_info())
    assert not logging.getLogger("asyncio").filter(record)
    text = "Future exception was never retrieved: Error writing /x/4.orbax-checkpoint-tmp/rest"
    record = logging.LogRecord("asyncio", logging.ERROR, "/x/asyncio/a.py", 1, text, (), None)
    assert not logging.getLogger("asyncio").filter(record)


def test_digest_tells_values_dtypes_shapes_and_places():
    trees = [{"a": np.zeros(4)}, {"b": np.zeros(4)}, {"a": np.zeros((2, 2))}, {"a": np.zeros(4, np.int64)}]
    trees += [{"a": -np.zeros(4)}]
    assert len({tuple(checkpoint.digest(tree).items()) for tree in trees}) == 5
