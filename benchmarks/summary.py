"""Tables of speed, made from the JSON files in results/benchmarks and written between the markers of pages.

python -m benchmarks.summary README.md docs/results.md; `<!-- speed:all -->` has every measurement, `<!-- speed:some -->` the
middle one of each kind.
"""

import argparse
import functools
import json
import pathlib
import sys
from typing import Any

from benchmarks import common, render
from hexjax import names
from hexjax.evaluation import page


def every(folder: pathlib.Path, some: bool = False) -> str:
    """One row a measurement: ours, the fastest beside it, how many times as long that takes; or the middle one of each kind.

    The latter in one sentence, for a page that has little room.
    """
    found = {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("render", "extract", "sdf", "command")
    }
    step = json.loads((folder / "train_step.json").read_text(encoding="utf-8"))
    kinds = [
        _rendering(found["render"]["rows"]),
        _extraction(found["extract"]["rows"]),
        _distances(found["sdf"]["runs"]),
        _steps(step["rows"]),
    ]
    for name, told in (("auto_decoder", _decoder_steps), ("views", _views)):
        if (file := folder / f"{name}.json").is_file():
            kinds.append(told(json.loads(file.read_text(encoding="utf-8"))))
    machine, device = found["render"]["machine"], found["render"]["device"].split(":")[0].upper()
    if some:
        told = [
            f"{row[0]}: {', beside '.join(filter(None, row[1:3]))}" for row in (kind[len(kind) // 2] for kind in kinds)
        ]
        return (
            f"Speed on {machine['cores']} cores ({device}), the middle measurement of each kind: {'; '.join(told)}.\n"
        )
    rows = [row for kind in kinds for row in kind]
    lines = [
        "| what | ours | beside it | times ours |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    command = found["command"]
    parts = {kind: command[kind]["parts"] for kind in ("cold", "warm")}
    evaluation = sum(seconds for name, seconds in parts["warm"].items() if name.startswith("evaluate"))
    lines += [
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {device}; jax {machine['versions']['jax']}. `launch.py --config="
        f"{command['config']}` takes {command['cold']['seconds']:.0f} s, {command['warm']['seconds']:.0f} s when its "
        f"programs are in the compilation cache: of the latter {parts['warm']['train']:.0f} s train and {evaluation:.1f} s "
        "evaluate.",
    ]
    return "\n".join(lines) + "\n"


def of_page(folder: pathlib.Path) -> str:
    """How long until the page shows something, in one sentence."""
    found = json.loads((folder / "page.json").read_text(encoding="utf-8"))
    seconds, machine = found["seconds"], found["machine"]
    warm, opened = seconds["warm"], seconds["opened_mesh"]
    told = {
        "the address is told": seconds["from_command_to_address"],
        "the first visit shows its input": seconds["cold_input"],
        "a later one its input": warm["input"]["median"],
        "and all three panes": warm["all_panes"]["median"],
        "a mesh that is opened is an input": opened["input"],
        "has its maps and ceiling": opened["maps_and_ceiling"],
        "and its reconstruction": opened["reconstruction"],
    }
    parts = ", ".join(f"{what} after {value:.2f} s" for what, value in told.items())
    return f"With {found['meshes']} meshes, on {machine['cores']} cores that also draw (no GPU): {parts}.\n"


TABLES: page.Tables = {"all": every, "some": functools.partial(every, some=True), "page": of_page}


def fill(text: str, folder: pathlib.Path = common.RESULTS) -> str:
    """The text with its marked tables made anew."""
    return page.fill(text, "speed", TABLES, folder)


def _rendering(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Every mesh at 512², and every resolution of the second mesh."""
    found = []
    ran = [row for row in rows if row["contender"] == render.OURS]
    second = sorted({row["faces"] for row in ran})[1]
    for ours in sorted(ran, key=lambda row: (row["resolution_px"], row["faces"])):
        faces, side = ours["faces"], ours["resolution_px"]
        if side != 512 and faces != second:
            continue
        peer = render.fastest_peer(rows, faces, side)
        what = f"six maps of {side}², {faces:,} faces"
        found.append((what, *_against(ours["seconds"], peer["contender"] if peer else None, peer and peer["seconds"])))
    return found


def _extraction(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    found = []
    for row in rows:
        if row["way"] == "dense" or row["shape"] != rows[0]["shape"]:
            continue
        key = ("shape", "grid")
        dense = next(r for r in rows if r["way"] == "dense" and all(r[k] == row[k] for k in key))
        what = f"maps to a mesh of {row['faces_out']:,} faces, {row['grid']}³ nodes"
        found.append((what, *_against(row["seconds"], "every node", dense["seconds"])))
    return found


def _distances(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    found = []
    for run in runs:
        peers = {
            name: row["seconds"] for name, row in run["contenders"].items() if name != "ours" and row.get("seconds")
        }
        fastest = min(peers, key=peers.get, default=None)
        what = f"200 000 signed distances, {run['faces']:,} faces" + ", open" * run["open"]
        name = {"open3d": "Open3D"}.get(fastest, fastest)
        found.append((what, *_against(run["contenders"]["ours"]["seconds"], name, peers.get(fastest))))
    return found


def _steps(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    found = []
    for row in rows:
        seconds = {name: runner["seconds"] for name, runner in row["runners"].items() if runner.get("seconds")}
        peers = {name: value for name, value in seconds.items() if name.startswith("PyTorch")}
        fastest = min(peers, key=peers.get, default=None)
        what = f"a training step of {row['parameters'] / 1e6:.1f} M parameters at {row['resolution_px']}², batch {row['batch']}"
        found.append((what, *_against(seconds["ours"], fastest, peers.get(fastest))))
    return found


def _decoder_steps(found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for row in found["rows"]:
        seconds = {name: runner["seconds"] for name, runner in row["runners"].items() if runner.get("seconds")}
        peers = {name: value for name, value in seconds.items() if name.startswith("PyTorch")}
        fastest = min(peers, key=peers.get, default=None)
        size = f"{row['parameters'] / 1e6:.2g} M parameters, {row['shapes']} x {row['points']} points"
        rows.append(
            (f"a training step of the auto-decoder, {size}", *_against(seconds["ours"], fastest, peers.get(fastest)))
        )
    return rows


def _views(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Seconds a view at 224², what is compiled counted in, beside those that a published study tells."""
    rows, published = [], found["published_views_per_second"]
    for row in found["rows"]:
        if row["resolution_px"] == 224:
            what = f"a view of 224² of a mesh, {row['shading']}, {len(row['meshes'])} meshes with compilation"
            ours = 1 / row["first"]["views_per_second"]
            rows.append((what, *_against(ours, "a published study", 1 / published)))
    return rows


def _against(ours: float, name: str | None, seconds: float | None) -> tuple[str, str, str]:
    if seconds is None:
        return _time(ours), "none ran", ""
    return _time(ours), f"{name}, {_time(seconds)}", f"{seconds / ours:.2f}"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 for what is refused; fills the tables in the pages that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=pathlib.Path, nargs="+", help="pages whose marked tables are replaced")
    try:
        page.rewrite(parser.parse_args(arguments).pages, fill)
    except (ValueError, OSError) as error:
        print(f"summary: {error}", file=sys.stderr)
        return names.REFUSED
    return names.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
