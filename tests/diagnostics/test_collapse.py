import numpy as np

from hexjax.diagnostics import collapse


def test_active_units_need_two_shapes():
    means = np.array([[[0.0, 1.0, 0.0]], [[0.0, -1.0, 0.1]]], np.float32)
    assert collapse.active_units(means) == 1
    assert collapse.active_units(means[:1]) is None
