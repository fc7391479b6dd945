"""Verdicts on a generator that is told by pictures, by rows whose answer is known; the runs are in the slow tests."""

import numpy as np
import pytest

from hexjax.evaluation import pictured

BASE = np.random.default_rng(0).uniform(0.2, 0.5, 30)


def rows(gain):
    """IoU higher by `gain` than a base, and a CD-L1 that is lower by a tenth of it, with some noise."""
    noise = 0.01 * np.random.default_rng(1).standard_normal(30)
    return [{"cd_l1": 0.1 - 0.1 * (iou + gain), "v_iou": iou + gain, "f_score_0.02": 0.0, "sdf_sign": 0.0}
            for iou in BASE + noise * abs(gain)]  # fmt: skip


def found(drawn, nearest, ridge, searched=0.4, oracle=0.1):
    gains = {
        "drawn, 8": drawn,
        "nearest, 8": nearest,
        "ridge, 8": ridge,
        "searched": searched,
        "oracle": oracle,
        "random": -0.1,
    }
    return {name: rows(gain) for name, gain in gains.items()}


CASES = [
    (found(0.3, 0.1, 0.2), 1.0, "GENERALISES"),
    (found(0.1, 0.2, 0.1), 0.5, "RETRIEVES"),
    (found(0.1, 0.2, 0.1), 3.0, "UNDECIDED"),
    (found(0.3, 0.1, 0.2, searched=0.1, oracle=0.2), 1.0, "BOUNDED-BY-DECODER"),
    (found(0.3, 0.1, 0.3), 1.0, "RETRIEVES"),  # better than the nearest, as good as ridge
]


@pytest.mark.parametrize(("rows", "near", "expected"), CASES)
def test_the_verdict_is_what_the_rows_say(rows, near, expected):
    told = pictured.verdict(rows, {"drawn, 8": near, "searched": 2.0}, 8, 0)
    assert told["verdict"] == expected
    assert told["verdict"] in pictured.VERDICTS
    middle, low, high = told["differences"]["drawn, 8 against random"]["v_iou"]
    assert low <= middle <= high


def test_a_folder_that_is_no_generators_is_refused_in_a_line(tmp_path, capsys):
    assert pictured.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("pictured: ")
