"""A time that moves only when somebody waits or says so."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 20, 22, tzinfo=UTC)
"""When a ManualClock begins unless it is told otherwise."""


class ManualClock:
    """A clock that stands still; waiting moves it and returns at once.

    ``wait(seconds)`` moves the time to what it was on entry plus ``seconds``, never beyond: threads
    that begin to wait together end together, and the time is the furthest of them. A thread that
    only ever waits does outrun one that works; ``pace`` is the real time, in seconds, that every
    wait gives to the others.
    """

    def __init__(self, now: datetime = START, *, pace: float = 0.0005) -> None:
        self._lock = threading.Lock()
        self._start = now
        self._elapsed = 0.0
        self._shift = timedelta()
        self._pace = pace

    def now(self) -> datetime:
        """Return the time."""
        with self._lock:
            return self._start + self._shift + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds that have passed; setting the clock back does not change them."""
        with self._lock:
            return self._elapsed

    def advance(self, by: float | timedelta) -> datetime:
        """Let time pass and return the new one; raise ValueError for going back (see ``set``)."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            raise ValueError("time does not pass backwards; set() sets the clock")
        with self._lock:
            self._elapsed += seconds
        return self.now()

    def set(self, now: datetime) -> None:
        """Set the clock, back too, as a person or NTP does; ``monotonic`` goes on as it was."""
        with self._lock:
            self._shift = now - self._start - timedelta(seconds=self._elapsed)

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Move the time to now plus ``seconds`` unless ``wake`` is set; return whether it is."""
        if wake is not None and wake.is_set():
            return True
        target = self.monotonic() + max(0.0, seconds)
        (wake or threading.Event()).wait(self._pace)
        if wake is not None and wake.is_set():
            return True
        with self._lock:
            self._elapsed = max(self._elapsed, target)
        return False
