"""What a field is asked to be: errors of distances against NumPy, and points that do not count."""

import ml_collections
import numpy as np
import pytest

from hexjax.models.parts import targets


@pytest.mark.parametrize("error", ["l1", "l2"])
def test_errors_are_means_over_sure_points_in_truncations(error):
    random = np.random.default_rng(0)
    distance, values = random.normal(0, 0.1, (2, 2, 50)).astype(np.float32)
    sure = (random.random((2, 50)) < 0.7).astype(np.float32)
    batch = {"points": np.zeros((2, 50, 3), np.float32), "sdf": distance, "sure": sure}
    model = {"target": "truncated", "error": error, "truncation": 0.1, "eikonal_weight": 0.0}
    told, parts = targets.fit(ml_collections.ConfigDict(model), lambda points: values, batch)
    off = ((values - np.clip(distance, -0.1, 0.1)) / 0.1)[sure > 0]
    np.testing.assert_allclose(told, (np.abs(off) if error == "l1" else off**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(parts["sign"], ((values < 0) == (distance < 0))[sure > 0].mean(), rtol=1e-5)
