"""How refusals word what they were given: values of at most a line, and hints at the nearest name that exists.

Standard library alone.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any

LINE = 120  # letters: the most that is shown of one value
OTHER_NAMES = {  # what other tools call a key
    **dict.fromkeys(("epochs", "num_epochs", "max_steps", "iterations", "iters", "niter"), "train.steps"),
    **dict.fromkeys(("beta", "kl_weight"), "kl.final_weight"),
    **dict.fromkeys(("latent_dim", "z_dim", "dim"), "latent.channels"),
    **dict.fromkeys(("dataset", "input", "file", "mesh"), "data.path"),
}


def one_line(text: str, most: int = LINE) -> str:
    """The text with what is not printable escaped, and words longer than a line cut in their middle."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return re.sub(rf"\S{{{most + 1},}}", lambda word: _cut(word[0], most), plain)


def shown(value: Any) -> str:
    """A value as a refusal shows it: text in quotation marks, nothing longer than a line."""
    return cut(repr(value) if isinstance(value, str) else str(value))


def cut(text: str) -> str:
    """Printable text of at most a line, cut in its middle."""
    return _cut(one_line(text), LINE)


def of_error(error: BaseException) -> str:
    """The text of an error in one line."""
    return one_line(" ".join(str(error).split()))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: 2 * most // 3]}…{text[1 - most + 2 * most // 3 :]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: "; nearest: ..." or nothing."""
    found = difflib.get_close_matches(name[:LINE], list(known), n=1)
    return f"; nearest: {found[0]}" if found else ""


def nearest_key(key: str, known: Iterable[str]) -> str:
    """The same for a key: the same last word in another section, a misspelling, or what its last word is short for."""
    known, key = list(known), key[:LINE].lower().replace("-", "_")
    last, of = key.split(".")[-1], {name: name.split(".")[-1] for name in known}
    sections = sorted({name.rpartition(".")[0] for name in known} - {""})
    words = {name: leaf.split("_") for name, leaf in of.items()}
    tried = (
        [name for name in known if of[name] == last],
        difflib.get_close_matches(key, [*known, *sections], n=1, cutoff=0.8),
        [OTHER_NAMES[last]] if OTHER_NAMES.get(last) in known else [],
        [name for name in known if len(words[name]) > 1 and "".join(word[0] for word in words[name]) == last],
        [name for name in known if any(word.startswith(last) for word in words[name]) and len(last) > 2],
        [name for name in known if of[name].startswith(last[:3]) and _is_short(last, of[name])],
        difflib.get_close_matches(last, sections, n=1),
        difflib.get_close_matches(key, known, n=1)
        or [name for name in known if of[name] in last and len(of[name]) > 3],
        [name for name in known if of[name] in difflib.get_close_matches(last, of.values(), n=1, cutoff=0.75)],
    )
    found = next((names for names in tried if names), [])
    return f"; nearest: {', '.join(found[:4])}" if found else ""


def _is_short(text: str, full: str) -> bool:
    """Whether the letters of `text` stand in `full` in their order, as those of an abbreviation do."""
    letters = iter(full)
    return len(text) > 2 and all(letter in letters for letter in text)
