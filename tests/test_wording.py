"""Refusals of at most a line, and hints at the nearest key."""

import pytest

from configs import base
from hexjax import rules, wording

KEYS = rules.flatten(base.get_config())


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("lr", "optimiser.learning_rate"),
        ("train.lr", "optimiser.learning_rate"),
        ("LR", "optimiser.learning_rate"),
        ("learn_rate", "optimiser.learning_rate"),
        ("learning-rate", "optimiser.learning_rate"),
        ("optimizer.learning_rate", "optimiser.learning_rate"),
        ("optimiser.learnig_rate", "optimiser.learning_rate"),
        ("optimizer", "optimiser"),
        ("bs", "train.batch_size"),
        ("batch", "train.batch_size"),
        ("batchsize", "train.batch_size"),
        ("epochs", "train.steps"),
        ("num_epochs", "train.steps"),
        ("steps", "train.steps"),
        ("train.stpes", "train.steps"),
        ("res", "hexplane.resolution_px, views.resolution_px"),
        ("resolution", "hexplane.resolution_px, views.resolution_px"),
        ("grid", "extract.grid"),
        ("latent_dim", "latent.channels"),
        ("beta", "kl.final_weight"),
        ("warmup", "kl.warmup_steps, optimiser.warmup_steps"),
        ("path", "data.path"),
        ("kl.capp", "kl.cap"),
    ],
)
def test_key_gets_its_nearest(typed, nearest):
    assert wording.nearest_key(typed, KEYS) == f"; nearest: {nearest}"


@pytest.mark.parametrize("typed", ["zzz", "x" * 5000, ""])
def test_key_like_no_other_gets_no_hint(typed):
    assert wording.nearest_key(typed, KEYS) == ""


def test_every_key_is_nearest_to_itself_with_two_letters_swapped():
    for key in KEYS:
        section, _, leaf = key.rpartition(".")
        swapped = f"{section}.{leaf[1]}{leaf[0]}{leaf[2:]}".lstrip(".")
        if len(leaf) > 3 and swapped not in KEYS:
            assert wording.nearest_key(swapped, KEYS).startswith("; nearest: "), swapped


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 5000, "-" * 5000, "x" * 5000, "'\n\x1b'", "(1, 2)" * 900])
@pytest.mark.parametrize(
    "key", ["train.steps", "data.split", "latent.kind", "kl.cap", "data.path", "name", "data.cached"]
)
def test_refusal_of_any_value_is_a_short_line(key, text):
    def give():
        config = base.get_config()
        rules.override(config, key, text)
        rules.validate(config)

    with pytest.raises(ValueError) as error:
        give()
    assert len(str(error.value)) < 600
    assert str(error.value).isprintable()
