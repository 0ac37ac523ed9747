"""Anthropic's prompt cache: which prefixes are there at an instant, for one workspace.

What the requests of a batch write is there for others when the batch has run, not before: requests
of one batch do not see each other's writes. A read gives an entry its whole time again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

Mark = tuple[int, str, str]
"""Where a request says ``cache_control``: the tokens up to there, the time to live, the text."""

_SECONDS = {"5m": 300.0, "1h": 3_600.0}
_LEAST = (
    (re.compile(r"claude-(opus-4-[56]|haiku-4-5)"), 4_096),
    (re.compile(r"claude-(opus-5|fable-5|mythos-5)"), 512),
)
_LEAST_OF_OTHERS = 1_024


class Cache(Protocol):
    """What a request meets."""

    def holds(self, key: str, at: float) -> bool:
        """Return whether an entry is there."""
        ...

    def keep(self, key: str, at: float, seconds: float) -> None:
        """Write an entry, or give it its time again."""
        ...


@dataclass(slots=True)
class Shelf:
    """A workspace's entries: the spans of time in which each is there."""

    spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def holds(self, key: str, at: float) -> bool:
        """Return whether an entry is there."""
        return any(begin <= at < end for begin, end in self.spans.get(key, ()))

    def keep(self, key: str, at: float, seconds: float) -> None:
        """Write an entry that is there at once."""
        self.spans.setdefault(key, []).append((at, at + seconds))


@dataclass(slots=True)
class BatchCache:
    """What the requests of one batch meet; what they write is put away when the batch has run."""

    shelf: Shelf
    read: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)

    def holds(self, key: str, at: float) -> bool:
        """Return whether an entry was there before this batch ran, or was read by it since."""
        spans = self.read.get(key, ())
        return self.shelf.holds(key, at) or any(begin <= at < end for begin, end in spans)

    def keep(self, key: str, at: float, seconds: float) -> None:
        """Note a write, or a read."""
        if self.holds(key, at):
            self.read.setdefault(key, []).append((at, at + seconds))
        self.written[key] = seconds

    def put_away(self, at: float) -> None:
        """Let others see what was written and read, now that the batch has run."""
        for key, seconds in self.written.items():
            self.shelf.keep(key, at, seconds)
        for key, spans in self.read.items():
            self.shelf.spans.setdefault(key, []).extend(spans)


def used(
    marks: Sequence[Mark], model: str, cache: Cache, at: float, *, lucky: bool
) -> tuple[int, int, int]:
    """Return the tokens that a request reads, writes for 5 minutes, and writes for an hour.

    The longest prefix that is there is read, what lies between the marks behind it is written;
    a prefix below the model's minimum is not cached at all.
    """
    least = next((n for family, n in _LEAST if family.match(model)), _LEAST_OF_OTHERS)
    found = [(tokens, ttl, _key(model, ttl, text)) for tokens, ttl, text in marks]
    found = [one for one in found if one[0] >= least]
    read = max((n for n, _, key in found if lucky and cache.holds(key, at)), default=0)
    written, so_far = {"5m": 0, "1h": 0}, read
    for tokens, ttl, key in found:
        if tokens > so_far:
            written[ttl if ttl in written else "5m"] += tokens - so_far
            so_far = tokens
        cache.keep(key, at, _SECONDS.get(ttl, 300.0))
    return read, written["5m"], written["1h"]


def _key(model: str, ttl: str, text: str) -> str:
    written = f"{model}\0{ttl}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(written, digest_size=8).hexdigest()
