"""Files below a folder: in order of their names, each folder once, nothing hidden."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import translate
from pathlib import Path

from batchkit.errors import ValidationError

_HIDDEN = (".", "~$")
"""How names begin that nobody means: hidden ones, and the lock files of office programs."""


def files(folder: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    """Yield (path, path relative to the folder with ``/``) of what fits the pattern, sorted.

    ``**`` stands for any number of folders; upper and lower case are one. A link to a folder is
    followed if it leads outside, and no folder is entered twice. Raises ValidationError for a
    folder that is none or cannot be read, and if nothing fits.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise ValidationError(f"The folder {folder} {what}.")
    walk = _Walk(folder)
    fits = _matcher(pattern)
    found = False
    for path, parts in walk.below(folder, ()):
        if fits(parts):
            found = True
            yield path, "/".join(parts)
        else:
            walk.passed[path.suffix.lower() or "no suffix"] += 1
    if not found:
        raise ValidationError(
            f"No file in {folder} fits the pattern {pattern!r}{_others(walk.passed)}."
        )


class _Walk:
    """One way through a folder."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._entered = {self._root}
        self.passed: Counter[str] = Counter()

    def below(self, folder: Path, above: tuple[str, ...]) -> Iterator[tuple[Path, tuple[str, ...]]]:
        for entry in _entries(folder):
            if entry.name.startswith(_HIDDEN):
                continue
            path, parts = folder / entry.name, (*above, entry.name)
            if entry.is_dir():
                if self._enters(entry):
                    yield from self.below(path, parts)
            elif entry.is_file() or entry.is_symlink():
                yield (
                    path,
                    parts,
                )  # a link to nothing is a document that is missing: add_job says so

    def _enters(self, entry: os.DirEntry[str]) -> bool:
        real = os.path.realpath(entry.path)
        inside = real == self._root or real.startswith(self._root.rstrip(os.sep) + os.sep)
        if real in self._entered or (entry.is_symlink() and inside):
            return False
        self._entered.add(real)
        return True


def _entries(folder: Path) -> Sequence[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise ValidationError(
            f"The folder {folder} cannot be read: {error.strerror or error}."
        ) from error


def _matcher(pattern: str) -> _Fits:
    parts = [part for part in pattern.replace(os.sep, "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or pattern.startswith("/"):
        raise ValidationError(
            f"pattern={pattern!r} cannot work: give one below the folder, such as '**/*.pdf'."
        )
    return _Fits([None if part == "**" else re.compile(translate(part), re.I) for part in parts])


class _Fits:
    """Whether the names of a path fit a pattern's parts; None stands for any number of names."""

    def __init__(self, wanted: list[re.Pattern[str] | None]) -> None:
        self._wanted = wanted

    def __call__(self, parts: tuple[str, ...]) -> bool:
        return self._from(0, parts, 0)

    def _from(self, at: int, parts: tuple[str, ...], done: int) -> bool:
        if at == len(self._wanted):
            return done == len(parts)
        wanted = self._wanted[at]
        if wanted is None:
            last = at == len(self._wanted) - 1
            if last:
                return done < len(parts)
            return any(self._from(at + 1, parts, here) for here in range(done, len(parts)))
        if done == len(parts) or not wanted.match(parts[done]):
            return False
        return self._from(at + 1, parts, done + 1)


def _others(passed: Counter[str]) -> str:
    if not passed:
        return ": there are no files in it"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in passed.most_common(3))
    return f" (files there are: {kinds})"
