"""The time line of runs and batches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from batchkit.store.database import Database
from batchkit.store.tables import events


def note(
    connection: Connection,
    run_id: int,
    at: datetime,
    action: str,
    *,
    batch_id: int | None = None,
    key: str | None = None,
    **detail: Any,
) -> None:
    """Write an event in the transaction of the fact it tells of."""
    connection.execute(
        insert(events).values(
            run_id=run_id, at=at, action=action, batch_id=batch_id, key=key, detail=detail
        )
    )


class Events:
    """Read and write what happened."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run_id: int, at: datetime, action: str, **detail: Any) -> None:
        """Write one event that belongs to no other fact."""
        with self._database.write() as connection:
            note(connection, run_id, at, action, **detail)

    def of_run(self, run_id: int, since: datetime | None = None) -> list[RowMapping]:
        """Return a run's events, oldest first."""
        query = select(events).where(events.c.run_id == run_id).order_by(events.c.id)
        if since is not None:
            query = query.where(events.c.at >= since)
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def of_key(self, run_id: int, key: str) -> list[RowMapping]:
        """Return one job's own events, oldest first."""
        query = (
            select(events)
            .where(events.c.run_id == run_id, events.c.key == key)
            .order_by(events.c.id)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())
