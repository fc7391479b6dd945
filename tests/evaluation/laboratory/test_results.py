"""Cells become groups of runs by what stands in them, whatever they are called; what is missing or broken is told."""

import json
import lzma
import re

import pytest

from hexjax import cells
from hexjax.evaluation.laboratory import __main__ as command
from hexjax.evaluation.laboratory import measures, results, tables
from hexjax.training import sweep
from tests.evaluation.laboratory import toys

FILE = f"collapse_cause/solids/{toys.CELL}.json"


def test_runs_of_several_settings_are_groups_of_their_own(tmp_path):
    toys.write_cell(tmp_path, "collapse_dose", "silhouettes,sum_mse,gaussian,many,weight", toys.of_weights(1.0, 100.0))
    low, high = results.read(tmp_path).groups
    assert (low.setting, high.setting) == ({"kl.final_weight": 1.0}, {"kl.final_weight": 100.0})
    assert [len(group.runs) for group in (low, high)] == [2, 2]
    assert (measures.weight(low), measures.weight(high)) == (1.0, 100.0)
    assert (measures.threshold(low), measures.threshold(high)) == (pytest.approx(1 / 50), pytest.approx(2))
    assert (measures.predicted(low), measures.predicted(high)) == ("HEALTHY", "COLLAPSED")


def test_cells_stand_in_the_order_of_their_config_and_what_has_no_file_is_missing(tmp_path):
    names = [f"{kind},entropy,gaussian,many" for kind in ("silhouettes", "depth", "binary")]
    toys.name_cells(tmp_path, "collapse_cause", *names)
    for name in (names[1], names[0]):
        toys.write_cell(tmp_path, "collapse_cause", name, [toys.make_run(0)])
    found = results.read(tmp_path)
    assert [group.name for group in found.groups] == names[:2]
    assert found.missing == {("collapse_cause", "solids"): [names[2]]}
    told = "Missing: 1 of 3 cells of collapse_cause on solids: `binary,entropy,gaussian,many`.\n"
    assert measures.missing_text(found, "collapse_cause", "collapse_dose") == (
        f"{told}\nMissing: collapse_dose on solids was not run.\n"
    )
    assert tables.cause(found).endswith(f"\n{told}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"cell": ', f"{FILE} is no JSON: Expecting value: line 1 column 10 (char 9); accepted: what --mode=sweep writes; "
                      "delete it and run again"),
        ("[]", f"{FILE} holds a list; accepted: an object with {', '.join(results.KEYS)}"),
        ('{"cell": 1, "overrides": {}, "factors": {}, "data": {}, "settings": {}, "seconds": 1, "device": "", "commit": ""}',
         f"{FILE} lacks preflight, runs; accepted: an object with {', '.join(results.KEYS)}"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_by_its_name(tmp_path, capsys, text, message):
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, [toys.make_run(0)])
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        results.read(tmp_path)
    assert command.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"laboratory: {message}\n"


def test_a_packed_sweep_gives_the_same_tables_and_a_cell_beside_it_is_newer(tmp_path):
    toys.write_everything(tmp_path)
    toys.name_cells(tmp_path, "collapse_cause", "depth,entropy,gaussian,many", toys.CELL)
    before = results.read(tmp_path)
    for place in tmp_path.glob("*/*/"):
        sweep.pack(place, set())
    assert {file.name for file in tmp_path.glob("*/*/*")} == {"config.json", cells.PACK}
    packed = results.read(tmp_path)
    for name, make in command.TABLES.items():
        assert make(packed) == make(before), name
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, [toys.make_run(0, "WEAK")])
    (newer,) = [group for group in results.read(tmp_path).of("collapse_cause") if group.name == toys.CELL]
    assert measures.counted(newer.runs) == "1/1 WEAK"


def test_a_broken_line_of_a_pack_is_refused_by_its_number(tmp_path):
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, [toys.make_run(0)])
    place = (tmp_path / FILE).parent
    sweep.pack(place, set())
    (place / cells.PACK).write_bytes(lzma.compress(lzma.decompress((place / cells.PACK).read_bytes()) + b"[]\n"))
    where = f"collapse_cause/solids/{cells.PACK} line 2"
    message = f"{where} holds a list; accepted: an object with {', '.join(results.KEYS)}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        results.read(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    message = "results: nowhere is no folder; accepted: the folder that holds a folder for each sweep"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        results.read(tmp_path / "nowhere")


def rename(folder):
    """Gives every cell another name and the same place among its sweep's."""
    for number, file in enumerate(sorted(folder.glob("*/*/*.json"), key=lambda file: (file.parent, file.stem))):
        cell = json.loads(file.read_text(encoding="utf-8")) | {"cell": f"a,b,{number:03}"}
        file.unlink()
        (file.parent / f"{cell['cell']}.json").write_text(json.dumps(cell), encoding="utf-8")


def test_what_cells_are_called_changes_no_table(tmp_path):
    toys.write_everything(tmp_path)
    before = results.read(tmp_path)
    made = {name: make(before) for name, make in command.TABLES.items()}
    rename(tmp_path)
    after = results.read(tmp_path)
    assert {group.name for group in after.groups}.isdisjoint(group.name for group in before.groups)
    assert [group.factors for group in after.groups] == [group.factors for group in before.groups]
    assert {name: make(after) for name, make in command.TABLES.items()} == made


@pytest.mark.parametrize(
    ("likelihood", "reduction", "word"),
    [
        ("channels", "mean", "mean_mse"),
        ("channels", "sum", "sum_squares"),
        ("gaussian", "sum", "sum_mse"),
        ("bernoulli", "sum", "entropy"),
        ("continuous_bernoulli", "sum", "entropy"),
        ("calibrated_gaussian", "sum", "calibrated"),
        ("another", "sum", "another"),
    ],
)
def test_a_likelihood_has_the_word_of_its_kind_and_reduction(tmp_path, likelihood, reduction, word):
    given = {"likelihood": likelihood, "reduction": reduction}
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, [toys.make_run(0)], factors=given)
    (group,) = results.read(tmp_path).groups
    assert group.factors == results.Factors("silhouettes", word, "gaussian", "many", "")


@pytest.mark.parametrize(
    ("control", "overrides", "settings", "word"),
    [
        ("", {"model.input": "silhouettes", "sweep.seeds": "3"}, {}, ""),
        ("full-cap", {"kl.cap": "1"}, {}, "full-cap"),
        ("", {"latent.estimator": "gumbel"}, {}, "gumbel"),
        ("", {"latent.bits": "16"}, {"latent_bits": 48}, "bits_48"),
        ("", {"kl.final_weight": "0.5|2|4"}, {}, "weights"),
        ("", {"kl.final_weight": "0.5"}, {}, ""),
        ("weight", {"kl.final_weight": "0.5|2|4"}, {}, "weight"),
        ("floats", {}, {"latent_floats": 512}, "floats_512"),
        ("floats", {"kl.cap": "0.1"}, {"latent_floats": 8192}, "floats_8192_cap"),
        ("witness", {}, {}, "plain"),
        ("witness", {"witness.weight": "10"}, {}, "aligned"),
        ("witness", {"witness.weight": "0|10", "witness.prefit_steps": "0|200"}, {}, "aligned"),
        ("witness", {"witness.weight": "10", "witness.prefit_steps": "200"}, {}, "prefit"),
    ],
)
def test_a_control_is_the_sweeps_or_told_by_what_is_overridden(tmp_path, control, overrides, settings, word):
    toys.write_cell(
        tmp_path,
        "collapse_dose",
        toys.CELL,
        [toys.make_run(0)],
        factors={"control": control},
        overrides=overrides,
        settings=settings,
    )
    (group,) = results.read(tmp_path).groups
    assert group.factors.control == word


def test_cells_of_another_family_stand_in_the_tables_with_dashes(tmp_path):
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, [toys.make_run(0)])
    file = tmp_path / FILE
    cell = json.loads(file.read_text(encoding="utf-8"))
    other = cell | {"cell": "baseline", "factors": {"latent": "gaussian", "shapes": 8, "control": ""}}
    (file.parent / "baseline.json").write_text(json.dumps(other), encoding="utf-8")
    known = results.read(tmp_path)
    rows = toys.rows_of(tables.cause(known))
    assert [row[:4] for row in rows] == [["–", "–", "gaussian", "8"], ["silhouettes", "entropy", "gaussian", "many"]]
    for make in command.TABLES.values():
        make(known)
