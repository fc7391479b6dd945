"""Parameters in one file: bit for bit, or half as large; nothing pickled, and damage is refused."""

import random
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.training import checkpoint, portable
from tests import damage

DAMAGED = r"^[^/]+/params\.npz is damaged; accepted: as it was written$"
PARAMS = {
    "layer": {"kernel": jnp.linspace(-1, 1, 6).reshape(2, 3) / 3, "deep": {"count": jnp.int32(7)}},
    "bias": jnp.float32([0, -0.0, 1e-40, jnp.inf]),
    "codes": jnp.bfloat16([0.5, 2]).astype(jnp.float32),
    "mask": jnp.array([True, False]),
}


def test_parameters_come_back_bit_for_bit_with_their_step(tmp_path):
    portable.write(tmp_path, PARAMS, 12)
    params, step = portable.read(tmp_path)
    assert step == 12
    assert checkpoint.digest(params) == checkpoint.digest(PARAMS)
    assert {type(leaf) for leaf in jax.tree.leaves(params)} == {np.ndarray}
    assert [file.name for file in tmp_path.iterdir()] == ["params.npz"]


def test_half_stores_float32_as_float16_and_reads_it_back_as_float32(tmp_path):
    sizes, large = {}, {"weight": np.random.default_rng(0).normal(size=4096).astype(np.float32)}
    for half in (False, True):
        portable.write(tmp_path, PARAMS | large, 3, half)
        sizes[half] = (tmp_path / portable.FILE).stat().st_size
    found, _ = portable.read(tmp_path)
    rounded = jax.tree.map(
        lambda leaf: leaf.astype(np.float16).astype(np.float32) if leaf.dtype == np.float32 else leaf,
        jax.tree.map(np.asarray, PARAMS | large),
    )
    assert checkpoint.digest(found) == checkpoint.digest(rounded)
    assert sizes[True] < 0.7 * sizes[False]


def test_a_damaged_file_is_refused_in_a_line_or_says_what_was_written(tmp_path):
    portable.write(tmp_path, PARAMS, 12)
    file, draw, noticed = tmp_path / portable.FILE, random.Random(0), 0
    whole, known = file.read_bytes(), checkpoint.digest(PARAMS)
    for turn in range(200):
        file.write_bytes(damage.damaged(whole, turn, draw))
        try:
            params, step = portable.read(tmp_path)
        except ValueError as error:
            assert re.match(DAMAGED, str(error))  # noqa: PT017
            noticed += 1
        else:
            assert (checkpoint.digest(params), step) == (known, 12), turn
    assert noticed > 100


def test_a_file_that_lost_a_leaf_the_step_or_the_digest_is_refused(tmp_path):
    portable.write(tmp_path, PARAMS, 12)
    file = tmp_path / portable.FILE
    with np.load(file) as opened:
        whole = dict(opened)
    for lost in whole:
        np.savez(file, **{name: array for name, array in whole.items() if name != lost})
        with pytest.raises(ValueError, match=DAMAGED):
            portable.read(tmp_path)
    np.savez(file, **whole)
    assert portable.read(tmp_path)[1] == 12


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / portable.FILE, **{"/a": np.array([{}], object), "step": 1})
    with pytest.raises(ValueError, match=DAMAGED):
        portable.read(tmp_path)


def test_a_folder_of_parameters_alone_is_read_where_there_is_no_checkpoint(tmp_path):
    portable.write(tmp_path, PARAMS, 12)
    (tmp_path / "checkpoints").mkdir()
    params, config, step = checkpoint.restore_params(tmp_path)
    assert (checkpoint.digest(params), config, step) == (checkpoint.digest(PARAMS), {}, 12)
