"""What becomes of jobs whose builder goes away without run: they are written down as a draft.

Never by the garbage collector itself: it may run anywhere, within a transaction on the same SQLite
file, too, and writing there would wait for its own lock. So a builder that is gone is only noted,
and written down when the next one is made, or when the process ends.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import Protocol

from batchkit.errors import BatchkitError


class Leaver(Protocol):
    """What can be written down late."""

    def write_down(self) -> None:
        """Write what was added and not yet written where it would have been at first."""


_open: set[Leaver] = set()
_gone: list[Leaver] = []
_lock = threading.Lock()


def watch(builder: object, start: Leaver) -> None:
    """Write down a builder's jobs after it has gone; those that went before, now."""
    write_down_gone()
    _open.add(start)
    weakref.finalize(builder, _gone.append, start).atexit = False


def write_down_gone() -> None:
    """Write down what builders left that are gone; nobody is there any more to hear of an error."""
    with _lock:
        while _gone:
            _write_down(_gone.pop())


def _write_down(start: Leaver) -> None:
    _open.discard(start)
    try:
        start.write_down()
    except BatchkitError:
        return


@atexit.register
def _write_down_all() -> None:
    write_down_gone()
    for start in tuple(_open):
        _write_down(start)
