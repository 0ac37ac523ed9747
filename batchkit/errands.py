"""Work that hardly needs Python, done by another thread while this one goes on.

SQLite needs none to insert a page of rows, and neither does a disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

Work: TypeAlias = Callable[[Callable[[], object]], object]
"""Does it all; calls back once only what needs no Python is left to do."""

_BLINK = 0.0001


class Errand:
    """One piece of work: done by a thread, or by who waits for it if there is none."""

    def __init__(self, work: Work, name: str, *, may_hang: bool = False) -> None:
        """``may_hang``: the interpreter does not wait for it when it ends."""
        self._work = work
        self._name = name
        self._may_hang = may_hang
        self._pid = os.getpid()
        self._claim = threading.Lock()
        self._begun = threading.Event()
        self._over = threading.Event()
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin; return once nothing of it needs Python any more."""
        # No thread is to be had while the interpreter ends: then it is done when waited for.
        with suppress(RuntimeError):
            threading.Thread(target=self._run, name=self._name, daemon=self._may_hang).start()
            self._begun.wait()

    def give_way(self) -> None:
        """Let the thread have Python's lock, should it wait for it just now.

        It would get it after five milliseconds only, as often as it has a statement behind it.
        """
        if not self._over.is_set():
            self._over.wait(_BLINK)

    def wait(self) -> BaseException | None:
        """Return what went wrong, once the work is done or cannot be."""
        if self._pid != os.getpid():  # a fork: the thread is the parent's, who may not come to it
            self._claim, self._over = threading.Lock(), threading.Event()
            self._pid = os.getpid()
        self._run()
        self._over.wait()
        return self._error

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._work(self._begun.set)
        except BaseException as error:  # noqa: BLE001 -- carried to who waits, raised there
            self._error = error
        finally:
            self._begun.set()
            self._over.set()
