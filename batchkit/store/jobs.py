"""Jobs: appended to lanes behind the watermark, compared with what a run already holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count, repeat
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Text,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from batchkit.making import maker
from batchkit.model import Json
from batchkit.store import bulk, local
from batchkit.store.database import Database, insert_new
from batchkit.store.outlines import PAGE, Layout, laid_out
from batchkit.store.raws import carry
from batchkit.store.rows import JobRow, Known, LaneRow, NewJob, Settled, made
from batchkit.store.sheets import ROW, Sheet
from batchkit.store.tables import SHELF, attempts, jobs, lanes, members, runs, templates

_KEYS = 500
_MANY = 1_000
_made = maker(Known)


class Taken(Exception):
    """Somebody else added one of these keys, or opened the draft, since they were looked up.

    Look again.
    """


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

    def following(self, lane: LaneRow, after: int, limit: int) -> list[Known]:
        """Return what a lane holds from a place on, in order: released, and not replaced.

        A third of the price of as many look-ups by key.
        """
        query = (
            select(*_KNOWN, literal(True), *_KNOWN_TOO)
            .join(templates, templates.c.id == jobs.c.template_id)
            .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane.id)
            .where(jobs.c.seq >= after, jobs.c.seq < lane.released)
            .where(jobs.c.superseded.is_(False))
            .order_by(jobs.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_read(row) for row in bulk.fetched(connection, query)]

    def append(
        self,
        run_id: int,
        new: Sequence[NewJob] | Sheet,
        replacing: Sequence[tuple[int, int]] = (),
        begun: Callable[[], object] = bool,
    ) -> range:
        """Add jobs behind the watermark; return their run-wide numbers, in order.

        ``replacing`` are rows (lane_id, seq) of the draft that go in the same transaction;
        ``begun`` is called where only rows are left to write. Raises Taken, and changes nothing,
        if a key is there already, or one of those is no draft now.
        """
        if not new:
            return range(0)
        try:
            with self._database.write(roomy=len(new) >= _MANY) as connection:
                first = _numbers(connection, run_id, len(new))  # locks the run before its jobs
                _still_drafts(connection, replacing)
                local.remove(connection, replacing)
                if isinstance(new, Sheet):
                    self._append_sheet(connection, run_id, new, first, begun)
                else:
                    self._keep_templates(connection, run_id, new)
                    rows = self._placed(connection, run_id, new, first)
                    begun()
                    bulk.insert_rows(connection, jobs, _COLUMNS, rows, _ALIKE)
        except IntegrityError as error:
            self._templates.clear()
            raise Taken from error
        return range(first, first + len(new))

    def remove(self, run_id: int, places: Sequence[tuple[int, int]]) -> None:
        """Take jobs (lane_id, seq) out of the draft again; who was released meanwhile stays."""
        if not places:
            return
        with self._database.write() as connection:
            _numbers(connection, run_id, 0)  # locks the run before its jobs
            local.remove(connection, local.drafts(connection, places))

    def refresh(self, run_id: int, found: Sequence[tuple[Known, NewJob]]) -> None:
        """Take over what is no content: where files lie, metadata, price, brakes, model class.

        Raises Taken, and changes nothing, if a draft among them was released meanwhile.
        """
        if not found:
            return
        with self._database.write() as connection:
            _numbers(connection, run_id, 0)  # locks the run before its jobs
            here = [(one.lane_id, one.seq) for one, _ in found if not one.released]
            _still_drafts(connection, here)
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
                jobs.c.shelf == SHELF,
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
            if len(page) < PAGE:
                return
            at = page[-1].seq + 1

    def layout(self, lane_id: int, lo: int, hi: int) -> Layout:
        """Return which template each job of ``[lo, hi)`` has."""
        with self._database.read() as connection:
            return laid_out(connection, lane_id, lo, hi)

    def pick(self, lane_id: int, seqs: Sequence[int]) -> list[JobRow]:
        """Return single jobs of a lane, in order."""
        rows: list[JobRow] = []
        with self._database.read() as connection:
            for at in range(0, len(seqs), _KEYS):
                query = select(jobs).where(
                    jobs.c.shelf == SHELF,
                    jobs.c.lane_id == lane_id,
                    jobs.c.seq.in_(seqs[at : at + _KEYS]),
                )
                rows += [made(JobRow, row) for row in connection.execute(query).mappings()]
        return sorted(rows, key=lambda row: row.seq)

    def by_key(self, run_id: int, key: str) -> JobRow | None:
        """Return the current revision of one job."""
        query = (
            select(jobs)
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id, jobs.c.key == key)
            .where(jobs.c.superseded.is_(False))
            .order_by(jobs.c.revision)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else made(JobRow, row)

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
            jobs.c.shelf == SHELF,
            jobs.c.lane_id == lane.id,
            jobs.c.seq >= lane.cursor,
            jobs.c.seq < lane.released,
            ~local.has_final(),
        )
        with self._database.read() as connection:
            return connection.execute(query).one()

    def reuse(
        self,
        run_id: int,
        pairs: Sequence[tuple[tuple[int, int], tuple[int, int], str]],
        now: datetime,
    ) -> None:
        """Take answers over at cost 0: pairs of (mine, theirs), each (lane_id, seq), and a name.

        What has an answer by now is left alone, and so is what theirs has lost since; and who was
        released meanwhile, since another may lie in its place.
        """
        with self._database.write() as connection:
            _numbers(connection, run_id, 0)  # locks the run before its jobs
            mine_now = set(local.drafts(connection, [mine for mine, _, _ in pairs]))
            by_lane: dict[int, list[Settled]] = {}
            taken: list[tuple[tuple[int, int], tuple[int, int]]] = []
            for at in range(0, len(pairs), _KEYS):
                page = pairs[at : at + _KEYS]
                finals = _finals(connection, [theirs for _, theirs, _ in page])
                over = _finals(connection, [mine for mine, _, _ in page])
                for mine, theirs, name in page:
                    if theirs in finals and mine not in over and mine in mine_now:
                        settled = _copied(finals[theirs], mine[1], name)
                        by_lane.setdefault(mine[0], []).append(settled)
                        taken.append((mine, theirs))
            for lane_id, rows in by_lane.items():
                local.book(connection, run_id, lane_id, rows, now)
            for at in range(0, len(taken), _KEYS):
                carry(connection, run_id, taken[at : at + _KEYS])

    def keep_test(
        self, run_id: int, lane_id: int, settled: Settled, now: datetime, *, no: int | None = None
    ) -> None:
        """Book an answer from the real-time API; the run takes it when it opens.

        ``no`` is the job's number: its place may be another's by now.
        """
        with self._database.write(durable=True) as connection:
            _numbers(connection, run_id, 0)  # locks the run before its jobs
            if no is not None:
                seq = local.place_of(connection, lane_id, settled.seq, no)
                settled = replace(settled, seq=seq)
            local.book(connection, run_id, lane_id, [settled], now)

    def _page(self, lane_id: int, lo: int, hi: int) -> list[JobRow]:
        query = (
            select(jobs)
            .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id)
            .where(jobs.c.seq >= lo, jobs.c.seq < hi)
            .where(jobs.c.superseded.is_(False), ~local.has_final())
            .order_by(jobs.c.seq)
            .limit(PAGE)
        )
        with self._database.read() as connection:
            return [made(JobRow, row) for row in connection.execute(query).mappings()]

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

    def _append_sheet(
        self,
        connection: Connection,
        run_id: int,
        sheet: Sheet,
        first: int,
        begun: Callable[[], object],
    ) -> None:
        pattern = sheet.pattern
        lane = (pattern.provider, pattern.model, pattern.endpoint)
        digest = pattern.template_digest
        shared = {
            "shelf": SHELF,
            "run_id": run_id,
            "revision": pattern.revision,
            "template_id": self._template(connection, run_id, digest, pattern.template),
        }
        shared["lane_id"], seq = _grow(connection, run_id, lane, len(sheet))
        rows = [(seq + at, first + at, *row) for at, row in enumerate(sheet.rows)]
        begun()
        bulk.insert_rows(connection, jobs, ("seq", "no", *ROW), rows, shared=shared)

    def _placed(
        self, connection: Connection, run_id: int, new: Sequence[NewJob], first: int
    ) -> list[tuple[Any, ...]]:
        """Return the rows of jobs, in the order of ``_COLUMNS``."""
        places = _places(connection, run_id, new)
        known = self._templates
        return [
            (
                SHELF,
                *place,
                run_id,
                no,
                job.key,
                job.revision,
                job.digest,
                known[run_id, job.template_digest],
                job.written or bulk.json_text(job.own),
                None if job.documents is None else bulk.json_text(job.documents),
                None if job.metadata is None else bulk.json_text(job.metadata),
                job.bytes,
                job.tokens,
                job.bound,
            )
            for no, (place, job) in enumerate(zip(places, new, strict=True), first)
        ]


_COLUMNS = (
    *("shelf", "lane_id", "seq", "run_id", "no", "key", "revision", "digest", "template_id"),
    *("own", "documents", "metadata", "bytes", "tokens", "bound"),
)
_ALIKE = ("shelf", "lane_id", "run_id", "revision", "template_id", "documents", "metadata")


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


def final_of(table: Any) -> Any:
    """Say which attempt is the final one of a job in ``table``."""
    return and_(
        attempts.c.shelf == table.c.shelf,
        attempts.c.lane_id == table.c.lane_id,
        attempts.c.seq == table.c.seq,
        attempts.c.final,
    )


_KNOWN = tuple(jobs.c[name] for name in ("key", "no", "lane_id", "seq", "revision", "digest"))
_KNOWN_TOO = (
    type_coerce(jobs.c.documents, Text),
    type_coerce(jobs.c.metadata, Text),
    templates.c.digest,
    jobs.c.superseded,
)
"""Around whether it was released: the order of ``Known``."""


def _known(connection: Connection, run_id: int, keys: Sequence[str]) -> Iterator[Known]:
    query = (
        select(*_KNOWN, jobs.c.seq < lanes.c.released, *_KNOWN_TOO)
        .join(lanes, lanes.c.id == jobs.c.lane_id)
        .join(templates, templates.c.id == jobs.c.template_id)
        .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id, jobs.c.key.in_(keys))
        .order_by(jobs.c.revision)
    )
    return map(_read, bulk.fetched(connection, query))


def _read(row: tuple[Any, ...]) -> Known:
    """Return a row of ``_known`` or ``following`` as a value: the order of its fields."""
    key, no, lane_id, seq, revision, digest, released, documents, metadata, template, old = row
    return _made(
        key,
        no,
        lane_id,
        seq,
        revision,
        bytes(digest),
        bool(released),
        None if documents is None else orjson.loads(documents),
        None if metadata is None else orjson.loads(metadata),
        bytes(template),
        bool(old),
    )


def _numbers(connection: Connection, run_id: int, count: int) -> int:
    after = connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(next_no=runs.c.next_no + count)
        .returning(runs.c.next_no)
    ).scalar_one()
    return int(after) - count


def _still_drafts(connection: Connection, places: Sequence[tuple[int, int]]) -> None:
    if len(local.drafts(connection, places)) < len(places):
        raise Taken


def _places(connection: Connection, run_id: int, new: Sequence[NewJob]) -> list[tuple[int, int]]:
    """Draw a lane and a place in it for each job, one UPDATE a lane."""
    lanes_of = [(job.provider, job.model, job.endpoint) for job in new]
    free = {
        lane: _seats(*_grow(connection, run_id, lane, number))
        for lane, number in Counter(lanes_of).items()
    }
    return [next(free[lane]) for lane in lanes_of]


def _seats(lane_id: int, first: int) -> Iterator[tuple[int, int]]:
    return zip(repeat(lane_id), count(first))


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
            attempts.c.shelf == SHELF,
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
