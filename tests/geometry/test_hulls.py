import numpy as np

from hexjax.geometry import frame, hulls
from tests.geometry import maps


def test_the_hull_is_where_every_silhouette_covers():
    given, count = maps.of("torus"), 48
    values = hulls.grid(given, count)
    index = np.random.default_rng(0).integers(0, count, (500, 3))
    points = np.asarray(frame.grid_nodes(count))[index]
    np.testing.assert_allclose(values[tuple(index.T)], maps.fuse_silhouettes(given, points), atol=1e-5)
    covered = (maps.fuse(given, points)) < -0.03
    assert (values[tuple(index.T)][covered] < 0).all()
    assert (
        np.asarray(maps.fuse_silhouettes(given, points, 0.9)) >= np.asarray(maps.fuse_silhouettes(given, points))
    ).all()


def test_gradients_are_finite_however_the_program_is_compiled():
    assert maps.finite_however_compiled(hulls.fuse)
