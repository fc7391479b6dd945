"""One process writes a run's folder at a time, and a killed one leaves no lock behind."""

import errno
import os
import re
import subprocess
import sys

import pytest

from hexjax.training import lock

HOLD = (
    "import pathlib, sys, time; from hexjax.training import lock; held = lock.take(pathlib.Path(sys.argv[1])); "
    "print('held', flush=True); time.sleep(600)"
)


def test_second_one_is_refused_until_the_first_is_killed(tmp_path):
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        text = (
            f"{folder} is written by another process, {process.pid}; accepted: a folder that no other run writes, or "
            "this one when that has ended"
        )
        for _ in range(2):
            with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
                lock.take(folder)
        assert lock.is_held(folder)
        process.kill()
    assert not lock.is_held(folder)
    assert not lock.is_held(tmp_path / "none")
    with lock.take(folder):
        assert (folder / ".lock").read_text() == str(os.getpid())


def test_lock_ends_when_it_is_closed_and_its_folder_may_be_anywhere(tmp_path):
    lock.take(tmp_path / "a").close()
    with lock.take(tmp_path / "a"), lock.take(tmp_path / "b"):
        pass
    assert sorted(item.name for item in (tmp_path / "a").iterdir()) == [".lock"]


def test_file_system_without_locks_is_told(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with lock.take(tmp_path):
        told = f"{tmp_path} cannot be locked (No locks available): let no other run write there\n"
        assert capsys.readouterr().err == told
