"""What closing a batch books: outcomes counted, jobs released to go again, money moved once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, literal, select, update

from batchkit.errors import IllegalMove
from batchkit.store import local
from batchkit.store.readings import job
from batchkit.store.rows import BatchRow
from batchkit.store.tables import attempts, jobs, members, runs


def free_jobs(connection: Connection, batch: BatchRow) -> None:
    """Put a void batch's jobs back into the queue; this attempt does not count.

    What was replaced or has ended meanwhile (tried out by ``test``) stays out of it.
    """
    if batch.kind == "members":
        mine = members.c.batch_id == batch.id
        wanted = select(jobs.c.seq).where(
            jobs.c.lane_id == batch.lane_id, jobs.c.superseded.is_(False), ~local.has_final()
        )
        local.withdraw(connection, mine, members.c.seq.not_in(wanted))
        connection.execute(update(members).where(mine).values(batch_id=None))
        return
    query = select(
        jobs.c.shelf, jobs.c.lane_id, jobs.c.seq, literal(1), jobs.c.run_id, literal("recut")
    ).where(jobs.c.lane_id == batch.lane_id, jobs.c.seq >= batch.lo, jobs.c.seq < batch.hi)
    waiting = select(members.c.seq).where(members.c.lane_id == batch.lane_id)
    names = ["shelf", "lane_id", "seq", "attempt_no", "run_id", "reason"]
    query = query.where(
        jobs.c.superseded.is_(False), jobs.c.seq.not_in(waiting), ~local.has_final()
    )
    connection.execute(insert(members).from_select(names, query))


def give_back(connection: Connection, batch: BatchRow) -> None:
    """Free what a batch that never ran had reserved."""
    connection.execute(
        update(runs)
        .where(runs.c.id == batch.run_id)
        .values(reserved=runs.c.reserved - batch.reserved)
    )


@dataclass(frozen=True, slots=True)
class Sums:
    """What a settled batch's outcomes add up to.

    ``counts`` are its ended jobs by state, ``again`` those that go again; ``unknown`` outcomes have
    no known ``cost``; ``codes`` counts the attempts that ran by what was wrong, "" is nothing.
    """

    counts: Mapping[str, int]
    again: int
    cost: int
    unknown: int
    codes: Mapping[str, int]


def counted(connection: Connection, batch: BatchRow) -> Sums:
    """Add a settled batch up, in one pass; raise IllegalMove if a job of it has no outcome."""
    counts = Counter({"completed": 0, "failed": 0, "cancelled": 0})
    codes = Counter[str]()
    again = cost = unknown = settled = 0
    kinds = (attempts.c.state, attempts.c.final, attempts.c.ran, attempts.c.code)
    number, priced = func.count(), func.count(attempts.c.cost)
    rows = connection.execute(
        select(*kinds, number, func.coalesce(func.sum(attempts.c.cost), 0), number - priced)
        .where(attempts.c.shelf == batch.shelf, attempts.c.batch_id == batch.id)
        .group_by(*kinds)
    )
    for state, final, ran, code, n, spent, unpriced in rows:
        if final:
            counts[state] += int(n)
        if state == "again":
            again += int(n)
        if ran:
            codes[code or ""] += int(n)
        settled += int(n)
        cost += int(spent)
        unknown += int(unpriced)
    if settled != batch.count:
        raise IllegalMove(f"batch {batch.id} holds {batch.count} jobs and {settled} outcomes")
    return Sums(_without_superseded(connection, batch, counts), again, cost, unknown, dict(codes))


def _without_superseded(
    connection: Connection, batch: BatchRow, counts: Mapping[str, int]
) -> dict[str, int]:
    revisions = connection.execute(
        select(runs.c.revisions).where(runs.c.id == batch.run_id)
    ).scalar_one()
    if not revisions:
        return dict(counts)
    rows = connection.execute(
        select(attempts.c.state, func.count())
        .join(jobs, job())
        .where(attempts.c.shelf == batch.shelf, attempts.c.batch_id == batch.id)
        .where(attempts.c.final, jobs.c.superseded)
        .group_by(attempts.c.state)
    )
    old = {str(state): int(n) for state, n in rows}
    return {state: n - old.get(state, 0) for state, n in counts.items()}


def release_again(connection: Connection, batch: BatchRow) -> int:
    """Put the jobs that go again into the queue, with the changes of their next attempt."""
    names = ["shelf", "lane_id", "seq", "attempt_no", "run_id", "changes", "reason"]
    query = (
        select(
            attempts.c.shelf,
            attempts.c.lane_id,
            attempts.c.seq,
            attempts.c.attempt_no + 1,
            attempts.c.run_id,
            attempts.c.changes,
            func.coalesce(attempts.c.code, "again"),
        )
        .join(jobs, job())
        .where(attempts.c.shelf == batch.shelf, attempts.c.batch_id == batch.id)
        .where(attempts.c.state == "again")
        .where(jobs.c.superseded.is_(False), ~local.has_final())
    )
    # The driver does not say how many rows an INSERT … SELECT made.
    count = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    if count:
        connection.execute(insert(members).from_select(names, query))
    return int(count)


def book(connection: Connection, batch: BatchRow, sums: Sums, now: datetime) -> int:
    """Move a collected batch's money and counts into its run; return its number in the order."""
    number = connection.execute(
        update(runs)
        .where(runs.c.id == batch.run_id)
        .values(
            spent=runs.c.spent + sums.cost,
            reserved=runs.c.reserved - batch.reserved,
            collected_no=runs.c.collected_no + 1,
            cost_unknown=runs.c.cost_unknown + sums.unknown,
            last_progress_at=now,
            **{state: runs.c[state] + n for state, n in sums.counts.items()},
        )
        .returning(runs.c.collected_no)
    )
    return int(number.scalar_one())
