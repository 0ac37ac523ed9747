"""Ended jobs in the order in which their batches were collected, by the thousand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import orjson
from sqlalchemy import Connection, Text, and_, select, type_coerce

from batchkit.making import maker
from batchkit.model import Json
from batchkit.store import bulk
from batchkit.store.rows import Answer
from batchkit.store.tables import SHELF, attempts, batches, jobs, lanes

_made = maker(Answer)
_NOTHING: Json = {}

FIRST = 500
"""Jobs of the first page: how long answers are is not known yet."""

_LEAST, _MOST = 100, 8_000
_GOOD = 1_000_000
"""Bytes of a page."""

_MOST_BATCHES = 400

Cursor = tuple[int, int]
"""(collected_no, seq): the place of an ended job in the order of completion."""

ORDER = (
    *(jobs.c[name] for name in ("key", "no", "lane_id", "seq")),
    *(attempts.c[name] for name in ("state", "code", "error", "answer")),
    type_coerce(attempts.c.citations, Text).label("citations"),
    *(attempts.c[name] for name in ("finish", "model", "batch_id", "request_id", "input_tokens")),
    *(attempts.c[name] for name in ("output_tokens", "cached_tokens", "cache_write_tokens")),
    *(attempts.c[name] for name in ("reasoning_tokens", "cost", "attempt_no", "ran")),
    attempts.c.reused_from,
    type_coerce(jobs.c.metadata, Text).label("metadata"),
    type_coerce(jobs.c.documents, Text).label("documents"),
    jobs.c.template_id,
    jobs.c.asked_id,
)
"""The columns that an Answer is made of, in the order of its fields."""

_LANE, _SEQ, _MODEL, _BATCH, _NUMBER, _RAN = 2, 3, 10, 11, 19, 20
_JSON = (8, 22, 23)
"""Places in ``ORDER``."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some ended jobs, made as they are taken, and the place of the last of them.

    Of some there were ``several`` attempts, whose sums are not in yet. ``weight`` is about bytes.
    """

    answers: Iterator[Answer]
    after: Cursor
    is_last: bool
    several: bool = False
    size: int = 0
    weight: int = 0

    @property
    def next_size(self) -> int:
        """How many jobs make a good page after this one: answers may be short or very long."""
        each = self.weight // max(1, self.size) or _GOOD
        return min(_MOST, max(_LEAST, _GOOD // each))


def page(
    connection: Connection,
    run_id: int,
    after: Cursor,
    size: int,
    states: Sequence[str] | None,
    keys: Sequence[str] | None,
    begun: Callable[[], None],
) -> Page:
    """Return about ``size`` ended jobs behind a place; ``begun`` as for ``bulk.gathered``."""
    found = _batches(connection, run_id, after)
    chosen = _few(found, size)
    if not chosen:
        return Page(iter(()), after, is_last=True)
    query = (
        select(*ORDER)
        .join(jobs, job())
        .where(attempts.c.shelf == SHELF, attempts.c.final, jobs.c.superseded.is_(False))
    )
    if states is not None:
        query = query.where(attempts.c.state.in_(states))
    if keys is not None:
        query = query.where(jobs.c.key.in_(keys))
    known = {row.id: row for row in chosen}
    providers = _providers(connection, run_id)
    if len(chosen) == 1 or chosen[0].collected_no == after[0]:
        more = len(found) > 1
        return _of_one(connection, query, chosen[0], after, size, providers, begun, more=more)
    query = query.where(attempts.c.batch_id.in_(known))
    columns, weight = bulk.gathered(connection, query, begun)
    is_last = len(chosen) == len(found) < _MOST_BATCHES
    return _paged(columns, known, providers, (chosen[-1].collected_no, _END), is_last, weight)


def read(connection: Connection, run_id: int, query: Any) -> list[Answer]:
    """Return the ended jobs that a query of ``ORDER`` with ``collected_no`` and ``ref`` finds."""
    columns = list(zip(*connection.execute(query).all(), strict=True))
    if not columns:
        return []
    *columns, numbers, refs = columns
    return list(_made_of(columns, refs, numbers, _providers(connection, run_id)))


_END = 1 << 62


def _of_one(
    connection: Connection,
    query: Any,
    batch: Any,
    after: Cursor,
    size: int,
    providers: dict[int, tuple[str, str]],
    begun: Callable[[], None],
    *,
    more: bool,
) -> Page:
    """Page through one batch by its places."""
    at = after[1] if batch.collected_no == after[0] else -1
    query = query.where(attempts.c.batch_id == batch.id, attempts.c.seq > at)
    query = query.order_by(attempts.c.seq).limit(size)
    columns, weight = bulk.gathered(connection, query, begun)
    is_whole = len(columns[_SEQ]) < size
    end = _END if is_whole else max(columns[_SEQ])
    place, is_last = (batch.collected_no, end), is_whole and not more
    return _paged(columns, {batch.id: batch}, providers, place, is_last, weight)


def _paged(
    columns: Sequence[Sequence[Any]],
    known: Mapping[int, Any],
    providers: Mapping[int, tuple[str, str]],
    after: Cursor,
    is_last: bool,
    weight: int,
) -> Page:
    """Return columns of ``ORDER`` as a page, in the order of completion."""
    numbers = [known[one].collected_no for one in columns[_BATCH]]
    places = list(zip(numbers, columns[_SEQ], strict=True))
    if (right := sorted(places)) != places:
        at = {place: number for number, place in enumerate(places)}
        columns = [[column[at[place]] for place in right] for column in columns]
        numbers = [number for number, _ in right]
    refs = [known[one].ref for one in columns[_BATCH]]
    answers = _made_of(columns, refs, numbers, providers)
    several = columns[_NUMBER].count(1) != len(numbers) or not all(columns[_RAN])
    return Page(answers, after, is_last, several, len(numbers), weight)


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


def _few(found: Sequence[Any], size: int) -> list[Any]:
    """Return the first batches that make about a page together; always one if there is one."""
    chosen: list[Any] = []
    total = 0
    for row in found:
        total += row.count
        if chosen and total > size:
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


def _made_of(
    columns: Sequence[Sequence[Any]],
    refs: Sequence[str | None],
    numbers: Sequence[int | None],
    providers: Mapping[int, tuple[str, str]],
) -> Iterator[Answer]:
    """Make values of columns of ``ORDER``, each when it is taken: nobody holds a page of them."""
    mine = [providers[lane] for lane in columns[_LANE]]
    tries = [max(n, 1) if ran else n for n, ran in _both(columns[_NUMBER], columns[_RAN])]
    made = list(columns)
    made[_MODEL] = [model or asked for model, (_, asked) in _both(columns[_MODEL], mine)]
    for at in _JSON:
        made[at] = [text and orjson.loads(text) for text in columns[at]]
    return map(
        _made,
        *made[: _MODEL + 1],
        [provider for provider, _ in mine],
        columns[_BATCH],
        refs,
        *made[_BATCH + 1 : _NUMBER],
        tries,
        *made[_RAN + 1 :],
        numbers,
        repeat(_NOTHING),
    )


def _both(first: Sequence[Any], second: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(first, second, strict=True)
