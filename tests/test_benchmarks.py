"""What the benchmarks tell: the pages' tables are those of their files. No test asserts a time."""

import functools
import importlib
import json
import math
import pathlib
import shutil
import sys

import numpy as np
import pytest

from benchmarks import (
    anchors,
    auto_decoder,
    closed,
    command,
    common,
    published,
    published_table,
    render,
    sparse,
    steps,
    summary,
    views,
)
from configs import base
from configs.sweeps import equal_size
from tests import own, shapes

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


def test_a_curve_is_flat_once_it_gains_less_than_two_in_a_hundred_over_its_last_quarter():
    falling = [1 + math.exp(-i / 50) for i in range(1000)]
    assert not published_table.is_flat(falling[:200], 100)
    assert published_table.is_flat(falling, 100)
    assert not published_table.is_flat(falling, 1001)  # too short to tell
    assert not published_table.is_flat([1000 - i for i in range(900)], 100)
    assert not published_table.is_flat([i**-0.5 for i in range(1, 1000)], 100)


def test_the_grid_is_the_one_whose_mesh_has_nearest_to_so_many_vertices():
    for factor in (0.2, 1.4, 40.0):
        found = published.match(lambda grid, factor=factor: round(factor * grid**2))
        assert all(abs(factor * found**2 - 5700) <= abs(factor * (found + d) ** 2 - 5700) for d in (-1, 1))
    assert published.match(lambda grid: 0) in (64, 512)  # no mesh on any


def test_the_first_seed_and_the_autoencoder_come_before_the_other_seeds(tmp_path):
    runs = published.plan(published.SIZES["small"], 3, tmp_path / "head.ply")
    assert [run.name for run in runs] == ["vae-0", "ae-0", "vae-1", "vae-2"]
    for run in runs:
        assert "--config.optimiser.learning_rate=1e-4" in run.arguments
        assert ("--config.kl.warmup_steps=3000" in run.arguments) == (run.kind == "vae")


def test_an_unknown_size_no_seeds_and_a_folder_of_other_settings_are_refused(tmp_path, capsys):
    assert published.main(["--size=big"]) == 2
    assert capsys.readouterr().err == "published: --size is 'big'; accepted: full, small\n"
    assert published.main(["--size=full", "--seeds=0"]) == 2
    assert capsys.readouterr().err == "published: --seeds is 0; accepted: at least 1\n"
    run = published.plan(published.TOY, 1, tmp_path / "head.ply")[0]
    (tmp_path / "vae-0.json").write_text(json.dumps({"arguments": []}))
    with pytest.raises(ValueError) as refusal:
        published.earlier(tmp_path, run)
    told = "--workdir holds a vae-0 of other settings; accepted: the same command, or a new folder"
    assert str(refusal.value) == told


@pytest.fixture(scope="module")
def decoder_row():
    """Of a process of its own: here types are checked, and a step cannot be lowered."""
    return common.work("benchmarks.auto_decoder", "toy", "0")


def test_the_auto_decoder_is_measured_in_a_step_a_search_and_its_field(decoder_row):
    assert {name for name in decoder_row["runners"] if not name.startswith("PyTorch")} == {"ours"}
    assert [row["shapes"] for row in decoder_row["search"]["rows"]] == [1, auto_decoder.TOGETHER]
    told = [decoder_row["runners"]["ours"], *decoder_row["search"]["rows"], *decoder_row["field"]]
    assert all(each["points_per_second"] > 0 and each["seconds"] >= each["fastest"] for each in told)
    found = {"command": "python", "machine": {"cpu": "a processor", "cores": 2, "load_average_before": 0.0}}
    found["machine"]["versions"] = {"jax": "0"}
    text = auto_decoder.table(found | {"rows": [decoder_row]})
    assert text.count("| toy, 0.0022 M |") == len(decoder_row["runners"]) + 4
    assert "2 x 32" in text


def test_the_operations_of_the_auto_decoder_are_those_of_its_weights():
    for variant in ("small", "full"):
        config, width, channels = auto_decoder.load(variant, 0), {"small": 256, "full": 512}[variant], 64
        parameters = {"small": 250_625, "full": 1_945_089}[variant]
        products = parameters - config.model.depth * width - 1 - 2 * channels * width  # no biases, no codes
        work = auto_decoder.gflop(config)
        assert work["field"] * 1e9 == pytest.approx(2 * products)
        assert work["step"] * 1e9 == pytest.approx(6 * products - 2 * 78 * width)
        assert work["search"] * 1e9 == pytest.approx(4 * products - 2 * 78 * width)
    assert auto_decoder.load("full", 9).sdf.points == 9
    with pytest.raises(ValueError) as refusal:
        auto_decoder.load("big", 0)
    assert str(refusal.value) == "variant is 'big'; accepted: small, full, toy"


def test_pytorch_computes_what_the_auto_decoder_does(decoder_row):
    pytest.importorskip("torch")
    assert "failed" not in decoder_row["check"]
    assert max(decoder_row["check"]["relative"]) < steps.TOLERANCE


def test_sparse_layers_are_told_with_their_ratios():
    times = lambda seconds: {
        "first_seconds": 9.0,
        "seconds": seconds,
        "fastest": seconds / 2,
        "cpu_seconds": 2 * seconds,
    }
    ways = {"sparse": times(0.25), "dense": times(10.0), "27 products": times(8.0)}
    layers = {"side": 8, "cells": 64, "channels": 4, "rounds": 3, "table": times(0.001), "forward": ways}
    layers |= {"forward_and_backward": ways, "relative_difference": {"dense": 1e-6, "27 products": 2e-6}}
    up = {"side": 2, "channels": [4, 2], "shapes": 1, "rounds": 3}
    up["forward_and_backward"] = {"shuffle": times(1.0), "nearest": times(0.5), "transposed": times(3.0)}
    machine = {"cpu": "a processor", "cores": 2, "load_average_before": 0.0, "versions": {"jax": "0"}}
    text = sparse.table({"command": "python", "machine": machine, "goal": 30.0, "layers": layers, "doubled": up})
    assert "| dense | 10000.0 | 20000.0 | 10000.0 | 20000.0 | 40.0 × | 40.0 × | 1.0e-06 |" in text
    assert "| transposed | 3000.0 | 6000.0 | 3.00 × |" in text


def test_meshes_are_chosen_evenly_over_the_powers_of_their_sizes():
    assert views.spread([1, 10, 11, 100, 12, 1000], 4) == [0, 1, 3, 5]
    assert views.spread([5, 5, 5], 2) == [0, 1]
    assert views.spread([7, 3], 12) == [1, 0]


def test_views_are_told_with_compilations_and_without(monkeypatch, quick_programs):
    made = {"count": 3, "resolution_px": 16}
    settings = base.get_config()
    settings.views.update(made)
    monkeypatch.setattr(base, "get_config", lambda: settings)
    row = views.measure("", "[]", "2", "16", "lambert", "1")
    assert (row["cameras"], len(row["meshes"]), row["shading"]) == (3, 2, "lambert")
    assert row["first_without_compiling"]["seconds"] <= row["first"]["seconds"]
    assert row["later_compilations"] == 0
    found = {"command": "python", "source": "solids made in code", "rows": [row | {"resolution_px": 224}]}
    found |= {"goal_views_per_second": 50.0, "published_views_per_second": 1.1}
    found["machine"] = {"cpu": "a processor", "cores": 2, "load_average_before": 0.0, "versions": {"jax": "0"}}
    lines = views.table(found).splitlines()
    assert [line for line in lines if line.startswith("| 224², shaded, lambert | ")]
    assert len(lines) == 2 + 3 + 1 + 2 + 2


def test_closed_meshes_are_named_and_open_ones_are_not(tmp_path):
    for name, mesh in (("ball", shapes.sphere(subdivisions=1)), ("box", shapes.cube()), ("torus", shapes.torus())):
        np.savez(
            tmp_path / f"{name}.npz", vertices=mesh.vertices, faces=mesh.faces[1:] if name == "box" else mesh.faces
        )
    assert closed.closed(str(tmp_path)) == ["ball", "torus"]
    assert closed.few("abcdef", 3) == ("a", "c", "e")
    assert closed.few("abc", 0) == closed.few("abc", 9) == ("a", "b", "c")


def test_the_auto_decoder_and_views_stand_in_the_table_once_they_are_measured(tmp_path, decoder_row):
    for name in ("render", "extract", "sdf", "command", "train_step"):
        shutil.copy(common.RESULTS / f"{name}.json", tmp_path)
    before = summary.every(tmp_path)
    (tmp_path / "auto_decoder.json").write_text(json.dumps({"rows": [decoder_row]}))
    row = {"resolution_px": 224, "shading": "rough", "meshes": [0] * 12, "first": {"views_per_second": 20.0}}
    rows = {"rows": [row, row | {"resolution_px": 112}], "published_views_per_second": 1.1}
    (tmp_path / "views.json").write_text(json.dumps(rows))
    added = [line for line in summary.every(tmp_path).splitlines() if line not in before.splitlines()]
    assert added[0].startswith("| a training step of the auto-decoder, 0.0022 M parameters, 2 x 32 points |")
    told = "| a view of 224² of a mesh, rough, 12 meshes with compilation | 50 ms | a published study, 909 ms | 18.18 |"
    assert added[1:] == [told]


def a_run(folder, kind):
    """What `published.take` gives of a made run of ten steps, of which the rate is greatest at the fourth."""
    rows = [{"step": 0, "validation.reconstruction": 0.5, "validation.loss": 1.0}]
    rows += [{"step": step, "loss": 1.0, "reconstruction": 1 / step} for step in range(1, 11)]
    if kind == "vae":
        rows[0]["validation.kl"] = 1000.0
        rows = rows[:1] + [row | {"kl": 5000.0 - 100 * (row["step"] - 4) ** 2} for row in rows[1:]]
    scored = dict.fromkeys(published_table.SCORES, 1)
    scores = {
        "items": [scored | {"ceiling": scored}],
        "settings": {"grid": 64},
        "latent_floats": 128,
        "compression": 2.0,
    }
    scores |= {"verdict": "NOT-CERTIFIABLE", "verdict_tags": ["training shapes", "decoder ok"], "device": "cpu: cpu"}
    config = {"model": {"input": {"vae": "binary", "ae": "continuous"}[kind]}, "kl": {"warmup_steps": 5}}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config | {"hexplane": {"resolution_px": 8}}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 11, "lo')
    (folder / "scores.json").write_text(json.dumps(scores))
    swept = [{"threshold": i / 20, "vertices": 0 if i > 12 else 100 * i, "faces": 0} for i in range(1, 20)]
    draws = [{"vertices": 0, "faces": 0}, {"vertices": 7, "faces": 9, "iou": 0.25, "f_score_0.02": 0.5}]
    matched = {"matched": {"grid": 32} | scored | {"ceiling": scored}}
    return {
        "run": f"{kind}-0", "kind": kind, "seed": 0, "code": 0, "ended": "limit", "whole": True, "seconds": 1.0,
        "peak": {"of": "memory", "mib": 2048.0},
        "measured": {"thresholds": swept, "draws": draws} if kind == "vae" else matched,
        "figures": published_table.figures(folder) | {"command": f"python {kind}"},
    }  # fmt: skip


def test_the_published_table_tells_what_the_folders_of_its_runs_hold(tmp_path):
    runs = [a_run(tmp_path / kind, kind) for kind in ("vae", "ae")]
    rates, fit = runs[0]["figures"]["kl"], runs[1]["figures"]["reconstruction"]
    assert rates == {"start": 1000, "greatest": (4, 5000), "end": 1400, "warmup_steps": 5, "at_warmup_end": 4900}
    assert (fit["start"], fit["end"], fit["curve"][0], fit["curve"][-1]) == (0.5, 0.1, (1, 1.0), (10, 0.1))
    machine = {"cpu": "a processor", "cores": 2, "versions": {"jax": "0"}}
    found = {
        "command": "python",
        "machine": machine,
        "size": "toy",
        "seeds": 2,
        "commit": "0",
        "told": "",
        "runs": runs,
    }
    text = published_table.table(found | {"unfinished": ["vae-1 stopped at step 3"]})
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}
    assert list(rows)[2:8] == list(published_table.PUBLISHED)
    for name, told in {
        "KL": "1,000 nats before the first step, at most 5,000 (step 4), 4,900 when the warm-up ends (step 5), 1,400 at the",
        "reconstruction": "0.5 before the first step, 0.1 at step 10",
        "vertices at .5": "1,000 on a grid of 64³; at thresholds .05 to .95 0 to 1,200, none at 7 of 19",
        "compression": "384 numbers to 128, 3 times; by bits 2 times",
        "sampling": "2 draws, 1 of them empty; of the others 7 vertices, with the training shape IoU 0.250 and F@0.02 0.500",
        "stability": "1 of 1 ended finite; 1 NOT-CERTIFIABLE (decoder ok)",
    }.items():
        assert f" {told}" in rows[name]
    assert "1 whole of 2 seeds asked for; vae-1 stopped at step 3." in text
    assert "Ours: VAE 2 GiB (memory); autoencoder 2 GiB (memory)." in text
    alone = published_table.table(found | {"unfinished": [], "runs": []})
    assert "no whole run" in alone
    assert "no run ended" in alone


def test_steps_of_families_at_equal_size_are_from_the_medians_that_were_measured():
    file = common.RESULTS / "equal_size.json"
    known = json.loads(file.read_text())["variants"]
    for variant, families in equal_size.STEP_SECONDS.items():
        assert families == {name: told["seconds"] for name, told in known[variant or "floats_2k"].items()}
