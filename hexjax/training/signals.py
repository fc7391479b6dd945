"""SIGTERM and SIGINT while a run trains: noted at once, acted on where the state is whole."""

import contextlib
import signal
from collections.abc import Iterator


class Interruption(KeyboardInterrupt):
    """SIGTERM or SIGINT came during an evaluation, which can be cut short: the state is whole."""


class Signals:
    """SIGTERM and SIGINT while the loop runs: noted, and acted on between steps."""

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
        self.name = signal.Signals(number).name
        if self.is_evaluating:
            raise Interruption

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it a signal ends the evaluation at once, and nothing else."""
        self.is_evaluating = True
        try:
            yield
        except Interruption:
            pass
        finally:
            self.is_evaluating = False
