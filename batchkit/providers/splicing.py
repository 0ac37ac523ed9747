"""A spool's lines as one JSON array, read from disk while it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CHUNK = 64 * 1024


class Splice:
    """Lines of a file with commas for line ends, between a head and a tail.

    A line end never stands inside JSON text, so bytes may be swapped without a look at them:
    a batch of 256 MB goes out of a few kilobytes of memory. It can be read again and again.
    """

    def __init__(self, path: Path, head: bytes, tail: bytes) -> None:
        self._path = path
        self._head = head
        self._tail = tail

    def __len__(self) -> int:
        return len(self._head) + self._lines() + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._lines()
        with self._path.open("rb") as file:
            while left and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk.replace(b"\n", b",")
        yield self._tail

    def _lines(self) -> int:
        """Return the bytes of all lines, without the last line's end."""
        with self._path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 1))
            return size - 1 if size and file.read(1) == b"\n" else size
