"""Bring result files to disk whole: streamed, synced, renamed, and checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from batchkit.errors import ProviderGarbled
from batchkit.model import Download
from batchkit.providers import calls

if TYPE_CHECKING:
    import httpx2

CHUNK = 64 * 1024
IDENTITY = {"Accept-Encoding": "identity"}
"""A cut gzip body decodes without an error; a cut plain one is seen by its length."""


def save(response: httpx2.Response, path: Path) -> Path:
    """Write a streamed body to ``path``: it is there whole, or not at all.

    Raises what the HTTP library raises, and ProviderGarbled for a page in place of a file.
    """
    if response.headers.get("content-type", "").lower().startswith("text/html"):
        raise ProviderGarbled("A web page came in place of a result file.", status=200)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        _write(response, part)
        _check_length(response)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return path


def first_line(response: httpx2.Response) -> bytes:
    """Read a streamed body up to its first line that holds something; the rest is left unread."""
    seen = b""
    for chunk in response.iter_bytes(CHUNK):
        seen = (seen + chunk).lstrip()
        if b"\n" in seen:
            return seen[: seen.index(b"\n")]
    return seen


def whole(saved: Sequence[Path], at_least: int, unrun: Sequence[bytes] = ()) -> Download:
    """Return the files as a Download if they hold as many lines as the provider counts.

    A line with one of ``unrun`` in it is none of them: it tells of a request that never ran.
    Raises ProviderGarbled, with what came in ``files``, for a short or torn file: a truncated
    body looks like a complete one where there is no length, or the length of what is left.
    """
    lines = 0
    for path in saved:
        found, torn = _count(path, unrun)
        lines += found
        if torn:
            raise _short("A result file breaks off in the middle of a line.", saved)
    if lines < at_least:
        raise _short(f"The result files hold {lines} lines of {at_least}.", saved)
    return Download(files=tuple(saved), lines=at_least)


def _write(response: httpx2.Response, part: Path) -> None:
    with part.open("wb") as file:
        for chunk in response.iter_bytes():  # as it comes
            calls.coming(len(chunk))
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _check_length(response: httpx2.Response) -> None:
    announced = response.headers.get("content-length", "")
    encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
    if encoded or not announced.isdigit():
        return
    if response.num_bytes_downloaded != int(announced):
        raise ProviderGarbled(
            f"A result file came short: {response.num_bytes_downloaded} of {announced} bytes."
        )


def _count(path: Path, without: Sequence[bytes]) -> tuple[int, bool]:
    """Count the lines that hold something; say whether the last one breaks off."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        for raw in file:
            last = raw
            if not raw.isspace() and not (without and any(mark in raw for mark in without)):
                lines += 1
    return lines, bool(last.strip()) and not last.endswith(b"\n") and not _parses(last)


def _parses(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _short(message: str, saved: Sequence[Path]) -> ProviderGarbled:
    return ProviderGarbled(message, files=tuple(saved))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
