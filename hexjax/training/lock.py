"""One writer a run folder: RUN/.lock, held by flock, so that a killed process leaves no lock behind."""

import fcntl
import os
import pathlib
import sys
from typing import IO

FILE = ".lock"


def take(folder: pathlib.Path) -> IO[str]:
    """The lock of a folder, which is made if need be: held until it is closed, or the process ends. Reading asks for none.

    A file system without locks is told of, and nothing is refused there.

    Raises:
        ValueError: if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / FILE).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        with file:
            raise ValueError(
                f"{folder} is written by another process, {file.read() or 'unknown'}; accepted: a folder that no other "
                "run writes, or this one when that has ended"
            ) from error
    except OSError as error:
        print(f"{folder} cannot be locked ({error.strerror}): let no other run write there", file=sys.stderr)
        return file
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def is_held(folder: pathlib.Path) -> bool:
    """Whether another process writes in a folder, as a training does; nothing is made there.

    The lock is tried only where the process that took it last is there, so that one that starts now is not in its way.
    """
    try:
        with (folder / FILE).open("rb") as file:
            os.kill(int(file.read()), 0)
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return False
