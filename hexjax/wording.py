"""How refusals word what was given to them: errors in a line, and hints at the nearest name that exists.

Standard library alone.
"""

import difflib
from collections.abc import Iterable

from hexjax import names

OTHER_NAMES = {  # what other tools call a key
    **dict.fromkeys(("epochs", "num_epochs", "max_steps", "iterations", "iters", "niter"), "train.steps"),
    **dict.fromkeys(("beta", "kl_weight"), "kl.final_weight"),
    **dict.fromkeys(("latent_dim", "z_dim", "dim"), "latent.channels"),
    **dict.fromkeys(("dataset", "input", "file", "mesh"), "data.path"),
}


def of_error(error: BaseException) -> str:
    """The text of an error in one line."""
    return names.one_line(" ".join(str(error).split()))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: "; nearest: ..." or nothing."""
    found = difflib.get_close_matches(name[: names.LINE], list(known), n=1)
    return f"; nearest: {found[0]}" if found else ""


def nearest_key(key: str, known: Iterable[str]) -> str:
    """The same for a key: the same last word in another section, a misspelling, or what its last word is short for."""
    known, key = list(known), key[: names.LINE].lower().replace("-", "_")
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
    found = next((keys for keys in tried if keys), [])
    return f"; nearest: {', '.join(found[:4])}" if found else ""


def _is_short(text: str, full: str) -> bool:
    """Whether the letters of `text` stand in `full` in their order, as those of an abbreviation do."""
    letters = iter(full)
    return len(text) > 2 and all(letter in letters for letter in text)
