"""Migrations, on a person's word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from batchkit import settings
from batchkit.store import migrate
from batchkit.store.database import Database


def upgraded(database: str | None = None) -> tuple[str | None, str, str]:
    """Migrate to the newest revision; return the one before, the one now and the place.

    A SQLite file with tables is copied first. Raises StateError for a newer database.
    """
    with _opened(database) as opened:
        before = migrate.current(opened)
        if opened.is_sqlite:
            migrate.ensure(opened)
        else:
            migrate.upgrade(opened)
        return before, migrate.HEAD, opened.shown


def revision(database: str | None = None) -> tuple[str | None, str, str]:
    """Return a database's revision (None if it is empty), the one needed, and the place."""
    with _opened(database) as opened:
        return migrate.current(opened), migrate.HEAD, opened.shown


@contextmanager
def _opened(database: str | None) -> Iterator[Database]:
    opened = Database(settings.database(database))
    try:
        yield opened
    finally:
        opened.close()
