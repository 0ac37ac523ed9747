"""How long batchkit waits between two looks. Pure: ages in, durations out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SLOWEST_UPLOAD = 100_000.0
"""Bytes a second that a line must carry for a create to come through that holds its requests."""


LIKELY_POINTS = 12
"""How many polls the history of durations may ask for, beside those that age asks for."""


def sending(size: int) -> timedelta:
    """Return how much longer than a small one a create of so many bytes may be under way."""
    return timedelta(seconds=size / SLOWEST_UPLOAD)


@dataclass(frozen=True, slots=True)
class Pace:
    """All waiting times in one place; ``scale`` divides them (a rehearsal against a simulator
    whose hour lasts a minute runs at 60)."""

    scale: float = 1.0
    first_poll: float = 20.0
    longest_poll: float = 900.0
    longest_stuck: float = 21_600.0
    first_look: float = 5.0
    longest_look: float = 600.0
    missing: float = 900.0
    longest_pause: float = 600.0
    first_word: float = 2.0
    validated: float = 1_200.0

    def seconds(self, given: float) -> timedelta:
        """Return a duration at this pace."""
        return timedelta(seconds=given / self.scale)

    def poll_after(self, age: timedelta, likely: Sequence[float] = ()) -> timedelta:
        """Return how long to leave a running batch alone, by its age: 60 polls in eight hours.

        A sixth of its age, between 20 seconds and 15 minutes. ``likely`` are the seconds, at most
        `LIKELY_POINTS` and rising, by which more and more of its likes had ended: then seldom
        before the first of them, at each of them, and after a third of its age in between.
        """
        old = age.total_seconds() * self.scale
        if likely:
            wait = self._towards(old, [seconds * self.scale for seconds in likely])
        else:
            wait = old / 6
        return self.seconds(min(max(wait, self.first_poll), self.longest_poll))

    def word_after(self, age: timedelta) -> timedelta:
        """Return how long to wait for a word that others wait for: doubled, from 2 seconds on."""
        return max(age, self.seconds(self.first_word))

    def _towards(self, old: float, likely: Sequence[float]) -> float:
        first = likely[0]
        if old < first - self.first_poll:
            # What fails, fails in its first minutes; then nothing is expected for a while.
            return min(2 * old, first / 4, first - old)
        worth = max(self.first_poll, old / 30)
        points = (point - old for point in likely if point - old >= worth)
        return min(old / 3, next(points, old))

    def stuck_after(self, since: timedelta) -> timedelta:
        """Return how long to leave a batch alone that heeds neither its window nor a cancel.

        A sixth of the time since the cancel, between 20 seconds and six hours.
        """
        grown = since.total_seconds() * self.scale / 6
        return self.seconds(min(max(grown, self.first_poll), self.longest_stuck))

    def look_after(self, looks: int) -> timedelta:
        """Return how long to wait before looking for a lost create again: doubled each time."""
        return self.seconds(min(self.first_look * 2.0**looks, self.longest_look))

    def retry_after(self, failures: int, said: float | None) -> timedelta:
        """Return how long to leave a provider alone that did not answer: as told, else doubled."""
        if said is not None:
            return timedelta(seconds=said)
        return self.seconds(min(2.0 ** min(failures, 12), self.longest_pause))

    def is_old(self, since: datetime | None, now: datetime, seconds: float) -> bool:
        """Say whether so many seconds have gone by at this pace."""
        return since is not None and now - since >= self.seconds(seconds)
