"""What the benchmarks tell: the pages' tables are those of their files. No test asserts a time."""

import functools
import importlib
import json
import pathlib
import sys

import pytest

from benchmarks import anchors, command, common, render, summary
from tests import own

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["README.md", "docs/results.md", "docs/page.md"])
def test_the_speeds_of_the_pages_are_those_of_the_results(name):
    if told := own.foreign(ROOT, "results/benchmarks"):
        pytest.skip(told)
    text = (ROOT / name).read_text(encoding="utf-8")
    assert summary.fill(text) == text


def test_a_page_without_markers_or_none_is_refused_and_stays(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("nothing")
    end = "accepted: a line <!-- speed:NAME -->, and after it <!-- /speed:NAME -->"
    assert summary.main([str(page)]) == 2
    assert capsys.readouterr().err == f"summary: page.md: no marker of speed; {end}\n"
    assert page.read_text() == "nothing"
    assert summary.main([str(tmp_path / "pgae.md")]) == 2
    assert capsys.readouterr().err == "summary: pgae.md is no file; accepted: pages with markers\n"


def test_the_page_of_anchors_is_that_of_their_file():
    if told := own.foreign(ROOT, "results/benchmarks"):
        pytest.skip(told)
    page = anchors.FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert page == anchors.table(json.loads(anchors.FILE.read_text(encoding="utf-8")))


def test_growth_is_fitted_exactly_where_it_is_linear():
    rows = [
        {
            "contender": render.OURS,
            "faces": faces,
            "resolution_px": side,
            "seconds": 2e-3 + 1e-7 * faces + 6e-9 * side**2,
        }
        for faces in (1_000, 30_000, 1_000_000)
        for side in (128, 512)
    ]
    found = render.fit(rows)
    for name, expected in (("constant_seconds", 2e-3), ("seconds_a_face", 1e-7), ("seconds_a_pixel", 1e-9)):
        assert abs(found[name] / expected - 1) < 1e-6
    assert found["median_relative_error"] < 1e-6


def test_the_fastest_peer_is_told_and_never_ourselves():
    case = {"faces": 10, "resolution_px": 8}
    rows = [
        case | {"contender": name, "seconds": seconds} for name, seconds in ((render.OURS, 1.0), ("a", 3.0), ("b", 2.0))
    ]
    rows.append(case | {"contender": "c", "told": "not importable"})
    assert render.fastest_peer(rows, 10, 8)["contender"] == "b"
    assert render.fastest_peer(rows[:1], 10, 8) is None


def test_every_function_that_begins_a_part_of_the_command_is_there():
    for place in (place for part in command.PARTS.values() for place in part):
        module, _, name = place.partition(":")
        assert callable(functools.reduce(getattr, name.split("."), importlib.import_module(module))), place


def test_a_command_is_told_with_its_files_by_their_names(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["file", "--fitted=/some/where.npz", "--fine=3", "--toy", "/some/page.md"])
    assert common.command("benchmarks.one") == "python -m benchmarks.one --fitted=where.npz --fine=3 --toy page.md"
