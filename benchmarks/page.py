"""The page of --mode=view in a browser on the same machine: how long until one sees something, with ten meshes.

python -m benchmarks.page                        (the model that comes with hexjax, on the first ten heads of the data folder)
python -m benchmarks.page --repeats=9

Warm: the server has made what it makes ahead. Then each repeat is a new browser context: from the call for the address to
the input drawn, and to all three panes drawn. Cold: the first visit of a new server, as soon as it tells its address, for
the input. An opened mesh: until it is an input, its maps are there, and its reconstruction is.

It needs the package playwright and a Chromium, as the page's tests do. Writes results/benchmarks/page.json.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

from benchmarks import common

FILE = common.RESULTS / "page.json"
MODEL = common.ROOT / "hexjax" / "shipped" / "ae_heads-small"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--disable-background-networking")
STILL = "body[data-ready=true][data-busy=false]"


def main() -> None:
    """Nothing; measures, and writes what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    from playwright import sync_api

    machine = common.machine()
    files = sorted((common.data_folder() / "heads").glob("*.ply"))[:10]
    with _served(files) as (url, started), sync_api.sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, BROWSERS)))
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        cold = _visit(browser, url, "#input[data-key]")
        _wait_until_made(url, len(files))
        warm = {
            name: [_visit(browser, url, marks) for _ in range(repeats)]
            for name, marks in (("input", "#input[data-key]"), ("all_panes", STILL))
        }
        opened = _open(browser, url, files[0])
        browser.close()
    told = {
        "command": common.command("benchmarks.page"),
        "machine": machine,
        "meshes": len(files),
        "seconds": {
            "from_command_to_address": round(started, 2),
            "cold_input": round(cold, 3),
            "warm": {name: {"median": round(statistics.median(each), 3), "all": each} for name, each in warm.items()},
            "opened_mesh": opened,
        },
    }
    common.write(FILE, json.dumps(told, indent=2) + "\n")


class _served:  # noqa: N801
    """A server of its own process; gives its address, and seconds until it told it."""

    def __init__(self, files: list[pathlib.Path]):
        paths = ",".join(map(str, files))
        given = ["--mode=view", f"--workdir={MODEL}", f"--config.data.path={paths}", "--config.data.count=0"]
        command = [sys.executable, str(common.ROOT / "launch.py"), *given, "--address=127.0.0.1:0"]
        environment = os.environ | {"PYTHONPATH": str(common.ROOT)}
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)

    def __enter__(self) -> tuple[str, float]:
        for line in self.process.stderr:
            if match := re.search(r"http://\S+", line):
                return match[0], time.monotonic() - self.began
        raise RuntimeError("the server ended")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def _visit(browser, url: str, marks: str) -> float:
    """Seconds from a call for the address to the marks of what is drawn, in a new context."""
    page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(marks, timeout=120_000)
    taken = time.perf_counter() - began
    page.context.close()
    return round(taken, 3)


def _wait_until_made(url: str, count: int) -> None:
    """Nothing; all streams of the first visit of each shape are made."""
    step = json.load(urllib.request.urlopen(f"{url}data/index"))["runs"][0]["steps"][-1]
    for shape in range(count):
        for key in (f"input/{shape}", f"seen/0/{shape}", f"made/0/{step}/{shape}"):
            urllib.request.urlopen(f"{url}data/{key}").read()


def _open(browser, url: str, file: pathlib.Path) -> dict[str, float]:
    """Seconds from opening a mesh to its stages."""
    page = browser.new_context().new_page()
    page.goto(url)
    page.wait_for_selector(STILL, timeout=120_000)
    began, found = time.perf_counter(), {}
    page.set_input_files("#file", file)
    page.wait_for_selector("body[data-shape='10']", timeout=120_000)
    for name, marks in (("input", "#input"), ("maps_and_ceiling", "#maps"), ("reconstruction", "#made")):
        page.wait_for_selector(f"{marks}[data-key*='/10'], {marks}[data-key$='10']", timeout=120_000)
        found[name] = round(time.perf_counter() - began, 3)
    page.context.close()
    return found


if __name__ == "__main__":
    main()
