"""Tables are made from run folders, and the README's are what would be made now."""

import json
import pathlib
import re
import shutil

import pytest

from hexjax.evaluation import page, table
from tests import own

ROOT = pathlib.Path(__file__).parent.parent.parent
HALVES = ("f_score_0.01", "f_score_0.02", "precision_0.01", "recall_0.01", "recall_seen_0.01", "unseen_share", "cd_l1",
          "v_iou", "normal_consistency")  # fmt: skip
ITEM = {"name": "head", "f_score_0.005": None, "watertight": True, "components": 1, "euler": 2, "failed": False}
CHANGED = "`data.path=heads,b.obj` `sdf.weight=0`"
ITEM |= dict.fromkeys(HALVES, 0.5)


def fill(text, results):
    return page.fill(text, "table", table.TABLES, results, table.chosen)


@pytest.fixture
def results(tmp_path):
    """A folder of a trained run, a ceiling, and a run without scores."""
    mean = dict.fromkeys(HALVES, 0.25)
    trained = {
        "mode": "evaluate", "step": 300, "items": [ITEM | {"failed": True}, ITEM], "mean": mean | {"ceiling": ITEM},
        "latent_floats": 1000, "latent_bits": 16000, "parameters": 1234567, "device": "cpu: cpu",
        "seconds": {"encode": 1.0, "decode": 2.0, "field": 3.0, "polygonise": 4.0, "score": 99.0},
    }  # fmt: skip
    for name, scores in {"001-small": trained, "002-small-ceiling": {"mode": "ceiling", "items": [ITEM]}}.items():
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "scores.json").write_text(json.dumps(scores))
    (tmp_path / "results" / "003-unfinished").mkdir()
    command = (
        "python launch.py --config=ae.py:small --config.data.path=../a/heads,b.obj --config.sdf.weight 0 --mode=train"
    )
    (tmp_path / "results" / "001-small" / "command.txt").write_text(f"command: {command}\ncommit: 1\n")
    return tmp_path / "results"


def test_a_row_of_runs_stands_beside_its_ceiling(results):
    lines = table.runs(table.read(results)).splitlines()
    assert len(lines) == 3
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [
        "001-small", CHANGED, "2", "300", "0.250 (0.500)", "0.250 (0.500)", "250.000 (500.000)", "0.250 (0.500)",
        "0.250 (0.500)", "1 of 2", "1,000", "16", "1,234,567", "cpu: cpu",
    ]  # fmt: skip
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")


def test_of_many_names_that_a_command_gives_the_first_is_told(results):
    for count, told in ((6, str(tuple("abcdef"))), (30, "('shape_00', ...29 more)")):
        many = tuple("abcdef") if count == 6 else tuple(f"shape_{number:02d}" for number in range(count))
        (results / "001-small" / "command.txt").write_text(f'command: python launch.py "--config.data.names={many}"\n')
        assert f"| `data.names={told}` |" in table.runs(table.read(results))


def test_a_row_of_the_ceiling_is_a_shape(results):
    lines = table.ceiling(table.read(results)).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| 002-small-ceiling | head | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 | 500.000 |")
    assert lines[2].endswith("| yes | 1 | 2 |")  # made before the genus was told


def test_genus_and_parts_stand_in_the_tables_of_runs_that_tell_them(results):
    trained, best = (results / name / "scores.json" for name in ("001-small", "002-small-ceiling"))
    best.write_text(json.dumps({"mode": "ceiling", "items": [ITEM | {"genus": 0}, ITEM | {"euler": 1, "genus": None}]}))
    counted = {"topology": {"shapes": 2, "genus_within_1": 1, "same_components": 2}}
    part = {"shapes": 2, "mean": dict.fromkeys(HALVES, 0.25) | {"ceiling": ITEM}} | counted
    trained.write_text(json.dumps(json.loads(trained.read_text()) | counted | {"parts": {"test": part}}))

    found = table.read(results)
    head = "| genus within 1 of the ceiling's | components as the ceiling |"
    for make, ends in (
        (table.ceiling, ("| Euler | genus |", "| 2 | 0 |", "| 1 | – |")),
        (table.unseen, (head, "| 1 of 2 | 2 of 2 |", "| – | – |")),
        (table.runs, (head, "| 0.250 (0.500) | 1 of 2 | 2 of 2 | 1 of 2 |")),
    ):
        lines = make(found).splitlines()
        del lines[1]
        assert len(lines) == len(ends)
        for line, end in zip(lines, ends):
            assert end in line if make is table.runs else line.endswith(end)


def test_held_out_shapes_stand_under_the_trained_ones_over_their_ceiling_and_what_no_learning_gives(results):
    file = results / "001-small" / "scores.json"
    told = {
        "shapes": 3,
        "mean": dict.fromkeys(HALVES, 0.25) | {"ceiling": ITEM},
        "interval": {"f_score_0.01": [0.2, 0.3]},
    }
    plain = {"mean": dict.fromkeys(HALVES, 0.125)}
    parts = {"parts": {"train": told, "test": told | {"shapes": 2}}, "baselines": {"nearest": plain, "pca": plain}}
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.unseen(table.read(results)).splitlines()
    ]
    assert [line[2:6] for line in lines[2:]] == [
        ["train: the model", "3", "0.250 [0.200, 0.300]", "0.250"],
        ["train: ceiling", "3", "0.500", "0.500"],
        ["test: the model", "2", "0.250 [0.200, 0.300]", "0.250"],
        ["test: ceiling", "2", "0.500", "0.500"],
        ["test: nearest training shape, told by an oracle", "2", "0.125", "0.125"],
        ["test: PCA", "2", "0.125", "0.125"],
    ]


def test_a_row_of_verdicts_is_a_run_that_was_judged_stopped_ones_too(results):
    figures = {"kl": 12.0, "gain": 2345.0, "swap_gap": 99.4, "information": 1.5, "information_ceiling": 2.08,
               "iou": 0.8, "iou_constant": 0.5}  # fmt: skip
    file = results / "001-small" / "scores.json"
    judged = {"verdict": "HEALTHY", "verdict_tags": ["no witness"], "active_units": 7, "diagnostics": figures}
    file.write_text(json.dumps(json.loads(file.read_text()) | judged))
    stopped = {"mode": "stopped", "items": [], "verdict": "EXPLODED", "verdict_tags": ["non-finite"]}
    (results / "003-unfinished" / "scores.json").write_text(json.dumps(stopped))
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.verdicts(table.read(results)).splitlines()
    ]
    assert rows[2:] == [
        ["001-small", CHANGED, "2", "HEALTHY", "no witness", "12", "2,333", "99", "7", "1.500 [2.080]", "0.800 [0.500]",
         "0.250 (0.500)"],
        ["003-unfinished", "–", "–", "EXPLODED", "non-finite", *["–"] * 7],
    ]  # fmt: skip


def test_seconds_to_mesh_are_those_of_shapes_that_say_they_hold_no_compilation(results):
    file = results / "001-small" / "scores.json"
    scores = json.loads(file.read_text())
    assert "seconds to mesh" not in table.runs(
        table.read(results)
    )  # the sum over all is not told: it may hold compilation
    stages = [{"encode": 50.0, "decode": 9.0, "score": 9.0}, {"encode": 0.1, "decode": 0.2, "field": 0.3, "score": 9.0}]
    both = zip(scores["items"], stages, (True, False))
    scores["items"] = [item | {"seconds": seconds, "compiled": compiled} for item, seconds, compiled in both]
    file.write_text(json.dumps(scores))
    head, _, row = (line.split(" | ") for line in table.runs(table.read(results)).splitlines())
    assert row[head.index("seconds to mesh")] == "0.60"
    scores["items"] = scores["items"][:1]
    file.write_text(json.dumps(scores))
    assert "seconds to mesh" not in table.runs(table.read(results))


def test_a_marker_shows_the_runs_it_names_whatever_lies_beside_them(results, capsys):
    text = "<!-- table:brief 001-small -->\n<!-- /table:brief -->"
    made = fill(text, table.read(results))
    assert "| 001-small |" in made
    for name, kind in {"000-mine": "evaluate", "004-my-ceiling": "ceiling"}.items():
        (results / name).mkdir()
        scores = json.loads((results / "001-small" / "scores.json").read_text())
        (results / name / "scores.json").write_text(json.dumps(scores | {"mode": kind}))
    (results / "005-broken").mkdir()
    (results / "005-broken" / "scores.json").write_text('{"mode": ')
    assert fill(made, table.read(results)) == made
    told = "Expecting value: line 1 column 10 (char 9)"
    assert capsys.readouterr().err == f"table: 005-broken cannot be read and is left out: {told}\n"
    assert "000-mine" in fill("<!-- table:brief -->\n<!-- /table:brief -->", table.read(results))


def test_a_damaged_row_costs_its_run_nothing_else(results, capsys):
    rows = [{"step": 1, "kl": 2.0}, {"step": 2, "kl": 3.0}]
    lines = [json.dumps(rows[0]), '{"step": 1, "k', json.dumps(rows[1]), ""]
    (results / "001-small" / "metrics.jsonl").write_text("\n".join(lines))
    assert dict(table.read(results))["001-small"]["kl"] == rows
    assert capsys.readouterr().err == "001-small/metrics.jsonl: damaged rows: 1 (line 2); the others are read\n"


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("scores.json", '{"items": []}', "scores.json has no mode or no items"),
        ("scores.json", "[]", "scores.json has no mode or no items"),
        ("metrics.jsonl", '{"step": 0, "validation.kl": 1.0}\n', "no 'validation.kl_per_float'"),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_of_what_is_printed_and_refused_for_a_page(
    results, tmp_path, capsys, file, text, told
):
    (results / "001-small" / file).write_text(text)
    assert table.main([str(results)]) == 0
    assert capsys.readouterr().err == f"table: 001-small cannot be read and is left out: {told}\n"
    (page := tmp_path / "page.md").write_text("<!-- table:ceiling -->\n<!-- /table:ceiling -->")
    assert table.main([str(results), "--into", str(page)]) == 2
    assert capsys.readouterr().err == f"table: 001-small cannot be read: {told}; no page is written without it\n"
    assert page.read_text() == "<!-- table:ceiling -->\n<!-- /table:ceiling -->"


def test_runs_stand_in_the_order_of_their_numbers(results):
    for name in ("999-a", "1000-a", "998-b"):
        (results / name).mkdir()
        (results / name / "metrics.jsonl").write_text("")
    assert [name for name, _ in table.read(results)] == ["001-small", "002-small-ceiling", "998-b", "999-a", "1000-a"]


@pytest.mark.parametrize(
    ("folder", "text", "message"),
    [
        ("results", "<!-- table:runs 009-x -->\n<!-- /table:runs -->",
         "page.md: a marker names the run '009-x', which is not there; accepted: names of run folders"),
        ("results", "<!-- table:pictures -->\n<!-- /table:pictures -->",
         "page.md: a marker names the table 'pictures'; tables: runs, brief, ceiling, vae, verdicts, unseen"),
        ("results", "no marker",
         "page.md: no marker of table; accepted: a line <!-- table:NAME -->, and after it <!-- /table:NAME -->"),
        ("resluts", "<!-- table:runs -->\nold\n<!-- /table:runs -->",
         "{folder} is no folder with runs in it; accepted: the folder that holds them, results/"),
        ("results/001-small", "<!-- table:runs -->\nold\n<!-- /table:runs -->",
         "{folder} is no folder with runs in it; accepted: the folder that holds them, results/"),
        ("results", None, "page.md is no file; accepted: pages with markers"),
    ],
)  # fmt: skip
def test_a_mistyped_folder_or_page_is_refused_and_the_page_stays(results, tmp_path, capsys, folder, text, message):
    file, given = tmp_path / "page.md", results.parent / folder
    if text is not None:
        file.write_text(text)
    assert table.main([str(given), "--into", str(file)]) == 2
    assert capsys.readouterr().err == f"table: {message.format(folder=given)}\n"
    assert (file.read_text() if file.exists() else None) == text


def test_tables_are_printed_without_a_file(results, capsys):
    assert table.main([str(results)]) == 0
    assert table.runs(table.read(results)) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_the_tables_of_the_pages_are_those_of_the_runs_they_name(name, tmp_path):
    text = (ROOT / name).read_text(encoding="utf-8")
    named = sorted({run for words in re.findall(r"<!-- table:[\w-]+(.*?) -->", text) for run in words.split()})
    assert named
    assert not re.findall(r"<!-- table:[\w-]+ -->", text)  # would show a user's runs too
    if told := own.foreign(ROOT, *(f"results/{run}" for run in named)):
        pytest.skip(told)
    for run in named:
        (tmp_path / run).mkdir()
        for file in filter(pathlib.Path.is_file, (ROOT / "results" / run / name for name in table.FILES)):
            shutil.copy(file, tmp_path / run / file.name)
    stranger = tmp_path / "032-ae_continuous-small"  # what the README's first command leaves
    shutil.copytree(tmp_path / "030-ae_continuous-small", stranger)
    assert fill(text, table.read(tmp_path)) == text
    assert fill(text, table.read(ROOT / "results")) == text
