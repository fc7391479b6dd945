"""Run folders, and what a run writes in them while it trains.

metrics.jsonl has one object a row, `step` first, and no times: a resumed run's file equals an uninterrupted one's byte
for byte. Times go to timing.jsonl, curves also to TensorBoard event files, progress to the terminal.
"""

import importlib.metadata
import io
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
import tensorboardX

from hexjax import names

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-image", "trimesh")


def new_folder(root: pathlib.Path, name: str) -> pathlib.Path:
    """A new folder `root/NNN-name`, NNN one above the highest there; made, so that no other run gets it."""
    root.mkdir(parents=True, exist_ok=True)
    while True:
        numbers = [int(folder.name[:3]) for folder in root.glob("[0-9][0-9][0-9]-*")]
        folder = root / f"{max(numbers, default=0) + 1:03d}-{name}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue  # another run was faster
        return folder


def write_header(folder: pathlib.Path, line: str, config: str | None, data_path: str) -> None:
    """Nothing; adds the command, the commit, the versions and the device to command.txt, and writes config.json.

    Where `config` (its text) is None, the one there stays as it is. Where the data lie on this machine is told in
    checkpoints/ only, which stays out of version control.
    """
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    if config is not None:
        write_atomically(folder / "config.json", config)
    if config is not None and data_path:
        write_atomically(folder / "checkpoints" / "data_path.txt", names.absolute(data_path))
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    device = jax.devices()[0]
    with (folder / "command.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(
            f"command: {line}\ncommit: {commit()}\nversions: python {platform.python_version()}, {versions}\n"
            f"device: {jax.device_count()} x {device.platform} {device.device_kind}, {os.cpu_count()} CPU cores\n\n"
        )


def commit() -> str:
    """The commit of the checkout that runs, with a mark if its code differs from it."""
    here = pathlib.Path(__file__).parents[2]
    status = ["git", "status", "--porcelain", "--untracked-files=no", "--", "hexjax", "configs", "launch.py"]
    commands = (["git", "rev-parse", "--short=12", "HEAD"], status)
    try:
        head, changes = [subprocess.run(c, cwd=here, capture_output=True, text=True, timeout=10) for c in commands]
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")


def write_atomically(file: pathlib.Path, text: str) -> None:
    """Nothing; the file holds either its old text or the new one, whatever happens."""
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(text, "utf-8", "surrogateescape")
    temporary.replace(file)


def write_verdict(folder: pathlib.Path, judged: Any) -> None:
    """Nothing; scores.json holds the verdict on a run that stopped, beside the scores of an earlier step if there are any."""
    file = folder / "scores.json"
    scores = json.loads(file.read_text()) if file.exists() else {"mode": "stopped", "items": []}
    scores |= {"verdict": judged.name, "verdict_reason": judged.reason, "verdict_tags": list(judged.tags)}
    write_atomically(file, json.dumps(scores, indent=2, allow_nan=False) + "\n")


def rewind(file: pathlib.Path, step: int) -> None:
    """Nothing; drops from a file of rows what a run resumed at `step` will write again, and a torn last line.

    That is every row after `step`, and the validation and evaluation at `step`: they come before the step they precede.
    """
    if not file.exists():
        return
    lines = file.read_text().splitlines(keepends=True)
    rows = [(json.loads(line), line) for line in lines if line.endswith("}\n")]
    kept = [line for row, line in rows if row["step"] < step or (row["step"] == step and "loss" in row)]
    write_atomically(file, "".join(kept))


class Log:
    """The open files of a training run, and its progress line."""

    def __init__(
        self, folder: pathlib.Path, step: int, steps: int, stream: io.TextIOBase | None = None, seconds: float = 5.0
    ):
        self.steps, self.seconds = steps, seconds
        self.stream = sys.stderr if stream is None else stream
        for name in ("metrics.jsonl", "timing.jsonl"):
            rewind(folder / name, step)
        self.metrics, self.timing = (folder / "metrics.jsonl").open("a"), (folder / "timing.jsonl").open("a")
        self.events = tensorboardX.SummaryWriter(str(folder), purge_step=step)
        self.verdict = ""
        self.began = self.shown = time.monotonic()
        self.first: tuple[int, float] | None = None  # the step and time from which the rate counts: not the compilation

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.metrics, self.timing, self.events):
            file.close()

    def row(self, step: int, values: dict[str, Any]) -> None:
        """Nothing; writes one row, and its numbers as curves."""
        values = {name: _plain(value) for name, value in values.items()}
        self.metrics.write(json.dumps({"step": step} | values) + "\n")
        self.metrics.flush()
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self.events.add_scalar(name.replace(".", "/"), value, step)
        if "loss" in values:
            seconds, rate = round(time.monotonic() - self.began, 3), self.rate(step)
            self.timing.write(
                json.dumps({"step": step, "loss": values["loss"], "seconds": seconds, "rate": rate}) + "\n"
            )
            self.timing.flush()

    def diagnosis(self, step: int, figures: dict[str, Any], judged: Any) -> None:
        """Nothing; writes a row of diagnostics (numbers that are not finite as null); progress tells the verdict on."""
        self.verdict = judged.name
        named = {f"diagnostics.{name}": value if np.isfinite(value) else None for name, value in figures.items()}
        told = {"diagnostics.verdict": judged.name, "diagnostics.reason": judged.reason}
        self.row(step, named | told | {"diagnostics.tags": ", ".join(judged.tags)})

    def rate(self, step: int) -> float | None:
        """Steps a second since the first; None before there is one."""
        if self.first is None:
            self.first = (step, time.monotonic())
        elapsed = time.monotonic() - self.first[1]
        return round((step - self.first[0]) / elapsed, 3) if step > self.first[0] and elapsed > 0 else None

    def progress(self, step: int, loss: float) -> None:
        """Nothing; one line that is overwritten on a terminal, else a line every few seconds."""
        rate, now = self.rate(step), time.monotonic()
        is_last, is_terminal = step == self.steps, self.stream.isatty()
        if not is_last and now - self.shown < (0.1 if is_terminal else self.seconds):
            return
        self.shown = now
        left = "" if rate is None else f"  {rate:.3g} steps/s  {_clock((self.steps - step) / rate)} left"
        judged = f"  {self.verdict}" if self.verdict else ""
        text = f"step {step}/{self.steps}  loss {loss:.4g}{judged}{left}"
        start, end = ("\r", "\n" if is_last else "\x1b[K") if is_terminal else ("", "\n")
        print(start + text, end=end, file=self.stream, flush=True)


def _plain(value: Any) -> Any:
    """A number for JSON; a float32 by the shortest text that reads back as itself."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return float(str(np.float32(value)))


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
