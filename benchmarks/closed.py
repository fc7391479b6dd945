"""Names of the closed meshes of a folder, as --config.data.names takes them: python -m benchmarks.closed FOLDER [--count=N]

Closed: every edge is shared by exactly two faces. With --count so many of them, spread evenly over their names.
"""

import argparse
from collections.abc import Sequence


def main() -> None:
    """Nothing; prints the names in one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=0, help="0: all")
    arguments = parser.parse_args()
    print(few(closed(arguments.folder), arguments.count))


def closed(folder: str) -> list[str]:
    """The names of the closed meshes of a folder, in the order of its shapes."""
    from hexjax.data import sources
    from hexjax.geometry import mesh as meshes

    items = sources.items(folder, "solids", "y", 0, 0)
    return [item.name for item in items if meshes.topology(item.mesh)["watertight"]]


def few(names: Sequence[str], count: int) -> tuple[str, ...]:
    """So many of the names, spread evenly, the first among them; all where there are fewer, or count is 0."""
    kept = min(count or len(names), len(names))
    return tuple(names[place * len(names) // kept] for place in range(kept))


if __name__ == "__main__":
    main()
