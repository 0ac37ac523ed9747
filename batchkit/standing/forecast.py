"""When a run under way will have ended, by its batches and by those before them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from batchkit import planning
from batchkit.durations import Durations, learnt
from batchkit.model import Json
from batchkit.planning import Load
from batchkit.store import BatchRow, LaneRow, RunRow, Store

_WINDOW = 86_400.0
"""Seconds within which both providers end a batch; one may run shortly over."""

_NIGHTS, _BATCHES = 100, 100
"""Enough for a figure that is told in hours; a status shall not take a second."""


def forecast(store: Store, run: RunRow, live: Sequence[BatchRow], now: datetime) -> Json:
    """Return ``ends_at``, ``ends_between`` and ``known_batches``; ``live`` is what is in flight.

    Times are ISO 8601; in 8 of 10 such nights the end lies between the two. ``known_batches`` says
    on how many earlier batches it rests, 0 that it is what is commonly seen. Retries come on top.
    """
    lanes = {lane.id: lane for lane in store.jobs.lanes(run.id)}
    known = {lane.id: _durations(store, lane) for lane in lanes.values() if lane.provider}
    flying = [
        Load(1, one.count, known[one.lane_id], age=_age(one, now), window=_WINDOW)
        for one in live
        if one.lane_id in known
    ]
    size = max(1, sum(one.count for one in live) // len(live))
    waiting = [
        Load(-(-(lane.released - lane.cursor) // size), size, known[lane.id], window=_WINDOW)
        for lane in lanes.values()
        if lane.id in known and lane.released > lane.cursor
    ]
    # While jobs wait, what is in flight now is what may be: a queue, a budget or the user says so.
    parallel = len(live) if waiting else run.settings.max_parallel_batches
    found = planning.expected([*flying, *waiting], parallel, nights=_NIGHTS, most=_BATCHES)
    ends = [now + timedelta(seconds=round(s)) for s in (found.low, found.middle, found.high)]
    low, middle, high = (at.isoformat() for at in ends)
    return {"ends_at": middle, "ends_between": [low, high], "known_batches": found.known}


def _age(batch: BatchRow, now: datetime) -> float:
    since = batch.accepted_at
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _durations(store: Store, lane: LaneRow) -> Durations:
    url = None if lane.account_id is None else store.accounts.get(lane.account_id).base_url
    return learnt(store.histories.took(lane.provider, url).get(lane.model, []))
