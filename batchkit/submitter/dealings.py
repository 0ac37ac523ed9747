"""How it goes with one provider's account: what it told us last, and what follows from a no."""

from __future__ import annotations

from datetime import datetime, timedelta

from batchkit.clock import Clock
from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import Search
from batchkit.pace import Pace
from batchkit.providers import Provider
from batchkit.store import AccountRow, BatchRow, Store

SLACK = timedelta(minutes=10)
"""How far off the provider's time may be as we reckon it."""

_ASLEEP = timedelta(minutes=1)
"""By how much more than the time that passed our clock may have gone on before we ask again."""

NO_LISTING = (404, 405, 501)
"""What servers answer that do not list batches; they can be sent to all the same."""

_LISTS = "lists"
"""What is learnt of an account whose batches could be listed once."""


class Dealings:
    """What is known of one account from its answers, for all who call it to send."""

    def __init__(
        self, store: Store, provider: Provider, account: AccountRow, pace: Pace, clock: Clock
    ) -> None:
        self._store = store
        self._provider = provider
        self._account = account
        self._pace = pace
        self._clock = clock
        self._heard: tuple[datetime, datetime, float] | None = None
        self._lists = False

    def answered(self) -> None:
        """Note that it can be reached."""
        self._store.accounts.answered(self._account.id)

    def listed(self, search: Search, now: datetime) -> None:
        """Remember that batches can be listed there, and what time it was."""
        self.hear(search.now, now)
        if not self._lists:
            self._lists = True
            self._store.accounts.learn(self._account.id, _LISTS, True)

    def is_passing(self, error: ProviderRefused | ProviderGarbled) -> bool:
        """Say whether a route is missing that was there before: that passes by itself."""
        if error.status not in NO_LISTING:
            return False
        return self._lists or bool(self._store.accounts.get(self._account.id).learnt.get(_LISTS))

    def hear(self, told: datetime | None, now: datetime) -> None:
        """Remember what time it is there."""
        if told is not None:
            self._heard = (told, now, self._clock.monotonic())

    def time_there(self, now: datetime) -> datetime | None:
        """Return the provider's time; None where it has to be asked for.

        What was heard minutes ago is still good, by a clock that nobody sets; one that stands still
        while the machine sleeps is told by the other.
        """
        if self._heard is None:
            return None
        told, then, at = self._heard
        passed = timedelta(seconds=self._clock.monotonic() - at)
        is_good = passed <= SLACK and timedelta(0) <= now - then <= passed + _ASLEEP
        return told + passed if is_good else None

    def silent(self, batch: BatchRow, lease: int, now: datetime, said: float | None) -> datetime:
        """Put a batch off because nobody answered; return until when."""
        account = self._store.accounts.get(self._account.id)
        until = now + self._pace.retry_after(account.failures + 1, said)
        self._store.accounts.silent(self._account.id, now, until)
        self._store.batches.later(batch.id, lease, until)
        return until

    def refused(self, error: ProviderRefused | ProviderGarbled, now: datetime) -> None:
        """Block the account where a no is about it, and a person has to mend it."""
        if self.is_passing(error):
            return
        if isinstance(error, ProviderRefused) and error.reason == "account":
            self._store.accounts.block(self._account.id, now, str(error))

    def unstage(self, file_ref: str, now: datetime) -> bool:
        """Delete the input file first, so that a create still under way can only fail."""
        try:
            self._provider.unstage(file_ref)
        except ProviderUnavailable as error:
            until = now + self._pace.retry_after(1, error.retry_after)
            self._store.accounts.silent(self._account.id, now, until)
            return False
        except (ProviderRefused, ProviderGarbled):
            return False
        return True
