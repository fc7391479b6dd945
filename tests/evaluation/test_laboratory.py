"""Tables and pictures of the laboratory: counts add up, what failed or is missing is told, bounds are exact."""

import gzip
import itertools
import json
import pathlib
import re

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from hexjax import cells
from hexjax import names as named
from hexjax.diagnostics import collapse, witness
from hexjax.evaluation import laboratory, laboratory_plots
from hexjax.evaluation import laboratory_doses as doses
from hexjax.evaluation import laboratory_drawing as drawing
from hexjax.evaluation import laboratory_results as lab
from hexjax.evaluation import laboratory_tables as tables
from hexjax.training import sweep
from tests import own

ROOT = pathlib.Path(__file__).parent.parent.parent
THRESHOLDS = 19  # of the sweep
FINAL = {
    "kl": 50.0, "kl_per_latent": 1.5, "kl_max_latent": 3.0, "gain": 300.0, "nll": 200.0, "nll_constant": 500.0,
    "swap_gap": 250.0, "swap_error": 250.0, "constant_error": 500.0, "squared_error": 0.05, "variance": 0.05,
    "active_units": 32.0, "information": 4.1, "information_ceiling": 4.159, "iou": 0.9, "iou_constant": 0.54,
    "mean_map_distance": 0.6, "outline_gradient": 0.5, "outline_pixels": 0.1, "largest_mean": 3.0,
    "largest_log_variance": 4.0, "non_finite": 0.0, "train_nll": 190.0, "train_iou": 0.91, "train_squared_error": 0.05,
    "train_kl": 51.0, "mesh_non_empty": 1.0, "prior_iou": 0.6, "prior_occupancy": 0.3, "prior_non_empty": 1.0,
    "data_occupancy": 0.31, "witness_information": 1.1, "witness_mean_margin": 1.05, "witness_mean_lower": 0.8,
    "witness_sample_margin": 1.0, "witness_sample_lower": 0.7, "witness_fixed_margin": -0.4,
    "witness_anchored_margin": 0.1, "witness_certified": True,
}  # fmt: skip
HISTORY = {"kl": 40.0, "gain": 250.0, "kl_gradient_removed": 0.5, "outline_gradient": 0.6}


def make_run(seed, name="HEALTHY", setting=None, tags=(), history=(), **changed):
    """A run of a cell's file; figures that are None were not finite."""
    final = FINAL | {"sweep_iou": [0.9] * THRESHOLDS, "sweep_non_empty": [1.0] * THRESHOLDS} | changed
    lost = None in final.values()
    names = (
        "kl",
        "gain",
        "swap_gap",
        "swap_error",
        "constant_error",
        "iou",
        "iou_constant",
        "active_units",
        "non_finite",
    )
    evidence = {key: final[key] for key in names} | {"pays_rate": True, "shapes": 525, "non_finite": int(lost)}
    rows = history or [{"step": step} | HISTORY for step in (50, 100, 150)]
    return {"seed": seed, "setting": setting or {}, "verdict": name, "tags": [*tags, *(["non-finite"] if lost else [])],
            "reason": "as told", "evidence": evidence, "final": final, "history": rows}  # fmt: skip


def write_cell(folder, sweep, name, runs, source="solids", train=525, **changed):
    """Writes a cell's file as `training.sweep` does."""
    kind, likelihood, latent, shapes = name.split(",")[:4]
    train = 1 if shapes == "one" else train
    preflight = {
        "largest_eigenvalue": 50.0,
        "decoder_variance": 1.0,
        "kl_weight": 1.0,
        "predicted": "HEALTHY",
        "lines": [],
    }
    cell = {
        "cell": name, "overrides": {}, "sweep": sweep, "digest": "0", "seconds": 36.0, "device": "cpu", "commit": "abc",
        "factors": {"input": kind, "likelihood": likelihood, "reduction": "sum", "latent": latent, "shapes": 0, "control": ""},
        "data": {"source": source, "split": "0", "train": train, "held_out": 225},
        "settings": {"steps": 1000, "batch_size": 32, "resolution_px": 32, "latent_floats": 32, "latent_bits": 1024,
                     "parameters": 1000},
        "preflight": preflight | changed.pop("preflight", {}), "runs": runs,
    } | changed  # fmt: skip
    (folder / sweep / source).mkdir(parents=True, exist_ok=True)
    (folder / sweep / source / f"{name}.json").write_text(json.dumps(cell) + "\n")


def write_everything(folder, source="solids"):
    """A little of each sweep, so that every table has a row and every picture is drawn."""
    healthy = [make_run(seed) for seed in range(3)]
    lost = [{"step": step} | dict.fromkeys(HISTORY) for step in (50, 100, 150)]
    failed = [
        make_run(0, "COLLAPSED", kl=0.0, iou=0.54),
        make_run(1, "EXPLODED", history=lost, kl=None, gain=None),
        make_run(2),
    ]
    one = [make_run(seed, "NOT-CERTIFIABLE", tags=("decoder ok",)) for seed in range(3)]
    for kind in ("silhouettes", "silhouette_sdf"):
        for shapes, runs in (("many", healthy), ("one", one)):
            write_cell(folder, "collapse_cause", f"{kind},entropy,gaussian,{shapes}", runs, source)
            write_cell(folder, "collapse_recipe", f"{kind},mean_mse,gaussian,{shapes},full", failed, source)
            write_cell(folder, "collapse_recipe", f"{kind},mean_mse,gaussian,{shapes},full-cap", healthy, source)
        write_cell(
            folder, "collapse_recipe", f"{kind},mean_mse,gaussian,many,pair_lr1e-2_cap0.1_clampinf", failed, source
        )
        write_cell(
            folder, "collapse_recipe", f"{kind},mean_mse,gaussian,many,pair_lr1e-2_cap1_clamp10", healthy, source
        )
        for latent in ("deterministic", "gaussian", "fsq"):
            write_cell(folder, "collapse_latents", f"{kind},entropy,{latent},many", healthy, source)
        for count in (1, 8):
            name = f"{kind},entropy,gaussian,{count},shapes"
            write_cell(folder, "collapse_dose", name, healthy, source, train=count)
        write_cell(folder, "collapse_dose", f"{kind},sum_mse,gaussian,many,weight", of_weights(1.0, 100.0), source)
        write_cell(folder, "collapse_dose", f"{kind},entropy,gaussian,many,floats_32", healthy, source)
        write_cell(folder, "collapse_witness", f"{kind},entropy,gaussian,many,plain", of_weights(1.0, 8.0), source)


def of_weights(*weights):
    """Runs of several settings, the verdict by the linear theory's threshold of 50."""
    settings = [{"kl.final_weight": weight} for weight in weights for _ in range(2)]
    return [
        make_run(i % 2, "COLLAPSED" if each["kl.final_weight"] > 50 else "HEALTHY", each,
                 active_units=0.0 if each["kl.final_weight"] > 50 else 32.0)
        for i, each in enumerate(settings)
    ]  # fmt: skip


def name_cells(folder, sweep, *names, source="solids"):
    """Writes the config that names a sweep's cells."""
    (folder / sweep / source).mkdir(parents=True, exist_ok=True)
    config = {"sweep": {"cells": [f"{name}: model.input=silhouettes" for name in names]}}
    (folder / sweep / source / "config.json").write_text(json.dumps(config))


def rows_of(text, word=""):
    """Cells of the rows of all tables in a text that hold the word, without heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    ruled = [i for i, row in enumerate(rows) if set(row) == {"---"}]
    kept = [row for i, row in enumerate(rows) if i not in ruled and i + 1 not in ruled]
    return [row for row in kept if any(word in cell for cell in row)]


def column_of(text, name):
    """The cells of a column of the first table."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [row[lines[0].index(name)] for row in lines[2:]]


# Statistics.


@pytest.mark.parametrize(
    ("successes", "trials", "lower"), [(5, 5, 0.549), (10, 10, 0.741), (0, 5, 0.0), (9, 10, 0.606)]
)
def test_the_lower_bound_on_a_rate_is_the_known_one(successes, trials, lower):
    assert lab.rate_lower(successes, trials) == pytest.approx(lower, abs=5e-4)


def test_at_the_lower_bound_so_many_successes_have_the_chance_of_doubt():
    for successes, trials in ((1, 7), (4, 9), (9, 9)):
        rate = lab.rate_lower(successes, trials, 0.1)
        chance = sum(scipy.stats.binom.pmf(count, trials, rate) for count in range(successes, trials + 1))
        assert chance == pytest.approx(0.1)


def test_separation_is_the_share_of_pairs_with_ties_counted_half():
    random = np.random.default_rng(0)
    failed, healthy = (random.integers(0, 6, count).astype(float) for count in (30, 17))
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(failed, healthy)]
    assert lab.separation(failed, healthy) == pytest.approx(np.mean(pairs))
    assert lab.separation(healthy, failed) == pytest.approx(1 - np.mean(pairs))
    assert lab.separation(healthy + 10, healthy) == 1
    assert np.isnan(lab.separation(failed, np.zeros(0)))


def test_a_spread_is_median_least_and_largest_and_tells_what_is_not_finite():
    assert lab.spread(np.array([3.0, 1.0, 2.5])) == "2.50 (1..3)"
    assert lab.spread(np.array([4.0, np.nan, 4.0])) == "4; 1 not finite"
    assert lab.spread(np.array([np.nan, np.inf])) == "2 not finite"
    assert lab.spread(np.zeros(0)) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0, "0"), (32.0, "32"), (15540.4, "15,540"), (0.0481, "0.048"), (1.2345, "1.23"), (-41.26, "-41.3"),
     (2e-5, "2e-05"), (-1.1309e38, "-1.13e38"), (6562450.0, "6.56e6"), (np.nan, "–")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert lab.number(value) == text


def test_a_band_leaves_out_what_is_not_finite_and_keeps_gaps():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan]])
    np.testing.assert_array_equal(drawing.band(values), [[2, np.nan], [1, np.nan], [3, np.nan]])


# Reading.


def test_runs_of_several_settings_are_groups_of_their_own(tmp_path):
    write_cell(tmp_path, "collapse_dose", "silhouettes,sum_mse,gaussian,many,weight", of_weights(1.0, 100.0))
    low, high = lab.read(tmp_path).groups
    assert (low.setting, high.setting) == ({"kl.final_weight": 1.0}, {"kl.final_weight": 100.0})
    assert [len(group.runs) for group in (low, high)] == [2, 2]
    assert (lab.weight(low), lab.weight(high)) == (1.0, 100.0)
    assert (lab.threshold(low), lab.threshold(high)) == (pytest.approx(1 / 50), pytest.approx(2))
    assert (lab.predicted(low), lab.predicted(high)) == ("HEALTHY", "COLLAPSED")


def test_a_prediction_that_no_threshold_made_holds_for_every_weight(tmp_path):
    unknown = {"decoder_variance": None, "predicted": "UNKNOWN"}
    write_cell(
        tmp_path,
        "collapse_witness",
        "silhouettes,entropy,gaussian,many,plain",
        of_weights(1.0, 99.0),
        preflight=unknown,
    )
    assert [lab.predicted(group) for group in lab.read(tmp_path).groups] == ["UNKNOWN", "UNKNOWN"]


def test_cells_stand_in_the_order_of_their_config_and_what_has_no_file_is_missing(tmp_path):
    names = [f"{kind},entropy,gaussian,many" for kind in ("silhouettes", "depth", "binary")]
    name_cells(tmp_path, "collapse_cause", *names)
    for name in (names[1], names[0]):
        write_cell(tmp_path, "collapse_cause", name, [make_run(0)])
    found = lab.read(tmp_path)
    assert [group.name for group in found.groups] == names[:2]
    assert found.missing == {("collapse_cause", "solids"): [names[2]]}
    told = "Missing: 1 of 3 cells of collapse_cause on solids: `binary,entropy,gaussian,many`.\n"
    assert lab.missing_text(found, "collapse_cause", "collapse_dose") == (
        f"{told}\nMissing: collapse_dose on solids was not run.\n"
    )
    assert tables.cause(found).endswith(f"\n{told}")


def test_many_missing_cells_are_counted(tmp_path):
    name_cells(tmp_path, "collapse_cause", *(f"silhouettes,entropy,gaussian,{count}" for count in range(lab.NAMED + 4)))
    assert lab.missing_text(lab.read(tmp_path), "collapse_cause").endswith("; and 4 more.\n")


CELL = "silhouettes,entropy,gaussian,many"
FILE = f"collapse_cause/solids/{CELL}.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"cell": ', f"{FILE} is no JSON: Expecting value: line 1 column 10 (char 9); accepted: what --mode=sweep writes; "
                      "delete it and run again"),
        ("[]", f"{FILE} holds a list; accepted: an object with {', '.join(lab.KEYS)}"),
        ('{"cell": 1, "factors": {}, "data": {}, "settings": {}, "seconds": 1, "device": "", "commit": ""}',
         f"{FILE} lacks preflight, runs; accepted: an object with {', '.join(lab.KEYS)}"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_by_its_name(tmp_path, capsys, text, message):
    write_cell(tmp_path, "collapse_cause", CELL, [make_run(0)])
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lab.read(tmp_path)
    assert laboratory.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"laboratory: {message}\n"


def test_a_packed_sweep_gives_the_same_tables_and_a_cell_beside_it_is_newer(tmp_path):
    write_everything(tmp_path)
    name_cells(tmp_path, "collapse_cause", "depth,entropy,gaussian,many", CELL)
    before = lab.read(tmp_path)
    for place in tmp_path.glob("*/*/"):
        sweep.pack(place, set())
    assert {file.name for file in tmp_path.glob("*/*/*")} == {"config.json", cells.PACK}
    packed = lab.read(tmp_path)
    for name, make in laboratory.TABLES.items():
        assert make(packed) == make(before), name
    write_cell(tmp_path, "collapse_cause", CELL, [make_run(0, "WEAK")])
    (newer,) = [group for group in lab.read(tmp_path).of("collapse_cause") if group.name == CELL]
    assert lab.counted(newer.runs) == "1/1 WEAK"


def test_a_broken_line_of_a_pack_is_refused_by_its_number(tmp_path):
    write_cell(tmp_path, "collapse_cause", CELL, [make_run(0)])
    place = (tmp_path / FILE).parent
    sweep.pack(place, set())
    (place / cells.PACK).write_bytes(gzip.compress(gzip.decompress((place / cells.PACK).read_bytes()) + b"[]\n"))
    where = f"collapse_cause/solids/{cells.PACK} line 2"
    message = f"{where} holds a list; accepted: an object with {', '.join(lab.KEYS)}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lab.read(tmp_path)


def test_a_cell_of_another_kind_of_name_is_refused(tmp_path):
    write_cell(tmp_path, "collapse_cause", CELL, [make_run(0)], cell="baseline")
    accepted = "'input,likelihood,latent,shapes' and, where there is one, ',control'"
    message = f"{FILE} holds the cell 'baseline'; accepted: {accepted}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lab.read(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    message = "results: nowhere is no folder; accepted: the folder that holds a folder for each sweep"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lab.read(tmp_path / "nowhere")


# Tables.


def test_counts_of_verdicts_add_up_to_the_runs(tmp_path):
    write_everything(tmp_path)
    results = lab.read(tmp_path)
    rows = rows_of(laboratory.overview(results))
    assert len(rows) == 5
    for row in rows:
        assert sum(map(int, row[4:9])) == int(row[3])
    assert sum(int(row[3]) for row in rows) == sum(len(group.runs) for group in results.groups)
    for row in rows_of(laboratory.preflight(results)):
        assert sum(map(int, row[3:8])) == int(row[2])


def test_a_failed_run_is_counted_and_not_averaged(tmp_path):
    failed = make_run(
        1, "EXPLODED", kl=None, gain=None, sweep_iou=[0.0] * THRESHOLDS, sweep_non_empty=[0.0] * THRESHOLDS
    )
    write_cell(
        tmp_path, "collapse_recipe", "silhouettes,mean_mse,gaussian,many,full", [make_run(0), failed, make_run(2)]
    )
    results = lab.read(tmp_path)
    (row,) = rows_of(tables.recipe(results))
    assert row[:5] == [
        "full",
        "many",
        "2/3 HEALTHY, 1/3 EXPLODED (1 × non-finite)",
        "50; 1 not finite",
        "300; 1 not finite",
    ]
    assert row[5:10] == ["0.500", "–", "1/3", "1", "1/3"]
    assert set(row[10:]) == {"–"}  # the other input was not run
    assert [row[4:6] for row in rows_of(laboratory.thresholds(results), "EXPLODED")] == [["1", "1"]]
    assert column_of(laboratory.thresholds(results), "empty at every threshold") == ["1/1", "0/2"]


def test_the_best_threshold_is_found(tmp_path):
    scores = [0.1, None, 0.7] + [0.2] * (THRESHOLDS - 3)
    write_cell(
        tmp_path, "collapse_recipe", "silhouettes,mean_mse,gaussian,many,full", [make_run(0, iou=0.2, sweep_iou=scores)]
    )
    (row,) = rows_of(laboratory.thresholds(lab.read(tmp_path)))
    assert row[6:9] == ["0.200", "0.700", "0.150"]


def test_verdicts_agree_by_seed_and_only_between_cells_that_are_alike(tmp_path):
    names = ("HEALTHY", "WEAK", "HEALTHY")
    first = [make_run(seed, name) for seed, name in enumerate(names)]
    second = [make_run(seed, names[seed]) for seed in (2, 0)] + [make_run(1, "COLLAPSED"), make_run(7)]
    write_cell(tmp_path, "collapse_cause", "silhouettes,entropy,gaussian,many", first)
    write_cell(tmp_path, "collapse_cause", "silhouette_sdf,entropy,gaussian,many", second)
    write_cell(tmp_path, "collapse_cause", "silhouette_sdf,entropy,gaussian,one", second)
    results = lab.read(tmp_path)
    ((left, right),) = lab.pairs(results.groups)
    assert lab.agreeing(left, right) == (2, 3)
    (row,) = rows_of(laboratory.pairs(results))
    assert row[-2:] == ["2 of 3", f"{lab.rate_lower(2, 3):.3f}"]
    told = "- collapse_cause on solids, several shapes: the commonest verdict agrees in 1 of 1 pairs, the seeds' in 2 of 3.\n"
    assert told in laboratory.pairs(results)


def test_a_deterministic_latent_has_no_rate(tmp_path):
    write_everything(tmp_path)
    text = tables.latents(lab.read(tmp_path))
    kinds, rates = column_of(text, "latent"), column_of(text, "rate (nats)")
    assert dict(zip(kinds, rates)) == {"deterministic": "–", "gaussian": "50", "fsq": "50"}


def test_metrics_are_judged_on_runs_that_pay_a_rate_and_can_be_certified(tmp_path):
    low = [make_run(seed, "COLLAPSED", kl=0.1 * seed, iou=0.9) for seed in range(4)]
    free = make_run(8, kl=0.0)
    free["evidence"]["pays_rate"] = False
    others = [make_run(seed, kl=40.0 + seed) for seed in (4, 5)] + [make_run(6, "NOT-CERTIFIABLE", kl=0.0), free]
    others += [make_run(7, "EXPLODED", kl=None)]
    write_cell(tmp_path, "collapse_cause", CELL, low + others)
    text = laboratory.metrics(lab.read(tmp_path))
    assert "2 HEALTHY, 4 COLLAPSED, 1 EXPLODED" in text
    (kl,), (iou,) = rows_of(text, "KL")[:1], rows_of(text, "IoU")
    assert kl == ["KL", "yes", "1.000 (lower)", "–", "1.000 (lower)", "1", "0"]
    assert iou[2] == "0.500 (lower)"
    assert rows_of(text, "encoder's variance")[0][-1] == "7"


def test_the_preflight_is_right_of_verdicts_that_it_named(tmp_path):
    runs = [make_run(0, "COLLAPSED"), make_run(1), make_run(2, "WEAK")]
    write_cell(tmp_path, "collapse_cause", CELL, runs, preflight={"largest_eigenvalue": 0.5, "predicted": "COLLAPSED"})
    (row,) = rows_of(laboratory.preflight(lab.read(tmp_path)))
    assert row == ["solids", "COLLAPSED", "3", "1", "1", "1", "0", "0", "1 of 3 (33%)"]
    assert column_of(tables.cause(lab.read(tmp_path)), "preflight: true of") == ["COLLAPSED: 1/3"]


def test_every_source_has_its_rows(tmp_path):
    write_everything(tmp_path)
    write_everything(tmp_path, "shapes+heads")
    results = lab.read(tmp_path)
    for name in ("cause", "latents", "recipe", "dose", "witness", "priors"):
        text = laboratory.TABLES[name](results)
        assert text.count("solids: at most") == text.count("shapes+heads: at most") > 0, name
        assert len(rows_of(text)) % 2 == 0, name
    for name in ("overview", "pairs", "thresholds", "preflight"):
        rows = rows_of(laboratory.TABLES[name](results))
        assert sum("solids" in row for row in rows) == sum("shapes+heads" in row for row in rows) == len(rows) / 2, name


def test_tables_have_as_many_cells_in_every_row(tmp_path):
    write_everything(tmp_path)
    results = lab.read(tmp_path)
    for name, make in laboratory.TABLES.items():
        for text in make(results).split("\n\n"):
            assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) <= 1, name


def test_without_results_every_table_says_what_is_missing(tmp_path):
    results = lab.read(tmp_path)
    for name, make in laboratory.TABLES.items():
        assert make(results).startswith("Missing: "), name
    assert laboratory_plots.draw(results, tmp_path / "images") == []


def test_only_what_stands_between_markers_is_replaced_and_twice_is_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(laboratory_plots, "draw", lambda _, folder: [f"{folder.name} are not drawn"])  # tested below
    write_everything(tmp_path / "collapse")
    pages = [tmp_path / name for name in ("collapse.md", "README.md")]
    pages[0].write_text("a\n<!-- lab:cause -->\nold\n<!-- /lab:cause -->\nb <!-- lab:pairs -->\n<!-- /lab:pairs -->\n")
    pages[1].write_text("<!-- lab:preflight -->\n<!-- /lab:preflight -->")
    command = [str(tmp_path / "collapse"), "--into", *map(str, pages)]
    assert laboratory.main(command) == 0
    assert capsys.readouterr().err == "images are not drawn\n"
    once = [page.read_text() for page in pages]
    assert laboratory.main(command) == 0
    assert [page.read_text() for page in pages] == once
    results = lab.read(tmp_path / "collapse")
    assert once[0] == (
        f"a\n<!-- lab:cause -->\n\n{tables.cause(results)}\n<!-- /lab:cause -->\n"
        f"b <!-- lab:pairs -->\n\n{laboratory.pairs(results)}\n<!-- /lab:pairs -->\n"
    )
    assert laboratory.preflight(results) in once[1]


def test_an_unknown_table_is_refused_and_no_page_is_changed(tmp_path, capsys):
    write_cell(tmp_path / "collapse", "collapse_cause", CELL, [make_run(0)])
    pages = [tmp_path / "a.md", tmp_path / "b.md"]
    pages[0].write_text("<!-- lab:cause -->\n<!-- /lab:cause -->")
    pages[1].write_text("<!-- lab:effect -->\n<!-- /lab:effect -->")
    before = [page.read_text() for page in pages]
    assert laboratory.main([str(tmp_path / "collapse"), "--into", *map(str, pages)]) == 2
    assert capsys.readouterr().err == (
        f"laboratory: b.md: a marker names the table 'effect'; tables: {', '.join(laboratory.TABLES)}\n"
    )
    assert [page.read_text() for page in pages] == before


def test_a_page_that_is_not_there_and_a_folder_without_cells_are_refused(tmp_path, capsys):
    write_everything(tmp_path / "collapse")
    assert laboratory.main([str(tmp_path / "collapse"), "--into", str(tmp_path / "page.md")]) == 2
    assert capsys.readouterr().err == "laboratory: page.md is no file; accepted: pages with markers\n"
    page = tmp_path / "page.md"
    page.write_text("<!-- lab:cause -->\nold\n<!-- /lab:cause -->")
    assert laboratory.main([str(tmp_path), "--into", str(page)]) == 2
    message = f"laboratory: {tmp_path} holds no cell of a sweep; accepted: results/collapse\n"
    assert capsys.readouterr().err == message
    assert page.read_text() == "<!-- lab:cause -->\nold\n<!-- /lab:cause -->"
    assert not (tmp_path / "images").exists()


def test_tables_are_printed_without_a_page(tmp_path, capsys):
    write_everything(tmp_path)
    assert laboratory.main([str(tmp_path)]) == 0
    assert tables.cause(lab.read(tmp_path)) in capsys.readouterr().out
    assert not (tmp_path / "images").exists()


def test_the_tables_of_the_evidence_are_those_of_the_results():
    if told := own.foreign(ROOT, "results/collapse"):
        pytest.skip(told)
    text = (ROOT / "docs" / "collapse_evidence.md").read_text(encoding="utf-8")
    assert laboratory.fill(text, lab.read(ROOT / "results" / "collapse")) == text


def test_names_are_those_of_the_diagnostics():
    assert set(lab.VERDICTS) == set(named.VERDICTS) == set(drawing.VERDICT_COLOURS)
    names = {name.lstrip("-") for text, _ in laboratory.METRICS.values() for name in text.split()}
    fields = {f"witness_{name}" for name in witness.Certificate._fields}
    assert {name for name in names if name.startswith("witness_")} <= fields
    assert len(collapse.THRESHOLDS) == THRESHOLDS


# Pictures.


def test_every_picture_is_drawn_for_every_source(tmp_path):
    write_everything(tmp_path)
    write_cell(tmp_path, "collapse_cause", CELL, [make_run(0)], "shapes+heads")
    (tmp_path / "images").mkdir()
    stale = tmp_path / "images" / "rates_shapes+heads.png"
    stale.write_text("of earlier results")
    lacking = laboratory_plots.draw(lab.read(tmp_path), tmp_path / "images")
    drawn = {file.name for file in (tmp_path / "images").iterdir()}
    assert {f"{name}_solids.png" for name in laboratory_plots.PICTURES} <= drawn
    assert drawn - {f"{name}_solids.png" for name in laboratory_plots.PICTURES} == {
        "verdicts_cause_shapes+heads.png", "outline_shapes+heads.png",
    }  # fmt: skip
    assert "rates_shapes+heads.png is not drawn: collapse_latents on shapes+heads is missing" in lacking
    assert len(lacking) == len(laboratory_plots.PICTURES) - 2
    for name in drawn:
        pixels = np.asarray(Image.open(tmp_path / "images" / name).convert("L"))
        assert pixels.shape[1] == 924
        assert (pixels < 255).mean() > 0.01


def title_of(made):
    return made.get_suptitle().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ").strip()


def test_titles_are_counted_from_the_runs(tmp_path):
    write_everything(tmp_path)
    groups = lab.read(tmp_path).groups
    titles = {name: title_of(make(groups)) for name, make in laboratory_plots.PICTURES.items()}
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


def test_a_map_has_the_share_of_every_verdict(tmp_path):
    runs = [make_run(0), make_run(1, "COLLAPSED"), make_run(2, "COLLAPSED"), make_run(3)]
    write_cell(tmp_path, "collapse_cause", CELL, runs)
    (axes,) = laboratory_plots.verdicts_cause(lab.read(tmp_path).groups).axes
    widths = [patch.get_width() for patch in axes.patches]
    np.testing.assert_allclose(widths, [0.48, 0.48])
    assert [text.get_text() for text in axes.texts] == ["2", "2"]


def test_a_latent_without_a_rate_lies_at_its_stored_bits(tmp_path):
    for latent in ("deterministic", "gaussian"):
        write_cell(tmp_path, "collapse_latents", f"silhouettes,entropy,{latent},many", [make_run(0, kl=20.0)])
    deterministic, gaussian = (doses.bits(group) for group in lab.read(tmp_path).groups)
    np.testing.assert_allclose(deterministic, 1024)
    np.testing.assert_allclose(gaussian, 20 / np.log(2))
