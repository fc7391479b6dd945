"""Pictures are drawn for every source, and their titles are counted."""

import numpy as np
from PIL import Image

from hexjax.evaluation.laboratory import plots, results
from tests.evaluation.laboratory import toys


def test_every_picture_is_drawn_for_every_source(tmp_path):
    toys.write_everything(tmp_path)
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, [toys.make_run(0)], "shapes+heads")
    (tmp_path / "images").mkdir()
    stale = tmp_path / "images" / "rates_shapes+heads.png"
    stale.write_text("of earlier results")
    lacking = plots.draw(results.read(tmp_path), tmp_path / "images")
    drawn = {file.name for file in (tmp_path / "images").iterdir()}
    assert {f"{name}_solids.png" for name in plots.PICTURES} <= drawn
    assert drawn - {f"{name}_solids.png" for name in plots.PICTURES} == {
        "verdicts_cause_shapes+heads.png", "outline_shapes+heads.png",
    }  # fmt: skip
    assert "rates_shapes+heads.png is not drawn: collapse_latents on shapes+heads is missing" in lacking
    assert len(lacking) == len(plots.PICTURES) - 2
    for name in drawn:
        pixels = np.asarray(Image.open(tmp_path / "images" / name).convert("L"))
        assert pixels.shape[1] == 924
        assert (pixels < 255).mean() > 0.01


def title_of(made):
    return made.get_suptitle().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ").strip()


def test_titles_are_counted_from_the_runs(tmp_path):
    toys.write_everything(tmp_path)
    groups = results.read(tmp_path).groups
    titles = {name: title_of(make(groups)) for name, make in plots.PICTURES.items()}
    assert titles["curves"] == (
        "Runs of many shapes whose KL ends above what it gains, or is not finite: 2 of 6 with the cap, 0 of 6 without"
    )
    assert titles["decisive"] == (
        "Exploded runs by learning rate, cap and clamp: rate 1e-2: 2/12, cap 0.1: 2/6, no cap: 0/6, "
        "clamp 10: 0/6, no clamp: 2/6"
    )
    assert (
        titles["weights"]
        == "No unit is active in 4 of 4 runs above the predicted threshold, and in 0 of 4 runs below it"
    )
    assert titles["verdicts_cause"] == (
        "Silhouettes and their signed distance, several shapes: the same commonest verdict in 1 of 1 pairs"
    )
