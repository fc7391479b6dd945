"""Run folders, and what a run writes in them while it trains.

metrics.jsonl has one object a row, `step` first, and no times: a resumed run's file equals an uninterrupted one's byte
for byte. Beside it, metrics.crc has one line a row by which a damaged or missing one is known. Times go to
timing.jsonl, curves also to TensorBoard event files, progress to the terminal.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import re
import socket
import struct
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
from tensorboardX import record_writer
from tensorboardX.proto import event_pb2, summary_pb2

from hexjax import cores, names, progress
from hexjax.training import files
from hexjax.types import Spec

write_atomically, read_rows = files.write_atomically, files.read_rows  # for those who may import this file alone

TIMING = "timing.jsonl"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-image", "trimesh")


def new_folder(root: pathlib.Path, name: str) -> pathlib.Path:
    """A new folder `root/NNN-name`, NNN one above the highest there; made, so that no other run gets folder or number."""
    root.mkdir(parents=True, exist_ok=True)
    here = os.open(root, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(here, fcntl.LOCK_EX)
        number = max((order(folder)[0] for folder in root.iterdir()), default=0) + 1
        folder = root / f"{number:03d}-{name}"
        folder.mkdir()
        return folder
    finally:
        os.close(here)


def order(folder: pathlib.Path) -> tuple[int, str]:
    """What run folders are sorted by, the 1000th after the 999th: number (0 where there is none) and name."""
    number = re.match(r"(\d{3,})-", folder.name)
    return int(number[1]) if number else 0, folder.name


def write_header(folder: pathlib.Path, line: str, config: str | None, data_path: str) -> None:
    """Nothing; adds the command, the commit, the versions and the device to command.txt, and writes config.json.

    Where `config` (its text) is None, the one there stays as it is. Where the data lie on this machine is told in
    checkpoints/ only, which stays out of version control.
    """
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    if config is not None:
        for place in ("", "checkpoints/", "meshes/", "images/", "latents/", "evaluations/**/"):
            for left in folder.glob(f"{place}.*.[0-9]*.tmp"):
                left.unlink(missing_ok=True)  # of a run that was killed as it wrote a file
        write_config(folder, config)
    if config is not None and data_path:
        write_atomically(folder / "checkpoints" / "data_path.txt", names.absolute(data_path))
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    device, used = jax.devices()[0], f"{cores.allowed()} of {os.cpu_count()} CPU cores"
    with (folder / "command.txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(
            f"command: {names.printable(line)}\ncommit: {commit()}\nversions: python {platform.python_version()}, {versions}\n"
            f"device: {jax.device_count()} x {device.platform} {device.device_kind}, {used}\n\n"
        )


def write_spec(folder: pathlib.Path, spec: Spec) -> None:
    """Nothing; writes RUN/spec.json, what the run's family is made for, and its digest."""
    fields = {name: [list(each.shape), np.dtype(each.dtype).name] for name, each in spec.fields.items()}
    told = {"fields": fields, "shapes": spec.shapes, "categories": list(spec.categories)}
    write_atomically(folder / "spec.json", json.dumps({"digest": _spec_digest(told)} | told, indent=2) + "\n")


def read_spec(folder: pathlib.Path) -> Spec | None:
    """The spec of a run's folder; None where there is none, as in runs made before there were any.

    Raises:
        ValueError: for a damaged one.
    """
    file = folder / "spec.json"
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_bytes())
        if found.pop("digest") != _spec_digest(found):
            raise ValueError("another digest")
        fields = {name: jax.ShapeDtypeStruct(shape, dtype) for name, (shape, dtype) in found["fields"].items()}
        return Spec(fields, int(found["shapes"]), tuple(found["categories"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{folder.name}/spec.json is damaged; accepted: as it was written; without it, it is made anew of the data"
        ) from error


def _spec_digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def write_config(folder: pathlib.Path, config: str) -> None:
    """Nothing; writes config.json and its digest, which holds for the old text and the new until both are written."""
    file, known = folder / "config.json", folder / "config.sha256"
    digest = f"{hashlib.sha256(config.encode()).hexdigest()}  config.json\n".encode()  # as sha256sum writes it
    if known.exists():
        write_atomically(known, known.read_bytes() + digest)
    write_atomically(file, config)
    write_atomically(known, digest)


def commit() -> str:
    """The commit of the checkout that runs, with a mark if its code differs from it; none of a repository around it."""
    here = pathlib.Path(__file__).resolve().parents[2]
    status = ["git", "status", "--porcelain", "--untracked-files=no", "--", "hexjax", "configs", "launch.py"]
    commands = (["git", "rev-parse", "--show-toplevel", "--short=12", "HEAD"], status)
    try:
        head, changes = [
            subprocess.run(c, cwd=here, capture_output=True, encoding="utf-8", timeout=10) for c in commands
        ]
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    top, _, name = head.stdout.strip().rpartition("\n")
    if head.returncode or pathlib.Path(top).resolve() != here:
        return "unknown"
    return name + (" with changes" if changes.stdout.strip() else "")


def write_verdict(folder: pathlib.Path, judged: Any) -> None:
    """Nothing; scores.json holds the verdict on a run that stopped, beside the scores of an earlier step if there are any."""
    file = folder / "scores.json"
    scores = {"mode": "stopped", "items": []}
    with contextlib.suppress(ValueError, TypeError, FileNotFoundError):  # none yet, or damaged
        scores |= json.loads(file.read_text(encoding="utf-8"))
    scores |= {"verdict": judged.name, "verdict_reason": judged.reason, "verdict_tags": list(judged.tags)}
    write_atomically(file, json.dumps(scores, indent=2, allow_nan=False) + "\n")


def add_tag(folder: pathlib.Path, tag: str) -> None:
    """Nothing; the verdict in scores.json has one more tag."""
    file = folder / "scores.json"
    scores = json.loads(file.read_text(encoding="utf-8"))
    scores["verdict_tags"] = [*(scores.get("verdict_tags") or ()), tag]
    write_atomically(file, json.dumps(scores, indent=2, allow_nan=False) + "\n")


def keep_scores(folder: pathlib.Path, label: str) -> None:
    """Nothing; scores.json, which is to be replaced, stays as evaluations/LABEL/scores.json, where there is none yet."""
    kept = folder / "evaluations" / label / "scores.json"
    if (folder / "scores.json").exists() and not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, (folder / "scores.json").read_bytes())


class Log:
    """The open files of a training run, and its progress line. Nothing is written by a thread, so no error is lost."""

    def __init__(
        self,
        folder: pathlib.Path,
        step: int,
        steps: int,
        stream: io.TextIOBase | None = None,
        seconds: float = 5.0,
        again: tuple[str, ...] = ("",),
    ):
        self.folder, self.steps, self.seconds = folder, steps, seconds
        self.stream = sys.stderr if stream is None else stream
        for name in (files.METRICS, TIMING):
            files.rewind(folder / name, step, again)
        events = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)  # curves of later steps are void
        with contextlib.ExitStack() as stack:
            names = (files.METRICS, "metrics.crc", TIMING, events)
            opened = [stack.enter_context((folder / name).open("ab")) for name in names]
            self.metrics, self.checks, self.timing, self.events = opened
            self._event(file_version="brain.Event:2")
            self._event(step=step, session_log=started)
            self.opened = stack.pop_all()
        self.verdict, self.is_open = "", False
        self.began = self.shown = time.monotonic()
        self.first: tuple[int, float] | None = None  # the step and time from which the rate counts: not the compilation

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error: Any) -> None:
        self.clear()
        self.opened.__exit__(*error)

    def row(self, step: int, values: dict[str, Any]) -> None:
        """Nothing; writes one row, and its numbers as curves."""
        values = {name: _plain(value) for name, value in values.items()}
        line = _line({"step": step} | values)
        _append(self.metrics, line)
        _append(self.checks, files.check(line))
        numbers = {name.replace(".", "/"): value for name, value in values.items() if isinstance(value, (int, float))}
        curves = [summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._event(step=step, summary=summary_pb2.Summary(value=curves))
        if "loss" in values:
            seconds, rate = round(time.monotonic() - self.began, 3), self.rate(step)
            _append(self.timing, _line({"step": step, "loss": values["loss"], "seconds": seconds, "rate": rate}))

    def sync(self) -> None:
        """Nothing; the rows lie on the disk itself, before a checkpoint that is resumed without them."""
        for file in (self.metrics, self.checks):
            os.fsync(file.fileno())

    def _event(self, **fields: Any) -> None:
        """Nothing; writes one record of TensorBoard's: length, its checksum, content, its checksum."""
        content = event_pb2.Event(wall_time=time.time(), **fields).SerializeToString()
        parts = [struct.pack("<Q", len(content)), content]
        checked = [part + struct.pack("<I", record_writer.masked_crc32c(part)) for part in parts]
        _append(self.events, b"".join(checked))

    def pictures(self, step: int, since: float) -> None:
        """Nothing; TensorBoard has the maps and renders of the first shape whose pictures were written since that time."""
        for kind in ("maps", "renders"):
            files = sorted((self.folder / "images").glob(f"*_{kind}.png"))
            content = next((file.read_bytes() for file in files if file.stat().st_mtime >= since), None)
            if content is not None:
                width, height = struct.unpack(">II", content[16:24])  # of a PNG's first chunk
                picture = summary_pb2.Summary.Image(
                    height=height, width=width, colorspace=4, encoded_image_string=content
                )
                self._event(
                    step=step, summary=summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=kind, image=picture)])
                )

    def diagnosis(self, step: int, figures: dict[str, Any], judged: Any) -> None:
        """Nothing; writes a row of diagnostics (numbers that are not finite as null); progress tells a verdict on."""
        self.verdict = "" if judged.name == "NOT-CERTIFIABLE" else judged.name  # nothing to judge is told once
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
        left = "" if rate is None else f"  {rate:.3g} steps/s  {progress.clock((self.steps - step) / rate)} left"
        judged = f"  {self.verdict}" if self.verdict else ""
        text = f"step {step}/{self.steps}  loss {loss:.4g}{judged}{left}"
        start, end = ("\r", "\n" if is_last else "\x1b[K") if is_terminal else ("", "\n")
        self.is_open = is_terminal and not is_last
        print(start + text, end=end, file=self.stream, flush=True)

    def clear(self) -> None:
        """Nothing; takes the line of progress from the terminal: other lines follow."""
        if self.is_open:
            print("\r\x1b[K", end="", file=self.stream, flush=True)
        self.is_open = False


def _append(file: io.BufferedWriter, content: bytes) -> None:
    file.write(content)
    file.flush()


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _plain(value: Any) -> Any:
    """A number for JSON; a float32 by the shortest text that reads back as itself."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return float(str(np.float32(value)))
