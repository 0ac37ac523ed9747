"""Which of a lane's jobs may go now: a canary before its run, primers before the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from batchkit import caching, canaries
from batchkit.model import Json, Prefix, Waiting
from batchkit.pace import Pace
from batchkit.store import LaneRow, Member, RunRow, Store

_MOST_MEMBERS = 100_000


class Gate:
    """Narrows lanes. All it knows lies in rows: a process that comes next sees the same."""

    def __init__(self, store: Store, pace: Pace) -> None:
        self._store = store
        self._pace = pace

    def held(self, run: RunRow, now: datetime) -> tuple[Waiting, str] | None:
        """Judge a canary that is over; say why its run is held back, if it is."""
        canary = run.canary
        if canary is None:
            return None
        if canary["state"] == "waiting":
            canary = self._judged(run, canary, now)
        if canary["state"] != "held":
            return None
        return Waiting.CANARY, f"{canaries.sentence(canary)}. To let it go: {_resume(run)}"

    def waiting(self, run: RunRow, lane: LaneRow, now: datetime) -> list[Member]:
        """Return the jobs of a lane that may go again now."""
        without = self._without(run)
        return self._store.batches.free_members(lane.id, now, _MOST_MEMBERS, without)

    def braked(self, run: RunRow, lane: LaneRow, now: datetime) -> tuple[Waiting, str] | None:
        """Say what a person shall look at, if only that is left in a lane."""
        if not run.braked or not self._store.batches.free_members(lane.id, now, 1):
            return None
        reasons = ". ".join(str(run.brakes[code]) for code in run.braked)
        return Waiting.REVIEW, f"{reasons}. To try them again: {_resume(run)}"

    def _without(self, run: RunRow) -> list[str]:
        return [*run.braked, *(canaries.PAID if _is_out(run.canary) else ())]

    def _judged(self, run: RunRow, canary: Json, now: datetime) -> Json:
        tally = canaries.tallied(*self._store.canaries.answers(canary["zones"]))
        if not tally.is_over:
            return canary
        state, why = canaries.verdict(tally)
        found = {**canary, "state": state, "why": why}
        landed = self._store.canaries.judged(run.id, found, now)
        return found if landed else self._store.runs.get(run.id).canary or found

    def narrowed(
        self, run: RunRow, lane: LaneRow, prefixes: Sequence[Prefix], now: datetime
    ) -> tuple[LaneRow, list[Prefix]]:
        """Return a lane that ends where it may be cut now, and the prefixes to mark there.

        A run that is short of time is not primed: only what is cached already is marked.
        """
        patience = self._pace.seconds(caching.PATIENCE)
        lane = self.behind_canary(run, lane, now)
        waits = any(caching.is_in_flight(one, now, patience) for one in prefixes)
        in_time = not prefixes or self._is_in_time(run, now)
        until = caching.until(prefixes, lane.cursor, lane.released, waits=waits, in_time=in_time)
        found = caching.in_force(prefixes, lane.cursor, now)
        marked = [one for one in found if in_time or one.warm_until is not None]
        return replace(lane, released=until), marked

    def behind_canary(self, run: RunRow, lane: LaneRow, now: datetime) -> LaneRow:
        """Return a lane that ends where its canary lets it end now."""
        if (canary := run.canary) is not None and _is_out(canary):
            return self._behind(canary, lane, now)
        return lane

    def _behind(self, canary: Json, lane: LaneRow, now: datetime) -> LaneRow:
        """Return a lane that ends behind its canary, or a part later if that takes too long."""
        zones = {int(zone[0]): zone for zone in canary["zones"]}
        if lane.id not in zones:
            return replace(lane, released=lane.cursor)
        _, _, low, high = zones[lane.id]
        since = self._store.canaries.since(canary["zones"])
        late = self._pace.is_old(since, now, float(canary["wait_s"]))
        until = canaries.follows(int(low), int(high), late=late)
        return replace(lane, released=min(lane.released, max(lane.cursor, until)))

    def _is_in_time(self, run: RunRow, now: datetime) -> bool:
        """Say whether the run's time limit leaves time to wait for a primer."""
        left = None if run.time_limit_s is None else timedelta(seconds=run.time_limit_s)
        if run.deadline_at is not None:
            left = run.deadline_at - now
        return left is None or left >= self._pace.seconds(caching.NEAR)


def _is_out(canary: Json | None) -> bool:
    return canary is not None and canary["state"] == "waiting"


def _resume(run: RunRow) -> str:
    return f"batchkit resume {run.name}"
