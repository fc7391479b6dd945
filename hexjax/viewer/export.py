"""The page as one HTML file that needs no network: the same front end as the server's, with the streams in it.

What it holds is chosen before it is made (`plan`), and is packed as well as the size of the file allows (`LEVELS`).
"""

import base64
import hashlib
import html
import json
import pathlib
import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from hexjax import names, progress
from hexjax.training import record
from hexjax.viewer import messages, server
from hexjax.viewer.contents import Contents
from hexjax.viewer.messages import Message

STEPS = 4  # of a run, at most
SHARES = ("0.167", "0.333", "0.500", "0.667", "0.833")  # of the way between neighbouring shapes
DRAWS = 4  # of a run whose latent has a prior
DEVIATIONS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # along each principal direction
FLOATS = 4096, 1024  # of a code that is shown, and of one that is shown small
COARSE = 96  # nodes a side of the grids of meshes that are shown small


class Level(NamedTuple):
    """How well a page is packed: faces of a shape's last mesh, of others, of those between; pixels of maps, of small ones."""

    faces: int
    more: int
    few: int
    side: int
    small: int


LEVELS = (
    Level(20_000, 10_000, 5_000, 256, 128),
    Level(20_000, 8_000, 4_000, 128, 64),
    Level(12_000, 6_000, 3_000, 128, 64),
    Level(8_000, 4_000, 2_000, 128, 48),
    Level(6_000, 3_000, 1_500, 128, 32),
    Level(5_000, 2_000, 1_000, 128, 32),
    Level(4_000, 2_000, 1_000, 64, 32),
    Level(2_500, 1_500, 800, 64, 32),
    Level(1_500, 800, 400, 48, 24),
)


class Plan(NamedTuple):
    """The keys of what a page holds, and whether each is shown small; the steps of each run."""

    keys: dict[str, bool]
    steps: list[list[int]]
    pairs: list[list[int]]


def plan(of: Contents) -> Plan:
    """What a page of these runs and shapes holds."""
    keys: dict[str, bool] = {}
    shapes, runs = range(len(of.items)), of.index()["runs"]
    pairs = [[shape, shape + 1] for shape in shapes[:-1]]
    steps = [_spread(run["steps"]) for run in runs]
    keys |= {f"input/{shape}": False for shape in shapes}
    for number, run in enumerate(runs):
        keys |= {f"seen/{number}/{shape}": False for shape in shapes}
        for step in steps[number]:
            keys |= {f"made/{number}/{step}/{shape}": step != steps[number][-1] for shape in shapes}
        if not steps[number]:
            continue
        last = f"{number}/{steps[number][-1]}"
        if run["between"]:
            keys |= {f"between/{last}/{one}/{other}/{share}": True for one, other in pairs for share in SHARES}
        if run["directions"]:
            keys |= {f"direction/{last}/{each}": True for each in _amounts(run["directions"]["count"])}
        keys |= {f"draw/{last}/{draw}": True for draw in range(min(run["draws"], DRAWS))}
    return Plan(keys, steps, pairs)


def _spread(steps: Sequence[int]) -> list[int]:
    """At most STEPS of them, the first and the last among them."""
    if len(steps) <= STEPS:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (STEPS - 1))] for i in range(STEPS)]


def _amounts(count: int) -> list[str]:
    """Places along one principal direction at a time, as a page asks for them."""
    found = [
        [value if axis == other else 0.0 for other in range(count)] for axis in range(count) for value in DEVIATIONS
    ]
    return list(dict.fromkeys(",".join(f"{value:.1f}" for value in each) for each in found))


def export(of: Contents, file: pathlib.Path, most: int) -> None:
    """Nothing; the page is in the file, with fewer than so many bytes.

    Raises:
        ValueError: where nothing that is shown fits.
    """
    chosen = plan(of)
    streams = _streams(of, chosen)
    for level in LEVELS:
        streams = {key: _cut(key, told, chosen.keys[key], level) for key, told in streams.items()}
        text = _page(of, chosen, streams, level)
        if len(text) < most:
            record.write_atomically(file.resolve(), text)
            shapes = f"{len(of.items)} shape{'s' * (len(of.items) > 1)}"
            told = f"{shapes}, up to {level.faces:,} faces a mesh, maps of up to {level.side}²"
            progress.tell(f"the page is {file}, {len(text) / 1e6:.1f} MB: {told}")
            return
    told = f"config.export.megabytes is {most / 1e6:g}, and {len(of.items)} shapes take {len(text) / 1e6:.1f} at least"
    raise ValueError(f"{told}; accepted: more, or fewer shapes (config.export.shapes)")


def _streams(of: Contents, chosen: Plan) -> dict[str, list[Message]]:
    """The messages of each key, no mesh larger than a page can show."""
    found: dict[str, list[Message]] = {}
    with progress.Line(len(chosen.keys), "parts of the page") as line:
        for key, small in chosen.keys.items():
            told = [one for one in messages.told(of.messages(key)) if one.stage != "progress"]
            found[key] = _cut(key, told, small, LEVELS[0])
            line.update(len(found))
    return found


def _cut(key: str, told: Sequence[Message], small: bool, level: Level) -> list[Message]:
    """The messages with meshes of at most as many faces as a level allows them."""
    own = level.few if key.startswith(("between", "direction", "draw")) else level.more if small else level.faces
    most = lambda one: level.more if one.told["role"] == "ceiling" else own
    return [messages.simplified(one, most(one)) if one.stage == "mesh" else one for one in told]


def _packed(told: Sequence[Message], small: bool, level: Level) -> bytes:
    """The stream of a key at a level, its meshes cut before, deflated."""
    side, floats, parts = level.small if small else level.side, FLOATS[small], []
    for one in told:
        lower = {"maps": (messages.reduced, side), "code": (messages.thinned, floats)}.get(one.stage)
        parts.append(messages.encode(one if lower is None else lower[0](one, lower[1]), pack=True))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(b"".join(parts)) + deflate.flush()


def _page(of: Contents, chosen: Plan, streams: dict[str, list[Message]], level: Level) -> bytes:
    """The HTML of a page at a level."""
    index = of.index()
    for number, run in enumerate(index["runs"]):
        run["steps"] = chosen.steps[number]
        run["draws"] = min(run["draws"], DRAWS) if run["steps"] else 0
        run["state"] = "done" if run["state"] == "training" and run["steps"] else run["state"]
        if run["between"]:
            run["between"] = {"pairs": chosen.pairs, "values": [0, *map(float, SHARES), 1]}
        if run["directions"]:
            run["directions"] |= {"values": list(DEVIATIONS), "together": False}
    reduced = (
        f"Meshes are cut down to at most {level.faces:,} faces by quadric decimation (libigl), those of earlier steps and "
        f"ceilings to {level.more:,}, those between shapes to {level.few:,}; maps to at most {level.side}² pixels, and "
        "latents to a part of their tokens. Errors and scores are of the whole meshes."
    )
    index |= {"live": False, "note": reduced}
    held = [_element("application/json", 'id="index"', json.dumps(index, allow_nan=False).replace("<", "\\u003c"))]
    for key, told in streams.items():
        content = base64.b64encode(_packed(told, chosen.keys[key], level)).decode()
        held.append(_element("application/x-hexjax", f'data-key="{html.escape(key)}"', content))
    return _assemble((server.STATIC / "index.html").read_text(encoding="utf-8"), "\n".join(held)).encode()


def _element(kind: str, attribute: str, content: str) -> str:
    return f'<script type="{kind}" {attribute}>{content}</script>'


def _assemble(text: str, held: str) -> str:
    """The page's HTML with its styles and scripts in it, and a policy that allows these and nothing else."""
    digests: dict[str, list[str]] = {"script": [], "style": []}

    def inlined(kind: str, name: str) -> str:
        content = (server.STATIC / name).read_text(encoding="utf-8").replace("</script", "<\\/script")
        digests[kind].append(f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'")
        return f"<{kind}>{content}</{kind}>"

    text = re.sub(r'<link rel="stylesheet" href="static/([\w.]+)">', lambda found: inlined("style", found[1]), text)
    first = text.index('<script src="static/')
    text = f"{text[:first]}{held}\n{text[first:]}"
    text = re.sub(r'<script src="static/([\w.]+)" defer></script>', lambda found: inlined("script", found[1]), text)
    policy = (
        f"default-src 'none'; script-src {' '.join(digests['script'])}; style-src {' '.join(digests['style'])}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = f'{names.GENERATOR}\n<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return text.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{head}', 1)
