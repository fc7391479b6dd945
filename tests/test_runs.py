"""A sweep whose cells are runs: each is what --mode=train makes; finished ones are passed over, others go on."""

import functools
import json
import os
import pathlib
import re
import shlex
import signal
import sys

import pytest

from hexjax import cells, command, names, rules, shell, workdirs
from hexjax import config as configuration
from hexjax.data import procedural
from hexjax.evaluation import size_curve
from hexjax.training import loop, step

ROOT = pathlib.Path(__file__).parent.parent
SWEEP = (f"--config={ROOT / 'configs' / 'sweeps' / 'size_heads.py'}", "--mode=sweep")
TOY = (
    "--config.data.count=12", "--config.data.split=(0.5,0.25,0.25)", "--config.hexplane.resolution_px=16",
    "--config.latent.side=4", "--config.model.components=16", "--config.model.width=8", "--config.model.blocks=1",
    "--config.extract.grid=16", "--config.score.samples=200", "--config.evaluate.shapes=1",
    "--config.evaluate.pictures=0", "--config.evaluate.baselines=false", "--config.train.batch_size=2",
    "--config.train.steps=2", "--config.log.every_steps=1",
)  # fmt: skip
CELLS = {"large": "latent.channels=3 model.width=16", "small": "latent.channels=2 model.width=16"}
LINES = f"--config.sweep.cells={tuple(f'{name}: {words}' for name, words in CELLS.items())!r}"


def told(capsys):
    return capsys.readouterr().err.splitlines()


def rows_of(run):
    """The scores of each shape, without what a clock says."""
    items = json.loads((run / "scores.json").read_text())["items"]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in items]


@pytest.fixture
def coarse(monkeypatch):
    """Heads of few triangles, each made once."""
    for name, value in {"GRID_STEP": 1.0, "VERTICES": 500, "FACES_BETWEEN": 1000}.items():
        monkeypatch.setattr(procedural, name, value)
    monkeypatch.setattr(procedural, "head", functools.cache(procedural.head))


def kill(monkeypatch, place, name, calls):
    """Sends a SIGTERM in the so many-th call of a function, and only then."""
    real, seen = getattr(place, name), []

    def patched(*given, **more):
        seen.append(None)
        if len(seen) == calls:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*given, **more)

    monkeypatch.setattr(place, name, patched)
    return seen


@pytest.mark.slow
@pytest.mark.usefixtures("quick_programs", "coarse")
def test_a_sweep_that_was_interrupted_goes_on_and_its_cells_are_trainings(tmp_path, capsys, monkeypatch):
    root, trained = tmp_path / "sweep", tmp_path / "trained"
    program = [*(["python"] if sys.argv[0].endswith(".py") else []), sys.argv[0]]
    hint = f"go on with the sweep: {shlex.join([*program, '--mode=sweep', f'--workdir={root}'])}"
    with monkeypatch.context() as patch:  # as the first cell is made ready
        kill(patch, step, "load", 1)
        assert command.main([*SWEEP, *TOY, LINES, f"--workdir={root}"]) == names.INTERRUPTED
    assert told(capsys)[1:] == ["[1/2] large", f"SIGTERM: what the cells have saved stays; {hint}"]
    assert not (root / "large").exists()
    with monkeypatch.context() as patch:  # in a training
        kill(patch, loop, "_write", 2)
        assert command.main(["--mode=sweep", f"--workdir={root}"]) == names.INTERRUPTED
    lines = told(capsys)
    assert re.match(rf"SIGTERM: step 1 is saved; go on with: .*--workdir={re.escape(str(root / 'large'))}$", lines[-2])
    assert lines[-1] == hint
    assert not workdirs.is_finished(root / "large", 2)
    with monkeypatch.context() as patch:  # as the second cell is made ready
        kill(patch, step, "load", 2)
        assert command.main(["--mode=sweep", f"--workdir={root}"]) == names.INTERRUPTED
    assert told(capsys)[-2:] == ["[2/2] small", f"SIGTERM: what the cells have saved stays; {hint}"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert command.main(["--mode=sweep", f"--workdir={root}"]) == names.DONE
    lines = told(capsys)
    assert lines[:3] == [f"sweep in {root}", "[1/2] large: done before", "[2/2] small"]
    with monkeypatch.context() as patch:
        patch.setattr(command, "carry_out", None)
        assert command.main(["--mode=sweep", f"--workdir={root}"]) == names.DONE
    assert told(capsys)[1:] == ["[1/2] large: done before", "[2/2] small: done before"]
    own = [f"--config.{word}" for word in (*CELLS["large"].split(), "name=large")]
    base = f"--config={ROOT / 'configs' / 'ae_heads.py'}:small"
    assert command.main([base, *TOY, *own, f"--workdir={trained}"]) == names.DONE
    for file in ("metrics.jsonl", "config.json", "spec.json", "data.json"):
        assert (root / "large" / file).read_bytes() == (trained / file).read_bytes(), file
    assert rows_of(root / "large") == rows_of(trained)
    kinds = {place.name for place in trained.iterdir()}
    for name in CELLS:
        assert kinds <= {place.name for place in (root / name).iterdir()} | {
            place for place in kinds if "tfevents" in place
        }
        assert {row["part"] for row in rows_of(root / name)} == {"train", "test"}
    runs = size_curve.read(root)
    assert [(name, scores["latent_floats"]) for name, scores in runs.runs] == [("small", 192), ("large", 288)]
    assert len(size_curve.rows_of(runs).splitlines()) == 4
    first = (root / "large" / "command.txt").read_text().splitlines()[0]
    assert first.endswith(f" # large: {CELLS['large']}")
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    capsys.readouterr()
    assert command.main(["--mode=sweep", f"--workdir={root}", "--config.latent.bits=16"]) == names.REFUSED
    assert told(capsys) == [
        f"{shell.program()}: --workdir={names.cut(str(root / 'large'))} holds a run with other values of "
        f"latent.bits (32 there, 16 here); may differ: {', '.join(configuration.FREE_TO_RESUME)}"
    ]
    assert before == {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    assert command.main(["--mode=sweep", f"--workdir={root}", "--config.sweep.form=vmapped"]) == names.REFUSED


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Runs the sweep in a new folder; of each cell a word says its exit code, or what it raises, and the cells are told."""
    begun = []

    def start(*ends):
        left = iter(ends)

        def carry_out(cell, began, stopped, shapes):
            begun.append(cell.workdir.name)
            end = next(left)
            if isinstance(end, Exception):
                raise end
            return end

        monkeypatch.setattr(command, "carry_out", carry_out)
        begun.clear()
        return command.main([*SWEEP, *TOY, LINES, f"--workdir={tmp_path / 'sweep'}"]), list(begun)

    return start


@pytest.mark.parametrize(
    ("ends", "code", "begun"),
    [
        ((0, 0), names.DONE, 2),
        ((names.FAILED,), names.FAILED, 1),
        ((names.INTERRUPTED,), names.INTERRUPTED, 1),
        ((names.NON_FINITE, 0), names.NON_FINITE, 2),
        ((names.COLLAPSED, names.NON_FINITE), names.COLLAPSED, 2),
        ((0, names.COLLAPSED), names.COLLAPSED, 2),
        ((OSError(28, "No space left on device"),), names.FAILED, 1),
    ],
)
def test_exit_codes_of_cells_are_those_of_the_sweep(sweep, ends, code, begun):
    assert sweep(*ends) == (code, list(CELLS)[:begun])


def test_a_cell_that_its_family_refuses_is_told_before_the_first(tmp_path, capsys):
    cells = "--config.sweep.cells=('a: seed=1', 'b: model.components=2')"
    assert command.main([*SWEEP, *TOY, cells, f"--workdir={tmp_path / 'sweep'}"]) == names.REFUSED
    assert told(capsys)[-1].endswith(
        "config.sweep.cells, b: config.model.components is 2; accepted: from latent.channels 16 to 80, the numbers of a patch"
    )
    assert not (tmp_path / "sweep").exists()


def test_a_cell_that_is_refused_ends_the_sweep_in_a_line(tmp_path, capsys, monkeypatch):
    """As its data are loaded: what its config tells is refused before the first cell."""
    given = [*SWEEP, *TOY, LINES, f"--workdir={tmp_path / 'sweep'}", f"--config.data.path={tmp_path / 'heads'}"]
    (tmp_path / "heads").mkdir()
    assert command.main(given) == names.REFUSED
    lines = told(capsys)
    assert lines[:2] == [f"sweep in {tmp_path / 'sweep'}", "[1/2] large"]
    assert len(lines) == 3
    assert "heads" in lines[2]
    assert not (tmp_path / "sweep" / "large").exists()


def test_a_run_has_ended_when_its_last_evaluation_is_written_and_its_state_saved(tmp_path):
    assert not workdirs.is_finished(tmp_path, 4)
    row = '{"step": 2, "evaluation.cd_l1": 0.1}\n{"step": 4, "loss": 1.0}\n'
    (tmp_path / "metrics.jsonl").write_text(row)
    assert workdirs.is_finished(tmp_path, 2)  # as version control keeps it
    assert not workdirs.is_finished(tmp_path, 4)
    (tmp_path / "checkpoints").mkdir()
    assert not workdirs.is_finished(tmp_path, 2)
    (tmp_path / "checkpoints" / "2").mkdir()
    assert workdirs.is_finished(tmp_path, 2)


def test_a_sweep_without_a_folder_has_one_of_its_name_in_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = configuration.parse([*SWEEP])
    assert found.workdir == pathlib.Path("results/size_heads")
    assert [cell.workdir for cell in configuration.of_cells(found)] == [
        pathlib.Path("results/size_heads") / name
        for name in ("floats_66048", "floats_16512", "floats_4128", "floats_2016")
    ]
    assert list(tmp_path.iterdir()) == []


def test_cells_of_size_heads_have_the_floats_of_their_names_and_differ_from_ae_heads_in_networks_and_steps_alone():
    found = configuration.of_cells(configuration.parse([*SWEEP]))
    base = rules.flatten(configuration.parse([f"--config={ROOT / 'configs' / 'ae_heads.py'}:small"]).config)
    own = {"name", "latent.side", "latent.channels", "model.width", "model.components", "train.steps"}
    wanted = (65536, 16384, 4096, 2048)
    for cell, floats in zip(found, wanted, strict=True):
        latent = cell.config.latent
        count = 6 * latent.side**2 * latent.channels
        assert cell.workdir.name == f"floats_{count}"
        assert abs(count / floats - 1) < 0.016
        assert latent.channels <= cell.config.model.components
        leaves = rules.flatten(cell.config)
        assert {key for key in leaves | base if leaves.get(key) != base.get(key)} <= own
        assert cell.warnings == ()
        assert cell.config.train.steps == 1000


def test_keys_that_runs_do_not_read_warn():
    own = "('a: latent.side=8 kl.cap=0.5',)"
    warned = configuration.parse([*SWEEP, f"--config.sweep.cells={own}"]).warnings
    assert warned == ("a: config.kl.cap set, but not read with latent.kind = deterministic",)
    laboratory = ("--config=collapse_cause", "--mode=sweep", "--config.sweep.form=runs")
    cell = "--config.sweep.cells=('a: model.input=depth',)"
    warned = configuration.parse([*laboratory, cell, "--config.sweep.seeds=3"]).warnings
    assert "config.sweep.seeds set, but not read with sweep.form = runs" in warned


def test_a_sweep_made_before_there_were_forms_is_vmapped(tmp_path):
    words = ("--config=collapse_cause", "--mode=sweep", f"--workdir={tmp_path}")
    text = json.loads(configuration.parse([*words]).json)
    del text["sweep"]["form"]
    (tmp_path / "config.json").write_text(json.dumps(text))
    assert configuration.parse(["--mode=sweep", f"--workdir={tmp_path}"]).config.sweep.form == "vmapped"
    with pytest.raises(ValueError) as error:
        configuration.parse([*words, "--config.sweep.form=runs", "--config.sweep.cells=('a: seed=1',)"])
    assert str(error.value) == (
        f"--workdir={names.cut(str(tmp_path))} holds a sweep of sweep.form = vmapped, and config.sweep.form is runs; "
        "accepted: another folder"
    )


def refusal(*lines, more=()):
    with pytest.raises(ValueError) as error:
        configuration.parse([*SWEEP, f"--config.sweep.cells={lines!r}", *more])
    return str(error.value)


def test_what_no_run_can_be_is_refused_before_any():
    folder = (
        "; accepted with sweep.form = runs, as the name of a folder: up to 100 letters, digits and . _ -, no . first"
    )
    for name in ("a,b", "a/b", "..", "é"):
        assert refusal(f"{name}: seed=1") == f"config.sweep.cells names {name!r}{folder}"
    for shared in ("checkpoints", "Config.json"):
        assert refusal(f"{shared}: seed=1") == (
            f"config.sweep.cells names {shared!r}, whose folder {shared} is another's too; accepted: names that differ in "
            "more than case, and / for -"
        )
    assert refusal("a: kl.cap=1|0.1") == (
        "config.sweep.cells, a: config.kl.cap has several values, 1|0.1; accepted with sweep.form = runs: one"
    )
    assert refusal("a: sweep.seeds=2") == "config.sweep.cells, a: config.sweep.seeds is unknown; nearest: sample.seed"
    assert refusal("a: seed=1", more=("--config.sweep.form=vmapped",)) == (
        "config.sweep.seeds is missing; configs of sweep.form = vmapped start from base.make_laboratory"
    )
    assert refusal("a: seed=1", more=("--config.sweep.form=map",)) == (
        "config.sweep.form is 'map'; accepted: vmapped | runs"
    )


def test_no_cell_has_a_form_of_its_own():
    with pytest.raises(
        ValueError, match=r"^config\.sweep\.cells, a: config\.sweep\.form is 'runs'; accepted: in no cell, "
    ):
        configuration.parse(["--config=collapse_cause", "--mode=sweep", "--config.sweep.cells=('a: sweep.form=runs',)"])


def test_the_config_of_a_cell_has_no_sweep():
    (cell,) = cells.read(configuration.parse([*SWEEP, "--config.sweep.cells=('a: seed=7',)"]).config)
    assert (cell.name, cell.config.name, cell.config.seed, "sweep" in cell.config) == ("a", "a", 7, False)
