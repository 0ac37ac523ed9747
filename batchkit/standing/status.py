"""Where a run stands, read from counters: nothing here looks at single jobs of a started run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from batchkit.clock import Clock
from batchkit.model import FINAL_JOB_STATES, LIVE_STATES, BatchState, Json, RunState, Waiting
from batchkit.money import dollars, enough, optional_dollars, show, usd
from batchkit.store import BatchRow, RunRow, Store

_COUNTED = (*LIVE_STATES, BatchState.COLLECTED, BatchState.ABANDONED)
"""A void batch never ran: its jobs are in others."""


class Gauge:
    """Reads one run's status again and again; counts failures by reason only when there are new."""

    def __init__(self, store: Store, run_id: int, clock: Clock) -> None:
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._failures: tuple[Any, dict[str, int]] = (None, {})
        self._counted: tuple[Any, Json] = (None, {})
        self._cached: tuple[Any, Json | None] = (None, None)

    def read(self) -> Json:
        """Return the status as ``BatchRun.status`` promises it."""
        run = self._store.runs.get(self._run_id)
        batches = self._store.batches.of_run(run.id)
        waiting_for, since = self._waiting(run)
        return {
            **self._counts(run),
            **_money(run),
            **self._cover(run),
            "is_complete": run.is_done,
            "state": state_of(run, waiting_for).value,
            "waiting_for": waiting_for,
            "since": stamp(since),
            "last_progress_at": stamp(run.last_progress_at),
            "next_poll_at": stamp(self._store.batches.next_at([run.id])),
            "failed_by_code": self._failed_by_code(run),
            **_batch_counts(batches),
            "items_per_batch": run.settings.items_per_batch,
            "elapsed_s": self._elapsed(run),
        }

    def _cover(self, run: RunRow) -> Json:
        """Say how far the limit can be overshot; nothing where bounds are reserved from the start.

        Upper bounds that a person asked for later, or that a batch brought back, do not cover what
        was in flight by then.
        """
        over = 0 if "reserve" not in run.spec else self._store.reservations.overshoot(run.id)
        if run.reserve == "bound" and not over:
            return {}
        return {"reserve": run.reserve, "overshoot_usd": dollars(over)}

    def _counts(self, run: RunRow) -> Json:
        if run.split:
            return self._documents(run)
        if run.opened_at is None:
            return self._drafted(run)
        left = max(0, run.total - run.ended)
        active = min(left, self._store.runs.live(run.id)[0])
        return {
            "total": run.total,
            "pending": left - active,
            "active": active,
            "completed": run.completed,
            "failed": run.failed,
            "cancelled": run.cancelled,
        }

    def _documents(self, run: RunRow) -> Json:
        """Count documents, not the parts that some are sent in; again only when there is news."""
        news = (run.next_no, run.total, run.completed, run.failed, run.cancelled, run.opened_at)
        seen = (*news, run.collected_no, self._store.runs.live(run.id))
        if self._counted[0] != seen:
            counts = self._store.parts.counts(run.id, draft=run.opened_at is None)
            self._counted = (seen, counts)
        return dict(self._counted[1])

    def _drafted(self, run: RunRow) -> Json:
        """Count a draft's rows, which no counter holds; what was tried out has an answer."""
        left = sum(int(row.jobs) for row in self._store.surveys.draft_sums(run.id))
        ended = Counter(answer.state for answer in self._store.answers.ended(run.id))
        return {
            "total": left + ended.total(),
            "pending": left,
            "active": 0,
            **{state.value: ended[state.value] for state in FINAL_JOB_STATES},
        }

    def _waiting(self, run: RunRow) -> tuple[str | None, datetime | None]:
        if run.waiting_for is not None or run.opened_at is None or run.is_done:
            return run.waiting_for, run.waiting_since
        silent = [row.unreachable_since for row in self._store.accounts.of_run(run.id)]
        since = min((at for at in silent if at is not None), default=None)
        return (None if since is None else Waiting.PROVIDER.value), since

    def _failed_by_code(self, run: RunRow) -> dict[str, int]:
        seen = (run.collected_no, run.failed, run.cancelled)
        if self._failures[0] != seen:
            some = run.failed or run.cancelled
            self._failures = (seen, self._reasons(run) if some else {})
        return dict(self._failures[1])

    def _reasons(self, run: RunRow) -> dict[str, int]:
        if not run.split:
            return self._store.runs.failed_by_code(run.id)
        return Counter(str(one.code) for one in self._store.parts.unanswered(run.id))

    def firsts(self) -> Json:
        """Return what went before the rest: ``canary`` and ``prompt_caching``, None where none."""
        run = self._store.runs.get(self._run_id)
        return {"canary": _canary(run), "prompt_caching": self._caching(run)}

    def _caching(self, run: RunRow) -> Json | None:
        """Say what caching came to; None where nothing was primed. Counted when there is news."""
        if self._cached[0] != (seen := (run.collected_no, run.opened_at)):
            prefixes, warmed = self._store.prefixes.sums(run.id)
            found: Json | None = None
            if prefixes:
                read, written = self._store.prefixes.tokens(run.id)
                found = {
                    "prefixes": prefixes,
                    "warmed": warmed,
                    "cached_tokens": read,
                    "cache_write_tokens": written,
                }
            self._cached = (seen, found)
        return None if self._cached[1] is None else dict(self._cached[1])

    def _elapsed(self, run: RunRow) -> float:
        if run.first_send_at is None:
            return 0.0
        until = run.finished_at or self._clock.now()
        return max(0.0, (until - run.first_send_at).total_seconds())


def state_of(run: RunRow, waiting_for: str | None) -> RunState:
    """Derive a run's state; it is stored nowhere."""
    if run.opened_at is None:
        return RunState.DRAFT
    if not run.is_done:
        return RunState.WAITING if waiting_for else RunState.RUNNING
    if run.failed:
        return RunState.FAILED
    return RunState.CANCELLED if run.cancelled else RunState.COMPLETED


def stamp(at: datetime | None) -> str | None:
    """Write a time as ISO 8601, in UTC."""
    return None if at is None else at.isoformat()


def _canary(run: RunRow) -> Json | None:
    """Say how the canary fares: ``waiting``, ``passed``, ``held``, or ``off`` once let go."""
    if run.canary is None:
        return None
    names = ("state", "jobs", "why")
    return {name: run.canary.get(name) for name in names}


def _money(run: RunRow) -> Json:
    return {
        "cost_usd": dollars(run.spent),
        "reserved_usd": dollars(run.reserved),
        "cost_limit_usd": optional_dollars(run.cost_limit),
        "cost_unknown_jobs": run.cost_unknown,
    }


def _batch_counts(batches: list[BatchRow]) -> Json:
    counted = [batch for batch in batches if batch.status in _COUNTED]
    live = [at for at, batch in enumerate(counted, 1) if batch.status in LIVE_STATES]
    current = live[0] if live else 0
    return {
        "batches_total": len(counted),
        "batches_completed": len(counted) - len(live),
        "batches_pending": len(live),
        "current_batch_index": current,
        "current_batch_size": counted[current - 1].count if current else 0,
    }


def described(store: Store, run: RunRow, status: Json) -> Json:
    """Return a run as plain data: its status, settings and batches."""
    return {
        "id": run.uid,
        "name": run.name,
        "project": run.project,
        "database": store.shown,
        "created_at": stamp(run.created_at),
        "opened_at": stamp(run.opened_at),
        "finished_at": stamp(run.finished_at),
        **status,
        "waiting_detail": run.waiting_detail,
        "settings": run.spec,
        "batches": batches_of(store, run.id),
    }


def batches_of(store: Store, run_id: int) -> dict[str, Json]:
    """Return a run's batches as ``set_on_progress`` promises them, by the provider's ref.

    One that has no ref yet goes by ``batch-`` and its number here.
    """
    providers = {lane.id: lane.provider for lane in store.jobs.lanes(run_id)}
    return {
        batch.ref or f"batch-{batch.id}": _batch(batch, providers.get(batch.lane_id or 0))
        for batch in store.batches.of_run(run_id)
    }


def _batch(batch: BatchRow, provider: str | None) -> Json:
    live = batch.status in LIVE_STATES
    return {
        "status": batch.state,
        "total": batch.count,
        "completed": batch.provider_completed if live else batch.completed,
        "failed": batch.provider_failed if live else batch.failed,
        "cost": dollars(batch.cost),
        "estimated_cost": dollars(batch.reserved if live else batch.cost),
        "provider": provider,
        "start_time": stamp(batch.accepted_at or batch.intent_at),
        "completion_time": stamp(batch.ended_at),
        "error": batch.error_message or batch.error_code,
    }


def line(status: Mapping[str, Any]) -> str:
    """Say a status in one line, without the time that it is."""
    ended = status["completed"] + status["failed"] + status["cancelled"]
    parts = [f"{ended:,} of {status['total']:,} done"]
    parts += [f"{status[name]:,} {name}" for name in ("failed", "cancelled") if status[name]]
    if status["active"]:
        parts.append(f"{status['active']:,} in flight")
    parts.append(_spent(status))
    count = status["batches_pending"]
    if count:
        parts.append(f"{count} {'batch' if count == 1 else 'batches'} running")
    if status["waiting_for"]:
        parts.append(_waits(status["waiting_for"], status["since"]))
    return ", ".join([*parts, *_uncovered(status)])


def _uncovered(status: Mapping[str, Any]) -> list[str]:
    """Say how far the limit can be overshot, and that what was observed did not hold."""
    over, reserve = status.get("overshoot_usd"), status.get("reserve")
    said = [f"up to {enough(usd(over))} above the limit"] if over else []
    return [*said, *(["upper bounds are reserved again"] if reserve == "exceeded" else [])]


def _waits(what: str, since: str | None) -> str:
    if what != Waiting.PROVIDER or since is None:
        return f"waiting for {what}"
    return f"provider unreachable since {datetime.fromisoformat(since).astimezone():%H:%M}"


def _spent(status: Mapping[str, Any]) -> str:
    said = f"{show(usd(status['cost_usd']))} spent"
    if status["cost_limit_usd"] is not None:
        said += f" of {show(usd(status['cost_limit_usd']))}"
    if status["cost_unknown_jobs"]:
        noun = "job" if status["cost_unknown_jobs"] == 1 else "jobs"
        said += f" ({status['cost_unknown_jobs']:,} {noun} at an unknown cost)"
    return said
