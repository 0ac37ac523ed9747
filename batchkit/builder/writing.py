"""Jobs written down by another thread while the user's loop goes on adding.

SQLite needs no Python to insert a page of rows, and neither does a disk; so both go on meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from batchkit.store import NewJob
from batchkit.store.sheets import Sheet

Page: TypeAlias = Sequence[NewJob] | Sheet
Place: TypeAlias = Callable[[Page, Callable[[], object]], None]
"""Writes a page down; calls back once only what needs no Python is left to do."""

_BLINK = 0.0001


class Writing:
    """One page on its way: written by a thread, or by who waits for it if there is none."""

    def __init__(self, page: Page, place: Place) -> None:
        self.page = page
        self._place = place
        self._pid = os.getpid()
        self._claim = threading.Lock()
        self._begun = threading.Event()
        self._over = threading.Event()
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin; return once nothing of it needs Python any more."""
        # No thread is to be had while the interpreter ends: then it is written when waited for.
        with suppress(RuntimeError):
            threading.Thread(target=self._write, name="batchkit-draft").start()
            self._begun.wait()

    def give_way(self) -> None:
        """Let the writing thread have Python's lock, should it wait for it just now.

        It would get it after five milliseconds only, as often as it has a statement behind it.
        """
        if not self._over.is_set():
            self._over.wait(_BLINK)

    def wait(self) -> BaseException | None:
        """Return what went wrong, once the page is written down or cannot be."""
        if self._pid != os.getpid():  # a fork: the thread is the parent's, who may not come to it
            self._claim, self._over = threading.Lock(), threading.Event()
            self._pid = os.getpid()
        self._write()
        self._over.wait()
        return self._error

    def _write(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._place(self.page, self._begun.set)
        except BaseException as error:  # noqa: BLE001 -- carried to who waits, raised there
            self._error = error
        finally:
            self._begun.set()
            self._over.set()
