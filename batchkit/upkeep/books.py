"""Prove the books from the rows alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from batchkit import settings
from batchkit.model import Json
from batchkit.money import dollars
from batchkit.store import RunRow, Store
from batchkit.upkeep.places import picked, store_of


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

    @property
    def holds(self) -> bool:
        """Whether every law holds."""
        return not self.problems

    def to_dict(self) -> Json:
        """Return it as plain data."""
        return {**asdict(self), "problems": list(self.problems), "holds": self.holds}


def verified(
    run: str | None = None, *, project: str | None = None, database: str | None = None
) -> list[Proof]:
    """Prove one run, or all of a project, offline; raises RunNotFoundError for an unknown one."""
    with store_of(database) as store:
        project = settings.project(project)
        rows = store.runs.all(project) if run is None else [picked(store, project, run)]
        return [_proof(store, row) for row in rows]


def _proof(store: Store, run: RunRow) -> Proof:
    sums = store.audit.sums(run.id)
    kinds = ("exact", "bound", "free")
    return Proof(
        id=run.uid,
        name=run.name,
        total=run.total,
        completed=run.completed,
        failed=run.failed,
        cancelled=run.cancelled,
        outcomes=sum(sums.get(f"{kind}_attempts", 0) for kind in kinds),
        exact_usd=dollars(sums.get("exact_cost", 0)),
        bound_usd=dollars(sums.get("bound_cost", 0)),
        spent_usd=dollars(run.spent),
        reserved_usd=dollars(run.reserved),
        problems=tuple(store.audit.problems(run.id)),
    )
