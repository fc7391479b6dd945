"""The four shapes made in code are closed, of one part and of the genus that they are named for."""

import pytest
import trimesh

from hexjax.data import crafted

EULER = {"wheel": 2 - 2 * (crafted.SPOKES + 1), "table": 2, "vase": 2, "tube": 0}  # the wheel's bore is one hole more


def test_they_are_written_closed_in_one_part_and_of_their_genus(tmp_path, capsys):
    assert crafted.main([str(tmp_path)]) == 0
    for name, euler in EULER.items():
        mesh = trimesh.load(tmp_path / f"{name}.ply")
        assert (mesh.is_watertight, mesh.body_count, mesh.euler_number) == (True, 1, euler), name
        assert mesh.volume > 0
    assert crafted.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"crafted: {tmp_path.name} is not empty; accepted: a new or empty folder\n"


@pytest.mark.parametrize("name", ["vase", "tube"])
def test_hollow_ones_are_hollow(name, tmp_path):
    crafted.main([str(tmp_path)])
    mesh = trimesh.load(tmp_path / f"{name}.ply")
    assert mesh.volume < 0.5 * mesh.convex_hull.volume
