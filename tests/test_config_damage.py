"""A config.json that is damaged or edited is refused in one line that says how to have it back."""

import json
import random
import re

import pytest

from configs import ae_continuous
from hexjax import config as configuration
from hexjax import rules
from hexjax.training import record
from tests import damage

CURE = "; to have it back: cp {0}/checkpoints/4/config/metadata {0}/config.json; to change a value: --config.KEY=VALUE"


@pytest.fixture
def run(tmp_path):
    """The folder of a run with a config, its digest, and the same config in checkpoints of steps 2 and 4."""
    config, folder = ae_continuous.get_config("small"), tmp_path / "run"
    config.data.path = "/elsewhere/head.obj"
    record.write_header(folder, "", configuration.to_json(config), "")
    for step in (2, 4):
        (folder / "checkpoints" / str(step) / "config").mkdir(parents=True)
        (folder / "checkpoints" / str(step) / "config" / "metadata").write_text(json.dumps(config.to_dict()))
    return folder


@pytest.mark.parametrize("sealed", [True, False])
def test_flipped_bits_and_cuts_are_refused_or_change_no_value(run, sealed):
    file, draw, refused = run / "config.json", random.Random(0), []
    whole, true = file.read_bytes(), rules.flatten(configuration.load(run))
    if not sealed:  # as of a run made before there were digests
        (run / "config.sha256").unlink()
    for turn in range(400 if sealed else 200):
        content = damage.damaged(whole, turn, draw)
        file.write_bytes(content)
        try:
            found = rules.flatten(configuration.load(run))
        except ValueError as error:
            refused.append(str(error))
        else:
            differing = {key for key in found.keys() | true.keys() if found.get(key) != true.get(key)}
            assert not sealed or not differing
            assert all(key == "train.steps" or key.endswith(".every_steps") for key in differing)
    assert len(refused) > (300 if sealed else 150)
    cure = re.escape(f"; to have it back: cp {run}/checkpoints/4/config/metadata {file}")
    assert all(re.fullmatch(rf"run/config.json [^\n]+{cure}[^\n]*", told) for told in refused)


def test_refusal_names_the_keys_and_what_to_do(run):
    file, whole = run / "config.json", (run / "config.json").read_text()
    file.write_text(whole.replace('\n  "seed": 0', '\n  "seed": 7').replace('"steps": 1200', '"steps": 1300'))
    cure = CURE.format(run)
    told = "seed (0 there, 7 here), train.steps (1200 there, 1300 here)"
    text = f"run/config.json is damaged or was edited, by config.sha256: {told}{cure}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        configuration.load(run)
    (run / "config.sha256").unlink()
    text = f"run/config.json is damaged or was edited, by its checkpoints: seed (0 there, 7 here){cure}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        configuration.load(run)
    file.write_text(whole.replace('"latent"', '"lament"'))
    with pytest.raises(ValueError, match=r"^run/config.json is damaged .* and \d+ more; to have it back"):
        configuration.load(run)
    file.write_text(whole.replace('"steps"', '"stepr"'))
    with pytest.raises(ValueError, match=r"^run/config.json is .*: train.steps \(1200 there, absent here\); to have"):
        configuration.load(run)
    file.write_text(whole[:20])
    with pytest.raises(ValueError, match=r"^run/config\.json cannot be read: .+; to have it back: cp .+ .+$"):
        configuration.load(run)


def test_keys_that_are_newer_than_the_checkpoints_of_an_earlier_run_are_no_damage(run):
    (run / "config.sha256").unlink()
    file = run / "config.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 0, "later": 3'))
    assert configuration.load(run).later == 3


def test_config_of_the_newest_checkpoint_brings_it_back(run):
    before = rules.flatten(configuration.load(run))
    content = (run / "checkpoints" / "4" / "config" / "metadata").read_bytes()
    (run / "config.json").write_bytes(content)
    assert rules.flatten(configuration.load(run)) | {"data.path": ""} == before | {"data.path": ""}
    (run / "checkpoints" / "4" / "config" / "metadata").write_bytes(
        content[:50]
    )  # a damaged checkpoint refuses nothing
    assert configuration.load(run).seed == 0


def test_without_a_checkpoint_the_digest_alone_decides(run):
    for step in (2, 4):
        (run / "checkpoints" / str(step) / "config" / "metadata").unlink()
    file = run / "config.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 7'))
    text = (
        "run/config.json is damaged or was edited, by config.sha256: no checkpoint to compare with; if it is right, delete "
        "config.sha256; to change a value: --config.KEY=VALUE"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        configuration.load(run)
    (run / "config.sha256").unlink()
    assert configuration.load(run).seed == 7


def test_damaged_digest_of_a_whole_config_refuses_nothing(run):
    (run / "config.sha256").write_bytes(b"\xff" + (run / "config.sha256").read_bytes()[5:])
    assert configuration.load(run).seed == 0


def test_an_earlier_config_whose_section_is_a_number_is_refused_in_a_line(run):
    for step in (2, 4):
        (run / "checkpoints" / str(step) / "config" / "metadata").unlink()
    (run / "config.sha256").unlink()
    (run / "checkpoints" / "data_path.txt").write_text("head.obj")
    values = json.loads((run / "config.json").read_text()) | {"data": 5}
    (run / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"^config\.data[^\n]+$"):
        configuration.parse([f"--workdir={run}"])
