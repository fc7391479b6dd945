"""Tables over all cells: counts add up, and cells are compared that are alike."""

from hexjax import names
from hexjax.diagnostics import collapse, witness
from hexjax.evaluation.laboratory import drawing, measures, overall, results, tables
from tests.evaluation.laboratory import toys


def test_counts_of_verdicts_add_up_to_the_runs(tmp_path):
    toys.write_everything(tmp_path)
    known = results.read(tmp_path)
    rows = toys.rows_of(overall.overview(known))
    assert len(rows) == 6
    for row in rows:
        assert sum(map(int, row[4:9])) == int(row[3])
    assert sum(int(row[3]) for row in rows) == sum(len(group.runs) for group in known.groups)
    for row in toys.rows_of(overall.preflight(known)):
        assert sum(map(int, row[3:8])) == int(row[2])


def test_the_best_threshold_is_found(tmp_path):
    scores = [0.1, None, 0.7] + [0.2] * (toys.THRESHOLDS - 3)
    toys.write_cell(
        tmp_path,
        "collapse_recipe",
        "silhouettes,mean_mse,gaussian,many,full",
        [toys.make_run(0, iou=0.2, sweep_iou=scores)],
    )
    (row,) = toys.rows_of(overall.thresholds(results.read(tmp_path)))
    assert row[6:9] == ["0.200", "0.700", "0.150"]


def test_verdicts_agree_by_seed_and_only_between_cells_that_are_alike(tmp_path):
    names = ("HEALTHY", "WEAK", "HEALTHY")
    first = [toys.make_run(seed, name) for seed, name in enumerate(names)]
    second = [toys.make_run(seed, names[seed]) for seed in (2, 0)] + [toys.make_run(1, "COLLAPSED"), toys.make_run(7)]
    toys.write_cell(tmp_path, "collapse_cause", "silhouettes,entropy,gaussian,many", first)
    toys.write_cell(tmp_path, "collapse_cause", "silhouette_sdf,entropy,gaussian,many", second)
    toys.write_cell(tmp_path, "collapse_cause", "silhouette_sdf,entropy,gaussian,one", second)
    known = results.read(tmp_path)
    ((left, right),) = measures.pairs(known.groups)
    assert measures.agreeing(left, right) == (2, 3)
    (row,) = toys.rows_of(overall.pairs(known))
    assert row[-2:] == ["2 of 3", f"{measures.rate_lower(2, 3):.3f}"]
    told = "- collapse_cause on solids, several shapes: the commonest verdict agrees in 1 of 1 pairs, the seeds' in 2 of 3.\n"
    assert told in overall.pairs(known)


def test_metrics_are_judged_on_runs_that_pay_a_rate_and_can_be_certified(tmp_path):
    low = [toys.make_run(seed, "COLLAPSED", kl=0.1 * seed, iou=0.9) for seed in range(4)]
    free = toys.make_run(8, kl=0.0)
    free["evidence"]["pays_rate"] = False
    others = [toys.make_run(seed, kl=40.0 + seed) for seed in (4, 5)] + [
        toys.make_run(6, "NOT-CERTIFIABLE", kl=0.0),
        free,
    ]
    others += [toys.make_run(7, "EXPLODED", kl=None)]
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, low + others)
    text = overall.metrics(results.read(tmp_path))
    assert "2 HEALTHY, 4 COLLAPSED, 1 EXPLODED" in text
    (kl,), (iou,) = toys.rows_of(text, "KL")[:1], toys.rows_of(text, "IoU")
    assert kl == ["KL", "yes", "1.000 (lower)", "–", "1.000 (lower)", "1", "0"]
    assert iou[2] == "0.500 (lower)"
    assert toys.rows_of(text, "encoder's variance")[0][-1] == "7"


def test_the_preflight_is_right_of_verdicts_that_it_named(tmp_path):
    runs = [toys.make_run(0, "COLLAPSED"), toys.make_run(1), toys.make_run(2, "WEAK")]
    toys.write_cell(
        tmp_path, "collapse_cause", toys.CELL, runs, preflight={"largest_eigenvalue": 0.5, "predicted": "COLLAPSED"}
    )
    (row,) = toys.rows_of(overall.preflight(results.read(tmp_path)))
    assert row == ["solids", "COLLAPSED", "3", "1", "1", "1", "0", "0", "1 of 3 (33%)"]
    assert toys.column_of(tables.cause(results.read(tmp_path)), "preflight: true of") == ["COLLAPSED: 1/3"]


def test_names_are_those_of_the_diagnostics():
    assert set(names.VERDICTS) == set(drawing.VERDICT_COLOURS)
    scalars = {name.lstrip("-") for text, _ in overall.METRICS.values() for name in text.split()}
    fields = {f"witness_{name}" for name in witness.Certificate._fields}
    assert {name for name in scalars if name.startswith("witness_")} <= fields
    assert len(collapse.THRESHOLDS) == toys.THRESHOLDS


def test_signs_at_an_early_step_are_counted_by_the_verdict_in_the_end(tmp_path):
    moment = {"step": overall.EARLY, "active_units": 0.0, "kl": 5.0, "gain": -6.0, "kl_gradient_removed": 0.0}
    signs = [
        toys.make_run(0, "COLLAPSED", history=[moment]),
        toys.make_run(
            1, "EXPLODED", history=[moment | {"active_units": 2.0, "gain": None, "kl_gradient_removed": 1.0}]
        ),
        toys.make_run(2, history=[moment | {"active_units": 2.0, "gain": 0.0}]),
        toys.make_run(3),
    ]
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, signs)
    one = [toys.make_run(0, "NOT-CERTIFIABLE", history=[moment])]
    toys.write_cell(tmp_path, "collapse_cause", "silhouettes,entropy,gaussian,one", one)
    assert toys.rows_of(overall.early(results.read(tmp_path))) == [
        ["solids", "HEALTHY", "1", "0", "0", "0"],
        ["solids", "COLLAPSED", "1", "1", "1", "0"],
        ["solids", "EXPLODED", "1", "0", "1", "1"],
    ]
