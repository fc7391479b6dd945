"""Pages whose tables are made, never typed: what stands between `<!-- KIND:NAME -->` and `<!-- /KIND:NAME -->`.

Words after the name, `<!-- KIND:NAME WORD WORD -->`, choose what the table shows, where its kind knows them.
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hexjax import names
from hexjax.training import record

Tables = dict[str, Callable[[Any], str]]
Choose = Callable[[Any, list[str]], Any]


def fill(text: str, kind: str, tables: Tables, results: Any, choose: Choose | None = None) -> str:
    """The text with what stands between each pair of a kind's markers replaced by the table of that name.

    Raises:
        ValueError: for a text without such markers, a marker without its pair, a table of an unknown name, or words that
            `choose` (results, words -> results) refuses.
    """
    pair = re.compile(rf"(<!-- {kind}:([\w-]+)((?: [^\s>]+)*) -->\n).*?(<!-- /{kind}:\2 -->)", re.DOTALL)

    def replaced(match: re.Match) -> str:
        name, words = match[2], match[3].split()
        if name not in tables:
            raise ValueError(f"a marker names the table {name!r}; tables: {', '.join(tables)}")
        if words and choose is None:
            raise ValueError(f"the marker of {name} names {words[0]!r}; accepted: <!-- {kind}:{name} -->")
        return f"{match[1]}\n{tables[name](choose(results, words) if words else results)}\n{match[4]}"

    made, pairs = pair.subn(replaced, text)
    marks = re.findall(rf"<!-- /?{kind}:", text)
    if not pairs or len(marks) != 2 * pairs:
        lacking = "a marker without its pair" if marks else f"no marker of {kind}"
        raise ValueError(f"{lacking}; accepted: a line <!-- {kind}:NAME -->, and after it <!-- /{kind}:NAME -->")
    return made


def publish(
    pages: Sequence[pathlib.Path], kind: str, tables: Tables, results: Any, choose: Choose | None = None
) -> None:
    """Nothing; the tables are in the pages, between the kind's markers; where there are no pages, all are printed.

    Raises:
        ValueError: as `rewrite` and `fill`.
    """
    if pages:
        rewrite(pages, lambda text: fill(text, kind, tables, results, choose))
    else:
        print("\n".join(f"{name}\n\n{table(results)}" for name, table in tables.items()))


def main(
    arguments: Sequence[str],
    name: str,
    what: str,
    folder: str,
    make: Callable[[Any, list[pathlib.Path]], None],
    several: bool = False,
) -> int:
    """Exit code of a command that makes tables and pictures of results: 0, or 2 for what is refused.

    Args:
        name: of the command; what: it makes; folder: what the results' folder is.
        make: (folder of results, pages) -> None, may raise ValueError.
        several: there may be more folders than one, and `make` is given a list of them.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("results", type=pathlib.Path, nargs="+" if several else None, help=folder)
    parser.add_argument(
        "--into", type=pathlib.Path, nargs="+", default=[], help="pages whose marked tables are replaced"
    )
    given = parser.parse_args(arguments)
    try:
        make(given.results, given.into)
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


def rewrite(pages: Sequence[pathlib.Path], make: Callable[[str], str]) -> None:
    """Nothing; each page is what `make` gives for its text, or none of them is changed.

    Raises:
        ValueError: for a page that is no file, or that `make` refuses, naming it.
    """
    made = {}
    for page in pages:
        if not page.is_file():
            raise ValueError(f"{page.name} is no file; accepted: pages with markers")
        try:
            made[page] = make(page.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{page.name}: {error}") from error
    for page, text in made.items():
        record.write_atomically(page.resolve(), text)
