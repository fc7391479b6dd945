"""What the benchmarks tell: the README's table is that of their files. No test asserts a time."""

import pathlib

from benchmarks import render, summary

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_the_speeds_of_the_readme_are_those_of_the_results():
    text = (ROOT / "README.md").read_text()
    assert summary.MARKED.search(text)
    assert summary.fill(text) == text


def test_growth_is_fitted_exactly_where_it_is_linear():
    rows = [
        {
            "contender": render.OURS,
            "faces": faces,
            "resolution_px": side,
            "seconds": 2e-3 + 1e-7 * faces + 6e-9 * side**2,
        }
        for faces in (1_000, 30_000, 1_000_000)
        for side in (128, 512)
    ]
    found = render.fit(rows)
    for name, expected in (("constant_seconds", 2e-3), ("seconds_a_face", 1e-7), ("seconds_a_pixel", 1e-9)):
        assert abs(found[name] / expected - 1) < 1e-6
    assert found["median_relative_error"] < 1e-6


def test_the_fastest_peer_is_told_and_never_ourselves():
    case = {"faces": 10, "resolution_px": 8}
    rows = [
        case | {"contender": name, "seconds": seconds} for name, seconds in ((render.OURS, 1.0), ("a", 3.0), ("b", 2.0))
    ]
    rows.append(case | {"contender": "c", "told": "not importable"})
    assert render.fastest_peer(rows, 10, 8)["contender"] == "b"
    assert render.fastest_peer(rows[:1], 10, 8) is None
