"""Four shapes made in code that are hard to represent, written as a folder of meshes: python -m hexjax.data.crafted FOLDER

A wheel of 13 spokes, a table, a vase with a thin wall and a tube with a thinner one. Named by a published study as those
that its auto-decoder does not learn, or, the tube, as one to be recognised; sizes are ours.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from hexjax import names
from hexjax.data import csg, ply

SPOKES = 13
CELLS, FACES = 160, 20_000  # of csg.mesh


def wheel() -> list[csg.Part]:
    """A rim, a hub with a bore and SPOKES spokes: as many holes, and one more."""
    angles = 2 * np.pi * np.arange(SPOKES) / SPOKES
    ends = [np.array([np.cos(a), np.sin(a), 0]) for a in angles]
    parts = [csg.ring((0, 0, 0), 2, 0.9, 0.08), csg.turned((0, 0, 0), 2, 0.14, 0.22)]
    parts += [csg.rod(0.15 * end, 0.88 * end, 0.035) for end in ends]
    return [*parts, csg.cut(csg.turned((0, 0, 0), 2, 0.3, 0.08))]


def table() -> list[csg.Part]:
    """A square top on four thin legs."""
    legs = [csg.rod((0.8 * i, 0, 0.5 * j), (0.8 * i, -0.8, 0.5 * j), 0.045) for i in (-1, 1) for j in (-1, 1)]
    return [csg.box((0, 0, 0), (0.9, 0.04, 0.6), 0.02), *legs]


def vase() -> list[csg.Part]:
    """A belly, a neck and a lip, hollow and open above, its wall 0.05."""
    curve = csg.profile(0.3, 0.5, 0.55, 0.4, 0.2, 0.3, half=0.9, smooth=True)
    inner = lambda along, angle: curve(along + np.float32(0.1), angle) - np.float32(0.05)
    return [csg.turned((0, 0, 0), 1, 0.9, curve, 0.02), csg.cut(csg.turned((0, 0.1, 0), 1, 0.9, inner, 0.02))]


def tube() -> list[csg.Part]:
    """Open at both ends, its wall 0.04."""
    return [csg.turned((0, 0, 0), 1, 0.9, 0.4, 0.015), csg.cut(csg.turned((0, 0, 0), 1, 1.2, 0.36, 0.015))]


KINDS = {"wheel": wheel, "table": table, "vase": vase, "tube": tube}


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="a new or empty folder")
    folder = parser.parse_args(arguments).folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"{folder.name} is not empty; accepted: a new or empty folder")
        for name, parts in KINDS.items():
            (folder / f"{name}.ply").write_bytes(ply.write(csg.mesh(parts(), CELLS, FACES)))
    except (ValueError, OSError) as error:
        print(f"crafted: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
