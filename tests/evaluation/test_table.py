"""Tables are made from run folders, and the README's are what would be made now."""

import json
import pathlib
import re

import pytest

from hexjax.evaluation import table

ROOT = pathlib.Path(__file__).parent.parent.parent
HALVES = ("f_score_0.01", "f_score_0.02", "precision_0.01", "recall_0.01", "recall_seen_0.01", "unseen_share", "cd_l1",
          "v_iou", "normal_consistency")  # fmt: skip
ITEM = {"name": "head", "f_score_0.005": None, "watertight": True, "components": 1, "euler": 2, "failed": False}
ITEM |= dict.fromkeys(HALVES, 0.5)


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
    return tmp_path / "results"


def test_a_row_of_runs_stands_beside_its_ceiling(results):
    lines = table.runs(table.read(results)).splitlines()
    assert len(lines) == 3
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [
        "001-small", "2", "300", "0.250 (0.500)", "0.250 (0.500)", "250.000 (500.000)", "0.250 (0.500)",
        "0.250 (0.500)", "1 of 2", "1,000", "16", "1,234,567", "5.00", "cpu: cpu",
    ]  # fmt: skip
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")


def test_a_row_of_the_ceiling_is_a_shape(results):
    lines = table.ceiling(table.read(results)).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith(
        "| 002-small-ceiling | head | 0.500 | 0.500 | 0.500 | 0.500 | – | 0.500 | 0.500 | 500.000 |"
    )
    assert lines[2].endswith("| yes | 1 | 2 |")


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
        ["001-small", "2", "HEALTHY", "no witness", "12", "2,333", "99", "7", "1.500 [2.080]", "0.800 [0.500]",
         "0.250 (0.500)"],
        ["003-unfinished", "–", "EXPLODED", "non-finite", *["–"] * 7],
    ]  # fmt: skip


def test_only_what_stands_between_markers_is_replaced_and_twice_is_once(results, tmp_path):
    text = (
        "before\n<!-- table:runs -->\nold\n<!-- /table:runs -->\n"
        "between\n<!-- table:ceiling -->\n<!-- /table:ceiling -->\nend"
    )
    file = tmp_path / "README.md"
    file.write_text(text)
    assert table.main([str(results), "--into", str(file)]) == 0
    once = file.read_text()
    table.main([str(results), "--into", str(file)])
    assert file.read_text() == once
    read = table.read(results)
    assert once == (
        f"before\n<!-- table:runs -->\n{table.runs(read)}<!-- /table:runs -->\nbetween\n"
        f"<!-- table:ceiling -->\n{table.ceiling(read)}<!-- /table:ceiling -->\nend"
    )


def test_an_unknown_table_is_refused(results):
    text = "<!-- table:pictures -->\n<!-- /table:pictures -->"
    message = "a marker names the table 'pictures'; tables: runs, ceiling, vae, verdicts"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        table.fill(text, table.read(results))


def test_tables_are_printed_without_a_file(results, capsys):
    assert table.main([str(results)]) == 0
    assert table.runs(table.read(results)) in capsys.readouterr().out


def test_the_tables_of_the_readme_are_those_of_the_results():
    text = (ROOT / "README.md").read_text()
    if not table.MARKED.search(text):
        pytest.skip("README.md has no table markers yet")
    assert table.fill(text, table.read(ROOT / "results")) == text
