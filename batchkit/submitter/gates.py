"""Which of a lane's jobs may go now: primers before those that wait for what they write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from batchkit import caching
from batchkit.model import Prefix
from batchkit.pace import Pace
from batchkit.store import LaneRow, RunRow


class Gate:
    """Narrows lanes. All it knows lies in rows: a process that comes next sees the same."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def narrowed(
        self, run: RunRow, lane: LaneRow, prefixes: Sequence[Prefix], now: datetime
    ) -> tuple[LaneRow, list[Prefix]]:
        """Return a lane that ends where it may be cut now, and the prefixes to mark there.

        A run that is short of time is not primed: only what is cached already is marked.
        """
        patience = self._pace.seconds(caching.PATIENCE)
        waits = any(caching.is_in_flight(one, now, patience) for one in prefixes)
        in_time = not prefixes or self._is_in_time(run, now)
        until = caching.until(prefixes, lane.cursor, lane.released, waits=waits, in_time=in_time)
        found = caching.in_force(prefixes, lane.cursor, now)
        marked = [one for one in found if in_time or one.warm_until is not None]
        return replace(lane, released=until), marked

    def _is_in_time(self, run: RunRow, now: datetime) -> bool:
        """Say whether the run's time limit leaves time to wait for a primer."""
        left = None if run.time_limit_s is None else timedelta(seconds=run.time_limit_s)
        if run.deadline_at is not None:
            left = run.deadline_at - now
        return left is None or left >= self._pace.seconds(caching.NEAR)
