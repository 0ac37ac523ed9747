"""A call's total deadline: an SDK's timeouts bound each read, and a drip of bytes outlasts them.

When time is up the call's connections are shut down, so that whatever waits on them fails at once.
Only what the HTTP library documents is used: a hook on each request, and its trace of connections.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import httpx2

_OPENED = ("connect_tcp.complete", "start_tls.complete")
_LEAST = 0.05

_here = threading.local()


class Deadline:
    """While it is entered, this thread's calls have so many seconds together.

    ``earned`` adds to them: a download has time as long as bytes come in earnest. ``passed`` says
    afterwards whether time was up, however the call ended: a body without a length that is shut
    off looks whole.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._seconds = seconds
        self._earned = 0.0
        self._over = False
        self._lock = threading.Lock()
        self._streams: list[Any] = []
        self._timer: threading.Timer | None = None
        self._outer: Deadline | None = None

    def earned(self, seconds: float) -> None:
        """Give the call more time."""
        with self._lock:
            self._earned += seconds

    def __enter__(self) -> Self:
        self._outer = getattr(_here, "deadline", None)
        _here.deadline = self
        self._wait(self._seconds)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _here.deadline = self._outer
        with self._lock:
            self._over = True
            self._streams.clear()
            if self._timer is not None:
                self._timer.cancel()

    def opened(self, stream: Any) -> None:
        """Remember a connection that the call makes."""
        with self._lock:
            self._streams.append(stream)
            if self.passed:
                self._shut()

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.name = "batchkit-deadline"
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        with self._lock:
            if self._over:
                return
            more, self._earned = self._earned, 0.0
            if more >= _LEAST:
                self._wait(more)
                return
            self.passed = True
            self._shut()

    def _shut(self) -> None:
        """Wake whoever waits on a connection; its file is closed by its owner."""
        for stream in self._streams:
            raw = stream.get_extra_info("socket")
            if isinstance(raw, socket.socket):
                with suppress(OSError):
                    # Not its own shutdown: TLS would forget its keys under the reader's hands.
                    socket.socket.shutdown(raw, socket.SHUT_RDWR)


def earn(seconds: float) -> None:
    """Give the call that this thread has in hand more time."""
    deadline: Deadline | None = getattr(_here, "deadline", None)
    if deadline is not None:
        deadline.earned(seconds)


def http_client(sdk: ModuleType) -> httpx2.Client:
    """Make the HTTP client that an SDK would make, with every request under its deadline.

    No connection is kept for the next call, minutes later: a create on one that the server has
    dropped meanwhile would be a create whose answer is unknown.
    """
    import httpx2

    made: httpx2.Client = sdk.DefaultHttpxClient(
        limits=httpx2.Limits(max_keepalive_connections=0), event_hooks={"request": [_watch]}
    )
    return made


def _watch(request: httpx2.Request) -> None:
    deadline: Deadline | None = getattr(_here, "deadline", None)
    if deadline is None:
        return

    def trace(event: str, info: dict[str, Any]) -> None:
        if event.endswith(_OPENED):
            deadline.opened(info["return_value"])

    request.extensions["trace"] = trace
