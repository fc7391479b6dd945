"""Shape annotations are checked on every call; ranks do not promote; real meshes are found or the test skips."""

import atexit
import functools
import gc
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import jaxtyping

# Tests compile much and calculate little: LLVM is asked for no optimisation and XLA for no fusion emitters, whose programs
# take twice as long to compile; XLA's own passes stay. Threads of a BLAS that wait for each other would spin on shared cores.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("HEXJAX_CACHE", "")  # fields are made, not read from an earlier session
if (
    "JAX_COMPILATION_CACHE_DIR" not in os.environ
):  # shared by all processes of one session: each program is compiled once
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="hexjax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
if "HEXJAX_TESTS_SHAPES" not in os.environ:  # so are shapes made in code
    os.environ["HEXJAX_TESTS_SHAPES"] = tempfile.mkdtemp(prefix="hexjax-shapes-")
    atexit.register(shutil.rmtree, os.environ["HEXJAX_TESTS_SHAPES"], ignore_errors=True)
jaxtyping.install_import_hook("hexjax", "beartype.beartype")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from hexjax.data import npz, procedural, solids, sources  # noqa: E402
from hexjax.types import Mesh  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
gc.freeze()  # traces are many short-lived objects: to look for garbage less often spares a tenth of the time
gc.set_threshold(20_000, 20, 20)


MADE = procedural.head, solids.shape


@functools.cache
def _made(make: Callable[[int], Mesh], number: int) -> npz.Loaded:
    """A shape made in code, of which some take seconds: all processes of one session make each once."""
    if make not in MADE:  # a test's own
        return make(number), {}
    file = pathlib.Path(os.environ["HEXJAX_TESTS_SHAPES"], f"{make.__module__}.{number}.npz")
    if not file.exists():
        mesh = make(number)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            np.savez(part, mesh.vertices, mesh.faces)
        os.replace(part.name, file)
    mesh = Mesh(*np.load(file).values())
    for array in (mesh.vertices, mesh.faces):
        array.flags.writeable = False  # shared
    return mesh, {}


sources._made = _made

ROOT = pathlib.Path(__file__).parent.parent
# The longest files.
HEAVY = ["families", "dead_keys", "runs", "resume", "evaluate", "sweep", "raycast", "field", "digits", "api", "monitor"]


def pytest_collection_modifyitems(items):
    """Longest files first, so that no worker is alone with one at the end; others stay in their order."""
    rank = {f"test_{name}": number for number, name in enumerate(HEAVY)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(HEAVY)))


@pytest.fixture(scope="module")
def quick_programs():
    """XLA's own passes are left out too: for tests that compile much and calculate next to nothing."""
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)


@pytest.fixture(scope="session")
def data_folder() -> pathlib.Path:
    """The folder of real meshes: HEXJAX_DATA, else ../shared/data beside the checkout."""
    folder = pathlib.Path(os.environ["HEXJAX_DATA"]) if "HEXJAX_DATA" in os.environ else ROOT.parent / "shared" / "data"
    if not (folder / "heads").is_dir():
        pytest.skip(f"no real meshes in {folder.name}: set HEXJAX_DATA to the folder that holds heads/ and shapes/")
    return folder
