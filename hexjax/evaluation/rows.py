"""Where an evaluation lies, and what it keeps while it goes: a row for each shape that is done, and a line of progress.

A run's own evaluation (its settings, its data, the step where it ended) has RUN/scores.json; any other has a folder
RUN/evaluations/LABEL/ with its own scores.json, meshes/ and images/: `step-200`, and after it each key that differs from
the run's and a digest of all that does. So has an earlier end of the run, its scores alone.
"""

import contextlib
import fnmatch
import hashlib
import json
import math
import pathlib
import re
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

import hexjax
from hexjax import names, progress, rules
from hexjax.training import record
from hexjax.types import Item, Scores

FILE, APART = "rows.jsonl", "rows.evaluate.jsonl"  # of a run's own evaluation, which others may go beside
NOT_SCORED = ("name", "train.*", "log.*", "checkpoint.*", "validate.*", "*.every_steps", "optimiser.*", "sample.*", "export.*",
              "evaluate.pictures", "evaluate.baselines", "diagnostics.on_collapse", "data.cached")  # fmt: skip
TRAINED, HELD_OUT = "train", "test"  # parts of a split
WORST = 10  # held-out shapes that are named, and shown
INTERVALS = ("f_score_0.01", "f_score_0.02", "cd_l1", "normal_consistency")  # scores whose intervals are told
REPEATS = 2000  # of the bootstrap
MOST = 100  # letters of a label, its digest apart


def scored(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The keys that scores depend on, and their values; data by the names of their files."""
    leaves = rules.flatten(config) | {"data.path": names.place_names(config.data.path)}
    return {key: value for key, value in leaves.items() if not any(fnmatch.fnmatch(key, one) for one in NOT_SCORED)}


def digest(items: Sequence[Item]) -> str:
    """SHA-256 of the shapes: their names, their meshes in the frame, and the way there."""
    found = hashlib.sha256()
    for item in items:
        found.update(repr(item.name).encode())
        for leaf in jax.tree.leaves((item.mesh, item.similarity)):
            found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def place(
    folder: pathlib.Path, config: ml_collections.ConfigDict, own: ml_collections.ConfigDict, step: int | None, data: str
) -> pathlib.Path:
    """The folder of an evaluation of the run in `folder`: the run's own, or evaluations/LABEL in it.

    Args:
        own: the run's config. data: the digest of the shapes, compared with that in the run's scores, if it has some.
    """
    before, mine = read(folder / "scores.json"), scored(own)
    known = (before.get("settings") or {}).get("digest")
    different = {key: value for key, value in scored(config).items() if mine.get(key) != value}
    if known == data:  # the same shapes from elsewhere
        different = {key: value for key, value in different.items() if not key.startswith("data.")}
    elif known is not None:
        different |= {"data": data[:8]}
    if not different and (not before or (before["mode"] in ("evaluate", "judge") and before.get("step") == step)):
        return folder
    return folder / "evaluations" / label(step, different)


def label(step: int | None, different: dict[str, Any]) -> str:
    """The name of an evaluation's folder."""
    parts = ["ceiling" if step is None else f"step-{step}", *(f"{key}={value}" for key, value in different.items())]
    text = re.sub(r"[^\w.=+-]+", "-", "-".join(parts), flags=re.ASCII)[:MOST].rstrip("-.")
    return f"{text}~{_mark(different)}" if different else text


def _mark(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def keep_earlier(folder: pathlib.Path, step: int | None, settings: Scores, count: int) -> None:
    """Nothing; scores that are to be replaced are kept in a folder of theirs, but where the same are made again.

    Args:
        settings, count: of the new scores, and how many shapes they have.
    """
    before = read(folder / "scores.json")
    if not before.get("items"):  # none yet, or of a run that stopped
        return
    had = before.get("settings"), len(before["items"])
    if before.get("step") != step:
        record.keep_scores(folder, label(before.get("step"), {}))
    elif had != (settings, count):
        record.keep_scores(folder, label(step, {"earlier": _mark(had)}))


class Rows:
    """The rows of an evaluation's shapes, each on the disk as soon as it is there, and the line that tells how far it is.

    An evaluation that was cut short goes on from them, where what it is `of` is the same: parameters, settings, shapes,
    version; each with a checksum, and those from the first damaged one on are made again. Within it (`with`), an error
    tells where they lie.
    """

    def __init__(self, folder: pathlib.Path, of: Any, count: int, name: str = FILE):
        self.file, self.found, self.line = folder / name, [], progress.Line(count, "shapes scored")
        head = {
            "of": hashlib.sha256(json.dumps([hexjax.__version__, of], sort_keys=True, default=str).encode()).hexdigest()
        }
        before = kept(self.file)
        if before and before[0] == head:
            self.found = before[1:]
        if self.found:
            print(f"{len(self.found)} of {count} shapes are there from before, in {self.file}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        record.write_atomically(self.file, b"".join(map(_line, (head, *self.found))))

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.line.clear()
        if kind is not None and self.found:
            told = f"{len(self.found)} of {self.line.total} shapes are done; the same evaluation goes on from them"
            print(f"{told}: {self.file}", file=sys.stderr)

    def add(self, row: Scores) -> None:
        """Nothing; the row is on the disk."""
        with self.file.open("ab") as file:
            file.write(_line(row))
        self.found.append(row)
        self.line.update(len(self.found))


def kept(file: pathlib.Path) -> list[Scores]:
    """What a file of `Rows` holds up to the first damaged line: what it is `of`, and after it the rows; none without it."""
    found = [_row(line) for line in file.read_bytes().splitlines(keepends=True)] if file.is_file() else []
    return found[: found.index(None) if None in found else None]


def _line(row: Scores) -> bytes:
    """A row's line: JSON with a checksum of its text."""
    text = json.dumps(row, allow_nan=False)
    return b'{"crc": "%08x", "row": %s}\n' % (zlib.crc32(text.encode()), text.encode())


def _row(line: bytes) -> Scores | None:
    """The row of a line; None where it is damaged."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        row = json.loads(line)["row"]
        return row if line == _line(row) else None
    return None


def chosen(parts: Sequence[str], most: int) -> list[int]:
    """Places of the shapes that an evaluation takes: the first so many of each part (0: all), which is trained or held out.

    Shapes that only validate are left out, but where nothing is held out.
    """
    asked = (TRAINED, HELD_OUT, "new") if HELD_OUT in parts else tuple(dict.fromkeys(parts))
    if HELD_OUT not in parts:
        return list(range(len(parts)))[: most or None]
    return [i for part in asked for i in [i for i, each in enumerate(parts) if each == part][: most or None]]


def summaries(rows: Sequence[Scores], seed: int) -> Scores:
    """Mean, median and `topology` of the held-out shapes, or all where none are held out; and where some are, more of them.

    `parts`: of each part the number of shapes, the same, and the 95 % interval of the mean by bootstrap over shapes;
    `categories`: the same of the held-out shapes of each; `worst`: the held-out shapes of the lowest F@0.02, worst first.
    """
    held = [row for row in rows if row.get("part") == HELD_OUT]
    found = _middles(held or rows)
    if not held:
        return found
    parts = {
        part: [row for row in rows if row.get("part") == part] for part in dict.fromkeys(row["part"] for row in rows)
    }
    categories = {
        name: [row for row in held if row.get("category") == name]
        for name in sorted({row.get("category", "") for row in held})
    }
    found["parts"] = {name: _of(part, seed) for name, part in parts.items()}
    if len(categories) > 1:
        found["categories"] = {name: _of(part, seed) for name, part in categories.items()}
    found["worst"] = [row["name"] for row in sorted(held, key=lambda row: row["f_score_0.02"])[:WORST]]
    return found


def _of(rows: Sequence[Scores], seed: int) -> Scores:
    draws = np.random.default_rng(seed).integers(0, len(rows), (REPEATS, len(rows)))
    bounds = {}
    for name in INTERVALS:
        values = np.array([row[name] for row in rows], np.float64)
        bounds[name] = [float(bound) for bound in np.quantile(values[draws].mean(1), (0.025, 0.975))]
    return {"shapes": len(rows)} | _middles(rows) | {"interval": bounds}


def _middles(rows: Sequence[Scores]) -> Scores:
    return {"mean": summary(rows, np.mean), "median": summary(rows, np.median), "topology": topology(rows)}


def topology(rows: Sequence[Scores]) -> Scores:
    """Of how many `shapes` the genus is within 1 of the ceiling's, and of how many the number of parts is the ceiling's.

    A shape counts for `genus_within_1` only where both have a genus, for `same_components` only where both have a surface.
    """
    pairs = [(row, row["ceiling"]) for row in rows]
    genera = [(row.get("genus"), best.get("genus")) for row, best in pairs]
    within = sum(None not in both and abs(both[0] - both[1]) <= 1 for both in genera)
    same = sum(row["components"] == best["components"] > 0 for row, best in pairs)
    return {"shapes": len(rows), "genus_within_1": within, "same_components": same}


def summary(rows: Sequence[Scores], reduce: Callable[[list[float]], float]) -> Scores:
    """Every number of the rows, reduced over those that have it (None where none has), and the same under `ceiling`."""
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values and isinstance(values[0], dict):
            found[name] = summary(values, reduce)
        elif not any(isinstance(value, str | bool) for value in values):
            found[name] = float(reduce(values)) if values else None
    return found


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite become None."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(file: pathlib.Path) -> Scores:
    """The scores that lie there; none where they cannot be read."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "mode" in found else {}
