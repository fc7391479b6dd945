"""The ledger: another's file is never touched, ours is whole or not there; and stems are one to one everywhere."""

import errno
import os
import unicodedata

import hypothesis
import pytest
from hypothesis import strategies

from hexjax.evaluation import written
from hexjax.training import files, record

NAMES = ["头", "脸", "a b", "a-b", "a_b", "A.B", "a.b", "A", "a", "sub/x", "sub+x", "sub-x", "x", "x_ceiling", "x_Ceiling",
         "sample_00", "Sample_00", "con", "CON", "con.x", "nul_maps", "x.", "x..", "-x", ".x", "..", "", " ", "t\u00eate",
         "te\u0302te", "stra\u00dfe", "strasse", "a" * 246, "A" * 246, "\u5934" * 246, "\ufb01n", "fin", "\udcff", "x\u034f",
         "x~12345678", "x (2)", "\u0130", "i\u0307", "$x_{", "a/b/c", "a//b", "/a"]  # fmt: skip
ENDINGS = (".ply", "_ceiling.ply", "_maps.png", "_renders.png", "_unseen.png", ".npz", " (2).ply")


def folded(name: str) -> str:
    """What a file system sees that knows neither case nor composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def assert_one_to_one(names: set[str]) -> None:
    """All files of all shapes, and our own beside them, are different files, and safe ones."""
    for folder, endings in {"meshes": (0, 1, 6), "images": (2, 3, 4), "latents": (5,)}.items():
        files = [written.stem(name) + ENDINGS[i] for name in names for i in endings]
        files += {"meshes": [f"sample_{i:02d}.ply" for i in (0, 7, 123)], "images": ["loss.png", "samples.png"]}.get(
            folder, []
        )
        assert len({folded(file) for file in files}) == len(files)
    for name in names:
        stem = written.stem(name)
        assert stem == unicodedata.normalize("NFC", stem)
        assert len(stem.encode()) <= 200
        assert stem[0] not in ".-+ "
        assert stem[-1] not in ". "
        assert not set(stem) & set('/\\:*?"<>|\0\n\t $')
        assert written.DEVICES.fullmatch(stem.casefold()) is None


def test_stems_are_one_to_one():
    assert_one_to_one(set(NAMES))


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
@hypothesis.given(
    strategies.sets(
        strategies.text(max_size=12)
        | strategies.text(alphabet="aAbB \u00e9\u0301e\u00c9-_./~+0", max_size=5)
        | strategies.sampled_from(NAMES),
        max_size=12,
    )
)
def test_stems_of_any_names_are_one_to_one(names):
    assert_one_to_one(names)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("head_0001", "head_0001"), ("头", "头"), ("t\u00eate", "t\u00eate"), ("02691156/1a04e3/model", "02691156+1a04e3+model"),
     ("a b", "a-b~c8687a08"), ("Suzanne", "Suzanne~d3d291ec"), ("x_ceiling", "x_ceiling~693af81b"), ("con", "_con~1143da2b")],
)  # fmt: skip
def test_stems_can_be_read(name, stem):
    assert written.stem(name) == stem


def test_a_file_of_the_users_is_neither_written_over_nor_deleted(tmp_path, capsys):
    mine = tmp_path / "meshes" / "ball.ply"
    mine.parent.mkdir()
    ledger = written.Ledger(tmp_path)
    mine.write_text("mine")
    for data in (b"one", b"two"):
        assert ledger.put("meshes/ball.ply", data) == mine.with_name("ball (2).ply")
    assert (mine.read_text(), mine.with_name("ball (2).ply").read_bytes()) == ("mine", b"two")
    told = "meshes/ball.ply is not what this run wrote there: it stays; ours is meshes/ball (2).ply\n"
    assert capsys.readouterr().err == 2 * told
    ledger.delete("meshes/ball.ply")
    assert [file.name for file in mine.parent.iterdir()] == ["ball.ply"]
    ledger.delete("meshes/ball.ply")
    ledger.delete("meshes/none.ply")
    assert mine.read_text() == "mine"


def test_ours_is_written_over_and_deleted_by_a_later_process_and_once_it_is_changed_it_is_the_users(tmp_path):
    first = written.Ledger(tmp_path).put("meshes/头.ply", b"one")
    assert written.Ledger(tmp_path).put("meshes/头.ply", b"two") == first
    assert first.read_bytes() == b"two"
    with (tmp_path / written.FILE).open("ab") as file:
        file.write(b"torn\xff")
    first.write_bytes(b"two and a remark")
    assert written.Ledger(tmp_path).put("meshes/头.ply", b"three").name == "头 (2).ply"
    first.write_bytes(b"one")  # an older one of ours, put back
    written.Ledger(tmp_path).delete("meshes/头.ply")
    assert not first.exists()


def test_a_full_disk_leaves_the_old_file_and_no_torn_one(tmp_path, monkeypatch):
    ledger = written.Ledger(tmp_path)
    file = ledger.put("latents/ball.npz", b"old")

    def full(number):
        os.ftruncate(number, 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    for place in ("latents/ball.npz", "latents/new.npz"):
        with pytest.raises(OSError, match="No space left on device"):
            ledger.put(place, b"newer")
    assert {one.name: one.read_bytes() for one in file.parent.iterdir()} == {"ball.npz": b"old"}
    monkeypatch.undo()
    assert ledger.put("latents/ball.npz", b"newer") == file


def test_a_folder_or_a_dead_link_in_the_way_stays(tmp_path):
    (tmp_path / "ball.ply").mkdir()
    (tmp_path / "ball (2).ply").symlink_to("nowhere")
    assert written.Ledger(tmp_path).put("ball.ply", b"one").name == "ball (3).ply"


def test_a_torn_line_of_the_ledger_costs_no_later_file(tmp_path):
    written.Ledger(tmp_path).put("meshes/a.ply", b"a")
    with (tmp_path / written.FILE).open("ab") as file:
        file.write(b"0123  mesh")  # a full disk
    written.Ledger(tmp_path).put("meshes/b.ply", b"b")
    later = written.Ledger(tmp_path)
    assert later.owns("meshes/a.ply")
    assert later.owns("meshes/b.ply")


def test_a_run_made_before_the_ledger_is_told_of_once_in_each_evaluation(tmp_path, capsys):
    run = tmp_path / "run"
    for place in ("meshes/a.ply", "images/a.png"):
        (run / place).parent.mkdir(parents=True)
        (run / place).write_text("earlier")
    for data in (b"one", b"two"):
        ledger = written.Ledger(run)
        assert [ledger.put(f"meshes/{name}.ply", data).name for name in "ab"] == ["a (2).ply", "b.ply"]
        assert ledger.put("images/a.png", data).name == "a (2).png"
        told = "run: made before hexjax kept written.sha256: earlier files stay, new ones are named (2)\n"
        assert capsys.readouterr().err == told
    assert (run / "meshes" / "a.ply").read_text() == "earlier"
    assert (run / "meshes" / "a (2).ply").read_bytes() == b"two"


def test_what_a_killed_process_left_half_written_goes_when_the_run_goes_on(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files.pathlib.Path, "unlink", kill)
        patch.setattr(files.os, "fsync", lambda number: None)
        patch.setattr(files.pathlib.Path, "replace", kill)
        for folder in (tmp_path, tmp_path / "evaluations" / "step-1"):
            for place in ("meshes/a.ply", "images/a.png", "latents/a.npz"):
                with pytest.raises(Killed):
                    written.Ledger(folder).put(place, b"half")
    left = lambda: [*tmp_path.glob("**/.*.tmp")]
    assert len(left()) == 6
    (tmp_path / "meshes" / ".notes.tmp").touch()  # none of ours
    record.write_header(tmp_path, "", "{}", "")
    assert [file.name for file in left()] == [".notes.tmp"]
