"""Ended jobs that wait again because a person said so; their old attempts stay on the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, exists, func, insert, or_, select, update

from batchkit.model import Json
from batchkit.store import local
from batchkit.store.rows import RunRow
from batchkit.store.tables import SHELF, attempts, batches, jobs, lanes, members


def revive(
    connection: Connection, run: RunRow, picked: Sequence[tuple[int, int]], changes: Json | None
) -> int:
    """Turn final failures back into waiting jobs; the old attempts stay on the books.

    Left as they are: what is not collected yet or still flies, what was replaced, and what no
    provider can answer.
    """
    count = 0
    for lane_id, seqs in local.by_lane(picked):
        known = _revivable(connection, lane_id, seqs)
        rows = [
            row
            for row in local.booked(connection, lane_id, seqs)
            if row.seq in known and row.state != "completed"
        ]
        if not rows:
            continue
        connection.execute(
            update(attempts)
            .where(attempts.c.shelf == SHELF, attempts.c.lane_id == lane_id, attempts.c.final)
            .where(attempts.c.seq.in_([row.seq for row in rows]))
            .values(final=False)
        )
        cursor = connection.execute(
            select(lanes.c["cursor"]).where(lanes.c.id == lane_id)
        ).scalar_one()
        sent = [row for row in rows if row.seq < cursor]  # the others wait in their lane's range
        if sent:
            connection.execute(insert(members), _fresh(connection, run.id, lane_id, sent, changes))
        local.uncount(connection, run.id, local.tally(rows))
        count += len(rows)
    return count


def _revivable(connection: Connection, lane_id: int, seqs: Sequence[int]) -> set[int]:
    query = (
        select(jobs.c.seq)
        .join(lanes, lanes.c.id == jobs.c.lane_id)
        .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.seq.in_(seqs))
        .where(jobs.c.superseded.is_(False), lanes.c.provider != local.NO_PROVIDER, ~_flies())
    )
    return {int(seq) for seq in connection.execute(query).scalars()}


def _flies() -> Any:
    """Say in SQL that a job of ``jobs`` that has ended is in a live batch all the same."""
    live = batches.c.state.in_(("sealed", "submitting", "running", "ended"))
    in_range = exists().where(
        batches.c.lane_id == jobs.c.lane_id,
        batches.c.lo <= jobs.c.seq,
        batches.c.hi > jobs.c.seq,
        batches.c.id < attempts.c.batch_id,  # it ended after that batch was sealed
        attempts.c.shelf == jobs.c.shelf,
        attempts.c.lane_id == jobs.c.lane_id,
        attempts.c.seq == jobs.c.seq,
        attempts.c.final,
        ~exists().where(members.c.lane_id == jobs.c.lane_id, members.c.seq == jobs.c.seq),
        live,
    )
    as_member = exists().where(
        members.c.lane_id == jobs.c.lane_id,
        members.c.seq == jobs.c.seq,
        members.c.batch_id == batches.c.id,
        live,
    )
    return or_(in_range, as_member)


def _fresh(
    connection: Connection, run_id: int, lane_id: int, rows: Sequence[Any], changes: Json | None
) -> list[dict[str, Any]]:
    """A fresh start counts its attempts anew, but its number must be unused."""
    seqs = [row.seq for row in rows]
    query = (
        select(members.c.seq, func.max(members.c.attempt_no))
        .where(members.c.lane_id == lane_id, members.c.seq.in_(seqs))
        .group_by(members.c.seq)
    )
    used = {int(seq): int(number) for seq, number in connection.execute(query)}
    return [
        {
            "shelf": row.shelf,
            "lane_id": lane_id,
            "seq": row.seq,
            "attempt_no": used.get(row.seq, 1) + 1,
            "run_id": run_id,
            "changes": {**(changes or {}), "fresh": True},
            "reason": "retry",
        }
        for row in rows
    ]
