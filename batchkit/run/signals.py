"""Ctrl-C and SIGTERM: the first one detaches, a second Ctrl-C leaves at once.

A handler runs between any two lines of the main thread, also while that holds a lock of the very
event it would have to set. So it only puts a word into a queue that is made for it; a thread that
listens sets the event and speaks.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Self

HEEDED = (signal.SIGINT, signal.SIGTERM)


class Detach:
    """While it is entered in the main thread, a signal sets ``stop`` instead of ending the program.

    ``heard`` is the signal that came, None so far. What was installed before is restored at the
    end; elsewhere than in the main thread, and for a signal that the program ignores, nothing
    changes. ``announce`` is called once, in a thread of its own, when a signal came.
    """

    def __init__(self, stop: threading.Event, announce: Callable[[], None]) -> None:
        self.heard: int | None = None
        self._stop = stop
        self._announce = announce
        self._words: SimpleQueue[int | None] = SimpleQueue()
        self._before: dict[int, Any] = {}
        self._listener: threading.Thread | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._listener = threading.Thread(target=self._listen, name="batchkit-signals", daemon=True)
        self._listener.start()
        for one in HEEDED:
            before = signal.getsignal(one)
            if before not in (None, signal.SIG_IGN):
                self._before[one] = before
                signal.signal(one, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one, before in self._before.items():
            signal.signal(one, before)
        if self._listener is not None:
            self._words.put(None)
            self._listener.join(timeout=1)

    def leave(self) -> None:
        """Raise what the signal stands for, if one came: the caller must not return normally."""
        if self.heard == signal.SIGINT:
            raise KeyboardInterrupt
        if self.heard is not None:
            raise SystemExit(128 + self.heard)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.heard is None:
            self.heard = number
            self._words.put(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        # A second SIGTERM is often the first one's echo (`timeout` sends it to the group as well).

    def _listen(self) -> None:
        if self._words.get() is not None:
            self._stop.set()
            self._announce()
