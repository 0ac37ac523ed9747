"""What the FakeProvider accepted, and what of it ran."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from batchkit.testing.memory import Accepted


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of one accepted batch: ``waiting``, ``ran`` or ``not_run``."""

    ref: str
    custom_id: str
    body: str
    state: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was accepted, at one instant; ``body`` is a hash of the line without its custom_id."""

    entries: Sequence[Entry]
    asked: int = 0

    def ran(self, custom_id: str) -> int:
        """Return how often a custom_id ran."""
        return sum(e.state == "ran" for e in self.entries if e.custom_id == custom_id)

    def by_body(self) -> dict[str, int]:
        """Return how often each body ran or is about to."""
        return dict(Counter(e.body for e in self.entries if e.state != "not_run"))

    def bought_twice(self) -> list[str]:
        """Return the bodies that ran, or are about to, more than once: equal requests as well."""
        return [body for body, times in self.by_body().items() if times > 1]


def entries(batch: Accepted) -> Iterator[Entry]:
    """Return one entry for each of a batch's requests."""
    for number, line in enumerate(batch.lines):
        row = orjson.loads(line)
        custom_id = row.pop("custom_id")
        body = hashlib.sha256(orjson.dumps(row)).hexdigest()
        yield Entry(batch.ref, custom_id, body, _state(batch, number))


def _state(batch: Accepted, number: int) -> str:
    if batch.reason is None:
        return "waiting"
    return "ran" if number < batch.ran else "not_run"
