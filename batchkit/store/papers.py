"""Which documents jobs need, by their hashes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from batchkit.store.database import Database
from batchkit.store.tables import jobs

_PAGE = 5_000


class Papers:
    """Reads about the documents of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hashes(self, run_ids: Sequence[int] | None = None) -> set[bytes]:
        """Return the sha256 of every document of these runs, or of all there are."""
        query = select(jobs.c.documents).where(jobs.c.documents.is_not(None))
        if run_ids is not None:
            query = query.where(jobs.c.run_id.in_(run_ids))
        found: set[bytes] = set()
        with self._database.read() as connection:
            for listed in connection.execution_options(yield_per=_PAGE).scalars(query):
                found.update(bytes.fromhex(one["sha256"]) for one in listed or ())
        return found
