"""How far a long work of many pieces is, on stderr: a line overwritten on a terminal, else one every few seconds."""

import io
import shutil
import sys
import time


class Line:
    """The progress of `total` pieces of work; short work shows nothing. To be used in a `with`, which clears it."""

    def __init__(self, total: int, what: str, stream: io.TextIOBase | None = None, seconds: float = 5.0):
        self.total, self.what, self.seconds = total, what, seconds
        self.stream = sys.stderr if stream is None else stream
        self.shown = time.monotonic()
        self.first: tuple[int, float] | None = None  # pieces and time from which the rate counts: not the compilation
        self.open = False

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def update(self, done: int, note: str = "") -> None:
        """Nothing; so many pieces are done. To be called after each."""
        now, is_terminal = time.monotonic(), self.stream.isatty()
        if self.first is None:
            self.first = (done, now)
        if now - self.shown < (0.1 if self.open and is_terminal else self.seconds):
            return
        pieces, elapsed = done - self.first[0], now - self.first[1]
        left = f"  {clock((self.total - done) * elapsed / pieces)} left" if pieces > 0 else ""
        text = f"{self.what} {done}/{self.total}{f'  {note}' if note else ''}{left}"
        self.shown, self.open = now, is_terminal
        if is_terminal:
            text = "\r" + text[: shutil.get_terminal_size().columns - 1] + "\x1b[K"
        print(text, end="" if is_terminal else "\n", file=self.stream, flush=True)

    def tell(self, text: str) -> None:
        """Nothing; prints a line of its own, not into the line of progress."""
        self.clear()
        print(text, file=self.stream, flush=True)

    def clear(self) -> None:
        """Nothing; takes the line from the terminal."""
        if self.open:
            print("\r\x1b[K", end="", file=self.stream, flush=True)
        self.open = False


def tell(text: str) -> None:
    """Nothing; prints a line on stderr, in the place of a line of progress that a terminal may show there."""
    print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
