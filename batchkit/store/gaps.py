"""The jobs of a batch that have no outcome in it: what is left once every line was read.

By numbers first, in three plain queries by index, and the rows of what is left after that. As one
anti-join a database without statistics may choose to look through the whole batch for each job.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, select

from batchkit.store import bulk
from batchkit.store.database import Database
from batchkit.store.rows import BatchRow, JobRow, made
from batchkit.store.tables import attempts, jobs, members

_NUMBERS = 10_000
_ROWS = 500


def unsettled(database: Database, batch: BatchRow) -> Iterator[JobRow]:
    """Stream the jobs of a batch that have no outcome in it yet, in order."""
    after: int | None = -1
    while after is not None:
        with database.read() as connection:
            seqs, after = _page(connection, batch, after)
        for at in range(0, len(seqs), _ROWS):
            some = seqs[at : at + _ROWS]
            query = _jobs(batch, jobs).where(jobs.c.seq.in_(some))
            query = query.where(jobs.c.seq.between(some[0], some[-1])).order_by(jobs.c.seq)
            with database.read() as connection:
                found = connection.execute(query).mappings().all()
            yield from (made(JobRow, row) for row in found)


def _page(connection: Connection, batch: BatchRow, after: int) -> tuple[list[int], int | None]:
    """Return those without an outcome of the next places, and the last one looked at, if more."""
    there = _numbers(connection, _of(batch, after).limit(_NUMBERS))
    if not there:
        return [], None
    span = there[0], there[-1]
    settled = select(attempts.c.seq).where(
        attempts.c.shelf == batch.shelf,
        attempts.c.batch_id == batch.id,
        attempts.c.seq.between(*span),
    )
    over = set(_numbers(connection, settled))
    if batch.kind == "range":
        over.update(*(_numbers(connection, query) for query in _elsewhere(batch, span)))
    left = [seq for seq in there if seq not in over]
    return left, span[1] if len(there) == _NUMBERS else None


def _of(batch: BatchRow, after: int) -> Select[Any]:
    """Select the places of a batch behind one, in order."""
    if batch.kind == "range":
        query = _jobs(batch, jobs.c.seq).where(jobs.c.seq >= batch.lo, jobs.c.seq < batch.hi)
        return query.where(jobs.c.seq > after).order_by(jobs.c.seq)
    mine = select(members.c.seq).where(members.c.batch_id == batch.id, members.c.seq > after)
    return mine.order_by(members.c.seq)


def _elsewhere(batch: BatchRow, span: tuple[int, int]) -> Iterator[Select[Any]]:
    """Select who lies in a range and was never in its batch.

    What had ended before the seal was not put into it; and while a range lives, who is queued one
    by one was not in it: away, or revived since.
    """
    for table, more in ((attempts, _had_ended(batch)), (members, ())):
        here = (table.c.shelf == batch.shelf, table.c.lane_id == batch.lane_id)
        yield select(table.c.seq).where(*here, table.c.seq.between(*span), *more)


def _had_ended(batch: BatchRow) -> tuple[ColumnElement[bool], ...]:
    return attempts.c.final, attempts.c.batch_id < batch.id


def _jobs(batch: BatchRow, what: Table | ColumnElement[Any]) -> Select[Any]:
    return select(what).where(jobs.c.shelf == batch.shelf, jobs.c.lane_id == batch.lane_id)


def _numbers(connection: Connection, query: Select[Any]) -> list[int]:
    return list(chain.from_iterable(bulk.fetched(connection, query)))
