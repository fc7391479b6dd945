"""The benchmark of sets of vectors: its table, and that the network in PyTorch computes what ours does. No time is asserted."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import steps, vecset, vecset_parts
from configs import vecset as experiment
from hexjax.models import family as families
from hexjax.models.parts import sets
from tests import toys

pytestmark = pytest.mark.usefixtures("quick_programs")
MACHINE = {"cpu": "a processor", "cores": 2, "load_average_before": 0.0, "versions": {"jax": "0"}}


def a_row(peer):
    """What a worker prints, with the peer's runners as they are told."""
    ours = {"seconds": 0.2, "fastest": 0.1, "slowest": 0.4, "compile_seconds": 1.5}
    part = lambda: {
        "rounds": 2,
        "runners": {vecset_parts.OURS: dict(ours), **{name: dict(told) for name, told in peer}},
    }
    row = {
        "variant": "toy",
        "platform": "cpu",
        "device": "cpu",
        "parameters": 1234,
        "shapes": 2,
        "surface": 64,
        "points": 32,
    }
    row |= {"tokens": 8, "channels": 4, "versions": {}, "check": {}, "parts": {"step, Adam": part(), "forward": part()}}
    row["parts"]["step, Muon"] = part() | {"losses": None}
    for measured in row["parts"].values():
        vecset_parts.compare(measured["runners"])
    return row


def told(row):
    return vecset.table({"command": "python", "machine": MACHINE, "goal": 1.0, "within": 1e-4, "row": row})


def test_a_peer_is_told_in_our_seconds_and_one_that_is_not_there_by_why():
    peer = {"seconds": 0.25, "fastest": 0.2, "slowest": 0.3, "compile_seconds": 2.5, "difference": 3e-6}
    row = a_row([(vecset_parts.PEER, peer), (vecset_parts.COMPILED, {"missing": "does not run: OSError"})])
    row["check"] = {"relative": [1e-7, 2e-7], "losses": [[0.5, 0.25], [0.5, 0.125]]}
    lines = told(row).splitlines()
    assert "| step, Adam | ours | 200.0 (100.0–400.0) | 1.00 |  | 1.5 |" in lines
    assert "| forward | PyTorch | 250.0 (200.0–300.0) | 1.25 | 3.0e-06 | 2.5 |" in lines
    assert "| forward | PyTorch compiled | does not run: OSError | | | |" in lines
    assert "PyTorch's loss differs by 1e-07, its gradient's norm by 2e-07 (relative)." in told(row)
    assert "Outputs differ by 3.0e-06 at most." in lines
    row["parts"]["forward"]["runners"][vecset_parts.PEER]["difference"] = 2e-4
    assert "Outputs differ by 2.0e-04 at most, MORE than is wanted." in told(row).splitlines()
    assert "Losses of the first steps by Adam: 0.50000, 0.25000; PyTorch's 0.50000, 0.12500." in lines


def test_without_pytorch_a_row_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert vecset.missing("cpu") == "not importable"
    text = told(a_row([(vecset_parts.PEER, {"missing": vecset.missing("cpu")})]))
    assert "| step, Muon | PyTorch | not importable | | | |" in text
    assert ", torch absent;" in text


def test_an_unknown_size_is_refused_and_steps_are_of_one_rate():
    with pytest.raises(ValueError) as refusal:
        vecset.load("big", {})
    assert str(refusal.value) == "variant is 'big'; accepted: small, toy"
    config = vecset.load("small", vecset.ADAM)
    assert (config.optimiser.kind, config.optimiser.decay, config.optimiser.warmup_steps) == ("adam", "none", 0)
    assert config.data.count == config.train.batch_size == experiment.get_config("small").train.batch_size
    assert vecset.load("small", {}).optimiser.kind == "muon"


def test_pytorch_says_what_a_set_of_vectors_does_and_learns_from_it_the_same():
    torch = pytest.importorskip("torch", reason="PyTorch is an optional peer")
    from benchmarks import torch_vecset

    config = toys.config_of("vecset", "truncated", **{"model.encoder_layers": 1, "model.cross_heads": 2})
    family, batch = toys.family_of(config), toys.points_of(config)
    batch = {name: jnp.asarray(batch[name]) for name in family.reads}
    batch["sure"] = batch["sure"].at[0, :5].set(0)  # of doubtful sign: these count on neither side
    random = np.random.default_rng(3)
    shapes = jax.eval_shape(family.init, batch, jax.random.key(0), {})
    params = jax.tree.map(lambda leaf: 0.3 * random.standard_normal(leaf.shape, np.float32), shapes)

    @jax.jit
    def ours(params):
        loss = lambda params: family.loss(params, batch, jax.random.key(0), jnp.int32(0), families.knobs(config))[0]
        latent = family.encode(params, batch, None)
        ask = lambda one, points: family.field(params, one, points)
        values = jax.vmap(ask)(family.decode(params, latent), batch["points"])
        return latent.code, values / config.model.truncation, *jax.value_and_grad(loss)(params)

    model, gradients = torch_vecset.make(config), torch_vecset.make(config)
    code, values, loss, slope = ours(params)
    torch_vecset.copy(model, jax.device_get(params))
    torch_vecset.copy(gradients, jax.device_get(slope))
    given = [torch.tensor(np.asarray(batch[name])) for name in ("surface", "points", "sdf", "sure")]
    outputs, found = model.outputs(*given[:2]), model(*given)
    for a, b in zip((code, values, loss), (*outputs, found[0])):
        np.testing.assert_allclose(b.detach().numpy(), a, rtol=0, atol=vecset.WITHIN)
    np.testing.assert_allclose(found[1].detach().numpy(), config.model.truncation * values, rtol=0, atol=vecset.WITHIN)
    found[0].backward()
    for (name, parameter), expected in zip(model.named_parameters(), gradients.parameters(), strict=True):
        assert jnp.abs(parameter.grad.numpy() - expected.detach().numpy()).max() < vecset.WITHIN, name


def test_pytorch_picks_the_points_that_we_pick_copies_among_them():
    torch = pytest.importorskip("torch", reason="PyTorch is an optional peer")
    from benchmarks import torch_vecset

    points = np.random.default_rng(0).uniform(-1, 1, (2, 40, 3)).astype(np.float32)
    points[:, 20:] = points[:, :20]
    ours = [sets.farthest(jnp.asarray(each), 24) for each in points]  # four more than there are places
    assert torch_vecset.farthest(torch.tensor(points), 24).tolist() == np.stack(ours).tolist()


def test_what_the_network_in_pytorch_lacks_is_refused_in_a_line():
    pytest.importorskip("torch", reason="PyTorch is an optional peer")
    from benchmarks import torch_vecset

    config = vecset.load("toy", {"model.queries": "learned"})
    with pytest.raises(ValueError) as refusal:
        torch_vecset.make(config)
    assert str(refusal.value) == "config.model.queries is 'learned'; accepted by the network in PyTorch: 'fps'"


def test_muon_moves_the_weights_of_layers_and_adam_all_else():
    torch = pytest.importorskip("torch", reason="PyTorch is an optional peer")
    from benchmarks import torch_vecset

    model = torch_vecset.make(vecset.load("toy", {}))
    sizes = lambda optimiser: sum(p.numel() for group in optimiser.param_groups for p in group["params"])
    weights = sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, torch.nn.Linear))
    every = sum(parameter.numel() for parameter in model.parameters())
    both = steps.torch_optimisers(vecset.load("toy", {}), model)
    assert [sizes(each) for each in both] == [every - weights, weights]
    alone = steps.torch_optimisers(vecset.load("toy", vecset.ADAM), model)
    assert [sizes(each) for each in alone] == [every]


def test_the_page_of_the_file_is_made_of_it():
    if not vecset.FILE.is_file():
        pytest.skip("vecset.json is not there: the benchmark has not been run")
    page = vecset.FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert page == vecset.table(json.loads(vecset.FILE.read_text(encoding="utf-8")))
