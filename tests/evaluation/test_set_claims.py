"""Claims are judged by seeds and by pairs of shapes, and stay open where either is in doubt."""

import json
import re

import pytest

from hexjax import names
from hexjax.evaluation import equal_size, set_claims
from tests.evaluation.test_equal_size import SETTINGS

SHAPES = 8


def run_of(base, seed, verdict="HEALTHY", step=0.01):
    """Scores of a run whose shapes have `base`, a little more from shape to shape and from seed to seed."""
    rows = [
        {"name": f"head_{i}", "part": "test"} | dict.fromkeys(equal_size.SCORED, base + step * i + 0.001 * seed)
        for i in range(SHAPES)
    ]
    mean = {key: sum(row[key] for row in rows) / SHAPES for key in equal_size.SCORED}
    return {"mode": "evaluate", "step": 2, "settings": SETTINGS, "items": rows, "latent_floats": 1000, "verdict": verdict,
            "active_units": 7, "parts": {"test": {"mean": mean | {"latent_floats": 1000}}}}  # fmt: skip


def judged(seeds, **bases):
    claim = set_claims.Claim("C0", "", "fps", ("learned", "random"), "v_iou")
    return set_claims.judge({arm: [run_of(base, seed) for seed in range(seeds)] for arm, base in bases.items()}, claim)


def test_a_claim_holds_against_all_others_fails_against_any_and_is_open_else():
    holds, told = judged(3, fps=0.9, learned=0.8, random=0.7)
    assert holds == set_claims.HOLDS
    assert told == "V-IoU +0.100 (+0.100 to +0.100) against learned; +0.200 (+0.200 to +0.200) against random; 3 seeds"
    assert judged(3, fps=0.9, learned=0.95, random=0.7)[0] == set_claims.FAILS
    assert judged(3, fps=0.9, learned=0.9, random=0.7)[0] == set_claims.OPEN
    assert judged(1, fps=0.9, learned=0.8, random=0.7)[0] == set_claims.OPEN
    assert judged(3, fps=0.9, learned=0.8) is None


def test_seeds_that_disagree_leave_a_claim_open():
    claim = set_claims.Claim("C0", "", "fps", ("raw",), "v_iou", larger=False)
    runs = {"fps": [run_of(0.5, 0), run_of(0.9, 0)], "raw": [run_of(0.8, 0), run_of(0.8, 0)]}
    assert set_claims.judge(runs, claim)[0] == set_claims.OPEN
    runs["fps"][1] = run_of(0.7, 0)
    assert set_claims.judge(runs, claim)[0] == set_claims.HOLDS


@pytest.mark.parametrize(
    ("distance", "binary", "verdict"),
    [
        ("HEALTHY", "COLLAPSED", "HOLDS"),
        ("HEALTHY", "HEALTHY", "DOES NOT HOLD"),
        ("COLLAPSED", "COLLAPSED", "DOES NOT HOLD"),
    ],
)
def test_a_rate_is_judged_by_the_verdicts_on_latents(distance, binary, verdict):
    runs = {"distance_1e-3": [run_of(0.9, 0, distance)] * 2, "binary_1e-3": [run_of(0.9, 0, binary)] * 2}
    found, told = set_claims.judge_rates(runs)
    assert found == verdict
    assert told == f"distance_1e-3: {distance}, {distance}; binary_1e-3: {binary}, {binary}"


def test_tables_go_into_pages_and_sweeps_on_other_shapes_are_refused(tmp_path, capsys):
    for folder, arm, base in (("one", "fps", 0.9), ("two", "raw", 0.8)):
        for seed in range(2):
            place = tmp_path / folder / f"{arm}_{seed}"
            place.mkdir(parents=True)
            (place / "scores.json").write_text(json.dumps(run_of(base, seed)))
            (place / "config.json").write_text(json.dumps({"train": {"steps": 2}}))
        sweep = {"cells": [f"{arm}_0: seed=0", f"{arm}_1: seed=1", "late_0: seed=0"], "floats": 1000}
        (tmp_path / folder / "config.json").write_text(json.dumps({"sweep": sweep}))
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- claims:{name} -->\n<!-- /claims:{name} -->\n" for name in ("arms", "verdicts")))
    folders = [str(tmp_path / name) for name in ("one", "two")]
    assert set_claims.main([*folders, "--into", str(page)]) == names.DONE
    text = page.read_text()
    assert "| C3 | Fourier features help | **HOLDS** | V-IoU +0.100 (+0.100 to +0.100) against raw; 2 seeds |" in text
    assert re.search(r"\| fps \| 2 \| 1,000 \| 2 \| 0\.936 ± 0\.001 ", text)
    assert "Not run to the end yet: late_0." in text
    other = run_of(0.8, 0)
    other["items"][0]["name"] = "tail"
    for seed in range(2):
        (tmp_path / "two" / f"raw_{seed}" / "scores.json").write_text(json.dumps(other))
    assert set_claims.main(folders) == names.REFUSED
    told = "set_claims: two has other held-out shapes than one; accepted: sweeps on the same\n"
    assert capsys.readouterr().err == told
