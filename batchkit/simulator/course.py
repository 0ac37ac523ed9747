"""When a batch does what: pure functions of its record, the settings and the time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from batchkit.simulator.settings import Settings
from batchkit.simulator.world import Batch

End = Literal["completed", "failed", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Course:
    """The instants of a batch as they stand now: a cancel changes them.

    It runs from `starts_at` to `stops_at`, and is over at `ends_at` for the reason `end`.
    Of what a cancel finds unrun, the share `finishes` runs by `settles_at` all the same.
    """

    starts_at: float
    stops_at: float
    ends_at: float
    expires_at: float
    end: End
    finishes: float = 0.0

    @property
    def settles_at(self) -> float:
        """When the requests that were in flight at a cancel are done."""
        return (self.stops_at + self.ends_at) / 2


def course(batch: Batch, settings: Settings) -> Course:
    """Return the course of a batch."""
    slow = 0.0 if settings.instant else 1.0
    openai = batch.dialect == "openai"
    starts = batch.created_at + slow * settings.validating_seconds * openai
    expires = _expiry(batch, settings)
    if batch.problems:
        return Course(starts, starts, starts, expires, "failed")
    halts = batch.stuck or batch.share is not None
    done = math.inf if halts else starts + batch.runs_for
    stops = min(done, expires)
    ends = stops + slow * _finalizing(batch, settings)
    if batch.cancel_at is not None and batch.cancel_at < ends:
        stops = min(batch.cancel_at, stops)
        return Course(
            starts,
            stops,
            batch.cancel_at + slow * settings.cancelling_seconds,
            expires,
            "cancelled",
            settings.cancel_finishes,
        )
    return Course(starts, stops, ends, expires, "completed" if done <= expires else "expired")


def _expiry(batch: Batch, settings: Settings) -> float:
    if settings.azure and batch.dialect == "openai" and batch.expires_in is None:
        return math.inf
    return batch.created_at + (batch.expires_in or settings.window_seconds)


def _finalizing(batch: Batch, settings: Settings) -> float:
    if batch.finalizing is not None:
        return batch.finalizing
    return settings.finalizing_seconds if batch.dialect == "openai" else 0.0


def ran_by(batch: Batch, plan: Course, now: float) -> int:
    """Return how many requests, from the first, have had their turn by `now`."""
    elapsed = min(now, plan.stops_at) - plan.starts_at
    if batch.problems or elapsed < 0:
        return 0
    # Instants are too large for a difference of two to be exact to the microsecond.
    done = 1.0 if elapsed >= batch.runs_for - 1e-5 else elapsed / batch.runs_for
    most = 1.0 if batch.share is None else batch.share
    ran = math.floor(batch.total * min(done, most))
    if plan.finishes and now >= plan.settles_at:
        ran += round((batch.total - ran) * plan.finishes)
    return ran


def turn_of(batch: Batch, plan: Course, index: int) -> float:
    """Return when the request at `index` has its turn."""
    return plan.starts_at + batch.runs_for * (index + 1) / max(batch.total, 1)


def duration(batch_id: str, settings: Settings) -> float:
    """Draw how long a batch runs."""
    if settings.instant:
        return 0.0
    return random.Random(f"{settings.seed}/{batch_id}").uniform(*settings.batch_seconds)
