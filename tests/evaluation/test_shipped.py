"""The model that comes with the package, whose lines of the README test_api runs, and models that are saved."""

import jax
import numpy as np
import pytest

import hexjax
from hexjax.evaluation import restore
from hexjax.training import portable

NAME = "ae_heads-small"
MOST_BYTES = 6e6


def test_what_is_shipped_is_small_and_has_no_checkpoints():
    assert NAME in restore.shipped()
    for name in restore.shipped():
        files = [file for file in (restore.SHIPPED / name).rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) <= MOST_BYTES
        assert {file.name for file in files} == {"config.json", "config.sha256", "spec.json", portable.FILE}


@pytest.mark.usefixtures("quick_programs")
def test_a_model_that_is_saved_comes_back_as_float16(tmp_path):
    model = hexjax.restore(NAME)
    model.save(tmp_path / "again")
    again = hexjax.restore(tmp_path / "again")
    assert (again.step, again.spec, again.config.to_dict()) == (model.step, model.spec, model.config.to_dict())
    jax.tree.map(np.testing.assert_array_equal, again.params, model.params)
    with np.load(tmp_path / "again" / portable.FILE) as file:
        assert {file[name].dtype for name in file.files if name.startswith("/")} == {np.dtype(np.float16)}
    assert [file.name for file in tmp_path.iterdir()] == ["again"]
    with pytest.raises(ValueError, match=r"again' is there; accepted: a new folder$"):
        model.save(tmp_path / "again")
    model.params["basis"]["mean"] = np.float32([1e6])
    with pytest.raises(ValueError, match=r"^a parameter is 1e\+06 in size; accepted: what float16 holds, up to 65504$"):
        model.save(tmp_path / "large")
    parent = model._replace(params=model.params | {"parents": {}})
    with pytest.raises(ValueError, match=r"which stands on other runs; accepted: one alone$"):
        parent.save(tmp_path / "child")
