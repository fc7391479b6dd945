"""Which files of a checkout are the project's own: those that git tracks, as they were committed."""

import pathlib
import subprocess


def foreign(root: pathlib.Path, *places: str) -> str:
    """Why what lies in these places may be a user's; empty where all of it is as committed."""
    tracked = ["git", "ls-files", "--error-unmatch", "--", *places]
    changed = ["git", "status", "--porcelain", "--untracked-files=all", "--", *places]
    try:
        known, status = [subprocess.run(line, cwd=root, capture_output=True, text=True) for line in (tracked, changed)]
    except FileNotFoundError:
        return "no git to tell whose results these are"
    if known.returncode or status.returncode:
        return "not a checkout by git: it cannot be told whose results these are"
    lines = status.stdout.splitlines()
    return f"a user's: {lines[0][3:]}" + f" and {len(lines) - 1} more" * (len(lines) > 1) if lines else ""
