"""Tables and pictures of the collapse laboratory, made from its sweeps' files; never typed.

`python -m hexjax.evaluation.laboratory results/collapse --into docs/collapse_evidence.md` replaces what stands between
`<!-- lab:NAME -->` and `<!-- /lab:NAME -->` in each page, for NAME of TABLES, and draws results/collapse/images/.
"""

import pathlib
import sys

from hexjax.evaluation import page
from hexjax.evaluation.laboratory import escape, overall, plots, results, tables

TABLES: page.Tables = {
    "overview": overall.overview,
    "cause": tables.cause,
    "pairs": overall.pairs,
    "latents": tables.latents,
    "recipe": tables.recipe,
    "recipe_sdf": lambda found: tables.recipe(found, "collapse_sdf"),
    "escape": escape.table,
    "dose": tables.dose,
    "front": tables.front,
    "witness": tables.witness,
    "thresholds": overall.thresholds,
    "priors": tables.priors,
    "metrics": overall.metrics,
    "preflight": overall.preflight,
    "early": overall.early,
    "scale": lambda found: tables.cause(found, "collapse_scale"),
}


def make(folder: pathlib.Path, pages: list[pathlib.Path]) -> None:
    """Nothing; the tables are printed, or in the pages, and then the pictures are drawn.

    Raises:
        ValueError: for a folder without results, or a page that cannot be filled.
    """
    found = results.read(folder)
    if pages and not found.groups:
        raise ValueError(f"{folder} holds no cell of a sweep; accepted: results/collapse")
    page.publish(pages, "lab", TABLES, found)
    for line in plots.draw(found, folder / "images") if pages else ():
        print(line, file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 for what is refused."""
    what = "Tables and pictures of the collapse laboratory."
    return page.main(arguments, "laboratory", what, "folder of sweeps: results/collapse", make)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
