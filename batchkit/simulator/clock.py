"""The simulator's time: the only file of the simulator that asks the machine for it.

Simulated time never runs while the simulator is down: the last instant that was told to anybody
is kept in a memory-mapped file, which outlives a SIGKILL without a write per request.
"""

from __future__ import annotations

import mmap
import struct
import threading
import time
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

_INSTANT = struct.Struct("<d")


def real_now() -> float:
    """Return the machine's time as unix seconds, for a world that starts today."""
    return time.time()  # noqa: TID251 - the simulator's one place that asks


class Clock:
    """Simulated unix seconds: frozen with `scale=0`, else that many per real second.

    Opened again on the same file it goes on where it stopped, whatever `start` says.
    """

    def __init__(self, file: Path, *, scale: float, start: float) -> None:
        self._memory = _open_memory(file)
        self._lock = threading.Lock()
        self._scale = scale
        self._base = _INSTANT.unpack_from(self._memory)[0] or start
        self._anchor = time.monotonic()

    def now(self) -> float:
        """Return the simulated time, and remember that it was told."""
        with self._lock:
            now = self._base + (time.monotonic() - self._anchor) * self._scale
            _INSTANT.pack_into(self._memory, 0, now)
            return float(now)

    def advance(self, seconds: float) -> float:
        """Move simulated time by `seconds`, back if negative, and return it."""
        with self._lock:
            self._base += seconds
        return self.now()

    def close(self) -> None:
        """Release the file; the clock must not be asked again."""
        self._memory.close()


def _open_memory(file: Path) -> mmap.mmap:
    if not file.exists():
        file.write_bytes(bytes(_INSTANT.size))
    with file.open("r+b") as handle:
        return mmap.mmap(handle.fileno(), _INSTANT.size)


def rfc3339(instant: float) -> str:
    """Write an instant as Anthropic does: microseconds and a Z."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def http_date(instant: float) -> str:
    """Write an instant as a `Date` header does."""
    return formatdate(instant, usegmt=True)
