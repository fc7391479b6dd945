"""What each key of a config accepts, which keys must fit together, and which a variant does not read.

Standard library and ml_collections only. `RULES` holds one rule for each key of configs/base.py; keys that an
experiment adds are only checked for plain types and NaN. Infinity means "off" where a rule says so.
"""

import difflib
import fnmatch
import math
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ml_collections

SOURCES = ("procedural", "demosthenes", "goathead", "spot")  # of data.source, as data/sources.py lists them
NOT_FAMILIES = ("__init__", "family", "blocks", "losses", "latents")


class Rule(NamedTuple):
    """What a key accepts: its type, the words for it, and the test."""

    kind: type
    accepted: str
    check: Callable[[Any], bool]


def whole(low: int, high: int | None = None) -> Rule:
    """A rule for whole numbers in [low, high]."""
    text = f"a whole number, at least {low}" if high is None else f"a whole number from {low} to {high}"
    return Rule(int, text, lambda value: low <= value <= (2**31 - 1 if high is None else high))


def number(text: str, check: Callable[[float], bool]) -> Rule:
    """A rule for numbers; `check` sees no NaN."""
    return Rule(float, f"a number{text}", check)


def choice(*names: str) -> Rule:
    """A rule for one of some names."""
    return Rule(str, " | ".join(names), lambda value: value in names)


FLAG = Rule(bool, "true | false", lambda value: True)
TEXT = Rule(str, "text", lambda value: True)
WIDTHS = Rule(
    tuple, 'whole numbers above 0, as in "(64, 128)"', lambda value: bool(value) and all(item > 0 for item in value)
)
NOT_NEGATIVE = number(", finite, at least 0", lambda value: 0 <= value < math.inf)
POSITIVE = number(", finite, above 0", lambda value: 0 < value < math.inf)
POSITIVE_OR_OFF = number(" above 0; inf switches it off", lambda value: value > 0)
POWER_OF_TWO = Rule(int, "a power of two", lambda value: value > 0 and value & (value - 1) == 0)

RULES = {
    "name": Rule(str, "letters, digits and . _ -", lambda value: bool(re.fullmatch(r"[A-Za-z0-9._-]+", value))),
    "seed": whole(0, 2**31 - 1),
    "data.path": TEXT,
    "data.source": choice(*SOURCES),
    "data.up": choice("y", "z"),
    "data.count": whole(0),
    "data.cached": FLAG,
    "hexplane.resolution_px": whole(8, 4096),
    "model.family": TEXT,
    "model.input": choice("continuous", "binary"),
    "model.stem_px": POWER_OF_TWO,
    "model.widths": WIDTHS,
    "model.blocks": whole(0),
    "model.width_scale": POSITIVE,
    "model.mixer_side": whole(1),
    "model.mixer_width": whole(1),
    "model.mixer_blocks": whole(0),
    "model.mixer_heads": whole(1),
    "model.dtype": choice("float32", "bfloat16"),
    "latent.kind": choice("deterministic", "gaussian"),
    "latent.side": whole(1),
    "latent.channels": whole(1),
    "latent.bits": Rule(int, "16 | 32", lambda value: value in (16, 32)),
    "kl.initial_weight": NOT_NEGATIVE,
    "kl.final_weight": NOT_NEGATIVE,
    "kl.warmup_steps": whole(0),
    "kl.cap": number(" above 0, at most 1; 1 switches it off", lambda value: 0 < value <= 1),
    "kl.cap_mode": choice("clip", "scale", "penalty"),
    "kl.prior_variance": POSITIVE,
    "kl.free_bits": NOT_NEGATIVE,
    "kl.reduction": choice("sum", "mean"),
    "kl.log_variance_limit": POSITIVE_OR_OFF,
    "reconstruction.kind": choice("surface", "channels"),
    "reconstruction.reduction": choice("mean", "sum"),
    "reconstruction.depth_weight": NOT_NEGATIVE,
    "reconstruction.normal_weight": NOT_NEGATIVE,
    "sdf.weight": NOT_NEGATIVE,
    "sdf.pool_points": whole(1),
    "sdf.points": whole(1),
    "optimiser.learning_rate": POSITIVE,
    "optimiser.beta2": number(" from 0, below 1", lambda value: 0 <= value < 1),
    "optimiser.warmup_steps": whole(0),
    "optimiser.decay": choice("none", "cosine"),
    "optimiser.clip_norm": POSITIVE_OR_OFF,
    "train.steps": whole(1),
    "train.batch_size": whole(1),
    "log.every_steps": whole(1),
    "checkpoint.every_steps": whole(0),
    "checkpoint.keep": whole(1),
    "validate.every_steps": whole(0),
    "evaluate.every_steps": whole(0),
    "extract.grid": whole(8, 2048),
    "extract.threshold": number(" above 0, below 1", lambda value: 0 < value < 1),
    "extract.min_part_share": number(" from 0 to 1", lambda value: 0 <= value <= 1),
    "score.samples": whole(1),
}

# Keys that a variant does not read: pattern, the test, and the setting that leaves them unread.
UNREAD = (
    ("kl.*", lambda config: config.latent.kind != "gaussian", "latent.kind = deterministic"),
    ("kl.cap_mode", lambda config: config.kl.cap == 1, "kl.cap = 1"),
    (
        "reconstruction.*_weight",
        lambda config: config.reconstruction.kind != "surface",
        "reconstruction.kind = channels",
    ),
    ("reconstruction.*_weight", lambda config: config.model.input == "binary", "model.input = binary"),
    ("extract.threshold", lambda config: config.model.input != "binary", "model.input = continuous"),
    ("sdf.points", lambda config: config.sdf.weight == 0, "sdf.weight = 0"),
    ("sdf.pool_points", lambda config: config.sdf.weight == 0, "sdf.weight = 0"),
    ("data.source", lambda config: config.data.path != "", "data.path set"),
)


def families() -> list[str]:
    """The names of the model families, by file, without importing any."""
    folder = pathlib.Path(__file__).parent / "models"
    return sorted(file.stem for file in folder.glob("*.py") if file.stem not in NOT_FAMILIES)


def flatten(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Dotted key → value of every leaf, in alphabetical order."""
    leaves = {}
    for key, value in config.items():
        is_section = isinstance(value, ml_collections.ConfigDict)
        leaves |= flatten(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
    return leaves


def validate(config: ml_collections.ConfigDict, network: bool = True) -> None:
    """Nothing; every value is in its range and fits the others (those of the network where there is one).

    Raises:
        ValueError: for the first that does not, in one line.
    """
    leaves = flatten(config)
    for key in RULES:
        if key not in leaves:
            raise ValueError(f"config.{key} is missing; configs start from configs/base.py")
    for key, value in leaves.items():
        _check_value(key, value)
    _check_together(config)
    if network and config.model.family == "hexplane_ae":
        _check_network(config)


def _check_value(key: str, value: Any) -> None:
    rule = RULES.get(key)
    if rule is None:
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f"config.{key} is nan; accepted: a number")
        if not isinstance(value, (bool, int, float, str, tuple)):
            raise ValueError(
                f"config.{key} is a {type(value).__name__}; accepted: a number, text, true or false, or a tuple"
            )
        return
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
    fits = is_number if rule.kind is float else type(value) is rule.kind
    if rule.kind is tuple:
        fits = fits and all(type(item) is int for item in value)
    if not (fits and rule.check(value)):
        raise ValueError(f"config.{key} is {_shown(value)}; accepted: {rule.accepted}")


def _check_together(config: ml_collections.ConfigDict) -> None:
    if config.model.family not in families():
        known = families()
        raise ValueError(
            f"config.model.family is {config.model.family!r}; families: {', '.join(known)}"
            f"{nearest(config.model.family, known)}"
        )
    if config.data.path and not pathlib.Path(config.data.path).expanduser().exists():
        raise ValueError(
            f"config.data.path is {config.data.path!r}: no such file or folder; "
            "accepted: a mesh file, a folder of meshes or an NPZ set"
        )
    if config.sdf.points > config.sdf.pool_points:
        raise ValueError(
            f"config.sdf.points is {config.sdf.points}; accepted: at most sdf.pool_points = {config.sdf.pool_points}"
        )
    if 0 < config.data.count < config.train.batch_size:
        raise ValueError(
            f"config.train.batch_size is {config.train.batch_size}; accepted: at most data.count = {config.data.count}"
        )


def _check_network(config: ml_collections.ConfigDict) -> None:
    model, latent = config.model, config.latent
    fits = model.stem_px * 2 ** (len(model.widths) - 1) * latent.side
    if config.hexplane.resolution_px != fits:
        raise ValueError(
            f"config.hexplane.resolution_px is {config.hexplane.resolution_px}; accepted: {fits} = model.stem_px "
            f"{model.stem_px} x latent.side {latent.side} x 2^{len(model.widths) - 1} for model.widths {model.widths}"
        )
    if latent.side % model.mixer_side:
        raise ValueError(
            f"config.model.mixer_side is {model.mixer_side}; accepted: a divisor of latent.side = {latent.side}"
        )


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: "; nearest: ..." or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; nearest: {found[0]}" if found else ""


def unread(config: ml_collections.ConfigDict, given: set[str]) -> tuple[str, ...]:
    """One line for each setting that leaves some of the given keys unread."""
    lines = []
    for pattern, is_unread, setting in UNREAD:
        keys = sorted(key for key in given if fnmatch.fnmatch(key, pattern))
        if keys and is_unread(config):
            lines.append(f"config.{', config.'.join(keys)} set, but not read with {setting}")
    return tuple(lines)
