"""Short ways to bring a store to where a test begins."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from batchkit import states
from batchkit.model import Account, BatchState, BatchStatus, Created, JobState
from batchkit.store import (
    BatchRow,
    LaneRow,
    Member,
    NewJob,
    Opening,
    RunRow,
    Seal,
    Settled,
    Store,
)

NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ME = "me"
PROJECT = "project"
ACCOUNT = Account("fake", "fake://", "f" * 16)
TEMPLATE = {"model": "fake-1", "max_tokens": 100}

_numbers = itertools.count(1)


def job(key: str, *, bound: int | None = 100, lane: str = "fake-1", **other: Any) -> NewJob:
    """One job as the builder hands it over; its content is its key unless said otherwise."""
    said = str(other.pop("content", key))
    values: dict[str, Any] = {
        "key": key,
        "provider": "fake",
        "model": lane,
        "endpoint": "/fake",
        "digest": hashlib.sha256(said.encode()).digest()[:16],
        "template": TEMPLATE,
        "template_digest": b"t" * 16,
        "own": {"prompt": said},
        "documents": None,
        "metadata": None,
        "bytes": 40,
        "tokens": 10,
        "bound": bound,
    }
    return NewJob(**{**values, **other})


def jobs(count: int, start: int = 0, **other: Any) -> list[NewJob]:
    """Jobs ``j0``, ``j1``, …"""
    return [job(f"j{n}", **other) for n in range(start, start + count)]


def draft(store: Store, new: Sequence[NewJob] = (), *, name: str = "night", **extra: Any) -> RunRow:
    """A draft that holds these jobs."""
    run = store.runs.create(PROJECT, name, {"max_attempts": 3}, NOW, **extra)
    store.jobs.append(run.id, new)
    return store.runs.get(run.id)


def watermarks(store: Store, run_id: int) -> dict[int, int]:
    """Every lane released to its end."""
    return {lane.id: lane.size for lane in store.jobs.lanes(run_id)}


def opening(store: Store, run_id: int, **other: Any) -> Opening:
    """Open with everything that was added."""
    return Opening(spec={"max_attempts": 3}, released=watermarks(store, run_id), **other)


def opened(store: Store, count: int = 10, *, name: str = "night", **extra: Any) -> RunRow:
    """A run with so many jobs, opened."""
    run = draft(store, jobs(count), name=name, **extra)
    return store.runs.open(run.id, opening(store, run.id), NOW)


def lane_of(store: Store, run: RunRow, number: int = 0) -> LaneRow:
    """A run's lane as it is now."""
    return store.jobs.lanes(run.id)[number]


def account(store: Store) -> int:
    """The account that everything goes out on."""
    return store.accounts.known(ACCOUNT).id


def seal(store: Store, lane: LaneRow, lo: int, hi: int, **other: Any) -> Seal:
    """Ask for a range; every job reserves 100."""
    count = int(other.pop("count", hi - lo))
    values: dict[str, Any] = {
        "lane": lane,
        "kind": "range",
        "lo": lo,
        "hi": hi,
        "token": f"token-{next(_numbers)}",
        "count": count,
        "bytes": 40 * count,
        "tokens": 10 * count,
        "sha256": "0" * 64,
        "spool": "/spool/one",
        "spool_host": "here",
        "attempt_no": 1,
        "reserved": 100 * count,
        "twin_guard": None,
        "account_id": account(store),
        "max_live": 10,
    }
    return Seal(**{**values, **other})


def again(store: Store, lane: LaneRow, members: Sequence[Member], **other: Any) -> Seal:
    """Ask for jobs one by one, as a retry does."""
    one = seal(store, lane, 0, len(members), members=tuple(members), **other)
    return replace(one, kind="members", lo=None, hi=None)


def taken(answer: int | None) -> int:
    """The id of a batch that must have been sealed."""
    assert answer
    return answer


def sealed(store: Store, run: RunRow, lo: int = 0, hi: int = 10, **other: Any) -> int:
    """A sealed batch of a run's first lane."""
    return taken(store.batches.seal(seal(store, lane_of(store, run), lo, hi, **other), NOW))


def lease(store: Store, batch_id: int, now: datetime = NOW) -> int:
    """A claim that must succeed."""
    number = store.leases.claim(batch_id, ME, now)
    assert number is not None
    return number


def said(reason: str | None = None, **other: Any) -> BatchStatus:
    """What a provider says of a batch."""
    word = reason or "in_progress"
    return BatchStatus("ref", word, reason is not None, reason, **other)


def drive(store: Store, batch_id: int, to: BatchState, now: datetime = NOW) -> BatchRow:
    """Walk a sealed batch on the straight way; every step must land."""
    mine = lease(store, batch_id, now)
    steps: list[tuple[BatchState, Callable[[], bool]]] = [
        (BatchState.SUBMITTING, lambda: store.batches.send(batch_id, mine, now)),
        (
            BatchState.RUNNING,
            lambda: store.batches.accept(batch_id, mine, Created(f"ref-{batch_id}", now), now, now),
        ),
        (
            BatchState.ENDED,
            lambda: store.batches.end(batch_id, mine, said("completed"), LATER, now),
        ),
    ]
    for state, step in steps:
        assert step(), state
        if state == to:
            break
    store.leases.let_go(batch_id, mine)
    return store.batches.get(batch_id)


def outcome(seq: int, state: str = JobState.COMPLETED, **other: Any) -> Settled:
    """One settled job; what ran costs 60."""
    values: dict[str, Any] = {
        "attempt_no": 1,
        "answer": f"answer {seq}" if state == JobState.COMPLETED else None,
        "code": None if state == JobState.COMPLETED else "server_error",
        "cost": 60,
        "cost_kind": "exact",
        "input_tokens": 7,
        "output_tokens": 3,
    }
    return Settled(seq, state=state, **{**values, **other})


def settle(store: Store, batch_id: int, state: str = JobState.COMPLETED, **other: Any) -> None:
    """Settle every job of a batch alike."""
    batch = store.batches.get(batch_id)
    rows = [outcome(row.seq, state, **other) for row in store.answers.unsettled(batch)]
    store.answers.settle(batch, rows)


def collected(
    store: Store, batch_id: int, state: str = JobState.COMPLETED, **other: Any
) -> BatchRow:
    """Walk a sealed batch to its end, every job alike."""
    drive(store, batch_id, BatchState.ENDED)
    settle(store, batch_id, state, **other)
    assert store.batches.collect(batch_id, lease(store, batch_id), NOW)
    return store.batches.get(batch_id)


def dropped(store: Store, batch_id: int, now: datetime = NOW) -> bool:
    """Give a sealed batch up."""
    mine = lease(store, batch_id, now)
    return store.batches.void(states.DROP, batch_id, mine, now, "cancelled", "not sent")


def places(store: Store, run: RunRow, keys: Iterable[str]) -> list[tuple[int, int]]:
    """Where jobs lie, as (lane_id, seq)."""
    found = (store.jobs.by_key(run.id, key) for key in keys)
    return [(row.lane_id, row.seq) for row in found if row is not None]


def states_of(store: Store, run: RunRow) -> dict[str, str]:
    """Every ended job's state, by key."""
    return {answer.key: answer.state for answer in store.answers.ended(run.id)}


def sound(store: Store, run: RunRow | int) -> RunRow:
    """Check that the books of a run hold, and return its row."""
    run_id = run if isinstance(run, int) else run.id
    assert store.audit.problems(run_id) == []
    return store.runs.get(run_id)


def execute(store: Store, statement: str, **values: Any) -> None:
    """Write behind the store's back, as only a bug or a vandal would."""
    prefix = "" if store.database.is_sqlite else "batchkit."
    with store.database.write() as connection:
        connection.execute(text(statement.replace("@", prefix)), values)
