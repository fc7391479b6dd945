"""Where evaluations lie, what they keep while they go, and the line that tells how far they are."""

import json

import numpy as np
import pytest

from hexjax.evaluation import rows
from tests.evaluation import toys


def of_run(folder, **scores):
    """A run's scores.json."""
    folder.mkdir(exist_ok=True)
    given = {"mode": "evaluate", "step": 4, "settings": {"digest": "d1"}, "items": [{}], "verdict": "HEALTHY"} | scores
    (folder / "scores.json").write_text(json.dumps(given))
    return folder


def changed(**values):
    config = toys.config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in values.items()})
    return config


def test_the_same_evaluation_once_more_is_the_runs_own(tmp_path):
    own = toys.config()
    assert rows.place(tmp_path, own, own, 4, "d1") == tmp_path  # it has no scores yet
    of_run(tmp_path)
    assert rows.place(tmp_path, own, own, 4, "d1") == tmp_path
    unread = changed(train__steps=9, log__every_steps=3, sample__count=5, evaluate__pictures=0, evaluate__every_steps=1)
    assert rows.place(tmp_path, unread, own, 4, "d1") == tmp_path
    moved = changed(data__path="/elsewhere/heads", data__count=0)
    assert rows.place(tmp_path, moved, own, 4, "d1") == tmp_path  # the same shapes


@pytest.mark.parametrize(
    ("values", "step", "digest", "label"),
    [
        ({}, 6, "d1", "step-6"),
        ({"extract__grid": 65}, 4, "d1", "step-4-extract.grid=65~"),
        ({"data__path": "/a/b/my heads,c.ply", "data__count": 0}, 4, "d2",
         "step-4-data.count=0-data.path=my-heads-c.ply-data=d2~"),
        ({}, 4, "d2", "step-4-data=d2~"),
        ({"evaluate__shapes": 2}, 4, "d1", "step-4-evaluate.shapes=2~"),
        ({"data__path": "x" * 240}, 4, "d2", "step-4-data.path=" + "x" * 83 + "~"),
    ],
)  # fmt: skip
def test_any_other_evaluation_has_a_folder_of_its_own(tmp_path, values, step, digest, label):
    of_run(tmp_path)
    found = rows.place(tmp_path, changed(**values), toys.config(), step, digest)
    assert found.parent == tmp_path / "evaluations"
    assert found.name[: len(label)] == label
    assert len(found.name) == len(label) + 8 * ("~" in label)
    assert rows.place(tmp_path, changed(**values), toys.config(), step, digest) == found


def test_other_data_of_the_same_name_have_another_folder(tmp_path):
    of_run(tmp_path)
    (tmp_path / "old").mkdir()
    of_run(tmp_path / "old", settings={"grid": 33})  # made before digests were kept
    assert (
        rows.place(tmp_path / "old", changed(data__path="/d/heads"), toys.config(), 4, "d1").name[:21]
        == "step-4-data.path=head"
    )
    places = {rows.place(tmp_path, changed(data__path=f"/{d}/heads"), toys.config(), 4, d) for d in ("d2", "d3")}
    assert len(places) == 2


def test_a_run_that_stopped_keeps_its_verdict(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps({"mode": "stopped", "items": [], "verdict": "COLLAPSED"}))
    assert rows.place(tmp_path, toys.config(), toys.config(), 4, "d1") == tmp_path / "evaluations" / "step-4"


def test_scores_of_an_earlier_end_are_kept(tmp_path):
    of_run(tmp_path)
    text, same = (tmp_path / "scores.json").read_text(), ({"digest": "d1"}, 1)
    rows.keep_earlier(tmp_path, 4, *same)
    assert not (tmp_path / "evaluations").exists()
    rows.keep_earlier(tmp_path, 6, *same)
    assert (tmp_path / "evaluations" / "step-4" / "scores.json").read_text() == text
    (tmp_path / "scores.json").write_text("torn")
    rows.keep_earlier(tmp_path, 8, *same)
    assert [file.name for file in (tmp_path / "evaluations").iterdir()] == ["step-4"]


@pytest.mark.parametrize("step", [4, None], ids=["run", "ceiling"])
@pytest.mark.parametrize(
    "new", [({"digest": "d2"}, 1), ({"digest": "d1"}, 3), ({"grid": 9, "digest": "d1"}, 1)], ids=str
)
def test_scores_of_other_settings_shapes_or_data_of_the_same_step_are_kept(tmp_path, new, step):
    text = (of_run(tmp_path, step=step) / "scores.json").read_text()
    rows.keep_earlier(tmp_path, step, *new)
    (kept,) = (tmp_path / "evaluations").iterdir()
    assert kept.name.startswith("ceiling-earlier=" if step is None else "step-4-earlier=")
    assert (kept / "scores.json").read_text() == text
    (tmp_path / "scores.json").write_text(text.replace("HEALTHY", "EXPLODED"))
    rows.keep_earlier(tmp_path, step, *new)
    assert (kept / "scores.json").read_text() == text  # what is kept stays


def test_the_digest_of_shapes_knows_names_meshes_and_units():
    ball = toys.item()
    other = [
        ball._replace(name="b"),
        toys.item("ball", toys.sphere(subdivisions=2)),
        toys.item("ball", toys.sphere(2.0)),
    ]
    assert rows.digest([ball]) == rows.digest([toys.item()])
    assert len({rows.digest([item]) for item in (ball, *other)}) == 4
    assert rows.digest([ball, ball]) != rows.digest([ball])


def test_rows_go_on_where_they_were_cut_and_not_with_anything_else(tmp_path, capsys):
    first = rows.Rows(tmp_path, "this", 3)
    with first:
        first.add({"name": "a", "头": 1})
    with pytest.raises(KeyboardInterrupt), first:
        raise KeyboardInterrupt
    file = tmp_path / "rows.jsonl"
    told = f"1 of 3 shapes are done; the same evaluation goes on from them: {file}\n"
    assert capsys.readouterr().err == told
    with file.open("ab") as lines:
        lines.write(b'{"name": "torn')
    again = rows.Rows(tmp_path, "this", 3)
    assert again.found == [{"name": "a", "头": 1}]
    assert capsys.readouterr().err == f"1 of 3 shapes are there from before, in {file}\n"
    again.add({"name": "b"})
    assert [json.loads(line)["row"] for line in file.read_text().splitlines()][1:] == again.found
    assert rows.Rows(tmp_path, "another", 3).found == []
    assert len(file.read_text().splitlines()) == 1


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_row_and_those_behind_it_are_made_again(tmp_path, seed):
    course, given = rows.Rows(tmp_path, "this", 3), [{"name": name, "x": 0.1} for name in "abc"]
    for row in given:
        course.add(row)
    damaged, random = bytearray(course.file.read_bytes()), np.random.default_rng(seed)
    damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
    course.file.write_bytes(damaged)
    found = rows.Rows(tmp_path, "this", 3).found
    assert found == given[: len(found)] != given


def test_no_rows_are_no_rows(tmp_path, capsys):
    (tmp_path / "rows.jsonl").touch()
    assert rows.Rows(tmp_path, "this", 3).found == []
    assert capsys.readouterr().err == ""


def test_an_evaluation_tells_how_far_it_is(tmp_path, capsys):
    with rows.Rows(tmp_path, "this", 3) as course:
        course.line.seconds = 0  # as if some had passed
        for name in "abc":
            course.add({"name": name})
    told = ["shapes scored 1/3", "shapes scored 2/3  0:00 left", "shapes scored 3/3  0:00 left"]
    assert capsys.readouterr().err.splitlines() == told


def test_summary_stands_what_no_shape_has():
    found = [{"v_iou": None, "ceiling": {"v_iou": None}}, {"v_iou": 0.5, "ceiling": {"v_iou": None}}]
    assert rows.summary(found, np.mean) == {"v_iou": 0.5, "ceiling": {"v_iou": None}}


def test_a_shape_counts_for_its_handles_and_parts_only_where_it_and_its_ceiling_have_them():
    told = [  # genus and parts of a shape, and of its ceiling; both failed in the last
        ((0, 1), (0, 1)), ((3, 2), (2, 1)), ((3, 1), (5, 1)), ((None, 1), (0, 1)), ((0, 1), (None, 1)), ((None, 0),) * 2,
    ]  # fmt: skip
    named = lambda both: dict(zip(("genus", "components"), both))
    found = [named(own) | {"ceiling": named(best)} for own, best in told]
    counted = {"shapes": 6, "genus_within_1": 2, "same_components": 4}
    scores = rows.summaries(found, 0)
    assert scores["topology"] == rows.topology(found) == rows.topology(found[::-1]) == counted
    assert (scores["mean"]["genus"], scores["median"]["genus"]) == (1.5, 1.5)
    assert (scores["mean"]["ceiling"]["genus"], scores["mean"]["ceiling"]["components"]) == (1.75, 5 / 6)


def test_rows_from_before_genus_was_told_have_none():
    found = [{"components": 1, "ceiling": {"components": 1}}]
    assert rows.topology(found) == {"shapes": 1, "genus_within_1": 0, "same_components": 1}
