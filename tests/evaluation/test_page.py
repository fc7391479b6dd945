"""Pages are filled between markers and nowhere else; what cannot be filled is refused, and no page is changed."""

import re

import pytest

from hexjax.evaluation import page

TABLES = {"a": lambda results: f"| {' '.join(results)} |\n", "b": lambda results: "b\n"}
PAIR = "<!-- lab:a -->\n<!-- /lab:a -->"
END = "; accepted: a line <!-- lab:NAME -->, and after it <!-- /lab:NAME -->"
CHOOSE = lambda results, words: [word for word in results if word in words]


def test_only_what_stands_between_markers_is_replaced_and_twice_is_once():
    text = f"x\n{PAIR}\ny\n<!-- lab:b -->\nold\n<!-- /lab:b --> z <!-- table:a -->"
    once = page.fill(text, "lab", TABLES, ["1", "2"])
    assert once == (
        "x\n<!-- lab:a -->\n\n| 1 2 |\n\n<!-- /lab:a -->\ny\n<!-- lab:b -->\n\nb\n\n<!-- /lab:b --> z <!-- table:a -->"
    )
    assert page.fill(once, "lab", TABLES, ["1", "2"]) == once


def test_words_of_a_marker_choose_what_its_table_shows():
    made = page.fill("<!-- lab:a 2 -->\n<!-- /lab:a -->", "lab", TABLES, ["1", "2"], CHOOSE)
    assert made == "<!-- lab:a 2 -->\n\n| 2 |\n\n<!-- /lab:a -->"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text", f"no marker of lab{END}"),
        ("<!-- table:a -->\n<!-- /table:a -->", f"no marker of lab{END}"),
        (f"{PAIR}\n<!-- lab:b -->\n", f"a marker without its pair{END}"),
        (f"{PAIR}\n<!-- /lab:b -->\n", f"a marker without its pair{END}"),
        ("<!-- lab:a -->\n<!-- /lab:b -->\n", f"a marker without its pair{END}"),
        ("<!-- lab:a --> <!-- /lab:a -->\n", f"a marker without its pair{END}"),
        ("<!-- lab:c -->\n<!-- /lab:c -->", "a marker names the table 'c'; tables: a, b"),
        ("<!-- lab:a 1 -->\n<!-- /lab:a -->", "the marker of a names '1'; accepted: <!-- lab:a -->"),
    ],
)
def test_what_cannot_be_filled_is_refused_and_no_page_is_changed(tmp_path, text, message):
    pages = [tmp_path / "first.md", tmp_path / "second.md"]
    pages[0].write_text(PAIR)
    pages[1].write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'second.md: {message}')}$"):
        page.rewrite(pages, lambda text: page.fill(text, "lab", TABLES, ["1"]))
    assert [file.read_text() for file in pages] == [PAIR, text]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first.md", "second.md"]


def test_a_missing_page_is_refused_and_none_is_changed(tmp_path):
    (tmp_path / "first.md").write_text(PAIR)
    with pytest.raises(ValueError, match=r"^second\.md is no file; accepted: pages with markers$"):
        page.rewrite([tmp_path / "first.md", tmp_path / "second.md"], str.upper)
    assert (tmp_path / "first.md").read_text() == PAIR


def test_a_page_is_written_whole_or_not_at_all_and_a_link_to_it_stays_one(tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text("Köpfe", encoding="utf-8")
    (tmp_path / "link.md").symlink_to(tmp_path / "page.md")
    page.rewrite([tmp_path / "link.md"], str.upper)
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == "KÖPFE"

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(page.record.pathlib.Path, "replace", fail)
    with pytest.raises(OSError, match=r"^no space left on device$"):
        page.rewrite([tmp_path / "page.md"], str.lower)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == "KÖPFE"
