"""What the FakeProvider remembers: uploads, batches, and what shall go wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from batchkit.errors import ProviderRefused
from batchkit.model import BatchStatus, Traits
from batchkit.testing.course import Course


@dataclass(slots=True)
class Accepted:
    """One batch as the provider has it."""

    ref: str
    token: str
    lines: list[bytes]
    file_ref: str | None
    created_at: datetime
    course: Course
    stranger: bool = False
    polls: int = 0
    cancelled: bool = False
    reason: str | None = None
    ended_at: datetime | None = None
    ran: int = 0

    def poll(self, now: datetime) -> None:
        """Count a poll; the batch may end by it."""
        self.polls += 1
        if self.reason is not None:
            return
        total, course = len(self.lines), self.course
        if self.cancelled and course.heeds_cancel:
            self.end("cancelled", int(total * course.done_at_cancel), now)
        elif self._is_over(now):
            done = 1.0 if course.reason == "completed" else course.done
            self.end(course.reason, int(total * done), now)

    def end(self, reason: str, ran: int, now: datetime) -> None:
        """End it with the first ``ran`` of its requests run."""
        self.reason = reason
        self.ran = 0 if reason == "failed" else ran
        self.ended_at = now

    def status(self, traits: Traits) -> BatchStatus:
        """Return how it stands."""
        course, failed = self.course, self.reason == "failed"
        return BatchStatus(
            ref=self.ref,
            word=self.reason or ("cancelling" if self.cancelled else "in_progress"),
            ended=self.reason is not None,
            reason=self.reason,
            total=len(self.lines),
            completed=self.ran,
            error_code=course.error_code if failed else None,
            error_message=course.error_message if failed else None,
            queue_full=course.queue_full and failed,
            queue_limit=course.queue_limit if failed else None,
            created_at=self.created_at,
            ended_at=self.ended_at,
            expires_at=self.created_at + traits.window,
            results_until=self.created_at + traits.retention,
        )

    def _is_over(self, now: datetime) -> bool:
        if self.course.takes is None:
            return self.polls >= self.course.polls
        return now >= self.created_at + self.course.takes


@dataclass(slots=True)
class Fault:
    """An error that calls by some name shall raise, after ``skip`` more that do not."""

    error: BaseException
    accept: bool
    skip: int
    times: int


@dataclass(slots=True)
class Memory:
    """All that the provider holds."""

    files: dict[str, list[bytes]] = field(default_factory=dict)
    batches: dict[str, Accepted] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    courses: deque[Course] = field(default_factory=deque)
    asked: int = 0
    number: int = 0

    def numbered(self, kind: str) -> str:
        """Return a new ref."""
        self.number += 1
        return f"{kind}-{self.number}"

    def batch(self, ref: str) -> Accepted:
        """Return a batch; raise ProviderRefused for one that is not there."""
        if ref not in self.batches:
            raise ProviderRefused(f"There is no batch {ref}.", reason="not_found", status=404)
        return self.batches[ref]

    def file(self, ref: str | None) -> list[bytes]:
        """Return an upload's lines; raise ProviderRefused for one that is not there."""
        if ref not in self.files:
            raise ProviderRefused(f"There is no file {ref}.", reason="not_found", status=404)
        return self.files[ref]

    def queued(self) -> int:
        """Return how many requests have not ended."""
        return sum(len(b.lines) for b in self.batches.values() if b.reason is None)

    def fault(self, call: str) -> Fault | None:
        """Return what shall go wrong with this call, and count it."""
        queue = self.faults.get(call)
        if not queue:
            return None
        fault = queue[0]
        if fault.skip > 0:
            fault.skip -= 1
            return None
        fault.times -= 1
        if fault.times <= 0:
            queue.popleft()
        return fault
