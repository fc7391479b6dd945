"""Bands and maps of verdicts."""

import numpy as np

from hexjax.evaluation.laboratory import drawing, plots, results
from tests.evaluation.laboratory import toys


def test_a_band_leaves_out_what_is_not_finite_and_keeps_gaps():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan]])
    np.testing.assert_array_equal(drawing.band(values), [[2, np.nan], [1, np.nan], [3, np.nan]])


def test_a_map_has_the_share_of_every_verdict(tmp_path):
    runs = [toys.make_run(0), toys.make_run(1, "COLLAPSED"), toys.make_run(2, "COLLAPSED"), toys.make_run(3)]
    toys.write_cell(tmp_path, "collapse_cause", toys.CELL, runs)
    (axes,) = plots.verdicts_cause(results.read(tmp_path).groups).axes
    widths = [patch.get_width() for patch in axes.patches]
    np.testing.assert_allclose(widths, [0.48, 0.48])
    assert [text.get_text() for text in axes.texts] == ["2", "2"]
