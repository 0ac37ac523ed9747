"""How much of the provider's queue the next batch takes: read from rows, judged by `planning`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from batchkit import planning
from batchkit.pace import Pace
from batchkit.planning import Scarce
from batchkit.providers import Provider
from batchkit.store import AccountRow, LaneRow, RunRow, Store


@dataclass(frozen=True, slots=True)
class Part:
    """What the next batch may take of the queue, and what it shall; None: all there is.

    ``waits`` if more of it shall be free first, which what is in flight will see to.
    """

    room: int | None = None
    share: int | None = None
    waits: bool = False


class Shares:
    """Judges a queue, for one provider's account.

    While its limit is not known it is felt for, unless ``waits`` is False: whoever leaves after one
    pass would leave most of his work behind.
    """

    def __init__(self, store: Store, provider: Provider, account: AccountRow, pace: Pace) -> None:
        self._store = store
        self._provider = provider
        self._account = account
        self._pace = pace
        self.waits = True
        self._means: dict[tuple[int, int], float] = {}
        self._scarce: set[int] = set()

    def part(self, run: RunRow, lane: LaneRow, now: datetime) -> Part:
        """Say how much of the queue the next batch of a lane takes.

        What goes again, when all of a lane was sent once, is let through as it comes.
        """
        limit = self._limit(lane)
        if limit is None:
            return Part(waits=self.waits and self.is_felt_for(lane.model, now))
        flying = self._flying(lane)
        room = max(limit - flying, 0)
        if limit <= 0 or lane.cursor >= lane.released:
            return Part(room)
        mean = self._mean(lane)
        waiting = round(mean * (lane.released - lane.cursor))
        scarce = Scarce(limit, waiting + flying, mean)
        if not self._binds(lane, scarce):
            return Part(room)
        share = scarce.share(self._slots(run))
        return Part(room, share, flying > 0 and planning.waits(room, share, waiting))

    def is_felt_for(self, model: str, now: datetime) -> bool:
        """Say whether enough is under way to learn a queue from that speaks up after a create."""
        since = now - self._pace.seconds(self._pace.validated)
        untried = self._store.accounts.untried(self._account.id, model, since)
        return planning.is_felt_for(self._provider.limits.queue, untried)

    def _slots(self, run: RunRow) -> int:
        most = self._provider.limits.concurrent_batches
        mine = run.settings.max_parallel_batches
        return mine if most is None else min(mine, most)

    def _binds(self, lane: LaneRow, scarce: Scarce) -> bool:
        """Say whether it is scarce; what was is to the end, so that shares stay alike."""
        if scarce.binds:
            self._scarce.add(lane.id)
        return lane.id in self._scarce

    def _counts_tokens(self) -> bool:
        return self._provider.limits.queue == "tokens"

    def _limit(self, lane: LaneRow) -> int | None:
        name = f"queue_tokens:{lane.model}" if self._counts_tokens() else "queue_requests"
        limit = self._store.accounts.get(self._account.id).learnt.get(name)
        return None if limit is None else int(limit)

    def _flying(self, lane: LaneRow) -> int:
        model = lane.model if self._counts_tokens() else None
        tokens, count = self._store.accounts.queued(self._account.id, model)
        return tokens if self._counts_tokens() else count

    def _mean(self, lane: LaneRow) -> float:
        """Return what one waiting job takes of the queue; read once, it goes over all of them."""
        if not self._counts_tokens():
            return 1.0
        key = (lane.id, lane.released)
        if key not in self._means:
            jobs, tokens, *_ = self._store.jobs.waiting(lane)
            self._means[key] = int(tokens) / max(1, int(jobs))
        return self._means[key]
