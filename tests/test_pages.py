"""What the pages promise of themselves: links that lead somewhere, their length, all claims, and a small checkout."""

import pathlib
import re
import shutil
import subprocess

import pytest

from tests import own

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
MEGABYTES = 25


def anchors(file):
    """Names of a page's headings, as links know them."""
    heads = [line.lstrip("# ") for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_every_link_leads_somewhere(file):
    if not (ROOT / "results").is_dir() or not (ROOT / ".git").exists():
        pytest.skip("not a checkout by git: results/ may be left out of it")
    links = [link for link in LINK.findall(file.read_text(encoding="utf-8")) if not link.startswith("http")]
    assert links
    for link in links:
        place, _, anchor = link.partition("#")
        there = (file.parent / place).resolve() if place else file
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


def test_readme_and_the_page_on_collapse_are_short_and_all_claims_stand():
    page, claims = (
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("collapse.md", "collapse_claims.md")
    )
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    assert len(page.splitlines()) <= 80
    assert len(claims.splitlines()) <= 150
    assert (page.count("!["), claims.count("![")) == (2, 2)
    found = re.findall(r"^\| (\d+) \|(.*)\| ((?:supported|refuted|not decidable)[^|]*)\|$", claims, re.MULTILINE)
    assert [number for number, *_ in found] == [str(number) for number in range(1, 23)]
    for number, told, verdict in found:  # what is open names the command that would decide it
        assert "not decidable" not in verdict or "`PARTS=" in told + verdict or "launch.py" in told + verdict, number


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_a_checkout_is_small():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout by git")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) < MEGABYTES * 1e6


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_what_is_not_as_committed_is_told_to_be_a_users(tmp_path):
    git = lambda *words: subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a", *words], cwd=tmp_path, check=True
    )
    (tmp_path / "results" / "001-a").mkdir(parents=True)
    (tmp_path / "results" / "001-a" / "scores.json").write_text("{}")
    assert own.foreign(tmp_path, "results") == "not a checkout by git: it cannot be told whose results these are"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "results")
    assert own.foreign(tmp_path, "results") == ""
    (tmp_path / "results" / "002-stranger").mkdir()
    (tmp_path / "results" / "002-stranger" / "scores.json").write_text("{}")
    assert own.foreign(tmp_path, "results") == "a user's: results/002-stranger/scores.json"
    assert own.foreign(tmp_path, "results/001-a") == ""
    (tmp_path / "results" / "001-a" / "scores.json").write_text("{ }")
    assert own.foreign(tmp_path, "results") == "a user's: results/001-a/scores.json and 1 more"
