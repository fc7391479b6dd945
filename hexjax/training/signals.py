"""SIGTERM and SIGINT while a run trains: noted at once, acted on where the state is whole."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

AGAIN = 1.0  # seconds after which another signal is meant as a second one: schedulers and shells send one twice


class Interruption(KeyboardInterrupt):
    """SIGTERM or SIGINT came during an evaluation, which can be cut short: the state is whole."""


class Signals:
    """SIGTERM and SIGINT while the loop runs: noted, and acted on between steps. A second one ends the process at once."""

    def __init__(self) -> None:
        self.name = ""
        self.is_evaluating = False

    def __enter__(self) -> "Signals":
        self.previous = {number: signal.signal(number, self.note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def note(self, number: int, _: object) -> None:
        """Nothing; what the handler does. Of a second signal the process dies as of any: what is on the disk is whole."""
        if not self.name:
            self.name, self.since = signal.Signals(number).name, time.monotonic()
            if self.is_evaluating:
                raise Interruption
        elif time.monotonic() - self.since > AGAIN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def stopped(self) -> bool:
        """Whether a signal has come; asked between the shapes of an evaluation: what is raised in a C library may be lost."""
        return bool(self.name)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it a signal ends the evaluation at once, and nothing else."""
        self.is_evaluating = True
        try:
            yield
        except KeyboardInterrupt:
            if not self.name:
                raise
        finally:
            self.is_evaluating = False
