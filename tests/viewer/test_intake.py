"""Meshes that a page sends: what the loader says comes back in words, and time and memory are limited."""

import re
import subprocess
import sys

import pytest

from hexjax import names
from hexjax.data import ply
from hexjax.viewer import intake
from tests import shapes


def test_a_process_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(intake, "SECONDS", 0.01)
    with pytest.raises(ValueError, match=r"^a\.ply takes longer than 0\.02 s to read$"):
        intake.take("a.ply", ply.write(shapes.torus()), "y")


def test_more_bytes_than_are_accepted_are_not_written(monkeypatch):
    monkeypatch.setattr(intake, "MOST", 10)
    with pytest.raises(ValueError, match=re.escape("a.ply has 11 bytes; accepted: up to 10")):
        intake.take("a.ply", b"x" * 11, "y")


def test_a_process_has_so_much_memory_and_no_file_to_write(tmp_path):
    file = tmp_path / "a.xyz"
    file.write_text("0 0 1\n" * 2_000_000, encoding="utf-8")
    program = (
        "import pathlib, sys; from hexjax.viewer import intake; intake.MEMORY = 2**24\n"
        f"code = intake.main({str(file)!r})\n"
        f"try: pathlib.Path({str(tmp_path / 'b')!r}).write_text('x')\n"
        "except OSError as error: print(error, file=sys.stderr)\n"
        "sys.exit(code)"
    )
    ignored = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    done = subprocess.run([sys.executable, "-c", ignored + program], capture_output=True, text=True)
    assert done.returncode == names.REFUSED, done.stderr
    assert done.stderr.splitlines() == ["a.xyz: it does not fit into memory", "[Errno 27] File too large"]
