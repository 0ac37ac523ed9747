"""Jobs on their way out, page by page: as rows, or as lines where they are prompts of one template.

Lines are written by the database, one value a page: what is a prompt and nothing else is stored as
the JSON that its line needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import TextClause, select, text

from batchkit.packing import Sums
from batchkit.store.database import Database
from batchkit.store.outlines import PAGE, Outline, ended, outlined
from batchkit.store.tables import SCHEMA, SHELF, jobs

_LONG = 4_096
"""Bytes of an own part above which a row is better read by itself."""

_MOST_BYTES = 32_000_000
"""Of what the lines of one block repeat."""


class Form(NamedTuple):
    """How a line is made: ``head``, seq, ``middle``, what follows ``own`` in the job's own part up
    to its last brace, ``tail``."""

    own: str
    head: str
    middle: str
    tail: str


class Block(NamedTuple):
    """Lines, with line ends between them, and the place behind their last job."""

    lines: bytes
    end: int
    sums: Sums


_BLOCK = """
SELECT count(*) AS jobs, max(seq) AS last, max({size}) AS longest, sum(tokens) AS tokens,
  sum(bound) AS bound, count(bound) AS priced,
  sum(CASE WHEN template_id = :template_id AND documents IS NULL AND {size} <= :long
      AND substr(own, 1, :begins + 1) = :own || '"' AND own LIKE '%"}}' AND own NOT LIKE '%","%'
    THEN 1 ELSE 0 END) AS plain,
  {gathered} AS lines
FROM (
  SELECT seq, own, template_id, documents, tokens, bound FROM {jobs}
  WHERE shelf = 0 AND lane_id = :lane_id AND seq >= :lo AND seq < :hi AND NOT superseded
  ORDER BY seq
) AS page
"""
"""Sums over a page. Where ``","`` stands in an own part, a name may follow the prompt."""

_LINE = """
CASE WHEN {size} <= :long THEN :head || CAST(seq AS TEXT) || :middle
  || substr({raw}, :begins + 1, length({raw}) - :begins - 1) || :tail END
"""


def _sql(name: str, size: str, raw: str, gathered: str) -> TextClause:
    line = _LINE.format(size=size, raw=raw)
    return text(_BLOCK.format(jobs=name, size=size, gathered=gathered.format(line)))


_OF_SQLITE = _sql(
    jobs.name,
    # Text is walked through letter by letter where a piece of it is asked for; bytes are not.
    size="length(CAST(own AS BLOB))",
    raw="CAST(own AS BLOB)",
    gathered="CAST(group_concat({}, char(10)) AS BLOB)",
)
_OF_POSTGRES = _sql(
    f"{SCHEMA}.{jobs.name}",
    size="octet_length(own)",
    raw="own",
    gathered="string_agg({}, chr(10))",
)


class Pages:
    """The jobs of a lane's ranges that have not ended, in order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def outlines(self, lane_id: int, lo: int, hi: int) -> Iterator[list[Outline]]:
        """Stream the jobs of ``[lo, hi)`` in pages, unread: JSON stays text."""
        at = lo
        while at < hi:
            with self._database.read() as connection:
                page = outlined(connection, lane_id, at, hi)
            if page:
                yield page
            if len(page) < PAGE:
                return
            at = page[-1].seq + 1

    def template_at(self, lane_id: int, lo: int, hi: int) -> int | None:
        """Return the template of the first job of ``[lo, hi)``, whatever became of it."""
        query = select(jobs.c.template_id).where(
            jobs.c.shelf == SHELF,
            jobs.c.lane_id == lane_id,
            jobs.c.seq >= lo,
            jobs.c.seq < hi,
        )
        with self._database.read() as connection:
            found = connection.execute(query.order_by(jobs.c.seq).limit(1)).scalar()
        return None if found is None else int(found)

    def block(self, lane_id: int, lo: int, hi: int, template_id: int, form: Form) -> Block | None:
        """Return the jobs of ``[lo, hi)`` as lines; None unless each is a short prompt of this
        template, and waits."""
        shared = len("".join(form[1:]).encode()) + len(str(hi))
        if shared * (hi - lo) > _MOST_BYTES:
            return None
        asked = {"lane_id": lane_id, "lo": lo, "hi": hi, "template_id": template_id}
        asked |= {"long": _LONG, "begins": len(form.own), **form._asdict()}
        block = _OF_SQLITE if self._database.is_sqlite else _OF_POSTGRES
        with self._database.read() as connection:
            if ended(connection, lane_id, lo, hi):
                return None
            row = connection.execute(block, asked).one()
        return None if not row.jobs or row.plain != row.jobs else _made(row, form, shared)


def _made(row: Any, form: Form, shared: int) -> Block:
    lines = row.lines if isinstance(row.lines, bytes) else str(row.lines).encode()
    sums = Sums(
        jobs=row.jobs,
        bytes=len(lines) - (row.jobs - 1),
        longest=shared + row.longest - len(form.own) - 1,
        bound=int(row.bound or 0),
        unpriced=row.jobs - row.priced,
        tokens=int(row.tokens),
    )
    return Block(lines, row.last + 1, sums)
