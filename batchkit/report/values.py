"""What a report says, as values; how it looks is in ``text`` and ``page``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from batchkit.model import Json


@dataclass(frozen=True, slots=True)
class Reason:
    """Why jobs ended without an answer: how many, and the first of them as (key, error)."""

    code: str
    state: str
    count: int
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Money:
    """US dollars; None is unknown, never 0.

    ``estimated`` and ``at_most`` are of the jobs as they were added, without retries;
    ``full_price`` is what the tokens that were used cost outside of batches.
    """

    spent: float
    reserved: float
    limit: float | None = None
    estimated: float | None = None
    at_most: float | None = None
    full_price: float | None = None
    unknown_jobs: int = 0

    @property
    def saved(self) -> float | None:
        """What batching saved; None if the full price is unknown."""
        return None if self.full_price is None else self.full_price - self.spent


@dataclass(frozen=True, slots=True)
class Used:
    """What one model was used for: attempts, tokens and US dollars."""

    provider: str
    model: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost: float
    full_price: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """Something a person can do: why, and the command if there is one."""

    why: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One batch on the time line.

    ``name`` is the provider's ref, or ours while it has none; ``start`` is when it was accepted,
    ``end`` when the provider had done with it, ``collected`` when its answers were here.
    """

    name: str
    provider: str
    state: str
    jobs: int
    answered: int
    failed: int
    again: int
    retries: bool
    cost: float
    start: datetime
    end: datetime | None
    collected: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run as it stood at ``at``. Times are aware; counts are of jobs; amounts are US dollars.

    ``retries`` counts attempts after which a job went again, by reason; ``next`` is what to
    do now, the most pressing first.
    """

    id: str
    name: str
    project: str
    database: str
    state: str
    at: datetime
    opened_at: datetime | None
    finished_at: datetime | None
    elapsed_s: float
    total: int
    completed: int
    failed: int
    cancelled: int
    active: int
    pending: int
    money: Money
    reused: int = 0
    reasons: tuple[Reason, ...] = ()
    used: tuple[Used, ...] = ()
    retries: dict[str, int] = field(default_factory=dict)
    batches: tuple[Bar, ...] = ()
    waiting_for: str | None = None
    waiting_detail: str | None = None
    warnings: tuple[str, ...] = ()
    next: tuple[Step, ...] = ()

    @property
    def final(self) -> int:
        """How many jobs have ended."""
        return self.completed + self.failed + self.cancelled

    def tokens(self, name: str) -> int:
        """Add up one kind of tokens over all models."""
        return sum(int(getattr(one, name)) for one in self.used)

    def to_dict(self) -> Json:
        """Return it as JSON data; times in ISO 8601."""
        data = {**asdict(self), "saved": self.money.saved}
        written: Json = _plain(data)
        return written

    def to_text(self, *, short: bool = False, width: int = 80) -> str:
        """Return it for a terminal, no line longer than ``width``; ``short`` is its head."""
        from batchkit.report.text import written

        return written(self, short=short, width=width)

    def to_html(self) -> str:
        """Return it as one page that needs nothing from elsewhere."""
        from batchkit.report.page import drawn

        return drawn(self)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value
