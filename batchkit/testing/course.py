"""How a batch goes at the FakeProvider."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Course:
    """How a batch goes at the FakeProvider.

    It ends ``takes`` after its create, or at its ``polls``-th poll where ``takes`` is None.
    ``done`` is the share of its requests, first ones first, that have run when it ends as anything
    but ``completed``; ``done_at_cancel`` the same for a batch that is cancelled on the way, unless
    ``heeds_cancel`` is False: then it goes on as if nobody had asked.
    ``reason`` ``failed`` means that nothing ran, ``queue_full`` that it may go again as it is.
    ``missing``, ``duplicated`` and ``unreadable`` are positions of result lines; ``unknown`` is how
    many lines with a foreign id are put among them.
    """

    takes: timedelta | None = None
    polls: int = 1
    reason: str = "completed"
    done: float = 0.0
    done_at_cancel: float = 0.0
    heeds_cancel: bool = True
    queue_full: bool = False
    queue_limit: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    missing: Container[int] = ()
    duplicated: Container[int] = ()
    unreadable: Container[int] = ()
    unknown: int = 0
