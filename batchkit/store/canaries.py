"""Canaries: which jobs of a draft they are made of, and what their answers were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, select, update

from batchkit.model import Json
from batchkit.store.database import Database
from batchkit.store.events import note
from batchkit.store.sealing import AT_BUDGET
from batchkit.store.tables import attempts, batches, jobs, lanes, members, runs

Zone = Sequence[int]
"""(lane_id, from, to, watermark): the canary's jobs of a lane lie in ``[from, to)``."""


class Canaries:
    """Reads draft jobs by size, answers by zone, and moves a run's canary from state to state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def groups(self, run_id: int, *, answered: bool) -> list[Any]:
        """Count a draft by lane and template: rows of (lane_id, template_id, jobs)."""
        query = (
            select(jobs.c.lane_id, jobs.c.template_id, func.count().label("jobs"))
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(*_draft(run_id, answered))
            .group_by(jobs.c.lane_id, jobs.c.template_id)
            .order_by(jobs.c.lane_id, jobs.c.template_id)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))

    def pick(
        self,
        run_id: int,
        lane_id: int,
        template_ids: Sequence[int] | None,
        places: Sequence[int],
        *,
        answered: bool,
    ) -> list[int]:
        """Return the jobs of a draft's lane at these places in their order of size."""
        query = (
            select(
                jobs.c.seq,
                func.row_number().over(order_by=(jobs.c.tokens, jobs.c.no)).label("place"),
            )
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(*_draft(run_id, answered), jobs.c.lane_id == lane_id)
        )
        if template_ids is not None:
            query = query.where(jobs.c.template_id.in_(list(template_ids)))
        ordered = query.subquery()
        wanted = select(ordered.c.seq).where(ordered.c.place.in_([at + 1 for at in places]))
        with self._database.read() as connection:
            return [
                int(seq) for seq in connection.execute(wanted.order_by(ordered.c.seq)).scalars()
            ]

    def answers(self, zones: Sequence[Zone]) -> tuple[int, list[Json]]:
        """Return how many jobs lie in the zones, and their booked attempts, oldest first.

        Attempts hold what ``canaries.tallied`` takes. Jobs that wait for money alone do not count
        while there are others: nobody can ask them.
        """
        count, aside, found = 0, 0, list[Json]()
        with self._database.read() as connection:
            for lane_id, lo, hi, _ in zones:
                within = (jobs.c.shelf == 0, jobs.c.lane_id == lane_id)
                placed = (jobs.c.seq >= lo, jobs.c.seq < hi, jobs.c.superseded.is_(False))
                number = select(func.count()).select_from(jobs).where(*within, *placed)
                count += int(connection.execute(number).scalar_one())
                aside += _aside(connection, lane_id, lo, hi)
                query = (
                    select(
                        jobs.c.key,
                        jobs.c.seq,
                        jobs.c.bound,
                        attempts.c.code,
                        attempts.c.error,
                        attempts.c.state,
                        attempts.c.final,
                        attempts.c.ran,
                        attempts.c.cost,
                        batches.c.kind,
                    )
                    .join(attempts, attempts.c.seq == jobs.c.seq)
                    .join(batches, batches.c.id == attempts.c.batch_id)
                    .where(*within, *placed)
                    .where(attempts.c.shelf == 0, attempts.c.lane_id == lane_id)
                    .where(attempts.c.seq >= lo, attempts.c.seq < hi)
                    .where(batches.c.collected_no.is_not(None))
                    .order_by(attempts.c.batch_id, attempts.c.seq)
                )
                found += [_answer(lane_id, row) for row in connection.execute(query)]
        return count - min(aside, max(count - 1, 0)), found

    def since(self, zones: Sequence[Zone]) -> datetime | None:
        """Return when the first batch of the zones was sealed; None if there is none."""
        times: list[datetime] = []
        with self._database.read() as connection:
            for lane_id, lo, hi, _ in zones:
                query = select(func.min(batches.c.sealed_at)).where(
                    batches.c.lane_id == lane_id,
                    batches.c.kind == "range",
                    batches.c.lo >= lo,
                    batches.c.lo < hi,
                )
                at = connection.execute(query).scalar()
                times += [] if at is None else [at]
        return min(times, default=None)

    def judged(self, run_id: int, canary: Json, now: datetime) -> bool:
        """Write a verdict down, once: whoever looks later finds it."""
        with self._database.write(durable=True) as connection:
            row = connection.execute(
                select(runs.c.canary).where(runs.c.id == run_id).with_for_update()
            ).one()
            if row.canary is None or row.canary["state"] != "waiting":
                return False
            if row.canary.get("zones") != canary.get("zones"):
                return False
            connection.execute(update(runs).where(runs.c.id == run_id).values(canary=canary))
            note(connection, run_id, now, "canary", state=canary["state"], why=canary["why"])
            return True


def _aside(connection: Connection, lane_id: int, lo: int, hi: int) -> int:
    query = (
        select(func.count())
        .select_from(members)
        .where(members.c.lane_id == lane_id, members.c.seq >= lo, members.c.seq < hi)
        .where(members.c.batch_id.is_(None), members.c.reason == AT_BUDGET)
    )
    return int(connection.execute(query).scalar_one())


def _answer(lane_id: int, row: Any) -> Json:
    is_local = row.kind == "local"
    return {
        "place": (lane_id, row.seq),
        "key": row.key,
        "code": row.code,
        "error": row.error,
        "completed": row.state == "completed",
        "final": bool(row.final),
        "judged": bool(row.ran) and not (is_local and not row.final),
        "cost": row.cost,
        "bound": row.bound,
    }


def _draft(run_id: int, answered: bool) -> tuple[Any, ...]:
    """Say which jobs were added and not released; without an answer unless ``answered``."""
    said: tuple[Any, ...] = (
        jobs.c.shelf == 0,
        jobs.c.run_id == run_id,
        jobs.c.seq >= lanes.c.released,
        jobs.c.superseded.is_(False),
        lanes.c.provider != "",
    )
    if answered:
        return said
    tried = attempts.alias("tried")
    known = exists().where(
        tried.c.shelf == jobs.c.shelf, tried.c.lane_id == jobs.c.lane_id, tried.c.seq == jobs.c.seq
    )
    return (*said, ~known)
