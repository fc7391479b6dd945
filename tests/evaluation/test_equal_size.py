"""The table of families at equal size is made from the scores of runs, and of latents of the size that was asked."""

import json
import re

import pytest

from hexjax import names
from hexjax.evaluation import equal_size

SETTINGS = {"data": "heads", "grid": 128, "resolution_px": 128, "samples": 20000, "digest": "abc"}
PAGE = "<!-- equal:table -->\n<!-- /equal:table -->\n<!-- equal:picture -->\n<!-- /equal:picture -->\n"


def scores_of(value, floats):
    mean = dict.fromkeys(equal_size.SCORED, value)
    row = {"part": "test", "watertight": True, "components": 2, "latent_floats": floats, "latent_bits": 32 * floats,
           "seconds": {"encode": 0.1, "field": 0.2, "polygonise": 0.3}}  # fmt: skip
    failed = row | {"name": "b", "failed": True, "watertight": False, "components": 0}
    items = [row | {"name": "a", "failed": False}, failed]
    parts = {"test": {"shapes": 2, "mean": mean | {"latent_floats": float(floats), "ceiling": dict.fromkeys(mean, 1.0)}},
             "train": {"mean": mean}}  # fmt: skip
    return {"mode": "evaluate", "step": 2, "settings": SETTINGS, "items": items, "parts": parts, "latent_floats": floats,
            "parameters": 1234, "baselines": {"nearest": {"mean": dict.fromkeys(mean, 0.5)}}}  # fmt: skip


@pytest.fixture
def sweep(tmp_path):
    """Three finished runs of two families, and one that was not begun."""
    return made(tmp_path)


def made(tmp_path, size=1000):
    """The same at another size."""
    for name, value, floats in (("sets_0", 0.7, 1000), ("sets_1", 0.8, 1000), ("cells_0", 0.9, 960)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(json.dumps(scores_of(value, floats * size // 1000)))
        (tmp_path / name / "config.json").write_text(json.dumps({"train": {"steps": 2}}))
    cells = ["sets_0: base=a", "cells_0: base=b", "sets_1: base=a", "cells_1: base=b"]
    (tmp_path / "config.json").write_text(json.dumps({"sweep": {"cells": cells, "floats": size}}))
    return tmp_path


def test_a_family_has_a_row_with_its_spread_the_best_first_and_what_is_missing_is_told(sweep):
    page = sweep / "page.md"
    page.write_text(PAGE)
    assert equal_size.main([str(sweep), "--into", str(page)]) == names.DONE
    lines = page.read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    head, _, first, second, nearest = rows
    told = dict(zip(head, second))
    assert (first[0], first[1], first[2], first[5]) == ("cells", "1", "960", "0.900")
    assert (second[0], told["V-IoU"], told["parameters"]) == ("sets", "0.750 ± 0.050", "1,234")
    assert (told["watertight"], told["parts"], told["failed"], told["kB stored"]) == ("50%", "2.0", "2 of 4", "4.0")
    assert (nearest[0], nearest[5], nearest[-1]) == ("*nearest training shape, told by an oracle*", "0.500", "–")
    assert "Not run to the end yet: cells_1." in lines
    assert "![Held-out V-IoU at 1,000 floats and equal seconds: cells 0.900, first of 2](equal.png)" in lines
    assert (sweep / "equal.png").read_bytes().startswith(b"\x89PNG")


def test_a_latent_of_another_size_or_another_sweep_is_refused_in_a_line(sweep):
    (sweep / "cells_0" / "scores.json").write_text(json.dumps(scores_of(0.9, 940)))
    told = f"{sweep.name}: cells_0 has 940 floats; accepted: within 5% of 1,000"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        equal_size.read(sweep)
    (sweep / "config.json").write_text(json.dumps({"sweep": {"cells": []}}))
    told = f"{sweep.name} is no sweep over families; accepted: results/equal_size"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        equal_size.read(sweep)


def test_several_sizes_are_curves_of_families_with_their_ceilings_beside_what_learns_nothing(sweep, tmp_path):
    other = tmp_path / "large"
    other.mkdir()
    made(other, 4000)
    page = sweep / "page.md"
    page.write_text("<!-- floats:picture -->\n<!-- /floats:picture -->\n")
    sizes = equal_size.read_sizes([other, sweep])
    assert [results.floats for results in sizes] == [1000, 4000]
    panel = equal_size.panels(sizes)[0]
    assert panel.sizes == [1000, 4000]
    assert panel.families["sets"] == ([1000, 4000], [[0.7, 0.8]] * 2, [1.0, 1.0])
    assert panel.families["cells"] == ([960, 3840], [[0.9]] * 2, [1.0, 1.0])
    nearest = "nearest training shape, told by an oracle"
    assert panel.beside == {nearest: [(1000, 0.5), (4000, 0.5)], "PCA": []}
    assert equal_size.main([str(other), str(sweep), "--into", str(page)]) == names.DONE
    told = "Held-out V-IoU over floats, the best of each size: cells 0.900 at 1,000 floats, cells 0.900 at 4,000 floats"
    assert f"![{told}](large/over_floats.png)" in page.read_text()
    assert (other / "over_floats.png").read_bytes().startswith(b"\x89PNG")


def test_sizes_that_cannot_be_held_together_are_refused_in_a_line(sweep, tmp_path, capsys):
    other = tmp_path / "same"
    other.mkdir()
    made(other)
    assert equal_size.main([str(sweep), str(other)]) == names.REFUSED
    assert capsys.readouterr().err == "equal_size: 2 folders have 1,000 floats; accepted: one of each size\n"
    for name in ("sets_0", "sets_1", "cells_0"):
        scores = json.loads((other / name / "scores.json").read_text())
        scores["settings"]["grid"] = 64
        (other / name / "scores.json").write_text(json.dumps(scores))
    assert equal_size.main([str(sweep), str(other)]) == names.REFUSED
    told = f"same is scored on other grid than {sweep.name}; accepted: sweeps that share them"
    assert capsys.readouterr().err == f"equal_size: {told}\n"
