"""The table and the picture of runs that went on after a collapse."""

from hexjax.evaluation.laboratory import escape, results
from tests.evaluation.laboratory import toys


def test_who_recovers_after_how_many_steps_and_whether_it_was_foretold(tmp_path):
    toys.write_everything(tmp_path)
    text = escape.table(results.read(tmp_path))
    assert toys.column_of(text, "changed") == ["nothing", "sum"] * 2
    assert toys.column_of(text, "certified in the end") == ["0/3", "3/3"] * 2
    assert toys.column_of(text, "steps until then") == ["3 not finite", "100"] * 2
    assert toys.column_of(text, "force at the start [constant mean's]") == ["0.500 [0.900]"] * 4
    assert toys.column_of(text, "what came / foretold, first step") == ["2"] * 4
    assert toys.column_of(text, "what came / foretold, ten steps") == ["4"] * 4
    assert (
        "- solids: 6 of 12 runs that began without a certificate end with one. The chance that one of these had more at the "
        "start than one that stays: the forecast of one step 1; the forecast of ten steps 1; the force 0.500.\n"
    ) in text


def test_a_certificate_that_is_lost_again_does_not_count(tmp_path):
    runs = toys.of_escape(0.5)
    for run in runs:
        run["history"].append(run["history"][0] | {"step": 400})
        run["final"]["witness_sample_lower"] = -0.5
    toys.write_cell(tmp_path, "collapse_escape", "silhouettes,mean_mse,gaussian,many,near_prefit", runs,
                    factors={"control": "near:prefit"})  # fmt: skip
    text = escape.table(results.read(tmp_path))
    assert toys.column_of(text, "certified in the end") == ["0/3"]
    assert toys.column_of(text, "steps until then") == ["3 not finite"]


def test_the_pictures_title_names_what_always_helped(tmp_path):
    toys.write_everything(tmp_path)
    made = escape.picture(results.read(tmp_path).groups)
    assert made.get_suptitle().strip() == "Certified in the end, all runs that began without: sum"
    assert escape.picture([]) == "collapse_escape"
