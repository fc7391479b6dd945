"""The command: tables for every source, written between markers or printed, and refusals."""

import pathlib

import pytest

from hexjax.evaluation import page as pages
from hexjax.evaluation.laboratory import __main__ as command
from hexjax.evaluation.laboratory import overall, plots, results, tables
from tests import own
from tests.evaluation.laboratory import toys

ROOT = pathlib.Path(__file__).parent.parent.parent.parent


def test_every_source_has_its_rows(tmp_path):
    toys.write_everything(tmp_path)
    toys.write_everything(tmp_path, "shapes+heads")
    known = results.read(tmp_path)
    for name in ("cause", "latents", "recipe", "dose", "witness", "priors"):
        text = command.TABLES[name](known)
        assert text.count("solids: at most") == text.count("shapes+heads: at most") > 0, name
        assert len(toys.rows_of(text)) % 2 == 0, name
    for name in ("overview", "pairs", "thresholds", "preflight"):
        rows = toys.rows_of(command.TABLES[name](known))
        assert sum("solids" in row for row in rows) == sum("shapes+heads" in row for row in rows) == len(rows) / 2, name


def test_tables_have_as_many_cells_in_every_row(tmp_path):
    toys.write_everything(tmp_path)
    known = results.read(tmp_path)
    for name, make in command.TABLES.items():
        for text in make(known).split("\n\n"):
            assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) <= 1, name


def test_without_results_every_table_says_what_is_missing(tmp_path):
    known = results.read(tmp_path)
    for name, make in command.TABLES.items():
        assert make(known).startswith("Missing: "), name
    assert plots.draw(known, tmp_path / "images") == []


def test_only_what_stands_between_markers_is_replaced_and_twice_is_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plots, "draw", lambda _, folder: [f"{folder.name} are not drawn"])  # test_plots has them
    toys.write_everything(tmp_path / "collapse")
    pages = [tmp_path / name for name in ("collapse.md", "README.md")]
    pages[0].write_text("a\n<!-- lab:cause -->\nold\n<!-- /lab:cause -->\nb <!-- lab:pairs -->\n<!-- /lab:pairs -->\n")
    pages[1].write_text("<!-- lab:preflight -->\n<!-- /lab:preflight -->")
    given = [str(tmp_path / "collapse"), "--into", *map(str, pages)]
    assert command.main(given) == 0
    assert capsys.readouterr().err == "images are not drawn\n"
    once = [page.read_text() for page in pages]
    assert command.main(given) == 0
    assert [page.read_text() for page in pages] == once
    known = results.read(tmp_path / "collapse")
    assert once[0] == (
        f"a\n<!-- lab:cause -->\n\n{tables.cause(known)}\n<!-- /lab:cause -->\n"
        f"b <!-- lab:pairs -->\n\n{overall.pairs(known)}\n<!-- /lab:pairs -->\n"
    )
    assert overall.preflight(known) in once[1]


def test_an_unknown_table_is_refused_and_no_page_is_changed(tmp_path, capsys):
    toys.write_cell(tmp_path / "collapse", "collapse_cause", toys.CELL, [toys.make_run(0)])
    pages = [tmp_path / "a.md", tmp_path / "b.md"]
    pages[0].write_text("<!-- lab:cause -->\n<!-- /lab:cause -->")
    pages[1].write_text("<!-- lab:effect -->\n<!-- /lab:effect -->")
    before = [page.read_text() for page in pages]
    assert command.main([str(tmp_path / "collapse"), "--into", *map(str, pages)]) == 2
    assert capsys.readouterr().err == (
        f"laboratory: b.md: a marker names the table 'effect'; tables: {', '.join(command.TABLES)}\n"
    )
    assert [page.read_text() for page in pages] == before


def test_a_page_that_is_not_there_and_a_folder_without_cells_are_refused(tmp_path, capsys):
    toys.write_everything(tmp_path / "collapse")
    assert command.main([str(tmp_path / "collapse"), "--into", str(tmp_path / "page.md")]) == 2
    assert capsys.readouterr().err == "laboratory: page.md is no file; accepted: pages with markers\n"
    page = tmp_path / "page.md"
    page.write_text("<!-- lab:cause -->\nold\n<!-- /lab:cause -->")
    assert command.main([str(tmp_path), "--into", str(page)]) == 2
    message = f"laboratory: {tmp_path} holds no cell of a sweep; accepted: results/collapse\n"
    assert capsys.readouterr().err == message
    assert page.read_text() == "<!-- lab:cause -->\nold\n<!-- /lab:cause -->"
    assert not (tmp_path / "images").exists()


def test_tables_are_printed_without_a_page(tmp_path, capsys):
    toys.write_everything(tmp_path)
    assert command.main([str(tmp_path)]) == 0
    assert tables.cause(results.read(tmp_path)) in capsys.readouterr().out
    assert not (tmp_path / "images").exists()


def test_the_tables_of_the_evidence_are_those_of_the_results():
    if told := own.foreign(ROOT, "results/collapse"):
        pytest.skip(told)
    text = (ROOT / "docs" / "collapse_evidence.md").read_text(encoding="utf-8")
    assert pages.fill(text, "lab", command.TABLES, results.read(ROOT / "results" / "collapse")) == text
