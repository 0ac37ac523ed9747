"""What Azure's front does otherwise: names, times and numbers of a batch, and refused keys."""

from __future__ import annotations

from datetime import UTC, datetime

from batchkit.simulator.wire import Json, Reply, said

_NULLS = {"total": None, "completed": None, "failed": None}
_OVER = ("completed", "failed", "expired", "cancelled")


def refused_key() -> Reply:
    """Return the 401 of a wrong `api-key`."""
    message = (
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide "
        "a valid key for an active subscription and use a correct regional API endpoint."
    )
    return said({"error": {"code": "401", "message": message}}, 401)


def dressed(batch: Json) -> Json:
    """Return a batch as Azure shows it: capitalised, times in ISO 8601, counts only at the end."""
    times = {
        name: _iso(at) for name, at in batch.items() if name.endswith("_at") and at is not None
    }
    status = str(batch["status"])
    counts = batch["request_counts"] if status in _OVER else _NULLS
    capital = status[:1].upper() + status[1:]
    return {**batch, **times, "status": capital, "request_counts": counts}


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000+00:00")
