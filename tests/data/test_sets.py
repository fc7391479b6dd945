"""A set made ready: open meshes closed or left out, parts of a split, and near-duplicates on one side of it."""

import re

import numpy as np
import pytest

from configs import base
from hexjax.data import sets
from hexjax.types import Item, Mesh
from tests import shapes, toys


def config_of(**more):
    config = base.get_config()
    config.update_from_flattened_dict({f"data.{name}": value for name, value in more.items()})
    return config


def items_of(*names, **more):
    return [toys.item_of(shapes.sphere(0.4 + 0.05 * number, 2), name, **more) for number, name in enumerate(names)]


def test_without_a_split_all_shapes_train_and_where_nothing_is_trained_nothing_is_divided(capsys):
    items = items_of(*"abcd")
    assert sets.ready(items, config_of())[1][:3] == ((0, 1, 2, 3), (), ())
    assert capsys.readouterr().err == ""
    assert sets.ready(items[:1], config_of(split=(0.5, 0.25, 0.25)), divides=False)[1][:3] == ((0,), (), ())


def test_shapes_that_are_nearly_the_same_are_told_and_stand_on_one_side(capsys):
    items = items_of(*"abcdef")
    items.append(items[0]._replace(name="g"))
    _, found = sets.ready(items, config_of(split=(0.5, 0.25, 0.25)))
    assert sorted(sum(found[:3], ())) == list(range(7))
    assert any({0, 6} <= set(part) for part in found[:3])
    assert "near-duplicates, kept on one side of the split: " in capsys.readouterr().err
    _, again = sets.ready(items, config_of(split=(0.5, 0.25, 0.25)))
    assert again == found


def test_near_duplicates_stand_on_one_side_beside_points_too():
    items = items_of(*"abcdef")
    cloud = items[0]._replace(name="0", mesh=Mesh(items[0].mesh.vertices, np.zeros((0, 3), np.int32)))
    _, found = sets.ready([cloud, *items, items[0]._replace(name="g")], config_of(split=(0.5, 0.25, 0.25)))
    assert found.duplicates == (("a", "g"),)
    assert any({1, 7} <= set(part) for part in found[:3])


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (items_of("a"), "config.data.split"),
        (items_of("a", "b", "c", "c"), "config.data.split: two shapes are named 'c'; accepted: names that differ"),
        (
            [*items_of("a", "b", "c", category="x"), *items_of("d")],
            "1 of 4 shapes have no category, 'd' the first of them",
        ),
    ],
)
def test_a_split_that_cannot_be_had_is_refused_in_a_line(items, told):
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        sets.ready(items, config_of(split=(0.5, 0.25, 0.25)))
    assert "\n" not in str(error.value)


def test_open_meshes_are_closed_and_what_has_no_inside_is_left_out_by_name(capsys, monkeypatch):
    monkeypatch.setattr(sets.close, "CELLS", 32)
    closes = sets.close.close
    monkeypatch.setattr(sets.close, "close", lambda mesh: closes(mesh, 32))
    ball = shapes.sphere(0.7, 2)
    opened = toys.item_of(Mesh(ball.vertices, ball.faces[:-8]), "opened")
    corners = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], np.float32)
    sheet = toys.item_of(Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)), "sheet")
    found, _ = sets.ready([sheet, opened], config_of(close=True))
    assert [item.name for item in found] == ["opened"]
    assert isinstance(found[0], Item)
    told = capsys.readouterr().err
    assert "left out: sheet has no inside to close" in told
    assert "closed 1 shapes: " in told
    with pytest.raises(
        ValueError, match=r"^config\.data\.close is True, and none of 1 shapes has an inside to close; left out: sheet"
    ):
        sets.ready([sheet], config_of(close=True))
