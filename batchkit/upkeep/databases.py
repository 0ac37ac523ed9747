"""Migrations, on a person's word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchkit import settings
from batchkit.store import migrate
from batchkit.store.database import Database


def upgraded(database: str | None = None) -> tuple[str | None, str, str]:
    """Migrate to the newest revision; return the one before, the one now and the place.

    A SQLite file with tables is copied first. Raises StateError for a newer database.
    """
    with _opened(settings.database(database)) as opened:
        before = migrate.current(opened)
        if opened.is_sqlite:
            migrate.ensure(opened)
        else:
            migrate.upgrade(opened)
        return before, migrate.HEAD, opened.shown


def revision(database: str | None = None) -> tuple[str | None, str, str]:
    """Return a database's revision (None if there is none yet), the one needed, and the place."""
    where = settings.database(database, create=False)
    if "://" not in where and not Path(where).exists():
        return None, migrate.HEAD, where
    with _opened(where) as opened:
        return migrate.current(opened), migrate.HEAD, opened.shown


@contextmanager
def _opened(where: str) -> Iterator[Database]:
    opened = Database(where)
    try:
        yield opened
    finally:
        opened.close()
