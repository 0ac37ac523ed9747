"""Where the state lies, and which run is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchkit import settings
from batchkit.errors import ConfigError, RunNotFoundError
from batchkit.store import RunRow, Store


@contextmanager
def store_of(database: str | None) -> Iterator[Store]:
    """Open the store for one task; raise ConfigError where there is none, and make none."""
    store = Store(existing(database))
    try:
        yield store
    finally:
        store.close()


def existing(database: str | None) -> str:
    """Return where the state lies; raise ConfigError for a SQLite file that is not there."""
    where = settings.database(database, create=False)
    if "://" not in where and not Path(where).exists():
        raise ConfigError(
            f"There is no database at {where}. Go to the folder where the run was started, or name "
            "it with --database."
        )
    return where


def picked(store: Store, project: str, run: str) -> RunRow:
    """Return the run of that name or id; raise RunNotFoundError that names some there are."""
    row = store.runs.find(project, run)
    if row is not None:
        return row
    there = [one.name for one in store.runs.all(project, 5)]
    known = f"It has: {', '.join(there)}." if there else "It has none."
    raise RunNotFoundError(
        f"There is no run {run!r} in project {project!r} of {store.shown}. {known}"
    )
