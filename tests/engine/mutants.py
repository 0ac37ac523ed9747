"""What is taken out of the product, in the process that is killed, to see that the matrix sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import update

from batchkit.model import Search
from batchkit.store import BatchRow, batches, leases
from batchkit.store.events import note
from batchkit.store.tables import batches as table


def without_find() -> None:
    """A lost create is never looked for: taken as known not to be there."""
    from batchkit.providers.anthropic import Anthropic
    from batchkit.providers.openai import OpenAIResponses
    from batchkit.submitter import dealings, looking

    def blind(*_: Any) -> Search:
        return Search([], complete=True)

    OpenAIResponses.find = blind  # type: ignore[assignment,method-assign]
    Anthropic.find = blind  # type: ignore[assignment,method-assign]
    looking._ENOUGH_LOOKS = 0
    dealings.Dealings.unstage = lambda *_: True  # type: ignore[method-assign]


def with_stale_rows() -> None:
    """A batch is not read again before it is moved: listed, decided, then written by id.

    This alone is harmless: the guard of the move sees it.
    """
    listed: dict[int, BatchRow] = {}
    due, get = batches.Batches.due, batches.Batches.get

    def remembered(self: batches.Batches, *args: Any) -> list[BatchRow]:
        found = due(self, *args)
        listed.update({row.id: row for row in found})
        return found

    batches.Batches.due = remembered  # type: ignore[assignment,method-assign]

    def stale(self: batches.Batches, batch_id: int) -> BatchRow:
        return listed.get(batch_id) or get(self, batch_id)

    batches.Batches.get = stale  # type: ignore[method-assign]


def without_guard() -> None:
    """A batch is moved from whatever state it is in, as it was when it was listed."""
    with_stale_rows()
    batches._move = _moved(guarded=False, leased=True)


def without_lease() -> None:
    """A batch is moved, and taken, by whoever comes: nobody is asked whose it is."""
    batches._move = _moved(guarded=True, leased=False)
    leases.Leases.holds = lambda *_: True  # type: ignore[method-assign]


def _moved(*, guarded: bool, leased: bool) -> Any:
    """Return the store's one guarded UPDATE without its state, or without its lease."""

    def move(
        connection: Any,
        move: Any,
        batch_id: int,
        lease_no: int,
        now: Any,
        *guards: Any,
        detail: Any = None,
        **values: Any,
    ) -> bool:
        query = update(table).where(table.c.id == batch_id, *guards)
        if guarded:
            query = query.where(table.c.state.in_(move.sources))
        if leased:
            query = query.where(table.c.lease_no == lease_no)
        row = connection.execute(
            query.values(state=move.target, **values).returning(table.c.run_id)
        ).first()
        if row is None:
            return False
        note(connection, row.run_id, now, move.name, batch_id=batch_id, **(detail or {}))
        return True

    return move


MUTANTS: dict[str, Callable[[], None]] = {
    "find removed": without_find,
    "rows stale": with_stale_rows,
    "guard removed": without_guard,
    "lease check removed": without_lease,
}
