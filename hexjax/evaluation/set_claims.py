"""Claims about sets of vectors, judged by the runs of sweeps over arms: tables made from their scores; never typed.

`python -m hexjax.evaluation.set_claims SWEEP [SWEEP ...] --into docs/representations.md` replaces what stands between
`<!-- claims:NAME -->` and `<!-- /claims:NAME -->` for NAME = arms (every arm's scores) or verdicts. A SWEEP is a folder of
results of configs/sweeps/set_claims.py, and for C1 that of equal_size.py; a cell is ARM_SEED, and an arm that two have is
taken from the first. A claim says that one arm has more (or less) of a score than each of some others. It HOLDS where that
is so of the means over shapes by every seed, and of the median over shapes (each the mean over seeds) with its 95 % interval
off 0; it DOES NOT HOLD where the opposite is, against any of the others; else, and with one seed, it is NOT DECIDED.
"""

import argparse
import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hexjax import names
from hexjax.diagnostics import generation
from hexjax.evaluation import equal_size, page, rows, table
from hexjax.types import Scores

HOLDS, FAILS, OPEN = "HOLDS", "DOES NOT HOLD", "NOT DECIDED"


class Claim(NamedTuple):
    """What is said: that an arm's score is larger than that of each of the others, or smaller."""

    name: str
    text: str
    arm: str
    others: tuple[str, ...]
    score: str
    larger: bool = True


CLAIMS = (
    Claim("C1", "voxels keep detail better than sets at equal floats", "sparse", ("vecset",), "s_iou"),
    Claim("C2", "more points cure the smoothing", "points_8192", ("points_512",), "sharp_normal_error", False),
    Claim("C2", "points on sharp edges cure it", "salient", ("fps",), "sharp_normal_error", False),
    Claim("C3", "Fourier features help", "fps", ("raw",), "v_iou"),
    Claim("C4", "queries far apart beat learned and random ones", "fps", ("learned", "random"), "v_iou"),
    Claim("C6", "a balanced split of floats wins", "fps", ("tokens_32", "tokens_64", "tokens_256"), "v_iou"),
    Claim("C8", "L1 smooths sharp features more than L2 and cross-entropy", "fps", ("l2", "bce"), "sharp_normal_error"),
)
# C9: of the same rate, inside and outside against distances.
RATES = tuple((f"distance_{weight}", f"binary_{weight}") for weight in ("1e-3", "1e-2"))
DEAD = ("COLLAPSED", "WEAK")  # verdicts on a latent that says little or nothing


def judge(runs: dict[str, list[Scores]], claim: Claim) -> tuple[str, str] | None:
    """The verdict on a claim and what it rests on; None where an arm has no run."""
    if not {claim.arm, *claim.others} <= {*runs}:
        return None
    sign, words, ends = 1 if claim.larger else -1, [], []
    seeds = min(len(runs[arm]) for arm in (claim.arm, *claim.others))
    for other in claim.others:
        one, two = (_by_shape(runs[arm][:seeds], claim.score) for arm in (claim.arm, other))
        there = np.isfinite(one).all(0) & np.isfinite(two).all(0)
        one, two = one[:, there], two[:, there]
        middle, low, high = generation.paired(one.mean(0), two.mean(0), 0)
        steps = sign * (one.mean(1) - two.mean(1))
        words.append(f"{middle:+.3f} ({low:+.3f} to {high:+.3f}) against {other}")
        low, high = sorted((sign * low, sign * high))
        ends.append(1 if low > 0 and (steps > 0).all() else -1 if high < 0 and (steps < 0).all() else 0)
    told = f"{equal_size.SCORED[claim.score]} {'; '.join(words)}; {seeds} seed{'s' * (seeds > 1)}"
    if seeds < 2:
        return OPEN, told
    return HOLDS if min(ends) > 0 else FAILS if min(ends) < 0 else OPEN, told


def judge_rates(runs: dict[str, list[Scores]]) -> tuple[str, str] | None:
    """C9: the verdict program calls the latent dead on inside and outside, and not on distances, at some equal rate."""
    pairs = [pair for pair in RATES if {*pair} <= {*runs}]
    if not pairs:
        return None
    told, found = [], []
    for distance, binary in pairs:
        dead = [[each["verdict"] in DEAD for each in runs[arm]] for arm in (distance, binary)]
        told += [f"{arm}: {', '.join(each['verdict'] for each in runs[arm])}" for arm in (distance, binary)]
        found.append(1 if all(dead[1]) and not any(dead[0]) else -1 if sum(dead[1]) <= sum(dead[0]) else 0)
    if min(len(runs[arm]) for pair in pairs for arm in pair) < 2:
        return OPEN, f"{'; '.join(told)}; 1 seed"
    return HOLDS if max(found) > 0 else FAILS if max(found) < 0 else OPEN, "; ".join(told)


def verdicts(results: equal_size.Results) -> str:
    """One row a claim whose arms have runs."""
    rate = ("C9", "a Gaussian rate kills a latent of inside and outside where one of distances lives")
    judged = [(claim.name, claim.text, judge(results.families, claim)) for claim in CLAIMS]
    lines = [
        (name, text, f"**{found[0]}**", found[1])
        for name, text, found in (*judged, (*rate, judge_rates(results.families)))
        if found
    ]
    return table.markdown(("claim", "what is said", "verdict", "by"), lines)


def arms(results: equal_size.Results) -> str:
    """One row an arm, the best volume first; and which cells are missing."""
    head = ("arm", "runs", "floats", "steps", *equal_size.SCORED.values(), "verdict on the latent", "active units")
    lines = []
    for arm, runs in results.families.items():
        units = [each["active_units"] for each in runs if each.get("active_units") is not None]
        told = ", ".join(dict.fromkeys(each["verdict"] for each in runs))
        lines.append((
            arm, len(runs), f"{runs[0]['latent_floats']:,.0f}", f"{runs[0]['step']:,}",
            *(equal_size.spread(equal_size.values(runs, key)) for key in equal_size.SCORED), told,
            f"{statistics.mean(units):,.0f}" if units else None,
        ))  # fmt: skip
    return table.markdown(head, lines) + equal_size.lacking(results.missing)


TABLES: page.Tables = {"arms": arms, "verdicts": verdicts}


def _by_shape(runs: list[Scores], score: str) -> np.ndarray:
    """Scores [runs, shapes] of the held-out shapes; not a number where a shape has none."""
    found = [[row[score] for row in run["items"] if row["part"] == rows.HELD_OUT] for run in runs]
    return np.array(found, np.float64)


def read(folders: Sequence[pathlib.Path]) -> equal_size.Results:
    """The finished runs of the arms of all sweeps.

    Raises:
        ValueError: as `equal_size.read`, and for sweeps whose runs are scored on other shapes than those of the first.
    """
    found = [equal_size.read(folder) for folder in folders]
    named = [_names(one) for one in found]
    for folder, mine in zip(folders, named):
        if mine != named[0]:
            raise ValueError(
                f"{folder.name} has other held-out shapes than {folders[0].name}; accepted: sweeps on the same"
            )
    families = {arm: runs for one in reversed(found) for arm, runs in one.families.items()}
    missing = tuple(
        dict.fromkeys(cell for one in found for cell in one.missing if cell.rpartition("_")[0] not in families)
    )
    return found[0]._replace(families=families, missing=missing)


def _names(results: equal_size.Results) -> list[str]:
    first = next(iter(results.families.values()))[0]
    return [row["name"] for row in first["items"] if row["part"] == rows.HELD_OUT]


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    parser = argparse.ArgumentParser(description="Claims about sets of vectors.")
    parser.add_argument("sweeps", type=pathlib.Path, nargs="+", help="folders of sweeps' runs")
    parser.add_argument(
        "--into", type=pathlib.Path, nargs="+", default=[], help="pages whose marked tables are replaced"
    )
    given = parser.parse_args(arguments)
    try:
        page.publish(given.into, "claims", TABLES, read(given.sweeps))
    except (ValueError, OSError) as error:
        print(f"set_claims: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
