"""One batch under collection, and what is booked of each of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchkit.caching import Warmth
from batchkit.model import CostKind, Errored, Json, Outcome, Succeeded, Unreadable, Usage
from batchkit.outputs import Verdict
from batchkit.store import BatchRow, JobRow, RunRow, Settled


@dataclass(frozen=True, slots=True)
class Case:
    """One batch under collection."""

    batch: BatchRow
    run: RunRow
    now: datetime
    changes: Mapping[int, Json]
    numbers: Mapping[int, int]
    warmth: Warmth


@dataclass(slots=True)
class Lines:
    """What the files hold: lines of our jobs, of others, and of nobody; whose requests ran."""

    ours: int = 0
    others: int = 0
    nameless: int = 0
    ran: set[int] = field(default_factory=set)


def usage_of(outcome: Outcome) -> Usage | None:
    """Return the tokens that an outcome tells of."""
    return outcome.usage if isinstance(outcome, Succeeded | Errored) else None


def row_of(
    case: Case,
    job: JobRow,
    verdict: Verdict,
    outcome: Outcome | None,
    cost: int | None,
    kind: CostKind,
) -> Settled:
    """Return what is booked of a job; ``outcome`` is None where no line tells of it."""
    usage = usage_of(outcome) if outcome is not None else None
    answered = outcome if isinstance(outcome, Succeeded) else None
    changes = verdict.changes
    if verdict.state == "again" and cost:
        changes = {**changes, "spent": int(case.changes.get(job.seq, {}).get("spent", 0)) + cost}
    return Settled(
        seq=job.seq,
        attempt_no=case.numbers.get(job.seq, 1),
        state=verdict.state,
        code=verdict.code,
        error=verdict.error,
        answer=_answer_text(answered, outcome),
        citations=[_citation(one) for one in answered.citations] or None if answered else None,
        finish=answered.finish if answered else None,
        model=answered.model if answered else None,
        request_id=getattr(outcome, "request_id", None),
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        cache_write_tokens=usage.cache_write_tokens if usage else None,
        reasoning_tokens=usage.reasoning_tokens if usage else None,
        cost=cost,
        cost_kind=kind,
        ran=verdict.ran,
        changes=changes or None,
    )


def _answer_text(answered: Succeeded | None, outcome: Outcome | None) -> str | None:
    """Return what is kept of an answer; Postgres' texts cannot hold NUL."""
    text = answered.text if answered is not None else None
    if isinstance(outcome, Unreadable):
        text = outcome.line
    return None if text is None else text.replace("\x00", "\ufffd")


def _citation(citation: Any) -> Json:
    return {name: getattr(citation, name) for name in citation.__slots__}
