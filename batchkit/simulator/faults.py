"""What goes wrong on the way: the seam where a fault plan is asked about every call."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["refuse", "drop", "status", "hang", "half", "html", "cut", "stall"]
Phase = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one call.

    ============ ======================================================================
    `refuse`     nothing is done; answers `status` (0: the connection is closed)
    `drop`       it is done; the connection is closed without a reply
    `status`     it is done; answers `status`
    `hang`       it is done; the reply comes `seconds` of real time later
    `half`       it is done; a 200 with half of the body and a matching Content-Length
    `html`       it is done; a 200 with an HTML page
    `cut`        the full Content-Length is told, `fraction` of the body is sent, then closed
    `stall`      as `cut`, but the connection stays open for `seconds` of real time
    ============ ======================================================================

    `retry_after` is sent as it stands, without it none; `code` is the error's code, such as
    Anthropic's `enforced_spend_limit_reached`.
    """

    kind: Kind
    status: int = 500
    seconds: float = 0.0
    fraction: float = 0.5
    retry_after: str | None = None
    body: bytes | None = None
    code: str | None = None

    @property
    def phase(self) -> Phase:
        """Whether it strikes before the call is carried out, or after."""
        return "before" if self.kind == "refuse" else "after"


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
