"""Shared prefixes: which there are, whose primer is under way, what an answer told of the cache."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import and_, exists, func, or_, select, update

from batchkit.model import LIVE_STATES, Prefix
from batchkit.store.database import Database
from batchkit.store.sealing import AT_BUDGET
from batchkit.store.tables import attempts, batches, jobs, lanes, members, prefixes

_CHUNK = 400
_FIELDS = (
    *("id", "level", "digest", "primer_seq", "tokens", "jobs"),
    *("primed_at", "warmed_at", "warm_until"),
)


class Prefixes:
    """What many jobs begin with, and the one of them that goes first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_lane(self, lane_id: int) -> list[Prefix]:
        """Return a lane's prefixes, oldest first."""
        columns = [prefixes.c[name] for name in _FIELDS]
        query = (
            select(*columns, _flies().label("flies"))
            .where(prefixes.c.lane_id == lane_id)
            .order_by(prefixes.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings()
            return [Prefix(**{**row, "flies": bool(row["flies"])}) for row in rows]

    def warm(self, ids: Iterable[int], now: datetime, until: datetime) -> None:
        """Note that an answer told of the cache: it was written or read."""
        wanted = sorted(ids)
        if not wanted:
            return
        with self._database.write() as connection:
            for at in range(0, len(wanted), _CHUNK):
                connection.execute(
                    update(prefixes)
                    .where(prefixes.c.id.in_(wanted[at : at + _CHUNK]))
                    .values(warmed_at=func.coalesce(prefixes.c.warmed_at, now), warm_until=until)
                )

    def sums(self, run_id: int) -> tuple[int, int]:
        """Return how many prefixes a run has, and how many of them were cached."""
        query = select(func.count(), func.count(prefixes.c.warmed_at)).where(
            prefixes.c.run_id == run_id
        )
        with self._database.read() as connection:
            known, warmed = connection.execute(query).one()
            return int(known), int(warmed)

    def tokens(self, run_id: int) -> tuple[int, int]:
        """Return the input tokens that a run's answers read from caches, and wrote to them."""
        query = (
            select(
                func.coalesce(func.sum(attempts.c.cached_tokens), 0),
                func.coalesce(func.sum(attempts.c.cache_write_tokens), 0),
            )
            .join(batches, batches.c.id == attempts.c.batch_id)
            .where(attempts.c.run_id == run_id, batches.c.collected_no.is_not(None))
        )
        with self._database.read() as connection:
            read, written = connection.execute(query).one()
            return int(read), int(written)

    def by_template(self, run_id: int) -> list[Any]:
        """Count what the draft of a run shares by template.

        Rows hold ``lane_id, provider, template_id, jobs, tokens, first_seq``, tokens as bounds.
        """
        query = (
            select(*_SHARED, func.min(jobs.c.seq).label("first_seq"))
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(*_draft(run_id))
            .group_by(jobs.c.lane_id, lanes.c.provider, jobs.c.template_id)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))

    def by_documents(self, run_id: int, lane_ids: Iterable[int]) -> list[Any]:
        """Count what the draft's jobs of some lanes share with the same documents in front.

        As ``by_template``, with ``documents``; only documents that stand in more than one job.
        """
        asked_twice = (
            select(jobs.c.documents)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(*_draft(run_id), jobs.c.documents.is_not(None))
            .group_by(jobs.c.lane_id, jobs.c.documents)
            .having(func.count() > 1)
        )
        query = (
            select(*_SHARED, func.min(jobs.c.seq).label("first_seq"), jobs.c.documents)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(*_draft(run_id), jobs.c.lane_id.in_(list(lane_ids)))
            .where(jobs.c.documents.in_(asked_twice))
            .group_by(jobs.c.lane_id, lanes.c.provider, jobs.c.template_id, jobs.c.documents)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))


_SHARED = (
    jobs.c.lane_id,
    lanes.c.provider,
    jobs.c.template_id,
    func.count().label("jobs"),
    func.sum(jobs.c.tokens).label("tokens"),
)


def _draft(run_id: int) -> tuple[Any, ...]:
    """Say which jobs were added and not released, without an answer."""
    ended = attempts.alias("ended")
    answered = exists().where(
        ended.c.shelf == jobs.c.shelf,
        ended.c.lane_id == jobs.c.lane_id,
        ended.c.seq == jobs.c.seq,
        ended.c.final,
    )
    return (
        jobs.c.shelf == 0,
        jobs.c.run_id == run_id,
        jobs.c.seq >= lanes.c.released,
        jobs.c.superseded.is_(False),
        ~answered,
    )


def _flies() -> Any:
    """Say in SQL that a primer is in a live batch, or waits to go again."""
    live = batches.c.state.in_(LIVE_STATES)
    in_range = exists().where(
        batches.c.lane_id == prefixes.c.lane_id,
        batches.c.kind == "range",
        batches.c.lo <= prefixes.c.primer_seq,
        batches.c.hi > prefixes.c.primer_seq,
        live,
    )
    again = exists().where(
        members.c.shelf == 0,
        members.c.lane_id == prefixes.c.lane_id,
        members.c.seq == prefixes.c.primer_seq,
        members.c.batch_id.is_(None),
        members.c.reason.not_in(("files", AT_BUDGET)),
    )
    as_member = exists().where(
        members.c.shelf == 0,
        members.c.lane_id == prefixes.c.lane_id,
        members.c.seq == prefixes.c.primer_seq,
        and_(members.c.batch_id == batches.c.id, live),
    )
    return or_(in_range, again, as_member)
