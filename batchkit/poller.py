"""Ask each running batch that is due how it stands: end it, defer it, cancel it when time is up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from batchkit import states
from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import BatchState, BatchStatus
from batchkit.pace import Pace
from batchkit.providers import Provider
from batchkit.store import AccountRow, BatchRow, RunRow, Store

_OVERDUE = timedelta(hours=1)
"""How long past the provider's window a batch may be silent before it is asked to stop."""


_MOST_REFUSALS = 2
"""After so many a full queue is somebody else's doing: the next try is an hour away."""

_STUCK = 3_600.0


class Poller:
    """The step that watches, for one provider's account."""

    def __init__(
        self, store: Store, provider: Provider, account: AccountRow, owner: str, pace: Pace
    ) -> None:
        self._store = store
        self._provider = provider
        self._account = account
        self._owner = owner
        self._pace = pace

    def run_once(self, runs: Sequence[RunRow], now: datetime) -> int:
        """Ask every running batch that is due; return how many moved."""
        by_id = {run.id: run for run in runs}
        due = self._store.batches.due(list(by_id), self._provider.name, now, [BatchState.RUNNING])
        moved = 0
        for batch in due:
            lease = self._store.leases.claim(batch.id, self._owner, now)
            if lease is None:
                continue
            fresh = self._store.batches.get(batch.id)
            if fresh.state == BatchState.RUNNING:
                moved += self._step(fresh, by_id[batch.run_id], lease, now)
            self._store.leases.let_go(batch.id, lease)
        return moved

    def _step(self, batch: BatchRow, run: RunRow, lease: int, now: datetime) -> bool:
        try:
            if self._should_cancel(batch, run, now):
                self._provider.cancel(str(batch.ref))
                self._store.batches.cancel_sent(batch.id, lease, now)
                batch = self._store.batches.get(batch.id)
            status = self._provider.poll(str(batch.ref))
        except ProviderUnavailable as error:
            self._silent(batch, lease, now, error.retry_after)
            return False
        except ProviderGarbled:
            self._silent(batch, lease, now, None)
            return False
        except ProviderRefused as error:
            return self._refused(batch, error, lease, now)
        self._store.accounts.answered(self._account.id)
        if not status.ended:
            return self._goes_on(batch, status, lease, now)
        if status.queue_full:
            return self._queue_full(batch, status, lease, now)
        return self._end(batch, status, lease, now)

    def _should_cancel(self, batch: BatchRow, run: RunRow, now: datetime) -> bool:
        """A wish, a deadline, or a batch that is stuck; never what may be a stranger's."""
        if batch.cancel_sent_at is not None or batch.proof != "certain":
            return False
        late = run.deadline_at is not None and run.deadline_at <= now
        wished = run.cancel_requested_at or batch.cancel_requested_at
        return bool(wished or late or _is_stuck(batch, now))

    def _goes_on(self, batch: BatchRow, status: BatchStatus, lease: int, now: datetime) -> bool:
        asked = self._pause(batch, now)
        self._store.batches.seen(batch.id, lease, status, now + asked)
        return False

    def _pause(self, batch: BatchRow, now: datetime) -> timedelta:
        """Return how long to leave a running batch alone: a cancel is soon heeded, or never."""
        asked = self._pace.poll_after(now - (batch.accepted_at or now))
        if batch.cancel_sent_at is None:
            return asked
        since = now - batch.cancel_sent_at
        if _is_stuck(batch, now):
            return self._pace.stuck_after(since)
        return min(asked, self._pace.poll_after(since))

    def _end(self, batch: BatchRow, status: BatchStatus, lease: int, now: datetime) -> bool:
        traits = self._provider.traits
        until = status.results_until or (batch.accepted_at or now) + traits.retention
        return self._store.batches.end(batch.id, lease, status, until, now)

    def _queue_full(self, batch: BatchRow, status: BatchStatus, lease: int, now: datetime) -> bool:
        """Nothing ran: keep what was learnt, and send the same lines when there is room."""
        model = self._store.jobs.lane(batch.lane_id or 0).model
        if status.queue_limit is not None:
            name = f"queue_tokens:{model}"
            self._store.accounts.learn(self._account.id, name, status.queue_limit)
            if batch.tokens > status.queue_limit and batch.count > 1:
                why = status.error_message or "larger than the provider's queue"
                return self._store.batches.void(
                    states.SHRINK, batch.id, lease, now, "token_limit_exceeded", why
                )
        refusals = len(batch.refused_refs)
        pause = self._pace.retry_after(refusals + 6, None)
        if refusals >= _MOST_REFUSALS:
            pause = self._pace.seconds(_STUCK)
        at = now + pause
        return self._store.batches.defer(batch.id, lease, status, now, at)

    def _refused(self, batch: BatchRow, error: ProviderRefused, lease: int, now: datetime) -> bool:
        if error.reason == "account":
            self._store.accounts.block(self._account.id, now, str(error))
            self._store.batches.later(batch.id, lease, now)
            return False
        return self._missing(batch, error, lease, now)

    def _missing(self, batch: BatchRow, error: ProviderRefused, lease: int, now: datetime) -> bool:
        """A 404 flaps after a create and is final only when retention is over."""
        since = batch.missing_since or now
        limit = (batch.accepted_at or now) + self._provider.traits.retention
        # What may be a stranger's is not waited for: they delete theirs as they like.
        unproven = batch.proof == "provisional" and self._pace.is_old(
            since, now, self._pace.missing
        )
        if now >= limit or unproven:
            lost = BatchStatus(
                str(batch.ref), "gone", ended=True, reason="lost", error_message=str(error)
            )
            return self._store.batches.end(batch.id, lease, lost, limit, now)
        pause = self._pace.retry_after(batch.failures + 1, None)
        self._store.batches.later(
            batch.id,
            lease,
            now + pause,
            missing_since=since,
            failures=batch.failures + 1,
            error_message=str(error),
        )
        return False

    def _silent(self, batch: BatchRow, lease: int, now: datetime, said: float | None) -> None:
        account = self._store.accounts.get(self._account.id)
        until = now + self._pace.retry_after(account.failures + 1, said)
        self._store.accounts.silent(self._account.id, now, until)
        self._store.batches.later(batch.id, lease, until)


def _is_stuck(batch: BatchRow, now: datetime) -> bool:
    return batch.expires_at is not None and batch.expires_at + _OVERDUE <= now
