"""Outcomes booked by another thread while the next lines are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Protocol, Self

from batchkit.errands import Errand
from batchkit.model import Outcome

_STRIDE = 250
"""Lines after which who reads gives way to who books."""


class Settle(Protocol):
    """Books a chunk; calls ``begun`` once only the database has still to work."""

    def __call__(self, *, begun: Callable[[], object]) -> None: ...


class Booking:
    """One chunk at a time on its way into the database; what goes wrong is raised by ``finish``.

    Who dies meanwhile has lost no more than a chunk that is read again.
    """

    def __init__(self) -> None:
        self._errand: Errand | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        elif self._errand is not None:  # what broke off the reading is what is told
            self._errand.wait()

    def taken(self, outcomes: Iterator[Outcome], most: int) -> list[Outcome]:
        """Return the next outcomes, read while the chunk before is booked; none at the end."""
        chunk: list[Outcome] = []
        while some := list(islice(outcomes, min(_STRIDE, most - len(chunk)))):
            chunk += some
            if self._errand is not None:
                self._errand.give_way()
        return chunk

    def begin(self, settle: Settle) -> None:
        """Book a chunk beside what comes next; the one before is booked."""
        self._errand = Errand(lambda begun: settle(begun=begun), "batchkit-booking")
        self._errand.start()

    def finish(self) -> None:
        """Return once everything is booked; raises what kept it from that."""
        if self._errand is None:
            return
        error, self._errand = self._errand.wait(), None
        if error is not None:
            raise error
