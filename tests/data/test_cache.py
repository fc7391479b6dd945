"""The cache of fields: the same as made, made anew where damaged, and never in the way."""

import numpy as np
import pytest

from hexjax.data import cache, fields
from tests import shapes, toys

NAMES = ("depth", "normal", "mask", "silhouette_distance", "points", "sdf", "surface", "inside")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXJAX_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(cache, "TOLD", set())
    return tmp_path / "kept"


def made(mesh=None, seed=0, **more):
    config = toys.config_of("hexplane_ae", "surface", **{"surface.points": 32, "inside.points": 16} | more)
    return fields.make(toys.item_of(shapes.sphere(0.7, 2) if mesh is None else mesh), NAMES, config, seed)


def test_what_is_read_is_bit_for_bit_what_was_made(place, monkeypatch):
    first = made()
    files = sorted(place.rglob("*.npz"))
    assert len(files) == 5  # maps, what is derived of them, two pools, inside
    monkeypatch.setattr(fields.hexplane, "render", None)  # it would fail if it were asked
    monkeypatch.setattr(fields.sdf, "query_pool", None)
    again = made()
    assert sorted(place.rglob("*.npz")) == files
    for name in NAMES:
        assert (again[name].dtype, again[name].shape) == (first[name].dtype, first[name].shape)
        np.testing.assert_array_equal(again[name], first[name])


def test_another_mesh_seed_or_setting_is_another_entry(place):
    made()
    count = len(list(place.rglob("*.npz")))
    made(seed=1)
    assert len(list(place.rglob("*.npz"))) == count + 2  # the pools
    made(**{"sdf.points": 16})
    assert len(list(place.rglob("*.npz"))) == count + 3
    made(shapes.sphere(0.6, 2))
    assert len(list(place.rglob("*.npz"))) == 2 * count + 3


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a byte": lambda data: data[:200] + bytes([data[200] ^ 255]) + data[201:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_told_and_made_anew(place, damage, capsys):
    first = made()
    for file in place.rglob("*.npz"):
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    again = made()
    assert "in the cache of fields cannot be read (" in capsys.readouterr().err
    for name in NAMES:
        np.testing.assert_array_equal(again[name], first[name])
    made()
    assert "cannot be read" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_once_and_costs_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("HEXJAX_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "TOLD", set())
    assert set(made()) == set(NAMES)
    assert capsys.readouterr().err.count("the cache of fields cannot be written: ") == 1


def test_an_empty_name_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("HEXJAX_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made()
    assert not list(tmp_path.rglob("*.npz"))
    monkeypatch.delenv("HEXJAX_CACHE")
    made()
    assert list((tmp_path / "hexjax" / "fields").rglob("*.npz"))
