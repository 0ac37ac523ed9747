"""Seal: take the jobs, reserve the money, make the batch; one transaction, or nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, literal, or_, select, update

from batchkit.model import BatchState, Json
from batchkit.store import local, reservations, uploads
from batchkit.store.events import note
from batchkit.store.rows import LaneRow, Seal
from batchkit.store.runs import LIVE, close_if_done
from batchkit.store.tables import batches, jobs, lanes, members, prefixes, runs

AT_BUDGET = "budget"
"""Why a job goes again that was never sent: others fitted the free money, and it did not."""


class Refused(Exception):
    """A guard said no; the transaction is rolled back."""


def seal(connection: Connection, seal: Seal, now: datetime) -> int:
    """Write a batch down with its jobs and its reservation; return its id, 0 if all jobs failed.

    Raises Refused if the run was stopped, its limit is reached, another process was faster, or less
    than bounds was to be reserved and the run has gone back to them.
    """
    lane = seal.lane
    lock_run(connection, lane.run_id)  # or two processes count each other's batch as not there
    if seal.uncovered and not reservations.is_observed(connection, lane.run_id):
        raise Refused
    if not _reserve(connection, seal, now):
        raise Refused
    if seal.kind == "range":
        _take_range(connection, seal, now)
    _wait_for_files(connection, lane, seal)
    _set_aside(connection, seal)
    local.book(connection, lane.run_id, lane.id, seal.failed, now)
    batch_id = _insert(connection, seal, now) if seal.count else None
    if seal.members and batch_id is not None:
        _take_members(connection, seal, batch_id)
    if batch_id is not None and seal.uploads:
        _borrow(connection, lane.run_id, batch_id, seal)
    if seal.failed:
        close_if_done(connection, lane.run_id, now)
    if batch_id is None:
        return 0
    told: Json = {"jobs": seal.count}
    if seal.uncovered:
        told |= {"reserved_nano": seal.reserved, "uncovered_nano": seal.uncovered}
    note(connection, lane.run_id, now, "sealed", batch_id=batch_id, **told)
    return batch_id


def _reserve(connection: Connection, seal: Seal, now: datetime) -> bool:
    """Reserve in one statement; rowcount is the answer. The wishes are part of the guard."""
    live = (
        select(func.count())
        .where(batches.c.run_id == seal.lane.run_id, batches.c.state.in_(LIVE))
        .scalar_subquery()
    )
    landed = connection.execute(
        update(runs)
        .where(runs.c.id == seal.lane.run_id, is_open(now), live < seal.max_live)
        .where(
            or_(
                runs.c.cost_limit.is_(None),
                runs.c.spent + runs.c.reserved + seal.reserved <= runs.c.cost_limit,
            )
        )
        .values(reserved=runs.c.reserved + seal.reserved)
    )
    return bool(landed.rowcount)


def is_open(now: datetime) -> Any:
    """Say whether a run may send: started, not cancelled, in time and not held for a look."""
    return and_(
        runs.c.opened_at.is_not(None),
        runs.c.cancel_requested_at.is_(None),
        or_(runs.c.deadline_at.is_(None), runs.c.deadline_at > now),
        or_(runs.c.hold_until.is_(None), runs.c.hold_until <= now),
    )


def _take_range(connection: Connection, seal: Seal, now: datetime) -> None:
    landed = connection.execute(
        update(lanes)
        .where(lanes.c.id == seal.lane.id, lanes.c.cursor == seal.lo, lanes.c.released >= seal.hi)
        .values(cursor=seal.hi)
    )
    if not landed.rowcount:
        raise Refused
    connection.execute(
        update(prefixes)
        .where(prefixes.c.lane_id == seal.lane.id, prefixes.c.primed_at.is_(None))
        .where(prefixes.c.primer_seq >= seal.lo, prefixes.c.primer_seq < seal.hi)
        .values(primed_at=now)
    )


def _take_members(connection: Connection, seal: Seal, batch_id: int) -> None:
    for chunk in _chunks([member.seq for member in seal.members]):
        landed = connection.execute(
            update(members)
            .where(members.c.lane_id == seal.lane.id, members.c.seq.in_(chunk))
            .where(members.c.batch_id.is_(None))
            .values(batch_id=batch_id)
        )
        if landed.rowcount != len(chunk):
            raise Refused


def _wait_for_files(connection: Connection, lane: LaneRow, seal: Seal) -> None:
    if not seal.absent:
        return
    if seal.kind == "members":
        for chunk in _chunks(list(seal.absent)):
            connection.execute(
                update(members)
                .where(members.c.lane_id == lane.id, members.c.seq.in_(chunk))
                .where(members.c.batch_id.is_(None))
                .values(reason="files")
            )
        return
    rows = [
        {
            "shelf": 0,
            "lane_id": lane.id,
            "seq": seq,
            "attempt_no": 1,
            "run_id": lane.run_id,
            "reason": "files",
        }
        for seq in seal.absent
    ]
    connection.execute(insert(members), rows)


def _set_aside(connection: Connection, seal: Seal) -> None:
    """Let jobs of a range that do not fit the free money go later, behind those that do."""
    names = ["shelf", "lane_id", "seq", "attempt_no", "run_id", "reason"]
    for chunk in _chunks(list(seal.aside)):
        query = select(
            jobs.c.shelf, jobs.c.lane_id, jobs.c.seq, literal(1), jobs.c.run_id, literal(AT_BUDGET)
        ).where(
            jobs.c.shelf == 0,
            jobs.c.lane_id == seal.lane.id,
            jobs.c.seq.in_(chunk),
            jobs.c.superseded.is_(False),
            ~local.has_final(),
        )
        connection.execute(insert(members).from_select(names, query))


def _insert(connection: Connection, seal: Seal, now: datetime) -> int:
    names = (
        "kind", "lo", "hi", "token", "count", "bytes", "tokens", "sha256", "spool", "spool_host",
        "attempt_no", "reserved", "twin_guard", "account_id",
    )  # fmt: skip
    values = {name: getattr(seal, name) for name in names}
    made_row = connection.execute(
        insert(batches)
        .values(
            run_id=seal.lane.run_id,
            lane_id=seal.lane.id,
            state=BatchState.SEALED,
            sealed_at=now,
            poll_at=now,
            marks=seal.marks,
            **values,
        )
        .returning(batches.c.id)
    )
    return int(made_row.scalar_one())


def _borrow(connection: Connection, run_id: int, batch_id: int, seal: Seal) -> None:
    if not uploads.borrow(connection, batch_id, run_id, sorted(seal.uploads)):
        raise Refused


def _chunks(items: list[int], size: int = 500) -> list[list[int]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def lock_run(connection: Connection, run_id: int) -> None:
    """Let nobody else change a run until this transaction ends; SQLite has one writer anyway."""
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update())
