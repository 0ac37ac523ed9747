"""Pages read ahead: the database finds the next one while the one before is handled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias, TypeVar

Row_co = TypeVar("Row_co", covariant=True)
Place = TypeVar("Place")
Read: TypeAlias = tuple[Iterable[Row_co], Place | None]
"""A page, and where the next one begins; None behind the last."""


class Reading(Protocol[Row_co, Place]):
    """Reads the page at a place; calls ``begun`` when only the database has still to work."""

    def __call__(self, place: Place, begun: Callable[[], None]) -> Read[Row_co, Place]: ...


def pages(read: Reading[Row_co, Place], place: Place) -> Generator[Iterable[Row_co], None, None]:
    """Yield pages, each looked for before the one ahead of it is taken.

    That is done by a thread, which needs Python before and after the database's work alone: until
    then it is waited for, as it would get Python's lock back only after milliseconds each time.
    What fits into one page needs no thread.
    """
    page, following = read(place, _ignored)
    if following is not None:
        with ThreadPoolExecutor(1, "batchkit-reading") as hand:
            while following is not None:
                begun = threading.Event()
                coming = hand.submit(_read, read, following, begun)
                begun.wait()
                yield page
                page, following = coming.result()
    yield page


def _read(
    read: Reading[Row_co, Place], place: Place, begun: threading.Event
) -> Read[Row_co, Place]:
    try:
        return read(place, begun.set)
    finally:  # nothing is waited for that was never asked, or that failed
        begun.set()


def _ignored() -> None:
    pass
