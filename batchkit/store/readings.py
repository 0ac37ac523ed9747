"""Ended jobs in the order in which their batches were collected, by the thousand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Text, and_, select, type_coerce

from batchkit.making import maker
from batchkit.model import Json
from batchkit.store import bulk
from batchkit.store.rows import Answer
from batchkit.store.tables import attempts, batches, jobs, lanes

_made = maker(Answer)
_NOTHING: Json = {}
_PAGE = 2_000
_MOST_BATCHES = 400
_SHELF = 0

Cursor = tuple[int, int]
"""(collected_no, seq): the place of an ended job in the order of completion."""

ORDER = (
    *(attempts.c[name] for name in ("batch_id", "seq", "lane_id", "state", "code", "error")),
    attempts.c.answer,
    type_coerce(attempts.c.citations, Text).label("citations"),
    *(attempts.c[name] for name in ("finish", "model", "request_id", "input_tokens")),
    *(attempts.c[name] for name in ("output_tokens", "cached_tokens", "cache_write_tokens")),
    *(attempts.c[name] for name in ("reasoning_tokens", "cost", "attempt_no", "ran")),
    *(attempts.c[name] for name in ("reused_from",)),
    *(jobs.c[name] for name in ("key", "no", "template_id", "asked_id")),
    type_coerce(jobs.c.metadata, Text).label("metadata"),
    type_coerce(jobs.c.documents, Text).label("documents"),
)


def page(
    connection: Connection,
    run_id: int,
    after: Cursor,
    states: Sequence[str] | None,
    keys: Sequence[str] | None,
) -> tuple[list[Answer], Cursor, bool]:
    """Return some ended jobs behind a place, where to go on, and whether that was the last."""
    found = _batches(connection, run_id, after)
    chosen = _few(found)
    if not chosen:
        return [], after, True
    query = (
        select(*ORDER)
        .join(jobs, job())
        .where(attempts.c.shelf == _SHELF, attempts.c.final, jobs.c.superseded.is_(False))
    )
    if states is not None:
        query = query.where(attempts.c.state.in_(states))
    if keys is not None:
        query = query.where(jobs.c.key.in_(keys))
    known = {row.id: row for row in chosen}
    providers = _providers(connection, run_id)
    if len(chosen) == 1 or chosen[0].collected_no == after[0]:
        return _of_one(connection, query, chosen[0], after, providers, more=len(found) > 1)
    rows = bulk.fetched(connection, query.where(attempts.c.batch_id.in_(known)))
    answers = [_answer(row, known[row[0]], providers) for row in rows]
    answers.sort(key=lambda one: (one.collected_no or 0, one.seq))
    last = len(chosen) == len(found) < _MOST_BATCHES
    return answers, (chosen[-1].collected_no, _END), last


def read(connection: Connection, run_id: int, query: Any) -> list[Answer]:
    """Return the ended jobs that a query of ``ORDER`` with ``collected_no`` and ``ref`` finds."""
    providers = _providers(connection, run_id)
    rows = connection.execute(query).all()
    return [_answer(row[: len(ORDER)], row, providers) for row in rows]


_END = 1 << 62


def _of_one(
    connection: Connection,
    query: Any,
    batch: Any,
    after: Cursor,
    providers: dict[int, tuple[str, str]],
    *,
    more: bool,
) -> tuple[list[Answer], Cursor, bool]:
    """Page through one batch by its places."""
    at = after[1] if batch.collected_no == after[0] else -1
    query = query.where(attempts.c.batch_id == batch.id, attempts.c.seq > at)
    rows = bulk.fetched(connection, query.order_by(attempts.c.seq).limit(_PAGE))
    answers = [_answer(row, batch, providers) for row in rows]
    if len(rows) == _PAGE:
        return answers, (batch.collected_no, rows[-1][1]), False
    return answers, (batch.collected_no, _END), not more


def _batches(connection: Connection, run_id: int, after: Cursor) -> Sequence[Any]:
    """Return the next collected batches of a run, the one that was begun first."""
    query = (
        select(batches.c.id, batches.c.collected_no, batches.c.ref, batches.c.count)
        .where(batches.c.run_id == run_id, batches.c.collected_no >= after[0])
        .order_by(batches.c.collected_no)
        .limit(_MOST_BATCHES)
    )
    if after[1] == _END:
        query = query.where(batches.c.collected_no > after[0])
    return connection.execute(query).all()


def _few(found: Sequence[Any]) -> list[Any]:
    """Return the first batches that make about a page together; always one if there is one."""
    chosen: list[Any] = []
    total = 0
    for row in found:
        total += row.count
        if chosen and total > _PAGE:
            break
        chosen.append(row)
    return chosen


def _providers(connection: Connection, run_id: int) -> dict[int, tuple[str, str]]:
    query = select(lanes.c.id, lanes.c.provider, lanes.c.model).where(lanes.c.run_id == run_id)
    return {row.id: (row.provider, row.model) for row in connection.execute(query)}


def job() -> Any:
    """Say which job of ``jobs`` an attempt is of."""
    return and_(
        jobs.c.shelf == attempts.c.shelf,
        jobs.c.lane_id == attempts.c.lane_id,
        jobs.c.seq == attempts.c.seq,
    )


def _answer(row: Any, batch: Any, providers: dict[int, tuple[str, str]]) -> Answer:
    """Return a row as a value: the order of ``ORDER`` into that of the fields."""
    batch_id, seq, lane_id, state, code, error, answer, citations, finish, model = row[:10]
    request_id, read, wrote, cached, cache_write, reasoning, cost = row[10:17]
    attempt_no, ran, reused, key, no, template_id, asked_id, metadata, documents = row[17:]
    provider, asked = providers[lane_id]
    return _made(
        key,
        no,
        lane_id,
        seq,
        state,
        code,
        error,
        answer,
        None if citations is None else orjson.loads(citations),
        finish,
        model or asked,
        provider,
        batch_id,
        batch.ref,
        request_id,
        read,
        wrote,
        cached,
        cache_write,
        reasoning,
        cost,
        max(attempt_no, 1) if ran else attempt_no,
        reused,
        None if metadata is None else orjson.loads(metadata),
        None if documents is None else orjson.loads(documents),
        template_id,
        asked_id,
        batch.collected_no,
        _NOTHING,
    )
