"""The process around the command: standard streams, UTF-8, and signals wherever the training loop does not take them.

Standard library alone, and little of it, as a signal can come while the rest is imported.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from typing import Any

from hexjax import names

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ENDING = threading.Lock()  # held by whoever ends the process


class Stream:
    """A text stream that falls silent when its reader goes or its disk is full, so that a run outlives its progress."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._silent():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._silent():
            self._stream.flush()

    @contextlib.contextmanager
    def _silent(self) -> Any:
        try:
            yield
        except OSError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)


def program() -> str:
    """What the user calls the program: hexjax where it is installed, else launch.py."""
    return "hexjax" if os.path.splitext(os.path.basename(sys.argv[0]))[0] == "hexjax" else "launch.py"


def prepare() -> None:
    """Nothing; a signal ends the process from here on, streams that are closed or close do no harm, and text is UTF-8.

    Under a locale without UTF-8 the command starts once more in Python's UTF-8 mode: names of files are text then.
    """
    for number in range(3):  # a file that is opened later must not become the standard error
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.getfilesystemencoding() != "utf-8":
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the new process watches
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    watch()
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name) or open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Stream(stream))


def watch() -> None:
    """Nothing; from here on SIGTERM and SIGINT end the process with one line, but where another handler has taken over.

    Nothing is raised: an exception in the middle of an import or of a library's callback can be swallowed there. A thread
    beside the main one hears the signal while that is busy in a library. What hexjax writes is whole at any moment.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(reader,), daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end(number: int, _: Any = None) -> None:
    """Does not return, unless the process ends already."""
    if not ENDING.acquire(blocking=False):
        return
    line = f"{program()}: {signal.Signals(number).name}: interrupted; what was written before stays\n"
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0.5)[1]:  # a reader that does not read must not keep the process
            os.write(2, ("\n" * os.isatty(2) + line).encode())
    os._exit(names.INTERRUPTED)


def _listen(reader: int) -> None:
    while True:
        number = os.read(reader, 1)[0]
        if signal.getsignal(number) is end:
            end(number)
