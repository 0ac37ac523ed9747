"""Asking now, and again while the provider has no time: no canary is judged by a rush hour."""

from __future__ import annotations

from collections.abc import Callable

from batchkit import canaries, settings
from batchkit.clock import Clock
from batchkit.errors import ProviderUnavailable
from batchkit.model import Code, Errored, Outcome, Unreadable
from batchkit.pace import Pace

_PASSING = ("overloaded", "rate_limited", "server_error")
"""What says that the provider has no time, and nothing about the request."""

_MOST = 7
"""Requests in a row that are turned away before it gives up: after some two minutes."""

UNASKED = (*canaries.TRANSIENT, Code.UNREADABLE)
"""What an answer's code is that says nothing about the prompt."""


class Patience:
    """Waits longer each time a request is turned away, and gives up at some point.

    Then nothing more is waited for: ``said`` is what was said last.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pace = Pace(settings.pace())
        self._failures = 0
        self.said = ""

    def outcome(self, ask: Callable[[], Outcome]) -> Outcome:
        """Ask until there is an answer, or none can be had.

        A call that may have run and brought no answer is not made twice: it is ``Unreadable``,
        which costs what was reserved for it.
        """
        while True:
            found = _told(ask)
            if isinstance(found, Unreadable):
                self.said = found.problem
                return found
            if not isinstance(found, Errored) or found.kind not in _PASSING:
                self._failures = 0
                return found
            self.said = found.message
            self._failures += 1
            if self._failures >= _MOST:
                return found
            self._clock.wait(self._pace.retry_after(self._failures, None).total_seconds())


def _told(ask: Callable[[], Outcome]) -> Outcome:
    try:
        return ask()
    except ProviderUnavailable as error:
        if error.maybe and error.status is None:
            return Unreadable("ask", "", str(error))
        return Errored("ask", "overloaded", error.code or "", str(error), error.status)
