"""A run goes on with the data it began with; other data are refused or told."""

import json
import re

import numpy as np
import pytest

from hexjax.training import fingerprint
from hexjax.types import Item, Mesh, Similarity
from tests import shapes

NO_MOVE = Similarity(1.0, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


def item(name: str, size: float) -> Item:
    mesh = Mesh(*(np.asarray(part) for part in shapes.sphere(size, 1)[:2]))
    return Item(name, mesh, mesh, NO_MOVE)


ITEMS = [item("a", 0.5), item("sub/头", 0.6), item("c", 0.7)]


@pytest.fixture
def run(tmp_path):
    """The folder of a run on ITEMS."""
    folder = tmp_path / "run"
    (folder / "checkpoints" / "2").mkdir(parents=True)
    fingerprint.keep(ITEMS, folder)
    return folder


def test_same_data_pass_in_silence_and_the_record_stays(run, capsys):
    before = (run / "data.json").read_bytes()
    for trains in (True, False):
        fingerprint.check(ITEMS, run, trains, is_made=False)
    fingerprint.keep(ITEMS[:1], run)
    assert (run / "data.json").read_bytes() == before
    assert [name for name, _ in json.loads(before)["shapes"]] == ["a", "sub/头", "c"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([ITEMS[0], item("sub/头", 0.61), ITEMS[2]], "changed sub/头"),
        ([*ITEMS, item("d", 1.0)], "added d"),
        (ITEMS[:2], "removed c"),
        ([ITEMS[1], ITEMS[0], ITEMS[2]], "in another order"),
        ([item("a", 0.9), *[item(f"n{i}", 1.0) for i in range(5)]],
         "changed a; added n0, n1, n2 and 2 more; removed sub/头, c"),
    ],
)  # fmt: skip
def test_training_on_other_data_is_refused_in_one_line(run, items, told, capsys):
    text = f"{run} is trained on other data than config.data gives now: {told}; "
    text += "accepted: the data as they were, or a new --workdir"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        fingerprint.check(items, run, trains=True, is_made=False)
    fingerprint.check(items, run, trains=True, is_made=True)
    assert capsys.readouterr().err == f"the shapes are not those that run was trained on: {told}\n"


def test_reading_a_run_tells_of_other_shapes_under_its_names_alone(run, capsys):
    fingerprint.check([item("new", 0.2), ITEMS[2]], run, trains=False, is_made=False)
    assert capsys.readouterr().err == ""
    fingerprint.check([item("new", 0.2), item("c", 0.71)], run, trains=False, is_made=False)
    assert capsys.readouterr().err == "the shapes are not those that run was trained on: changed c\n"


def test_one_vertex_and_one_face_change_a_digest():
    one = ITEMS[0]
    vertices, faces = one.source.vertices.copy(), one.source.faces.copy()
    vertices[3, 1] = np.nextafter(vertices[3, 1], 2, dtype=np.float32)
    faces[5] = faces[5][::-1]
    others = [one._replace(source=one.source._replace(vertices=vertices))]
    others += [one._replace(source=one.source._replace(faces=faces))]
    assert len({fingerprint.of([each])[0][1] for each in (one, *others)}) == 3


def test_a_shape_stands_to_a_run_by_name_and_mesh(run, tmp_path):
    given = [ITEMS[2], item("c", 0.71), item("new", 0.5), ITEMS[0], ITEMS[0]]
    new = ("new", None)
    assert fingerprint.standings(given, run) == [("train", 2), new, new, ("train", 0), ("train", 0)]
    assert fingerprint.standings([], run) == []
    assert fingerprint.standings(ITEMS, tmp_path) == [new] * 3  # no record
    assert fingerprint.trained(run) == fingerprint.of(ITEMS)
    (run / fingerprint.FILE).write_text("{}", encoding="utf-8")
    assert fingerprint.standings(ITEMS, run) == [new] * 3


def test_a_split_stands_in_the_record_and_only_what_trains_has_a_place(tmp_path):
    fingerprint.keep(ITEMS, tmp_path, ((2, 0), (), (1,)), "digest")
    assert fingerprint.standings(ITEMS, tmp_path) == [("train", 0), ("test", None), ("train", 1)]
    assert fingerprint.trained(tmp_path) == fingerprint.of([ITEMS[0], ITEMS[2]])
    assert fingerprint.read(tmp_path) == fingerprint.of(ITEMS)
    damaged = (tmp_path / fingerprint.FILE).read_text(encoding="utf-8").replace('"test"', '"train"')
    (tmp_path / fingerprint.FILE).write_text(damaged, encoding="utf-8")
    assert fingerprint.read(tmp_path) is None


def test_run_without_a_record_and_with_a_damaged_one_go_on_with_a_line(run, capsys):
    content = (run / "data.json").read_bytes()
    (run / "data.json").unlink()
    fingerprint.check(ITEMS[:1], run, trains=True, is_made=False)
    told = "run has no record of its data: these are taken to be those it began with\n"
    assert capsys.readouterr().err == told
    for damaged in (content[:-9], content.replace(b"a", b"b", 1), b"", b"[]", b"\xff"):
        (run / "data.json").write_bytes(damaged)
        assert fingerprint.read(run) is None
        assert capsys.readouterr().err == "run/data.json is damaged: whether the data are the run's own is not known\n"
    fingerprint.keep(ITEMS, run)
    assert (run / "data.json").read_bytes() == content


def test_a_training_on_another_split_is_refused_in_a_line(tmp_path):
    fingerprint.keep(ITEMS, tmp_path, ((2, 0), (), (1,)), "digest-of-one")
    fingerprint.check(ITEMS, tmp_path, True, False, "digest-of-one")
    for split, now in (("", "none"), ("another-one", "another-")):
        with pytest.raises(ValueError) as error:
            fingerprint.check(ITEMS, tmp_path, True, False, split)
        assert str(error.value) == (
            f"{tmp_path} is trained on the split digest-o of its shapes, and config.data gives {now} now; accepted: shapes "
            "and categories as they were, or a new --workdir"
        )
    fingerprint.check(ITEMS, tmp_path, False, False)  # only read


def test_shapes_made_in_code_stand_by_their_names(run):
    other = [item("a", 0.61), ITEMS[1]]
    assert [each.place for each in fingerprint.standings(other, run)] == [None, 1]
    assert [each.place for each in fingerprint.standings(other, run, is_made=True)] == [0, 1]
