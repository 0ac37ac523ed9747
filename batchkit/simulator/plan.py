"""A fault plan as values: which calls, batches, requests and webhooks go wrong, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from batchkit.simulator.faults import Fault

Provider = Literal["openai", "anthropic"] | None

BATCH_MISHAPS: dict[str, str] = {
    "expire": "runs `share` of its requests, then expires `seconds` after its create",
    "finalize": "takes `seconds` from its last request to its end",
    "token-limit": "OpenAI: fails in validation with `token_limit_exceeded`",
}
"""What can befall a batch."""

WEBHOOK_MISHAPS: dict[str, str] = {
    "duplicate": "comes twice, with the same `webhook-id`",
    "late": "comes `seconds` late",
    "out-of-order": "comes after the next one",
    "forged": "one with a wrong signature and a wrong type comes before it",
    "stale": "one with a timestamp ten minutes old comes before it",
    "unknown": "one of an unknown type comes before it",
    "lost": "does not come at all",
}
"""What can befall a webhook."""


@dataclass(frozen=True, slots=True)
class Pick:
    """Which of a kind are struck: the `nth` ones, or each with the chance `rate`, else all."""

    nth: frozenset[int] = frozenset()
    rate: float | None = None
    most: int | None = None

    def takes(self, seed: int, rule: str, of: str, nth: int) -> bool:
        """Return whether the `nth` is struck."""
        if self.nth:
            return nth in self.nth
        return self.rate is None or chance(f"{seed}/{rule}/{of}/{nth}") < self.rate


@dataclass(frozen=True, slots=True)
class CallRule:
    """A fault for calls whose route fits a pattern such as `*.batches.create`."""

    name: str
    route: str
    fault: Fault
    pick: Pick = Pick()

    def fits(self, route: str) -> bool:
        """Return whether a route is meant."""
        return fnmatchcase(route, self.route)


@dataclass(frozen=True, slots=True)
class BatchRule:
    """Something that befalls batches of a provider, by default of both."""

    name: str
    what: str
    provider: Provider = None
    pick: Pick = Pick()
    share: float = 0.5
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RequestRule:
    """An outcome, by its marker's name, that befalls requests in batches at a rate."""

    name: str
    outcome: str
    rate: float
    provider: Provider = None


@dataclass(frozen=True, slots=True)
class WebhookRule:
    """Something that befalls webhooks."""

    name: str
    what: str
    pick: Pick = Pick()
    seconds: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole night; without anything in it, all goes well."""

    seed: int = 0
    calls: tuple[CallRule, ...] = ()
    batches: tuple[BatchRule, ...] = ()
    requests: tuple[RequestRule, ...] = ()
    webhooks: tuple[WebhookRule, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def chance(of: str) -> float:
    """Return a number from 0 to 1 that follows from `of` alone."""
    return int.from_bytes(hashlib.blake2b(of.encode(), digest_size=7).digest()) / 2**56
