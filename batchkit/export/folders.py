"""The files of ``results_dir``: one for each job that has ended, written behind the database."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import orjson

from batchkit.model import Json
from batchkit.results import JobResult, cursor_place, replace_file, written

MARKER = ".batchkit-cursor"
"""The file in ``results_dir`` that says whose it is and how far it was written."""

MANY = 10_000
"""Jobs above which a run's files lie in subfolders, about so many in each at most."""

_SPREAD = 256
_LONGEST = 180  # bytes; file systems take names of 255, and a suffix must fit
_FEW = 5_000
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_ODD = re.compile(
    r"\.|.*[. ]$|.*-[0-9a-f]{10}$|(con|prn|aux|nul|com\d|lpt\d)(\.|$)|$", re.IGNORECASE | re.DOTALL
)
"""Hidden, cut off by Windows, like a name of ours with its suffix, a device, nothing at all."""


class Readable(Protocol):
    """What the folder is written from: a ``BatchRun``."""

    @property
    def id(self) -> str:
        """The run's own id."""
        ...

    @property
    def name(self) -> str:
        """The run's name."""
        ...

    def status(self) -> Json:
        """Where the run stands."""
        ...

    def iter_results(self, *, after: str | JobResult | None = None) -> Iterator[JobResult]:
        """Stream ended jobs in order of completion."""
        ...


def write_results(run: Readable, folder: str | os.PathLike[str]) -> int:
    """Bring a run's folder up to date: one JSON file for each job that has ended.

    Returns how many files were written. What was deleted comes back.
    """
    target = ResultsFolder(run, folder)
    return target.mend() + target.update()


class ResultsFolder:
    """The folder of one run's results.

    A folder belongs to one run; in one that is another's, this run has a folder of its own below.
    A file is the result's ``to_dict()``, named by the job's key; a key that cannot be a file's
    name, or differs from another's only in case, gets a suffix from its hash. The files of a run of
    more than 10,000 jobs lie in subfolders ``part-00`` to ``part-ff`` by the hash of the key, those
    of more than 2,560,000 two deep; what was written before a run grew so large stays in its place.
    """

    def __init__(self, run: Readable, folder: str | os.PathLike[str]) -> None:
        self._run = run
        self.path = own_folder(Path(folder).expanduser(), run.id, run.name)
        marker = _marker(self.path)
        self._cursor: str | None = marker.get("cursor")
        self._depth = int(marker.get("depth", 0))
        self._names: dict[Path, Names] = {}

    def update(self) -> int:
        """Write what has ended since the last time; return how many files."""
        count = 0
        last = self._cursor
        for result in self._run.iter_results(after=self._cursor):
            if not count:
                self._deepen()
            replace_file(self._place(result.key), written(result.to_dict()))
            last = result.cursor
            count += 1
        if last != self._cursor:
            self._mark(last)
        return count

    def mend(self) -> int:
        """Write again what was written once and is gone; return how many files.

        Each file of a small run is looked for; a large run's files are counted first.
        """
        if self._cursor is None or self._seems_whole():
            return 0
        self._deepen()
        count = 0
        end = cursor_place(self._cursor) or (0, 0)
        for result in self._run.iter_results():
            if (cursor_place(result.cursor) or end) > end:
                break
            path = self._place(result.key)
            if not (path.is_file() and path.stat().st_size):
                replace_file(path, written(result.to_dict()))
                count += 1
        return count

    def _seems_whole(self) -> bool:
        there = sum(1 for folder in _folders(self.path, self._depth) for _ in listed(folder))
        if there <= _FEW:
            return False
        status = self._run.status()
        return there >= int(status["completed"] + status["failed"] + status["cancelled"])

    def _deepen(self) -> None:
        """Put files into subfolders from now on if there are to be that many."""
        total, depth = int(self._run.status()["total"]), 0
        while total > MANY * _SPREAD**depth and depth < 2:
            depth += 1
        self._depth = max(self._depth, depth)

    def _place(self, key: str) -> Path:
        """Return where a key's file is, or else where it belongs."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        parts = [f"part-{digest[at : at + 2]}" for at in range(0, 2 * self._depth, 2)]
        for depth in range(self._depth):  # written before the run grew
            found = self._names_in(self.path.joinpath(*parts[:depth])).find(key)
            if found is not None:
                return found
        return self._names_in(self.path.joinpath(*parts)).path(key)

    def _names_in(self, folder: Path) -> Names:
        names = self._names.get(folder)
        if names is None:
            names = self._names[folder] = Names(folder)
        return names

    def _mark(self, cursor: str | None) -> None:
        data = {"run": self._run.id, "cursor": cursor, "depth": self._depth}
        replace_file(self.path / MARKER, orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))
        self._cursor = cursor


def own_folder(given: Path, run_id: str, name: str) -> Path:
    """Return the folder that is a run's own: the given one unless it is another run's already."""
    below = given / Path(file_name(Path(name).name)).stem
    for path in (given, below):
        if owner(path) in (None, run_id):
            return path
    return given / f"{below.name}-{run_id}"


def owner(folder: Path) -> str | None:
    """Return the id of the run whose results lie in a folder; None if they are nobody's."""
    return _marker(folder).get("run")


def listed(folder: Path) -> Iterator[str]:
    """Yield the names of a folder's result files; nothing if it is not there."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from (one.name for one in entries if one.name.endswith(".json"))


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """Yield a folder and the subfolders of ours in it."""
    yield folder
    if depth and folder.is_dir():
        with os.scandir(folder) as entries:
            below = [Path(one.path) for one in entries if one.name.startswith("part-")]
        for one in below:
            yield from _folders(one, depth - 1)


class Names:
    """Which file a key has in one folder, also where two keys differ only in case.

    Only hashes of names are kept, since a run may have a million; whose a name is shows in how it
    is written, which a disk that does not tell capitals apart keeps as well.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[int] | None = None

    def path(self, key: str) -> Path:
        """Return the path of a key's file, and keep that name for it."""
        suffixed = self._folder / file_name(key, suffix=True)
        path = self._folder / file_name(key)
        if path == suffixed or suffixed.exists():
            return suffixed
        taken = self._marks_taken()
        if hash(path.name) in taken:
            return path
        folded = _folded(path.name)
        if hash(folded) in taken or hash(f"/{folded}") in taken:
            return suffixed
        taken.update(_marks(path.name))
        return path

    def find(self, key: str) -> Path | None:
        """Return the path of a key's file if it is there."""
        taken = self._marks_taken()
        if not taken:
            return None
        path = self._folder / file_name(key)
        suffixed = self._folder / file_name(key, suffix=True)
        if path != suffixed and hash(path.name) in taken:
            return path
        return suffixed if suffixed.exists() else None

    def _marks_taken(self) -> set[int]:
        if self._taken is None:
            self._taken = {mark for name in listed(self._folder) for mark in _marks(name)}
        return self._taken


def _marks(name: str) -> Iterator[int]:
    yield hash(name)
    folded = _folded(name)
    if folded != name:
        yield hash(f"/{folded}")


def file_name(key: str, *, suffix: bool = False) -> str:
    """Return the name of a key's file; ``suffix`` asks for the one with a hash in any case."""
    raw = key.encode("utf-8", "surrogatepass")
    fits = len(raw) <= _LONGEST and raw == key.encode("utf-8", "replace")
    if fits and not suffix and not _UNSAFE.search(key) and not _ODD.match(key):
        return f"{key}.json"
    digest = hashlib.sha256(raw).hexdigest()[:10]
    safe = _UNSAFE.sub("_", key).lstrip(".").encode("utf-8", "replace")[:_LONGEST]
    return f"{safe.decode('utf-8', 'ignore')}-{digest}.json"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _marker(folder: Path) -> dict[str, Any]:
    return _read(folder / MARKER)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
