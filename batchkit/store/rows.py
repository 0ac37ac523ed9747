"""What the store hands out: rows as frozen values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import RowMapping

from batchkit.model import BatchState, Json, Reserve, RunSpec

Value = TypeVar("Value")


def made(kind: type[Value], row: RowMapping | Mapping[str, Any]) -> Value:
    """Make a value of a row that may hold more columns than the value has fields."""
    return kind(**{name: row[name] for name in _names(cast("Hashable", kind))})


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run; amounts in nano-dollars."""

    id: int
    shelf: int
    uid: str
    project: str
    name: str
    nameless: bool
    owner: str | None
    spec: Json
    created_at: datetime
    opened_at: datetime | None
    finished_at: datetime | None
    first_send_at: datetime | None
    last_progress_at: datetime | None
    cost_limit: int | None
    time_limit_s: float | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    hold_until: datetime | None
    hold_reason: str | None
    waiting_for: str | None
    waiting_since: datetime | None
    waiting_detail: str | None
    brakes: Json
    canary: Json | None
    expects_more: bool
    revisions: int
    spent: int
    reserved: int
    collected_no: int
    next_no: int
    total: int
    completed: int
    failed: int
    cancelled: int
    cost_unknown: int

    @property
    def braked(self) -> list[str]:
        """The reasons that are not tried again until a person says so."""
        return sorted(code for code, state in self.brakes.items() if state != "off")

    @property
    def settings(self) -> RunSpec:
        """What the builder said, as a value."""
        known = {f.name for f in fields(RunSpec)}
        return RunSpec(**{name: value for name, value in self.spec.items() if name in known})

    @property
    def reserve(self) -> Reserve | Literal["exceeded"]:
        """What is reserved; ``exceeded``: bounds again, a batch cost more than was observed."""
        said: Reserve = self.spec.get("reserve", "bound")
        return "exceeded" if said == "observed" and self.spec.get("exceeded") else said

    @property
    def split(self) -> bool:
        """Whether some of its documents are sent in parts, each of which is a job here."""
        return bool(self.spec.get("split"))

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return self.completed + self.failed + self.cancelled

    @property
    def is_done(self) -> bool:
        """Whether every job that was started has ended."""
        return self.opened_at is not None and self.ended >= self.total and not self.expects_more

    @property
    def free(self) -> int | None:
        """What may still be reserved; None without a limit."""
        if self.cost_limit is None:
            return None
        return self.cost_limit - self.spent - self.reserved


@dataclass(frozen=True, slots=True)
class LaneRow:
    """What one provider batch may mix: jobs ``[cursor, released)`` wait for their first send."""

    id: int
    shelf: int
    run_id: int
    provider: str
    model: str
    endpoint: str
    account_id: int | None
    size: int
    released: int
    cursor: int


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as it was added. ``own`` and the template together are the request."""

    shelf: int
    lane_id: int
    seq: int
    run_id: int
    no: int
    key: str
    revision: int
    superseded: bool
    digest: bytes
    template_id: int
    own: Json
    documents: list[Json] | None
    metadata: Json | None
    bytes: int
    tokens: int
    bound: int | None


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch; ``kind`` is ``range`` (first attempts), ``members`` (retries) or ``local``."""

    id: int
    shelf: int
    run_id: int
    lane_id: int | None
    account_id: int | None
    kind: str
    lo: int | None
    hi: int | None
    state: str
    token: str | None
    count: int
    bytes: int
    tokens: int
    sha256: str | None
    spool: str | None
    spool_host: str | None
    file_ref: str | None
    ref: str | None
    proof: str | None
    refused_refs: list[str]
    attempt_no: int
    reserved: int
    cost: int
    provider_total: int | None
    provider_completed: int
    provider_failed: int
    completed: int
    failed: int
    cancelled: int
    again: int
    codes: Json
    word: str | None
    end_reason: str | None
    error_code: str | None
    error_message: str | None
    cancel_requested_at: datetime | None
    cancel_sent_at: datetime | None
    sealed_at: datetime | None
    intent_at: datetime | None
    heard_at: datetime | None
    looked_at: datetime | None
    looks: int
    accepted_at: datetime | None
    expires_at: datetime | None
    results_until: datetime | None
    ended_at: datetime | None
    collected_at: datetime | None
    poll_at: datetime | None
    failures: int
    missing_since: datetime | None
    collected_no: int | None
    judging: Json | None
    marks: Json | None
    lease_no: int
    lease_owner: str | None
    lease_until: datetime | None

    @property
    def status(self) -> BatchState:
        """The state, as the law knows it."""
        return BatchState(self.state)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A provider's account and how it fares."""

    id: int
    provider: str
    base_url: str
    fingerprint: str
    workspace: str | None
    learnt: Json
    failures: int
    unreachable_since: datetime | None
    retry_at: datetime | None
    blocked_at: datetime | None
    blocked_reason: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What a run already holds under a key."""

    key: str
    no: int
    lane_id: int
    seq: int
    revision: int
    digest: bytes
    released: bool
    documents: list[Json] | None = None
    metadata: Json | None = None
    template_digest: bytes = b""
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job on its way into the store, before it has its place in a lane.

    ``written`` is ``own`` as JSON, where somebody has it already.
    """

    key: str
    provider: str
    model: str
    endpoint: str
    digest: bytes
    template: Json
    template_digest: bytes
    own: Json
    documents: list[Json] | None
    metadata: Json | None
    bytes: int
    tokens: int
    bound: int | None
    revision: int = 0
    problem: str | None = None
    written: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A job that waits to go again, or goes again in a batch."""

    seq: int
    attempt_no: int
    changes: Json | None
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """One job's outcome in one batch, ready to be appended. Costs in nano-dollars.

    ``state`` is ``completed``, ``failed``, ``cancelled`` or ``again``; ``ran`` says whether the
    attempt counts against ``max_attempts``; ``changes`` are for the next attempt.
    """

    seq: int
    attempt_no: int
    state: str
    code: str | None = None
    error: str | None = None
    answer: str | None = None
    citations: list[Json] | None = None
    finish: str | None = None
    model: str | None = None
    request_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: int | None = 0
    cost_kind: str = "free"
    ran: bool = True
    reused_from: str | None = None
    changes: Json | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """A spooled batch that asks to be sealed, with the jobs that could not come along.

    ``failed`` ended before sending (``file_changed``), ``absent`` wait for their files, ``aside``
    for money: others of their range fit. ``uncovered`` is what its jobs may cost beyond what is
    ``reserved``. ``marks`` are the prefixes that are marked in it, ``uploads`` the ids of those
    that its lines name.
    """

    lane: LaneRow
    kind: str
    lo: int | None
    hi: int | None
    token: str
    count: int
    bytes: int
    tokens: int
    sha256: str
    spool: str
    spool_host: str
    attempt_no: int
    reserved: int
    twin_guard: int | None
    account_id: int
    max_live: int
    failed: Sequence[Settled] = ()
    absent: Sequence[int] = ()
    aside: Sequence[int] = ()
    members: Sequence[Member] = ()
    marks: Json | None = None
    uploads: Sequence[int] = ()
    uncovered: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One ended (or waiting) job with its last attempt and the sums over all of them."""

    key: str
    no: int
    lane_id: int
    seq: int
    state: str
    code: str | None = None
    error: str | None = None
    answer: str | None = None
    citations: list[Json] | None = None
    finish: str | None = None
    model: str | None = None
    provider: str | None = None
    batch_id: int | None = None
    batch_ref: str | None = None
    request_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: int | None = None
    attempts: int = 0
    reused_from: str | None = None
    metadata: Json | None = None
    documents: list[Json] | None = None
    template_id: int = 0
    asked_id: int | None = None
    collected_no: int | None = None
    own: Json = field(default_factory=dict)
