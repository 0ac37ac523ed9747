"""The files of ``results_dir``: one for each job that has ended, written behind the database."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, TypeAlias

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
_PAGE = 2_000
_PAGE_SIZE = 4_000_000  # characters of answers
_ENDING = ".json"
_SUFFIXED = re.compile(r"-[0-9a-f]{10}\.json$")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_ODD = re.compile(
    r"\.|.*[. ]$|.*-[0-9a-f]{10}$|(con|prn|aux|nul|com\d|lpt\d)(\.|$)|$", re.IGNORECASE | re.DOTALL
)
"""Hidden, cut off by Windows, like a name of ours with its suffix, a device, nothing at all."""

IsOver: TypeAlias = Callable[[], bool]
"""Says whether whoever writes was told to leave."""


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
        self._names: dict[str, Names] = {}

    def update(self, is_over: IsOver = lambda: False) -> int:
        """Write what has ended since the last time; return how many files.

        How far it came is noted every few thousand files. Once ``is_over()`` is true it stops at
        such a point, and the next time goes on from there.
        """
        count = 0
        for page in _pages(self._run.iter_results(after=self._cursor)):
            if not count:
                self._deepen()
            count += self._write(page)
            self._mark(page[-1].cursor)
            if is_over():
                break
        return count

    def mend(self, is_over: IsOver = lambda: False) -> int:
        """Write again what was written once and is gone; return how many files.

        Each file of a small run is looked for; a large run's files are counted first. Once
        ``is_over()`` is true, the rest is left to the next time.
        """
        if self._cursor is None or self._seems_whole():
            return 0
        self._deepen()
        count = 0
        end = cursor_place(self._cursor) or (0, 0)
        before = takewhile(
            lambda one: (cursor_place(one.cursor) or end) <= end, self._run.iter_results()
        )
        for page in _pages(before):
            count += self._write(page, only_missing=True)
            if is_over():
                break
        return count

    def _write(self, page: Sequence[JobResult], *, only_missing: bool = False) -> int:
        """Write files folder by folder: in any other order a disk takes several times as long."""
        homes: dict[str, list[JobResult]] = {}
        for result in page:
            homes.setdefault(self._home(result.key), []).append(result)
        count = 0
        for home, results in homes.items():
            names = self._names_in(home)
            for result in results:
                path = f"{home}/{names.name(result.key)}"
                if not (only_missing and _has_content(path)):
                    replace_file(path, written(result.to_dict()))
                    count += 1
        return count

    def _seems_whole(self) -> bool:
        there = sum(len(listed(folder)) for folder in _folders(self.path, self._depth))
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

    def _home(self, key: str) -> str:
        """Return the folder that a key's file is in, or else belongs into."""
        home = str(self.path)
        if not self._depth:
            return home
        digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        for at in range(0, 2 * self._depth, 2):
            if self._names_in(home).has(key):  # written before the run grew
                return home
            home = f"{home}/part-{digest[at : at + 2]}"
        return home

    def _names_in(self, folder: str) -> Names:
        names = self._names.get(folder)
        if names is None:
            names = self._names[folder] = Names(folder)
        return names

    def _mark(self, cursor: str | None) -> None:
        data = {"run": self._run.id, "cursor": cursor, "depth": self._depth}
        replace_file(self.path / MARKER, orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))
        self._cursor = cursor


def _pages(results: Iterator[JobResult]) -> Iterator[list[JobResult]]:
    """Yield results by the thousand, fewer where their answers are long."""
    page: list[JobResult] = []
    size = 0
    for result in results:
        page.append(result)
        size += len(result.raw_response or "")
        if len(page) >= _PAGE or size >= _PAGE_SIZE:
            yield page
            page, size = [], 0
    if page:
        yield page


def _has_content(path: str) -> bool:
    """Say whether a file is there; a power cut may leave an empty one."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


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


def listed(folder: str | os.PathLike[str]) -> list[str]:
    """Return the names of a folder's result files; nothing if it is not there."""
    try:
        return [name for name in os.listdir(folder) if name.endswith(_ENDING)]
    except (FileNotFoundError, NotADirectoryError):
        return []


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

    A run may have a million names, so only hashes are kept, and only of names in capitals or with a
    suffix: of all others the disk knows whether they are there. Whose a name is shows in how it is
    written, which a disk that does not tell capitals apart keeps as well.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.fspath(folder)
        self._is_listed = False
        self._was_empty = True
        self._odd: set[int] = set()
        self._folds: set[int] = set()

    def name(self, key: str) -> str:
        """Return the name of a key's file, and keep it for that key."""
        name = file_name(key)
        if name != f"{key}{_ENDING}":  # has its suffix in any case
            return name
        self._list()
        folded = _folded(name)
        if folded == name and not self._odd:
            return name
        suffixed = file_name(key, suffix=True)
        if hash(suffixed) in self._odd:
            return suffixed
        if not self._is_free(name, folded):
            self._odd.add(hash(suffixed))
            return suffixed
        self._keep(name, folded)
        return name

    def has(self, key: str) -> bool:
        """Say whether a key's file is there, in a folder that gets no new ones."""
        self._list()
        return not self._was_empty and os.path.lexists(f"{self._folder}/{self.name(key)}")

    def _is_free(self, name: str, folded: str) -> bool:
        """Say whether no other key has this name, as far as capitals tell them apart."""
        if folded == name:
            return hash(folded) not in self._folds
        if hash(name) in self._odd:
            return True
        return hash(folded) not in self._folds and not os.path.lexists(f"{self._folder}/{folded}")

    def _keep(self, name: str, folded: str) -> None:
        if folded != name:
            self._odd.add(hash(name))
            self._folds.add(hash(folded))
        elif _SUFFIXED.search(name):
            self._odd.add(hash(name))

    def _list(self) -> None:
        if self._is_listed:
            return
        self._is_listed = True
        for name in listed(self._folder):
            self._was_empty = False
            self._keep(name, _folded(name))


def file_name(key: str, *, suffix: bool = False) -> str:
    """Return the name of a key's file; ``suffix`` asks for the one with a hash in any case."""
    raw = key.encode("utf-8", "surrogatepass")
    fits = len(raw) <= _LONGEST and raw == key.encode("utf-8", "replace")
    if fits and not suffix and not _UNSAFE.search(key) and not _ODD.match(key):
        return f"{key}{_ENDING}"
    digest = sha256(raw).hexdigest()[:10]
    safe = _UNSAFE.sub("_", key).lstrip(".").encode("utf-8", "replace")[:_LONGEST]
    return f"{safe.decode('utf-8', 'ignore')}-{digest}{_ENDING}"


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
