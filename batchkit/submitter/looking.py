"""Look up whether a create arrived whose answer was lost, by the provider's own clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import Candidate, Search, Spool, Window
from batchkit.pace import Pace, sending
from batchkit.providers import Provider
from batchkit.store import AccountRow, BatchRow, Store
from batchkit.submitter.dealings import NO_LISTING, SLACK, Dealings

_APART = timedelta(seconds=120)
"""How far apart, by the provider's clock, two looks must be that find nothing."""

_CLIENT_TIMEOUT = timedelta(seconds=900)
"""After which no small create of ours can still be under way, by the provider's clock."""

_ENOUGH_LOOKS = 9
"""Complete looks that take longer than all of that, should the provider's clock stand still."""


class Looker:
    """Asks one provider's account what became of a batch."""

    def __init__(
        self,
        store: Store,
        provider: Provider,
        account: AccountRow,
        pace: Pace,
        dealings: Dealings,
    ) -> None:
        self._store = store
        self._provider = provider
        self._account = account
        self._pace = pace
        self._dealings = dealings

    def look(self, batch: BatchRow, lease: int, now: datetime) -> bool:
        """Ask the provider whether a create arrived; return whether the batch moved."""
        if self._provider.traits.stages and batch.file_ref is None:
            # An upload that went astray costs nothing and no create was made: send again.
            return self._store.batches.unsend(batch.id, lease, now, keep_file=False, at=now)
        known = self._known(batch)
        window = self._window(batch, now)
        spool = spool_of(self._store, batch)
        try:
            search = self._provider.find(spool, batch.file_ref, window, known)
        except ProviderUnavailable as error:
            self._dealings.silent(batch, lease, now, error.retry_after)
            return False
        except (ProviderRefused, ProviderGarbled) as error:
            self._dealings.refused(error, now)
            self._store.batches.looked(
                batch.id, lease, now, now + self._pace.look_after(8), complete=False
            )
            return False
        self._dealings.answered()
        self._dealings.listed(search, now)
        found = _best(search.candidates)
        if found is not None:
            return self._adopt(batch, found, search.candidates, lease, now)
        return self._not_found(batch, search, lease, now)

    def provider_time(self, batch: BatchRow, lease: int, now: datetime) -> datetime | None:
        """Return the time at the provider, asked for with one look; None if nobody answers now."""
        there = self._dealings.time_there(now)
        if there is not None:
            return there
        try:
            look = self._provider.find(spool_of(self._store, batch), None, Window(now, now), ())
        except ProviderUnavailable as error:
            self._dealings.silent(batch, lease, now, error.retry_after)
            return None
        except (ProviderRefused, ProviderGarbled) as error:
            if error.status in NO_LISTING and not self._dealings.is_passing(error):
                return now  # a server without a listing: a lost create there stays unclear
            self._dealings.refused(error, now)
            self._store.batches.later(batch.id, lease, now + self._pace.seconds(60))
            return None
        self._dealings.listed(look, now)
        return look.now or now

    def later(self, batch: BatchRow, lease: int, now: datetime) -> None:
        """Look again after a while."""
        self._store.batches.later(batch.id, lease, now + self._pace.look_after(0))

    def _adopt(
        self,
        batch: BatchRow,
        found: Candidate,
        candidates: Sequence[Candidate],
        lease: int,
        now: datetime,
    ) -> bool:
        poll_at = now + self._pace.poll_after(timedelta(0))
        landed = self._store.batches.accept(batch.id, lease, found, now, poll_at)
        if landed:
            self._cancel_twins(batch, found, candidates, now)
        return landed

    def _cancel_twins(
        self, batch: BatchRow, kept: Candidate, candidates: Sequence[Candidate], now: datetime
    ) -> None:
        """A second batch that is certainly ours was created twice: stop it, and say so."""
        for twin in candidates:
            if twin.ref == kept.ref or twin.proof != "certain":
                continue
            self._store.events.add(batch.run_id, now, "twin", ref=twin.ref, kept=kept.ref)
            try:
                self._provider.cancel(twin.ref)
            except (ProviderUnavailable, ProviderRefused, ProviderGarbled):
                continue

    def _not_found(self, batch: BatchRow, search: Search, lease: int, now: datetime) -> bool:
        """Look again; send again only when nothing of ours can be there or still arrive."""
        looks = batch.looks + int(search.complete)
        if search.complete and self._is_gone(batch, looks, search.now or now):
            if batch.file_ref is not None and not self._dealings.unstage(batch.file_ref, now):
                self.later(batch, lease, now)
                return False
            return self._store.batches.unsend(batch.id, lease, now, keep_file=False, at=now)
        next_at = now + self._pace.look_after(looks)
        self._store.batches.looked(
            batch.id, lease, search.now or now, next_at, complete=search.complete
        )
        return False

    def _is_gone(self, batch: BatchRow, looks: int, there: datetime) -> bool:
        """Two complete looks minutes apart, after our timeout: by the provider's clock.

        Ours may have been set since.
        """
        under_way = self._under_way(batch)
        more = (under_way - _CLIENT_TIMEOUT).total_seconds() / self._pace.longest_look
        if looks >= _ENOUGH_LOOKS + math.ceil(more):
            return True
        if batch.looked_at is None or there - batch.looked_at < _APART:
            return False
        since = batch.looked_at if batch.heard_at is None else batch.heard_at
        return there - since >= under_way

    def _known(self, batch: BatchRow) -> set[str]:
        return self._store.batches.refs(self._account.id) | set(batch.refused_refs)

    def _window(self, batch: BatchRow, now: datetime) -> Window:
        """When it may have arrived, by the provider's clock as far as that is known."""
        about = batch.heard_at or batch.intent_at or now
        return Window(about - SLACK, about + self._under_way(batch) + SLACK)

    def _under_way(self, batch: BatchRow) -> timedelta:
        """Return after how long no create of ours can still be under way.

        One that carries its requests takes as long as they do.
        """
        carried = 0 if self._provider.traits.stages else batch.bytes
        return _CLIENT_TIMEOUT + sending(carried)


def spool_of(store: Store, batch: BatchRow) -> Spool:
    """Return a batch's lines as a provider takes them."""
    lane = store.jobs.lane(batch.lane_id or 0)
    return Spool(
        path=Path(str(batch.spool)),
        token=str(batch.token),
        count=batch.count,
        bytes=batch.bytes,
        sha256=str(batch.sha256),
        model=lane.model,
        endpoint=lane.endpoint,
        batch_id=batch.id,
        run_id=batch.run_id,
    )


def _best(candidates: Sequence[Candidate]) -> Candidate | None:
    """Prefer a certain proof, then the oldest: a younger twin is the one too many."""

    def rank(one: Candidate) -> tuple[bool, bool, float]:
        return (one.proof != "certain", one.at is None, one.at.timestamp() if one.at else 0.0)

    return min(candidates, key=rank, default=None)
