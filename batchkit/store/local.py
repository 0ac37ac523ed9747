"""Jobs that end (or come back) without a provider, inside somebody else's transaction.

They are booked on a *local* batch, which is collected from birth, so that each ended job has a
final attempt and a place in the order of answers, as if a provider had said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from batchkit.model import LIVE_STATES
from batchkit.store.events import note
from batchkit.store.rows import RunRow, Settled
from batchkit.store.tables import SHELF, attempts, batches, jobs, lanes, members, runs

_CHUNK = 400
"""Rows named in one statement: far below what either database takes."""


WITHDRAWN = 0
"""No batch's number: of who was queued one by one, beside a range that lives, and goes no more."""

NO_PROVIDER = ""
"""The provider's name of the lane for jobs that could not become a request."""


def book(
    connection: Connection, run_id: int, lane_id: int, rows: Sequence[Settled], now: datetime
) -> None:
    """Append final attempts of one lane on a local batch and count them.

    What is booked goes no more. Answers of a draft are counted when it is released; one for a job
    that has ended meanwhile is paid for and kept, and does not count. What was tried out in vain
    (``again``) costs and leaves the job as it was.
    """
    if not rows:
        return
    for chunk in _chunks([row.seq for row in rows]):
        forget_members(connection, lane_id, chunk)
    over = ended(connection, lane_id, [row.seq for row in rows])
    released = _watermark(connection, lane_id)
    ends = [row for row in rows if row.state != "again" and row.seq not in over]
    counted = [row for row in ends if row.seq < released]
    batch_id = _batch(connection, run_id, lane_id, now, rows, counted)
    values = [_values(row, run_id, lane_id, batch_id) for row in rows]
    for one in values:
        one["final"] = one["final"] and one["seq"] not in over
    connection.execute(insert(attempts), values)


def ended_drafts(connection: Connection, lane_id: int, watermark: int) -> dict[str, int]:
    """Count the answers of a draft that is about to be released up to ``watermark``."""
    counted = connection.execute(
        select(attempts.c.state, func.count())
        .where(attempts.c.shelf == SHELF, attempts.c.lane_id == lane_id, attempts.c.final)
        .where(attempts.c.seq >= _watermark(connection, lane_id), attempts.c.seq < watermark)
        .group_by(attempts.c.state)
    )
    return {str(state): int(n) for state, n in counted}


def still_waiting(
    connection: Connection, picked: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return those of the jobs that are in no batch, now that the run is locked."""
    found: list[tuple[int, int]] = []
    for lane_id, seqs in by_lane(picked):
        query = (
            select(jobs.c.seq)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.seq.in_(seqs))
            .where(jobs.c.superseded.is_(False))
            .where(or_(jobs.c.seq >= lanes.c.cursor, _has_free_member()))
        )
        found += [(lane_id, int(seq)) for seq in connection.execute(query).scalars()]
    return found


def ended(connection: Connection, lane_id: int, seqs: Sequence[int]) -> set[int]:
    """Return those of a lane's jobs that have a final attempt."""
    found: set[int] = set()
    for chunk in _chunks(list(seqs)):
        query = select(attempts.c.seq).where(
            attempts.c.shelf == SHELF,
            attempts.c.lane_id == lane_id,
            attempts.c.seq.in_(chunk),
            attempts.c.final,
        )
        found.update(int(seq) for seq in connection.execute(query).scalars())
    return found


def drafts(connection: Connection, picked: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return those that are drafts still, now that the run is locked.

    Opening lets jobs change places, drafts among each other: who was looked up as a draft and is
    none any more may lie elsewhere.
    """
    marks: dict[int, int] = {}
    found: list[tuple[int, int]] = []
    for lane_id, seq in picked:
        if lane_id not in marks:
            marks[lane_id] = _watermark(connection, lane_id)
        if seq >= marks[lane_id]:
            found.append((lane_id, seq))
    return found


def place_of(connection: Connection, lane_id: int, seq: int, no: int) -> int:
    """Return where a job lies now that lay at ``seq``: numbers stay, drafts change places."""
    lane = (jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.no == no)
    here = connection.execute(select(jobs.c.seq).where(*lane, jobs.c.seq == seq)).scalar()
    found = connection.execute(select(jobs.c.seq).where(*lane)).scalar() if here is None else here
    return seq if found is None else int(found)


def _watermark(connection: Connection, lane_id: int) -> int:
    return int(
        connection.execute(select(lanes.c.released).where(lanes.c.id == lane_id)).scalar_one()
    )


def settle_bad_input(connection: Connection, run_id: int, now: datetime) -> None:
    """End the released jobs that never could become a request."""
    lane = connection.execute(
        select(lanes).where(lanes.c.run_id == run_id, lanes.c.provider == NO_PROVIDER)
    ).first()
    if lane is None or lane.cursor >= lane.released:
        return
    query = select(jobs.c.seq, jobs.c.own).where(
        jobs.c.lane_id == lane.id, jobs.c.seq >= lane.cursor, jobs.c.seq < lane.released
    )
    rows = [
        Settled(seq, 0, "failed", code="bad_input", error=own["problem"], ran=False)
        for seq, own in connection.execute(query)
    ]
    connection.execute(update(lanes).where(lanes.c.id == lane.id).values(cursor=lane.released))
    book(connection, run_id, lane.id, rows, now)


def cancel(
    connection: Connection,
    run: RunRow,
    picked: Sequence[tuple[int, int]],
    now: datetime,
    code: str,
    why: str,
) -> int:
    """Cancel jobs that wait to be sent, given as (lane_id, seq)."""
    for lane_id, seqs in by_lane(picked):
        rows = [Settled(seq, 0, "cancelled", code=code, error=why, ran=False) for seq in seqs]
        book(connection, run.id, lane_id, rows, now)
    return len(picked)


def cancel_waiting(connection: Connection, run: RunRow, code: str, why: str, now: datetime) -> int:
    """Cancel everything that is in no live batch: one INSERT … SELECT a lane, nothing read."""
    total = 0
    for lane in connection.execute(select(lanes).where(lanes.c.run_id == run.id)).all():
        waiting = _waiting(lane.id, lane.cursor, lane.released)
        count = connection.execute(select(func.count()).where(waiting)).scalar_one()
        if count:
            _cancel_lane(connection, run.id, lane, waiting, int(count), code, why, now)
        total += int(count)
    if total:
        note(connection, run.id, now, "cancelled", jobs=total, code=code)
    return total


def cancel_keys(
    connection: Connection, run: RunRow, keys: Sequence[str], now: datetime
) -> list[str]:
    """Cancel waiting jobs by key; return the keys that are in flight or ended already."""
    found: list[tuple[int, int]] = []
    names: set[str] = set()
    for chunk in _chunks(list(keys)):
        query = (
            select(jobs.c.lane_id, jobs.c.seq, jobs.c.key)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.run_id == run.id, jobs.c.key.in_(chunk), jobs.c.superseded.is_(False))
            .where(_is_waiting())
        )
        for lane_id, seq, key in connection.execute(query):
            found.append((lane_id, seq))
            names.add(key)
    cancel(connection, run, found, now, "cancelled", "cancelled by key")
    for key in sorted(names):
        note(connection, run.id, now, "cancelled", key=key)
    return [key for key in keys if key not in names]


def supersede(connection: Connection, run: RunRow, picked: Sequence[tuple[int, int]]) -> int:
    """Mark jobs whose content was replaced: their answers stay, but count no more.

    Returns how many were marked. What is in flight is counted out when its batch is collected.
    """
    marked = 0
    for lane_id, seqs in by_lane(picked):
        current = list(
            connection.execute(
                update(jobs)
                .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.seq.in_(seqs))
                .where(jobs.c.superseded.is_(False))
                .values(superseded=True)
                .returning(jobs.c.seq)
            ).scalars()
        )
        forget_members(connection, lane_id, seqs)
        uncount(connection, run.id, tally(booked(connection, lane_id, current)))
        marked += len(current)
    return marked


def booked(connection: Connection, lane_id: int, seqs: Sequence[int]) -> Sequence[Any]:
    """Return the final attempts that the run's counters hold: collected, and released."""
    query = (
        select(attempts.c.seq, attempts.c.state, attempts.c.shelf, attempts.c.run_id)
        .join(batches, batches.c.id == attempts.c.batch_id)
        .where(attempts.c.shelf == SHELF, attempts.c.lane_id == lane_id)
        .where(attempts.c.seq.in_(seqs), attempts.c.final)
        .where(attempts.c.seq < _watermark(connection, lane_id))
        .where(batches.c.state.in_(("collected", "abandoned")))
    )
    return connection.execute(query).all()


def remove(connection: Connection, picked: Sequence[tuple[int, int]]) -> int:
    """Delete jobs that were never sent; return how many of them had been released."""
    removed = 0
    for lane_id, seqs in by_lane(picked):
        released = _watermark(connection, lane_id)
        connection.execute(
            delete(members).where(members.c.lane_id == lane_id, members.c.seq.in_(seqs))
        )
        _unbook(connection, lane_id, seqs)
        gone = connection.execute(
            delete(jobs)
            .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.seq.in_(seqs))
            .returning(jobs.c.seq)
        ).scalars()
        removed += sum(1 for seq in gone if seq < released)
    return removed


def _unbook(connection: Connection, lane_id: int, seqs: Sequence[int]) -> None:
    """Tried out and then replaced: what was spent stays spent, the answer counts no more."""
    rows = booked(connection, lane_id, seqs)
    final = and_(attempts.c.lane_id == lane_id, attempts.c.seq.in_(seqs), attempts.c.final)
    connection.execute(update(attempts).where(attempts.c.shelf == SHELF, final).values(final=False))
    if rows:
        uncount(connection, rows[0].run_id, tally(rows))


def unfail(connection: Connection, run_id: int, lane_id: int, seqs: Sequence[int]) -> None:
    """Let failures of one lane count no more, so that another end can be booked; they stay."""
    for chunk in _chunks(list(seqs)):
        failed = [row for row in booked(connection, lane_id, chunk) if row.state == "failed"]
        connection.execute(
            update(attempts)
            .where(attempts.c.shelf == SHELF, attempts.c.lane_id == lane_id, attempts.c.final)
            .where(attempts.c.seq.in_([row.seq for row in failed]))
            .values(final=False)
        )
        uncount(connection, run_id, tally(failed))


def _cancel_lane(
    connection: Connection,
    run_id: int,
    lane: Any,
    waiting: Any,
    count: int,
    code: str,
    why: str,
    now: datetime,
) -> None:
    batch_id = _local_batch(connection, run_id, lane.id, now, count, cancelled=count)
    columns: dict[str, Any] = {
        "shelf": jobs.c.shelf,
        "batch_id": batch_id,
        "seq": jobs.c.seq,
        "lane_id": jobs.c.lane_id,
        "run_id": jobs.c.run_id,
        "attempt_no": 0,
        "state": "cancelled",
        "final": True,
        "code": code,
        "error": why,
        "cost": 0,
        "cost_kind": "free",
        "ran": False,
    }
    chosen: list[Any] = [
        value if name in ("shelf", "seq", "lane_id", "run_id") else _literal(value, name)
        for name, value in columns.items()
    ]
    connection.execute(insert(attempts).from_select(list(columns), select(*chosen).where(waiting)))
    withdraw(connection, members.c.lane_id == lane.id, is_free())
    connection.execute(update(lanes).where(lanes.c.id == lane.id).values(cursor=lane.released))


def _literal(value: Any, name: str) -> Any:
    return literal(value, type_=attempts.c[name].type)


def _waiting(lane_id: int, cursor: int, released: int) -> Any:
    return and_(
        jobs.c.lane_id == lane_id,
        jobs.c.superseded.is_(False),
        ~has_final(),
        or_(and_(jobs.c.seq >= cursor, jobs.c.seq < released), _has_free_member()),
    )


def _is_waiting() -> Any:
    in_range = and_(jobs.c.seq >= lanes.c.cursor, jobs.c.seq < lanes.c.released)
    return and_(~has_final(), or_(in_range, _has_free_member()))


def has_final() -> Any:
    """Say in SQL that a job of ``jobs`` has ended."""
    final = attempts.alias("final")
    return exists().where(
        final.c.shelf == jobs.c.shelf,
        final.c.lane_id == jobs.c.lane_id,
        final.c.seq == jobs.c.seq,
        final.c.final,
    )


def _has_free_member() -> Any:
    return exists().where(
        members.c.lane_id == jobs.c.lane_id,
        members.c.seq == jobs.c.seq,
        members.c.batch_id.is_(None),
    )


def forget_members(connection: Connection, lane_id: int, seqs: Sequence[int]) -> None:
    """Take jobs out of the queue of those that wait to go again."""
    withdraw(connection, members.c.lane_id == lane_id, members.c.seq.in_(seqs), is_free())


def is_free() -> Any:
    """Say in SQL that one of ``members`` waits to go again."""
    return members.c.batch_id.is_(None)


def withdraw(connection: Connection, *which: Any) -> None:
    """Delete rows of ``members``, by their batch; beside a range that lives a row stays as a note.

    Who is queued one by one is in no range: without its row that job would count as one of those
    that were sent with the range.
    """
    around = exists().where(
        batches.c.lane_id == members.c.lane_id,
        batches.c.kind == "range",
        batches.c.lo <= members.c.seq,
        batches.c.hi > members.c.seq,
        batches.c.state.in_(LIVE_STATES),
    )
    connection.execute(update(members).where(*which, around).values(batch_id=WITHDRAWN))
    connection.execute(
        delete(members).where(*which, members.c.batch_id.is_distinct_from(WITHDRAWN))
    )


def _batch(
    connection: Connection,
    run_id: int,
    lane_id: int,
    now: datetime,
    rows: Sequence[Settled],
    counted: Sequence[Settled],
) -> int:
    cost = sum(row.cost or 0 for row in rows)
    unknown = sum(1 for row in rows if row.cost is None)
    return _local_batch(
        connection, run_id, lane_id, now, len(rows), cost, unknown, **tally(counted)
    )


def _local_batch(
    connection: Connection,
    run_id: int,
    lane_id: int,
    now: datetime,
    count: int,
    cost: int = 0,
    unknown: int = 0,
    *,
    completed: int = 0,
    failed: int = 0,
    cancelled: int = 0,
) -> int:
    number = connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            collected_no=runs.c.collected_no + 1,
            spent=runs.c.spent + cost,
            completed=runs.c.completed + completed,
            failed=runs.c.failed + failed,
            cancelled=runs.c.cancelled + cancelled,
            cost_unknown=runs.c.cost_unknown + unknown,
            last_progress_at=now,
        )
        .returning(runs.c.collected_no)
    ).scalar_one()
    made = connection.execute(
        insert(batches)
        .values(
            run_id=run_id,
            lane_id=lane_id,
            kind="local",
            state="collected",
            count=count,
            completed=completed,
            failed=failed,
            cancelled=cancelled,
            cost=cost,
            end_reason="local",
            sealed_at=now,
            ended_at=now,
            collected_at=now,
            collected_no=number,
        )
        .returning(batches.c.id)
    )
    return int(made.scalar_one())


def _values(row: Settled, run_id: int, lane_id: int, batch_id: int) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__slots__}
    return {
        **values,
        "shelf": 0,
        "run_id": run_id,
        "lane_id": lane_id,
        "batch_id": batch_id,
        "final": row.state != "again",
    }


def tally(rows: Sequence[Any]) -> dict[str, int]:
    """Count attempts by state."""
    counted: dict[str, int] = {}
    for row in rows:
        counted[row.state] = counted.get(row.state, 0) + 1
    return counted


def uncount(connection: Connection, run_id: int, counted: dict[str, int]) -> None:
    """Take ended jobs out of the run's counters."""
    names = {"completed", "failed", "cancelled"}
    values = {name: runs.c[name] - n for name, n in counted.items() if name in names}
    if values:
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))


def by_lane(picked: Sequence[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """Group places by lane, in pieces that fit into one statement."""
    grouped: dict[int, list[int]] = {}
    for lane_id, seq in picked:
        grouped.setdefault(lane_id, []).append(seq)
    return [(lane_id, chunk) for lane_id, seqs in grouped.items() for chunk in _chunks(seqs)]


def _chunks(items: list[Any]) -> list[list[Any]]:
    return [items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK)]
