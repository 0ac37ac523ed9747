"""Jobs as they lie in their rows: read by the thousand, understood only where it is needed."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, LargeBinary, Text, func, select, type_coerce

from batchkit.store import bulk, local
from batchkit.store.rows import JobRow
from batchkit.store.tables import SHELF, attempts, jobs, lanes, templates

PAGE = 2_000
_JSON = ("own", "documents", "metadata")


class Outline(NamedTuple):
    """A job's row, its JSON unread; ``row`` reads it."""

    shelf: int
    lane_id: int
    seq: int
    run_id: int
    no: int
    key: str
    revision: int
    superseded: bool
    digest: bytes
    template_id: int
    own: str
    documents: str | None
    metadata: str | None
    bytes: int
    tokens: int
    bound: int | None

    @property
    def row(self) -> JobRow:
        """The job as a value."""
        values = self._asdict()
        for name in _JSON:
            values[name] = None if values[name] is None else orjson.loads(values[name])
        values["superseded"] = bool(self.superseded)
        return JobRow(**values)


_PLAIN = {"digest": LargeBinary, **dict.fromkeys(_JSON, Text)}
_COLUMNS = [
    type_coerce(jobs.c[name], _PLAIN[name]).label(name) if name in _PLAIN else jobs.c[name]
    for name in Outline._fields
]


class Layout:
    """Which template each job of a range has, by its place; ``one`` if all have the same."""

    __slots__ = ("_hi", "_ids", "_lo", "one")

    def __init__(self, lo: int, hi: int, one: int | None, ids: array[int] | None = None) -> None:
        self._lo = lo
        self._hi = hi
        self._ids = ids
        self.one = one

    def template_of(self, seq: int) -> int | None:
        """Return the id of a job's template; None if there is no such job in the range."""
        if not self._lo <= seq < self._hi:
            return None
        if self._ids is None:
            return self.one
        return self._ids[seq - self._lo] or None


def laid_out(connection: Connection, lane_id: int, lo: int, hi: int) -> Layout:
    """Return the templates of a lane's jobs of ``[lo, hi)``, whatever became of them."""
    mine = (jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.seq >= lo, jobs.c.seq < hi)
    run_id = select(lanes.c.run_id).where(lanes.c.id == lane_id).scalar_subquery()
    known = connection.execute(select(templates.c.id).where(templates.c.run_id == run_id).limit(2))
    ends = known.scalars().all()
    if len(ends) > 1:  # which of them are here is read out of each job's row
        least, most = func.min(jobs.c.template_id), func.max(jobs.c.template_id)
        ends = connection.execute(select(least, most).where(*mine)).one()
    count = connection.execute(select(func.count()).where(*mine)).scalar_one()
    if ends and ends[0] == ends[-1] and count == hi - lo:
        return Layout(lo, hi, ends[0])
    ids = array("q", bytes(8 * (hi - lo)))
    query = select(jobs.c.seq, jobs.c.template_id).where(*mine).order_by(jobs.c.seq)
    for seq, template_id in connection.execution_options(yield_per=PAGE).execute(query):
        ids[seq - lo] = template_id
    return Layout(lo, hi, None, ids)


def ended(connection: Connection, lane_id: int, lo: int, hi: int) -> bool:
    """Say whether any of a lane's jobs of ``[lo, hi)`` has ended."""
    query = (
        select(attempts.c.seq)
        .where(attempts.c.shelf == SHELF, attempts.c.lane_id == lane_id, attempts.c.final)
        .where(attempts.c.seq >= lo, attempts.c.seq < hi)
        .limit(1)
    )
    return connection.execute(query).first() is not None


def outlined(connection: Connection, lane_id: int, lo: int, hi: int) -> list[Outline]:
    """Return the first of a lane's jobs of ``[lo, hi)`` that have not ended, in order."""
    query = (
        select(*_COLUMNS)
        .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id)
        .where(jobs.c.seq >= lo, jobs.c.seq < hi, jobs.c.superseded.is_(False))
        .order_by(jobs.c.seq)
        .limit(PAGE)
    )
    if ended(connection, lane_id, lo, hi):  # it costs a look-up for each job
        query = query.where(~local.has_final())
    return [Outline._make(row) for row in bulk.fetched(connection, query)]
