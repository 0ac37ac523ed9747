"""The time line of batches: from when to when, one by one or, of many, by stretches of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchkit.report.values import Bar

_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time: the most batches in flight in it, and the answers that came in it."""

    start: datetime
    end: datetime
    flying: int
    answers: int


def window(bars: Sequence[Bar], now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when the batches went; what flies goes on to ``now``."""
    start = min(bar.start for bar in bars)
    end = max(over(bar, now) for bar in bars)
    return start, max(end, start + _SHORTEST)


def over(bar: Bar, now: datetime) -> datetime:
    """Return when a batch was over and its answers here; ``now`` while they are not."""
    return max(bar.start, bar.collected or now)


def stretches(bars: Sequence[Bar], now: datetime, most: int) -> list[Stretch]:
    """Cut the time of the batches into ``most`` equal stretches."""
    start, end = window(bars, now)
    length = (end - start) / most
    flying = [0] * (most + 1)
    answers = [0] * most

    def place(at: datetime) -> int:
        return min(most - 1, max(0, int((at - start) / length)))

    for bar in bars:
        flying[place(bar.start)] += 1
        flying[place(over(bar, now)) + 1] -= 1
        if bar.collected is not None:
            answers[place(bar.collected)] += bar.answered
    found, up = [], 0
    for at in range(most):
        up += flying[at]
        found.append(Stretch(start + at * length, start + (at + 1) * length, up, answers[at]))
    return found
