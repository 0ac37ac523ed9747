"""What leaves the provider before anybody has fetched it, and what cannot be fetched."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from batchkit import providers
from batchkit.console import counted
from batchkit.errors import BatchkitError
from batchkit.model import BatchState
from batchkit.providers import Provider
from batchkit.store import BatchRow, Store

NOTICE = timedelta(days=9)
"""How long before results leave the provider it is said."""

_SHORTEST_KNOWN = timedelta(days=29)

_OFTEN = 3
"""Downloads that failed before it is said: one or two are nothing."""


def warnings(
    store: Store, run_id: int, now: datetime, known: Mapping[str, Provider] | None = None
) -> list[str]:
    """Return a sentence for every batch whose paid results go soon, or went, uncollected, and for
    every one whose results are refused again and again.

    A batch that was still running when somebody last asked is one of them: it may have ended since.
    """
    live = store.batches.of_run(run_id, live=True)
    served = {lane.id: lane.provider for lane in store.jobs.lanes(run_id)} if live else {}
    found = []
    for batch in live:
        provider = served.get(batch.lane_id or 0, "")
        until = _until(batch, provider, known or {})
        if until is not None and until - NOTICE <= now:
            found.append(_told(batch, provider, until, now))
        if batch.status is BatchState.ENDED and batch.failures >= _OFTEN and batch.error_message:
            found.append(
                f"the results of {counted(batch.count, 'job')} in {batch.ref} were asked for "
                f"{batch.failures} times: {batch.error_message}"
            )
    return found


def _until(batch: BatchRow, provider: str, known: Mapping[str, Provider]) -> datetime | None:
    if batch.status not in (BatchState.RUNNING, BatchState.ENDED) or batch.accepted_at is None:
        return None
    if batch.results_until is not None:
        return batch.results_until
    try:
        found = known[provider] if provider in known else providers.load(provider)
    except BatchkitError:  # not installed here: no reason not to warn
        return batch.accepted_at + _SHORTEST_KNOWN
    return batch.accepted_at + found.traits.retention


def _told(batch: BatchRow, provider: str, until: datetime, now: datetime) -> str:
    day = f"{until.astimezone():%Y-%m-%d %H:%M}"
    jobs = counted(batch.count, "job")
    if until <= now:
        return f"the results of {jobs} in {batch.ref} left {provider} on {day}, uncollected"
    return f"the results of {jobs} in {batch.ref} leave {provider} on {day}: collect them"
