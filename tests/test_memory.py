"""Grids that do not fit are told with the key and what they take, before they are tried or after."""

import re

import pytest

from hexjax import memory
from tests.evaluation import toys


def config_of(grid: int):
    config = toys.config()
    config.extract.grid = grid
    return config


def machine(root, kilobytes: int, limits: tuple[str, str] | None = None):
    (root / "proc").mkdir()
    (root / "proc" / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {kilobytes} kB\n")
    if limits is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        for name, text in zip(("memory.max", "memory.current", "memory.stat"), (*limits, "anon 9\nactive_file 0\n")):
            (root / "sys/fs/cgroup" / name).write_text(text)


def test_what_is_free_is_that_of_the_machine_or_of_its_container(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    assert memory.free() is None
    machine(tmp_path, 8 * 2**20, ("max\n", "5\n"))
    assert memory.free() == 8 * 2**30
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{3 * 2**30}\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text(f"{2**30}\n")
    assert memory.free() == 2 * 2**30
    (tmp_path / "sys/fs/cgroup/memory.stat").write_text(f"anon 9\ninactive_file {2**28}\nactive_file {2**28}\n")
    assert memory.free() == 2 * 2**30 + 2**29


def test_a_grid_that_does_not_fit_is_refused_with_what_it_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    memory.check(config_of(2048))  # not known: it is tried
    machine(tmp_path, 8 * 2**20)
    told = "config.extract.grid is 1024: its nodes take about 12 GiB, and 8 GiB are free; accepted here: at most 894"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        memory.check(config_of(1024))
    memory.check(config_of(894))
    with pytest.raises(MemoryError, match=f"^{re.escape(told)}$"), memory.watched(config_of(1024)):
        raise AssertionError("tried")
    config = config_of(894)
    config.model.input = "voxels"
    told = "config.extract.grid is 894: its nodes take about 24 GiB, and 8 GiB are free; accepted here: at most 620"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        memory.check(config)


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")]
)
def test_memory_that_was_too_little_is_one_line(tmp_path, monkeypatch, error):
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    told = "config.extract.grid is 1024: its nodes take about 12 GiB, which are not free; a smaller extract.grid takes less"
    with pytest.raises(MemoryError, match=f"^{re.escape(told)}$"), memory.watched(config_of(1024)):
        raise error


def test_other_errors_are_none_of_memory():
    with pytest.raises(RuntimeError, match=r"^another$"), memory.watched(config_of(33)):
        raise RuntimeError("another")
