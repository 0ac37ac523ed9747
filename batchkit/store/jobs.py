"""Jobs: appended to lanes behind the watermark, compared with what a run already holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from batchkit.model import Json
from batchkit.store import local
from batchkit.store.database import Database, insert_new
from batchkit.store.rows import JobRow, Known, LaneRow, NewJob, Settled, made
from batchkit.store.tables import attempts, batches, jobs, lanes, members, runs, templates

_PAGE = 2_000
_KEYS = 500
_SHELF = 0
"""The only shelf there is today. Without it in the WHERE no index of ``jobs`` can be used."""


class Taken(Exception):
    """Somebody else added one of these keys since they were looked up: look again."""


class Jobs:
    """The rows that say what is wanted; written once, hardly ever updated."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._templates: dict[tuple[int, bytes], int] = {}

    def lookup(self, run_id: int, keys: Sequence[str]) -> dict[str, list[Known]]:
        """Return what a run holds under these keys, oldest revision first, drafts last."""
        found: dict[str, list[Known]] = {}
        with self._database.read() as connection:
            for at in range(0, len(keys), _KEYS):
                for known in _known(connection, run_id, keys[at : at + _KEYS]):
                    found.setdefault(known.key, []).append(known)
        return found

    def append(
        self, run_id: int, new: Sequence[NewJob], replacing: Sequence[tuple[int, int]] = ()
    ) -> list[int]:
        """Add jobs behind the watermark; return their run-wide numbers, in order.

        ``replacing`` are rows (lane_id, seq) of the draft that go in the same transaction. Raises
        Taken, and changes nothing, if a key is there already.
        """
        if not new:
            return []
        try:
            with self._database.write() as connection:
                first = _numbers(connection, run_id, len(new))  # locks the run before its jobs
                local.remove(connection, replacing)
                self._keep_templates(connection, run_id, new)
                connection.execute(insert(jobs), list(self._placed(connection, run_id, new, first)))
        except IntegrityError as error:
            self._templates.clear()
            raise Taken from error
        return list(range(first, first + len(new)))

    def remove(self, run_id: int, places: Sequence[tuple[int, int]]) -> None:
        """Take jobs (lane_id, seq) out of the draft again."""
        with self._database.write() as connection:
            _numbers(connection, run_id, 0)  # locks the run before its jobs
            local.remove(connection, places)

    def refresh(self, run_id: int, found: Sequence[tuple[Known, NewJob]]) -> None:
        """Take over what is no content: where files lie, metadata, price, brakes, model class."""
        if not found:
            return
        with self._database.write() as connection:
            self._keep_templates(connection, run_id, [new for _, new in found])
            rows = [
                {
                    "at_lane": known.lane_id,
                    "at_seq": known.seq,
                    "template_id": self._templates[run_id, new.template_digest],
                    "documents": new.documents,
                    "metadata": new.metadata,
                    "bytes": new.bytes,
                    "tokens": new.tokens,
                    "bound": new.bound,
                }
                for known, new in found
            ]
            place = (
                jobs.c.shelf == _SHELF,
                jobs.c.lane_id == bindparam("at_lane"),
                jobs.c.seq == bindparam("at_seq"),
            )
            connection.execute(update(jobs).where(*place), rows)

    def lanes(self, run_id: int) -> list[LaneRow]:
        """Return a run's lanes, oldest first."""
        query = select(lanes).where(lanes.c.run_id == run_id).order_by(lanes.c.id)
        with self._database.read() as connection:
            return [made(LaneRow, row) for row in connection.execute(query).mappings()]

    def lane(self, lane_id: int) -> LaneRow:
        """Return one lane as it is now."""
        with self._database.read() as connection:
            row = connection.execute(select(lanes).where(lanes.c.id == lane_id)).mappings().one()
            return made(LaneRow, row)

    def template(self, template_id: int) -> Json:
        """Return what many jobs share."""
        query = select(templates.c.data).where(templates.c.id == template_id)
        with self._database.read() as connection:
            return dict(connection.execute(query).scalar_one())

    def span(self, lane_id: int, lo: int, hi: int) -> Iterator[JobRow]:
        """Stream the jobs of ``[lo, hi)`` that have not ended, in order, page by page."""
        at = lo
        while at < hi:
            page = self._page(lane_id, at, hi)
            yield from page
            if len(page) < _PAGE:
                return
            at = page[-1].seq + 1

    def pick(self, lane_id: int, seqs: Sequence[int]) -> list[JobRow]:
        """Return single jobs of a lane, in order."""
        rows: list[JobRow] = []
        with self._database.read() as connection:
            for at in range(0, len(seqs), _KEYS):
                query = select(jobs).where(
                    jobs.c.shelf == _SHELF,
                    jobs.c.lane_id == lane_id,
                    jobs.c.seq.in_(seqs[at : at + _KEYS]),
                )
                rows += [made(JobRow, row) for row in connection.execute(query).mappings()]
        return sorted(rows, key=lambda row: row.seq)

    def by_key(self, run_id: int, key: str) -> JobRow | None:
        """Return the current revision of one job."""
        query = (
            select(jobs)
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id, jobs.c.key == key)
            .where(jobs.c.superseded.is_(False))
            .order_by(jobs.c.revision)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else made(JobRow, row)

    def drafts(self, run_id: int) -> Iterator[tuple[int, int, int, str, bytes]]:
        """Stream (lane_id, seq, no, key, digest) of what was added and not released, in order."""
        query = (
            select(jobs.c.lane_id, jobs.c.seq, jobs.c.no, jobs.c.key, jobs.c.digest)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.seq >= lanes.c.released)
            .order_by(jobs.c.no)
        )
        yield from self._stream(query)

    def unsent(self, run_id: int) -> Iterator[tuple[int, int, int]]:
        """Stream (lane_id, seq, no) of released jobs that wait for a batch."""
        query = (
            select(jobs.c.lane_id, jobs.c.seq, jobs.c.no)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), is_unsent())
        )
        yield from self._stream(query)

    def changed(self, run_id: int) -> list[Any]:
        """Return pairs of a job and its draft of the next revision.

        Rows hold ``key, lane_id, seq, unsent, code, new_lane_id, new_seq, new_no``; ``code`` is why
        the job failed, if it did.
        """
        new = jobs.alias("new")
        new_lane = lanes.alias("new_lane")
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
            .select_from(jobs)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .join(
                new,
                and_(
                    new.c.shelf == _SHELF,
                    new.c.run_id == jobs.c.run_id,
                    new.c.key == jobs.c.key,
                    new.c.revision == jobs.c.revision + 1,
                ),
            )
            .join(new_lane, new_lane.c.id == new.c.lane_id)
            .outerjoin(attempts, _final_of(jobs))
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(new.c.seq >= new_lane.c.released)
            .where(jobs.c.seq < lanes.c.released, jobs.c.superseded.is_(False))
            .order_by(new.c.no)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))

    def waiting(self, lane: LaneRow) -> Any:
        """Return (jobs, tokens, bound, unpriced, cheapest) over what waits in a lane's range.

        ``bound`` sums nano-dollars; ``unpriced`` counts jobs without a bound.
        """
        query = select(
            func.count(),
            func.coalesce(func.sum(jobs.c.tokens), 0),
            func.coalesce(func.sum(jobs.c.bound), 0),
            func.count() - func.count(jobs.c.bound),
            func.min(jobs.c.bound),
        ).where(
            jobs.c.shelf == _SHELF,
            jobs.c.lane_id == lane.id,
            jobs.c.seq >= lane.cursor,
            jobs.c.seq < lane.released,
            ~local.has_final(),
        )
        with self._database.read() as connection:
            return connection.execute(query).one()

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
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id, is_unsent_or_draft())
            .group_by(lanes.c.provider, lanes.c.model, lanes.c.id, jobs.c.template_id)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))

    def answered_elsewhere(self, run_id: int, project: str) -> list[Any]:
        """Return answers and jobs in flight of a project's nameless runs with this draft's content.

        Rows hold ``digest, other_run, lane_id, seq, key, state, ran`` (state None: not ended). Of
        runs that were never opened only answers count: somebody tried them out.
        """
        other = jobs.alias("other")
        mine = select(jobs.c.digest).where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
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
            .outerjoin(attempts, _final_of(other))
            .where(runs.c.project == project, runs.c.nameless, runs.c.id != run_id)
            .where(other.c.shelf == _SHELF, other.c.digest.in_(mine))
            .where(other.c.superseded.is_(False), lanes.c.provider != local.NO_PROVIDER)
            .where(or_(runs.c.opened_at.is_not(None), attempts.c.state == "completed"))
            .where(or_(attempts.c.reused_from.is_(None), attempts.c.state.is_(None)))
            .where(or_(other.c.seq < lanes.c.released, attempts.c.state.is_not(None)))
            .order_by(other.c.run_id, other.c.no)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))

    def draft_digests(self, run_id: int) -> Iterator[tuple[bytes, int, int]]:
        """Stream (digest, lane_id, seq) of the draft that has no answer yet."""
        query = (
            select(jobs.c.digest, jobs.c.lane_id, jobs.c.seq)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.seq >= lanes.c.released, ~local.has_final())
            .order_by(jobs.c.no)
        )
        yield from self._stream(query)

    def taken_over(self, run_id: int) -> int:
        """Count the jobs of the draft that have another run's answer."""
        query = (
            select(func.count())
            .select_from(jobs)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .join(attempts, _final_of(jobs))
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.seq >= lanes.c.released, attempts.c.reused_from.is_not(None))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def reuse(
        self,
        run_id: int,
        pairs: Sequence[tuple[tuple[int, int], tuple[int, int], str]],
        now: datetime,
    ) -> None:
        """Take answers over at cost 0: pairs of (mine, theirs), each (lane_id, seq), and a name.

        What has an answer by now is left alone, and so is what theirs has lost since.
        """
        with self._database.write() as connection:
            by_lane: dict[int, list[Settled]] = {}
            for at in range(0, len(pairs), _KEYS):
                page = pairs[at : at + _KEYS]
                finals = _finals(connection, [theirs for _, theirs, _ in page])
                over = _finals(connection, [mine for mine, _, _ in page])
                for mine, theirs, name in page:
                    if theirs in finals and mine not in over:
                        settled = _copied(finals[theirs], mine[1], name)
                        by_lane.setdefault(mine[0], []).append(settled)
            for lane_id, rows in by_lane.items():
                local.book(connection, run_id, lane_id, rows, now)

    def keep_test(self, run_id: int, lane_id: int, settled: Settled, now: datetime) -> None:
        """Book an answer from the real-time API; the run takes it when it opens."""
        with self._database.write(durable=True) as connection:
            local.book(connection, run_id, lane_id, [settled], now)

    def untested(self, run_id: int, limit: int) -> list[JobRow]:
        """Return the first jobs in order of adding that have no final answer yet."""
        query = (
            select(jobs)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(is_unsent_or_draft(), lanes.c.provider != "")
            .order_by(jobs.c.no)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [made(JobRow, row) for row in connection.execute(query).mappings()]

    def sample(
        self, lane_id: int, template_id: int, limit: int, *, cheapest: bool = False
    ) -> list[JobRow]:
        """Return some unsent jobs of a lane and template: the first, or the ``cheapest`` ones."""
        query = (
            select(jobs)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == _SHELF, jobs.c.lane_id == lane_id)
            .where(jobs.c.template_id == template_id, is_unsent_or_draft())
            .order_by(jobs.c.bound if cheapest else jobs.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [made(JobRow, row) for row in connection.execute(query).mappings()]

    def untried(self, run_id: int) -> Iterator[JobRow]:
        """Stream what was not sent, or was only tried out, in order of adding."""
        tried = exists().where(
            _final_of(jobs),
            attempts.c.batch_id == batches.c.id,
            batches.c.kind == "local",
            attempts.c.ran,
        )
        query = (
            select(jobs)
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), lanes.c.provider != local.NO_PROVIDER)
            .where(or_(jobs.c.seq >= lanes.c.released, is_unsent(), tried))
            .order_by(jobs.c.no)
        )
        yield from self._stream_jobs(query)

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
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), jobs.c.seq < lanes.c.released)
            .order_by(jobs.c.no)
        )
        yield from self._stream(query)

    def current(self, run_id: int) -> Iterator[JobRow]:
        """Stream each key's newest revision, drafts included, in order of adding."""
        newer = jobs.alias("newer")
        later = exists().where(
            newer.c.shelf == _SHELF,
            newer.c.run_id == run_id,
            newer.c.key == jobs.c.key,
            newer.c.revision > jobs.c.revision,
        )
        query = (
            select(jobs)
            .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id)
            .where(jobs.c.superseded.is_(False), ~later)
            .order_by(jobs.c.no)
        )
        yield from self._stream_jobs(query)

    def _page(self, lane_id: int, lo: int, hi: int) -> list[JobRow]:
        query = (
            select(jobs)
            .where(jobs.c.shelf == _SHELF, jobs.c.lane_id == lane_id)
            .where(jobs.c.seq >= lo, jobs.c.seq < hi)
            .where(jobs.c.superseded.is_(False), ~local.has_final())
            .order_by(jobs.c.seq)
            .limit(_PAGE)
        )
        with self._database.read() as connection:
            return [made(JobRow, row) for row in connection.execute(query).mappings()]

    def _stream(self, query: Any) -> Iterator[Any]:
        """Stream rows; a reader who stops half-way leaves no cursor open behind him."""
        with self._database.read() as connection:
            options = connection.execution_options(yield_per=_PAGE)
            with closing(options.execute(query)) as rows:
                yield from rows

    def _stream_jobs(self, query: Any) -> Iterator[JobRow]:
        with self._database.read() as connection:
            options = connection.execution_options(yield_per=_PAGE)
            with closing(options.execute(query)) as rows:
                yield from (made(JobRow, row) for row in rows.mappings())

    def _keep_templates(self, connection: Connection, run_id: int, new: Sequence[NewJob]) -> None:
        for digest, data in {job.template_digest: job.template for job in new}.items():
            self._template(connection, run_id, digest, data)

    def _template(self, connection: Connection, run_id: int, digest: bytes, data: Json) -> int:
        cached = self._templates.get((run_id, digest))
        if cached is not None:
            return cached
        where = (templates.c.run_id == run_id, templates.c.digest == digest)
        values = {"run_id": run_id, "digest": digest, "data": data}
        connection.execute(insert_new(connection, templates, values))
        found = int(connection.execute(select(templates.c.id).where(*where)).scalar_one())
        if len(self._templates) > 10_000:
            self._templates.clear()
        self._templates[run_id, digest] = found
        return found

    def _placed(
        self, connection: Connection, run_id: int, new: Sequence[NewJob], first: int
    ) -> Iterator[dict[str, Any]]:
        places = _places(connection, run_id, new)
        for offset, job in enumerate(new):
            lane_id, seq = places[offset]
            yield {
                "shelf": 0,
                "lane_id": lane_id,
                "seq": seq,
                "run_id": run_id,
                "no": first + offset,
                "key": job.key,
                "revision": job.revision,
                "digest": job.digest,
                "template_id": self._templates[run_id, job.template_digest],
                "own": job.own,
                "documents": job.documents,
                "metadata": job.metadata,
                "bytes": job.bytes,
                "tokens": job.tokens,
                "bound": job.bound,
            }


def is_unsent() -> Any:
    """Say in SQL that a released job of ``jobs`` (joined with ``lanes``) waits for a batch."""
    in_range = and_(jobs.c.seq >= lanes.c.cursor, jobs.c.seq < lanes.c.released)
    free = exists().where(
        members.c.shelf == jobs.c.shelf,
        members.c.lane_id == jobs.c.lane_id,
        members.c.seq == jobs.c.seq,
        members.c.batch_id.is_(None),
    )
    return and_(~local.has_final(), or_(in_range, free))


def is_unsent_or_draft() -> Any:
    """Say in SQL that a job of ``jobs`` (joined with ``lanes``) was not sent, released or not."""
    return and_(
        ~local.has_final(),
        jobs.c.superseded.is_(False),
        or_(jobs.c.seq >= lanes.c.released, is_unsent()),
    )


def _final_of(table: Any) -> Any:
    return and_(
        attempts.c.shelf == table.c.shelf,
        attempts.c.lane_id == table.c.lane_id,
        attempts.c.seq == table.c.seq,
        attempts.c.final,
    )


def _known(connection: Connection, run_id: int, keys: Sequence[str]) -> Iterator[Known]:
    query = (
        select(
            jobs.c.key,
            jobs.c.no,
            jobs.c.lane_id,
            jobs.c.seq,
            jobs.c.revision,
            jobs.c.digest,
            (jobs.c.seq < lanes.c.released).label("released"),
            jobs.c.documents,
            jobs.c.metadata,
            templates.c.digest.label("template_digest"),
            jobs.c.superseded,
        )
        .join(lanes, lanes.c.id == jobs.c.lane_id)
        .join(templates, templates.c.id == jobs.c.template_id)
        .where(jobs.c.shelf == _SHELF, jobs.c.run_id == run_id, jobs.c.key.in_(keys))
        .order_by(jobs.c.revision)
    )
    return (Known(*row) for row in connection.execute(query))  # the order of its fields


def _numbers(connection: Connection, run_id: int, count: int) -> int:
    after = connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(next_no=runs.c.next_no + count)
        .returning(runs.c.next_no)
    ).scalar_one()
    return int(after) - count


def _places(connection: Connection, run_id: int, new: Sequence[NewJob]) -> list[tuple[int, int]]:
    """Draw a lane and a place in it for each job, one UPDATE a lane."""
    wanted: dict[tuple[str, str, str], int] = {}
    for job in new:
        lane = (job.provider, job.model, job.endpoint)
        wanted[lane] = wanted.get(lane, 0) + 1
    free = {lane: _grow(connection, run_id, lane, count) for lane, count in wanted.items()}
    places: list[tuple[int, int]] = []
    for job in new:
        lane_id, seq = free[job.provider, job.model, job.endpoint]
        places.append((lane_id, seq))
        free[job.provider, job.model, job.endpoint] = (lane_id, seq + 1)
    return places


def _grow(
    connection: Connection, run_id: int, lane: tuple[str, str, str], count: int
) -> tuple[int, int]:
    values = dict(zip(("run_id", "provider", "model", "endpoint"), (run_id, *lane), strict=True))
    connection.execute(insert_new(connection, lanes, values))
    row = connection.execute(
        update(lanes)
        .where(*(lanes.c[name] == value for name, value in values.items()))
        .values(size=lanes.c.size + count)
        .returning(lanes.c.id, lanes.c.size)
    ).one()
    return int(row.id), int(row.size) - count


def _finals(
    connection: Connection, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], dict[str, Any]]:
    by_lane: dict[int, list[int]] = {}
    for lane_id, seq in places:
        by_lane.setdefault(lane_id, []).append(seq)
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for lane_id, seqs in by_lane.items():
        query = select(attempts).where(
            attempts.c.shelf == _SHELF,
            attempts.c.lane_id == lane_id,
            attempts.c.seq.in_(seqs),
            attempts.c.final,
        )
        for row in connection.execute(query).mappings():
            found[lane_id, row["seq"]] = dict(row)
    return found


def _copied(row: dict[str, Any], seq: int, name: str) -> Settled:
    names = (f for f in Settled.__slots__ if f in row)
    values = {field: row[field] for field in names}
    values |= {"seq": seq, "attempt_no": 0, "cost": 0, "cost_kind": "free", "ran": False}
    return Settled(**{**values, "reused_from": name, "changes": None})
