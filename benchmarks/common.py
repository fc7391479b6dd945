"""What the benchmarks share: fresh worker processes, peak memory, the machine's description, and where the data lie.

Standard library alone in a parent, so that it stays small: Linux counts a parent's peak into that of the child it starts.
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "benchmarks"
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "scipy", "scikit-image", "libigl")


def data_folder() -> pathlib.Path:
    """Where the meshes are looked for: HEXJAX_DATA, else ../shared/data beside the checkout; it need not exist."""
    return pathlib.Path(os.environ.get("HEXJAX_DATA") or ROOT.parent / "shared" / "data").resolve()


def work(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON that a benchmark's worker prints as its last line, run in a process of its own from the checkout's root.

    The persistent compilation cache is off there, so that what a first call costs is told.

    Args:
        module: of the worker, run with `--worker` before the arguments.

    Raises:
        RuntimeError: if the worker fails; its standard error is already on ours.
    """
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = dict(os.environ, PYTHONPATH=places, JAX_ENABLE_COMPILATION_CACHE="false")
    command = [sys.executable, "-m", module, "--worker", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def command(module: str) -> str:
    """How this process was started, with files and folders by their names."""
    words = [re.sub(r"^(--[^=]*=)?.*/", r"\1", word) for word in sys.argv[1:]]
    return " ".join(["python -m", module, *words])


def reset_peak() -> bool:
    """Whether the peak resident memory now counts from here: Linux can; elsewhere it counts from the start."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def peak_mib() -> float:
    """Peak resident memory of this process, MiB, since its start or since `reset_peak` where that works."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call took, and what it gave; the call waits for the device itself."""
    began = time.perf_counter()
    value = function()
    return time.perf_counter() - began, value


def compilations() -> list[float]:
    """Seconds of each program that JAX compiles in this process from here on; the list grows."""
    import jax

    found: list[float] = []
    is_one = lambda event: event.endswith("backend_compile_duration")
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: found.append(seconds) if is_one(event) else None
    )
    return found


def machine() -> dict[str, Any]:
    """The machine without its name: processor, cores, memory, versions, and the load that others put on it."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def write(file: pathlib.Path, text: str) -> None:
    """Nothing; the file's folder is made, and the file told on stderr by its name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    print(f"wrote {file.name}", file=sys.stderr)


def _cpu() -> str:
    """The processor's name, as Linux tells it, with family and model where the name says little."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return f"{told.get('model name', platform.machine())}, family {told.get('cpu family')}, model {told.get('model')}"
