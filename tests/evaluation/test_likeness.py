"""What a shape is most like, by features and by its surface, and how elongated it is."""

import numpy as np
import pytest
import trimesh

from hexjax.evaluation import likeness
from hexjax.types import Mesh
from tests import toys


def made(extents, name="", category=""):
    box = trimesh.creation.box(extents)
    return toys.item_of(Mesh(np.float32(box.vertices), np.int32(box.faces)), name, category=category)


ITEMS = [made((1, 1, 1), "cube", "a"), made((1, 1, 1.05), "brick", "a"), made((0.2, 0.2, 2), "rod", "b")]
FEATURES = np.eye(3)[:, None]  # each is like itself alone


def test_the_likest_is_told_by_each_measure_and_the_one_asked_does_not_count():
    gallery = likeness.gallery(ITEMS, FEATURES, 0)
    query = np.array([[0.1, 0.2, 0.9]])
    found = likeness.nearest(ITEMS[0].mesh, query, gallery, "", 0)
    assert found == {"by_features": 2, "by_surface": 0}
    found = likeness.nearest(ITEMS[0].mesh, query, gallery, "rod", 0)
    assert found == {"by_features": 1, "by_surface": 0}
    assert likeness.nearest(ITEMS[0].mesh, query, gallery, "cube", 0)["by_surface"] == 1


def test_views_are_compared_with_the_likest_of_each_shape_whatever_their_length():
    bank = likeness.unit(np.array([[[1.0, 0], [0, 5]], [[1, 1], [1, 1]]]))
    np.testing.assert_allclose(likeness.alike(np.array([[3.0, 0], [0, 2]]), bank), [1, np.sqrt(0.5)])
    assert likeness.unit(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("extents", "least", "most"), [((1, 1, 1), 1, 1.05), ((0.2, 0.2, 2), 5, 20)])
def test_a_rod_is_elongated_and_a_cube_is_not(extents, least, most):
    assert least <= likeness.elongation(made(extents).mesh, 0) <= most


def test_chance_and_shares_count_what_is_of_the_category():
    assert likeness.chance(ITEMS, "cube", "a") == 0.5
    assert likeness.chance(ITEMS, "rod", "b") == 0
    rows = [
        {"category": "a", "by_features": "a", "by_surface": "b"},
        {"category": "b", "by_features": None, "by_surface": "b"},
    ]
    assert likeness.shares(rows) == {"by_features": 0.5, "by_surface": 0.5}
