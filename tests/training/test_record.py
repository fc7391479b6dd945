"""Run folders, rows that survive a kill, and the progress line."""

import concurrent.futures
import hashlib
import io
import json
import os
import random
import re
import struct
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import image
from tensorboardX import record_writer
from tensorboardX.proto import event_pb2

from hexjax.diagnostics import verdict
from hexjax.training import files, record
from hexjax.types import Spec

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


def test_thousandth_folder_and_those_after_it(tmp_path):
    for name in ("998-ae", "999-ae"):
        (tmp_path / name).mkdir()
    assert [record.new_folder(tmp_path, "ae").name for _ in range(2)] == ["1000-ae", "1001-ae"]
    names = [folder.name for folder in sorted(tmp_path.iterdir(), key=record.order)]
    assert names == ["998-ae", "999-ae", "1000-ae", "1001-ae"]


def test_folders_made_at_once_have_numbers_of_their_own(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: record.new_folder(tmp_path, f"ae{number}"), range(40)))
    assert sorted(record.order(folder)[0] for folder in made) == list(range(1, 41))


def test_header_names_command_commit_versions_and_device_without_absolute_paths(tmp_path):
    mesh = tmp_path / "head.ply"
    record.write_header(tmp_path / "run", "python launch.py --workdir=run", '{"seed": 1}\n', str(mesh))
    record.write_header(tmp_path / "run", "python launch.py --workdir=run", None, "")
    text = (tmp_path / "run" / "command.txt").read_text()
    assert re.fullmatch(
        r"(command: python launch\.py --workdir=run\ncommit: .+\nversions: python .+, jax .+\n"
        r"device: 1 x .+, \d+ of \d+ CPU cores\n\n){2}",
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


SPEC = Spec(
    {"mask": jax.ShapeDtypeStruct((6, 8, 8), np.bool_), "item": jax.ShapeDtypeStruct((), np.int32)}, 3, ("a", "b 头")
)


def test_a_spec_comes_back_as_it_was_and_there_need_be_none(tmp_path):
    assert record.read_spec(tmp_path) is None
    record.write_spec(tmp_path, SPEC)
    assert record.read_spec(tmp_path) == SPEC
    text = (tmp_path / "spec.json").read_bytes()
    record.write_spec(tmp_path, record.read_spec(tmp_path))
    assert (tmp_path / "spec.json").read_bytes() == text
    assert [file.name for file in tmp_path.iterdir()] == ["spec.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-9],
        lambda text: text.replace(b'"bool"', b'"bowl"'),
        lambda text: text.replace(b'"shapes": 3', b'"shapes": 7'),
        lambda text: text.replace(b'"shapes"', b'"shades"'),
        lambda text: text.replace(b'"digest"', b'"digits"'),
        lambda text: text.replace(b'"a"', b'"c"'),
        lambda text: text.replace(b"8", b"9"),
        lambda text: b"[]",
        lambda text: b"{}",
        lambda text: b"\xff",
        lambda text: b"",
    ],
)
def test_a_damaged_spec_is_refused_in_a_line(tmp_path, damage):
    record.write_spec(tmp_path, SPEC)
    file = tmp_path / "spec.json"
    whole, damaged = file.read_bytes(), damage(file.read_bytes())
    assert damaged != whole
    file.write_bytes(damaged)
    told = f"{tmp_path.name}/spec.json is damaged; accepted: as it was written; without it, it is made anew of the data"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        record.read_spec(tmp_path)


@pytest.mark.parametrize("where", ["around", "its own"])
def test_commit_is_that_of_hexjax_alone(tmp_path, monkeypatch, where):
    top = tmp_path / "theirs" / "site" if where == "around" else tmp_path / "theirs"
    (top / "hexjax" / "training").mkdir(parents=True)
    (top / "hexjax" / "training" / "record.py").touch()
    git = ["git", "-c", "user.name=they", "-c", "user.email=they@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "theirs"]):
        subprocess.run([*git, *words], cwd=tmp_path / "theirs", check=True)
    monkeypatch.setattr(record, "__file__", str(top / "hexjax" / "training" / "record.py"))
    assert re.fullmatch("unknown" if where == "around" else "[0-9a-f]{12}", record.commit())


def test_rewind_drops_what_will_be_written_again_and_a_torn_line(tmp_path):
    file = tmp_path / "metrics.jsonl"
    expected = {0: [], 1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 2, 3, 4]}
    for torn in ("", '{"step": 4, "lo'):
        for step, kept in expected.items():
            file.write_text(ROWS + torn)
            files.rewind(file, step)
            lines = ROWS.splitlines(keepends=True)
            assert file.read_text() == "".join(lines[index] for index in kept)
    assert {item.name for item in tmp_path.iterdir()} == {"metrics.jsonl", "metrics.crc"}


def write_rows(folder) -> list[bytes]:
    """The lines of metrics.jsonl of ten steps, two of them with a validation."""
    with record.Log(folder, 0, 10, io.StringIO()) as log:
        for step in range(10):
            log.row(step, {"loss": 1 / (step + 1), "kl": 3.5})
            if step % 5 == 0:
                log.row(step, {"validation.loss": 2.0})
    return (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)


def test_flipped_bits_and_cuts_never_pass_in_silence(tmp_path, capsys):
    lines, draw, file = write_rows(tmp_path), random.Random(0), tmp_path / "metrics.jsonl"
    whole, checks = [json.loads(line) for line in lines], (tmp_path / "metrics.crc").read_bytes()
    for turn in range(200):
        content = bytearray(b"".join(lines))
        place = draw.randrange(8 * len(content))
        if turn % 4:
            content[place // 8] ^= 1 << place % 8
        else:
            del content[place // 8 :]
        file.write_bytes(content)
        (tmp_path / "metrics.crc").write_bytes(checks)
        found, told = record.read_rows(file), capsys.readouterr().err
        assert all(row in whole for row in found)
        assert len(found) < len(lines)
        form = r"(damaged rows: \d \(line \d+(, \d+)?\)(, )?)?(missing rows: \d+)?; the others are read\n"
        assert re.fullmatch(f"{tmp_path.name}/metrics.jsonl: {form}", told)
        files.rewind(file, 5)
        told, kept = capsys.readouterr().err, file.read_bytes()
        assert kept == b"".join(lines[:7]) or told.count("\n") == 1
        assert all(line in lines for line in kept.splitlines(keepends=True))
        record.read_rows(file)
        assert capsys.readouterr().err == ""
        for old in tmp_path.glob("*.damaged-*"):
            assert old.read_bytes() == bytes(content)
            old.unlink()


def test_damaged_and_missing_rows_are_told_and_the_old_file_is_kept(tmp_path, capsys):
    lines, file = write_rows(tmp_path), tmp_path / "metrics.jsonl"
    content = b"".join([lines[0], lines[1], lines[2].replace(b"0.5", b"0.6"), lines[3], b"\xff\n", *lines[6:]])
    file.write_bytes(content)
    assert len(record.read_rows(file)) == len(lines) - 3
    told = "damaged rows: 2 (line 3, 5), missing rows: 1"
    assert capsys.readouterr().err == f"{tmp_path.name}/metrics.jsonl: {told}; the others are read\n"
    files.rewind(file, 9)
    told = f"metrics.jsonl: {told}; the others stay, the file as it was is metrics.jsonl.damaged-0\n"
    assert capsys.readouterr().err == told
    assert (tmp_path / "metrics.jsonl.damaged-0").read_bytes() == content


def test_rows_that_are_gone_with_their_file_are_told(tmp_path, capsys):
    write_rows(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    files.rewind(tmp_path / "metrics.jsonl", 2)
    told = "metrics.jsonl: missing rows: 4; the others stay, the file as it was is metrics.jsonl.damaged-0\n"
    assert capsys.readouterr().err == told


def test_rows_without_checks_are_read_as_they_are_and_damaged_checks_harm_no_row(tmp_path, capsys):
    lines, file = write_rows(tmp_path), tmp_path / "metrics.jsonl"
    checks = (tmp_path / "metrics.crc").read_bytes()
    for content in (b"", checks[:30], b"x" + checks[1:]):
        (tmp_path / "metrics.crc").write_bytes(content)
        assert len(record.read_rows(file)) == len(lines)
    (tmp_path / "metrics.crc").unlink()
    assert len(record.read_rows(file)) == len(lines)
    assert record.read_rows(tmp_path / "none.jsonl") == []
    assert capsys.readouterr().err == ""
    (tmp_path / "timing.jsonl").write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": \x80}\n[1]\n{"st')
    assert record.read_rows(tmp_path / "timing.jsonl") == [{"step": 1, "loss": 2.0}]
    assert capsys.readouterr().err == (
        f"{tmp_path.name}/timing.jsonl: damaged rows: 2 (line 2, 3); the others are read\n"
    )


def events_in(folder):
    content, events = next(folder.glob("events.out.tfevents.*")).read_bytes(), []
    while content:
        size = struct.unpack("<Q", content[:8])[0]
        assert struct.unpack("<I", content[8:12])[0] == record_writer.masked_crc32c(content[:8])
        body = content[12 : 12 + size]
        assert struct.unpack("<I", content[12 + size : 16 + size])[0] == record_writer.masked_crc32c(body)
        events.append(event_pb2.Event.FromString(body))
        content = content[16 + size :]
    return events


def test_events_are_tensorboards_records_written_before_a_row_returns(tmp_path):
    with record.Log(tmp_path, 5, 10, io.StringIO()) as log:
        log.row(6, {"loss": 0.5, "validation.kl": 2, "verdict": "HEALTHY", "none": None})
        version, start, row = events_in(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (5, event_pb2.SessionLog.START)
    assert (row.step, {each.tag: each.simple_value for each in row.summary.value}) == (
        6, {"loss": 0.5, "validation/kl": 2.0}
    )  # fmt: skip


def test_pictures_of_an_evaluation_are_images_of_tensorboard_and_earlier_ones_are_not(tmp_path):
    (tmp_path / "images").mkdir()
    for name, size in (("a_maps", (4, 3)), ("b_maps", (2, 2)), ("a_renders", (5, 1)), ("loss", (7, 7))):
        image.imsave(tmp_path / "images" / f"{name}.png", np.zeros((size[1], size[0], 3)))
    now = (tmp_path / "images" / "loss.png").stat().st_mtime
    os.utime(tmp_path / "images" / "a_renders.png", (now, now - 100))
    with record.Log(tmp_path, 5, 10, io.StringIO()) as log:
        log.pictures(7, now - 50)
        log.pictures(8, now + 50)
        found = events_in(tmp_path)[2:]
    assert [(event.step, each.tag) for event in found for each in event.summary.value] == [(7, "maps")]
    picture = found[0].summary.value[0].image
    assert (picture.width, picture.height) == (4, 3)
    assert picture.encoded_image_string == (tmp_path / "images" / "a_maps.png").read_bytes()


def test_config_and_its_digest_change_together_whenever_the_run_is_killed(tmp_path, monkeypatch):
    def is_known():
        content = (tmp_path / "config.json").read_bytes()
        return hashlib.sha256(content).hexdigest() in (tmp_path / "config.sha256").read_text()

    record.write_header(tmp_path, "", '{"seed": 1}\n', "")
    assert (tmp_path / "config.sha256").read_text() == hashlib.sha256(b'{"seed": 1}\n').hexdigest() + "  config.json\n"
    write, seen = files.write_atomically, []
    monkeypatch.setattr(record, "write_atomically", lambda *given: (write(*given), seen.append(is_known())))
    record.write_header(tmp_path, "", '{"seed": 2}\n', "")
    assert seen == [True, True, True]
    assert (tmp_path / "config.sha256").read_text().count("\n") == 1


def test_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "scores.json"
    record.write_atomically(file, "头\udcff")  # a byte of a file's name that is no UTF-8
    assert file.read_bytes() == "头".encode() + b"\xff"
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device$"):
        record.write_atomically(file, b"new")
    assert [item.name for item in tmp_path.iterdir()] == ["scores.json"]
    assert file.read_bytes() == "头".encode() + b"\xff"


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


@pytest.mark.parametrize("damage", ["", "torn", "[]", '"text"'])
def test_a_verdict_is_written_where_the_scores_are_damaged(tmp_path, damage):
    (tmp_path / "scores.json").write_text(damage)
    record.write_verdict(tmp_path, verdict.Verdict("EXPLODED", "why", ("non-finite",)))
    told = {"verdict": "EXPLODED", "verdict_reason": "why", "verdict_tags": ["non-finite"]}
    assert json.loads((tmp_path / "scores.json").read_text()) == {"mode": "stopped", "items": []} | told


def test_a_command_is_one_line_of_command_txt(tmp_path):
    record.write_header(tmp_path, "launch.py '--config.name=a\nb'", "{}", "")
    assert (tmp_path / "command.txt").read_text().startswith("command: launch.py '--config.name=a\\nb'\ncommit: ")


def test_the_line_of_progress_is_gone_before_other_lines(tmp_path):
    stream = Terminal()
    with record.Log(tmp_path, 0, 3, stream) as log:
        log.clear()
        assert stream.getvalue() == ""
        for step in (1, 2):
            log.shown = -1e9
            log.progress(step, 0.5)
            if step == 1:
                log.clear()
                log.clear()
    told = re.sub(r"  \S+ steps/s  .*? left", "", stream.getvalue())
    assert told == "\rstep 1/3  loss 0.5\x1b[K\r\x1b[K\rstep 2/3  loss 0.5\x1b[K\r\x1b[K"
