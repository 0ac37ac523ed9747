"""A night as a pure model: jobs in order, a queue that holds so much, batches that take their time.

It cuts with the code that cuts in earnest (`planning`, `packing.Filling`) and knows nothing of
stores, providers or clocks.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from batchkit.model import Limits
from batchkit.packing import Filling
from batchkit.planning import Scarce, waits

LIMITS = Limits(requests=50_000, bytes=10**12, request_bytes=10**9, models="one", queue="tokens")


@dataclass(frozen=True)
class Night:
    """What the dice say. A batch that fills the queue takes ``base + whole`` seconds, a smaller one
    ``base`` and its part of ``whole``, times what chance adds to each."""

    jobs: Sequence[int]
    limit: int
    slots: int
    base: float
    whole: float
    noise: float
    expiring: float
    window: float
    seed: int

    @property
    def fulls(self) -> float:
        """How many times the work fills the queue."""
        return sum(self.jobs) / self.limit

    def takes(self, tokens: int, chance: random.Random) -> float:
        """Draw how long a batch runs."""
        plain = self.base + self.whole * tokens / self.limit
        return plain * chance.lognormvariate(0.0, self.noise)


@dataclass
class Course:
    """How a night went: its end, and what no order of the same batches could end before.

    ``bound`` is max(longest batch, sum of tokens × duration / limit), ``rounds`` the fillings that
    the work needs × the shortest batch.
    """

    end: float = 0.0
    area: float = 0.0
    longest: float = 0.0
    shortest: float = math.inf
    sent: int = 0
    limit: int = 1
    most_flying: int = 0
    counts: list[int] = field(default_factory=list)

    @property
    def bound(self) -> float:
        """The issue's lower bound."""
        return max(self.longest, self.area / self.limit)

    @property
    def rounds(self) -> float:
        """A lower bound, too: of every moment k × shortest, one batch cannot avoid two."""
        return math.ceil(self.sent / self.limit) * self.shortest


Size = Callable[[Night, int], int]


def shared(night: Night, slots: int) -> int:
    """Cut as batchkit does."""
    mean = sum(night.jobs) / len(night.jobs)
    scarce = Scarce(night.limit, sum(night.jobs), mean)
    return scarce.share(slots) if scarce.binds else night.limit


def greedy(night: Night, slots: int) -> int:
    """Cut as large as the queue takes."""
    return night.limit


def play(night: Night, size: Size = shared) -> Course:
    """Play a night out, by events."""
    chance = random.Random(night.seed)
    share = size(night, night.slots)
    waiting, again = list(reversed(night.jobs)), list[int]()
    flying: list[tuple[float, int, int, list[int]]] = []
    course, now, queued = Course(limit=night.limit), 0.0, 0
    while waiting or again or flying:
        while (waiting or again) and len(flying) < night.slots:
            source = waiting or again
            room = night.limit - queued
            if flying and waits(room, share, sum(source) if len(source) < 100 else share):
                break
            taken = _cut(source, room, share)
            if not taken:
                break
            tokens = sum(taken)
            took, left = night.takes(tokens, chance), list[int]()
            if chance.random() < night.expiring:
                took, left = night.window, taken[int(len(taken) * chance.uniform(0.3, 1)) :]
            queued += tokens
            heapq.heappush(flying, (now + took, len(course.counts), tokens, left))
            _note(course, tokens, took, len(taken), queued, len(flying))
        now, _, tokens, left = heapq.heappop(flying)
        queued -= tokens
        again = [*reversed(left), *again]
    course.end = now
    return course


def _cut(source: list[int], room: int, share: int) -> list[int]:
    filling = Filling(LIMITS, queue_room=room, share=share)
    taken = []
    while source and filling.offer(1, 0, source[-1]) is None:
        taken.append(source.pop())
    return taken


def _note(course: Course, tokens: int, took: float, count: int, queued: int, flying: int) -> None:
    assert queued <= course.limit
    course.sent += tokens
    course.area += tokens * took
    course.longest = max(course.longest, took)
    course.shortest = min(course.shortest, took)
    course.counts.append(count)
    course.most_flying = max(course.most_flying, flying)


def drawn(
    seed: int, *, fulls: tuple[float, float], noise: float = 0.4, expiring: float = 0.0
) -> Night:
    """Draw a night: sizes, limit, durations, expiries."""
    chance = random.Random(seed)
    limit = chance.choice([90_000, 200_000, 2_000_000, 20_000_000])
    times = math.exp(chance.uniform(math.log(fulls[0]), math.log(fulls[1])))
    mean = limit / chance.choice([100, 200])
    base = math.exp(chance.uniform(math.log(120), math.log(3_600)))
    whole = math.exp(chance.uniform(math.log(600), math.log(6 * 3_600)))
    return Night(
        jobs=[
            max(1, int(mean * chance.lognormvariate(-0.1, 0.45)))
            for _ in range(max(1, int(times * limit / mean)))
        ],
        limit=limit,
        slots=chance.choice([4, 5, 8, 10, 10, 10, 20]),
        base=base,
        whole=whole,
        noise=chance.uniform(0.0, noise),
        expiring=chance.choice([0.0, expiring]),
        window=chance.uniform(2, 4) * (base + whole),
        seed=seed,
    )
