"""Jobs as they lie in their rows: read by the thousand, understood only where it is needed."""

from __future__ import annotations

from typing import NamedTuple

import orjson
from sqlalchemy import Connection, LargeBinary, Text, select, type_coerce

from batchkit.store import local
from batchkit.store.rows import JobRow
from batchkit.store.tables import attempts, jobs

PAGE = 2_000
_SHELF = 0
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
        return JobRow(**values)


_PLAIN = {"digest": LargeBinary, **dict.fromkeys(_JSON, Text)}
_COLUMNS = [
    type_coerce(jobs.c[name], _PLAIN[name]).label(name) if name in _PLAIN else jobs.c[name]
    for name in Outline._fields
]


def outlined(connection: Connection, lane_id: int, lo: int, hi: int) -> list[Outline]:
    """Return the first of a lane's jobs of ``[lo, hi)`` that have not ended, in order."""
    ended = (
        select(attempts.c.seq)
        .where(attempts.c.shelf == _SHELF, attempts.c.lane_id == lane_id, attempts.c.final)
        .where(attempts.c.seq >= lo, attempts.c.seq < hi)
        .limit(1)
    )
    query = (
        select(*_COLUMNS)
        .where(jobs.c.shelf == _SHELF, jobs.c.lane_id == lane_id)
        .where(jobs.c.seq >= lo, jobs.c.seq < hi, jobs.c.superseded.is_(False))
        .order_by(jobs.c.seq)
        .limit(PAGE)
    )
    if connection.execute(ended).first() is not None:  # it costs a look-up for each job
        query = query.where(~local.has_final())
    return [Outline._make(row) for row in connection.execute(query)]
