"""Answers: appended once, read in the order in which batches were collected."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Integer, and_, exists, func, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from batchkit.model import CostKind, Json, Succeeded, Usage
from batchkit.parts import shown
from batchkit.store import ahead, bulk, gaps, local, readings
from batchkit.store.database import Database
from batchkit.store.jobs import is_unsent
from batchkit.store.rows import Answer, BatchRow, JobRow, Settled, made
from batchkit.store.runs import LIVE
from batchkit.store.tables import attempts, batches, jobs, lanes, members

_PAGE = 1_000


class Answers:
    """What came back, and what of it counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(
        self,
        batch: BatchRow,
        rows: Sequence[Settled],
        plain: Sequence[bulk.Row] = (),
        begun: Callable[[], object] = bool,
    ) -> None:
        """Append outcomes of a batch, ``plain`` as ``plain_row`` makes them; what is there stays.

        No money moves and no state changes: that is ``Batches.collect``. A job that has ended
        elsewhere meanwhile (``test`` tried it out) keeps that end: this outcome is paid for and
        kept, but is not final. ``begun`` is called where only rows are left to write.
        """
        if not (rows or plain):
            return
        values = list(map(_values, rows))
        try:
            with self._database.write() as connection:
                begun()
                _append(connection, batch, values, plain, set())
        except IntegrityError:
            with self._database.write() as connection:
                seqs = [value[0] for value in (*values, *plain)]
                over = local.ended(connection, batch.lane_id or 0, seqs)
                _append(connection, batch, values, plain, over)

    def settled(self, batch_id: int, seqs: Sequence[int]) -> set[int]:
        """Return those of the places that have their outcome in a batch already."""
        query = select(attempts.c.seq).where(
            attempts.c.shelf == 0, attempts.c.batch_id == batch_id, attempts.c.seq.in_(seqs)
        )
        with self._database.read() as connection:
            return {int(seq) for seq in connection.execute(query).scalars()}

    def paid(self, batch_id: int) -> tuple[int, int, int]:
        """Return (results, input tokens, output tokens) of a batch, as its lines said them."""
        query = select(
            func.count(),
            func.coalesce(func.sum(attempts.c.input_tokens), 0),
            func.coalesce(func.sum(attempts.c.output_tokens), 0),
        ).where(attempts.c.shelf == 0, attempts.c.batch_id == batch_id, attempts.c.ran)
        lost = ("result_missing", "result_lost", "unreadable")
        query = query.where(or_(attempts.c.code.is_(None), attempts.c.code.not_in(lost)))
        with self._database.read() as connection:
            results, read, written = connection.execute(query).one()
            return int(results), int(read), int(written)

    def note_judging(self, batch_id: int, lease_no: int, noted: Json | None) -> None:
        """Write down what is about to be judged by a user's class; None when that is over."""
        with self._database.write() as connection:
            connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.lease_no == lease_no)
                .values(judging=null() if noted is None else noted)
            )

    def spare(self, owner: str, account_ids: Sequence[int]) -> None:
        """Forget what an owner is judging: it is told to leave, and no row killed it."""
        with self._database.write() as connection:
            connection.execute(
                update(batches)
                .where(batches.c.lease_owner == owner, batches.c.account_id.in_(account_ids))
                .values(judging=null())
            )

    def unsettled(self, batch: BatchRow) -> Iterator[JobRow]:
        """Stream the jobs of a batch that have no outcome in it yet, in order."""
        return gaps.unsettled(self._database, batch)

    def settled_count(self, batch_id: int) -> int:
        """Count the outcomes of a batch."""
        query = select(func.count()).where(attempts.c.shelf == 0, attempts.c.batch_id == batch_id)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def ended(
        self,
        run_id: int,
        states: Sequence[str] | None = None,
        after: tuple[int, int] | None = None,
        keys: Sequence[str] | None = None,
    ) -> Iterator[Answer]:
        """Stream ended jobs by (collected_no, seq), which is gap-free and in commit order."""
        first = after or (0, -1), readings.FIRST
        read = partial(self._page, run_id, states, keys)
        for answers in ahead.pages(read, first):
            yield from answers

    def _page(
        self,
        run_id: int,
        states: Sequence[str] | None,
        keys: Sequence[str] | None,
        place: tuple[readings.Cursor, int],
        begun: Callable[[], None],
    ) -> ahead.Read[Answer, tuple[readings.Cursor, int]]:
        with self._database.read() as connection:
            page = readings.page(connection, run_id, *place, states, keys, begun)
            answers = page.answers
            if page.several:
                answers = iter(with_earlier(connection, list(answers)))
        return answers, None if page.is_last else (page.after, page.next_size)

    def waiting(self, run_id: int) -> Iterator[Answer]:
        """Stream released jobs that have not ended, in order of adding.

        An outcome counts from its batch's collection on, for here as for ``ended``.
        """
        query = (
            select(
                jobs,
                lanes.c.model,
                lanes.c.provider,
                is_unsent().label("unsent"),
            )
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .outerjoin(attempts, _final())
            .outerjoin(batches, batches.c.id == attempts.c.batch_id)
            .where(jobs.c.run_id == run_id, jobs.c.superseded.is_(False))
            .where(or_(attempts.c.seq.is_(None), batches.c.state.in_(LIVE)))
            .where(jobs.c.seq < lanes.c.released)
            .order_by(jobs.c.no)
        )
        with self._database.read() as connection:
            streamed = connection.execution_options(yield_per=_PAGE).execute(query)
            for row in streamed.mappings():
                yield _waiting(row)

    def examples(self, run_id: int, code: str, limit: int) -> list[tuple[str, str]]:
        """Return (key, error) of some attempts with this problem, the newest first."""
        query = (
            select(jobs.c.key, attempts.c.error)
            .join(jobs, readings.job())
            .where(attempts.c.run_id == run_id, attempts.c.code == code)
            .order_by(attempts.c.batch_id.desc(), attempts.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(shown(key), str(error)) for key, error in connection.execute(query)]

    def current_cost(self, run_id: int) -> int:
        """Return what the answers that a run holds now cost, in nano-dollars."""
        query = (
            select(func.coalesce(func.sum(attempts.c.cost), 0))
            .join(jobs, readings.job())
            .where(attempts.c.run_id == run_id, attempts.c.final)
            .where(attempts.c.state == "completed", jobs.c.superseded.is_(False))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def attempts_of(self, lane_id: int, seq: int) -> list[Json]:
        """Return every attempt of one job with its batch, oldest first."""
        query = (
            select(
                attempts,
                batches.c.ref,
                batches.c.token,
                batches.c.kind,
                batches.c.collected_at,
                batches.c.state.label("batch_state"),
            )
            .join(batches, batches.c.id == attempts.c.batch_id)
            .where(attempts.c.lane_id == lane_id, attempts.c.seq == seq)
            .order_by(attempts.c.batch_id)
        )
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def live_batch_of(self, job: JobRow) -> BatchRow | None:
        """Return the batch a job is in right now."""
        by_range = and_(
            batches.c.kind == "range",
            batches.c.lane_id == job.lane_id,
            batches.c.lo <= job.seq,
            batches.c.hi > job.seq,
            ~exists().where(members.c.lane_id == job.lane_id, members.c.seq == job.seq),
        )
        by_member = batches.c.id.in_(
            select(members.c.batch_id).where(
                members.c.lane_id == job.lane_id, members.c.seq == job.seq
            )
        )
        query = select(batches).where(batches.c.state.in_(LIVE), or_(by_range, by_member))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(batches.c.id.desc())).mappings().first()
            return None if row is None else made(BatchRow, row)

    def ended_ids(
        self,
        run_id: int,
        states: Sequence[str],
        codes: Sequence[str] | None,
        keys: Sequence[str] | None,
    ) -> list[tuple[int, int, str, str | None]]:
        """Return (lane_id, seq, key, code) of ended jobs, for a retry."""
        query = (
            select(attempts.c.lane_id, attempts.c.seq, jobs.c.key, attempts.c.code)
            .join(jobs, readings.job())
            .where(attempts.c.run_id == run_id, attempts.c.final)
            .join(batches, batches.c.id == attempts.c.batch_id)
            .where(attempts.c.state.in_(states), jobs.c.superseded.is_(False))
            .where(batches.c.state.not_in(LIVE))
        )
        if codes is not None:
            query = query.where(attempts.c.code.in_(codes))
        if keys is not None:
            query = query.where(jobs.c.key.in_(keys))
        with self._database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]


def with_earlier(connection: Any, page: list[Answer]) -> list[Answer]:
    """Add up the attempts before the last one: cost and tokens sum all of them."""
    several = {(answer.lane_id, answer.seq) for answer in page if answer.attempts != 1}
    if not several:
        return page
    sums = _sums(connection, several)
    return [
        _summed(answer, sums[answer.lane_id, answer.seq])
        if (answer.lane_id, answer.seq) in sums
        else answer
        for answer in page
    ]


def _final() -> Any:
    return and_(readings.job(), attempts.c.final)


def _waiting(row: Any) -> Answer:
    names = ("key", "no", "lane_id", "seq", "model", "provider", "metadata", "documents")
    state = "pending" if row["unsent"] else "active"
    return Answer(
        **{name: row[name] for name in names}, state=state, template_id=row["template_id"]
    )


_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
)


def _sums(connection: Any, pairs: set[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    by_lane: dict[int, list[int]] = {}
    for lane_id, seq in pairs:
        by_lane.setdefault(lane_id, []).append(seq)
    found: dict[tuple[int, int], Any] = {}
    for lane_id, seqs in by_lane.items():
        query = (
            select(
                attempts.c.seq,
                func.sum(attempts.c.ran.cast(Integer)).label("ran"),
                (func.count() - func.count(attempts.c.cost)).label("unknown"),
                *(func.sum(attempts.c[name]).label(name) for name in _TOKENS),
            )
            .where(attempts.c.lane_id == lane_id, attempts.c.seq.in_(seqs))
            .group_by(attempts.c.seq)
        )
        for row in connection.execute(query).mappings():
            found[lane_id, row["seq"]] = row
    return found


def _summed(answer: Answer, sums: Any) -> Answer:
    known: dict[str, Any] = {
        name: None if sums[name] is None else int(sums[name]) for name in _TOKENS
    }
    if sums["unknown"]:
        known["cost"] = None
    return replace(answer, attempts=int(sums["ran"] or 0), **known)


_SETTLED = (
    *("seq", "attempt_no", "state", "code", "error", "answer", "citations", "finish", "model"),
    *("request_id", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"),
    *("reasoning_tokens", "cost", "cost_kind", "ran", "reused_from", "changes"),
)
_ALIKE = (
    *("final", "attempt_no", "state", "code", "error", "citations", "finish", "model", "cost_kind"),
    *("ran", "reused_from", "changes"),
)
_STATE = _SETTLED.index("state")

_PLAIN = (
    *("seq", "answer", "model", "request_id", "input_tokens", "output_tokens", "cached_tokens"),
    *("cache_write_tokens", "reasoning_tokens", "cost"),
)
_AS_PLAIN = {
    "attempt_no": 1,
    "state": "completed",
    "finish": "stop",
    "cost_kind": CostKind.EXACT.value,
    "ran": True,
}
"""What all plain answers have in common, whatever batch they are of."""


def _append(
    connection: Connection,
    batch: BatchRow,
    rows: Sequence[bulk.Row],
    plain: Sequence[bulk.Row],
    ended: Container[int],
) -> None:
    """Append rows whose values stand in the order of ``_SETTLED``, ``plain`` ones in ``_PLAIN``'s.

    Who is ``ended`` elsewhere gets no second final attempt.
    """
    place: Json = {
        "shelf": batch.shelf,
        "batch_id": batch.id,
        "lane_id": batch.lane_id,
        "run_id": batch.run_id,
    }
    key = "shelf, batch_id, seq"
    values = [(row[_STATE] != "again" and row[0] not in ended, *row) for row in rows]
    names = ("final", *_SETTLED)
    bulk.insert_new_rows(connection, attempts, names, values, key, _ALIKE, place)
    for final in (True, False):
        some = [row for row in plain if (row[0] not in ended) is final]
        shared = {**place, **_AS_PLAIN, "final": final}
        bulk.insert_new_rows(connection, attempts, _PLAIN, some, key, shared=shared)


def plain_row(seq: int, answered: Succeeded, used: Usage, cost: int | None) -> bulk.Row:
    """Return what ``settle`` appends for a first attempt that ended well.

    That is an answer that came to its end, without citations, at a known usage.
    """
    words = bulk.words
    return (
        seq,
        words(answered.text),
        words(answered.model),
        words(answered.request_id),
        used.input_tokens,
        used.output_tokens,
        used.cached_tokens,
        used.cache_write_tokens,
        used.reasoning_tokens,
        cost,
    )


def _values(row: Settled) -> tuple[Any, ...]:
    """Return an outcome's values in the order of ``_SETTLED``, as the driver takes them."""
    return (
        row.seq,
        row.attempt_no,
        str(row.state),
        None if row.code is None else str(row.code),  # an enum's member is no plain text to drivers
        bulk.words(row.error),
        bulk.words(row.answer),
        bulk.json_text(row.citations),
        bulk.words(row.finish),
        bulk.words(row.model),
        bulk.words(row.request_id),
        row.input_tokens,
        row.output_tokens,
        row.cached_tokens,
        row.cache_write_tokens,
        row.reasoning_tokens,
        row.cost,
        str(row.cost_kind),
        row.ran,
        row.reused_from,
        bulk.json_text(row.changes),
    )
