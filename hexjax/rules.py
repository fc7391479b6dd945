"""What each key of a config accepts, and which keys must fit together.

Standard library and ml_collections only. `RULES` holds one rule for each key of configs/base.py. A family's file checks
the keys of its own; others that an experiment adds are only checked for plain types and NaN. Infinity means "off" where
a rule says so. A section of `OPEN` has keys of any name, which a command line may add.
"""

import ast
import importlib
import math
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_collections

from hexjax import names, wording


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


def choice(*accepted: str) -> Rule:
    """A rule for one of some names."""
    return Rule(str, " | ".join(accepted), lambda value: value in accepted)


FLAG = Rule(bool, "true | false", lambda value: True)
TEXT = Rule(str, "text", lambda value: True)
WIDTHS = Rule(
    tuple,
    'whole numbers above 0, as in "(64, 128)"',
    lambda value: bool(value) and all(type(item) is int and item > 0 for item in value),
)
TEXTS = Rule(
    tuple,
    """texts that differ, as in "('spot', 'koala')\"""",
    lambda value: all(isinstance(item, str) for item in value) and len({*value}) == len(value),
)
ANGLES = Rule(
    tuple,
    'numbers, in radians, as in "(0.5,)"',
    lambda value: all(isinstance(item, int | float) and math.isfinite(item) for item in value),
)
SHARES = Rule(tuple, names.SHARES, names.are_shares)
NOT_NEGATIVE = number(", finite, at least 0", lambda value: 0 <= value < math.inf)
POSITIVE = number(", finite, above 0", lambda value: 0 < value < math.inf)
BETWEEN = number(" above 0 and below 1", lambda value: 0 < value < 1)
POSITIVE_OR_OFF = number(" above 0; inf switches it off", lambda value: value > 0)
POWER_OF_TWO = Rule(int, "a power of two", lambda value: value > 0 and value & (value - 1) == 0)

RULES = {
    "name": Rule(
        str, "up to 100 letters, digits and . _ -", lambda value: bool(re.fullmatch(r"[A-Za-z0-9._-]{1,100}", value))
    ),
    "seed": whole(0, 2**31 - 1),
    "data.path": TEXT,
    "data.source": choice(*names.SOURCES),
    "data.up": choice("y", "z"),
    "data.count": whole(0),
    "data.cached": FLAG,
    "data.names": TEXTS,
    "data.held_out": TEXTS,
    "data.split": SHARES,
    "data.split_seed": whole(0, 2**31 - 1),
    "data.close": FLAG,
    "data.augment": choice("none", "mirror", "cube"),
    "hexplane.resolution_px": whole(8, 4096),
    "model.family": TEXT,
    "model.input": choice(*names.INPUTS),
    "model.dtype": choice("float32", "bfloat16"),
    "latent.kind": choice(*names.LATENTS),
    "latent.side": whole(1),
    "latent.channels": whole(1),
    "latent.bits": Rule(int, "16 | 32", lambda value: value in (16, 32)),
    "latent.codes": whole(2, 65536),
    "latent.estimator": choice(*names.ESTIMATORS),
    "latent.temperature": POSITIVE,
    "latent.pseudo_inputs": whole(1),
    "latent.flow_layers": whole(1),
    "latent.flow_width": whole(1),
    "kl.initial_weight": NOT_NEGATIVE,
    "kl.final_weight": NOT_NEGATIVE,
    "kl.warmup_steps": whole(0),
    "kl.cap": number(" above 0, at most 1; 1 switches it off", lambda value: 0 < value <= 1),
    "kl.cap_mode": choice(*names.CAP_MODES),
    "kl.prior_variance": POSITIVE,
    "kl.free_bits": NOT_NEGATIVE,
    "kl.reduction": choice("sum", "mean"),
    "kl.log_variance_limit": POSITIVE_OR_OFF,
    "reconstruction.kind": choice("surface", *names.LIKELIHOODS),
    "reconstruction.reduction": choice("mean", "sum"),
    "reconstruction.depth_weight": NOT_NEGATIVE,
    "reconstruction.depth_knee": NOT_NEGATIVE,
    "reconstruction.depth_quantile": BETWEEN,
    "reconstruction.normal_weight": NOT_NEGATIVE,
    "reconstruction.variance": POSITIVE,
    "reconstruction.sigma_floor": POSITIVE,
    "sdf.weight": NOT_NEGATIVE,
    "sdf.pool_points": whole(1),
    "sdf.points": whole(1),
    "sdf.seen_points": whole(0),
    "sdf.near": choice("uniform", "normal"),
    "surface.pool_points": whole(1),
    "surface.points": whole(1),
    "salient.pool_points": whole(1),
    "salient.points": whole(1),
    "views.count": whole(1),
    "views.held": whole(0),
    "views.drawn": whole(1),
    "views.shown": whole(1),
    "views.shown_held": FLAG,
    "views.resolution_px": whole(8, 1024),
    "views.distance": number(", finite, above 1", lambda value: 1 < value < math.inf),
    "views.field_of_view": number(" above 0 and below pi", lambda value: 0 < value < math.pi),
    "views.channels": choice(*names.CHANNELS),
    "views.shading": choice(*names.SHADINGS),
    "cells.side": whole(2, 512),
    "cells.capacity": whole(1),
    "distance_grid.side": whole(2, 512),
    "inside.points": whole(1),
    "optimiser.kind": choice("adam", "muon"),
    "optimiser.learning_rate": POSITIVE,
    "optimiser.beta2": number(" from 0, below 1", lambda value: 0 <= value < 1),
    "optimiser.epsilon": POSITIVE,
    "optimiser.warmup_steps": whole(0),
    "optimiser.decay": choice("none", "cosine", "halving"),
    "optimiser.halve_every_steps": whole(1),
    "optimiser.clip_norm": POSITIVE_OR_OFF,
    "train.steps": whole(1),
    "train.batch_size": whole(1),
    "train.ema": number(" from 0, below 1; 0 switches it off", lambda value: 0 <= value < 1),
    "log.every_steps": whole(1),
    "checkpoint.every_steps": whole(0),
    "checkpoint.keep": whole(1),
    "checkpoint.keep_every_steps": whole(0),
    "validate.every_steps": whole(0),
    "evaluate.every_steps": whole(0),
    "evaluate.shapes": whole(0),
    "evaluate.pictures": whole(0),
    "evaluate.baselines": FLAG,
    "diagnostics.every_steps": whole(0),
    "diagnostics.shapes": whole(1),
    "diagnostics.on_collapse": choice("report", "stop", "escape"),
    "witness.classes": Rule(int, "0 (no witness) or a whole number, at least 2", lambda value: value == 0 or value > 1),
    "witness.components": whole(1),
    "witness.teacher_temperature": POSITIVE,
    "witness.floor": number(" above 0, below 1", lambda value: 0 < value < 1),
    "witness.temperature": POSITIVE,
    "witness.weight": NOT_NEGATIVE,
    "witness.prefit_steps": whole(0),
    "extract.grid": whole(8, 2048),
    "extract.threshold": number(" above 0, below 1", lambda value: 0 < value < 1),
    "extract.min_part_share": number(" from 0 to 1", lambda value: 0 <= value <= 1),
    "sample.count": whole(1),
    "sample.seed": whole(0, 2**31 - 1),
    "sample.image": TEXT,
    "sample.azimuth": ANGLES,
    "sample.elevation": ANGLES,
    "export.shapes": whole(0),
    "export.megabytes": POSITIVE,
    "score.samples": whole(1),
}

SWEEP_RULES = {  # of configs/sweeps/
    "sweep.form": choice(*names.FORMS),
    "sweep.cells": Rule(
        tuple, "lines of text, 'name: key=value key=value'", lambda value: all(isinstance(item, str) for item in value)
    ),
    "sweep.seeds": whole(1),
    "sweep.shapes": whole(0),
    "sweep.held_out": number(" above 0, below 1", lambda value: 0 < value < 1),
    "sweep.measure_every_steps": whole(1),
    "sweep.together": choice("vmap", "map"),
    "sweep.control": TEXT,
    "sweep.start": TEXT,
    "sweep.constant_mean": FLAG,
    "sweep.forget": FLAG,
}

SHARED = ("seed", "data", "extract", "evaluate", "score")  # of a sweep, what its cells of several bases have in common
OPEN = {"optimiser.scale": NOT_NEGATIVE}  # what every key of such a section accepts: here, groups of parameters

# Values of keys with which nothing is trained, and train.steps is 0: a run has what its family's `init` gives.
UNTRAINED = {"views.encoder": ("dinov2", "pca")}

# What `diagnostics.on_collapse = escape` needs: a weight to lower, a witness that certifies, and looks at the latent.
ESCAPE = {
    "latent.kind": (*names.GAUSSIAN, "bernoulli", "categorical"),
    "kl.final_weight": 0,
    "witness.classes": 0,
    "diagnostics.every_steps": 0,
}
DENSITIES = ("calibrated_gaussian", "continuous_bernoulli")  # likelihoods whose nats fall below 0

# Numbers beside those of kl that may vary without a new program.
LIKELIHOOD = ("reconstruction.variance", "reconstruction.sigma_floor")
KNOBS = ("sdf.weight", "optimiser.learning_rate", "optimiser.clip_norm", *LIKELIHOOD, "witness.weight",
         "witness.prefit_steps")  # fmt: skip


def families() -> list[str]:
    """The names of the model families, by file, without importing any."""
    folders = map(pathlib.Path, importlib.import_module("hexjax.models").__path__)  # a namespace: nothing is loaded
    return sorted({file.stem for folder in folders for file in folder.glob("*.py")} - {"__init__", "family"})


def flatten(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Dotted key → value of every leaf, in alphabetical order."""
    leaves = {}
    for key, value in config.items():
        is_section = isinstance(value, ml_collections.ConfigDict)
        leaves |= flatten(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
    return leaves


def validate(config: ml_collections.ConfigDict, mode: str = "train") -> None:
    """Nothing; every value is in its range and, where it is trained with, fits the others.

    Modes that read a run train nothing, nor does a ceiling; a sweep trains its cells, and `cell` is the mode of each.

    Raises:
        ValueError: for the first that does not, in one line.
    """
    leaves = flatten(config)
    for key in RULES:
        if key not in leaves:
            raise ValueError(f"config.{key} is missing; configs start from configs/base.py")
    for section in OPEN:
        _check_open(config, section)
    for key, value in leaves.items():
        check_value(key, value, _rule_of_steps(leaves) if key == "train.steps" else rule_of(key))
    names.refuse_missing(config.data.path)
    if mode in ("train", "cell"):
        _check_together(config)
    if mode == "train":
        _check_counts(config)


expand, place_names = names.expand, names.place_names


def override(config: ml_collections.ConfigDict, key: str, text: str) -> None:
    """Nothing; sets a key of a config from text; in a section of `OPEN` also one that is new.

    Raises:
        ValueError: for a key that is unknown or a section, or text that is no value of its kind.
    """
    leaves, rule = flatten(config), rule_of(key)
    if key.removesuffix(".") in OPEN:
        raise ValueError(f"config.{key} is a section; its keys are {key.removesuffix('.')}.NAME, groups of parameters")
    if key not in leaves and key.rpartition(".")[0] not in OPEN:
        section = [name for name in leaves if name.startswith(f"{key}.")]
        if section:
            raise ValueError(f"config.{key} is a section; its keys: {', '.join(section)}")
        raise ValueError(f"config.{names.cut(key)} is unknown{wording.nearest_key(key, leaves)}")
    kind = type(leaves[key]) if rule is None else rule.kind
    accepted = "a value of the type in the config file" if rule is None else rule.accepted
    try:
        value = _READ[kind](text)
    except (ValueError, SyntaxError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"config.{key} is {names.shown(text)}; accepted: {accepted}") from error
    *sections, leaf = key.split(".")
    for section in sections:
        config = config[section]
    with config.ignore_type():
        config[leaf] = value


_READ = {
    bool: lambda text: {"true": True, "1": True, "false": False, "0": False}[text.lower()],
    int: int,
    float: float,
    str: str,
    tuple: ast.literal_eval,
}


def rule_of(key: str) -> Rule | None:
    """The rule of a key, or None for one that an experiment adds."""
    return (RULES | SWEEP_RULES).get(key) or OPEN.get(key.rpartition(".")[0])


def _rule_of_steps(leaves: dict[str, Any]) -> Rule:
    """The rule of `train.steps`: that of all, or 0 where nothing is trained."""
    for key, values in UNTRAINED.items():
        if key in leaves and leaves[key] in values:
            return Rule(int, f"0, as nothing is trained with {key} = {leaves[key]}", lambda value: value == 0)
    return RULES["train.steps"]


def _check_open(config: ml_collections.ConfigDict, section: str) -> None:
    parent, _, name = section.rpartition(".")
    if not isinstance(config[parent].get(name), ml_collections.ConfigDict):
        raise ValueError(f"config.{section} is missing; configs start from configs/base.py")


def check_value(key: str, value: Any, rule: Rule | None) -> None:
    """Nothing; the value is what a rule accepts; without a rule any plain one that is a number, if it is a float.

    Raises:
        ValueError: in one line.
    """
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
    if not (fits and rule.check(value)):
        raise ValueError(f"config.{key} is {names.shown(value)}; accepted: {rule.accepted}")


def _check_together(config: ml_collections.ConfigDict) -> None:
    """What binds a training and every cell of a sweep."""
    if config.model.family not in families():
        known = families()
        raise ValueError(
            f"config.model.family is {names.shown(config.model.family)}; families: {', '.join(known)}"
            f"{wording.nearest(config.model.family, known)}"
        )
    if config.reconstruction.kind == "surface" and config.model.input not in ("continuous", "binary"):
        raise ValueError(
            f"config.reconstruction.kind is 'surface'; accepted with model.input = {config.model.input}: channels | "
            "gaussian | calibrated_gaussian | bernoulli | continuous_bernoulli"
        )
    if config.latent.kind == "categorical" and config.latent.channels < 2:
        raise ValueError(
            f"config.latent.channels is {config.latent.channels}; accepted: at least 2, the codes of latent.kind = categorical"
        )
    if not config.data.cached and config.model.input in ("binary_sdf", "silhouette_sdf", "voxels"):
        raise ValueError(f"config.data.cached is False; accepted with model.input = {config.model.input}: true")
    _check_witness(config)
    _check_symmetries(config)
    if config.kl.cap < 1 and config.reconstruction.kind in DENSITIES:
        raise ValueError(
            f"config.kl.cap is {config.kl.cap:g}; accepted with reconstruction.kind = {config.reconstruction.kind}: 1, as "
            "nats of a density may be negative, and then a share of them is none"
        )
    views = config.views
    if views.held >= views.count:
        raise ValueError(f"config.views.held is {views.held}; accepted: less than views.count = {views.count}")
    if views.drawn > views.count - views.held:
        most = f"{views.count - views.held}, those that are not held"
        raise ValueError(f"config.views.drawn is {views.drawn}; accepted: at most {most}")
    shown = views.held if views.shown_held else views.count - views.held
    if views.shown > shown:
        told = "views.held" if views.shown_held else "those that are not held"
        raise ValueError(f"config.views.shown is {views.shown}; accepted: at most {shown}, {told}")
    for pool in ("sdf", "surface", "salient"):
        if config[pool].points > config[pool].pool_points:
            most = f"{pool}.pool_points = {config[pool].pool_points}"
            raise ValueError(f"config.{pool}.points is {config[pool].points}; accepted: at most {most}")


def _check_counts(config: ml_collections.ConfigDict) -> None:
    """What binds a training alone: the cells of a sweep take what there is."""
    check_teacher(config, config.data.count)
    if config.diagnostics.on_collapse == "escape":
        for key, accepted in ESCAPE.items():
            section, name = key.split(".")
            value = config[section][name]
            if value not in accepted if isinstance(accepted, tuple) else not value > 0:
                choices = " | ".join(accepted) if isinstance(accepted, tuple) else "above 0"
                told = f"config.{key} is {names.shown(value)}"
                raise ValueError(f"{told}; accepted with diagnostics.on_collapse = escape: {choices}")
    if 0 < config.data.count < config.train.batch_size:
        raise ValueError(
            f"config.train.batch_size is {config.train.batch_size}; accepted: at most data.count = {config.data.count}"
        )


def check_teacher(config: ml_collections.ConfigDict, count: int) -> None:
    """Nothing; so many shapes (0: not known yet) can have the teacher that a config asks for.

    Raises:
        ValueError: for fewer shapes than classes, or no more than components.
    """
    classes, components = config.witness.classes, config.witness.components
    if classes and count == 1:
        raise ValueError(
            f"config.witness.classes is {classes} and there is one shape: it is NOT-CERTIFIABLE, its latent can hold no "
            f"information; accepted: witness.classes = 0, or at least {max(classes, components + 1)} shapes"
        )
    if classes and 0 < count < classes:
        raise ValueError(f"config.witness.classes is {classes}; accepted: at most the number of shapes, {count}")
    if classes and 0 < count <= components:
        raise ValueError(f"config.witness.components is {components}; accepted: fewer than the shapes, {count}")


def _check_symmetries(config: ml_collections.ConfigDict) -> None:
    """What stands for a shape as it is, and is made once, fits no turned one."""
    witness, said = config.witness, f"config.data.augment is {config.data.augment!r}; accepted with"
    if config.data.augment == "none":
        return
    if config.model.input == "depth" and config.sdf.weight > 0:  # of opposite views one is seen alone
        raise ValueError(f"{said} model.input = depth and sdf.weight = {config.sdf.weight:g}: none")
    escapes = config.diagnostics.on_collapse == "escape"
    if witness.classes and (witness.weight > 0 or witness.prefit_steps > 0 or escapes):
        trains = "witness.weight, witness.prefit_steps above 0, diagnostics.on_collapse = escape"
        raise ValueError(f"{said} a witness that trains ({trains}): none")


def _check_witness(config: ml_collections.ConfigDict) -> None:
    classes, witness = config.witness.classes, config.witness
    if not classes:
        return
    if not config.data.cached:
        raise ValueError(f"config.data.cached is False; accepted with witness.classes = {classes}: true")
    if witness.floor * classes >= 1:
        raise ValueError(
            f"config.witness.floor is {witness.floor}; accepted: above 0, below 1 / witness.classes = {1 / classes:g}"
        )
    if config.latent.side**2 * config.latent.channels < classes - 1:
        raise ValueError(
            f"config.witness.classes is {classes}; accepted: at most one above the latent's floats of one view, "
            f"latent.side^2 x latent.channels = {config.latent.side**2 * config.latent.channels}"
        )
