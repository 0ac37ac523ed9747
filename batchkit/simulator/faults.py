"""What goes wrong on the way: the seam where a fault plan is asked about every call."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal[
    "refuse",
    "flaky",
    "redirect",
    "status",
    "drop",
    "hang",
    "half",
    "html",
    "cut",
    "stall",
    "drip",
    "long",
    "unended",
    "line-cut",
    "mid-line-cut",
    "gzip-cut",
]
Phase = Literal["before", "after"]

KINDS: dict[str, str] = {
    "refuse": "nothing is done; answers `status` (0: the connection is closed)",
    "flaky": "as `refuse` when a path is first asked; the second time it goes",
    "redirect": "nothing is done; a 307 to `location`, else to the same place, where it goes",
    "status": "it is done; answers `status`",
    "drop": "it is done; the connection is closed without a reply",
    "hang": "it is done; the reply comes `seconds` later, in real time",
    "half": "it is done; a 200 with `fraction` of the body and a Content-Length that fits",
    "html": "it is done; a 200 with an HTML page",
    "cut": "the full length is told, `fraction` of the body is sent, then closed",
    "stall": "as `cut`, but the connection stays open for `seconds`",
    "drip": "the whole body, piece by piece over `seconds`",
    "long": "the whole body under a Content-Length that is too large, then closed",
    "unended": "chunked, `fraction` of the body, closed without the last chunk",
    "line-cut": "no Content-Length; closed at a line's end near `fraction`",
    "mid-line-cut": "no Content-Length; closed inside a line near `fraction`",
    "gzip-cut": "gzip, `fraction` of it, with the Content-Length of what is sent",
}
"""What each kind of fault does."""

_BEFORE = frozenset({"refuse", "flaky", "redirect"})

ROUTES = (
    *(
        f"openai.{name}"
        for name in (
            "files.create",
            "files.list",
            "files.retrieve",
            "files.content",
            "files.delete",
            "batches.create",
            "batches.list",
            "batches.retrieve",
            "batches.cancel",
            "responses",
            "responses.input_tokens",
            "chat.completions",
            "embeddings",
            "models",
        )
    ),
    *(
        f"anthropic.{name}"
        for name in (
            "batches.create",
            "batches.list",
            "batches.retrieve",
            "batches.cancel",
            "batches.delete",
            "batches.results",
            "files.create",
            "files.list",
            "files.retrieve",
            "files.content",
            "files.delete",
            "messages.create",
            "messages.count_tokens",
            "models",
        )
    ),
)
"""All routes that a fault can strike."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one call: what its kind does stands in `KINDS`.

    `retry_after` is sent as it stands, `"date:30"` as the date in 30 seconds, None not at all;
    `code` is the error's code, such as Anthropic's `enforced_spend_limit_reached`.
    `body` is the page of `html` and the words of `refuse`.
    `when` overrides whether the call is carried out first; `rule` names where it was planned.
    """

    kind: Kind
    status: int = 500
    seconds: float = 0.0
    fraction: float = 0.5
    retry_after: str | None = None
    body: bytes | None = None
    code: str | None = None
    location: str | None = None
    when: Phase | None = None
    rule: str = ""

    @property
    def phase(self) -> Phase:
        """Whether it strikes before the call is carried out, or after."""
        return self.when or ("before" if self.kind in _BEFORE else "after")


class FaultPlan(Protocol):
    """Decides what goes wrong."""

    def consult(self, route: str, nth: int, phase: Phase) -> Fault | None:
        """Return the fault for the `nth` call (from 1) of `route` in this phase, or None."""


@dataclass(slots=True)
class Counter:
    """Counts the calls of each route."""

    calls: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, route: str) -> int:
        """Return which call of `route` this is, from 1."""
        with self.lock:
            self.calls[route] = self.calls.get(route, 0) + 1
            return self.calls[route]


@dataclass(slots=True)
class Faults:
    """A plan made by hand: `faults.add("openai.batches.create", Fault("drop"), nth=1)`."""

    counter: Counter = field(default_factory=Counter)
    planned: dict[tuple[str, int], Fault] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)

    def add(self, route: str, fault: Fault, nth: int | None = None) -> None:
        """Plan `fault` for the `nth` call of `route` from now on, or for every one."""
        if nth is None:
            self.always[route] = fault
        else:
            self.planned[route, self.counter.calls.get(route, 0) + nth] = fault

    def clear(self) -> None:
        """Plan nothing any more."""
        self.planned.clear()
        self.always.clear()

    def consult(self, route: str, nth: int, phase: Phase) -> Fault | None:
        """Return what was planned."""
        fault = self.planned.get((route, nth)) or self.always.get(route)
        return fault if fault is not None and fault.phase == phase else None
