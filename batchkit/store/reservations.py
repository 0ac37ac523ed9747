"""Reservations below the upper bound: what they rest on, what they leave open, when they end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select, update

from batchkit.model import CostKind, Json
from batchkit.store.database import Database
from batchkit.store.events import note
from batchkit.store.rows import BatchRow
from batchkit.store.runs import LIVE, locked
from batchkit.store.tables import SHELF, attempts, batches, events, jobs, runs


class Reservations:
    """Reads what finished jobs used of their bounds, and what is in flight without cover."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def used(self, run_id: int, lane_id: int, most: int) -> list[tuple[int, int, int]]:
        """Return (template_id, cost, bound) of a lane's newest answers, ``most`` at most.

        First attempts at an exact cost, of batches that are collected; ``bound`` is the job's as it
        was added. Amounts in nano-dollars.
        """
        with self._database.read() as connection:
            whole, part = _newest(connection, run_id, lane_id, most)
            found = list(connection.execute(_used(attempts.c.batch_id.in_(whole))))
            if part is not None:
                query = _used(attempts.c.batch_id == part[0]).order_by(attempts.c.seq)
                found += connection.execute(query.limit(part[1]))
            return [(int(template_id), int(cost), int(bound)) for template_id, cost, bound in found]

    def overshoot(self, run_id: int) -> int:
        """Return the most that can be spent above a run's limit by what is in flight.

        In nano-dollars, with every live batch at its upper bound; 0 without a limit.
        """
        money = select(runs.c.cost_limit, runs.c.spent, runs.c.reserved).where(runs.c.id == run_id)
        with self._database.read() as connection:
            uncovered = _uncovered(connection, run_id)
            limit, spent, reserved = connection.execute(money).one()
        return 0 if limit is None else max(0, spent + reserved + uncovered - limit)

    def uncovered(self, run_id: int) -> int:
        """Return what a run's live batches may cost beyond what is reserved, in nano-dollars."""
        with self._database.read() as connection:
            return _uncovered(connection, run_id)


def _newest(
    connection: Connection, run_id: int, lane_id: int, most: int
) -> tuple[list[int], tuple[int, int] | None]:
    """Return the newest collected batches of first attempts, ``most`` jobs together.

    And the one that goes beyond that, with how many of its jobs are still to be taken: one query
    that sorted answers would read all of them.
    """
    query = (
        select(batches.c.id, batches.c.count)
        .where(batches.c.run_id == run_id, batches.c.collected_no.is_not(None))
        .where(batches.c.lane_id == lane_id, batches.c.kind != "local", batches.c.attempt_no == 1)
        .order_by(batches.c.collected_no.desc())
        .limit(most)
    )
    whole: list[int] = []
    for batch_id, count in connection.execute(query):
        if count > most:
            return whole, (int(batch_id), most)
        whole.append(int(batch_id))
        most -= count
    return whole, None


def _used(of: Any) -> Any:
    """Read (template_id, cost, bound) of the answers of batches, those at an exact cost."""
    job = and_(
        jobs.c.shelf == SHELF,
        jobs.c.lane_id == attempts.c.lane_id,
        jobs.c.seq == attempts.c.seq,
    )
    return (
        select(jobs.c.template_id, attempts.c.cost, jobs.c.bound)
        .select_from(attempts)
        .join(jobs, job)
        .where(attempts.c.shelf == SHELF, of, attempts.c.ran, jobs.c.bound > 0)
        .where(attempts.c.cost_kind == CostKind.EXACT, attempts.c.cost.is_not(None))
    )


def _uncovered(connection: Connection, run_id: int) -> int:
    """Read it from the event of each batch's sealing.

    The newest come first, so that reading ends with that of the oldest live batch.
    """
    is_live = (batches.c.run_id == run_id, batches.c.state.in_(LIVE))
    live = list(connection.execute(select(batches.c.id).where(*is_live)).scalars())
    query = (
        select(events.c.detail)
        .where(events.c.run_id == run_id, events.c.action == "sealed")
        .where(events.c.batch_id.in_(live))
        .order_by(events.c.id.desc())
        .limit(len(live))
    )
    return sum(int(told.get("uncovered_nano", 0)) for told in connection.execute(query).scalars())


def is_observed(connection: Connection, run_id: int) -> bool:
    """Say whether less than bounds may be reserved; nobody changes that in this transaction."""
    return locked(connection, run_id).reserve == "observed"


def note_exceeded(connection: Connection, batch: BatchRow, cost: int, now: datetime) -> None:
    """Let upper bounds be reserved again in a run one of whose batches cost more than it held."""
    run = locked(connection, batch.run_id)
    if run.reserve != "observed":
        return
    connection.execute(
        update(runs).where(runs.c.id == run.id).values(spec={**run.spec, "exceeded": batch.id})
    )
    told: Json = {"cost_nano": cost, "reserved_nano": batch.reserved}
    note(connection, run.id, now, "exceeded", batch_id=batch.id, **told)
