"""How batches are cut and when a night ends, where a queue is scarce. Pure.

A provider's queue holds so many tokens or requests. One batch that fills it all keeps it until its
last request is done, and what waits goes out in steps. Several batches that share it evenly each
end sooner, and each end makes room for the next: the queue stays full. Order is not ours to choose:
jobs go out as they were added.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from batchkit.durations import Durations
from batchkit.packing import FEW

MOST_UNTRIED = 3
"""Batches in validation at a time while nobody knows how long the queue is: so many may be turned
away at once before one of them says it."""

_WORTH = 0.5
"""The part of a share below which room is not cut into, while more will come free."""

_NIGHTS = 200
_MOST_BATCHES = 400


@dataclass(frozen=True, slots=True)
class Scarce:
    """What limits a night, in one unit: tokens or requests.

    ``limit`` is how much may be in flight, ``total`` what the whole work takes, ``mean`` what one
    job does.
    """

    limit: int
    total: int
    mean: float = 1.0

    @property
    def binds(self) -> bool:
        """Whether not all of the work may be in flight at once."""
        return self.total > self.limit

    def share(self, slots: int) -> int:
        """Return how much of it one batch shall take, ``slots`` of them in flight at once.

        The limit over the slots, but no less than what ten jobs take. The same all night long:
        smaller ones at its end, or fillings all alike, end later in the mean of random nights.
        """
        least = min(self.limit, math.ceil(FEW * self.mean))
        return max(1, least, math.ceil(self.limit / max(1, slots)))


def waits(room: int, share: int, waiting: int) -> bool:
    """Say whether to leave the room there is until more of it is free.

    A sliver would take one of the batches in flight and keep it as long as a whole share would.
    Only for when something is in flight, whose end makes room.
    """
    return room < min(share * _WORTH, waiting)


def is_felt_for(queue: str | None, untried: int) -> bool:
    """Say whether enough is under way to learn a queue from that speaks up after a create.

    ``queue`` is what it counts: the one of tokens tells its limit when a batch is taken in;
    ``untried`` are the batches that it has not taken in yet.
    """
    return queue == "tokens" and untried >= MOST_UNTRIED


@dataclass(frozen=True, slots=True)
class Load:
    """``batches`` alike, of ``jobs`` jobs each, and what their likes took; ``age`` in seconds is
    how long they are under way, 0 for those that are not sent yet. None runs beyond ``window``."""

    batches: int
    jobs: int
    durations: Durations
    age: float = 0.0
    window: float = math.inf


@dataclass(frozen=True, slots=True)
class Expected:
    """When work ends, in seconds from now: ``middle``, and ``low`` to ``high`` in 8 of 10 nights.

    ``known`` is how many earlier batches that rests on; 0 says that it is only what is common.
    """

    middle: float
    low: float
    high: float
    known: int


def expected(
    loads: Sequence[Load], parallel: int, *, nights: int = _NIGHTS, most: int = _MOST_BATCHES
) -> Expected:
    """Say how long the loads take, ``parallel`` batches at once, in their order.

    So many nights are played with durations drawn from what is known; the same figures give the
    same answer. More than ``most`` batches count as that many that take longer.
    """
    chance = random.Random(0)
    ends = sorted(_played(loads, max(1, parallel), most, chance) for _ in range(nights))
    known = min((load.durations.known for load in loads if load.batches), default=0)
    tenth = nights // 10
    return Expected(ends[nights // 2], ends[tenth], ends[-tenth - 1], known)


def _played(loads: Sequence[Load], parallel: int, most: int, chance: random.Random) -> float:
    """Play one night and return when its last batch ends."""
    total = sum(load.batches for load in loads)
    thinned = max(1.0, total / max(most, 8 * parallel))
    flying: list[float] = []
    last = 0.0
    nights = {id(load.durations): load.durations.night(chance) for load in loads}
    for load in sorted(loads, key=lambda one: -one.age):
        night = nights[id(load.durations)]
        for _ in range(math.ceil(load.batches / thinned)):
            took = _remaining(load, night, chance) * (thinned if not load.age else 1.0)
            begins = heapq.heappop(flying) if len(flying) >= parallel else 0.0
            heapq.heappush(flying, begins + took)
            last = max(last, begins + took)
    return last


def _remaining(load: Load, night: float, chance: random.Random) -> float:
    """Draw what is left of a batch; one that is under way has outlasted its age."""
    for _ in range(20):
        took = min(load.durations.draw(chance, night, load.jobs), load.window)
        if took > load.age:
            return took - load.age
    return min(load.age * chance.uniform(0.05, 0.5), max(load.window - load.age, 0.0))
