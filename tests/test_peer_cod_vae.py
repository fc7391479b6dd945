"""The benchmark beside cod-vae: its layout, its sizes, its refusals and its table; what needs the peer skips without it."""

import importlib.util
import json

import numpy as np
import pytest

from benchmarks import peer_cod_vae, peer_cod_vae_side, peer_cod_vae_table
from hexjax import config as configuration
from hexjax.data import fields
from hexjax.geometry import sdf
from hexjax.types import Item
from tests import shapes

MISSING = importlib.util.find_spec("cod_vae") is None
PEER = pytest.mark.skipif(MISSING, reason="cod_vae is not installed (pip install --no-deps cod-vae==1.0.0)")


def arguments(*more):
    """The command line of a toy, as the benchmark gives it to a worker."""
    given = peer_cod_vae.parser().parse_args(["--toy", *more])
    return peer_cod_vae.arguments_of(given)


@pytest.fixture(scope="module")
def config():
    return configuration.parse(arguments()).config


@pytest.fixture(scope="module")
def items():
    """A closed shape, and one whose signs are partly in doubt."""
    ball, box = shapes.sphere(subdivisions=2), shapes.cube()
    found = {"ball": ball, "box": box._replace(faces=box.faces[2:])}
    return [Item(name, mesh, mesh, None) for name, mesh in found.items()]


def test_the_layout_holds_only_points_of_sure_sign_each_with_its_label(items, config):
    for item in items:
        made = peer_cod_vae_side.pools(item, config, 0)
        assert len(made["points"]) == config.surface.pool_points
        whole = {"vol": config.sdf.pool_points // 4, "near": config.sdf.pool_points}
        for kind, most in whole.items():
            points, label = made[f"{kind}_points"], made[f"{kind}_label"]
            assert len(points) == len(label) <= most
            assert (points.dtype, label.dtype) == (np.float32, np.uint8)
            distance, doubtful = sdf.signed_distance(item.mesh, points)
            assert not doubtful.any()
            assert (label == (distance < 0)).all()
            if kind == "near":
                assert (np.abs(distance) <= sdf.NEAR * 1.001).all()
        if item.name == "ball":
            volume = 8 * made["vol_label"].mean()
            assert volume == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.3)  # of few points, which are uniform
        else:
            assert len(made["vol_points"]) < whole["vol"]


@PEER
def test_the_peers_reader_takes_what_is_written(items, config, tmp_path):
    from cod_vae.training import ShapeNetVecSetDataset

    peer_cod_vae_side.write_layout(items, config, tmp_path)
    count = config.sdf.points
    reader = ShapeNetVecSetDataset(
        tmp_path, pc_size=config.surface.points, num_vol_queries=count, num_near_queries=count, augment=False
    )
    assert len(reader) == 2
    for number, item in enumerate(items):
        found = reader[number]
        assert found["surface"].shape == (config.surface.points, 3)
        assert found["queries"].shape == (2 * count, 3)
        distance = sdf.signed_distance(item.mesh, found["queries"])[0]
        assert (found["labels"] == (distance < 0)).all()
        assert np.abs(sdf.signed_distance(item.mesh, found["surface"])[0]).max() < 1e-5


def test_a_shape_with_too_few_sure_points_is_refused(items, config, tmp_path):
    few = config.copy_and_resolve_references().unlock()
    few.sdf.points = 5000
    with pytest.raises(ValueError) as refusal:
        peer_cod_vae_side.write_layout(items[:1], few, tmp_path)
    count = len(peer_cod_vae_side.pools(items[0], few, fields.item_seed(few.seed, 0))["vol_points"])
    told = f"ball has {count} vol_points of sure sign; accepted: at least 5000, which a step draws (sdf.points)"
    assert str(refusal.value) == told


def test_the_width_is_the_one_nearest_to_our_parameters_and_within_the_bounds():
    count = lambda width: 100 * width + 7
    for parameters in (407, 900, 1207, 5000, 123_456):
        width = peer_cod_vae_side.nearest_width(parameters, count)
        assert width % peer_cod_vae_side.HEADS == 0
        assert abs(count(width) - parameters) <= 50 * peer_cod_vae_side.HEADS or width == peer_cod_vae_side.HEADS
    with pytest.raises(ValueError) as refusal:
        peer_cod_vae_side.nearest_width(300, count)
    told = "the peer has 407 parameters at width 4, where it is nearest to ours of 300; accepted: within 20%"
    assert str(refusal.value) == told


@pytest.fixture(scope="module")
def cell():
    return configuration.parse(peer_cod_vae.arguments_of(peer_cod_vae.parser().parse_args([]))).config


@PEER
def test_the_peer_has_our_floats_and_about_our_parameters(cell):
    from cod_vae import init_params

    shape = peer_cod_vae_side.sized(1_071_377, cell, peer_cod_vae_side.SHAPE)
    assert shape.num_latents * shape.latent_dim == 2048
    assert peer_cod_vae_side.count(init_params(shape)) == 1_076_554


def test_our_parameters_are_those_of_the_network(cell):
    assert peer_cod_vae_side.our_parameters(cell) == 477_329


class Reader:
    """Of five shapes, as the peer's: it counts them around."""

    name = "a reader"

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        return self.epoch, index % 5


def test_the_clock_starts_when_the_second_batch_is_begun(monkeypatch):
    times = iter([(0.0, 0.0), (5.0, 7.0)])
    monkeypatch.setattr(peer_cod_vae_side, "clock", lambda: next(times))
    data = peer_cod_vae_side.Clocked(Reader(), 2, 3)
    data.set_epoch(0)
    assert (len(data), data.name) == (6, "a reader")  # what else is asked goes to the reader
    assert [data[i] for i in range(2)] == [(0, 0), (0, 1)]
    assert data.mark == (0.0, 0.0)
    assert data[5] == (0, 0)
    assert peer_cod_vae_side.elapsed(data.mark, (6.0, 9.0), 3) == {"steps": 3, "seconds": 1.0, "cpu_seconds": 2.0}


def test_short_epochs_see_every_shape_as_often():
    data, seen = peer_cod_vae_side.Clocked(Reader(), 3, 1), []
    for epoch in range(5):
        data.set_epoch(epoch)
        seen += [data[i][1] for i in range(len(data))]
    assert sorted(seen) == sorted([0, 1, 2, 3, 4] * 3)


def test_what_a_command_line_cannot_have_is_refused(tmp_path, monkeypatch, capsys):
    refused = {
        ("--rows=theirs",): "--rows has 'theirs'; accepted: ours, own, raised, weights",
        ("--rows=weights",): "--rows has weights; accepted with --weights=FILE.npz",
        ("--rows=own",): "--rows trains the peer without ours; accepted with --seconds",
    }
    for words, told in refused.items():
        assert peer_cod_vae.main(words) == 2
        assert capsys.readouterr().err == f"peer_cod_vae: {told}\n"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peer_cod_vae.main(["--toy", "--rows=own", "--seconds=1"]) == 2
    told = "cod_vae is not installed; accepted: pip install --no-deps cod-vae==1.0.0"
    assert capsys.readouterr().err == f"peer_cod_vae: {told}\n"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert peer_cod_vae.main(["--toy", f"--weights={tmp_path / 'none.npz'}"]) == 2
    told = "--weights is none.npz, which is no file; accepted: one that cod_vae saved"
    assert capsys.readouterr().err == f"peer_cod_vae: {told}\n"


def test_weights_come_first_and_ours_before_what_takes_its_seconds(tmp_path):
    assert peer_cod_vae.rows_of(None, None, None) == ["ours", "own", "raised"]
    assert peer_cod_vae.rows_of(None, tmp_path, None) == ["weights", "ours", "own", "raised"]
    assert peer_cod_vae.rows_of("raised,ours", None, None) == ["ours", "raised"]


def test_a_tensor_that_is_missing_or_of_another_shape_is_refused():
    wanted = {"a": (2, 3), "b": (4,)}
    found = {"a": np.zeros((2, 3)), "b": np.zeros(4), "more": np.zeros(1)}
    peer_cod_vae_side.refuse_other("w.npz", found, wanted)
    for change, told in {
        "missing": "w.npz has no tensor b; accepted: all 2 of its config",
        "other": "w.npz: b is [5]; accepted by its config: [4]",
    }.items():
        other = {"a": found["a"]} | ({"b": np.zeros(5)} if change == "other" else {})
        with pytest.raises(ValueError) as refusal:
            peer_cod_vae_side.refuse_other("w.npz", other, wanted)
        assert str(refusal.value) == told


@PEER
def test_a_file_of_weights_comes_back_and_another_is_refused(tmp_path):
    import cod_vae

    shape = cod_vae.CODVAEConfig(num_latents=8, latent_dim=4, embed_dim=8, **peer_cod_vae_side.TOY_SHAPE)
    params, file = cod_vae.init_params(shape), tmp_path / "w.npz"
    cod_vae.save_npz(file, shape, params)
    again, found = peer_cod_vae_side.read_weights(file)
    assert again == shape
    assert all((found[name] == value).all() for name, value in params.items())
    end = "accepted: a file that cod_vae 1.0.0 saved"
    settings = json.dumps({"attention_implementation": "cudnn"})
    cases = {
        "config": (
            {"__config__": settings},
            "its config has 'attention_implementation', which cod_vae 1.0.0 does not know",
        ),
        "none": (params, "w.npz has no __config__"),
        "text": (None, "w.npz cannot be read as NPZ (ValueError)"),
    }
    for name, (content, told) in cases.items():
        file.write_text("no archive") if content is None else np.savez(file, **content)
        with pytest.raises(ValueError) as refusal:
            peer_cod_vae_side.read_weights(file)
        assert str(refusal.value) == f"{'w.npz: ' if name == 'config' else ''}{told}; {end}"


def test_the_table_tells_sizes_times_and_scores_of_every_row():
    mean = dict.fromkeys(peer_cod_vae_table.SCORES, 0.5)
    common = {
        "floats": 2048,
        "parameters": 1_000_000,
        "failed": 1,
        "v_iou": {"a": 0.5, "b": 0.5},
        "encode_seconds": 0.01,
    }
    common |= {"test": mean, "train": mean | {"v_iou": None}}
    taken = {"steps": 10, "seconds": 2.0, "cpu_seconds": 4.0}
    ours = common | taken | {"row": "ours", "ceiling": mean, "baselines": {"nearest": mean}}
    stages = [taken | {"steps": 7, "stage": 1}, taken | {"steps": 1200, "stage": 2}]
    peer = common | taken | {"row": "raised", "cod_vae": "1.0.0", "stages": stages, "rate": 1e-3, "batch": 4}
    weights = common | {"row": "weights", "cod_vae": "1.0.0", "file": "w.npz"}
    machine = {"cpu": "a processor", "cores": 2, "load_average_before": 0.0, "versions": {"jax": "0"}}
    text = peer_cod_vae_table.table({"command": "python", "machine": machine, "rows": [weights, ours, peer]})
    assert "| vecset:small | 2,048 | 1,000,000 | 10 | 2 | 4 |  |  | 0.010 |" in text
    assert "| cod-vae 1.0.0, a raised rate, none | 2,048 | 1,000,000 | 7 + 1,200 | 2 | 4 | 0.001 | 4 | 0.010 |" in text
    assert "| cod-vae 1.0.0, w.npz | 2,048 | 1,000,000 |  |  |  |  |  | 0.010 |" in text
    assert text.count(f"| {' | '.join(['0.500'] * len(mean))} | 1 of 2 |") == 3
    assert text.count("| *nearest* |") == text.count("| *the shape's own distance on the grid* |") == 1
    assert len({line.count("|") for line in text.splitlines() if line.startswith("| ") and "0.500" in line}) == 1
