"""The model that comes with the package, and what the README says of it in code."""

import pathlib
import re

import jax
import numpy as np
import pytest

import hexjax
from hexjax.evaluation import restore
from hexjax.training import portable
from tests import shapes

NAME = "ae_heads-small"
ROOT = pathlib.Path(__file__).parent.parent.parent
MOST_BYTES = 6e6


def test_what_is_shipped_is_small_and_has_no_checkpoints():
    assert NAME in restore.shipped()
    for name in restore.shipped():
        files = [file for file in (restore.SHIPPED / name).rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) <= MOST_BYTES
        assert {file.name for file in files} == {"config.json", "config.sha256", "spec.json", portable.FILE}


@pytest.mark.filterwarnings("ignore:parts dropped:UserWarning")  # it knows heads alone
@pytest.mark.usefixtures("quick_programs")
def test_the_lines_of_the_readme_run_on_it(tmp_path, monkeypatch):
    """All of the README's Python, on a mesh in a folder that holds nothing else."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert f'hexjax.restore("{NAME}")' in code
    head = shapes.sphere(30.0, 3)
    lines = [f"v {x} {y} {z}" for x, y, z in head.vertices * [1, 1.3, 1.1]] + [
        f"f {a} {b} {c}" for a, b, c in head.faces + 1
    ]
    (tmp_path / "head.obj").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code.replace("grid=256", "grid=64").replace("resolution=512", "resolution=64"), found)
    mesh, again = found["mesh"], found["again"]
    assert found["latent"].code.shape == (found["model"].family.layout.tokens, found["model"].family.layout.channels)
    np.testing.assert_allclose(again.vertices.min(0), mesh.vertices.min(0), atol=6)
    np.testing.assert_allclose(again.vertices.max(0), mesh.vertices.max(0), atol=6)
    assert len(found["between"].faces) > 0
    assert [file.name for file in tmp_path.iterdir()] == ["head.obj"]


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
