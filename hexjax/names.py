"""Names that all of hexjax knows, what `data.path` names, and how a value is shown in a line. Standard library alone."""

import os
import pathlib
import re
from typing import Any

DONE, FAILED, REFUSED, NON_FINITE, COLLAPSED, INTERRUPTED = 0, 1, 2, 3, 4, 75  # exit codes; FAILED is anything else
VERDICTS = ("HEALTHY", "WEAK", "COLLAPSED", "EXPLODED", "NOT-CERTIFIABLE")
SOURCES = ("procedural", "solids", "latents", "demosthenes", "goathead", "spot")  # of config.data.source
INPUTS = (
    "continuous",
    "binary",
    "binary_sdf",
    "silhouettes",
    "silhouette_sdf",
    "depth",
    "voxels",
)  # of config.model.input
HULLS = ("binary", "binary_sdf", "silhouettes", "silhouette_sdf")  # inputs of outlines alone
GAUSSIAN = ("gaussian", "vamp_prior", "flow_prior")  # latents whose rate has no bound
DISCRETE = ("bernoulli", "categorical", "fsq")
PRIORS = (*GAUSSIAN, *DISCRETE)  # latents that can be drawn
LATENTS = ("deterministic", *PRIORS)  # of config.latent.kind
ESTIMATORS = ("straight_through", "gumbel")  # of config.latent.estimator
LIKELIHOODS = ("channels", "gaussian", "calibrated_gaussian", "bernoulli", "continuous_bernoulli")  # of planes
CHANNELS = ("shaded", "depth", "normal", "all")  # of config.views.channels
SHADINGS = ("rough", "lambert")  # of config.views.shading
CAP_MODES = ("clip", "scale", "penalty")  # of config.kl.cap_mode
FORMS = VMAPPED, RUNS = ("vmapped", "runs")  # of config.sweep.form
LINE = 120  # letters: the most that is shown of one value


def places(path: str) -> list[pathlib.Path]:
    """What a path names: itself if it is there or has no comma, else what stands between its commas; nothing if empty."""
    parts = [path] if os.path.lexists(expand(path)) else path.split(",")
    return [expand(part) for part in parts] if path else []


def expand(path: str) -> pathlib.Path:
    """The path with ~ and ~user at its start made a home folder, where there is one; else as it is."""
    return pathlib.Path(os.path.expanduser(path))  # where pathlib's own raises RuntimeError


def caches() -> pathlib.Path | None:
    """The folder hexjax among the user's caches; None where there is no home folder for it: none is made."""
    told = os.environ.get("XDG_CACHE_HOME")
    folder = expand(told or "~/.cache")
    return None if str(folder).startswith("~") or not (told or folder.parent.is_dir()) else folder / "hexjax"


def place_names(path: str) -> str:
    """The names of what a path names, without the folders that they lie in."""
    return ",".join(map(name, places(path)))


def name(place: pathlib.Path) -> str:
    """The place's own name, that of the folder meant where it is given as dots."""
    return place.resolve().name if place.name in ("", "..") else place.name


def absolute(path: str) -> str:
    """The path in a form that names the same from any working folder; links keep their own names."""
    return ",".join(str(place.absolute()) for place in places(path))


def refuse_missing(path: str) -> None:
    """Nothing, if all that a path names is there.

    Raises:
        ValueError: for the first place that is not, with the reason.
    """
    for place in places(path):
        try:
            os.stat(place)
            continue
        except (FileNotFoundError, NotADirectoryError):
            is_link, is_home = place.is_symlink(), str(place).startswith("~")
            reason = (
                "a link to nothing," if is_link else "no home folder for" if is_home else "no such file or folder as"
            )
        except (OSError, ValueError) as error:  # no permission, a name too long; a NUL in it
            reason = f"{(getattr(error, 'strerror', None) or str(error)).lower()}:"
        told = str(place) if reason.startswith("no home") else place.name
        raise ValueError(
            f"config.data.path is {shown(path)}: {reason} {shown(told)}; "
            "accepted: a mesh file, a folder of meshes or an NPZ set, or several with commas between"
        )


def printable(text: str) -> str:
    """The text with escapes for control characters, line ends and bytes that are no UTF-8; else as it is."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def one_line(text: str, most: int = LINE) -> str:
    """The text with what is not printable escaped, and words longer than a line cut in their middle."""
    return re.sub(rf"\S{{{most + 1},}}", lambda word: _cut(word[0], most), printable(text))


def shown(value: Any) -> str:
    """A value as a refusal shows it: text in quotation marks, nothing longer than a line."""
    return cut(repr(value) if isinstance(value, str) else str(value))


def cut(text: str) -> str:
    """Printable text of at most a line, cut in its middle."""
    return _cut(one_line(text), LINE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: 2 * most // 3]}…{text[1 - most + 2 * most // 3 :]}"


GENERATOR = '<meta name="generator" content="hexjax">'  # by which a page that --mode=export wrote is known
SHARES = '() (all shapes train) or three numbers, at least 0, of sum 1, the first above 0, as in "(0.8, 0.1, 0.1)"'


def are_shares(value: tuple) -> bool:
    """Whether `data.split` accepts a tuple: the shares of training, validation and test, or nothing."""
    if not value:
        return True
    numbers = all(isinstance(share, (int, float)) and not isinstance(share, bool) for share in value)
    return len(value) == 3 and numbers and min(value) >= 0 and value[0] > 0 and abs(sum(value) - 1) < 1e-6
