"""Copies of documents beside the database, each under its hash, for inboxes that move."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from batchkit.errors import ConfigError


def keep(folder: Path, sha256: str, data: bytes) -> None:
    """Put a copy into `folder`, whole or not at all; one that is there is only touched.

    Raise ConfigError if it cannot be written.
    """
    place = folder / sha256
    try:
        if place.is_file() and place.stat().st_size == len(data):
            os.utime(place)
            return
        folder.mkdir(parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(dir=folder, prefix=".making-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(made, place)
        except BaseException:
            os.unlink(made)
            raise
    except OSError as error:
        raise ConfigError(
            f"A copy of a document cannot be kept in {folder} ({error.strerror or error}): make "
            "room, name another folder with BATCHKIT_FILES_DIR, or leave keep_files out."
        ) from error


def copies(folder: Path) -> Iterator[Path]:
    """Return every copy in `folder`, and what a crash left half made; none if there is none."""
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_file() and _is_ours(path.name))


def _is_ours(name: str) -> bool:
    if name.startswith(".making-"):
        return True
    return len(name) == 64 and all(letter in "0123456789abcdef" for letter in name)
