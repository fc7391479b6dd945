"""A split is by names alone, near to its shares in every category, and never cuts a group."""

import re

import numpy as np
import pytest

from hexjax import names as naming
from hexjax import rules
from hexjax.data import split as splits

SHARES = (0.8, 0.1, 0.1)
NAMES = [f"shape_{i:03d}" for i in range(200)]
PUBLISHED = ((2, 13, 18, 19), (4, 6, 9, 11))  # validation and test of the first 20 of NAMES at (0.6, 0.2, 0.2), seed 0
CATEGORIES = [("animal", "chair", "rock", "tool", "lamp")[min(i // 7, 4) if i < 50 else i % 5] for i in range(200)]


def refused(text: str):
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def sides(found: splits.Split, names: list[str]) -> dict[str, int]:
    return {names[i]: side for side, part in enumerate(found[:3]) for i in part}


def test_every_shape_has_one_side_and_shares_are_met():
    found = splits.split(NAMES, None, SHARES, 0)
    assert sorted([*found.train, *found.validation, *found.test]) == list(range(200))
    assert [len(part) for part in found[:3]] == [160, 20, 20]
    assert all(list(part) == sorted(part) for part in found[:3])
    assert found.duplicates == ()


def test_no_shares_train_on_all():
    found = splits.split(NAMES, CATEGORIES, (), 0)
    assert found[:3] == (tuple(range(200)), (), ())


@pytest.mark.parametrize("shares", [(1, 0, 0), (0.7, 0.3, 0), (0.7, 0, 0.3), (0.34, 0.33, 0.33), (1 / 3, 1 / 3, 1 / 3)])
@pytest.mark.parametrize("categories", [None, CATEGORIES])
def test_each_category_has_its_shares_to_one_shape(shares, categories):
    kinds = categories or ["all"] * 200
    for seed in range(5):
        found = splits.split(NAMES, categories, shares, seed)
        for kind in set(kinds):
            for part, share in zip(found[:3], shares):
                count = sum(kinds[i] == kind for i in part)
                assert abs(count - share * kinds.count(kind)) < (1.0001 if share else 1e-9)


def test_many_small_categories_have_tests_too():
    kinds = [f"kind_{i // 4}" for i in range(200)]
    found = splits.split(NAMES, kinds, SHARES, 0)
    assert 10 < len(found.test) < 30
    assert 10 < len(found.validation) < 30


def test_it_is_by_names_and_seed_not_by_places():
    turned = np.random.default_rng(0).permutation(200)
    one = splits.split(NAMES, CATEGORIES, SHARES, 3, [(5, 9)])
    names, kinds = [NAMES[i] for i in turned], [CATEGORIES[i] for i in turned]
    other = splits.split(names, kinds, SHARES, 3, [tuple(int(np.flatnonzero(turned == i)[0]) for i in (9, 5))])
    assert sides(one, NAMES) == sides(other, names)
    assert one.digest == other.digest
    assert one.duplicates == other.duplicates
    assert splits.split(NAMES, CATEGORIES, SHARES, 4).test != one.test


def test_the_digest_is_of_names_and_sides():
    digest = splits.split(NAMES, None, SHARES, 0).digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    others = [
        splits.split([*NAMES[:-1], "other"], None, SHARES, 0),
        splits.split(NAMES, None, (0.7, 0.2, 0.1), 0),
        splits.split(NAMES, None, SHARES, 1),
        splits.split(NAMES, None, (), 0),
    ]
    assert len({digest, *(each.digest for each in others)}) == 5


def test_a_split_that_was_published_stays():
    found = splits.split(NAMES[:20], None, (0.6, 0.2, 0.2), 0)
    assert (found.validation, found.test) == PUBLISHED


@pytest.mark.parametrize("seed", range(5))
def test_another_shape_moves_at_most_the_one_at_each_cut_of_its_own_category(seed):
    before = sides(splits.split(NAMES, CATEGORIES, SHARES, seed), NAMES)
    for number in range(20):
        more = [*NAMES, f"new_{number}"]
        after = sides(splits.split(more, [*CATEGORIES, "rock"], SHARES, seed), more)
        moved = [name for name in NAMES if before[name] != after[name]]
        assert len(moved) <= 2
        assert all(CATEGORIES[NAMES.index(name)] == "rock" for name in moved)
        assert len({(before[name], after[name]) for name in moved}) == len(moved)


def test_groups_are_never_cut_and_are_listed():
    random = np.random.default_rng(0)
    for seed in range(20):
        groups = [random.choice(200, 3, replace=False).tolist() for _ in range(15)]
        found = splits.split(NAMES, CATEGORIES, SHARES, seed, groups)
        where = sides(found, NAMES)
        for group in groups:
            assert len({where[NAMES[i]] for i in group}) == 1
        tied = {NAMES[i] for group in groups for i in group}
        assert {name for pair in found.duplicates for name in pair} == tied
        assert all(where[one] == where[other] for one, other in found.duplicates)
        assert abs(len(found.train) - 160) < 20


def test_pairs_that_share_a_shape_are_one_group_and_go_where_its_first_goes():
    alone = sides(splits.split(NAMES, None, SHARES, 0), NAMES)
    tests = [i for i, name in enumerate(NAMES) if alone[name] == 2][:2]
    train = next(i for i, name in enumerate(NAMES) if alone[name] == 0)
    found = splits.split(NAMES, None, SHARES, 0, [(tests[0], train), (tests[1], tests[0])])
    assert {train, *tests} <= set(found.train)
    assert found.duplicates == tuple((NAMES[train], other) for _, other in found.duplicates)
    assert {other for _, other in found.duplicates} == {NAMES[i] for i in tests}


BAD = [
    (0.8, 0.2),
    (0.8, 0.1, 0.2),
    (0, 0.5, 0.5),
    (1.1, -0.1, 0.0),
    (True, 0, 0),
    (0.8, 0.1, "0.1"),
    (float("nan"), 0.5, 0.5),
]


@pytest.mark.parametrize("shares", BAD)
def test_other_shares_are_refused(shares):
    with refused(f"config.data.split is {shares!r}; accepted: {naming.SHARES}"):
        splits.split(NAMES, None, shares, 0)
    assert not rules.SHARES.check(shares)


def test_the_rule_of_the_key_accepts_what_the_split_does():
    assert rules.SHARES.accepted == naming.SHARES
    for shares in ((), (1, 0, 0), SHARES, (1 / 3, 1 / 3, 1 / 3)):
        assert rules.SHARES.check(shares)


def test_a_share_without_a_shape_is_refused():
    with refused(
        "config.data.split is (0.8, 0.1, 0.1): empty split, of 4 shapes none is left for test; accepted: more "
        "shapes, a larger or no share for it, or another data.split_seed"
    ):
        splits.split(NAMES[:4], None, SHARES, 0)
    splits.split(NAMES[:10], None, SHARES, 0)


def test_groups_that_leave_no_test_are_refused():
    with refused(
        "config.data.split is (0.8, 0.1, 0.1): empty split, of 10 shapes none is left for validation; accepted: more "
        "shapes, a larger or no share for it, or another data.split_seed"
    ):
        splits.split(NAMES[:10], None, SHARES, 0, [range(10)])


@pytest.mark.parametrize("shares", [(), SHARES])
def test_two_shapes_of_one_name_are_refused(shares):
    with refused("config.data.split: two shapes are named 'b'; accepted: names that differ"):
        splits.split(["a", "b", "c", "b"], None, shares, 0)


@pytest.mark.parametrize("none", [None, ""])
def test_a_category_for_some_shapes_is_refused(none):
    with refused(
        "config.data.split: 2 of 4 shapes have no category, 'b' the first of them; accepted: a category for all shapes or "
        "for none"
    ):
        splits.split(list("abcd"), ["x", none, "y", none], SHARES, 0)
    assert splits.split(list("abcd"), [none] * 4, (0.5, 0.25, 0.25), 0) == splits.split(
        list("abcd"), None, (0.5, 0.25, 0.25), 0
    )


@pytest.mark.parametrize("shares", [(), SHARES])
def test_what_is_held_out_tests_with_its_group_and_others_are_split_as_without_it(shares):
    group = (NAMES.index("shape_003"), next(i for i, kind in enumerate(CATEGORIES) if kind == "chair"))
    found = splits.split(NAMES, CATEGORIES, shares, 0, [group], ("rock", "shape_003"))
    held = {i for i, kind in enumerate(CATEGORIES) if kind == "rock"} | {*group}
    assert held <= {*found.test}
    rest = [i for i in range(200) if i not in held]
    alone = splits.split([NAMES[i] for i in rest], [CATEGORIES[i] for i in rest], shares, 0)
    for part, other in zip(found[:3], alone[:3]):
        assert [NAMES[i] for i in part if i not in held] == [NAMES[rest[i]] for i in other]


def test_what_is_held_out_is_refused_where_it_is_not_there_or_leaves_nothing():
    with refused(
        "config.data.held_out has 'chairs', which is no name and no category of the 200 shapes; nearest: chair"
    ):
        splits.split(NAMES, CATEGORIES, (), 0, (), ("chairs",))
    with refused("config.data.held_out holds out all 2 shapes; accepted: some that are left to train"):
        splits.split(["a", "b"], None, (), 0, (), ("a", "b"))
