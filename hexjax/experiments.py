"""Finds and reads config files: those of the user, and those that come with hexjax, in a checkout or in a package.

Standard library and ml_collections only.
"""

import importlib.util
import inspect
import os
import pathlib
import re
import sys

import ml_collections

from hexjax import names, rules, wording

CHECKOUT, PACKAGED = pathlib.Path(__file__).parent.parent, pathlib.Path(__file__).parent / "_packaged"
HOME = PACKAGED if PACKAGED.is_dir() else CHECKOUT  # the folder that holds configs/


def load(text: str) -> tuple[ml_collections.ConfigDict, set[str]]:
    """The config of FILE.py or FILE.py:variant, and the keys in which it differs from the base.py beside it."""
    file, variant = _find_file(text)
    config, base = _get_config(file, variant), file.parent / "base.py"
    default = rules.flatten(_get_config(base, None)) if base.is_file() else {}
    return config, {key for key, value in rules.flatten(config).items() if default.get(key, value) != value}


def _find_file(text: str) -> tuple[pathlib.Path, str | None]:
    """The file and the variant: a file where the user stands, else one that comes with hexjax; .py may be left out."""
    match = re.fullmatch(r"(.+\.py)(?::(.*))?", text) or re.fullmatch(r"([^:]+)(?::(.*))?", text)
    if match is None:
        raise ValueError(f"--config is {names.shown(text)}; accepted: FILE.py or FILE.py:variant")
    given = rules.expand(match[1] if match[1].endswith(".py") else f"{match[1]}.py")
    own = [HOME / "configs" / "sweeps", HOME / "configs", HOME]
    for folder in ("", *reversed(own)):
        if os.path.isfile(folder / given):
            return folder / given, match[2]
    folders = [folder for folder in (given.parent, *own[:2]) if folder.is_dir()]
    known = sorted({file.name for folder in folders for file in folder.glob("*.py")})
    longer = ", ".join(name for name in known if name.startswith(given.stem))
    hint = f"; nearest: {longer}" if longer else wording.nearest(given.name, known)
    raise ValueError(f"--config is {names.shown(text)}: no such file{hint}")


def _get_config(file: pathlib.Path, variant: str | None) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(HOME))  # for `from configs import base`
    try:
        spec.loader.exec_module(module)
        if variant and not inspect.signature(module.get_config).parameters:
            raise ValueError(f"config variant is {variant!r}; {file.stem} has no variants")
        config = module.get_config(variant) if variant else module.get_config()
        if not isinstance(config, ml_collections.ConfigDict):
            raise TypeError(f"get_config gives a {type(config).__name__}, accepted: an ml_collections.ConfigDict")
        return config
    except ValueError as error:
        raise ValueError(wording.of_error(error)) from error
    except (ImportError, SyntaxError, NameError, AttributeError, LookupError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{file.name} gives no config: {type(error).__name__}: {wording.of_error(error)}") from error
    finally:
        sys.path.remove(str(HOME))


def base() -> ml_collections.ConfigDict:
    """The config of base.py, with every shared key."""
    return _get_config(HOME / "configs" / "base.py", None)
