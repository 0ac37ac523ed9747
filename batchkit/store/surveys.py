"""Surveys: what a run holds and its script says, read in bulk before anything is decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, and_, exists, false, func, or_, select

from batchkit.store import local
from batchkit.store.database import Database
from batchkit.store.jobs import final_of, is_unsent, is_unsent_or_draft
from batchkit.store.outlines import PAGE
from batchkit.store.parts import is_tail
from batchkit.store.rows import JobRow, LaneRow, made
from batchkit.store.tables import SHELF, attempts, batches, jobs, lanes, runs


class Surveys:
    """Streams and sums over a run's jobs; nothing here writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def drafts(self, run_id: int) -> Iterator[tuple[int, int, int, str, bytes]]:
        """Stream (lane_id, seq, no, key, digest) of what was added and not released, in order."""
        query = select(jobs.c.lane_id, jobs.c.seq, jobs.c.no, jobs.c.key, jobs.c.digest)
        with self._database.read() as connection:
            drafts = query.where(_in_draft(connection, run_id)).order_by(jobs.c.no)
            yield from _streamed(connection, drafts)

    def unsent(self, run_id: int) -> Iterator[tuple[int, int, int]]:
        """Stream (lane_id, seq, no) of released jobs that wait for a batch."""
        query = (
            select(jobs.c.lane_id, jobs.c.seq, jobs.c.no)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), is_unsent())
        )
        yield from self._stream(query)

    def changed(self, run_id: int) -> list[Any]:
        """Return pairs of a job and its draft of the next revision.

        Rows hold ``key, lane_id, seq, unsent, code, new_lane_id, new_seq, new_no``; ``code`` is why
        the job failed, if it did.
        """
        new = jobs.alias("new")
        query = (
            select(
                jobs.c.key,
                jobs.c.lane_id,
                jobs.c.seq,
                is_unsent().label("unsent"),
                attempts.c.code,
                new.c.lane_id.label("new_lane_id"),
                new.c.seq.label("new_seq"),
                new.c.no.label("new_no"),
            )
            .select_from(new)
            .join(
                jobs,
                and_(
                    jobs.c.shelf == SHELF,
                    jobs.c.run_id == run_id,
                    jobs.c.key == new.c.key,
                    jobs.c.revision == new.c.revision - 1,
                ),
            )
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .outerjoin(attempts, final_of(jobs))
            .where(jobs.c.seq < lanes.c.released, jobs.c.superseded.is_(False))
            .order_by(new.c.no)
        )
        with self._database.read() as connection:
            return list(connection.execute(query.where(_in_draft(connection, run_id, new))))

    def released(self, run_id: int) -> Iterator[tuple[int, int, int, str, bytes, bool]]:
        """Stream (lane_id, seq, no, key, digest, unsent) of what a run holds, drafts aside."""
        query = (
            select(
                jobs.c.lane_id,
                jobs.c.seq,
                jobs.c.no,
                jobs.c.key,
                jobs.c.digest,
                is_unsent().label("unsent"),
            )
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), jobs.c.seq < lanes.c.released)
            .order_by(jobs.c.no)
        )
        yield from self._stream(query)

    def current(self, run_id: int) -> Iterator[JobRow]:
        """Stream each key's newest revision, drafts included, in order of adding."""
        newer = jobs.alias("newer")
        later = exists().where(
            newer.c.shelf == SHELF,
            newer.c.run_id == run_id,
            newer.c.key == jobs.c.key,
            newer.c.revision > jobs.c.revision,
        )
        query = (
            select(jobs)
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), ~later)
            .order_by(jobs.c.no)
        )
        yield from self._stream_jobs(query)

    def sample(
        self, lane_id: int, template_id: int, limit: int, *, cheapest: bool = False
    ) -> list[JobRow]:
        """Return some unsent jobs of a lane and template: the first, or the ``cheapest`` ones."""
        query = (
            select(jobs)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id)
            .where(jobs.c.template_id == template_id, is_unsent_or_draft())
            .order_by(jobs.c.bound if cheapest else jobs.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [made(JobRow, row) for row in connection.execute(query).mappings()]

    def cheapest(self, lane: LaneRow, limit: int) -> list[tuple[int, int]]:
        """Return (seq, bytes) of the jobs in a lane's range whose bounds are the lowest."""
        query = (
            select(jobs.c.seq, jobs.c.bytes)
            .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane.id)
            .where(jobs.c.seq >= lane.cursor, jobs.c.seq < lane.released)
            .where(jobs.c.superseded.is_(False), jobs.c.bound.is_not(None), ~local.has_final())
            .order_by(jobs.c.bound, jobs.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(int(seq), int(size)) for seq, size in connection.execute(query)]

    def left(self, run_id: int) -> tuple[int, int]:
        """Return how many released jobs wait for a batch, and the sum of their bounds."""
        query = (
            select(func.count(), func.coalesce(func.sum(jobs.c.bound), 0))
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), is_unsent())
        )
        with self._database.read() as connection:
            count, bound = connection.execute(query).one()
            return int(count), int(bound)

    def untried(self, run_id: int) -> Iterator[JobRow]:
        """Stream what was not sent, or was only tried out, in order of adding."""
        tried = exists().where(
            final_of(jobs),
            attempts.c.batch_id == batches.c.id,
            batches.c.kind == "local",
            attempts.c.ran,
        )
        query = (
            select(jobs)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), lanes.c.provider != local.NO_PROVIDER)
            .where(or_(jobs.c.seq >= lanes.c.released, is_unsent(), tried))
            .order_by(jobs.c.no)
        )
        yield from self._stream_jobs(query)

    def draft_sums(self, run_id: int) -> list[Any]:
        """Return one row a lane and template over the draft, for an estimate.

        Rows hold ``provider, model, lane_id, template_id, jobs, bytes, tokens, bound, unpriced,
        cheapest``.
        """
        query = (
            select(
                lanes.c.provider,
                lanes.c.model,
                lanes.c.id.label("lane_id"),
                jobs.c.template_id,
                func.count().label("jobs"),
                func.sum(jobs.c.bytes).label("bytes"),
                func.sum(jobs.c.tokens).label("tokens"),
                func.coalesce(func.sum(jobs.c.bound), 0).label("bound"),
                (func.count() - func.count(jobs.c.bound)).label("unpriced"),
                func.min(jobs.c.bound).label("cheapest"),
            )
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id, is_unsent_or_draft())
            .group_by(lanes.c.provider, lanes.c.model, lanes.c.id, jobs.c.template_id)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))

    def draft_digests(self, run_id: int) -> Iterator[tuple[bytes, int, int]]:
        """Stream (digest, lane_id, seq) of the draft that has no answer yet."""
        query = select(jobs.c.digest, jobs.c.lane_id, jobs.c.seq).where(~local.has_final())
        with self._database.read() as connection:
            drafts = query.where(_in_draft(connection, run_id)).order_by(jobs.c.no)
            yield from _streamed(connection, drafts)

    def answered_elsewhere(self, run_id: int, project: str) -> list[Any]:
        """Return answers and jobs in flight of a project's nameless runs with this draft's content.

        Rows hold ``digest, other_run, lane_id, seq, key, state, ran`` (state None: not ended). Of
        runs that were never opened only answers count: somebody tried them out.
        """
        other = jobs.alias("other")
        mine = select(jobs.c.digest).where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id)
        query = (
            select(
                other.c.digest,
                other.c.run_id.label("other_run"),
                other.c.lane_id,
                other.c.seq,
                other.c.key,
                attempts.c.state,
                attempts.c.ran,
            )
            .join(runs, runs.c.id == other.c.run_id)
            .join(lanes, lanes.c.id == other.c.lane_id)
            .outerjoin(attempts, final_of(other))
            .where(runs.c.project == project, runs.c.nameless, runs.c.id != run_id)
            .where(other.c.shelf == SHELF, other.c.digest.in_(mine))
            .where(other.c.superseded.is_(False), lanes.c.provider != local.NO_PROVIDER)
            .where(or_(runs.c.opened_at.is_not(None), attempts.c.state == "completed"))
            .where(or_(attempts.c.reused_from.is_(None), attempts.c.state.is_(None)))
            .where(or_(other.c.seq < lanes.c.released, attempts.c.state.is_not(None)))
            .order_by(other.c.run_id, other.c.no)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))

    def taken_over(self, run_id: int, *, documents: bool = False) -> int:
        """Count the jobs of the draft that have another run's answer.

        ``documents`` leaves out all parts of a document but the first.
        """
        query = (
            select(func.count())
            .select_from(jobs)
            .join(attempts, final_of(jobs))
            .where(attempts.c.reused_from.is_not(None))
        )
        if documents:
            query = query.where(~is_tail())
        booked = select(batches.c.id).where(batches.c.run_id == run_id, batches.c.kind == "local")
        with self._database.read() as connection:
            if connection.execute(booked.limit(1)).first() is None:  # the count looks at each draft
                return 0
            drafts = query.where(_in_draft(connection, run_id))
            return int(connection.execute(drafts).scalar_one())

    def _stream(self, query: Any) -> Iterator[Any]:
        with self._database.read() as connection:
            yield from _streamed(connection, query)

    def _stream_jobs(self, query: Any) -> Iterator[JobRow]:
        with self._database.read() as connection:
            options = connection.execution_options(yield_per=PAGE)
            with closing(options.execute(query)) as rows:
                yield from (made(JobRow, row) for row in rows.mappings())


def _streamed(connection: Connection, query: Any) -> Iterator[Any]:
    """Stream rows; a reader who stops half-way leaves no cursor open behind him."""
    options = connection.execution_options(yield_per=PAGE)
    with closing(options.execute(query)) as rows:
        yield from rows


def _in_draft(connection: Connection, run_id: int, table: Any = jobs) -> Any:
    """Say in SQL that a job was added to a run and not released, with each lane's own place.

    Joined with ``lanes`` instead, no database finds those few but by looking at every job.
    """
    begun = select(lanes.c.id, lanes.c.released).where(
        lanes.c.run_id == run_id, lanes.c.released < lanes.c.size
    )
    here = (
        and_(table.c.shelf == SHELF, table.c.lane_id == lane_id, table.c.seq >= released)
        for lane_id, released in connection.execute(begun)
    )
    return or_(false(), *here)
