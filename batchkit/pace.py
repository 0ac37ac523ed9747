"""How long batchkit waits between two looks. Pure: ages in, durations out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SLOWEST_UPLOAD = 100_000.0
"""Bytes a second that a line must carry for a create to come through that holds its requests."""


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

    def seconds(self, given: float) -> timedelta:
        """Return a duration at this pace."""
        return timedelta(seconds=given / self.scale)

    def poll_after(self, age: timedelta) -> timedelta:
        """Return how long to leave a running batch alone, by its age.

        A sixth of its age, between 20 seconds and 15 minutes: at most 60 polls in eight hours.
        """
        grown = age.total_seconds() * self.scale / 6
        return self.seconds(min(max(grown, self.first_poll), self.longest_poll))

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
