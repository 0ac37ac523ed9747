"""Documents in several requests: counted, and their parts found, where a run has some.

A document has ended when all of its parts have; it failed if one of them did, else it was cancelled
if one was. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Integer,
    Select,
    Text,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    text,
)

from batchkit.model import Json
from batchkit.parts import DIGITS, MARK, document_of, number_of
from batchkit.store import readings
from batchkit.store.answers import with_earlier
from batchkit.store.database import Database
from batchkit.store.jobs import final_of, is_unsent
from batchkit.store.rows import Answer
from batchkit.store.runs import LIVE
from batchkit.store.tables import SHELF, attempts, batches, jobs, lanes

_KEYS = 400
_STATES = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A document (or job) that ended without an answer, by its first part that did."""

    key: str
    state: str
    code: str | None
    error: str | None


class Parts:
    """What is asked of runs in which documents are split, and of no others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self, run_id: int, *, draft: bool = False) -> Json:
        """Count documents, and jobs that are none, as people see them, by state and in ``total``.

        One part in a batch makes its document ``active``. Of a ``draft`` what was not released
        counts as well.
        """
        each = _documents(run_id, draft=draft).subquery()
        state = case(
            (and_(each.c.ended == each.c.parts, each.c.failed > 0), literal("failed")),
            (and_(each.c.ended == each.c.parts, each.c.cancelled > 0), literal("cancelled")),
            (each.c.ended == each.c.parts, literal("completed")),
            (each.c.flying > 0, literal("active")),
            else_=literal("pending"),
        ).label("state")
        query = select(state, func.count()).group_by(text("state"))
        with self._database.read() as connection:
            found = {str(name): int(count) for name, count in connection.execute(query)}
        names = ("pending", "active", *_STATES)
        return {"total": sum(found.values()), **{name: found.get(name, 0) for name in names}}

    def unanswered(self, run_id: int) -> list[Unanswered]:
        """Return what ended without an answer, once a document, in order of adding."""
        each = _documents(run_id).subquery()
        lost = select(each.c.document).where(
            each.c.ended == each.c.parts, each.c.failed + each.c.cancelled > 0
        )
        query = (
            select(jobs.c.key, attempts.c.state, attempts.c.code, attempts.c.error)
            .join(attempts, final_of(jobs))
            .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id, jobs.c.superseded.is_(False))
            .where(attempts.c.state.in_(("failed", "cancelled")), _document().in_(lost))
            .order_by(jobs.c.no)
        )
        first: dict[str, tuple[Any, Unanswered]] = {}
        with self._database.read() as connection:
            for key, state, code, error in connection.execute(query):
                document = document_of(key)
                rank = (state != "failed", number_of(key))
                if document not in first or rank < first[document][0]:
                    first[document] = (rank, Unanswered(document, state, code, error))
        return [found for _, found in first.values()]

    def places(self, run_id: int, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return where in the order of completion these keys' jobs are, those that have ended."""
        found: dict[str, tuple[int, int]] = {}
        for at in range(0, len(keys), _KEYS):
            query = _ended(run_id, keys[at : at + _KEYS]).with_only_columns(
                jobs.c.key, batches.c.collected_no, attempts.c.seq
            )
            with self._database.read() as connection:
                found.update({key: (no, seq) for key, no, seq in connection.execute(query)})
        return found

    def answers(self, run_id: int, keys: Sequence[str]) -> dict[str, Answer]:
        """Return the answers of these keys' jobs, those that have ended."""
        found: dict[str, Answer] = {}
        for at in range(0, len(keys), _KEYS):
            with self._database.read() as connection:
                query = _ended(run_id, keys[at : at + _KEYS])
                page = readings.read(connection, run_id, query)
                found.update({one.key: one for one in with_earlier(connection, page)})
        return found

    def has_whole(self, run_id: int) -> bool:
        """Say whether a job of a run is no part of a split document."""
        split = jobs.c.documents.cast(Text).like('%"split_pages":%')
        whole = select(jobs.c.no).where(
            jobs.c.shelf == SHELF, jobs.c.run_id == run_id, jobs.c.superseded.is_(False)
        )
        query = select(exists(whole.where(or_(jobs.c.documents.is_(None), ~split))))
        with self._database.read() as connection:
            return bool(connection.execute(query).scalar_one())


def is_tail() -> Any:
    """Say in SQL that a job of ``jobs`` is a part that is not its document's first."""
    return func.substr(jobs.c.key, func.length(jobs.c.key) - DIGITS, 1) == MARK


def _document() -> Any:
    head = func.substr(jobs.c.key, 1, func.length(jobs.c.key) - DIGITS - 1)
    return case((is_tail(), head), else_=jobs.c.key)


def _documents(run_id: int, *, draft: bool = False) -> Select[Any]:
    """Return ``document, parts, ended, failed, cancelled, flying``, a row a document."""
    document = _document().label("document")
    is_ended = and_(attempts.c.seq.is_not(None), batches.c.state.not_in(LIVE))
    flies = false() if draft else and_(~is_ended, ~is_unsent())
    query = (
        select(
            document,
            func.count().label("parts"),
            _sum(is_ended).label("ended"),
            _sum(and_(is_ended, attempts.c.state == "failed")).label("failed"),
            _sum(and_(is_ended, attempts.c.state == "cancelled")).label("cancelled"),
            _sum(flies).label("flying"),
        )
        .join(lanes, lanes.c.id == jobs.c.lane_id)
        .outerjoin(attempts, final_of(jobs))
        .outerjoin(batches, batches.c.id == attempts.c.batch_id)
        .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id, jobs.c.superseded.is_(False))
        .group_by(text("document"))
    )
    return query if draft else query.where(jobs.c.seq < lanes.c.released)


def _sum(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0)).cast(Integer)


def _ended(run_id: int, keys: Sequence[str]) -> Select[Any]:
    """Return what ``readings`` reads of these keys' jobs, with their batches."""
    return (
        select(*readings.ORDER, batches.c.collected_no, batches.c.ref)
        .join(jobs, readings.job())
        .join(batches, batches.c.id == attempts.c.batch_id)
        .where(attempts.c.shelf == SHELF, attempts.c.final, jobs.c.superseded.is_(False))
        .where(jobs.c.shelf == SHELF, jobs.c.run_id == run_id, jobs.c.key.in_(keys))
        .where(batches.c.collected_no.is_not(None))
    )
