"""Uploads and downloads on this host's disk, durable before anything depends on them."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from batchkit.errors import ConfigError

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_MARK = 5
_TOKEN = 11
_BUFFER = 1 << 20
_STRETCH = 8 << 20


def new_token(run_uid: str) -> str:
    """Draw what marks every request of one batch: 18 of ``[a-z0-9]``, a letter first."""
    return mark_of(run_uid) + "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN))


def mark_of(run_uid: str) -> str:
    """Return how the tokens of one run begin: its batches are known by it without its database."""
    number = int.from_bytes(hashlib.sha256(run_uid.encode()).digest()[:8])
    letters = (
        _ALPHABET[number // len(_ALPHABET) ** place % len(_ALPHABET)] for place in range(_MARK)
    )
    return "bk" + "".join(letters)


def custom_id(token: str, seq: int) -> str:
    """Name one request on the wire: the batch's token and the job's place in its lane."""
    return f"{token}-{seq}"


def seq_of(custom: str | None, token: str) -> int | None:
    """Return the place a custom id stands for; None if it is not of this batch."""
    if custom is None or not custom.startswith(f"{token}-"):
        return None
    rest = custom[len(token) + 1 :]
    return int(rest) if rest.isascii() and rest.isdigit() else None


@contextmanager
def taken_over(holds: Callable[[], bool]) -> Iterator[None]:
    """Let a missing file pass where the lease is another's by now: they were done with it."""
    try:
        yield
    except FileNotFoundError:
        if holds():
            raise


def contents(files: Iterable[Path]) -> tuple[int, int]:
    """Return what tells two downloads of one batch apart: lines, and a sum over them.

    In which order they come, and in which file, does not matter.
    """
    lines = total = 0
    for path in files:
        if path.is_file():
            with path.open("rb") as file:
                for line in file:
                    lines += 1
                    total += int.from_bytes(hashlib.sha256(line.rstrip()).digest()[:8])
    return lines, total


class Spools:
    """The folder for batches on their way out and back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = socket.gethostname()

    def writer(self, token: str) -> SpoolWriter:
        """Start the file of one batch's lines; raises ConfigError if the folder is not writable."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return SpoolWriter(self.folder / f"{token}.jsonl")
        except OSError as error:
            raise ConfigError(f"Cannot write to {self.folder}: {error.strerror}") from error

    def incoming(self, token: str) -> Path:
        """Return the folder for one batch's downloads, made if it is not there."""
        folder = self.folder / f"{token}.results"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def cool(self, token: str) -> None:
        """Leave a spool that was sent to the disk alone: the memory it takes is the next one's."""
        with suppress(OSError), (self.folder / f"{token}.jsonl").open("rb") as file:
            _not_needed(file.fileno(), 0, 0)

    def forget(self, token: str) -> None:
        """Remove everything of a batch that is over."""
        (self.folder / f"{token}.jsonl").unlink(missing_ok=True)
        shutil.rmtree(self.folder / f"{token}.results", ignore_errors=True)


class SpoolWriter:
    """Write lines once, count and hash them on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.bytes = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._hash = hashlib.sha256()
        self._written = 0
        self._begun = 0
        self._file = path.open("wb", buffering=_BUFFER)
        self._hand: ThreadPoolExecutor | None = None
        self._in_hand: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        if kind is not None:
            self.path.unlink(missing_ok=True)

    def add(self, line: bytes) -> None:
        """Append one line."""
        self._held.append(line)
        self._held_bytes += len(line)
        self.bytes += len(line) + 1
        self.count += 1
        if self._held_bytes >= _BUFFER:
            self._hand_over()

    def seal(self) -> str:
        """Make the file durable, directory entry included; return its sha256 in hex."""
        self._finish()
        self._put(self._taken())
        self._file.flush()
        os.fsync(self._file.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self._hash.hexdigest()

    def _hand_over(self) -> None:
        """Have a megabyte written and hashed by another thread, which needs no Python for it."""
        if self._hand is None:
            self._hand = ThreadPoolExecutor(1, "batchkit-spool")
        written = self._taken()
        self._finish()
        self._in_hand = self._hand.submit(self._put, written)

    def _finish(self) -> None:
        """Wait for what is being written; raises what went wrong with it."""
        if self._in_hand is not None:
            in_hand, self._in_hand = self._in_hand, None
            in_hand.result()

    def _taken(self) -> bytes:
        """Return the lines that are held back, and hold them no more."""
        if not self._held:
            return b""
        self._held.append(b"")
        written = b"\n".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return written

    def _put(self, written: bytes) -> None:
        self._file.write(written)
        self._written += len(written)
        if self._written - self._begun >= 2 * _STRETCH:
            # What was just written is on no disk yet: it is begun with, and sealing waits less.
            _not_needed(self._file.fileno(), self._begun, _STRETCH)
            self._begun += _STRETCH
        self._hash.update(written)

    def discard(self) -> None:
        """Remove the file: the batch was not sealed."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._hand is not None:
            self._hand.shutdown()
        self._file.close()


def _not_needed(file: int, start: int, size: int) -> None:
    """Tell the system, where it listens, that a stretch of a file need not stay in memory.

    It writes what is on no disk yet, without anybody waiting, and lets go of the rest.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(file, start, size, os.POSIX_FADV_DONTNEED)
