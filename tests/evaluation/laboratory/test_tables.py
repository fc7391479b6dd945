"""Tables of the blocks: what failed is counted and not averaged, and rows are worded by what a cell changes."""

from hexjax.evaluation.laboratory import overall, results, tables
from tests.evaluation.laboratory import toys


def test_a_failed_run_is_counted_and_not_averaged(tmp_path):
    failed = toys.make_run(
        1, "EXPLODED", kl=None, gain=None, sweep_iou=[0.0] * toys.THRESHOLDS, sweep_non_empty=[0.0] * toys.THRESHOLDS
    )
    toys.write_cell(
        tmp_path,
        "collapse_recipe",
        "silhouettes,mean_mse,gaussian,many,full",
        [toys.make_run(0), failed, toys.make_run(2)],
    )
    known = results.read(tmp_path)
    (row,) = toys.rows_of(tables.recipe(known))
    assert row[:5] == [
        "full",
        "many",
        "2/3 HEALTHY, 1/3 EXPLODED (1 × non-finite)",
        "50; 1 not finite",
        "300; 1 not finite",
    ]
    assert row[5:10] == ["0.500", "–", "1/3", "1", "1/3"]
    assert set(row[10:]) == {"–"}  # the other input was not run
    assert [row[4:6] for row in toys.rows_of(overall.thresholds(known), "EXPLODED")] == [["1", "1"]]
    assert toys.column_of(overall.thresholds(known), "empty at every threshold") == ["1/1", "0/2"]


def test_a_deterministic_latent_has_no_rate(tmp_path):
    toys.write_everything(tmp_path)
    text = tables.latents(results.read(tmp_path))
    kinds, rates = toys.column_of(text, "latent"), toys.column_of(text, "rate (nats)")
    assert dict(zip(kinds, rates)) == {"deterministic": "–", "gaussian": "50", "fsq": "50"}


def test_a_count_of_training_shapes_is_a_number_where_it_is_the_dose(tmp_path):
    for count in (1, 8):
        name = f"silhouettes,entropy,gaussian,{count},shapes"
        toys.write_cell(tmp_path, "collapse_dose", name, [toys.make_run(0)], train=count)
    assert toys.column_of(tables.dose(results.read(tmp_path)), "training shapes N") == ["1", "8"]


def test_a_front_counts_the_weights_that_no_other_beats_and_how_runs_settle(tmp_path):
    settings = [{"kl.final_weight": weight} for weight in (1.0, 4.0, 16.0, 100.0)]
    rates = ((20.0, 0.02), (10.0, 0.05), (11.0, 0.06), (0.0, 0.2))
    history = [{"step": step, "kl": 10.0 - step / 50, "variance": 0.1} for step in (80, 100)]
    runs = [
        toys.make_run(0, setting=setting, kl=kl, squared_error=error, history=history)
        for setting, (kl, error) in zip(settings, rates)
    ]
    toys.write_cell(tmp_path, "collapse_dose", "silhouettes,sum_mse,gaussian,many,weight", runs)
    text = tables.front(results.read(tmp_path))
    assert toys.column_of(text, "β") == ["1", "4", "16", "100"]
    assert toys.column_of(text, "KL's change over the last fifth") == ["-0.048"] * 4
    assert (
        "- silhouettes of solids: 2 of 3 weights up to the threshold are beaten by no other in rate and error both.\n"
        in text
    )
