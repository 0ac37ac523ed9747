"""Removing runs: never what is in flight, never without saying what it would cost again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from batchkit import settings
from batchkit.clock import SystemClock
from batchkit.console import counted
from batchkit.documents import kept
from batchkit.errors import StateError
from batchkit.model import Json
from batchkit.money import dollars
from batchkit.standing.status import Gauge
from batchkit.store import RunRow, Store
from batchkit.upkeep.places import picked, store_of

_LEFTOVER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Removal:
    """What went (or would go): adding it again would buy ``answered`` answers once more.

    ``cost_usd`` is what those cost; what was replaced, failed or tried again is not in it.
    """

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
    """Remove a run, or all of the project that ended so long ago; results stay where they are.

    Copies of documents (``keep_files``) go with the last run that needs them.
    Raises StateError for a named run with batches in flight.
    """
    now = SystemClock().now()
    with store_of(database) as store:
        rows = _candidates(store, settings.project(project), run)
        gone = [row for row in rows if older_than is None or _ended_before(row, now - older_than)]
        for row in gone:
            _refuse_live(store, row)
        goodbyes = [_removal(store, row) for row in gone]
        if not dry_run:
            theirs = _copied(store, gone)
            for row in gone:
                store.runs.remove(row.id)
            if theirs is not None:
                _drop_copies(store, theirs, now)
        return goodbyes


def _copied(store: Store, gone: list[RunRow]) -> set[bytes] | None:
    """Return the documents of runs that go; None if no copies are kept here at all."""
    if store.files is None or not gone or next(kept.copies(store.files), None) is None:
        return None
    return store.papers.hashes([row.id for row in gone])


def _drop_copies(store: Store, theirs: set[bytes], now: datetime) -> None:
    """Delete copies that no run needs: those of the removed runs, and any left for a day.

    A younger one may belong to jobs that another script is adding, and has not written down.
    """
    needed = store.papers.hashes()
    for copy in kept.copies(store.files or Path()):
        digest = b"" if copy.name.startswith(".") else bytes.fromhex(copy.name)
        age = now - datetime.fromtimestamp(copy.stat().st_mtime, UTC)
        if digest not in needed and (digest in theirs or age > _LEFTOVER):
            copy.unlink(missing_ok=True)


def _candidates(store: Store, project: str, run: str | None) -> list[RunRow]:
    return store.runs.all(project) if run is None else [picked(store, project, run)]


def _ended_before(run: RunRow, then: datetime) -> bool:
    return run.finished_at is not None and run.finished_at < then


def _refuse_live(store: Store, run: RunRow) -> None:
    jobs, batches = store.runs.live(run.id)
    if batches:
        raise StateError(
            f"The run {run.name!r} ({run.uid}) has {counted(jobs, 'job')} in "
            f"{counted(batches, 'batch', 'batches')} in flight, which is paid for. Collect it "
            f"with: batchkit resume {run.uid}, or stop it with: batchkit cancel {run.uid}"
        )


def _removal(store: Store, run: RunRow) -> Removal:
    counts = Gauge(store, run.id, SystemClock()).read()  # a draft has no counters
    return Removal(
        id=run.uid,
        name=run.name,
        jobs=counts["total"],
        answered=counts["completed"],
        cost_usd=dollars(store.answers.current_cost(run.id)),
        results_dir=run.settings.results_dir,
    )
