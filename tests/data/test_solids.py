"""Solids made in code: closed, outward, of one part unless loose by design, varied in topology and outline, repeatable."""

import collections

import numpy as np
import pytest

from hexjax.data import csg, solids
from hexjax.geometry import hexplane
from hexjax.geometry import mesh as meshes

KINDS = [make.__name__ for make, _ in solids.KINDS]
MANY = 750


@pytest.fixture(scope="module")
def some():
    return [solids.shape(number) for number in range(4 * len(KINDS))]


def genus(mesh) -> int:
    """The holes of all parts together."""
    found = meshes.topology(mesh)
    return found["components"] - found["euler"] // 2


def volume(mesh) -> float:
    return float(np.linalg.det(mesh.vertices[mesh.faces].astype(np.float64)).sum() / 6)


def check(number: int, mesh) -> None:
    """Closed, every edge run once in either direction, wound outwards, of bounded size, in as many parts as its kind."""
    found, name = meshes.topology(mesh), solids.name(number)
    assert found["watertight"], name
    assert found["vertices"] == len(mesh.vertices), name
    directed = np.concatenate([mesh.faces[:, [i, (i + 1) % 3]] for i in range(3)])
    assert len(np.unique(directed, axis=0)) == len(directed), name
    assert volume(mesh) > 0.02 * np.prod(np.ptp(mesh.vertices, axis=0)), name
    assert 1000 <= found["faces"] <= solids.FACES, name
    links = len(solids.chain(np.random.default_rng(number))) if solids.kind(number) == "chain" else 1
    assert found["components"] == links, name
    if solids.kind(number) in ("mug", "knot", "chain"):
        assert genus(mesh) == links, name


def test_every_solid_is_closed_outward_and_whole(some):
    for number, mesh in enumerate(some):
        check(number, mesh)


@pytest.mark.slow
def test_many_solids_are_closed_outward_and_whole_and_none_looks_like_another():
    outlines = set()
    for number in range(MANY):
        mesh = solids.shape(number)
        check(number, mesh)
        outlines.add(outline(mesh, 64))
    assert len(outlines) == MANY


def outline(mesh, resolution: int) -> bytes:
    """The three independent silhouettes of a solid."""
    padded = hexplane.pad(meshes.normalise(mesh)[0], solids.FACES, solids.FACES)
    maps = hexplane.render_padded(padded.vertices[None], padded.faces[None], resolution)
    return np.packbits(np.asarray(maps.mask)[0, [0, 2, 4]]).tobytes()


def test_no_solid_looks_like_another(some):
    assert len({outline(mesh, 32) for mesh in some}) == len(some)


def test_the_kinds_take_turns_and_their_names_tell_them():
    assert len(KINDS) == len(set(KINDS)) >= 10
    assert [solids.kind(number) for number in range(len(KINDS))] == KINDS
    counts = collections.Counter(solids.kind(number) for number in range(5, 5 + MANY))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert solids.name(7) == f"{KINDS[7]}_0007"
    assert len({solids.name(number) for number in range(MANY)}) == MANY


def test_the_topology_varies_between_and_within_kinds(some):
    holes = collections.defaultdict(set)
    for number, mesh in enumerate(some):
        holes[solids.kind(number)].add(genus(mesh))
    assert len(set.union(*holes.values())) >= 5
    assert {0, 1, 2, 3} <= set.union(*holes.values())
    assert sum(len(found) > 1 for found in holes.values()) >= 5


def test_same_number_same_solid_and_other_numbers_other_solids(some):
    for number in range(len(KINDS)):
        again = solids.shape(number)
        np.testing.assert_array_equal(again.vertices, some[number].vertices)
        np.testing.assert_array_equal(again.faces, some[number].faces)
        later = some[number + len(KINDS)]
        assert later.vertices.shape != again.vertices.shape or (later.vertices != again.vertices).any()


def test_every_other_round_is_turned(monkeypatch):
    """Without the turn those of the odd rounds change, and those of the even ones do not."""
    number = KINDS.index("building")
    before = [solids.shape(number + i * len(KINDS)).vertices for i in (0, 1)]
    monkeypatch.setattr(solids, "YAW", 0.0)
    after = [solids.shape(number + i * len(KINDS)).vertices for i in (0, 1)]
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_allclose(np.hypot(*before[1][:, [0, 2]].T), np.hypot(*after[1][:, [0, 2]].T), atol=1e-5)
    assert np.abs(before[1] - after[1]).max() > 0.01


PARTS = {
    "box": (csg.box((0.1, 0, 0), (0.3, 0.5, 0.4), 0.0), 8 * 0.3 * 0.5 * 0.4),
    "ball": (csg.ball((0, 0.2, 0), (0.3, 0.5, 0.4)), 4 / 3 * np.pi * 0.3 * 0.5 * 0.4),
    "rod": (csg.rod((0, -0.5, 0), (0, 0.5, 0.2), 0.2), np.pi * 0.04 * np.hypot(1, 0.2) + 4 / 3 * np.pi * 0.008),
    "ring": (csg.ring((0, 0, 0), 2, 0.5, 0.2), 2 * np.pi**2 * 0.5 * 0.04),
    "turned": (csg.turned((0, 0, 0), 0, 0.5, csg.profile(0.2, 0.4, half=0.5), 0.0), np.pi * 0.28 / 3),
    "extruded": (csg.extruded((0, 0, 0), (0.8, 0.6, 0), 0.2, 0.3), (0.4 + np.pi * 0.04) * 0.6),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_a_part_has_its_closed_form_volume_and_ends_at_its_box(name):
    part, expected = PARTS[name]
    mesh = csg.mesh([part], 64, 100_000)
    assert volume(mesh) == pytest.approx(expected, rel=0.02)
    step = (part.high - part.low).max() / 64
    np.testing.assert_allclose(mesh.vertices.min(0), part.low, atol=step)
    np.testing.assert_allclose(mesh.vertices.max(0), part.high, atol=step)


def test_parts_are_added_and_cut_in_order():
    """A hole filled again is no hole."""
    plate, pin = csg.box((0, 0, 0), (0.6, 0.6, 0.15)), csg.turned((0, 0, 0), 2, 0.3, 0.2)
    assert [genus(csg.mesh(parts, 40, 100_000)) for parts in ([plate, csg.cut(pin)], [plate, csg.cut(pin), pin])] == [
        1,
        0,
    ]


def test_collapsing_edges_keeps_the_topology_and_the_surface():
    parts = [csg.ring((0, 0, 0), 1, 0.5, 0.15), csg.ring((1, 0, 0), 1, 0.5, 0.15)]
    full, few = csg.mesh(parts, 60, 100_000), csg.mesh(parts, 60, 3000)
    assert len(full.faces) > 6000
    assert len(few.faces) == 3000
    assert genus(few) == genus(full) == 2
    distances = np.min([part.distance(few.vertices) for part in parts], 0)
    assert np.abs(distances).max() < 0.03
    assert volume(few) == pytest.approx(volume(full), rel=0.02)
