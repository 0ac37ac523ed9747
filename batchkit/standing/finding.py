"""Where runs lie, and what to say where one is not found."""

from __future__ import annotations

import weakref
from os import PathLike
from pathlib import Path

from batchkit import leaving, settings
from batchkit.errors import RunNotFoundError
from batchkit.store import RunRow, Store


def named(
    id_or_name: str, project: str | None, database: str | PathLike[str] | None
) -> tuple[Store, RunRow]:
    """Return a run and where it lies; raise RunNotFoundError that names similar ones."""
    where = settings.database(database, create=False)
    wanted = settings.project(project)
    store = _opened(where)
    if store is None:
        raise RunNotFoundError(
            f"There is no database at {where}. Go to the folder where the run was started, or name "
            "the database."
        )
    row = store.runs.find(wanted, id_or_name)
    if row is None:
        raise RunNotFoundError(_not_found(store, wanted, id_or_name))
    return store, row


def newest(
    limit: int | None, project: str | None, database: str | PathLike[str] | None
) -> tuple[Store, list[RunRow]] | None:
    """Return a project's runs, newest first, and where they lie; None where no database is yet."""
    store = _opened(settings.database(database, create=False))
    return None if store is None else (store, store.runs.all(settings.project(project), limit))


def _opened(where: str) -> Store | None:
    """Open a store that closes itself with the last handle; None for a file that is not there."""
    leaving.write_down_gone()
    if "://" not in where and not Path(where).exists():
        return None
    store = Store(where)
    weakref.finalize(store, store.database.close)
    return store


def _not_found(store: Store, project: str, asked: str) -> str:
    """Say that there is no such run, and which are like it."""
    from difflib import get_close_matches

    names = [row.name for row in store.runs.all(project, 1_000)]
    near = get_close_matches(asked, names, 3)
    hint = f"Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    if not near:
        latest = ", ".join(repr(name) for name in names[:5])
        hint = f"The latest there: {latest}." if names else "There are none in it."
    return f"There is no run {asked!r} in project {project!r} of {store.shown}. {hint}"
