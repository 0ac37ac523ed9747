"""Claim jobs, spool them, seal, stage, create, accept; and look lost answers up.

The order of writes is what makes a night safe: the spool is durable before the batch is sealed,
the batch is ``submitting`` before the first call that creates, the uploaded file is recorded
before the create that uses it. Wherever the process dies, the next one reads what may have
happened, and asks the provider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias

from batchkit import states
from batchkit.clock import Clock, SystemClock
from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import BatchState, Spool, Waiting
from batchkit.pace import Pace
from batchkit.providers import Provider
from batchkit.spools import Spools, taken_over
from batchkit.store import AccountRow, BatchRow, RunRow, Store
from batchkit.submitter.cutting import Cutter
from batchkit.submitter.dealings import Dealings
from batchkit.submitter.lending import Lender
from batchkit.submitter.looking import Looker, spool_of
from batchkit.submitter.underway import Sending

_ODD_ANSWERS = 8
"""Uploads in a row whose answer makes no sense before a person is asked; outages do not count."""

_TWO_HANDED: tuple[type, ...] = (SystemClock,)
"""Clocks that run by themselves: by one that waiting moves, nothing goes on beside anything."""

_FOREVER = timedelta(days=36_500)


@dataclass(slots=True)
class Report:
    """What a pass did, and what keeps each run from sending more: (Waiting, sentence)."""

    acted: int = 0
    hindrances: dict[int, tuple[Waiting, str]] = field(default_factory=dict)


Step: TypeAlias = Callable[[BatchRow, int, datetime], bool]


class Submitter:
    """The step that sends, for one provider's account."""

    def __init__(
        self,
        store: Store,
        provider: Provider,
        account: AccountRow,
        spools: Spools,
        owner: str,
        pace: Pace,
        clock: Clock,
    ) -> None:
        self._store = store
        self._provider = provider
        self._account = account
        self._spools = spools
        self._owner = owner
        self._pace = pace
        self._lender = Lender(store, provider, account, pace, clock)
        self._lender.is_told_to_leave = self._must_leave
        self._cutter = Cutter(store, provider, account, spools, owner, pace, self._lender)
        self._clock = clock
        self._cuts_ahead = isinstance(clock, _TWO_HANDED)
        self._dealings = Dealings(store, provider, account, pace, clock)
        self._looker = Looker(store, provider, account, pace, self._dealings)
        self.is_told_to_leave: Callable[[], bool] = bool

    def run_once(self, runs: Sequence[RunRow], now: datetime) -> Report:
        """Look up what is unclear, send what is sealed, then cut and send while there is room."""
        report = Report()
        ids = [run.id for run in runs]
        report.acted += self._each(ids, BatchState.SUBMITTING, now, self._looker.look)
        report.acted += self._each(ids, BatchState.SEALED, now, self.send)
        for run in runs:
            self._fill(run, now, report)
        return report

    def recall(self, runs: Sequence[RunRow], now: datetime) -> int:
        """Give up what is sealed while only a person can mend the account: the jobs wait again."""
        recalled = 0
        for run in runs:
            for batch in self._store.batches.of_run(run.id, live=True):
                is_ours = batch.account_id == self._account.id
                if batch.state == BatchState.SEALED and is_ours:
                    why = "the account has to be mended first"
                    recalled += self._recalled(batch, now, "account", why)
        return recalled

    def _recalled(self, batch: BatchRow, now: datetime, code: str, why: str) -> bool:
        lease = self._store.leases.claim(batch.id, self._owner, now)
        if lease is None:
            return False
        if not self._store.batches.void(states.DROP, batch.id, lease, now, code, why):
            return False
        self._spools.forget(str(batch.token))
        return True

    def clear_away(self) -> None:
        """Delete the documents at the provider that nobody asks about any more."""
        self._lender.clear_away(self._clock.now())

    def feel(self, waits: bool) -> None:
        """Say whether a queue that nobody knows is felt for: it takes somebody who stays."""
        self._cutter.shares.waits = waits

    def _first_poll(self, batch: BatchRow, now: datetime) -> datetime:
        model = self._store.jobs.lane(batch.lane_id or 0).model
        if self._cutter.shares.is_felt_for(model, now):
            return now + self._pace.word_after(timedelta(0))
        return now + self._pace.poll_after(timedelta(0))

    def _each(self, ids: Sequence[int], state: BatchState, now: datetime, step: Step) -> int:
        """Claim each batch that is due and make one step with it."""
        acted = 0
        for batch in self._store.batches.due(ids, self._provider.name, now, [state]):
            if self.is_told_to_leave():
                break
            lease = self._store.leases.claim(batch.id, self._owner, now)
            if lease is None:
                continue
            fresh = self._store.batches.get(batch.id)
            if fresh.state == state:
                with taken_over(self._holds(batch.id, lease)):
                    acted += step(fresh, lease, now)
            self._store.leases.let_go(batch.id, lease)
        return acted

    def _fill(self, run: RunRow, now: datetime, report: Report) -> None:
        """Cut and send while there is room, each batch cut while the one before goes up the line.

        One that was cut behind a batch that did not go is given up, as if it had not been.
        """
        before: Sending | None = None
        try:
            while not self.is_told_to_leave():
                sealed = self._cutter.next_batch(run.id, now)
                report.acted += sealed.settled + (sealed.batch_id is not None)
                if before is not None and not before.went():
                    if sealed.batch_id is not None:
                        batch = self._store.batches.get(sealed.batch_id)
                        self._recalled(batch, now, "behind", "the one before it did not go")
                    return
                if sealed.batch_id is None:
                    if sealed.hindrance is not None:
                        report.hindrances[run.id] = sealed.hindrance
                    return
                if self.is_told_to_leave():  # cutting may have taken an upload: the last call
                    return
                send = partial(self._claimed_and_sent, sealed.batch_id, now)
                before = Sending(send, beside=self._cuts_ahead)
        finally:
            if before is not None:
                before.went()

    def _claimed_and_sent(self, batch_id: int, now: datetime) -> bool:
        lease = self._store.leases.claim(batch_id, self._owner, now)
        if lease is None:
            return False
        batch = self._store.batches.get(batch_id)
        went = False
        with taken_over(self._holds(batch.id, lease)):
            went = self.send(batch, lease, now)
        self._store.leases.let_go(batch.id, lease)
        return went

    def _holds(self, batch_id: int, lease: int) -> Callable[[], bool]:
        return partial(self._store.leases.holds, batch_id, lease, self._owner)

    def send(self, batch: BatchRow, lease: int, now: datetime) -> bool:
        """Send a sealed batch; return whether the provider has it now."""
        if self._drop_unwanted(batch, lease, now):
            return False
        if not self._is_ready(batch, lease, now) or not self._is_good(batch, lease, now):
            return False
        heard_at = self._looker.provider_time(batch, lease, now)
        if heard_at is None:
            return False
        if not self._store.batches.send(batch.id, lease, now, heard_at=heard_at):
            self._store.batches.later(batch.id, lease, now + self._pace.seconds(30))
            return False
        spool = spool_of(self._store, batch)
        file_ref = batch.file_ref
        if self._provider.traits.stages and file_ref is None:
            file_ref = self._stage(batch, spool, lease, now)
            if file_ref is None:
                return False
        went = self._create(batch, spool, file_ref, lease, now)
        if went:
            self._spools.cool(spool.token)
        return went

    def _must_leave(self) -> bool:
        return self.is_told_to_leave()

    def _drop_unwanted(self, batch: BatchRow, lease: int, now: datetime) -> bool:
        run = self._store.runs.get(batch.run_id)
        late = run.deadline_at is not None and run.deadline_at <= now
        if not (run.cancel_requested_at or batch.cancel_requested_at or late):
            return False
        why = "time_limit" if late else "cancelled"
        if batch.file_ref is not None and not self._dealings.unstage(batch.file_ref, now):
            return True
        if self._store.batches.void(states.DROP, batch.id, lease, now, why, "not sent any more"):
            self._spools.forget(str(batch.token))
        return True

    def _is_ready(self, batch: BatchRow, lease: int, now: datetime) -> bool:
        """Check that the lines lie on this host, whole; else give the batch up, it never went."""
        if batch.spool_host != self._spools.host and not Path(str(batch.spool)).exists():
            self._store.batches.later(batch.id, lease, now + self._pace.seconds(60))
            age = now - batch.sealed_at if batch.sealed_at else timedelta(0)
            if age < self._pace.seconds(600):
                return False
        path = Path(str(batch.spool))
        if path.exists() and path.stat().st_size == batch.bytes:
            return True
        self._store.batches.void(
            states.DROP, batch.id, lease, now, "spool_gone", f"{path} is not there any more"
        )
        return False

    def _is_good(self, batch: BatchRow, lease: int, now: datetime) -> bool:
        """Check that what the lines name will be there; else give the batch up, it never went."""
        if self._lender.is_good(batch, now):
            return True
        if batch.file_ref is not None and not self._dealings.unstage(batch.file_ref, now):
            return False
        why = "an uploaded document that it names will not last"
        if self._store.batches.void(states.DROP, batch.id, lease, now, "upload_gone", why):
            self._spools.forget(str(batch.token))
        return False

    def _stage(self, batch: BatchRow, spool: Spool, lease: int, now: datetime) -> str | None:
        try:
            file_ref = self._provider.stage(spool)
        except ProviderUnavailable as error:
            until = self._dealings.silent(batch, lease, now, error.retry_after)
            self._unsend(batch, lease, now, keep_file=False, at=until)
            return None
        except ProviderGarbled as error:
            self._odd(batch, error, lease, now)
            return None
        except ProviderRefused as error:
            self._refused(batch, error, lease, now)
            return None
        self._dealings.answered()
        return file_ref if self._store.batches.staged(batch.id, lease, file_ref) else None

    def _create(
        self, batch: BatchRow, spool: Spool, file_ref: str | None, lease: int, now: datetime
    ) -> bool:
        if not self._store.leases.holds(batch.id, lease, self._owner):
            return False
        try:
            created = self._provider.create(spool, file_ref)
        except ProviderUnavailable as error:
            until = self._dealings.silent(batch, lease, now, error.retry_after)
            if error.maybe:
                self._looker.later(batch, lease, now)
            else:
                self._unsend(batch, lease, now, keep_file=True, at=until)
            return False
        except ProviderGarbled:
            self._looker.later(batch, lease, now)
            return False
        except ProviderRefused as error:
            self._refused(batch, error, lease, now)
            return False
        self._dealings.answered()
        self._dealings.hear(created.at, now)
        landed = self._store.batches.accept(
            batch.id, lease, created, now, self._first_poll(batch, now)
        )
        if not landed:
            self._came_late(batch, created.ref, now)
        return landed

    def _came_late(self, batch: BatchRow, ref: str, now: datetime) -> None:
        """We were paused past our lease: what we made is one too many if another has its own.

        While nobody has, the next look finds ours.
        """
        fresh = self._store.batches.get(batch.id)
        if fresh.ref is None or fresh.ref == ref or fresh.token != batch.token:
            return
        self._store.events.add(batch.run_id, now, "twin", ref=ref, kept=fresh.ref)
        with suppress(ProviderUnavailable, ProviderRefused, ProviderGarbled):
            self._provider.cancel(ref)

    def _refused(self, batch: BatchRow, error: ProviderRefused, lease: int, now: datetime) -> None:
        """Act on a clear no: nothing arrived."""
        if self._dealings.is_passing(error):
            self._odd(batch, error, lease, now)
            return
        match error.reason:
            case "account":
                self._store.accounts.block(self._account.id, now, str(error))
                self._unsend(batch, lease, now, keep_file=False, at=now)
            case "queue":
                self._no_room(batch, error, lease, now)
            case "not_found":  # the uploaded file is gone: upload again
                self._odd(batch, error, lease, now)
            case _:
                self._void(batch, error, lease, now)

    def _odd(
        self, batch: BatchRow, error: ProviderRefused | ProviderGarbled, lease: int, now: datetime
    ) -> None:
        """Upload again, later; after a while it is no accident and a person shall look."""
        later = now + self._pace.retry_after(batch.failures + 1, None)
        self._unsend(batch, lease, now, keep_file=False, at=later)
        if batch.failures + 1 >= _ODD_ANSWERS:
            said = (
                f"{self._provider.name} answers uploads oddly, {batch.failures + 1} times: {error}"
            )
            self._store.runs.hold(batch.run_id, now + _FOREVER, said, now)

    def _void(self, batch: BatchRow, error: ProviderRefused, lease: int, now: datetime) -> None:
        code = error.code or error.reason
        moved = self._store.batches.void(states.REFUSE, batch.id, lease, now, code, str(error))
        if not moved:
            return
        self._spools.forget(str(batch.token))
        if error.reason == "too_large" and batch.count > 1:
            self._cutter.smaller_than(batch.bytes)
            return
        said = f"{self._provider.name} turned a batch away: {error}"
        self._store.runs.hold(batch.run_id, now + _FOREVER, said, now)

    def _unsend(
        self, batch: BatchRow, lease: int, now: datetime, *, keep_file: bool, at: datetime
    ) -> bool:
        return self._store.batches.unsend(batch.id, lease, now, keep_file=keep_file, at=at)

    def _no_room(self, batch: BatchRow, error: ProviderRefused, lease: int, now: datetime) -> None:
        """Cut again for the room there is; where the queue is somebody else's, try less often."""
        _, requests = self._store.accounts.queued(self._account.id, None)
        ours = requests - batch.count
        if self._provider.limits.queue != "requests" or ours <= 0:
            later = now + self._pace.retry_after(batch.failures + 6, None)
            self._unsend(batch, lease, now, keep_file=True, at=later)
            return
        self._store.accounts.learn(self._account.id, "queue_requests", ours)
        code = error.code or error.reason
        if self._store.batches.void(states.REFUSE, batch.id, lease, now, code, str(error)):
            self._spools.forget(str(batch.token))
