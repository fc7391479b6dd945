"""Run folders, rows that survive a kill, and the progress line."""

import io
import json
import os
import re

import jax.numpy as jnp
import numpy as np

from hexjax.training import record

ROWS = (
    '{"step": 0, "validation.loss": 1.5}\n'
    '{"step": 1, "loss": 1.0}\n'
    '{"step": 2, "loss": 0.5}\n'
    '{"step": 2, "validation.loss": 0.4}\n'
    '{"step": 3, "loss": 0.3}\n'
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_folders_are_numbered_one_above_the_highest(tmp_path):
    (tmp_path / "007-old").mkdir()
    (tmp_path / "notes").mkdir()
    names = [record.new_folder(tmp_path, "ae").name for _ in range(3)]
    assert names == ["008-ae", "009-ae", "010-ae"]


def test_header_names_command_commit_versions_and_device_without_absolute_paths(tmp_path):
    mesh = tmp_path / "head.ply"
    record.write_header(tmp_path / "run", "python launch.py --workdir=run", '{"seed": 1}\n', str(mesh))
    record.write_header(tmp_path / "run", "python launch.py --workdir=run", None, "")
    text = (tmp_path / "run" / "command.txt").read_text()
    assert re.fullmatch(
        r"(command: python launch\.py --workdir=run\ncommit: .+\nversions: python .+, jax .+\ndevice: 1 x .+\n\n){2}",
        text,
    )
    assert "/" not in text.replace("launch.py", "")
    assert (tmp_path / "run" / "config.json").read_text() == '{"seed": 1}\n'
    assert (tmp_path / "run" / "checkpoints" / "data_path.txt").read_text() == str(mesh.resolve())


def test_header_takes_any_name_and_keeps_those_of_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.obj", "a\udcff.obj", "頭.obj"):
        (tmp_path / name).symlink_to("nothing")
        record.write_header(tmp_path / "run", f"python launch.py {name}", "{}", name)
        text = (tmp_path / "run" / "checkpoints" / "data_path.txt").read_bytes()
        assert text == os.fsencode(tmp_path / name)
    told = (tmp_path / "run" / "command.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in told if line.startswith("command")] == [
        "command: python launch.py a,b.obj",
        r"command: python launch.py a\udcff.obj",
        "command: python launch.py 頭.obj",
    ]


def test_rewind_drops_what_will_be_written_again_and_a_torn_line(tmp_path):
    file = tmp_path / "metrics.jsonl"
    expected = {0: [], 1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 2, 3, 4]}
    for torn in ("", '{"step": 4, "lo'):
        for step, kept in expected.items():
            file.write_text(ROWS + torn)
            record.rewind(file, step)
            lines = ROWS.splitlines(keepends=True)
            assert file.read_text() == "".join(lines[index] for index in kept)
    assert [item.name for item in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_rows_have_the_step_first_no_times_and_exact_float32(tmp_path):
    with record.Log(tmp_path, 0, 10, io.StringIO()) as log:
        log.row(3, {"loss": np.float32(0.1), "parts": jnp.float32(1 / 3), "failed": None})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"step": 3, "loss": 0.1, "parts": 0.33333334, "failed": null}\n'
    assert np.float32(json.loads(text)["parts"]) == np.float32(1 / 3)
    assert list(json.loads((tmp_path / "timing.jsonl").read_text())) == ["step", "loss", "seconds", "rate"]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_progress_is_plain_lines_where_there_is_no_terminal(tmp_path):
    stream = io.StringIO()
    with record.Log(tmp_path, 0, 3, stream, seconds=0.0) as log:
        for step in (1, 2, 3):
            log.progress(step, 0.25)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 1/3  loss 0.25"
    assert re.fullmatch(r"step 2/3  loss 0\.25  \S+ steps/s  0:00 left", lines[1])
    assert len(lines) == 3


def test_progress_is_told_seldom_and_at_the_end(tmp_path):
    stream = io.StringIO()
    with record.Log(tmp_path, 0, 3, stream, seconds=1e9) as log:
        for step in (1, 2, 3):
            log.progress(step, 0.25)
    assert stream.getvalue().startswith("step 3/3  loss 0.25")
    assert stream.getvalue().count("\n") == 1


def test_progress_overwrites_one_line_on_a_terminal(tmp_path):
    stream = Terminal()
    with record.Log(tmp_path, 0, 2, stream) as log:
        log.shown = -1e9
        log.progress(1, 0.5)
        log.progress(2, 0.25)
    assert stream.getvalue().startswith("\rstep 1/2  loss 0.5\x1b[K\rstep 2/2  loss 0.25")
    assert stream.getvalue().count("\n") == 1
