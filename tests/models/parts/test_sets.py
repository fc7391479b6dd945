"""Farthest points: a slow reference, and the laws that follow from what they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hexjax.models.parts import sets

pytestmark = pytest.mark.usefixtures("quick_programs")
pick = functools.partial(jax.jit, static_argnames="count")(sets.farthest)


def points_of(count=40, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3)).astype(np.float32)


def reference(points, count, start=None, seeds=()):
    """The same pick by pick, from all that stand before."""
    before, picks = [np.float32(seed) for seed in seeds], []
    while len(picks) < count:
        given = before or [points.mean(0)]
        reach = np.min([((points - place) ** 2).sum(1) for place in given], 0)
        picks.append(int(start if start is not None and not picks else reach.argmax()))
        before = [*(before if picks[1:] or len(seeds) else []), points[picks[-1]]]
    return picks


@pytest.mark.parametrize(("start", "seeds"), [(None, None), (7, None), (None, 3)])
def test_picks_are_those_of_a_slow_reference_among_doubled_points_too(start, seeds):
    points = np.concatenate([points_of(20), points_of(20)[::2], np.float32([[0.5, 0.5, 0.5]] * 4)])
    before = None if seeds is None else points_of(seeds, 1)
    expected = reference(points, 24, start, () if seeds is None else before)
    np.testing.assert_array_equal(pick(points, count=24, start=start, seeds=before), expected)
    there = {tuple(point) for point in points[expected[:21]]}
    assert len(there) == len(set(expected[:21])) == 21  # none twice while distinct points are left
    assert expected[21:] == [0, 0, 0]


def test_fewer_picks_are_the_first_of_more_which_lie_apart_and_cover_better():
    points = points_of(60)
    found = np.asarray(pick(points, count=30))
    np.testing.assert_array_equal(pick(points, count=12), found[:12])
    between = np.linalg.norm(points[:, None] - points[found][None], axis=-1)
    radii = np.array([between[:, :m].min(1).max() for m in range(1, 31)])
    assert (np.diff(radii) <= 0).all()
    for m in range(2, 31):
        apart = between[found[:m], :m][~np.eye(m, dtype=bool)].min()
        assert apart >= radii[m - 2] - 1e-6 >= radii[m - 1] - 1e-6
    seeded = np.asarray(pick(points, count=18, seeds=points[found[:12]]))
    np.testing.assert_array_equal(seeded, found[12:])


def test_the_order_of_the_points_changes_the_picks_through_ties_alone():
    points, order = points_of(50, 3), np.random.default_rng(4).permutation(50)
    picked = lambda points: points[np.asarray(pick(points, count=20))]
    np.testing.assert_array_equal(picked(points[order]), picked(points))
    corners = np.float32(np.indices((2, 2, 2)).reshape(3, 8).T)  # all as far: the first one, then the one across
    assert list(np.asarray(pick(corners, count=2))) == [0, 7]
    assert list(np.asarray(pick(corners[::-1], count=2))) == [0, 7]


def test_shapes_of_a_batch_are_picked_from_on_their_own():
    points = np.stack([points_of(30, seed) for seed in (5, 6)])
    found = jax.jit(jax.vmap(lambda one: sets.farthest(one, 10)))(jnp.asarray(points))
    for one, picks in zip(points, found):
        np.testing.assert_array_equal(picks, pick(one, count=10))
