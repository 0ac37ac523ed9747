"""What is reserved for a lane's jobs where that is less than their upper bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from batchkit.model import Json
from batchkit.store import JobRow, LaneRow, RunRow, Store
from batchkit.weighing import MOST_SEEN, Rates, Weight, observed, tightened


@dataclass(slots=True)
class Reserving:
    """Reads what finished jobs used of their bounds, again whenever a batch was collected.

    ``changed`` is called when a lane's rates are others than before.
    """

    store: Store
    changed: Callable[[], None]
    _known: dict[int, tuple[int | None, Rates]] = field(default_factory=dict)

    def rates(self, run: RunRow, lane: LaneRow) -> Rates:
        """Return a lane's rates by template; none where bounds are to be reserved."""
        seen = run.collected_no if run.reserve == "observed" else None
        at, rates = self._known.get(lane.id, (None, {}))
        if at == seen:
            return rates
        used = [] if seen is None else self.store.reservations.used(run.id, lane.id, MOST_SEEN)
        self._known[lane.id] = (seen, fresh := observed(used))
        if fresh != rates:
            self.changed()
        return fresh


def reserved(weight: Weight, rates: Rates, row: JobRow, changes: Json) -> Weight:
    """Return a weight with what of it is not reserved.

    A retry that asks otherwise than its job was added is like none of those that were seen.
    """
    if changes.get("max_tokens") or changes.get("note"):
        return weight
    return tightened(weight, rates.get(row.template_id), row.bound)
