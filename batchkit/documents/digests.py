"""The sha256 of a file's bytes, worked out beside whatever else is done with them."""

from __future__ import annotations

import hashlib
import threading

WORTH = 1 << 18
"""Bytes from which on a thread of its own pays: hashing needs no Python."""


class Digest:
    """A sha256 in the making; ``hex`` waits for it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._hex: str | None = None
        self._thread: threading.Thread | None = None
        if len(data) >= WORTH:
            thread = threading.Thread(target=self._work, name="batchkit-hash", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no room for a thread, or Python is about to end
                return
            self._thread = thread

    def hex(self) -> str:
        """Return it in hex."""
        if self._thread is not None:
            self._thread.join()
        if self._hex is None:
            self._work()
        return str(self._hex)

    def _work(self) -> None:
        self._hex = hashlib.sha256(self._data).hexdigest()
