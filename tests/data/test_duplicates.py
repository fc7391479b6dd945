"""Copies are found whatever their vertices, near misses are not, and pairs left out early are those that would fail."""

import numpy as np
import pytest
import trimesh

from hexjax.data import duplicates
from hexjax.geometry import mesh as meshes
from hexjax.geometry import sdf, surface
from hexjax.types import Mesh
from tests import shapes


def normalised(mesh: Mesh) -> Mesh:
    return meshes.normalise(mesh)[0]


def finer(mesh: Mesh) -> Mesh:
    return Mesh(*(np.asarray(a, t) for a, t in zip(trimesh.remesh.subdivide(*mesh[:2]), (np.float32, np.int32))))


@pytest.fixture(scope="module")
def family() -> list[Mesh]:
    """Box, ball, the box of more faces, a box a little longer, the ball moved, a sheet, a finer ball, the sheet again."""
    box, ball = shapes.box(1, 0.6, 0.5), shapes.sphere(0.7, 3)
    sheet = Mesh(np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.int32([[0, 1, 2], [0, 2, 3]]))
    moved = ball._replace(vertices=ball.vertices * np.float32(3) + np.float32([5, 0, 1]))
    made = [box, ball, finer(box), shapes.box(1, 0.6, 0.54), moved, sheet, shapes.sphere(0.7, 4), finer(sheet)]
    return [normalised(mesh) for mesh in made]


def test_copies_are_found_and_near_misses_are_not(family):
    found = duplicates.find(family)
    assert [pair[:2] for pair in found] == [(0, 2), (1, 4), (1, 6), (4, 6), (5, 7)]
    assert all(pair.f_score > 0.98 for pair in found)
    assert all(pair.iou > 0.8 for pair in found)


def test_the_box_a_little_longer_was_a_candidate(family):
    held = np.array([duplicates.occupied(mesh) for mesh in family])
    assert (0, 3) in {pair[:2] for pair in duplicates._overlaps(held, 0)}


def test_the_order_of_shapes_changes_no_pair(family):
    order = np.random.default_rng(0).permutation(len(family))
    found = duplicates.find([family[i] for i in order])
    assert {tuple(sorted((int(order[i]), int(order[j])))) for i, j, *_ in found} == {
        pair[:2] for pair in duplicates.find(family)
    }


def test_no_shapes_have_no_pairs():
    assert duplicates.find([]) == ()


def test_overlaps_are_those_of_a_plain_loop_in_blocks_too(monkeypatch):
    held = np.random.default_rng(0).random((9, 32**3)) < 0.02
    held[[2, 5]] = held[[1, 1]] | (np.random.default_rng(1).random(32**3) < 0.002)
    held[7:] = False
    expected = {}
    for i in range(9):
        for j in range(i + 1, 9):
            either = (held[i] | held[j]).sum()
            overlap = (held[i] & held[j]).sum() / either if either else 1
            expected |= {(i, j): overlap} if overlap > duplicates.OVERLAP else {}
    monkeypatch.setattr(duplicates, "BLOCK", 4)
    found = {(i, j): overlap for start in range(0, 9, 4) for i, j, overlap in duplicates._overlaps(held, start)}
    assert found == pytest.approx(expected)
    assert set(found) == {(1, 2), (1, 5), (2, 5), (7, 8)}


@pytest.mark.parametrize("name", ["leeperrysmith_5500", "makehuman_male_young", "demosthenes"])
def test_occupied_is_the_inside_of_heads(data_folder, name):
    mesh = shapes.head(data_folder, name)
    along = (np.arange(32) + 0.5) / 16 - 1
    centres = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1).reshape(-1, 3)
    one, other = duplicates.occupied(mesh), sdf.inside(mesh, centres)[0]
    exact = surface.boundless(mesh.faces)
    assert (one & other).sum() / (one | other).sum() > (0.999 if exact else 0.9)


def test_scores_are_those_of_all_samples(data_folder):
    """Three heads, one of them twice: what is left out early would have failed, and what is told is the F-score."""
    names = ("leeperrysmith_5500", "makehuman_male_young", "leeperrysmith", "makehuman_female_old")
    heads = [shapes.head(data_folder, name) for name in names]
    found = {pair[:2]: pair.f_score for pair in duplicates.find(heads)}
    for i in range(4):
        for j in range(i + 1, 4):
            near = []
            for one, other in ((heads[i], heads[j]), (heads[j], heads[i])):
                points = surface.sample(one, duplicates.SAMPLES, np.random.default_rng(0))[0]
                near.append((surface.closest(other, points)[0] <= duplicates.LIMIT).mean())
            score = 2 * near[0] * near[1] / (near[0] + near[1])
            assert ((i, j) in found) == (score > duplicates.ALIKE)
            assert found.get((i, j), score) == pytest.approx(score)
    assert list(found) == [(0, 2)]
