"""What closing a batch books: outcomes counted, jobs released to go again, money moved once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, func, insert, literal, select, update

from batchkit.errors import IllegalMove
from batchkit.store import local
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


def counted(connection: Connection, batch: BatchRow) -> tuple[dict[str, int], int, int]:
    """Return a settled batch's ended jobs by state, its cost, and how many costs are unknown."""
    counts = {"completed": 0, "failed": 0, "cancelled": 0}
    cost = unknown = settled = 0
    rows = connection.execute(
        select(
            attempts.c.state,
            attempts.c.final,
            func.count(),
            func.coalesce(func.sum(attempts.c.cost), 0),
            func.count() - func.count(attempts.c.cost),
        )
        .where(attempts.c.shelf == batch.shelf, attempts.c.batch_id == batch.id)
        .group_by(attempts.c.state, attempts.c.final)
    )
    for state, final, number, spent, unpriced in rows:
        if final:
            counts[state] += int(number)
        settled += int(number)
        cost += int(spent)
        unknown += int(unpriced)
    if settled != batch.count:
        raise IllegalMove(f"batch {batch.id} holds {batch.count} jobs and {settled} outcomes")
    return _without_superseded(connection, batch, counts), cost, unknown


def codes_of(connection: Connection, batch: BatchRow) -> dict[str, int]:
    """Count the attempts that ran by what was wrong with them; "" is nothing."""
    code = func.coalesce(attempts.c.code, "")
    rows = connection.execute(
        select(code, func.count())
        .where(attempts.c.shelf == batch.shelf, attempts.c.batch_id == batch.id, attempts.c.ran)
        .group_by(code)
    )
    return {str(name): int(n) for name, n in rows}


def _without_superseded(
    connection: Connection, batch: BatchRow, counts: dict[str, int]
) -> dict[str, int]:
    revisions = connection.execute(
        select(runs.c.revisions).where(runs.c.id == batch.run_id)
    ).scalar_one()
    if not revisions:
        return counts
    rows = connection.execute(
        select(attempts.c.state, func.count())
        .join(jobs, and_(jobs.c.lane_id == attempts.c.lane_id, jobs.c.seq == attempts.c.seq))
        .where(attempts.c.batch_id == batch.id, attempts.c.final, jobs.c.superseded)
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
        .join(jobs, and_(jobs.c.lane_id == attempts.c.lane_id, jobs.c.seq == attempts.c.seq))
        .where(attempts.c.batch_id == batch.id, attempts.c.state == "again")
        .where(jobs.c.superseded.is_(False), ~local.has_final())
    )
    # The driver does not say how many rows an INSERT … SELECT made.
    count = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    if count:
        connection.execute(insert(members).from_select(names, query))
    return int(count)


def book(
    connection: Connection,
    batch: BatchRow,
    counts: dict[str, int],
    cost: int,
    unknown: int,
    now: datetime,
) -> int:
    """Move a collected batch's money and counts into its run; return its number in the order."""
    number = connection.execute(
        update(runs)
        .where(runs.c.id == batch.run_id)
        .values(
            spent=runs.c.spent + cost,
            reserved=runs.c.reserved - batch.reserved,
            collected_no=runs.c.collected_no + 1,
            cost_unknown=runs.c.cost_unknown + unknown,
            last_progress_at=now,
            **{state: runs.c[state] + n for state, n in counts.items()},
        )
        .returning(runs.c.collected_no)
    )
    return int(number.scalar_one())
