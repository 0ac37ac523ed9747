"""Rate limits: what a workspace used in the last minute, told in each dialect's headers."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, field

from batchkit.simulator.clock import rfc3339

SPAN = 60.0
FREE_REQUESTS = 10_000
FREE_TOKENS = 2_000_000
"""What the headers tell as a limit where the settings have none."""


@dataclass(slots=True)
class Meter:
    """Counts calls and tokens of one workspace; the last minute counts."""

    calls: deque[tuple[float, int, int, int]] = field(default_factory=deque)
    sums: list[int] = field(default_factory=lambda: [0, 0, 0])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, now: float, limit: int) -> float | None:
        """Count a call; where there were `limit` already, return how long to wait instead."""
        with self.lock:
            self._forget(now)
            if limit and self.sums[0] >= limit:
                return max(0.0, self.calls[0][0] + SPAN - now)
            self._enter(now, 1, 0, 0)
        return None

    def spend(self, now: float, tokens_in: int, tokens_out: int) -> None:
        """Count the tokens of a real-time answer."""
        with self.lock:
            self._enter(now, 0, tokens_in, tokens_out)

    def used(self, now: float) -> tuple[int, int, int, float]:
        """Return calls, tokens in and out of the last minute, and when the first falls out."""
        with self.lock:
            self._forget(now)
            first = self.calls[0][0] if self.calls else now - SPAN
            return self.sums[0], self.sums[1], self.sums[2], max(0.0, first + SPAN - now)

    def _enter(self, now: float, *counts: int) -> None:
        self.calls.append((now, *counts))  # type: ignore[arg-type]
        self.sums = [total + count for total, count in zip(self.sums, counts, strict=True)]

    def _forget(self, now: float) -> None:
        while self.calls and self.calls[0][0] <= now - SPAN:
            _, *counts = self.calls.popleft()
            self.sums = [total - count for total, count in zip(self.sums, counts, strict=True)]


def openai_headers(meter: Meter, now: float, requests: int, tokens: int) -> dict[str, str]:
    """Return OpenAI's `x-ratelimit-` headers."""
    calls, tokens_in, tokens_out, frees = meter.used(now)
    rows = {
        "requests": (requests or FREE_REQUESTS, calls),
        "tokens": (tokens or FREE_TOKENS, tokens_in + tokens_out),
    }
    headers = {}
    for name, (limit, used) in rows.items():
        headers[f"x-ratelimit-limit-{name}"] = str(limit)
        headers[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - used))
        headers[f"x-ratelimit-reset-{name}"] = _span(frees if used else 0.0)
    return headers


def anthropic_headers(meter: Meter, now: float, requests: int, tokens: int) -> dict[str, str]:
    """Return Anthropic's `anthropic-ratelimit-` headers."""
    calls, tokens_in, tokens_out, frees = meter.used(now)
    limit = tokens or FREE_TOKENS
    rows = {
        "requests": (requests or FREE_REQUESTS, calls),
        "tokens": (limit, tokens_in + tokens_out),
        "input-tokens": (limit, tokens_in),
        "output-tokens": (limit, tokens_out),
    }
    headers = {}
    for name, (most, used) in rows.items():
        headers[f"anthropic-ratelimit-{name}-limit"] = str(most)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(max(0, most - used))
        headers[f"anthropic-ratelimit-{name}-reset"] = rfc3339(now + (frees if used else 0.0))
    return headers


def wait(seconds: float) -> dict[str, str]:
    """Return a `retry-after` of whole seconds, at least one."""
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def _span(seconds: float) -> str:
    """Write a time to wait as OpenAI does: `6ms`, `1.5s`, `2m30s`."""
    if seconds < 1:
        return f"{round(seconds * 1_000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
