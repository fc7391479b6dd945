"""What is lost at which stage, of a family whose losses are known: a ball of the code's radius, which is encoded too small."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from hexjax import names
from hexjax.data import sources
from hexjax.evaluation import budget
from hexjax.models import family as families
from hexjax.types import Latent, Layout, Size
from tests.evaluation import toys

FLAT = 0.02  # world units: by how much the decoder's ball is flatter than the shape


def encode(params, batch, key, knobs=None):
    few = batch["surface"].shape[1] <= 256
    code = (params["scale"] - 0.05 * few) * jnp.linalg.norm(batch["surface"], axis=-1).mean(1)[:, None, None]
    return Latent(code, {"mean": code})


def field(params, radius, points):
    return jnp.linalg.norm(points * jnp.array([[1, 1 / (1 - FLAT), 1]]), axis=-1) - radius


BALLS = dataclasses.replace(
    toys.identity(), sees=("surface",), encode=encode, layout=Layout("set", 1, 1), size=lambda latent: Size(1, 32),
    decode=lambda params, latent: latent.code[:, 0, 0], grid=None, ideal=None, probe=None, field=field,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    config, items = toys.config(), [toys.item(name) for name in ("one", "two")]
    config.surface.points, config.sdf.pool_points = 256, 4096
    monkeypatch.setattr(families, "get", lambda name: lambda spec, config, parents: BALLS)
    monkeypatch.setattr(sources, "items", lambda *_: items)
    monkeypatch.setattr(budget, "STEPS", 100)
    return toys.write_run(tmp_path / "run", config, {"scale": np.float32(0.9)}, items)


@pytest.mark.slow
def test_every_loss_is_told_where_it_is_and_they_add_up_to_the_whole(folder, capsys):
    assert budget.main([str(folder)]) == names.DONE
    found = json.loads((folder / "budget.json").read_text())
    lost, scored = found["losses"]["v_iou"], found["scores"]
    assert (found["shape"], [*scored]) == ("two", [*budget.stages(found)])
    assert sum(lost.values()) == pytest.approx(1 - scored["as_is"]["v_iou"])
    assert abs(lost["encoding"] - (1 - 0.9**3)) < 0.03  # the radius is a tenth too small
    assert abs(lost["sampling"] - (0.9**3 - 0.85**3)) < 0.02
    assert 0.005 < lost["network"] < FLAT + 0.01
    assert abs(lost["grid"]) < 0.01
    told = capsys.readouterr().out
    assert "| run | two | 1 × 1 | 256 | 4 | V-IoU |" in told
    assert "| run | two | as it is on 65³ |" in told
    losses = found["losses"]["sharp_normal_error"]
    if None not in losses.values():
        assert sum(losses.values()) == pytest.approx(scored["as_is"]["sharp_normal_error"])


def test_a_run_that_sees_no_points_is_refused_in_a_line(folder, capsys, monkeypatch):
    maps = dataclasses.replace(BALLS, sees=("depth",))
    monkeypatch.setattr(families, "get", lambda name: lambda spec, config, parents: maps)
    assert budget.main([str(folder)]) == names.REFUSED
    told = (
        f"budget: run is a run of {toys.config().model.family}, which sees depth; accepted: one that makes a shape of"
    )
    assert capsys.readouterr().err == f"{told} points of the surface\n"
