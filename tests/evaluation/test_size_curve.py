"""The curve of quality over size is made from the scores of runs, and from nothing that cannot be compared."""

import json
import pathlib

import matplotlib.image
import pytest

from hexjax import names
from hexjax.evaluation import page as pages
from hexjax.evaluation import size_curve
from tests import own

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = (
    "before\n<!-- curve:table -->\n<!-- /curve:table -->\n<!-- curve:picture -->\nold\n<!-- /curve:picture -->\nafter\n"
)
SETTINGS = {"data": "heads", "grid": 128, "resolution_px": 128, "samples": 20000, "digest": "abc"}


def f_scores(value):
    return {"f_score_0.01": value - 0.1, "f_score_0.02": value}


def scores_of(floats, value):
    """As an evaluation writes them, of two held-out shapes and a trained one."""
    items = [
        {"name": name, "part": part, "failed": name == "b"}
        for name, part in (("t", "train"), ("a", "test"), ("b", "test"))
    ]
    interval = {name: [mean - 0.02, mean + 0.03] for name, mean in f_scores(value).items()}
    parts = {
        "train": {"shapes": 1, "mean": f_scores(value + 0.05) | {"ceiling": f_scores(0.99)}, "interval": interval},
        "test": {"shapes": 2, "mean": f_scores(value) | {"ceiling": f_scores(0.98)}, "interval": interval},
    }
    beside = {"mean_shape": {"mean": f_scores(0.4)}, "nearest": {"mean": f_scores(0.7)}}
    beside |= {"pca": {"mean": f_scores(0.6), "components": 9}}
    return {"mode": "evaluate", "step": 2, "settings": SETTINGS, "items": items, "parts": parts, "latent_floats": float(floats),
            "baselines": beside, "beats_nearest": value > 0.7}  # fmt: skip


def write(folder, scores, steps=2):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(scores))
    (folder / "config.json").write_text(json.dumps({"train": {"steps": steps}}))


@pytest.fixture
def sweep(tmp_path):
    """Two finished runs, one that is not at its end, and one that was not begun."""
    folder = tmp_path / "results" / "sizes"
    write(folder / "large", scores_of(66048, 0.9))
    write(folder / "small", scores_of(2016, 0.65))
    write(folder / "half", scores_of(4128, 0.8), steps=4)
    cells = [f"{name}: latent.side=1" for name in ("large", "half", "small", "later")]
    (folder / "config.json").write_text(json.dumps({"sweep": {"cells": cells}}))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(PAGE)
    return folder


def test_a_page_has_a_row_of_each_run_by_size_and_the_plot(sweep, tmp_path):
    page = tmp_path / "docs" / "page.md"
    assert size_curve.main([str(sweep), "--into", str(page)]) == names.DONE
    text = page.read_text()
    told = "Held-out F@0.02 0.650 at 2,016 floats and 0.900 at 66,048 floats; above the nearest training shape, told by an "
    assert text == (
        "before\n<!-- curve:table -->\n\n"
        "| run | floats | steps | held-out F@0.01 [95 %] | held-out F@0.02 [95 %] | failed | trained F@0.02 | "
        "ceiling F@0.01 / F@0.02 | mean shape F@0.01 / F@0.02 | nearest training shape, told by an oracle F@0.01 / F@0.02 | "
        "PCA F@0.01 / F@0.02 | components of PCA |\n"
        f"|{' --- |' * 12}\n"
        "| small | 2,016 | 2 | 0.550 [0.530, 0.580] | 0.650 [0.630, 0.680] | 1 of 2 | 0.700 | 0.880 / 0.980 | 0.300 / 0.400 | "
        "0.600 / 0.700 | 0.500 / 0.600 | 9 |\n"
        "| large | 66,048 | 2 | 0.800 [0.780, 0.830] | 0.900 [0.880, 0.930] | 1 of 2 | 0.950 | 0.880 / 0.980 | 0.300 / 0.400 | "
        "0.600 / 0.700 | 0.500 / 0.600 | 9 |\n"
        "\nNot run to the end yet: half, later.\n\n<!-- /curve:table -->\n"
        f"<!-- curve:picture -->\n\n![{told}oracle, in 1 of 2](../results/sizes/curve.png)\n\n<!-- /curve:picture -->\nafter\n"
    )
    assert matplotlib.image.imread(sweep / "curve.png").shape[:2] == (506, 924)
    assert size_curve.main([str(sweep), "--into", str(page)]) == names.DONE
    assert page.read_text() == text


def test_without_a_page_the_table_is_printed_and_nothing_is_written(sweep, capsys):
    assert size_curve.main([str(sweep)]) == names.DONE
    assert "| small | 2,016 |" in capsys.readouterr().out
    assert not (sweep / "curve.png").exists()


def test_what_a_run_does_not_tell_is_left_out(sweep):
    for name, value in (("large", 0.9), ("small", 0.65)):
        scores = scores_of(2016, value)
        del scores["baselines"], scores["beats_nearest"], scores["parts"]["train"]
        write(sweep / name, scores)
    results = size_curve.read(sweep)
    assert size_curve.draw(results).startswith(b"\x89PNG")
    head = size_curve.rows_of(results).splitlines()[0]
    assert not any(word in head for word in ("PCA", "trained", "oracle"))
    assert "above" not in size_curve.title(results)


def test_the_plot_has_a_line_of_each_kind_on_a_logarithmic_axis(sweep, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        size_curve.curve.figure.Figure, "savefig", lambda canvas, file, format: drawn.append(canvas.axes[0])
    )
    size_curve.draw(size_curve.read(sweep))
    (axes,) = drawn
    labels = axes.get_legend_handles_labels()[1]
    assert sorted(labels) == sorted(["held-out shapes, 95 %", "trained shapes", "ceiling", "mean shape",
                                     "nearest training shape, told by an oracle", "PCA"])  # fmt: skip
    assert axes.get_xscale() == "log"
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines["trained shapes"] == [0.7000000000000001, 0.9500000000000001]
    assert lines["ceiling"] == [0.98, 0.98]
    assert lines["PCA"] == [0.6, 0.6]


def refused(capsys, *given):
    assert size_curve.main([str(word) for word in given]) == names.REFUSED
    return capsys.readouterr().err


def test_a_mistyped_folder_or_page_is_refused_and_nothing_changes(sweep, tmp_path, capsys):
    page, empty = tmp_path / "docs" / "page.md", tmp_path / "empty"
    empty.mkdir()
    accepted = "accepted: the folder of a sweep of sizes, results/size_heads"
    for folder in (sweep.parent, empty, tmp_path / "none", page):
        assert (
            refused(capsys, folder, "--into", page) == f"size_curve: {folder} holds no run that has ended; {accepted}\n"
        )
    missing, other = tmp_path / "docs" / "pagee.md", tmp_path / "docs" / "other.md"
    other.write_text("nothing")
    assert (
        refused(capsys, sweep, "--into", missing) == "size_curve: pagee.md is no file; accepted: pages with markers\n"
    )
    assert refused(capsys, sweep, "--into", other) == (
        "size_curve: other.md: no marker of curve; accepted: a line <!-- curve:NAME -->, and after it <!-- /curve:NAME -->\n"
    )
    assert page.read_text() == PAGE
    assert not (sweep / "curve.png").exists()


def test_runs_that_cannot_be_compared_or_read_are_refused(sweep, capsys):
    share = "accepted: runs of one sweep, which share them"
    for change, told in (({"grid": 256}, "grid"), ({"digest": "x", "data": "y"}, "data, digest")):
        write(sweep / "small", scores_of(2016, 0.6) | {"settings": SETTINGS | change})
        assert refused(capsys, sweep) == f"size_curve: sizes: small and large are scored on other {told}; {share}\n"
    scores = scores_of(2016, 0.6)
    scores["items"].pop()
    write(sweep / "small", scores)
    assert (
        refused(capsys, sweep) == f"size_curve: sizes: small and large are scored on other held-out shapes; {share}\n"
    )
    del scores["parts"]
    write(sweep / "small", scores)
    told = "small has no held-out shapes; accepted: runs with config.data.split"
    assert refused(capsys, sweep) == f"size_curve: {told}\n"
    (sweep / "small" / "scores.json").write_text("{")
    assert refused(capsys, sweep).startswith("size_curve: small cannot be read: Expecting property name")
    (sweep / "small" / "scores.json").write_text("{}")
    assert refused(capsys, sweep) == "size_curve: small cannot be read: no 'mode'\n"


def test_the_page_is_what_its_runs_say():
    folder, page = ROOT / "results" / "027-size_heads", ROOT / "docs" / "representations.md"
    text = page.read_text(encoding="utf-8")
    if foreign := own.foreign(ROOT, "results/027-size_heads"):
        pytest.skip(foreign)
    results = size_curve.read(folder)._replace(picture="../results/027-size_heads/curve.png")
    assert pages.fill(text, "curve", size_curve.TABLES, results) == text
