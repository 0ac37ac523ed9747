"""What the same answers would have cost without batching."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from batchkit import pricing, providers
from batchkit.errors import ProviderNotFoundError
from batchkit.model import Usage
from batchkit.money import dollars

if TYPE_CHECKING:
    from batchkit.results import JobResult
    from batchkit.run import BatchRun


def full_price_usd(run: BatchRun, today: date) -> float | None:
    """Return what the run's tokens cost in real time; None if a price is unknown."""
    total = 0
    for result in run.iter_results():
        cost = _cost(result, today)
        if cost is None:
            return None
        total += cost
    return dollars(total)


def _cost(result: JobResult, today: date) -> int | None:
    if not result.input_tokens:
        return 0
    try:
        provider = providers.for_model(result.model or "")
    except ProviderNotFoundError:
        return None
    price = pricing.full_price(provider, result.model or "", now=today)
    if price is None:
        return None
    usage = Usage(
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens or 0,
        cached_tokens=result.cached_tokens or 0,
        cache_write_tokens=result.cache_write_tokens or 0,
    )
    return pricing.cost(usage, price)
