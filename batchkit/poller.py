"""Ask each running batch that is due how it stands: end it, defer it, cancel it when time is up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from batchkit import planning, states
from batchkit.durations import Durations, learnt
from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import BatchState, BatchStatus
from batchkit.pace import LIKELY_POINTS, Pace
from batchkit.providers import Provider, Surveyor
from batchkit.store import AccountRow, BatchRow, RunRow, Store

_OVERDUE = timedelta(hours=1)
"""How long past the provider's window a batch may be silent before it is asked to stop."""


_MOST_REFUSALS = 2
"""After so many a full queue is somebody else's doing: the next try is an hour away."""

_STUCK = 3_600.0

_FRESH = 600.0
"""Seconds that what was read of earlier batches is good for."""

_TELLING = 5
"""Earlier batches of a model from which on they say when the next end."""

_UNLISTED = 3_600.0
"""Seconds without a listing, where one failed or hardly showed our batches."""

_ANY_TIME = timedelta(days=3_650)


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
        self._outlook = Outlook(store, account, pace)
        self._listed_from: datetime | None = None
        self._looks_at_all = False

    def look_at_all(self) -> None:
        """Ask for every running batch the next time, due or not: somebody wants to know now."""
        self._looks_at_all = True

    def run_once(self, runs: Sequence[RunRow], now: datetime) -> int:
        """Ask every running batch that is due; return how many moved.

        Where several run and the provider can list them, one call tells of all: what is due soon
        comes along, so that next time they are due together; only ends are asked for singly.
        """
        by_id = {run.id: run for run in runs}
        until = now + _ANY_TIME if self._looks_at_all else now
        self._looks_at_all = False
        due = self._running(list(by_id), until)
        if not due:
            return 0
        running = self._running(list(by_id), now + _ANY_TIME)
        told = self._listed(running, now)
        moved = 0
        asked = {batch.id for batch in due}
        soon = self._soon(running, told, now)
        for batch in [*due, *(one for one in soon if one.id not in asked)]:
            lease = self._store.leases.claim(batch.id, self._owner, now)
            if lease is None:
                continue
            fresh = self._store.batches.get(batch.id)
            if fresh.state == BatchState.RUNNING:
                status = told.get(str(fresh.ref))
                moved += self._step(fresh, by_id[batch.run_id], status, lease, now)
            self._store.leases.let_go(batch.id, lease)
        return moved

    def _running(self, run_ids: Sequence[int], until: datetime) -> list[BatchRow]:
        name = self._provider.name
        return self._store.batches.due(run_ids, name, until, [BatchState.RUNNING])

    def _soon(
        self, running: Sequence[BatchRow], told: Mapping[str, BatchStatus], now: datetime
    ) -> list[BatchRow]:
        """Return what is not due, but has ended, or has half of its pause behind it."""
        soon = []
        for batch in running:
            status = told.get(str(batch.ref))
            if status is None or batch.poll_at is None or batch.poll_at <= now:
                continue
            if status.ended or batch.poll_at - now <= self._pause(batch, now) / 2:
                soon.append(batch)
        return soon

    def _listed(self, running: Sequence[BatchRow], now: datetime) -> Mapping[str, BatchStatus]:
        """Ask for all at once; what fails here is asked for singly, which says what is wrong."""
        refs = {str(batch.ref) for batch in running}
        silent = self._listed_from is not None and now < self._listed_from
        if len(refs) < 2 or silent or not isinstance(self._provider, Surveyor):
            return {}
        try:
            told = self._provider.statuses(refs)
        except (ProviderUnavailable, ProviderGarbled, ProviderRefused):
            told = {}
        if 2 * len(told) < len(refs):
            self._listed_from = now + self._pace.seconds(_UNLISTED)
        return told

    def _step(
        self, batch: BatchRow, run: RunRow, status: BatchStatus | None, lease: int, now: datetime
    ) -> bool:
        try:
            if self._should_cancel(batch, run, now):
                self._provider.cancel(str(batch.ref))
                self._store.batches.cancel_sent(batch.id, lease, now)
                batch, status = self._store.batches.get(batch.id), None
            if status is None or status.ended:
                # A listing may say less of a batch than it says itself, and of an end all counts.
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
        if status.word == "validating" and self._is_awaited(batch, now):
            asked = min(asked, self._pace.word_after(now - (batch.accepted_at or now)))
        self._store.batches.seen(batch.id, lease, status, now + asked)
        return False

    def _is_awaited(self, batch: BatchRow, now: datetime) -> bool:
        """Say whether others wait until it is known that the queue has taken this one in."""
        model = self._store.jobs.lane(batch.lane_id or 0).model
        since = now - self._pace.seconds(self._pace.validated)
        untried = self._store.accounts.untried(self._account.id, model, since)
        return planning.is_felt_for(self._provider.limits.queue, untried)

    def _pause(self, batch: BatchRow, now: datetime) -> timedelta:
        """Return how long to leave a running batch alone: a cancel is soon heeded, or never."""
        age = now - (batch.accepted_at or now)
        asked = self._pace.poll_after(age, self._outlook.ends(batch, now))
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


class Outlook:
    """When batches are likely to end, by those before them at this account's provider."""

    def __init__(self, store: Store, account: AccountRow, pace: Pace) -> None:
        self._store = store
        self._account = account
        self._pace = pace
        self._read_at: datetime | None = None
        self._known: dict[str, Durations] = {}
        self._models: dict[int, str] = {}

    def ends(self, batch: BatchRow, now: datetime) -> list[float]:
        """Return after how many seconds more and more of its likes had ended; [] if unknown."""
        known = self._durations(now).get(self._model(batch.lane_id or 0))
        if known is None or known.known < _TELLING:
            return []
        shares = [(point + 0.5) / LIKELY_POINTS for point in range(LIKELY_POINTS)]
        return [known.quantile(share, batch.count) for share in shares]

    def _durations(self, now: datetime) -> dict[str, Durations]:
        if self._read_at is None or abs(now - self._read_at) >= self._pace.seconds(_FRESH):
            told = self._store.histories.took(self._account.provider, self._account.base_url)
            self._known = {model: learnt(past) for model, past in told.items()}
            self._read_at = now
        return self._known

    def _model(self, lane_id: int) -> str:
        if lane_id not in self._models:
            self._models[lane_id] = self._store.jobs.lane(lane_id).model
        return self._models[lane_id]


def _is_stuck(batch: BatchRow, now: datetime) -> bool:
    return batch.expires_at is not None and batch.expires_at + _OVERDUE <= now
