"""Work in threads takes the cores that the process may use, and no more."""

import os
import pathlib

import pytest

from hexjax import cores

SOURCES = pathlib.Path(cores.__file__).parent


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_cores_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.allowed() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores.allowed() == len(before)


def test_where_there_is_no_affinity_all_cores_are_used(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, used in ((7, 7), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert cores.allowed() == used


def test_nothing_asks_for_more():
    texts = {file.name: file.read_text(encoding="utf-8") for file in SOURCES.rglob("*.py")}
    assert [name for name, text in texts.items() if "workers=-1" in text or "PoolExecutor(os." in text] == []
