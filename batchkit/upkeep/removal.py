"""Removing runs: never what is in flight, never without saying what it would cost again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from batchkit import settings
from batchkit.clock import SystemClock
from batchkit.errors import StateError
from batchkit.model import Json
from batchkit.money import dollars
from batchkit.store import RunRow, Store
from batchkit.upkeep.places import picked, store_of


@dataclass(frozen=True, slots=True)
class Removal:
    """What went (or would go): adding it again would buy ``answered`` answers once more."""

    id: str
    name: str
    jobs: int
    answered: int
    cost_usd: float
    results_dir: str | None

    def to_dict(self) -> Json:
        """Return it as plain data."""
        return asdict(self)


def removed(
    run: str | None = None,
    *,
    older_than: timedelta | None = None,
    dry_run: bool = False,
    project: str | None = None,
    database: str | None = None,
) -> list[Removal]:
    """Remove a run, or all of the project that ended so long ago; files stay where they are.

    Raises StateError for a named run with batches in flight.
    """
    now = SystemClock().now()
    with store_of(database) as store:
        rows = _candidates(store, settings.project(project), run)
        gone = [row for row in rows if older_than is None or _ended_before(row, now - older_than)]
        for row in gone:
            _refuse_live(store, row)
        if not dry_run:
            for row in gone:
                store.runs.remove(row.id)
        return [_removal(row) for row in gone]


def _candidates(store: Store, project: str, run: str | None) -> list[RunRow]:
    return store.runs.all(project) if run is None else [picked(store, project, run)]


def _ended_before(run: RunRow, then: datetime) -> bool:
    return run.finished_at is not None and run.finished_at < then


def _refuse_live(store: Store, run: RunRow) -> None:
    jobs, batches = store.runs.live(run.id)
    if batches:
        raise StateError(
            f"The run {run.name!r} ({run.uid}) has {jobs:,} jobs in {batches:,} batches in flight: "
            f"they are paid for. Collect them with: batchkit resume {run.uid}, or stop them with: "
            f"batchkit cancel {run.uid}"
        )


def _removal(run: RunRow) -> Removal:
    return Removal(
        id=run.uid,
        name=run.name,
        jobs=run.total,
        answered=run.completed,
        cost_usd=dollars(run.spent),
        results_dir=run.settings.results_dir,
    )
