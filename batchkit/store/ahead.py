"""Pages read ahead: a thread fetches the next one while the one before is handled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

Row = TypeVar("Row")
Place = TypeVar("Place")

Read: TypeAlias = tuple[Iterable[Row], Place | None]
"""A page, and where the next one begins; None behind the last."""


def pages(read: Callable[[Place], Read[Row, Place]], place: Place) -> Iterator[Iterable[Row]]:
    """Yield pages, each read once the one before it was taken; what fits into one needs no thread.

    A database works without Python's lock, so that it costs no time beside a reader who computes.
    """
    page, following = read(place)
    if following is not None:
        with ThreadPoolExecutor(1, "batchkit-reading") as hand:
            while following is not None:
                coming = hand.submit(read, following)
                yield page
                page, following = coming.result()
    yield page
