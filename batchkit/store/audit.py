"""The books, proven from the rows alone: each law is one query for what breaks it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, func, or_, select

from batchkit.store.database import Database
from batchkit.store.local import WITHDRAWN
from batchkit.store.runs import LIVE
from batchkit.store.tables import attempts, batches, jobs, lanes, members, runs

_MOST = 20


class Audit:
    """Find what cannot be. Every method returns sentences; none means that the law holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def problems(self, run_id: int) -> list[str]:
        """Return everything wrong with a run's rows, in plain sentences."""
        with self._database.read() as connection:
            found: list[str] = []
            for law in _LAWS:
                found += law(connection, run_id)
            return found

    def sums(self, run_id: int) -> dict[str, int]:
        """Return the run's attempts and cost by kind of cost, in nano-dollars."""
        query = (
            select(attempts.c.cost_kind, func.count(), func.coalesce(func.sum(attempts.c.cost), 0))
            .where(attempts.c.run_id == run_id)
            .group_by(attempts.c.cost_kind)
        )
        with self._database.read() as connection:
            return {
                name: value
                for kind, count, cost in connection.execute(query)
                for name, value in ((f"{kind}_attempts", int(count)), (f"{kind}_cost", int(cost)))
            }


def _spent(connection: Any, run_id: int) -> list[str]:
    spent = connection.execute(select(runs.c.spent).where(runs.c.id == run_id)).scalar_one()
    booked = connection.execute(
        select(func.coalesce(func.sum(attempts.c.cost), 0))
        .join(batches, batches.c.id == attempts.c.batch_id)
        .where(attempts.c.run_id == run_id, batches.c.state.not_in(LIVE))
    ).scalar_one()
    if spent == booked:
        return []
    return [f"spent is {spent} nano-dollars, its collected attempts add up to {booked}"]


def _reserved(connection: Any, run_id: int) -> list[str]:
    reserved = connection.execute(select(runs.c.reserved).where(runs.c.id == run_id)).scalar_one()
    held = connection.execute(
        select(func.coalesce(func.sum(batches.c.reserved), 0)).where(batches.c.run_id == run_id)
    ).scalar_one()
    if reserved == held:
        return []
    return [f"reserved is {reserved} nano-dollars, its live batches hold {held}"]


def _counters(connection: Any, run_id: int) -> list[str]:
    run = connection.execute(select(runs).where(runs.c.id == run_id)).one()
    rows = connection.execute(
        select(attempts.c.state, func.count())
        .join(jobs, _job())
        .join(batches, batches.c.id == attempts.c.batch_id)
        .join(lanes, lanes.c.id == jobs.c.lane_id)
        .where(attempts.c.run_id == run_id, attempts.c.final, jobs.c.superseded.is_(False))
        .where(batches.c.state.not_in(LIVE), jobs.c.seq < lanes.c.released)
        .group_by(attempts.c.state)
    )
    counted = {str(state): int(n) for state, n in rows}
    return [
        f"the run counts {getattr(run, state)} {state}, the final attempts {counted.get(state, 0)}"
        for state in ("completed", "failed", "cancelled")
        if getattr(run, state) != counted.get(state, 0)
    ]


def _total(connection: Any, run_id: int) -> list[str]:
    run = connection.execute(select(runs).where(runs.c.id == run_id)).one()
    if run.opened_at is None:
        return []
    there = connection.execute(
        select(func.count())
        .select_from(jobs.join(lanes, lanes.c.id == jobs.c.lane_id))
        .where(jobs.c.run_id == run_id, jobs.c.superseded.is_(False))
        .where(jobs.c.seq < lanes.c.released)
    ).scalar_one()
    if there == run.total:
        return []
    return [f"the run counts {run.total} jobs, {there} are there"]


def _jobs_nowhere(connection: Any, run_id: int) -> list[str]:
    in_range = select(batches.c.id).where(
        batches.c.lane_id == jobs.c.lane_id,
        batches.c.kind == "range",
        batches.c.lo <= jobs.c.seq,
        batches.c.hi > jobs.c.seq,
        batches.c.state.in_(LIVE),
    )
    member = (
        select(members.c.seq)
        .outerjoin(batches, batches.c.id == members.c.batch_id)
        .where(members.c.lane_id == jobs.c.lane_id, members.c.seq == jobs.c.seq)
        .where(or_(members.c.batch_id.is_(None), batches.c.state.in_(LIVE)))
    )
    final = select(attempts.c.seq).where(_job(), attempts.c.final)
    query = (
        select(jobs.c.key)
        .join(lanes, lanes.c.id == jobs.c.lane_id)
        .where(jobs.c.run_id == run_id, jobs.c.superseded.is_(False))
        .where(jobs.c.seq < lanes.c.cursor, ~final.exists(), ~in_range.exists(), ~member.exists())
        .limit(_MOST)
    )
    return [
        f"job {key!r} was taken from its lane, is in no batch and has no end"
        for key in connection.execute(query).scalars()
    ]


def _jobs_twice(connection: Any, run_id: int) -> list[str]:
    """Find jobs in two live batches: overlapping ranges, or members of two."""
    other = batches.alias("other")
    overlap = (
        select(batches.c.id, other.c.id)
        .join(
            other,
            and_(
                other.c.lane_id == batches.c.lane_id,
                other.c.id > batches.c.id,
                other.c.lo < batches.c.hi,
                batches.c.lo < other.c.hi,
            ),
        )
        .where(batches.c.run_id == run_id, batches.c.kind == "range", other.c.kind == "range")
        .where(batches.c.state.in_(LIVE), other.c.state.in_(LIVE))
    )
    found = [
        f"batches {one} and {two} hold the same jobs" for one, two in connection.execute(overlap)
    ]
    twice = (
        select(members.c.lane_id, members.c.seq)
        .join(batches, batches.c.id == members.c.batch_id)
        .where(members.c.run_id == run_id, batches.c.state.in_(LIVE))
        .group_by(members.c.lane_id, members.c.seq)
        .having(func.count() > 1)
    )
    return [
        *found,
        *(
            f"job {seq} of lane {lane} is in two live batches"
            for lane, seq in connection.execute(twice)
        ),
    ]


def _lines(connection: Any, run_id: int) -> list[str]:
    """Find live ranges that hold other jobs than they sent: one of them is queued once more."""
    queued = select(members.c.seq).where(
        members.c.lane_id == jobs.c.lane_id, members.c.seq == jobs.c.seq
    )
    before = select(attempts.c.seq).where(
        _job(), attempts.c.final, attempts.c.batch_id < batches.c.id
    )
    query = (
        select(batches.c.id, batches.c.count, func.count(jobs.c.seq))
        .select_from(batches)
        .outerjoin(
            jobs,
            and_(
                jobs.c.shelf == batches.c.shelf,
                jobs.c.lane_id == batches.c.lane_id,
                jobs.c.seq >= batches.c.lo,
                jobs.c.seq < batches.c.hi,
                ~queued.correlate(jobs).exists(),
                ~before.correlate(jobs, batches).exists(),
            ),
        )
        .where(batches.c.run_id == run_id, batches.c.kind == "range", batches.c.state.in_(LIVE))
        .group_by(batches.c.id, batches.c.count)
        .having(func.count(jobs.c.seq) != batches.c.count)
    )
    return [
        f"live batch {batch_id} sent {count} jobs, {n} are in it and nowhere else"
        for batch_id, count, n in connection.execute(query)
    ]


def _ended_and_waiting(connection: Any, run_id: int) -> list[str]:
    """Find jobs that have ended and would be bought again, or are: in a batch of retries."""
    ended = (
        select(jobs.c.key, members.c.batch_id)
        .join(attempts, and_(_job(), attempts.c.final))
        .join(members, and_(members.c.lane_id == jobs.c.lane_id, members.c.seq == jobs.c.seq))
        .where(jobs.c.run_id == run_id, members.c.run_id == run_id)
        .limit(_MOST)
    )
    waiting = ended.where(members.c.batch_id.is_(None))
    flying = ended.join(batches, batches.c.id == members.c.batch_id).where(
        batches.c.state.in_(LIVE), attempts.c.batch_id != batches.c.id
    )
    return [
        *(f"job {key!r} has ended and waits to go again" for key, _ in connection.execute(waiting)),
        *(
            f"job {key!r} has ended and is in live batch {batch_id} once more"
            for key, batch_id in connection.execute(flying)
        ),
    ]


def _settled_twice(connection: Any, run_id: int) -> list[str]:
    """Find attempts with two outcomes, and jobs with two ends: the indexes forbid the latter."""
    attempt = (
        select(jobs.c.key, attempts.c.attempt_no)
        .join(jobs, _job())
        .join(batches, batches.c.id == attempts.c.batch_id)
        .where(attempts.c.run_id == run_id, batches.c.kind != "local")
        .group_by(attempts.c.lane_id, attempts.c.seq, jobs.c.key, attempts.c.attempt_no)
        .having(func.count() > 1)
        .limit(_MOST)
    )
    end = (
        select(jobs.c.key)
        .join(attempts, _job())
        .where(attempts.c.run_id == run_id, attempts.c.final)
        .group_by(attempts.c.lane_id, attempts.c.seq, jobs.c.key)
        .having(func.count() > 1)
        .limit(_MOST)
    )
    return [
        *(
            f"attempt {number} of job {key!r} was settled twice"
            for key, number in connection.execute(attempt)
        ),
        *(f"job {key!r} has ended twice" for key in connection.execute(end).scalars()),
    ]


def _batch_counters(connection: Any, run_id: int) -> list[str]:
    counted = (
        select(attempts.c.batch_id, func.count().label("n"))
        .where(attempts.c.run_id == run_id)
        .group_by(attempts.c.batch_id)
        .subquery()
    )
    query = (
        select(batches.c.id, batches.c.count, func.coalesce(counted.c.n, 0))
        .outerjoin(counted, counted.c.batch_id == batches.c.id)
        .where(batches.c.run_id == run_id, batches.c.state.in_(("collected", "abandoned")))
        .where(func.coalesce(counted.c.n, 0) != batches.c.count)
        .limit(_MOST)
    )
    return [
        f"batch {batch_id} holds {count} jobs and {n} outcomes"
        for batch_id, count, n in connection.execute(query)
    ]


def _batch_costs(connection: Any, run_id: int) -> list[str]:
    summed = (
        select(attempts.c.batch_id, func.sum(attempts.c.cost).label("cost"))
        .where(attempts.c.run_id == run_id)
        .group_by(attempts.c.batch_id)
        .subquery()
    )
    query = (
        select(batches.c.id, batches.c.cost, func.coalesce(summed.c.cost, 0))
        .outerjoin(summed, summed.c.batch_id == batches.c.id)
        .where(batches.c.run_id == run_id, batches.c.state.not_in(LIVE))
        .where(batches.c.cost != func.coalesce(summed.c.cost, 0))
        .limit(_MOST)
    )
    return [
        f"batch {batch_id} was booked at {cost} nano-dollars, its attempts add up to {total}"
        for batch_id, cost, total in connection.execute(query)
    ]


def _orphans(connection: Any, run_id: int) -> list[str]:
    """Find attempts of no job or no batch, and members of a batch that is not there."""
    no_job = (
        select(attempts.c.batch_id, attempts.c.seq)
        .outerjoin(jobs, _job())
        .where(attempts.c.run_id == run_id, attempts.c.final, jobs.c.seq.is_(None))
        .limit(_MOST)
    )
    no_batch = (
        select(attempts.c.batch_id, attempts.c.seq)
        .outerjoin(batches, batches.c.id == attempts.c.batch_id)
        .where(attempts.c.run_id == run_id, batches.c.id.is_(None))
        .limit(_MOST)
    )
    lost = (
        select(members.c.lane_id, members.c.seq)
        .outerjoin(batches, batches.c.id == members.c.batch_id)
        .where(members.c.run_id == run_id, members.c.batch_id != WITHDRAWN, batches.c.id.is_(None))
        .limit(_MOST)
    )
    return [
        *(f"the answer {b}/{s} belongs to no job" for b, s in connection.execute(no_job)),
        *(f"the answer {b}/{s} belongs to no batch" for b, s in connection.execute(no_batch)),
        *(f"job {s} of lane {n} belongs to no batch" for n, s in connection.execute(lost)),
    ]


def _without_raw(connection: Any, run_id: int) -> list[str]:
    query = (
        select(jobs.c.key)
        .join(attempts, _job())
        .where(attempts.c.run_id == run_id, attempts.c.state == "completed")
        .where(attempts.c.answer.is_(None))
        .limit(_MOST)
    )
    return [
        f"job {key!r} is completed without an answer" for key in connection.execute(query).scalars()
    ]


def _accepted_without_ref(connection: Any, run_id: int) -> list[str]:
    query = (
        select(batches.c.id)
        .where(batches.c.run_id == run_id, batches.c.ref.is_(None), batches.c.kind != "local")
        .where(batches.c.state.in_(("running", "ended", "collected")))
    )
    return [f"batch {n} was accepted and has no ref" for n in connection.execute(query).scalars()]


def _job() -> Any:
    return and_(
        jobs.c.shelf == attempts.c.shelf,
        jobs.c.lane_id == attempts.c.lane_id,
        jobs.c.seq == attempts.c.seq,
    )


_LAWS = (
    _spent,
    _reserved,
    _counters,
    _total,
    _jobs_nowhere,
    _jobs_twice,
    _lines,
    _ended_and_waiting,
    _settled_twice,
    _batch_counters,
    _batch_costs,
    _orphans,
    _without_raw,
    _accepted_without_ref,
)
