"""Which run is meant where none is named, and going on with one or with all."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from batchkit.errors import RunNotFoundError
from batchkit.model import Json, Reserve
from batchkit.standing import Standing
from batchkit.standing.finding import named, newest
from batchkit.store import RunRow, Store
from batchkit.upkeep.places import existing

if TYPE_CHECKING:
    from batchkit.run import BatchRun

_LOOKED_AT = 200


def chosen(
    run: str | None = None, *, project: str | None = None, database: str | None = None
) -> BatchRun:
    """Return the run of that name or id, else the newest unfinished one, else the newest.

    Raises RunNotFoundError, and ConfigError where there is no database.
    """
    from batchkit.run import BatchRun

    store, row = _meant(run, project, database)
    return BatchRun(store, row.id)


def standing(
    run: str | None = None, *, project: str | None = None, database: str | None = None
) -> Standing:
    """Return the same run as `chosen`, to be looked at only."""
    return Standing(*_meant(run, project, database))


def _meant(run: str | None, project: str | None, database: str | None) -> tuple[Store, RunRow]:
    where = existing(database)
    if run is not None:
        return named(run, project, where)
    found = newest(_LOOKED_AT, project, where)
    if found is None or not found[1]:
        raise RunNotFoundError("There is no run in this project: batchkit ls --project NAME")
    store, rows = found
    going = (row for row in rows if row.opened_at is not None and not row.is_done)
    return store, next(going, rows[0])


def go_on(
    run: str | None = None,
    *,
    cost_limit: float | None = None,
    time_limit: timedelta | None = None,
    reserve: Reserve | None = None,
    once: bool = False,
    print_status: bool = False,
    project: str | None = None,
    database: str | None = None,
) -> list[BatchRun]:
    """Go on with one run, or with all started, unfinished ones of a project together.

    Returns their handles when they are done or only a person can move them. Ctrl-C and SIGTERM
    detach as in ``BatchRun.execute``. One run whose provider has no key here keeps no other from
    going on; the error is raised at the end.
    """
    if run is None:
        from batchkit.upkeep.convoy import Convoy

        return Convoy(existing(database), project).drive(once=once, print_status=print_status)
    handle = chosen(run, project=project, database=database)
    seconds = None if time_limit is None else time_limit.total_seconds()
    limits: Json = {"cost_limit": cost_limit, "time_limit": seconds, "reserve": reserve}
    handle.resume(**limits, once=once, print_status=print_status)
    return [handle]
