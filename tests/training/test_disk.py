"""A disk that is full or broken stops a run in one line, whoever meets it first, and the run goes on bit for bit later."""

import errno
import os
import subprocess
import threading

import pytest

from hexjax.training import record
from tests.training import toy

# A write that fails leaves callbacks of Orbax behind, which find their event loop closed at some later time.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run of six steps leaves that no fault met."""
    folder = tmp_path_factory.mktemp("whole")
    assert toy.train(folder, 6) == 0
    return toy.outcome(folder)


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own; a function gives it so many KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("no disk can be mounted here")
    yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}k", folder], check=True) and folder
    subprocess.run(["umount", folder], check=True)


def stopped(errors: str, reason: str) -> str:
    """The one line, which is last, that a run tells when it stops; progress may come before it."""
    lines = [line for line in errors.splitlines() if not line.startswith("step ")]
    assert len(lines) == 1, errors
    assert lines[0].startswith("stopped: ")
    assert reason in lines[0]
    assert lines[0].endswith((" is kept", "; there is no checkpoint yet"))
    return lines[0]


def test_full_disk_stops_the_run_in_one_line_and_it_goes_on_when_there_is_room(disk, whole, capfd):
    for size in (8, 140, 200):
        folder = disk(size) / "run"
        assert toy.train(folder, 6) == 1
        stopped(capfd.readouterr().err, "No space left on device")
        assert no_thread_lingers()
    folder = disk(4000) / "run"
    assert toy.train(folder, 6) == 0
    assert toy.outcome(folder) == whole


@pytest.mark.parametrize(
    ("number", "call"), [("ENOSPC", 1), ("EDQUOT", 8), ("EROFS", 13), ("EIO", 22), ("EFBIG", 27), ("ENOSPC", 36)]
)
def test_writer_of_rows_or_events_that_fails_stops_the_run(tmp_path, whole, capfd, monkeypatch, number, call):
    code, write, calls = getattr(errno, number), record._append, []

    def failing(file, content: bytes) -> None:
        calls.append(file)
        if len(calls) < call:
            write(file, content)
            return
        file.write(content[: len(content) // 2])
        file.flush()
        raise OSError(code, os.strerror(code), str(tmp_path / "metrics.jsonl"))

    monkeypatch.setattr(record, "_append", failing)
    assert toy.train(tmp_path, 6) == 1
    assert len(calls) == call
    told = stopped(capfd.readouterr().err, f"{os.strerror(code)} (metrics.jsonl); ")
    steps = [int(place.name) for place in (tmp_path / "checkpoints").iterdir() if place.name.isdigit()]
    assert told.endswith(f"the checkpoint of step {max(steps)} is kept" if steps else "there is no checkpoint yet")
    monkeypatch.undo()
    assert toy.train(tmp_path, 6) == 0
    assert toy.outcome(tmp_path) == whole
    assert "damaged" not in capfd.readouterr().err


def test_checkpoints_that_cannot_be_made_stop_the_run_at_once_and_quietly(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(os, "mkdir", wrap(os.mkdir))
    assert toy.train(tmp_path, 6) == 1
    stopped(capfd.readouterr().err, os.strerror(errno.EDQUOT))
    assert no_thread_lingers()


def no_thread_lingers() -> bool:
    """Whether all threads that keep the process end by themselves: one of Orbax that waited for folders took 300 seconds."""
    others = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    for thread in others:
        threading.Thread.join(thread, 60)  # that of Orbax's threads raises what they failed with
    return not any(thread.is_alive() for thread in others)


def wrap(mkdir):
    """A mkdir that makes no folder of a checkpoint."""

    def full(path, *given, **more):
        if "orbax-checkpoint-tmp" in str(path):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return mkdir(path, *given, **more)

    return full


def test_verdict_that_cannot_be_written_is_a_line_too(tmp_path, capfd, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(record, "write_verdict", full)
    assert toy.train(tmp_path, 6, blow_up_at=3) == 1
    assert (
        capfd.readouterr().err.splitlines()[-1] == "stopped: No space left on device; the checkpoint of step 2 is kept"
    )
