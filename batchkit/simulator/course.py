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
    """

    starts_at: float
    stops_at: float
    ends_at: float
    expires_at: float
    end: End


def course(batch: Batch, settings: Settings) -> Course:
    """Return the course of a batch."""
    slow = 0.0 if settings.instant else 1.0
    openai = batch.dialect == "openai"
    starts = batch.created_at + slow * settings.validating_seconds * openai
    expires = batch.created_at + settings.window_seconds
    if batch.problems:
        return Course(starts, starts, starts, expires, "failed")
    done = math.inf if batch.stuck else starts + batch.runs_for
    stops = min(done, expires)
    ends = stops + slow * settings.finalizing_seconds * openai
    if batch.cancel_at is not None and batch.cancel_at < ends:
        stops = min(batch.cancel_at, stops)
        return Course(
            starts,
            stops,
            batch.cancel_at + slow * settings.cancelling_seconds,
            expires,
            "cancelled",
        )
    return Course(starts, stops, ends, expires, "completed" if done <= expires else "expired")


def ran_by(batch: Batch, plan: Course, now: float) -> int:
    """Return how many requests, from the first, have had their turn by `now`."""
    elapsed = min(now, plan.stops_at) - plan.starts_at
    if batch.problems or elapsed < 0:
        return 0
    # Instants are too large for a difference of two to be exact to the microsecond.
    if elapsed >= batch.runs_for - 1e-5:
        return batch.total
    return math.floor(batch.total * elapsed / batch.runs_for)


def turn_of(batch: Batch, plan: Course, index: int) -> float:
    """Return when the request at `index` has its turn."""
    return plan.starts_at + batch.runs_for * (index + 1) / max(batch.total, 1)


def duration(batch_id: str, settings: Settings) -> float:
    """Draw how long a batch runs."""
    if settings.instant:
        return 0.0
    return random.Random(f"{settings.seed}/{batch_id}").uniform(*settings.batch_seconds)
