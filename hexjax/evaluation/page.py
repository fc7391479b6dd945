"""Pages whose tables are made, never typed: what stands between `<!-- KIND:NAME -->` and `<!-- /KIND:NAME -->`.

Words after the name, `<!-- KIND:NAME WORD WORD -->`, choose what the table shows, where its kind knows them.
"""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

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


def publish(pages: Sequence[pathlib.Path], make: Callable[[str, Any], str], tables: Tables, results: Any) -> None:
    """Nothing; each page is what `make` gives for its text and the results; where there are no pages, all tables are printed.

    Raises:
        ValueError: as `rewrite`.
    """
    if pages:
        rewrite(pages, lambda text: make(text, results))
    else:
        print("\n".join(f"{name}\n\n{table(results)}" for name, table in tables.items()))


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
