"""The named plans: whole nights to rehearse."""

from __future__ import annotations

from typing import Any

NIGHTS: dict[str, str] = {
    "calm": "nothing goes wrong",
    "stormy": "everything goes wrong that may in a bad night, and yet it ends",
}
"""The named plans, with what they are."""

_STORMY: dict[str, Any] = {
    "settings": {
        "list_lag_seconds": 45.0,
        "missing_after_create_seconds": 30.0,
        "cancel_finishes": 0.3,
    },
    "faults": [
        # Uploads and creates: refused, or done without an answer that says so.
        {"route": "*.files.create", "fault": "drop", "rate": 0.08, "most": 4},
        {"route": "*.files.create", "fault": "refuse", "status": 503, "rate": 0.08},
        {"route": "*.batches.create", "fault": "drop", "rate": 0.12, "most": 5},
        {"route": "*.batches.create", "fault": "status", "status": 500, "rate": 0.06, "most": 3},
        {"route": "*.batches.create", "fault": "half", "rate": 0.04, "most": 2},
        {"route": "*.batches.create", "fault": "html", "rate": 0.04, "most": 2},
        {
            "route": "*.batches.create",
            "fault": "refuse",
            "status": 429,
            "retry_after": "1",
            "rate": 0.1,
        },
        {"route": "anthropic.batches.create", "fault": "refuse", "status": 529, "rate": 0.08},
        # Looks: what is there is not found, or nobody answers.
        {"route": "*.batches.retrieve", "fault": "refuse", "status": 404, "rate": 0.06},
        {"route": "*.batches.retrieve", "fault": "refuse", "status": 502, "rate": 0.06},
        {
            "route": "*.batches.retrieve",
            "fault": "refuse",
            "status": 429,
            "retry_after": "1",
            "rate": 0.04,
        },
        {"route": "*.batches.retrieve", "fault": "html", "rate": 0.02},
        {"route": "*.batches.list", "fault": "drop", "rate": 0.1},
        {"route": "*.batches.list", "fault": "refuse", "status": 503, "rate": 0.1},
        # Downloads: cut in every way.
        *(
            {"route": route, "fault": fault, "rate": rate}
            for route in ("openai.files.content", "anthropic.batches.results")
            for fault, rate in (
                ("cut", 0.08),
                ("unended", 0.06),
                ("line-cut", 0.06),
                ("mid-line-cut", 0.06),
                ("gzip-cut", 0.05),
                ("long", 0.05),
            )
        ),
        {"route": "openai.files.content", "fault": "refuse", "status": 500, "rate": 0.06},
        {"route": "anthropic.batches.results", "fault": "refuse", "status": 404, "rate": 0.06},
        {"route": "openai.files.content", "fault": "drip", "seconds": 0.2, "rate": 0.04},
    ],
    "batches": [
        {"what": "expire", "rate": 0.5, "most": 1, "share": 0.6, "seconds": 1_500},
        {"what": "token-limit", "rate": 0.4, "most": 2},
        {"what": "finalize", "rate": 0.1, "most": 2, "seconds": 1_800},
    ],
    "requests": [
        {"outcome": "500", "rate": 0.03},
        {"outcome": "429", "rate": 0.02},
        {"outcome": "529", "rate": 0.02, "provider": "anthropic"},
        {"outcome": "garbled", "rate": 0.005},
        {"outcome": "missing", "rate": 0.005},
        {"outcome": "duplicate", "rate": 0.02},
        {"outcome": "stranger", "rate": 0.01},
        {"outcome": "blankline", "rate": 0.01},
    ],
    "webhooks": [
        {"what": "duplicate", "rate": 0.1},
        {"what": "late", "rate": 0.1},
        {"what": "out-of-order", "rate": 0.1},
        {"what": "forged", "rate": 0.05},
        {"what": "stale", "rate": 0.05},
        {"what": "unknown", "rate": 0.05},
    ],
}


def named_data(name: str) -> dict[str, Any]:
    """Return a named plan as plain data; raise `KeyError` if there is none of that name."""
    return {"calm": dict[str, Any](), "stormy": _STORMY}[name]
