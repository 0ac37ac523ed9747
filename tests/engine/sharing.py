"""A clock shared with the simulator: waiting moves the time of both, and nobody sleeps."""

from __future__ import annotations

import http.client
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson


class SharedClock:
    """The simulator's time, of another process too; ``skew`` is how wrong this machine's clock is.

    Two engines on two clocks of one simulator agree about the time, as two machines do.
    """

    def __init__(self, url: str, *, skew: float = 0.0) -> None:
        self._at = urlsplit(url)
        self._lock = threading.Lock()
        self.skew = skew
        self._now = float(self._ask("GET", "/_sim/state", None)["now"])
        self._began = self._now

    def now(self) -> datetime:
        """Return the time, as wrong as this machine has it."""
        return datetime.fromtimestamp(self._now + self.skew, UTC)

    def monotonic(self) -> float:
        """Return the seconds since this clock was made."""
        return self._now - self._began

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Move the time; return whether ``wake`` is set."""
        if wake is not None and wake.is_set():
            return True
        told = self._ask("POST", "/_sim/advance", {"seconds": max(0.0, seconds)})
        self._now = float(told["now"])
        return False

    def ledger(self) -> dict[str, Any]:
        """Return the simulator's books."""
        return self._ask("GET", "/_sim/ledger", None)

    def _ask(self, method: str, path: str, body: Any) -> dict[str, Any]:
        with self._lock:
            line = http.client.HTTPConnection(str(self._at.hostname), int(self._at.port or 80))
            try:
                line.request(method, path, orjson.dumps(body) if body is not None else None)
                told: dict[str, Any] = orjson.loads(line.getresponse().read())
            finally:
                line.close()
            return told
