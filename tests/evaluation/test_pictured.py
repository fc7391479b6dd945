"""Verdicts on a generator that is told by pictures, by rows whose answer is known; the runs are in the slow tests."""

import json

import numpy as np
import pytest
import trimesh

from configs import image_to_shape
from hexjax import command, rules
from hexjax.evaluation import pictured, pictured_page
from hexjax.types import Mesh

BASE = np.random.default_rng(0).uniform(0.2, 0.5, 30)


def rows(gain):
    """IoU higher by `gain` than a base, and a CD-L1 that is lower by a tenth of it, with some noise."""
    noise = 0.01 * np.random.default_rng(1).standard_normal(30)
    return [{"name": f"{place}", "category": "ab"[place % 2], "cd_l1": 0.1 - 0.1 * (iou + gain), "v_iou": iou + gain,
             "f_score_0.02": 0.0, "sdf_sign": 0.0} for place, iou in enumerate(BASE + noise * abs(gain))]  # fmt: skip


def found(drawn, nearest, ridge, searched=0.4, oracle=0.1):
    gains = {
        "drawn, 8": drawn,
        "nearest, 8": nearest,
        "ridge, 8": ridge,
        "searched": searched,
        "oracle": oracle,
        "random": -0.1,
    }
    return {name: rows(gain) for name, gain in gains.items()}


CASES = [
    (found(0.3, 0.1, 0.2), 1.0, "GENERALISES"),
    (found(0.1, 0.2, 0.1), 0.5, "RETRIEVES"),
    (found(0.1, 0.2, 0.1), 3.0, "UNDECIDED"),
    (found(0.3, 0.1, 0.2, searched=0.1, oracle=0.2), 1.0, "BOUNDED-BY-DECODER"),
    (found(0.3, 0.1, 0.3), 1.0, "RETRIEVES"),  # better than the nearest, as good as ridge
]


@pytest.mark.parametrize(("rows", "near", "expected"), CASES)
def test_the_verdict_is_what_the_rows_say(rows, near, expected):
    told = pictured.verdict(rows, {"drawn, 8": near, "searched": 2.0}, 8, 0)
    assert told["verdict"] == expected
    assert told["verdict"] in pictured.VERDICTS
    middle, low, high = told["differences"]["drawn, 8 against random"]["v_iou"]
    assert low <= middle <= high


def test_a_folder_that_is_no_generators_is_refused_in_a_line(tmp_path, capsys):
    assert pictured.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("pictured: ")


def test_tables_are_filled_into_a_page_from_what_was_found(tmp_path, capsys):
    ranks = {"top1": 1.0, "top5": 1.0, "cosine": 0.99, "least": 0.9, "distinct": 1.0}
    kinds = ("searched", "oracle", "random", "drawn, 8", "nearest, 8", "ridge, 8")
    made = found(0.3, 0.1, 0.2)
    made["mean"] = made["ceiling"] = made["random"]
    like = {"name": "0", "category": "a", "chance": 0.5, "by_features": "a", "by_surface": "b", "likest": "2",
            "nearest": "1", "elongation": 2.0, "euler": 0}  # fmt: skip
    judged = pictured.verdict(made, {"drawn, 8": 1.0, "searched": 2.0}, 8, 0)
    told = {
        "run": "RUN", "step": 9, "trained": 4, "held": 2, "draws": 1, "grid": 8, "samples": 10,
        "recall": [{"views": "known", "count": 8, "kept": 1.0, "raw": ranks, "centred": ranks}],
        "levels": [{"level": 0, "loss": 0.1, "exact": 0.2}], "search": {"shapes": 2, "own": 0.9, "searched": 0.8},
        "unseen": {name: dict.fromkeys(pictured.BETTER, 0.5) for name in kinds},
        "to_nearest": {"drawn, 8": 1.0, "searched": 2.0}, "verdicts": {"8": judged}, "rows": made,
        "likeness": [like | {"source": name} for name in ("drawn, 8", "nearest, 8", "truth")],
        "noise": [{"noise": 0.5, "v_iou": 0.25, "shapes": 2}],
    }  # fmt: skip
    page = tmp_path / "page.md"
    marks = [*pictured_page.TABLES, f"recall {tmp_path.name}"]
    page.write_text("".join(f"<!-- pictured:{each} -->\n<!-- /pictured:{each.split()[0]} -->\n" for each in marks))
    assert pictured.main([str(tmp_path), "--into", str(page)]) == 2
    assert "has no pictured.json; it is made by the same command without --into" in capsys.readouterr().err
    (tmp_path / "pictured.json").write_text(json.dumps(told))
    assert pictured.main([str(tmp_path), "--into", str(page)]) == 0
    text = page.read_text()
    assert "| known | 8 | 100% | 100% |" in text
    assert "- 8 views: **GENERALISES**" in text
    assert "| 0 | 0.1000 | 0.2000 |" in text
    assert "| a | 1 | 50% | 100% / 0% | 100% / 0% | 100% / 0% |" in text
    assert "| 0 | a | 2 | 1 | 2.000 → 2.000 (2.000) | 0 → 0 (0) |" in text
    assert "| a | 15 | " in text
    assert "| 0.5 | 0.250 |" in text
    page.write_text("<!-- pictured:recall other -->\n<!-- /pictured:recall -->\n")
    assert pictured.main([str(tmp_path), "--into", str(page)]) == 2
    assert f"a marker names the run 'other'; runs: {tmp_path.name}" in capsys.readouterr().err


def test_pictures_are_written_whatever_is_drawn(tmp_path):
    ball = trimesh.creation.icosphere(1, 0.5)
    mesh = Mesh(np.float32(ball.vertices), np.int32(ball.faces))
    empty = mesh._replace(faces=mesh.faces[:0])
    view = np.zeros((2, 28, 28, 1), np.uint8)
    pictured_page.draw_sheet([("ball", view, {"truth": mesh, "drawn": empty})] * 2, tmp_path / "sheet.png")
    pictured_page.draw_ranking({"one": np.eye(3), "two": -np.eye(3)}, tmp_path / "ranking.png")
    pictured_page.draw_levels({"levels": [{"level": 0, "loss": 0.1, "exact": 0.0}]}, tmp_path / "levels.png")
    assert all((tmp_path / f"{name}.png").stat().st_size > 2000 for name in ("sheet", "ranking", "levels"))


TOY = {"data.count": 10, "data.split": (0.6, 0.0, 0.4), "views.count": 16, "views.held": 8, "views.resolution_px": 14,
       "sdf.pool_points": 200, "sdf.seen_points": 64, "sdf.points": 16,
       "search.steps": 2, "search.points": 16, "model.width": 8, "model.heads": 1, "model.blocks": 1, "model.bands": 1,
       "train.steps": 2, "train.batch_size": 4, "latent.channels": 4, "diffusion.levels": 20, "diffusion.steps": 3,
       "extract.grid": 12, "score.samples": 100, "evaluate.pictures": 0, "evaluate.shapes": 1,
       "inside.points": 32}  # fmt: skip


@pytest.mark.slow
def test_three_runs_of_one_config_are_studied_on_the_shapes_that_all_hold_out(tmp_path, capsys):
    runs = [tmp_path / name for name in ("codes", "views", "drawn")]
    for run, variant in zip(runs, ("codes_small", "views_small", "small")):
        known = rules.flatten(image_to_shape.get_config(variant))
        toy = [f"--config.{key}={value}" for key, value in TOY.items() if key in known]
        if variant == "small":
            toy = [word for word in toy if "data." not in word]
            toy += [f"--config.latents.run={runs[0]}", f"--config.views.run={runs[1]}"]
        start = [f"--config=configs/image_to_shape.py:{variant}", f"--workdir={run}"]
        assert command.main([*start, *toy]) == 0
    given = ["--draws=2", "--shapes=2", "--grid=12", "--samples=100"]
    assert pictured.main([str(runs[2]), *given]) == 0
    found = json.loads((runs[2] / "pictured.json").read_text())
    assert (found["trained"], found["held"], found["draws"]) == (6, 2, 2)
    assert [(row["views"], row["count"]) for row in found["recall"]][:2] == [("known", 1), ("known", 2)]
    assert {row["source"] for row in found["likeness"]} == {"searched", "drawn, 8", "nearest, 8", "ridge, 8", "truth"}
    assert sum(row["source"] == "drawn, 8" for row in found["likeness"]) == 4
    assert len(found["rows"]["ceiling"]) == 2
    assert found["verdicts"]["8"]["verdict"] in pictured.VERDICTS
    assert {file.name for file in (runs[2] / "images").glob("pictured_*.png")} == {
        "pictured_levels.png", "pictured_ranking.png", "pictured_worst.png",
    }  # fmt: skip
    assert "never trained; medians over shapes, of 2 draws" in capsys.readouterr().out
