"""Which files of a folder hexjax wrote itself, and what the files of a shape are called.

A folder's ledger `written.sha256` has a line for everything that was written there: digest, two blanks, the file's place.
Only what still stands there word for word is written over or deleted. Other files stay, and a line tells where ours went.
"""

import hashlib
import io
import itertools
import os
import pathlib
import re
import unicodedata
from collections.abc import Callable, Iterator

from hexjax import progress
from hexjax.training import record

FILE = "written.sha256"
UNLISTED = (
    "# earlier files of this run are not listed"  # the first line where there were some; sha256sum passes it over
)
MOST_BYTES = 120  # of a stem in UTF-8, its mark apart: with every ending a file name that all file systems take
MARK = "~"  # before the digest of a name that could not stay as it is; no other stem has it
# Endings of our own that a shape's name could meet, and the names that Windows keeps for devices.
OURS = re.compile(r".*_ceiling|sample_\d+")
# Letters and marks that show nothing, and that ext4 leaves out where it compares names without case.
BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")


class Ledger:
    """What was written in one folder; files are named by their place in it, as `meshes/head.ply`."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.digests, self.told = folder, {}, False
        known = (folder / FILE).read_text("utf-8", "replace") if (folder / FILE).is_file() else None
        self.is_late = (
            any(folder.glob("meshes/*")) or any(folder.glob("images/*")) if known is None else UNLISTED in known
        )
        for line in (known or "").splitlines():
            digest, _, place = line.partition("  ")
            self.digests.setdefault(place, set()).add(digest)

    def owns(self, place: str) -> bool:
        """Whether the file is there and is, word for word, one that was written by us."""
        known, file = self.digests.get(place, set()), self.folder / place
        return bool(known) and file.is_file() and _digest(file.read_bytes()) in known

    def write(self, place: str, fill: Callable[[io.BytesIO], object]) -> pathlib.Path:
        """The file that was written, whole or not at all, with what `fill` puts into a buffer.

        Where another's file has the place, ours goes beside it, as `head (2).ply`, and a line tells so.
        """
        fill(buffer := io.BytesIO())
        return self.put(place, buffer.getvalue())

    def put(self, place: str, data: bytes) -> pathlib.Path:
        """The same with the bytes themselves."""
        free = next(one for one in _beside(place) if self.owns(one) or not os.path.lexists(self.folder / one))
        file, digest = self.folder / free, _digest(data)
        file.parent.mkdir(parents=True, exist_ok=True)
        if digest not in self.digests.get(free, ()):  # before the file: one that we wrote is never taken for another's
            self._note(f"{digest}  {free}")
            self.digests.setdefault(free, set()).add(digest)
        record.write_atomically(file, data)
        if free != place and not self.is_late:
            progress.tell(f"{place} is not what this run wrote there: it stays; ours is {free}")
        elif free != place and not self.told:
            told = f"made before hexjax kept {FILE}: earlier files stay, new ones are named (2)"
            progress.tell(f"{self.folder.name}: {told}")
            self.told = True
        return file

    def _note(self, line: str) -> None:
        """Nothing; the line is in the ledger, on the disk, and on its own even where one was torn before."""
        with (self.folder / FILE).open("ab+") as lines:
            if lines.seek(0, os.SEEK_END):
                lines.seek(-1, os.SEEK_END)
                line = line if lines.read() == b"\n" else f"\n{line}"
            elif self.is_late:
                line = f"{UNLISTED}\n{line}"
            lines.write(f"{line}\n".encode())
            lines.flush()
            os.fsync(lines.fileno())

    def delete(self, place: str) -> None:
        """Nothing; our file of that place is gone, there or beside it."""
        for one in itertools.takewhile(lambda one: os.path.lexists(self.folder / one), _beside(place)):
            if self.owns(one):
                return (self.folder / one).unlink()


def stem(name: str) -> str:
    """The shape's name as a file name without its ending: one to one, also where case and composition do not count.

    Small letters and digits of any script and . _ - stay as they are, and a folder's / becomes a plus sign. Any other
    name loses what is not safe in every file system, and has a digest of itself at its end.
    """
    kept = name.replace("/", "+")
    safe = "".join(c if _lasts(c) else "-" for c in unicodedata.normalize("NFC", kept))
    safe = re.sub(r"^[.+-]|\.$", "_", safe)
    folded = unicodedata.normalize("NFC", kept.casefold())
    is_whole = 0 < len(safe.encode()) <= MOST_BYTES and kept == safe == folded and "+" not in name
    if is_whole and not OURS.fullmatch(kept) and not DEVICES.fullmatch(kept):
        return kept
    short = safe.encode()[:MOST_BYTES].decode(errors="ignore")
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{'_' * bool(DEVICES.fullmatch(short.casefold()))}{short}{MARK}{mark}"


def _beside(place: str) -> Iterator[str]:
    """A place and those beside it: `head.ply`, `head (2).ply` and so on."""
    head, dot, suffix = place.rpartition(".")
    yield place
    yield from (f"{head} ({number}){dot}{suffix}" for number in itertools.count(2))


def _lasts(character: str) -> bool:
    """Whether a character is one of `._+-`, or a letter, a mark or a digit that every file system looks at."""
    return character in "._+-" or (unicodedata.category(character)[0] in "LMN" and not BLANK.match(character))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
