"""Files of a run that bear faults of the machine: written whole or not at all, and rows that tell what is damaged.

A row is one JSON object in a line, `step` first. Beside metrics.jsonl, metrics.crc has a line for each of its rows.
"""

import difflib
import json
import os
import pathlib
import re
import sys
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

METRICS = "metrics.jsonl"
CHECK = re.compile(rb"[0-9a-f]{8} (\d+) (step|else)\n")  # a line of metrics.crc


def write_atomically(file: pathlib.Path, content: str | bytes) -> None:
    """Nothing; the file holds either its old content or the new one, whatever happens, a loss of power included."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as opened:
            opened.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_rows(file: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl or timing.jsonl, [] without the file; those that are damaged are left out, told in a line."""
    found = _read(file)
    if found.told:
        print(f"{file.parent.name}/{file.name}: {found.told}; the others are read", file=sys.stderr)
    return [row for row, _ in found.rows]


def rewind(file: pathlib.Path, step: int, again: tuple[str, ...] = ("",)) -> None:
    """Nothing; drops from a file of rows what a run resumed at `step` will write again, and a torn last line.

    That is every row after `step`, and those at `step` that come before the step they precede: whose names begin with one
    of `again`. Damaged rows are told and dropped as well; the file as it was is kept then, as NAME.damaged-N.
    """
    if not file.exists() and not file.with_suffix(".crc").exists():
        return
    found = _read(file, step)
    if found.told:
        kept = file.with_name(f"{file.name}.damaged-{len(list(file.parent.glob(file.name + '.damaged-*')))}")
        write_atomically(kept, file.read_bytes() if file.exists() else b"")
        print(f"{file.name}: {found.told}; the others stay, the file as it was is {kept.name}", file=sys.stderr)
    rows = [(row, line) for row, line in found.rows if row["step"] <= step]
    rows = [line for row, line in rows if row["step"] < step or "loss" in row or not any(map(_begins(again), row))]
    if file.name == METRICS:  # before the rows: rows that are not known yet are taken as they are
        write_atomically(file.with_suffix(".crc"), b"".join(map(check, rows)))
    write_atomically(file, b"".join(rows))


def check(line: bytes) -> bytes:
    """The line of checks for a row: CRC-32, step, and whether the row is a step's own."""
    row = _row(line) or {"step": 0}
    return f"{zlib.crc32(line):08x} {row['step']} {'step' if 'loss' in row else 'else'}\n".encode()


def _begins(prefixes: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda name: name != "step" and name.startswith(prefixes)


class _Rows(NamedTuple):
    rows: list[tuple[dict[str, Any], bytes]]  # each with its line
    told: str  # what is damaged; nothing where all is well


def _read(file: pathlib.Path, step: int | None = None) -> _Rows:
    """The good rows of a file. With a step, missing rows that a run resumed there writes again are not told.

    A row is damaged if it is no row, or another than its line of checks says. Rows that a killed run wrote before their
    checks, and those of runs without checks, are taken as they are.
    """
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    checks = file.with_suffix(".crc")
    known = checks.read_bytes().splitlines(keepends=True) if file.name == METRICS and checks.exists() else []
    known = known[:-1] if known and not known[-1].endswith(b"\n") else known
    damaged, missing = _compare([check(line) for line in lines], known)
    if lines and not lines[-1].endswith(b"\n") and len(lines) > len(known):
        lines.pop()  # torn as it was written
    rows = [(number, _row(line), line) for number, line in enumerate(lines)]
    places = [str(number + 1) for number, row, _ in rows if row is None or number in damaged]
    lost = sum(step is None or _is_kept(check, step) for check in missing)
    told = [f"damaged rows: {len(places)} (line {', '.join(places[:5])}{', ...' * (len(places) > 5)})"] * bool(places)
    told += [f"missing rows: {lost}"] * bool(lost)
    return _Rows(
        [(row, line) for number, row, line in rows if row is not None and number not in damaged],
        ", ".join(told),
    )


def _compare(own: list[bytes], known: list[bytes]) -> tuple[set[int], list[bytes]]:
    """Places of lines whose checks are not the known ones, and the known checks whose lines are missing."""
    damaged, missing = set(), []
    if own[: len(known)] == known:
        return damaged, missing
    for kind, a, b, c, d in difflib.SequenceMatcher(None, known, own, autojunk=False).get_opcodes():
        if kind == "equal" or a == len(known):  # lines after the last known one
            continue
        pairs = min(b - a, d - c)
        unknown = {c + i for i in range(pairs) if CHECK.fullmatch(known[a + i]) is None}  # the check itself is damaged
        damaged |= set(range(c, d)) - unknown
        missing += known[a + pairs : b]
    return damaged, missing


def _row(line: bytes) -> dict[str, Any] | None:
    """The row of a line, or None where it is none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None


def _is_kept(check: bytes, step: int) -> bool:
    """Whether a run resumed at `step` does not write the row of a check again."""
    known = CHECK.fullmatch(check)
    return known is None or int(known[1]) < step or (int(known[1]) == step and known[2] == b"step")
