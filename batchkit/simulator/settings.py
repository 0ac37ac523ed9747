"""What a simulated provider can be told to be like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of a simulator, all durations in simulated seconds.

    `instant` makes every batch end as soon as it is looked at.
    `batch_seconds` is the range from which each batch draws, by seed and id, how long it runs.
    `allowed_keys` empty means any key that does not contain "wrong" or "invalid".
    `workspaces` maps an API key to a workspace; keys that are not in it share `"default"`.
    `cancel_finishes` is the share of what a cancel finds unrun that runs all the same.
    `azure` makes OpenAI's front speak as Azure's does.
    `webhook_url`, on this machine only, hears of the ends of OpenAI's batches.
    `enqueued_tokens` maps a model prefix to OpenAI's queue limit, `""` to all others.
    """

    seed: int = 0
    instant: bool = False
    batch_seconds: tuple[float, float] = (120.0, 600.0)
    validating_seconds: float = 3.0
    finalizing_seconds: float = 2.0
    cancelling_seconds: float = 60.0
    cancel_finishes: float = 0.0
    window_seconds: float = DAY
    openai_retention: float = 30 * DAY
    anthropic_retention: float = 29 * DAY
    batch_retention: float = 180 * DAY
    list_lag_seconds: float = 0.0
    missing_after_create_seconds: float = 0.0
    missing_every: int = 0
    no_file_id: Literal["null", "empty"] = "null"
    cancel_after_end: Literal[200, 400, 409] = 400
    results_url: Literal["absolute", "relative", "null", "foreign", "missing"] = "absolute"
    sampling_refused: Literal["create", "item"] = "item"
    creates_per_hour: int = 2_000
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    counts_per_minute: int = 0
    enqueued_tokens: Mapping[str, int] = field(default_factory=dict)
    queued_requests: int = 0
    openai_batch_requests: int = 50_000
    openai_batch_bytes: int = 200 * 2**20
    openai_file_bytes: int = 512 * 2**20
    anthropic_batch_requests: int = 100_000
    anthropic_batch_bytes: int = 256 * 2**20
    html_413: bool = False
    any_model: bool = False
    allowed_keys: frozenset[str] = frozenset()
    workspaces: Mapping[str, str] = field(default_factory=dict)
    cache_hit_rate: float = 1.0
    reasoning_tokens: int = 0
    shuffle: bool = True
    final_newline: bool = True
    azure: bool = False
    webhook_url: str = ""
    webhook_secret: str = "whsec_c2ltdWxhdG9yLXdlYmhvb2stc2VjcmV0"
