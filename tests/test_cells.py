"""The lines of a sweep: what they set, how several values of a knob multiply, and what is refused."""

import importlib
import pathlib

import pytest

from configs.sweeps import collapse_cause, equal_size, size_heads
from hexjax import cells, rules, unread
from hexjax.data import fields
from hexjax.models import family as families

SWEEPS = sorted(file.stem for file in (pathlib.Path(__file__).parent.parent / "configs" / "sweeps").glob("*.py"))


def of(*lines):
    config = collapse_cause.get_config()
    config.sweep.cells = lines
    return cells.read(config)


def refusal(*lines):
    with pytest.raises(ValueError) as error:
        of(*lines)
    return str(error.value)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_reads_and_resolves(name):
    config = importlib.import_module(f"configs.sweeps.{name}").get_config()
    found = cells.read(config)
    assert config.name == name
    assert len(found) == len(config.sweep.cells) > 1
    for cell in found:
        assert cell.settings
        assert "" not in cell.overrides.values()


def test_a_line_overrides_the_config_that_it_stands_in():
    (cell,) = of("a,b: model.input=depth reconstruction.kind=gaussian sweep.shapes=2 kl.log_variance_limit=inf")
    assert cell.name == "a,b"
    assert (cell.config.model.input, cell.config.sweep.shapes) == ("depth", 2)
    assert cell.overrides["sweep.shapes"] == "2"
    assert cell.settings == ({},)
    assert collapse_cause.get_config().model.input == "silhouettes"


def test_several_values_of_knobs_multiply():
    (cell,) = of("a: kl.final_weight=1|8 kl.cap=0.1|1 latent.side=2")
    assert cell.settings == tuple(
        {"kl.final_weight": weight, "kl.cap": cap} for weight in (1.0, 8.0) for cap in (0.1, 1.0)
    )
    assert (cell.config.kl.final_weight, cell.config.kl.cap) == (1.0, 0.1)


def test_keys_that_only_fit_together_are_checked_together():
    (cell,) = of("a: latent.side=1 latent.channels=32")  # one channel in one cell alone would hold no witness
    assert (cell.config.latent.side, cell.config.latent.channels) == (1, 32)


def test_what_is_no_cell_is_refused():
    assert refusal("no colon") == "config.sweep.cells holds 'no colon'; accepted: 'name: key=value key=value'"
    assert refusal(": a=1") == "config.sweep.cells holds ': a=1'; accepted: 'name: key=value key=value'"
    assert refusal("a: kl.cap") == "config.sweep.cells holds 'a: kl.cap'; accepted: 'name: key=value key=value'"
    assert refusal("a: kl.cap=1", "a: kl.cap=0.1") == "config.sweep.cells names 'a' twice; accepted: each cell once"
    assert refusal("a: kl.capp=1") == "config.sweep.cells, a: config.kl.capp is unknown; nearest: kl.cap"
    assert refusal("a: kl.cap=0.1|2") == (
        "config.sweep.cells, a: config.kl.cap is 2.0; accepted: a number above 0, at most 1; 1 switches it off"
    )
    assert refusal("a: train.steps=1030") == (
        "config.sweep.cells, a: config.sweep.measure_every_steps is 50; accepted: a divisor of train.steps = 1030"
    )
    assert refusal("a: sweep.measure_every_steps=5000") == (
        "config.sweep.cells, a: config.sweep.measure_every_steps is 5000; accepted: a divisor of train.steps = 1000"
    )
    knobs = ", ".join(cells.knob_names(collapse_cause.get_config()))
    assert refusal("a: latent.side=1|2") == (
        f"config.sweep.cells, a: config.latent.side has several values, 1|2; accepted for: {knobs}"
    )


def test_a_family_of_planes_refuses_the_signed_distance():
    config = collapse_cause.get_config()
    config.sweep.cells = ("a: sdf.weight=1",)
    with pytest.raises(ValueError) as error:
        families.check_cells({cell.name: cell.config for cell in cells.read(config)})
    assert str(error.value) == (
        "config.sweep.cells, a: config.sdf.weight is 1; accepted with model.family = hexplane_mlp: 0, as its planes have no "
        "points"
    )


def test_a_start_is_a_cell_before_with_as_many_runs():
    def refusal(*lines):
        config = collapse_cause.get_config()
        config.sweep.cells = lines
        with pytest.raises(ValueError) as error:
            cells.read(config)
        return str(error.value)

    accepted = "accepted: the name of a cell before it without a start, and one setting in both"
    for lines in (
        ("b: sweep.start=a", "a: seed=0"),
        ("a: seed=0", "b: sweep.start=a", "c: sweep.start=b"),
        ("a: kl.cap=1|0.1", "b: sweep.start=a"),
        ("a: seed=0", "b: sweep.start=a kl.cap=1|0.1"),
    ):
        last = "b" if lines[-1][0] != "c" else "c"
        named = "b" if last == "c" else "a"
        assert refusal(*lines) == f"config.sweep.cells, {last}: config.sweep.start is '{named}'; {accepted}"
    assert refusal("a: seed=0", "b: sweep.start=a sweep.seeds=2") == (
        "config.sweep.cells, b: config.sweep.seeds is 2; accepted: those of its start, 5"
    )
    one = "a: seed=0", "b: sweep.start=a optimiser.decay=cosine"
    assert (
        refusal(*one)
        == "config.sweep.cells, b: config.optimiser.decay is 'cosine'; accepted beside a sweep.start: none"
    )
    assert refusal("a: seed=0", "b: sweep.start=a latent.side=2") == (
        "config.sweep.cells, b: config.latent.side is 2; accepted: that of its start, 4"
    )
    assert refusal("a: diagnostics.on_collapse=stop") == (
        "config.sweep.cells, a: config.diagnostics.on_collapse is 'stop'; accepted in a sweep of sweep.form = vmapped: report"
    )
    assert refusal("a: sdf.weight=0|1") == (
        "config.sweep.cells, a: config.sdf.weight is 0|1; accepted: values above 0, or 0 in a cell of its own"
    )
    assert refusal("a: sweep.constant_mean=True") == (
        "config.sweep.cells, a: config.sweep.constant_mean is True; accepted beside a sweep.start"
    )


def test_a_config_without_a_sweep_is_refused():
    config = collapse_cause.get_config()
    del config.sweep
    with pytest.raises(ValueError) as error:
        cells.read(config)
    assert str(error.value) == (
        "--mode=sweep, and collapse_cause has no config.sweep; accepted: configs of configs/sweeps/"
    )


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("sweep.held_out", 1.0, "a number above 0, below 1"),
        ("sweep.together", "pmap", "vmap | map"),
        ("sweep.seeds", 0, "a whole number, at least 1"),
        ("sweep.cells", (1,), "lines of text, 'name: key=value key=value'"),
    ],
)
def test_keys_of_a_sweep_have_rules(key, value, accepted):
    config = collapse_cause.get_config()
    section, name = key.split(".")
    with config.ignore_type():
        config[section][name] = value
    with pytest.raises(ValueError) as error:
        rules.validate(config)
    shown = repr(value) if isinstance(value, str) else value
    assert str(error.value) == f"config.{key} is {shown}; accepted: {accepted}"


@pytest.mark.parametrize(
    ("names", "told"), [(("a/b", "a-b"), "a/b"), (("A", "a"), "A"), (("b", "config"), "config"), (("Data",), "Data")]
)
def test_cells_that_would_have_one_file_are_refused(names, told):
    message = (
        f"config.sweep.cells names {told!r}, whose file {told.replace('/', '-')}.json is another's too; accepted: names that "
        "differ in more than case, and / for -"
    )
    assert refusal(*(f"{name}: seed=0" for name in names)) == message


def test_a_cell_starts_from_the_base_that_it_names_and_shares_data_and_scores_with_the_others():
    config = equal_size.get_config()
    config.data.path, config.score.samples = str(pathlib.Path(__file__).parent), 123
    found = {cell.name: cell for cell in cells.read(config)}
    assert len(found) == 6 * equal_size.SEEDS
    vecset, codes = found["vecset_2"].config, found["autodecoder_0"].config
    assert (vecset.model.family, vecset.seed, vecset.latent.tokens) == ("vecset", 2, 128)
    assert (codes.model.family, codes.latent.channels, codes.code.weight) == ("deepsdf", 2048, 1e-5)
    assert "sweep" not in vecset
    assert "code" not in vecset
    for cell in found.values():
        assert (cell.config.data.path, cell.config.score.samples) == (config.data.path, 123)
        assert cell.config.train.steps == int(cell.overrides["train.steps"])


def test_a_cell_of_no_base_is_refused_in_a_line():
    config = equal_size.get_config()
    for line in ("a: seed=1", "a: base=octree"):
        config.sweep.cells = (line,)
        with pytest.raises(ValueError) as refused:
            cells.read(config)
        base = line.partition("base=")[2]
        known = "autodecoder, dense, hexplane, sparse, triplane, vecset"
        assert str(refused.value) == f"config.sweep.cells, a: base is '{base}'; accepted: {known}"
    config = size_heads.get_config()
    config.sweep.cells = ("a: base=vecset seed=1",)
    with pytest.raises(ValueError, match=r"^config\.sweep\.cells, a: config\.base is unknown"):
        cells.read(config)


def test_keys_that_no_base_takes_are_told():
    told = unread.lines(equal_size.get_config(), {"train.steps", "data.count", "sweep.cells"})
    assert told == ("config.train.steps set, but not read with sweep.bases; config.sweep.bases.NAME.train.steps is",)


@pytest.mark.parametrize("variant", equal_size.VARIANTS)
def test_families_of_equal_size_have_its_floats(variant):
    config = equal_size.get_config(variant)
    for cell in cells.read(config):
        if cell.name.endswith("_0"):
            family = families.make(fields.spec(cell.config, ())._replace(shapes=160), cell.config)
            floats = family.latent_floats
            if family.layout.kind == "cells":  # of heads, in the mean
                floats = {8: 140, 16: 594}[family.layout.sides[0]] * family.layout.channels
            assert floats == pytest.approx(config.sweep.floats, rel=0.05), cell.name
