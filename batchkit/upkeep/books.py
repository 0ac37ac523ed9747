"""Prove the books from the rows alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from batchkit import settings
from batchkit.clock import SystemClock
from batchkit.model import Json
from batchkit.money import dollars
from batchkit.standing.status import Gauge
from batchkit.store import RunRow, Store
from batchkit.upkeep.places import picked, store_of
from batchkit.upkeep.statements import Findings, compared


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found of one run: counts and sums, and every broken law in a sentence."""

    id: str
    name: str
    total: int
    completed: int
    failed: int
    cancelled: int
    outcomes: int
    exact_usd: float
    bound_usd: float
    spent_usd: float
    reserved_usd: float
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every law holds."""
        return not self.problems

    def to_dict(self) -> Json:
        """Return it as plain data."""
        lists = {"problems": list(self.problems), "notes": list(self.notes)}
        return {**asdict(self), **lists, "holds": self.holds}


def verified(
    run: str | None = None,
    *,
    provider: bool = False,
    project: str | None = None,
    database: str | None = None,
) -> list[Proof]:
    """Prove one run, or all of a project; raises RunNotFoundError for an unknown one.

    Offline, from the rows alone; with ``provider`` against the provider's own objects as well.
    """
    with store_of(database) as store:
        project = settings.project(project)
        rows = store.runs.all(project) if run is None else [picked(store, project, run)]
        return [_proof(store, row, provider) for row in rows]


def _proof(store: Store, run: RunRow, provider: bool) -> Proof:
    found = compared(store, run) if provider else Findings()
    sums = store.audit.sums(run.id)
    counts = Gauge(store, run.id, SystemClock()).read()  # a draft has no counters
    kinds = ("exact", "bound", "free")
    return Proof(
        id=run.uid,
        name=run.name,
        total=counts["total"],
        completed=counts["completed"],
        failed=counts["failed"],
        cancelled=counts["cancelled"],
        outcomes=sum(sums.get(f"{kind}_attempts", 0) for kind in kinds),
        exact_usd=dollars(sums.get("exact_cost", 0)),
        bound_usd=dollars(sums.get("bound_cost", 0)),
        spent_usd=dollars(run.spent),
        reserved_usd=dollars(run.reserved),
        problems=(*store.audit.problems(run.id), *found.problems),
        notes=tuple(found.notes),
    )
