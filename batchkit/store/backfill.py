"""A SQLite file's log, copied back by another thread while the next rows are written.

SQLite lets who commits copy it, which waits for the disk: a quarter of the time that adding jobs
takes. It needs neither Python nor the writer's lock for that.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

_ROWS = 25_000
"""Written since the last time; of 1 kB each they make a log of 30 MB."""

_TOO_MANY = 125_000
"""Written while a log is copied: a disk that cannot keep up is waited for."""


class Backfill:
    """Copies the log of one file back from time to time.

    Where it comes to nothing (a full disk, a file that is gone) the writer meets the same, at
    SQLite's own limit, and says so.
    """

    def __init__(self, file: Path) -> None:
        self._uri = f"{file.as_uri()}?mode=rw"  # never makes a file in place of one that is gone
        self._rows = 0
        self._busy = threading.Lock()
        self._hand: threading.Thread | None = None

    def wrote(self, rows: int) -> None:
        """Count rows that were committed; begin once there are enough, unless at it already."""
        self._rows += rows
        if self._rows >= _TOO_MANY:
            self.stop()
        if self._rows < _ROWS or not self._busy.acquire(blocking=False):
            return
        self._rows = 0
        self._hand = threading.Thread(target=self._copy, name="batchkit-log")
        try:
            self._hand.start()
        except RuntimeError:  # no thread is to be had while the interpreter ends
            self._hand = None
            self._busy.release()

    def stop(self) -> None:
        """Wait for what is under way."""
        hand = self._hand
        if hand is not None:
            hand.join()

    def _copy(self) -> None:
        try:
            with (
                suppress(sqlite3.Error),
                closing(sqlite3.connect(self._uri, uri=True, isolation_level=None)) as connection,
            ):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            self._busy.release()
