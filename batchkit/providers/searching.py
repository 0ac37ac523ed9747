"""Look through a provider's list of batches, newest first, for one whose create lost its answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from batchkit.model import BatchStatus, Candidate, Json, Search
from batchkit.providers.calls import Reply, moment

SLACK = timedelta(minutes=10)
"""How far before the window a listing goes on: created_at and Date are two clocks."""

_PAGES = 1000


def search(
    page: Callable[[str | None], Reply], judge: Callable[[Json], Candidate | None], start: datetime
) -> Search:
    """Page through a list until it is older than ``start``.

    ``page`` fetches what comes after a cursor, ``judge`` says whether a row may be ours. The search
    is complete only if the list ended or a whole page lay before the window: one old row alone
    proves nothing, no provider promises an order.
    """
    found: list[Candidate] = []
    cursors: set[str] = set()
    cursor: str | None = None
    now: datetime | None = None
    for _ in range(_PAGES):
        reply = page(cursor)
        now = now or reply.at
        rows = _rows(reply.body)
        found += [candidate for row in rows or () if (candidate := judge(row))]
        complete = _covered(reply.body, rows, start - SLACK)
        cursor = None if complete is not None else _next(reply.body, rows or [])
        if cursor is None or cursor in cursors:
            return Search(_oldest_first(found), complete is True, now)
        cursors.add(cursor)
    return Search(_oldest_first(found), False, now)


def survey(
    page: Callable[[str | None], Reply],
    read: Callable[[Json], BatchStatus],
    word: str,
    refs: Collection[str],
) -> dict[str, BatchStatus]:
    """Read how batches stand from the newest pages of a list: one page, and one for each 50 refs.

    A row without its ``word`` tells nothing. What is further back is not worth the pages.
    """
    found: dict[str, BatchStatus] = {}
    cursor: str | None = None
    for _ in range(1 + len(refs) // 50):
        reply = page(cursor)
        rows = _rows(reply.body) or []
        found |= {str(row["id"]): read(row) for row in rows if row.get("id") and row.get(word)}
        cursor = _next(reply.body, rows) if rows and not found.keys() >= set(refs) else None
        if cursor is None:
            break
    return {ref: found[ref] for ref in refs if ref in found}


def _rows(body: Json) -> list[Json] | None:
    rows = body.get("data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def _covered(body: Json, rows: list[Json] | None, horizon: datetime) -> bool | None:
    """True: nothing in the window is left to see. False: it cannot be seen. None: go on."""
    if rows is None:
        return False
    more = body.get("has_more")
    if not rows:
        return more is not True
    if more is False:
        return True
    times = [moment(row.get("created_at")) for row in rows]
    return True if all(at is not None and at < horizon for at in times) else None


def _next(body: Json, rows: list[Json]) -> str | None:
    last = body.get("last_id") or rows[-1].get("id")
    return last if isinstance(last, str) else None


def _oldest_first(found: list[Candidate]) -> list[Candidate]:
    timeless = [candidate for candidate in found if candidate.at is None]
    timed = [(candidate.at, candidate) for candidate in found if candidate.at is not None]
    return [pair[1] for pair in sorted(timed, key=lambda pair: pair[0])] + timeless
