"""Shape annotations are checked on every call; ranks do not promote; real meshes are found or the test skips."""

import os
import pathlib

import jaxtyping

# Tests compile much and calculate little: LLVM is asked for no optimisation; XLA's own passes stay.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
jaxtyping.install_import_hook("hexjax", "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def quick_programs(tmp_path_factory):
    """Programs are compiled carelessly, and each once only: for tests that compile much and calculate little."""
    settings = {
        "jax_disable_most_optimizations": True,
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: jax.config.values[name] for name in settings}
    try:
        _update(settings)
        yield
    finally:
        _update(before)


def _update(settings: dict[str, object]) -> None:
    compilation_cache.reset_cache()
    for name, value in settings.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def data_folder() -> pathlib.Path:
    """The folder of real meshes: HEXJAX_DATA, else ../shared/data beside the checkout."""
    folder = pathlib.Path(os.environ["HEXJAX_DATA"]) if "HEXJAX_DATA" in os.environ else ROOT.parent / "shared" / "data"
    if not (folder / "heads").is_dir():
        pytest.skip(f"no real meshes in {folder.name}: set HEXJAX_DATA to the folder that holds heads/ and shapes/")
    return folder
