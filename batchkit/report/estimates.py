"""What a run's jobs were to cost before any was sent, from their sizes."""

from __future__ import annotations

from typing import Any

from batchkit import pricing, providers, requests, tokens
from batchkit.errors import BatchkitError
from batchkit.model import Attachment, Json
from batchkit.store import Store

_SAMPLE = 50


def estimate(store: Store, run_id: int) -> tuple[int | None, int | None]:
    """Return (expected, at most) in nano-dollars, of first attempts; None where unknown.

    Expected: the tokens of up to 50 jobs of each template, by their sizes, scaled by the bounds of
    all its jobs; an answer takes a third of its ``max_tokens``. At most: the sum of upper bounds.
    """
    expected: int | None = 0
    most: int | None = 0
    for row in store.reports.asked(run_id):
        if not row["provider"]:  # failed before it was a request
            continue
        most = None if most is None or row["unpriced"] else most + int(row["bound"])
        one = _expected(store, row)
        expected = None if expected is None or one is None else expected + one
    if expected is not None and most is not None:
        expected = min(expected, most)
    return expected, most


def _expected(store: Store, row: Any) -> int | None:
    template = store.jobs.template(row["template_id"])
    price = requests.price_of(template)
    if price is None:
        return None
    sample = store.reports.some(row["lane_id"], row["template_id"], _SAMPLE)
    prepared = requests.prepared(template)
    seen = sum(int(one.tokens) for one in sample) or 1
    likely = sum(_tokens(prepared, row["provider"], one) for one in sample)
    jobs = int(row["jobs"])
    mean = round(likely * int(row["tokens"]) / seen / jobs)
    return jobs * pricing.expected(
        mean, pricing.expected_output(int(template["max_tokens"])), price
    )


def _tokens(template: Json, provider: str, job: Any) -> int:
    files = [Attachment(one, b"") for one in requests.documents_of(job.documents)]
    request = requests.assemble(template, job.own, files)
    try:
        dialect = providers.load(provider).traits.dialect
    except BatchkitError:  # not installed here
        dialect = "openai"
    return tokens.expected_tokens(pricing.measure(request).size, request.model, dialect)
