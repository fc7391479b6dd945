"""Tables and pictures of the collapse laboratory, made from its sweeps' files; never typed.

`python -m hexjax.evaluation.laboratory results/collapse --into docs/collapse_evidence.md` replaces what stands between
`<!-- lab:NAME -->` and `<!-- /lab:NAME -->` in each page, for NAME of TABLES, and draws results/collapse/images/.
"""

import argparse
import pathlib
import sys

from hexjax import names
from hexjax.evaluation import page
from hexjax.evaluation.laboratory import overall, plots, results, tables
from hexjax.evaluation.laboratory.results import Results

TABLES: page.Tables = {
    "overview": overall.overview,
    "cause": tables.cause,
    "pairs": overall.pairs,
    "latents": tables.latents,
    "recipe": tables.recipe,
    "dose": tables.dose,
    "witness": tables.witness,
    "thresholds": overall.thresholds,
    "priors": tables.priors,
    "metrics": overall.metrics,
    "preflight": overall.preflight,
    "scale": lambda found: tables.cause(found, "collapse_scale"),
}


def fill(text: str, found: Results) -> str:
    """The text with its marked tables made anew.

    Raises:
        ValueError: for markers that are not accepted.
    """
    return page.fill(text, "lab", TABLES, found)


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 for what is refused; prints the tables, or writes them into pages and draws the pictures."""
    parser = argparse.ArgumentParser(description="Tables and pictures of the collapse laboratory.")
    parser.add_argument("results", type=pathlib.Path, help="folder of sweeps: results/collapse")
    parser.add_argument(
        "--into", type=pathlib.Path, nargs="+", default=(), help="pages whose marked tables are replaced"
    )
    given = parser.parse_args(arguments)
    try:
        found = results.read(given.results)
        if given.into and not found.groups:
            raise ValueError(f"{given.results} holds no cell of a sweep; accepted: results/collapse")
        page.publish(given.into, fill, TABLES, found)
    except (ValueError, OSError) as error:
        print(f"laboratory: {error}", file=sys.stderr)
        return names.REFUSED
    for line in plots.draw(found, given.results / "images") if given.into else ():
        print(line, file=sys.stderr)
    return names.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
