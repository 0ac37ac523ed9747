"""How long a batch takes: from the batches before it, and from what is commonly seen. Pure.

Nothing here assumes a shape. Durations are compared as logarithms, because a batch may take ten
times as long as another; those of one night resemble each other (the provider has busy nights), so
a night counts as one thing seen, however many batches it had.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

COMMON_SECONDS = 3_600.0
"""What a batch takes in the middle where nothing is known: most end within an hour."""

_SPREAD_OF_NIGHTS = 0.5
_SPREAD_OF_BATCHES = 0.5
"""How far nights, and batches of one night, lie apart until that was seen: by a factor of 1.6."""

_UNKNOWN = 1.4
"""How far a night may lie from ``COMMON_SECONDS`` where nothing is known: ten minutes to six
hours is the middle 80 %."""

_BELIEF = 2.0
"""As how many nights, or batches, the common spread counts beside those that were seen."""

_GROWTH = 0.3
_GROWTH_BELIEF = 4.0
"""A batch of twice the jobs takes 2 ** 0.3 as long, until its likes have been seen."""

_SHORTEST = 1.0
_LEAST_SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class Took:
    """One batch that ended: its ``seconds``, its jobs, and which night it was part of."""

    seconds: float
    jobs: int
    night: int = 0


@dataclass(frozen=True, slots=True)
class Durations:
    """What to expect of batches: made by `learnt`, from those before them.

    ``known`` is how many batches it rests on. ``logs`` are their logarithms of seconds, as if each
    had had ``jobs`` jobs, in order.
    """

    known: int = 0
    jobs: float = 1.0
    growth: float = 0.0
    middle: float = math.log(COMMON_SECONDS)
    unsure: float = _UNKNOWN
    nights: float = 0.0
    batches: float = _SPREAD_OF_BATCHES
    logs: Sequence[float] = ()
    rests: Sequence[float] = field(default=())

    def quantile(self, share: float, jobs: int) -> float:
        """Return the seconds within which that share of past batches ended, at this size.

        Raises ValueError where no batch is known.
        """
        if not self.logs:
            raise ValueError("no batch has ended yet: there are no quantiles")
        at = share * (len(self.logs) - 1)
        low = math.floor(at)
        high = min(low + 1, len(self.logs) - 1)
        between = self.logs[low] + (self.logs[high] - self.logs[low]) * (at - low)
        return math.exp(between + self._grown(jobs))

    def rank(self, seconds: float, jobs: int) -> float:
        """Return the share of past batches that had ended after so many seconds, at this size."""
        if not self.logs:
            return 0.0
        log = math.log(max(seconds, _SHORTEST)) - self._grown(jobs)
        return bisect_right(self.logs, log) / len(self.logs)

    def night(self, chance: random.Random) -> float:
        """Draw how a night is: the logarithm of what a batch takes in its middle."""
        return chance.gauss(self.middle, math.hypot(self.unsure, self.nights))

    def draw(self, chance: random.Random, night: float, jobs: int) -> float:
        """Draw the seconds that a batch of so many jobs takes in a night of that kind."""
        if self.rests and chance.random() < len(self.rests) / (len(self.rests) + _BELIEF):
            own = chance.choice(self.rests)
        else:
            own = chance.gauss(0.0, self.batches)
        return max(_SHORTEST, math.exp(night + own + self._grown(jobs)))

    def _grown(self, jobs: int) -> float:
        return self.growth * math.log(max(jobs, 1) / self.jobs) if self.known else 0.0


def learnt(past: Sequence[Took]) -> Durations:
    """Learn from batches that ended; of none, say what is commonly seen."""
    seen = [one for one in past if one.seconds > 0 and one.jobs > 0]
    if not seen:
        return Durations()
    size = fmean(math.log(one.jobs) for one in seen)
    growth = _growth(seen, size)
    logs = [
        math.log(max(one.seconds, _SHORTEST)) - growth * (math.log(one.jobs) - size) for one in seen
    ]
    by_night: dict[int, list[float]] = {}
    for one, log in zip(seen, logs, strict=True):
        by_night.setdefault(one.night, []).append(log)
    means = {night: fmean(of) for night, of in by_night.items()}
    rests = [log - means[one.night] for one, log in zip(seen, logs, strict=True)]
    inside = _spread(rests, len(seen) - len(means), _SPREAD_OF_BATCHES)
    middle = fmean(means.values())
    apart = _spread([mean - middle for mean in means.values()], len(means) - 1, _SPREAD_OF_NIGHTS)
    # What single batches add to a night's mean is no difference between nights, and cannot be
    # more than nights differ.
    part = fmean(1 / len(of) for of in by_night.values())
    inside = min(inside, apart / math.sqrt(part))
    between = max(math.sqrt(max(apart**2 - inside**2 * part, 0.0)), _LEAST_SPREAD)
    return Durations(
        known=len(seen),
        jobs=math.exp(size),
        growth=growth,
        middle=middle,
        unsure=apart / math.sqrt(len(means)),
        nights=between,
        batches=inside,
        logs=tuple(sorted(logs)),
        rests=tuple(_widened(rests, by_night, seen)),
    )


def _growth(seen: Sequence[Took], size: float) -> float:
    """Fit how much longer larger batches take, between not at all and in proportion."""
    middle = fmean(math.log(max(one.seconds, _SHORTEST)) for one in seen)
    sizes = [math.log(one.jobs) - size for one in seen]
    times = [math.log(max(one.seconds, _SHORTEST)) - middle for one in seen]
    product = sum(x * y for x, y in zip(sizes, times, strict=True))
    squares = sum(x * x for x in sizes)
    fitted = (product + _GROWTH * _GROWTH_BELIEF) / (squares + _GROWTH_BELIEF)
    return min(max(fitted, 0.0), 1.0)


def _spread(apart: Sequence[float], free: int, common: float) -> float:
    """Return the spread of what was seen and of what is common, each by its weight."""
    squares = sum(x * x for x in apart)
    return math.sqrt((squares + _BELIEF * common**2) / (max(free, 0) + _BELIEF))


def _widened(
    rests: Sequence[float], by_night: dict[int, list[float]], seen: Sequence[Took]
) -> list[float]:
    """Undo what taking a night's own mean away has narrowed; a night of one batch tells nothing."""
    wide = []
    for rest, one in zip(rests, seen, strict=True):
        count = len(by_night[one.night])
        if count > 1:
            wide.append(rest * math.sqrt(count / (count - 1)))
    return wide
