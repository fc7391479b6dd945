"""What surrounds the command: signals at any moment, streams whose reader goes, locales without UTF-8."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from hexjax import names, shell
from tests import test_launch

ROOT = pathlib.Path(__file__).parent.parent
BUSY = {
    "in Python": "print('started', flush=True)\nwhile True: pass\n",
    "in an import": "import sys, importlib.abc\n"
    "class Slow(importlib.abc.MetaPathFinder):\n"
    "    def find_spec(self, *_):\n"
    "        print('started', flush=True)\n"
    "        while True: pass\n"
    "sys.meta_path.insert(0, Slow())\n"
    "try: import nothing_of_this_name\n"
    "except BaseException: pass\n",
    "in a callback of C": "import ctypes\n"
    "@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)\n"
    "def compare(a, b):\n"
    "    print('started', flush=True)\n"
    "    while True: pass\n"
    "ctypes.CDLL(None).qsort((ctypes.c_int * 2)(1, 2), 2, 4, compare)\n",
    "in a finaliser": "class End:\n"
    "    def __del__(self):\n"
    "        print('started', flush=True)\n"
    "        while True: pass\n"
    "End()\n",
    "in C that lets others work": "import ctypes; print('started', flush=True); ctypes.CDLL(None).sleep(600)",
}


def python(program: str, **more) -> subprocess.Popen:
    """A process that is prepared as the command is, and then runs a program."""
    text = "from hexjax import shell; shell.prepare()\n" + program
    command = [sys.executable, "-c", text]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen(command, cwd=ROOT, encoding="utf-8", errors="surrogateescape", **pipes)


@pytest.mark.parametrize("number", shell.SIGNALS)
@pytest.mark.parametrize("where", BUSY)
def test_signal_ends_the_process_wherever_it_is_and_is_told_in_a_line(where, number):
    process = python(BUSY[where])
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    told = f"launch.py: {number.name}: interrupted; what was written before stays\n"
    assert (process.returncode, errors) == (names.INTERRUPTED, told)


def test_handler_that_takes_over_has_the_signal_alone_and_gives_it_back():
    program = (
        "import os, signal, time\n"
        "heard = []\n"
        "before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(0.2)\n"
        "print(heard, flush=True)\n"
        "signal.signal(signal.SIGTERM, before)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(600)\n"
    )
    process = python(program)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (names.INTERRUPTED, f"[{int(signal.SIGTERM)}]\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_reader_that_goes_ends_nothing(stream):
    program = (
        f"import sys\nsys.stdin.readline()\nfor i in range(9999): print('line', i, file=sys.{stream}, flush=i % 2)\n"
    )
    process = python(program, stdin=subprocess.PIPE)
    getattr(process, stream).close()
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(60) == 0
    other = process.stderr if stream == "stdout" else process.stdout
    assert other.read() == ""
    other.close()


def test_streams_that_are_closed_are_never_those_of_a_file(tmp_path):
    program = "import os, sys; from hexjax import shell; shell.prepare(); f = open('own', 'w'); os.write(2, b'lost'); "
    program += "print('lost'); print('lost', file=sys.stderr); f.write('kept'); f.close()"
    command = f'exec "{sys.executable}" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", command, "sh", program], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "own").read_text(encoding="utf-8") == "kept"


def test_full_disk_behind_a_stream_ends_nothing():
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = python("import sys; print('x' * 99999, file=sys.stderr, flush=True); print('on')", stderr=full)
        assert process.communicate(timeout=60)[0] == "on\n"
    assert process.returncode == 0


@pytest.mark.parametrize("given", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "POSIX"}])
def test_names_are_text_under_a_locale_without_utf_8(tmp_path, given):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from hexjax import shell; shell.prepare(); open(sys.argv[1], 'w').write(sys.argv[1]); "
        "print(sys.argv[1], 'caf\\udcff'); print(sys.argv[1], file=sys.stderr)",
        encoding="utf-8",
    )
    command = [sys.executable, str(program), "头.obj"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)} | given, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "头.obj\n")
    assert done.stdout.decode() == "头.obj caf\\udcff\n"
    assert (tmp_path / "头.obj").read_text(encoding="utf-8") == "头.obj"


@pytest.mark.slow
def test_signal_at_any_moment_of_a_command_ends_it_with_one_line(tmp_path):
    draw = random.Random(0)
    for count in range(8):
        command = [sys.executable, "launch.py", *test_launch.TOY, f"--workdir={tmp_path / str(count)}"]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8")
        time.sleep(draw.uniform(0.5, 12))
        process.send_signal(draw.choice(shell.SIGNALS))
        _, errors = process.communicate(timeout=120)
        assert process.returncode == names.INTERRUPTED, errors
        assert "Traceback" not in errors
